//! Pages that are copies of others, or that are taken for such, and descriptions that a copy has kept.

use super::super::volume::Volume;
use super::support::{Value, Writer, assemble, memory, open, page};
use crate::geometry::Shape;
use crate::source::SourceError;
use crate::store::past_caches;

/// Rows and columns of a page, and its further tags.
type PageTags<'a> = ([u32; 2], Vec<(u16, Value<'a>)>);

/// A file of pages of so many rows and columns, each with further tags, whose voxels are of the page's number from 1 on.
fn file(pages: &[PageTags<'_>]) -> Vec<u8> {
    let size = |[height, width]: [u32; 2]| height * width;
    let all: u32 = pages.iter().map(|(extents, _)| size(*extents)).sum();
    let mut writer = Writer::new(false, 8 + all);
    for (number, (extents, _)) in pages.iter().enumerate() {
        writer.bytes.resize(writer.bytes.len() + size(*extents) as usize, number as u8 + 1);
    }
    let mut start = 8;
    for (number, (extents, more)) in pages.iter().enumerate() {
        let ([height, width], offset, count) = (extents.map(|extent| [extent]), [start], [size(*extents)]);
        let mut tags = page(&height, &width, &offset, &count);
        for (tag, value) in more {
            tags.push((
                *tag,
                match value {
                    Value::Short(numbers) => Value::Short(numbers),
                    Value::Long(numbers) => Value::Long(numbers),
                    Value::Text(text) => Value::Text(text),
                    Value::Rational(above, below) => Value::Rational(*above, *below),
                },
            ));
        }
        let is_last = number + 1 == pages.len();
        writer.ifd(&tags, |end| if is_last { 0 } else { end });
        start += size(*extents);
    }
    writer.bytes
}

async fn opened(bytes: Vec<u8>) -> Result<(Volume, Vec<u8>), SourceError> {
    let reader = memory(bytes);
    let volume = past_caches(open(reader.clone())).await?;
    let voxels = assemble(&volume, &*reader).await?;
    Ok((volume, voxels))
}

#[tokio::test]
async fn pages_that_are_all_marked_as_reduced_copies_are_the_pages() {
    let new: fn() -> (u16, Value<'static>) = || (254, Value::Long(&[1]));
    let old: fn() -> (u16, Value<'static>) = || (255, Value::Short(&[2]));
    for mark in [new, old] {
        let marked = |extents: [u32; 2]| (extents, vec![mark()]);
        let plain = |extents: [u32; 2]| (extents, Vec::new());
        for (pages, expected) in [
            (vec![marked([4, 6])], ([1, 4, 6], vec![1])),
            (vec![marked([4, 6]), marked([4, 6])], ([2, 4, 6], vec![1, 2])),
            // The coarser levels of what is the finest one now.
            (vec![marked([4, 6]), marked([2, 3])], ([1, 4, 6], vec![1])),
            (vec![plain([4, 6]), marked([4, 6]), plain([4, 6])], ([2, 4, 6], vec![1, 3])),
            (vec![marked([4, 6]), plain([4, 6])], ([1, 4, 6], vec![2])),
            ((0..12).map(|_| marked([4, 6])).collect(), ([12, 4, 6], (1..=12).collect())),
        ] {
            let (volume, voxels) = opened(file(&pages)).await.unwrap();
            assert_eq!(volume.grid().unwrap().shape, Shape(expected.0));
            let numbers: Vec<u8> = voxels.chunks_exact(24).map(|plane| plane[0]).collect();
            assert_eq!(numbers, expected.1);
        }
    }
    let masks = [([4, 6], vec![(254, Value::Long(&[4]))])];
    let error = opened(file(&masks)).await.err().unwrap().to_string();
    assert!(error.contains("reduced copies or masks is not supported"), "{error}");
}

#[tokio::test]
async fn a_first_page_that_lacks_a_row_is_no_smaller_picture_of_the_others() {
    let plain = |extents: [u32; 2]| (extents, Vec::new());
    for first in [[39, 50], [40, 49], [21, 26]] {
        let pages: Vec<_> = std::iter::once(plain(first)).chain((0..5).map(|_| plain([40, 50]))).collect();
        let error = opened(file(&pages)).await.err().unwrap().to_string();
        assert!(error.contains("page 1: 40×50 uint8, unlike the"), "{error}");
    }
    for first in [[20, 25], [20, 50], [4, 5]] {
        let pages: Vec<_> = std::iter::once(plain(first)).chain((0..5).map(|_| plain([40, 50]))).collect();
        assert_eq!(opened(file(&pages)).await.unwrap().0.grid().unwrap().shape, Shape([5, 40, 50]));
    }
}

#[tokio::test]
async fn ome_xml_of_another_image_than_the_pages_says_no_size_of_a_voxel() {
    for (extents, expected) in [
        ("SizeX=\"50\" SizeY=\"40\"", [Some(40.0), Some(4.0), Some(4.0)]),
        ("SizeX=\"100\" SizeY=\"80\"", [None; 3]),
        ("SizeX=\"50\" SizeY=\"80\"", [None; 3]),
        ("", [Some(40.0), Some(4.0), Some(4.0)]),
    ] {
        let text = format!(
            "<OME><Image><Pixels DimensionOrder=\"XYZCT\" {extents} SizeZ=\"2\" SizeC=\"1\" SizeT=\"1\" \
             PhysicalSizeX=\"0.004\" PhysicalSizeY=\"0.004\" PhysicalSizeZ=\"0.04\"><TiffData/></Pixels></Image></OME>"
        );
        let pages = [([40, 50], vec![(270, Value::Text(&text))]), ([40, 50], Vec::new())];
        let (volume, voxels) = opened(file(&pages)).await.unwrap();
        assert_eq!(volume.voxel_size, expected, "{extents}");
        assert_eq!(voxels, [[1; 2000], [2; 2000]].concat());
    }
}

#[tokio::test]
async fn imagejs_lines_without_a_unit_leave_the_resolution_to_its_own_tag() {
    let cm: &[u16] = &[3];
    for (lines, unit, per_unit, expected) in [
        ("ImageJ=\nimages=1\n", Some(cm), 2_500_000, Some(4.0)),
        ("ImageJ=\nimages=1\n", Some(&[5][..]), 250, Some(4.0)),
        ("ImageJ=\nimages=1\n", Some(&[2][..]), 72, None),
        ("ImageJ=\nimages=1\n", Some(&[1][..]), 2_500_000, None),
        // Where there is no such tag nobody says what the numbers are per.
        ("ImageJ=\nimages=1\n", None, 2_500_000, None),
        ("ImageJ=\nimages=1\nunit=pixel\n", Some(cm), 2_500_000, None),
        ("ImageJ=\nimages=1\nunit=nm\n", Some(cm), 2, Some(0.5)),
    ] {
        let mut tags = vec![(270, Value::Text(lines))];
        tags.extend([(282, Value::Rational(per_unit, 1)), (283, Value::Rational(per_unit, 1))]);
        tags.extend(unit.map(|unit| (296, Value::Short(unit))));
        let (volume, _) = opened(file(&[([4, 5], tags)])).await.unwrap();
        assert_eq!(volume.voxel_size, [None, expected, expected], "{lines:?} {unit:?}");
    }
}
