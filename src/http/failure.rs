//! Requests that get no content, and what they are told.

use hyper::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};

use super::body::{self, Body};
use crate::vfs::{Errno, Vfs};

/// Seconds after which a client may ask again for what failed: a failure is remembered for one.
const RETRY: u64 = 2;

/// Why a request gets no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It makes no sense.
    Request(String),
    /// It names no token.
    NoToken,
    /// It names another token.
    WrongToken,
    /// There is no such thing, and never will be.
    NotFound(String),
    /// The origin or the system denies it.
    Denied(String),
    /// It could not be had.
    Failed(String),
}

impl Failure {
    /// What an error of the tree means for `path`.
    pub fn of(vfs: &Vfs, path: &str, errno: Errno) -> Failure {
        let reason = |otherwise: &str| {
            let reason = vfs.reason(path).unwrap_or_else(|| otherwise.to_owned());
            format!("{path}: {reason}")
        };
        match errno {
            Errno::NOT_FOUND | Errno::NOT_A_DIRECTORY | Errno::IS_A_DIRECTORY => Failure::NotFound(path.to_owned()),
            Errno::ACCESS => Failure::Denied(reason("access is denied")),
            Errno::TOO_MANY => Failure::Failed(reason("too many views are in use")),
            _ => Failure::Failed(reason("it could not be had; the log says why")),
        }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Failure::Request(_) => StatusCode::BAD_REQUEST,
            Failure::NoToken => StatusCode::UNAUTHORIZED,
            Failure::WrongToken | Failure::Denied(_) => StatusCode::FORBIDDEN,
            Failure::NotFound(_) => StatusCode::NOT_FOUND,
            Failure::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the client is told.
    pub fn text(&self) -> String {
        match self {
            Failure::Request(reason) | Failure::Denied(reason) | Failure::Failed(reason) => reason.clone(),
            Failure::NoToken => {
                "a token is needed, as `Authorization: Bearer TOKEN` or as the first part of the path".to_owned()
            }
            Failure::WrongToken => "that is not the token of this server".to_owned(),
            Failure::NotFound(path) => format!("there is no {path}"),
        }
    }

    /// The answer.
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(body::whole(self.text() + "\n"));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, super::headers::value("text/plain; charset=utf-8"));
        match self {
            Failure::Failed(_) => drop(headers.insert(RETRY_AFTER, RETRY.into())),
            Failure::NoToken => drop(headers.insert(WWW_AUTHENTICATE, super::headers::value("Bearer realm=\"emfs\""))),
            _ => {}
        }
        response
    }
}
