//! A volume of a file per z, in any format that is read file by file.
//!
//! Only the first and the last file are opened at first. Each other one is opened when a block of it is needed, because its
//! voxels begin at another offset; it must then be like the first, or its blocks are errors. A section for which there is no
//! file holds the fill value, where the configuration allows that.
//!
//! Files that were not looked at for the longest time go where opened ones take more memory than there is for them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use lru::LruCache;
use parking_lot::Mutex;

use super::{Description, Placement, Source, SourceError, SourcePart};
use crate::cache::{Joined, Reservation, SingleFlight};
use crate::document::Document;
use crate::geometry::{CellIndex, LevelIndex, Shape};
use crate::remote::{Cause, RemoteError};
use crate::store::{Healable, Object, healed, is_past_caches};
use crate::task;

/// How long a file that could not be opened is not asked for again: its blocks are many.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(1);
/// Memory that a file's handle takes, its address included.
const HANDLE: u64 = 768;
/// Memory that an opened file takes beside what it says it keeps.
const OPENED: u64 = 1024;
/// Files at the beginning of which one must be there, to say what all of them are like.
const MAX_MISSING: usize = 4;
/// Sizes of pixels that differ by so little are the same.
const SAME_SIZE: f64 = 0.01;

/// Opens the file of one section. The shape is that of the blocks of the others, where some are open.
pub type Opener =
    Arc<dyn Fn(Object, Option<Shape>) -> BoxFuture<'static, Result<Arc<dyn Source>, SourceError>> + Send + Sync>;

/// Files of one plane each as a volume of one level.
pub struct Stack {
    description: Description,
    /// What the first file says of itself.
    documents: Vec<Document>,
    voxel_size: [Option<f64>; 3],
    inverted: bool,
    files: Arc<Files>,
}

/// An open file, and its part of the memory for what is kept.
#[derive(Clone)]
struct Section {
    source: Arc<dyn Source>,
    kept: Arc<Reservation>,
}

type Located = Result<Section, SourceError>;

struct Files {
    /// In the order of z; `None` where there is no such section.
    objects: Vec<Option<Object>>,
    opener: Opener,
    /// What the first file is like.
    model: Section,
    /// Its address.
    like: String,
    /// Whether a file of another one was told of.
    told: AtomicBool,
    known: Mutex<LruCache<usize, Section>>,
    /// By the file's number: why it could not be opened, a moment ago.
    failed: Mutex<HashMap<usize, (SourceError, Instant)>>,
    flights: Arc<SingleFlight<usize, Located>>,
}

/// Bytes of memory that the handles of so many files take.
pub fn memory(files: u64) -> u64 {
    HANDLE.saturating_mul(files)
}

/// Opens files of a plane each, in the order of z; `None` stands for a section that there is none of.
pub async fn open(objects: Vec<Option<Object>>, opener: Opener) -> Result<Stack, SourceError> {
    let mut missing = None;
    let mut model = None;
    for (number, object) in objects.iter().enumerate().filter_map(|(n, o)| Some((n, o.as_ref()?))).take(MAX_MISSING) {
        match opened(&opener, object, None, || false).await {
            Ok(section) => {
                model = Some((number, object.url().to_owned(), section));
                break;
            }
            Err(error) if is_not_there(&error) => {
                missing.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    let Some((number, like, model)) = model else {
        let none = || SourceError::malformed("the list of files", "url", "is empty");
        return Err(missing.unwrap_or_else(none));
    };
    let mut description = model.source.description().clone();
    let Some(level) = description.levels.first_mut() else {
        return Err(SourceError::malformed(like, "image", "has no level"));
    };
    if level.grid.shape.0[0] != 1 {
        return Err(SourceError::unsupported(like, "image", "a stack in each of several files"));
    }
    level.grid.shape.0[0] = objects.len() as u64;
    let shape = level.grid.shape;
    if shape.bytes(description.dtype.size()).is_none_or(|bytes| i64::try_from(bytes).is_err()) {
        return Err(SourceError::unsupported(like, "image", format!("a volume of {shape} voxels")));
    }
    description.format.name.push_str(", a file per z");
    let files = Files {
        known: Mutex::new(LruCache::unbounded()),
        opener,
        like,
        told: AtomicBool::new(false),
        failed: Mutex::default(),
        flights: SingleFlight::new(),
        model: model.clone(),
        objects,
    };
    files.known.lock().put(number, files.model.clone());
    let last = files.objects.iter().rposition(Option::is_some).filter(|last| *last != number);
    if let Some(last) = last {
        match files.open(last).await {
            Ok(section) => {
                files.known.lock().put(last, section);
            }
            // Its blocks are errors.
            Err(error) if is_not_there(&error) => tracing::warn!("{error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(Stack {
        documents: model.source.documents(),
        voxel_size: model.source.partial_voxel_size(),
        inverted: model.source.is_inverted(),
        description,
        files: Arc::new(files),
    })
}

fn is_not_there(error: &SourceError) -> bool {
    matches!(error, SourceError::Remote(RemoteError { cause: Cause::NotFound, .. }))
}

/// `evict`: lets go of something that is kept, and says whether there was any.
async fn opened(opener: &Opener, object: &Object, cell: Option<Shape>, mut evict: impl FnMut() -> bool) -> Located {
    let source = opener(object.clone(), cell).await?;
    let bytes = source.kept().saturating_add(OPENED);
    let kept = loop {
        match object.desk().keep_for_now(bytes) {
            Ok(kept) => break Ok(kept),
            Err(_) if evict() => {}
            Err(_) => break object.desk().keep(bytes),
        }
    };
    let kept = kept.map_err(|error| SourceError::malformed(object.url(), "image", error.to_string()))?;
    Ok(Section { source, kept: Arc::new(kept) })
}

impl Files {
    fn known(&self, number: usize) -> Option<Located> {
        if let Some(section) = self.known.lock().get(&number).filter(|_| !is_past_caches()) {
            return Some(Ok(section.clone()));
        }
        let failed = self.failed.lock();
        let recent = failed.get(&number).filter(|(_, when)| when.elapsed() < FAILURE_REMEMBERED);
        // What failed was fetched past every cache already. Whoever asks anew may have what was not there.
        let recent = recent.filter(|(error, _)| is_past_caches() || !matches!(error, SourceError::Remote(_)));
        recent.map(|(error, _)| Err(error.clone()))
    }

    /// A section's file. It is opened at the first question; all who ask meanwhile wait for the one answer.
    async fn section(self: &Arc<Self>, number: usize) -> Located {
        let follower = match self.flights.join(&number, || self.known(number)) {
            Joined::Ready(located) => return located,
            Joined::Following(follower) => follower,
            Joined::Leading(leader, follower) => {
                let files = self.clone();
                // A task of its own, so that the work goes on for the others if the first to ask goes away.
                task::spawn(async move {
                    let located = healed(|| files.open(number)).await;
                    match &located {
                        Ok(section) => {
                            files.known.lock().put(number, section.clone());
                            files.failed.lock().remove(&number);
                        }
                        Err(error) if error.is_of_bytes() => {
                            files.failed.lock().insert(number, (error.clone(), Instant::now()));
                        }
                        // It was not fetched twice.
                        Err(_) => {}
                    }
                    leader.finish(located);
                });
                follower
            }
        };
        follower.await.unwrap_or_else(|_| Err(self.outside(number, "could not be opened")))
    }

    async fn open(&self, number: usize) -> Located {
        let Some(Some(object)) = self.objects.get(number) else { return Err(self.outside(number, "is not there")) };
        let cell = self.model.source.description().levels.first().map(|level| level.grid.cell);
        let section = opened(&self.opener, object, cell, || self.evict()).await?;
        self.check_same(object, &*section.source)?;
        self.compare_size(object, &*section.source);
        Ok(section)
    }

    /// Lets go of the file that was not looked at for the longest time. It stays as long as one of its blocks is decoded.
    fn evict(&self) -> bool {
        self.known.lock().pop_lru().is_some()
    }

    /// Refuses a file that is not like the first one.
    fn check_same(&self, object: &Object, other: &dyn Source) -> Result<(), SourceError> {
        let own = &self.model.source;
        let grid = |source: &dyn Source| source.description().levels.first().map(|level| level.grid);
        let told = |source: &dyn Source| {
            let shape = grid(source).map_or(Shape([0; 3]), |grid| grid.shape);
            let white = if source.is_inverted() { " with white as 0" } else { "" };
            format!("{} of {shape}{white}", source.description().dtype)
        };
        let is_same = grid(other) == grid(&**own)
            && other.description().dtype == own.description().dtype
            && other.is_inverted() == own.is_inverted();
        if is_same {
            return Ok(());
        }
        let reason = format!("{} (z×y×x), unlike {} in {}", told(other), told(&**own), self.like);
        Err(SourceError::malformed(object.url(), "image", reason))
    }

    /// Warns of the first file whose pixels are of another size, by which its voxels are told at wrong places.
    fn compare_size(&self, object: &Object, other: &dyn Source) {
        let (first, other) = (self.model.source.partial_voxel_size(), other.partial_voxel_size());
        let differ = |axis: usize| {
            let sizes = first[axis].zip(other[axis]);
            sizes.is_some_and(|(first, other)| (first - other).abs() > SAME_SIZE * first)
        };
        let shown = |[_, y, x]: [Option<f64>; 3]| {
            let [y, x] = [y, x].map(|size| size.map_or_else(|| "?".to_owned(), |size| size.to_string()));
            format!("{y} × {x} nm")
        };
        if (1..3).any(differ) && !self.told.swap(true, Ordering::Relaxed) {
            let (name, other, first) = (object.url(), shown(other), shown(first));
            tracing::warn!(
                "{name}: pixels of {other}, unlike {first} in the first file; the first file's size is told"
            );
        }
    }

    fn outside(&self, number: usize, reason: &str) -> SourceError {
        let object = self.objects.get(number).and_then(Option::as_ref);
        let name = object.map_or(self.like.as_str(), Object::url);
        SourceError::malformed(name, format!("file {number}"), reason)
    }
}

impl Stack {
    /// The number of the block's file, and the block of that file.
    fn find(&self, block: CellIndex) -> Result<(usize, CellIndex), SourceError> {
        if self.description.grid_with(block).is_none() {
            return Err(self.files.outside(0, &format!("block {block} lies outside of the volume")));
        }
        let [z, y, x] = block.0;
        Ok((z as usize, CellIndex([0, y, x])))
    }
}

impl Source for Stack {
    fn description(&self) -> &Description {
        &self.description
    }

    fn documents(&self) -> Vec<Document> {
        self.documents.clone()
    }

    fn kept(&self) -> u64 {
        memory(self.files.objects.len() as u64)
    }

    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        self.voxel_size
    }

    fn is_inverted(&self) -> bool {
        self.inverted
    }

    fn objects(&self, planes: Range<u64>) -> Option<Vec<Option<Object>>> {
        let planes = usize::try_from(planes.start).ok()?..usize::try_from(planes.end).ok()?;
        self.files.objects.get(planes).map(<[_]>::to_vec)
    }

    fn locate(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move {
            let (number, block) = self.find(block)?;
            if matches!(self.files.objects.get(number), Some(None)) {
                return Ok(Placement::Absent { confirmed: SystemTime::now() });
            }
            self.files.section(number).await?.source.locate(level, block).await
        })
    }

    fn part(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Option<SourcePart>, SourceError>> {
        Box::pin(async move {
            let (number, block) = self.find(block)?;
            let Section { source, kept } = self.files.section(number).await?;
            Ok(Some(SourcePart::new(move |raw| {
                let decoded = source.decode(level, block, raw);
                drop(kept);
                decoded
            })))
        })
    }

    fn decode(&self, level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let (number, block) = self.find(block)?;
        let section = self.files.known.lock().get(&number).cloned();
        let section = section.ok_or_else(|| self.files.outside(number, "was let go of"))?;
        section.source.decode(level, block, raw)
    }
}
