use std::time::Duration;

use proptest::prelude::*;

use half::f16;

use super::*;
use crate::dtype::DataType;
use crate::geometry::LevelIndex;
use crate::remote::Location;
use crate::source::{Placement, Source};
use crate::store::Remote;

/// A header of 3 × 4 × 5 voxels of 5 × 8 × 10 Å.
fn header(mode: i32, big_endian: bool) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let words: [(usize, i32); 11] =
        [(0, 5), (4, 4), (8, 3), (12, mode), (28, 5), (32, 4), (36, 3), (64, 1), (68, 2), (72, 3), (92, 80)];
    let mut put = |at: usize, word: [u8; 4]| bytes[at..at + 4].copy_from_slice(&word);
    let order = |word: u32| if big_endian { word.to_be_bytes() } else { word.to_le_bytes() };
    words.into_iter().for_each(|(at, word)| put(at, order(word as u32)));
    for (at, cell) in [(40, 50.0f32), (44, 32.0), (48, 15.0)] {
        put(at, order(cell.to_bits()));
    }
    put(208, *b"MAP ");
    put(212, if big_endian { [0x11, 0x11, 0, 0] } else { [0x44, 0x44, 0, 0] });
    bytes
}

async fn read(bytes: &[u8], reading: MrcReading) -> Result<(ContiguousSource, Vec<u8>), SourceError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.mrc");
    std::fs::write(&path, bytes).unwrap();
    let remote = Remote::new(Default::default(), Duration::from_secs(10), Default::default()).unwrap();
    let object = remote.object(&Location::parse(path.to_str().unwrap(), None).unwrap()).unwrap();
    let source = crate::store::healed(|| open(object.clone(), reading)).await?;
    let grid = source.description().levels[0].grid;
    let mut voxels = Vec::new();
    for block in grid.cells_in(&grid.shape.region()) {
        let Placement::Range { object, start, length } = source.locate(LevelIndex(0), block).await? else {
            panic!("no range")
        };
        voxels.extend(source.decode(LevelIndex(0), block, object.range(start..start + length).await?.bytes)?);
    }
    Ok((source, voxels))
}

#[tokio::test]
async fn every_mode_in_either_byte_order_is_read_behind_an_extended_header() {
    for (mode, size, dtype) in [
        (0, 1, DataType::I8),
        (1, 2, DataType::I16),
        (2, 4, DataType::F32),
        (6, 2, DataType::U16),
        (12, 2, DataType::F32),
    ] {
        for big_endian in [false, true] {
            // Small halves and floats alike.
            let stored: Vec<u8> = (0..60 * size).map(|n| (n % 60) as u8).collect();
            let bytes = [&header(mode, big_endian)[..], &[9; 80], &stored].concat();
            let (source, voxels) = read(&bytes, MrcReading { told: true, ..MrcReading::default() }).await.unwrap();
            let description = source.description();
            let level = &description.levels[0];
            assert_eq!((description.dtype, level.grid.shape), (dtype, Shape([3, 4, 5])), "mode {mode}");
            assert_eq!((level.scale, source.documents().len()), (Some([0.5, 0.8, 1.0]), 1));
            let mut expected = stored;
            if big_endian {
                expected.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            }
            if mode == 12 {
                let halves = expected.as_chunks::<2>().0.iter();
                expected = halves.flat_map(|half| f16::from_le_bytes(*half).to_f32().to_le_bytes()).collect();
            }
            assert_eq!(voxels, expected, "mode {mode}, big-endian {big_endian}");
        }
    }
}

#[tokio::test]
async fn what_is_not_read_is_refused_by_the_name_of_its_field() {
    let with = |at: usize, word: i32| {
        let mut bytes = header(1, false);
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        [&bytes[..], &[0; 200]].concat()
    };
    for (bytes, expected) in [
        (with(12, 4), "MODE: complex numbers (mode 4) is not supported; write the real image"),
        (with(12, 3), "MODE: complex numbers (mode 3) is not supported; write the real image"),
        (with(12, 16), "MODE: colours (mode 16) is not supported; split it"),
        (with(12, 7), "MODE: 7 is none"),
        (with(0, 0), "NX: 0 voxels"),
        (with(8, -3), "NZ: -3 voxels"),
        (
            with(64, 3),
            "MAPC: columns, rows and sections along the axes 3, 2, 3 is not supported; write it with columns along x",
        ),
        (with(92, -1), "NSYMBT: an extended header of -1 bytes"),
        (with(88, 401), "ISPG: a stack of volumes (space group 401) is not supported; write each volume"),
        (with(0, i32::MAX), "NX: a volume of 3×4×2147483647 voxels is not supported"),
        (with(0, 1 << 20), "NZ: 3 sections of"),
        (with(8, 9), "section 3 is the first one missing; `truncated = \"show\"`"),
        (header(1, false)[..1000].to_vec(), "header: a file of 1000 bytes is shorter"),
        ([&b"NRRD0005\n"[..], &[7; 2000]].concat(), "not an MRC file but NRRD"),
        (vec![7; 2000], "not an MRC file"),
    ] {
        let error = read(&bytes, MrcReading::default()).await.err().unwrap().to_string();
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
    let cut = [&header(1, false)[..], &[9; 80 + 40 + 40 + 39]].concat();
    let (source, voxels) = read(&cut, MrcReading { show_cut: true, ..MrcReading::default() }).await.unwrap();
    assert_eq!((source.description().levels[0].grid.shape, voxels), (Shape([2, 4, 5]), vec![9; 80]));
}

#[test]
fn bytes_of_imod_are_unsigned_unless_it_says_otherwise() {
    let mut bytes = header(0, false);
    bytes[152..156].copy_from_slice(&1_146_047_817i32.to_le_bytes());
    assert_eq!(MrcHeader::read(&bytes, u64::MAX, None).unwrap().stored.dtype, DataType::U8);
    bytes[156] = 1;
    assert_eq!(MrcHeader::read(&bytes, u64::MAX, None).unwrap().stored.dtype, DataType::I8);
}

#[test]
fn bytes_that_int8_cannot_hold_are_unsigned_and_the_reason_is_told() {
    let with = |lowest: f32, highest: f32| {
        let mut bytes = header(0, false);
        bytes[76..80].copy_from_slice(&lowest.to_le_bytes());
        bytes[80..84].copy_from_slice(&highest.to_le_bytes());
        bytes
    };
    for (lowest, highest, expected) in [
        (0.0, 255.0, DataType::U8),
        (3.0, 128.0, DataType::U8),
        (0.0, 127.0, DataType::I8),
        (-5.0, 200.0, DataType::I8),
        (0.0, 256.0, DataType::I8),
        (0.0, -1.0, DataType::I8),
        (0.0, f32::NAN, DataType::I8),
        (f32::NAN, 200.0, DataType::I8),
    ] {
        let read = MrcHeader::read(&with(lowest, highest), u64::MAX, None).unwrap();
        assert_eq!(read.stored.dtype, expected, "{lowest} to {highest}");
        assert_eq!(read.doubt.is_some(), expected == DataType::U8);
        // IMOD's flag is believed whatever the values are.
        let mut imod = with(lowest, highest);
        imod[152..156].copy_from_slice(&1_146_047_817i32.to_le_bytes());
        imod[156] = 1;
        let read = MrcHeader::read(&imod, u64::MAX, None).unwrap();
        assert_eq!((read.stored.dtype, read.doubt), (DataType::I8, None));
    }
    // A further section whose values are the same in both types is like the first one, and no other.
    let like =
        |lowest, highest| MrcHeader::read(&with(lowest, highest), u64::MAX, Some(DataType::U8)).unwrap().stored.dtype;
    assert_eq!((like(0.0, 100.0), like(0.0, 0.0), like(-1.0, 100.0)), (DataType::U8, DataType::U8, DataType::I8));
}

#[tokio::test]
async fn two_numbers_in_a_byte_are_the_lower_half_first() {
    // As IMOD writes mode 101: rows of five voxels in three bytes.
    let rows: Vec<u8> = (0..36).map(|n| (n * 37) as u8).collect();
    let expected: Vec<u8> =
        rows.chunks(3).flat_map(|row| row.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(5)).collect();
    for big_endian in [false, true] {
        let bytes = [&header(101, big_endian)[..], &[9; 80], &rows].concat();
        let (source, voxels) = read(&bytes, MrcReading::default()).await.unwrap();
        let level = &source.description().levels[0];
        assert_eq!((level.grid.shape, source.description().dtype), (Shape([3, 4, 5]), DataType::U8));
        assert_eq!((&voxels, level.scale), (&expected, Some([0.5, 0.8, 1.0])));
    }
    // As SerialEM does: bytes, whose flag says that there are twice as many voxels.
    let mut flagged = header(0, false);
    flagged[152..156].copy_from_slice(&1_146_047_817i32.to_le_bytes());
    flagged[156] = 16;
    let rows: Vec<u8> = (0..60).map(|n| (n * 37) as u8).collect();
    let expected: Vec<u8> = rows.iter().flat_map(|byte| [byte & 15, byte >> 4]).collect();
    let (source, voxels) = read(&[&flagged[..], &[9; 80], &rows].concat(), MrcReading::default()).await.unwrap();
    let level = &source.description().levels[0];
    assert_eq!((level.grid.shape, &voxels, level.scale), (Shape([3, 4, 10]), &expected, Some([0.5, 0.8, 1.0])));
    flagged[156] = 17;
    let error = read(&[&flagged[..], &[9; 80], &rows].concat(), MrcReading::default()).await.err().unwrap().to_string();
    assert!(error.contains("imodFlags") && error.contains("contradict"), "{error}");
}

#[test]
fn a_label_says_two_numbers_in_a_byte_only_of_a_frame_that_is_written_so() {
    let with = |width: i32, height: i32, labels: i32| {
        let mut bytes = header(0, false);
        for (at, word) in [(0, width), (4, height), (220, labels)] {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes[230..243].copy_from_slice(b"4 bits packed");
        MrcHeader::read(&bytes, u64::MAX, None).unwrap()
    };
    assert_eq!(with(3838, 7420, 1).shape, Shape([3, 7420, 7676]));
    assert_eq!(with(3711, 7679, 1).shape, Shape([3, 7679, 7422]));
    assert_eq!(with(5760, 8184, 1).stored.bits, 4);
    assert_eq!((with(3838, 7420, 2).stored.bits, with(3830, 7420, 1).stored.bits), (8, 8));
}

#[test]
fn the_length_of_the_file_decides_between_two_orders_that_both_make_sense() {
    // 512 is 2¹⁷ in the other order, and both are extents.
    for big_endian in [false, true] {
        let mut bytes = [0; LENGTH];
        for (at, word) in [(0, 512u32), (4, 256), (8, 256)] {
            bytes[at..at + 4].copy_from_slice(&if big_endian { word.to_be_bytes() } else { word.to_le_bytes() });
        }
        for more in [0, 7] {
            let read = MrcHeader::read(&bytes, 1024 + (512 << 16) + more, None).unwrap();
            assert_eq!((read.big_endian, read.shape), (big_endian, Shape([256, 256, 512])));
        }
    }
}

#[test]
fn a_header_without_a_stamp_is_read_in_the_order_that_makes_sense() {
    for big_endian in [false, true] {
        let mut bytes = header(2, big_endian);
        bytes[208..216].fill(0);
        assert_eq!(MrcHeader::read(&bytes, u64::MAX, None).unwrap().big_endian, big_endian);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(500)))]

    #[test]
    fn changed_headers_are_read_or_refused(
        changes in prop::collection::vec((0..230usize, any::<u8>()), 0..12), big_endian: bool,
    ) {
        let mut bytes = header(1, big_endian);
        changes.into_iter().for_each(|(at, byte)| bytes[at] = byte);
        if let Ok(header) = MrcHeader::read(&bytes, 5000, None) {
            prop_assert!(!header.shape.0.contains(&0) && header.offset >= LENGTH as u64);
            prop_assert!(header.voxel_size.iter().flatten().all(|size| size.is_finite() && *size > 0.0));
        }
    }
}
