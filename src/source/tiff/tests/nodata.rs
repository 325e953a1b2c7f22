//! Strips and tiles that were never written.

use super::super::nodata::value;
use super::support::{Value, Writer, assemble, memory, open, page, read_block};
use crate::dtype::DataType;
use crate::geometry::CellIndex;
use crate::store::past_caches;

/// How a page of 4 × 2 is divided: by its rows or, where these are none, by tiles.
type Division<'a> = (&'a [u16], &'a [u32], &'a [u32]);

/// A file of pages of 4 × 2 bytes, each with its division and what stands for voxels that were never written. The bytes at 8 to 12
/// are 1, 2, 3, 4.
fn file(pages: &[(Division<'_>, Option<&str>)]) -> Vec<u8> {
    let mut writer = Writer::new(false, 12);
    writer.bytes.extend([1, 2, 3, 4]);
    for (number, ((rows, offsets, counts), nodata)) in pages.iter().enumerate() {
        let mut tags = page(&[4], &[2], offsets, counts);
        if let [rows] = rows {
            tags[7] = (278, Value::Short(std::slice::from_ref(rows)));
        } else {
            tags.retain(|(tag, _)| !matches!(tag, 273 | 278 | 279));
            tags.extend([(322, Value::Long(&[2])), (323, Value::Long(&[2]))]);
            tags.extend([(324, Value::Long(offsets)), (325, Value::Long(counts))]);
        }
        tags.extend(nodata.map(|text| (42113, Value::Text(text))));
        writer.ifd(&tags, |end| if number + 1 == pages.len() { 0 } else { end });
    }
    writer.bytes
}

async fn voxels(bytes: Vec<u8>) -> Vec<u8> {
    let reader = memory(bytes);
    let volume = past_caches(open(reader.clone())).await.unwrap();
    assemble(&volume, &*reader).await.unwrap()
}

#[tokio::test]
async fn what_was_never_written_is_what_the_file_says_stands_for_it() {
    for rows in [&[2u16][..], &[]] {
        let half: Division<'_> = (rows, &[8, 0], &[4, 0]);
        let none: Division<'_> = (rows, &[0, 0], &[0, 0]);
        for (text, fill) in [(Some("255"), 255), (Some(" 7.0 "), 7), (None, 0), (Some("-9999"), 0), (Some("nan"), 0)] {
            let expected = [1, 2, 3, 4, fill, fill, fill, fill];
            assert_eq!(voxels(file(&[(half, text)])).await, expected, "{text:?} {rows:?}");
            let expected = [expected, [fill; 8]].concat();
            assert_eq!(voxels(file(&[(half, text), (none, text)])).await, expected, "{text:?} {rows:?}");
        }
    }
    assert_eq!(voxels(file(&[((&[4], &[0], &[0]), Some("9"))])).await, [9; 8]);
}

#[tokio::test]
async fn a_page_of_which_nothing_was_written_is_no_page_of_another_value() {
    let (half, none): (Division<'_>, Division<'_>) = ((&[2], &[8, 0], &[4, 0]), (&[2], &[0, 0], &[0, 0]));
    let reader = memory(file(&[(half, Some("255")), (none, None)]));
    let volume = open(reader.clone()).await.unwrap();
    for row in [0, 1] {
        let block = CellIndex([1, row, 0]);
        if volume.grid().unwrap().contains(block) {
            let error = read_block(&volume, &*reader, block).await.unwrap_err().to_string();
            assert!(error.contains("is of another GDAL_NODATA than page 0"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_page_whose_only_strip_was_never_written_is_an_error_of_its_own() {
    let (whole, none): (Division<'_>, Division<'_>) = ((&[4], &[4], &[8]), (&[4], &[0], &[0]));
    let error = past_caches(open(memory(file(&[(none, None)])))).await.err().unwrap().to_string();
    for part in ["page 0, StripOffsets", "nothing was stored", "gdal_translate"] {
        assert!(error.contains(part), "{error}");
    }
    let reader = memory(file(&[(whole, None), (none, None), (whole, None)]));
    let volume = past_caches(open(reader.clone())).await.unwrap();
    let read = |z| past_caches(read_block(&volume, &*reader, CellIndex([z, 0, 0])));
    assert!(read(0).await.is_ok() && read(2).await.is_ok());
    assert!(read(1).await.unwrap_err().to_string().contains("nothing was stored"));
}

#[test]
fn a_number_stands_for_what_was_never_written_where_the_type_has_it() {
    for (text, dtype, expected) in [
        ("255", DataType::U8, Some(vec![255])),
        ("256", DataType::U8, None),
        ("-1", DataType::U8, None),
        ("1.5", DataType::U8, None),
        ("-1", DataType::I8, Some(vec![255])),
        ("-9999", DataType::I16, Some((-9999i16).to_le_bytes().to_vec())),
        ("-9999.0", DataType::I32, Some((-9999i32).to_le_bytes().to_vec())),
        ("65535", DataType::U16, Some(vec![255; 2])),
        ("18446744073709551615", DataType::U64, Some(vec![255; 8])),
        ("-9223372036854775808", DataType::I64, Some(i64::MIN.to_le_bytes().to_vec())),
        ("1e30", DataType::I64, None),
        ("nan", DataType::I64, None),
        ("0,5", DataType::F32, Some(0.5f32.to_le_bytes().to_vec())),
        ("-3.40282346638529e+38", DataType::F32, Some(f32::MIN.to_le_bytes().to_vec())),
        ("1e300", DataType::F32, None),
        ("1e300", DataType::F64, Some(1e300f64.to_le_bytes().to_vec())),
        ("none", DataType::F64, None),
        ("", DataType::U8, None),
    ] {
        let found = value(text, dtype).map(|fill| fill.as_le_bytes().to_vec());
        assert_eq!(found, expected, "{text} {dtype}");
    }
    let nan = value("nan", DataType::F32).unwrap();
    assert!(f32::from_le_bytes(nan.as_le_bytes().try_into().unwrap()).is_nan());
}
