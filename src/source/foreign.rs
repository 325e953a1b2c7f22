//! Which other format a folder is of that is none of its own kind.

use futures::future::BoxFuture;

/// The kinds that are folders, and documents that tell them.
const KINDS: [(&str, &[&str]); 3] = [
    ("zarr", &[".zgroup", ".zattrs", "zarr.json", ".zarray"]),
    ("n5", &["attributes.json"]),
    ("precomputed", &["info"]),
];

/// What to write for a folder that is not of the kind `own`; `is_there` says whether it has a document of that name.
pub(super) async fn remedy<'a>(own: &str, is_there: impl Fn(&'static str) -> BoxFuture<'a, bool>) -> Option<String> {
    for (kind, documents) in KINDS.into_iter().filter(|(kind, _)| *kind != own) {
        for document in documents {
            if is_there(document).await {
                return Some(format!("`{document}` is there instead: write `kind = \"{kind}\"` for it"));
            }
        }
    }
    None
}
