//! From a directory and a name to what is there. Names are compared byte by byte.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::sync::Arc;

use super::coordinate_node::{self, CoordinateNode};
use super::group_node::GroupNode;
use super::numbering::LevelNode;
use super::resolved_node::{ResolvedNode, StoreMember};
use super::store::{NewStore, TreeStore, show};
use super::{DatasetId, Folder, ImageId, Inode, Miss, MutableDocument, NamedEntry, NodeAttributes, Tree};
use crate::catalog::ROOT_DOCUMENTS;
use crate::geometry::CellIndex;
use crate::tiff::TiffName;
use crate::view::ViewSpec;
use crate::zarr::{Format, StoreName, parse_index};

impl Tree {
    /// Finds a name in a directory. The reference that the kernel gets with a positive answer is counted here; an
    /// answer that is not sent has to be forgotten with [`Tree::forget`].
    pub fn lookup(&self, parent: Inode, name: &OsStr) -> Result<NamedEntry, Miss> {
        let directory = self.resolved(parent)?;
        let name = name.to_str().ok_or(Miss::NotFound)?;
        let resolved = match &directory {
            ResolvedNode::Root => {
                if let Some(name) = known(&ROOT_DOCUMENTS, name) {
                    return Ok(NamedEntry::Mutable(MutableDocument::of(Folder::Root, name)));
                }
                let number = self.images.datasets().iter().position(|dataset| dataset.name == name);
                ResolvedNode::Dataset(DatasetId(number.ok_or(Miss::NotFound)? as u32))
            }
            ResolvedNode::Dataset(dataset) => return self.lookup_in_dataset(*dataset, name),
            ResolvedNode::Upstream(dataset) => {
                let name = Cow::Owned(name.to_owned());
                return Ok(NamedEntry::Mutable(MutableDocument { folder: Folder::Upstream(*dataset), name }));
            }
            ResolvedNode::Group { member, node } => self.lookup_in_group(member, *node, name)?,
            ResolvedNode::Level { member, shown, level, node } => {
                let numbering = shown.numbering(*level).ok_or(Miss::Stale)?;
                let node = lookup_in_level(*node, name, member.format, numbering.counts())?;
                ResolvedNode::Level { member: member.clone(), shown: shown.clone(), level: *level, node }
            }
        };
        let attributes = self.attributes_of(&resolved)?;
        let inode = resolved.inode();
        self.remember(inode);
        Ok(NamedEntry::Node(inode, attributes))
    }

    fn lookup_in_dataset(&self, dataset: DatasetId, name: &str) -> Result<NamedEntry, Miss> {
        if let Some(name) = known(&MutableDocument::OF_DATASET, name) {
            return Ok(NamedEntry::Mutable(MutableDocument::of(Folder::Dataset(dataset), name)));
        }
        if name == MutableDocument::UPSTREAM {
            return Ok(NamedEntry::Node(Inode::upstream(dataset), NodeAttributes::DIRECTORY));
        }
        if let Ok(name) = TiffName::parse(name) {
            return self.look_up_tiff(dataset, &name);
        }
        let StoreName { image, view, format } = StoreName::parse(name).map_err(|_| Miss::NotFound)?;
        let root = StoreMember { store: self.open_store(dataset, &image, view)?, index: 0, format };
        Ok(NamedEntry::Node(root.group_inode(GroupNode::Directory), NodeAttributes::DIRECTORY))
    }

    /// The store of a view of an image, with one more reference where it is not in the catalogue.
    pub(super) fn open_store(&self, dataset: DatasetId, image: &str, view: ViewSpec) -> Result<Arc<TreeStore>, Miss> {
        let stem = format!("{image}{view}");
        let fixed = self.images.stores(dataset).iter().find(|store| store.name == stem);
        if let Some(store) = fixed {
            return Ok(store.clone());
        }
        let (number, labels) = self.images.named(dataset, image).ok_or(Miss::NotFound)?;
        // A file of labels may have made it live at a level that the image has not there.
        if view.level.is_some() {
            self.check_view(number, view)?;
        }
        match self.views.open(number, view) {
            Some(store) => Ok(store),
            None => {
                self.check_view(number, view)?;
                self.views.add(NewStore { dataset, image: number, labels, name: stem, spec: view })
            }
        }
    }

    /// The same for a file of labels, which may have a level that their image has not, as a whole or in the crop.
    pub(super) fn open_store_of_label(
        &self,
        dataset: DatasetId,
        image: &str,
        view: ViewSpec,
    ) -> Result<Arc<TreeStore>, Miss> {
        let opened = self.open_store(dataset, image, view);
        if view.level.is_none() || !matches!(opened, Err(Miss::NotFound)) {
            return opened;
        }
        let (number, labels) = self.images.named(dataset, image).ok_or(Miss::NotFound)?;
        self.check_view(number, ViewSpec { level: None, ..view })?;
        match self.views.open(number, view) {
            Some(store) => Ok(store),
            None => {
                let name = format!("{image}{view}");
                self.views.add(NewStore { dataset, image: number, labels, name, spec: view })
            }
        }
    }

    /// Whether an image allows a view; the name of one that it does not is not there.
    fn check_view(&self, image: ImageId, view: ViewSpec) -> Result<(), Miss> {
        let pyramid = self.images.pyramid(image).ok_or_else(|| Miss::NotDescribed(vec![image]))?;
        show(view, image, pyramid).map(drop).map_err(|_| Miss::NotFound)
    }

    fn lookup_in_group(&self, member: &StoreMember, node: GroupNode, name: &str) -> Result<ResolvedNode, Miss> {
        let group = |node| ResolvedNode::Group { member: member.clone(), node };
        match node {
            GroupNode::Directory => {
                if let Some(document) = known(GroupNode::documents(member.format), name) {
                    return Ok(group(GroupNode::Document(document)));
                }
                if name == "labels" && member.index == 0 && member.store.labels() > 0 {
                    let labels = member.store.listed_labels(&self.images)?;
                    return if labels.is_empty() { Err(Miss::NotFound) } else { Ok(group(GroupNode::Labels)) };
                }
                if let Some(axis) = coordinate_node::axis(name).filter(|_| member.store.spec.level.is_some()) {
                    return Ok(group(GroupNode::Coordinate(axis, CoordinateNode::Directory)));
                }
                if name == MutableDocument::ERROR && member.index == 0 {
                    // Once the store is described there is none, for good.
                    self.shown(member)?;
                }
                let level = member.store.spec.level_names.parse(name);
                let level = level.filter(|level| level.0 < super::inode::LEVELS).ok_or(Miss::NotFound)?;
                let shown = self.shown(member)?;
                if shown.numbering(level).is_none() {
                    return Err(Miss::NotFound);
                }
                Ok(ResolvedNode::Level { member: member.clone(), shown, level, node: LevelNode::Directory })
            }
            GroupNode::Labels => {
                if let Some(document) = known(GroupNode::labels_documents(member.format), name) {
                    return Ok(group(GroupNode::LabelsDocument(document)));
                }
                let index = (1..=member.store.labels())
                    .find(|&index| self.label_name(member, index) == name)
                    .ok_or(Miss::NotFound)?;
                let label = member.sibling(index);
                // A label that this view does not show is not there.
                self.shown(&label)?;
                Ok(ResolvedNode::Group { member: label, node: GroupNode::Directory })
            }
            GroupNode::Coordinate(axis, node) => self.look_up_coordinate(member, axis, node, name),
            GroupNode::Document(_) | GroupNode::LabelsDocument(_) | GroupNode::Tiff => Err(Miss::NotADirectory),
        }
    }

    pub(super) fn label_name(&self, member: &StoreMember, index: usize) -> &str {
        self.images.info(member.store.image_of(index)).and_then(|info| info.named.label).unwrap_or_default()
    }
}

fn lookup_in_level(node: LevelNode, name: &str, format: Format, counts: [u64; 3]) -> Result<LevelNode, Miss> {
    let index = |axis: usize| parse_index(name).filter(|&index| index < counts[axis]).ok_or(Miss::NotFound);
    match (node, format) {
        (LevelNode::Directory, _) => match (known(LevelNode::documents(format), name), format) {
            (Some(document), _) => Ok(LevelNode::Document(document)),
            (None, Format::V2) => Ok(LevelNode::ZDir(index(0)?)),
            (None, Format::V3) => {
                if name == "c" {
                    Ok(LevelNode::Chunks)
                } else {
                    Err(Miss::NotFound)
                }
            }
        },
        (LevelNode::Chunks, _) => Ok(LevelNode::ZDir(index(0)?)),
        (LevelNode::ZDir(z), _) => Ok(LevelNode::YDir(z, index(1)?)),
        (LevelNode::YDir(z, y), _) => Ok(LevelNode::Chunk(CellIndex([z, y, index(2)?]))),
        (LevelNode::Document(_) | LevelNode::Chunk(_), _) => Err(Miss::NotADirectory),
    }
}

fn known(names: &[&'static str], name: &str) -> Option<&'static str> {
    names.iter().find(|&&known| known == name).copied()
}
