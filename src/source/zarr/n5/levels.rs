//! What the attributes of a group say of the levels in it.

use super::place::{self, LevelPlace, N5Group};
use super::{MAX_LEVELS, dataset};
use crate::source::SourceError;
use crate::source::zarr::array::ArrayDocument;
use crate::source::zarr::json::JsonField;
use crate::source::zarr::multiscales;

/// What a document is about.
pub(super) enum DocumentSubject {
    /// One array.
    Array(Box<ArrayDocument>, Option<LevelPlace>),
    /// A group, which may be that of an image.
    Group(N5Group),
}

/// Reads the attributes of an array or a group.
pub(super) fn read(document: &JsonField) -> Result<DocumentSubject, SourceError> {
    if dataset::is_array(document)? {
        let array = dataset::read(document)?;
        return Ok(DocumentSubject::Array(Box::new(array), place::of(document)?));
    }
    let mut group = N5Group { finest: place::of(document)?, ..N5Group::default() };
    for name in ["downsamplingFactors", "scales"] {
        if let (true, Some(list)) = (group.factors.is_empty(), document.optional(name)?) {
            let factors = list.elements(MAX_LEVELS)?;
            group.factors = factors.iter().map(place::factor).collect::<Result<_, _>>()?;
        }
    }
    if let Some(images) = document.optional("multiscales")?
        && let Some(image) = images.elements(usize::MAX)?.first()
        && let Some(list) = image.optional("datasets")?
    {
        let datasets = list.elements(MAX_LEVELS)?;
        group.levels =
            Some(datasets.iter().map(|level| multiscales::path(&level.member("path")?)).collect::<Result<_, _>>()?);
        group.places = datasets.iter().map(|level| place::of(level)).collect::<Result<_, _>>()?;
    }
    Ok(DocumentSubject::Group(group))
}
