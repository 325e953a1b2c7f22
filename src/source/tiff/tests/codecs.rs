//! What packed bytes are, whatever they are; and the texts of microscopes.

use proptest::prelude::*;
use weezl::BitOrder;
use weezl::encode::Encoder;

use super::super::codecs::{Size, unpack};
use super::super::description;
use super::super::microscope::{fei, resolution, zeiss};
use super::super::storage::Codec;

const PACKED: [Codec; 5] = [Codec::Deflate, Codec::Lzw, Codec::PackBits, Codec::Zstd, Codec::Jpeg];

fn size(needed: usize) -> Size {
    Size { needed, most: needed, row: needed }
}

/// The bytes as each codec packs them, by the name of it.
fn packed(bytes: &[u8]) -> Vec<(Codec, Vec<u8>)> {
    // Runs of at most 128 bytes as they are.
    let runs = bytes.chunks(128).flat_map(|run| std::iter::once(run.len() as u8 - 1).chain(run.iter().copied()));
    vec![
        (Codec::Lzw, Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(bytes).unwrap()),
        (Codec::PackBits, runs.collect()),
        (Codec::Zstd, zstd::bulk::compress(bytes, 1).unwrap()),
    ]
}

#[test]
fn runs_of_one_byte_are_unpacked_and_no_further_than_needed() {
    // TIFF 6.0, section 9.
    let stored = [0xfe, 0xaa, 2, 0x80, 0, 0x2a, 0xfd, 0xaa, 3, 0x80, 0, 0x2a, 0x22, 0xf7, 0xaa];
    let expected = [&[0xaa; 3][..], &[0x80, 0, 0x2a], &[0xaa; 4], &[0x80, 0, 0x2a, 0x22], &[0xaa; 10]].concat();
    for needed in 0..=expected.len() {
        assert_eq!(unpack(&stored, Codec::PackBits, None, size(needed)).unwrap(), expected[..needed]);
    }
    let error = unpack(&stored, Codec::PackBits, None, size(25)).unwrap_err();
    assert_eq!(error, "PackBits data that end after 24 of 25 bytes");
    assert_eq!(unpack(&[128, 128, 0, 7], Codec::PackBits, None, size(1)).unwrap(), [7], "128 means nothing");
}

#[test]
fn lzw_as_it_was_before_tiff_6_is_read_as_well() {
    let bytes: Vec<u8> = (0..5000u32).map(|n| (n * n / 97) as u8).collect();
    let old = Encoder::new(BitOrder::Lsb, 8).encode(&bytes).unwrap();
    assert!(old[0] == 0 && old[1] & 1 == 1, "that is how it is told");
    assert_eq!(unpack(&old, Codec::Lzw, None, size(5000)).unwrap(), bytes);
}

#[test]
fn microscopes_say_the_size_of_a_pixel() {
    let text =
        "[User]\r\nPixelWidth=1\r\n[Scan]\r\nPixelWidth=6.5e-009\r\nPixelHeight = 7e-9\r\n[Stage]\r\nPixelWidth=3";
    assert_eq!(fei(text), [Some(7.0), Some(6.5)]);
    assert_eq!(fei("[Scan]\nPixelWidth=-1\nPixelHeight=x\n"), [None, None]);
    let text =
        "\r\n0\r\nAP_PIXEL_SIZE\r\nPixel Size = 5.5 nm\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 0.011 µm\r\n";
    assert_eq!(zeiss(text, 3072), Some(11.0), "that one is of the image");
    assert_eq!(zeiss("AP_PIXEL_SIZE", 1024), None);
}

#[test]
fn what_zeiss_counts_per_pixel_of_a_display_is_scaled_to_the_pixels_of_the_image() {
    let header = "0\r\n0\r\n0\r\n1e-08\r\n0\r\n";
    let titled = format!("{header}AP_PIXEL_SIZE\r\nPixel Size = 6.0 nm\r\n");
    for (width, of_title, of_header) in
        [(1024, 6.0, 10.0), (3072, 2.0, 10.0 / 3.0), (2048, 3.0, 5.0), (512, 12.0, 20.0)]
    {
        assert_eq!(zeiss(&titled, width), Some(of_title));
        assert_eq!(zeiss(header, width), Some(of_header));
        assert_eq!(zeiss(&format!("{header}AP_WD\r\nWD = 4.9 mm\r\n"), width), Some(of_header));
    }
    assert_eq!(
        (zeiss("0\n0\n0\n0\n", 100), zeiss("0\n0\n1e-8\nAP_WD\n1e-8", 100), zeiss(header, 0)),
        (None, None, None)
    );
}

#[test]
fn fei_says_the_size_of_a_pixel_or_what_all_of_them_see() {
    let beam = "[IRBeam]\r\nHFW=2.0e-7\r\nVFW=1.6e-7\r\n[Image]\r\nResolutionX=50\r\nResolutionY=20\r\n";
    assert_eq!(fei(beam), [Some(8.0), Some(4.0)]);
    assert_eq!(fei(&format!("[Scan]\nPixelWidth=3e-9\nPixelHeight=3e-9\n{beam}")), [Some(3.0), Some(3.0)]);
    assert_eq!(fei(&format!("{beam}ResolutionX=0\n")), [Some(8.0), None]);
    assert_eq!(fei("[IRBeam]\nHFW=2e-7\n[Image]\nResolutionY=20\n"), [None, None]);
}

#[test]
fn the_resolution_of_a_print_is_no_size_of_a_pixel() {
    let of = |per_unit: f64, unit| resolution([Some([per_unit, 1.0]), None], unit)[0];
    assert_eq!((of(72.0, 2), of(4800.0, 2), of(300.0, 3), of(1e6, 1)), (None, None, None, None));
    assert_eq!((of(1e6, 3), of(254e4, 2)), (Some(10.0), Some(10.0)));
    // Millimetres and micrometres, of tifffile.
    assert_eq!((of(1e5, 4), of(100.0, 5), of(0.5, 5), of(1.0, 6)), (Some(10.0), Some(10.0), None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(500)))]

    #[test]
    fn what_was_packed_is_unpacked(bytes in prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 1..6000)) {
        for (codec, stored) in packed(&bytes) {
            let found = unpack(&stored, codec, None, size(bytes.len()));
            prop_assert_eq!(found.as_deref(), Ok(&bytes[..]), "{:?}", codec);
            prop_assert!(unpack(&stored, codec, None, size(bytes.len() + 1)).is_err(), "{:?}", codec);
        }
    }

    #[test]
    fn any_bytes_are_as_many_as_are_needed_or_an_error(
        raw in prop::collection::vec(any::<u8>(), 0..300), needed in 0..2000usize, start in 0..5usize,
    ) {
        // Some begin as their codec has it.
        let begin: [&[u8]; 5] = [&[], &[0x78, 0x9c], &[0x28, 0xb5, 0x2f, 0xfd], &[0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 4, 0, 4, 1], &[0x80, 0]];
        let raw = [begin[start], &raw].concat();
        for codec in PACKED {
            if let Ok(found) = unpack(&raw, codec, Some(&raw.clone().into()), size(needed)) {
                prop_assert_eq!(found.len(), needed);
            }
        }
    }

    #[test]
    fn any_text_of_a_microscope_or_of_imagej2_is_read_or_left(text in "(\\[Scan\\]\n|PixelWidth=|AP_PIXEL_SIZE\n|= |nm|e-9|,|axes=X,Y,Z\n|scales=|units=|\\PC){0,30}") {
        prop_assert!(fei(&text).into_iter().flatten().all(|size| size > 0.0));
        prop_assert!(zeiss(&text, 3).is_none_or(|size| size > 0.0));
        let _ = description::parse(&format!("SCIFIO=1\n{text}"), [None; 2], [3, 4]);
    }
}
