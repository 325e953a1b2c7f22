//! A place in the tree as a command names it: a store, a level of it, some of its chunks.

use super::CliError;
use super::session::Session;
use super::target::{self, NamedStore};
use crate::archive::ImageFailure;
use crate::catalog::{Catalog, LabelSpec, MAIN_IMAGE, SourceSpec};
use crate::geometry::{CellIndex, LevelIndex, Region};
use crate::view::{LevelNames, ViewError, ViewSpec};
use crate::volume::{Level, Pyramid, View};
use crate::zarr::{Format, StoreName, parse_index};

/// A place, of which only the names have been looked at.
#[derive(Debug)]
pub(super) struct ImagePlace<'a> {
    pub store: NamedStore<'a>,
    /// The label image, where it is in one.
    pub label: Option<&'a LabelSpec>,
    pub part: ImagePart,
}

/// What of an image is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImagePart {
    /// All levels.
    All,
    /// A level, or those of its chunks whose indices begin with these.
    Level(LevelIndex, Vec<u64>),
    /// A document of the store, which is no voxels.
    Document,
}

impl<'a> ImagePlace<'a> {
    /// Reads `DATASET[/NAME[/labels/LABEL][/sN[/c][/Z[/Y[/X]]]]]`.
    pub fn parse(catalog: &'a Catalog, path: &'a str) -> Result<Self, CliError> {
        let (dataset, rest) = target::split(catalog, path)?;
        let mut words = rest.split('/').filter(|word| !word.is_empty()).peekable();
        // A level, unless an image has its name.
        let is_level = |word: &&str| {
            let named = |name: &str| name == *word;
            let is_image = dataset.images.iter().any(|image| named(&image.name));
            LevelNames::Lettered.parse(word).is_some()
                && !is_image
                && !dataset.views.iter().any(|view| named(&view.name))
        };
        let name = words.next_if(|word| !is_level(word)).unwrap_or(MAIN_IMAGE);
        let store = target::store(dataset, name)?;
        let failed = |reason: String| CliError::Failed(format!("{path}: {reason}"));
        let mut label = None;
        if words.next_if_eq(&"labels").is_some()
            && let Some(name) = words.next_if(|word| !is_document(word))
        {
            let found = store.image.labels.iter().find(|label| label.name == name);
            label = Some(found.ok_or_else(|| failed(format!("the image has no labels `{name}`")))?);
        }
        let part = ImagePart::parse(&store.name, words).map_err(failed)?;
        Ok(ImagePlace { store, label, part })
    }

    /// The image or label image, in words.
    pub fn image_name(&self) -> String {
        let label = self.label.map(|label| format!("/labels/{}", label.name)).unwrap_or_default();
        format!("{}/{}{label}", self.store.dataset.name, self.store.image.name)
    }

    /// Where its voxels come from.
    pub fn source(&self) -> &'a SourceSpec {
        self.label.map_or(&self.store.image.source, |label| &label.source)
    }

    /// Whether it takes the image to tell what is shown: where labels lie, and how many levels they have.
    pub fn lies_over_image(&self) -> bool {
        self.label.is_some()
    }

    /// The image that labels lie over.
    pub async fn image(&self, session: &Session) -> Result<Pyramid, ImageFailure> {
        let image = &self.store.image;
        let name = format!("{}/{}", self.store.dataset.name, image.name);
        Ok(session.open(&image.source, &name).await?.pyramid)
    }

    /// The view, or a `part` of what it shows, in voxels of its s0. `over`: the image, where the place lies over it.
    pub fn seen<'p>(&self, over: Option<&'p Pyramid>, part: Option<Region>) -> Seen<'p> {
        let crop = match (self.store.view.crop, part) {
            (None, crop) | (crop, None) => crop,
            (Some(of), Some(part)) => Some(shifted(&part, of.start)),
        };
        Seen { spec: ViewSpec { crop, ..self.store.view }, over }
    }

    /// The image through the view; labels that it leaves out are an error.
    pub async fn view(&self, session: &Session, pyramid: &Pyramid) -> Result<View, String> {
        let over = match self.lies_over_image() {
            true => Some(self.image(session).await.map_err(|error| error.to_string())?),
            false => None,
        };
        let view = self.seen(over.as_ref(), None).view(pyramid).map_err(|error| error.to_string())?;
        let reason = "the view leaves these labels out: they do not lie over the crop, it is not known where they lie, or they have \
                      no level of that number";
        view.ok_or_else(|| reason.to_owned())
    }
}

/// What of an image is shown, as the mount shows it.
#[derive(Debug)]
pub(super) struct Seen<'p> {
    spec: ViewSpec,
    over: Option<&'p Pyramid>,
}

impl Seen<'_> {
    /// The same with all levels, also where the view shows one of them.
    pub fn with_all_levels(self) -> Self {
        Seen { spec: ViewSpec { level: None, ..self.spec }, ..self }
    }

    /// The image through the view, labels with their own chunks where the view's do not suit them; `None` of labels that
    /// it leaves out.
    pub fn view(&self, pyramid: &Pyramid) -> Result<Option<View>, ViewError> {
        match self.over {
            Some(image) => self.spec.show_label(image, pyramid, |spec, label| spec.apply(label)),
            None => self.spec.apply(pyramid).map(Some),
        }
    }
}

impl ImagePart {
    fn parse<'a>(store: &StoreName, mut words: impl Iterator<Item = &'a str>) -> Result<ImagePart, String> {
        let Some(first) = words.next() else { return Ok(ImagePart::All) };
        if is_document(first) {
            return Ok(ImagePart::Document);
        }
        let names = store.view.level_names;
        let level = names.parse(first);
        let level = level.ok_or_else(|| format!("`{first}` is no level, such as {}", names.name(LevelIndex(0))))?;
        let mut words = words.peekable();
        if store.format == Format::V3
            && let Some(word) = words.next_if(|word| !is_document(word))
            && word != "c"
        {
            return Err(format!("`{word}` is in no level of Zarr v3, whose chunks are below `c`"));
        }
        let mut chunk = Vec::new();
        for word in words {
            if chunk.is_empty() && is_document(word) {
                return Ok(ImagePart::Document);
            }
            let index = parse_index(word).filter(|_| chunk.len() < 3);
            chunk.push(index.ok_or_else(|| format!("`{word}` is no index of a chunk"))?);
        }
        Ok(ImagePart::Level(level, chunk))
    }
}

/// The level that an option names.
pub(super) fn level(text: &str) -> Result<LevelIndex, String> {
    LevelNames::Lettered.parse(text).ok_or_else(|| "must be s and the number of a level, such as s0".to_owned())
}

fn is_document(word: &str) -> bool {
    matches!(word, ".zgroup" | ".zattrs" | ".zmetadata" | ".zarray" | "zarr.json")
}

/// A level as a view shows it, and the voxel of the image's level that is its first.
pub(super) fn shown(view: &View, level: LevelIndex) -> Result<(&Level, [u64; 3]), String> {
    let shown = view.position(level).and_then(|at| Some((view.pyramid.levels.get(at)?, *view.origins.get(at)?)));
    shown.ok_or_else(|| {
        let levels = view.numbers.iter().map(|number| format!("s{number}")).collect::<Vec<_>>().join(", ");
        format!("there is no level {level}; the levels are {levels}")
    })
}

/// Voxels of a level of the view, as a box of the same level of the image; `chunk`: the first indices of chunks.
pub(super) fn region(view: &View, level: LevelIndex, chunk: &[u64]) -> Result<Region, String> {
    let (shown, origin) = shown(view, level)?;
    let grid = &shown.grid;
    let counts = grid.counts();
    let mut corner = [[0; 3], counts.map(|count| count.saturating_sub(1))];
    for (axis, &index) in chunk.iter().enumerate() {
        if index >= counts[axis] {
            return Err(format!("there is no chunk {index} along that axis, which has {}", counts[axis]));
        }
        corner[0][axis] = index;
        corner[1][axis] = index;
    }
    let (first, last) = (grid.region(CellIndex(corner[0])), grid.region(CellIndex(corner[1])));
    Ok(shifted(&Region { start: first.start, end: last.end }, origin))
}

/// The chunks of the view that a box of its level touches, as a box of the same level of the image: what is read of it.
pub(super) fn chunks_of(shown: &Level, origin: [u64; 3], voxels: &Region) -> Region {
    shifted(&shown.grid.whole_cells(voxels), origin)
}

/// A box by as many voxels farther on.
fn shifted(region: &Region, by: [u64; 3]) -> Region {
    let shift = |voxel: [u64; 3]| std::array::from_fn(|axis| voxel[axis].saturating_add(by[axis]));
    Region { start: shift(region.start), end: shift(region.end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(path: &str) -> Result<ImagePart, String> {
        let catalog = Catalog::builtin().unwrap();
        ImagePlace::parse(&catalog, path).map(|place| place.part).map_err(|error| error.to_string())
    }

    #[test]
    fn a_place_is_a_store_a_level_or_chunks() {
        let level = |level, chunk: &[u64]| Ok(ImagePart::Level(LevelIndex(level), chunk.to_vec()));
        for (path, expected) in [
            ("hemibrain", Ok(ImagePart::All)),
            ("hemibrain/em.chunk-64.zarr/", Ok(ImagePart::All)),
            ("hemibrain/em.zarr/s2", level(2, &[])),
            ("hemibrain/em.zarr/s0/5/6/7", level(0, &[5, 6, 7])),
            ("hemibrain/s1", level(1, &[])),
            ("hemibrain/s0/5/6/7", level(0, &[5, 6, 7])),
            ("hemibrain/em.v3.zarr/s0/c", level(0, &[])),
            ("hemibrain/em.v3.zarr/s0/c/5/6/7", level(0, &[5, 6, 7])),
            ("hemibrain/em.zarr/.zattrs", Ok(ImagePart::Document)),
            ("hemibrain/em.v3.zarr/s1/zarr.json", Ok(ImagePart::Document)),
            ("epfl-hippocampus/training/labels/mitochondria/s0/1", level(0, &[1])),
            ("epfl-hippocampus/training/labels/.zattrs", Ok(ImagePart::Document)),
        ] {
            assert_eq!(part(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_place_is_an_error() {
        for path in [
            "nowhere",
            "hemibrain/other",
            "hemibrain/em.zarr/0",
            "hemibrain/em.zarr/s0/c/1/2/3",
            "hemibrain/em.zarr/s0/1/2/3/4",
            "hemibrain/em.zarr/s0/01",
            "hemibrain/em.v3.zarr/s0/1",
            "hemibrain/em.zarr/labels/x",
        ] {
            assert!(part(path).is_err(), "{path}");
        }
    }
}
