//! Which page of a file is the first one of the volume: not those made for looking at it.

use super::axes::{self, Choice};
use super::ifd::{Header, Ifd, tags};
use super::page::{self, Page};
use super::read::ReadAhead;
use super::set::{Planes, Set};
use super::storage::Data;
use super::text::Text;
use crate::source::{SourceError, remedy};

/// Pages that may stand before those of the volume.
const MAX_BEFORE: u64 = 8;

/// The first page that is no reduced copy and no small picture of another kind, and the header by which the others are read;
/// `told` says whether people hear of the latter. Where all are marked as reduced copies, as a level that was taken out of a
/// pyramid is, they are the pages.
pub(super) async fn first_page(
    file: &mut ReadAhead,
    header: Header,
    told: bool,
) -> Result<(Header, Ifd, Page), SourceError> {
    let error = match unmarked(file, header, told).await? {
        FirstPage::Found(found) => return Ok(found),
        FirstPage::NoneUnmarked(error) => error,
    };
    match unmarked(file, Header { all_reduced: true, ..header }, told).await {
        Ok(FirstPage::Found(found)) => Ok(found),
        Err(SourceError::Remote(error)) => Err(error.into()),
        Ok(FirstPage::NoneUnmarked(_)) | Err(_) => Err(error),
    }
}

enum FirstPage {
    Found((Header, Ifd, Page)),
    /// All pages that were looked at are marked as reduced copies or masks.
    NoneUnmarked(SourceError),
}

async fn unmarked(file: &mut ReadAhead, header: Header, told: bool) -> Result<FirstPage, SourceError> {
    let mut offset = header.first;
    let mut all_marked = true;
    for number in 0..MAX_BEFORE {
        let (ifd, error) = match Page::read_at(file, header, offset, number, None).await {
            Ok((ifd, Some(page))) => return Ok(FirstPage::Found((header, ifd, page))),
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
                all_marked = false;
                (ifd, error)
            }
            Err(error) => return Err(error),
        };
        if ifd.next == 0 || number + 1 == MAX_BEFORE {
            return if all_marked { Ok(FirstPage::NoneUnmarked(error)) } else { Err(error) };
        }
        offset = ifd.next;
    }
    Err(SourceError::malformed(file.name(), "header", "holds no page"))
}

/// Whether a page of which nothing else is known is smaller than the next one.
async fn is_smaller_than_next(file: &mut ReadAhead, header: Header, ifd: &Ifd) -> Result<bool, SourceError> {
    if ifd.next == 0 {
        return Ok(false);
    }
    let own = page::extents(file, ifd).await;
    let next = match Ifd::read(file, header, ifd.next, 1).await {
        Ok(next) => page::extents(file, &next).await,
        Err(error) => Err(error),
    };
    match (own, next) {
        (Err(SourceError::Remote(error)), _) | (_, Err(SourceError::Remote(error))) => Err(error.into()),
        (Ok(own), Ok(next)) => Ok(is_smaller(own, next)),
        _ => Ok(false),
    }
}

/// Whether a page of so many columns and rows may be a picture of another one: no more than half of it along one axis and no
/// larger along the other. One that lacks a few rows or columns is a page of the volume that is unlike the others.
fn is_smaller((width, height): (u64, u64), (next_width, next_height): (u64, u64)) -> bool {
    let is_half = |extent: u64, next: u64| extent.saturating_mul(2) <= next.saturating_add(1) && extent < next;
    width <= next_width && height <= next_height && (is_half(width, next_width) || is_half(height, next_height))
}

/// The page before which there are only smaller ones, each smaller than the next; `None` where that is the first one.
pub(super) async fn larger_later(
    file: &mut ReadAhead,
    header: Header,
    first: &Page,
    told: bool,
) -> Result<Option<(Ifd, Page)>, SourceError> {
    let mut larger: Option<(Ifd, Page)> = None;
    for number in 1..MAX_BEFORE {
        let (form, next) = larger.as_ref().map_or((first.form, first.next), |(_, page)| (page.form, page.next));
        if next == 0 {
            break;
        }
        match Page::read_at(file, header, next, number, None).await {
            Ok((ifd, Some(page))) if is_smaller((form.width, form.height), (page.form.width, page.form.height)) => {
                if told {
                    tracing::warn!("{}: a smaller picture ({form}) before the pages is left out", file.name());
                }
                larger = Some((ifd, page));
            }
            Err(SourceError::Remote(error)) => return Err(error.into()),
            Ok(_) | Err(_) => break,
        }
    }
    Ok(larger)
}

/// Refuses files of a folder whose planes differ along more axes than one by the description of the first, `text`: they would be
/// mixed. What people should know of the others.
pub(super) fn of_folder(text: &Text, names: &[String], choice: Choice) -> Result<Option<String>, String> {
    let differing = match &text.set {
        Some(Set::Planes(planes)) if text.axes.len() > 1 => planes.differing(names),
        Some(Set::Other(_)) if text.axes.len() > 1 => None,
        _ => return Ok(None),
    };
    let wanted = choice.z.unwrap_or('z');
    let list = axes::told(&text.axes);
    match differing.as_ref().map(|differing| (differing.len(), differing.first())) {
        Some((0, _)) => Ok(None),
        Some((1, Some(axis))) if *axis == wanted => Ok(None),
        Some((1, Some(axis))) => {
            Ok(Some(format!("of its {list}, those along `{axis}` are shown as the planes along z, a file each")))
        }
        _ => {
            let is_chosen_of =
                |planes: &Planes| axes::choose(text, planes.len(), Choice { channel: Some(0), ..choice }).is_ok();
            let set = match &text.set {
                Some(Set::Planes(planes)) if is_chosen_of(planes) => {
                    "by `url` name one of them and by `channel` a channel, so that all are found, or "
                }
                _ => "",
            };
            Err(format!(
                "a folder of files of an image of {list} ({set}say by `pattern` which of them are the planes along z, or by \
                 `urls` the files themselves)"
            ))
        }
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
        let remedy = if let Some(Set::Planes(_)) = &text.set { remedy::SETS } else { remedy::STACKS };
        Err(SourceError::unsupported(file.name(), field, variant).with_remedy(remedy))
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
