//! Which datasets there are and where: the built-in catalogue and the user's own, in one TOML schema.

use url::Url;

use crate::remote::{Location, Manners};

/// Datasets and the manners of their hosts.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// In the order of the file.
    pub datasets: Vec<Dataset>,
    /// The `[host."…"]` tables.
    pub manners: Manners,
}

/// A directory under the mount.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `[A-Za-z0-9][A-Za-z0-9._-]*`.
    pub name: String,
    /// Descriptive metadata that no file says (`[dataset.about]`).
    pub about: toml::Table,
    /// The images; the one made of `[dataset.source]` is called `em` and comes first.
    pub images: Vec<ImageSpec>,
    /// Views listed under a name of their own.
    pub views: Vec<NamedView>,
}

/// One OME-Zarr group of a dataset.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    /// `[a-z0-9][a-z0-9_-]*`.
    pub name: String,
    /// Where its voxels come from.
    pub source: SourceSpec,
    /// Label images below its `labels/`.
    pub labels: Vec<LabelSpec>,
}

/// A label image of an image.
#[derive(Debug, Clone)]
pub struct LabelSpec {
    /// `[a-z0-9][a-z0-9_-]*`.
    pub name: String,
    /// Where its voxels come from.
    pub source: SourceSpec,
}

/// A crop that is listed under a name of its own (`[[dataset.view]]`).
#[derive(Debug, Clone)]
pub struct NamedView {
    /// `[a-z0-9][a-z0-9_-]*`, no image's name.
    pub name: String,
    /// Index in [`Dataset::images`].
    pub image: usize,
    /// The box as in a view name: `z0-10_y0-10_x0-10`.
    pub crop: String,
}

/// Where an image's voxels come from, and what no file says of them.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// Format or archive.
    pub kind: SourceKind,
    /// Chunk shape `z, y, x` in place of the default one.
    pub chunk: Option<[u64; 3]>,
    /// Display window `(low, high)` where the file has none.
    pub window: Option<(f64, f64)>,
    /// Voxel size in nanometres `z, y, x` where the file has none.
    pub voxel_size: Option<[f64; 3]>,
}

/// The ways to find a volume.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// An image of the Image Data Resource or another OMERO server.
    Idr {
        /// OMERO's image number.
        image: u64,
        /// The OMERO web server.
        server: Url,
        /// What `uod/idr/filesets` in client paths stands for.
        files: Url,
        /// The file, used when the server does not answer.
        url: Option<Location>,
    },
    /// A TIFF file of one volume.
    Tiff {
        /// The file.
        url: Location,
    },
    /// A Zarr group with OME-NGFF multiscales.
    Zarr {
        /// The group.
        url: Location,
    },
}

impl SourceKind {
    /// The word for it in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            SourceKind::Idr { .. } => "idr",
            SourceKind::Tiff { .. } => "tiff",
            SourceKind::Zarr { .. } => "zarr",
        }
    }

    /// Whether the source is a stack of planes, whose chunk grid emfs chooses, rather than one with a grid of its own.
    pub fn is_planes(&self) -> bool {
        match self {
            SourceKind::Idr { .. } | SourceKind::Tiff { .. } => true,
            SourceKind::Zarr { .. } => false,
        }
    }
}
