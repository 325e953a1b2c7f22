//! A record of a segment: a header that says what the payload is, and both checksums. Whatever the index claims, only
//! a record that says it is the bytes asked for is served.
//!
//! ```text
//!  0  magic          8 bytes, with the version of the format
//!  8  object         u16, bytes of its name
//! 10  version        u16, bytes of its name
//! 12  payload        u32, bytes
//! 16  start          u64, offset of the payload in the object
//! 24  payload's sum  u128, XXH3
//! 40  header's sum   u64, XXH3 of the bytes before and of the names
//! 48  names, payload
//! ```
//! Numbers are little-endian.

use bytes::Bytes;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed, xxh3_128, xxh3_128_with_seed};

const MAGIC: &[u8; 8] = b"emfsrec1";
/// Bytes of a header without its names.
pub const FIXED: usize = 48;
/// Most bytes of payload in a record.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Most bytes of payload that are written as one record: all of it is read to verify any of it.
pub const PIECE: usize = 256 << 10;
/// Most bytes of an object's name and of a version's.
pub const MAX_NAME: usize = 4096;

/// Most bytes of a header.
pub const MAX_HEADER: usize = FIXED + 2 * MAX_NAME;

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRecord {
    pub object: String,
    pub version: String,
    pub start: u64,
    pub length: usize,
    sum: u128,
}

/// What the index knows an object or a version by. Two that share a hash cost a miss, because a record bears the names and
/// metadata another hash of them.
pub fn hash(name: &str) -> i64 {
    xxh3_64(name.as_bytes()).cast_signed()
}

/// Another hash of an object's name than the index has: any seed that is not 0.
fn second_hash(object: &str) -> [u8; 16] {
    xxh3_128_with_seed(object.as_bytes(), u64::from_le_bytes(*b"metadata")).to_le_bytes()
}

/// What is kept as the metadata of an object: behind a second hash of its name.
pub fn bound(object: &str, metadata: &[u8]) -> Bytes {
    [&second_hash(object), metadata].concat().into()
}

/// The metadata of an object from what is kept; `None` where that is of an object whose name has the same hash, or of a
/// version of emfs that did not keep which name it is of.
pub fn unbound(object: &str, kept: &Bytes) -> Option<Bytes> {
    kept.starts_with(&second_hash(object)).then(|| kept.slice(16..))
}

/// The checksum of what is kept as the metadata of an object.
pub fn metadata_sum(object: i64, metadata: &[u8]) -> i64 {
    xxh3_64_with_seed(metadata, object.cast_unsigned()).cast_signed()
}

/// Bytes of the header of a record of these.
pub fn header_length(object: &str, version: &str) -> usize {
    FIXED + object.len() + version.len()
}

/// The header of a record; `None` for what cannot be one: names too long, a payload empty or too large, an end that
/// SQLite has no number for.
pub fn header(object: &str, version: &str, start: u64, payload: &[u8]) -> Option<Vec<u8>> {
    let end = start.checked_add(payload.len() as u64)?;
    if object.len() > MAX_NAME || version.len() > MAX_NAME || i64::try_from(end).is_err() {
        return None;
    }
    if payload.is_empty() || payload.len() > MAX_PAYLOAD {
        return None;
    }
    let mut header = Vec::with_capacity(header_length(object, version));
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&u16::try_from(object.len()).ok()?.to_le_bytes());
    header.extend_from_slice(&u16::try_from(version.len()).ok()?.to_le_bytes());
    header.extend_from_slice(&u32::try_from(payload.len()).ok()?.to_le_bytes());
    header.extend_from_slice(&start.to_le_bytes());
    header.extend_from_slice(&xxh3_128(payload).to_le_bytes());
    let sum = header_sum(&header, object.as_bytes(), version.as_bytes());
    header.extend_from_slice(&sum.to_le_bytes());
    header.extend_from_slice(object.as_bytes());
    header.extend_from_slice(version.as_bytes());
    Some(header)
}

fn header_sum(fixed: &[u8], object: &[u8], version: &[u8]) -> u64 {
    let names = xxh3_64_with_seed(version, xxh3_64(object));
    xxh3_64_with_seed(fixed, names)
}

/// The bytes of a whole header by its first [`FIXED`] bytes; `None` when those are no header.
pub fn promised_length(fixed: &[u8]) -> Option<usize> {
    if fixed.get(..8)? != MAGIC {
        return None;
    }
    let object = usize::from(u16::from_le_bytes(array(fixed, 8)?));
    let version = usize::from(u16::from_le_bytes(array(fixed, 10)?));
    (object <= MAX_NAME && version <= MAX_NAME).then_some(FIXED + object + version)
}

/// The header at the start of `bytes`, if there is a whole and undamaged one.
pub fn parse(bytes: &[u8]) -> Option<DiskRecord> {
    let header = bytes.get(..promised_length(bytes)?)?;
    let (object, version) =
        header.get(FIXED..)?.split_at_checked(usize::from(u16::from_le_bytes(array(header, 8)?)))?;
    if header_sum(&header[..40], object, version) != u64::from_le_bytes(array(header, 40)?) {
        return None;
    }
    let record = DiskRecord {
        object: std::str::from_utf8(object).ok()?.to_owned(),
        version: std::str::from_utf8(version).ok()?.to_owned(),
        start: u64::from_le_bytes(array(header, 16)?),
        length: usize::try_from(u32::from_le_bytes(array(header, 12)?)).ok()?,
        sum: u128::from_le_bytes(array(header, 24)?),
    };
    let end = record.start.checked_add(record.length as u64)?;
    ((1..=MAX_PAYLOAD).contains(&record.length) && i64::try_from(end).is_ok()).then_some(record)
}

/// The record of this header and this payload, if neither is damaged.
pub fn verify(header: &[u8], payload: &[u8]) -> Option<DiskRecord> {
    let record = parse(header)?;
    let is_whole = header.len() == header_length(&record.object, &record.version) && payload.len() == record.length;
    (is_whole && xxh3_128(payload) == record.sum).then_some(record)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn a_record_reads_back_as_it_was_written(
            object in ".{0,60}", version in ".{0,20}", start in 0..u64::MAX / 4, payload in prop::collection::vec(any::<u8>(), 1..2000),
        ) {
            let header = header(&object, &version, start, &payload).unwrap();
            prop_assert_eq!(header.len(), header_length(&object, &version));
            prop_assert_eq!(promised_length(&header[..FIXED]), Some(header.len()));
            let record = verify(&header, &payload).unwrap();
            prop_assert_eq!((record.object, record.version, record.start, record.length), (object, version, start, payload.len()));
        }

        #[test]
        fn a_record_with_any_bit_flipped_or_any_end_cut_off_is_none(
            payload in prop::collection::vec(any::<u8>(), 1..300), bit in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = header("https://host/key", "\"etag\"", 77, &payload).unwrap();
            let length = bytes.len();
            bytes.extend_from_slice(&payload);
            let read = |bytes: &[u8]| verify(&bytes[..length.min(bytes.len())], bytes.get(length..).unwrap_or_default());
            prop_assert!(read(&bytes).is_some());
            let mut flipped = bytes.clone();
            let bit = bit.index(bytes.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(read(&flipped), None);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert_eq!(read(&bytes), None);
        }

        #[test]
        fn random_bytes_are_no_record(mut bytes in prop::collection::vec(any::<u8>(), 0..400), magic in any::<bool>()) {
            if magic && bytes.len() >= 8 {
                bytes[..8].copy_from_slice(MAGIC);
            }
            prop_assert_eq!(parse(&bytes), None);
            prop_assert_eq!(verify(&bytes, &bytes), None);
        }
    }

    #[test]
    fn what_cannot_be_a_record_gets_no_header() {
        assert_eq!(header("o", "v", 0, b""), None);
        assert_eq!(header("o", "v", 0, &vec![0; MAX_PAYLOAD + 1]), None);
        assert_eq!(header("o", "v", i64::MAX as u64, b"x"), None);
        assert_eq!(header("o", "v", u64::MAX, b"x"), None);
        assert_eq!(header(&"o".repeat(MAX_NAME + 1), "v", 0, b"x"), None);
    }

    #[test]
    fn metadata_is_not_read_as_that_of_another_name() {
        let kept = bound("https://host/a", b"note");
        assert_eq!(unbound("https://host/a", &kept).unwrap(), "note");
        assert_eq!(unbound("https://host/b", &kept), None);
        assert_eq!(unbound("https://host/a", &bound("https://host/a", b"")).unwrap(), "");
        // As it was kept before names were.
        for old in ["{\"Absent\":{\"at\":1,\"document\":null}}", "1700000000000", ""] {
            assert_eq!(unbound("https://host/a", &Bytes::from(old)), None, "{old}");
        }
    }
}
