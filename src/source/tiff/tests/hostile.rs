//! Files that are broken by accident or on purpose: an error that names file and field, within bounds, never a panic.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::super::Reading;
use super::super::read::ReadAhead;
use super::super::volume::Volume;
use super::support::{Value, Writer, memory, open, page, read_block};
use crate::geometry::Shape;
use crate::source::SourceError;
use crate::store::past_caches;

async fn refusal(bytes: Vec<u8>) -> String {
    let reader = memory(bytes);
    let error = match open(reader.clone()).await {
        Ok(_) => panic!("opened"),
        Err(error) => error.to_string(),
    };
    assert!(error.starts_with("memory.tif: "), "{error}");
    assert!(reader.count() < 20, "{} requests", reader.count());
    error
}

/// A page of one strip with one of its tags replaced or added.
fn one_page(tag: u16, value: Value) -> Vec<u8> {
    let mut writer = Writer::new(false, 8);
    let mut tags = page(&[4], &[5], &[8 + 2 + 10 * 12 + 4], &[20]);
    tags.retain(|(other, _)| *other != tag);
    tags.push((tag, value));
    writer.ifd(&tags, |_| 0);
    writer.bytes.resize(400, 7);
    writer.bytes
}

#[tokio::test]
async fn a_page_that_breaks_the_format_is_an_error_that_names_the_field() {
    let cases: [(u16, Value, &str); 13] = [
        (273, Value::Long(&[0]), "page 0, StripOffsets: strip or tile 0 is 0"),
        (273, Value::Long(&[381]), "page 0, StripOffsets: strip or tile 0 (20 bytes at 381)"),
        (273, Value::Long(&[u32::MAX]), "page 0, StripOffsets: strip or tile 0"),
        (256, Value::Long(&[u32::MAX]), "page 0, StripByteCounts: 20 bytes for"),
        (257, Value::Long(&[u32::MAX]), "page 0, StripByteCounts: 20 bytes for"),
        (256, Value::Long(&[0]), "page 0, ImageWidth: is missing or 0"),
        (256, Value::Text("wide"), "page 0, ImageWidth: has field type 2"),
        (256, Value::Short(&[5, 5]), "page 0, ImageWidth: 2 values"),
        (277, Value::Short(&[3]), "page 0, SamplesPerPixel: 3 samples per pixel is not supported; keep one of them"),
        (
            259,
            Value::Short(&[6]),
            "page 0, Compression: old-style JPEG compression is not supported; store it in another way, by `tiffcp",
        ),
        (259, Value::Short(&[4]), "page 0, Compression: CCITT Group 4 compression is not supported; store it"),
        (262, Value::Short(&[2]), "page 0, PhotometricInterpretation: RGB is not supported; convert it to grey values"),
        (322, Value::Long(&[u32::MAX]), "page 0, TileLength: is missing or 0"),
    ];
    for (tag, value, expected) in cases {
        let error = refusal(one_page(tag, value)).await;
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
}

#[tokio::test]
async fn what_libtiff_mends_in_the_tags_of_a_plain_page_is_mended() {
    for (tag, value) in [
        (279, Value::Long(&[0])),
        (279, Value::Long(&[19])),
        (279, Value::Long(&[20, 0])),
        (279, Value::Long(&[])),
        (273, Value::Long(&[134, 9])),
        (278, Value::Long(&[0])),
        (278, Value::Long(&[1])),
        (258, Value::Short(&[8, 8, 8])),
        (339, Value::Short(&[1, 1, 1])),
    ] {
        let bytes = one_page(tag, value);
        let reader = memory(bytes.clone());
        let volume = open(reader.clone()).await.unwrap_or_else(|error| panic!("{tag}: {error}"));
        assert_eq!(volume.grid().unwrap().shape, Shape([1, 4, 5]), "{tag}");
        let block = read_block(&volume, &*reader, crate::geometry::CellIndex([0; 3])).await.unwrap();
        assert_eq!(block, bytes[134..154], "{tag}");
    }
    // What would belong to another strip as well is not taken for this one's, nor what may never have been written.
    for (offsets, counts, expected) in [
        ([200, 205], [9, 10], "StripByteCounts: 9 bytes for 10"),
        ([200, 210], [0, 10], "StripByteCounts: strip or tile 0 is 0 and others are not"),
    ] {
        let mut writer = Writer::new(false, 8);
        let mut tags = page(&[4], &[5], &offsets, &counts);
        tags[7] = (278, Value::Long(&[2]));
        writer.ifd(&tags, |_| 0);
        writer.bytes.resize(400, 7);
        let error = refusal(writer.bytes).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_tiff_is_an_error() {
    for bytes in
        [&b"<html>not found</html>"[..], b"II", b"I", b"II\x2b\0\x08\0\0\0", b"MM\0\x2a\0\0\0\x08", b"II\x2a\0\0\0\0\0"]
    {
        refusal(bytes.to_vec()).await;
    }
}

#[tokio::test]
async fn counts_beyond_the_file_are_an_error_before_anything_is_allocated() {
    // The count of StripOffsets, of ImageDescription, and of entries.
    for tag in [273u16, 270] {
        let mut bytes = one_page(tag, if tag == 270 { Value::Text("long enough") } else { Value::Long(&[1, 2]) });
        let entry = bytes.windows(2).position(|pair| pair == tag.to_le_bytes()).unwrap();
        for count in [u32::MAX, 1 << 22, 1 << 20] {
            bytes[entry + 4..entry + 8].copy_from_slice(&count.to_le_bytes());
            refusal(bytes.clone()).await;
        }
    }
    let mut bytes = one_page(266, Value::Short(&[1]));
    for count in [0, 4096, u16::MAX] {
        bytes[8..10].copy_from_slice(&count.to_le_bytes());
        assert!(refusal(bytes.clone()).await.contains("page 0, IFD"));
    }
}

#[tokio::test]
async fn a_tag_that_no_voxel_needs_does_not_make_a_file_unreadable() {
    let text = "ImageJ=1.53t\nimages=1\nunit=nm\nspacing=5\n";
    for (kind, count, known) in [(5, 1, Some(2.0)), (10, 1, None), (11, 1, None), (5, 0, None), (5, u32::MAX, None)] {
        let mut writer = Writer::new(false, 8);
        let mut tags = page(&[4], &[5], &[8 + 2 + 12 * 12 + 4], &[20]);
        tags.extend([(270, Value::Text(text)), (282, Value::Rational(1, 2)), (283, Value::Rational(1, 2))]);
        writer.ifd(&tags, |_| 0);
        writer.bytes.resize(400, 7);
        let entry = 8 + 2 + 10 * 12;
        assert_eq!(writer.bytes[entry..entry + 2], 282u16.to_le_bytes());
        writer.bytes[entry + 2..entry + 4].copy_from_slice(&(kind as u16).to_le_bytes());
        writer.bytes[entry + 4..entry + 8].copy_from_slice(&u32::to_le_bytes(count));
        let reader = memory(writer.bytes.clone());
        let reading = Reading { missing: [None, None, Some(9.0)], ..Reading::default() };
        let volume = Volume::open(ReadAhead::from(reader, writer.bytes.into()), reading).await.unwrap();
        assert_eq!(volume.description.levels[0].scale, Some([5.0, 2.0, known.unwrap_or(9.0)]), "{kind} {count}");
    }
    let mut bytes = one_page(270, Value::Text("123"));
    let entry = bytes.windows(2).position(|pair| pair == 270u16.to_le_bytes()).unwrap();
    bytes[entry + 4..entry + 8].fill(0);
    assert_eq!(open(memory(bytes)).await.unwrap().description.format.to_string(), "TIFF, little-endian, uncompressed");
}

#[tokio::test]
async fn a_description_of_many_megabytes_is_read_and_one_beyond_the_bound_refused_in_bytes() {
    let mut text = String::from("<OME><Pixels SizeZ=\"1\" SizeT=\"1\" SizeC=\"1\"/>");
    text += &"<Plane/>".repeat(1 << 20);
    let mut writer = Writer::new(false, 8);
    let mut tags = page(&[4], &[5], &[8], &[20]);
    tags.push((270, Value::Text(&text)));
    writer.ifd(&tags, |_| 0);
    assert_eq!(
        open(memory(writer.bytes.clone())).await.unwrap().description.format.to_string(),
        "OME-TIFF, little-endian, uncompressed"
    );
    for (count, expected) in [
        (u32::MAX, "page 0, ImageDescription: 4294967295 bytes, not 1 to 10485760"),
        (10 << 20, "10485760 bytes at offset 134 do not lie in the file"),
    ] {
        let entry = 8 + 2 + 9 * 12;
        writer.bytes[entry + 4..entry + 8].copy_from_slice(&u32::to_le_bytes(count));
        let error = refusal(writer.bytes.clone()).await;
        assert!(error.contains(expected), "{error}");
        // That is believed past every cache, and no voxel needs it.
        let volume = past_caches(open(memory(writer.bytes.clone()))).await.unwrap();
        assert_eq!(volume.description.format.to_string(), "TIFF, little-endian, uncompressed");
    }
}

#[tokio::test]
async fn strips_are_counted_whether_or_not_they_adjoin() {
    const HEIGHT: u32 = 1 << 17;
    let (offsets, counts) = (8 + HEIGHT, 8 + 5 * HEIGHT);
    let mut writer = Writer::new(false, 8 + 9 * HEIGHT);
    writer.bytes.resize(offsets as usize, 7);
    (0..HEIGHT).for_each(|row| writer.long(8 + row));
    (0..HEIGHT).for_each(|_| writer.long(1));
    let (offsets, counts) = ([offsets], [counts]);
    for _ in 0..140 {
        let mut tags = page(&[HEIGHT], &[1], &offsets, &counts);
        tags[7] = (278, Value::Long(&[1]));
        let start = writer.bytes.len();
        // The arrays stand elsewhere, for all pages.
        writer.ifd(&tags, |end| end);
        for entry in [5, 8] {
            let count = start + 2 + entry * 12 + 4;
            writer.bytes[count..count + 4].copy_from_slice(&HEIGHT.to_le_bytes());
        }
    }
    let error = refusal(writer.bytes).await;
    assert!(
        error.contains("page 128, IFD: more than 16777216 strips and tiles in all pages is not supported; store fewer"),
        "{error}"
    );
}

#[tokio::test]
async fn a_chain_that_comes_back_is_an_error() {
    for back_to in [0u32, 1] {
        let mut writer = Writer::new(false, 8);
        let mut starts = Vec::new();
        for number in 0..4 {
            starts.push(writer.here());
            let back = starts[back_to.min(number) as usize];
            writer.ifd(&page(&[2], &[2], &[8], &[4]), |end| if number == 3 { back } else { end });
        }
        let error = refusal(writer.bytes).await;
        assert!(error.contains("cyclic"), "{error}");
    }
}

#[tokio::test]
async fn a_chain_of_too_many_pages_is_refused() {
    let mut writer = Writer::new(false, 8);
    for _ in 0..65_537 {
        writer.ifd(&page(&[2], &[2], &[8], &[4]), |end| end);
    }
    assert!(refusal(writer.bytes).await.contains("more than 65536 pages is not supported"));
}

#[tokio::test]
async fn a_page_unlike_the_first_is_an_error_that_names_it() {
    let mut writer = Writer::new(false, 8);
    for number in 0..3 {
        let height = if number == 2 { [3] } else { [2] };
        writer.ifd(&page(&height, &[2], &[8], &[6]), |end| if number == 2 { 0 } else { end });
    }
    let error = refusal(writer.bytes).await;
    assert!(error.contains("page 2: 3×2") && error.contains("2×2"), "{error}");
}

/// A page of one strip of `height × 100` bytes whose compressed bytes are `stored`.
fn deflated(height: u32, stored: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(false, 8);
    let (count, offset) = ([stored.len() as u32], [8 + 2 + 9 * 12 + 4]);
    let height = [height];
    let mut tags = page(&height, &[100], &offset, &count);
    tags[3] = (259, Value::Short(&[8]));
    writer.ifd(&tags, |_| 0);
    writer.bytes.extend(stored);
    writer.bytes
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(9));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn first_block(bytes: Vec<u8>) -> Result<Bytes, SourceError> {
    let reader = memory(bytes);
    let volume = open(reader.clone()).await?;
    read_block(&volume, &*reader, crate::geometry::CellIndex([0; 3])).await
}

#[tokio::test]
async fn deflate_data_of_any_other_length_or_content_is_an_error() {
    let voxels: Vec<u8> = (0..1000u32).map(|value| (value * 7) as u8).collect();
    let whole = zlib(&voxels);
    assert_eq!(first_block(deflated(10, &whole)).await.unwrap(), voxels);
    let mut padded = whole.clone();
    padded.extend([0; 3]);
    assert_eq!(first_block(deflated(10, &padded)).await.unwrap(), voxels);

    let mut broken = whole.clone();
    *broken.last_mut().unwrap() ^= 1;
    let cases = [
        // The last strip may have rows that are not needed, but no other one.
        (deflated(9, &whole), "more than the 900"),
        (deflated(11, &whole), "1000 bytes where 1100"),
        (deflated(10, &whole[..whole.len() - 1]), "ends after"),
        (deflated(10, &whole[..whole.len() / 2]), "ends after"),
        (deflated(10, &broken), "broken deflate data"),
        (deflated(10, b"no zlib stream at all"), "broken deflate data"),
        (deflated(3, &zlib(&vec![0; 20_000_000])[..9000]), "page 0, StripByteCounts: 9000 bytes for only 300"),
        (deflated(10, &zlib(&vec![0; 2_000_000])[..1500]), "more than the 1000"),
        (deflated(1_000_000, &whole), "cannot hold"),
    ];
    for (bytes, expected) in cases {
        let error = first_block(bytes).await.err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains("page 0"), "{error} instead of {expected}");
    }
}

#[tokio::test]
async fn raw_bytes_of_a_wrong_length_are_an_error() {
    let reader = memory(one_page(266, Value::Short(&[1])));
    let volume = open(reader).await.unwrap();
    let block = crate::geometry::CellIndex([0; 3]);
    assert_eq!(volume.decode(block, Bytes::from_static(&[7; 20])).unwrap(), vec![7; 20]);
    for length in [0, 19, 21] {
        assert!(volume.decode(block, Bytes::from(vec![7; length])).is_err());
    }
    assert!(volume.decode(crate::geometry::CellIndex([1, 0, 0]), Bytes::from_static(&[7; 20])).is_err());
    assert!(volume.locate(crate::geometry::CellIndex([0, 0, 1])).await.is_err());
}

/// Valid files small enough to be changed at random.
fn seeds() -> Vec<Vec<u8>> {
    let voxels: Vec<u8> = (0..1000u32).map(|value| (value * 7) as u8).collect();
    let mut files = vec![deflated(10, &zlib(&voxels)), one_page(266, Value::Short(&[1]))];
    for big_endian in [false, true] {
        let mut writer = Writer::new(big_endian, 8 + 60);
        for number in 0..5u32 {
            if number != 0 || !big_endian {
                writer.bytes.extend([number as u8; 60]);
            } else {
                writer.bytes.extend([0; 60]);
            }
            let offset = [writer.here() - 60, writer.here() - 30];
            let mut tags = page(&[6], &[10], &offset, &[30, 30]);
            tags[7] = (278, Value::Long(&[3]));
            let page_number = [number as u16, 5];
            tags.push((297, Value::Short(&page_number)));
            writer.ifd(&tags, |end| if number == 4 { 0 } else { end + 60 });
        }
        files.push(writer.bytes);
        let text = "ImageJ=1.52p\nimages=3\nslices=3\nunit=nm\nspacing=2\nmin=1\nmax=9\n";
        let mut writer = Writer::new(big_endian, 8);
        let mut tags = page(&[6], &[10], &[300], &[60]);
        tags.push((270, Value::Text(text)));
        tags.push((282, Value::Rational(1, 8)));
        tags.push((283, Value::Rational(1, 8)));
        writer.ifd(&tags, |_| 0);
        writer.bytes.resize(300 + 180, 9);
        files.push(writer.bytes);
    }
    files
}

/// Opens, reads up to 64 blocks, and checks that work stays within bounds.
async fn exercise(bytes: Vec<u8>, front: usize) {
    let total = bytes.len() as u64;
    let start = Bytes::copy_from_slice(&bytes[..front.min(bytes.len())]);
    let reader = memory(bytes);
    if let Ok(volume) = Volume::open(ReadAhead::from(reader.clone(), start), Reading::default()).await {
        let grid = volume.grid().unwrap();
        assert!(!grid.shape.0.contains(&0) && !grid.cell.0.contains(&0));
        for block in grid.cells_in(&grid.shape.region()).take(64) {
            if let Ok(voxels) = read_block(&volume, &*reader, block).await {
                let expected = grid.region(block).shape().bytes(volume.description.dtype.size());
                assert_eq!(Some(voxels.len() as u64), expected);
                // Deflate makes at most 1032 bytes of one, so no more than this can be true.
                assert!(voxels.len() as u64 <= total * 1040);
            }
        }
    }
    assert!(reader.count() <= 2000, "{} requests", reader.count());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(2000)))]

    #[test]
    fn changed_files_are_read_or_refused_within_bounds(
        seed in 0..6usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        keep in 0.0..1.3f64,
        front in 8..2000usize,
    ) {
        let mut bytes = seeds().swap_remove(seed);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(((bytes.len() as f64 * keep) as usize).max(1));
        run(exercise(bytes, front));
    }

    #[test]
    fn random_bytes_after_a_header_are_read_or_refused_within_bounds(
        header in prop::sample::select(vec![
            &b"II\x2a\0\x08\0\0\0"[..], b"MM\0\x2a\0\0\0\x08", b"II\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0",
            b"MM\0\x2b\0\x08\0\0\0\0\0\0\0\0\0\x10",
        ]),
        entries in prop::collection::vec((prop::sample::select(TAGS.to_vec()), 1..6u16, 0..9u32, any::<u32>()), 0..20),
        rest in prop::collection::vec(any::<u8>(), 0..600),
        front in 8..2000usize,
    ) {
        let mut writer = Writer::at(header[0] == b'M', 0);
        writer.bytes.extend(header);
        writer.short(entries.len() as u16);
        for (tag, kind, count, value) in entries {
            writer.short(tag);
            writer.short(kind);
            writer.long(count);
            writer.long(if value % 2 == 0 { value % 1024 } else { value });
        }
        writer.bytes.extend(rest);
        run(exercise(writer.bytes, front));
    }

    #[test]
    fn any_description_is_read_or_refused(text in ".{0,200}", keys in prop::sample::subsequence(WORDS.to_vec(), 0..12)) {
        for text in [format!("ImageJ={}{text}", keys.concat()), format!("<OME>{}{text}", keys.concat()), format!("{{{text}")] {
            let _ = super::super::description::parse(&text, [Some([0.0, 1.0]), None], [3, 4]);
        }
    }
}

const TAGS: [u16; 12] = [256, 257, 258, 259, 262, 270, 273, 278, 279, 322, 323, 324];
const WORDS: [&str; 12] = [
    "\nimages=",
    "99999999999999999999",
    "\nframes=1",
    "<Pixels ",
    "SizeC=\"",
    "µ",
    "\" SizeZ='",
    ">",
    "\nspacing=",
    "<TiffData ",
    "=",
    "/",
];

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
}
