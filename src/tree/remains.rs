//! What can be said of names when the daemon that knew the tree has ended.
//!
//! Programs that ask whether a chunk is there before they read it, and take every error for a no, as zarr 2 does, would go
//! on with the fill value. So every name that may be that of a file in a store is said to be one; that it cannot be read is
//! what they learn next. What a name may be follows from the inode of its directory, whoever gave that out. Nothing is kept
//! of what was looked up.

use std::ffi::OsStr;

use super::coordinate_node::{self, CoordinateNode};
use super::group_node::{COORDINATES, GroupNode, LABELS};
use super::inode::{Area, Depth, InodeAddress, StoreAddress};
use super::numbering::{CHUNKS, LevelNode};
use super::{DatasetId, Inode, NodeKind};
use crate::tiff::TiffName;
use crate::view::LevelNames;
use crate::zarr::{Format, StoreName, parse_index};

/// Bits of an inode's number below those of its place.
const NUMBER_BITS: u32 = 56;

/// What the names in a directory, or a file, are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Dataset,
    /// The directory of an image or of labels.
    Group,
    /// `labels`.
    Labels,
    Level,
    /// Zarr v3's `c`.
    Chunks,
    ZDir,
    YDir,
    /// An array of coordinates.
    Coordinate,
    /// A document or a chunk.
    File,
}

/// Those that inodes are given for, in the order of their numbers.
const NUMBERED: [Place; 8] = [
    Place::File,
    Place::Group,
    Place::Labels,
    Place::Level,
    Place::Chunks,
    Place::ZDir,
    Place::YDir,
    Place::Coordinate,
];

/// The tree without its daemon.
#[derive(Debug, Default)]
pub struct Remains {
    /// Their names, in the order of the catalogue.
    datasets: Vec<String>,
    /// Inodes given out.
    given: u64,
}

impl Remains {
    /// Of a tree with these datasets, in the order of its catalogue.
    pub fn new(datasets: Vec<String>) -> Remains {
        Remains { datasets, given: 0 }
    }

    /// What `name` in the directory `parent` would be; `None` where nothing says that it is in a store.
    pub fn lookup(&mut self, parent: Inode, name: &OsStr) -> Option<(Inode, NodeKind)> {
        let name = name.to_str()?;
        let parent = Place::of(parent)?;
        if parent == Place::Root {
            // The inode that the kernel knows already, so that what it keeps below stays.
            let number = self.datasets.iter().position(|dataset| dataset == name)?;
            return Some((Inode::dataset(DatasetId(u32::try_from(number).ok()?)), NodeKind::Directory));
        }
        let place = parent.child(name)?;
        let code = NUMBERED.iter().position(|&numbered| numbered == place)? as u64;
        // Each its own: a directory has one name only.
        self.given += 1;
        let inode = Inode::remaining(code << NUMBER_BITS | self.given & ((1 << NUMBER_BITS) - 1));
        Some((inode, if place == Place::File { NodeKind::File } else { NodeKind::Directory }))
    }

    /// Whether an inode is a file in a store.
    pub fn is_file(inode: Inode) -> bool {
        Place::of(inode) == Some(Place::File)
    }
}

impl Place {
    /// Of an inode of the tree or of [`Remains::lookup`]; `None` where that is outside of stores.
    fn of(inode: Inode) -> Option<Place> {
        if let Some(number) = inode.as_remaining() {
            return NUMBERED.get(usize::try_from(number >> NUMBER_BITS).ok()?).copied();
        }
        let StoreAddress { format, place, depth, node, .. } = match inode.decode()? {
            InodeAddress::Root => return Some(Place::Root),
            InodeAddress::Dataset(_) => return Some(Place::Dataset),
            InodeAddress::Upstream(_) => return None,
            InodeAddress::InStore(address) => address,
        };
        Some(match (place, depth, node) {
            (Area::Store, _, 0) => Place::Group,
            (Area::Store, _, LABELS) => Place::Labels,
            (Area::Store, _, node) if node >= COORDINATES => match GroupNode::decode(node, format)? {
                GroupNode::Coordinate(_, CoordinateNode::Directory) => Place::Coordinate,
                GroupNode::Coordinate(_, CoordinateNode::Chunks) => Place::YDir,
                _ => Place::File,
            },
            (Area::Level(_), Depth::Top, 0) => Place::Level,
            (Area::Level(_), Depth::Top, CHUNKS) if format == Format::V3 => Place::Chunks,
            (Area::Level(_), Depth::ZDir, _) => Place::ZDir,
            (Area::Level(_), Depth::YDir, _) => Place::YDir,
            _ => Place::File,
        })
    }

    /// What a name in this directory stands for.
    fn child(self, name: &str) -> Option<Place> {
        let is_one_of = |documents: fn(Format) -> &'static [&'static str]| {
            Format::ALL.into_iter().any(|format| documents(format).contains(&name))
        };
        let index = |place| parse_index(name).map(|_| place);
        match self {
            Place::Root | Place::File => None,
            Place::Dataset if TiffName::parse(name).is_ok() => Some(Place::File),
            Place::Dataset => StoreName::parse(name).ok().map(|_| Place::Group),
            Place::Group if is_one_of(GroupNode::documents) => Some(Place::File),
            Place::Group if name == "labels" => Some(Place::Labels),
            Place::Group if coordinate_node::axis(name).is_some() => Some(Place::Coordinate),
            Place::Coordinate if is_one_of(LevelNode::documents) => Some(Place::File),
            Place::Coordinate if name == "c" => Some(Place::YDir),
            Place::Coordinate => index(Place::File),
            Place::Group => LevelNames::ALL.into_iter().find_map(|names| names.parse(name)).map(|_| Place::Level),
            Place::Labels if is_one_of(GroupNode::labels_documents) => Some(Place::File),
            Place::Labels => Some(Place::Group),
            Place::Level if is_one_of(LevelNode::documents) => Some(Place::File),
            Place::Level if name == "c" => Some(Place::Chunks),
            Place::Level | Place::Chunks => index(Place::ZDir),
            Place::ZDir => index(Place::YDir),
            Place::YDir => index(Place::File),
        }
    }
}
