//! Which datasets there are and where: the built-in catalogue and the user's own, in one TOML schema.

mod digest;
mod error;
mod labels;
mod named_source;
mod names;
mod overrides;
mod parse;
mod recorded;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use url::Url;

pub use error::CatalogError;
pub use labels::LabelValue;
pub use named_source::NamedSource;
pub use names::{MAIN_IMAGE, ROOT_DOCUMENTS};
pub use overrides::{Overrides, SectionOrder};
pub use recorded::{Certainty, Recorded};

use crate::geometry::Region;
use crate::kind::Kind;
use crate::remote::{LimitsByHost, Location};

/// The text of the built-in catalogue.
pub const BUILTIN: &str = include_str!("builtin.toml");

/// The text of the catalogue of further public volumes, which are mounted for who names them.
pub const FURTHER: &str = include_str!("further.toml");

/// A catalogue is a few kilobytes; a larger file is a mistake.
const MAX_FILE: u64 = 16 << 20;

/// Datasets and the limits of their hosts.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// In the order of the file.
    pub datasets: Vec<Dataset>,
    /// Datasets that are there for who names them.
    pub further: Vec<Dataset>,
    /// The `[host."…"]` tables.
    pub limits: LimitsByHost,
}

impl Catalog {
    /// The catalogue that is built into emfs.
    pub fn builtin() -> Result<Self, CatalogError> {
        let further = Self::parse(FURTHER, "catalogue of further datasets", None)?;
        Ok(Catalog { further: further.datasets, ..Self::parse(BUILTIN, "built-in catalogue", None)? })
    }

    /// Reads the catalogue in the TOML file at `path`; relative paths in it start at its folder.
    pub fn load(path: &Path) -> Result<Self, CatalogError> {
        let file = path.display().to_string();
        let unreadable = |reason: String| CatalogError { file: file.clone(), place: None, key: String::new(), reason };
        let folder = std::path::absolute(path).map_err(|error| unreadable(error.to_string()))?;
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|opened| opened.take(MAX_FILE + 1).read_to_end(&mut bytes))
            .map_err(|error| unreadable(error.to_string()))?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(unreadable("is too long for a catalogue".to_owned()));
        }
        let text = String::from_utf8(bytes).map_err(|error| error::not_utf_8(&file, &error))?;
        Self::parse(&text, &file, folder.parent())
    }

    /// Reads a catalogue from `text`; `file` is its name in errors, `folder` where relative paths in it start.
    pub fn parse(text: &str, file: &str, folder: Option<&Path>) -> Result<Self, CatalogError> {
        parse::catalog(text, file, folder)
    }

    /// The dataset of that name, be it one of the further ones.
    pub fn named(&self, name: &str) -> Option<&Dataset> {
        self.datasets.iter().chain(&self.further).find(|dataset| dataset.name == name)
    }

    /// Keeps the datasets of these names, in the order of the file, with the further ones behind; all of them but the further
    /// ones where `names` is empty. A name that no dataset has is given back.
    pub fn select(mut self, names: &[String]) -> Result<Self, UnknownDataset> {
        if let Some(unknown) = names.iter().find(|name| self.named(name).is_none()) {
            let known = self.datasets.iter().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(UnknownDataset { name: unknown.clone(), known });
        }
        self.datasets.retain(|dataset| names.is_empty() || names.contains(&dataset.name));
        let named = std::mem::take(&mut self.further).into_iter().filter(|dataset| names.contains(&dataset.name));
        self.datasets.extend(named);
        Ok(self)
    }
}

/// A dataset was asked for that the catalogue does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no dataset `{name}`; the catalogue has {known}")]
pub struct UnknownDataset {
    name: String,
    known: String,
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
    /// The voxels of level s0 that it shows.
    pub crop: Region,
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
    /// Display window `(low, high)` that was measured once, shown until this machine has measured it, too.
    pub recorded_window: Option<(f64, f64)>,
    /// What others recorded of the volume.
    pub recorded: Recorded,
    /// Voxel size in nanometres `z, y, x` where the file has none.
    pub voxel_size: Option<[f64; 3]>,
    /// Which of several channels is shown.
    pub channel: Option<u64>,
    /// The level of the source that is shown as the finest one; those before it are there by name only.
    pub first_level: Option<u8>,
    /// Whether levels are computed where the source has one only.
    pub pyramid: bool,
    /// Where it is a label image: what values of its voxels mean, as far as that is told.
    pub label: Option<Arc<[LabelValue]>>,
    /// What is said against the files, or decided where they leave it open.
    pub overrides: Overrides,
    /// A box of the finest level without empty margins, in which random crops are drawn.
    pub tissue: Option<Region>,
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
    /// An image set of an entry of EMPIAR, of files of one section each.
    Empiar {
        /// Number of the entry.
        entry: u64,
        /// The web server, asked for `/api/entry/<n>/`.
        server: Url,
        /// The file server's folder of entries.
        files: Url,
        /// Name or folder of the image set, where the entry has several.
        imageset: Option<String>,
    },
    /// DM3 or DM4 files.
    Dm3 {
        /// Which ones.
        files: VolumeFiles,
    },
    /// A neuroglancer precomputed volume.
    Precomputed {
        /// The folder of `info`.
        url: Location,
    },
    /// TIFF files.
    Tiff {
        /// Which ones.
        files: VolumeFiles,
    },
    /// MRC files.
    Mrc {
        /// Which ones.
        files: VolumeFiles,
    },
    /// An array or an image of N5.
    N5 {
        /// The folder of its `attributes.json`.
        url: Location,
    },
    /// A Zarr group with OME-NGFF multiscales.
    Zarr {
        /// The group.
        url: Location,
    },
}

/// The files of a volume in a format that is read file by file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeFiles {
    /// One, which may be a stack.
    File(Location),
    /// Those of a folder, in the order of their numbers unless another one is configured.
    Folder(Location),
    /// These, a file per z; at least one.
    List(Vec<Location>),
}

impl fmt::Display for VolumeFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VolumeFiles::File(location) | VolumeFiles::Folder(location) => location.fmt(f),
            VolumeFiles::List(locations) => match locations.as_slice() {
                [] => Ok(()),
                [first] => first.fmt(f),
                [first, .., last] => write!(f, "{first} … {last}"),
            },
        }
    }
}

impl SourceKind {
    /// What it is read as.
    pub fn kind(&self) -> Kind {
        match self {
            SourceKind::Idr { .. } => Kind::Idr,
            SourceKind::Empiar { .. } => Kind::Empiar,
            SourceKind::Dm3 { .. } => Kind::Dm3,
            SourceKind::Precomputed { .. } => Kind::Precomputed,
            SourceKind::Tiff { .. } => Kind::Tiff,
            SourceKind::Mrc { .. } => Kind::Mrc,
            SourceKind::Zarr { .. } => Kind::Zarr,
            SourceKind::N5 { .. } => Kind::N5,
        }
    }

    /// The word for it in the configuration.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Where its files are, for names and messages.
    pub fn address(&self) -> String {
        match self {
            SourceKind::Idr { files, .. } | SourceKind::Empiar { files, .. } => files.to_string(),
            SourceKind::Dm3 { files } | SourceKind::Tiff { files } | SourceKind::Mrc { files } => files.to_string(),
            SourceKind::Precomputed { url } | SourceKind::N5 { url } | SourceKind::Zarr { url } => url.to_string(),
        }
    }

    /// Whether some of its bytes are in files of this machine.
    pub fn has_local_files(&self) -> bool {
        match self {
            SourceKind::Idr { url, .. } => url.as_ref().is_some_and(Location::is_local),
            SourceKind::Empiar { .. } => false,
            SourceKind::Dm3 { files } | SourceKind::Tiff { files } | SourceKind::Mrc { files } => match files {
                VolumeFiles::File(location) | VolumeFiles::Folder(location) => location.is_local(),
                VolumeFiles::List(locations) => locations.iter().any(Location::is_local),
            },
            SourceKind::Precomputed { url } | SourceKind::N5 { url } | SourceKind::Zarr { url } => url.is_local(),
        }
    }

    /// Whether the source is a stack of planes, whose chunk grid emfs chooses, rather than one with a grid of its own.
    pub fn is_planes(&self) -> bool {
        self.kind().is_planes()
    }
}
