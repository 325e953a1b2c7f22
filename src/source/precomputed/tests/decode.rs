use proptest::prelude::*;

use super::*;

/// A grey JPEG of 16×8 pixels that libjpeg-turbo wrote (Pillow, quality 90), and what it decodes to.
const GREY: &[u8] = include_bytes!("grey.jpg");
const GREY_VOXELS: &[u8] = include_bytes!("grey.bin");
/// A colour JPEG of the same size.
const COLOUR: &[u8] = include_bytes!("colour.jpg");

fn png_of(width: u32, height: u32, color: png::ColorType, depth: png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    encoder.write_header().unwrap().write_image_data(data).unwrap();
    out
}

fn plain(dtype: DataType, voxels: usize) -> Plain {
    Plain { shape: [1, 1, voxels], dtype, channel: Channel { number: 0, of: 1 } }
}

fn read(raw: &[u8], codec: VoxelEncoding, dtype: DataType, voxels: usize) -> Result<Bytes, String> {
    chunk(Bytes::copy_from_slice(raw), codec, plain(dtype, voxels))
}

#[test]
fn a_jpeg_differs_from_libjpeg_by_one_at_most() {
    let decoded = read(GREY, VoxelEncoding::Jpeg, DataType::U8, 128).unwrap();
    assert!(decoded.iter().zip(GREY_VOXELS).all(|(a, b)| a.abs_diff(*b) <= 1));
}

#[test]
fn a_jpeg_of_another_size_or_with_colours_is_an_error() {
    let error = |raw: &[u8], voxels| read(raw, VoxelEncoding::Jpeg, DataType::U8, voxels).unwrap_err();
    assert_eq!(error(GREY, 127), "JPEG of 16×8 pixels for a chunk of 127 voxels");
    assert_eq!(error(COLOUR, 128), "JPEG of 3 components where one is due");
    assert_eq!(error(b"", 128), "it is no JPEG");
    assert_eq!(error(b"GIF89a", 128), "it is no JPEG");
}

/// The colours of that, pixel by pixel, as Pillow decodes them by libjpeg-turbo.
const COLOURS: &[u8] = include_bytes!("colour.bin");

fn channels(raw: &[u8], codec: VoxelEncoding, dtype: DataType, of: usize, voxels: usize) -> Vec<Result<Bytes, String>> {
    let one = |number| Plain { channel: Channel { number, of }, ..plain(dtype, voxels) };
    (0..of).map(|number| chunk(Bytes::copy_from_slice(raw), codec, one(number))).collect()
}

#[test]
fn of_a_jpeg_of_colours_the_one_that_is_asked_for_is_decoded_as_libjpeg_does() {
    for (number, decoded) in channels(COLOUR, VoxelEncoding::Jpeg, DataType::U8, 3, 128).into_iter().enumerate() {
        let decoded = decoded.unwrap();
        let expected = COLOURS.iter().skip(number).step_by(3);
        assert_eq!(decoded.len(), 128);
        let most = decoded.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max();
        // Its colours are stored of every second pixel.
        assert!(most <= Some(3), "channel {number}: {most:?}");
    }
    let grey = channels(GREY, VoxelEncoding::Jpeg, DataType::U8, 3, 128);
    assert!(grey.iter().all(|error| error.as_ref().unwrap_err() == "JPEG of 1 components where three are due"));
    for length in 0..COLOUR.len() {
        let cut = channels(&COLOUR[..length], VoxelEncoding::Jpeg, DataType::U8, 3, 128);
        assert!(cut.iter().all(Result::is_err), "{length} bytes");
    }
}

#[test]
fn of_a_png_of_two_to_four_channels_the_one_that_is_asked_for_is_decoded() {
    use png::{BitDepth, ColorType};
    for (of, color) in [(2, ColorType::GrayscaleAlpha), (3, ColorType::Rgb), (4, ColorType::Rgba)] {
        for (dtype, depth, size) in [(DataType::U8, BitDepth::Eight, 1), (DataType::U16, BitDepth::Sixteen, 2)] {
            let bytes: Vec<u8> = (0..(12 * of * size) as u8).collect();
            let raw = png_of(4, 3, color, depth, &bytes);
            for (number, decoded) in channels(&raw, VoxelEncoding::Png, dtype, of, 12).into_iter().enumerate() {
                let voxels = bytes.chunks(size).skip(number).step_by(of);
                let expected: Vec<u8> = voxels.flat_map(|voxel| voxel.iter().rev().copied()).collect();
                assert_eq!(decoded.unwrap(), expected, "{of} channels, {dtype}");
            }
            let other = channels(&raw, VoxelEncoding::Png, dtype, of % 4 + 1, 12);
            assert!(other.iter().all(|error| error.as_ref().unwrap_err().starts_with("PNG of ")));
        }
    }
}

#[test]
fn a_jpeg_that_is_cut_anywhere_is_an_error() {
    for length in 0..GREY.len() {
        assert!(read(&GREY[..length], VoxelEncoding::Jpeg, DataType::U8, 128).is_err(), "{length} bytes");
    }
    let ended_early = [&GREY[..GREY.len() - 20], &[0xff, 0xd9], &GREY[GREY.len() - 18..]].concat();
    assert!(read(&ended_early, VoxelEncoding::Jpeg, DataType::U8, 128).unwrap_err().contains("after its end"));
    assert!(read(&[GREY, &[0; 7]].concat(), VoxelEncoding::Jpeg, DataType::U8, 128).is_ok());
}

#[test]
fn raw_voxels_have_one_length() {
    assert_eq!(read(&[1, 2, 3, 4], VoxelEncoding::Raw, DataType::U16, 2).unwrap().as_ref(), [1, 2, 3, 4]);
    assert_eq!(read(&[1, 2, 3], VoxelEncoding::Raw, DataType::U16, 2).unwrap_err(), "expected 4 bytes, got 3");
    assert_eq!(read(&[1, 2, 3, 4, 5], VoxelEncoding::Raw, DataType::U16, 2).unwrap_err(), "expected 4 bytes, got 5");
}

#[test]
fn of_several_channels_the_one_that_is_asked_for_is_decoded() {
    let three = |number| Plain { channel: Channel { number, of: 3 }, ..plain(DataType::U16, 2) };
    let read = |raw: &[u8], number| chunk(Bytes::copy_from_slice(raw), VoxelEncoding::Raw, three(number));
    for number in 0..3 {
        let first = 4 * number as u8;
        assert_eq!(
            read(&(0..12).collect::<Vec<u8>>(), number).unwrap().as_ref(),
            [first, first + 1, first + 2, first + 3]
        );
    }
    assert_eq!(read(&[0; 4], 0).unwrap_err(), "expected 12 bytes, got 4");
}

#[test]
fn a_png_may_be_of_any_width_and_is_turned_to_little_endian() {
    let bytes: Vec<u8> = (0..24).collect();
    for (width, height) in [(12, 1), (1, 12), (3, 4)] {
        let raw = png_of(width, height, png::ColorType::Grayscale, png::BitDepth::Sixteen, &bytes);
        let decoded = read(&raw, VoxelEncoding::Png, DataType::U16, 12).unwrap();
        let expected: Vec<u8> = bytes.chunks(2).flat_map(|voxel| [voxel[1], voxel[0]]).collect();
        assert_eq!(decoded, expected);
    }
    let raw = png_of(6, 4, png::ColorType::Grayscale, png::BitDepth::Eight, &bytes);
    assert_eq!(read(&raw, VoxelEncoding::Png, DataType::U8, 24).unwrap(), bytes);
}

#[test]
fn a_png_of_another_size_type_or_length_is_an_error() {
    let bytes = [7; 24];
    let grey = png_of(6, 4, png::ColorType::Grayscale, png::BitDepth::Eight, &bytes);
    assert!(read(&grey, VoxelEncoding::Png, DataType::U8, 23).unwrap_err().contains("6×4 pixels for a chunk of 23"));
    assert!(read(&grey, VoxelEncoding::Png, DataType::U16, 24).unwrap_err().contains("expected grey uint16 voxels"));
    let colour = png_of(2, 4, png::ColorType::Rgb, png::BitDepth::Eight, &bytes);
    assert!(read(&colour, VoxelEncoding::Png, DataType::U8, 8).unwrap_err().contains("expected grey uint8"));
    for length in 0..grey.len() - 12 {
        assert!(read(&grey[..length], VoxelEncoding::Png, DataType::U8, 24).is_err(), "{length} bytes");
    }
}

#[test]
fn a_picture_that_claims_a_huge_size_takes_no_memory() {
    let mut raw = GREY.to_vec();
    let header = raw.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    raw[header + 5..header + 9].copy_from_slice(&[0xff; 4]);
    assert_eq!(
        read(&raw, VoxelEncoding::Jpeg, DataType::U8, 128).unwrap_err(),
        "JPEG of 65535×65535 pixels for a chunk of 128 voxels"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn broken_pictures_are_errors_or_have_the_right_length(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6), codec in 0..2,
    ) {
        let (mut raw, codec) = match codec {
            0 => (GREY.to_vec(), VoxelEncoding::Jpeg),
            _ => (png_of(16, 8, png::ColorType::Grayscale, png::BitDepth::Eight, GREY_VOXELS), VoxelEncoding::Png),
        };
        for (at, byte) in changes {
            let at = at.index(raw.len());
            raw[at] = byte;
        }
        if let Ok(decoded) = read(&raw, codec, DataType::U8, 128) {
            prop_assert_eq!(decoded.len(), 128);
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes, VoxelEncoding::Jpeg, DataType::U8, 128);
        let _ = read(&[&[0xff, 0xd8][..], &bytes, &[0xff, 0xd9]].concat(), VoxelEncoding::Jpeg, DataType::U8, 128);
        let _ = read(&bytes, VoxelEncoding::Png, DataType::U8, 128);
    }
}
