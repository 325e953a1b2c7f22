//! The chain of IFDs, followed link by link.

use std::collections::HashSet;

use super::ending::{Chain, Ending};
use super::ifd::{Header, Ifd};
use super::page::{self, MAX_PAGES, Page};
use super::read::{AHEAD, ReadAhead};
use super::storage::{Codec, Data};
use super::table::{Listed, Table};
use crate::cache::Reservation;
use crate::source::{SourceError, remedy};

/// Longest window.
const MAX_WINDOW: u64 = 4 << 20;
/// A rest of the file so short is read whole.
const SHORT_REST: u64 = 256 << 10;
/// Bytes that an IFD without arrays takes at least in the files of common writers.
const USUAL_IFD: u64 = 256;
/// Windows before a file is refused: a chain so scattered would keep a reader waiting for an hour.
const MAX_REQUESTS: u32 = 16_384;
/// Strips and tiles of all pages together that are kept, where there is memory for them.
const MAX_SEGMENTS: u64 = 1 << 22;
/// Bytes of what is kept that are counted together.
const COUNTED: u64 = 1 << 20;
/// Strips and tiles of all pages together that are read, though most may adjoin and become one run.
const MAX_READ: u64 = 16 << 20;
/// IFDs that one window must have held for the next one to be longer instead of shorter.
const CROWD: u64 = 4;

/// Follows the chain from the first page on and returns how each page is stored. Reduced copies of pages (the coarser levels
/// of a pyramid) and masks are left out.
pub(super) async fn all_pages(
    file: &mut ReadAhead,
    header: Header,
    first: &Page,
    ending: Ending,
) -> Result<Table, SourceError> {
    let mut seen = HashSet::new();
    let mut chain = Chain::new(ending);
    let mut counted = Counted::default();
    let mut offset = first.offset;
    let start_requests = file.requests();
    let mut window = AHEAD;
    let mut in_window = 0;
    let mut window_start = offset;
    let mut last = offset;
    let mut longest = first.stored_bytes();
    // A short window still holds the arrays of an IFD, where they stand as on page 0.
    let shortest = first.span.end.saturating_sub(first.offset).saturating_add(256).clamp(8 << 10, AHEAD);
    while offset != 0 {
        let number = seen.len() as u64;
        let place = || format!("page {number}, IFD");
        if !seen.insert(offset) {
            let reason = format!("the chain of IFDs is cyclic: offset {offset} comes again");
            chain.come_back(SourceError::malformed(file.name(), place(), reason));
            break;
        }
        if number == MAX_PAGES {
            let reason = format!("a chain of more than {MAX_PAGES} pages");
            return Err(SourceError::unsupported(file.name(), place(), reason));
        }
        let before = file.requests();
        if before - start_requests > MAX_REQUESTS {
            let reason = format!("a chain of IFDs scattered over more than {MAX_REQUESTS} places");
            return Err(SourceError::unsupported(file.name(), place(), reason));
        }
        // IFDs that stand close together are read in ever longer windows, scattered ones in short ones.
        let usual = if in_window >= CROWD { (window * 16).min(MAX_WINDOW) } else { (window / 4).max(shortest) };
        let crowd = match number {
            1 => crowd_at_second(file, first, offset),
            _ if in_window >= CROWD => crowd_from(file, first, number, offset.saturating_sub(window_start) / in_window),
            _ => 0,
        };
        file.ahead = usual.max(crowd.min(MAX_WINDOW));
        if file.total().saturating_sub(offset) <= SHORT_REST {
            file.ahead = SHORT_REST;
        }
        file.take_past_end();
        let ifd = match Ifd::read(file, header, offset, number).await {
            Ok(ifd) => ifd,
            Err(error @ SourceError::Malformed { .. }) => {
                chain.break_off(file, (header, offset), (first, longest), error)?;
                break;
            }
            Err(error) => return Err(error),
        };
        let found = match Page::of_ifd(file, &ifd, offset, Some(&first.stored.storage)).await {
            Err(SourceError::Remote(error)) => return Err(error.into()),
            Ok(Some(page)) if page.form != first.form => Err(page.unlike(&file.name(), number, &first.form)),
            page => page,
        };
        if file.requests() > before {
            (window, window_start, in_window) = (usual, offset, 0);
        }
        in_window += 1;
        longest = longest.max(offset.saturating_sub(last));
        last = offset;
        match found {
            Ok(None) => chain.leave_out(page::is_mask(file, &ifd).await?),
            Ok(Some(page)) => {
                counted.add(file, &page, number)?;
                chain.push(Listed::Whole(page.stored));
            }
            Err(error) => {
                if !chain.add_bad(file, (&ifd, number, offset), first, error).await? {
                    break;
                }
            }
        }
        offset = ifd.next;
    }
    chain.finish(file, header, first)
}

/// The strips and tiles of all pages so far.
#[derive(Default)]
struct Counted {
    read: u64,
    kept: u64,
    /// Bytes of those for which there is no part of the memory yet.
    uncounted: u64,
    parts: Vec<Reservation>,
}

impl Counted {
    /// Counts those of a page, against the memory for what is kept, too.
    fn add(&mut self, file: &ReadAhead, page: &Page, number: u64) -> Result<(), SourceError> {
        let (down, across) = page.stored.storage.segments.counts(&page.form);
        self.read = self.read.saturating_add(down.saturating_mul(across));
        if let Data::Segments(places) = &page.stored.data {
            self.kept += places.len() as u64;
        }
        for (count, most) in [(self.kept, MAX_SEGMENTS), (self.read, MAX_READ)] {
            if count > most {
                let reason = format!("more than {most} strips and tiles in all pages");
                let error = SourceError::unsupported(file.name(), format!("page {number}, IFD"), reason);
                return Err(error.with_remedy(remedy::SEGMENTS));
            }
        }
        self.uncounted += page.stored.kept();
        if self.uncounted >= COUNTED {
            let part = file.reader().keep(std::mem::take(&mut self.uncounted)).map_err(|reason| {
                let reason = format!("{} strips and tiles up to here: {reason}", self.kept);
                let error = SourceError::malformed(file.name(), format!("page {number}, IFD"), reason);
                error.with_remedy(remedy::SEGMENTS)
            })?;
            self.parts.extend(part);
        }
        Ok(())
    }
}

/// Bytes in which all IFDs seem to stand from that of page 1 at `offset` on; 0 where nothing says so.
fn crowd_at_second(file: &ReadAhead, first: &Page, offset: u64) -> u64 {
    let (left, plane) = (file.total().saturating_sub(offset), first.stored_bytes().max(1));
    if first.stored.storage.codec != Codec::None {
        return 0;
    }
    if left < plane {
        // No page fits after this IFD, so its voxels and those of all later pages lie before it.
        return left;
    }
    // Between the first page's voxels and this IFD lie those of as many pages, whose IFDs are expected here.
    let pages = offset.saturating_sub(first.stored.data.start()) / plane;
    let size = first.span.end.saturating_sub(first.span.start).saturating_add(64).max(USUAL_IFD);
    if pages > 1 { pages.saturating_mul(size) } else { 0 }
}

/// Bytes for the IFDs of all pages from `number` on that the file has space for, each `distance` after the one before.
fn crowd_from(file: &ReadAhead, first: &Page, number: u64, distance: u64) -> u64 {
    if first.stored.storage.codec != Codec::None {
        return 0;
    }
    (file.total() / first.stored_bytes().max(1)).saturating_sub(number).saturating_mul(distance)
}
