//! Which other format a folder or a file is of that is none of its own kind.

use bytes::Bytes;
use futures::future::BoxFuture;
use memchr::memmem;

use crate::kind::Kind;
use crate::remote::Location;

/// The kinds that are folders, and documents that tell them.
const KINDS: [(Kind, &[&str]); 3] = [
    (Kind::Zarr, &[".zgroup", ".zattrs", "zarr.json", ".zarray"]),
    (Kind::N5, &["attributes.json"]),
    (Kind::Precomputed, &["info"]),
];

/// Bytes by which a file is told.
pub(super) const FRONT: u64 = 512;

/// What is known of an address beside its documents.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Names in the folder, as far as it can be listed.
    pub names: Vec<String>,
    /// First bytes, where it is a file.
    pub front: Option<Bytes>,
}

/// What to write or do for what is at `folder` and has no document of the kind `own`; `is_there` says whether there is a
/// document.
pub(super) async fn advice<'a>(
    own: Kind,
    folder: &Location,
    is_there: impl Fn(Location) -> BoxFuture<'a, bool>,
    seen: Seen,
) -> Option<String> {
    if let Some(what) = seen.front.as_deref().and_then(of_bytes) {
        return Some(format!("it is {what}"));
    }
    if let Some(remedy) = remedy(own, |name| is_there(folder.join(name))).await {
        return Some(remedy);
    }
    if let Some(remedy) = above(own, folder, &is_there).await {
        return Some(remedy);
    }
    if let Some(what) = of_names(&seen.names) {
        return Some(what.to_owned());
    }
    if is_there(folder.join("refs/branch.main/ref.json")).await {
        return Some(ICECHUNK.to_owned());
    }
    webknossos(folder, is_there).await
}

/// What to do with a dataset of WEBKNOSSOS, or with a layer or a magnification of one.
async fn webknossos<'a>(folder: &Location, is_there: impl Fn(Location) -> BoxFuture<'a, bool>) -> Option<String> {
    const HEADER: &str = "header.wkw";
    const DATASET: &str = "datasource-properties.json";
    for header in [HEADER, "1/header.wkw", "color/1/header.wkw"] {
        if is_there(folder.join(header)).await {
            return Some(format!("`{header}` is there: {WKW}"));
        }
    }
    let parent = folder.parent().map(|(parent, _)| parent);
    for (place, above) in [(Some(folder), ""), (parent.as_ref(), " one level up")] {
        if let Some(place) = place
            && is_there(place.join(DATASET)).await
        {
            let reason =
                "so it is of a dataset of WEBKNOSSOS; if a layer of it is Zarr or N5, write the address of that, else";
            return Some(format!("`{DATASET}` is there{above}, {reason} {WKW_REMEDY}"));
        }
    }
    None
}

/// What to write for a folder that is not of the kind `own`; `is_there` says whether it has a document of that name.
async fn remedy<'a>(own: Kind, is_there: impl Fn(&'static str) -> BoxFuture<'a, bool>) -> Option<String> {
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
async fn above<'a>(
    own: Kind,
    folder: &Location,
    is_there: &impl Fn(Location) -> BoxFuture<'a, bool>,
) -> Option<String> {
    let (parent, _) = folder.parent()?;
    for document in KINDS.into_iter().filter(|(kind, _)| *kind == own).flat_map(|(_, documents)| documents) {
        if is_there(parent.join(document)).await {
            return Some(format!("`{document}` is one level up: write the address {parent}"));
        }
    }
    None
}

/// Other pictures.
const PICTURE: &str =
    "a picture (JPEG 2000 or GIF), which emfs does not read; convert it to TIFF, by `magick IN OUT.tif`";
/// MetaImage.
const META_IMAGE: &str =
    "MetaImage (.mha, .mhd), which emfs does not read; convert it to TIFF, for example by SimpleITK of Python";
/// What git-annex leaves in place of a file that is elsewhere.
const ANNEX: &str = "a pointer of git-annex in place of the file; fetch the file by `git annex get` (or `datalad get`), or write the address of \
     its content";
/// HTML, as servers send it in place of a file.
const PAGE: &str =
    "a web page (HTML), as servers answer that want a login or show a file; write the address of the file's content";

/// What begins in place of a file whose content is elsewhere.
const POINTERS: [&[u8]; 2] = [b"version https://git-lfs", b"/annex/objects/"];
/// References into files of other formats.
const KERCHUNK: &str = "references of kerchunk to parts of other files, which emfs does not read; write the address of these \
                        files, or convert them to Zarr, for example by `xarray` of Python";

/// Formats that are files of their own: what one begins with, at which place, and what to do with it.
const FILES: [(usize, &[u8], &str); 24] = [
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
    (0, b"\x89PNG\r\n", "PNG, which emfs does not read; convert it to TIFF, by `magick IN.png OUT.tif`"),
    (0, b"\xff\xd8\xff", "JPEG, which emfs does not read; convert it to TIFF, by `magick IN.jpg OUT.tif`"),
    (0, b"PK\x03\x04", "a ZIP archive, which emfs does not read; unpack it and write the address of the folder"),
    (0, b"\x1f\x8b", "a file that gzip has compressed; unpack it"),
    (0, b"BZh", "a file that bzip2 has compressed; unpack it"),
    (208, b"MAP", "MRC: write `kind = \"mrc\"` for it"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", PICTURE),
    (0, b"GIF8", PICTURE),
    (
        0,
        b"\x93NUMPY",
        "an array of NumPy, which emfs does not read; write it as TIFF or Zarr, for example by `tifffile` of Python",
    ),
    (0, b"ObjectType", META_IMAGE),
    (0, b"NDims", META_IMAGE),
    (0, b"<!DOCTYPE html", PAGE),
    (0, b"<html", PAGE),
    (
        0,
        b"version https://git-lfs",
        "a pointer of git-lfs in place of the file; fetch the file by `git lfs pull`, or write the address of its content",
    ),
    (0, b"/annex/objects/", ANNEX),
];

/// What documents of XML are that hold an element, the first of them that fits.
const DOCUMENTS: [(&str, &str); 7] = [
    (
        "<SpimData",
        "a document of BigDataViewer (SpimData), whose volume is in the `.n5` folder beside it: write `kind = \"n5\"` and the \
         address of that, and the voxel size of this document by `voxel_size`; an `.h5` file beside it is not read",
    ),
    ("<OME", OME_XML),
    (":OME", OME_XML),
    ("<html", PAGE),
    ("<!DOCTYPE html", PAGE),
    ("<ListBucketResult", "the list of a bucket; name its files by `urls`, or write the address of a store in it"),
    ("<?xml", "a document of XML, which emfs does not read; write the address of the volume that it describes"),
];
const OME_XML: &str = "OME-XML; name the TIFF files that it describes, a file per z, by `urls`";

const ICECHUNK: &str = "it is a repository of Icechunk, which emfs does not read; write its arrays as a plain Zarr store, by \
                        `icechunk` and `zarr` of Python";
/// Of WEBKNOSSOS's own format.
const WKW: &str = "it holds a dataset of WEBKNOSSOS (WKW), which emfs does not read; convert it to Zarr, by \
                   `copy_dataset(…, data_format=\"zarr3\")` of `webknossos` for Python";
const WKW_REMEDY: &str = "convert it to Zarr, by `copy_dataset(…, data_format=\"zarr3\")` of `webknossos` for Python";
/// Files that are compressed as a whole.
const GZIP: &str = "it holds files that gzip has compressed as a whole; unpack them by `gunzip *.gz`";
/// Files of a folder that tell of what format it is.
const NAMES: [(&str, &str); 21] = [
    (".wkw", WKW),
    ("knossos.conf", "it holds cubes of KNOSSOS, which emfs does not read; convert them to Zarr"),
    (".nrrd", "it holds NRRD files, which emfs does not read; convert them to TIFF or Zarr"),
    (".ims", "it holds Imaris files (HDF5), which emfs does not read; convert them to Zarr"),
    (".h5", "it holds HDF5 files, which emfs does not read; convert them to Zarr"),
    (".tif", "it holds TIFF files: write `kind = \"tiff\"` for it"),
    (".tiff", "it holds TIFF files: write `kind = \"tiff\"` for it"),
    (".mrc", "it holds MRC files: write `kind = \"mrc\"` for it"),
    (".dm3", "it holds DM3 files: write `kind = \"dm3\"` for it"),
    (".dm4", "it holds DM4 files: write `kind = \"dm3\"` for it"),
    (".btf", "it holds TIFF files: write `kind = \"tiff\"` for it"),
    (".mrcs", "it holds MRC files: write `kind = \"mrc\"` for it"),
    (".tif.gz", GZIP),
    (".tiff.gz", GZIP),
    (".mrc.gz", GZIP),
    (".dm3.gz", GZIP),
    (".dm4.gz", GZIP),
    (".zip", "it holds ZIP archives, which emfs does not read; unpack them"),
    (".png", "it holds PNG pictures, which emfs does not read; convert them to TIFF, by `mogrify -format tif *.png`"),
    (".jpg", "it holds JPEG pictures, which emfs does not read; convert them to TIFF, by `mogrify -format tif *.jpg`"),
    (
        ".jpeg",
        "it holds JPEG pictures, which emfs does not read; convert them to TIFF, by `mogrify -format tif *.jpeg`",
    ),
];

/// What a file is by its first bytes, where it is of a known format.
pub(super) fn of_bytes(front: &[u8]) -> Option<&'static str> {
    let fits = |(at, magic, _): &(usize, &[u8], &str)| {
        let found = front.get(*at..).and_then(|rest| rest.get(..magic.len()));
        // Those of HTML are written in any case.
        found.is_some_and(|found| found == *magic || magic.starts_with(b"<") && found.eq_ignore_ascii_case(magic))
    };
    let known = FILES.into_iter().find(fits).map(|(_, _, what)| what);
    known.or_else(|| is_kerchunk(front).then_some(KERCHUNK)).or_else(|| of_xml(front))
}

/// What a document of XML is, by its beginning.
fn of_xml(front: &[u8]) -> Option<&'static str> {
    let front = front.trim_ascii_start();
    let has = |word: &str| memmem::find(front, word.as_bytes()).is_some();
    if !front.starts_with(b"<") {
        return None;
    }
    let (_, what) = DOCUMENTS.into_iter().find(|(word, _)| has(word))?;
    Some(what)
}

/// What stands in place of a file whose content is elsewhere, where its bytes are such a pointer.
pub(super) fn pointer(bytes: &[u8]) -> Option<&'static str> {
    let is_pointer = bytes.len() as u64 <= FRONT && POINTERS.iter().any(|pointer| bytes.starts_with(pointer));
    if is_pointer { of_bytes(bytes) } else { None }
}

fn is_kerchunk(front: &[u8]) -> bool {
    let has = |word: &str| memmem::find(front, word.as_bytes()).is_some();
    front.trim_ascii_start().starts_with(b"{") && (has("\"refs\"") || has("\".zgroup\"") || has("/.zarray\""))
}

/// What a folder of files of these names is, where they tell it.
pub fn of_names(names: &[String]) -> Option<&'static str> {
    let has = |own: &str| names.iter().any(|name| name == own);
    if has("snapshots") && has("manifests") && (has("refs") || has("repo")) {
        return Some(ICECHUNK);
    }
    let (_, what) =
        NAMES.into_iter().find(|(ending, _)| names.iter().any(|name| name.to_ascii_lowercase().ends_with(ending)))?;
    Some(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_in_place_of_a_file_is_told_by_its_bytes() {
        let annex: &[u8] = b"/annex/objects/MD5E-s16384--0123456789abcdef\n";
        let lfs: &[u8] = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";
        for (bytes, remedy) in [(annex, "`git annex get`"), (lfs, "`git lfs pull`")] {
            assert!(pointer(bytes).is_some_and(|what| what.contains(remedy)));
            assert_eq!(pointer(bytes), of_bytes(bytes));
            // Nor is a chunk that begins so.
            assert_eq!(pointer(&[bytes, &[0; 512]].concat()), None);
        }
        assert_eq!(pointer(b"\x1f\x8b"), None);
    }

    #[test]
    fn documents_of_xml_are_told_by_their_elements() {
        for (front, what) in [
            (
                "<?xml version=\"1.0\"?>\n<SpimData version=\"0.2\">",
                "a document of BigDataViewer (SpimData), whose volume",
            ),
            ("<?xml version=\"1.0\"?><!-- <x> --><OME xmlns=\"a\">", "OME-XML; name the TIFF files"),
            ("<ome:OME>", "OME-XML"),
            ("<?xml version=\"1.0\"?><html>", "a web page"),
            ("<?xml version=\"1.0\"?><Error>", "a document of XML"),
        ] {
            assert!(of_bytes(front.as_bytes()).is_some_and(|told| told.starts_with(what)), "{front}");
        }
        assert_eq!(of_bytes(b"<svg>"), None);
    }

    #[test]
    fn references_of_kerchunk_and_a_repository_of_icechunk_are_named() {
        for front in [r#"{"version": 1, "refs": {"#, "\n{\".zgroup\": \"{}\"", r#"{"a/.zarray": "{"#] {
            assert!(of_bytes(front.as_bytes()).is_some_and(|what| what.contains("kerchunk")), "{front}");
        }
        assert_eq!(of_bytes(br#"{"zarr_format": 3}"#), None);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for own in ["refs", "repo"] {
            let found = of_names(&names(&["chunks", "manifests", own, "snapshots", "transactions"]));
            assert!(found.is_some_and(|what| what.contains("Icechunk")));
        }
        assert_eq!(of_names(&names(&["snapshots", "refs"])), None);
    }
}
