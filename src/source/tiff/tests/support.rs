//! A file in memory that counts its requests, and a writer of the layouts that no tool writes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::super::Reading;
use super::super::read::{ReadAhead, ReadAt};
use super::super::volume::{FRONT, Volume};
use crate::geometry::{CellIndex, Shape};
use crate::source::SourceError;

/// Bytes that are given or computed when they are asked for.
pub(super) struct Counted<F> {
    total: u64,
    bytes: F,
    pub(super) requests: AtomicU32,
    pub(super) fetched: AtomicU64,
}

impl<F: Fn(Range<u64>) -> Vec<u8> + Send + Sync> Counted<F> {
    pub(super) fn new(total: u64, bytes: F) -> Arc<Self> {
        Arc::new(Counted { total, bytes, requests: AtomicU32::new(0), fetched: AtomicU64::new(0) })
    }

    pub(super) fn count(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl<F: Fn(Range<u64>) -> Vec<u8> + Send + Sync> ReadAt for Counted<F> {
    fn name(&self) -> String {
        "memory.tif".into()
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn read_at(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        assert!(range.start < range.end && range.end <= self.total, "{range:?} of {}", self.total);
        async move {
            // Others may run while this one waits, as with a network.
            tokio::task::yield_now().await;
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.fetched.fetch_add(range.end - range.start, Ordering::Relaxed);
            Ok(Bytes::from((self.bytes)(range)))
        }
        .boxed()
    }
}

/// A reader of bytes in memory.
pub(super) fn memory(bytes: Vec<u8>) -> Arc<Counted<impl Fn(Range<u64>) -> Vec<u8> + Send + Sync>> {
    Counted::new(bytes.len() as u64, move |range| bytes[range.start as usize..range.end as usize].to_vec())
}

/// Opens as [`super::super::open`] does; the first read counts as a request.
pub(super) async fn open(reader: Arc<dyn ReadAt>) -> Result<Volume, SourceError> {
    let front = reader.read_at(0..FRONT.min(reader.total())).await?;
    Volume::open(ReadAhead::from(reader, front), Reading::default()).await
}

/// All voxels, assembled from all blocks.
pub(super) async fn assemble(volume: &Volume, reader: &dyn ReadAt) -> Result<Vec<u8>, SourceError> {
    let grid = volume.grid().unwrap();
    let item = volume.description.dtype.size();
    let mut voxels = vec![0; grid.shape.bytes(item).unwrap() as usize];
    for block in grid.cells_in(&grid.shape.region()) {
        let region = grid.region(block);
        let bytes = read_block(volume, reader, block).await?;
        assert_eq!(bytes.len() as u64, region.shape().bytes(item).unwrap());
        let Shape([_, rows, columns]) = region.shape();
        for row in 0..rows as usize {
            let width = columns as usize * item;
            let [_, height, across] = grid.shape.0.map(|extent| extent as usize);
            let y = region.start[1] as usize + row;
            let at = ((region.start[0] as usize * height + y) * across + region.start[2] as usize) * item;
            voxels[at..at + width].copy_from_slice(&bytes[row * width..][..width]);
        }
    }
    Ok(voxels)
}

/// Locates, reads and decodes one block.
pub(super) async fn read_block(volume: &Volume, reader: &dyn ReadAt, block: CellIndex) -> Result<Bytes, SourceError> {
    let Some(range) = volume.locate(block).await? else {
        let voxels = volume.grid().unwrap().region(block).shape().bytes(1).unwrap();
        return Ok(volume.description.fill.repeat(voxels as usize).into());
    };
    assert!(range.start < range.end);
    volume.decode(block, reader.read_at(range).await?)
}

/// Writes TIFF structures at places of the caller's choice.
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    pub(super) big_endian: bool,
    /// Offset of the first of the bytes in the file.
    pub(super) base: u32,
}

/// A tag's value.
pub(super) enum Value<'a> {
    Short(&'a [u16]),
    Long(&'a [u32]),
    Text(&'a str),
    Rational(u32, u32),
}

impl Writer {
    /// A classic header whose first IFD is at `first`.
    pub(super) fn new(big_endian: bool, first: u32) -> Self {
        let mut writer = Writer::at(big_endian, 0);
        writer.bytes.extend(if big_endian { *b"MM" } else { *b"II" });
        writer.short(42);
        writer.long(first);
        writer
    }

    /// A piece of a file, from `base` on.
    pub(super) fn at(big_endian: bool, base: u32) -> Self {
        Writer { bytes: Vec::new(), big_endian, base }
    }

    pub(super) fn short(&mut self, value: u16) {
        self.bytes.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    pub(super) fn long(&mut self, value: u32) {
        self.bytes.extend(if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    pub(super) fn here(&self) -> u32 {
        self.base + self.bytes.len() as u32
    }

    /// Appends an IFD and, right after it, the values that do not fit into it. `next` is given the offset after all.
    pub(super) fn ifd(&mut self, tags: &[(u16, Value)], next: impl FnOnce(u32) -> u32) {
        let mut outside = Writer::at(self.big_endian, self.here() + 2 + 12 * tags.len() as u32 + 4);
        self.short(tags.len() as u16);
        for (tag, value) in tags {
            let mut values = Writer::at(self.big_endian, 0);
            let (kind, count) = match value {
                Value::Short(numbers) => {
                    numbers.iter().for_each(|number| values.short(*number));
                    (3, numbers.len())
                }
                Value::Long(numbers) => {
                    numbers.iter().for_each(|number| values.long(*number));
                    (4, numbers.len())
                }
                Value::Rational(above, below) => {
                    values.long(*above);
                    values.long(*below);
                    (5, 1)
                }
                Value::Text(text) => {
                    values.bytes.extend(text.bytes().chain([0]));
                    (2, text.len() + 1)
                }
            };
            self.short(*tag);
            self.short(kind);
            self.long(count as u32);
            if values.bytes.len() <= 4 {
                values.bytes.resize(4, 0);
                self.bytes.extend(values.bytes);
            } else {
                self.long(outside.here());
                outside.bytes.extend(values.bytes);
            }
        }
        self.long(next(outside.here()));
        self.bytes.extend(outside.bytes);
    }
}

/// The tags of an uncompressed page of `height × width` bytes.
pub(super) fn page<'a>(
    height: &'a [u32],
    width: &'a [u32],
    offset: &'a [u32],
    count: &'a [u32],
) -> Vec<(u16, Value<'a>)> {
    vec![
        (256, Value::Long(width)),
        (257, Value::Long(height)),
        (258, Value::Short(&[8])),
        (259, Value::Short(&[1])),
        (262, Value::Short(&[1])),
        (273, Value::Long(offset)),
        (277, Value::Short(&[1])),
        (278, Value::Long(height)),
        (279, Value::Long(count)),
    ]
}
