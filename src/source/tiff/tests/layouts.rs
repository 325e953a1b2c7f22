//! Requests and places in files of the layouts that archives hold, computed instead of stored.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::super::index::Index;
use super::super::read::ReadAt;
use super::support::{Counted, Value, Writer, assemble, memory, open, page};
use crate::geometry::{CellIndex, Shape};
use crate::remote::{Cause, RemoteError};
use crate::source::SourceError;

/// A value for each offset, so that a wrong place is seen.
fn texture(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// A file of [`texture`] with pieces of other bytes in it.
fn sparse(total: u64, pieces: Vec<(u64, Vec<u8>)>) -> Arc<Counted<impl Fn(Range<u64>) -> Vec<u8> + Send + Sync>> {
    Counted::new(total, move |range| {
        let mut bytes: Vec<u8> = range.clone().map(texture).collect();
        for (start, piece) in &pieces {
            let from = range.start.max(*start);
            let to = range.end.min(start + piece.len() as u64);
            if from < to {
                let source = &piece[(from - start) as usize..(to - start) as usize];
                bytes[(from - range.start) as usize..(to - range.start) as usize].copy_from_slice(source);
            }
        }
        bytes
    })
}

/// The pieces of a file as ITK writes it: each page's voxels, then its IFD, arrays and text; IFDs on even offsets.
fn itk(pages: u32, height: u32, width: u32, rows: u32) -> (u64, Vec<(u64, Vec<u8>)>) {
    let plane = height * width;
    let mut pieces = vec![(0, Writer::new(false, 8 + plane).bytes)];
    let mut data = 8;
    for number in 0..pages {
        let mut writer = Writer::at(false, (data + plane).next_multiple_of(2));
        let offsets: Vec<u32> = (0..height / rows).map(|strip| data + strip * rows * width).collect();
        let counts = vec![rows * width; offsets.len()];
        let tags = [
            (254, Value::Long(&[2])),
            (256, Value::Short(&[width as u16])),
            (257, Value::Short(&[height as u16])),
            (258, Value::Short(&[8])),
            (259, Value::Short(&[1])),
            (262, Value::Short(&[1])),
            (273, Value::Long(&offsets)),
            (274, Value::Short(&[1])),
            (277, Value::Short(&[1])),
            (278, Value::Short(&[rows as u16])),
            (279, Value::Long(&counts)),
            (284, Value::Short(&[1])),
            (297, Value::Short(&[number as u16, pages as u16])),
            (305, Value::Text("InsightToolkit")),
        ];
        let last = number + 1 == pages;
        writer.ifd(&tags, |end| if last { 0 } else { (end + plane).next_multiple_of(2) });
        data = writer.here();
        pieces.push((u64::from(writer.base), writer.bytes));
    }
    (u64::from(data), pieces)
}

#[tokio::test]
async fn an_itk_file_of_1065_pages_opens_in_three_requests_and_its_pages_lie_where_they_were_recorded() {
    let (total, pieces) = itk(1065, 1536, 2048, 4);
    assert_eq!(total, 3_353_674_357);
    for (number, (start, _)) in pieces[1..].iter().enumerate() {
        assert_eq!(*start, 3_145_736 + number as u64 * 3_148_990);
    }
    let reader = sparse(total, pieces);
    let volume = open(reader.clone()).await.unwrap();
    assert!(matches!(volume.index, Index::Strided(_)));
    assert_eq!(reader.count(), 3);
    let grid = volume.grid().unwrap();
    assert_eq!((grid.shape, grid.cell), (Shape([1065, 1536, 2048]), Shape([1, 256, 2048])));

    let data = |page: u64| if page == 0 { 8 } else { 7 + page * 3_148_990 };
    for number in 0..1065 {
        for band in [0, 3] {
            let start = data(number) + band * 256 * 2048;
            assert_eq!(volume.locate(CellIndex([number, band, 0])).await.unwrap().unwrap(), start..start + 256 * 2048);
        }
    }
    // One more request for each page but the first and the last, however often it is asked for.
    assert_eq!(reader.count(), 3 + 1063);
    assert_eq!(data(1064), 3_350_525_367);
}

#[tokio::test]
async fn the_smaller_itk_files_open_in_three_requests() {
    let (total, pieces) = itk(165, 768, 1024, 8);
    assert_eq!(total, 129_919_357);
    assert_eq!(pieces[2].0 - pieces[1].0, 787_390);
    let reader = sparse(total, pieces);
    let volume = open(reader.clone()).await.unwrap();
    assert_eq!(reader.count(), 3);
    assert_eq!(volume.locate(CellIndex([164, 0, 0])).await.unwrap().unwrap().start, 7 + 164 * 787_390);
    assert_eq!(volume.description.format.to_string(), "TIFF, little-endian, uncompressed");
    assert_eq!(volume.description.levels[0].scale, None);
}

#[tokio::test]
async fn readers_of_one_page_share_the_request_that_proves_it() {
    let (total, pieces) = itk(165, 768, 1024, 8);
    let reader = sparse(total, pieces);
    let volume = open(reader.clone()).await.unwrap();
    let readers = (0..64).map(|_| volume.locate(CellIndex([70, 0, 0])));
    assert!(futures::future::join_all(readers).await.iter().all(Result::is_ok));
    // Page 70 and the one that links to it.
    assert_eq!(reader.count(), 5);
}

/// A reader that fails as long as it is told to.
struct Failing<R> {
    reader: Arc<R>,
    broken: AtomicBool,
}

impl<R: ReadAt> ReadAt for Failing<R> {
    fn name(&self) -> String {
        self.reader.name()
    }

    fn total(&self) -> u64 {
        self.reader.total()
    }

    fn read_at(&self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        if !self.broken.load(Ordering::Relaxed) {
            return self.reader.read_at(range);
        }
        let error = RemoteError { url: self.name(), range: Some(range), attempts: 3, cause: Cause::Status(503) };
        Box::pin(async { Err(error.into()) })
    }
}

#[tokio::test]
async fn a_proof_that_cannot_be_fetched_is_an_error_and_is_fetched_again() {
    let (total, pieces) = itk(20, 64, 96, 8);
    let data = pieces[5].0 + pieces[5].1.len() as u64;
    let counted = sparse(total, pieces);
    let reader = Arc::new(Failing { reader: counted.clone(), broken: AtomicBool::new(false) });
    let volume = open(reader.clone()).await.unwrap();
    let opened = counted.count();
    reader.broken.store(true, Ordering::Relaxed);
    assert!(matches!(volume.locate(CellIndex([5, 0, 0])).await, Err(SourceError::Remote(_))));
    reader.broken.store(false, Ordering::Relaxed);
    assert_eq!(volume.locate(CellIndex([5, 0, 0])).await.unwrap().unwrap().start, data);
    assert_eq!(counted.count(), opened + 2);
}

/// `itk` with page 7 replaced: its predecessor points to an IFD behind the end, whose voxels are there too.
fn with_page_7_moved() -> (u64, Vec<(u64, Vec<u8>)>) {
    let (total, mut pieces) = itk(20, 64, 96, 8);
    let end = total.next_multiple_of(2) as u32;
    let mut writer = Writer::at(false, end);
    let next = pieces[9].0 as u32;
    let data = end + 1000;
    let mut tags = page(&[64], &[96], std::slice::from_ref(&data), &[64 * 96]);
    tags.push((297, Value::Short(&[7, 20])));
    writer.ifd(&tags, |_| next);
    let link = pieces[7].1.len() - writer_tail(&pieces[7].1);
    pieces[7].1[link..link + 4].copy_from_slice(&end.to_le_bytes());
    pieces.push((u64::from(end), writer.bytes));
    (u64::from(data) + 64 * 96, pieces)
}

/// Bytes from the link to the next IFD to the end of an IFD with its arrays.
fn writer_tail(piece: &[u8]) -> usize {
    piece.len() - (2 + 12 * usize::from(piece[0]))
}

#[tokio::test]
async fn a_page_that_is_not_where_it_was_predicted_is_found_by_the_chain() {
    let (total, pieces) = with_page_7_moved();
    let data: Vec<u64> = pieces.iter().map(|(start, piece)| start + piece.len() as u64).collect();
    // Asked for directly, before or after its neighbours.
    for order in [[7, 3, 6, 8], [3, 6, 7, 8], [8, 7, 6, 3]] {
        let reader = sparse(total, pieces.clone());
        let volume = open(reader.clone()).await.unwrap();
        assert!(matches!(volume.index, Index::Strided(_)));
        for number in order {
            let start = if number == 7 { total - 64 * 96 } else { data[number as usize] };
            assert_eq!(volume.locate(CellIndex([number, 0, 0])).await.unwrap().unwrap(), start..start + 64 * 96);
        }
    }
}

#[tokio::test]
async fn a_broken_page_takes_nothing_from_the_pages_beside_it() {
    let (total, pieces) = itk(20, 64, 96, 8);
    let data: Vec<u64> = pieces.iter().map(|(start, piece)| start + piece.len() as u64).collect();
    let mut of_another_type = pieces.clone();
    // BitsPerSample is the fourth entry.
    of_another_type[11].1[2 + 3 * 12 + 8] = 24;
    let mut of_zeros = pieces;
    of_zeros[11].1.fill(0);
    for pieces in [of_another_type, of_zeros] {
        for order in [[9, 10, 11, 12], [12, 11, 10, 9]] {
            let reader = sparse(total, pieces.clone());
            let volume = open(reader.clone()).await.unwrap();
            let opened = reader.count();
            for number in order {
                let found = volume.locate(CellIndex([number, 0, 0])).await;
                if number == 10 {
                    assert!(found.unwrap_err().to_string().contains("page 10, "));
                } else {
                    assert_eq!(found.unwrap().unwrap().start, data[number as usize]);
                }
            }
            assert!(reader.count() - opened <= 20, "{} requests", reader.count() - opened);
        }
    }
}

/// A file as ImageJ 1.52p writes it: one IFD with the description, all voxels, further IFDs only in `rest`.
fn imagej(pages: u32, height: u32, width: u32, rest: bool) -> (u64, Vec<(u64, Vec<u8>)>) {
    let text = format!(
        "ImageJ=1.52p\nimages={pages}\nslices={pages}\nunit=\\u00B5m\nspacing=0.02\nloop=false\nmin=36.0\nmax=199.0\n"
    );
    let plane = height * width;
    let tags = |data: &[u32; 1], first: bool| {
        let mut writer = Writer::at(true, 0);
        let mut tags = vec![
            (254, Value::Long(&[0])),
            (256, Value::Long(std::slice::from_ref(&width))),
            (257, Value::Long(std::slice::from_ref(&height))),
            (258, Value::Short(&[8])),
            (262, Value::Short(&[1])),
            (273, Value::Long(data)),
            (277, Value::Short(&[1])),
            (278, Value::Long(std::slice::from_ref(&height))),
            (279, Value::Long(std::slice::from_ref(&plane))),
        ];
        if first {
            tags.insert(5, (270, Value::Text(&text)));
            tags.push((282, Value::Rational(50_000_000, 1_000_000)));
            tags.push((283, Value::Rational(50_000_000, 1_000_000)));
            tags.push((296, Value::Short(&[1])));
            writer.base = 8;
            writer.ifd(&tags, |end| if rest { end + pages * plane } else { 0 });
        } else {
            // Padded to the 162 bytes that ImageJ gives each of them.
            for tag in 300..304 {
                tags.push((tag, Value::Long(&[0])));
            }
            writer.base = data[0] + 1000;
            writer.ifd(&tags, |_| 0);
        }
        writer.bytes
    };
    let first = tags(&[0], true);
    let data = 8 + first.len() as u32;
    let mut pieces = vec![(0, Writer::new(true, 8).bytes), (8, tags(&[data], true))];
    let end = data + pages * plane;
    for number in 1..pages * u32::from(rest) {
        let at = end + (number - 1) * 162;
        let mut bytes = tags(&[data + number * plane], false);
        let next = if number + 1 == pages { 0 } else { at + 162 };
        let link = bytes.len() - 4;
        bytes[link..].copy_from_slice(&next.to_be_bytes());
        pieces.push((u64::from(at), bytes));
    }
    (u64::from(end) + if rest { u64::from(pages - 1) * 162 } else { 0 }, pieces)
}

#[tokio::test]
async fn an_imagej_stack_is_one_run_whether_or_not_its_further_directories_are_there() {
    for (rest, total, requests) in [(true, 159_884_524, 2), (false, 159_854_878, 1)] {
        let (length, pieces) = imagej(184, 775, 1121, rest);
        assert_eq!(length, total);
        let reader = sparse(length, pieces);
        let volume = open(reader.clone()).await.unwrap();
        assert!(matches!(volume.index, Index::Contiguous { start: 278, pages: 184, .. }));
        let grid = volume.grid().unwrap();
        assert_eq!((grid.shape, grid.cell), (Shape([184, 775, 1121]), Shape([1, 775, 1121])));
        assert_eq!(volume.locate(CellIndex([92, 0, 0])).await.unwrap().unwrap().start, 79_927_578);
        assert_eq!(volume.locate(CellIndex([183, 0, 0])).await.unwrap().unwrap().end, 159_854_878);
        assert_eq!(reader.count(), requests);
        let description = &volume.description;
        assert_eq!(description.format.to_string(), "ImageJ TIFF, big-endian, uncompressed");
        assert_eq!(description.window, Some((36.0, 199.0)));
        for extent in description.levels[0].scale.unwrap() {
            assert!((extent - 20.0).abs() < 1e-9);
        }
    }
}

#[tokio::test]
async fn a_stack_shorter_than_its_description_says_is_an_error() {
    let (length, pieces) = imagej(184, 775, 1121, false);
    let error = open(sparse(length - 1, pieces)).await.err().unwrap().to_string();
    assert!(error.contains("page 0, ImageDescription") && error.contains("184 pages"), "{error}");
}

#[tokio::test]
async fn directories_in_one_block_at_the_front_or_the_end_are_read_together() {
    let (pages, height, width) = (30_000u32, 16, 64);
    for at_end in [false, true] {
        let plane = height * width;
        let size = 2 + 9 * 12 + 4;
        let (ifds, data) = if at_end { (8 + pages * plane, 8) } else { (8, 8 + pages * size) };
        let mut writer = Writer::at(false, ifds);
        for number in 0..pages {
            // In an order of voxels that no stride predicts.
            let offset = [data + (pages - 1 - number) * plane];
            writer.ifd(&page(&[height], &[width], &offset, &[plane]), |end| if number + 1 == pages { 0 } else { end });
        }
        let total = u64::from(data + pages * plane).max(u64::from(writer.here()));
        let reader = sparse(total, vec![(0, Writer::new(false, ifds).bytes), (u64::from(ifds), writer.bytes)]);
        let volume = open(reader.clone()).await.unwrap();
        assert!(reader.count() <= 3, "{} requests, at end: {at_end}", reader.count());
        assert_eq!(volume.grid().unwrap().shape.0[0], u64::from(pages));
        assert_eq!(
            volume.locate(CellIndex([1, 0, 0])).await.unwrap().unwrap().start,
            u64::from(data + (pages - 2) * plane)
        );
    }
}

#[tokio::test]
async fn strips_that_are_not_one_run_are_blocks_of_their_own() {
    let mut writer = Writer::new(false, 8);
    let tags = |offsets| {
        vec![
            (256, Value::Long(&[10])),
            (257, Value::Long(&[7])),
            (258, Value::Short(&[8])),
            (273, Value::Long(offsets)),
            (278, Value::Long(&[3])),
            (279, Value::Long(&[30, 30, 10])),
        ]
    };
    let start = 8 + 2 + 6 * 12 + 4 + 24;
    writer.ifd(&tags(&[start + 40, start, start + 30]), |_| 0);
    writer.bytes.extend((0..70).map(|value| value as u8));
    let reader = memory(writer.bytes);
    let volume = open(reader.clone()).await.unwrap();
    assert_eq!(volume.grid().unwrap().cell, Shape([1, 3, 10]));
    let voxels = assemble(&volume, &*reader as &dyn ReadAt).await.unwrap();
    let expected: Vec<u8> = (40..70).chain(0..30).chain(30..40).collect();
    assert_eq!(voxels, expected);
}
