mod hostile;
mod samples;
mod slice;
pub(crate) mod writer;

use super::*;
use crate::dm::encoding::{Scalar, TagEncoding};
use crate::dm::tags::TagData;
use crate::dtype::DataType;
use writer::{File, TagTree};

/// Feeds the windows that are asked for, of `ahead` bytes; gives the tags and how many windows it took.
pub(crate) fn walk(file: &[u8], ahead: u64) -> Result<(Tags, usize), DmError> {
    let total = file.len() as u64;
    let mut walker = Walker::new(total);
    let mut windows = 0;
    let mut step = Step::Need { offset: 0, length: 1 };
    while let Step::Need { offset, length } = step {
        assert!(length > 0 && offset + length <= total.max(1), "{offset} + {length} of {total}");
        let end = (offset + length.max(ahead)).min(total);
        step = walker.feed(offset, &file[offset as usize..end as usize])?;
        windows += 1;
        assert!(windows <= 1 + file.len(), "no progress");
    }
    Ok((walker.finish()?, windows))
}

fn image(file: &[u8]) -> Result<DmImage, DmError> {
    DmImage::find(&walk(file, u64::MAX / 4)?.0)
}

fn pixels() -> Vec<u8> {
    (1..=24).collect()
}

/// A file of one image of 4 × 3 pixels of 16 bits behind a thumbnail, in every version and byte order.
fn files() -> Vec<File> {
    let forms = [(DmVersion::Dm3, false), (DmVersion::Dm3, true), (DmVersion::Dm4, false), (DmVersion::Dm4, true)];
    forms
        .map(|(version, big_endian)| File { version, big_endian, root: writer::slice(&[4, 3], 10, pixels(), 16) })
        .into()
}

#[test]
fn the_image_is_found_behind_the_thumbnail_in_both_versions_and_byte_orders() {
    for file in files() {
        let bytes = file.bytes();
        let image = image(&bytes).unwrap();
        assert_eq!((image.number, image.pixel, image.shape.as_slice()), (1, DataType::U16, [3, 4].as_slice()));
        assert_eq!(image.big_endian, file.big_endian);
        assert_eq!(bytes[image.offset as usize..][..image.length as usize], pixels());
        assert_eq!(image.display, Some((65.0, 123.0)));
        let scales: Vec<_> = image.calibrations.iter().flatten().map(|axis| axis.nanometres().unwrap()).collect();
        assert_eq!(scales, [(7.99825, 0.0), (7.99825, 0.0)]);
        assert_eq!(image.section.unwrap().nanometres(), Some((50.0, 0.0)));
    }
}

#[test]
fn the_size_of_the_windows_changes_nothing() {
    for file in files() {
        let bytes = file.bytes();
        let whole = walk(&bytes, u64::MAX / 4).unwrap().0;
        for ahead in [1, 2, 7, 64, 500] {
            assert_eq!(walk(&bytes, ahead).unwrap().0, whole);
        }
    }
}

#[test]
fn bytes_that_were_not_asked_for_change_nothing() {
    let bytes = files().remove(0).bytes();
    let mut walker = Walker::new(bytes.len() as u64);
    let need = Step::Need { offset: 0, length: 4 };
    assert_eq!(walker.feed(5, &bytes[5..]), Ok(need));
    assert_eq!(walker.feed(0, &[]), Ok(need));
    assert!(walker.finish().is_err(), "nothing was read");
}

#[test]
fn the_order_of_tags_does_not_matter() {
    for file in files() {
        let expected = image(&file.bytes()).unwrap();
        let mut turned = file;
        turned.root.reverse();
        let found = image(&turned.bytes()).unwrap();
        assert_eq!(DmImage { offset: expected.offset, ..found }, expected);
    }
}

#[test]
fn without_a_source_list_the_first_image_that_is_no_thumbnail_is_taken() {
    for file in files() {
        let mut file = file;
        file.root.remove("ImageSourceList");
        assert_eq!(image(&file.bytes()).unwrap().number, 1);
        file.root.remove("Thumbnails");
        assert_eq!(image(&file.bytes()).unwrap().number, 1);
    }
}

#[test]
fn types_that_are_no_plain_numbers_are_refused_by_name() {
    for (number, name) in [
        (3, "complex64"),
        (5, "packed complex64"),
        (8, "RGBA"),
        (13, "complex128"),
        (14, "binary"),
        (23, "RGBA"),
        (27, "packed complex64 (half-plane)"),
        (28, "packed complex128 (half-plane)"),
    ] {
        let file = File { root: writer::slice(&[4, 3], number, pixels(), 16), ..files().remove(0) };
        let message = image(&file.bytes()).unwrap_err().to_string();
        let expected = format!("ImageList.1.ImageData.DataType: {name} (pixel type {number}) is not supported");
        assert_eq!(message, expected);
    }
    let file = File { root: writer::slice(&[4, 3], 4, pixels(), 16), ..files().remove(0) };
    assert!(image(&file.bytes()).unwrap_err().to_string().ends_with("pixel type 4 is not supported"));
}

#[test]
fn tags_that_contradict_each_other_are_refused() {
    let data = ["ImageList", "1", "ImageData"];
    let cases: [(&str, TagTree, &str); 5] = [
        ("PixelDepth", TagTree::U32(4), "PixelDepth: 4 bytes, but pixels of type U16 have 2"),
        (
            "Dimensions",
            TagTree::list([TagTree::U32(4), TagTree::U32(4)]),
            "Data: 24 bytes, where [4, 4] pixels of type U16",
        ),
        ("Dimensions", TagTree::list([TagTree::U32(4), TagTree::U32(0)]), "Dimensions.1: is missing, 0 or no number"),
        ("Dimensions", TagTree::list([]), "Dimensions: 0 extents"),
        ("DataType", TagTree::text("10"), "DataType: is missing or no number"),
    ];
    for (name, value, expected) in cases {
        let mut file = files().remove(0);
        *file.root.at(&data).at(&[name]) = value;
        let message = image(&file.bytes()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    let mut file = files().remove(0);
    *file.root.at(&["ImageSourceList", "0", "ImageRef"]) = TagTree::U32(2);
    assert!(image(&file.bytes()).unwrap_err().to_string().contains("ImageRef: names none of the 2 images"));
}

#[test]
fn units_of_length_are_told_apart() {
    let size = |scale: f64, unit: &str| {
        let calibration = Calibration { origin: 0.0, scale, unit: unit.into() };
        calibration.nanometres().map(|(scale, _)| scale)
    };
    assert_eq!(size(0.0069, "\u{b5}m"), Some(6.9));
    assert_eq!(size(0.0069, "\u{3bc}m"), Some(6.9));
    assert_eq!(size(80.0, "\u{c5}"), Some(8.0));
    assert_eq!(size(2.0, "A"), Some(0.2));
    assert_eq!(size(2.0, "pm"), Some(0.002));
    assert_eq!(size(5.0, "nm"), Some(5.0));
    for (scale, unit) in
        [(1.0, ""), (1.0, "1/nm"), (1.0, "eV"), (0.0, "nm"), (-1.0, "nm"), (f64::NAN, "nm"), (1.0, "\u{b5}")]
    {
        assert_eq!(size(scale, unit), None, "{scale} {unit}");
    }
    for thousandths in 1..=20_000 {
        assert_eq!(size(f64::from(thousandths) / 1e3, "\u{b5}m"), Some(f64::from(thousandths)));
    }
    let shifted = Calibration { origin: 2.0, scale: 3.0, unit: "nm".into() };
    assert_eq!(shifted.nanometres(), Some((3.0, -6.0)));
}

#[test]
fn equal_names_are_all_told_and_in_no_time_however_many_they_are() {
    let told = |names: Vec<String>| {
        let tags = names.into_iter().zip(0..).map(|(name, number)| (name, TagTree::U32(number))).collect();
        let file = File { root: TagTree::Group(tags), ..files().remove(0) };
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(walk(&file.bytes(), 1 << 20).unwrap().0.to_json()));
        receiver.recv_timeout(std::time::Duration::from_secs(60)).unwrap()
    };
    let few = ["a", "a", "b", "a'2", "a", "a'3", "a'2", ""].map(str::to_owned);
    let expected = serde_json::json!({
        "a": 0, "a'2": 1, "b": 2, "a'2'2": 3, "a'3": 4, "a'3'2": 5, "a'2'3": 6, "0": 7
    });
    assert_eq!(told(few.into()), expected);
    let many = told(vec!["a".into(); 1 << 14]);
    assert_eq!(many.as_object().unwrap().len(), 1 << 14);
    assert_eq!(many["a'16384"], (1 << 14) - 1);
    // Names that are there already are where most time might be lost.
    let taken = (2..1 << 13).map(|number| format!("a'{number}")).chain(vec!["a".into(); 1 << 13]).collect();
    assert_eq!(told(taken).as_object().unwrap().len(), (1 << 14) - 2);
}

#[test]
fn a_value_reads_as_the_number_it_is() {
    let data = |encoding, payload: &[u8], big_endian| TagData {
        encoding,
        big_endian,
        offset: 0,
        length: payload.len() as u64,
        payload: Some(bytes::Bytes::copy_from_slice(payload)),
    };
    let i16 = data(TagEncoding::Scalar(Scalar::I16), &[0xff, 0xfe], true);
    assert_eq!((i16.number(), i16.unsigned(), i16.text()), (Some(-2.0), None, None));
    let u64 = data(TagEncoding::Scalar(Scalar::U64), &u64::MAX.to_le_bytes(), false);
    assert_eq!(u64.unsigned(), Some(u64::MAX));
    let f32 = data(TagEncoding::Scalar(Scalar::F32), &0.007_998_25_f32.to_be_bytes(), true);
    assert_eq!((f32.number(), f32.unsigned()), (Some(0.007_998_25), None));
    let text = data(TagEncoding::Array(Box::new(TagEncoding::Scalar(Scalar::U16)), 2), &[0xb5, 0, 0x6d, 0], false);
    assert_eq!((text.text().as_deref(), text.number()), (Some("\u{b5}m"), None));
    assert_eq!(data(TagEncoding::Text(2), &[0xb5, 0x6d], false).text().as_deref(), Some("\u{b5}m"));
}
