//! Levels of which no file of a chunk is there, in folders of this machine.

use std::fs::DirEntry;
use std::path::Path;

use super::array::MAX_RANK;
use super::axes::Axes;
use super::fault::LevelFault;
use super::pyramid::Listed;
use crate::remote::Location;
use crate::source::SourceError;
use crate::source::unwritten::{Judged, LevelFiles, judge, may_have_files};
use crate::store::Remote;

/// Names of a level's folders that are looked at until one is that of a chunk.
const MOST: usize = 1 << 16;

/// Leaves out the levels without a file where a finer one has some. Says which of the others have none.
pub(super) async fn leave_out(
    remote: &Remote,
    axes: &Axes,
    listed: &mut [Listed],
) -> Result<Option<String>, SourceError> {
    let mut readable: Vec<(&mut Listed, bool, f64)> = Vec::new();
    for level in listed {
        let Ok(array) = &level.array else { continue };
        let voxels = axes.pick(&array.shape).map(|extent| extent as f64).iter().product();
        let has_any = may_have_chunks(remote, &level.location).await?;
        readable.push((level, has_any, voxels));
    }
    let files: Vec<LevelFiles> = readable
        .iter()
        .map(|(level, has_any, voxels)| LevelFiles {
            name: level.dataset.path.clone(),
            folder: level.location.clone(),
            voxels: *voxels,
            has_any: *has_any,
        })
        .collect();
    let Judged { left_out, unwritten } = judge(&files);
    for ((level, ..), error) in readable.into_iter().zip(left_out) {
        if let Some(error) = error {
            level.array = Err(LevelFault::Unreadable(error));
        }
    }
    Ok(unwritten)
}

/// Whether a file of a chunk is in the folder of an array, or may be.
async fn may_have_chunks(remote: &Remote, array: &Location) -> Result<bool, SourceError> {
    if !array.is_local() {
        return Ok(true);
    }
    Ok(remote.with_path(array, |folder| has_chunk(folder, MAX_RANK + 1, &mut MOST.clone())).await?)
}

/// Whether a file that is called as chunks are lies in the folder or so many folders below it, or may do so. Looks at `left`
/// names at the most.
fn has_chunk(folder: &Path, depth: usize, left: &mut usize) -> bool {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return may_have_files(folder, &error),
    };
    entries.flatten().any(|entry| {
        *left = left.saturating_sub(1);
        *left == 0
            || is_of_chunk(&entry) && (!is_folder(&entry) || depth > 0 && has_chunk(&entry.path(), depth - 1, left))
    })
}

/// Whether it may be called as a chunk is, or as a folder of some: `0.1.2`, `c`, `c.0.1.2`.
fn is_of_chunk(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.as_encoded_bytes();
    name == b"c" || name.starts_with(b"c.") || name.first().is_some_and(u8::is_ascii_digit)
}

fn is_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(files: &[&str], folders: &[&str]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        for name in folders {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for name in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        has_chunk(folder.path(), MAX_RANK + 1, &mut MOST.clone())
    }

    #[test]
    fn a_file_that_is_called_as_a_chunk_is_seen_however_deep_it_is() {
        for file in ["0.0.0", "12.3.4", "0/0/0", "c/0/0/0", "c.0.0.0", "0/1/2/3/4", "c/0/1/2/3/4"] {
            assert!(has(&[".zarray", file], &[]), "{file}");
        }
    }

    #[test]
    fn documents_and_empty_folders_are_no_chunks() {
        for (files, folders) in [
            (&[".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json", "attributes.json"][..], &[][..]),
            (&["zarr.json"], &["c/0/0", "c/1"]),
            (&[".zarray", "README", "mesh/1"], &["0/0", "1"]),
            (&[], &[]),
        ] {
            assert!(!has(files, folders), "{files:?} {folders:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_looked_into_may_have_chunks() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        std::fs::write(folder.path().join("file"), b"x").unwrap();
        let has = |name: &str| has_chunk(&folder.path().join(name), 3, &mut MOST.clone());
        assert_eq!([has("link"), has("file"), has("missing")], [true, true, false]);
        for number in 0..4 {
            std::fs::create_dir_all(folder.path().join(format!("array/{number}"))).unwrap();
        }
        assert!(has_chunk(&folder.path().join("array"), 3, &mut 3));
        assert!(!has_chunk(&folder.path().join("array"), 3, &mut 9));
    }
}
