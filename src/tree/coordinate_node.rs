//! The nodes of the arrays `z`, `y` and `x`, which a view of one level has beside it, numbered.

use super::numbering::LevelNode;
use crate::view::AXES;
use crate::zarr::Format;

/// A node of an array of coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CoordinateNode {
    /// The array's directory.
    Directory,
    /// One of [`LevelNode::documents`].
    Document(&'static str),
    /// Zarr v3's `c`.
    Chunks,
    /// A chunk file.
    Chunk(u64),
}

/// Number of Zarr v3's `c` in an array.
const CHUNKS: u64 = 3;

impl CoordinateNode {
    /// The number of a node, of the array of an axis.
    pub fn number(self, axis: usize, format: Format) -> u64 {
        let node = match self {
            CoordinateNode::Directory => 0,
            CoordinateNode::Document(name) => {
                1 + LevelNode::documents(format).iter().position(|&known| known == name).unwrap_or(0) as u64
            }
            CoordinateNode::Chunks => CHUNKS,
            CoordinateNode::Chunk(chunk) => CHUNKS + 1 + chunk,
        };
        node * AXES.len() as u64 + axis as u64
    }

    /// The axis and the node of a number.
    pub fn decode(number: u64, format: Format) -> Option<(usize, CoordinateNode)> {
        let axes = AXES.len() as u64;
        let (node, axis) = (number / axes, (number % axes) as usize);
        let node = match node {
            0 => CoordinateNode::Directory,
            CHUNKS => (format == Format::V3).then_some(CoordinateNode::Chunks)?,
            1..CHUNKS => CoordinateNode::Document(LevelNode::documents(format).get(node as usize - 1)?),
            _ => CoordinateNode::Chunk(node - CHUNKS - 1),
        };
        Some((axis, node))
    }

    /// The node above, but for the directory.
    pub fn parent(self, format: Format) -> CoordinateNode {
        match (self, format) {
            (CoordinateNode::Chunk(_), Format::V3) => CoordinateNode::Chunks,
            _ => CoordinateNode::Directory,
        }
    }
}

/// The axis of an array of coordinates by its name.
pub(super) fn axis(name: &str) -> Option<usize> {
    AXES.iter().position(|axis| name.len() == 1 && name.starts_with(*axis))
}
