//! Gzip (RFC 1952), undone within bounds.

use flate2::{Decompress, FlushDecompress, Status};

/// Undoes gzip; more than `most` bytes are refused, whatever the stream claims. Memory grows with what is decoded.
pub(crate) fn gunzip(encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
    const STEP: usize = 64 << 10;
    let mut decoded = Vec::new();
    let mut start = 0usize;
    // A gzip file may hold several members one after the other.
    while start < encoded.len() {
        let mut stream = Decompress::new_gzip(15);
        loop {
            // One byte more than allowed, to see that there are more.
            let room = most.saturating_add(1) - decoded.len();
            decoded.try_reserve(room.min(STEP)).map_err(|error| error.to_string())?;
            let consumed = usize::try_from(stream.total_in()).map_err(|error| error.to_string())?;
            let before = (stream.total_in(), decoded.len());
            let rest = encoded.get(start.saturating_add(consumed)..).unwrap_or_default();
            let status = stream
                .decompress_vec(rest, &mut decoded, FlushDecompress::None)
                .map_err(|error| format!("corrupt gzip data: {error}"))?;
            if decoded.len() > most {
                return Err(format!("gzip data of more than {most} bytes"));
            }
            if status == Status::StreamEnd {
                break;
            }
            if (stream.total_in(), decoded.len()) == before {
                return Err("the gzip data are cut off".to_owned());
            }
        }
        start = start.saturating_add(usize::try_from(stream.total_in()).map_err(|error| error.to_string())?);
    }
    Ok(decoded)
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
