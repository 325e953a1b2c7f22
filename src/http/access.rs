//! Who may read: a token, as a header or as the first part of the path, and the origins whose pages may.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue, ORIGIN};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::job_tokens::JobTokens;
use super::page_origin::PageOrigin;
use crate::token::{Claims, TokenError as JobError};

/// A shorter token could be guessed.
const SHORTEST: usize = 16;

/// What readers have to know. Never shown.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// A text that can be no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// It could be guessed.
    #[error("the token is shorter than {SHORTEST} characters; `openssl rand -hex 16` makes one")]
    Short,
    /// It could not be the part of a path.
    #[error("the token may hold letters, digits, `-`, `_`, `.` and `~` only, since it is part of addresses")]
    Letters,
}

impl Token {
    /// The token that a file holds, without the white space around it.
    pub fn new(text: &str) -> Result<Token, TokenTextError> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)) {
            return Err(TokenTextError::Letters);
        }
        if text.len() < SHORTEST {
            return Err(TokenTextError::Short);
        }
        Ok(Token(digest(text)))
    }

    /// Whether this is the token. Takes as long whatever is wrong with it.
    fn is(&self, text: &str) -> bool {
        self.0.ct_eq(&digest(text)).into()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// Who may read.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What readers have to know, if anything.
    pub token: Option<Token>,
    /// By what tokens of jobs are checked, where those are valid.
    pub jobs: Option<Arc<JobTokens>>,
    /// The origins whose pages may read; any where none is named.
    pub origins: Vec<PageOrigin>,
}

/// What a request may do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Read everything; so many parts of the path are the token.
    Granted(usize),
    /// Read what these claims allow; so many parts of the path are the token.
    Job(usize, Claims),
    /// Nothing: what it names is a job's token that is not valid.
    Invalid(JobError),
    /// Nothing: it names no token.
    Missing,
    /// Nothing: what it names is not the token.
    Wrong,
}

impl Access {
    /// Whether readers have to show a token.
    pub(super) fn is_limited(&self) -> bool {
        self.token.is_some() || self.jobs.is_some()
    }

    /// What a request may do whose path begins with `first`.
    pub(super) fn admits(&self, headers: &HeaderMap, first: Option<&str>) -> Admission {
        if !self.is_limited() {
            return Admission::Granted(0);
        }
        if let Some(admission) = first.and_then(|first| self.knows(first, 1)) {
            return admission;
        }
        let Some(header) = headers.get(AUTHORIZATION) else { return Admission::Missing };
        let bearer = header.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        bearer.and_then(|bearer| self.knows(bearer, 0)).unwrap_or(Admission::Wrong)
    }

    /// A path as the log may have it: without tokens, wherever they stand in it, and on one line.
    pub(super) fn logged(&self, parts: &[String]) -> String {
        let mut shown = String::new();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                shown.push('/');
            }
            if self.knows(part, 0).is_some() {
                shown.push_str("TOKEN");
            } else if part.bytes().all(|byte| byte.is_ascii_graphic()) {
                shown.push_str(part);
            } else {
                shown.extend(part.chars().flat_map(escaped));
            }
        }
        shown
    }

    /// What a text allows that may be a token, which is so many parts of the path; nothing where it is none.
    fn knows(&self, text: &str, parts: usize) -> Option<Admission> {
        if self.token.as_ref().is_some_and(|token| token.is(text)) {
            return Some(Admission::Granted(parts));
        }
        match self.jobs.as_ref()?.verify(text) {
            Ok(claims) => Some(Admission::Job(parts, claims)),
            Err(JobError::Malformed) => None,
            Err(error) => Some(Admission::Invalid(error)),
        }
    }

    /// Whether pages of all origins may read.
    pub(super) fn allows_all(&self) -> bool {
        self.origins.is_empty() || self.origins.contains(&PageOrigin::Any)
    }

    /// What a browser is told of whose pages may read the answer; nothing where the asking one's may not.
    pub(super) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.allows_all() {
            return Some(HeaderValue::from_static("*"));
        }
        let origin = headers.get(ORIGIN)?;
        let asking = PageOrigin::Of(origin.to_str().ok()?.to_owned());
        self.origins.contains(&asking).then(|| origin.clone())
    }
}

/// What moves a terminal's cursor or ends a line, written out; all else as it is.
fn escaped(letter: char) -> impl Iterator<Item = char> {
    let is_control = letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let (written, itself) = if is_control { (Some(letter.escape_default()), None) } else { (None, Some(letter)) };
    written.into_iter().flatten().chain(itself)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    fn access() -> Access {
        Access { token: Some(Token::new(&format!(" {TOKEN}\n")).unwrap()), ..Access::default() }
    }

    fn with(header: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())])
    }

    #[test]
    fn a_token_is_a_header_or_the_first_part_of_the_path() {
        let (access, none) = (access(), HeaderMap::new());
        assert_eq!(access.admits(&none, Some(TOKEN)), Admission::Granted(1));
        assert_eq!(access.admits(&with(&format!("bearer {TOKEN}")), Some("a")), Admission::Granted(0));
        assert_eq!(access.admits(&none, Some("0123456789abcdef012")), Admission::Missing);
        assert_eq!(access.admits(&none, None), Admission::Missing);
        for wrong in ["Bearer", "Bearer x", TOKEN, "Basic 0123456789abcdef0123"] {
            assert_eq!(access.admits(&with(wrong), None), Admission::Wrong, "{wrong}");
        }
        assert_eq!(Access::default().admits(&none, Some("a")), Admission::Granted(0));
    }

    #[test]
    fn a_token_can_be_part_of_an_address_and_not_be_guessed_or_shown() {
        assert_eq!(Token::new("short").err(), Some(TokenTextError::Short));
        assert_eq!(Token::new("0123456789abcdef/123").err(), Some(TokenTextError::Letters));
        assert_eq!(format!("{:?}", access()), "Access { token: Some(Token), jobs: None, origins: [] }");
    }

    #[test]
    fn the_log_has_no_token_and_no_control_character_of_a_path() {
        let logged = |parts: &[&str]| access().logged(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(logged(&[TOKEN, "é", TOKEN, ""]), "TOKEN/é/TOKEN/");
        assert_eq!(logged(&["a\r\nb", "\u{1b}[2K", "\u{85}", "\u{202e}"]), "a\\r\\nb/\\u{1b}[2K/\\u{85}/\\u{202e}");
    }

    #[test]
    fn pages_of_other_origins_than_those_named_may_not_read() {
        let from = |origin: &str| HeaderMap::from_iter([(ORIGIN, origin.parse().unwrap())]);
        assert_eq!(Access::default().allowed(&from("https://a")).unwrap(), "*");
        let access = Access { origins: vec!["https://a/".parse().unwrap()], ..Access::default() };
        assert_eq!(access.allowed(&from("https://a")).unwrap(), "https://a");
        assert_eq!(access.allowed(&from("https://b")), None);
        assert_eq!(access.allowed(&HeaderMap::new()), None);
    }
}
