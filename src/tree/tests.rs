//! What the tree promises, on a catalogue of two datasets.

mod numbers;
mod random;
mod remains;
mod stores;
mod tiff;
mod views;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use url::Url;

use super::*;
use crate::catalog::{
    Dataset, ImageSpec, LabelSpec, NamedView, Overrides, Recorded, SourceKind, SourceSpec, VolumeFiles,
};
use crate::dtype::DataType;
use crate::geometry::{Grid, Region, Shape};
use crate::remote::Location;
use crate::volume::Level;

const PLANES: DatasetId = DatasetId(0);
const CHUNKED: DatasetId = DatasetId(1);
/// `planes/em`
const EM: ImageId = ImageId(0);
/// `planes/training`, followed by its labels.
const TRAINING: ImageId = ImageId(1);
const LABELS: ImageId = ImageId(2);
/// `chunked/em`
const CHUNKED_EM: ImageId = ImageId(3);

fn source(planes: bool, chunk: Option<[u64; 3]>) -> SourceSpec {
    let url = Location::anonymous(Url::parse("http://localhost/volume").unwrap());
    let kind = if planes { SourceKind::Tiff { files: VolumeFiles::File(url) } } else { SourceKind::Zarr { url } };
    SourceSpec {
        pyramid: true,
        first_level: None,
        label: None,
        kind,
        chunk,
        window: None,
        recorded_window: None,
        recorded: Recorded::default(),
        voxel_size: None,
        channel: None,
        overrides: Overrides::default(),
        tissue: None,
    }
}

fn dataset(name: &str, images: Vec<ImageSpec>, views: Vec<NamedView>) -> Dataset {
    Dataset { name: name.to_owned(), about: toml::Table::new(), images, views }
}

fn image(name: &str, source: SourceSpec, labels: &[&str]) -> ImageSpec {
    let label = |name: &&str| LabelSpec { name: (*name).to_owned(), source: source.clone() };
    ImageSpec { name: name.to_owned(), labels: labels.iter().map(label).collect(), source: source.clone() }
}

fn catalog() -> Catalog {
    let planes = || source(true, None);
    let sample = NamedView { name: "sample".to_owned(), image: 0, crop: Region { start: [0; 3], end: [4; 3] } };
    let datasets = vec![
        dataset("planes", vec![image("em", planes(), &[]), image("training", planes(), &["mitochondria"])], vec![]),
        dataset("chunked", vec![image("em", source(false, None), &[])], vec![sample]),
    ];
    Catalog { datasets, ..Catalog::default() }
}

fn tree() -> Tree {
    Tree::new(Arc::new(catalog())).unwrap()
}

fn pyramid(shape: [u64; 3], chunk: [u64; 3], levels: u32) -> Pyramid {
    let level = |n: u32| Level {
        grid: Grid { shape: Shape(shape.map(|extent| extent.div_ceil(1 << n))), cell: Shape(chunk) },
        scale: [f64::from(8 << n); 3],
        translation: [0.0; 3],
        corner: [0.0; 3],
        offset: [0; 3],
    };
    let levels = (0..levels).map(level).collect();
    Pyramid { window: (0.0, 65535.0), ..Pyramid::for_tests(DataType::U16, levels) }
}

fn described() -> Tree {
    let tree = tree();
    for image in [EM, TRAINING, LABELS] {
        tree.describe(image, Arc::new(pyramid([20, 100, 90], [4, 32, 64], 1))).unwrap();
    }
    tree.describe(CHUNKED_EM, Arc::new(pyramid([150, 140, 130], [32; 3], 3))).unwrap();
    tree
}

/// Looks up a path below the mountpoint.
fn walk(tree: &Tree, path: &str) -> Result<Inode, Miss> {
    path.split('/').try_fold(Inode::ROOT, |parent, name| match tree.lookup(parent, OsStr::new(name))? {
        NamedEntry::Node(inode, _) => Ok(inode),
        NamedEntry::Mutable(_) => Err(Miss::NotADirectory),
    })
}

fn names(tree: &Tree, path: &str) -> Vec<String> {
    let inode = if path.is_empty() { Inode::ROOT } else { walk(tree, path).unwrap() };
    tree.list(inode, 0).unwrap().map(|entry| entry.name.into_owned()).collect()
}

fn document(tree: &Tree, path: &str) -> serde_json::Value {
    match tree.read_node(walk(tree, path).unwrap()).unwrap() {
        NodeContent::Document(bytes) => serde_json::from_slice(&bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_root_lists_the_datasets() {
    let expected = [&[".", "..", "planes", "chunked"][..], &crate::catalog::ROOT_DOCUMENTS].concat();
    assert_eq!(names(&tree(), ""), expected);
}

#[test]
fn a_dataset_is_listed_before_anything_is_described() {
    let tree = tree();
    assert_eq!(
        names(&tree, "planes"),
        [
            ".",
            "..",
            "em.zarr",
            "em.v3.zarr",
            "em.chunk-64.zarr",
            "em.chunk-64.v3.zarr",
            "training.zarr",
            "training.v3.zarr",
            "training.chunk-64.zarr",
            "training.chunk-64.v3.zarr",
            "metadata.json",
            "croissant.json",
            "ro-crate-metadata.json",
            "upstream"
        ]
    );
    assert_eq!(
        names(&tree, "chunked"),
        [
            ".",
            "..",
            "em.zarr",
            "em.v3.zarr",
            "sample.zarr",
            "sample.v3.zarr",
            "metadata.json",
            "croissant.json",
            "ro-crate-metadata.json",
            "upstream"
        ]
    );
}

#[test]
fn common_chunks_are_listed_where_the_image_s_own_are_known_to_differ() {
    let listed = |tree: &Tree| names(tree, "d").contains(&"em.chunk-64.zarr".to_owned());
    let tree = |planes, chunk| {
        let datasets = vec![dataset("d", vec![image("em", source(planes, chunk), &[])], vec![])];
        Tree::new(Arc::new(Catalog { datasets, ..Catalog::default() })).unwrap()
    };
    assert!(listed(&tree(true, None)));
    assert!(!listed(&tree(true, Some([64; 3]))));
    assert!(!listed(&tree(false, None)));
    assert!(listed(&tree(false, Some([32; 3]))));
    assert!(!listed(&tree(false, Some([64; 3]))));
    for (chunk, expected) in [([64; 3], false), ([64, 64, 32], true)] {
        let tree = tree(false, None);
        tree.describe(ImageId(0), Arc::new(pyramid([100; 3], chunk, 1))).unwrap();
        assert_eq!(listed(&tree), expected);
        assert!(walk(&tree, "d/em.chunk-64.zarr/s0/0/0/0").is_ok(), "found by name in any case");
    }
}

#[test]
fn stores_are_found_without_a_description_but_not_what_is_in_them() {
    let tree = tree();
    for name in ["planes/em.zarr", "planes/em.chunk-64.v3.zarr", "chunked/em.chunk-64.zarr", "chunked/sample.zarr"] {
        let inode = walk(&tree, name).unwrap();
        assert_eq!(tree.attributes(inode), Ok(NodeAttributes::DIRECTORY), "{name}");
        assert!(matches!(tree.list(inode, 0).map(|_| ()), Err(Miss::NotDescribed(_))), "{name}");
    }
    assert_eq!(walk(&tree, "planes/em.zarr/.zattrs"), Err(Miss::NotDescribed(vec![EM])));
    assert_eq!(walk(&tree, "planes/em.zarr/s0"), Err(Miss::NotDescribed(vec![EM])));
    assert_eq!(walk(&tree, "planes/em.chunk-32.zarr"), Err(Miss::NotDescribed(vec![EM])));
    let missing = Miss::LabelsNotDescribed { images: vec![TRAINING], labels: vec![LABELS] };
    assert_eq!(walk(&tree, "planes/training.zarr/.zmetadata"), Err(missing));
    assert!(walk(&tree, "planes/training.zarr/labels").is_ok(), "its name says that it has labels");
}

#[test]
fn names_that_can_never_exist_are_answered_at_once() {
    let tree = tree();
    let store = |ending: &str| format!("planes/em{ending}");
    for name in ["zarr.json", ".zarray", "labels", "attributes.json", "info", "manifest.ocdbt", "s31", "s00", "c"] {
        assert_eq!(walk(&tree, &format!("{}/{name}", store(".zarr"))), Err(Miss::NotFound), "{name}");
    }
    for name in [".zgroup", ".zarray", ".zattrs", ".zmetadata", "labels", "attributes.json", "info"] {
        assert_eq!(walk(&tree, &format!("{}/{name}", store(".v3.zarr"))), Err(Miss::NotFound), "{name}");
    }
    for name in [
        "em",
        "em.zarr.v3",
        "other.zarr",
        "EM.zarr",
        "em.chunk-064.zarr",
        "em.foo.zarr",
        "upstream.json",
        "sample.zarr",
    ] {
        assert_eq!(walk(&tree, &format!("planes/{name}")), Err(Miss::NotFound), "{name}");
    }
    assert_eq!(walk(&tree, "nothing"), Err(Miss::NotFound));
    assert_eq!(walk(&tree, "chunked/sample.chunk-64.zarr"), Err(Miss::NotFound));
    assert_eq!(tree.lookup(Inode::ROOT, OsStr::from_bytes(b"pl\xffanes")), Err(Miss::NotFound));
}

#[test]
fn names_outside_the_grid_are_not_there() {
    let tree = described();
    for (store, chunks) in [("planes/em.zarr", "s0"), ("planes/em.v3.zarr", "s0/c")] {
        assert!(walk(&tree, &format!("{store}/{chunks}/4/3/1")).is_ok());
        for key in ["5", "4/4", "4/3/2", "00", "4/03", "4/3/+1", "999", "c/0/0", "4/3/.zarray", "-1"] {
            assert_eq!(walk(&tree, &format!("{store}/{chunks}/{key}")), Err(Miss::NotFound), "{store} {key}");
        }
        assert_eq!(walk(&tree, &format!("{store}/{chunks}/4/3/1/0")), Err(Miss::NotADirectory));
        assert_eq!(walk(&tree, &format!("{store}/s1")), Err(Miss::NotFound));
    }
    for name in ["zarr.json", ".zgroup", ".zmetadata", "labels", "c", "attributes.json", "info"] {
        assert_eq!(walk(&tree, &format!("planes/em.zarr/s0/{name}")), Err(Miss::NotFound), "{name}");
    }
    for name in [".zarray", ".zgroup", ".zattrs", "0", "labels"] {
        assert_eq!(walk(&tree, &format!("planes/em.v3.zarr/s0/{name}")), Err(Miss::NotFound), "{name}");
    }
    assert_eq!(walk(&tree, "planes/em.zarr/.zattrs/x"), Err(Miss::NotADirectory));
}

#[test]
fn documents_that_change_are_reported_as_such() {
    let tree = tree();
    let directory = walk(&tree, "chunked").unwrap();
    let upstream = walk(&tree, "chunked/upstream").unwrap();
    let document = |folder, name: &'static str| NamedEntry::Mutable(MutableDocument { folder, name: name.into() });
    for (parent, folder, name) in [
        (directory, Folder::Dataset(CHUNKED), "metadata.json"),
        (Inode::ROOT, Folder::Root, "README.md"),
        (upstream, Folder::Upstream(CHUNKED), "anything"),
    ] {
        assert_eq!(tree.lookup(parent, OsStr::new(name)), Ok(document(folder, name)));
        assert_eq!(tree.folder_at(parent), Some(folder));
        if folder.dataset().is_none() || name == "metadata.json" {
            let listed = tree.list(parent, 0).unwrap().find(|entry| entry.name == name).unwrap();
            assert_eq!(listed.found, document(folder, name));
        }
    }
    assert_eq!(names(&tree, "chunked/upstream"), [".", ".."]);
    assert_eq!(tree.path(upstream), "chunked/upstream");
    assert_eq!(
        tree.list(upstream, 1).unwrap().next().unwrap().found,
        NamedEntry::Node(directory, NodeAttributes::DIRECTORY)
    );
    assert_eq!(tree.folder_at(Inode::new((1 << 40) + 99)), None);
    for number in [0, 1, (1 << 61) - 1] {
        let inode = Inode::revision(number);
        assert_eq!(inode.as_revision(), Some(number));
        assert_eq!(tree.attributes(inode), Err(Miss::Stale));
    }
    assert_eq!(directory.as_revision(), None);
    assert_eq!(walk(&tree, "chunked/em.v3.zarr").unwrap().as_revision(), None);
}

#[test]
fn images_are_told_from_their_numbers() {
    let tree = tree();
    let info = tree.image(LABELS).unwrap();
    assert_eq!(
        (info.dataset.name.as_str(), info.named.image, info.named.label),
        ("planes", "training", Some("mitochondria"))
    );
    assert_eq!(tree.image(CHUNKED_EM).unwrap().dataset_id, CHUNKED);
    assert_eq!(tree.images_of(PLANES).collect::<Vec<_>>(), [EM, TRAINING, LABELS]);
    assert!(tree.image(ImageId(4)).is_none());
}

#[test]
fn threads_can_share_the_tree() {
    fn shared<T: Send + Sync>() {}
    shared::<Tree>();
}
