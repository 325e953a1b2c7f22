//! The pages that the chain of IFDs led to, and those among them that cannot be read.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::ifd::Header;
use super::page::Page;
use super::page_format::PageFormat;
use super::read::{ReadAhead, ReadAt};
use super::storage::{Storage, Stored};
use crate::cache::RecentFailure;
use crate::source::SourceError;
use crate::store::{Healable, healed, is_past_caches};

/// Memory that a page takes which cannot be read.
const BROKEN: u64 = 512;

/// A page of the chain.
pub(super) enum Listed {
    Whole(Stored),
    Broken(Box<Broken>),
}

/// A page that cannot be read: its blocks are errors, and those of no other page.
pub(super) struct Broken {
    /// Number and offset of its IFD.
    number: u64,
    offset: u64,
    /// Why it cannot be read, and when that was tried last: it is not for each of its blocks.
    failure: Mutex<RecentFailure<SourceError>>,
    /// How it is stored, once it could be read nevertheless.
    mended: OnceCell<Stored>,
}

impl Broken {
    /// The page whose IFD is at `offset`, which could not be read a moment ago.
    pub(super) fn listed(number: u64, offset: u64, error: SourceError) -> Listed {
        let failure = Mutex::new(RecentFailure::now(error));
        Listed::Broken(Box::new(Broken { number, offset, failure, mended: OnceCell::new() }))
    }
}

/// All pages of a file.
pub(super) struct Table {
    reader: Arc<dyn ReadAt>,
    header: Header,
    form: PageFormat,
    storage: Arc<Storage>,
    pages: Vec<Listed>,
    /// IFDs between these pages and after them that are none of the volume.
    pub(super) left_out: u64,
}

impl Table {
    /// Pages like `first`.
    pub(super) fn new(file: &ReadAhead, header: Header, first: &Page, pages: Vec<Listed>, left_out: u64) -> Table {
        let storage = first.stored.storage.clone();
        Table { reader: file.reader(), header, form: first.form, storage, pages, left_out }
    }

    /// Number of pages.
    pub(super) fn pages(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Bytes of memory that it takes.
    pub(super) fn kept(&self) -> u64 {
        let size = |page: &Listed| match page {
            Listed::Whole(stored) => stored.kept(),
            Listed::Broken(_) => BROKEN,
        };
        self.pages.iter().map(size).sum()
    }

    /// How those pages are stored that could be read.
    pub(super) fn whole(&self) -> Vec<&Stored> {
        let pages = self.pages.iter();
        pages.filter_map(|page| if let Listed::Whole(stored) = page { Some(stored) } else { None }).collect()
    }

    fn listed(&self, page: u64) -> Option<&Listed> {
        self.pages.get(usize::try_from(page).ok()?)
    }

    /// How a page is stored. One that could not be read is looked at again.
    pub(super) async fn page(&self, page: u64) -> Result<Option<Stored>, SourceError> {
        match self.listed(page) {
            None => Ok(None),
            Some(Listed::Whole(stored)) => Ok(Some(stored.clone())),
            Some(Listed::Broken(broken)) => healed(|| self.again(broken)).await.map(Some),
        }
    }

    /// The same as far as it is known.
    pub(super) fn at_hand(&self, page: u64) -> Option<Stored> {
        match self.listed(page)? {
            Listed::Whole(stored) => Some(stored.clone()),
            Listed::Broken(broken) => broken.mended.get().cloned(),
        }
    }

    /// Reads a page again that could not be read.
    async fn again(&self, broken: &Broken) -> Result<Stored, SourceError> {
        let read = async || {
            let failure = broken.failure.lock().clone();
            // What it was is known from past every cache.
            if !is_past_caches() || failure.recent().is_some() {
                return Err(failure.error().clone());
            }
            let mut file = ReadAhead::new(self.reader.clone(), 4096);
            let read = Page::read_at(&mut file, self.header, broken.offset, broken.number, Some(&self.storage)).await;
            match read {
                Ok((_, Some(page))) if page.form == self.form => return Ok(page.stored),
                Err(error) if !error.is_of_bytes() => return Err(error),
                _ => {}
            }
            let error = failure.error().clone();
            *broken.failure.lock() = RecentFailure::now(error.clone());
            Err(error)
        };
        broken.mended.get_or_try_init(read).await.cloned()
    }
}
