//! Inode numbers, computed from what they stand for.
//!
//! ```text
//! bit 63   62       61…44   43…42   41…37   36…0
//! 1        format   view    depth   level   node      inside a store
//! 0        1        0   number                        a revision of a document that can change
//! 0        1        1   place, number                 what was looked up when its daemon had ended ([`super::Remains`])
//! 0        0        number                            the root (1) and the datasets
//! ```
//!
//! So a number alone tells a file from a directory, and what its names are like.

use std::fmt;

use super::{DatasetId, ViewId};
use crate::geometry::LevelIndex;
use crate::zarr::Format;

const IN_STORE: u64 = 1 << 63;
/// Format bit inside a store, outside the bit of what is neither the root nor a dataset.
const SECOND: u64 = 1 << 62;
/// Outside a store, beside [`SECOND`]: not a revision, but looked up without a daemon.
const THIRD: u64 = 1 << 61;
const VIEW_SHIFT: u32 = 44;
const DEPTH_SHIFT: u32 = 42;
const LEVEL_SHIFT: u32 = 37;
/// Bits of a node's number.
pub(super) const NODE_BITS: u32 = LEVEL_SHIFT;
/// Views there can be at a time.
pub(super) const VIEWS: u32 = 1 << 18;
/// Levels there can be in a store; the last number stands for the store's own documents.
pub(super) const LEVELS: u8 = 31;
const FIRST_DATASET: u64 = 2;
/// Bit of the directories of archives' documents outside stores, beside the number of their dataset.
const UPSTREAM: u64 = 1 << 40;

/// The number of a node, as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode(u64);

impl Inode {
    /// The directory at the mountpoint.
    pub const ROOT: Inode = Inode(1);

    /// A number that came from outside; whether anything is there is checked on use.
    pub const fn new(number: u64) -> Inode {
        Inode(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The inode of the `number`-th revision of all documents that can change, below 2⁶¹. Who hands them out keeps
    /// them: no operation of the tree knows them.
    pub const fn revision(number: u64) -> Inode {
        Inode(SECOND | (number & (THIRD - 1)))
    }

    /// The number given to [`Inode::revision`], if this is such an inode.
    pub const fn as_revision(self) -> Option<u64> {
        if self.0 & (IN_STORE | SECOND | THIRD) == SECOND { Some(self.0 & (THIRD - 1)) } else { None }
    }

    /// The inode of what [`super::Remains`] numbers so, below 2⁶¹.
    pub(super) const fn remaining(number: u64) -> Inode {
        Inode(SECOND | THIRD | (number & (THIRD - 1)))
    }

    /// The number given to [`Inode::remaining`], if this is such an inode.
    pub(super) const fn as_remaining(self) -> Option<u64> {
        if self.0 & (IN_STORE | SECOND | THIRD) == SECOND | THIRD { Some(self.0 & (THIRD - 1)) } else { None }
    }

    pub fn dataset(dataset: DatasetId) -> Inode {
        Inode(FIRST_DATASET + u64::from(dataset.0))
    }

    pub(super) fn upstream(dataset: DatasetId) -> Inode {
        Inode(UPSTREAM | Inode::dataset(dataset).0)
    }

    pub(super) fn in_store(address: StoreAddress) -> Inode {
        let format = if address.format == Format::V3 { SECOND } else { 0 };
        let level = match address.place {
            Area::Level(LevelIndex(level)) => level,
            Area::Store => LEVELS,
        };
        let node = address.node & ((1 << NODE_BITS) - 1);
        let view = u64::from(address.view.0 % VIEWS);
        let depth = (address.depth as u64) << DEPTH_SHIFT;
        Inode(IN_STORE | format | view << VIEW_SHIFT | depth | u64::from(level & LEVELS) << LEVEL_SHIFT | node)
    }

    /// The view that the inode is in, if it is in a store.
    pub(super) fn view(self) -> Option<ViewId> {
        match self.decode() {
            Some(InodeAddress::InStore(address)) => Some(address.view),
            _ => None,
        }
    }

    pub(super) fn decode(self) -> Option<InodeAddress> {
        if self.0 & IN_STORE != 0 {
            let level = (self.0 >> LEVEL_SHIFT) as u8 & LEVELS;
            return Some(InodeAddress::InStore(StoreAddress {
                format: if self.0 & SECOND != 0 { Format::V3 } else { Format::V2 },
                view: ViewId((self.0 >> VIEW_SHIFT) as u32 & (VIEWS - 1)),
                depth: match self.0 >> DEPTH_SHIFT & 3 {
                    0 => Depth::Top,
                    1 => Depth::ZDir,
                    2 => Depth::YDir,
                    _ => Depth::Chunk,
                },
                place: if level == LEVELS { Area::Store } else { Area::Level(LevelIndex(level)) },
                node: self.0 & ((1 << NODE_BITS) - 1),
            }));
        }
        if self == Inode::ROOT {
            return Some(InodeAddress::Root);
        }
        let number = (self.0 & !UPSTREAM).checked_sub(FIRST_DATASET)?;
        let dataset = DatasetId(number.try_into().ok()?);
        Some(if self.0 & UPSTREAM == 0 { InodeAddress::Dataset(dataset) } else { InodeAddress::Upstream(dataset) })
    }
}

impl fmt::Display for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The fields of an inode number, not yet known to stand for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InodeAddress {
    Root,
    Dataset(DatasetId),
    Upstream(DatasetId),
    InStore(StoreAddress),
}

/// The fields of an inode number inside a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoreAddress {
    pub format: Format,
    pub view: ViewId,
    pub place: Area,
    pub depth: Depth,
    pub node: u64,
}

/// How far below the directory of all chunks a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Not at all: that directory, those above it, and documents.
    Top,
    /// The directory of the chunks with one `z`.
    ZDir,
    /// The directory of the chunks with one `z` and one `y`.
    YDir,
    /// A chunk file.
    Chunk,
}

/// Which numbering of nodes applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// The store's directory, its documents and its labels.
    Store,
    /// A level's directory and everything below.
    Level(LevelIndex),
}
