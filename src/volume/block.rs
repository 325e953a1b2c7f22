//! A native block of a source: its name, its voxels, and how the work for it ended.

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use super::VolumeError;
use crate::cache::{Held, Leader};
use crate::geometry::{CellIndex, LevelIndex};
use crate::store::Object;

/// A block of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// Number of the image, see [`Image::number`](super::Image::number).
    pub image: u32,
    /// Level of its pyramid.
    pub level: LevelIndex,
    /// Position in the level's grid of native blocks.
    pub index: CellIndex,
}

/// A decoded block.
#[derive(Debug, Clone)]
pub enum BlockVoxels {
    /// The origin holds none: all voxels have the fill value.
    Absent,
    /// C order, little-endian, clipped to the array.
    Present(Arc<Held>),
}

/// How the work for a block ended.
#[derive(Debug, Clone)]
pub(super) enum BlockOutcome {
    /// It is there, or cannot be had.
    Settled(Result<BlockVoxels, VolumeError>),
    /// It was fetched ahead for nobody, and is kept as it came or was given up. Who asked meanwhile has to ask again.
    FetchedAhead,
}

impl BlockOutcome {
    /// It cannot be had.
    pub(super) fn failed(error: impl Into<VolumeError>) -> Self {
        BlockOutcome::Settled(Err(error.into()))
    }
}

/// The duty to say how the work for a block ended.
pub(super) type BlockLeader = Leader<BlockKey, BlockOutcome>;

/// Of what version the bytes of an object are, for what is made of them.
pub(super) fn versions_of(object: &Object) -> Option<Arc<[u64]>> {
    object.version_sum().map(|version| Arc::from([version]))
}

/// Blocks that were asked for, as they come.
pub type Requested = FuturesUnordered<BoxFuture<'static, (CellIndex, Result<BlockVoxels, VolumeError>)>>;

/// The sooner of two moments, of which none is never.
pub(super) fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
