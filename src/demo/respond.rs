//! From a request to its answer.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::http::{HeaderMap, Method, StatusCode, Uri, header, response};
use percent_encoding::percent_decode_str;

use super::files::{Files, ReplicaFile};
use super::listing::{self, ListRequest};
use crate::byte_range::{RequestedRange, wanted};
use crate::http::escape;

/// Body of every answer.
pub(super) type ReplicaBody = Full<Bytes>;

/// The image that OMERO knows.
pub(super) const IDR_IMAGE: u64 = 9_846_137;
/// The dataset and the project that it belongs to.
const IDR_DATASET: u64 = 10_740;
const IDR_PROJECT: u64 = 1161;
/// The entry that EMPIAR knows.
pub(super) const EMPIAR_ENTRY: u64 = 11_759;
const LAST_MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";
const JSON: &str = "application/json";
const HTML: &str = "text/html;charset=UTF-8";
const XML: &str = "application/xml";

/// Answers one request.
pub(super) fn respond(files: &Files, method: &Method, uri: &Uri, headers: &HeaderMap) -> Response<ReplicaBody> {
    if method != Method::GET && method != Method::HEAD {
        return finish(
            Response::builder().status(StatusCode::METHOD_NOT_ALLOWED).header(header::ALLOW, "GET, HEAD"),
            Bytes::new(),
        );
    }
    let Ok(path) = percent_decode_str(uri.path().trim_start_matches('/')).decode_utf8() else {
        return text(StatusCode::BAD_REQUEST, HTML, "<h1>Bad Request</h1>".to_owned());
    };
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let answer = match path.split_once('/').unwrap_or((&path, "")) {
        ("idr", route) => omero(files, route, &query, headers),
        ("empiar", route) => empiar(files, route, headers),
        ("ebi" | "epfl", _) => apache(files, &path, uri, headers),
        ("s3", key) => s3(files, key, &query, headers),
        ("gs", key) => gs(files, key, headers),
        _ => text(StatusCode::NOT_FOUND, HTML, "<h1>Not Found</h1>".to_owned()),
    };
    if method == Method::HEAD { answer.map(|_| ReplicaBody::default()) } else { answer }
}

/// OMERO.web: its own routes, each ending in a slash.
fn omero(files: &Files, route: &str, query: &[(String, String)], headers: &HeaderMap) -> Response<ReplicaBody> {
    let document = |name: &str| match files.get(&format!("idr/{name}.json")) {
        Some(entry) => object(entry, JSON, headers),
        None => text(StatusCode::NOT_FOUND, HTML, "<h1>Not Found</h1>".to_owned()),
    };
    let wanted_image = |rest: &str| rest.strip_suffix('/').and_then(|id| id.parse::<u64>().ok());
    if route == "webclient/api/annotations/" {
        return match (value(query, "image").parse(), value(query, "project").parse()) {
            (Ok(IDR_IMAGE), _) if value(query, "type") == "map" => document("annotations"),
            (_, Ok(IDR_PROJECT)) if value(query, "type") == "map" => document("study"),
            _ => text(StatusCode::OK, JSON, r#"{"annotations": [], "experimenters": []}"#.to_owned()),
        };
    }
    if route == format!("api/v0/m/images/{IDR_IMAGE}/datasets/") {
        return document("datasets");
    }
    if route == format!("api/v0/m/datasets/{IDR_DATASET}/projects/") {
        return document("projects");
    }
    for (prefix, name) in [
        ("api/v0/m/images/", "image"),
        ("webgateway/original_file_paths/", "original_file_paths"),
        ("webgateway/imgData/", "imgData"),
    ] {
        match route.strip_prefix(prefix).and_then(wanted_image) {
            Some(IDR_IMAGE) => return document(name),
            Some(image) if name == "image" => {
                let message = format!(r#"{{"message": "Image {image} not found", "stacktrace": ""}}"#);
                return text(StatusCode::NOT_FOUND, JSON, message);
            }
            _ => {}
        }
    }
    text(StatusCode::NOT_FOUND, HTML, "<h1>Page not found</h1>".to_owned())
}

/// EMPIAR's interface for programs: an entry by its number or its accession, with or without a slash at the end.
fn empiar(files: &Files, route: &str, headers: &HeaderMap) -> Response<ReplicaBody> {
    let entry = route.strip_prefix("api/entry/").map(|entry| entry.strip_suffix('/').unwrap_or(entry));
    let entry = entry.map(|entry| entry.strip_prefix("EMPIAR-").unwrap_or(entry));
    let wanted = entry.and_then(|entry| entry.parse().ok()) == Some(EMPIAR_ENTRY);
    match files.get("empiar/entry.json").filter(|_| wanted) {
        Some(entry) => object(entry, JSON, headers),
        None => text(StatusCode::NOT_FOUND, JSON, r#"{"detail": "Not found."}"#.to_owned()),
    }
}

/// A file server with listings.
fn apache(files: &Files, path: &str, uri: &Uri, headers: &HeaderMap) -> Response<ReplicaBody> {
    if let Some(entry) = files.get(path) {
        let kind = if path.ends_with(".tif") { "image/tiff" } else { "application/octet-stream" };
        return object(entry, kind, headers);
    }
    let folder = if path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
    let children = files.children(&folder);
    if children.is_empty() {
        let page = format!("<h1>Not Found</h1><p>The requested URL {} was not found.</p>", escape(uri.path()));
        text(StatusCode::NOT_FOUND, HTML, page)
    } else if path.ends_with('/') {
        text(StatusCode::OK, HTML, listing::autoindex(&format!("/{path}"), &children))
    } else {
        let builder = Response::builder()
            .status(StatusCode::MOVED_PERMANENTLY)
            .header(header::LOCATION, format!("{}/", uri.path()));
        finish(builder, Bytes::new())
    }
}

/// A bucket server, path style.
fn s3(files: &Files, path: &str, query: &[(String, String)], headers: &HeaderMap) -> Response<ReplicaBody> {
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    if key.is_empty() {
        let request = ListRequest {
            prefix: value(query, "prefix").to_owned(),
            delimiter: value(query, "delimiter").to_owned(),
            max_keys: value(query, "max-keys").parse().ok(),
            after: value(query, "continuation-token").max(value(query, "start-after")).to_owned(),
        };
        return match listing::list_objects(files, bucket, &request) {
            Some(_) if value(query, "list-type") != "2" => {
                s3_error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", path)
            }
            Some(xml) => text(StatusCode::OK, XML, xml),
            None => s3_error(StatusCode::NOT_FOUND, "NoSuchBucket", bucket),
        };
    }
    match files.get(&format!("s3/{path}")) {
        // S3 keeps no types of its own; this is what it says of files that were uploaded without one.
        Some(entry) => object(entry, "binary/octet-stream", headers),
        None => s3_error(StatusCode::NOT_FOUND, "NoSuchKey", key),
    }
}

/// Objects of Google's store by their addresses for the public: `/<bucket>/<key>`.
fn gs(files: &Files, path: &str, headers: &HeaderMap) -> Response<ReplicaBody> {
    match files.get(&format!("gs/{path}")) {
        Some(entry) => {
            let kind = if path.ends_with("/info") { JSON } else { "application/octet-stream" };
            object(entry, kind, headers)
        }
        None => s3_error(StatusCode::NOT_FOUND, "NoSuchKey", path.split_once('/').map_or(path, |(_, key)| key)),
    }
}

fn s3_error(status: StatusCode, code: &str, key: &str) -> Response<ReplicaBody> {
    let key = escape(key);
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{code}</Message>\
         <Key>{key}</Key><RequestId>REPLICA</RequestId></Error>"
    );
    text(status, XML, xml)
}

/// The first value of a query key, or nothing.
fn value<'a>(query: &'a [(String, String)], key: &str) -> &'a str {
    query.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
}

/// An object or the part of it that was asked for. `If-Range` is ignored, as some servers do.
fn object(entry: &ReplicaFile, kind: &str, headers: &HeaderMap) -> Response<ReplicaBody> {
    let text_of = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let builder = Response::builder()
        .header(header::ETAG, &entry.etag)
        .header(header::LAST_MODIFIED, LAST_MODIFIED)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, kind);
    if let Some(condition) = text_of(header::IF_MATCH)
        && !condition.split(',').any(|tag| [entry.etag.as_str(), "*"].contains(&tag.trim()))
    {
        return finish(builder.status(StatusCode::PRECONDITION_FAILED), Bytes::new());
    }
    let length = entry.bytes.len();
    match wanted(text_of(header::RANGE), length as u64) {
        RequestedRange::Whole => finish(builder, entry.bytes.clone()),
        RequestedRange::Part(part) => finish(
            builder
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {}-{}/{length}", part.start, part.end - 1)),
            entry.bytes.slice(part.start as usize..part.end as usize),
        ),
        RequestedRange::Unsatisfiable => finish(
            builder
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{length}")),
            Bytes::new(),
        ),
    }
}

fn text(status: StatusCode, kind: &str, body: String) -> Response<ReplicaBody> {
    finish(Response::builder().status(status).header(header::CONTENT_TYPE, kind), Bytes::from(body))
}

/// Adds the length, which an answer to HEAD must have too, and the body.
fn finish(builder: response::Builder, body: Bytes) -> Response<ReplicaBody> {
    builder.header(header::CONTENT_LENGTH, body.len()).body(ReplicaBody::new(body)).unwrap_or_else(|_| {
        let mut failed = Response::new(ReplicaBody::default());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        failed
    })
}
