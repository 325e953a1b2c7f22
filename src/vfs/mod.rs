//! The core of the mount: answers look-ups, attributes, listings and reads. Knows nothing of FUSE.
//!
//! What the [`Tree`] can answer by arithmetic is answered at once. An image that nobody has touched yet is opened first,
//! and a chunk that is not in memory is fetched; both are pending answers, which end with data or with an error number
//! and one line in the log that says why.

mod answer;
mod documents;
mod errno;
mod image_registry;
mod pending_dirs;
mod pinned_chunks;
mod readers;
mod reading;
mod reasons;
mod refusals;
mod revisions;
mod tiff;
mod voxels;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::{BoxFuture, join, join_all, try_join_all};
use parking_lot::Mutex;

pub use answer::{DirEntry, FileAttributes, LookupAnswer, NodeKind, Reply, Statfs};
pub use errno::Errno;
pub use readers::RecentReader;
pub use voxels::Validity;

use crate::cache::Desk;
use crate::catalog::{Catalog, Dataset};
use crate::document::Packed;
use crate::ledger::{LedgerPage, Mark};
use crate::stats::Stats;
use crate::store::Remote;
use crate::tree::{DatasetId, Folder, ImageId, Inode, Miss, MutableDocument, NamedEntry, Tree, TreeError};
use crate::volume::{Blocks, Chunks, VolumeError};
use image_registry::{ImageRegistry, OpenedImage};
use pending_dirs::PendingDirs;
use pinned_chunks::PinnedChunks;
use readers::Readers;
use revisions::{Revision, Revisions};

/// How much longer a look-up waits than the timeout, so that an attempt whose origin fell silent a little later ends
/// first and says why.
const GRACE: Duration = Duration::from_secs(1);

/// How long the kernel may keep what never changes.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Entries of a directory that are made at a time; a buffer of the kernel holds about as many.
const LISTED_AT_ONCE: usize = 256;

/// Most memory for chunks: the kernel keeps what was read of them, and they are made again from blocks in no time.
const FOR_CHUNKS: u64 = 64 << 20;

/// Modification time of everything that never changes: the same after every mount, so that `rsync` and `make` see it
/// so. 2020-01-01T00:00:00Z.
const UNCHANGING: Duration = Duration::from_secs(1_577_836_800);

/// A mounted catalogue.
pub struct Vfs {
    tree: Arc<Tree>,
    image_registry: Arc<ImageRegistry>,
    chunks: Arc<Chunks>,
    pinned: Arc<PinnedChunks>,
    ahead: tiff::Ahead,
    pending_dirs: PendingDirs,
    revisions: Revisions,
    readers: Readers,
    records: Mutex<HashMap<DatasetId, (u64, Packed)>>,
    /// The documents that are made of records, and which state of what is known they tell.
    whole: Mutex<HashMap<MutableDocument, (u64, Revision)>>,
    desk: Arc<Desk>,
    stats: Arc<Stats>,
    memory: u64,
    timeout: Duration,
}

impl Vfs {
    /// Shows `catalog`. `memory` bounds what is cached and in flight, in bytes; `timeout` is how long a look-up waits
    /// for an image to be opened. Uses no network.
    pub fn new(
        catalog: Arc<Catalog>,
        remote: Remote,
        memory: u64,
        timeout: Duration,
        stats: Arc<Stats>,
    ) -> Result<Arc<Self>, TreeError> {
        let readers = Readers::of(catalog.datasets.len());
        let tree = Arc::new(Tree::new(catalog)?);
        // Chunks wait for blocks, never the other way round, so the two parts cannot block each other.
        let for_chunks = (memory / 2).min(FOR_CHUNKS);
        let desk = remote.desk().clone();
        let for_documents = desk.bytes().min(memory / 4);
        let blocks = Blocks::new(memory - for_chunks - for_documents, remote.absent_ttl(), stats.clone());
        let chunks = Chunks::new(for_chunks, blocks.clone(), stats.clone());
        let images = tree
            .all_images()
            .map(|(_, info)| (format!("{}/{}", info.dataset.name, info.named), info.named.source.clone()));
        let image_registry = ImageRegistry::new(remote, blocks, tree.clone(), images);
        let pinned = Arc::new(PinnedChunks::default());
        chunks.when_memory_is_wanted({
            let (pinned, image_registry, chunks) = (pinned.clone(), image_registry.clone(), Arc::downgrade(&chunks));
            move |bytes| {
                let Some(chunks) = chunks.upgrade() else { return };
                pinned.give_way(bytes, |key| {
                    let opened = image_registry.opened(ImageId(key.image));
                    opened.is_some_and(|opened| chunks.can_be_made(&opened.image, &key.geometry))
                });
            }
        });
        Ok(Arc::new(Vfs {
            tree,
            image_registry,
            chunks,
            pinned,
            ahead: tiff::Ahead::default(),
            pending_dirs: PendingDirs::default(),
            revisions: Revisions::default(),
            readers,
            records: Mutex::default(),
            whole: Mutex::default(),
            desk,
            stats,
            memory,
            timeout,
        }))
    }

    /// How long a look-up waits for an image to be opened.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The datasets that are shown.
    pub fn shown_datasets(&self) -> impl Iterator<Item = &Dataset> {
        (0..).map(DatasetId).map_while(|id| self.tree.dataset(id))
    }

    /// Lets go of what nobody reads any more. To be called about every second while mounted.
    pub fn sweep(&self) {
        self.pinned.sweep();
    }

    /// Names that the kernel should be asked to forget, each with the inode of its directory; see [`Tree::surplus`].
    pub fn surplus(&self) -> Vec<(u64, String)> {
        let surplus = self.tree.surplus(|directory| self.pending_dirs.is_busy(directory));
        surplus.into_iter().map(|(directory, name)| (directory.get(), name)).collect()
    }

    /// The counters, with memory as it is now.
    pub fn snapshot(&self) -> crate::stats::Snapshot {
        self.stats.memory(self.chunks.used(), self.memory);
        self.stats.snapshot()
    }

    /// The reader of voxels or of a store's documents who was there last, if that was in the last minute.
    pub fn recent_reader(&self) -> Option<RecentReader> {
        let (dataset, ago) = self.readers.recent()?;
        let dataset = self.tree.dataset(dataset).map(|dataset| dataset.name.clone()).unwrap_or_default();
        Some(RecentReader { dataset, ago })
    }

    /// Who read so far is nobody who has to be told that the mount goes, such as emfs itself.
    pub fn forget_readers(&self) {
        self.readers.forget();
    }

    /// This moment in the ledger. A failure that is remembered from before it is told again to whoever meets it afterwards.
    pub fn mark(&self) -> Mark {
        let mark = self.stats.mark();
        self.pinned.forget_failures();
        self.image_registry.forget_who_met_failures();
        mark
    }

    /// Confirms what was shown as absent of late; what may not be is a failure from then on.
    pub async fn confirm_absences(&self) {
        self.image_registry.confirm_absences().await;
    }

    /// The ledger of what failed and what was absent.
    pub fn ledger(&self) -> LedgerPage {
        self.stats.ledger()
    }

    /// What `name` in the directory `parent` stands for. Counts as a reference that the kernel holds.
    pub fn lookup(self: &Arc<Self>, parent: u64, name: &OsStr) -> Reply<LookupAnswer> {
        let parent = Inode::new(parent);
        self.pending_dirs.counted(parent, self.find(parent, name))
    }

    fn find(self: &Arc<Self>, parent: Inode, name: &OsStr) -> Reply<LookupAnswer> {
        let found = match self.tree.lookup(parent, name) {
            Err(Miss::NotFound) => return Reply::Ready(Ok(LookupAnswer { attributes: None, ttl: FOREVER })),
            found => found,
        };
        match found {
            Ok(NamedEntry::Node(inode, attributes)) => {
                if let Some(Folder::Dataset(dataset)) = self.tree.folder_at(inode) {
                    self.readers.named(dataset);
                }
                Reply::Ready(Ok(self.entry(inode, attributes)))
            }
            Ok(NamedEntry::Mutable(document)) => {
                let this = self.clone();
                Reply::Pending(async move { Ok(this.look_up_document(document).await) }.boxed())
            }
            Err(_) if name == MutableDocument::ERROR => self.find_refusal(parent),
            Err(_) => {
                let name = name.to_owned();
                let wanted = name.clone();
                let path = move |vfs: &Self| format!("{}/{}", vfs.tree.path(parent), wanted.display());
                self.described(path, move |vfs| match vfs.tree.lookup(parent, &name) {
                    Ok(NamedEntry::Node(inode, attributes)) => Ok(vfs.entry(inode, attributes)),
                    Ok(NamedEntry::Mutable(_)) | Err(Miss::NotFound) => {
                        Ok(LookupAnswer { attributes: None, ttl: FOREVER })
                    }
                    Err(miss) => Err(miss),
                })
            }
        }
    }

    /// The attributes of an inode.
    pub fn getattr(self: &Arc<Self>, inode: u64) -> Reply<FileAttributes> {
        let inode = Inode::new(inode);
        if inode.as_revision().is_some() {
            let revision = self.revisions.get(inode).ok_or(Errno::STALE);
            return Reply::Ready(revision.map(|revision| documents::attributes(&revision)));
        }
        self.described(
            move |vfs| vfs.tree.path(inode),
            move |vfs| vfs.tree.attributes(inode).map(|attributes| vfs.attributes(inode, attributes)),
        )
    }

    /// Entries of a directory after `cookie`, which is 0 or a [`DirEntry::next_cookie`]; none at its end.
    pub fn readdir(self: &Arc<Self>, inode: u64, cookie: u64) -> Reply<Vec<DirEntry>> {
        let inode = Inode::new(inode);
        self.pending_dirs.counted(inode, self.list(inode, cookie))
    }

    fn list(self: &Arc<Self>, inode: Inode, cookie: u64) -> Reply<Vec<DirEntry>> {
        if let (Some(Folder::Upstream(dataset)), 0) = (self.tree.folder_at(inode), cookie) {
            let this = self.clone();
            return Reply::Pending(
                async move {
                    this.ask(&[dataset], &this.tree.path(inode)).await;
                    this.entries(inode, cookie).map_err(|miss| this.missed(&this.tree.path(inode), &miss))
                }
                .boxed(),
            );
        }
        self.once_made(inode, cookie, move |vfs| {
            let listing = vfs.described(move |vfs| vfs.tree.path(inode), move |vfs| vfs.entries(inode, cookie));
            vfs.or_refusal(inode, cookie, listing)
        })
    }

    /// Counts a reference to an inode that the kernel got by a listing.
    pub fn looked_up(&self, inode: u64) {
        let inode = Inode::new(inode);
        match inode.as_revision() {
            Some(_) => self.revisions.listed(inode),
            None => self.tree.remember(inode),
        }
    }

    /// Takes back `count` references.
    pub fn forget(&self, inode: u64, count: u64) {
        let inode = Inode::new(inode);
        match inode.as_revision() {
            Some(_) => self.revisions.forget(inode, count),
            None => self.tree.forget(inode, count),
        }
    }

    /// Size of the whole, as far as known. Never waits.
    pub fn statfs(&self) -> Statfs {
        let known = self.tree.all_images().filter_map(|(image, _)| {
            let pyramid = self.tree.pyramid(image)?;
            pyramid.levels.first()?.grid.shape.bytes(pyramid.dtype.size())
        });
        Statfs { bytes: known.fold(0, u64::saturating_add) }
    }

    fn entry(&self, inode: Inode, attributes: crate::tree::NodeAttributes) -> LookupAnswer {
        LookupAnswer { attributes: Some(self.attributes(inode, attributes)), ttl: self.name_ttl(inode) }
    }

    /// How long the kernel may keep the name of an inode.
    fn name_ttl(&self, inode: Inode) -> Duration {
        match self.tree.folder_at(inode) {
            Some(Folder::Dataset(_)) => readers::NAMES,
            _ => FOREVER,
        }
    }

    fn attributes(&self, inode: Inode, attributes: crate::tree::NodeAttributes) -> FileAttributes {
        let folder = self.tree.folder_at(inode);
        let unchanging = SystemTime::UNIX_EPOCH + UNCHANGING;
        let (mtime, ttl) = match folder {
            Some(folder) => (self.changed(folder).unwrap_or(unchanging), Duration::ZERO),
            None => self.times_of_store(inode).unwrap_or((unchanging, FOREVER)),
        };
        FileAttributes {
            inode: inode.get(),
            size: attributes.size,
            kind: attributes.kind,
            nlink: attributes.nlink,
            mtime,
            ttl,
        }
    }

    fn entries(&self, inode: Inode, cookie: u64) -> Result<Vec<DirEntry>, Miss> {
        let listing = self.tree.list(inode, cookie)?;
        let mut last = cookie;
        let mut entries = Vec::new();
        for entry in listing.take(LISTED_AT_ONCE) {
            last = entry.next_cookie;
            let (attributes, ttl) = match entry.found {
                NamedEntry::Node(inode, attributes) => (self.attributes(inode, attributes), self.name_ttl(inode)),
                NamedEntry::Mutable(document) => match self.current(document) {
                    Some(revision) => (documents::attributes(&revision), Duration::ZERO),
                    None => continue,
                },
            };
            entries.push(DirEntry { name: entry.name.into_owned(), attributes, ttl, next_cookie: entry.next_cookie });
        }
        if let Some(Folder::Upstream(dataset)) = self.tree.folder_at(inode) {
            entries.extend(self.upstream_entries(dataset, last));
        }
        Ok(entries)
    }

    /// Answers by the tree, after opening the images that the answer depends on.
    fn described<T: Send + 'static>(
        self: &Arc<Self>,
        path: impl Fn(&Self) -> String + Send + Sync + 'static,
        answer: impl Fn(&Arc<Self>) -> Result<T, Miss> + Send + Sync + 'static,
    ) -> Reply<T> {
        let mut miss = match answer(self) {
            Ok(value) => return Reply::Ready(Ok(value)),
            Err(miss) => miss,
        };
        let this = self.clone();
        Reply::Pending(
            async move {
                let path = path(&this);
                loop {
                    match &miss {
                        Miss::NotDescribed(images) => this.open(images, &path).await?,
                        Miss::LabelsNotDescribed { images, labels } => {
                            join(this.open(images, &path), this.open_or_give_up(labels, &path)).await.0?;
                        }
                        _ => break,
                    }
                    miss = match answer(&this) {
                        Ok(value) => return Ok(value),
                        // Opened and still not described cannot be; it must not become a loop.
                        Err(again) if again == miss => return Err(Errno::IO),
                        Err(miss) => miss,
                    };
                }
                Err(this.missed(&path, &miss))
            }
            .boxed(),
        )
    }

    /// Opens images for an operation on `path`, all at once.
    async fn open(self: &Arc<Self>, images: &[ImageId], path: &str) -> Result<(), Errno> {
        let openings = images.iter().map(|&image| self.begin(image, path.to_owned()).1);
        match tokio::time::timeout(self.timeout + GRACE, try_join_all(openings)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                // Counted once, however many meet it.
                if images.iter().any(|&image| self.image_registry.is_first_to_meet_failure(image)) {
                    self.stats.failure(format!("{path}: {error}"));
                }
                Err(Errno::from(&error))
            }
            Err(_) => {
                self.failed(path, &format_args!("its image is still not open after {} s", self.timeout.as_secs_f64()));
                Err(Errno::IO)
            }
        }
    }

    /// Opens label images for an operation on `path` of their image. Those that cannot be are given up.
    async fn open_or_give_up(self: &Arc<Self>, labels: &[ImageId], path: &str) {
        let openings = labels.iter().map(|&label| async move {
            let opening = self.begin(label, path.to_owned()).1;
            let opened = tokio::time::timeout(self.timeout + GRACE, opening).await;
            if !opened.is_ok_and(|opened| opened.is_ok()) {
                self.tree.give_up(label);
                let name = self.image_registry.name(label);
                tracing::warn!("{name} cannot be opened: {path} is answered without it as long as this mount lasts");
            }
        });
        join_all(openings).await;
    }

    /// Opens an image, or joins who does; says whether it was not being opened before. A failure gets one line in the
    /// log, with the path for which the attempt was begun, however many wait for it and whether or not they still do. Of
    /// those that fail, the ones that somebody needed for a read are counted.
    fn begin(
        self: &Arc<Self>,
        image: ImageId,
        path: String,
    ) -> (bool, BoxFuture<'static, Result<OpenedImage, VolumeError>>) {
        self.image_registry.open(image, move |error| tracing::error!("{path}: {error}"))
    }

    /// The error number of a miss; what is not simply absent gets a line in the log.
    fn missed(&self, path: &str, miss: &Miss) -> Errno {
        match miss {
            Miss::NotFound => Errno::NOT_FOUND,
            Miss::NotADirectory => Errno::NOT_A_DIRECTORY,
            Miss::Stale => Errno::STALE,
            Miss::TooManyViews => {
                self.failed(path, miss);
                Errno::TOO_MANY
            }
            Miss::NotDescribed(_) | Miss::LabelsNotDescribed { .. } | Miss::Unusable { .. } => {
                self.failed(path, miss);
                Errno::IO
            }
        }
    }

    /// Writes the one line of a failed operation.
    fn failed(&self, path: &str, cause: &dyn std::fmt::Display) {
        let line = format!("{path}: {cause}");
        tracing::error!("{line}");
        self.stats.failure(line);
    }
}
