//! Listings of directories, for people and for programs, sent as they are made: a level may have millions of names.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::json;

use super::body::{self, Body};
use super::failure::Failure;
use super::headers::value;
use super::markup::{escape, part};
use super::paths::{FoundPath, answer};
use super::site::Site;
use crate::vfs::{DirEntry, NodeKind};

/// How a listing is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListingFormat {
    Html,
    /// A list of objects with `name`, `type`, `mtime` and `size`, as nginx writes them (autoindex_format json).
    Json,
}

/// The listing of a directory.
pub(super) async fn respond(
    site: &Arc<Site>,
    found: FoundPath,
    form: ListingFormat,
) -> Result<Response<Body>, Failure> {
    let path = found.path.clone();
    // What cannot be listed at all is told with the status.
    let (first, cookie) = entries(site, &found, 0).await.map_err(|failure| *failure)?;
    let rest = stream::try_unfold((Arc::clone(site), found, cookie), |(site, found, cookie)| async move {
        let Some(from) = cookie else { return Ok(None) };
        let next = entries(&site, &found, from).await;
        let (entries, cookie) = next.map_err(|failure| io::Error::other(format!("{failure:?}")))?;
        Ok::<_, io::Error>(Some((entries, (site, found, cookie))))
    });
    let all = stream::once(async { Ok(first) }).chain(rest);
    let mut is_first = true;
    let lines = all.map_ok(move |entries| {
        let mut text = String::new();
        for entry in entries.iter().filter(|entry| entry.name != "." && entry.name != "..") {
            match form {
                ListingFormat::Html => text.push_str(&html_line(entry)),
                ListingFormat::Json => {
                    text.push_str(if std::mem::take(&mut is_first) { "\n" } else { ",\n" });
                    text.push_str(&json_line(entry));
                }
            }
        }
        Bytes::from(text)
    });
    let (head, foot, kind) = match form {
        ListingFormat::Html => (html_head(&path), "</ul>\n".to_owned(), "text/html; charset=utf-8"),
        ListingFormat::Json => ("[".to_owned(), "\n]\n".to_owned(), "application/json"),
    };
    let whole = stream::once(async { Ok(head.into()) }).chain(lines).chain(stream::once(async { Ok(foot.into()) }));
    let mut response = Response::new(body::pieces(whole));
    response.headers_mut().insert(CONTENT_TYPE, value(kind));
    response.headers_mut().insert(CACHE_CONTROL, value("no-cache"));
    Ok(response)
}

type Page = (Vec<DirEntry>, Option<u64>);

/// Some entries, and where the next ones begin.
async fn entries(site: &Site, found: &FoundPath, cookie: u64) -> Result<Page, Box<Failure>> {
    let entries = answer(site.vfs().readdir(found.attributes.inode, cookie)).await;
    let entries = entries.map_err(|errno| Box::new(Failure::of(site.vfs(), &found.path, errno)))?;
    let next = entries.last().map(|entry| entry.next_cookie);
    Ok((entries, next))
}

/// The names of what is in a directory.
pub(super) async fn names(site: &Site, found: &FoundPath) -> Result<Vec<DirEntry>, Failure> {
    let (mut all, mut cookie) = (Vec::new(), Some(0));
    while let Some(from) = cookie {
        let (mut entries, next) = entries(site, found, from).await.map_err(|failure| *failure)?;
        all.append(&mut entries);
        cookie = next;
    }
    all.retain(|entry| entry.name != "." && entry.name != "..");
    Ok(all)
}

fn html_head(path: &str) -> String {
    let title = escape(if path.is_empty() { "emfs" } else { path });
    let up = if path.is_empty() { "" } else { "<li><a href=\"../\">../</a></li>\n" };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"></head>\n<body><h1>{title}</h1>\n<ul>\n{up}"
    )
}

pub(super) fn html_line(entry: &DirEntry) -> String {
    let (address, name) = (part(&entry.name), escape(&entry.name));
    match entry.attributes.kind {
        NodeKind::Directory => format!("<li><a href=\"{address}/\">{name}/</a></li>\n"),
        NodeKind::File => format!("<li><a href=\"{address}\">{name}</a> {}</li>\n", entry.attributes.size),
    }
}

fn json_line(entry: &DirEntry) -> String {
    let mtime = httpdate::fmt_http_date(entry.attributes.mtime.max(SystemTime::UNIX_EPOCH));
    let (name, size) = (&entry.name, entry.attributes.size);
    let line = match entry.attributes.kind {
        NodeKind::Directory => json!({"name": name, "type": "directory", "mtime": mtime}),
        NodeKind::File => json!({"name": name, "type": "file", "mtime": mtime, "size": size}),
    };
    line.to_string()
}
