//! Where an object or a folder of objects is.

use std::fmt;

use url::Url;

/// Whose name requests are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nobody's: requests are anonymous.
    #[default]
    None,
    /// Those of the environment, as the store's own tools read them.
    Env,
}

/// An address with the way to reach it. Schemes: `https`, `http`, `file`, `s3`, `gs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The address as configured; percent-encoding is kept as it is.
    pub url: Url,
    /// For `s3` and `gs`: a server where objects are at `<endpoint>/<bucket>/<key>`.
    pub endpoint: Option<Url>,
    /// For `s3` and `gs`: whose credentials are used.
    pub credentials: Credentials,
}

/// An address that is none.
#[derive(Debug, Clone, thiserror::Error)]
#[error("`{text}` is no address emfs can read: {reason}")]
pub struct LocationError {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Location {
    /// An anonymous location without endpoint.
    pub fn anonymous(url: Url) -> Self {
        Location { url, endpoint: None, credentials: Credentials::None }
    }

    /// The location of `key` (relative, `/`-separated, not percent-encoded) below this one, which is taken as a folder
    /// whether or not its path ends in `/`.
    pub fn join(&self, key: &str) -> Location {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(key.split('/'));
        }
        Location { url, ..self.clone() }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
