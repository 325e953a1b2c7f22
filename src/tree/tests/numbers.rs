//! Inode numbers.

use std::collections::HashSet;

use super::super::group_node::GroupNode;
use super::super::inode::{Area, Depth, InodeAddress, StoreAddress};
use super::super::numbering::{LevelNode, Numbering};
use super::*;
use crate::geometry::{CellIndex, LevelIndex};
use crate::zarr::Format;

#[test]
fn the_largest_dataset_fits_in_its_smallest_chunks() {
    let grid = Grid { shape: Shape([41394, 39725, 34427]), cell: Shape([16; 3]) };
    let numbering = Numbering::new(&grid).unwrap();
    let last = CellIndex(grid.counts().map(|count| count - 1));
    let number = numbering.number(LevelNode::Chunk(last), Format::V2);
    assert!(number < 1 << 37);
    assert_eq!(numbering.decode(number, Format::V2), Some(LevelNode::Chunk(last)));
}

#[test]
fn one_chunk_leaves_space_for_the_documents() {
    let numbering = Numbering::new(&Grid { shape: Shape([1; 3]), cell: Shape([64; 3]) }).unwrap();
    for (format, nodes) in [
        (Format::V2, vec![LevelNode::Directory, LevelNode::Document(".zarray"), LevelNode::Document(".zattrs")]),
        (Format::V3, vec![LevelNode::Directory, LevelNode::Document("zarr.json"), LevelNode::Chunks]),
    ] {
        let chunks = [LevelNode::ZDir(0), LevelNode::YDir(0, 0), LevelNode::Chunk(CellIndex([0; 3]))];
        let nodes: Vec<_> = nodes.into_iter().chain(chunks).collect();
        let numbers: HashSet<u64> = nodes.iter().map(|&node| numbering.number(node, format)).collect();
        assert_eq!(numbers.len(), nodes.len());
        for node in nodes {
            assert_eq!(numbering.decode(numbering.number(node, format), format), Some(node));
        }
    }
}

#[test]
fn every_number_is_one_node_or_none() {
    for counts in [[1, 1, 1], [3, 1, 2], [2, 5, 4], [1, 1, 40]] {
        let numbering = Numbering::new(&Grid { shape: Shape(counts), cell: Shape([1; 3]) }).unwrap();
        for format in Format::ALL {
            let mut nodes = 0;
            for number in 0..2 * counts.iter().map(|count| count + 1).product::<u64>() {
                if let Some(node) = numbering.decode(number, format) {
                    nodes += 1;
                    assert_eq!(numbering.number(node, format), number);
                }
            }
            let [z, y, x] = counts;
            assert_eq!(nodes, 3 + z + z * y + z * y * x, "{counts:?} {format:?}");
        }
    }
    for format in Format::ALL {
        let nodes: Vec<_> =
            (0..1000).filter_map(|number| GroupNode::decode(number, format).zip(Some(number))).collect();
        let positions = nodes.iter().filter(|(node, _)| matches!(node, GroupNode::Coordinate(..))).count();
        assert_eq!(nodes.len() - positions, if format == Format::V2 { 8 } else { 4 });
        // From 32 on, of three arrays: only v3 has the directory of chunks, only v2 a second document.
        assert_eq!(positions, 1000 - 32 - 3);
        assert!(nodes.iter().all(|(node, number)| node.number(format) == *number));
    }
}

#[test]
fn the_fields_of_an_inode_do_not_overlap() {
    for format in Format::ALL {
        for view in [0, 1, (1 << 18) - 1] {
            for place in [Area::Store, Area::Level(LevelIndex(0)), Area::Level(LevelIndex(30))] {
                for depth in [Depth::Top, Depth::ZDir, Depth::YDir, Depth::Chunk] {
                    for node in [0, 1, (1 << 37) - 1] {
                        let address = StoreAddress { format, view: ViewId(view), place, depth, node };
                        assert_eq!(Inode::in_store(address).decode(), Some(InodeAddress::InStore(address)));
                    }
                }
            }
        }
    }
}

#[test]
fn the_same_catalogue_gives_the_same_numbers() {
    let (first, second) = (described(), described());
    for path in ["planes", "planes/training.v3.zarr/labels/mitochondria/s0/c/1/2/0", "chunked/sample.zarr/s0/.zattrs"] {
        assert_eq!(walk(&first, path), walk(&second, path));
    }
}

#[test]
fn all_nodes_have_different_numbers() {
    let tree = described();
    let mut seen = HashSet::new();
    let mut waiting = vec![Inode::ROOT];
    while let Some(inode) = waiting.pop() {
        for entry in tree.list(inode, 0).unwrap().filter(|entry| !entry.name.starts_with('.') || entry.name.len() > 2) {
            if let NamedEntry::Node(child, attributes) = entry.found {
                assert!(seen.insert(child), "{}", tree.path(child));
                if attributes.kind == NodeKind::Directory {
                    waiting.push(child);
                }
            }
        }
    }
    assert!(seen.len() > 1000, "{}", seen.len());
}
