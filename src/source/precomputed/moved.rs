//! Where a volume has moved to, by `redirect` in its `info`.
//!
//! So neuroglancer (its pull request 165) and cloud-volume (270) have it: an address, or one that is relative to the folder of
//! the document. Beside it, the document may say nothing else.

use url::Url;

use crate::kind::Kind;
use crate::pasted;
use crate::remote::{Credentials, Location, leads_safely};
use crate::source::SourceError;
use crate::source::json::{self, quoted};

/// How often a volume may have moved.
pub(super) const MOST: usize = 10;

/// Where the volume in `folder` has moved to by its `info`; `None` where it has not.
///
/// # Errors
/// Where that is no place that is asked on the word of this one.
pub(super) fn target(file: &str, bytes: &[u8], folder: &Location) -> Result<Option<Location>, SourceError> {
    let value = json::parse(file, bytes)?;
    let Some(field) = json::JsonField::root(file, &value)?.optional("redirect")? else { return Ok(None) };
    let text = field.text()?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    match place(text, folder) {
        Ok(target) if is_same(&target, folder) => Ok(None),
        Ok(target) => Ok(Some(target)),
        Err(reason) => Err(field.malformed(format!(
            "the volume has moved to {}, {reason}; write the address at which it is by `url`",
            quoted(text)
        ))),
    }
}

fn is_same(one: &Location, other: &Location) -> bool {
    let bare = |location: &Location| {
        let mut url = location.url.clone();
        url.set_path(location.url.path().trim_end_matches('/'));
        url
    };
    bare(one) == bare(other)
}

/// The folder that `text` names, seen from `folder`.
fn place(text: &str, folder: &Location) -> Result<Location, String> {
    let bare = pasted::address(text, Kind::Precomputed).map_err(|reason| format!("which cannot be read: {reason}"))?;
    if !bare.contains("://") {
        return match bare.strip_prefix('/') {
            None => Ok(super::resolve(folder, &bare)),
            Some(_) if folder.is_local() => Location::parse(&bare, None).map_err(|error| error.reason),
            Some(_) => Err("which is a path of another machine and no address".to_owned()),
        };
    }
    let target = Location::parse(&bare, None).map_err(|error| format!("which cannot be read: {}", error.reason))?;
    match is_asked(&folder.url, &target.url) {
        Ok(()) => Ok(as_configured(target, folder)),
        Err(reason) => Err(reason.to_owned()),
    }
}

/// Whether what is at `from` may send whoever reads it to `to`. Otherwise whoever can change a document elsewhere could have
/// this machine show its own files, or ask any other one that it can reach; redirects of HTTP are followed by the same rule.
fn is_asked(from: &Url, to: &Url) -> Result<(), &'static str> {
    match (from.scheme(), to.scheme()) {
        ("file", _) | (_, "s3" | "gs") => Ok(()),
        (_, "file") => Err("a file of this machine, which is not read on the word of another one"),
        _ if leads_safely(from, to) => Ok(()),
        _ => Err("without encryption, which is followed only on the same host"),
    }
}

/// The target by the way to the place that was configured, where it is reached in the same way: in the same bucket, or at the
/// same server of buckets. To others nobody's name is sent.
fn as_configured(target: Location, from: &Location) -> Location {
    let is_one_way = target.url.scheme() == from.url.scheme()
        && (from.endpoint.is_some() || target.url.host() == from.url.host())
        && matches!(target.url.scheme(), "s3" | "gs");
    match is_one_way {
        true => Location { url: target.url, ..from.clone() },
        false => Location { endpoint: None, credentials: Credentials::None, ..target },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn target_of(text: &str, folder: &str) -> Result<Option<String>, String> {
        let folder = Location::parse(folder, None).unwrap();
        let info = json!({ "redirect": text }).to_string();
        let found = target("info", info.as_bytes(), &folder).map_err(|error| error.to_string())?;
        Ok(found.map(|location| location.to_string()))
    }

    #[test]
    fn a_volume_has_moved_to_the_address_of_its_redirect() {
        for (text, from, to) in [
            ("gs://b/em", "https://h/x", "gs://b/em"),
            ("precomputed://gs://b/em", "s3://c/x", "gs://b/em"),
            ("precomputed://precomputed://https://g/em/info", "gs://b/x", "https://g/em"),
            ("https://g/em/|neuroglancer-precomputed:", "http://h/x", "https://g/em/"),
            ("http://h/y", "http://h:80/x", "http://h/y"),
            ("../y", "https://h/a/x/", "https://h/a/y"),
            ("./y z/", "https://h/a/x?token=1", "https://h/a/x/y%20z?token=…"),
            ("precomputed://../y", "/data/x", "file:///data/y"),
            ("/data/y", "/data/x", "file:///data/y"),
            ("file:///data/y", "/data/x", "file:///data/y"),
            ("http://h/y", "/data/x", "http://h/y"),
        ] {
            assert_eq!(target_of(text, from), Ok(Some(to.to_owned())), "{text} from {from}");
        }
        for (text, from) in [("", "gs://b/x"), ("gs://b/x/", "gs://b/x"), ("precomputed://gs://b/x", "gs://b/x/")] {
            assert_eq!(target_of(text, from), Ok(None), "{text} from {from}");
        }
    }

    #[test]
    fn a_redirect_is_not_followed_where_a_redirect_of_http_is_not() {
        for (text, from, told) in [
            ("file:///etc/x", "https://h/x", "a file of this machine, which is not read on the word of another one"),
            ("precomputed://file:///etc/x", "s3://b/x", "a file of this machine"),
            ("/etc/x", "http://h/x", "a path of another machine and no address"),
            ("http://169.254.169.254/x", "https://h/x", "without encryption, which is followed only on the same host"),
            ("http://127.0.0.1/x", "http://h/x", "without encryption, which is followed only on the same host"),
            ("http://h/x", "gs://b/x", "without encryption"),
            ("https://user:secret@h/x", "gs://b/x", "it holds a user name or password"),
            ("ftp://h/x", "gs://b/x", "the scheme `ftp` is none of"),
        ] {
            let error = target_of(text, from).unwrap_err();
            assert!(error.contains(told), "{text} from {from}: {error}");
            assert!(error.contains("info: redirect: the volume has moved to") && error.contains("by `url`"), "{error}");
        }
    }

    #[test]
    fn credentials_go_to_the_same_bucket_and_an_endpoint_serves_all_of_its_own() {
        let own = Location { credentials: Credentials::Env, ..Location::parse("s3://b/x", None).unwrap() };
        let server = Location { endpoint: Some(Url::parse("http://h:9").unwrap()), ..own.clone() };
        for (text, from, credentials, has_endpoint) in [
            ("s3://b/y", &own, Credentials::Env, false),
            ("../y", &own, Credentials::Env, false),
            ("s3://c/y", &own, Credentials::None, false),
            ("s3://c/y", &server, Credentials::Env, true),
            ("gs://b/y", &server, Credentials::None, false),
            ("https://h:9/b/y", &server, Credentials::None, false),
        ] {
            let found = place(text, from).unwrap();
            assert_eq!((found.credentials, found.endpoint.is_some()), (credentials, has_endpoint), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_redirect_of_another_machine_leads_to_a_file_of_this_one(text in "[a-z0-9:/|?.\\\\%# _-]{0,40}", any_text in any::<String>()) {
            for text in [&text, &any_text] {
                for from in ["https://h/x", "s3://b/x"] {
                    if let Ok(Some(found)) = target_of(text, from) {
                        prop_assert!(!found.starts_with("file:") && !found.starts_with("http:"), "{found}");
                    }
                }
            }
        }
    }
}
