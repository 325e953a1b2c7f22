//! Where an object or a folder of objects is.

use std::fmt;
use std::path::{Path, absolute};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// What is left out of a URL that is written with it as it is.
const LOST: [char; 3] = ['\t', '\n', '\r'];

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
    /// The text as given, as [`shown_text`] shows it.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Location {
    /// An anonymous location without endpoint.
    pub fn anonymous(url: Url) -> Self {
        Location { url, endpoint: None, credentials: Credentials::None }
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.url.scheme() == "file"
    }

    /// Reads an address as it stands in a configuration: a URL of a known scheme, or a path. A relative path starts at
    /// `base`. Characters that a URL cannot hold, such as spaces, are percent-encoded; what is percent-encoded already stays
    /// as it is.
    pub fn parse(text: &str, base: Option<&Path>) -> Result<Location, LocationError> {
        url(text, base).map(Location::anonymous).map_err(|reason| LocationError { text: shown_text(text), reason })
    }

    /// The location of `key` (relative, `/`-separated, not percent-encoded) below this one, which is taken as a folder
    /// whether or not its path ends in `/`. Segments `.` and `..` are dropped: a key never leaves the folder.
    pub fn join(&self, key: &str) -> Location {
        let mut url = self.url.clone();
        if key.contains(LOST) {
            let mut path = url.path().strip_suffix('/').unwrap_or(url.path()).to_owned();
            for segment in key.split('/').filter(|segment| !matches!(*segment, "." | "..")) {
                path.push('/');
                path.extend(utf8_percent_encode(segment, NON_ALPHANUMERIC));
            }
            url.set_path(&path);
        } else if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(key.split('/'));
        }
        Location { url, ..self.clone() }
    }

    /// The folder that holds it, and its name there, not percent-encoded; `None` where it is no part of another.
    pub fn parent(&self) -> Option<(Location, String)> {
        let mut url = self.url.clone();
        let name = url.path_segments()?.rfind(|segment| !segment.is_empty())?.to_owned();
        url.path_segments_mut().ok()?.pop_if_empty().pop();
        let name = percent_encoding::percent_decode_str(&name).decode_utf8().ok()?.into_owned();
        Some((Location { url, ..self.clone() }, name))
    }

    /// The location of the same name in the folder `name` beside it.
    pub(crate) fn in_folder_beside(&self, name: &str) -> Location {
        let file =
            self.url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default().to_owned();
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop().push(name);
        }
        // The segment is percent-encoded already.
        let path = format!("{}/{file}", url.path());
        url.set_path(&path);
        Location { url, ..self.clone() }
    }
}

/// For messages and records, which others read: without what gives access.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.url))
    }
}

/// Parts of the names of parameters whose values give access, such as `X-Amz-Signature`.
const SECRET: [&str; 7] = ["token", "key", "sig", "secret", "password", "credential", "auth"];

/// Whole names of such parameters, and of those that say in short what the access is to: of an Azure signature (SAS) and of
/// an Azure function.
const SECRET_NAMES: [&str; 8] = ["code", "sv", "se", "sp", "sr", "st", "spr", "sip"];

/// Whether the value of the parameter `name` is for nobody's eyes.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET.iter().any(|part| name.contains(part)) || SECRET_NAMES.contains(&name.as_str())
}

/// An address without the values of parameters that give access.
pub(super) fn shown(url: &Url) -> String {
    let Some(query) = url.query() else { return url.to_string() };
    let parameter = |text: &str| match text.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}=…"),
        _ => text.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(parameter).collect();
    let mut bare = url.clone();
    bare.set_query(None);
    format!("{bare}?{}", query.join("&"))
}

/// A text that should be an address, for messages: without the values that give access, and without who should have it.
/// Where there is nothing of that kind it is as it was written.
pub fn shown_text(text: &str) -> String {
    // What stands before another address would be read as a part of that.
    let mut outer = 0;
    while let Some(length) = text.get(outer..).and_then(outer_scheme) {
        outer += length;
    }
    let (outer, inner) = text.split_at_checked(outer).unwrap_or(("", text));
    let Ok(mut url) = Url::parse(inner) else { return text.to_owned() };
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user {
        // Fails where there is no host, which then has no user.
        let _ = url.set_password(None);
        let _ = url.set_username("…");
    }
    let shown = shown(&url);
    if has_user || shown != url.as_str() { format!("{outer}{shown}") } else { text.to_owned() }
}

/// Bytes of the `x://` of a text `x://y://…`.
fn outer_scheme(text: &str) -> Option<usize> {
    let (outer, rest) = text.split_once("://")?;
    let (inner, _) = rest.split_once("://")?;
    (is_word(outer) && is_word(inner)).then_some(outer.len() + 3)
}

/// Whether a scheme may be called so.
fn is_word(scheme: &str) -> bool {
    scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
}

fn url(text: &str, base: Option<&Path>) -> Result<Url, String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    if text.chars().any(char::is_control) {
        return Err("it has a control character".into());
    }
    let Some(scheme) = scheme(text) else { return path(text, base) };
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return Err("it begins or ends with a space (write %20 if it belongs to the name)".into());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.fragment().is_some() {
        return Err("it has a fragment (write %23 if the # belongs to the name)".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user name or password".into());
    }
    match scheme.as_str() {
        "http" | "https" => {}
        "file" => {
            url.to_file_path().map_err(|()| "it names another machine".to_owned())?;
        }
        "s3" | "gs" => bucket(&url)?,
        other => return Err(format!("the scheme `{other}` is none of https, http, file, s3, gs")),
    }
    if outer_scheme(text).is_some() {
        return Err(format!("another address stands behind `{scheme}://`; write that one alone"));
    }
    if !matches!(scheme.as_str(), "http" | "https") && url.query().is_some() {
        return Err("it has a query (write %3F if the ? belongs to the name)".into());
    }
    Ok(url)
}

/// The scheme of a text that is a URL and no path. A known scheme without `//` is a mistake, not a file name.
fn scheme(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let word = is_word(scheme);
    let scheme = scheme.to_ascii_lowercase();
    let known = matches!(scheme.as_str(), "http" | "https" | "file" | "s3" | "gs");
    (word && (known || rest.starts_with("//"))).then_some(scheme)
}

fn path(text: &str, base: Option<&Path>) -> Result<Url, String> {
    let path = match base {
        Some(base) => base.join(text),
        None if Path::new(text).is_absolute() => text.into(),
        None => return Err("a relative path, and there is no folder that it starts from".into()),
    };
    let path = absolute(&path).map_err(|error| error.to_string())?;
    Url::from_file_path(&path).map_err(|()| "it cannot be written as a file URL".to_owned())
}

fn bucket(url: &Url) -> Result<(), String> {
    let bucket = url.host_str().unwrap_or_default();
    let valid = !bucket.is_empty()
        && bucket.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && bucket.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    if !valid {
        return Err(format!("`{bucket}` is no name of a bucket"));
    }
    if url.port().is_some() {
        return Err("a bucket has no port (an own server goes into `endpoint`)".into());
    }
    Ok(())
}

#[cfg(test)]
#[path = "location/tests.rs"]
mod tests;
