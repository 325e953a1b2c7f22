//! Pages whose IFDs stand at equal distances: where each is follows from the first two and the last, and is proven by its
//! own IFD before a voxel of it is served.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::ending::Ending;
use super::ifd::{Header, Ifd};
use super::page::{MAX_PAGES, Page};
use super::read::{AHEAD, ReadAhead, ReadAt};
use super::storage::{Codec, Data, Stored};
use super::table::Table;
use super::walk;
use crate::cache::RecentFailure;
use crate::source::SourceError;
use crate::store::{healed, is_past_caches};

/// Strips and tiles of a page, where it is not one run, whose places are still computed whenever they are needed.
const MAX_SHIFTED: usize = 65_536;

/// Tries equal distances from page 0 on, then from page 1 on: page 0 often has more tags than the others, which moves
/// the others where its IFD stands before its voxels.
pub(super) async fn find(
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

/// What is at the place where the IFD of a page should be.
enum AtStride {
    /// That of a page like the others, which links to where the next one should be.
    Page(Box<Page>),
    /// That of a page which is not of the volume, is stored in another way, or links elsewhere.
    Other,
    /// No IFD of a page that can be read.
    Broken(SourceError),
}

/// What a page's own IFD says of the prediction.
enum Proof {
    Confirmed,
    Other,
    Broken(SourceError),
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
    pub(super) first: Page,
    origin: Origin,
    ending: Ending,
    stride: u64,
    pub(super) pages: u64,
    /// First voxel of the last page, from which those of all but page 0 are counted back.
    last_start: u64,
    /// What is read of an IFD and its arrays: bytes before and after the IFD's offset.
    span: (u64, u64),
    /// Set where a page's IFD says what was predicted.
    proven: Vec<OnceCell<()>>,
    /// The real places, once a prediction failed.
    walked: OnceCell<Table>,
    /// Why they could not be had, a moment ago.
    failed: Mutex<Option<RecentFailure<SourceError>>>,
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
        let AtStride::Page(last) = strided.read(pages - 1).await? else { return Ok(None) };
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

    /// How a page is stored, as far as that was proven.
    pub(super) fn at_hand(&self, page: u64) -> Option<Stored> {
        match self.walked.get() {
            Some(table) => table.at_hand(page),
            None => self.stored(page),
        }
    }

    /// Reads the page at the predicted place.
    async fn read(&self, page: u64) -> Result<AtStride, SourceError> {
        let Some(offset) = self.offset(page).filter(|offset| *offset < self.reader.total()) else {
            return Ok(AtStride::Other);
        };
        let mut file = self.around(offset).await?;
        let found = match Page::read_at(&mut file, self.header, offset, page, Some(&self.first.stored.storage)).await {
            Ok((_, Some(found))) => found,
            Ok((_, None)) => return Ok(AtStride::Other),
            Err(SourceError::Remote(error)) => return Err(error.into()),
            Err(error) => return Ok(AtStride::Broken(error)),
        };
        if found.form != self.first.form {
            return Ok(AtStride::Broken(found.unlike(&file.name(), page, &self.first.form)));
        }
        let next = if page + 1 == self.pages { Some(0) } else { self.offset(page + 1) };
        let numbered = match self.first.number {
            Some((start @ (0 | 1), pages @ 2..)) => found.number == Some((start + page, pages)),
            _ => found.number == self.first.number,
        };
        let same = found.stored.storage == self.first.stored.storage;
        Ok(if same && numbered && Some(found.next) == next { AtStride::Page(Box::new(found)) } else { AtStride::Other })
    }

    /// The file, of which what the IFD at `offset` refers to was fetched.
    async fn around(&self, offset: u64) -> Result<ReadAhead, SourceError> {
        let mut file = ReadAhead::new(self.reader.clone(), 4096);
        let start = offset.saturating_sub(self.span.0);
        let end = offset.saturating_add(self.span.1).min(self.reader.total());
        file.add(start, self.reader.read_at(start..end).await?);
        Ok(file)
    }

    /// How a page is stored, proven by its own IFD. Asks the file at most once per page.
    pub(super) async fn page(&self, page: u64) -> Result<Option<Stored>, SourceError> {
        if page >= self.pages {
            return Ok(None);
        }
        healed(|| self.proven_page(page)).await
    }

    async fn proven_page(&self, page: u64) -> Result<Option<Stored>, SourceError> {
        if let Some(table) = self.walked.get() {
            return table.page(page).await;
        }
        // The page before must link here, or else this may be what a page that was replaced has left behind.
        let (linked, proof) = futures::try_join!(self.is_linked(page), self.prove(page))?;
        match (linked, proof) {
            (true, Proof::Confirmed) => return Ok(self.stored(page)),
            // It is looked at again before all pages are read for it.
            (_, proof) if !is_past_caches() => {
                let moved = || {
                    let field = format!("page {page}, IFD");
                    SourceError::malformed(self.reader.name(), field, "is not at the expected stride")
                };
                return Err(if let Proof::Broken(error) = proof { error } else { moved() });
            }
            // It is where it should be, and cannot be read.
            (true, Proof::Broken(error)) => return Err(error),
            _ => {}
        }
        self.walked.get_or_try_init(async || self.walk_seldom(page).await).await?.page(page).await
    }

    /// Whether the page before links to this one. A broken page takes nothing from the one after it: its link may still be
    /// there, and where nothing of it is, the page before must link to it.
    async fn is_linked(&self, page: u64) -> Result<bool, SourceError> {
        let Some(before) = page.checked_sub(1) else { return Ok(true) };
        if matches!(self.prove(before).await?, Proof::Confirmed) {
            return Ok(true);
        }
        let Some(offset) = self.offset(before).filter(|offset| is_past_caches() && *offset < self.reader.total())
        else {
            return Ok(false);
        };
        let mut file = self.around(offset).await?;
        match Ifd::read(&mut file, self.header, offset, before).await {
            Ok(ifd) => Ok(Some(ifd.next) == self.offset(page)),
            Err(SourceError::Remote(error)) => Err(error.into()),
            Err(_) => match before.checked_sub(1) {
                Some(earlier) => Ok(matches!(self.prove(earlier).await?, Proof::Confirmed)),
                None => Ok(false),
            },
        }
    }

    /// Whether the page's own IFD confirms where its voxels are and links to the next one. Read once where it does.
    async fn prove(&self, page: u64) -> Result<Proof, SourceError> {
        // That it does not is no result to keep, as the answer may have been a bad one.
        let read = async || match self.read(page).await {
            Ok(AtStride::Page(found)) if Some(&found.stored.data) == self.predicted(page).as_ref() => Ok(()),
            Ok(AtStride::Page(_) | AtStride::Other) => Err(Ok(Proof::Other)),
            Ok(AtStride::Broken(error)) => Err(Ok(Proof::Broken(error))),
            Err(error) => Err(Err(error)),
        };
        match self.proven.get(page as usize) {
            Some(cell) => match cell.get_or_try_init(read).await {
                Ok(()) => Ok(Proof::Confirmed),
                Err(other) => other,
            },
            None => Ok(Proof::Other),
        }
    }

    /// Finds all pages again, unless that failed a moment ago: all blocks ask for it.
    async fn walk_seldom(&self, page: u64) -> Result<Table, SourceError> {
        if let Some(error) = self.failed.lock().as_ref().and_then(RecentFailure::recent) {
            return Err(error.clone());
        }
        self.walk(page).await.inspect_err(|error| *self.failed.lock() = Some(RecentFailure::now(error.clone())))
    }

    /// Finds all pages again, by walking, because `page` is not where it should be.
    async fn walk(&self, page: u64) -> Result<Table, SourceError> {
        let name = self.reader.name();
        tracing::warn!("{name}: page {page} is not at the expected stride; walking the IFD chain");
        let mut file = ReadAhead::new(self.reader.clone(), AHEAD);
        let table = walk::all_pages(&mut file, self.header, &self.first, self.ending).await?;
        if table.pages() != self.pages {
            let reason = format!("{} pages in the chain of IFDs, {} expected", table.pages(), self.pages);
            return Err(SourceError::malformed(name, format!("page {page}, IFD"), reason));
        }
        Ok(table)
    }
}
