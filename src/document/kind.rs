//! What a document is.

use std::fmt;

/// The kind of a document, by which it is found. Its text is the name of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentKind {
    /// OMERO's answer about an image.
    OmeroImage,
    /// OMERO's answer about the files an image was imported from.
    OmeroFiles,
    /// OMERO's map annotations of an image.
    OmeroAnnotations,
    /// The datasets in OMERO that an image is in.
    OmeroDatasets,
    /// The projects in OMERO that its dataset is in.
    OmeroProjects,
    /// OMERO's map annotations of its project.
    OmeroStudy,
    /// EMPIAR's answer about an entry.
    EmpiarEntry,
    /// The tags of a TIFF file's first page.
    TiffTags,
    /// The tags of a DM3 or DM4 file.
    DmTags,
    /// The header of an MRC file.
    MrcHeader,
    /// `info` of neuroglancer's precomputed format.
    PrecomputedInfo,
    /// A document of a Zarr or N5 store.
    OfStore {
        /// Its name there, without a leading dot and an ending: `zattrs`.
        stem: String,
        /// The path of its folder below the store; empty where it is the store's own.
        folder: String,
    },
}

impl DocumentKind {
    /// The document `stem` in a folder of a Zarr or N5 store.
    pub fn of_store(stem: &str, folder: &str) -> Self {
        DocumentKind::OfStore { stem: stem.to_owned(), folder: folder.to_owned() }
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DocumentKind::OmeroImage => "omero-image.json",
            DocumentKind::OmeroFiles => "omero-files.json",
            DocumentKind::OmeroAnnotations => "omero-annotations.json",
            DocumentKind::OmeroDatasets => "omero-datasets.json",
            DocumentKind::OmeroProjects => "omero-projects.json",
            DocumentKind::OmeroStudy => "omero-study.json",
            DocumentKind::EmpiarEntry => "empiar-entry.json",
            DocumentKind::TiffTags => "tiff-tags.json",
            DocumentKind::DmTags => "dm-tags.json",
            DocumentKind::MrcHeader => "mrc-header.json",
            DocumentKind::PrecomputedInfo => "info.json",
            DocumentKind::OfStore { stem, folder } if folder.is_empty() => return write!(f, "{stem}.json"),
            DocumentKind::OfStore { stem, folder } => return write!(f, "{stem}-{}.json", folder.replace('/', "-")),
        })
    }
}
