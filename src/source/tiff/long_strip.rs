//! Strips that are too long to be unpacked as a whole: each is gone through once, and entered at bands of rows after that.
//!
//! What is packed is read from its beginning. So what a reader knows at the beginning of each band is kept, with a checksum of
//! the band, once the whole strip was read and found right. Readers of Zstandard cannot be copied: a band is entered at the
//! beginning of the frame that it begins in, and the rows before it are unpacked again, a piece at a time.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::read::ReadAt;
use super::storage::Codec;
use super::unpacker::Unpacker;
use crate::source::SourceError;
use crate::source::indices::CachedIndex;
use crate::task;

/// Bands of a strip at the most.
pub(super) const MAX_BANDS: u64 = 64;
/// Bytes of a strip that are asked for at a time.
const STEP: u64 = 4 << 20;
/// Steps that are asked for at once.
const AT_ONCE: usize = 2;
/// Bytes that are unpacked at a time where they are not kept.
const PIECE: usize = 256 << 10;

/// How the rows of a strip are divided, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BandSize {
    /// Of all rows of the strip.
    pub(super) total: usize,
    /// Of the rows of a band; the last may be shorter.
    pub(super) band: usize,
}

impl BandSize {
    /// Whether a strip can be divided so.
    pub(super) fn is_possible(&self) -> bool {
        self.band > 0 && self.total > 0 && self.total.div_ceil(self.band) as u64 <= MAX_BANDS
    }

    fn start(&self, number: usize) -> usize {
        number.saturating_mul(self.band).min(self.total)
    }

    fn of(&self, number: usize) -> usize {
        (self.total - self.start(number)).min(self.band)
    }
}

/// How a reader comes to know what is known at the beginning of a band.
enum Known {
    /// It was copied there; it takes so many bytes of memory.
    Copied(Unpacker, usize),
    /// It reads from that packed byte on, and drops so many that it makes.
    From { packed: u64, dropped: usize },
}

/// Where a band begins in its strip.
struct Entry {
    /// The first packed byte that was not read before.
    from: u64,
    known: Known,
    /// Of the rows of the band.
    checksum: u64,
}

/// A strip that was gone through.
pub(super) struct LongStrip {
    codec: Codec,
    /// Of its packed bytes in the file.
    offset: u64,
    length: u64,
    size: BandSize,
    entries: Vec<Entry>,
}

/// A reader at the beginning of a band.
pub(super) struct Entered {
    number: usize,
    unpacker: Unpacker,
    /// Bytes before those of the band that it has yet to read.
    rest: Vec<u8>,
    /// How many of those of the band it has read.
    ahead: usize,
}

impl CachedIndex for Arc<LongStrip> {
    fn bytes(&self) -> Option<usize> {
        let own = |entry: &Entry| match entry.known {
            Known::Copied(_, bytes) => bytes,
            Known::From { .. } => 0,
        };
        Some(self.entries.iter().map(|entry| size_of::<Entry>() + own(entry)).sum())
    }
}

/// The bytes of a range, piece by piece.
fn pieces(file: &dyn ReadAt, range: Range<u64>) -> impl Stream<Item = Result<Bytes, SourceError>> {
    let steps = (0..(range.end - range.start).div_ceil(STEP)).map(move |step| range.start + step * STEP..range.end);
    let steps = steps.map(|rest| rest.start..rest.end.min(rest.start + STEP));
    stream::iter(steps).map(|step| file.read_at(step)).buffered(AT_ONCE)
}

/// Does what takes long where that keeps nobody.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    task::spawn_blocking(work).await.unwrap_or_else(|_| Err("could not be unpacked".to_owned()))
}

impl LongStrip {
    /// Goes through the strip of `length` packed bytes at `offset` of a file. `bad` makes an error of what is wrong with it.
    pub(super) async fn read(
        file: &dyn ReadAt,
        (offset, length): (u64, u64),
        size: BandSize,
        codec: Codec,
        bad: impl Fn(String) -> SourceError,
    ) -> Result<LongStrip, SourceError> {
        let mut parts = std::pin::pin!(pieces(file, offset..offset.saturating_add(length)));
        let mut left = length;
        let mut pass: Option<Pass> = None;
        while let Some(part) = parts.try_next().await? {
            left = left.saturating_sub(part.len() as u64);
            let is_last = left == 0;
            let begun = match pass.take() {
                Some(pass) => pass,
                None => Pass::new(codec, size, &part).map_err(&bad)?,
            };
            let fed = apart(move || begun.feed(&part, is_last)).await.map_err(&bad)?;
            if fed.is_done {
                return Ok(LongStrip { codec, offset, length, size, entries: fed.entries });
            }
            pass = Some(fed);
        }
        Err(bad("has no bytes".to_owned()))
    }

    /// The packed bytes that a band is made of, counted from the strip's first; never none.
    pub(super) fn range(&self, number: usize) -> Option<Range<u64>> {
        let from = self.entries.get(number)?.from.min(self.length.saturating_sub(1));
        let next = self.entries.get(number + 1).map_or(self.length, |entry| entry.from + self.beyond(entry));
        Some(from..next.max(from + 1))
    }

    /// Bytes beyond the beginning of a band that what is before it may need. As long as what a frame of Zstandard ends with was
    /// not given away, the library says that it has not read the frame's last byte, without which it makes nothing of the end.
    fn beyond(&self, entry: &Entry) -> u64 {
        u64::from(matches!(entry.known, Known::From { .. }) && entry.from < self.length)
    }

    /// A reader at the beginning of a band.
    pub(super) async fn enter(
        &self,
        file: &dyn ReadAt,
        number: usize,
        bad: impl Fn(String) -> SourceError,
    ) -> Result<Entered, SourceError> {
        let entry = self.entries.get(number).ok_or_else(|| bad("lies outside of its strip".to_owned()))?;
        let (packed, dropped) = match &entry.known {
            Known::Copied(unpacker, _) => {
                let (unpacker, _) = unpacker.copied().ok_or_else(|| bad("cannot be entered".to_owned()))?;
                return Ok(Entered { number, unpacker, rest: Vec::new(), ahead: 0 });
            }
            Known::From { packed, dropped } => (*packed, *dropped),
        };
        let unpacker = Unpacker::new(self.codec, &[]).map_err(&bad)?;
        let mut entered = Entered { number, unpacker, rest: Vec::new(), ahead: 0 };
        if dropped == 0 {
            return Ok(entered);
        }
        let ahead = self.beyond(entry);
        let mut left = dropped;
        let range = self.offset.saturating_add(packed)..self.offset.saturating_add(entry.from + ahead);
        let mut parts = std::pin::pin!(pieces(file, range));
        while let Some(part) = parts.try_next().await? {
            (entered, left) = apart(move || entered.drop_rows(&part, left)).await.map_err(&bad)?;
        }
        if left > 0 {
            return Err(bad(self.changed()));
        }
        if ahead > 0 && entered.rest.pop().is_none() {
            entered.ahead = 1;
        }
        Ok(entered)
    }

    fn changed(&self) -> String {
        "packed data that are others than when their strip was gone through".to_owned()
    }

    /// The rows of a band from the bytes of [`LongStrip::range`], as they were packed.
    pub(super) fn unpack(&self, entered: Entered, raw: &[u8]) -> Result<Vec<u8>, String> {
        let Entered { number, mut unpacker, rest, ahead } = entered;
        let (Some(entry), Some(range)) = (self.entries.get(number), self.range(number)) else {
            return Err("lies outside of its strip".to_owned());
        };
        if raw.len() as u64 != range.end - range.start {
            return Err(format!("{} bytes where {} are expected", raw.len(), range.end - range.start));
        }
        let length = self.size.of(number);
        let mut rows = Vec::new();
        rows.try_reserve_exact(length).map_err(|_| format!("no memory for {length} bytes"))?;
        rows.resize(length, 0);
        let mut made = 0;
        // All of a strip may have been read before its last band, whose range then is one byte that was.
        let own = raw.get((entry.from - range.start) as usize + ahead..).unwrap_or_default();
        for mut input in [&*rest, own] {
            while let Some(free) = rows.get_mut(made..).filter(|free| !free.is_empty()) {
                let step = unpacker.step(input, free)?;
                input = input.get(step.read..).unwrap_or_default();
                made += step.made;
                if step.read == 0 && step.made == 0 {
                    break;
                }
            }
        }
        match made == length && xxh3_64(&rows) == entry.checksum {
            true => Ok(rows),
            false => Err(self.changed()),
        }
    }
}

impl Entered {
    /// Reads on; `left` bytes of what comes out are dropped.
    fn drop_rows(mut self, mut input: &[u8], mut left: usize) -> Result<(Entered, usize), String> {
        let mut piece = vec![0; PIECE.min(left)];
        while left > 0 {
            let free = left.min(piece.len());
            let step = self.unpacker.step(input, piece.get_mut(..free).unwrap_or_default())?;
            input = input.get(step.read..).unwrap_or_default();
            left -= step.made;
            if step.read == 0 && step.made == 0 {
                break;
            }
        }
        self.rest.extend_from_slice(input);
        Ok((self, left))
    }
}

/// The way through a strip.
struct Pass {
    size: BandSize,
    entries: Vec<Entry>,
    unpacker: Unpacker,
    /// What was unpacked of late.
    piece: Vec<u8>,
    /// Of the band so far.
    hash: Box<Xxh3>,
    in_band: usize,
    /// Packed bytes that were read.
    read: u64,
    /// Packed and unpacked bytes before the latest frame.
    frame: (u64, usize),
    is_done: bool,
}

impl Pass {
    fn new(codec: Codec, size: BandSize, start: &[u8]) -> Result<Pass, String> {
        let mut pass = Pass {
            size,
            entries: Vec::new(),
            unpacker: Unpacker::new(codec, start)?,
            piece: vec![0; PIECE],
            hash: Box::default(),
            in_band: 0,
            read: 0,
            frame: (0, 0),
            is_done: false,
        };
        pass.enter();
        Ok(pass)
    }

    /// Begins a band.
    fn enter(&mut self) {
        let known = match self.unpacker.copied() {
            Some((unpacker, bytes)) => Known::Copied(unpacker, bytes),
            None => {
                let (packed, made) = self.frame;
                Known::From { packed, dropped: self.size.start(self.entries.len()) - made }
            }
        };
        self.entries.push(Entry { from: self.read, known, checksum: 0 });
        self.hash.reset();
        self.in_band = 0;
    }

    /// Ends a band.
    fn close(&mut self) {
        if let Some(entry) = self.entries.last_mut() {
            entry.checksum = self.hash.digest();
        }
    }

    /// Reads on; `is_last` says that no bytes follow.
    fn feed(mut self, mut input: &[u8], is_last: bool) -> Result<Pass, String> {
        let (name, total) = (self.unpacker.name(), self.size.total);
        loop {
            let number = self.entries.len() - 1;
            let (start, band) = (self.size.start(number), self.size.of(number));
            let is_last_band = start + band >= total;
            // One byte more than the last band has, to see that there are more.
            let free = band - self.in_band + usize::from(is_last_band && self.unpacker.marks_its_end());
            let free = self.piece.get_mut(..free.min(PIECE)).unwrap_or_default();
            let step = self.unpacker.step(input, free).map_err(|reason| {
                let so_far = start + self.in_band;
                format!("{reason}, after {so_far} of {total} bytes")
            })?;
            self.hash.update(free.get(..step.made).unwrap_or_default());
            input = input.get(step.read..).unwrap_or_default();
            self.read += step.read as u64;
            self.in_band += step.made;
            let so_far = start + self.in_band;
            if so_far > total {
                return Err(format!("{name} data of more than the {total} bytes expected"));
            }
            if step.may_end {
                self.frame = (self.read, so_far);
            }
            let is_at_end = match self.unpacker.marks_its_end() {
                true => step.has_ended || (step.may_end && is_last && input.is_empty()),
                false => true,
            };
            if so_far == total && is_at_end {
                self.close();
                self.is_done = true;
                return Ok(self);
            }
            if step.has_ended {
                return Err(format!("{name} data of {so_far} bytes where {total} are expected"));
            }
            if self.in_band == band && !is_last_band {
                self.close();
                self.enter();
            } else if step.read == 0 && step.made == 0 {
                return match (input.is_empty(), is_last) {
                    (true, false) => Ok(self),
                    (true, true) => Err(format!("{name} data that ends after {so_far} of {total} bytes")),
                    (false, _) => Err(format!("broken {name} data after {so_far} of {total} bytes")),
                };
            }
        }
    }
}
