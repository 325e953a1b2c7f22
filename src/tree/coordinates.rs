//! What is in the arrays `z`, `y` and `x`, which a view of one level has beside it.

use super::coordinate_node::CoordinateNode;
use super::group_node::GroupNode;
use super::numbering::LevelNode;
use super::resolved_node::{ResolvedNode, StoreMember};
use super::{Miss, NodeAttributes, Tree};
use crate::zarr::{Coordinate, Format, parse_index, v2, v3};

impl Tree {
    /// The positions along an axis, in a view of one level.
    pub(super) fn coordinate(&self, member: &StoreMember, axis: usize) -> Result<Coordinate, Miss> {
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
        member: &StoreMember,
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
    pub(super) fn coordinate_document(
        &self,
        member: &StoreMember,
        axis: usize,
        name: &str,
    ) -> Result<bytes::Bytes, Miss> {
        let coordinate = self.coordinate(member, axis)?;
        Ok(match (member.format, name) {
            (Format::V2, ".zarray") => v2::coordinate(&coordinate),
            (Format::V2, _) => v2::coordinate_attributes(&coordinate),
            (Format::V3, _) => v3::coordinate(&coordinate),
        })
    }

    pub(super) fn coordinate_attributes(
        &self,
        member: &StoreMember,
        axis: usize,
        node: CoordinateNode,
    ) -> Result<NodeAttributes, Miss> {
        Ok(match node {
            CoordinateNode::Directory | CoordinateNode::Chunks => NodeAttributes::DIRECTORY,
            CoordinateNode::Document(name) => {
                NodeAttributes::file(self.coordinate_document(member, axis, name)?.len() as u64)
            }
            CoordinateNode::Chunk(_) => NodeAttributes::file(self.coordinate(member, axis)?.chunk_bytes()),
        })
    }
}
