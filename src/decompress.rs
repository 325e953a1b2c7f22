//! Compressed streams, undone within bounds.

use flate2::{Decompress, FlushDecompress, Status};

/// By how much memory grows at the least for a stream that tells nothing of its length.
const STEP: usize = 64 << 10;

/// What is wrong with a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It is no stream of its kind.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// It holds more than is allowed.
    #[error("more than {0} bytes")]
    TooLong(usize),
    /// It has no end.
    #[error("it is cut off after {0} bytes")]
    CutOff(usize),
    /// There is no memory for what it holds.
    #[error("no memory: {0}")]
    NoMemory(String),
}

/// Appends what a stream of deflate (RFC 1951, as `stream` has it wrapped) holds to `out`, which may come to `most` bytes.
/// Memory grows with what is decoded, beyond the capacity of `out`. Returns how many bytes the stream took.
pub fn inflate(mut stream: Decompress, encoded: &[u8], most: usize, out: &mut Vec<u8>) -> Result<usize, InflateError> {
    loop {
        if out.len() == out.capacity() {
            // One byte more than allowed, to see that there are more.
            let left = most.saturating_add(1).saturating_sub(out.len());
            out.try_reserve(left.min(STEP)).map_err(|error| InflateError::NoMemory(error.to_string()))?;
        }
        let consumed = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        let before = (consumed, out.len());
        let rest = encoded.get(consumed..).unwrap_or_default();
        let status = stream
            .decompress_vec(rest, out, FlushDecompress::Finish)
            .map_err(|error| InflateError::Corrupt(error.to_string()))?;
        let consumed = usize::try_from(stream.total_in()).unwrap_or(usize::MAX);
        if out.len() > most {
            return Err(InflateError::TooLong(most));
        }
        if status == Status::StreamEnd {
            return Ok(consumed);
        }
        if (consumed, out.len()) == before {
            return Err(InflateError::CutOff(out.len()));
        }
    }
}

/// Appends what a file of gzip (RFC 1952) holds to `out`, which may come to `most` bytes: all of its members, one after the
/// other. No bytes are a file without members.
pub fn gunzip_into(encoded: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), InflateError> {
    let mut rest = encoded;
    while !rest.is_empty() {
        let consumed = inflate(Decompress::new_gzip(15), rest, most, out)?;
        rest = rest.get(consumed..).unwrap_or_default();
    }
    Ok(())
}

/// Undoes gzip; more than `most` bytes are refused, whatever the stream claims. Memory grows with what is decoded.
pub fn gunzip(encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut decoded = Vec::new();
    gunzip_into(encoded, most, &mut decoded).map_err(|error| format!("gzip data: {error}"))?;
    Ok(decoded)
}

/// Undoes Zstandard; more than `most` bytes are refused, whatever the frames claim.
///
/// # Errors
///
/// What the library says of the frames.
pub fn unzstd(encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    // Its pages are not touched before there are bytes for them.
    out.try_reserve_exact(most).map_err(|_| format!("no memory for {most} bytes"))?;
    // In one pass the library writes into the buffer only, and needs no window of its own.
    zstd::bulk::Decompressor::new()
        .and_then(|mut decompressor| decompressor.decompress_to_buffer(encoded, &mut out))
        .map_err(|error| error.to_string())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_undone_within_bounds() {
        let plain = vec![7u8; 1 << 20];
        let encoded = gzip(&plain);
        assert_eq!(gunzip(&encoded, plain.len()).unwrap(), plain);
        assert_eq!(gunzip(&[encoded.clone(), gzip(b"more")].concat(), plain.len() + 4).unwrap().len(), plain.len() + 4);
        assert!(gunzip(&encoded, plain.len() - 1).unwrap_err().contains("more than 1048575 bytes"));
        assert!(gunzip(&encoded[..encoded.len() - 9], plain.len()).unwrap_err().contains("cut off"));
        assert!(gunzip(b"no gzip at all", 100).unwrap_err().contains("corrupt"));
        assert_eq!(gunzip(&gzip(b""), 0).unwrap(), b"");
    }

    #[test]
    fn a_gzip_bomb_takes_no_more_memory_than_allowed() {
        // A gigabyte of zeros in a megabyte, made of members of 16 MiB.
        let member = gzip(&vec![0; 16 << 20]);
        let bomb: Vec<u8> = std::iter::repeat_n(member, 64).flatten().collect();
        assert!(gunzip(&bomb, 1 << 20).unwrap_err().contains("more than"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

        #[test]
        fn broken_gzip_is_an_error_or_the_same(at in 0usize..200, bit in 0u8..8) {
            let plain: Vec<u8> = (0..200u32).map(|n| (n * n % 251) as u8).collect();
            let mut encoded = gzip(&plain);
            let at = at % encoded.len();
            encoded[at] ^= 1 << bit;
            // Bits of the header that mean nothing may differ.
            if let Ok(decoded) = gunzip(&encoded, 200) {
                prop_assert!(at < 10 || decoded == plain);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..240)) {
            let _ = gunzip(&bytes, 100);
        }
    }
}
