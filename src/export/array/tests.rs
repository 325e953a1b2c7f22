use super::*;
use crate::export::plan::{ExportOptions, Plan};
use crate::export::tests::request;
use crate::geometry::Shape;
use crate::stats::Stats;

/// An array of 100 shards of two chunks each, in a folder.
fn shards(folder: &std::path::Path) -> (Arc<ArrayExport>, Destination) {
    let mut request = request([1600, 16, 32], [16; 3], [16; 3], None);
    request.options = ExportOptions { v3: true, shard: Some(Shape([16, 16, 32])), ..ExportOptions::default() };
    let plan = Plan::new(&request, 1 << 20).unwrap();
    let array = ArrayExport::open(plan.targets[0].clone(), folder.join("state")).unwrap();
    (Arc::new(array), Destination::Directory(folder.join("x.zarr")))
}

#[tokio::test]
async fn shards_that_are_begun_are_not_all_open() {
    let folder = tempfile::tempdir().unwrap();
    let progress = Progress::new(Arc::new(Stats::default()));
    let voxels = |place: u64| Bytes::from(place.to_le_bytes().repeat(3));
    let (array, destination) = shards(folder.path());
    for z in 0..100 {
        array.write(&destination, CellIndex([z, 0, 1]), voxels(z), &progress).await.unwrap();
        assert!(array.parts.lock().len() <= OPEN);
    }
    drop(array);
    let (array, destination) = shards(folder.path());
    array.recover(&destination, &progress, 1).await.unwrap();
    assert!(array.parts.lock().len() <= OPEN);
    for z in 0..100 {
        assert!(array.is_done(CellIndex([z, 0, 1])) && !array.is_done(CellIndex([z, 0, 0])));
        array.write(&destination, CellIndex([z, 0, 0]), voxels(1000 + z), &progress).await.unwrap();
        let shard = std::fs::read(folder.path().join(format!("x.zarr/s0/c/{z}/0/0"))).unwrap();
        assert_eq!((&shard[..24], &shard[24..48]), (&voxels(1000 + z)[..], &voxels(z)[..]));
    }
    assert!(array.parts.lock().is_empty());
}

#[test]
fn each_chunk_of_a_shard_has_its_own_place_and_no_other_chunk_has_one() {
    let shard = Grid { shape: Shape([32, 48, 64]), cell: Shape([16; 3]) };
    let corner = [4, 9, 0];
    let mut places: Vec<usize> = Vec::new();
    for z in 3..7 {
        for y in 8..13 {
            for x in 0..6 {
                let inside = (4..6).contains(&z) && (9..12).contains(&y) && x < 4;
                let place = place_in(&shard, corner, CellIndex([z, y, x]));
                assert_eq!(place.is_some(), inside, "{z} {y} {x}");
                places.extend(place);
            }
        }
    }
    assert_eq!(places, (0..24).collect::<Vec<_>>());
}
