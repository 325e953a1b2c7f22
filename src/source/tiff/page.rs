//! One page: what its voxels are and where they lie, checked against the file's length.

use std::ops::Range;
use std::sync::Arc;

use super::ifd::{Header, Ifd, tags};
use super::page_format::PageFormat;
use super::places;
use super::read::ReadAhead;
use super::sample::{self, PageSample};
use super::storage::{self, Storage, Stored};
use crate::source::{SourceError, remedy};

/// Pages that are accepted in a chain of IFDs.
pub(super) const MAX_PAGES: u64 = 65_536;

/// Bits of NewSubfileType: a copy of fewer pixels, and what says which pixels of another page are to be seen.
const REDUCED: u64 = 1;
const MASK: u64 = 4;

/// One page.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Offset of its IFD.
    pub(super) offset: u64,
    pub(super) form: PageFormat,
    pub(super) stored: Stored,
    /// What its palette is, where it has one.
    pub(super) palette: Option<sample::Palette>,
    /// Number of the page and of all pages, where the file says.
    pub(super) number: Option<(u64, u64)>,
    /// Offset of the next IFD, 0 after the last.
    pub(super) next: u64,
    /// Bytes of the file from which all this was read, and those between.
    pub(super) span: Range<u64>,
}

impl Page {
    /// Bytes of all its voxels as they are stored before they are packed.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored.storage.bytes(self.form.height, self.form.width)
    }

    /// The error for a page of another form than the first one's.
    pub(super) fn unlike(&self, file: &str, number: u64, first: &PageFormat) -> SourceError {
        let reason = format!("{}, unlike the {first} of page 0,", self.form);
        SourceError::unsupported(file, format!("page {number}"), reason).with_remedy(remedy::PAGES)
    }

    /// Reads the IFD at `offset` and what it says of its page, which is `None` for a reduced copy or a mask of another page. `like` is
    /// how another page is stored, which is shared where this one is stored so, too.
    pub(super) async fn read_at(
        file: &mut ReadAhead,
        header: Header,
        offset: u64,
        page: u64,
        like: Option<&Arc<Storage>>,
    ) -> Result<(Ifd, Option<Page>), SourceError> {
        file.take_touched();
        let ifd = Ifd::read(file, header, offset, page).await?;
        let page = Self::of_ifd(file, &ifd, offset, like).await?;
        Ok((ifd, page))
    }

    /// What an IFD says of its page.
    pub(super) async fn of_ifd(
        file: &mut ReadAhead,
        ifd: &Ifd,
        offset: u64,
        like: Option<&Arc<Storage>>,
    ) -> Result<Option<Page>, SourceError> {
        match (is_mask(file, ifd).await?, is_reduced(file, ifd).await?) {
            (true, _) => return Ok(None),
            (false, true) if !ifd.header.all_reduced => return Ok(None),
            (false, false) if ifd.header.all_reduced => {
                let reason = "a page behind reduced copies, that is none";
                return Err(SourceError::unsupported(file.name(), ifd.field(tags::NEW_SUBFILE_TYPE), reason)
                    .with_remedy(remedy::PAGES));
            }
            _ => {}
        }
        let (width, height) = extents(file, ifd).await?;
        let PageSample { dtype, bits, white_is_zero, palette } = sample::read(file, ifd).await?;
        let form = PageFormat { width, height, dtype, white_is_zero };
        let storage = storage::read(file, ifd, &form, bits).await?;
        let stored = places::read(file, ifd, &form, storage, like).await?;
        let number = match ifd.unsigned(file, tags::PAGE_NUMBER).await?.as_deref() {
            Some([number, total]) if *total > 0 => Some((*number, *total)),
            _ => None,
        };
        let (next, span) = (ifd.next, file.take_touched().unwrap_or(offset..offset));
        Ok(Some(Page { offset, form, stored, palette, number, next, span }))
    }
}

/// Whether an IFD says that it is of a copy of fewer pixels.
pub(super) async fn is_reduced(file: &mut ReadAhead, ifd: &Ifd) -> Result<bool, SourceError> {
    let is_new = ifd.single(file, tags::NEW_SUBFILE_TYPE, 0).await? & REDUCED != 0;
    Ok(is_new || ifd.single(file, tags::SUBFILE_TYPE, 0).await? == 2)
}

/// Whether an IFD says that it is of a mask.
pub(super) async fn is_mask(file: &mut ReadAhead, ifd: &Ifd) -> Result<bool, SourceError> {
    Ok(ifd.single(file, tags::NEW_SUBFILE_TYPE, 0).await? & MASK != 0)
}

/// Width and height of a page.
pub(super) async fn extents(file: &mut ReadAhead, ifd: &Ifd) -> Result<(u64, u64), SourceError> {
    let mut extents = [0; 2];
    for (extent, tag) in extents.iter_mut().zip([tags::IMAGE_WIDTH, tags::IMAGE_LENGTH]) {
        *extent = storage::required(file, ifd, tag).await?;
        if *extent > u64::from(u32::MAX) {
            return Err(SourceError::malformed(file.name(), ifd.field(tag), format!("{extent} is out of bounds")));
        }
    }
    let [width, height] = extents;
    Ok((width, height))
}
