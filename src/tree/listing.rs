//! Listings of directories, computed entry by entry.
//!
//! A cookie is the number of the entry after it, so a listing goes on anywhere without a search and without memory of
//! what was listed before.

use std::borrow::Cow;

use super::coordinate_node::CoordinateNode;
use super::group_node::GroupNode;
use super::numbering::{LevelNode, Numbering};
use super::resolved_node::{ResolvedNode, StoreMember};
use super::{DatasetId, Folder, Inode, Miss, MutableDocument, NamedEntry, NodeAttributes, Tree};
use crate::catalog::ROOT_DOCUMENTS;
use crate::geometry::{CellIndex, LevelIndex};
use crate::view::AXES;
use crate::zarr::Format;

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it stands for.
    pub found: NamedEntry,
    /// Where the listing goes on after it.
    pub next_cookie: u64,
}

#[cfg(test)]
impl ListedEntry<'_> {
    /// Type of the entry.
    pub fn kind(&self) -> super::NodeKind {
        match self.found {
            NamedEntry::Node(_, attributes) => attributes.kind,
            NamedEntry::Mutable(_) => super::NodeKind::File,
        }
    }
}

/// The entries of a directory from a cookie on, `.` and `..` first.
pub struct Listing<'a> {
    tree: &'a Tree,
    this: Inode,
    parent: Inode,
    /// What comes first after the dots.
    documents: Vec<(&'static str, Inode, NodeAttributes)>,
    rest: Rest,
    position: u64,
}

/// What a directory holds besides documents. Entries have indices from 0 on; some may be hidden.
enum Rest {
    /// What there is the tree does not know.
    Nothing,
    Datasets,
    Dataset(DatasetId),
    Group {
        member: StoreMember,
        labels: bool,
        levels: Vec<u8>,
    },
    /// An array of coordinates: its chunks, or Zarr v3's `c`.
    Coordinate {
        member: StoreMember,
        axis: usize,
        chunks: Option<u64>,
        file: NodeAttributes,
    },
    Labels {
        member: StoreMember,
        shown: Vec<usize>,
    },
    /// Zarr v3's `c`.
    ChunkRoot {
        inode: Inode,
    },
    Chunks(Chunks),
}

struct Chunks {
    member: StoreMember,
    level: LevelIndex,
    numbering: Numbering,
    directory: LevelNode,
    file: NodeAttributes,
}

/// `.` and `..`.
const DOTS: u64 = 2;

impl Tree {
    /// Lists a directory from `cookie` on: 0 for the beginning, else [`ListedEntry::next_cookie`] of the last entry seen.
    /// References that the kernel gets with READDIRPLUS are counted by [`Tree::remember`], not here.
    pub fn list(&self, inode: Inode, cookie: u64) -> Result<Listing<'_>, Miss> {
        let resolved = self.resolved(inode)?;
        let (documents, rest) = match &resolved {
            ResolvedNode::Root => (vec![], Rest::Datasets),
            ResolvedNode::Dataset(dataset) => (vec![], Rest::Dataset(*dataset)),
            ResolvedNode::Upstream(_) => (vec![], Rest::Nothing),
            ResolvedNode::Group { member, node } => self.list_group(member, *node)?,
            ResolvedNode::Level { .. } => self.list_level(&resolved)?,
        };
        Ok(Listing { tree: self, this: inode, parent: resolved.parent(), documents, rest, position: cookie })
    }

    fn list_group(&self, member: &StoreMember, node: GroupNode) -> Result<(Documents, Rest), Miss> {
        let resolved = |node| ResolvedNode::Group { member: member.clone(), node };
        let labels = if member.index == 0 { member.store.listed_labels(&self.images)? } else { vec![] };
        match node {
            GroupNode::Directory => {
                let documents = GroupNode::documents(member.format).iter();
                let documents = documents.map(|&name| self.listed(name, &resolved(GroupNode::Document(name))));
                let levels = self.shown(member)?.view.numbers.clone();
                let rest = Rest::Group { member: member.clone(), labels: !labels.is_empty(), levels };
                Ok((documents.collect::<Result<_, _>>()?, rest))
            }
            GroupNode::Labels => {
                let documents = GroupNode::labels_documents(member.format).iter();
                let documents = documents.map(|&name| self.listed(name, &resolved(GroupNode::LabelsDocument(name))));
                Ok((documents.collect::<Result<_, _>>()?, Rest::Labels { member: member.clone(), shown: labels }))
            }
            GroupNode::Coordinate(axis, node) => {
                let beside = |node| resolved(GroupNode::Coordinate(axis, node));
                let names = match node {
                    CoordinateNode::Directory => LevelNode::documents(member.format),
                    CoordinateNode::Chunks => &[],
                    CoordinateNode::Document(_) | CoordinateNode::Chunk(_) => return Err(Miss::NotADirectory),
                };
                let documents = names.iter().map(|&name| self.listed(name, &beside(CoordinateNode::Document(name))));
                let coordinate = self.coordinate(member, axis)?;
                let is_above = (node, member.format) == (CoordinateNode::Directory, Format::V3);
                let chunks = (!is_above).then(|| coordinate.chunks());
                let file = NodeAttributes::file(coordinate.chunk_bytes());
                Ok((
                    documents.collect::<Result<_, _>>()?,
                    Rest::Coordinate { member: member.clone(), axis, chunks, file },
                ))
            }
            GroupNode::Document(_) | GroupNode::LabelsDocument(_) | GroupNode::Tiff => Err(Miss::NotADirectory),
        }
    }

    fn list_level(&self, resolved: &ResolvedNode) -> Result<(Documents, Rest), Miss> {
        let ResolvedNode::Level { member, shown, level, node } = resolved else {
            return Err(Miss::NotADirectory);
        };
        let beside = |node| ResolvedNode::Level { member: member.clone(), shown: shown.clone(), level: *level, node };
        let documents = match node {
            LevelNode::Directory => LevelNode::documents(member.format)
                .iter()
                .map(|&name| self.listed(name, &beside(LevelNode::Document(name))))
                .collect::<Result<_, _>>()?,
            LevelNode::Chunks | LevelNode::ZDir(_) | LevelNode::YDir(..) => vec![],
            LevelNode::Document(_) | LevelNode::Chunk(_) => return Err(Miss::NotADirectory),
        };
        if (*node, member.format) == (LevelNode::Directory, Format::V3) {
            return Ok((documents, Rest::ChunkRoot { inode: beside(LevelNode::Chunks).inode() }));
        }
        let numbering = *shown.numbering(*level).ok_or(Miss::Stale)?;
        let file = NodeAttributes::file(shown.chunk_bytes(*level));
        let chunks = Chunks { member: member.clone(), level: *level, numbering, directory: *node, file };
        Ok((documents, Rest::Chunks(chunks)))
    }

    fn listed(
        &self,
        name: &'static str,
        resolved: &ResolvedNode,
    ) -> Result<(&'static str, Inode, NodeAttributes), Miss> {
        Ok((name, resolved.inode(), self.attributes_of(resolved)?))
    }
}

type Documents = Vec<(&'static str, Inode, NodeAttributes)>;

impl<'a> Iterator for Listing<'a> {
    type Item = ListedEntry<'a>;

    fn next(&mut self) -> Option<ListedEntry<'a>> {
        loop {
            let position = self.position;
            let entry = self.at(position)?;
            self.position = position.checked_add(1)?;
            if let Some((name, found)) = entry {
                return Some(ListedEntry { name, found, next_cookie: self.position });
            }
        }
    }
}

/// The entry at a position: `None` after the last one, `Some(None)` for a hidden one.
pub(super) type EntryAt<'a> = Option<Option<(Cow<'a, str>, NamedEntry)>>;

impl<'a> Listing<'a> {
    fn at(&self, position: u64) -> EntryAt<'a> {
        let index = match position {
            0 => return directory(".", self.this),
            1 => return directory("..", self.parent),
            _ => position - DOTS,
        };
        let documents = self.documents.len() as u64;
        match index.checked_sub(documents) {
            None => {
                let (name, inode, attributes) = *self.documents.get(index as usize)?;
                Some(Some((Cow::Borrowed(name), NamedEntry::Node(inode, attributes))))
            }
            Some(index) => self.rest(index),
        }
    }

    fn rest(&self, index: u64) -> EntryAt<'a> {
        match &self.rest {
            Rest::Nothing => None,
            Rest::Datasets => {
                let (datasets, index) = (self.tree.images.datasets(), usize::try_from(index).ok()?);
                let Some(dataset) = datasets.get(index) else {
                    let name = *ROOT_DOCUMENTS.get(index - datasets.len())?;
                    return mutable(Folder::Root, name);
                };
                directory(dataset.name.as_str(), Inode::dataset(DatasetId(index as u32)))
            }
            Rest::Dataset(dataset) => self.in_dataset(*dataset, usize::try_from(index).ok()?),
            Rest::Group { member, labels, levels } => {
                let index = match (index, labels) {
                    (0, true) => return directory("labels", member.group_inode(GroupNode::Labels)),
                    (index, true) => index - 1,
                    (index, false) => index,
                };
                let index = usize::try_from(index).ok()?;
                if let Some(level) = levels.get(index).copied() {
                    let level = LevelIndex(level);
                    return directory(member.store.spec.level_names.name(level), member.level_inode(level));
                }
                let axis = index.checked_sub(levels.len()).filter(|_| member.store.spec.level.is_some())?;
                let name = AXES.get(axis)?;
                let node = GroupNode::Coordinate(axis, CoordinateNode::Directory);
                directory(name.to_string(), member.group_inode(node))
            }
            Rest::Coordinate { member, axis, chunks, file } => {
                let inode = |node| member.group_inode(GroupNode::Coordinate(*axis, node));
                match chunks {
                    None if index == 0 => directory("c", inode(CoordinateNode::Chunks)),
                    Some(count) if index < *count => {
                        let found = NamedEntry::Node(inode(CoordinateNode::Chunk(index)), *file);
                        Some(Some((Cow::Owned(index.to_string()), found)))
                    }
                    _ => None,
                }
            }
            Rest::Labels { member, shown } => {
                let label = *shown.get(usize::try_from(index).ok()?)?;
                let inode = member.sibling(label).group_inode(GroupNode::Directory);
                directory(self.tree.label_name(member, label), inode)
            }
            Rest::ChunkRoot { inode } => {
                if index == 0 {
                    directory("c", *inode)
                } else {
                    None
                }
            }
            Rest::Chunks(chunks) => chunks.at(index),
        }
    }

    fn in_dataset(&self, dataset: DatasetId, index: usize) -> EntryAt<'a> {
        let stores = self.tree.images.stores(dataset);
        let Some(store) = stores.get(index / Format::ALL.len()) else {
            let index = index - stores.len() * Format::ALL.len();
            let documents = MutableDocument::OF_DATASET;
            return match (documents.get(index), index - documents.len().min(index)) {
                (Some(name), _) => mutable(Folder::Dataset(dataset), name),
                (None, 0) => directory(MutableDocument::UPSTREAM, Inode::upstream(dataset)),
                (None, index) => self.tree.listed_tiff(dataset, index - 1),
            };
        };
        if !self.tree.images.is_listed(store) {
            return Some(None);
        }
        let format = Format::ALL[index % Format::ALL.len()];
        let member = StoreMember { store: store.clone(), index: 0, format };
        directory(format!("{}{}", store.name, format.ending()), member.group_inode(GroupNode::Directory))
    }
}

impl Chunks {
    fn at<'a>(&self, index: u64) -> EntryAt<'a> {
        let [slabs, rows, columns] = self.numbering.counts();
        let (count, node, attributes) = match self.directory {
            LevelNode::ZDir(z) => (rows, LevelNode::YDir(z, index), NodeAttributes::DIRECTORY),
            LevelNode::YDir(z, y) => (columns, LevelNode::Chunk(CellIndex([z, y, index])), self.file),
            _ => (slabs, LevelNode::ZDir(index), NodeAttributes::DIRECTORY),
        };
        if index >= count {
            return None;
        }
        let inode = self.member.chunk_inode(self.level, &self.numbering, node);
        Some(Some((Cow::Owned(index.to_string()), NamedEntry::Node(inode, attributes))))
    }
}

fn mutable<'a>(folder: Folder, name: &'static str) -> EntryAt<'a> {
    Some(Some((Cow::Borrowed(name), NamedEntry::Mutable(MutableDocument::of(folder, name)))))
}

fn directory<'a>(name: impl Into<Cow<'a, str>>, inode: Inode) -> EntryAt<'a> {
    Some(Some((name.into(), NamedEntry::Node(inode, NodeAttributes::DIRECTORY))))
}
