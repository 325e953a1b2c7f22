//! Bytes of the file for the parser: any reader of ranges, seen through the windows that were fetched so far.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::layout::HEADER;
use crate::cache::{Desk, PoolShare, Reservation};
use crate::source::SourceError;
use crate::store::Object;

/// Bytes read ahead where an IFD with its arrays is expected.
pub(super) const AHEAD: u64 = 128 << 10;
/// Windows that are kept; older ones are dropped and fetched again if needed.
const KEPT: usize = 4;
/// What is so short takes no share of the memory for what arrives.
const SHORT: u64 = 256 << 10;
/// Bytes of windows that are kept beside the newest.
const KEPT_BYTES: usize = 4 << 20;

/// A file of known length that gives exact byte ranges.
pub(super) trait ReadAt: Send + Sync {
    /// The address, for messages.
    fn name(&self) -> String;
    /// Length of the file in bytes.
    fn total(&self) -> u64;
    /// Exactly the bytes of a range that lies in the file and is not empty.
    fn read_at(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>>;
    /// Waits until so many bytes of text or numbers may arrive.
    fn reserve(&self, _bytes: u64) -> BoxFuture<'_, Option<PoolShare>> {
        Box::pin(std::future::ready(None))
    }
    /// Where documents are made sense of one at a time, if anywhere.
    fn desk(&self) -> Option<&Arc<Desk>> {
        None
    }
    /// A part of the memory for what is kept; the error is that there is none, and the remedy.
    fn keep(&self, _bytes: u64) -> Result<Option<Reservation>, String> {
        Ok(None)
    }
}

/// A remote object whose length is known.
pub(super) struct ObjectReader {
    pub(super) object: Object,
    pub(super) total: u64,
}

impl ReadAt for ObjectReader {
    fn name(&self) -> String {
        self.object.url().to_owned()
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn read_at(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async move { Ok(self.object.range(range).await?.bytes) })
    }

    fn reserve(&self, bytes: u64) -> BoxFuture<'_, Option<PoolShare>> {
        Box::pin(self.object.desk().arrive(self.object.place(), bytes))
    }

    fn desk(&self) -> Option<&Arc<Desk>> {
        Some(self.object.desk())
    }

    fn keep(&self, bytes: u64) -> Result<Option<Reservation>, String> {
        self.object.desk().keep(bytes).map(Some).map_err(|error| error.to_string())
    }
}

/// The parts of a file that were fetched lately, and how far to read ahead when another is needed.
pub(super) struct ReadAhead {
    reader: Arc<dyn ReadAt>,
    kept: Vec<(u64, Bytes)>,
    touched: Option<Range<u64>>,
    /// From the first to the last byte behind the header that was asked for.
    reached: Option<Range<u64>>,
    requests: u32,
    /// Whether something behind the end of the file was asked for.
    past_end: bool,
    /// Bytes to fetch at least, where the file has them.
    pub(super) ahead: u64,
}

impl ReadAhead {
    pub(super) fn new(reader: Arc<dyn ReadAt>, ahead: u64) -> Self {
        ReadAhead { reader, kept: Vec::new(), touched: None, reached: None, requests: 0, past_end: false, ahead }
    }

    /// A file of which the first bytes are known, at least those of the header.
    pub(super) fn from(reader: Arc<dyn ReadAt>, front: Bytes) -> Self {
        let mut file = ReadAhead::new(reader, AHEAD);
        file.add(0, front);
        file
    }

    /// What it reads.
    pub(super) fn reader(&self) -> Arc<dyn ReadAt> {
        self.reader.clone()
    }

    /// Adds bytes that are known already.
    pub(super) fn add(&mut self, start: u64, bytes: Bytes) {
        let mut left = KEPT_BYTES;
        let older = self.kept.iter().rev().take(KEPT - 1).take_while(|(_, bytes)| {
            let fits = bytes.len() <= left;
            left = left.saturating_sub(bytes.len());
            fits
        });
        let older = older.count();
        self.kept.drain(..self.kept.len() - older);
        self.kept.push((start, bytes));
    }

    /// Notes that something should lie behind the end of the file.
    pub(super) fn note_past_end(&mut self) {
        self.past_end = true;
    }

    /// Whether that was so since the last call.
    pub(super) fn take_past_end(&mut self) -> bool {
        std::mem::take(&mut self.past_end)
    }

    /// Waits until so many bytes of text or numbers may arrive; few may at once.
    pub(super) async fn reserve(&self, bytes: u64) -> Option<PoolShare> {
        let reader = self.reader.clone();
        if bytes > SHORT { reader.reserve(bytes).await } else { None }
    }

    /// Makes sense of a text: of a long one where documents are, as it may take a while. `None` where that panics.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        text: String,
        work: impl FnOnce(&str) -> T + Send + 'static,
    ) -> Option<T> {
        match self.reader.desk().filter(|_| text.len() as u64 > SHORT) {
            Some(desk) => desk.work(move || work(&text)).await,
            None => Some(work(&text)),
        }
    }

    /// Lets go of windows that hold a long text.
    pub(super) fn drop_long(&mut self) {
        self.kept.retain(|(_, bytes)| bytes.len() as u64 <= SHORT);
    }

    pub(super) fn name(&self) -> String {
        self.reader.name()
    }

    pub(super) fn total(&self) -> u64 {
        self.reader.total()
    }

    /// Fetches made through these windows.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// The span of all bytes asked for since the last call.
    pub(super) fn take_touched(&mut self) -> Option<Range<u64>> {
        self.touched.take()
    }

    /// From the first to the last byte behind the header that was asked for so far.
    pub(super) fn reached(&self) -> Option<Range<u64>> {
        self.reached.clone()
    }

    /// The bytes of a range where they are in a window already.
    pub(super) fn at_hand(&self, range: &Range<u64>) -> Option<Bytes> {
        self.kept.iter().rev().find_map(|(at, bytes)| slice(*at, bytes, range))
    }

    /// The bytes of `length` (not 0) at `start`; `what` names the place in the file for the error where it has fewer.
    pub(super) async fn bytes(&mut self, start: u64, length: u64, what: &str) -> Result<Bytes, SourceError> {
        let total = self.total();
        let end = start.checked_add(length).filter(|end| *end <= total && length > 0);
        let Some(end) = end else {
            self.note_past_end();
            let reason = format!("{length} bytes at offset {start} do not lie in the file of {total} bytes");
            return Err(SourceError::malformed(self.name(), what, reason));
        };
        let range = start..end;
        self.touched = Some(hull(self.touched.take(), &range));
        if end > HEADER {
            self.reached = Some(hull(self.reached.take(), &range));
        }
        if let Some(found) = self.at_hand(&range) {
            return Ok(found);
        }
        let fetched = start..start.saturating_add(self.ahead).clamp(end, total);
        self.requests += 1;
        let bytes = self.reader.read_at(fetched.clone()).await?;
        let found = slice(start, &bytes, &range);
        self.add(start, bytes);
        found.ok_or_else(|| {
            SourceError::malformed(self.name(), what, format!("bytes {}-{} came short", fetched.start, fetched.end))
        })
    }
}

/// The shortest range with both.
fn hull(span: Option<Range<u64>>, range: &Range<u64>) -> Range<u64> {
    span.map_or_else(|| range.clone(), |span| span.start.min(range.start)..span.end.max(range.end))
}

fn slice(start: u64, bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
    let to = usize::try_from(range.end.checked_sub(start)?).ok()?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}
