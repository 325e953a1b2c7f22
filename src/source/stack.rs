//! A volume of a file per z, in any format that is read file by file.
//!
//! Only the first and the last file are opened at first. Each other one is opened when a block of it is needed, because its
//! voxels begin at another offset; it must then be like the first, or its blocks are errors. So are those of a first or last
//! file that cannot be read or is unlike the others. A section for which there is no file holds the fill value, where the
//! configuration allows that.
//!
//! Files that were not looked at for the longest time go where opened ones take more memory than there is for them.

mod model;
mod section;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use lru::LruCache;
use parking_lot::Mutex;

use self::model::Model;
pub use self::section::Opener;
use self::section::{Located, Section, opened};
use super::{Description, Placement, Source, SourceError, SourcePart};
use crate::cache::{FAILURE_REMEMBERED, Joined, RecentFailures, SingleFlight};
use crate::document::Document;
use crate::geometry::{CellIndex, LevelIndex, Shape};
use crate::store::{Healable, Object, healed_apart, is_past_caches};
use crate::task;

/// Memory that a file's handle takes, its address included.
const HANDLE: u64 = 768;
/// Memory that the place of a plane takes in files of several.
const PLACE: u64 = 16;
/// Sizes of pixels that differ by so little are the same.
const SAME_SIZE: f64 = 0.01;

/// Files of one plane each as a volume of one level.
pub struct Stack {
    description: Description,
    /// What the first file says of itself.
    documents: Vec<Document>,
    voxel_size: [Option<f64>; 3],
    inverted: bool,
    files: Arc<Files>,
}

struct Files {
    /// In the order of z, where they hold a plane each; `None` where there is no such section.
    objects: Vec<Option<Object>>,
    /// Of each plane the number of its file, and its number in that, where files hold several.
    planes: Option<Vec<(usize, u64)>>,
    opener: Opener,
    /// The file that all must be like: the first good one.
    model: Section,
    /// Its address.
    like: String,
    /// Whether a file of another one was told of.
    told: AtomicBool,
    known: Mutex<LruCache<usize, Opened>>,
    /// By the file's number: why it could not be opened, a moment ago.
    failed: RecentFailures<usize, SourceError>,
    /// By the file's number, and whether it is opened past every cache: what no cache may answer is not had of a cache.
    flights: Arc<SingleFlight<(usize, bool), Located>>,
}

/// An open file, and when it was opened past every cache because its blocks made no sense, where it was.
struct Opened {
    section: Section,
    again: Option<Instant>,
}

/// Bytes of memory that the handles of so many files take.
pub fn memory(files: u64) -> u64 {
    HANDLE.saturating_mul(files)
}

/// Opens files of a plane each, in the order of z; `None` stands for a section that there is none of.
pub async fn open(objects: Vec<Option<Object>>, opener: Opener) -> Result<Stack, SourceError> {
    of_files(objects, None, opener).await
}

/// Opens files of several planes; `planes` has of each plane, in the order of z, the number of its file and its number in that.
pub async fn open_divided(
    objects: Vec<Object>,
    planes: Vec<(usize, u64)>,
    opener: Opener,
) -> Result<Stack, SourceError> {
    of_files(objects.into_iter().map(Some).collect(), Some(planes), opener).await
}

async fn of_files(
    objects: Vec<Option<Object>>,
    planes: Option<Vec<(usize, u64)>>,
    opener: Opener,
) -> Result<Stack, SourceError> {
    let Model { number, section: model, last } = model::find(&objects, &opener, planes.is_some()).await?;
    let like = objects.get(number).and_then(Option::as_ref).map_or("", Object::url).to_owned();
    let mut description = model.source.description().clone();
    let mut shape = model.grid().map_or(Shape([0; 3]), |grid| grid.shape);
    shape.0[0] = planes.as_ref().map_or(objects.len(), Vec::len) as u64;
    if shape.bytes(description.dtype.size()).is_none_or(|bytes| i64::try_from(bytes).is_err()) {
        return Err(SourceError::unsupported(like, "image", format!("a volume of {shape} voxels")));
    }
    description.levels.iter_mut().for_each(|level| level.grid.shape = shape);
    description.format.name += &match &planes {
        None => ", a file per z".to_owned(),
        Some(_) => format!(", in {} files", objects.len()),
    };
    let files = Files {
        known: Mutex::new(LruCache::unbounded()),
        opener,
        like,
        told: AtomicBool::new(false),
        failed: RecentFailures::default(),
        flights: SingleFlight::new(),
        model: model.clone(),
        objects,
        planes,
    };
    files.keep(number, &files.model, false);
    if let Some((last, section)) = last {
        if let Some(Some(object)) = files.objects.get(last) {
            files.compare_size(object, &*section.source);
        }
        files.keep(last, &section, false);
    }
    Ok(Stack {
        documents: model.source.documents(),
        voxel_size: model.source.partial_voxel_size(),
        inverted: model.source.is_inverted(),
        description,
        files: Arc::new(files),
    })
}

impl Files {
    fn known(&self, number: usize) -> Option<Located> {
        // As with failures, because its blocks are many.
        let is_new = |opened: &Opened| opened.again.is_some_and(|when| when.elapsed() < FAILURE_REMEMBERED);
        if let Some(opened) = self.known.lock().get(&number).filter(|opened| !is_past_caches() || is_new(opened)) {
            return Some(Ok(opened.section.clone()));
        }
        // What failed was fetched past every cache already. Whoever asks anew may have what was not there.
        let recent = self.failed.get(&number);
        recent.filter(|error| is_past_caches() || !matches!(error, SourceError::Remote(_))).map(Err)
    }

    /// A section's file. It is opened at the first question; all who ask meanwhile wait for the one answer.
    async fn section(self: &Arc<Self>, number: usize) -> Located {
        let again = is_past_caches();
        let follower = match self.flights.join(&(number, again), || self.known(number)) {
            Joined::Ready(located) => return located,
            Joined::Following(follower) => follower,
            Joined::Leading(leader, follower) => {
                let files = self.clone();
                // A task of its own, so that the work goes on for the others if the first to ask goes away.
                task::spawn(async move {
                    let located = healed_apart(again, || files.open(number)).await;
                    match &located {
                        Ok(section) => files.keep(number, section, again),
                        Err(error) if error.is_of_bytes() => {
                            files.failed.remember(number, error.clone());
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

    /// Keeps an open file, opened `again` past every cache. What that gave is not replaced by what a cache may have given.
    fn keep(&self, number: usize, section: &Section, again: bool) {
        let mut known = self.known.lock();
        if again || !known.contains(&number) {
            known.put(number, Opened { section: section.clone(), again: again.then(Instant::now) });
        }
        drop(known);
        self.failed.forget(&number);
    }

    async fn open(&self, number: usize) -> Located {
        let Some(Some(object)) = self.objects.get(number) else { return Err(self.outside(number, "is not there")) };
        let cell = self.model.grid().map(|grid| grid.cell);
        let section = opened(&self.opener, object, (cell, self.planes.is_some()), || self.evict()).await?;
        self.model.check_same(&self.like, object, &section)?;
        self.compare_size(object, &*section.source);
        Ok(section)
    }

    /// Lets go of the file that was not looked at for the longest time. It stays as long as one of its blocks is decoded.
    fn evict(&self) -> bool {
        self.known.lock().pop_lru().is_some()
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
        let z = usize::try_from(z).unwrap_or(usize::MAX);
        let place = self.files.planes.as_ref().map_or(Some((z, 0)), |planes| planes.get(z).copied());
        let (number, plane) = place.ok_or_else(|| self.files.outside(0, "has no such plane"))?;
        Ok((number, CellIndex([plane, y, x])))
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
        let planes = self.files.planes.as_ref().map_or(0, Vec::len) as u64;
        memory(self.files.objects.len() as u64).saturating_add(planes.saturating_mul(PLACE))
    }

    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        self.voxel_size
    }

    fn is_inverted(&self) -> bool {
        self.inverted
    }

    fn objects(&self, planes: Range<u64>) -> Option<Vec<Option<Object>>> {
        let planes = usize::try_from(planes.start).ok()?..usize::try_from(planes.end).ok()?;
        let Some(places) = &self.files.planes else { return self.files.objects.get(planes).map(<[_]>::to_vec) };
        let mut numbers: Vec<usize> = places.get(planes)?.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().map(|number| self.files.objects.get(number).cloned()).collect()
    }

    fn locate(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move {
            let (number, block) = self.find(block)?;
            if matches!(self.files.objects.get(number), Some(None)) {
                return Ok(Placement::Absent { confirmed: SystemTime::now() });
            }
            let source = self.files.section(number).await?.source;
            let placement = source.locate(level, block).await?;
            if matches!(placement, Placement::Absent { .. }) && source.description().fill != self.description.fill {
                let reason = "holds nothing where another value stands for that than in the first file";
                return Err(self.files.outside(number, reason));
            }
            Ok(placement)
        })
    }

    fn part(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Option<SourcePart>, SourceError>> {
        Box::pin(async move {
            let (number, block) = self.find(block)?;
            let Section { source, kept, .. } = self.files.section(number).await?;
            Ok(Some(SourcePart::new(move |raw| {
                let decoded = source.decode(level, block, raw);
                drop(kept);
                decoded
            })))
        })
    }

    fn decode(&self, level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let (number, block) = self.find(block)?;
        let section = self.files.known.lock().get(&number).map(|opened| opened.section.clone());
        let section = section.ok_or_else(|| self.files.outside(number, "was let go of"))?;
        section.source.decode(level, block, raw)
    }
}
