//! An array of an export: what of it is written, and how more is.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::absent::AbsentBlocks;
use super::codec::ChunkCompression;
use super::destination::{Destination, blocking};
use super::error::ExportError;
use super::journal::BlockFiles;
use super::layout::ArrayLayout;
use super::ledger::{ArrayLedger, WrittenFile};
use super::progress::Progress;
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, LevelIndex};
use crate::volume::Image;
use crate::zarr::Format;

/// In the index of a shard, the place of a chunk that is not there.
const NOWHERE: u64 = u64::MAX;

/// Files of shards that are not complete, beyond which those that nobody uses are closed.
const OPEN: usize = 64;

/// An array to write. Everything about it is fixed before the first byte is fetched.
#[derive(Clone)]
pub(super) struct ArrayPlan {
    /// Path in the store, as `s0` or `labels/cells/s0`.
    pub(super) path: String,
    pub(super) image: Arc<Image>,
    /// Level of the source.
    pub(super) level: LevelIndex,
    /// Whether another array is made of its blocks.
    pub(super) is_below: bool,
    pub(super) layout: ArrayLayout,
    pub(super) dtype: DataType,
    /// Value of voxels that are absent at the origin.
    pub(super) fill: FillValue,
    pub(super) compression: ChunkCompression,
    pub(super) format: Format,
}

impl ArrayPlan {
    /// Whether its voxels are made of those of the level below.
    pub(super) fn is_computed(&self) -> bool {
        self.image.is_computed(self.level)
    }
}

/// An array that is being written.
pub(super) struct ArrayExport {
    pub(super) target: ArrayPlan,
    /// What was fetched and is still needed.
    pub(super) journal: BlockFiles,
    /// Blocks that the archive lacks.
    pub(super) absent: AbsentBlocks,
    /// What is written of each chunk, in a shard or as a file.
    chunks: ArrayLedger,
    /// What is written of each shard.
    shards: Option<ArrayLedger>,
    folder: PathBuf,
    done: Mutex<Done>,
    parts: Mutex<Vec<(CellIndex, Arc<Part>)>>,
}

/// What is written.
#[derive(Default)]
struct Done {
    chunks: Bits,
    batches: Bits,
    /// Chunks that are missing in each shard that is begun.
    left: HashMap<CellIndex, u64>,
}

/// Chunks of a shard that is not complete, in the order in which they came.
struct Part {
    file: File,
    path: PathBuf,
    end: AtomicU64,
}

/// Bits that are all 0 at first. Takes memory as they are set.
#[derive(Default)]
struct Bits(HashMap<u64, Box<[u64; Bits::WORDS]>>);

impl Bits {
    /// In a page, which is in memory where any bit of it is set.
    const WORDS: usize = 512;

    /// The page, the word in it and the bit in that.
    fn split(place: u64) -> (u64, usize, u64) {
        let word = place / 64;
        (word / Self::WORDS as u64, (word % Self::WORDS as u64) as usize, 1 << (place % 64))
    }

    fn get(&self, place: u64) -> bool {
        let (page, word, bit) = Self::split(place);
        self.0.get(&page).is_some_and(|page| page[word] & bit != 0)
    }

    /// Sets a bit; says whether it was not set before.
    fn set(&mut self, place: u64) -> bool {
        let (page, word, bit) = Self::split(place);
        let word = &mut self.0.entry(page).or_insert_with(|| Box::new([0; Self::WORDS]))[word];
        let before = *word;
        *word |= bit;
        before != *word
    }
}

impl ArrayExport {
    /// Opens what is known of the array in `folder`, which is made where it is missing.
    pub(super) fn open(target: ArrayPlan, folder: PathBuf) -> io::Result<ArrayExport> {
        fs::create_dir_all(&folder)?;
        let shards = match target.layout.shard {
            Some(_) => Some(ArrayLedger::open(&folder.join("shards"))?),
            None => None,
        };
        Ok(ArrayExport {
            journal: BlockFiles::open(folder.join("blocks"))?,
            absent: AbsentBlocks::open(&folder.join("absent"))?,
            chunks: ArrayLedger::open(&folder.join("chunks"))?,
            shards,
            done: Mutex::default(),
            parts: Mutex::default(),
            folder,
            target,
        })
    }

    /// Key of a file.
    pub(super) fn key(&self, file: CellIndex) -> String {
        match self.target.format {
            Format::V2 => format!("{}/{file}", self.target.path),
            Format::V3 => format!("{}/c/{file}", self.target.path),
        }
    }

    /// Whether a chunk is written.
    pub(super) fn is_done(&self, chunk: CellIndex) -> bool {
        self.done.lock().chunks.get(ArrayLayout::place(&self.target.layout.chunks, chunk))
    }

    /// Whether all chunks of a batch are written.
    pub(super) fn is_finished(&self, batch: u64) -> bool {
        self.done.lock().batches.get(batch)
    }

    /// Notes that all chunks of a batch are written.
    pub(super) fn finish(&self, batch: u64) {
        self.done.lock().batches.set(batch);
    }

    /// Whether a chunk that is not written yet is made of a block.
    pub(super) fn needs(&self, block: CellIndex) -> bool {
        self.target.layout.chunks_with(block).any(|chunk| !self.is_done(chunk))
    }

    /// Saves which blocks are absent, before anything is written that shows them.
    pub(super) async fn save_absent(self: &Arc<Self>) -> Result<(), ExportError> {
        if self.absent.is_saved() {
            return Ok(());
        }
        let this = self.clone();
        let saved = blocking(move || this.absent.save()).await;
        saved.map_err(ExportError::write(self.folder.display().to_string()))
    }

    /// Writes an encoded chunk, and the shard that it completes.
    pub(super) async fn write(
        self: &Arc<Self>,
        destination: &Destination,
        chunk: CellIndex,
        encoded: Bytes,
        progress: &Progress,
    ) -> Result<(), ExportError> {
        let layout = &self.target.layout;
        let file = layout.file_of(chunk);
        let place = ArrayLayout::place(&layout.chunks, chunk);
        let length = encoded.len() as u64;
        let (this, bytes) = (self.clone(), encoded.clone());
        let sharded = self.shards.is_some();
        let noted = move |offset: u64| {
            let entry = WrittenFile { sha256: Sha256::digest(&bytes).into(), offset, length: bytes.len() as u64 };
            this.chunks.write(place, &entry)
        };
        if sharded {
            let this = self.clone();
            let written = blocking(move || {
                let part = this.part(file)?;
                let offset = part.end.fetch_add(encoded.len() as u64, Ordering::Relaxed);
                part.file.write_all_at(&encoded, offset)?;
                noted(offset)
            });
            written.await.map_err(ExportError::write(self.folder.display().to_string()))?;
        } else {
            destination.put(&self.key(file), encoded).await?;
            blocking(move || noted(0)).await.map_err(ExportError::write(self.folder.display().to_string()))?;
            progress.wrote(length);
        }
        if self.mark(chunk, file) {
            self.assemble(destination, file, progress).await?;
        }
        Ok(())
    }

    /// Notes that a chunk is written; says whether its shard can be made now.
    fn mark(&self, chunk: CellIndex, file: CellIndex) -> bool {
        let layout = &self.target.layout;
        let mut done = self.done.lock();
        if !done.chunks.set(ArrayLayout::place(&layout.chunks, chunk)) {
            return false;
        }
        if self.shards.is_none() {
            return false;
        }
        let left = done.left.entry(file).or_insert_with(|| layout.count_of(file));
        *left = left.saturating_sub(1);
        let complete = *left == 0;
        if complete {
            done.left.remove(&file);
        }
        complete
    }

    /// The file that collects the chunks of a shard.
    fn part(&self, file: CellIndex) -> io::Result<Arc<Part>> {
        let mut parts = self.parts.lock();
        if let Some((_, part)) = parts.iter().find(|(of, _)| *of == file) {
            return Ok(part.clone());
        }
        let [z, y, x] = file.0;
        let path = self.folder.join(format!("shard-{z}-{y}-{x}"));
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
        let end = AtomicU64::new(opened.metadata()?.len());
        let part = Arc::new(Part { file: opened, path, end });
        if parts.len() >= OPEN {
            // Where one is used again, its length says where it goes on.
            parts.retain(|(_, part)| Arc::strong_count(part) > 1);
        }
        parts.push((file, part.clone()));
        Ok(part)
    }

    /// Makes a shard of its chunks: in `z, y, x` order, so that equal exports have equal bytes, with the index behind.
    async fn assemble(
        self: &Arc<Self>,
        destination: &Destination,
        file: CellIndex,
        progress: &Progress,
    ) -> Result<(), ExportError> {
        let failed = || ExportError::write::<io::Error>(self.folder.display().to_string());
        let layout = &self.target.layout;
        let this = self.clone();
        let part = blocking(move || this.part(file)).await.map_err(failed())?;
        let shard = Grid { shape: layout.file_shape(), cell: layout.chunks.cell };
        let corner: [u64; 3] = std::array::from_fn(|axis| file.0[axis] * shard.counts()[axis]);
        // A chunk without an entry would be read as the fill value.
        let misplaced = |chunk: CellIndex| {
            let reason = format!("chunk {chunk} has no place in the index of shard {file}");
            ExportError::write(self.folder.display().to_string())(reason)
        };
        let mut index = vec![[NOWHERE; 2]; usize::try_from(ArrayLayout::count(&shard)).unwrap_or(0)];
        let mut writer = destination.writer(&self.key(file)).await?;
        let (mut hash, mut offset) = (Sha256::new(), 0u64);
        for chunk in layout.chunks_of(file) {
            let (this, part) = (self.clone(), part.clone());
            let place = ArrayLayout::place(&layout.chunks, chunk);
            let bytes = blocking(move || this.take(&part, place)).await.map_err(failed())?;
            hash.update(&bytes);
            let place = place_in(&shard, corner, chunk).and_then(|at| index.get_mut(at));
            let entry = place.filter(|entry| **entry == [NOWHERE; 2]).ok_or_else(|| misplaced(chunk))?;
            *entry = [offset, bytes.len() as u64];
            offset += bytes.len() as u64;
            writer.write(bytes).await?;
        }
        let mut footer: Vec<u8> = index.into_iter().flatten().flat_map(u64::to_le_bytes).collect();
        footer.extend(crc32c::crc32c(&footer).to_le_bytes());
        hash.update(&footer);
        offset += footer.len() as u64;
        writer.write(footer.into()).await?;
        writer.finish().await?;
        progress.wrote(offset);
        let entry = WrittenFile { sha256: hash.finalize().into(), offset: 0, length: offset };
        let (this, place) = (self.clone(), ArrayLayout::place(&layout.files(), file));
        self.parts.lock().retain(|(of, _)| *of != file);
        let noted = blocking(move || {
            this.shards.as_ref().map_or(Ok(()), |shards| shards.write(place, &entry))?;
            fs::remove_file(&part.path)
        });
        noted.await.map_err(failed())
    }

    /// The bytes of a chunk from the collected ones of its shard, checked.
    fn take(&self, part: &Part, place: u64) -> io::Result<Bytes> {
        let damaged = || io::Error::other(format!("{} is damaged", part.path.display()));
        let entry = self.chunks.read(place)?.ok_or_else(damaged)?;
        read_checked(&part.file, &entry)?.ok_or_else(damaged)
    }

    /// Finds what an earlier run has written and checks it. `lengths`: of the objects of a bucket.
    pub(super) async fn recover(
        self: &Arc<Self>,
        destination: &Destination,
        progress: &Progress,
        jobs: usize,
    ) -> Result<(), ExportError> {
        let failed = || ExportError::write::<io::Error>(self.folder.display().to_string());
        let lengths = destination.lengths().await?;
        let layout = &self.target.layout;
        // What an earlier run took for absent is asked for again: it may have ended before that was confirmed.
        let doubted: HashSet<CellIndex> = self.absent.earlier().flat_map(|block| layout.chunks_with(block)).collect();
        let doubted_files: HashSet<CellIndex> = doubted.iter().map(|chunk| layout.file_of(*chunk)).collect();
        let files = layout.files();
        let written = self.files().entries().map_err(failed())?;
        let checks = futures::stream::iter(written).map(|noted| {
            let lengths = &lengths;
            async move {
                let (place, entry) = noted.map_err(failed())?;
                let file = cell(&files, place);
                let key = self.key(file);
                let right = match lengths {
                    // An object appears whole or not at all, so its length is enough.
                    Some(lengths) => lengths.get(&key) == Some(&entry.length),
                    None => destination.digest(&key).await? == Some((entry.sha256, entry.length)),
                };
                Ok::<_, ExportError>(right.then_some((file, entry.length)))
            }
        });
        let mut checks = checks.buffer_unordered(jobs);
        while let Some(found) = checks.try_next().await? {
            let Some((file, length)) = found.filter(|(file, _)| !doubted_files.contains(file)) else { continue };
            for chunk in layout.chunks_of(file) {
                self.mark(chunk, file);
                progress.found(layout.chunks.region(chunk).shape().voxels().unwrap_or(0));
            }
            progress.found_file(length);
        }
        drop(checks);
        if self.shards.is_some() {
            self.recover_parts(doubted, destination, progress).await?;
        }
        for batch in layout.batches() {
            if batch.cells().all(|chunk| self.is_done(chunk)) {
                self.finish(batch.number);
            }
        }
        let this = self.clone();
        let released = blocking(move || {
            this.journal.retain(|block| this.needs(block));
            Ok(())
        });
        released.await.map_err(failed())
    }

    /// Finds chunks of shards that are not complete, and makes the shards that only had to be made.
    async fn recover_parts(
        self: &Arc<Self>,
        doubted: HashSet<CellIndex>,
        destination: &Destination,
        progress: &Progress,
    ) -> Result<(), ExportError> {
        let failed = || ExportError::write::<io::Error>(self.folder.display().to_string());
        let this = self.clone();
        let found = blocking(move || {
            let layout = &this.target.layout;
            let (mut found, mut complete) = (0, Vec::new());
            for noted in this.chunks.entries()? {
                let (place, entry) = noted?;
                let chunk = cell(&layout.chunks, place);
                let file = layout.file_of(chunk);
                if layout.chunks.contains(chunk)
                    && !this.is_done(chunk)
                    && !doubted.contains(&chunk)
                    && read_checked(&this.part(file)?.file, &entry)?.is_some()
                {
                    found += layout.chunks.region(chunk).shape().voxels().unwrap_or(0);
                    if this.mark(chunk, file) {
                        complete.push(file);
                    }
                }
            }
            Ok((found, complete))
        });
        let (found, complete) = found.await.map_err(failed())?;
        progress.found(found);
        for file in complete {
            self.assemble(destination, file, progress).await?;
        }
        Ok(())
    }

    /// Every file with its key and what was written, in `z, y, x` order.
    pub(super) fn written(&self) -> io::Result<impl Iterator<Item = io::Result<(String, WrittenFile)>>> {
        let files = self.target.layout.files();
        let count = ArrayLayout::count(&files);
        let beyond =
            move |noted: &io::Result<(u64, WrittenFile)>| noted.as_ref().is_ok_and(|(place, _)| *place >= count);
        let entries = self.files().entries()?.take_while(move |noted| !beyond(noted));
        Ok(entries.map(move |noted| noted.map(|(place, entry)| (self.key(cell(&files, place)), entry))))
    }

    fn files(&self) -> &ArrayLedger {
        self.shards.as_ref().unwrap_or(&self.chunks)
    }
}

/// The cell at a place of a grid, see [`ArrayLayout::place`].
fn cell(grid: &Grid, place: u64) -> CellIndex {
    let [_, height, width] = grid.counts().map(|count| count.max(1));
    CellIndex([place / width / height, place / width % height, place % width])
}

/// The place of a chunk in the index of the shard whose first chunk is `corner`; `None` where it is not in that shard.
fn place_in(shard: &Grid, corner: [u64; 3], chunk: CellIndex) -> Option<usize> {
    let [Some(z), Some(y), Some(x)] = std::array::from_fn(|axis| chunk.0[axis].checked_sub(corner[axis])) else {
        return None;
    };
    let inner = CellIndex([z, y, x]);
    shard.contains(inner).then(|| usize::try_from(ArrayLayout::place(shard, inner)).ok())?
}

/// The bytes of an entry, `None` where there are others.
fn read_checked(file: &File, entry: &WrittenFile) -> io::Result<Option<Bytes>> {
    // The length is checked before memory is taken for it.
    let end = entry.offset.checked_add(entry.length);
    if end.is_none_or(|end| end > file.metadata().map_or(0, |metadata| metadata.len())) {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(entry.length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, entry.offset)?;
    let right = <[u8; 32]>::from(Sha256::digest(&bytes)) == entry.sha256;
    Ok(right.then(|| bytes.into()))
}

#[cfg(test)]
mod tests;
