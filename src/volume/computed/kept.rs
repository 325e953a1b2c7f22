//! Where computed blocks are kept on disk: under the versions of all objects that they were made of and that of the rule.
//!
//! What is kept is used as long as those objects are believed to be what they were. Where that cannot be said of one of them,
//! the block is computed again.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use xxhash_rust::xxh3::xxh3_128;

use super::{DownsamplingRule, Levels};
use crate::geometry::{CellIndex, LevelIndex, Region};
use crate::source::{Placement, Source};
use crate::store::{Object, RangeStore, off_the_runtime};

/// Stands for a block or section that the origin does not have.
pub(super) const ABSENT: u64 = 0;

/// Objects or blocks whose versions are looked at for one computed block; what is made of more is not kept.
const MAX_VERSIONS: usize = 4096;

/// Versions that are looked at together.
const AT_ONCE: usize = 16;

/// The computed blocks of one image on disk.
#[derive(Debug, Clone)]
pub struct KeptLevels {
    disk: Arc<dyn RangeStore>,
    /// What tells the image from all others.
    key: String,
}

/// Where a block is kept.
pub(super) struct KeptPlace {
    object: String,
    version: String,
    start: u64,
    end: u64,
}

impl KeptPlace {
    fn range(&self) -> Range<u64> {
        self.start..self.end
    }
}

impl KeptLevels {
    /// `key`: what tells the image and all that decides which voxels it has from all others, beginning with an address.
    pub fn new(disk: Arc<dyn RangeStore>, key: &str) -> Self {
        KeptLevels { disk, key: format!("{}{key}", crate::store::COMPUTED) }
    }

    /// Whether what is computed is kept.
    pub(super) fn is_writable(&self) -> bool {
        self.disk.is_writable()
    }

    /// The place of a block of `bytes` that is made of objects of these versions.
    pub(super) fn place(
        &self,
        levels: &Levels,
        level: LevelIndex,
        block: CellIndex,
        versions: &[u64],
        bytes: u64,
    ) -> Option<KeptPlace> {
        let computed = levels.get(level)?;
        let [_, height, width] = computed.grid.counts();
        let number =
            block.0[0].checked_mul(height)?.checked_add(block.0[1])?.checked_mul(width)?.checked_add(block.0[2])?;
        // So that no two overlap, whatever the type.
        let start = number.checked_mul(computed.grid.cell.bytes(8)?)?;
        let sums: Vec<u8> = versions.iter().flat_map(|version| version.to_le_bytes()).collect();
        // All levels below count: in another order of halving they would have other values.
        let below = levels.levels.iter().take(usize::from(level.0)).map(|level| level.factors);
        let made = format!("{} {:?} {:?}", computed.grid.shape, computed.grid.cell.0, below.collect::<Vec<_>>());
        Some(KeptPlace {
            object: format!("{} {level} {made}", self.key),
            version: format!("{} {} of {:032x}", levels.rule.name(), DownsamplingRule::VERSION, xxh3_128(&sums)),
            start,
            end: start.checked_add(bytes)?,
        })
    }

    /// The bytes that are kept at a place.
    pub(super) async fn read(&self, place: &KeptPlace) -> Option<Bytes> {
        let pieces = self.disk.read(&place.object, place.version.clone(), place.range()).await;
        // What is kept next to each other comes as one.
        pieces.into_iter().next().filter(|piece| piece.range() == place.range()).map(|piece| piece.bytes)
    }

    /// Whether there are some, as far as can be said without reading them.
    pub(super) async fn has(&self, place: KeptPlace) -> bool {
        let disk = self.disk.clone();
        let covered = off_the_runtime(move || {
            let parts = disk.covered(&place.object, &place.version, place.range());
            parts.first().is_some_and(|part| *part == place.range())
        });
        covered.await.unwrap_or(false)
    }

    /// Keeps a block.
    pub(super) fn write(&self, place: &KeptPlace, bytes: Bytes) {
        self.disk.write(&place.object, &place.version, place.start, bytes);
    }
}

/// Gathers the versions of what a block is made of.
pub(super) struct BlockVersions {
    sums: Option<BTreeSet<u64>>,
}

impl BlockVersions {
    pub(super) fn none() -> Self {
        BlockVersions { sums: Some(BTreeSet::new()) }
    }

    /// Adds those of a part; `None` where they are not known.
    pub(super) fn add(&mut self, versions: Option<&[u64]>) {
        match (&mut self.sums, versions) {
            (Some(sums), Some(versions)) => sums.extend(versions),
            (sums, _) => *sums = None,
        }
        self.sums.take_if(|sums| sums.len() > MAX_VERSIONS);
    }

    /// All of them, where all are known.
    pub(super) fn all(self) -> Option<Arc<[u64]>> {
        self.sums.map(|sums| sums.into_iter().collect())
    }
}

/// The versions that the objects are believed to be of which a computed block is made; `None` where that cannot be said.
pub(super) async fn believed(
    source: &dyn Source,
    levels: &Levels,
    level: LevelIndex,
    block: CellIndex,
) -> Option<Arc<[u64]>> {
    let stored = levels.stored(level, levels.get(level)?.grid.region(block))?;
    let mut versions = BlockVersions::none();
    let objects = match source.objects(stored.start[0]..stored.end[0]) {
        Some(objects) => objects,
        None => located(source, &stored).await?,
    };
    let objects: Vec<Option<Object>> = objects.into_iter().take(MAX_VERSIONS + 1).collect();
    if objects.len() > MAX_VERSIONS {
        return None;
    }
    let mut sums = stream::iter(objects)
        .map(|object| async move {
            match object {
                Some(object) => object.believed_version_sum().await,
                None => Some(ABSENT),
            }
        })
        .buffer_unordered(AT_ONCE);
    while let Some(sum) = sums.next().await {
        versions.add(Some(&[sum?]));
    }
    versions.all()
}

/// The objects that hold the blocks of a box of the stored level; `None` for a block that is absent.
async fn located(source: &dyn Source, stored: &Region) -> Option<Vec<Option<Object>>> {
    let grid = source.description().levels.first()?.grid;
    let mut found: Vec<Option<Object>> = Vec::new();
    for (number, cell) in grid.cells_in(stored).enumerate() {
        if number >= MAX_VERSIONS {
            return None;
        }
        let object = match source.locate(LevelIndex(0), cell).await.ok()? {
            Placement::Absent { .. } => None,
            Placement::Range { object, .. } | Placement::Whole { object, .. } | Placement::Packed { object, .. } => {
                Some(object)
            }
        };
        let is_known = |other: &Option<Object>| match (other, &object) {
            (Some(other), Some(object)) => other.handle() == object.handle(),
            (None, None) => true,
            _ => false,
        };
        if !found.last().is_some_and(is_known) {
            found.push(object);
        }
    }
    Some(found)
}
