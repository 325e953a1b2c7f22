//! What the attributes of a group say of the levels in it.

use super::stated::{self, StatedNumbers, StatedPlace};
use super::{MAX_LEVELS, dataset, order};
use crate::source::SourceError;
use crate::source::zarr::array::ArrayDocument;
use crate::source::zarr::axes::Axes;
use crate::source::zarr::imagej::Hyperstack;
use crate::source::zarr::json::JsonField;
use crate::source::zarr::multiscales;

/// What a document is about.
pub(super) enum DocumentSubject {
    /// One array.
    Array(Box<ArrayAttributes>),
    /// A group, which may be that of an image.
    Group(Box<N5Group>),
}

/// What the attributes of an array say.
pub(super) struct ArrayAttributes {
    /// How it is stored.
    pub array: ArrayDocument,
    /// Its axes, where it names them.
    pub axes: Option<Axes>,
    /// What they say of its place.
    pub place: StatedPlace,
}

/// What a group says of its levels.
#[derive(Debug, Default)]
pub(super) struct N5Group {
    /// Their paths, where it lists them.
    pub levels: Option<Vec<String>>,
    /// The axes that it names.
    axes: Option<Axes>,
    /// Those that it names where it lists its levels.
    listed_axes: Option<Axes>,
    /// Their places, as far as it lists those.
    pub places: Vec<StatedPlace>,
    /// How much coarser each is than the finest one.
    pub factors: Vec<StatedNumbers>,
    /// Size and unit of the finest one's voxels.
    pub finest: StatedPlace,
}

impl N5Group {
    /// The axes of an array in it that does not name them and has so many.
    pub fn axes(&self, rank: usize) -> Option<Axes> {
        self.axes.clone().or_else(|| self.listed_axes.clone().filter(|axes| axes.rank() == rank))
    }

    /// One that says nothing but the place of its only level.
    pub fn of_place(place: Option<StatedPlace>) -> Self {
        N5Group { places: place.into_iter().collect(), ..N5Group::default() }
    }

    /// The place that it lists of the level at that path.
    pub fn into_place(self, path: &str) -> Option<StatedPlace> {
        let number = self.levels?.iter().position(|level| level == path)?;
        self.places.into_iter().nth(number)
    }
}

/// Reads the attributes of an array or a group.
pub(super) fn read(document: &JsonField) -> Result<DocumentSubject, SourceError> {
    if dataset::is_array(document)? {
        let place = stated::of(document)?;
        return Ok(DocumentSubject::Array(Box::new(ArrayAttributes { place, ..array(document)? })));
    }
    dataset::refuse_multisets(document)?;
    let finest = stated::of(document)?;
    // Its unit is in the XML document beside the N5 folder.
    let is_of_bigdataviewer = document.value.get("saved_completely").is_some();
    let finest = if is_of_bigdataviewer { finest.of_bigdataviewer() } else { finest };
    let mut group = N5Group { finest, axes: order::of(document)?, ..N5Group::default() };
    for name in ["downsamplingFactors", "scales"] {
        if let (true, Some(list)) = (group.factors.is_empty(), document.optional(name)?) {
            let factors = list.elements(MAX_LEVELS)?;
            group.factors = factors.iter().map(stated::factor).collect::<Result<_, _>>()?;
        }
    }
    if let Some(images) = document.optional("multiscales")?
        && let Some(image) = images.elements(usize::MAX)?.first()
        && let Some(list) = image.optional("datasets")?
    {
        let datasets = list.elements(MAX_LEVELS)?;
        group.levels =
            Some(datasets.iter().map(|level| multiscales::path(&level.member("path")?)).collect::<Result<_, _>>()?);
        group.places = datasets.iter().map(stated::of).collect::<Result<_, _>>()?;
        if datasets.iter().any(|level| level.value.get("coordinateTransformations").is_some()) {
            of_ngff(document, &mut group);
        }
        group.listed_axes = datasets.iter().find_map(order::of_transform);
    }
    Ok(DocumentSubject::Group(Box::new(group)))
}

/// Takes the places of OME-NGFF, which says by names along which axis they are. Where they cannot be read, that is told.
fn of_ngff(document: &JsonField, group: &mut N5Group) {
    let image = match multiscales::parse(document) {
        Ok(Some((image, _))) => image,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!("{error}; the levels are shown without the places that it lists");
            return;
        }
    };
    for (place, path) in group.places.iter_mut().zip(group.levels.iter().flatten()) {
        let level = image.datasets.iter().find(|level| level.path == *path);
        if let Some((scale, level)) = level.and_then(|level| Some((level.scale?, level))) {
            *place = StatedPlace::of_nanometres(scale, level.translation);
        }
    }
}

/// Reads the attributes of an array. What is wrong with its place is no reason to do without the voxels.
pub(super) fn array(document: &JsonField) -> Result<ArrayAttributes, SourceError> {
    let array = dataset::read(document)?;
    let rank = array.shape.len();
    let axes = match order::of(document)? {
        Some(axes) => Some(axes),
        None => order::of_transform(document)
            .filter(|axes| axes.rank() == rank)
            .or_else(|| Hyperstack::read(document)?.axes(&array.shape)),
    };
    Ok(ArrayAttributes { array, axes, place: stated::of(document).unwrap_or_default() })
}
