//! From a request to its answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW, CONTENT_LENGTH, HOST,
    HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use tracing::{Instrument, Span};

use super::access::Admission;
use super::body::{self, Body};
use super::failure::Failure;
use super::file;
use super::headers::value;
use super::listing::{self, ListingFormat};
use super::paths::Path;
use super::query::Query;
use super::site::Site;
use super::{image_page, index_page, picture};
use crate::task;
use crate::vfs::NodeKind;

/// A browser asks with this whether a page of the internet may reach a server of this machine or network.
const REQUEST_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");
/// Pages that are isolated from others may use the answer.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

const METHODS: &str = "GET, HEAD, OPTIONS";
const EXPOSED: &str = "Accept-Ranges, Content-Length, Content-Range, ETag, Retry-After";
const ASKED: &str = "Authorization, Cache-Control, If-Match, If-None-Match, If-Range, Range";
/// Seconds for which a browser need not ask again whether it may.
const PREFLIGHT: u64 = 7200;

/// Answers a request. A panic in it is a 503 for it alone.
pub(super) async fn respond(site: Arc<Site>, request: Request<Incoming>) -> Response<Body> {
    // What it is about is said once it is known which part of the path is a token.
    let span = task::request(request.method().as_str(), || None);
    respond_within(site, request).instrument(span).await
}

async fn respond_within(site: Arc<Site>, request: Request<Incoming>) -> Response<Body> {
    let start = Instant::now();
    let method = request.method().clone();
    // What the log has of a path is what is behind a token.
    let mut logged = String::new();
    let answer = AssertUnwindSafe(answer(&site, &request, &mut logged)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|_| {
        let line = format!("/{logged}: failed by a defect of emfs, please report it");
        tracing::error!("{line}");
        Err(Failure::Failed(line))
    });
    let mut response = answer.unwrap_or_else(|failure| failure.response());
    if method == Method::HEAD {
        let has_content = response.status() != StatusCode::NOT_MODIFIED && response.status() != StatusCode::NO_CONTENT;
        if let Some(length) = response.body().size_hint().exact().filter(|_| has_content) {
            response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
        }
        *response.body_mut() = body::empty();
    }
    let status = response.status().as_u16();
    let bytes = response.body().size_hint().exact();
    let took = start.elapsed().as_millis();
    tracing::debug!(
        "{method} /{logged} {status} {} bytes {took} ms",
        bytes.map_or("-".to_owned(), |bytes| bytes.to_string())
    );
    allow_pages(&site, request.headers(), response.headers_mut());
    response
}

/// Tells browsers whose pages may have the answer.
fn allow_pages(site: &Site, asked: &HeaderMap, headers: &mut HeaderMap) {
    if !site.access().allows_all() {
        headers.append(VARY, value("Origin"));
    }
    if let Some(origin) = site.access().allowed(asked) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, value(EXPOSED));
        headers.insert(RESOURCE_POLICY, value("cross-origin"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, value("nosniff"));
    // An address may hold a token, which other sites must not learn.
    headers.insert(REFERRER_POLICY, value("no-referrer"));
}

async fn answer(site: &Arc<Site>, request: &Request<Incoming>, logged: &mut String) -> Result<Response<Body>, Failure> {
    let (method, headers) = (request.method(), request.headers());
    if request.version() == Version::HTTP_11 && headers.get_all(HOST).iter().count() != 1 {
        return Err(Failure::Request("a request has one line `Host` (RFC 9112, section 3.2)".to_owned()));
    }
    if method == Method::OPTIONS {
        return Ok(preflight(site, headers));
    }
    if method != Method::GET && method != Method::HEAD {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, value(METHODS));
        return Ok(response);
    }
    let parsed = Path::parse(request.uri().path());
    let first = parsed.as_ref().ok().and_then(|path| path.parts.first()).map(String::as_str);
    if let Some(jobs) = &site.access().jobs {
        jobs.refresh().await;
    }
    let strip = match site.access().admits(headers, first) {
        Admission::Granted(strip) => strip,
        Admission::Job(strip, claims) => {
            // What is outside of all datasets tells of those that the token is not for.
            let dataset = parsed.as_ref().ok().and_then(|path| path.parts.get(strip));
            if claims.datasets.is_some() && !dataset.is_some_and(|dataset| claims.allows(dataset)) {
                return Err(Failure::Denied(format!("this token is for {} alone", claims.scope())));
            }
            strip
        }
        Admission::Invalid(error) => return Err(Failure::Denied(error.to_string())),
        Admission::Missing => return Err(Failure::NoToken),
        Admission::Wrong => return Err(Failure::WrongToken),
    };
    let mut path = parsed?;
    path.parts.drain(..strip);
    *logged = site.access().logged(&path.parts);
    task::is_about(&Span::current(), logged);
    let query = Query::parse(request.uri().query());
    if path.parts.is_empty() && !path.is_directory {
        return Ok(moved(request.uri()));
    }
    let found = match site.names().find(&path.parts).await {
        Err(Failure::NotFound(at)) => {
            return page(site, request, &path, &query).await.unwrap_or(Err(Failure::NotFound(at)));
        }
        found => found?,
    };
    if found.attributes.kind == NodeKind::File {
        if path.is_directory {
            return Err(Failure::NotFound(format!("{}/", found.path)));
        }
        return file::respond(site, found, request).await;
    }
    let mut response = match form(headers, &query) {
        ListingFormat::Html if !path.is_directory => moved(request.uri()),
        ListingFormat::Html if path.parts.is_empty() && query.get("format").is_none() => {
            index_page::respond(site, &base(site, request, &path)).await?
        }
        form => listing::respond(site, found, form).await?,
    };
    response.headers_mut().append(VARY, value("Accept"));
    Ok(response)
}

/// What is no path of the tree may be a page: `DATASET/IMAGE`, and the slices in it.
async fn page(
    site: &Arc<Site>,
    request: &Request<Incoming>,
    path: &Path,
    query: &Query,
) -> Option<Result<Response<Body>, Failure>> {
    match path.parts.as_slice() {
        [dataset, image] => {
            let store = image_page::store(site, dataset, image).await?;
            Some(match (store, path.is_directory) {
                (Err(failure), _) => Err(failure),
                (Ok(_), false) => Ok(moved(request.uri())),
                (Ok(store), true) => {
                    image_page::respond(site, dataset, &store, query, &base(site, request, path)).await
                }
            })
        }
        [dataset, image, name] if name == "slice.png" => match image_page::store(site, dataset, image).await? {
            Err(failure) => Some(Err(failure)),
            Ok(store) => Some(picture::respond(site, (dataset, &store), query, request.headers()).await),
        },
        _ => None,
    }
}

/// The address of the server as the client has it, with the token where that is part of it.
fn base(site: &Site, request: &Request<Incoming>, path: &Path) -> String {
    let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| request.headers().get("host")?.to_str().ok().map(str::to_owned)).unwrap_or_default();
    let raw = request.uri().path().trim_matches('/');
    let before = raw.split('/').filter(|part| !part.is_empty()).count().saturating_sub(path.parts.len());
    let prefix: String = raw.split('/').take(before).map(|part| format!("{part}/")).collect();
    format!("{}://{host}/{prefix}", site.scheme())
}

/// How the client wants a listing.
fn form(headers: &HeaderMap, query: &Query) -> ListingFormat {
    match query.get("format") {
        Some("json") => ListingFormat::Json,
        Some(_) => ListingFormat::Html,
        None => {
            let accepts = headers.get(ACCEPT).and_then(|accepted| accepted.to_str().ok()).unwrap_or_default();
            if accepts.contains("application/json") && !accepts.contains("text/html") {
                ListingFormat::Json
            } else {
                ListingFormat::Html
            }
        }
    }
}

/// The address of a directory ends in a slash, or what a page of it links to would be elsewhere.
fn moved(asked: &Uri) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    // Only the last part, so that no path is taken for another host.
    let name = asked.path().rsplit('/').next().unwrap_or_default();
    let query = asked.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(address) = HeaderValue::from_str(&format!("./{name}/{query}")) {
        response.headers_mut().insert(LOCATION, address);
    }
    response
}

/// What a browser asks before it lets a page send a request.
fn preflight(site: &Site, asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, value(METHODS));
    if site.access().allowed(asked).is_none() {
        return response;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, value(METHODS));
    let wanted = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.unwrap_or(value(ASKED)));
    headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT.into());
    if asked.get(REQUEST_PRIVATE).is_some_and(|asked| asked == "true") {
        headers.insert(ALLOW_PRIVATE, value("true"));
    }
    response
}
