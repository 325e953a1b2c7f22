//! Real files, in the folder `dm3` of `EMFS_SAMPLES` with a `manifest.tsv` of what other readers find in them.

use std::path::PathBuf;

use super::*;
use crate::dtype::DataType;

/// The folder, if there is one.
pub(super) fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("EMFS_SAMPLES").map(|folder| PathBuf::from(folder).join("dm3"));
    let folder = folder.filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped: EMFS_SAMPLES names no folder with DM files");
    }
    folder
}

#[test]
fn real_files_give_what_other_readers_find_or_the_refusal_that_is_due() {
    let Some(folder) = folder() else { return };
    let manifest = std::fs::read_to_string(folder.join("manifest.tsv")).unwrap();
    let mut count = 0;
    for line in manifest.lines().skip(1) {
        let [name, bytes, version, dimensions, data_type, depth, offset, length, calibration, dtype, first, _] =
            line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let file = std::fs::read(folder.join(name)).unwrap();
        assert_eq!(file.len().to_string(), bytes, "{name}");
        let (tags, windows) = walk(&file, 16 << 10).unwrap();
        assert!(windows <= 8, "{name}: {windows}");
        assert_eq!(file[3].to_string(), version, "{name}");
        count += 1;
        let image = match DmImage::find(&tags) {
            Ok(image) => image,
            Err(DmError::Unsupported { reason, .. })
                if ["3", "5", "8", "13", "14", "23", "27", "28"].contains(&data_type) =>
            {
                assert!(reason.ends_with(&format!("(pixel type {data_type})")), "{name}: {reason}");
                continue;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        let mut extents: Vec<_> = image.shape.iter().map(u64::to_string).collect();
        extents.reverse();
        assert_eq!(extents.join("x"), dimensions, "{name}");
        assert_eq!(image.pixel.size().to_string(), depth, "{name}");
        assert_eq!((image.offset.to_string(), image.length.to_string()), (offset.into(), length.into()), "{name}");
        assert_eq!(dtype.split('(').next().unwrap(), image.pixel.name(), "{name}");
        let size = image.pixel.size();
        let values: Vec<f64> =
            file[image.offset as usize..].chunks(size).take(4).map(|bytes| value(image.pixel, bytes)).collect();
        let expected: Vec<f64> = first.trim_matches(['[', ']']).split(", ").map(|text| text.parse().unwrap()).collect();
        assert_eq!(values, expected, "{name}");
        let calibrations = image.calibrations.iter().rev().flatten();
        for (found, said) in calibrations.zip(calibration.split("; ")) {
            let (scale, unit) = said.split_once(' ').unwrap();
            let scale: f64 = scale.parse().unwrap();
            assert!((found.scale - scale).abs() <= 1e-5 * scale, "{name}: {found:?}, {said}");
            assert_eq!(found.unit, unit, "{name}");
        }
    }
    assert!(count >= 18, "{count}");
}

fn value(pixel: DataType, bytes: &[u8]) -> f64 {
    match pixel {
        DataType::I8 => f64::from(bytes[0] as i8),
        DataType::U8 => f64::from(bytes[0]),
        DataType::I16 => f64::from(i16::from_le_bytes(bytes.try_into().unwrap())),
        DataType::U16 => f64::from(u16::from_le_bytes(bytes.try_into().unwrap())),
        DataType::I32 => f64::from(i32::from_le_bytes(bytes.try_into().unwrap())),
        DataType::U32 => f64::from(u32::from_le_bytes(bytes.try_into().unwrap())),
        DataType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
        DataType::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
        DataType::U64 | DataType::I64 => panic!("{pixel} is none of them"),
    }
}
