//! Paths for people.

use super::coordinate_node::CoordinateNode;
use super::group_node::GroupNode;
use super::numbering::LevelNode;
use super::resolved_node::{ResolvedNode, StoreMember};
use super::{Inode, MutableDocument, Tree};
use crate::geometry::CellIndex;
use crate::view::AXES;
use crate::zarr::Format;

impl Tree {
    /// The path of an inode below the mountpoint, as `hemibrain/em.zarr/s0/1/2/3`, for messages. `.` is the mountpoint
    /// itself; of an inode that stands for nothing only its number can be told.
    pub fn path(&self, inode: Inode) -> String {
        match self.resolved(inode) {
            Ok(resolved) => self.path_of(&resolved),
            Err(_) => format!("inode {inode}"),
        }
    }

    fn path_of(&self, resolved: &ResolvedNode) -> String {
        match resolved {
            ResolvedNode::Root => ".".to_owned(),
            ResolvedNode::Dataset(dataset) => {
                self.images.dataset(*dataset).map(|dataset| dataset.name.clone()).unwrap_or_default()
            }
            ResolvedNode::Upstream(dataset) => {
                let name = self.images.dataset(*dataset).map(|dataset| dataset.name.as_str()).unwrap_or_default();
                format!("{name}/{}", MutableDocument::UPSTREAM)
            }
            ResolvedNode::Group { member, node: GroupNode::Tiff } => {
                let store = &member.store;
                let dataset =
                    self.images.dataset(store.dataset).map(|dataset| dataset.name.as_str()).unwrap_or_default();
                format!("{dataset}/{}", self.tiff_name(member))
            }
            ResolvedNode::Group { member, node } => {
                let group = self.group_path(member);
                match node {
                    GroupNode::Directory | GroupNode::Tiff => group,
                    GroupNode::Document(name) => format!("{group}/{name}"),
                    GroupNode::Labels => format!("{group}/labels"),
                    GroupNode::LabelsDocument(name) => format!("{group}/labels/{name}"),
                    GroupNode::Coordinate(axis, node) => {
                        let array = format!("{group}/{}", AXES[*axis % AXES.len()]);
                        match (node, member.format) {
                            (CoordinateNode::Directory, _) => array,
                            (CoordinateNode::Document(name), _) => format!("{array}/{name}"),
                            (CoordinateNode::Chunks, _) => format!("{array}/c"),
                            (CoordinateNode::Chunk(chunk), Format::V2) => format!("{array}/{chunk}"),
                            (CoordinateNode::Chunk(chunk), Format::V3) => format!("{array}/c/{chunk}"),
                        }
                    }
                }
            }
            ResolvedNode::Level { member, level, node, .. } => {
                let level = format!("{}/{}", self.group_path(member), member.store.spec.level_names.name(*level));
                let chunks = match member.format {
                    Format::V2 => level.clone(),
                    Format::V3 => format!("{level}/c"),
                };
                match node {
                    LevelNode::Directory => level,
                    LevelNode::Document(name) => format!("{level}/{name}"),
                    LevelNode::Chunks => chunks,
                    LevelNode::ZDir(z) => format!("{chunks}/{z}"),
                    LevelNode::YDir(z, y) => format!("{chunks}/{z}/{y}"),
                    LevelNode::Chunk(CellIndex([z, y, x])) => format!("{chunks}/{z}/{y}/{x}"),
                }
            }
        }
    }

    fn group_path(&self, member: &StoreMember) -> String {
        let store = &member.store;
        let dataset = self.images.dataset(store.dataset).map(|dataset| dataset.name.as_str()).unwrap_or_default();
        let root = format!("{dataset}/{}{}", store.name, member.format.ending());
        match member.index {
            0 => root,
            label => format!("{root}/labels/{}", self.label_name(member, label)),
        }
    }
}
