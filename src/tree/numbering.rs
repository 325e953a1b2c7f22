//! The nodes of a level, numbered: its documents and its chunk tree.
//!
//! A chunk's number has the digits `z+1, y+1, x+1`, where the radix of each is one more than the cells along its axis.
//! The digit 0 means "none", so a directory of chunks has a number as well, and those with no `z` are free for the
//! documents: at least four, because every radix is at least two.

use super::inode::{Depth, NODE_BITS};
use crate::geometry::{CellIndex, Grid};
use crate::zarr::Format;

/// A node of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LevelNode {
    /// The level's directory.
    Directory,
    /// One of [`LevelNode::documents`].
    Document(&'static str),
    /// Zarr v3's `c`, the directory of all chunks.
    Chunks,
    /// The directory of the chunks with this `z`.
    ZDir(u64),
    /// The directory of the chunks with this `z` and `y`.
    YDir(u64, u64),
    /// A chunk file.
    Chunk(CellIndex),
}

/// Number of Zarr v3's `c` in a level.
pub(super) const CHUNKS: u64 = 3;

impl LevelNode {
    /// The documents of an array.
    pub fn documents(format: Format) -> &'static [&'static str] {
        match format {
            Format::V2 => &[".zarray", ".zattrs"],
            Format::V3 => &["zarr.json"],
        }
    }

    pub fn depth(self) -> Depth {
        match self {
            LevelNode::Directory | LevelNode::Document(_) | LevelNode::Chunks => Depth::Top,
            LevelNode::ZDir(_) => Depth::ZDir,
            LevelNode::YDir(..) => Depth::YDir,
            LevelNode::Chunk(_) => Depth::Chunk,
        }
    }
}

/// The numbers of a level's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbering {
    /// Chunks along each axis.
    counts: [u64; 3],
}

impl Numbering {
    /// For the chunks of a grid; `None` where their numbers do not fit an inode.
    pub fn new(grid: &Grid) -> Option<Numbering> {
        let counts = grid.counts();
        let numbers = counts.iter().try_fold(1u64, |n, &count| n.checked_mul(count.checked_add(1)?))?;
        (numbers <= 1 << NODE_BITS && !counts.contains(&0)).then_some(Numbering { counts })
    }

    /// Chunks along each axis.
    pub fn counts(&self) -> [u64; 3] {
        self.counts
    }

    pub fn number(&self, node: LevelNode, format: Format) -> u64 {
        match node {
            LevelNode::Directory => 0,
            LevelNode::Document(name) => place(LevelNode::documents(format), name) + 1,
            LevelNode::Chunks => CHUNKS,
            LevelNode::ZDir(z) => self.join([z + 1, 0, 0]),
            LevelNode::YDir(z, y) => self.join([z + 1, y + 1, 0]),
            LevelNode::Chunk(CellIndex([z, y, x])) => self.join([z + 1, y + 1, x + 1]),
        }
    }

    pub fn decode(&self, number: u64, format: Format) -> Option<LevelNode> {
        let [_, rows, columns] = self.counts;
        let (number, x) = (number / (columns + 1), number % (columns + 1));
        let (z, y) = (number / (rows + 1), number % (rows + 1));
        match (z, y, x) {
            (0, _, _) => match number * (columns + 1) + x {
                0 => Some(LevelNode::Directory),
                CHUNKS => (format == Format::V3).then_some(LevelNode::Chunks),
                number => at(LevelNode::documents(format), number - 1).map(LevelNode::Document),
            },
            (z, _, _) if z > self.counts[0] => None,
            (z, 0, 0) => Some(LevelNode::ZDir(z - 1)),
            (_, 0, _) => None,
            (z, y, 0) => Some(LevelNode::YDir(z - 1, y - 1)),
            (z, y, x) => Some(LevelNode::Chunk(CellIndex([z - 1, y - 1, x - 1]))),
        }
    }

    fn join(&self, [z, y, x]: [u64; 3]) -> u64 {
        (z * (self.counts[1] + 1) + y) * (self.counts[2] + 1) + x
    }
}

/// The index of a name among those of documents.
pub(super) fn place(names: &[&str], name: &str) -> u64 {
    names.iter().position(|&known| known == name).unwrap_or(0) as u64
}

/// The name of this index, if there is one.
pub(super) fn at(names: &[&'static str], index: u64) -> Option<&'static str> {
    names.get(usize::try_from(index).ok()?).copied()
}
