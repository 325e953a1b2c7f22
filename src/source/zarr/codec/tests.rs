use std::io::Write;

use bytes::Bytes;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use zarrs::array::codec::{BloscCompressionLevel, BloscCompressor, BloscShuffleMode, blosc_compress_bytes};

use super::{ByteOrder, DataType, lz4};
use super::{BytesCodec, CodecError, Sizes, decode};

const COMPRESSORS: [BloscCompressor; 6] = [
    BloscCompressor::BloscLZ,
    BloscCompressor::LZ4,
    BloscCompressor::LZ4HC,
    BloscCompressor::Snappy,
    BloscCompressor::Zlib,
    BloscCompressor::Zstd,
];
const SHUFFLES: [BloscShuffleMode; 3] =
    [BloscShuffleMode::NoShuffle, BloscShuffleMode::Shuffle, BloscShuffleMode::BitShuffle];

fn blosc(plain: &[u8], compressor: BloscCompressor, shuffle: BloscShuffleMode, typesize: usize) -> Vec<u8> {
    let level = BloscCompressionLevel::try_from(5).unwrap();
    blosc_compress_bytes(plain, level, shuffle, typesize, compressor, 0, 1).unwrap()
}

fn encode(codec: BytesCodec, plain: &[u8]) -> Vec<u8> {
    match codec {
        BytesCodec::Zstd => zstd::bulk::compress(plain, 1).unwrap(),
        BytesCodec::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        BytesCodec::Zlib => {
            let mut encoder = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        BytesCodec::Blosc => blosc(plain, BloscCompressor::LZ4, BloscShuffleMode::Shuffle, 2),
        BytesCodec::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        BytesCodec::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        BytesCodec::Lz4 => [&(plain.len() as u32).to_le_bytes(), lz4_flex::block::compress(plain).as_slice()].concat(),
        BytesCodec::Lz4Java => lz4::tests::written(plain, 1000),
        BytesCodec::Delta(..) => {
            let before = [0].iter().chain(plain);
            plain.iter().zip(before).map(|(byte, before)| byte.wrapping_sub(*before)).collect()
        }
        BytesCodec::Shuffle(_) => plain.to_vec(),
        BytesCodec::Crc32c => [plain, &crc32c::crc32c(plain).to_le_bytes()].concat(),
    }
}

const CODECS: [BytesCodec; 9] = [
    BytesCodec::Zstd,
    BytesCodec::Gzip,
    BytesCodec::Zlib,
    BytesCodec::Blosc,
    BytesCodec::Bzip2,
    BytesCodec::Xz,
    BytesCodec::Lz4,
    BytesCodec::Lz4Java,
    BytesCodec::Crc32c,
];

/// Decodes a chunk of `length` bytes.
fn decode_chunk(raw: Vec<u8>, codecs: &[BytesCodec], length: usize) -> Result<Bytes, CodecError> {
    decode(raw.into(), codecs, &Sizes::of_chain(length, codecs))
}

/// Smooth bytes with some noise, which compress but not to nothing.
fn texture(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((i / 40) as u8).wrapping_add((i * i % 7) as u8)).collect()
}

#[test]
fn every_codec_and_every_pair_of_them_is_undone() {
    let plain = texture(10_000);
    for inner in CODECS {
        assert_eq!(decode_chunk(encode(inner, &plain), &[inner], plain.len()).unwrap(), plain);
        for outer in CODECS {
            let raw = encode(outer, &encode(inner, &plain));
            assert!(raw.len() as u64 <= Sizes::of_chain(plain.len(), &[inner, outer]).stored());
            assert_eq!(decode_chunk(raw, &[inner, outer], plain.len()).unwrap(), plain, "{inner:?} {outer:?}");
        }
    }
    assert_eq!(decode_chunk(plain.clone(), &[], plain.len()).unwrap(), plain);
}

#[test]
fn filters_keep_the_length_and_come_before_compressors() {
    let plain = texture(1000);
    let delta = BytesCodec::Delta(DataType::U8, ByteOrder::Little);
    let codecs = [delta, BytesCodec::Shuffle(1), BytesCodec::Zstd];
    let raw = codecs.iter().fold(plain.clone(), |bytes, &codec| encode(codec, &bytes));
    assert_eq!(decode_chunk(raw.clone(), &codecs, plain.len()).unwrap(), plain);
    assert!(decode_chunk(raw.clone(), &codecs, plain.len() + 1).is_err());
    assert!(decode_chunk(raw, &[delta, BytesCodec::Shuffle(7), BytesCodec::Zstd], plain.len()).is_err());
}

#[test]
fn incompressible_chunks_stay_within_the_limit() {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    for length in [1, 100, 65_536, 1 << 20] {
        let plain: Vec<u8> = (0..length).map(|_| noise()).collect();
        for codec in CODECS {
            let raw = encode(codec, &plain);
            assert!(raw.len() as u64 <= Sizes::of_chain(length, &[codec]).stored(), "{codec:?} {length}");
            assert_eq!(decode_chunk(raw, &[codec], length).unwrap(), plain);
        }
    }
}

#[test]
fn a_chunk_of_another_length_is_an_error() {
    let plain = texture(1000);
    for codec in CODECS {
        for length in [999, 1001, 1, 1 << 24] {
            let error = decode_chunk(encode(codec, &plain), &[codec], length).unwrap_err();
            assert_eq!(error.codec, codec.name(), "{error}");
        }
    }
    assert_eq!(decode_chunk(plain, &[], 1001).unwrap_err().to_string(), "chunk: 1000 bytes where a chunk has 1001");
}

#[test]
fn a_cut_chunk_and_bytes_behind_it_are_errors() {
    let plain = texture(1000);
    for codec in CODECS {
        let raw = encode(codec, &plain);
        for end in [0, 1, 2, 8, 15, 16, 17, raw.len() / 2, raw.len() - 1] {
            assert!(decode_chunk(raw[..end].to_vec(), &[codec], plain.len()).is_err(), "{codec:?} cut at {end}");
        }
        for more in [&[0][..], &[0; 64], &raw] {
            let longer = [&raw, more].concat();
            assert!(decode_chunk(longer, &[codec], plain.len()).is_err(), "{codec:?} and {} bytes", more.len());
        }
    }
}

#[test]
fn a_frame_that_claims_a_tebibyte_is_an_error() {
    // Magic number, a single segment with an 8-byte size of 2^40, a last block of no bytes.
    let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..], &(1u64 << 40).to_le_bytes(), &[1, 0, 0]].concat();
    assert_eq!(zstd.len(), 16);
    assert!(decode_chunk(zstd, &[BytesCodec::Zstd], 524_288).is_err());
    // The same as a window, which a decoder may want to allocate.
    let window = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(decode_chunk(window, &[BytesCodec::Zstd], 524_288).is_err());
}

#[test]
fn a_bomb_is_stopped_at_the_size_of_a_chunk() {
    let zeros = vec![0; 64 << 20];
    for codec in [BytesCodec::Gzip, BytesCodec::Zlib, BytesCodec::Zstd, BytesCodec::Blosc] {
        let bomb = encode(codec, &zeros);
        assert!(bomb.len() < 1 << 20);
        let error = decode_chunk(bomb.clone(), &[codec], 4096).unwrap_err();
        assert_eq!(error.codec, codec.name());
        // In the middle of a chain there is no exact size, but still a limit.
        assert!(decode_chunk(bomb, &[BytesCodec::Zstd, codec], 4096).is_err());
    }
    let members: Vec<u8> = encode(BytesCodec::Gzip, b"ab").repeat(1000);
    assert!(decode_chunk(members.clone(), &[BytesCodec::Gzip], 1999).is_err());
    assert_eq!(decode_chunk(members, &[BytesCodec::Gzip], 2000).unwrap(), b"ab".repeat(1000));
}

#[test]
fn malformed_blosc_headers_are_refused_by_field() {
    let plain = texture(4096);
    let frame = encode(BytesCodec::Blosc, &plain);
    let with = |at: usize, value: &[u8]| {
        let mut frame = frame.clone();
        frame[at..at + value.len()].copy_from_slice(value);
        decode_chunk(frame, &[BytesCodec::Blosc], plain.len()).unwrap_err().reason
    };
    assert_eq!(with(0, &[3]), "header: format version 3 instead of 2");
    assert_eq!(with(3, &[0]), "header: a type size of 0");
    assert_eq!(with(4, &4095u32.to_le_bytes()), "header: 4095 bytes where a chunk has 4096");
    assert!(with(4, &u32::MAX.to_le_bytes()).starts_with("header: it decodes to more than the 4096 bytes"));
    assert_eq!(with(8, &[0; 4]), "header: blocks of 0 bytes for 4096 bytes");
    assert_eq!(with(8, &[255; 4]), "header: blocks of 4294967295 bytes for 4096 bytes");
    assert_eq!(with(12, &16u32.to_le_bytes()), format!("header: 16 stored bytes, but there are {}", frame.len()));
    assert_eq!(with(16, &[255; 4]), "corrupt: blosc_decompress_ctx failed");
}

#[test]
fn a_wrong_checksum_is_an_error() {
    let plain = texture(100);
    let mut raw = encode(BytesCodec::Crc32c, &plain);
    raw[50] ^= 1;
    let error = decode_chunk(raw, &[BytesCodec::Crc32c], 100).unwrap_err();
    assert!(error.to_string().starts_with("crc32c: checksum "), "{error}");
}

/// Changes of a frame: a byte at a place, or the same four bytes as a number.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, Option<u32>)>> {
    let number = prop_oneof![Just(None), any::<u32>().prop_map(Some), (0u32..8192).prop_map(Some)];
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), number), 0..8)
}

fn change(raw: &mut [u8], changes: &[(prop::sample::Index, u8, Option<u32>)], among: usize) {
    for (place, byte, number) in changes {
        let at = place.index(among.min(raw.len()));
        match number {
            Some(number) if at + 4 <= raw.len() => raw[at..at + 4].copy_from_slice(&number.to_le_bytes()),
            _ => raw[at] = *byte,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(500)))]

    #[test]
    fn a_mutated_chunk_gives_a_whole_chunk_or_an_error(
        inner in prop::sample::select(&CODECS[..]), outer in prop::option::of(prop::sample::select(&CODECS[..])),
        length in 1usize..5000, changes in changes(), near_the_start in any::<bool>(),
    ) {
        let codecs: Vec<BytesCodec> = [inner].into_iter().chain(outer).collect();
        let mut raw = codecs.iter().fold(texture(length), |bytes, &codec| encode(codec, &bytes));
        let among = if near_the_start { 32 } else { raw.len() };
        change(&mut raw, &changes, among);
        if let Ok(decoded) = decode_chunk(raw, &codecs, length) {
            prop_assert_eq!(decoded.len(), length);
        }
    }

    #[test]
    fn a_mutated_blosc_buffer_gives_a_whole_chunk_or_an_error(
        compressor in prop::sample::select(&COMPRESSORS[..]), shuffle in prop::sample::select(&SHUFFLES[..]),
        typesize in prop::sample::select(&[1usize, 2, 3, 4, 8, 16, 255][..]), length in 1usize..20_000,
        changes in changes(), near_the_start in any::<bool>(), kept in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let plain = texture(length);
        let mut raw = blosc(&plain, compressor, shuffle, typesize);
        prop_assert_eq!(&decode_chunk(raw.clone(), &[BytesCodec::Blosc], length).unwrap(), &plain);
        let among = if near_the_start { 64 } else { raw.len() };
        change(&mut raw, &changes, among);
        if let Some(kept) = kept {
            raw.truncate(16 + kept.index(raw.len() - 15));
        }
        // A header that passes, so that the body is reached.
        let stored = raw.len() as u32;
        raw[0] = 2;
        raw[3] = raw[3].max(1);
        raw[4..8].copy_from_slice(&(length as u32).to_le_bytes());
        raw[12..16].copy_from_slice(&stored.to_le_bytes());
        if let Ok(decoded) = decode_chunk(raw, &[BytesCodec::Blosc], length) {
            prop_assert_eq!(decoded.len(), length);
        }
    }

    #[test]
    fn random_bytes_give_a_whole_chunk_or_an_error(
        codec in prop::sample::select(&CODECS[..]), raw in prop::collection::vec(any::<u8>(), 0..200),
        length in 1usize..300,
    ) {
        if let Ok(decoded) = decode_chunk(raw, &[codec], length) {
            prop_assert_eq!(decoded.len(), length);
        }
    }
}

/// Why these steps are undone here: `src/README.md` has the cases. Should the library stop at what a chunk can have, one of these
/// fails, and that step can go to it.
#[test]
fn the_library_undoes_streams_without_a_bound() {
    use std::borrow::Cow;
    use zarrs::array::BytesRepresentation;
    use zarrs::array::codec::api::{BytesToBytesCodecTraits, CodecOptions};
    use zarrs::array::codec::{GzipCodec, ZlibCodec, ZstdCodec};

    let plain = vec![0; 1 << 20];
    let of_sixteen = |codec: &dyn BytesToBytesCodecTraits, stream: &[u8]| {
        let expected = BytesRepresentation::FixedSize(16);
        codec.decode(Cow::Borrowed(stream), &expected, &CodecOptions::default()).map(|bytes| bytes.len()).ok()
    };
    let gzip = GzipCodec::new(1).unwrap();
    assert_eq!(of_sixteen(&gzip, &encode(BytesCodec::Gzip, &plain)), Some(plain.len()));
    let zlib = ZlibCodec::new(1u32.try_into().unwrap());
    assert_eq!(of_sixteen(&zlib, &encode(BytesCodec::Zlib, &plain)), Some(plain.len()));
    let zstd = ZstdCodec::new(1, false);
    assert_eq!(of_sixteen(&zstd, &encode(BytesCodec::Zstd, &plain)), Some(plain.len()));
    // Of a gzip file of two members it gives the first.
    assert_eq!(of_sixteen(&gzip, &encode(BytesCodec::Gzip, b"ab").repeat(2)), Some(2));
}
