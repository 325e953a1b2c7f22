//! The catalogue, numbered: datasets, images with their labels, and the stores that are listed.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use lru::LruCache;
use parking_lot::Mutex;

use super::inode::VIEWS;
use super::store::{Applied, TreeStore};
use super::{DatasetId, ImageId, TreeError, ViewId};
use crate::catalog::{Catalog, Dataset, NamedSource};
use crate::geometry::Shape;
use crate::view::ViewSpec;
use crate::volume::Pyramid;

/// The chunk shape that is offered for every image, so that one configuration fits all of them.
const COMMON_CHUNK: Shape = Shape([64; 3]);
/// Views of the catalogue; half of all numbers are left for those that are looked up.
const MAX_LISTED_VIEWS: u32 = VIEWS / 2;

/// Images as views show them, kept ready; the levels of one take some 2 KiB.
const SHOWN: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Where an image or label image is in the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct ImageInfo<'a> {
    /// Number of its dataset.
    pub dataset_id: DatasetId,
    /// Its dataset.
    pub dataset: &'a Dataset,
    /// Its names, and where its voxels come from.
    pub named: NamedSource<'a>,
}

/// All images of the catalogue and what is known of them.
pub(super) struct Images {
    catalog: Arc<Catalog>,
    images: Vec<Image>,
    datasets: Vec<Stores>,
    /// By the serial number of the store, which is never used twice, and the number of the view.
    shown: Mutex<LruCache<(u64, ViewId), Applied>>,
}

struct Image {
    dataset: DatasetId,
    /// Index in the dataset.
    image: usize,
    /// Index in the image.
    label: Option<usize>,
    pyramid: OnceLock<Arc<Pyramid>>,
    /// Whether it is a label image of which its image's documents say nothing, since it could not be opened for them.
    is_given_up: AtomicBool,
}

struct Stores {
    /// Numbers of the dataset's images and labels.
    images: Range<u32>,
    /// In the order they are listed.
    stores: Vec<Arc<TreeStore>>,
}

impl Images {
    /// Numbers a catalogue. Also returns its stores in the order of their views' numbers, which follow each other.
    pub fn new(catalog: Arc<Catalog>) -> Result<(Images, Vec<Arc<TreeStore>>), TreeError> {
        let shown = Mutex::new(LruCache::new(SHOWN));
        let mut numbering = Images { catalog: catalog.clone(), images: vec![], datasets: vec![], shown };
        let mut all = vec![];
        for (number, dataset) in (0u32..).zip(&catalog.datasets) {
            numbering.add_dataset(DatasetId(number), dataset, &mut all)?;
        }
        Ok((numbering, all))
    }

    fn add_dataset(
        &mut self,
        id: DatasetId,
        dataset: &Dataset,
        all: &mut Vec<Arc<TreeStore>>,
    ) -> Result<(), TreeError> {
        let first = self.images.len() as u32;
        let mut stores = vec![];
        let mut add = |name: String, image: ImageId, labels: usize, spec: ViewSpec| {
            let next = all.last().map_or(0, |last: &Arc<TreeStore>| last.views().end);
            let store = Arc::new(TreeStore::fixed(id, image, labels, name, spec, ViewId(next)));
            if store.views().end > MAX_LISTED_VIEWS {
                return Err(TreeError::TooManyImages { limit: MAX_LISTED_VIEWS });
            }
            all.push(store.clone());
            stores.push(store);
            Ok(())
        };
        let mut numbers = vec![];
        for (index, image) in dataset.images.iter().enumerate() {
            let number = ImageId(self.images.len() as u32);
            numbers.push(number);
            for label in std::iter::once(None).chain((0..image.labels.len()).map(Some)) {
                self.images.push(Image {
                    dataset: id,
                    image: index,
                    label,
                    pyramid: OnceLock::new(),
                    is_given_up: AtomicBool::new(false),
                });
            }
            for spec in [ViewSpec::default(), ViewSpec { chunk: Some(COMMON_CHUNK), ..ViewSpec::default() }] {
                add(format!("{}{spec}", image.name), number, image.labels.len(), spec)?;
            }
        }
        for view in &dataset.views {
            let wrong = |reason: String| TreeError::NamedView {
                dataset: dataset.name.clone(),
                view: view.name.clone(),
                reason,
            };
            let (image, number) = dataset
                .images
                .get(view.image)
                .zip(numbers.get(view.image))
                .ok_or_else(|| wrong("there is no such image".to_owned()))?;
            let spec = ViewSpec { crop: Some(view.crop), ..ViewSpec::default() };
            add(view.name.clone(), *number, image.labels.len(), spec)?;
        }
        self.datasets.push(Stores { images: first..self.images.len() as u32, stores });
        Ok(())
    }

    pub fn datasets(&self) -> &[Dataset] {
        &self.catalog.datasets
    }

    pub fn dataset(&self, id: DatasetId) -> Option<&Dataset> {
        self.catalog.datasets.get(id.0 as usize)
    }

    pub fn of(&self, id: DatasetId) -> impl Iterator<Item = ImageId> + use<> {
        self.datasets.get(id.0 as usize).map_or(0..0, |dataset| dataset.images.clone()).map(ImageId)
    }

    /// Stores of the catalogue, whether or not they are listed now.
    pub fn stores(&self, id: DatasetId) -> &[Arc<TreeStore>] {
        self.datasets.get(id.0 as usize).map_or(&[], |dataset| &dataset.stores)
    }

    /// The image of that name, which is no label, and how many labels it has.
    pub fn named(&self, id: DatasetId, name: &str) -> Option<(ImageId, usize)> {
        let dataset = self.dataset(id)?;
        self.of(id).find_map(|number| {
            let image = self.images.get(number.0 as usize)?;
            let spec = dataset.images.get(image.image)?;
            (image.label.is_none() && spec.name == name).then_some((number, spec.labels.len()))
        })
    }

    pub fn info(&self, id: ImageId) -> Option<ImageInfo<'_>> {
        let image = self.images.get(id.0 as usize)?;
        let dataset = self.dataset(image.dataset)?;
        let named = dataset.images.get(image.image)?.sources().nth(image.label.map_or(0, |label| label + 1))?;
        Some(ImageInfo { dataset_id: image.dataset, dataset, named })
    }

    pub fn pyramid(&self, id: ImageId) -> Option<&Arc<Pyramid>> {
        self.images.get(id.0 as usize)?.pyramid.get()
    }

    /// Whether documents of its image say nothing of a label image.
    pub fn is_given_up(&self, id: ImageId) -> bool {
        self.images.get(id.0 as usize).is_some_and(|image| image.is_given_up.load(Ordering::Acquire))
    }

    pub fn give_up(&self, id: ImageId) {
        if let Some(image) = self.images.get(id.0 as usize) {
            // What was described already may be in a document.
            let is_given_up = image.pyramid.get().is_none();
            image.is_given_up.fetch_or(is_given_up, Ordering::AcqRel);
        }
    }

    pub fn describe(&self, id: ImageId, pyramid: Arc<Pyramid>) {
        if let Some(image) = self.images.get(id.0 as usize) {
            image.pyramid.get_or_init(|| pyramid);
        }
    }

    /// An image as a view shows it, where that was asked for lately.
    pub fn recall(&self, key: (u64, ViewId)) -> Option<Applied> {
        self.shown.lock().get(&key).cloned()
    }

    /// Keeps what a view shows of an image until others were asked for.
    pub fn remember(&self, key: (u64, ViewId), applied: Applied) {
        self.shown.lock().put(key, applied);
    }

    /// Whether a store is in its dataset's listing: all are, but the one with common chunks only where the image's own
    /// are other ones, as far as that is known without asking the network.
    pub fn is_listed(&self, store: &TreeStore) -> bool {
        if store.spec.chunk.is_none() {
            return true;
        }
        if let Some(finest) = self.pyramid(store.image).and_then(|pyramid| pyramid.levels.first()) {
            return finest.grid.cell != COMMON_CHUNK;
        }
        self.info(store.image).is_some_and(|info| match info.named.source.chunk {
            Some(chunk) => chunk != COMMON_CHUNK.0,
            None => info.named.source.kind.is_planes(),
        })
    }
}
