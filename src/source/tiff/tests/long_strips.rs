//! Strips that are entered in the middle.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::super::long_strip::{BandSize, LongStrip};
use super::support::memory;
use crate::source::SourceError;

const BAND: usize = 64 << 10;

fn bad(reason: String) -> SourceError {
    SourceError::malformed("memory.tif", "page 0", reason)
}

fn packed(rows: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(rows).unwrap();
    encoder.finish().unwrap()
}

/// Goes through a strip that stands behind some other bytes in a file, of which `total` are expected.
async fn gone_through(strip: &[u8], total: usize, band: usize) -> Result<LongStrip, String> {
    let file = memory([&[7; 100][..], strip, &[9; 50]].concat());
    let read = LongStrip::read(&*file, (100, strip.len() as u64), BandSize { total, band }, bad).await;
    read.map_err(|error| error.to_string())
}

/// Rows that deflate has something to look back to in, near and far, and some that it stores as they are.
fn rows(pieces: &[(u8, usize)]) -> Vec<u8> {
    let mut rows = Vec::new();
    let mut state = 1u32;
    for &(kind, length) in pieces {
        for n in 0..length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 24) as u8;
            let back = |distance: usize| rows.len().checked_sub(distance).and_then(|at| rows.get(at)).copied();
            rows.push(match kind {
                0 => 0,
                1 => noise,
                2 => (n / 7) as u8 ^ (noise & 1),
                _ => back(32_700).unwrap_or(noise),
            });
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(48)))]

    #[test]
    fn bands_of_a_strip_are_what_was_packed_in_any_order(
        pieces in prop::collection::vec((0u8..4, 1usize..200_000), 1..8),
        level in 0u32..10,
        band in (32usize << 10)..(200 << 10),
    ) {
        let rows = rows(&pieces);
        let strip = packed(&rows, level);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let read = runtime.block_on(gone_through(&strip, rows.len(), band)).unwrap();
        for (number, expected) in rows.chunks(band).enumerate().rev() {
            let range = read.range(number).unwrap();
            prop_assert!(!range.is_empty() && range.end <= strip.len() as u64);
            let raw = &strip[range.start as usize..range.end as usize];
            let found = read.unpack(number, raw);
            prop_assert_eq!(found.as_deref(), Ok(expected));
        }
        prop_assert!(read.range(rows.len().div_ceil(band)).is_none());
    }

    #[test]
    fn a_damaged_strip_is_refused_before_any_of_it_is_given(at in any::<prop::sample::Index>(), bit in 0u8..8, is_cut in any::<bool>()) {
        let rows = rows(&[(2, 150_000), (1, 30_000), (3, 90_000)]);
        let mut strip = packed(&rows, 6);
        let at = at.index(strip.len());
        if is_cut { strip.truncate(at.max(1)) } else { strip[at] ^= 1 << bit }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let read = runtime.block_on(gone_through(&strip, rows.len(), BAND));
        // Bits of the header that only tell how hard the writer tried may differ, with its check.
        prop_assert!(read.is_err() || at < 2, "{at}");
    }
}

#[tokio::test]
async fn a_strip_has_exactly_the_rows_that_are_expected() {
    let rows = rows(&[(2, 3 * BAND + 100)]);
    let strip = packed(&rows, 6);
    let error = async |total| gone_through(&strip, total, BAND).await.err();
    assert_eq!(error(rows.len()).await, None);
    let told = error(rows.len() + 1).await.unwrap();
    assert!(told.contains("deflate data of 196708 bytes where 196709 are expected"), "{told}");
    let told = error(rows.len() - 1).await.unwrap();
    assert!(told.contains("more than the 196707 bytes expected"), "{told}");
    let told = error(BAND).await.unwrap();
    assert!(told.contains("more than the 65536 bytes expected"), "{told}");
    let trailing = [&strip[..], &[0; 30]].concat();
    assert!(gone_through(&trailing, rows.len(), BAND).await.is_ok(), "bytes behind the stream mean nothing");
}

#[tokio::test]
async fn a_band_of_other_bytes_than_were_gone_through_is_refused() {
    let rows = rows(&[(2, 5 * BAND)]);
    let strip = packed(&rows, 6);
    let read = gone_through(&strip, rows.len(), BAND).await.unwrap();
    let range = read.range(2).unwrap();
    let mut raw = strip[range.start as usize..range.end as usize].to_vec();
    assert!(read.unpack(2, &raw).is_ok());
    let middle = raw.len() / 2;
    raw[middle] ^= 4;
    assert!(read.unpack(2, &raw).unwrap_err().contains("others than when its strip was gone through"));
    assert!(read.unpack(2, &raw[1..]).unwrap_err().contains("are expected"));
}

#[tokio::test]
async fn nothing_is_looked_back_to_before_the_first_row() {
    // A block of fixed codes whose first symbol is a match of 3 bytes at distance 1, where there is nothing yet.
    let strip = [0x78, 0x01, 0x03, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01];
    assert!(gone_through(&strip, 3 * BAND, BAND).await.is_err());
}
