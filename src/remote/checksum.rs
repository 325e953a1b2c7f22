//! Checksums that an origin states of what it sends, and whether the bytes that came fit them.
//!
//! They are of the bytes as sent, before any compression is undone: `x-goog-hash` of Google's store, `Content-MD5`,
//! `Digest` (RFC 3230), `Repr-Digest` and `Content-Digest` (RFC 9530), and the ETag of S3, which is the MD5 of an object
//! that was uploaded in one piece. What is malformed or unknown is ignored, since it says nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use reqwest::header::HeaderMap;
use sha2::{Sha256, Sha512};

use super::backoff::FailedAttempt;
use crate::hex::hex;

/// A checksum as a header states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksum {
    /// Where it was stated.
    header: &'static str,
    kind: Kind,
    value: Vec<u8>,
    of: Of,
}

/// How a checksum is made; cheap ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Crc32c,
    Md5,
    Sha256,
    Sha512,
}

/// What a checksum is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    /// The whole object, also where a part of it is sent.
    Object,
    /// What is sent.
    Answer,
    /// The whole object, by the custom of a kind of server.
    Supposed,
}

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "crc32c" => Kind::Crc32c,
            "md5" => Kind::Md5,
            "sha-256" => Kind::Sha256,
            "sha-512" => Kind::Sha512,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Kind::Crc32c => "crc32c",
            Kind::Md5 => "md5",
            Kind::Sha256 => "sha-256",
            Kind::Sha512 => "sha-512",
        }
    }

    const fn length(self) -> usize {
        match self {
            Kind::Crc32c => 4,
            Kind::Md5 => 16,
            Kind::Sha256 => 32,
            Kind::Sha512 => 64,
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Kind::Crc32c => crc32c::crc32c(bytes).to_be_bytes().to_vec(),
            Kind::Md5 => Md5::digest(bytes).to_vec(),
            Kind::Sha256 => Sha256::digest(bytes).to_vec(),
            Kind::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// A value in base64, unless it cannot be one of this kind.
    fn base64(self, text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text.trim()).ok().filter(|value| value.len() == self.length())
    }
}

/// What the headers of an answer state. `is_s3`: the object is in a store that speaks S3.
pub(super) fn stated(headers: &HeaderMap, is_s3: bool) -> Vec<Checksum> {
    let mut found = google(headers);
    let md5 = |text: &str| Kind::Md5.base64(text).map(|value| (Kind::Md5, value));
    found.extend(items(headers, "content-md5", Of::Object, md5));
    found.extend(items(headers, "digest", Of::Object, instance_digest));
    found.extend(items(headers, "repr-digest", Of::Object, digest_field));
    found.extend(items(headers, "content-digest", Of::Answer, digest_field));
    // A header that says two things says nothing.
    let all = found.clone();
    found.retain(|one| {
        let contradicts = |other: &Checksum| (other.header, other.kind) == (one.header, one.kind) && other != one;
        !all.iter().any(contradicts)
    });
    found.extend(etag(headers, is_s3));
    found
}

/// What the elements of a header's values are, separated by commas.
fn items(
    headers: &HeaderMap,
    header: &'static str,
    of: Of,
    read: impl Fn(&str) -> Option<(Kind, Vec<u8>)>,
) -> Vec<Checksum> {
    let texts = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    let elements = texts.flat_map(|text| text.split(','));
    elements.filter_map(read).map(|(kind, value)| Checksum { header, kind, value, of }).collect()
}

/// `x-goog-hash: crc32c=…,md5=…`, of the object as it is stored, which may be compressed and was then perhaps sent
/// decompressed.
fn google(headers: &HeaderMap) -> Vec<Checksum> {
    let encoding = |name: &str| headers.get(name).map_or(Some("identity"), |value| value.to_str().ok());
    let stored = headers.contains_key("x-goog-stored-content-encoding");
    let differs = encoding("x-goog-stored-content-encoding") != encoding("content-encoding");
    if (stored && differs) || headers.contains_key("x-guploader-response-body-transformations") {
        return Vec::new();
    }
    items(headers, "x-goog-hash", Of::Object, |text| {
        let (name, value) = text.split_once('=')?;
        let kind = Kind::named(name).filter(|kind| matches!(kind, Kind::Crc32c | Kind::Md5))?;
        Some((kind, kind.base64(value)?))
    })
}

/// An element of `Digest`: `sha-256=…` in base64; `crc32c=…` in up to 8 hexadecimal digits, as the IANA registry has it.
fn instance_digest(text: &str) -> Option<(Kind, Vec<u8>)> {
    let (name, value) = text.split_once('=')?;
    let kind = Kind::named(name)?;
    let value = match (kind, value.trim()) {
        (Kind::Crc32c, digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16).ok()?.to_be_bytes().to_vec()
        }
        (Kind::Crc32c, _) => return None,
        (_, value) => kind.base64(value)?,
    };
    Some((kind, value))
}

/// A member of `Repr-Digest` or `Content-Digest`: `sha-256=:…:`, with parameters or without.
fn digest_field(text: &str) -> Option<(Kind, Vec<u8>)> {
    let (name, value) = text.split_once('=')?;
    let value = value.split(';').next()?.trim().strip_prefix(':')?.strip_suffix(':')?;
    // How the bytes of a CRC are ordered there is not said anywhere.
    let kind = Kind::named(name).filter(|kind| *kind != Kind::Crc32c)?;
    Some((kind, kind.base64(value)?))
}

/// S3's ETag, where it is the MD5 of the object: not in parts (which have `-N` behind it), not encrypted with a key of
/// somebody's own, and not in a directory bucket, whose ETags are random.
fn etag(headers: &HeaderMap, is_s3: bool) -> Option<Checksum> {
    let is_s3 = is_s3 || ["x-amz-request-id", "x-amz-id-2"].iter().any(|name| headers.contains_key(*name));
    let says =
        |name: &str, start: &str| headers.get(name).is_some_and(|value| value.as_bytes().starts_with(start.as_bytes()));
    let other = says("x-amz-server-side-encryption", "aws:kms")
        || says("x-amz-server-side-encryption-customer-algorithm", "")
        || says("x-amz-server-side-encryption-customer-key-md5", "")
        || says("x-amz-storage-class", "EXPRESS");
    let digits = headers.get("etag")?.to_str().ok()?.trim().strip_prefix('"')?.strip_suffix('"')?;
    if !is_s3 || other || digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let value = u128::from_str_radix(digits, 16).ok()?.to_be_bytes().to_vec();
    Some(Checksum { header: "etag", kind: Kind::Md5, value, of: Of::Supposed })
}

/// Refuses bytes that do not fit what was stated of them. `whole`: they are the whole object. `md5_etags`: ETags that look
/// like an MD5 are one.
pub(super) fn check(stated: &[Checksum], whole: bool, md5_etags: bool, bytes: &[u8]) -> Result<(), FailedAttempt> {
    let applies = |checksum: &&Checksum| match checksum.of {
        Of::Answer => true,
        Of::Object => whole,
        Of::Supposed => whole && md5_etags,
    };
    // One is enough to see that bits were flipped; rather one that is a checksum for sure, and a cheap one.
    let cheapest = stated.iter().filter(applies).min_by_key(|checksum| (checksum.of == Of::Supposed, checksum.kind));
    let Some(Checksum { header, kind, value, .. }) = cheapest else { return Ok(()) };
    let found = kind.of(bytes);
    if found == *value {
        return Ok(());
    }
    let (kind, found, value) = (kind.name(), hex(&found), hex(value));
    Err(FailedAttempt::malformed_body(format!("the body's {kind} is {found}, and the header `{header}` says {value}")))
}

#[cfg(test)]
#[path = "checksum/tests.rs"]
mod tests;
