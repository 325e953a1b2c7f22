//! Tokens of jobs: what a job may read and until when, signed with a key that the server and whoever gives tokens share.
//!
//! A token is `emfs1.CLAIMS.SIGNATURE`: both parts base64 for addresses without padding, the claims JSON, the signature the
//! HMAC-SHA256 of `emfs1.CLAIMS`. The server keeps nothing of tokens. Who leaves a key out of the key file revokes what was
//! signed with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::hex::hex;

/// What tokens of this form begin with.
const VERSION: &str = "emfs1";

/// Bytes of a key that is made.
const KEY: usize = 32;

/// Hexadecimal digits of the shortest key.
const SHORTEST: usize = 32;

/// A longer text is no token.
const MAX_TOKEN: usize = 8 << 10;

/// Keys of a file at most.
const MAX_KEYS: usize = 64;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Datasets that may be read; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasets: Option<Vec<String>>,
    /// The first second of 1970 on in which it is valid no more.
    pub expires: u64,
    /// What it was made for, for logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// Why a token allows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It has another form.
    #[error("this is no token of emfs, which begins with emfs1.")]
    Malformed,
    /// No key made its signature.
    #[error("no key of the key file has signed this token: it was changed, or its key was revoked")]
    Signature,
    /// It was valid.
    #[error("the token has expired; ask for another one")]
    Expired,
}

/// Why a key file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is nothing to sign with.
    #[error("it holds no key; `emfs token key` makes one")]
    Empty,
    /// A line is no key.
    #[error("line {0} is no key, which is {SHORTEST} hexadecimal digits or more; `emfs token key` makes one")]
    Line(usize),
    /// There are very many.
    #[error("it holds more than {MAX_KEYS} keys")]
    Many,
}

/// The keys of a key file; the first one signs. Never shown.
#[derive(Clone)]
pub struct Keys(Vec<Vec<u8>>);

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

/// A new key, as a line of a key file.
pub fn new_key() -> String {
    hex(&rand::random::<[u8; KEY]>())
}

impl Keys {
    /// Reads a key file: a key per line, in hexadecimal digits; lines that begin with `#` are comments.
    pub fn parse(text: &str) -> Result<Keys, KeyError> {
        let lines = text.lines().map(str::trim).zip(1..);
        let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let keys = lines.map(|(line, number)| bytes(line).ok_or(KeyError::Line(number)));
        let keys: Vec<Vec<u8>> = keys.collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err(KeyError::Empty),
            number if number > MAX_KEYS => Err(KeyError::Many),
            _ => Ok(Keys(keys)),
        }
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Claims) -> Option<String> {
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims).ok()?);
        let signed = format!("{VERSION}.{claims}");
        let signature = mac(self.0.first()?, &signed)?.finalize().into_bytes();
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a token allows at this time. Takes as long whatever is wrong with the signature.
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
        let (signed, signature) =
            token.rsplit_once('.').filter(|_| token.len() <= MAX_TOKEN).ok_or(TokenError::Malformed)?;
        let claims =
            signed.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.')).ok_or(TokenError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        // The signature comes first, so that nothing of what somebody else has written is looked at.
        let is_of = |key: &Vec<u8>| mac(key, signed).is_some_and(|mac| mac.verify_slice(&signature).is_ok());
        if self.0.iter().filter(|key| is_of(key)).count() == 0 {
            return Err(TokenError::Signature);
        }
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|_| TokenError::Malformed)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| TokenError::Malformed)?;
        // A clock before 1970 is wrong, and then nothing can be said to be valid still.
        let now = now.duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs());
        if now >= claims.expires { Err(TokenError::Expired) } else { Ok(claims) }
    }
}

impl Claims {
    /// Of datasets, all where there are none, for a time from now on.
    pub fn new(datasets: Vec<String>, valid: Duration, job: Option<String>, now: SystemTime) -> Claims {
        let expires = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_add(valid).as_secs();
        Claims { datasets: (!datasets.is_empty()).then_some(datasets), expires, job }
    }

    /// The datasets in words.
    pub fn scope(&self) -> String {
        self.datasets.as_ref().map_or("all datasets".to_owned(), |names| names.join(", "))
    }

    /// Whether a dataset may be read.
    pub fn allows(&self, dataset: &str) -> bool {
        self.datasets.as_ref().is_none_or(|datasets| datasets.iter().any(|name| name == dataset))
    }
}

fn mac(key: &[u8], text: &str) -> Option<Hmac<Sha256>> {
    // Takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac)
}

/// The bytes of a key.
fn bytes(line: &str) -> Option<Vec<u8>> {
    if line.len() < SHORTEST || !line.len().is_multiple_of(2) || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(line.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: &str = "# of this server\n00112233445566778899aabbccddeeff\n";

    fn keys(text: &str) -> Keys {
        Keys::parse(text).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn claims() -> Claims {
        Claims::new(vec!["hemibrain".to_owned()], Duration::from_secs(3600), Some("job-7".to_owned()), at(1000))
    }

    #[test]
    fn a_token_allows_what_it_says_until_it_expires() {
        let token = keys(KEYS).sign(&claims()).unwrap();
        assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "part of an address");
        let found = keys(KEYS).verify(&token, at(4599)).unwrap();
        assert!(found == claims() && found.allows("hemibrain") && !found.allows("other"));
        assert_eq!(keys(KEYS).verify(&token, at(4600)), Err(TokenError::Expired));
        let all = Claims::new(Vec::new(), Duration::from_secs(1), None, at(0));
        assert!(all.allows("anything"));
    }

    #[test]
    fn what_others_have_signed_or_changed_allows_nothing() {
        let token = keys(KEYS).sign(&claims()).unwrap();
        let other = keys("ffeeddccbbaa99887766554433221100");
        assert_eq!(other.verify(&token, at(1000)), Err(TokenError::Signature));
        let mut wider = claims();
        wider.datasets = None;
        let forged = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wider).unwrap());
        let signature = token.rsplit_once('.').unwrap().1;
        assert_eq!(keys(KEYS).verify(&format!("emfs1.{forged}.{signature}"), at(1000)), Err(TokenError::Signature));
        for wrong in ["", "emfs1", "emfs1.", "emfs1..", "emfs2.a.b", "a.b.c", &"a".repeat(1 << 20)] {
            assert!(keys(KEYS).verify(wrong, at(1000)).is_err(), "{wrong:.20}");
        }
    }

    #[test]
    fn a_new_key_signs_and_an_old_one_is_valid_until_it_is_left_out() {
        let old = keys(KEYS).sign(&claims()).unwrap();
        let both = keys(&format!("{}\n{KEYS}", new_key()));
        assert!(both.verify(&old, at(1000)).is_ok());
        let new = both.sign(&claims()).unwrap();
        assert_ne!(new, old);
        assert_eq!(keys(KEYS).verify(&new, at(1000)), Err(TokenError::Signature));
        assert_eq!(keys(&new_key()).verify(&old, at(1000)), Err(TokenError::Signature));
    }

    #[test]
    fn the_signature_is_that_of_other_implementations() {
        // By Python's hmac and base64.
        let token = keys(KEYS).sign(&Claims { datasets: None, expires: 7, job: None }).unwrap();
        assert_eq!(token, "emfs1.eyJleHBpcmVzIjo3fQ.tkVXHfn7_YchFzgp_UpYqkZAdpMu1qUGLiNlbmo47kU");
    }

    #[test]
    fn a_line_that_is_no_key_is_told() {
        assert_eq!(Keys::parse("# nothing\n\n").unwrap_err(), KeyError::Empty);
        for wrong in [
            "short",
            "00112233445566778899aabbccddee",
            "zz112233445566778899aabbccddeeff",
            "ü0112233445566778899aabbccddeeff",
        ] {
            assert_eq!(Keys::parse(&format!("{KEYS}{wrong}")).unwrap_err(), KeyError::Line(3), "{wrong}");
        }
        assert_eq!(format!("{:?}", keys(KEYS)), "1 keys", "keys are never shown");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn no_text_is_a_token_or_makes_it_panic(text in "(emfs1\\.)?\\PC{0,60}\\.?\\PC{0,60}") {
            prop_assert!(keys(KEYS).verify(&text, at(0)).is_err());
        }
    }
}
