//! Strips that are entered in the middle.

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;
use weezl::BitOrder;
use weezl::encode::Encoder;

use super::super::band::band_rows;
use super::super::codecs::{Size, unpack};
use super::super::long_strip::{BandSize, LongStrip};
use super::super::read::ReadAt;
use super::super::storage::Codec;
use super::support::memory;
use crate::source::SourceError;

const BAND: usize = 64 << 10;
/// Of what stands before a strip in its file.
const BEFORE: usize = 100;

/// A way to pack rows.
#[derive(Debug, Clone, Copy)]
enum Packing {
    Deflate(u32),
    Lzw,
    /// As writers had it before TIFF 6.0.
    OldLzw,
    /// Frames of so many bytes.
    Zstd(i32, usize),
}

impl Packing {
    fn any() -> impl Strategy<Value = Packing> {
        prop_oneof![
            (0u32..10).prop_map(Packing::Deflate),
            Just(Packing::Lzw),
            Just(Packing::OldLzw),
            (1i32..20, prop_oneof![Just(usize::MAX), 20_000usize..300_000])
                .prop_map(|(level, frame)| Packing::Zstd(level, frame)),
        ]
    }

    fn codec(self) -> Codec {
        match self {
            Packing::Deflate(_) => Codec::Deflate,
            Packing::Lzw | Packing::OldLzw => Codec::Lzw,
            Packing::Zstd(..) => Codec::Zstd,
        }
    }

    fn pack(self, rows: &[u8]) -> Vec<u8> {
        match self {
            Packing::Deflate(level) => packed(rows, level),
            Packing::Lzw => Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(rows).unwrap(),
            Packing::OldLzw => Encoder::new(BitOrder::Lsb, 8).encode(rows).unwrap(),
            Packing::Zstd(level, frame) => {
                rows.chunks(frame).flat_map(|rows| zstd::bulk::compress(rows, level).unwrap()).collect()
            }
        }
    }
}

fn bad(reason: String) -> SourceError {
    SourceError::malformed("memory.tif", "page 0", reason)
}

fn packed(rows: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(rows).unwrap();
    encoder.finish().unwrap()
}

/// A file in which a strip stands behind some other bytes.
fn file_of(strip: &[u8]) -> Arc<dyn ReadAt> {
    memory([&[7; BEFORE][..], strip, &[9; 50]].concat())
}

/// Goes through a strip of deflate of which `total` bytes are expected.
async fn gone_through(strip: &[u8], total: usize, band: usize) -> Result<LongStrip, String> {
    through(strip, total, band, Codec::Deflate).await
}

async fn through(strip: &[u8], total: usize, band: usize, codec: Codec) -> Result<LongStrip, String> {
    let place = (BEFORE as u64, strip.len() as u64);
    let read = LongStrip::read(&*file_of(strip), place, BandSize { total, band }, codec, bad).await;
    read.map_err(|error| error.to_string())
}

/// The rows of a band, from other packed bytes than were gone through where those are given.
async fn band_of(read: &LongStrip, strip: &[u8], number: usize, raw: Option<&[u8]>) -> Result<Vec<u8>, String> {
    let range = read.range(number).unwrap();
    assert!(!range.is_empty() && range.end <= strip.len() as u64);
    let entered = read.enter(&*file_of(strip), number, bad).await.map_err(|error| error.to_string())?;
    read.unpack(entered, raw.unwrap_or(&strip[range.start as usize..range.end as usize]))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
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
        packing in Packing::any(),
        band in (32usize << 10)..(200 << 10),
    ) {
        let rows = rows(&pieces);
                let strip = packing.pack(&rows);
        let runtime = runtime();
        let read = runtime.block_on(through(&strip, rows.len(), band, packing.codec())).unwrap();
        for (number, expected) in rows.chunks(band).enumerate().rev() {
            let found = runtime.block_on(band_of(&read, &strip, number, None));
            prop_assert!(found.as_deref() == Ok(expected), "band {number}: {:?}", found.map(|rows| rows.len()));
        }
        prop_assert!(read.range(rows.len().div_ceil(band)).is_none());
    }

    #[test]
    fn a_damaged_strip_gives_what_it_gives_as_a_whole_or_an_error(
        packing in Packing::any(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        kept in prop_oneof![3 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)],
        trailing in prop_oneof![3 => Just(0usize), 1 => 1usize..20],
    ) {
        let rows = rows(&[(2, 150_000), (1, 30_000), (3, 90_000), (0, 40_000)]);
        let mut strip = packing.pack(&rows);
        strip.truncate(kept.map_or(usize::MAX, |kept| kept.index(strip.len()).max(1)));
        damage.iter().for_each(|(at, byte)| { let at = at.index(strip.len()); strip[at] ^= byte; });
        strip.extend(vec![7; trailing]);
        let size = Size { needed: rows.len(), most: rows.len(), row: 100 };
        let whole = unpack(&strip, packing.codec(), None, size);
        let runtime = runtime();
        let read = runtime.block_on(through(&strip, rows.len(), BAND, packing.codec()));
        match (whole, read) {
            (Ok(whole), Ok(read)) => {
                for (number, expected) in whole.chunks(BAND).enumerate() {
                    let found = runtime.block_on(band_of(&read, &strip, number, None));
                    prop_assert!(found.as_deref() == Ok(expected), "band {number}: {:?}", found.map(|rows| rows.len()));
                }
            }
            (whole, read) => prop_assert_eq!(whole.err().is_some(), read.err().is_some()),
        }
    }

    #[test]
    fn a_damaged_strip_is_refused_before_any_of_it_is_given(at in any::<prop::sample::Index>(), bit in 0u8..8, is_cut in any::<bool>()) {
        let rows = rows(&[(2, 150_000), (1, 30_000), (3, 90_000)]);
        let mut strip = packed(&rows, 6);
        let at = at.index(strip.len());
        if is_cut { strip.truncate(at.max(1)) } else { strip[at] ^= 1 << bit }
        let read = runtime().block_on(gone_through(&strip, rows.len(), BAND));
        // Bits of the header that only tell how hard the writer tried may differ, with its check.
        prop_assert!(read.is_err() || at < 2, "{at}");
    }

    #[test]
    fn no_bytes_are_gone_through_with_a_panic(bytes in prop::collection::vec(any::<u8>(), 1..400), kind in 0usize..3, is_begun in any::<bool>()) {
        let codec = [Codec::Deflate, Codec::Lzw, Codec::Zstd][kind];
        let start: &[u8] = match codec { Codec::Deflate => &[0x78, 1], Codec::Lzw => &[0x80], _ => &[0x28, 0xb5, 0x2f, 0xfd] };
        let strip = if is_begun { [start, &bytes].concat() } else { bytes };
        let _ = runtime().block_on(through(&strip, 100_000, 10_000, codec));
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
    for packing in
        [Packing::Deflate(6), Packing::Lzw, Packing::OldLzw, Packing::Zstd(3, usize::MAX), Packing::Zstd(3, BAND)]
    {
        let strip = packing.pack(&rows);
        let read = through(&strip, rows.len(), BAND, packing.codec()).await.unwrap();
        let range = read.range(2).unwrap();
        let mut raw = strip[range.start as usize..range.end as usize].to_vec();
        assert!(band_of(&read, &strip, 2, Some(&raw)).await.is_ok());
        let short = band_of(&read, &strip, 2, Some(&raw[1..])).await.map(|_| "rows").unwrap_err();
        assert!(short.contains("are expected"), "{short}");
        // Noise is as good as any other bytes to LZW; only the checksum tells.
        raw.iter_mut().for_each(|byte| *byte ^= 0x55);
        match band_of(&read, &strip, 2, Some(&raw)).await {
            // Of Zstandard all that is needed may have been read before.
            Ok(found) => assert!(matches!(packing, Packing::Zstd(_, usize::MAX)) && found == rows[2 * BAND..3 * BAND]),
            Err(other) => {
                assert!(
                    other.contains("others than when their strip was gone through") || other.contains("broken"),
                    "{other}"
                );
            }
        }
    }
}

#[tokio::test]
async fn readers_that_cannot_be_copied_read_from_the_beginning_of_a_frame() {
    let rows = rows(&[(1, 6 * BAND)]);
    for frame in [usize::MAX, BAND, BAND - 10, 2 * BAND + 7, 1000] {
        let packing = Packing::Zstd(1, frame);
        let strip = packing.pack(&rows);
        let read = through(&strip, rows.len(), BAND, Codec::Zstd).await.unwrap();
        for (number, expected) in rows.chunks(BAND).enumerate() {
            assert_eq!(band_of(&read, &strip, number, None).await.unwrap(), expected, "band {number}");
        }
    }
}

#[tokio::test]
async fn windows_of_zstandard_are_bounded() {
    let rows = rows(&[(2, 3 * BAND)]);
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.write_all(&rows).unwrap();
    let strip = encoder.finish().unwrap();
    let error = through(&strip, rows.len(), BAND, Codec::Zstd).await.err().unwrap();
    assert!(error.contains("Frame requires too much memory for decoding"), "{error}");
}

#[tokio::test]
async fn nothing_is_looked_back_to_before_the_first_row() {
    // A block of fixed codes whose first symbol is a match of 3 bytes at distance 1, where there is nothing yet.
    let strip = [0x78, 0x01, 0x03, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01];
    assert!(gone_through(&strip, 3 * BAND, BAND).await.is_err());
}

#[test]
fn bands_are_as_few_and_as_short_as_may_be() {
    let bands = |height: u64, bytes, least| height.div_ceil(band_rows(height, bytes, least));
    assert_eq!((bands(14_000, 196 << 20, 1), bands(20_000, 800_000_000, 512)), (16, 20));
    assert_eq!((bands(32_768, 1 << 30, 1), bands(1, 1 << 30, 1), bands(100, 40 << 20, 512)), (32, 1, 1));
}
