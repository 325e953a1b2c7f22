//! The nodes of a store outside its levels, numbered: documents, `labels`, arrays of coordinates.

use super::coordinate_node::CoordinateNode;
use super::numbering::{at, place};
use crate::zarr::Format;

/// A node of a store outside its levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupNode {
    /// The group's directory.
    Directory,
    /// One of [`GroupNode::documents`].
    Document(&'static str),
    /// The `labels` directory.
    Labels,
    /// One of [`GroupNode::labels_documents`].
    LabelsDocument(&'static str),
    /// A node of the array of coordinates along an axis.
    Coordinate(usize, CoordinateNode),
    /// No node of the store: the TIFF file beside it that shows the same. It has the first format's number.
    Tiff,
}

/// Number of a group's `labels` directory. Numbers of documents follow the one of their directory.
pub(super) const LABELS: u64 = 16;

/// First number of the documents in it.
const LABELS_DOCUMENT: u64 = LABELS + 1;

/// Number of the TIFF file beside a store.
pub(super) const TIFF: u64 = 24;

/// First number of the arrays of coordinates.
pub(super) const COORDINATES: u64 = 32;

impl GroupNode {
    /// The documents of an image's group.
    pub fn documents(format: Format) -> &'static [&'static str] {
        match format {
            Format::V2 => &[".zgroup", ".zattrs", ".zmetadata"],
            Format::V3 => &["zarr.json"],
        }
    }

    /// The documents of the `labels` group.
    pub fn labels_documents(format: Format) -> &'static [&'static str] {
        match format {
            Format::V2 => &[".zgroup", ".zattrs"],
            Format::V3 => &["zarr.json"],
        }
    }

    pub fn number(self, format: Format) -> u64 {
        match self {
            GroupNode::Directory => 0,
            GroupNode::Document(name) => place(Self::documents(format), name) + 1,
            GroupNode::Labels => LABELS,
            GroupNode::LabelsDocument(name) => LABELS + place(Self::labels_documents(format), name) + 1,
            GroupNode::Coordinate(axis, node) => COORDINATES + node.number(axis, format),
            GroupNode::Tiff => TIFF,
        }
    }

    pub fn decode(number: u64, format: Format) -> Option<GroupNode> {
        match number {
            0 => Some(GroupNode::Directory),
            LABELS => Some(GroupNode::Labels),
            1..LABELS => at(Self::documents(format), number - 1).map(GroupNode::Document),
            TIFF => (format == Format::V2).then_some(GroupNode::Tiff),
            LABELS_DOCUMENT..COORDINATES => {
                at(Self::labels_documents(format), number - LABELS_DOCUMENT).map(GroupNode::LabelsDocument)
            }
            _ => CoordinateNode::decode(number - COORDINATES, format)
                .map(|(axis, node)| GroupNode::Coordinate(axis, node)),
        }
    }
}
