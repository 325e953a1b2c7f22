//! Strips of deflate that are too long to be unpacked as a whole: each is gone through once, and entered at bands of rows
//! after that.
//!
//! Deflate (RFC 1951) is read from its beginning, with the last 32 KiB that came out of it at hand. So what a reader knows at
//! the beginning of each band is kept, with a checksum of the band, once the whole strip was read and its own checksum
//! (RFC 1950) was found right.

use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use miniz_oxide::inflate::TINFLStatus as Status;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_COMPUTE_ADLER32, TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_PARSE_ZLIB_HEADER,
    TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use xxhash_rust::xxh3::xxh3_64;

use super::read::ReadAt;
use crate::source::SourceError;
use crate::source::indices::CachedIndex;
use crate::task;

/// Bands of a strip at the most.
pub(super) const MAX_BANDS: u64 = 16;
/// How far deflate looks back.
const WINDOW: usize = 32 << 10;
/// Bytes that are kept of a band.
const ENTRY: usize = WINDOW + size_of::<DecompressorOxide>();
/// Bytes of a strip that are asked for at a time.
const STEP: u64 = 4 << 20;
/// Steps that are asked for at once.
const AT_ONCE: usize = 2;
/// Memory for rows that is taken before there are any.
const FIRST: usize = 1 << 20;

/// How the rows of a strip are divided, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BandSize {
    /// Of all rows of the strip.
    pub(super) total: usize,
    /// Of the rows of a band, at least [`WINDOW`]; the last may be shorter.
    pub(super) band: usize,
}

impl BandSize {
    /// Whether a strip can be divided so.
    pub(super) fn is_possible(&self) -> bool {
        self.band >= WINDOW && self.total.div_ceil(self.band) as u64 <= MAX_BANDS
    }

    fn of(&self, number: usize) -> usize {
        self.total.saturating_sub(number.saturating_mul(self.band)).min(self.band)
    }
}

/// Where a band begins in its strip.
struct Entry {
    /// The first packed byte that was not read before.
    from: u64,
    /// What the reader knows there: the tables, and the bits of bytes before.
    state: Box<DecompressorOxide>,
    /// The rows before, as far as deflate looks back.
    window: Box<[u8]>,
    /// Of the rows of the band.
    checksum: u64,
}

/// A strip that was gone through.
pub(super) struct LongStrip {
    /// Packed bytes.
    length: u64,
    size: BandSize,
    entries: Vec<Entry>,
}

impl CachedIndex for Arc<LongStrip> {
    fn bytes(&self) -> Option<usize> {
        Some(self.entries.len().saturating_mul(ENTRY))
    }
}

impl LongStrip {
    /// Goes through the strip of `length` packed bytes at `offset` of a file. `bad` makes an error of what is wrong with it.
    pub(super) async fn read(
        file: &dyn ReadAt,
        (offset, length): (u64, u64),
        size: BandSize,
        bad: impl Fn(String) -> SourceError,
    ) -> Result<LongStrip, SourceError> {
        let end = offset.saturating_add(length);
        let steps = (0..length.div_ceil(STEP)).map(|step| offset + step * STEP).map(|at| at..(at + STEP).min(end));
        let mut parts = stream::iter(steps).map(|step| file.read_at(step)).buffered(AT_ONCE);
        let mut left = length;
        let mut pass = Pass::new(size);
        while let Some(part) = parts.try_next().await? {
            left = left.saturating_sub(part.len() as u64);
            let is_last = left == 0;
            let fed = task::spawn_blocking(move || pass.feed(&part, is_last)).await;
            pass = fed.unwrap_or_else(|_| Err("could not be unpacked".to_owned())).map_err(&bad)?;
            if pass.is_done {
                return Ok(LongStrip { length, size, entries: pass.entries });
            }
        }
        Err(bad("has no bytes".to_owned()))
    }

    /// The packed bytes that a band is made of, counted from the strip's first; never none.
    pub(super) fn range(&self, number: usize) -> Option<Range<u64>> {
        let from = self.entries.get(number)?.from.min(self.length.saturating_sub(1));
        let next = self.entries.get(number + 1).map_or(self.length, |entry| entry.from);
        Some(from..next.max(from + 1))
    }

    /// The rows of a band from the bytes of [`LongStrip::range`], as they were packed.
    pub(super) fn unpack(&self, number: usize, raw: &[u8]) -> Result<Vec<u8>, String> {
        let (Some(entry), Some(range)) = (self.entries.get(number), self.range(number)) else {
            return Err("lies outside of its strip".to_owned());
        };
        if raw.len() as u64 != range.end - range.start {
            return Err(format!("{} bytes where {} are expected", raw.len(), range.end - range.start));
        }
        let before = entry.window.len();
        let length = before + self.size.of(number);
        let mut rows = Vec::new();
        rows.try_reserve_exact(length).map_err(|_| format!("no memory for {length} bytes"))?;
        rows.extend_from_slice(&entry.window);
        rows.resize(length, 0);
        // All of a strip may have been read before its last band, whose range then is one byte that was.
        let input = raw.get((entry.from - range.start) as usize..).unwrap_or_default();
        decompress(&mut entry.state.clone(), input, &mut rows, before, FLAGS | TINFL_FLAG_HAS_MORE_INPUT);
        rows.drain(..before);
        if xxh3_64(&rows) != entry.checksum {
            return Err("deflate data that are others than when its strip was gone through".to_owned());
        }
        Ok(rows)
    }
}

const FLAGS: u32 = TINFL_FLAG_PARSE_ZLIB_HEADER | TINFL_FLAG_COMPUTE_ADLER32 | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;

/// The way through a strip.
struct Pass {
    size: BandSize,
    entries: Vec<Entry>,
    state: Box<DecompressorOxide>,
    /// The rows before the band, as far as they are looked back to, and those of the band so far.
    rows: Vec<u8>,
    /// Bytes of the rows before.
    before: usize,
    /// Bytes in use.
    filled: usize,
    /// Packed bytes that were read.
    read: u64,
    is_done: bool,
}

impl Pass {
    fn new(size: BandSize) -> Pass {
        let (state, rows) = (Box::<DecompressorOxide>::default(), Vec::new());
        let mut pass = Pass { size, entries: Vec::new(), state, rows, before: 0, filled: 0, read: 0, is_done: false };
        pass.enter(Box::default());
        pass
    }

    /// Begins a band.
    fn enter(&mut self, window: Box<[u8]>) {
        (self.before, self.filled) = (window.len(), window.len());
        self.entries.push(Entry { from: self.read, state: self.state.clone(), window, checksum: 0 });
    }

    /// Reads on; `is_last` says that no bytes follow.
    fn feed(mut self, mut input: &[u8], is_last: bool) -> Result<Pass, String> {
        let more = if is_last { 0 } else { TINFL_FLAG_HAS_MORE_INPUT };
        while !self.is_done {
            let band = self.size.of(self.entries.len() - 1);
            let is_last_band = self.entries.len().saturating_mul(self.size.band) >= self.size.total;
            // One byte more than the last band has, to see that there are more.
            let end = self.before + band + usize::from(is_last_band);
            self.grow(end)?;
            let length = self.rows.len().min(end);
            let rows = self.rows.get_mut(..length).unwrap_or_default();
            let (status, read, made) = decompress(&mut self.state, input, rows, self.filled, FLAGS | more);
            input = input.get(read..).unwrap_or_default();
            self.read += read as u64;
            self.filled += made;
            let in_band = self.filled - self.before;
            let so_far = (self.entries.len() - 1).saturating_mul(self.size.band).saturating_add(in_band);
            let total = self.size.total;
            if so_far > total {
                return Err(format!("deflate data of more than the {total} bytes expected"));
            }
            match status {
                Status::Done if so_far == total => {
                    self.close_band();
                    self.is_done = true;
                }
                Status::Done => return Err(format!("deflate data of {so_far} bytes where {total} are expected")),
                Status::HasMoreOutput | Status::NeedsMoreInput => {
                    if in_band == band && !is_last_band {
                        self.close_band();
                    } else if status == Status::NeedsMoreInput && input.is_empty() {
                        return Ok(self);
                    }
                }
                Status::FailedCannotMakeProgress => {
                    return Err(format!("deflate data that ends after {so_far} of {total} bytes"));
                }
                Status::Adler32Mismatch => return Err("broken deflate data: its checksum is another".to_owned()),
                _ => return Err(format!("broken deflate data after {so_far} bytes")),
            }
        }
        Ok(self)
    }

    /// Memory grows with what is unpacked, up to `end`.
    fn grow(&mut self, end: usize) -> Result<(), String> {
        if self.filled < self.rows.len() || self.rows.len() >= end {
            return Ok(());
        }
        let length = self.rows.len().saturating_mul(2).max(FIRST).min(end);
        let more = length - self.rows.len();
        self.rows.try_reserve_exact(more).map_err(|_| format!("no memory for {length} bytes"))?;
        self.rows.resize(length, 0);
        Ok(())
    }

    /// Ends a band, and begins the next where there is one.
    fn close_band(&mut self) {
        let rows = self.rows.get(self.before..self.filled).unwrap_or_default();
        let checksum = xxh3_64(rows);
        if let Some(entry) = self.entries.last_mut() {
            entry.checksum = checksum;
        }
        let is_last = self.entries.len().saturating_mul(self.size.band) >= self.size.total;
        if !is_last {
            let window: Box<[u8]> = self.rows.get(self.filled - WINDOW..self.filled).unwrap_or_default().into();
            if let Some(front) = self.rows.get_mut(..WINDOW) {
                front.copy_from_slice(&window);
            }
            self.enter(window);
        }
    }
}
