//! What a node holds: a document's bytes, or which voxels make up a chunk.

use bytes::Bytes;

use super::coordinate_node::CoordinateNode;
use super::group_node::GroupNode;
use super::numbering::LevelNode;
use super::resolved_node::{ResolvedNode, StoreMember};
use super::{ImageId, Inode, Miss, TiffRef, Tree, ViewId};
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, LevelIndex, Region, Shape};
use crate::volume::View;
use crate::volume::pyramid::chunk_bytes;
use crate::zarr::{Format, Group, v2, v3};

/// What a node holds.
#[derive(Debug, Clone)]
pub enum NodeContent {
    /// Entries.
    Directory,
    /// These bytes.
    Document(Bytes),
    /// Voxels.
    Chunk(ChunkRef),
    /// What a TIFF file says, then voxels.
    Tiff(Box<TiffRef>),
}

/// A chunk file, the same in both formats. Image, level, region and chunk shape say everything about its content, so
/// these four are a key that stays right when view numbers are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// Where the voxels come from.
    pub image: ImageId,
    /// The view in which the chunk was asked for.
    pub view: ViewId,
    /// Level, with the same number in the view and in the image.
    pub level: LevelIndex,
    /// Position in the view's grid.
    pub index: CellIndex,
    /// The voxels of the image's level that the chunk shows. Smaller than `shape` at the far edges of the view, where
    /// the rest of the file is padding.
    pub region: Region,
    /// Shape of the chunk in the file.
    pub shape: Shape,
    /// Type of a voxel.
    pub dtype: DataType,
    /// Value of voxels that are absent at the origin.
    pub fill: FillValue,
}

impl ChunkRef {
    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        chunk_bytes(self.shape, self.dtype)
    }
}

impl Tree {
    /// What is at an inode.
    pub fn read_node(&self, inode: Inode) -> Result<NodeContent, Miss> {
        let resolved = self.resolved(inode)?;
        match &resolved {
            ResolvedNode::Root
            | ResolvedNode::Dataset(_)
            | ResolvedNode::Upstream(_)
            | ResolvedNode::Group { node: GroupNode::Directory | GroupNode::Labels, .. }
            | ResolvedNode::Level {
                node: LevelNode::Directory | LevelNode::Chunks | LevelNode::ZDir(_) | LevelNode::YDir(..),
                ..
            } => Ok(NodeContent::Directory),
            ResolvedNode::Group { member, node: GroupNode::Tiff } => {
                Ok(NodeContent::Tiff(Box::new(self.tiff(member)?)))
            }
            ResolvedNode::Group { member, node: GroupNode::Coordinate(axis, node) } => match node {
                CoordinateNode::Directory | CoordinateNode::Chunks => Ok(NodeContent::Directory),
                CoordinateNode::Document(_) => self.document(&resolved).map(NodeContent::Document),
                // Not kept with the documents: it is longer than they are, and made at once.
                CoordinateNode::Chunk(chunk) => {
                    Ok(NodeContent::Document(self.coordinate(member, *axis)?.values(*chunk)))
                }
            },
            ResolvedNode::Group { .. } | ResolvedNode::Level { node: LevelNode::Document(_), .. } => {
                self.document(&resolved).map(NodeContent::Document)
            }
            ResolvedNode::Level { member, shown, level, node: LevelNode::Chunk(index) } => {
                let view = &shown.view;
                let (array, origin) = shown.level(*level).zip(shown.origin(*level)).ok_or(Miss::Stale)?;
                let inner = array.grid.region(*index);
                Ok(NodeContent::Chunk(ChunkRef {
                    image: shown.image,
                    view: member.store.view(member.index),
                    level: *level,
                    index: *index,
                    region: Region {
                        start: std::array::from_fn(|axis| origin[axis] + inner.start[axis]),
                        end: std::array::from_fn(|axis| origin[axis] + inner.end[axis]),
                    },
                    shape: array.grid.cell,
                    dtype: view.pyramid.dtype,
                    fill: view.pyramid.fill,
                }))
            }
        }
    }

    /// The bytes of a document. They are the same each time, so a short list of recent ones is enough.
    pub(super) fn document(&self, resolved: &ResolvedNode) -> Result<Bytes, Miss> {
        let (ResolvedNode::Group { member, .. } | ResolvedNode::Level { member, .. }) = resolved else {
            return Err(Miss::NotFound);
        };
        let key = (member.store.serial, resolved.inode());
        if let Some(bytes) = self.documents.lock().get(&key) {
            return Ok(bytes.clone());
        }
        let bytes = match resolved {
            ResolvedNode::Group { member, node: GroupNode::Document(name) } => self.group_document(member, name)?,
            ResolvedNode::Group { member, node: GroupNode::LabelsDocument(name) } => {
                self.labels_document(member, name)?
            }
            ResolvedNode::Group { member, node: GroupNode::Coordinate(axis, CoordinateNode::Document(name)) } => {
                self.coordinate_document(member, *axis, name)?
            }
            ResolvedNode::Level { member, shown, level, node: LevelNode::Document(name) } => {
                let pyramid = &shown.view.pyramid;
                let level = shown.level(*level).ok_or(Miss::Stale)?;
                match (member.format, *name) {
                    (Format::V2, ".zarray") => v2::array(pyramid, level),
                    (Format::V2, _) => v2::array_attributes(pyramid, level),
                    (Format::V3, _) => v3::array(pyramid, level),
                }
            }
            _ => return Err(Miss::NotFound),
        };
        self.documents.lock().put(key, bytes.clone());
        Ok(bytes)
    }

    fn group_document(&self, member: &StoreMember, name: &str) -> Result<Bytes, Miss> {
        let consolidated = matches!((member.format, name), (Format::V2, ".zmetadata") | (Format::V3, _));
        // First, so that an image and its labels are asked for at once.
        let labels = if consolidated && member.index == 0 { member.store.shown_labels(&self.images)? } else { vec![] };
        let shown = self.shown(member)?;
        let title = self.title(member);
        let coordinates = member.store.spec.level.is_some();
        let group = described(&title, &shown.view, coordinates, member.index > 0);
        let labels: Vec<Group<'_>> = labels
            .iter()
            .filter_map(|(index, shown)| {
                Some(described(self.label_name(member, *index), &shown.as_ref()?.view, coordinates, true))
            })
            .collect();
        Ok(match (member.format, name) {
            (Format::V2, ".zgroup") => v2::group(),
            (Format::V2, ".zattrs") => v2::attributes(&group),
            (Format::V2, _) => v2::consolidated(&group, &labels),
            (Format::V3, _) => v3::consolidated(&group, &labels),
        })
    }

    fn labels_document(&self, member: &StoreMember, name: &str) -> Result<Bytes, Miss> {
        let labels = member.store.listed_labels(&self.images)?;
        let names = labels.iter().map(|&index| self.label_name(member, index));
        Ok(match (member.format, name) {
            (Format::V2, ".zgroup") => v2::group(),
            (Format::V2, _) => v2::labels_attributes(names),
            (Format::V3, _) => v3::labels(names),
        })
    }

    /// The name that a viewer shows: dataset and store, or the labels.
    fn title(&self, member: &StoreMember) -> String {
        let store = &member.store;
        match self.images.dataset(store.dataset) {
            Some(dataset) if member.index == 0 => format!("{} {}", dataset.name, store.name),
            _ => self.label_name(member, member.index).to_owned(),
        }
    }
}

fn described<'a>(name: &'a str, view: &'a View, coordinates: bool, is_label: bool) -> Group<'a> {
    Group {
        name,
        pyramid: &view.pyramid,
        numbers: Some(&view.numbers),
        level_names: view.level_names,
        coordinates,
        is_label,
    }
}
