//! Names of stores: `<image>[.crop-…][.s<N>][.numbered][.chunk-…][.v3].zarr`.

use std::fmt;
use std::str::FromStr;

use super::Format;
use crate::view::{ViewError, ViewSpec};

/// The parsed name of a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreName {
    /// Name of the image, or of a view that is listed under a name of its own.
    pub image: String,
    /// What of the image is shown, and in which chunks.
    pub view: ViewSpec,
    /// The format of the documents.
    pub format: Format,
}

/// Why a name is no store's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreNameError {
    /// Another ending.
    #[error("the name of a store ends in `.zarr` or `.v3.zarr`")]
    Ending,
    /// Not `[a-z0-9][a-z0-9_-]*`.
    #[error("`{image}` is no name of an image: those are lower-case letters, digits, `_` and `-`")]
    Image {
        /// The name as given.
        image: String,
    },
    /// The part between image and ending.
    #[error(transparent)]
    View(#[from] ViewError),
}

impl StoreName {
    /// Parses a file name.
    pub fn parse(name: &str) -> Result<StoreName, StoreNameError> {
        let stem = name.strip_suffix(".zarr").ok_or(StoreNameError::Ending)?;
        let (stem, format) = match stem.strip_suffix(".v3") {
            Some(stem) => (stem, Format::V3),
            None => (stem, Format::V2),
        };
        let (image, view) = stem.split_at(stem.find('.').unwrap_or(stem.len()));
        if !is_image_name(image) {
            return Err(StoreNameError::Image { image: image.to_owned() });
        }
        Ok(StoreName { image: image.to_owned(), view: ViewSpec::parse(view)?, format })
    }
}

/// Whether an image, a label image or a view can have this name.
pub(crate) fn is_image_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.bytes().next().is_some_and(plain) && name.bytes().all(|byte| plain(byte) || byte == b'_' || byte == b'-')
}

impl FromStr for StoreName {
    type Err = StoreNameError;

    fn from_str(name: &str) -> Result<Self, StoreNameError> {
        StoreName::parse(name)
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.image, self.view, self.format.ending())
    }
}
