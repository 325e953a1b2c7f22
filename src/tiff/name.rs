//! Names of TIFF files: `<image>[.crop-…][.s<N>][.labels-<NAME>].tif`.

use std::fmt;
use std::str::FromStr;

use crate::view::{LevelNames, ViewError, ViewSpec};
use crate::zarr::is_image_name;

/// What stands before the name of a label image.
const LABELS: &str = ".labels-";

/// The parsed name of a TIFF file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TiffName {
    /// Name of the image, or of a view that is listed under a name of its own.
    pub image: String,
    /// What of the image is shown; without a chunk shape. Where it names no level, the file holds the finest one that a
    /// classic TIFF file has space for.
    pub view: ViewSpec,
    /// The label image of the image whose voxels are shown.
    pub label: Option<String>,
}

/// Why a name is no TIFF file's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TiffNameError {
    /// Another ending.
    #[error("the name of a TIFF file ends in `.tif`")]
    Ending,
    /// Not `[a-z0-9][a-z0-9_-]*`.
    #[error("`{name}` is no name of an image or label: those are lower-case letters, digits, `_` and `-`")]
    Image {
        /// The name as given.
        name: String,
    },
    /// The part between image and ending.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A chunk shape.
    #[error("a TIFF file has no chunks: leave `.chunk-…` out")]
    Chunk,
    /// Names of levels.
    #[error("a TIFF file holds one level, which has no name in it: leave `.numbered` out")]
    Numbered,
}

impl TiffName {
    /// What every name ends in.
    pub const ENDING: &'static str = ".tif";

    /// Parses a file name.
    pub fn parse(name: &str) -> Result<TiffName, TiffNameError> {
        let stem = name.strip_suffix(Self::ENDING).ok_or(TiffNameError::Ending)?;
        let (stem, label) = match stem.rsplit_once(LABELS) {
            Some((stem, label)) => (stem, Some(label)),
            None => (stem, None),
        };
        let (image, view) = stem.split_at(stem.find('.').unwrap_or(stem.len()));
        if let Some(name) = [Some(image), label].into_iter().flatten().find(|name| !is_image_name(name)) {
            return Err(TiffNameError::Image { name: name.to_owned() });
        }
        let view = ViewSpec::parse(view)?;
        if view.chunk.is_some() {
            return Err(TiffNameError::Chunk);
        }
        if view.level_names != LevelNames::default() {
            return Err(TiffNameError::Numbered);
        }
        Ok(TiffName { image: image.to_owned(), view, label: label.map(str::to_owned) })
    }

    /// The name of a file by that of the store that shows the same, without its ending.
    pub fn of(store: &str, label: Option<&str>) -> String {
        let (lead, label) = label.map_or(("", ""), |label| (LABELS, label));
        format!("{store}{lead}{label}{}", Self::ENDING)
    }
}

impl FromStr for TiffName {
    type Err = TiffNameError;

    fn from_str(name: &str) -> Result<Self, TiffNameError> {
        TiffName::parse(name)
    }
}

impl fmt::Display for TiffName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&TiffName::of(&format!("{}{}", self.image, self.view), self.label.as_deref()))
    }
}
