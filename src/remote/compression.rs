//! Compression of whole objects, as those who store them choose it, undone within bounds.

use std::io::Read;

use brotli_decompressor::Decompressor;

use crate::decompress::{gunzip, unzstd};

/// Bytes that a decoder takes from its input at a time.
const STEP: usize = 4 << 10;

/// How a whole object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Gzip members (RFC 1952).
    Gzip,
    /// A Brotli stream (RFC 7932).
    Brotli,
    /// Zstandard frames (RFC 8878).
    Zstd,
}

impl Compression {
    /// All that are undone.
    pub const ALL: [Compression; 3] = [Compression::Gzip, Compression::Brotli, Compression::Zstd];

    /// The one of that name in a `Content-Encoding`.
    pub(super) fn coded(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Compression::Gzip),
            "br" => Some(Compression::Brotli),
            "zstd" => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// What cloud-files appends to the name of a local file.
    pub const fn ending(self) -> &'static str {
        match self {
            Compression::Gzip => "gz",
            Compression::Brotli => "br",
            Compression::Zstd => "zstd",
        }
    }

    /// Undoes it; more than `most` bytes are refused, whatever the stream claims.
    ///
    /// # Errors
    ///
    /// What is wrong with the stream, in words.
    pub fn undo(self, encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
        match self {
            Compression::Gzip => gunzip(encoded, most),
            Compression::Brotli => unbrotli(encoded, most),
            Compression::Zstd => unzstd(encoded, most)
                .map_err(|reason| format!("zstd data of more than {most} bytes, or corrupt: {reason}")),
        }
    }
}

fn unbrotli(encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    // One byte more than allowed, to see that there are more. The decoder has a window of 16 MiB at the most.
    let mut bounded = Decompressor::new(encoded, STEP).take((most as u64).saturating_add(1));
    bounded.read_to_end(&mut out).map_err(|error| format!("corrupt Brotli data: {error}"))?;
    if out.len() > most {
        return Err(format!("Brotli data of more than {most} bytes"));
    }
    // What is left of a piece that it has taken already is an error to it, what it has not taken is here.
    let mut decoder = bounded.into_inner();
    match decoder.read(&mut [0]).is_err() || !decoder.into_inner().is_empty() {
        true => Err("something follows the Brotli data".to_owned()),
        false => Ok(out),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn encoded(compression: Compression) -> Vec<u8> {
        match compression {
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&plain()).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Brotli => BROTLI.to_vec(),
            Compression::Zstd => zstd::bulk::compress(&plain(), 1).unwrap(),
        }
    }

    /// By Brotli 1.1.
    const BROTLI: &[u8] = &[
        0x1b, 0x57, 0x02, 0xf8, 0x8d, 0x94, 0x6e, 0xde, 0x44, 0x55, 0x86, 0x96, 0x6c, 0x20, 0x6f, 0x51, 0x5b, 0x1c,
        0x80, 0x41, 0x1c,
    ];

    fn plain() -> Vec<u8> {
        b"hello ".repeat(100)
    }

    #[test]
    fn each_is_undone_within_bounds() {
        for compression in Compression::ALL {
            let (plain, encoded) = (plain(), encoded(compression));
            assert_eq!(compression.undo(&encoded, plain.len()).unwrap(), plain, "{compression:?}");
            assert_eq!(compression.undo(&encoded, 1 << 20).unwrap(), plain, "{compression:?}");
            let error = compression.undo(&encoded, plain.len() - 1).unwrap_err();
            assert!(error.contains("more than 599 bytes"), "{compression:?}: {error}");
            for cut in 0..encoded.len() - 1 {
                // A gzip file and one of Zstandard may hold nothing.
                let undone = compression.undo(&encoded[..cut], plain.len());
                assert!(undone.as_ref().is_err() || undone == Ok(Vec::new()) && cut == 0, "{compression:?} at {cut}");
            }
            assert!(compression.undo(&[&encoded[..], b"<html>"].concat(), 1 << 20).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn a_stream_that_claims_much_takes_no_more_memory_than_allowed() {
        // A frame of Zstandard that claims 2⁴⁰ bytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0];
        assert!(Compression::Zstd.undo(&frame, 1 << 20).is_err());
        assert!(Compression::Brotli.undo(BOMB, 1 << 20).unwrap_err().contains("more than 1048576 bytes"));
    }

    /// 64 MiB of zeros, by Brotli 1.1.
    const BOMB: &[u8] = &[
        0xcb, 0xff, 0xff, 0x3f, 0xf8, 0x27, 0x00, 0xe2, 0xb1, 0x40, 0x20, 0xf7, 0xfe, 0x8f, 0xff, 0xff, 0x7f, 0xf0,
        0x4f, 0x00, 0xc4, 0x61, 0x11, 0x80, 0xee, 0xfd, 0x1f, 0xff, 0xff, 0xff, 0xe0, 0x9f, 0x00, 0x88, 0xc3, 0x02,
        0x00, 0xdd, 0xfb, 0x3f, 0xfe, 0xff, 0xff, 0xc1, 0x3f, 0x01, 0x10, 0x87, 0x05, 0x00, 0xba, 0xf7, 0x7f, 0xfc,
        0xff, 0xff, 0x83, 0x7f, 0x02, 0x20, 0x0e, 0x0b, 0x00, 0x74, 0xef, 0xff, 0xf8, 0xff, 0xff, 0x07, 0xff, 0x04,
        0x40, 0x1c, 0x16, 0x00, 0xe8, 0xde, 0xff, 0xf1, 0xff, 0xff, 0x0f, 0xfe, 0x09, 0x80, 0x38, 0x2c, 0x00, 0xd0,
        0xbd, 0xff, 0xe3, 0xff, 0xff, 0x1f, 0xfc, 0x13, 0x00, 0x71, 0x58, 0x00, 0xa0, 0x7b, 0xff, 0x37,
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn no_bytes_make_one_panic_or_give_more_than_allowed(bytes in proptest::collection::vec(any::<u8>(), 0..240)) {
            for compression in Compression::ALL {
                prop_assert!(compression.undo(&bytes, 100).unwrap_or_default().len() <= 100);
            }
        }

        #[test]
        fn a_changed_bit_gives_an_error_or_no_more_than_allowed(at in any::<usize>(), bit in 0u8..8) {
            for compression in Compression::ALL {
                let mut encoded = encoded(compression);
                let at = at % encoded.len();
                encoded[at] ^= 1 << bit;
                prop_assert!(compression.undo(&encoded, 600).unwrap_or_default().len() <= 600);
            }
        }
    }
}
