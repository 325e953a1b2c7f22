//! The tree without its daemon: names and inodes as the tree has them, as far as readers of stores need them.

use std::collections::HashSet;

use super::*;

fn names() -> Vec<String> {
    catalog().datasets.into_iter().map(|dataset| dataset.name).collect()
}

/// Goes down a path from the root without the tree.
fn walked(remains: &mut Remains, path: &str) -> Option<(Inode, NodeKind)> {
    let start = (Inode::ROOT, NodeKind::Directory);
    path.split('/').try_fold(start, |(directory, _), name| remains.lookup(directory, OsStr::new(name)))
}

#[test]
fn everything_in_a_store_is_what_it_was_whoever_gave_out_the_inode_of_its_directory() {
    let tree = described();
    let mut remains = Remains::new(names());
    let (mut files, mut waiting) = (0, vec![Inode::ROOT]);
    while let Some(directory) = waiting.pop() {
        for entry in tree.list(directory, 0).unwrap().filter(|entry| entry.name != "." && entry.name != "..") {
            let NamedEntry::Node(inode, NodeAttributes { kind, .. }) = entry.found else { continue };
            let path = tree.path(inode);
            if path.ends_with("upstream") {
                continue;
            }
            let found = remains.lookup(directory, OsStr::new(&*entry.name)).map(|(_, kind)| kind);
            assert_eq!(found, Some(kind), "{path}");
            assert_eq!(walked(&mut remains, &path).map(|(_, kind)| kind), Some(kind), "{path}");
            assert_eq!(Remains::is_file(inode), kind == NodeKind::File, "{path}");
            match kind {
                NodeKind::File => files += 1,
                NodeKind::Directory => waiting.push(inode),
            }
        }
    }
    assert!(files > 500, "{files}");
}

#[test]
fn a_dataset_keeps_its_inode_and_everything_else_gets_one_that_no_other_has() {
    let tree = described();
    let mut remains = Remains::new(names());
    let mut seen = HashSet::new();
    for path in
        ["planes/em.zarr", "planes/em.zarr", "planes/em.zarr/s0/0", "planes/em.zarr/s0/1", "planes/em.zarr/s0/0/0/0"]
    {
        let (inode, kind) = walked(&mut remains, path).unwrap();
        assert!(seen.insert(inode), "{path}");
        assert_eq!(Remains::is_file(inode), kind == NodeKind::File);
        assert_eq!((tree.attributes(inode), inode.as_revision()), (Err(Miss::Stale), None));
    }
    for path in ["planes", "chunked"] {
        assert_eq!(walked(&mut remains, path).map(|(inode, _)| inode), walk(&tree, path).ok());
    }
}

#[test]
fn what_is_in_no_store_is_not_said_to_be_there() {
    let mut remains = Remains::new(names());
    for path in [
        "metadata.json",
        "none",
        "planes/metadata.json",
        "planes/upstream",
        "planes/em",
        "planes/em.zarr/ERROR.txt",
        "planes/em.zarr/s0/x",
        "planes/em.zarr/s0/00",
        "planes/em.zarr/.zattrs/x",
        "planes/em.zarr/s0/0/0/0/0",
    ] {
        assert_eq!(walked(&mut remains, path), None, "{path}");
    }
    assert_eq!(remains.lookup(Inode::ROOT, OsStr::from_bytes(b"\xff")), None);
    for inode in [Inode::ROOT, Inode::revision(7), Inode::new(2), Inode::new(1 << 40 | 2), Inode::new(0)] {
        assert!(!Remains::is_file(inode), "{inode}");
    }
    assert_eq!(remains.lookup(Inode::revision(7), OsStr::new("s0")), None);
}
