//! Files: all of one or a part, once all that was asked for is there.

use std::io;
use std::ops::Range;
use std::sync::Arc;

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

/// Files up to here are there before any of them is sent; a chunk file is no longer.
const WHOLE: u64 = 64 << 20;

/// The same for TIFF files, each of which is a level.
const WHOLE_TIFF: u64 = 4 << 20;

/// Bytes that nobody needs room for: less than the system keeps of a connection.
const LITTLE: u64 = 16 << 10;

/// How long a browser may keep what never changes as long as this server lives. Not for long: the next server at this address
/// may show something else under the same name.
const KEPT: &str = "max-age=60, immutable";

/// The answer to a request for a file. A HEAD asks nobody for its content.
pub(super) async fn respond(
    site: &Arc<Site>,
    found: FoundPath,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Failure> {
    let is_head = request.method() == Method::HEAD;
    let length = found.attributes.size;
    let tag = tag(site, &found);
    let mut response = Response::new(body::empty());
    let answered = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answered.insert(ETAG, tag);
    }
    answered.insert(CACHE_CONTROL, cache_control(site, &found));
    answered.insert(ACCEPT_RANGES, value("bytes"));
    let wanted = match weigh(request.headers(), &tag, length) {
        Outcome::NotModified => {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        Outcome::Changed => {
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
            return Ok(response);
        }
        // Ranges are defined for GET alone.
        Outcome::Send(_) if is_head => RequestedRange::Whole,
        Outcome::Send(wanted) => wanted,
    };
    let answered = response.headers_mut();
    answered.insert(CONTENT_TYPE, value(content_type(&found.path)));
    let range = match wanted {
        RequestedRange::Whole => 0..length,
        RequestedRange::Part(part) => {
            let told = format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1));
            answered.extend(HeaderValue::from_str(&told).ok().map(|told| (CONTENT_RANGE, told)));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            part
        }
        RequestedRange::Unsatisfiable => {
            let told = format!("bytes */{length}");
            answered.extend(HeaderValue::from_str(&told).ok().map(|told| (CONTENT_RANGE, told)));
            answered.insert(CONTENT_LENGTH, 0.into());
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return Ok(response);
        }
    };
    response.headers_mut().insert(CONTENT_LENGTH, (range.end - range.start).into());
    if !is_head {
        *response.body_mut() = content(site, found, range, request.extensions().get()).await?;
    }
    Ok(response)
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
    let expected = range.end - range.start;
    let size = u32::try_from(expected).unwrap_or(u32::MAX);
    let bytes = answer(site.vfs().fetch(found.attributes.inode, range.start, size)).await;
    let bytes = bytes.map_err(|errno| Failure::of(site.vfs(), &found.path, errno))?;
    if bytes.len() as u64 != expected {
        return Err(Failure::Failed(format!("{}: {} bytes came in place of {expected}", found.path, bytes.len())));
    }
    Ok(bytes)
}

/// The same, with room for them until the client has taken them. Nobody has room while an origin is waited for, and nobody
/// waits for it longer than for an origin.
async fn held(
    site: &Site,
    room: &Room,
    found: &FoundPath,
    range: Range<u64>,
    outlet: Option<&Outlet>,
) -> Result<Bytes, Failure> {
    let come = bytes(site, found, range.clone()).await?;
    if come.len() as u64 <= LITTLE {
        return Ok(come);
    }
    if let Some((outlet, file)) = outlet.and_then(|outlet| Some((outlet, site.memory_files().file(&come)?))) {
        return Ok(outlet.answer(file));
    }
    if let Some(share) = room.try_take(come.len() as u64) {
        return Ok(share.hold(come));
    }
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
    Ok(match share {
        Some(share) => share.hold(come),
        None => come,
    })
}

async fn content(
    site: &Arc<Site>,
    found: FoundPath,
    range: Range<u64>,
    outlet: Option<&Outlet>,
) -> Result<Body, Failure> {
    let length = range.end - range.start;
    if length <= WHOLE && !(found.path.ends_with(".tif") && length > WHOLE_TIFF) {
        return Ok(body::whole(held(site, &site.untaken().answers, &found, range, outlet).await?));
    }
    let piece = site.untaken().pieces.piece();
    let first = range.start..range.end.min(range.start + piece);
    // What cannot be had at all is told with the status.
    let bytes = held(site, &site.untaken().pieces, &found, first.clone(), None).await?;
    let rest = (Arc::clone(site), found, first.end, range.end);
    let rest = stream::try_unfold(rest, move |(site, found, start, end)| async move {
        if start >= end {
            return Ok(None);
        }
        let next = end.min(start + piece);
        let bytes = held(&site, &site.untaken().pieces, &found, start..next, None).await;
        let bytes = bytes.map_err(|failure| io::Error::other(format!("{failure:?}")))?;
        Ok(Some((bytes, (site, found, next, end))))
    });
    Ok(body::pieces(futures::StreamExt::chain(stream::once(async { Ok(bytes) }), rest)))
}
