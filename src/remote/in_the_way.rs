//! What stands where a local file should be and is not the file: a name that is there is no absence.

use std::path::Path;

/// The link at `path` or on the way to it that leads to what is not here, with what to do: so git-annex and DataLad keep files
/// whose content was not fetched. `None` where no link is the reason that nothing is found there.
pub(super) fn broken_link(path: &Path) -> Option<String> {
    for part in path.ancestors() {
        // Below a name that is not there is none, so the names above it tell.
        let Ok(metadata) = part.symlink_metadata() else { continue };
        if !metadata.is_symlink() || part.metadata().is_ok() {
            return None;
        }
        let target = part.read_link().ok()?;
        let remedy = match target.to_string_lossy().contains(".git/annex/") {
            true => "fetch its content by `git annex get` or `datalad get`",
            false => "put back what it leads to, or take the link away",
        };
        return Some(format!("`{}` is a link to `{}`, which is not here; {remedy}", part.display(), target.display()));
    }
    None
}

/// The file in the place of a folder on the way to `path`, below which nothing can be.
pub fn file_for_folder(path: &Path) -> Option<String> {
    let there = path.ancestors().skip(1).find_map(|part| Some((part, part.metadata().ok()?)));
    let (file, _) = there.filter(|(_, metadata)| !metadata.is_dir())?;
    Some(format!("`{}` is a file in the place of a folder", file.display()))
}
