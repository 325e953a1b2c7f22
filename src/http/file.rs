//! Files: all of one or a part, once all that was asked for is there.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::stream;
use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::timeout;
use xxhash_rust::xxh3::xxh3_64;

use super::body::{self, Body, Room};
use super::conditions::{Outcome, weigh};
use super::failure::Failure;
use super::headers::value;
use super::memory_file::Outlet;
use super::paths::{FoundPath, answer};
use super::site::Site;
use crate::byte_range::RequestedRange;
use crate::vfs::Validity;

/// Files up to here are there before any of them is sent; a chunk file is no longer.
const WHOLE: u64 = 64 << 20;

/// The same for TIFF files, each of which is a level.
const WHOLE_TIFF: u64 = 4 << 20;

/// Bytes that nobody needs room for: less than the system keeps of a connection.
const LITTLE: u64 = 16 << 10;

/// How long a browser may keep what never changes as long as this server lives. Not for long: the next server at this address
/// may show something else under the same name.
const KEPT: &str = "max-age=60, immutable";

/// In place of the tag of what has none: no tag of a list has a comma.
const NO_TAG: &str = ",";

/// Content that is there before any of it is sent, or the first piece of more.
struct Come {
    bytes: Bytes,
    /// When it holds no longer, because voxels of it are absent at the origin; `None` where it holds for ever.
    until: Option<Instant>,
    /// Whether it is all that was asked for.
    is_all: bool,
}

impl Come {
    /// The tag of content that holds no longer than that, which is one of the bytes, so that a client which has them has them
    /// until they are others. A part has none: the others may be of another moment.
    fn passing_tag(&self, site: &Site, length: u64) -> Option<String> {
        let is_whole = self.is_all && self.bytes.len() as u64 == length;
        is_whole.then(|| format!("\"{:x}-a{:x}\"", site.life(), xxh3_64(&self.bytes)))
    }
}

/// The answer to a request for a file. A HEAD asks nobody for its content.
pub(super) async fn respond(
    site: &Arc<Site>,
    found: FoundPath,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let (headers, length) = (request.headers(), found.attributes.size);
    let mut outcome = weigh(headers, &tag(site, &found), length);
    if request.method() == Method::HEAD && matches!(outcome, Outcome::Send(_)) {
        // Ranges are defined for GET alone.
        outcome = Outcome::Send(RequestedRange::Whole);
        let mut response = started(site, &found, &outcome);
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        return Ok(response);
    }
    let Some(mut range) = sent(&outcome, length) else { return Ok(started(site, &found, &outcome)) };
    let mut come = Come::of(site, &found, &range).await?;
    let mut passing = None;
    if come.until.is_some() {
        // The conditions are for what it is now.
        passing = come.passing_tag(site, length);
        outcome = weigh(headers, passing.as_deref().unwrap_or(NO_TAG), length);
        match sent(&outcome, length) {
            Some(other) if other == range => {}
            // A part of the same moment as the whole whose tag it has.
            Some(part) if passing.is_some() => {
                let whole = std::mem::take(&mut come.bytes);
                come.bytes = Bytes::copy_from_slice(&whole[part.start as usize..part.end as usize]);
                range = part;
            }
            Some(whole) => {
                range = whole;
                come = Come::of(site, &found, &range).await?;
                passing = come.passing_tag(site, length);
            }
            None => {
                let mut response = started(site, &found, &outcome);
                passes(site, &mut response, &come, passing.as_deref());
                return Ok(response);
            }
        }
    }
    let mut response = started(site, &found, &outcome);
    if come.until.is_some() || !come.is_all {
        passes(site, &mut response, &come, passing.as_deref());
    }
    response.headers_mut().insert(CONTENT_LENGTH, (range.end - range.start).into());
    *response.body_mut() = content(site, found, range, come, request.extensions().get()).await?;
    Ok(response)
}

/// Which bytes are sent by this outcome, if any.
fn sent(outcome: &Outcome, length: u64) -> Option<Range<u64>> {
    match outcome {
        Outcome::Send(RequestedRange::Whole) => Some(0..length),
        Outcome::Send(RequestedRange::Part(part)) => Some(part.clone()),
        Outcome::Send(RequestedRange::Unsatisfiable) | Outcome::NotModified | Outcome::Changed => None,
    }
}

/// An answer without its content, of what never changes.
fn started(site: &Site, found: &FoundPath, outcome: &Outcome) -> Response<Body> {
    let length = found.attributes.size;
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    headers.extend(HeaderValue::from_str(&tag(site, found)).ok().map(|tag| (ETAG, tag)));
    headers.insert(CACHE_CONTROL, cache_control(site, found));
    headers.insert(ACCEPT_RANGES, value("bytes"));
    if let Outcome::Send(_) = outcome {
        headers.insert(CONTENT_TYPE, value(content_type(&found.path)));
    }
    let told = match outcome {
        Outcome::Send(RequestedRange::Part(part)) => {
            Some(format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1)))
        }
        Outcome::Send(RequestedRange::Unsatisfiable) => {
            headers.insert(CONTENT_LENGTH, 0.into());
            Some(format!("bytes */{length}"))
        }
        _ => None,
    };
    headers.extend(told.and_then(|told| HeaderValue::from_str(&told).ok()).map(|told| (CONTENT_RANGE, told)));
    *response.status_mut() = match outcome {
        Outcome::NotModified => StatusCode::NOT_MODIFIED,
        Outcome::Changed => StatusCode::PRECONDITION_FAILED,
        Outcome::Send(RequestedRange::Whole) => StatusCode::OK,
        Outcome::Send(RequestedRange::Part(_)) => StatusCode::PARTIAL_CONTENT,
        Outcome::Send(RequestedRange::Unsatisfiable) => StatusCode::RANGE_NOT_SATISFIABLE,
    };
    response
}

/// Says of an answer that its content may become another one: what of it is absent may come to be there. Of content that is
/// not all there yet that is not known.
fn passes(site: &Site, response: &mut Response<Body>, come: &Come, tag: Option<&str>) {
    let left =
        come.until.filter(|_| come.is_all).map(|until| until.saturating_duration_since(Instant::now()).as_secs());
    let whose = if site.is_public() { "public" } else { "private" };
    let text = left.filter(|left| *left > 0).map(|left| format!("{whose}, max-age={left}"));
    let headers = response.headers_mut();
    headers.remove(ETAG);
    headers.extend(tag.and_then(|tag| HeaderValue::from_str(tag).ok()).map(|tag| (ETAG, tag)));
    // What is not to be kept without asking is told already.
    if headers.get(CACHE_CONTROL).is_some_and(|told| told != "no-cache") {
        let told = text.and_then(|text| HeaderValue::from_str(&text).ok()).unwrap_or(value("no-cache"));
        headers.insert(CACHE_CONTROL, told);
    }
}

/// The tag of what is at a path: it is another one for other content, and in each life of a server, since an archive may have
/// other bytes by then.
fn tag(site: &Site, found: &FoundPath) -> String {
    let life = site.life();
    match found.attributes.ttl.is_zero() {
        true => format!("\"{life:x}-r{:x}\"", found.attributes.inode),
        false => format!("\"{life:x}-{:x}\"", xxh3_64(found.path.as_bytes())),
    }
}

/// Objects elsewhere are read in one version as long as this server lives. Files of this machine are their owner's, who may
/// write them anew and start the server again at any time.
fn cache_control(site: &Site, found: &FoundPath) -> HeaderValue {
    let dataset = found.path.split('/').next().unwrap_or_default();
    let changes = found.attributes.ttl.is_zero() || !site.is_remote(dataset);
    let text = match (changes, site.is_public()) {
        (true, _) => "no-cache".to_owned(),
        (false, true) => format!("public, {KEPT}"),
        (false, false) => format!("private, {KEPT}"),
    };
    HeaderValue::from_str(&text).unwrap_or(value("no-cache"))
}

fn content_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit('.').next() {
        Some("json" | "zarray" | "zattrs" | "zgroup" | "zmetadata") => "application/json",
        Some("md") => "text/markdown; charset=utf-8",
        Some("csv") => "text/csv; charset=utf-8",
        Some("txt" | "TAG") => "text/plain; charset=utf-8",
        Some("xml") => "application/xml",
        Some("tif") => "image/tiff",
        _ => "application/octet-stream",
    }
}

/// The bytes of a file, which are all there where they are not too many.
pub(super) async fn bytes(site: &Site, found: &FoundPath, range: Range<u64>) -> Result<Bytes, Failure> {
    bytes_until(site, found, range, &Arc::default()).await
}

/// The same; `validity` is told how long they hold.
pub(super) async fn bytes_until(
    site: &Site,
    found: &FoundPath,
    range: Range<u64>,
    validity: &Arc<Validity>,
) -> Result<Bytes, Failure> {
    let expected = range.end - range.start;
    let size = u32::try_from(expected).unwrap_or(u32::MAX);
    let bytes = answer(site.vfs().fetch(found.attributes.inode, (range.start, size), validity)).await;
    let bytes = bytes.map_err(|errno| Failure::of(site.vfs(), &found.path, errno))?;
    if bytes.len() as u64 != expected {
        return Err(Failure::Failed(format!("{}: {} bytes came in place of {expected}", found.path, bytes.len())));
    }
    Ok(bytes)
}

impl Come {
    /// What is there before anything of `range` is sent.
    async fn of(site: &Site, found: &FoundPath, range: &Range<u64>) -> Result<Come, Failure> {
        let length = range.end - range.start;
        let is_all = length <= WHOLE && !(found.path.ends_with(".tif") && length > WHOLE_TIFF);
        let piece = if is_all { length } else { site.untaken().pieces.piece() };
        let validity = Arc::<Validity>::default();
        // What cannot be had at all is told with the status.
        let first = range.start..range.end.min(range.start + piece);
        let bytes = bytes_until(site, found, first, &validity).await?;
        Ok(Come { bytes, until: validity.until(), is_all })
    }
}

/// Bytes that have come of `range`, with room for them until the client has taken them. Nobody has room while an origin is
/// waited for, and nobody waits for it longer than for an origin.
async fn held(
    site: &Site,
    room: &Room,
    (found, range): (&FoundPath, Range<u64>),
    come: Bytes,
    outlet: Option<&Outlet>,
) -> Result<Bytes, Failure> {
    if come.len() as u64 <= LITTLE {
        return Ok(come);
    }
    if let Some((outlet, file)) = outlet.and_then(|outlet| Some((outlet, site.memory_files().file(&come)?))) {
        return Ok(outlet.answer(file));
    }
    if let Some(share) = room.try_take(come.len() as u64) {
        return Ok(share.hold(come));
    }
    let sum = xxh3_64(&come);
    drop(come);
    let Ok(share) = timeout(site.vfs().timeout(), room.take(range.end - range.start)).await else {
        let line = format!(
            "{}: there is no room for the answer, since other clients take theirs slowly or not at all; `--memory` gives more",
            found.path
        );
        tracing::warn!("{line}");
        return Err(Failure::Failed(line));
    };
    let come = bytes(site, found, range).await?;
    if xxh3_64(&come) != sum {
        return Err(Failure::Failed(format!("{}: what was absent came to be there, ask again", found.path)));
    }
    Ok(match share {
        Some(share) => share.hold(come),
        None => come,
    })
}

async fn content(
    site: &Arc<Site>,
    found: FoundPath,
    range: Range<u64>,
    come: Come,
    outlet: Option<&Outlet>,
) -> Result<Body, Failure> {
    let first = range.start..range.start + come.bytes.len() as u64;
    if come.is_all {
        let room = &site.untaken().answers;
        return Ok(body::whole(held(site, room, (&found, first), come.bytes, outlet).await?));
    }
    let room = &site.untaken().pieces;
    let bytes = held(site, room, (&found, first.clone()), come.bytes, None).await?;
    let rest = (Arc::clone(site), found, first.end, range.end);
    let rest = stream::try_unfold(rest, move |(site, found, start, end)| async move {
        if start >= end {
            return Ok(None);
        }
        let next = end.min(start + site.untaken().pieces.piece());
        let piece = async {
            let come = self::bytes(&site, &found, start..next).await?;
            held(&site, &site.untaken().pieces, (&found, start..next), come, None).await
        };
        let bytes = piece.await.map_err(|failure| io::Error::other(format!("{failure:?}")))?;
        Ok(Some((bytes, (site, found, next, end))))
    });
    Ok(body::pieces(futures::StreamExt::chain(stream::once(async { Ok(bytes) }), rest)))
}
