//! Volumes in DM3 and DM4 files of Gatan's DigitalMicrograph: one file, or a file per z.
//!
//! What is in a file is [`crate::dm`]'s knowledge; here is which bytes of which file a block is. Of a series only the
//! first and the last file are opened at first. Each other one is opened when a block of it is needed, because pixels
//! begin at another offset in each; it must then be like the first, or its blocks are errors. Blocks are bands of rows.

mod file;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use self::file::{FileFormat, Opened};
use super::{Description, Placement, Source, SourceError, SourceLevel};
use crate::cache::{Joined, SingleFlight};
use crate::document::Document;
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, LevelIndex, Shape};
use crate::source::planes::plane_chunk;
use crate::store::{Healable, Object, healed, is_past_caches};

/// A plane so long is one block.
const WHOLE_PLANE: u64 = 1 << 20;
/// A band of rows has so many bytes at least.
const MIN_BAND: u64 = 512 << 10;
/// Longest band of rows, unless a single row is longer.
const MAX_BAND: u64 = 64 << 20;
/// How long a file that could not be opened is not asked for again: its blocks are many.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(1);
/// Memory that a file's handle takes, its address included.
const HANDLE: u64 = 768;
/// Longest row that is accepted.
const MAX_ROW: u64 = 1 << 30;

/// Files of one image each as a volume of one level.
pub struct Dm3Source {
    description: Description,
    /// The first file's tags.
    tags: Document,
    files: Arc<Files>,
}

/// Where the pixels of a file begin, and in which byte order they are.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    big_endian: bool,
}

type Located = Result<Place, SourceError>;

struct Files {
    objects: Vec<Object>,
    form: FileFormat,
    /// Nanometres per voxel along `y, x` by the first file, where it says them.
    pixel_size: [Option<f64>; 2],
    /// Whether a file of another one was told of.
    told: AtomicBool,
    /// By the file's number: where its pixels are.
    known: Mutex<HashMap<usize, Place>>,
    /// By the file's number: why it could not be opened, a moment ago.
    failed: Mutex<HashMap<usize, (SourceError, Instant)>>,
    flights: Arc<SingleFlight<usize, Located>>,
}

/// Bytes of memory that the handles of so many files take.
pub fn memory(files: u64) -> u64 {
    HANDLE.saturating_mul(files)
}

/// Opens one file, which may be a stack, or a file per z in this order. `missing`: nanometres per voxel along `z, y, x`
/// for axes of which the files do not say it.
pub async fn open(objects: Vec<Object>, missing: [Option<f64>; 3]) -> Result<Dm3Source, SourceError> {
    let (Some(first), Some(last)) = (objects.first(), objects.last()) else {
        return Err(SourceError::malformed("the list of files", "url", "is empty"));
    };
    let count = objects.len();
    let (opened, end) = if count == 1 {
        (file::open(first).await?, None)
    } else {
        let (opened, end) = futures::try_join!(file::open(first), file::open(last))?;
        (opened, Some(end))
    };
    if count > 1 && opened.form.shape.0[0] != 1 {
        return Err(SourceError::unsupported(first.url(), "Dimensions", "a stack in each of several files"));
    }
    let form = opened.form;
    if let Some(end) = &end {
        form.check_same(first, last, end.form)?;
    }

    let [depth, height, width] = form.shape.0;
    let depth = if count == 1 { depth } else { count as u64 };
    let shape = Shape([depth, height, width]);
    let too_large = shape.bytes(form.dtype.size()).is_none_or(|bytes| i64::try_from(bytes).is_err());
    let row = width.saturating_mul(form.dtype.size() as u64);
    if too_large || row > MAX_ROW {
        let reason = format!("a volume of {shape} voxels");
        return Err(SourceError::unsupported(first.url(), "Dimensions", reason));
    }
    let grid = Grid { shape, cell: Shape([1, band(shape, form.dtype), width]) };
    let (scale, translation) = opened.placement(missing);
    let description = Description {
        dtype: form.dtype,
        levels: vec![SourceLevel { grid, scale, translation, offset: [0; 3] }],
        fill: FillValue::zero(form.dtype),
        window: opened.image.display,
        format: opened.format(count > 1),
        downsampling: None,
        chunked: false,
    };
    let place = |opened: &Opened| Place { offset: opened.image.offset, big_endian: opened.image.big_endian };
    let known = Mutex::new(HashMap::from([(0, place(&opened))]));
    let pixel_size = opened.pixel_size();
    let tags = file::document(first, opened.tags).await?;
    let (told, failed, flights) = (AtomicBool::new(false), Mutex::default(), SingleFlight::new());
    let files = Files { objects, form, pixel_size, told, known, failed, flights };
    if let Some(end) = end {
        files.compare_size(count - 1, &end);
        files.known.lock().insert(count - 1, place(&end));
    }
    Ok(Dm3Source { description, tags, files: Arc::new(files) })
}

/// Rows of a block: as many as the chunks have that are cut from it, or a multiple of that.
fn band(shape: Shape, dtype: DataType) -> u64 {
    let [_, height, width] = shape.0;
    let row = width * dtype.size() as u64;
    if row.saturating_mul(height) <= WHOLE_PLANE {
        return height;
    }
    let chunk = plane_chunk(shape, dtype).0[1].max(1);
    let mut rows = (chunk * MIN_BAND.div_ceil((chunk * row).max(1))).min(height);
    while rows > 1 && rows * row > MAX_BAND {
        rows = rows.div_ceil(2);
    }
    rows
}

impl Files {
    fn known(&self, number: usize) -> Option<Located> {
        if let Some(place) = self.known.lock().get(&number).filter(|_| !is_past_caches()) {
            return Some(Ok(*place));
        }
        let failed = self.failed.lock();
        let recent = failed.get(&number).filter(|(_, when)| when.elapsed() < FAILURE_REMEMBERED);
        // What failed was fetched past every cache already. Whoever asks anew may have what was not there.
        let recent = recent.filter(|(error, _)| is_past_caches() || !matches!(error, SourceError::Remote(_)));
        recent.map(|(error, _)| Err(error.clone()))
    }

    /// Where the pixels of a file are. It is opened at the first question; all who ask meanwhile wait for the one answer.
    async fn place(self: &Arc<Self>, number: usize) -> Located {
        let follower = match self.flights.join(&number, || self.known(number)) {
            Joined::Ready(located) => return located,
            Joined::Following(follower) => follower,
            Joined::Leading(leader, follower) => {
                let files = self.clone();
                // A task of its own, so that the work goes on for the others if the first to ask goes away.
                tokio::spawn(async move {
                    let located = healed(|| files.open(number)).await;
                    match &located {
                        Ok(place) => {
                            files.known.lock().insert(number, *place);
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
        let (Some(first), Some(object)) = (self.objects.first(), self.objects.get(number)) else {
            return Err(self.outside(number, "is not there"));
        };
        let opened = file::open(object).await?;
        self.form.check_same(first, object, opened.form)?;
        self.compare_size(number, &opened);
        Ok(Place { offset: opened.image.offset, big_endian: opened.image.big_endian })
    }

    /// Warns of the first file whose pixels are of another size, by which its voxels are told at wrong places.
    fn compare_size(&self, number: usize, opened: &Opened) {
        let name = self.objects.get(number).map_or("", Object::url);
        if let Some([first, other]) = file::resized(self.pixel_size, opened.pixel_size())
            && !self.told.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                "{name}: pixels of {other}, unlike {first} in the first file; the first file's size is told"
            );
        }
    }

    fn outside(&self, number: usize, reason: &str) -> SourceError {
        let name = self.objects.get(number).or(self.objects.first()).map_or("", Object::url);
        SourceError::malformed(name, format!("file {number}"), reason)
    }
}

impl Dm3Source {
    /// The block's grid, the number of its file, and the plane of that file.
    fn find(&self, block: CellIndex) -> Result<(Grid, usize, u64), SourceError> {
        let grid = self.description.levels.first().map(|level| level.grid).filter(|grid| grid.contains(block));
        let grid = grid.ok_or_else(|| self.files.outside(0, &format!("block {block} lies outside of the volume")))?;
        let z = block.0[0];
        if self.files.objects.len() == 1 { Ok((grid, 0, z)) } else { Ok((grid, z as usize, 0)) }
    }

    async fn range(&self, block: CellIndex) -> Result<Placement, SourceError> {
        let (grid, number, plane) = self.find(block)?;
        let place = self.files.place(number).await?;
        let object = self.files.objects.get(number).ok_or_else(|| self.files.outside(number, "is not there"))?;
        let [_, height, width] = grid.shape.0;
        let size = self.description.dtype.size() as u64;
        let region = grid.region(block);
        // The whole volume fits 63 bits, so its parts do; the offset was checked against the file's length.
        let before = (plane * height + region.start[1]) * width * size;
        let start = place.offset.checked_add(before);
        let start = start.ok_or_else(|| self.files.outside(number, "holds pixels beyond 2⁶⁴ bytes"))?;
        let length = region.shape().bytes(size as usize).unwrap_or_default();
        Ok(Placement::Range { object: object.clone(), start, length })
    }
}

impl Source for Dm3Source {
    fn description(&self) -> &Description {
        &self.description
    }

    fn documents(&self) -> Vec<Document> {
        vec![self.tags.clone()]
    }

    fn kept(&self) -> u64 {
        memory(self.files.objects.len() as u64)
    }

    fn locate(&self, _level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(self.range(block))
    }

    fn decode(&self, _level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let (grid, number, _) = self.find(block)?;
        let size = self.description.dtype.size();
        let expected = grid.region(block).shape().bytes(size);
        if expected != Some(raw.len() as u64) {
            return Err(self.files.outside(number, &format!("block {block} came with {} bytes", raw.len())));
        }
        let place = self.files.known(number).ok_or_else(|| self.files.outside(number, "was not opened"))??;
        if !place.big_endian || size == 1 {
            return Ok(raw);
        }
        let mut voxels = Vec::from(raw);
        voxels.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        Ok(voxels.into())
    }
}
