//! Which names datasets, images and views may have.

/// Files at the root of the mount, whose names no dataset may take.
pub const ROOT_DOCUMENTS: [&str; 8] = [
    "metadata.json",
    "metadata.csv",
    "correspondence.csv",
    "metadata.schema.json",
    "croissant.json",
    "ro-crate-metadata.json",
    "README.md",
    "CACHEDIR.TAG",
];

/// The image that `[dataset.source]` becomes.
pub const MAIN_IMAGE: &str = "em";

/// Longest name: what a directory entry may have, less what emfs appends to it.
const MAX_NAME: usize = 128;

/// Why `name` cannot be a dataset's, or `None` where it can.
pub(super) fn dataset_fault(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(allowed) {
        return Some(format!("`{name}` must be a letter or digit, then letters, digits, `.`, `_`, `-`"));
    }
    if name.len() > MAX_NAME {
        return Some(format!("a name has at most {MAX_NAME} characters"));
    }
    // Folding case, because some programs and file servers do.
    let folded = name.to_ascii_lowercase();
    if folded.contains(".zarr") {
        return Some(format!("`{name}` must not contain `.zarr`, which marks a store"));
    }
    ROOT_DOCUMENTS
        .iter()
        .find(|document| document.eq_ignore_ascii_case(name))
        .map(|document| format!("`{document}` is a file at the root of the mount"))
}

/// Why `name` cannot be that of an image, label or view, or `None` where it can.
pub(super) fn image_fault(name: &str) -> Option<String> {
    let first = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !name.starts_with(first) || !name.chars().all(|c| first(c) || matches!(c, '_' | '-')) {
        return Some(format!("`{name}` must be a lower-case letter or digit, then those, `_`, `-`"));
    }
    (name.len() > MAX_NAME).then(|| format!("a name has at most {MAX_NAME} characters"))
}
