//! Which page lies where, found with as few requests as the file's layout allows.
//!
//! - *One run*: ImageJ writes one IFD and then all pages' voxels back to back; its own reader ignores later IFDs.
//! - *Strided*: writers of one page after another (ITK, libtiff) put IFDs at equal distances. The distance is taken
//!   from the first two, the last one is read to prove the prediction, and the IFD of any other page is read
//!   before the first voxel of that page is served.
//! - *Table*: anything else is walked once, IFD by IFD, through windows that grow while IFDs are found close together.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::ifd::Header;
use super::page::{MAX_PAGES, Page};
use super::read::{AHEAD, ReadAhead, ReadAt};
use super::storage::{Codec, Data, Storage, Stored};
use super::text::Text;
use super::walk::{self, Ending};
use crate::source::SourceError;
use crate::store::{healed, is_past_caches};

/// How long it is not tried again to find all pages.
const FAILURE_REMEMBERED: Duration = Duration::from_secs(1);

/// Strips and tiles of a page, where it is not one run, whose places are still computed whenever they are needed.
const MAX_SHIFTED: usize = 65_536;

/// Where the pages of a volume are.
pub(super) enum Index {
    /// Page `k` begins `k` planes of `plane` bytes after `start`.
    Contiguous { start: u64, pages: u64, plane: u64, storage: Arc<Storage> },
    /// Found by a walk.
    Table(Vec<Stored>),
    /// Predicted; proven page by page.
    Strided(Box<Strided>),
}

impl Index {
    /// Number of pages.
    pub(super) fn pages(&self) -> u64 {
        match self {
            Index::Contiguous { pages, .. } => *pages,
            Index::Table(pages) => pages.len() as u64,
            Index::Strided(strided) => strided.pages,
        }
    }

    /// Bytes of memory that the places of strips and tiles take.
    pub(super) fn kept(&self) -> u64 {
        let size = |page: &Stored| match &page.data {
            Data::Contiguous(_) => 32,
            Data::Segments(places) => 64 + 16 * places.len() as u64,
        };
        match self {
            Index::Contiguous { .. } => 0,
            Index::Table(pages) => pages.iter().map(size).sum(),
            Index::Strided(strided) => 64 * strided.pages,
        }
    }

    /// The ways in which pages are stored, each once or more.
    pub(super) fn ways(&self) -> Vec<&Stored> {
        match self {
            Index::Contiguous { .. } => Vec::new(),
            Index::Table(pages) => pages.iter().collect(),
            Index::Strided(strided) => vec![&strided.first.stored],
        }
    }

    /// How page `page` is stored, proven by its own IFD. Asks the file at most once per page.
    pub(super) async fn page(&self, page: u64) -> Result<Option<Stored>, SourceError> {
        match self {
            Index::Strided(strided) => strided.page(page).await,
            known => Ok(known.at_hand(page)),
        }
    }

    /// How page `page` is stored, as it was found when it was last asked for.
    pub(super) fn at_hand(&self, page: u64) -> Option<Stored> {
        match self {
            Index::Contiguous { start, pages, plane, storage } if page < *pages => {
                let start = page.checked_mul(*plane).and_then(|before| start.checked_add(before))?;
                Some(Stored { storage: storage.clone(), data: Data::Contiguous(start) })
            }
            Index::Contiguous { .. } => None,
            Index::Table(pages) => pages.get(usize::try_from(page).ok()?).cloned(),
            Index::Strided(strided) => match strided.walked.get() {
                Some(pages) => pages.get(usize::try_from(page).ok()?).cloned(),
                None => strided.stored(page),
            },
        }
    }
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
    let ending = Ending { said: text.pages, show_cut };
    if let Some(index) = one_run(file, header, first, text, show_cut).await? {
        return Ok(index);
    }
    let index = match strided(file, &reader, header, first, ending).await? {
        Some(strided) => Index::Strided(Box::new(strided)),
        None => Index::Table(walk::all_pages(file, header, first, ending).await?),
    };
    if let Some(said) = text.pages.filter(|said| *said != index.pages()) {
        let (name, there) = (file.name(), index.pages());
        tracing::warn!("{name}: its description speaks of {said} pages; the {there} that are there are shown");
    }
    Ok(index)
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
        if !second.is_some_and(|second| second.form == first.form && Some(second.stored.data) == follows) {
            return Ok(None);
        }
    } else if !fits {
        let there = file.total().saturating_sub(start) / plane.max(1);
        if show_cut && there > 0 && is_past_caches() {
            tracing::warn!("{}: only {there} of its {pages} pages are there and shown", file.name());
            return Ok(Some(Index::Contiguous { start, pages: there, plane, storage }));
        }
        let reason = format!(
            "speaks of {pages} pages, for which the file of {} bytes is too short, so page {there} is the first one \
             missing; `truncated = \"show\"` shows those before it",
            file.total()
        );
        return Err(SourceError::malformed(file.name(), "page 0, ImageDescription", reason));
    }
    Ok(Some(Index::Contiguous { start, pages, plane, storage }))
}

/// Tries equal distances from page 0 on, then from page 1 on: page 0 often has more tags than the others, which moves
/// the others where its IFD stands before its voxels.
async fn strided(
    file: &mut ReadAhead,
    reader: &Arc<dyn ReadAt>,
    header: Header,
    first: &Page,
    ending: Ending,
) -> Result<Option<Strided>, SourceError> {
    let scattered = first.next.checked_sub(first.offset).is_some_and(|gap| gap >= first.stored_bytes());
    let simple = match &first.stored.data {
        Data::Contiguous(_) => true,
        Data::Segments(places) => places.len() <= MAX_SHIFTED && first.stored.data.is_whole(),
    };
    if first.stored.storage.codec != Codec::None || !scattered || !simple {
        return Ok(None);
    }
    if first.offset > first.stored.data.start() {
        let from = Origin { page: 0, offset: first.offset, next: first.next, span: first.span.clone() };
        if let Some(strided) = Strided::predict(reader, header, first, from, ending).await? {
            return Ok(Some(strided));
        }
    }
    file.ahead = 4096;
    match Page::read_at(file, header, first.next, 1, Some(&first.stored.storage)).await {
        Ok((_, Some(second))) => {
            let from = Origin { page: 1, offset: first.next, next: second.next, span: second.span };
            Strided::predict(reader, header, first, from, ending).await
        }
        Err(SourceError::Remote(error)) => Err(error.into()),
        // The walk will say what is wrong.
        Ok((_, None)) | Err(_) => Ok(None),
    }
}

/// The page from which distances are counted.
struct Origin {
    page: u64,
    /// Offset of its IFD, and of the next one.
    offset: u64,
    next: u64,
    span: Range<u64>,
}

/// Pages whose IFDs are `stride` bytes apart.
pub(super) struct Strided {
    reader: Arc<dyn ReadAt>,
    header: Header,
    first: Page,
    origin: Origin,
    ending: Ending,
    stride: u64,
    pages: u64,
    /// First voxel of the last page, from which those of all but page 0 are counted back.
    last_start: u64,
    /// What is read of an IFD and its arrays: bytes before and after the IFD's offset.
    span: (u64, u64),
    /// Set where a page's IFD says what was predicted.
    proven: Vec<OnceCell<()>>,
    /// The real places, once a prediction failed.
    walked: OnceCell<Vec<Stored>>,
    /// Why they could not be had, a moment ago.
    failed: Mutex<Option<(SourceError, Instant)>>,
}

impl Strided {
    /// Predicts from one page and reads the last one; `None` where the file is not of this kind.
    async fn predict(
        reader: &Arc<dyn ReadAt>,
        header: Header,
        first: &Page,
        origin: Origin,
        ending: Ending,
    ) -> Result<Option<Strided>, SourceError> {
        let total = reader.total();
        let stride = match origin.next.checked_sub(origin.offset) {
            Some(stride) if stride >= first.stored_bytes() => stride,
            _ => return Ok(None),
        };
        let pages = match first.number {
            Some((0 | 1, pages @ 2..)) => pages,
            _ => origin.page + total.saturating_sub(origin.offset + 1) / stride + 1,
        };
        if !(origin.page + 2..=MAX_PAGES).contains(&pages) {
            return Ok(None);
        }
        let (span, offset) = (&origin.span, origin.offset);
        let span = (offset.saturating_sub(span.start), span.end.saturating_sub(offset));
        let mut strided = Strided {
            reader: reader.clone(),
            header,
            first: first.clone(),
            origin,
            ending,
            stride,
            pages,
            last_start: 0,
            span: if span.0.saturating_add(span.1) <= AHEAD { span } else { (0, AHEAD) },
            proven: std::iter::repeat_with(OnceCell::new).take(pages as usize).collect(),
            walked: OnceCell::new(),
            failed: Mutex::default(),
        };
        let Some(last) = strided.read(pages - 1).await? else { return Ok(None) };
        strided.last_start = last.stored.data.start();
        if strided.predicted(pages - 1).as_ref() != Some(&last.stored.data) {
            return Ok(None);
        }
        // The first and the last page are proven now.
        for page in [0, pages - 1] {
            if let Some(cell) = strided.proven.get(page as usize) {
                let _ = cell.set(());
            }
        }
        Ok(Some(strided))
    }

    /// Where the IFD of a page should be; page 0 is never asked for.
    fn offset(&self, page: u64) -> Option<u64> {
        page.checked_sub(self.origin.page)?.checked_mul(self.stride)?.checked_add(self.origin.offset)
    }

    fn predicted(&self, page: u64) -> Option<Data> {
        if page == 0 {
            return Some(self.first.stored.data.clone());
        }
        let start = self.last_start.checked_sub((self.pages - 1).checked_sub(page)?.checked_mul(self.stride)?)?;
        let shift = i64::try_from(i128::from(start) - i128::from(self.first.stored.data.start())).ok()?;
        self.first.stored.data.shifted(shift)
    }

    fn stored(&self, page: u64) -> Option<Stored> {
        Some(Stored { storage: self.first.stored.storage.clone(), data: self.predicted(page)? })
    }

    /// Reads the page at the predicted place; `None` where that holds no IFD of such a page that links to the next.
    async fn read(&self, page: u64) -> Result<Option<Page>, SourceError> {
        let Some(offset) = self.offset(page).filter(|offset| *offset < self.reader.total()) else { return Ok(None) };
        let mut file = ReadAhead::new(self.reader.clone(), 4096);
        let start = offset.saturating_sub(self.span.0);
        let end = offset.saturating_add(self.span.1).min(self.reader.total());
        file.add(start, self.reader.read_at(start..end).await?);
        let found = match Page::read_at(&mut file, self.header, offset, page, Some(&self.first.stored.storage)).await {
            Ok((_, Some(found))) => found,
            Ok((_, None)) => return Ok(None),
            Err(SourceError::Remote(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let next = if page + 1 == self.pages { Some(0) } else { self.offset(page + 1) };
        let numbered = match self.first.number {
            Some((start @ (0 | 1), pages @ 2..)) => found.number == Some((start + page, pages)),
            _ => found.number == self.first.number,
        };
        let same = found.form == self.first.form && found.stored.storage == self.first.stored.storage;
        Ok((same && numbered && Some(found.next) == next).then_some(found))
    }

    async fn page(&self, page: u64) -> Result<Option<Stored>, SourceError> {
        if page >= self.pages {
            return Ok(None);
        }
        healed(|| self.proven_page(page)).await
    }

    async fn proven_page(&self, page: u64) -> Result<Option<Stored>, SourceError> {
        if self.walked.get().is_none() {
            // The page before must link here, or else this may be what a page that was replaced has left behind.
            let before = page.saturating_sub(1);
            let (linked, confirmed) = futures::try_join!(self.prove(before), self.prove(page))?;
            if linked && confirmed {
                return Ok(self.stored(page));
            }
            if !is_past_caches() {
                // It is looked at again before all pages are read for it.
                let field = format!("page {page}, IFD");
                return Err(SourceError::malformed(self.reader.name(), field, "is not at the expected stride"));
            }
        }
        Ok(self.walked.get_or_try_init(async || self.walk_seldom(page).await).await?.get(page as usize).cloned())
    }

    /// Whether the page's own IFD confirms where its voxels are and links to the next one. Read once where it does.
    async fn prove(&self, page: u64) -> Result<bool, SourceError> {
        // That it does not is no result to keep, as the answer may have been a bad one.
        let read = async || match self.read(page).await {
            Ok(Some(found)) if Some(&found.stored.data) == self.predicted(page).as_ref() => Ok(()),
            Ok(_) => Err(None),
            Err(error) => Err(Some(error)),
        };
        match self.proven.get(page as usize) {
            Some(cell) => match cell.get_or_try_init(read).await {
                Ok(()) => Ok(true),
                Err(None) => Ok(false),
                Err(Some(error)) => Err(error),
            },
            None => Ok(false),
        }
    }

    /// Finds all pages again, unless that failed a moment ago: all blocks ask for it.
    async fn walk_seldom(&self, page: u64) -> Result<Vec<Stored>, SourceError> {
        if let Some((error, when)) = &*self.failed.lock()
            && when.elapsed() < FAILURE_REMEMBERED
        {
            return Err(error.clone());
        }
        self.walk(page).await.inspect_err(|error| *self.failed.lock() = Some((error.clone(), Instant::now())))
    }

    /// Finds all pages again, by walking, because `page` is not where it should be.
    async fn walk(&self, page: u64) -> Result<Vec<Stored>, SourceError> {
        let name = self.reader.name();
        tracing::warn!("{name}: page {page} is not at the expected stride; walking the IFD chain");
        let mut file = ReadAhead::new(self.reader.clone(), AHEAD);
        let pages = walk::all_pages(&mut file, self.header, &self.first, self.ending).await?;
        if pages.len() as u64 != self.pages {
            let reason = format!("{} pages in the chain of IFDs, {} expected", pages.len(), self.pages);
            return Err(SourceError::malformed(name, format!("page {page}, IFD"), reason));
        }
        Ok(pages)
    }
}
