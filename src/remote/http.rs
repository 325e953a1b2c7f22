//! One request over HTTP, without any check of the answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CACHE_CONTROL, HeaderValue, IF_MATCH, RANGE};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Client, Response};
use url::{Host, Url};

use super::backoff::FailedAttempt;
use super::head::Head;
use super::location::shown;
use super::stores::{Signer, chain};
use super::wanted::{Wanted, WantedBytes};
use super::{Cause, RemoteError};

/// How the project names itself to the archives.
const USER_AGENT: &str = concat!("emfs/", env!("CARGO_PKG_VERSION"), " (+", env!("CARGO_PKG_REPOSITORY"), ")");
/// Redirects that are followed for one request.
const REDIRECTS: usize = 5;

/// Connections, kept alive between requests.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    world: Client,
    /// For this machine: a proxy of the environment must not be asked for it, as it has a loopback of its own.
    loopback: Client,
}

impl Clients {
    /// `timeout`: how long a connection may take to be made.
    pub(super) fn new(timeout: Duration) -> Result<Self, RemoteError> {
        Self::with(timeout, follow)
    }

    /// For requests with credentials, which nobody gets but who was asked.
    pub(super) fn signed(timeout: Duration) -> Result<Self, RemoteError> {
        Self::with(timeout, refuse)
    }

    fn with(timeout: Duration, redirect: fn(Attempt<'_>) -> Action) -> Result<Self, RemoteError> {
        let build = |loopback: bool| {
            let mut builder = Client::builder()
                .user_agent(USER_AGENT)
                .connect_timeout(timeout)
                .redirect(Policy::custom(redirect))
                .referer(false)
                .http2_adaptive_window(true)
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate();
            if loopback {
                builder = builder.no_proxy();
            }
            builder.build().map_err(|error| RemoteError {
                url: "https".into(),
                range: None,
                attempts: 0,
                cause: Cause::Connection(chain(&error)),
            })
        };
        Ok(Clients { world: build(false)?, loopback: build(true)? })
    }

    fn of(&self, url: &Url) -> &Client {
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        if loopback { &self.loopback } else { &self.world }
    }
}

/// Whether what is at `from` on the web may send whoever reads it to `to`: to https, or on the same host as long as that does not
/// give up encryption. Whoever can change an answer of http could else have this machine ask any other one that it can reach.
pub(crate) fn leads_safely(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || from.scheme() == "http" && to.scheme() == "http" && to.host() == from.host()
}

/// Follows a few redirects.
fn follow(attempt: Attempt<'_>) -> Action {
    let Some(from) = attempt.previous().last() else { return attempt.follow() };
    if !leads_safely(from, attempt.url()) {
        if from.scheme() == "https" {
            return attempt.error("redirected from https to http");
        }
        let reason = format!(
            "redirected to {} without encryption, which is followed only on the same host",
            shown(attempt.url())
        );
        attempt.error(reason)
    } else if attempt.previous().len() > REDIRECTS {
        attempt.error(format!("more than {REDIRECTS} redirects"))
    } else {
        attempt.follow()
    }
}

/// Follows none.
fn refuse(attempt: Attempt<'_>) -> Action {
    let reason = format!(
        "redirected to {}, which is not followed with credentials; is the region right? Name the address that has the object",
        shown(attempt.url())
    );
    attempt.error(reason)
}

/// An address with the way to ask it.
#[derive(Debug, Clone)]
pub(super) struct HttpTarget {
    pub clients: Clients,
    pub url: Url,
    pub signer: Option<Arc<Signer>>,
    /// Whether it was named as an object of S3.
    pub is_s3: bool,
}

impl HttpTarget {
    pub(super) async fn open(&self, wanted: Wanted<'_>) -> Result<(Head, HttpBody), FailedAttempt> {
        let Wanted { part, if_match, past_caches } = wanted;
        let mut request = self
            .clients
            .of(&self.url)
            .get(self.url.clone())
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        request = match part {
            None => request,
            Some(WantedBytes::Range(range)) => {
                request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            }
            Some(WantedBytes::End(length)) => request.header(RANGE, format!("bytes=-{length}")),
        };
        if let Some(etag) = if_match {
            request = request.header(IF_MATCH, etag);
        }
        if past_caches {
            request = request.header(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        }
        if let Some(signer) = &self.signer {
            request = request.headers(signer.headers(&self.url).await.map_err(FailedAttempt::credentials)?);
        }
        let response = request.send().await.map_err(failure)?;
        // Only the object's own address can say that there is no such object; what it was redirected to, such as a page
        // of errors, may be missing for any reason, and an absent chunk is shown as fill value.
        let elsewhere = !response.url().path().ends_with(self.url.path());
        if elsewhere && matches!(response.status().as_u16(), 404 | 410) {
            return Err(FailedAttempt::invalid(format!("redirected to {}, which is not there", shown(response.url()))));
        }
        let (status, version) = (response.status().as_u16(), response.version());
        let head = Head::of_http(status, version, response.headers(), self.is_s3).map_err(FailedAttempt::invalid)?;
        Ok((head, HttpBody(response)))
    }
}

/// A body that is being received; dropping it drops the connection unless all was received.
#[derive(Debug)]
pub(super) struct HttpBody(Response);

impl HttpBody {
    pub(super) async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, String> {
        self.0.chunk().await.map_err(|error| chain(&error.without_url()))
    }
}

fn failure(error: reqwest::Error) -> FailedAttempt {
    let error = error.without_url();
    if error.is_builder() {
        FailedAttempt::last(Cause::Request(chain(&error)))
    } else if error.is_redirect() {
        FailedAttempt::invalid(chain(&error))
    } else {
        let reason = chain(&error);
        FailedAttempt::opening(&error, reason)
    }
}
