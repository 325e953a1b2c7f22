//! The chain of IFDs, followed link by link.

use std::collections::HashSet;

use super::ifd::Header;
use super::page::{MAX_PAGES, Page};
use super::read::{AHEAD, ReadAhead};
use super::storage::{Codec, Data, Stored};
use crate::source::SourceError;
use crate::store::is_past_caches;

/// Longest window.
const MAX_WINDOW: u64 = 4 << 20;
/// A rest of the file so short is read whole.
const SHORT_REST: u64 = 256 << 10;
/// Bytes that an IFD without arrays takes at least in the files of common writers.
const USUAL_IFD: u64 = 256;
/// Windows before a file is refused: a chain so scattered would keep a reader waiting for an hour.
const MAX_REQUESTS: u32 = 16_384;
/// Strips and tiles of all pages together that are kept.
const MAX_SEGMENTS: u64 = 1 << 19;
/// Strips and tiles of all pages together that are read, though most may adjoin and become one run.
const MAX_READ: u64 = 16 << 20;
/// A link so far behind the end of the file leads nowhere: what is cut off has no space for it.
const FAR: u64 = 64 << 10;
/// IFDs that one window must have held for the next one to be longer instead of shorter.
const CROWD: u64 = 4;

/// What is to be made of a chain that does not end as it should.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Number of pages by the description.
    pub(super) said: Option<u64>,
    /// Whether the whole pages of a file that is cut are shown.
    pub(super) show_cut: bool,
}

/// Follows the chain from the first page on and returns how each page is stored; every page must be like `first`.
/// Reduced copies of pages (the coarser levels of a pyramid) are left out.
pub(super) async fn all_pages(
    file: &mut ReadAhead,
    header: Header,
    first: &Page,
    ending: Ending,
) -> Result<Vec<Stored>, SourceError> {
    let mut seen = HashSet::new();
    let mut pages: Vec<Stored> = Vec::new();
    let (mut read, mut kept) = (0u64, 0u64);
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
            return Err(SourceError::malformed(file.name(), place(), reason));
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
        let (ifd, page) = match Page::read_at(file, header, offset, number, Some(&first.stored.storage)).await {
            Ok(found) => found,
            Err(error @ SourceError::Malformed { .. }) if !pages.is_empty() => {
                let beyond = offset.saturating_sub(file.total());
                let rubbish = pages.len() > 1 && beyond > longest.saturating_mul(2).saturating_add(FAR);
                let complete = ending.said == Some(pages.len() as u64) || rubbish;
                end(file, error, pages.len(), complete || ending.show_cut)?;
                break;
            }
            Err(error) => return Err(error),
        };
        if file.requests() > before {
            (window, window_start, in_window) = (usual, offset, 0);
        }
        in_window += 1;
        longest = longest.max(offset.saturating_sub(last));
        last = offset;
        offset = ifd.next;
        let Some(page) = page else { continue };
        if page.form != first.form {
            if ending.said == Some(pages.len() as u64) {
                tracing::warn!(
                    "{}: page {number} of {} is left out: by its description the file has {} pages of {}",
                    file.name(),
                    page.form,
                    pages.len(),
                    first.form
                );
                break;
            }
            let reason = format!("{}, unlike the {} of page 0,", page.form, first.form);
            return Err(SourceError::unsupported(file.name(), format!("page {number}"), reason));
        }
        let (down, across) = page.stored.storage.segments.counts(&page.form);
        read = read.saturating_add(down.saturating_mul(across));
        if let Data::Segments(places) = &page.stored.data {
            kept += places.len() as u64;
        }
        for (count, most) in [(kept, MAX_SEGMENTS), (read, MAX_READ)] {
            if count > most {
                let reason = format!("more than {most} strips and tiles");
                return Err(SourceError::unsupported(file.name(), place(), reason));
            }
        }
        pages.push(page.stored);
    }
    Ok(pages)
}

/// Ends the chain before a page that cannot be read, where that is allowed; the error says how to allow it.
fn end(file: &ReadAhead, error: SourceError, whole: usize, allowed: bool) -> Result<(), SourceError> {
    // What may be the fault of one bad answer is believed only where it was fetched past every cache.
    if allowed && is_past_caches() {
        tracing::warn!("{}: only the {whole} pages before this are shown: {error}", file.name());
        return Ok(());
    }
    match error {
        SourceError::Malformed { file, field, reason } => {
            let remedy =
                format!("so page {whole} is the first one missing; `truncated = \"show\"` shows those before it");
            Err(SourceError::malformed(file, field, format!("{reason}; {remedy}")))
        }
        other => Err(other),
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
