//! The images of a mount, each opened when it is first touched.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

use crate::archive::{self, Kept};
use crate::cache::RecentFailure;
use crate::catalog::SourceSpec;
use crate::document::Document;
use crate::store::Remote;
use crate::task;
use crate::tree::{ImageId, Tree};
use crate::volume::image_notes::ImageNotes;
use crate::volume::intensity::Intensity;
use crate::volume::{Blocks, Image, Pyramid, VolumeError, measure, view};

/// How long an image is read before its display window is measured: a job that reads a few chunks and goes costs the archive
/// nothing more, and who waits for the first ones does not wait for the window.
const MEASURED_AFTER: Duration = Duration::from_secs(15);

/// An open image.
#[derive(Clone)]
pub(super) struct OpenedImage {
    pub(super) image: Arc<Image>,
    pub(super) pyramid: Arc<Pyramid>,
    /// Where its voxels come from, as resolved.
    pub(super) origin: Arc<str>,
    /// What is computed of its voxels and kept for who opens it next.
    notes: ImageNotes,
    /// Statistics of its voxels that were computed before.
    pub(super) intensity: Option<Arc<Intensity>>,
    /// When it was opened.
    pub(super) when: SystemTime,
    /// What is kept as long as it is open.
    _kept: Arc<Kept>,
}

type Opening = Shared<BoxFuture<'static, Result<OpenedImage, VolumeError>>>;

#[derive(Clone)]
enum State {
    Closed,
    Opening(Opening),
    Open(OpenedImage),
    /// One `open` of a program asks several times.
    Failed(RecentFailure<VolumeError>),
}

struct RegisteredImage {
    name: String,
    spec: SourceSpec,
    state: Mutex<State>,
    /// What archive and source said, also where the image could not be opened.
    heard: Mutex<Arc<[Document]>>,
    /// Whether an attempt failed that nobody who reads has met yet.
    unmet: AtomicBool,
    /// Where it is a label image: whether it was compared with its image.
    compared: Once,
    /// Whether its display window is measured, or need not be.
    measured: Once,
}

/// All images and labels of the catalogue, by [`ImageId`].
pub(super) struct ImageRegistry {
    remote: Remote,
    blocks: Arc<Blocks>,
    tree: Arc<Tree>,
    images: Vec<RegisteredImage>,
    /// Whose display window is measured now: of one image at a time.
    measuring: Semaphore,
    /// Counts the changes of what is known.
    changes: AtomicU64,
}

/// What is known of an image without waiting.
pub(super) enum KnownImage {
    /// Nobody asked for it yet.
    Nothing,
    /// It is being opened.
    Opening,
    /// It is open.
    Open(OpenedImage),
    /// The last attempt failed.
    Failed(VolumeError),
}

impl ImageRegistry {
    /// `images` in the order of their ids: a name for messages, and where the voxels come from.
    pub(super) fn new(
        remote: Remote,
        blocks: Arc<Blocks>,
        tree: Arc<Tree>,
        images: impl IntoIterator<Item = (String, SourceSpec)>,
    ) -> Arc<Self> {
        let images = images.into_iter().map(|(name, spec)| RegisteredImage {
            name,
            spec,
            state: Mutex::new(State::Closed),
            heard: Mutex::new(Arc::default()),
            unmet: AtomicBool::new(false),
            compared: Once::new(),
            measured: Once::new(),
        });
        let images = images.collect();
        let (measuring, changes) = (Semaphore::new(1), AtomicU64::new(0));
        Arc::new(ImageRegistry { remote, blocks, tree, images, measuring, changes })
    }

    /// A number that is another one whenever more or something else is known than before.
    pub(super) fn generation(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What messages call the image.
    pub(super) fn name(&self, id: ImageId) -> &str {
        self.images.get(id.0 as usize).map_or("", |registered| &registered.name)
    }

    /// Whether the last attempt to open the image failed, and this is the first to ask about that.
    pub(super) fn is_first_to_meet_failure(&self, id: ImageId) -> bool {
        self.images.get(id.0 as usize).is_some_and(|registered| registered.unmet.swap(false, Ordering::AcqRel))
    }

    /// Confirms what was shown as absent of late.
    pub(super) async fn confirm_absences(&self) {
        // What fails is counted.
        let _ = self.remote.confirm_absences().await;
    }

    /// Whoever asks next for an image whose last attempt failed is the first to ask about that.
    pub(super) fn forget_who_met_failures(&self) {
        for registered in &self.images {
            let failed = matches!(&*registered.state.lock(), State::Failed(..));
            registered.unmet.fetch_or(failed, Ordering::AcqRel);
        }
    }

    /// The image where it is open.
    pub(super) fn opened(&self, id: ImageId) -> Option<OpenedImage> {
        match &*self.images.get(id.0 as usize)?.state.lock() {
            State::Open(opened) => Some(opened.clone()),
            _ => None,
        }
    }

    /// What is known without waiting and without asking anybody.
    pub(super) fn known(&self, id: ImageId) -> KnownImage {
        match self.images.get(id.0 as usize).map(|registered| registered.state.lock().clone()) {
            None | Some(State::Closed) => KnownImage::Nothing,
            Some(State::Opening(_)) => KnownImage::Opening,
            Some(State::Open(opened)) => KnownImage::Open(opened),
            Some(State::Failed(failure)) => KnownImage::Failed(failure.error().clone()),
        }
    }

    /// What archive and source said so far, whether the image is open or not.
    pub(super) fn documents(&self, id: ImageId) -> Arc<[Document]> {
        self.images.get(id.0 as usize).map(|registered| registered.heard.lock().clone()).unwrap_or_default()
    }

    /// Opens the image, or joins who does. The flag says whether this call began an attempt; if that fails, `failed` is
    /// called before anybody learns of it.
    pub(super) fn open(
        self: &Arc<Self>,
        id: ImageId,
        failed: impl FnOnce(&VolumeError) + Send + 'static,
    ) -> (bool, BoxFuture<'static, Result<OpenedImage, VolumeError>>) {
        let Some(registered) = self.images.get(id.0 as usize) else {
            return (
                false,
                std::future::ready(Err(VolumeError::Unsuitable(format!("there is no image {}", id.0)))).boxed(),
            );
        };
        let mut state = registered.state.lock();
        match &*state {
            State::Open(opened) => return (false, std::future::ready(Ok(opened.clone())).boxed()),
            State::Opening(opening) => return (false, opening.clone().boxed()),
            State::Failed(failure) => {
                if let Some(error) = failure.recent() {
                    return (false, std::future::ready(Err(error.clone())).boxed());
                }
            }
            State::Closed => {}
        }
        let this = self.clone();
        // A task of its own, so that it ends even if nobody waits for it any more.
        let task = task::spawn(async move {
            // A panic is a failed attempt like any other, or the image would stay as if it were being opened.
            let attempt = AssertUnwindSafe(this.attempt(id)).catch_unwind().await;
            let result = attempt.unwrap_or(Err(VolumeError::Lost));
            if let Err(error) = &result {
                failed(error);
            }
            if let Some(registered) = this.images.get(id.0 as usize) {
                registered.unmet.store(result.is_err(), Ordering::Release);
                *registered.state.lock() = match &result {
                    Ok(opened) => State::Open(opened.clone()),
                    Err(error) => State::Failed(RecentFailure::now(error.clone())),
                };
                this.changes.fetch_add(1, Ordering::AcqRel);
            }
            result
        });
        let opening = task.map(|joined| joined.unwrap_or(Err(VolumeError::Lost))).boxed().shared();
        *state = State::Opening(opening.clone());
        self.changes.fetch_add(1, Ordering::AcqRel);
        (true, opening.boxed())
    }

    async fn attempt(&self, id: ImageId) -> Result<OpenedImage, VolumeError> {
        let Some(registered) = self.images.get(id.0 as usize) else { return Err(VolumeError::Lost) };
        let opened = match archive::open_image(&self.remote, &registered.spec, id.0, &registered.name).await {
            Ok(opened) => opened,
            Err(failure) => {
                // What was heard before stays where nothing is heard now.
                if !failure.documents.is_empty() {
                    *registered.heard.lock() = failure.documents.into();
                }
                return Err(failure.error);
            }
        };
        *registered.heard.lock() = opened.documents.into();
        let pyramid = Arc::new(opened.pyramid);
        self.tree
            .describe(id, pyramid.clone())
            .map_err(|error| VolumeError::Unsuitable(format!("{}: {error}", registered.name)))?;
        self.compare(id);
        let (image, origin, intensity) = (opened.image, opened.origin.into(), opened.intensity.map(Arc::new));
        let notes = opened.notes;
        Ok(OpenedImage { image, pyramid, origin, notes, intensity, when: SystemTime::now(), _kept: opened.kept })
    }

    fn is_label(&self, id: ImageId) -> bool {
        self.tree.image(id).is_some_and(|info| info.named.label.is_some())
    }

    /// Somebody reads the image: measures its display window a while later, once, and keeps it for those who open the image
    /// after that. In this mount its documents stay as they are.
    pub(super) fn measure_later(self: &Arc<Self>, id: ImageId) {
        let Some(registered) = self.images.get(id.0 as usize) else { return };
        registered.measured.call_once(|| {
            let is_kept = self.remote.disk().is_some_and(|disk| disk.is_writable());
            if !is_kept || self.remote.is_offline() || self.is_label(id) {
                return;
            }
            let this = self.clone();
            task::spawn(async move {
                tokio::time::sleep(MEASURED_AFTER).await;
                // Never closed, and without a permit only more would be read at once.
                let _permit = this.measuring.acquire().await;
                let (Some(registered), Some(opened)) = (this.images.get(id.0 as usize), this.opened(id)) else {
                    return;
                };
                let OpenedImage { image, notes, .. } = opened;
                if let Err(error) = measure::measure_and_keep(&image, &this.blocks, &registered.spec, &notes).await {
                    tracing::debug!("{}: its display window is not measured: {error}", registered.name);
                }
            });
        });
    }

    /// Warns of label images that have another shape than their image, of each once, when both are described.
    fn compare(&self, id: ImageId) {
        let Some(info) = self.tree.image(id) else { return };
        let is_of_it =
            |other: &ImageId| self.tree.image(*other).is_some_and(|other| other.named.image == info.named.image);
        let mut family = self.tree.images_of(info.dataset_id).filter(is_of_it);
        let Some(image) = family.next().and_then(|image| self.tree.pyramid(image)) else { return };
        for id in family {
            let (Some(registered), Some(label)) = (self.images.get(id.0 as usize), self.tree.pyramid(id)) else {
                continue;
            };
            registered.compared.call_once(|| {
                let are_placed = image.is_calibrated() && label.is_calibrated();
                if let Some((expected, found)) = view::unlike(image, label).filter(|_| !are_placed) {
                    let name = &registered.name;
                    tracing::warn!(
                        "{name}: {found} voxels (z×y×x), where its image has {expected}, and no voxel size; crops leave it out"
                    );
                }
            });
        }
    }
}
