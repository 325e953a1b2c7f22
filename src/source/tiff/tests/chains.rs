//! Chains of IFDs with pages that cannot be read, and with ends that are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::Reading;
use super::super::axes::Choice;
use super::super::read::{ReadAhead, ReadAt};
use super::super::volume::{FRONT, Volume};
use super::support::{Counted, Value, Writer, memory, page, read_block};
use crate::geometry::CellIndex;
use crate::source::SourceError;
use crate::store::{healed, past_caches};

/// Bytes of an IFD of [`chain`].
const IFD: usize = 2 + 9 * 12 + 4;
/// Entries of it.
const WIDTH: usize = 0;
const HEIGHT: usize = 1;
const BITS: usize = 2;
const OFFSETS: usize = 5;

/// A file of so many pages of 4×5 voxels, those of page k all k + 1. All IFDs stand before all voxels.
fn chain(pages: usize) -> Vec<u8> {
    let mut writer = Writer::new(false, 8);
    for number in 0..pages {
        let offset = [(8 + IFD * pages + 20 * number) as u32];
        let last = number + 1 == pages;
        writer.ifd(&page(&[4], &[5], &offset, &[20]), |end| if last { 0 } else { end });
    }
    (0..pages).for_each(|number| writer.bytes.extend([number as u8 + 1; 20]));
    writer.bytes
}

fn put(bytes: &mut [u8], page: usize, entry: usize, value: u32) {
    let at = 8 + IFD * page + 2 + 12 * entry + 8;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn link(bytes: &mut [u8], page: usize, next: usize) {
    let at = 8 + IFD * (page + 1) - 4;
    bytes[at..at + 4].copy_from_slice(&(next as u32).to_le_bytes());
}

async fn open(reader: Arc<dyn ReadAt>, reading: Reading<'_>) -> Result<Volume, SourceError> {
    let front = reader.read_at(0..FRONT.min(reader.total())).await?;
    Volume::open(ReadAhead::from(reader, front), reading).await
}

/// The voxel of each plane, or else why there is none.
async fn planes(volume: &Volume, reader: &dyn ReadAt) -> Vec<Result<u8, String>> {
    let mut found = Vec::new();
    for z in 0..volume.grid().unwrap().shape.0[0] {
        let block = read_block(volume, reader, CellIndex([z, 0, 0])).await;
        found.push(block.map_err(|error| error.to_string()).map(|voxels| {
            assert!(voxels.len() == 20 && voxels.iter().all(|voxel| *voxel == voxels[0]));
            voxels[0]
        }));
    }
    found
}

/// What is shown of a file; the error is why nothing is.
async fn shown(bytes: Vec<u8>, reading: Reading<'_>) -> Result<Vec<Option<u8>>, String> {
    let reader = memory(bytes);
    let volume = healed(|| open(reader.clone(), reading)).await.map_err(|error| error.to_string())?;
    Ok(planes(&volume, &*reader).await.into_iter().map(Result::ok).collect())
}

const PLAIN: Reading<'_> = Reading {
    missing: [None; 3],
    choice: Choice { z: None, channel: None },
    show_cut: false,
    section: None,
    pages: None,
    folder: None,
};
const CUT: Reading<'_> = Reading { show_cut: true, ..PLAIN };

#[tokio::test]
async fn a_page_that_cannot_be_read_is_an_error_and_every_other_one_is_right() {
    for (entry, value, reason) in [
        (
            OFFSETS,
            0x7fff_ffff,
            "page 3, StripOffsets: strip or tile 0 (20 bytes at 2147483647) does not lie in the file",
        ),
        (WIDTH, 0, "page 3, ImageWidth: is missing or 0"),
        (BITS, 24, "page 3, BitsPerSample"),
        (HEIGHT, 3, "page 3: 3×5 uint8, unlike the 4×5 uint8"),
    ] {
        let mut bytes = chain(6);
        put(&mut bytes, 3, entry, value);
        for reading in [PLAIN, CUT] {
            let found = shown(bytes.clone(), reading).await.unwrap();
            assert_eq!(found, [Some(1), Some(2), Some(3), None, Some(5), Some(6)], "{reason}");
        }
        let reader = memory(bytes);
        let volume = healed(|| open(reader.clone(), PLAIN)).await.unwrap();
        let error = planes(&volume, &*reader).await[3].clone().unwrap_err();
        assert!(error.starts_with("memory.tif: ") && error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_page_is_broken_only_past_every_cache_and_no_longer_than_the_file_is() {
    let mut bad = chain(6);
    put(&mut bad, 3, OFFSETS, 0x7fff_ffff);
    let (good, is_bad) = (chain(6), Arc::new(AtomicBool::new(true)));
    let now = is_bad.clone();
    let reader = Counted::new(good.len() as u64, move |range| {
        let bytes = if now.load(Ordering::Relaxed) { &bad } else { &good };
        bytes[range.start as usize..range.end as usize].to_vec()
    });
    assert!(open(reader.clone(), PLAIN).await.is_err(), "one answer is not believed");
    let volume = past_caches(open(reader.clone(), PLAIN)).await.unwrap();
    assert!(planes(&volume, &*reader).await[3].is_err());
    is_bad.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(planes(&volume, &*reader).await[3], Ok(4));
}

#[tokio::test]
async fn a_file_that_is_cut_is_refused_or_its_whole_pages_are_shown() {
    let whole = chain(6);
    for (bytes, pages) in [(whole[..whole.len() - 30].to_vec(), 4), (whole[..8 + 6 * IFD + 20].to_vec(), 1), {
        let mut bytes = chain(6);
        link(&mut bytes, 4, 5000);
        (bytes, 5)
    }] {
        let error = shown(bytes.clone(), PLAIN).await.unwrap_err();
        let expected =
            format!("so page {pages} is the first one missing; `truncated = \"show\"` shows those before it");
        assert!(error.contains(&expected), "{error}");
        assert_eq!(shown(bytes, CUT).await.unwrap().len(), pages);
    }
}

#[tokio::test]
async fn what_stands_behind_the_last_page_is_left_out() {
    let all: Vec<Option<u8>> = (1..=6).map(Some).collect();
    let whole = chain(6);
    let end = whole.len();
    // An IFD of a smaller page, of a mask, of text alone, and one without entries.
    let smaller = |height: u32, width: u32, next: u32| {
        let mut writer = Writer::at(false, 0);
        writer.ifd(&page(&[height], &[width], &[8], &[height * width]), |_| next);
        writer.bytes
    };
    let mut mask = Writer::at(false, 0);
    let mut tags = page(&[4], &[5], &[8], &[20]);
    tags.insert(0, (254, Value::Long(&[4])));
    mask.ifd(&tags, |_| 0);
    let mut text = Writer::at(false, 0);
    text.ifd(&[(305, Value::Text("abc"))], |_| 0);
    let second = (end + smaller(3, 4, 0).len()) as u32;
    for (what, tail) in [
        ("nothing", vec![]),
        ("no entries", vec![0; 6]),
        ("text", text.bytes),
        ("a mask", mask.bytes),
        ("a thumbnail", smaller(2, 3, 0)),
        ("a pyramid", [smaller(3, 4, second), smaller(2, 2, 0)].concat()),
    ] {
        let mut bytes = whole.clone();
        link(&mut bytes, 5, end);
        bytes.extend(tail);
        assert_eq!(shown(bytes, PLAIN).await.unwrap(), all, "{what}");
    }
    // A mask in the middle of all.
    let mut bytes = whole.clone();
    let mut tags = page(&[4], &[5], &[8], &[20]);
    tags.insert(0, (254, Value::Long(&[4])));
    link(&mut bytes, 2, end);
    let mut writer = Writer { bytes, big_endian: false, base: 0 };
    writer.ifd(&tags, |_| 8 + 3 * IFD as u32);
    assert_eq!(shown(writer.bytes, PLAIN).await.unwrap(), all);
}

#[tokio::test]
async fn an_end_of_zeros_with_space_for_pages_is_that_of_a_file_that_is_not_there_yet() {
    let mut bytes = chain(6);
    let end = bytes.len();
    link(&mut bytes, 5, end);
    bytes.resize(end + 200, 0);
    let error = shown(bytes, PLAIN).await.unwrap_err();
    assert!(error.contains("page 6, IFD: 0 entries") && error.contains("`truncated = \"show\"`"), "{error}");
}

#[tokio::test]
async fn a_chain_that_comes_back_is_shown_up_to_there_where_that_is_asked_for() {
    let mut bytes = chain(6);
    link(&mut bytes, 5, 8);
    let error = shown(bytes.clone(), PLAIN).await.unwrap_err();
    assert!(error.contains("cyclic") && error.contains("`truncated = \"show\"`"), "{error}");
    assert_eq!(shown(bytes, CUT).await.unwrap().len(), 6);
}

#[tokio::test]
async fn as_many_pages_of_another_kind_as_there_are_of_the_first_are_no_damage() {
    // Every second one has fewer rows.
    let mut bytes = chain(6);
    [1, 3, 5].into_iter().for_each(|number| put(&mut bytes, number, HEIGHT, 3));
    let error = shown(bytes, PLAIN).await.unwrap_err();
    assert!(error.contains("page 1: 3×5"), "{error}");
    // One picture, and smaller ones all of one size.
    let mut bytes = chain(4);
    for number in 1..4 {
        put(&mut bytes, number, HEIGHT, 3);
        put(&mut bytes, number, WIDTH, 4);
    }
    assert!(shown(bytes, PLAIN).await.unwrap_err().contains("page 1: 3×4"));
}

/// A file of which the first page has these texts; page k has k + 1.
fn described(texts: &[&str], pages: u32) -> Vec<u8> {
    let mut writer = Writer::new(false, 8);
    for number in 0..pages {
        let offset = [4000 + 20 * number];
        let mut tags = page(&[4], &[5], &offset, &[20]);
        if number == 0 {
            tags.extend(texts.iter().map(|text| (270, Value::Text(text))));
        }
        writer.ifd(&tags, |end| if number + 1 == pages { 0 } else { end });
    }
    writer.bytes.resize(4000, 0);
    (0..pages).for_each(|number| writer.bytes.extend([number as u8 + 1; 20]));
    writer.bytes
}

#[tokio::test]
async fn what_any_of_several_descriptions_says_is_heard() {
    let shape = "{\"shape\": [2, 3, 4, 5], \"axes\": \"CZYX\"}";
    let channel = Reading { choice: Choice { z: None, channel: Some(1) }, ..PLAIN };
    for texts in [["my acquisition", shape], [shape, "my acquisition"]] {
        let error = shown(described(&texts, 6), PLAIN).await.unwrap_err();
        assert!(error.contains("`channel = N`"), "{error}");
        assert_eq!(shown(described(&texts, 6), channel).await.unwrap(), [Some(4), Some(5), Some(6)]);
    }
}

#[tokio::test]
async fn the_planes_of_an_ome_file_are_at_their_places_whatever_the_order_of_its_pages() {
    let ome = |planes: &str| format!("<OME UUID=\"urn:uuid:A\"><Pixels SizeZ=\"3\">{planes}</Pixels></OME>");
    let backwards: String = (0..3).map(|z| format!("<TiffData FirstZ=\"{z}\" IFD=\"{}\"/>", 2 - z)).collect();
    assert_eq!(shown(described(&[&ome(&backwards)], 3), PLAIN).await.unwrap(), [Some(3), Some(2), Some(1)]);
    let later = ome("<TiffData IFD=\"1\" PlaneCount=\"3\"/>");
    assert_eq!(shown(described(&[&later], 4), PLAIN).await.unwrap(), [Some(2), Some(3), Some(4)]);
    let error = shown(described(&[&later], 3), PLAIN).await.unwrap_err();
    assert!(error.contains("speaks of page 3, of 3 in the file"), "{error}");
    // Under another UUID it is this file by its name.
    let of = |name: &str| {
        let plane =
            |z| format!("<TiffData FirstZ=\"{z}\" IFD=\"{z}\"><UUID FileName=\"{name}\">urn:uuid:B</UUID></TiffData>");
        ome(&(0..3).map(plane).collect::<String>())
    };
    assert_eq!(shown(described(&[&of("memory.tif")], 3), PLAIN).await.unwrap().len(), 3);
    let error = shown(described(&[&of("other.tif")], 3), PLAIN).await.unwrap_err();
    assert!(error.contains("\"other.tif\"") && error.contains("give it that name"), "{error}");
}

#[tokio::test]
async fn a_description_of_no_type_of_text_is_left_out() {
    let mut bytes = described(&["ImageJ=1.53t\nimages=1\nunit=nm\nmin=1\nmax=9\n"], 1);
    // UNDEFINED may be text, fractions are none.
    for (kind, window) in [(7, Some((1.0, 9.0))), (5, None)] {
        let entry = 8 + 2 + 9 * 12;
        bytes[entry + 2..entry + 4].copy_from_slice(&u16::to_le_bytes(kind));
        let reader = memory(bytes.clone());
        let volume = healed(|| open(reader.clone(), PLAIN)).await.unwrap();
        assert_eq!(volume.description.window, window);
    }
}

#[tokio::test]
async fn a_page_of_too_many_strips_is_refused_with_what_makes_fewer() {
    let mut bytes = chain(1);
    let count = 8 + 2 + 12 * OFFSETS + 4;
    bytes[count..count + 4].copy_from_slice(&((1u32 << 20) + 1).to_le_bytes());
    let error = shown(bytes, PLAIN).await.unwrap_err();
    assert!(
        error.contains(
            "1048577 strips or tiles of a page, more than 1048576, is not supported; store fewer of them, by `tiffcp "
        ),
        "{error}"
    );
}
