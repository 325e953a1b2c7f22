//! Properties over random grids and numbers.

use proptest::prelude::*;

use super::*;
use crate::zarr::Format;

fn with_grid(counts: [u64; 3]) -> Tree {
    let tree = tree();
    let shape = std::array::from_fn(|axis| counts[axis] * 16);
    tree.describe(EM, Arc::new(pyramid(shape, [16; 3], 1))).unwrap();
    tree
}

fn key(format: Format, [z, y, x]: [u64; 3]) -> String {
    match format {
        Format::V2 => format!("planes/em.zarr/s0/{z}/{y}/{x}"),
        Format::V3 => format!("planes/em.v3.zarr/s0/c/{z}/{y}/{x}"),
    }
}

#[test]
fn a_million_entries_are_listed_one_by_one_and_from_anywhere() {
    let tree = with_grid([1, 1, 1_000_000]);
    let row = walk(&tree, "planes/em.zarr/s0/0/0").unwrap();
    let mut cookie = 0;
    for (number, entry) in tree.list(row, 0).unwrap().enumerate() {
        cookie = entry.next_cookie;
        if number >= 2 {
            assert_eq!(entry.name, (number - 2).to_string());
        }
    }
    assert_eq!(cookie, 1_000_002);
    let entry = tree.list(row, 900_002).unwrap().next().unwrap();
    assert_eq!(entry.name, "900000");
    // What a listing holds is a few fields, whatever it lists.
    assert!(size_of::<crate::tree::listing::Listing<'_>>() < 256);
    for cookie in [cookie, cookie + 1, u64::MAX - 1, u64::MAX] {
        assert!(tree.list(row, cookie).unwrap().next().is_none());
    }
}

/// Every entry is what a lookup finds, and each cookie continues with the next entry.
fn check_listing(tree: &Tree, directory: Inode) -> Result<(), TestCaseError> {
    let entries: Vec<_> = tree.list(directory, 0).unwrap().collect();
    for (number, entry) in entries.iter().enumerate() {
        let rest: Vec<_> = tree.list(directory, entry.next_cookie).unwrap().collect();
        prop_assert_eq!(&rest[..], &entries[number + 1..]);
        match &*entry.name {
            "." => prop_assert_eq!(&entry.found, &NamedEntry::Node(directory, NodeAttributes::DIRECTORY)),
            ".." => {
                let NamedEntry::Node(parent, _) = entry.found else { panic!() };
                let has_it = tree
                    .list(parent, 0)
                    .unwrap()
                    .skip(2)
                    .any(|entry| matches!(entry.found, NamedEntry::Node(inode, _) if inode == directory));
                prop_assert!(has_it || directory == Inode::ROOT, "{}", tree.path(directory));
            }
            name => prop_assert_eq!(tree.lookup(directory, OsStr::new(name)), Ok(entry.found.clone())),
        }
        if let NamedEntry::Node(inode, attributes) = entry.found {
            prop_assert_eq!(tree.attributes(inode), Ok(attributes));
            prop_assert_eq!(entry.kind(), attributes.kind);
        }
    }
    Ok(())
}

proptest! {
    // Bounded: no bytes from outside are read here, and a case lists whole directories.
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64).min(20_000)))]

    #[test]
    fn listings_are_what_lookups_find(
        counts in proptest::array::uniform3(1u64..12),
        at in proptest::array::uniform3(0u64..12),
        depth in 0usize..6,
        v3 in any::<bool>(),
    ) {
        let tree = with_grid(counts);
        let at = std::array::from_fn(|axis| at[axis] % counts[axis]);
        let format = if v3 { Format::V3 } else { Format::V2 };
        let path = key(format, at);
        let mut directory = Inode::ROOT;
        for name in path.split('/').take(depth) {
            let NamedEntry::Node(inode, attributes) = tree.lookup(directory, OsStr::new(name)).unwrap() else { panic!() };
            if attributes.kind == NodeKind::File {
                break;
            }
            directory = inode;
        }
        check_listing(&tree, directory)?;
    }

    #[test]
    fn labels_and_views_are_listed_as_they_are_found(depth in 0usize..7, crop in any::<bool>()) {
        let tree = described();
        let view = if crop { ".crop-z1-9_y3-90_x5-77.chunk-16" } else { "" };
        let path = format!("planes/training{view}.zarr/labels/mitochondria/s0/0/0");
        let names: Vec<&str> = path.split('/').take(depth).collect();
        // A crop is found in its dataset's directory, but not listed there.
        if !(crop && depth == 2) {
            let directory = if names.is_empty() { Inode::ROOT } else { walk(&tree, &names.join("/")).unwrap() };
            check_listing(&tree, directory)?;
        }
    }

    #[test]
    fn a_chunk_is_found_by_its_name_and_named_by_its_inode(
        counts in proptest::array::uniform3(1u64..5000),
        at in proptest::array::uniform3(0u64..6000),
        v3 in any::<bool>(),
    ) {
        let tree = with_grid(counts);
        let format = if v3 { Format::V3 } else { Format::V2 };
        let path = key(format, at);
        match walk(&tree, &path) {
            Ok(inode) => {
                prop_assert!((0..3).all(|axis| at[axis] < counts[axis]));
                prop_assert_eq!(tree.path(inode), path);
                let NodeContent::Chunk(chunk) = tree.read_node(inode).unwrap() else { panic!() };
                prop_assert_eq!(chunk.index.0, at);
                prop_assert_eq!(chunk.region.start, at.map(|index| index * 16));
            }
            Err(miss) => {
                prop_assert_eq!(miss, Miss::NotFound);
                prop_assert!((0..3).any(|axis| at[axis] >= counts[axis]));
            }
        }
    }

    #[test]
    fn any_number_is_a_node_or_stale(low in any::<u64>(), near in 0u64..1 << 12, shift in 0u32..64, raw in any::<bool>()) {
        let tree = described();
        let inode = Inode::new(if raw { low } else { (near << shift) ^ (1 << 63) ^ (low & 1) << 62 });
        match tree.attributes(inode) {
            Ok(attributes) => {
                let node = tree.read_node(inode).unwrap();
                prop_assert_eq!(matches!(node, NodeContent::Directory), attributes.kind == NodeKind::Directory);
                prop_assert_eq!(tree.list(inode, 0).is_ok(), attributes.kind == NodeKind::Directory);
                prop_assert!(inode == Inode::ROOT || walk(&tree, &tree.path(inode)) == Ok(inode), "{}", tree.path(inode));
            }
            Err(miss) => {
                prop_assert!(matches!(miss, Miss::Stale), "{miss}");
                prop_assert_eq!(tree.lookup(inode, OsStr::new("s0")), Err(Miss::Stale));
                prop_assert!(tree.path(inode).starts_with("inode "));
            }
        }
        tree.forget(inode, low);
    }
}
