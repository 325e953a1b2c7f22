use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::dm::DmVersion;
use crate::dm::tests::writer::{self, File, TagTree};
use crate::dtype::DataType;
use crate::geometry::{CellIndex, LevelIndex};
use crate::remote::Location;
use crate::source::planes::{MAX_BAND, SHORTEST_BAND, plane_chunk};
use crate::source::stack::{self, Stack};
use crate::source::{Placement, Source};
use crate::stats::Stats;
use crate::store::{Remote, healed};

/// Files on this machine, whose reads are counted as requests.
struct Folder {
    folder: tempfile::TempDir,
    remote: Remote,
    stats: Arc<Stats>,
    count: usize,
}

impl Folder {
    fn new() -> Self {
        let stats = Arc::new(Stats::default());
        let remote = Remote::new(Default::default(), Duration::from_secs(10), stats.clone()).unwrap();
        Folder { folder: tempfile::tempdir().unwrap(), remote, stats, count: 0 }
    }

    fn add(&mut self, bytes: &[u8]) -> Object {
        let path = self.folder.path().join(format!("{}.dm3", self.count));
        self.count += 1;
        std::fs::write(&path, bytes).unwrap();
        self.object(path.to_str().unwrap())
    }

    fn object(&self, path: &str) -> Object {
        self.remote.object(&Location::parse(path, None).unwrap()).unwrap()
    }

    fn requests(&self) -> u64 {
        self.stats.snapshot().hosts.values().map(|host| host.requests).sum()
    }
}

fn file(
    version: DmVersion,
    big_endian: bool,
    dimensions: &[u32],
    data_type: u32,
    pixels: &[u8],
    thumbnail: usize,
) -> Vec<u8> {
    File { version, big_endian, root: writer::slice(dimensions, data_type, pixels.to_vec(), thumbnail) }.bytes()
}

/// Voxels of a plane of 16 bits: no two planes alike.
fn plane(z: u64, voxels: u64) -> Vec<u16> {
    (0..voxels).map(|n| (n * 7 + z * 1000 + 1) as u16).collect()
}

fn little(plane: &[u16]) -> Vec<u8> {
    plane.iter().flat_map(|voxel| voxel.to_le_bytes()).collect()
}

fn section(version: DmVersion, big_endian: bool, [y, x]: [u64; 2], z: u64, thumbnail: usize) -> Vec<u8> {
    let plane = plane(z, y * x);
    let bytes: Vec<u8> =
        if big_endian { plane.iter().flat_map(|voxel| voxel.to_be_bytes()).collect() } else { little(&plane) };
    file(version, big_endian, &[x as u32, y as u32], 10, &bytes, thumbnail)
}

/// A volume of a file per z.
async fn open_all(objects: Vec<Object>, missing: [Option<f64>; 3]) -> Result<Stack, SourceError> {
    let opener: stack::Opener = Arc::new(move |object, cell: Option<Shape>| {
        async move { Ok(Arc::new(open(object, missing, cell.is_none()).await?) as Arc<dyn Source>) }.boxed()
    });
    stack::open(objects.into_iter().map(Some).collect(), opener).await
}

async fn block(source: &dyn Source, index: [u64; 3]) -> Result<Bytes, SourceError> {
    let (level, index) = (LevelIndex(0), CellIndex(index));
    let Placement::Range { object, start, length } = source.locate(level, index).await? else { panic!("no range") };
    source.decode(level, index, object.range(start..start + length).await?.bytes)
}

#[tokio::test]
async fn a_series_of_files_is_a_volume_whatever_their_offsets_versions_and_byte_orders() {
    let mut folder = Folder::new();
    let mut objects = Vec::new();
    for z in 0..6 {
        let version = if z % 3 == 0 { DmVersion::Dm4 } else { DmVersion::Dm3 };
        let bytes = section(version, z % 2 == 1, [50, 40], z, [400, 90_000][z as usize % 2]);
        objects.push(folder.add(&bytes));
    }
    let source = open_all(objects, [None; 3]).await.unwrap();
    let description = source.description();
    assert_eq!((description.dtype, description.levels[0].grid.shape), (DataType::U16, Shape([6, 50, 40])));
    assert_eq!(description.levels[0].grid.cell, Shape([1, 50, 40]), "a small plane is one block");
    assert_eq!(description.levels[0].scale, Some([50.0, 7.99825, 7.99825]));
    assert_eq!(
        (description.window, description.format.to_string().as_str()),
        (Some((65.0, 123.0)), "DM4, little-endian, a file per z")
    );
    assert!(folder.requests() <= 6, "{}: only the first and the last are open", folder.requests());
    for z in (0..6).rev() {
        assert_eq!(block(&source, [z, 0, 0]).await.unwrap(), little(&plane(z, 2000)), "{z}");
    }
}

#[tokio::test]
async fn rows_are_read_in_bands_of_whole_chunks() {
    let mut folder = Folder::new();
    let [y, x] = [1300u64, 700];
    let objects = (0..2).map(|z| folder.add(&section(DmVersion::Dm3, false, [y, x], z, 400))).collect();
    let source = open_all(objects, [None; 3]).await.unwrap();
    let grid = source.description().levels[0].grid;
    let chunk = plane_chunk(grid.shape, DataType::U16).0[1];
    let [_, rows, columns] = grid.cell.0;
    assert!(
        rows % chunk == 0 && rows * x * 2 >= SHORTEST_BAND && (rows - chunk) * x * 2 < SHORTEST_BAND,
        "{rows} {chunk}"
    );
    assert_eq!(columns, x);
    for z in 0..2 {
        let mut found = Vec::new();
        for band in 0..y.div_ceil(rows) {
            found.extend(block(&source, [z, band, 0]).await.unwrap());
        }
        assert_eq!(found, little(&plane(z, y * x)));
    }
}

fn band(shape: Shape, dtype: DataType) -> u64 {
    bounded_band(shape, dtype, |rows| rows * shape.0[2] * dtype.size() as u64)
}

#[test]
fn bands_are_neither_short_nor_long() {
    let rows = |y, x, dtype| band(Shape([16, y, x]), dtype);
    assert_eq!(rows(5500, 5496, DataType::U8), 512);
    assert_eq!(rows(1000, 1000, DataType::U8), 1000, "the whole plane");
    assert_eq!(rows(1 << 20, 2, DataType::U8), 1 << 18);
    let long = rows(600, 1 << 20, DataType::U8);
    assert!(long >= 1 && long << 20 <= MAX_BAND, "{long}");
}

#[tokio::test]
async fn a_stack_in_one_file_is_a_volume() {
    let mut folder = Folder::new();
    let voxels = plane(0, 3 * 50 * 40);
    let pixels: Vec<u8> = voxels.iter().flat_map(|voxel| voxel.to_be_bytes()).collect();
    let object = folder.add(&file(DmVersion::Dm4, true, &[40, 50, 3], 10, &pixels, 400));
    let source = open(object.clone(), [None; 3], true).await.unwrap();
    assert_eq!(source.description().levels[0].grid.shape, Shape([3, 50, 40]));
    for z in 0..3 {
        let expected = little(&voxels[z * 2000..][..2000]);
        assert_eq!(block(&source, [z as u64, 0, 0]).await.unwrap(), expected);
    }
    assert!(block(&source, [3, 0, 0]).await.unwrap_err().to_string().contains("lies outside of the volume"));
    let error = open_all(vec![object.clone(), object], [None; 3]).await.err().unwrap().to_string();
    assert!(error.contains("a stack in each of several files is not supported; write each file"), "{error}");
}

#[tokio::test]
async fn a_file_that_differs_is_an_error_for_its_blocks_that_names_it() {
    let mut folder = Folder::new();
    let good = |z| section(DmVersion::Dm3, false, [50, 40], z, 400);
    let bytes = [
        good(0),
        section(DmVersion::Dm3, false, [40, 50], 1, 400),
        file(DmVersion::Dm3, false, &[40, 50], 6, &[1; 2000], 400),
        file(DmVersion::Dm3, false, &[40, 50], 3, &[1; 16000], 400),
        b"<html>no such thing</html>".to_vec(),
        good(5),
    ];
    let objects: Vec<Object> = bytes.iter().map(|bytes| folder.add(bytes)).collect();
    let source = open_all(objects, [None; 3]).await.unwrap();
    for (z, expected) in [
        (1, "1.dm3: image: uint16 of 1×40×50 (z×y×x), unlike uint16 of 1×50×40 in"),
        (2, "2.dm3: image: uint8 of 1×50×40 (z×y×x), unlike uint16"),
        (
            3,
            "3.dm3: ImageList.1.ImageData.DataType: complex64 (pixel type 3) is not supported; change it to a real or integer",
        ),
        (4, "4.dm3: header: not a DM3 or DM4 file but a web page (HTML)"),
    ] {
        let error = block(&source, [z, 0, 0]).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        let before = folder.requests();
        assert_eq!(block(&source, [z, 0, 0]).await.unwrap_err().to_string(), error);
        assert_eq!(folder.requests(), before, "it is not asked again what cannot change");
    }
    for z in [0, 5] {
        assert_eq!(block(&source, [z, 0, 0]).await.unwrap(), little(&plane(z, 2000)));
    }
    let first = folder.object(folder.folder.path().join("0.dm3").to_str().unwrap());
    let second = folder.object(folder.folder.path().join("1.dm3").to_str().unwrap());
    assert!(open_all(vec![first, second], [None; 3]).await.err().unwrap().to_string().contains("1.dm3: image: uint16"));
}

#[tokio::test]
async fn a_file_that_could_not_be_fetched_is_asked_again() {
    let mut folder = Folder::new();
    let bytes: Vec<_> = (0..3).map(|z| section(DmVersion::Dm3, false, [50, 40], z, 400)).collect();
    let objects: Vec<Object> = bytes.iter().map(|bytes| folder.add(bytes)).collect();
    let path = folder.folder.path().join("1.dm3");
    std::fs::remove_file(&path).unwrap();
    let source = open_all(objects, [None; 3]).await.unwrap();
    assert!(matches!(block(&source, [1, 0, 0]).await.unwrap_err(), SourceError::Remote(_)));
    std::fs::write(&path, &bytes[1]).unwrap();
    assert_eq!(block(&source, [1, 0, 0]).await.unwrap(), little(&plane(1, 2000)));
}

#[tokio::test]
async fn a_file_that_makes_no_sense_is_opened_twice_a_second_and_one_that_is_not_there_twice_a_read() {
    let mut folder = Folder::new();
    let good = |z| section(DmVersion::Dm3, false, [50, 40], z, 400);
    let bytes = [good(0), b"<html>no such thing</html>".to_vec(), good(2), good(3)];
    let objects: Vec<Object> = bytes.iter().map(|bytes| folder.add(bytes)).collect();
    std::fs::remove_file(folder.folder.path().join("2.dm3")).unwrap();
    let source = open_all(objects.clone(), [None; 3]).await.unwrap();
    let locate = async |z| healed(|| source.locate(LevelIndex(0), CellIndex([z, 0, 0]))).await.unwrap_err();
    for (z, reads, opened) in [(1, 5, 2), (2, 1, 2)] {
        let before = folder.requests();
        assert!(file::open(&objects[z as usize]).await.is_err());
        let once = folder.requests() - before;
        for _ in 0..reads {
            locate(z).await;
        }
        assert_eq!(folder.requests() - before - once, opened * once, "section {z}");
    }
}

#[tokio::test]
async fn a_file_is_opened_once_however_many_blocks_of_it_are_wanted() {
    let mut folder = Folder::new();
    let objects: Vec<Object> =
        (0..3).map(|z| folder.add(&section(DmVersion::Dm3, false, [2000, 700], z, 90_000))).collect();
    let source = open_all(objects, [None; 3]).await.unwrap();
    let before = folder.requests();
    let bands = source.description().levels[0].grid.counts()[1];
    assert!(bands > 2);
    let located = (0..bands).map(|band| source.locate(LevelIndex(0), CellIndex([1, band, 0])));
    futures::future::try_join_all(located).await.unwrap();
    assert!((1..=3).contains(&(folder.requests() - before)), "{}", folder.requests() - before);
}

#[tokio::test]
async fn what_the_files_do_not_say_of_the_voxel_size_is_taken_from_elsewhere() {
    let scale = async |change: &dyn Fn(&mut TagTree), missing| {
        let mut folder = Folder::new();
        let mut root = writer::slice(&[4, 3], 6, vec![1; 12], 16);
        change(&mut root);
        let object = folder.add(&File { version: DmVersion::Dm3, big_endian: false, root }.bytes());
        open(object, missing, true).await.unwrap().description().levels[0].clone()
    };
    let no_z = |root: &mut TagTree| root.at(&["ImageList", "1"]).remove("ImageTags");
    let record = |root: &mut TagTree| {
        let record = TagTree::group([("Record", TagTree::group([("Slice thickness", TagTree::F64(40.0))]))]);
        *root.at(&["ImageList", "1", "ImageTags"]) = TagTree::group([("SBFSEM", record)]);
    };
    let uncalibrated = |root: &mut TagTree| root.at(&["ImageList", "1", "ImageData"]).remove("Calibrations");
    let shifted = |root: &mut TagTree| {
        let x = root.at(&["ImageList", "1", "ImageData", "Calibrations", "Dimension", "0"]);
        *x.at(&["Origin"]) = TagTree::F32(2.0);
    };
    let own = [Some(9.0), Some(9.0), Some(9.0)];
    assert_eq!(scale(&|_| (), own).await.scale, Some([50.0, 7.99825, 7.99825]));
    assert_eq!(scale(&record, own).await.scale, Some([40.0, 7.99825, 7.99825]));
    assert_eq!(scale(&no_z, own).await.scale, Some([9.0, 7.99825, 7.99825]));
    assert_eq!(scale(&no_z, [None; 3]).await.scale, None);
    assert_eq!(scale(&uncalibrated, own).await.scale, Some([50.0, 9.0, 9.0]));
    assert_eq!(scale(&uncalibrated, [None; 3]).await.scale, None);
    assert_eq!(scale(&shifted, [None; 3]).await.translation, [0.0, 0.0, -15.9965]);
}

#[tokio::test]
async fn a_section_laid_out_as_those_of_the_archive_opens_in_three_small_requests() {
    let mut folder = Folder::new();
    for thumbnail in [147_456, 588_288] {
        let pixels = vec![3; 5496 * 100];
        let mut root = writer::slice(&[5496, 100], 6, pixels, thumbnail);
        root.tags().push(("Filler".into(), TagTree::Bytes(10, vec![0; 14_900])));
        let object = folder.add(&File { version: DmVersion::Dm3, big_endian: false, root }.bytes());
        let bytes = || folder.stats.snapshot().hosts.values().map(|host| host.bytes).sum::<u64>();
        let before = (folder.requests(), bytes());
        open(object, [None; 3], true).await.unwrap();
        let after = (folder.requests(), bytes());
        assert_eq!(after.0 - before.0, 3);
        assert!(after.1 - before.1 <= 64 << 10, "{}", after.1 - before.1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(20)))]

    #[test]
    fn bands_cover_every_plane(y in 1u64..5000, x in 1u64..5000, dtype in prop::sample::select(&DataType::ALL[..])) {
        let rows = band(Shape([3, y, x]), dtype);
        prop_assert!((1..=y).contains(&rows));
        prop_assert!(rows == y || rows * x * dtype.size() as u64 <= MAX_BAND);
    }
}
