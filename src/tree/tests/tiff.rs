//! The TIFF files beside the stores.

use crate::tree::tiff::TiffPart;
use proptest::prelude::*;

use super::*;
use crate::geometry::LevelIndex;

fn file(tree: &Tree, path: &str) -> TiffRef {
    match tree.read_node(walk(tree, path).unwrap()).unwrap() {
        NodeContent::Tiff(file) => *file,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_shows_what_the_store_of_its_name_does() {
    let tree = described();
    for (path, image, level, region) in [
        ("planes/em.tif", EM, 0, Region { start: [0; 3], end: [20, 100, 90] }),
        ("planes/training.labels-mitochondria.tif", LABELS, 0, Region { start: [0; 3], end: [20, 100, 90] }),
        (
            "planes/training.crop-z1-9_y3-90_x5-77.labels-mitochondria.tif",
            LABELS,
            0,
            Region { start: [1, 3, 5], end: [9, 90, 77] },
        ),
        ("chunked/em.s2.tif", CHUNKED_EM, 2, Region { start: [0; 3], end: [38, 35, 33] }),
        (
            "chunked/em.crop-z10-80_y20-60_x30-130.s1.tif",
            CHUNKED_EM,
            1,
            Region { start: [5, 10, 15], end: [40, 30, 65] },
        ),
        ("chunked/sample.tif", CHUNKED_EM, 0, Region { start: [0; 3], end: [4; 3] }),
    ] {
        let inode = walk(&tree, path).unwrap();
        let found = file(&tree, path);
        assert_eq!((found.image, found.level, found.region), (image, LevelIndex(level), region), "{path}");
        assert_eq!(tree.attributes(inode), Ok(NodeAttributes::file(found.layout.size())));
        assert_eq!(tree.path(inode), path);
        assert_eq!(tree.lookup(inode, OsStr::new("s0")), Err(Miss::NotADirectory));
    }
}

#[test]
fn a_name_without_a_level_is_the_finest_that_every_program_reads() {
    let tree = tree();
    let large = Pyramid { dtype: DataType::U16, ..pyramid([1500, 1500, 1500], [64; 3], 3) };
    tree.describe(CHUNKED_EM, Arc::new(large)).unwrap();
    assert_eq!(file(&tree, "chunked/em.tif").level, LevelIndex(1));
    assert!(!file(&tree, "chunked/em.s0.tif").layout.is_classic());
    assert!(names(&tree, "chunked").contains(&"em.tif".to_owned()));
    tree.describe(EM, Arc::new(pyramid([1500, 1500, 1500], [64; 3], 1))).unwrap();
    assert!(!file(&tree, "planes/em.tif").layout.is_classic());
    assert!(!names(&tree, "planes").contains(&"em.tif".to_owned()), "a person would not copy it");
}

#[test]
fn files_of_what_is_not_there_are_not_there_and_leave_nothing_behind() {
    let tree = described();
    for path in [
        "planes/none.tif",
        "planes/em.s1.tif",
        "planes/em.labels-mitochondria.tif",
        "planes/training.labels-none.tif",
        "planes/em.crop-z0-21_y0-1_x0-1.tif",
        "planes/training.crop-z0-2_y0-1_x0-1.labels-none.tif",
        "planes/em.v3.tif",
        "planes/em.chunk-64.tif",
        "planes/em.tiff",
    ] {
        assert_eq!(walk(&tree, path), Err(Miss::NotFound), "{path}");
    }
    assert_eq!(tree.live_views(), 0);
}

#[test]
fn labels_have_a_file_of_a_level_that_their_image_has_not() {
    let tree = tree();
    tree.describe(TRAINING, Arc::new(pyramid([20, 100, 90], [4, 32, 64], 2))).unwrap();
    tree.describe(LABELS, Arc::new(pyramid([20, 100, 90], [4, 32, 64], 3))).unwrap();
    for view in ["", ".crop-z1-9_y3-90_x5-77"] {
        let path = format!("planes/training{view}.s2.labels-mitochondria.tif");
        let inode = walk(&tree, &path).unwrap();
        assert_eq!((file(&tree, &path).image, file(&tree, &path).level), (LABELS, LevelIndex(2)));
        assert_eq!(tree.path(inode), path);
        // Neither the store nor the image's file is there, while that is live or not.
        for other in ["zarr", "v3.zarr", "tif"] {
            assert_eq!(walk(&tree, &format!("planes/training{view}.s2.{other}")), Err(Miss::NotFound), "{other}");
        }
        let none = format!("planes/training{view}.s3.labels-mitochondria.tif");
        assert_eq!(walk(&tree, &none), Err(Miss::NotFound));
        assert_eq!(tree.live_views(), 1);
        tree.forget(inode, 3);
        assert_eq!(tree.live_views(), 0);
    }
    let outside = "planes/training.crop-z0-21_y0-1_x0-1.s2.labels-mitochondria.tif";
    assert_eq!((walk(&tree, outside), tree.live_views()), (Err(Miss::NotFound), 0));
}

#[test]
fn a_file_is_not_listed_before_its_size_is_known() {
    let tree = tree();
    assert!(!names(&tree, "planes").iter().any(|name| name.ends_with(".tif")));
    assert_eq!(walk(&tree, "planes/em.tif"), Err(Miss::NotDescribed(vec![EM])));
    tree.describe(EM, Arc::new(pyramid([20, 100, 90], [4, 32, 64], 1))).unwrap();
    assert!(names(&tree, "planes").contains(&"em.tif".to_owned()));
    let missing = Err(Miss::NotDescribed(vec![TRAINING]));
    assert_eq!(
        walk(&tree, "planes/training.labels-mitochondria.tif").map(|_| ()),
        missing.or(Err(Miss::NotDescribed(vec![TRAINING, LABELS])))
    );
}

#[test]
fn a_file_and_a_store_of_one_name_are_one_view() {
    let tree = described();
    let (name, other) = ("chunked/em.crop-z10-80_y20-60_x30-130", "chunked/em.crop-z10-80_y20-60_x30-130.tif");
    let inode = walk(&tree, other).unwrap();
    let store = walk(&tree, &format!("{name}.zarr")).unwrap();
    assert_eq!(tree.live_views(), 1);
    tree.forget(store, 1);
    assert_eq!(tree.live_views(), 1);
    tree.forget(inode, 1);
    assert_eq!(tree.live_views(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128).min(20_000)))]

    #[test]
    fn the_parts_of_a_file_are_its_voxels_one_after_another(
        shape in proptest::array::uniform3(1u64..40),
        cell in 1u64..20,
        bytes in 1u64..6000,
        at in any::<proptest::sample::Index>(),
        length in 1u64..5000,
    ) {
        let tree = tree();
        tree.describe(EM, Arc::new(pyramid(shape, [cell; 3], 1))).unwrap();
        let file = file(&tree, "planes/em.tif");
        let (mut end, mut first) = (file.layout.voxels(), 0);
        let parts: Vec<TiffPart> = (0..file.parts(bytes)).map(|number| file.part(number, bytes)).collect();
        for part in &parts {
            prop_assert_eq!(part.start, end);
            prop_assert_eq!(part.bytes, part.region.shape().bytes(2).unwrap());
            prop_assert!(part.bytes <= bytes.max(shape[2] * 2));
            let [z, y, x] = part.region.start;
            prop_assert_eq!((z * shape[1] + y) * shape[2] + x, first);
            first += part.bytes / 2;
            end += part.bytes;
        }
        prop_assert_eq!(end, file.layout.size());
        let from = at.index(end as usize) as u64;
        let wanted = from..from + length;
        let found = file.parts_in(&wanted, bytes);
        for (number, part) in (0..).zip(&parts) {
            let overlaps = part.start < wanted.end && wanted.start < part.start + part.bytes;
            prop_assert_eq!(found.contains(&number), overlaps, "{}", number);
        }
    }
}
