//! What an inode stands for, checked, and back.

use std::sync::Arc;

use super::coordinate_node::CoordinateNode;
use super::group_node::GroupNode;
use super::inode::{Area, Depth, InodeAddress, StoreAddress};
use super::numbering::{LevelNode, Numbering};
use super::store::{AppliedView, TreeStore};
use super::{DatasetId, Inode, Miss, Tree};
use crate::geometry::LevelIndex;
use crate::zarr::Format;

/// A store's image (0) or one of its labels (from 1), in one format.
#[derive(Clone)]
pub(super) struct StoreMember {
    pub store: Arc<TreeStore>,
    pub index: usize,
    pub format: Format,
}

/// A place in the tree that exists.
#[derive(Clone)]
pub(super) enum ResolvedNode {
    Root,
    Dataset(DatasetId),
    Upstream(DatasetId),
    Group { member: StoreMember, node: GroupNode },
    Level { member: StoreMember, shown: Arc<AppliedView>, level: LevelIndex, node: LevelNode },
}

impl StoreMember {
    pub fn group_inode(&self, node: GroupNode) -> Inode {
        self.inode(Area::Store, Depth::Top, node.number(self.format))
    }

    /// The inode of a level's directory.
    pub fn level_inode(&self, level: LevelIndex) -> Inode {
        self.inode(Area::Level(level), Depth::Top, 0)
    }

    /// The inode of a node of a level with this numbering.
    pub fn chunk_inode(&self, level: LevelIndex, numbering: &Numbering, node: LevelNode) -> Inode {
        self.inode(Area::Level(level), node.depth(), numbering.number(node, self.format))
    }

    fn inode(&self, place: Area, depth: Depth, node: u64) -> Inode {
        let view = self.store.view(self.index);
        Inode::in_store(StoreAddress { format: self.format, view, place, depth, node })
    }

    /// Another member of the same store.
    pub fn sibling(&self, index: usize) -> StoreMember {
        StoreMember { index, ..self.clone() }
    }
}

impl ResolvedNode {
    pub fn inode(&self) -> Inode {
        match self {
            ResolvedNode::Root => Inode::ROOT,
            ResolvedNode::Dataset(dataset) => Inode::dataset(*dataset),
            ResolvedNode::Upstream(dataset) => Inode::upstream(*dataset),
            ResolvedNode::Group { member, node } => member.group_inode(*node),
            ResolvedNode::Level { member, shown, level, node } => {
                // The numbering exists: a node of a level is only made for a level that exists.
                match shown.numbering(*level) {
                    Some(numbering) => member.chunk_inode(*level, numbering, *node),
                    None => member.level_inode(*level),
                }
            }
        }
    }

    /// The inode of `..`.
    pub fn parent(&self) -> Inode {
        let above = match self {
            ResolvedNode::Root | ResolvedNode::Dataset(_) => ResolvedNode::Root,
            ResolvedNode::Upstream(dataset) => ResolvedNode::Dataset(*dataset),
            ResolvedNode::Group { member, node: GroupNode::Directory } if member.index == 0 => {
                ResolvedNode::Dataset(member.store.dataset)
            }
            ResolvedNode::Group { member, node: GroupNode::Tiff } => ResolvedNode::Dataset(member.store.dataset),
            ResolvedNode::Group { member, node: GroupNode::Directory } => {
                ResolvedNode::Group { member: member.sibling(0), node: GroupNode::Labels }
            }
            ResolvedNode::Group { member, node: GroupNode::LabelsDocument(_) } => {
                ResolvedNode::Group { member: member.clone(), node: GroupNode::Labels }
            }
            ResolvedNode::Group { member, node: GroupNode::Coordinate(axis, node) }
                if *node != CoordinateNode::Directory =>
            {
                let node = GroupNode::Coordinate(*axis, node.parent(member.format));
                ResolvedNode::Group { member: member.clone(), node }
            }
            ResolvedNode::Group { member, .. } => {
                ResolvedNode::Group { member: member.clone(), node: GroupNode::Directory }
            }
            ResolvedNode::Level { member, node: LevelNode::Directory, .. } => {
                ResolvedNode::Group { member: member.clone(), node: GroupNode::Directory }
            }
            ResolvedNode::Level { member, shown, level, node } => {
                let node = match (*node, member.format) {
                    (LevelNode::Chunk(index), _) => LevelNode::YDir(index.0[0], index.0[1]),
                    (LevelNode::YDir(z, _), _) => LevelNode::ZDir(z),
                    (LevelNode::ZDir(_), Format::V3) => LevelNode::Chunks,
                    _ => LevelNode::Directory,
                };
                ResolvedNode::Level { member: member.clone(), shown: shown.clone(), level: *level, node }
            }
        };
        above.inode()
    }
}

impl Tree {
    /// What an inode stands for. Inodes come from outside, so every field is checked.
    pub(super) fn resolved(&self, inode: Inode) -> Result<ResolvedNode, Miss> {
        match inode.decode().ok_or(Miss::Stale)? {
            InodeAddress::Root => Ok(ResolvedNode::Root),
            InodeAddress::Dataset(dataset) => {
                self.images.dataset(dataset).map(|_| ResolvedNode::Dataset(dataset)).ok_or(Miss::Stale)
            }
            InodeAddress::Upstream(dataset) => {
                self.images.dataset(dataset).map(|_| ResolvedNode::Upstream(dataset)).ok_or(Miss::Stale)
            }
            InodeAddress::InStore(address) => self.spot_in_store(address),
        }
    }

    fn spot_in_store(&self, address: StoreAddress) -> Result<ResolvedNode, Miss> {
        let StoreAddress { format, view, place, depth, node } = address;
        let (store, index) = self.views.find(view).ok_or(Miss::Stale)?;
        let member = StoreMember { store, index, format };
        match place {
            Area::Store if depth != Depth::Top => Err(Miss::Stale),
            Area::Store => {
                let node = GroupNode::decode(node, format).ok_or(Miss::Stale)?;
                if index > 0 {
                    self.shown_at(&member)?;
                }
                let of_labels = matches!(node, GroupNode::Labels | GroupNode::LabelsDocument(_));
                if of_labels && (index != 0 || member.store.labels() == 0) {
                    return Err(Miss::Stale);
                }
                if node == GroupNode::Tiff {
                    self.tiff(&member).map_err(stale)?;
                }
                if let GroupNode::Coordinate(axis, node) = node {
                    let coordinate = self.coordinate(&member, axis)?;
                    if matches!(node, CoordinateNode::Chunk(chunk) if chunk >= coordinate.chunks()) {
                        return Err(Miss::Stale);
                    }
                }
                Ok(ResolvedNode::Group { member, node })
            }
            Area::Level(level) => {
                let shown = self.shown_at(&member)?;
                let numbering = shown.numbering(level).ok_or(Miss::Stale)?;
                let node = numbering.decode(node, format).filter(|node| node.depth() == depth).ok_or(Miss::Stale)?;
                Ok(ResolvedNode::Level { member, shown, level, node })
            }
        }
    }

    /// Whether the store whose directory is at `inode` is described, or why not; `None` where that is no store's.
    pub fn store_at(&self, inode: Inode) -> Option<Result<(), Miss>> {
        let Some(InodeAddress::InStore(address)) = inode.decode() else { return None };
        let StoreAddress { format, view, place: Area::Store, depth: Depth::Top, node: 0 } = address else {
            return None;
        };
        match self.views.find(view)? {
            (store, 0) => Some(self.shown(&StoreMember { store, index: 0, format }).map(drop)),
            _ => None,
        }
    }

    /// Like [`Tree::shown`], for an inode: a member that the view does not show has none.
    fn shown_at(&self, member: &StoreMember) -> Result<Arc<AppliedView>, Miss> {
        self.shown(member).map_err(stale)
    }

    pub(super) fn shown(&self, member: &StoreMember) -> Result<Arc<AppliedView>, Miss> {
        member.store.shown(member.index, &self.images)
    }
}

fn stale(miss: Miss) -> Miss {
    if miss == Miss::NotFound { Miss::Stale } else { miss }
}
