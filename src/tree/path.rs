//! Paths for people.

use super::coordinates::CoordinateNode;
use super::numbering::{GroupNode, LevelNode};
use super::spot::{Member, Spot};
use super::{Inode, MutableDocument, Tree};
use crate::geometry::CellIndex;
use crate::view::AXES;
use crate::zarr::Format;

impl Tree {
    /// The path of an inode below the mountpoint, as `hemibrain/em.zarr/s0/1/2/3`, for messages. `.` is the mountpoint
    /// itself; of an inode that stands for nothing only its number can be told.
    pub fn path(&self, inode: Inode) -> String {
        match self.spot(inode) {
            Ok(spot) => self.path_of(&spot),
            Err(_) => format!("inode {inode}"),
        }
    }

    fn path_of(&self, spot: &Spot) -> String {
        match spot {
            Spot::Root => ".".to_owned(),
            Spot::Dataset(dataset) => {
                self.images.dataset(*dataset).map(|dataset| dataset.name.clone()).unwrap_or_default()
            }
            Spot::Upstream(dataset) => {
                let name = self.images.dataset(*dataset).map(|dataset| dataset.name.as_str()).unwrap_or_default();
                format!("{name}/{}", MutableDocument::UPSTREAM)
            }
            Spot::Group { member, node } => {
                let group = self.group_path(member);
                match node {
                    GroupNode::Directory => group,
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
            Spot::Level { member, level, node, .. } => {
                let level = format!("{}/{level}", self.group_path(member));
                let chunks = match member.format {
                    Format::V2 => level.clone(),
                    Format::V3 => format!("{level}/c"),
                };
                match node {
                    LevelNode::Directory => level,
                    LevelNode::Document(name) => format!("{level}/{name}"),
                    LevelNode::Chunks => chunks,
                    LevelNode::Slab(z) => format!("{chunks}/{z}"),
                    LevelNode::Row(z, y) => format!("{chunks}/{z}/{y}"),
                    LevelNode::Chunk(CellIndex([z, y, x])) => format!("{chunks}/{z}/{y}/{x}"),
                }
            }
        }
    }

    fn group_path(&self, member: &Member) -> String {
        let store = &member.store;
        let dataset = self.images.dataset(store.dataset).map(|dataset| dataset.name.as_str()).unwrap_or_default();
        let root = format!("{dataset}/{}{}", store.name, member.format.ending());
        match member.index {
            0 => root,
            label => format!("{root}/labels/{}", self.label_name(member, label)),
        }
    }
}
