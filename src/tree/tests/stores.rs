//! Stores: documents, chunks, labels and what is refused.

use super::*;
use crate::geometry::{CellIndex, LevelIndex, Region};
use crate::tree::read::ChunkRef;

fn chunk(tree: &Tree, path: &str) -> ChunkRef {
    match tree.read_node(walk(tree, path).unwrap()).unwrap() {
        NodeContent::Chunk(chunk) => chunk,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_store_lists_its_documents_and_levels() {
    let tree = described();
    assert_eq!(names(&tree, "chunked/em.zarr"), [".", "..", ".zgroup", ".zattrs", ".zmetadata", "s0", "s1", "s2"]);
    assert_eq!(names(&tree, "chunked/em.v3.zarr"), [".", "..", "zarr.json", "s0", "s1", "s2"]);
    assert_eq!(names(&tree, "planes/em.zarr/s0"), [".", "..", ".zarray", ".zattrs", "0", "1", "2", "3", "4"]);
    assert_eq!(names(&tree, "planes/em.v3.zarr/s0"), [".", "..", "zarr.json", "c"]);
    assert_eq!(names(&tree, "planes/em.v3.zarr/s0/c/4"), [".", "..", "0", "1", "2", "3"]);
    assert_eq!(names(&tree, "planes/em.zarr/s0/4/3"), [".", "..", "0", "1"]);
}

#[test]
fn files_have_the_size_of_what_is_read() {
    let tree = described();
    let files = [
        ("em.zarr/.zgroup", None),
        ("em.zarr/.zattrs", None),
        ("em.zarr/.zmetadata", None),
        ("em.zarr/s0/.zarray", None),
        ("em.zarr/s0/.zattrs", None),
        ("em.v3.zarr/zarr.json", None),
        ("em.v3.zarr/s0/zarr.json", None),
        ("em.zarr/s0/4/3/1", Some(4 * 32 * 64 * 2)),
        ("em.v3.zarr/s0/c/0/0/0", Some(4 * 32 * 64 * 2)),
        ("em.chunk-64.zarr/s0/0/0/0", Some(64 * 64 * 64 * 2)),
        ("training.zarr/labels/.zattrs", None),
        ("training.zarr/labels/mitochondria/.zmetadata", None),
        ("training.v3.zarr/labels/zarr.json", None),
    ];
    for (name, size) in files {
        let inode = walk(&tree, &format!("planes/{name}")).unwrap();
        let attributes = tree.attributes(inode).unwrap();
        assert_eq!(attributes.kind, NodeKind::File);
        match tree.read_node(inode).unwrap() {
            NodeContent::Document(bytes) => assert_eq!(attributes.size, bytes.len() as u64, "{name}"),
            NodeContent::Chunk(chunk) => {
                assert_eq!((Some(attributes.size), chunk.bytes()), (size, attributes.size), "{name}")
            }
            NodeContent::Directory | NodeContent::Tiff(_) => panic!("{name}"),
        }
        assert_eq!(tree.path(inode), format!("planes/{name}"));
    }
    assert_eq!(NodeAttributes::file(513).blocks(), 2);
}

#[test]
fn a_chunk_knows_its_voxels_and_both_formats_share_them() {
    let tree = described();
    let last = chunk(&tree, "planes/em.zarr/s0/4/3/1");
    assert_eq!(last.image, EM);
    assert_eq!((last.level, last.index), (LevelIndex(0), CellIndex([4, 3, 1])));
    assert_eq!(last.region, Region { start: [16, 96, 64], end: [20, 100, 90] });
    assert_eq!(last.shape, Shape([4, 32, 64]));
    assert_eq!(last, chunk(&tree, "planes/em.v3.zarr/s0/c/4/3/1"));
}

#[test]
fn a_crop_shows_its_part_of_the_image() {
    let tree = described();
    let store = "chunked/em.crop-z10-80_y20-60_x30-130.chunk-32.zarr";
    let inner = chunk(&tree, &format!("{store}/s0/2/1/3"));
    assert_eq!(inner.region, Region { start: [74, 52, 126], end: [80, 60, 130] });
    let coarse = chunk(&tree, &format!("{store}/s1/1/0/0"));
    assert_eq!(coarse.region, Region { start: [37, 10, 15], end: [40, 30, 47] });
    assert_eq!(coarse.level, LevelIndex(1));
    assert_eq!(document(&tree, &format!("{store}/s0/.zarray"))["shape"], serde_json::json!([70, 40, 100]));
    let attributes = document(&tree, &format!("{store}/.zattrs"));
    assert_eq!(attributes["multiscales"][0]["name"], "chunked em.crop-z10-80_y20-60_x30-130.chunk-32");
    assert_eq!(
        attributes["multiscales"][0]["datasets"][1]["coordinateTransformations"][1]["translation"],
        serde_json::json!([80.0, 160.0, 240.0])
    );
}

#[test]
fn labels_follow_the_view_of_their_image() {
    let tree = described();
    assert_eq!(names(&tree, "planes/training.zarr"), [".", "..", ".zgroup", ".zattrs", ".zmetadata", "labels", "s0"]);
    assert_eq!(names(&tree, "planes/training.zarr/labels"), [".", "..", ".zgroup", ".zattrs", "mitochondria"]);
    let label = "planes/training.crop-z4-9_y10-50_x20-60.v3.zarr/labels/mitochondria";
    assert_eq!(names(&tree, label), [".", "..", "zarr.json", "s0"]);
    let first = chunk(&tree, &format!("{label}/s0/c/0/0/0"));
    assert_eq!((first.image, first.region), (LABELS, Region { start: [4, 10, 20], end: [8, 42, 60] }));
    assert_eq!(
        document(&tree, "planes/training.zarr/.zmetadata")["metadata"]["labels/mitochondria/s0/.zarray"],
        document(&tree, "planes/training.zarr/labels/mitochondria/s0/.zarray")
    );
    assert_eq!(walk(&tree, "planes/training.zarr/labels/mitochondria/labels"), Err(Miss::NotFound));
    assert_eq!(walk(&tree, "planes/training.zarr/labels/other"), Err(Miss::NotFound));
}

#[test]
fn labels_that_are_given_up_are_listed_and_left_out_of_documents_for_good() {
    let tree = tree();
    tree.describe(TRAINING, Arc::new(pyramid([20, 100, 90], [4, 32, 64], 1))).unwrap();
    let crop = "planes/training.crop-z4-9_y10-50_x20-60.zarr";
    let store = walk(&tree, crop).unwrap();
    let missing = Miss::LabelsNotDescribed { images: vec![], labels: vec![LABELS] };
    assert_eq!(tree.list(store, 0).map(|_| ()), Err(missing));
    tree.give_up(LABELS);
    for described in [false, true] {
        for store in ["planes/training.zarr", crop] {
            assert!(names(&tree, store).contains(&"labels".to_owned()));
            assert_eq!(names(&tree, &format!("{store}/labels")), [".", "..", ".zgroup", ".zattrs", "mitochondria"]);
            let documents = document(&tree, &format!("{store}/.zmetadata"));
            assert!(documents["metadata"].as_object().unwrap().keys().all(|name| !name.contains("mitochondria")));
            assert_eq!(walk(&tree, &format!("{store}/labels/mitochondria/s0")).is_ok(), described);
        }
        tree.describe(LABELS, Arc::new(pyramid([20, 100, 90], [4, 32, 64], 1))).unwrap();
    }
}

#[test]
fn labels_of_another_shape_without_a_voxel_size_are_left_out_of_crops_only() {
    let tree = tree();
    tree.describe(TRAINING, Arc::new(pyramid([20, 100, 90], [4, 32, 64], 1))).unwrap();
    let labels = Pyramid { calibrated: [false; 3], ..pyramid([10, 50, 45], [4, 32, 64], 1) };
    tree.describe(LABELS, Arc::new(labels)).unwrap();
    assert!(walk(&tree, "planes/training.zarr/labels/mitochondria/s0/0/0/0").is_ok());
    assert!(walk(&tree, "planes/training.chunk-64.zarr/labels/mitochondria/s0/0/0/0").is_ok());
    let crop = "planes/training.crop-z0-5_y0-50_x0-45.zarr";
    assert_eq!(walk(&tree, &format!("{crop}/labels")), Err(Miss::NotFound));
    assert_eq!(names(&tree, crop), [".", "..", ".zgroup", ".zattrs", ".zmetadata", "s0"]);
    let documents = document(&tree, &format!("{crop}/.zmetadata"));
    assert!(documents["metadata"].as_object().unwrap().keys().all(|name| !name.starts_with("labels")));
}

#[test]
fn labels_without_a_voxel_size_lie_on_their_image_where_they_have_its_shape() {
    let uncalibrated = |shape: [u64; 3]| {
        let mut label = Pyramid { calibrated: [false; 3], ..pyramid(shape, [4, 32, 64], 2) };
        for (level, (factor, first)) in label.levels.iter_mut().zip([(1.0, 3.0), (2.0, 3.5)]) {
            (level.scale, level.translation) = ([factor; 3], [first; 3]);
        }
        label
    };
    let mut image = pyramid([20, 100, 90], [4, 32, 64], 1);
    (image.levels[0].scale, image.levels[0].translation) = ([30.0, 8.0, 4.0], [100.0, 10.0, 1.0]);
    let places = |label: Pyramid, store: &str| {
        let tree = tree();
        tree.describe(TRAINING, Arc::new(image.clone())).unwrap();
        tree.describe(LABELS, Arc::new(label)).unwrap();
        let document = document(&tree, &format!("planes/{store}/labels/mitochondria/.zattrs"));
        let image = &document["multiscales"][0];
        let levels = image["datasets"].as_array().unwrap().iter();
        let place = |level: &serde_json::Value| {
            let transformations = &level["coordinateTransformations"];
            let place = serde_json::json!([transformations[0]["scale"], transformations[1]["translation"]]);
            serde_json::from_value(place).unwrap()
        };
        let places: Vec<[[f64; 3]; 2]> = levels.map(place).collect();
        (places, image["axes"][0]["unit"].as_str().map(str::to_owned))
    };
    let nanometres = Some("nanometer".to_owned());
    let (fine, coarse) = ([[30.0, 8.0, 4.0], [100.0, 10.0, 1.0]], [[60.0, 16.0, 8.0], [115.0, 14.0, 3.0]]);
    assert_eq!(places(uncalibrated([20, 100, 90]), "training.zarr"), (vec![fine, coarse], nanometres.clone()));
    let (fine, coarse) = ([[30.0, 8.0, 4.0], [160.0, 10.0, 1.0]], [[60.0, 16.0, 8.0], [175.0, 14.0, 3.0]]);
    let crop = "training.crop-z2-5_y0-50_x0-45.zarr";
    assert_eq!(places(uncalibrated([20, 100, 90]), crop), (vec![fine, coarse], nanometres.clone()));
    let own = vec![[[8.0; 3], [0.0; 3]]];
    assert_eq!(places(pyramid([20, 100, 90], [4, 32, 64], 1), "training.zarr"), (own, nanometres));
    let counted = vec![[[1.0; 3], [3.0; 3]], [[2.0; 3], [3.5; 3]]];
    assert_eq!(places(uncalibrated([10, 50, 45]), "training.zarr"), (counted, None));
}

#[test]
fn labels_keep_their_chunks_where_the_view_s_make_files_too_large() {
    let tree = tree();
    let image = Pyramid { dtype: DataType::U8, ..pyramid([20, 100, 90], [4, 32, 64], 1) };
    let label = Pyramid { dtype: DataType::U64, ..pyramid([20, 100, 90], [4, 32, 64], 1) };
    tree.describe(TRAINING, Arc::new(image)).unwrap();
    tree.describe(LABELS, Arc::new(label)).unwrap();
    let store = "planes/training.chunk-256.zarr";
    assert_eq!(chunk(&tree, &format!("{store}/s0/0/0/0")).shape, Shape([256; 3]));
    assert_eq!(chunk(&tree, &format!("{store}/labels/mitochondria/s0/0/0/0")).shape, Shape([4, 32, 64]));
}

#[test]
fn a_view_that_the_image_does_not_allow_is_not_there() {
    let tree = described();
    for name in ["em.crop-z0-21_y0-9_x0-9.zarr", "em.chunk-8.zarr", "em.chunk-1024.zarr", "em.chunk-1x1x2047.zarr"] {
        assert_eq!(walk(&tree, &format!("planes/{name}")), Err(Miss::NotFound), "{name}");
    }
    assert_eq!(tree.live_views(), 0);
}

#[test]
fn a_named_view_outside_its_image_is_an_error_and_not_an_empty_directory() {
    let tree = tree();
    tree.describe(CHUNKED_EM, Arc::new(pyramid([3, 3, 3], [32; 3], 1))).unwrap();
    let store = walk(&tree, "chunked/sample.zarr").unwrap();
    let error = tree.list(store, 0).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "sample: z 0-4 is outside the image, whose z extent is 3");
    assert!(matches!(walk(&tree, "chunked/sample.zarr/s0"), Err(Miss::Unusable { .. })));
}

#[test]
fn what_cannot_be_shown_is_refused_when_it_is_described() {
    let tree = tree();
    let describe = |pyramid: Pyramid| tree.describe(EM, Arc::new(pyramid)).unwrap_err().to_string();
    let good = || pyramid([100; 3], [10; 3], 2);
    let with = |change: fn(&mut Pyramid)| {
        let mut pyramid = good();
        change(&mut pyramid);
        pyramid
    };
    assert_eq!(
        describe(pyramid([1 << 14, 1 << 14, 1 << 14], [1; 3], 1)),
        "level 0 has too many chunks (16384×16384×16384, z×y×x) for the numbers of files"
    );
    assert_eq!(describe(pyramid([u64::MAX; 3], [1; 3], 1)).split(" (").next(), Some("level 0 has too many chunks"));
    assert_eq!(describe(pyramid([100; 3], [10; 3], 0)), "the image has 0 levels; 1 to 31 can be shown");
    assert_eq!(
        describe(with(|image| image.levels = vec![image.levels[0].clone(); 32])),
        "the image has 32 levels; 1 to 31 can be shown"
    );
    assert_eq!(
        describe(with(|image| image.levels[1].grid.shape = Shape([5, 0, 5]))),
        "level 1 has shape 5×0×5 and chunks 10×10×10, which are no files"
    );
    for cell in [[0, 1, 1], [u64::MAX, 2, 1], [1 << 31, 1 << 31, 1]] {
        let mut image = good();
        image.levels[0].grid.cell = Shape(cell);
        assert!(matches!(tree.describe(EM, Arc::new(image)), Err(TreeError::Shape { level: 0, .. })), "{cell:?}");
    }
    for scale in [0.0, -4.0, f64::NAN, f64::INFINITY] {
        let mut image = good();
        image.levels[1].scale[1] = scale;
        assert_eq!(tree.describe(EM, Arc::new(image)), Err(TreeError::Scale { level: 1 }));
    }
    assert_eq!(describe(with(|image| image.window.1 = f64::NAN)), "the display window is not finite");
    assert!(tree.pyramid(EM).is_none());
    tree.describe(EM, Arc::new(good())).unwrap();
    tree.describe(EM, Arc::new(pyramid([7; 3], [7; 3], 1))).unwrap();
    assert_eq!(tree.pyramid(EM).unwrap().levels.len(), 2, "what was answered once stays true");
}

#[test]
fn a_level_alone_is_listed_with_the_arrays_of_its_positions() {
    let tree = described();
    assert_eq!(
        names(&tree, "chunked/em.s1.zarr"),
        [".", "..", ".zgroup", ".zattrs", ".zmetadata", "s1", "z", "y", "x"]
    );
    assert_eq!(names(&tree, "chunked/em.s1.v3.zarr"), [".", "..", "zarr.json", "s1", "z", "y", "x"]);
    assert_eq!(names(&tree, "chunked/em.s1.zarr/y"), [".", "..", ".zarray", ".zattrs", "0"]);
    assert_eq!(names(&tree, "chunked/em.s1.v3.zarr/y"), [".", "..", "zarr.json", "c"]);
    assert_eq!(names(&tree, "chunked/em.s1.v3.zarr/y/c"), [".", "..", "0"]);
    assert_eq!(document(&tree, "chunked/em.s1.zarr/y/.zarray")["shape"], serde_json::json!([70]));
    for path in ["em.s1.zarr/y/0", "em.s1.v3.zarr/y/c/0"] {
        let inode = walk(&tree, &format!("chunked/{path}")).unwrap();
        let NodeContent::Document(bytes) = tree.read_node(inode).unwrap() else { panic!("{path}") };
        assert_eq!((bytes.len() as u64, bytes.len()), (tree.attributes(inode).unwrap().size, 70 * 8));
        assert_eq!(tree.path(inode), format!("chunked/{path}"));
    }
    // Inodes of what is inside lead back to where it is, whatever is listed.
    for path in ["em.s1.zarr/y", "em.s1.zarr/y/0", "em.s1.v3.zarr/y/c", "em.s1.zarr/s1/0/0/0", "em.s1.zarr/y/.zattrs"] {
        let inode = walk(&tree, &format!("chunked/{path}")).unwrap();
        assert_eq!(tree.path(inode), format!("chunked/{path}"));
    }
    for path in [
        "em.zarr/z",
        "em.s1.zarr/s0",
        "em.s1.zarr/y/1",
        "em.s1.zarr/y/c",
        "em.s1.v3.zarr/y/0",
        "em.s3.zarr",
        "em.s1.zarr/zy",
    ] {
        assert_eq!(walk(&tree, &format!("chunked/{path}")), Err(Miss::NotFound), "{path}");
    }
}

#[test]
fn labels_without_the_level_are_left_out_of_a_view_of_it() {
    let tree = described();
    assert!(names(&tree, "planes/training.s0.zarr").contains(&"labels".to_owned()));
    assert_eq!(
        document(&tree, "planes/training.s0.zarr/labels/.zattrs")["labels"],
        serde_json::json!(["mitochondria"])
    );
    assert_eq!(walk(&tree, "planes/training.s1.zarr"), Err(Miss::NotFound));
}
