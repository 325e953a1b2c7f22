//! Groups that zarr-python and TensorStore wrote, read bit-equal from files. `tests/make_zarr_fixtures.py` makes them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use url::Url;

use crate::dtype::DataType;
use crate::geometry::{CellIndex, LevelIndex, Shape};
use crate::remote::{LimitsByHost, Location};
use crate::source::zarr::{ZarrSource, open};
use crate::source::{Placement, Source, SourceError};
use crate::stats::Stats;
use crate::store::Remote;

/// Files may be opened and read as fast as the disk allows.
fn remote() -> Remote {
    Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap()
}

async fn open_folder(remote: &Remote, folder: &Path) -> ZarrSource {
    let group = Location::anonymous(Url::from_file_path(folder).unwrap());
    open(remote, &group, Default::default()).await.unwrap_or_else(|error| panic!("{error}"))
}

#[tokio::test]
async fn groups_of_other_writers_are_read_bit_equal() {
    let Some(folder) = std::env::var_os("EMFS_ZARR_FIXTURES").map(PathBuf::from) else {
        println!("skipped: EMFS_ZARR_FIXTURES names no folder of groups");
        return;
    };
    let mut compared = 0;
    let remote = remote();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "json") {
            compare(&remote, &path.with_extension(""), &path).await;
            compared += 1;
        }
    }
    assert!(compared > 0, "no group in {}", folder.display());
    println!("{compared} groups are bit-equal");
}

/// The documents of jrc_mus-nacc-2 as they were recorded, in `<EMFS_SAMPLES>/nacc2_fixture`.
#[tokio::test]
async fn the_recorded_openorganelle_documents_are_read() {
    let group = "nacc2_fixture/jrc_mus-nacc-2.zarr/recon-2/em/fibsem-int16";
    let Some(group) = std::env::var_os("EMFS_SAMPLES").map(|samples| Path::new(&samples).join(group)) else {
        println!("skipped: EMFS_SAMPLES names no folder of recorded documents");
        return;
    };
    let source = open_folder(&remote(), &group).await;
    let description = source.description();
    assert_eq!(description.levels.len(), 9);
    assert_eq!((description.dtype, description.format.name.as_str()), (DataType::I16, "OME-NGFF 0.4 in Zarr v2, zstd"));
    let (first, last) = (&description.levels[0], &description.levels[8]);
    assert_eq!((first.grid.shape, first.grid.cell), (Shape([564, 2520, 2596]), Shape([64; 3])));
    assert_eq!((first.scale, first.translation), (Some([2.96, 4.0, 4.0]), [0.0; 3]));
    assert_eq!(last.grid.shape, Shape([2, 9, 10]));
    assert_eq!((last.scale, last.translation), (Some([757.7599999999999, 1024.0, 1024.0]), [377.4, 510.0, 510.0]));
}

/// Compares every voxel, the scales and the translations of a group with its reference.
async fn compare(remote: &Remote, group: &Path, reference: &Path) {
    let name = group.display();
    let reference: Value = serde_json::from_slice(&std::fs::read(reference).unwrap()).unwrap();
    let source = open_folder(remote, group).await;
    let description = source.description();
    let levels = reference["levels"].as_array().unwrap();
    assert_eq!(description.levels.len(), levels.len(), "{name}");
    for (n, (level, expected)) in description.levels.iter().zip(levels).enumerate() {
        let numbers = |key: &str| serde_json::from_value::<Vec<f64>>(expected[key].clone()).unwrap();
        assert_eq!(level.grid.shape.0.map(|extent| extent as f64).to_vec(), numbers("shape"), "{name}");
        assert_eq!(level.grid.cell.0.map(|extent| extent as f64).to_vec(), numbers("chunk"), "{name}");
        assert_eq!(level.scale.unwrap().to_vec(), numbers("scale"), "{name}");
        assert_eq!(level.translation.to_vec(), numbers("translation"), "{name}");
        assert_eq!(description.dtype.name(), expected["dtype"], "{name}");
        let raw = std::fs::read(group.with_extension(format!("s{n}.raw"))).unwrap();
        let level_index = LevelIndex(n as u8);
        for block in level.grid.cells_in(&level.grid.shape.region()) {
            let region = level.grid.region(block);
            let Ok(Placement::Whole { object, limit, witness }) = source.locate(level_index, block).await else {
                panic!("{name} {block}")
            };
            let voxels = match object.whole_if_there(limit, &witness).await.unwrap() {
                Some(fetched) => {
                    refuses_other_lengths(&source, level_index, block, &fetched.bytes);
                    source.decode(level_index, block, fetched.bytes).unwrap_or_else(|error| panic!("{error}"))
                }
                None => description.fill.repeat(region.shape().voxels().unwrap() as usize).into(),
            };
            let item = description.dtype.size();
            let [_, height, width] = level.grid.shape.0.map(|extent| extent as usize);
            let [depth, rows, row] = region.shape().0.map(|extent| extent as usize);
            let [z0, y0, x0] = region.start.map(|start| start as usize);
            assert_eq!(voxels.len(), depth * rows * row * item, "{name} {block}");
            for (i, line) in voxels.chunks_exact(row * item).enumerate() {
                let start = ((z0 + i / rows) * height + y0 + i % rows) * width + x0;
                assert!(line == &raw[start * item..][..row * item], "{name} s{n} {block} row {i}");
            }
        }
    }
}

/// A chunk that is cut, or has bytes behind it, is an error that names it, whatever the codec.
fn refuses_other_lengths(source: &ZarrSource, level: LevelIndex, block: CellIndex, raw: &[u8]) {
    let (described, _, indices) = source.chunk(level, block).unwrap();
    let location = described.object(indices);
    let longer: Vec<u8> = raw.iter().copied().chain([0]).collect();
    for bytes in [&raw[..raw.len() - 1], &raw[..raw.len() / 2], &[], &longer] {
        match source.decode(level, block, Bytes::copy_from_slice(bytes)) {
            Err(SourceError::Malformed { file, .. }) => assert_eq!(file, location.to_string()),
            other => panic!("{location}: {other:?}"),
        }
    }
}
