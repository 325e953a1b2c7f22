//! A volume without its finest levels, which at some archives are there by name only.

use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Description, Placement, Relative, Source, SourceError, SourceLevel, SourcePart, StatedPlace};
use crate::document::Document;
use crate::geometry::{CellIndex, LevelIndex};
use crate::store::Object;

/// A source from one of its levels on.
pub struct Coarser<S: ?Sized> {
    description: Description,
    first: u8,
    source: Box<S>,
}

impl<S: Source + ?Sized> Coarser<S> {
    /// The levels of `source`, which is in `file`, from `first` on.
    pub fn new(source: Box<S>, first: u8, file: &str) -> Result<Self, SourceError> {
        let mut description = source.description().clone();
        let count = description.levels.len();
        if usize::from(first) >= count {
            let reason = format!("first_level = {first} is asked for, but there are {count} levels");
            return Err(SourceError::malformed(file, "levels", reason));
        }
        description.levels.drain(..usize::from(first));
        Ok(Coarser { description, first, source })
    }

    fn level(&self, level: LevelIndex) -> LevelIndex {
        LevelIndex(level.0.saturating_add(self.first))
    }
}

impl<S: Source + ?Sized> Source for Coarser<S> {
    fn description(&self) -> &Description {
        &self.description
    }

    fn documents(&self) -> Vec<Document> {
        self.source.documents()
    }

    fn kept(&self) -> u64 {
        self.source.kept()
    }

    fn relative(&self, level: LevelIndex) -> Option<Relative> {
        let (finest, level) =
            (self.source.relative(self.level(LevelIndex(0)))?, self.source.relative(self.level(level))?);
        Some(Relative {
            scale: std::array::from_fn(|axis| level.scale[axis] / finest.scale[axis]),
            translation: std::array::from_fn(|axis| {
                (level.translation[axis] - finest.translation[axis]) / finest.scale[axis]
            }),
        })
    }

    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        // It is that of a level that is not shown.
        [None; 3]
    }

    fn plain_voxel_size(&self) -> Option<[f64; 3]> {
        let (plain, level) = (self.source.plain_voxel_size()?, self.source.relative(self.level(LevelIndex(0)))?);
        Some(std::array::from_fn(|axis| plain[axis] * level.scale[axis]))
    }

    fn is_inverted(&self) -> bool {
        self.source.is_inverted()
    }

    fn locate(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        self.source.locate(self.level(level), block)
    }

    fn locate_to_fetch(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        self.source.locate_to_fetch(self.level(level), block)
    }

    fn bear_out_absence(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<(), SourceError>> {
        self.source.bear_out_absence(self.level(level), block)
    }

    fn decode(&self, level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        self.source.decode(self.level(level), block, raw)
    }

    fn part(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Option<SourcePart>, SourceError>> {
        self.source.part(self.level(level), block)
    }

    fn part_ahead(
        &self,
        level: LevelIndex,
        block: CellIndex,
    ) -> BoxFuture<'_, Result<Option<SourcePart>, SourceError>> {
        self.source.part_ahead(self.level(level), block)
    }

    fn objects(&self, planes: Range<u64>) -> Option<Vec<Option<Object>>> {
        if self.first == 0 { self.source.objects(planes) } else { None }
    }

    fn stated_place(&self) -> StatedPlace {
        self.source.stated_place()
    }

    fn finest_unshown(&self) -> Option<&SourceLevel> {
        self.source.finest_unshown().or(self.source.description().levels.first().filter(|_| self.first > 0))
    }

    fn is_segmentation(&self) -> bool {
        self.source.is_segmentation()
    }

    fn is_gathered(&self, level: LevelIndex) -> bool {
        self.source.is_gathered(self.level(level))
    }

    fn contiguous_group_log2(&self, level: LevelIndex) -> u32 {
        self.source.contiguous_group_log2(self.level(level))
    }
}
