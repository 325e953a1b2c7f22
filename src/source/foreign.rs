//! Which other format a folder or a file is of that is none of its own kind.

use futures::future::BoxFuture;

use crate::remote::Location;

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

/// What to write for a folder without a document of the kind `own` that lies in one with such a document, as that of a scale
/// does; `is_there` says whether there is a document.
pub(super) async fn above<'a>(
    own: &str,
    folder: &Location,
    is_there: impl Fn(Location) -> BoxFuture<'a, bool>,
) -> Option<String> {
    let (parent, _) = folder.parent()?;
    for document in KINDS.into_iter().filter(|(kind, _)| *kind == own).flat_map(|(_, documents)| documents) {
        if is_there(parent.join(document)).await {
            return Some(format!("`{document}` is one level up: write the address {parent}"));
        }
    }
    None
}

/// Formats that are files of their own: what one begins with, at which place, and what to do with it.
const FILES: [(usize, &[u8], &str); 12] = [
    (0, b"NRRD0", "NRRD, which emfs does not read; convert it to TIFF or Zarr"),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        "HDF5 (Imaris, BigDataViewer and ilastik write it), which emfs does not read; convert it to Zarr",
    ),
    (0, b"WKW", "a file of WEBKNOSSOS (WKW), which emfs does not read; convert the dataset to Zarr"),
    (0, b"experiment name", "a configuration of KNOSSOS, whose cubes emfs does not read; convert them to Zarr"),
    (0, b"II\x2a\0", "TIFF: write `kind = \"tiff\"` for it"),
    (0, b"MM\0\x2a", "TIFF: write `kind = \"tiff\"` for it"),
    (0, b"II\x2b\0", "TIFF: write `kind = \"tiff\"` for it"),
    (0, b"\0\0\0\x03", "DM3: write `kind = \"dm3\"` for it"),
    (0, b"\0\0\0\x04", "DM4: write `kind = \"dm3\"` for it"),
    (0, b"\x1f\x8b", "a file that gzip has compressed; unpack it"),
    (0, b"BZh", "a file that bzip2 has compressed; unpack it"),
    (208, b"MAP", "MRC: write `kind = \"mrc\"` for it"),
];

/// Files of a folder that tell of what format it is.
const NAMES: [(&str, &str); 5] = [
    (".wkw", "it holds a dataset of WEBKNOSSOS (WKW), which emfs does not read; convert it to Zarr"),
    ("knossos.conf", "it holds cubes of KNOSSOS, which emfs does not read; convert them to Zarr"),
    (".nrrd", "it holds NRRD files, which emfs does not read; convert them to TIFF or Zarr"),
    (".ims", "it holds Imaris files (HDF5), which emfs does not read; convert them to Zarr"),
    (".h5", "it holds HDF5 files, which emfs does not read; convert them to Zarr"),
];

/// What a file is by its first bytes, where it is of a known format.
pub(super) fn of_bytes(front: &[u8]) -> Option<&'static str> {
    let fits = |(at, magic, _): &(usize, &[u8], &str)| front.get(*at..).is_some_and(|rest| rest.starts_with(magic));
    FILES.into_iter().find(fits).map(|(_, _, what)| what)
}

/// What a folder of files of these names is, where they tell it.
pub fn of_names(names: &[String]) -> Option<&'static str> {
    let (_, what) =
        NAMES.into_iter().find(|(ending, _)| names.iter().any(|name| name.to_ascii_lowercase().ends_with(ending)))?;
    Some(what)
}
