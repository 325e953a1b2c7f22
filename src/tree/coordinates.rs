//! The nodes of the arrays `z`, `y` and `x`, which a view of one level has beside it.

use super::numbering::{GroupNode, LevelNode};
use super::resolved_node::{Member, ResolvedNode};
use super::{Attributes, Miss, Tree};
use crate::view::AXES;
use crate::zarr::{Coordinate, Format, parse_index, v2, v3};

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

impl Tree {
    /// The positions along an axis, in a view of one level.
    pub(super) fn coordinate(&self, member: &Member, axis: usize) -> Result<Coordinate, Miss> {
        if member.store.spec.level.is_none() {
            return Err(Miss::Stale);
        }
        let shown = self.shown(member)?;
        let pyramid = &shown.view.pyramid;
        let level = pyramid.levels.first().ok_or(Miss::Stale)?;
        let all = Coordinate::all(level, pyramid.calibrated);
        all.into_iter().nth(axis).ok_or(Miss::Stale)
    }

    pub(super) fn look_up_coordinate(
        &self,
        member: &Member,
        axis: usize,
        node: CoordinateNode,
        name: &str,
    ) -> Result<ResolvedNode, Miss> {
        let chunk = || {
            let count = self.coordinate(member, axis)?.chunks();
            parse_index(name).filter(|&index| index < count).map(CoordinateNode::Chunk).ok_or(Miss::NotFound)
        };
        let document = || LevelNode::documents(member.format).iter().find(|&&known| known == name);
        let node = match (node, member.format) {
            (CoordinateNode::Directory, format) => match (document(), format) {
                (Some(document), _) => CoordinateNode::Document(document),
                (None, Format::V2) => chunk()?,
                (None, Format::V3) if name == "c" => CoordinateNode::Chunks,
                (None, Format::V3) => return Err(Miss::NotFound),
            },
            (CoordinateNode::Chunks, _) => chunk()?,
            (CoordinateNode::Document(_) | CoordinateNode::Chunk(_), _) => return Err(Miss::NotADirectory),
        };
        Ok(ResolvedNode::Group { member: member.clone(), node: GroupNode::Coordinate(axis, node) })
    }

    /// The bytes of a document of an array of coordinates.
    pub(super) fn coordinate_document(&self, member: &Member, axis: usize, name: &str) -> Result<bytes::Bytes, Miss> {
        let coordinate = self.coordinate(member, axis)?;
        Ok(match (member.format, name) {
            (Format::V2, ".zarray") => v2::coordinate(&coordinate),
            (Format::V2, _) => v2::coordinate_attributes(&coordinate),
            (Format::V3, _) => v3::coordinate(&coordinate),
        })
    }

    pub(super) fn coordinate_attributes(
        &self,
        member: &Member,
        axis: usize,
        node: CoordinateNode,
    ) -> Result<Attributes, Miss> {
        Ok(match node {
            CoordinateNode::Directory | CoordinateNode::Chunks => Attributes::DIRECTORY,
            CoordinateNode::Document(name) => {
                Attributes::file(self.coordinate_document(member, axis, name)?.len() as u64)
            }
            CoordinateNode::Chunk(_) => Attributes::file(self.coordinate(member, axis)?.chunk_bytes()),
        })
    }
}
