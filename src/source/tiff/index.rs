//! Which page lies where, found with as few requests as the file's layout allows.
//!
//! - *One run*: ImageJ writes one IFD and then all pages' voxels back to back; its own reader ignores later IFDs.
//! - *Strided*: writers of one page after another (ITK, libtiff) put IFDs at equal distances. The distance is taken
//!   from the first two, the last one is read to prove the prediction, and the IFD of any other page is read
//!   before the first voxel of that page is served.
//! - *Table*: anything else is walked once, IFD by IFD, through windows that grow while IFDs are found close together.
//! - *In order*: of each plane the description says which of these pages it is.

use std::sync::Arc;

use super::ending::Ending;
use super::ifd::{Header, tags};
use super::page::Page;
use super::read::{ReadAhead, ReadAt};
use super::storage::{Data, Storage, Stored};
use super::strided::{self, Strided};
use super::table::Table;
use super::text::Text;
use super::walk;
use crate::source::SourceError;
use crate::store::is_past_caches;

/// Where the pages of a volume are.
pub(super) enum Index {
    /// Page `k` begins `k` planes of `plane` bytes after `start`. At least so many are `there`, of which `pages` are shown.
    Contiguous { start: u64, pages: u64, there: u64, plane: u64, storage: Arc<Storage> },
    /// The one page of a file.
    One(Stored),
    /// Found by a walk.
    Table(Table),
    /// Predicted; proven page by page.
    Strided(Box<Strided>),
    /// For each plane the number of its page among those that were found.
    InOrder { order: Arc<[u64]>, found: Box<Index> },
}

impl Index {
    /// Number of pages.
    pub(super) fn pages(&self) -> u64 {
        match self {
            Index::Contiguous { pages, .. } => *pages,
            Index::One(_) => 1,
            Index::Table(table) => table.pages(),
            Index::Strided(strided) => strided.pages,
            Index::InOrder { order, .. } => order.len() as u64,
        }
    }

    /// Bytes of memory that the places of strips and tiles take.
    pub(super) fn kept(&self) -> u64 {
        match self {
            Index::Contiguous { .. } => 0,
            Index::One(stored) => stored.kept(),
            Index::Table(table) => table.kept(),
            Index::Strided(strided) => 64 * strided.pages,
            Index::InOrder { order, found } => found.kept().saturating_add(8 * order.len() as u64),
        }
    }

    /// The ways in which pages are stored, each once or more.
    pub(super) fn ways(&self) -> Vec<&Stored> {
        match self {
            Index::Contiguous { .. } => Vec::new(),
            Index::One(stored) => vec![stored],
            Index::Table(table) => table.whole(),
            Index::Strided(strided) => vec![&strided.first.stored],
            Index::InOrder { found, .. } => found.ways(),
        }
    }

    /// How page `page` is stored, proven by its own IFD. Asks the file at most once per page.
    pub(super) async fn page(&self, page: u64) -> Result<Option<Stored>, SourceError> {
        match self {
            Index::Strided(strided) => strided.page(page).await,
            Index::Table(table) => table.page(page).await,
            Index::InOrder { order, found } => match (place(order, page), &**found) {
                (Some(page), Index::Strided(strided)) => strided.page(page).await,
                (Some(page), Index::Table(table)) => table.page(page).await,
                (Some(page), known) => Ok(known.at_hand(page)),
                (None, _) => Ok(None),
            },
            known => Ok(known.at_hand(page)),
        }
    }

    /// How page `page` is stored, as it was found when it was last asked for.
    pub(super) fn at_hand(&self, page: u64) -> Option<Stored> {
        match self {
            Index::Contiguous { start, pages, plane, storage, .. } if page < *pages => {
                let start = page.checked_mul(*plane).and_then(|before| start.checked_add(before))?;
                Some(Stored { storage: storage.clone(), data: Data::Contiguous(start) })
            }
            Index::Contiguous { .. } => None,
            Index::One(stored) => (page == 0).then(|| stored.clone()),
            Index::Table(table) => table.at_hand(page),
            Index::Strided(strided) => strided.at_hand(page),
            Index::InOrder { order, found } => found.at_hand(place(order, page)?),
        }
    }

    /// Puts the planes into the order of which the description speaks, where it speaks of one. The error is the variant that
    /// is not read.
    fn in_order(self, order: Option<&Arc<[u64]>>, first: &Page, header: Header) -> Result<Index, String> {
        let Some(order) = order else { return Ok(self) };
        let last = order.iter().copied().max().unwrap_or(0);
        if last >= self.pages() {
            return Err(format!("OME-TIFF whose description speaks of page {last}, of {} in the file,", self.pages()));
        }
        // The description counts every IFD.
        let left_out = if let Index::Table(table) = &self { table.left_out } else { 0 };
        if first.offset != header.first || left_out > 0 {
            let remedy = "a copy of it with the planes in their order can be read";
            return Err(format!(
                "OME-TIFF whose pages are not in the order of z, with others between them ({remedy}),"
            ));
        }
        Ok(Index::InOrder { order: order.clone(), found: Box::new(self) })
    }
}

/// The page that is this plane.
fn place(order: &[u64], plane: u64) -> Option<u64> {
    order.get(usize::try_from(plane).ok()?).copied()
}

/// Finds all pages of a file from its first page, whose description is `text`; `show_cut` says whether the whole pages of a
/// file that is cut are shown.
pub(super) async fn find(
    file: &mut ReadAhead,
    reader: Arc<dyn ReadAt>,
    header: Header,
    first: &Page,
    text: &Text,
    show_cut: bool,
) -> Result<Index, SourceError> {
    // Where planes are in another order, the file has as many pages as lead to the last one of them.
    let of_order = text.order.as_ref().map(|order| order.iter().copied().max().unwrap_or(0).saturating_add(1));
    let said = of_order.or(text.pages);
    let ending = Ending { said, numbered: first.number.map(|(_, pages)| pages), show_cut };
    if let Some(index) = one_run(file, header, first, text, show_cut).await? {
        return Ok(index);
    }
    let index = match strided::find(file, &reader, header, first, ending).await? {
        Some(strided) => Index::Strided(Box::new(strided)),
        None => Index::Table(walk::all_pages(file, header, first, ending).await?),
    };
    if let Some(said) = said.filter(|said| of_order.is_none() && *said != index.pages()) {
        let (name, there) = (file.name(), index.pages());
        tracing::warn!("{name}: its description speaks of {said} pages; the {there} that are there are shown");
    }
    let field = format!("page 0, {}", tags::IMAGE_DESCRIPTION.1);
    index
        .in_order(text.order.as_ref(), first, header)
        .map_err(|what| SourceError::unsupported(file.name(), field, what))
}

/// All pages in one run, where the description says so and nothing in the file speaks against it.
async fn one_run(
    file: &mut ReadAhead,
    header: Header,
    first: &Page,
    text: &Text,
    show_cut: bool,
) -> Result<Option<Index>, SourceError> {
    let (Data::Contiguous(start), Some(pages @ 2..), true) = (&first.stored.data, text.pages, text.one_run) else {
        return Ok(None);
    };
    let (start, plane, storage) = (*start, first.form.plane(), first.stored.storage.clone());
    let end = pages.checked_mul(plane).and_then(|bytes| bytes.checked_add(start));
    let fits = end.is_some_and(|end| end <= file.total());
    let mut there = pages;
    if first.next != 0 {
        if !fits {
            return Ok(None);
        }
        file.ahead = 4096;
        let second = match Page::read_at(file, header, first.next, 1, Some(&storage)).await {
            Ok((_, second)) => second,
            Err(SourceError::Remote(error)) => return Err(error.into()),
            Err(_) => None,
        };
        let follows = start.checked_add(plane).map(Data::Contiguous);
        let is_second = |second: &Page| second.form == first.form && Some(&second.stored.data) == follows.as_ref();
        let Some(second) = second.filter(is_second) else { return Ok(None) };
        there = pages_there(file, header, (first, &second), (start, pages)).await?;
        if there > pages {
            tracing::warn!(
                "{}: its description speaks of {pages} pages, which are shown; the file has at least {there}",
                file.name()
            );
        }
    } else if !fits {
        let there = file.total().saturating_sub(start) / plane.max(1);
        if show_cut && there > 0 && is_past_caches() {
            tracing::warn!("{}: only {there} of its {pages} pages are there and shown", file.name());
            return Ok(Some(Index::Contiguous { start, pages: there, there, plane, storage }));
        }
        let reason = format!(
            "speaks of {pages} pages, for which the file of {} bytes is too short, so page {there} is the first one \
             missing; `truncated = \"show\"` shows those before it",
            file.total()
        );
        return Err(SourceError::malformed(file.name(), "page 0, ImageDescription", reason));
    }
    Ok(Some(Index::Contiguous { start, pages, there, plane, storage }))
}

/// Number of pages in one run of which the description says that there are `said`: no fewer, and more where the chain of IFDs, which
/// stand at equal distances, goes on. It is followed as far as what is read anyway, and for one small request at the most.
async fn pages_there(
    file: &mut ReadAhead,
    header: Header,
    (first, second): (&Page, &Page),
    (start, said): (u64, u64),
) -> Result<u64, SourceError> {
    let plane = first.form.plane();
    let start_of = |page: u64| page.checked_mul(plane).and_then(|before| start.checked_add(before));
    if start_of(said).and_then(|end| end.checked_add(plane)).is_none_or(|end| end > file.total()) {
        return Ok(said);
    }
    // The IFD of the last one of which it says that it is there.
    let last = second.next.checked_sub(second.offset).and_then(|step| step.checked_mul(said.checked_sub(2)?));
    let Some(mut offset) = last.and_then(|distance| second.offset.checked_add(distance)) else { return Ok(said) };
    let (mut there, asked) = (said, file.requests());
    for page in said - 1.. {
        let found = match Page::read_at(file, header, offset, page, Some(&first.stored.storage)).await {
            Err(SourceError::Remote(error)) => return Err(error.into()),
            found => found.ok().and_then(|(_, found)| found),
        };
        let data = start_of(page).map(Data::Contiguous);
        let Some(found) = found.filter(|found| found.form == first.form && Some(&found.stored.data) == data.as_ref())
        else {
            break;
        };
        there = there.max(page.saturating_add(1));
        offset = found.next;
        // Further on only where it costs nothing.
        let is_at_hand = |end: u64| file.at_hand(&(offset..end)).is_some();
        let end = offset.saturating_add(second.next.saturating_sub(second.offset).max(1)).min(file.total());
        if offset == 0 || offset >= end || !is_at_hand(end) || file.requests() > asked.saturating_add(1) {
            break;
        }
    }
    Ok(there)
}
