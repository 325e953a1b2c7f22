//! What `stat` says of a node, as far as the tree decides it.

use super::group_node::GroupNode;
use super::numbering::LevelNode;
use super::resolved_node::ResolvedNode;
use super::{Inode, Miss, Tree};

/// Type of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// What `stat` says of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeAttributes {
    /// Its type.
    pub kind: NodeKind,
    /// Bytes of a file; 0 for a directory.
    pub size: u64,
    /// Always 1, which for a directory means that its number of subdirectories is not counted.
    pub nlink: u32,
}

impl NodeAttributes {
    /// Of every directory.
    pub const DIRECTORY: NodeAttributes = NodeAttributes { kind: NodeKind::Directory, size: 0, nlink: 1 };

    /// Of a file of `size` bytes.
    pub const fn file(size: u64) -> NodeAttributes {
        NodeAttributes { kind: NodeKind::File, size, nlink: 1 }
    }

    #[cfg(test)]
    /// Blocks of 512 bytes.
    pub const fn blocks(&self) -> u64 {
        self.size.div_ceil(512)
    }
}

impl Tree {
    /// The attributes of a node.
    pub fn attributes(&self, inode: Inode) -> Result<NodeAttributes, Miss> {
        self.attributes_of(&self.resolved(inode)?)
    }

    pub(super) fn attributes_of(&self, resolved: &ResolvedNode) -> Result<NodeAttributes, Miss> {
        match resolved {
            ResolvedNode::Group { node: GroupNode::Document(_) | GroupNode::LabelsDocument(_), .. }
            | ResolvedNode::Level { node: LevelNode::Document(_), .. } => {
                Ok(NodeAttributes::file(self.document(resolved)?.len() as u64))
            }
            ResolvedNode::Group { member, node: GroupNode::Tiff } => {
                Ok(NodeAttributes::file(self.tiff(member)?.layout.size()))
            }
            ResolvedNode::Group { member, node: GroupNode::Coordinate(axis, node) } => {
                self.coordinate_attributes(member, *axis, *node)
            }
            ResolvedNode::Level { node: LevelNode::Chunk(_), shown, level, .. } => {
                Ok(NodeAttributes::file(shown.chunk_bytes(*level)))
            }
            ResolvedNode::Root
            | ResolvedNode::Dataset(_)
            | ResolvedNode::Upstream(_)
            | ResolvedNode::Group { .. }
            | ResolvedNode::Level { .. } => Ok(NodeAttributes::DIRECTORY),
        }
    }
}
