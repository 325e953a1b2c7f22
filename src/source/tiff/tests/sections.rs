//! Files that hold a plane each of a volume: which of their pages it is.

use super::super::read::{ReadAhead, ReadAt};
use super::super::volume::{FRONT, Volume};
use super::super::{Reading, Section};
use super::support::{Value, Writer, assemble, memory, page};
use crate::geometry::Shape;
use crate::source::SourceError;

/// A file of pages of so many rows and columns, the first with a description, the voxels of each behind its IFD and of its number.
fn file(pages: &[[u32; 2]], description: &str, behind: usize) -> Vec<u8> {
    let mut writer = Writer::new(false, 8);
    for (number, [height, width]) in pages.iter().enumerate() {
        let size = height * width;
        let text = if number == 0 { description } else { "" };
        let outside = if text.len() < 4 { 0 } else { text.len() as u32 + 1 };
        let start = writer.here() + 2 + 10 * 12 + 4 + outside;
        let (height, width, start, size) = ([*height], [*width], [start], [size]);
        let mut tags = page(&height, &width, &start, &size);
        tags.insert(5, (270, Value::Text(text)));
        let last = number + 1 == pages.len();
        writer.ifd(&tags, |end| {
            assert_eq!(end, start[0]);
            if last { 0 } else { end + size[0] }
        });
        writer.bytes.resize(writer.bytes.len() + size[0] as usize, number as u8 + 1);
    }
    writer.bytes.resize(writer.bytes.len() + behind, 99);
    writer.bytes
}

/// Its shape and voxels as a section.
async fn section(bytes: Vec<u8>, cell: Option<Shape>) -> Result<(Shape, Vec<u8>), SourceError> {
    let reader = memory(bytes);
    let front = reader.read_at(0..FRONT.min(reader.total())).await?;
    let reading = Reading { section: Some(Section { cell, like: None }), ..Reading::default() };
    let volume = Volume::open(ReadAhead::from(reader.clone(), front), reading).await?;
    Ok((volume.grid().unwrap().shape, assemble(&volume, &*reader).await?))
}

#[tokio::test]
async fn a_section_is_the_image_and_not_the_smaller_picture_before_it() {
    for (pages, expected) in [
        (&[[4, 5], [40, 50]][..], ([1, 40, 50], 2)),
        (&[[4, 5], [40, 50], [4, 5]], ([1, 40, 50], 2)),
        (&[[40, 50], [4, 5]], ([1, 40, 50], 1)),
        (&[[40, 50], [40, 5]], ([1, 40, 50], 1)),
        (&[[4, 5], [20, 25], [40, 50]], ([1, 40, 50], 3)),
        (&[[4, 5], [10, 12], [20, 25], [40, 50], [10, 12]], ([1, 40, 50], 4)),
        (&[[40, 5], [40, 50]], ([1, 40, 50], 2)),
        (&[[4, 50], [40, 50]], ([1, 40, 50], 2)),
        // Neither is a smaller copy of the other.
        (&[[40, 50], [50, 40]], ([1, 40, 50], 1)),
        (&[[40, 50]], ([1, 40, 50], 1)),
    ] {
        for cell in [None, Some(Shape([1, 40, 50]))] {
            let (shape, voxels) = section(file(pages, "", 0), cell).await.unwrap();
            assert_eq!((shape.0, voxels), (expected.0, vec![expected.1; 2000]), "{pages:?}");
        }
    }
}

#[tokio::test]
async fn a_stack_is_no_section_whether_its_planes_have_ifds_of_their_own_or_not() {
    let stack = "ImageJ=1.54f\nimages=6\nslices=6\n";
    let shaped = r#"{"shape": [6, 40, 50], "truncated": true}"#;
    for bytes in [
        file(&[[40, 50], [40, 50]], "", 0),
        file(&[[4, 5], [40, 50], [40, 50]], "", 0),
        file(&[[40, 50]], stack, 10_000),
        file(&[[40, 50]], "ImageJ=1.54f\nchannels=2\nframes=3\n", 10_000),
        file(&[[40, 50]], shaped, 10_000),
        // Cut, but more than one of its planes is there.
        file(&[[40, 50]], stack, 2_000),
    ] {
        let error = section(bytes, None).await.unwrap_err().to_string();
        assert!(
            error.contains("a stack in each of several files is not supported; write each file as an image"),
            "{error}"
        );
    }
    // What is left of the description where a stack was divided into files.
    for bytes in [
        file(&[[40, 50]], stack, 0),
        file(&[[40, 50]], stack, 1_999),
        file(&[[40, 50]], "ImageJ=1.54f\nimages=1\n", 10_000),
        file(&[[40, 50]], "images=6", 10_000),
    ] {
        assert_eq!(section(bytes, None).await.unwrap(), (Shape([1, 40, 50]), vec![1; 2000]));
    }
}

#[tokio::test]
async fn a_section_is_the_one_page_of_its_file_whatever_its_ome_xml_tells_of_others() {
    let pixels = |size: &str, depth: u32, inner: &str| {
        format!(
            "<Image><Pixels DimensionOrder=\"XYZCT\" SizeX=\"50\" SizeY=\"40\" SizeZ=\"{depth}\" SizeC=\"1\" SizeT=\"1\" \
             PhysicalSizeX=\"0.008\" PhysicalSizeY=\"{size}\">{inner}</Pixels></Image>"
        )
    };
    let ome = |inner: &str| format!("<OME UUID=\"urn:uuid:A\">{inner}</OME>");
    let elsewhere = "<TiffData FirstZ=\"3\" IFD=\"0\"><UUID FileName=\"b.tif\">urn:uuid:B</UUID></TiffData>";
    for (text, scale) in [
        (ome(&(pixels("0.01", 1, "") + &pixels("0.01", 1, ""))), [None, Some(10.0), Some(8.0)]),
        (ome(&(pixels("0.01", 1, "") + &pixels("0.02", 1, ""))), [None, None, Some(8.0)]),
        (ome(&pixels("0.01", 6, "<TiffData FirstZ=\"3\" IFD=\"0\"/>")), [None, Some(10.0), Some(8.0)]),
        (ome(&pixels("0.01", 6, elsewhere)), [None, Some(10.0), Some(8.0)]),
    ] {
        let bytes = file(&[[40, 50]], &text, 0);
        assert_eq!(section(bytes.clone(), None).await.unwrap(), (Shape([1, 40, 50]), vec![1; 2000]), "{text}");
        let reader = memory(bytes);
        let front = reader.read_at(0..FRONT.min(reader.total())).await.unwrap();
        let reading = Reading { section: Some(Section { cell: None, like: None }), ..Reading::default() };
        let volume = Volume::open(ReadAhead::from(reader, front), reading).await.unwrap();
        assert_eq!(volume.voxel_size, scale, "{text}");
    }
}
