//! What is at a path: inodes, names, listings, attributes and documents. Pure arithmetic, no I/O.
//!
//! The tree knows the catalogue from the start and an image's [`Pyramid`] from the moment somebody describes it. What
//! can be answered without is; the rest is [`Miss::NotDescribed`], which says what to open.
//!
//! Inodes of stores are numbers computed from view, level and chunk, so there is no table that grows with the files
//! that were looked at. Only views that are not in the catalogue take memory, from the LOOKUP of their name until the
//! last FORGET.

mod attributes;
mod coordinate_node;
mod coordinates;
mod group_node;
mod images;
mod inode;
mod listing;
mod lookup;
mod numbering;
mod path;
mod read;
mod remains;
mod resolved_node;
mod showing;
mod store;
#[cfg(test)]
mod tests;
mod tiff;
mod views;

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;

use parking_lot::Mutex;

use bytes::Bytes;
use lru::LruCache;

pub use attributes::{NodeAttributes, NodeKind};
pub use images::ImageInfo;
pub use inode::Inode;
pub use read::NodeContent;
pub use remains::Remains;
pub use tiff::TiffRef;

use crate::catalog::Catalog;
use crate::view::ViewError;
use crate::volume::Pyramid;
use crate::zarr::Format;
use images::Images;
use views::ViewTable;

/// Number of a dataset in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatasetId(pub u32);

/// Number of an image or of a label image, over the whole catalogue: each image is followed by its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId(pub u32);

/// Number of a view, 18 bits. Numbers of views that are not in the catalogue are given out again after the view was
/// forgotten, so a lasting cache must not be keyed with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewId(pub u32);

/// A directory with documents that can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Folder {
    /// The mountpoint.
    Root,
    /// A dataset's.
    Dataset(DatasetId),
    /// `upstream` of a dataset, which holds nothing else. Which documents are in it the tree does not know.
    Upstream(DatasetId),
    /// That of a store which cannot be described; it holds [`MutableDocument::ERROR`] only.
    Store(Inode),
}

/// A document whose content can change, so that each revision has an inode of its own, which is not given out here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MutableDocument {
    /// The directory it is in.
    pub folder: Folder,
    /// Its file name.
    pub name: Cow<'static, str>,
}

impl Folder {
    /// The dataset that the directory belongs to.
    pub fn dataset(self) -> Option<DatasetId> {
        match self {
            Folder::Root | Folder::Store(_) => None,
            Folder::Dataset(dataset) | Folder::Upstream(dataset) => Some(dataset),
        }
    }
}

impl MutableDocument {
    /// File name of a dataset's consolidated record.
    pub const METADATA: &'static str = "metadata.json";
    /// File names of a dataset's descriptions in the forms of others.
    pub const CROISSANT: &'static str = "croissant.json";
    /// See [`MutableDocument::CROISSANT`].
    pub const RO_CRATE: &'static str = "ro-crate-metadata.json";
    /// All documents of a dataset, in the order in which they are listed.
    pub const OF_DATASET: [&'static str; 3] = [Self::METADATA, Self::CROISSANT, Self::RO_CRATE];
    /// File name of why a store cannot be described.
    pub const ERROR: &'static str = "ERROR.txt";
    /// Name of the directory of the archive's documents.
    pub const UPSTREAM: &'static str = "upstream";

    fn of(folder: Folder, name: &'static str) -> Self {
        MutableDocument { folder, name: Cow::Borrowed(name) }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedEntry {
    /// Something that never changes.
    Node(Inode, NodeAttributes),
    /// A document with an inode for each revision; of [`Folder::Upstream`] there may be none of the name.
    Mutable(MutableDocument),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// There is no such name, and never will be.
    #[error("no such file or directory")]
    NotFound,
    /// A file has no entries.
    #[error("not a directory")]
    NotADirectory,
    /// The answer depends on images that nobody has described yet.
    #[error("not described yet")]
    NotDescribed(Vec<ImageId>),
    /// The answer depends on these label images as well, which are given up if they cannot be opened.
    #[error("labels are not described yet")]
    LabelsNotDescribed {
        /// The image itself, where it is not described either.
        images: Vec<ImageId>,
        /// Its labels.
        labels: Vec<ImageId>,
    },
    /// No more views that are not in the catalogue can be live.
    #[error("too many views are in use; close files of some of them")]
    TooManyViews,
    /// The inode stands for nothing, or for a view that was forgotten.
    #[error("stale inode")]
    Stale,
    /// A store of the catalogue that its image does not allow.
    #[error("{name}: {reason}")]
    Unusable {
        /// Name of the store without its ending.
        name: String,
        /// What is wrong.
        reason: TreeError,
    },
}

/// A catalogue or an image that the tree cannot show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A named view that is none.
    #[error("dataset `{dataset}`, view `{view}`: {reason}")]
    NamedView {
        /// Name of the dataset.
        dataset: String,
        /// Name of the view.
        view: String,
        /// What is wrong.
        reason: String,
    },
    /// More images and views than there are numbers for.
    #[error("the catalogue has more images and views than can be shown ({limit})")]
    TooManyImages {
        /// How many there can be.
        limit: u32,
    },
    /// No level or too many.
    #[error("the image has {levels} levels; 1 to {limit} can be shown")]
    Levels {
        /// Number of levels.
        levels: usize,
        /// Most levels that can be shown.
        limit: usize,
    },
    /// Chunks without number.
    #[error("level {level} has too many chunks ({counts}, z×y×x) for the numbers of files")]
    Grid {
        /// Number of the level.
        level: usize,
        /// Chunks along the axes.
        counts: crate::geometry::Shape,
    },
    /// An array without voxels, or a chunk too large for a file.
    #[error("level {level} has shape {shape} and chunks {chunk}, which are no files")]
    Shape {
        /// Number of the level.
        level: usize,
        /// Shape of the array.
        shape: crate::geometry::Shape,
        /// Shape of a chunk.
        chunk: crate::geometry::Shape,
    },
    /// Numbers that no document can state.
    #[error("level {level} has a voxel size or position that is no positive or finite number")]
    Scale {
        /// Number of the level.
        level: usize,
    },
    /// A display window that no document can state.
    #[error("the display window is not finite")]
    DisplayWindow,
    /// A view that its image does not allow.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Documents kept ready; most are below 2 KiB.
const DOCUMENTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// Everything below the mountpoint.
pub struct Tree {
    images: Images,
    views: ViewTable,
    /// By the store's serial number, which unlike its view numbers is never used twice.
    documents: Mutex<LruCache<(u64, Inode), Bytes>>,
}

impl Tree {
    /// The tree of a catalogue, without any image described.
    pub fn new(catalog: Arc<Catalog>) -> Result<Tree, TreeError> {
        let (images, stores) = Images::new(catalog)?;
        Ok(Tree { images, views: ViewTable::new(stores), documents: Mutex::new(LruCache::new(DOCUMENTS)) })
    }

    /// Makes an image known, once it has been opened. A second description of the same image is ignored: what was
    /// answered once stays true.
    pub fn describe(&self, image: ImageId, pyramid: Arc<Pyramid>) -> Result<(), TreeError> {
        store::check(&pyramid)?;
        self.images.describe(image, pyramid);
        Ok(())
    }

    /// A label image cannot be opened: it stays in listings, and where its description is part of a document of its image
    /// it is left out. For good, because documents do not change.
    pub fn give_up(&self, label: ImageId) {
        self.images.give_up(label);
    }

    /// The description of an image, if it has one.
    pub fn pyramid(&self, image: ImageId) -> Option<&Arc<Pyramid>> {
        self.images.pyramid(image)
    }

    /// Where an image or label image is in the catalogue.
    pub fn image(&self, image: ImageId) -> Option<ImageInfo<'_>> {
        self.images.info(image)
    }

    /// All images and label images, in the order of their numbers.
    pub fn all_images(&self) -> impl Iterator<Item = (ImageId, ImageInfo<'_>)> {
        (0..).map(ImageId).map_while(|id| Some((id, self.images.info(id)?)))
    }

    /// The images and label images of a dataset, each image before its labels.
    pub fn images_of(&self, dataset: DatasetId) -> impl Iterator<Item = ImageId> + '_ {
        self.images.of(dataset)
    }

    /// A dataset of the catalogue.
    pub fn dataset(&self, dataset: DatasetId) -> Option<&crate::catalog::Dataset> {
        self.images.dataset(dataset)
    }

    /// The directory with documents that can change at `inode`, if one is.
    pub fn folder_at(&self, inode: Inode) -> Option<Folder> {
        let folder = match inode.decode()? {
            inode::InodeAddress::Root => return Some(Folder::Root),
            inode::InodeAddress::Dataset(dataset) => Folder::Dataset(dataset),
            inode::InodeAddress::Upstream(dataset) => Folder::Upstream(dataset),
            inode::InodeAddress::InStore(_) => return None,
        };
        folder.dataset().and_then(|dataset| self.dataset(dataset)).map(|_| folder)
    }

    /// The dataset in one of whose stores `inode` is, if it is in a store.
    pub fn dataset_of_store(&self, inode: Inode) -> Option<DatasetId> {
        Some(self.views.find(inode.view()?)?.0.dataset)
    }

    /// Counts a reference that the kernel got to `inode` by another way than [`Tree::lookup`], which is READDIRPLUS
    /// (of all entries but `.` and `..`).
    pub fn remember(&self, inode: Inode) {
        if let Some(view) = inode.view() {
            self.views.remember(view);
        }
    }

    /// The kernel dropped `lookups` references to `inode`. With the last one to anything in it, a view that is not in
    /// the catalogue is gone.
    pub fn forget(&self, inode: Inode, lookups: u64) {
        if let Some(view) = inode.view() {
            self.views.forget(view, lookups);
        }
    }

    /// Names that the kernel should be asked to forget, each with its directory, because there are many live views that
    /// are not in the catalogue. Each view is told once; those in use stay. Those in directories that are `busy` are left
    /// for later.
    pub fn surplus(&self, busy: impl Fn(Inode) -> bool) -> Vec<(Inode, String)> {
        let names = |store: Arc<store::TreeStore>| {
            let stores = Format::ALL.map(|format| format!("{}{}", store.name, format.ending()));
            let directory = Inode::dataset(store.dataset);
            stores.into_iter().chain(self.tiff_names(&store)).map(move |name| (directory, name)).collect::<Vec<_>>()
        };
        self.views.surplus(|dataset| busy(Inode::dataset(dataset))).into_iter().flat_map(names).collect()
    }

    #[cfg(test)]
    /// Number of live views that are not in the catalogue.
    pub fn live_views(&self) -> usize {
        self.views.live()
    }
}
