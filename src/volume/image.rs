//! An open image: its source, and the pyramid that is shown of it.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::VolumeError;
use super::block::BlockKey;
use super::computed::{self, DownsamplingRule, KeptLevels, Levels};
use super::pyramid::{Level, Pyramid, sum, tidy};
use super::window::{self, DisplayWindow, Measured};
use crate::cache::FetchPlace;
use crate::catalog::SourceSpec;
use crate::geometry::{CellIndex, Grid, LevelIndex, Region, Shape};
use crate::source::planes::plane_chunk;
use crate::source::{Description, Placement, Relative, Source, SourceError, SourceLevel};
use crate::store::healed;
use crate::view::CHUNK_BYTES;

/// A semaphore has hardly more places.
const MAX_PERMITS: u32 = u32::MAX >> 3;

/// Computed blocks that are looked for on disk at once.
const MAX_LOOKED_AT: usize = 64;

/// Parts of a source that are opened again at once to decode a block, and held until it is decoded: they take memory.
const PARTS: usize = 2;

/// An image whose source is open.
pub struct Image {
    /// Unique in the mount, for cache keys.
    pub number: u32,
    /// `DATASET/IMAGE`, for counters and messages.
    pub name: Arc<str>,
    /// Where its blocks come from.
    pub source: Arc<dyn Source>,
    /// Who has to answer for most of its blocks.
    pub(super) place: FetchPlace,
    /// The levels above those of the source.
    computed: Levels,
    /// In KiB, the chunks that may be under way at a time; made when the first one is.
    permits: OnceLock<Semaphore>,
    /// For parts of the source that are opened again to decode a block.
    opening_parts: Semaphore,
}

impl Image {
    /// An image of `source`, which is at `place` and which counters and messages call `name`.
    pub fn new(number: u32, name: &str, source: Arc<dyn Source>, place: FetchPlace) -> Self {
        let (computed, permits, opening_parts) = (Levels::none(), OnceLock::new(), Semaphore::new(PARTS));
        Image { number, name: name.into(), source, place, computed, permits, opening_parts }
    }

    /// The same with levels that are computed, where the source has none of its own and the configuration does not forbid it;
    /// they are kept in `kept`. The voxel size decides which axes are halved.
    pub fn with_computed(
        self,
        spec: &SourceSpec,
        archive_voxel_size: Option<[f64; 3]>,
        kept: Option<KeptLevels>,
    ) -> Self {
        let description = self.source.description();
        if !spec.pyramid || !description.format.left_out.is_empty() {
            return self;
        }
        let voxel_size = self.voxel_size(spec, archive_voxel_size);
        let mut levels = computed::levels(description, voxel_size);
        let always = levels.len();
        if spec.label.is_some() {
            computed::extend(&mut levels, description, voxel_size);
        }
        let rule = if spec.label.is_some() || self.source.is_segmentation() {
            DownsamplingRule::Mode
        } else {
            DownsamplingRule::Mean
        };
        Image { computed: Levels { levels, always, rule, kept }, ..self }
    }

    /// The levels that are computed.
    pub(super) fn computed(&self) -> &Levels {
        &self.computed
    }

    /// Whether a level is computed from the one below.
    pub fn is_computed(&self, level: LevelIndex) -> bool {
        self.computed.get(level).is_some()
    }

    /// The stored level that a box of a level is made of, and its voxels there.
    pub fn stored(&self, level: LevelIndex, region: Region) -> (LevelIndex, Region) {
        match self.computed.stored(level, region) {
            Some(region) => (LevelIndex(0), region),
            None => (level, region),
        }
    }

    /// Whether computed blocks of a level are all kept on disk, made of what is believed to be at the origin; no where they are
    /// many.
    pub async fn has_computed(&self, level: LevelIndex, blocks: Vec<CellIndex>) -> bool {
        if blocks.len() > MAX_LOOKED_AT {
            return false;
        }
        for index in blocks {
            let bytes = self.block_bytes(BlockKey { image: self.number, level, index });
            if !self.computed.is_kept(&*self.source, level, index, bytes).await {
                return false;
            }
        }
        true
    }

    /// What the source says of the voxel size, else the archive.
    fn told_voxel_size(&self, archive: Option<[f64; 3]>) -> [Option<f64>; 3] {
        let finest = self.source.description().levels.first().and_then(|finest| finest.scale);
        finest.or(archive).map_or_else(|| self.source.partial_voxel_size(), |whole| whole.map(Some))
    }

    /// The voxel size along the axes of which it is known.
    fn voxel_size(&self, spec: &SourceSpec, archive: Option<[f64; 3]>) -> [Option<f64>; 3] {
        let told = self.told_voxel_size(archive);
        std::array::from_fn(|axis| match spec.overrides.voxel_size {
            Some(forced) => Some(forced[axis]),
            None => told[axis].or(spec.voxel_size.map(|size| size[axis])),
        })
    }

    /// Waits until a part of the source may be opened again to decode a block.
    pub(super) async fn opening_part(&self) -> Option<SemaphorePermit<'_>> {
        // Never closed, and without a permit more parts would only be in memory at once.
        self.opening_parts.acquire().await.ok()
    }

    /// Its dataset's name.
    pub fn dataset(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// Where the bytes of a block are, see [`Source::locate`]. Indices that make no sense are fetched once more. Blocks that
    /// are computed are nowhere, see [`Image::stored`].
    pub async fn locate(&self, level: LevelIndex, block: CellIndex) -> Result<Placement, SourceError> {
        self.check_stored(level, block)?;
        healed(|| self.source.locate(level, block)).await
    }

    /// The same of a block that is about to be fetched, see [`Source::locate_to_fetch`].
    pub(super) async fn locate_to_fetch(&self, level: LevelIndex, block: CellIndex) -> Result<Placement, SourceError> {
        self.check_stored(level, block)?;
        healed(|| self.source.locate_to_fetch(level, block)).await
    }

    /// Makes sure that a block is absent, see [`Source::bear_out_absence`].
    pub(super) async fn bear_out_absence(&self, level: LevelIndex, block: CellIndex) -> Result<(), SourceError> {
        self.source.bear_out_absence(level, block).await
    }

    /// Refuses blocks of a level that is computed.
    fn check_stored(&self, level: LevelIndex, block: CellIndex) -> Result<(), SourceError> {
        if self.is_computed(level) {
            let reason = "emfs computes it, so no file has it";
            return Err(SourceError::malformed(&*self.name, format!("{level} block {block}"), reason));
        }
        Ok(())
    }

    /// Waits until a chunk of `bytes` may be under way, of at most `most` of this image at a time.
    pub(super) async fn permit(&self, most: u64, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let kib = |bytes: u64| u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, MAX_PERMITS);
        let permits = self.permits.get_or_init(|| Semaphore::new(kib(most) as usize));
        // Never closed, and without a permit only more would be under way.
        permits.acquire_many(kib(bytes).min(kib(most))).await.ok()
    }

    /// A level and its native blocks.
    pub fn grid(&self, level: LevelIndex) -> Option<Grid> {
        if let Some(computed) = self.computed.get(level) {
            return Some(computed.grid);
        }
        self.source.description().levels.get(usize::from(level.0)).map(|level| level.grid)
    }

    /// Bytes of a voxel.
    pub(super) fn item_size(&self) -> usize {
        self.source.description().dtype.size()
    }

    /// Bytes of a decoded block.
    pub(super) fn block_bytes(&self, key: BlockKey) -> u64 {
        self.grid(key.level).and_then(|grid| grid.region(key.index).shape().bytes(self.item_size())).unwrap_or(0)
    }

    /// The pyramid as it is shown: what the source says, and where it is silent what the configuration says.
    /// `archive_voxel_size` (nm, `z, y, x`) is what the archive's own metadata say, `measured` a display window that was
    /// measured before.
    pub fn pyramid(
        &self,
        spec: &SourceSpec,
        archive_voxel_size: Option<[f64; 3]>,
        measured: Option<Measured>,
        name: &str,
    ) -> Result<Pyramid, VolumeError> {
        let description = self.source.description();
        let Some(finest) = description.levels.first() else {
            return Err(VolumeError::Unsuitable(format!("{name} has no level")));
        };
        let told = self.told_voxel_size(archive_voxel_size);
        let unlike =
            |axis: usize, configured: f64| told[axis].is_some_and(|told| (told - configured).abs() > 1e-6 * told.abs());
        if let Some(configured) = spec.voxel_size
            && (0..3).any(|axis| unlike(axis, configured[axis]))
        {
            let told = told.map(|size| size.map_or_else(|| "?".to_owned(), |size| size.to_string())).join(", ");
            tracing::warn!(
                "{name}: the source's voxel size [{told}] nm is taken, not the configured {configured:?} nm"
            );
        }
        let forced = spec.overrides.voxel_size;
        if let Some(forced) = forced
            && (0..3).any(|axis| unlike(axis, forced[axis]))
        {
            tracing::info!("{name}: voxels of {forced:?} nm by the configuration, whatever the source says");
        }
        let voxel_size = self.voxel_size(spec, archive_voxel_size);
        let plain = self.source.plain_voxel_size().filter(|_| voxel_size == [None; 3]);
        let unit_size = plain.map_or([1.0; 3], beside_shortest);
        if let Some(bytes) = spec.chunk.and_then(|chunk| Shape(chunk).bytes(description.dtype.size()))
            && bytes > *CHUNK_BYTES.end()
        {
            let (dtype, most) = (description.dtype, CHUNK_BYTES.end());
            let reason = format!("chunk: files of {bytes} bytes ({dtype}); the largest have {most}");
            return Err(VolumeError::Unsuitable(format!("{name}: {reason}")));
        }
        // In nanometres, as far as the source states lengths.
        let stated = |level: &SourceLevel| match (level.scale?, forced, finest.scale) {
            (scale, None, _) => Some((scale, level.translation)),
            (scale, Some(forced), Some(first)) => {
                let beside = |own: [f64; 3]| std::array::from_fn(|axis| own[axis] / first[axis]);
                Some(sized(Relative { scale: beside(scale), translation: beside(level.translation) }, forced))
            }
            _ => None,
        };
        let mut levels: Vec<Level> = (0u8..)
            .zip(&description.levels)
            .map(|(number, level)| {
                let (scale, translation) = stated(level).unwrap_or_else(|| {
                    let relative = self.source.relative(LevelIndex(number));
                    let relative = relative.unwrap_or_else(|| estimated(finest.grid.shape, level.grid.shape));
                    sized(relative, std::array::from_fn(|axis| voxel_size[axis].unwrap_or(unit_size[axis])))
                });
                Level {
                    grid: Grid { shape: level.grid.shape, cell: chunk_shape(description, spec, level.grid) },
                    scale,
                    translation: translation.map(tidy),
                    corner: [0.0; 3],
                    offset: level.offset,
                }
            })
            .collect();
        for computed in &self.computed.levels {
            let Some(below) = levels.last() else { break };
            let (centre, scale) = (computed.centre(), below.scale);
            let chunk = spec.chunk.map_or(computed.grid.cell, Shape);
            let level = Level {
                grid: Grid { shape: computed.grid.shape, cell: chunk },
                scale: std::array::from_fn(|axis| tidy(scale[axis] * computed.factors[axis] as f64)),
                translation: std::array::from_fn(|axis| sum([below.translation[axis], centre[axis] * scale[axis]])),
                corner: [0.0; 3],
                offset: computed.offset,
            };
            levels.push(level);
        }
        let unshown = self.source.finest_unshown().and_then(|unshown| {
            let (scale, translation) = stated(unshown)?;
            Some((translation, place(unshown.offset, scale)))
        });
        place_corners(&mut levels, unshown);
        let always = description.levels.len() + self.computed.always;
        let further = levels.split_off(always.min(levels.len()));
        let DisplayWindow { range: window, rule: window_rule } = window::choose(description, spec, measured);
        Ok(Pyramid {
            dtype: description.dtype,
            window,
            window_rule,
            levels,
            further: further.into(),
            fill: description.fill,
            inverted: self.source.is_inverted(),
            calibrated: voxel_size.map(|size| size.is_some()),
            format: description.format.clone(),
            downsampling: description.downsampling.clone(),
            values: spec.label.clone().unwrap_or_default(),
            stated_place: self.source.stated_place(),
            computed: (self.computed.always > 0).then_some(self.computed.rule),
        })
    }
}

/// The chunks a level is served in: those configured, else the source's own, else a rule for stacks of planes.
fn chunk_shape(description: &Description, spec: &SourceSpec, grid: Grid) -> Shape {
    match spec.chunk {
        Some(chunk) => Shape(chunk),
        None if description.chunked => grid.cell,
        None => plane_chunk(grid.shape, description.dtype),
    }
}

/// Gives all levels the corner of the finest, shifted by the difference of their first voxels' places. `unshown`: the centre and
/// the place of the first voxel of the finest level, where that is not among them.
fn place_corners(levels: &mut [Level], unshown: Option<([f64; 3], [f64; 3])>) {
    let finest = levels.first().map(|finest| (finest.translation, place(finest.offset, finest.scale)));
    let Some((translation, start)) = unshown.or(finest) else { return };
    for level in levels {
        let at = place(level.offset, level.scale);
        level.corner = std::array::from_fn(|axis| sum([translation[axis], at[axis], -start[axis]]));
    }
}

/// Where the first voxel of a level begins by its number.
fn place(offset: [i64; 3], scale: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| offset[axis] as f64 * scale[axis])
}

/// Where a level lies of which the source says nothing, by the ratio of the shapes. The first voxel of a coarser level
/// covers `ratio` finest ones, so its centre lies `(ratio − 1) / 2` of them further in.
fn estimated(finest: Shape, level: Shape) -> Relative {
    let ratio: [f64; 3] =
        std::array::from_fn(|axis| (finest.0[axis] as f64 / level.0[axis].max(1) as f64).round().max(1.0));
    Relative { scale: ratio, translation: ratio.map(|ratio| (ratio - 1.0) / 2.0) }
}

/// The edges of a voxel in lengths of the shortest of them.
fn beside_shortest(size: [f64; 3]) -> [f64; 3] {
    let shortest = size.into_iter().fold(f64::INFINITY, f64::min);
    let edges = size.map(|edge| tidy(edge / shortest));
    if edges.iter().all(|edge| edge.is_finite() && *edge > 0.0) { edges } else { [1.0; 3] }
}

/// Scale and translation of a level by the voxel size of the finest one.
fn sized(relative: Relative, voxel_size: [f64; 3]) -> ([f64; 3], [f64; 3]) {
    let times = |voxels: [f64; 3]| std::array::from_fn(|axis| voxels[axis] * voxel_size[axis]);
    (times(relative.scale).map(tidy), times(relative.translation))
}
