//! Which page of a file is the first one of the volume: not those made for looking at it.

use super::ifd::{Header, Ifd, tags};
use super::page::{self, Page};
use super::read::ReadAhead;
use super::storage::Data;
use super::text::Text;
use crate::source::{SourceError, remedy};

/// Pages that may stand before those of the volume.
const MAX_BEFORE: u64 = 8;

/// The first page that is no reduced copy and no small picture of another kind; `told` says whether people hear of the latter.
pub(super) async fn first_page(file: &mut ReadAhead, header: Header, told: bool) -> Result<(Ifd, Page), SourceError> {
    let mut offset = header.first;
    for number in 0..MAX_BEFORE {
        let (ifd, error) = match Page::read_at(file, header, offset, number, None).await {
            Ok((ifd, Some(page))) => return Ok((ifd, page)),
            Ok((ifd, None)) => {
                let error = SourceError::unsupported(
                    file.name(),
                    ifd.field(tags::NEW_SUBFILE_TYPE),
                    "a file whose first pages are reduced copies or masks",
                );
                (ifd, error)
            }
            Err(error @ SourceError::Unsupported { .. }) => {
                let ifd = Ifd::read(file, header, offset, number).await?;
                if !is_smaller_than_next(file, header, &ifd).await? {
                    return Err(error);
                }
                if told {
                    tracing::warn!("{}: a smaller picture before the pages is left out: {error}", file.name());
                }
                (ifd, error)
            }
            Err(error) => return Err(error),
        };
        if ifd.next == 0 || number + 1 == MAX_BEFORE {
            return Err(error);
        }
        offset = ifd.next;
    }
    Err(SourceError::malformed(file.name(), "header", "holds no page"))
}

/// Whether a page of which nothing else is known is smaller than the next one, which can be read.
async fn is_smaller_than_next(file: &mut ReadAhead, header: Header, ifd: &Ifd) -> Result<bool, SourceError> {
    if ifd.next == 0 {
        return Ok(false);
    }
    let own = page::extents(file, ifd).await;
    let next = Page::read_at(file, header, ifd.next, 1, None).await;
    match (own, next) {
        (Err(SourceError::Remote(error)), _) | (_, Err(SourceError::Remote(error))) => Err(error.into()),
        (Ok((width, height)), Ok((_, Some(next)))) => Ok(width < next.form.width && height < next.form.height),
        _ => Ok(false),
    }
}

/// The second page where the first one is smaller along both axes.
pub(super) async fn larger_second(
    file: &mut ReadAhead,
    header: Header,
    first: &Page,
    told: bool,
) -> Result<Option<(Ifd, Page)>, SourceError> {
    if first.next == 0 {
        return Ok(None);
    }
    match Page::read_at(file, header, first.next, 1, None).await {
        Ok((ifd, Some(second))) => {
            let is_larger = first.form.width < second.form.width && first.form.height < second.form.height;
            if is_larger && told {
                let (name, form) = (file.name(), first.form);
                tracing::warn!("{name}: a smaller picture ({form}) before the pages is left out");
            }
            Ok(is_larger.then_some((ifd, second)))
        }
        Err(SourceError::Remote(error)) => Err(error.into()),
        Ok((_, None)) | Err(_) => Ok(None),
    }
}

/// Refuses a file of a section that has more planes: another page like its first, or, without an IFD of their own, those
/// that its description, `text`, speaks of.
pub(super) async fn only_page(
    file: &mut ReadAhead,
    header: Header,
    first: &Page,
    text: &Text,
) -> Result<(), SourceError> {
    let stack = |file: &ReadAhead, field: &str| {
        let variant = "a stack in each of several files";
        Err(SourceError::unsupported(file.name(), field, variant).with_remedy(remedy::STACKS))
    };
    if first.next == 0 {
        let two = first.form.plane().saturating_mul(2);
        let is_stack = match (&first.stored.data, text.pages) {
            (Data::Contiguous(start), Some(2..)) => text.one_run && file.total().saturating_sub(*start) >= two,
            _ => false,
        };
        return if is_stack { stack(file, "page 0, ImageDescription") } else { Ok(()) };
    }
    match Page::read_at(file, header, first.next, 1, None).await {
        Ok((_, Some(second))) if second.form == first.form => stack(file, "pages"),
        Err(SourceError::Remote(error)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether the address ends in this name.
pub(super) fn is_named(address: &str, name: &str) -> bool {
    let own = address.split(['?', '#']).next().unwrap_or_default();
    let own = own.rsplit('/').next().unwrap_or_default();
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(own).collect();
    !name.is_empty() && (own == name || decoded == name.as_bytes())
}
