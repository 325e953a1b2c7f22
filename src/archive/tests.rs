use std::time::Duration;

use super::*;
use crate::catalog::Catalog;
use crate::demo::Replica;
use crate::dtype::DataType;
use crate::geometry::{LevelIndex, Shape};
use crate::source::Placement;

fn catalog(replica: &Replica) -> (Remote, Catalog) {
    let catalog = Catalog::parse(&replica.catalog_toml(), "replica", None).unwrap();
    let remote = Remote::new(catalog.limits.clone(), Duration::from_secs(10), Default::default()).unwrap();
    (remote, catalog)
}

/// All voxels of the finest level, C order, and how many blocks the origin does not hold.
async fn voxels(opened: &Opened) -> (Vec<u8>, usize) {
    let description = opened.source.description();
    let (grid, size) = (description.levels[0].grid, description.dtype.size());
    let [_, height, width] = grid.shape.0.map(|extent| extent as usize);
    let mut whole = vec![0; grid.shape.bytes(size).unwrap() as usize];
    let mut absent = 0;
    for block in grid.cells_in(&grid.shape.region()) {
        let raw = match opened.source.locate(LevelIndex(0), block).await.unwrap() {
            Placement::Absent { .. } => None,
            Placement::Range { object, start, length } => Some(object.range(start..start + length).await.unwrap()),
            Placement::Packed { .. } => panic!("no archive has compressed files"),
            Placement::Whole { object, limit, witness } => object.whole_if_there(limit, &witness).await.unwrap(),
        };
        let Some(raw) = raw else {
            absent += 1;
            continue;
        };
        let decoded = opened.source.decode(LevelIndex(0), block, raw.bytes).unwrap();
        let region = grid.region(block);
        let [_, rows, columns] = region.shape().0.map(|extent| extent as usize);
        let [z, y, x] = region.start.map(|start| start as usize);
        for (number, row) in decoded.chunks_exact(columns * size).enumerate() {
            let place = ((z + number / rows) * height + y + number % rows) * width + x;
            whole[place * size..][..row.len()].copy_from_slice(row);
        }
    }
    (whole, absent)
}

#[tokio::test]
async fn the_image_of_idr_is_found_through_omero() {
    let replica = Replica::start().unwrap();
    let (remote, catalog) = catalog(&replica);
    let opened = open(&remote, &catalog.datasets[0].images[0].source).await.unwrap();
    let description = opened.source.description();
    assert_eq!((description.levels[0].grid.shape, description.dtype), (Shape([24, 155, 225]), DataType::U8));
    assert_eq!((description.levels[0].scale, opened.voxel_size), (Some([20.0; 3]), Some([20.0; 3])));
    assert_eq!(description.window, Some((36.0, 199.0)));
    assert_eq!(opened.documents.len(), 7);
    assert!(opened.location.to_string().ends_with("_xy.tif"));
    let (voxels, absent) = voxels(&opened).await;
    // The file holds all planes in one run, behind its first directory.
    let file = remote.object(&opened.location).unwrap().whole(1 << 20).await.unwrap().bytes;
    assert!(absent == 0 && voxels == file[400..][..voxels.len()]);
}

#[tokio::test]
async fn a_failure_keeps_what_the_archive_answered_before() {
    let replica = Replica::start().unwrap();
    let (remote, catalog) = catalog(&replica);
    let mut spec = catalog.datasets[0].images[0].source.clone();
    let SourceKind::Idr { files, .. } = &mut spec.kind else { panic!("{:?}", spec.kind) };
    files.set_path("/nowhere");
    let failure = open(&remote, &spec).await.err().unwrap();
    assert!(failure.to_string().contains("/nowhere/"), "{failure}");
    let names: Vec<_> = failure.documents.iter().map(|document| document.name.as_str()).collect();
    assert!(names.contains(&"omero-image.json") && names.contains(&"omero-study.json"), "{names:?}");
}

#[tokio::test]
async fn an_epfl_volume_opens_in_three_requests() {
    let replica = Replica::start().unwrap();
    let (remote, catalog) = catalog(&replica);
    let dataset = &catalog.datasets[2];
    let opened = open(&remote, &dataset.images[0].source).await.unwrap();
    assert!(replica.requests() <= 3, "{}", replica.requests());
    let description = opened.source.description();
    assert_eq!((description.levels[0].grid.shape, description.dtype), (Shape([20, 144, 192]), DataType::U8));
    assert_eq!((description.levels[0].scale, opened.voxel_size), (None, None), "no file says the voxel size");
    let (volume, _) = voxels(&opened).await;
    let training = open(&remote, &dataset.images[1].source).await.unwrap();
    let (training, _) = voxels(&training).await;
    // The training part is the volume's first 11 slices, upper left quarter.
    for (number, row) in training.chunks_exact(96).enumerate() {
        assert_eq!(row, &volume[(number / 72 * 144 + number % 72) * 192..][..96], "row {number}");
    }
    let labels = open(&remote, &dataset.images[1].labels[0].source).await.unwrap();
    let (labels, _) = voxels(&labels).await;
    assert!(
        labels.len() == training.len() && labels.contains(&255) && labels.iter().all(|label| matches!(label, 0 | 255))
    );
}

#[tokio::test]
async fn the_pyramid_of_openorganelle_has_its_absent_chunk() {
    let replica = Replica::start().unwrap();
    let (remote, catalog) = catalog(&replica);
    let opened = open(&remote, &catalog.datasets[3].images[0].source).await.unwrap();
    let description = opened.source.description();
    let shapes: Vec<_> = description.levels.iter().map(|level| level.grid.shape.0).collect();
    assert_eq!(shapes, [[70, 150, 170], [35, 75, 85], [17, 37, 42], [8, 18, 21]]);
    assert_eq!((description.dtype, description.levels[1].translation), (DataType::I16, [1.48, 2.0, 2.0]));
    let (voxels, absent) = voxels(&opened).await;
    assert_eq!(absent, 1);
    // The values are 59 n − 1500 but where the absent chunk leaves the fill value.
    let values: Vec<i16> = voxels.chunks_exact(2).map(|voxel| i16::from_le_bytes([voxel[0], voxel[1]])).collect();
    assert!(values.iter().all(|&value| value == 0 || (value + 1500) % 59 == 0));
    assert_eq!(values.iter().filter(|&&value| value == 0).count(), 6 * 22 * 42);
}
