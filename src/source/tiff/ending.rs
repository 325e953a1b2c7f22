//! What is made of a chain of IFDs in which not every page is like the first, or that does not end as it should.
//!
//! A page that cannot be read is an error for its own blocks. What stands behind the last page and is none of the volume is
//! left out with a warning, as tifffile and libtiff do. Where the file may have been cut, its whole pages are shown only if
//! that is asked for.

use super::ifd::{Header, Ifd};
use super::page::{self, Page};
use super::read::ReadAhead;
use super::table::{Broken, Listed, Table};
use crate::source::SourceError;
use crate::store::is_past_caches;

/// A link so far behind the end of the file leads nowhere: what is cut off has no space for it.
const FAR: u64 = 64 << 10;
/// Of so many pages one may be a valid one of another kind and still be taken for a damaged page of the volume.
const FEW: usize = 4;

/// What is known of the number of pages, and what is wanted of a file that is cut.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Number of pages by the description.
    pub(super) said: Option<u64>,
    /// Number of pages by the first page's own number.
    pub(super) numbered: Option<u64>,
    /// Whether the whole pages of a file that is cut are shown.
    pub(super) show_cut: bool,
}

/// A page that is not like the first.
struct BadPage {
    /// Its place among the pages.
    at: usize,
    error: SourceError,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It breaks the format.
    Broken,
    /// What it refers to lies behind the end of the file.
    Beyond,
    /// A valid page of another kind, and its height and width where it is smaller along both axes.
    Unlike { smaller: Option<(u64, u64)> },
}

/// The pages of a chain so far.
pub(super) struct Chain {
    ending: Ending,
    pages: Vec<Listed>,
    bad: Vec<BadPage>,
    left_out: u64,
    /// Those of it that are masks.
    masks: u64,
    /// Why it ended before a link of 0, and whether all pages are there nevertheless.
    broken_off: Option<(SourceError, bool)>,
}

impl Chain {
    pub(super) fn new(ending: Ending) -> Chain {
        Chain { ending, pages: Vec::new(), bad: Vec::new(), left_out: 0, masks: 0, broken_off: None }
    }

    /// Whether there are as many pages as the description says.
    fn is_complete(&self) -> bool {
        self.ending.said == Some(self.pages.len() as u64)
    }

    /// Whether somebody says that there are more pages.
    fn is_short(&self) -> bool {
        let there = self.pages.len() as u64;
        [self.ending.said, self.ending.numbered].into_iter().flatten().any(|pages| pages > there)
    }

    pub(super) fn push(&mut self, page: Listed) {
        self.pages.push(page);
    }

    /// Leaves out an IFD that is marked as none of the volume's pages.
    pub(super) fn leave_out(&mut self, is_mask: bool) {
        self.left_out += 1;
        self.masks += u64::from(is_mask);
    }

    /// Takes note of an IFD at `offset` whose page is not like the first, or cannot be read; `false` where the chain ends
    /// before it.
    pub(super) async fn add_bad(
        &mut self,
        file: &mut ReadAhead,
        (ifd, number, offset): (&Ifd, u64, u64),
        first: &Page,
        error: SourceError,
    ) -> Result<bool, SourceError> {
        if self.pages.is_empty() {
            return Err(error);
        }
        let is_beyond = file.take_past_end();
        let is_valid = matches!(error, SourceError::Unsupported { .. });
        // What may be the fault of one bad answer is believed only where it was fetched past every cache.
        let is_believed = is_past_caches() || (is_valid && self.is_complete());
        if !is_believed {
            return Err(if is_beyond { missing(error, self.pages.len()) } else { error });
        }
        if self.is_complete() {
            tracing::warn!(
                "{}: what follows the {} pages of which its description speaks is left out: {error}",
                file.name(),
                self.pages.len()
            );
            return Ok(false);
        }
        if !is_valid && ifd.is_of_no_image() {
            tracing::warn!("{}: an IFD without an image is left out: {error}", file.name());
            self.leave_out(false);
            return Ok(true);
        }
        let kind = if is_valid {
            let extents = match page::extents(file, ifd).await {
                Err(SourceError::Remote(error)) => return Err(error.into()),
                read_or_broken => read_or_broken.ok(),
            };
            let is_smaller = |(width, height): &(u64, u64)| *width < first.form.width && *height < first.form.height;
            Kind::Unlike { smaller: extents.filter(is_smaller) }
        } else if is_beyond {
            Kind::Beyond
        } else {
            Kind::Broken
        };
        self.bad.push(BadPage { at: self.pages.len(), error: error.clone(), kind });
        self.pages.push(Broken::listed(number, offset, error));
        Ok(true)
    }

    /// Takes note that the chain breaks off at `offset`, where an IFD of page `number` was expected. `farthest` is the longest
    /// way from an IFD to the next.
    pub(super) fn break_off(
        &mut self,
        file: &ReadAhead,
        (header, offset): (Header, u64),
        (first, farthest): (&Page, u64),
        error: SourceError,
    ) -> Result<(), SourceError> {
        if self.pages.is_empty() {
            return Err(error);
        }
        let total = file.total();
        let is_far = offset.saturating_sub(total) > farthest.saturating_mul(2).saturating_add(FAR);
        let is_rubbish = self.pages.len() > 1 && is_far;
        // No page has ever been there: nothing is, or nothing but zeros with no space for a page.
        let is_end = offset == total
            || (is_empty(file, header, offset)
                && total.saturating_sub(offset) < first.stored.packed_bytes(&first.form));
        self.broken_off = Some((error, self.is_complete() || is_rubbish || (is_end && !self.is_short())));
        Ok(())
    }

    /// Takes note that the chain comes back to where it was.
    pub(super) fn come_back(&mut self, error: SourceError) {
        self.broken_off = Some((error, self.is_complete()));
    }

    /// All pages, or why they are not shown.
    pub(super) fn finish(mut self, file: &ReadAhead, header: Header, first: &Page) -> Result<Table, SourceError> {
        let name = file.name();
        self.cut(&name)?;
        self.leave_smaller(&name)?;
        self.check_unlike()?;
        if self.masks > 0 {
            tracing::warn!("{name}: pages that are masks of others are left out ({})", self.masks);
        }
        if let Some(bad) = self.bad.first() {
            let (count, error) = (self.bad.len(), &bad.error);
            tracing::warn!(
                "{name}: {count} of its pages cannot be read, so their blocks are errors; the first: {error}"
            );
        }
        Ok(Table::new(file, header, first, self.pages, self.left_out))
    }

    /// Ends the pages before the first one that is not there, where the file may have been cut and that is asked for.
    fn cut(&mut self, name: &str) -> Result<(), SourceError> {
        let is_broken_off = self.broken_off.as_ref().is_some_and(|(_, is_complete)| !is_complete);
        // The pages at the end that cannot be read, from the last one on.
        let mut next = self.pages.len();
        let mut start = self.bad.len();
        let mut first_missing = self.bad.len();
        for (number, bad) in self.bad.iter().enumerate().rev() {
            if bad.at + 1 != next {
                break;
            }
            (next, start) = (bad.at, number);
            if bad.kind == Kind::Beyond {
                first_missing = number;
            }
        }
        if is_broken_off {
            first_missing = start;
        }
        let cut = self.bad.get(first_missing).map(|bad| (bad.at, bad.error.clone()));
        let (whole, error, allowed) = match (cut, self.broken_off.take()) {
            (Some((at, error)), _) => (at, error, self.ending.said == Some(at as u64)),
            (None, Some((error, is_complete))) => (self.pages.len(), error, is_complete),
            (None, None) => return Ok(()),
        };
        // What may be the fault of one bad answer is believed only where it was fetched past every cache.
        if !(allowed || self.ending.show_cut) || !is_past_caches() {
            return Err(missing(error, whole));
        }
        tracing::warn!("{name}: only the {whole} pages before this are shown: {error}");
        self.pages.truncate(whole);
        self.bad.truncate(first_missing);
        Ok(())
    }

    /// Leaves out smaller pictures behind the last page: a thumbnail, or the coarser levels of a pyramid that are not marked
    /// as such.
    fn leave_smaller(&mut self, name: &str) -> Result<(), SourceError> {
        let mut smaller = Vec::new();
        let mut whole = self.pages.len();
        for bad in self.bad.iter().rev().take_while(|bad| matches!(bad.kind, Kind::Unlike { smaller: Some(_) })) {
            let is_said = self.ending.said.is_some_and(|said| said > bad.at as u64);
            let Kind::Unlike { smaller: Some(extents) } = bad.kind else { break };
            if bad.at + 1 != whole || is_said {
                break;
            }
            whole = bad.at;
            smaller.push(extents);
        }
        let Some(first) = self.bad.get(self.bad.len() - smaller.len()).filter(|_| !smaller.is_empty()) else {
            return Ok(());
        };
        // From the last to the first.
        let is_pyramid = smaller.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        if !is_pyramid && smaller.len() > whole {
            return Err(first.error.clone());
        }
        let (count, error) = (smaller.len(), &first.error);
        tracing::warn!("{name}: {count} smaller pictures behind its {whole} pages are left out; the first: {error}");
        self.left_out += count as u64;
        self.pages.truncate(whole);
        self.bad.truncate(self.bad.len() - count);
        Ok(())
    }

    /// Refuses a file with too many valid pages of another kind to take them for damaged ones.
    fn check_unlike(&self) -> Result<(), SourceError> {
        let is_unlike = |bad: &&BadPage| matches!(bad.kind, Kind::Unlike { .. });
        let count = self.bad.iter().filter(is_unlike).count();
        let is_last = self.bad.last().filter(is_unlike).is_some_and(|bad| bad.at + 1 == self.pages.len());
        let few = (self.pages.len() / FEW).max(usize::from(!is_last));
        match self.bad.iter().find(is_unlike) {
            Some(first) if count > few => Err(first.error.clone()),
            _ => Ok(()),
        }
    }
}

/// Whether what is at `offset` is an IFD of no entries and without a link.
fn is_empty(file: &ReadAhead, header: Header, offset: u64) -> bool {
    let length = if header.big_tiff { 16 } else { 6 };
    let end = offset.saturating_add(length).min(file.total());
    let bytes = if offset < end { file.at_hand(&(offset..end)) } else { None };
    bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
}

/// What is said where page `whole` is not there: what shows those before it.
fn missing(error: SourceError, whole: usize) -> SourceError {
    if !matches!(error, SourceError::Malformed { .. }) {
        return error;
    }
    error.with_remedy(format!("so page {whole} is the first one missing; `truncated = \"show\"` shows those before it"))
}
