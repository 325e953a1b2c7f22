//! Real files, in the folder `dm3` of `EMFS_SAMPLES` with a `manifest.tsv` of what other readers find in them.

use std::path::PathBuf;

use super::*;

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
        assert_eq!(dtype.split('(').next().unwrap(), dtype_name(image.pixel), "{name}");
        let size = image.pixel.size() as usize;
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

fn dtype_name(pixel: PixelType) -> &'static str {
    match pixel {
        PixelType::I8 => "int8",
        PixelType::U8 => "uint8",
        PixelType::I16 => "int16",
        PixelType::U16 => "uint16",
        PixelType::I32 => "int32",
        PixelType::U32 => "uint32",
        PixelType::F32 => "float32",
        PixelType::F64 => "float64",
    }
}

fn value(pixel: PixelType, bytes: &[u8]) -> f64 {
    match pixel {
        PixelType::I8 => f64::from(bytes[0] as i8),
        PixelType::U8 => f64::from(bytes[0]),
        PixelType::I16 => f64::from(i16::from_le_bytes(bytes.try_into().unwrap())),
        PixelType::U16 => f64::from(u16::from_le_bytes(bytes.try_into().unwrap())),
        PixelType::I32 => f64::from(i32::from_le_bytes(bytes.try_into().unwrap())),
        PixelType::U32 => f64::from(u32::from_le_bytes(bytes.try_into().unwrap())),
        PixelType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
        PixelType::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
    }
}
