//! The display window of an image: which values are shown black and white.
//!
//! Where nobody states one it is measured: from a list of blocks that follows from the image alone, so that it is the same
//! on every machine. Opening an image never waits for that. Who has measured keeps the result with the cache, and the next
//! to open the image shows it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::blocks::Voxels;
use super::image::Image;
use super::pyramid::tidy;
use super::{Blocks, VolumeError};
use crate::catalog::SourceSpec;
use crate::dtype::DataType;
use crate::geometry::{CellIndex, Grid, LevelIndex, Region};
use crate::source::Description;
use crate::store::RangeStore;

/// Version of the rule: a window that was measured by another one is not used.
const RULE: u32 = 1;

/// Share of the measured voxels below and above the window.
const TAIL: f64 = 0.0035;

/// Most bytes of voxels that are measured.
const MOST_BYTES: u64 = 64 << 20;

/// A window that was measured, and what it was measured from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    low: f64,
    high: f64,
    /// Blocks of the finest level, `z, y, x` in the grid of the source.
    blocks: Vec<[u64; 3]>,
}

/// A display window and in words how it came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct DisplayWindow {
    /// `(low, high)`.
    pub range: (f64, f64),
    /// The rule it follows from.
    pub rule: String,
}

/// Whether an image's window is to be measured: nobody states one.
fn is_to_be_measured(description: &Description, spec: &SourceSpec) -> bool {
    spec.window.or(description.window).is_none()
}

/// Chooses the window: configured, else stated by the file, else measured, else the catalogue's recorded one, else the
/// range of the type.
pub(super) fn choose(description: &Description, spec: &SourceSpec, measured: Option<Measured>) -> DisplayWindow {
    let told = |range, rule: &str| DisplayWindow { range, rule: rule.to_owned() };
    if let Some(range) = spec.window {
        return told(range, "the configuration");
    }
    if let Some(range) = description.window {
        return told(range, "the source");
    }
    if let Some(Measured { low, high, blocks }) = measured {
        let blocks: Vec<String> = blocks.into_iter().map(|block| CellIndex(block).to_string()).collect();
        let (least, most) = (tidy(100.0 * TAIL), tidy(100.0 * (1.0 - TAIL)));
        let rule =
            format!("{least} to {most} % of the voxels of s0 in the archive's blocks {} (z/y/x)", blocks.join(", "));
        return told((low, high), &rule);
    }
    match spec.recorded_window {
        Some(range) => told(range, "recorded in the catalogue"),
        None => told(description.dtype.display_range(), "the range of the type"),
    }
}

/// The blocks that the window is measured from: those at one and three quarters of the tissue along each axis, or of the
/// middle half of the image where nobody says where the tissue is. None where they are too large.
fn sample(grid: Grid, dtype: DataType, tissue: Option<Region>) -> Vec<CellIndex> {
    let middle = Region {
        start: grid.shape.0.map(|extent| extent / 4),
        end: grid.shape.0.map(|extent| (extent - extent / 4).max(1)),
    };
    let within = tissue.and_then(|tissue| tissue.intersection(&grid.shape.region())).unwrap_or(middle);
    let at = |axis: usize, far: usize| {
        let (start, extent) = (within.start[axis], within.shape().0[axis]);
        let quarter = extent / 4;
        let voxel = if far == 0 { quarter } else { extent.saturating_sub(quarter).saturating_sub(1) };
        (start + voxel) / grid.cell.0[axis].max(1)
    };
    let corners = (0..8usize).map(|corner| CellIndex(std::array::from_fn(|axis| at(axis, corner >> (2 - axis) & 1))));
    let mut left = MOST_BYTES;
    let cells: BTreeSet<CellIndex> = corners.collect();
    let fits = |cell: &CellIndex| {
        let rest = grid.region(*cell).shape().bytes(dtype.size()).and_then(|bytes| left.checked_sub(bytes));
        rest.inspect(|rest| left = *rest).is_some()
    };
    cells.into_iter().take_while(fits).collect()
}

/// Measures the window, one block after the other so that whoever reads meanwhile does not wait for it. `None` where no
/// window follows from the blocks.
async fn measure(image: &Arc<Image>, blocks: &Arc<Blocks>, spec: &SourceSpec) -> Result<Option<Measured>, VolumeError> {
    let Description { levels, dtype, .. } = image.source.description();
    let Some(finest) = levels.first() else { return Ok(None) };
    let (mut data, mut used) = (Vec::new(), Vec::new());
    for cell in sample(finest.grid, *dtype, spec.tissue) {
        let mut results = blocks.request(image, LevelIndex(0), vec![cell], None);
        while let Some((_, result)) = results.next().await {
            // What the archive does not have says nothing of the image.
            if let Voxels::Present(held) = result? {
                data.extend_from_slice(&held.data);
                used.push(cell.0);
            }
        }
    }
    let dtype = *dtype;
    let sorted = tokio::task::spawn_blocking(move || percentiles(&data, dtype)).await;
    let range = sorted.map_err(|_| VolumeError::Lost)?;
    Ok(range.map(|(low, high)| Measured { low, high, blocks: used }))
}

/// What the measured window of an image is kept under. `origin`: the address the source was opened at.
fn key(origin: &str, description: &Description, spec: &SourceSpec) -> String {
    let shape = description.levels.first().map(|level| level.grid.shape.to_string()).unwrap_or_default();
    let tissue = spec.tissue.map(|tissue| format!("{tissue:?}")).unwrap_or_default();
    format!("{origin} window {RULE} {} {shape} {} {tissue}", spec.digest(), description.dtype)
}

/// The window that was measured before, where it is kept.
pub fn kept(
    disk: Option<&Arc<dyn RangeStore>>,
    origin: &str,
    description: &Description,
    spec: &SourceSpec,
) -> Option<Measured> {
    if !is_to_be_measured(description, spec) {
        return None;
    }
    let note = disk?.note(&key(origin, description, spec)).ok()??;
    let measured: Measured = serde_json::from_slice(&note).ok()?;
    (measured.low.is_finite() && measured.high.is_finite() && measured.low < measured.high).then_some(measured)
}

/// Measures the window of an image and keeps it on `disk`, unless it is there or somebody states one.
pub async fn measure_and_keep(
    image: &Arc<Image>,
    blocks: &Arc<Blocks>,
    spec: &SourceSpec,
    disk: &Arc<dyn RangeStore>,
    origin: &str,
) -> Result<(), VolumeError> {
    let description = image.source.description();
    if !is_to_be_measured(description, spec) || kept(Some(disk), origin, description, spec).is_some() {
        return Ok(());
    }
    let measured = measure(image, blocks, spec).await?;
    if let Some(note) = measured.and_then(|measured| serde_json::to_vec(&measured).ok()) {
        disk.set_note(&key(origin, description, spec), Bytes::from(note));
    }
    Ok(())
}

/// The values below and above which [`TAIL`] of the voxels lie; `None` where no window follows from them.
fn percentiles(data: &[u8], dtype: DataType) -> Option<(f64, f64)> {
    let values = || data.chunks_exact(dtype.size()).filter_map(|voxel| value(voxel, dtype)).filter(|v| v.is_finite());
    let last = values().count().checked_sub(1)?;
    let at = |share: f64| nth(values, ((last as f64 * share).round() as usize).min(last));
    let (low, high) = (at(TAIL), at(1.0 - TAIL));
    (low < high).then_some((low, high))
}

/// The value that `place` others come before, of values without order: found by counting sixteen bits of them at a time,
/// since a list of all takes eight times the memory of the voxels.
fn nth<I: Iterator<Item = f64>>(values: impl Fn() -> I, place: usize) -> f64 {
    let (mut found, mut left) = (0u64, place);
    for digit in (0..4u32).rev() {
        let mut counts = vec![0usize; 1 << 16];
        let known = |key: u64| key.checked_shr(16 * (digit + 1)).unwrap_or(0);
        for key in values().map(ordered).filter(|key| known(*key) == found) {
            counts[(key >> (16 * digit)) as usize & 0xffff] += 1;
        }
        let mut next = 0;
        while next < 0xffff && left >= counts[next] {
            left -= counts[next];
            next += 1;
        }
        found = found << 16 | next as u64;
    }
    // The way back from `ordered`.
    f64::from_bits(if found >> 63 == 1 { found ^ 1 << 63 } else { !found })
}

/// The bits of a number such that they are in order where the numbers are, as by [`f64::total_cmp`].
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The value of one little-endian voxel.
fn value(voxel: &[u8], dtype: DataType) -> Option<f64> {
    Some(match dtype {
        DataType::U8 => f64::from(*voxel.first()?),
        DataType::I8 => f64::from(i8::from_le_bytes(voxel.try_into().ok()?)),
        DataType::U16 => f64::from(u16::from_le_bytes(voxel.try_into().ok()?)),
        DataType::I16 => f64::from(i16::from_le_bytes(voxel.try_into().ok()?)),
        DataType::U32 => f64::from(u32::from_le_bytes(voxel.try_into().ok()?)),
        DataType::I32 => f64::from(i32::from_le_bytes(voxel.try_into().ok()?)),
        DataType::U64 => u64::from_le_bytes(voxel.try_into().ok()?) as f64,
        DataType::I64 => i64::from_le_bytes(voxel.try_into().ok()?) as f64,
        DataType::F32 => f64::from(f32::from_le_bytes(voxel.try_into().ok()?)),
        DataType::F64 => f64::from_le_bytes(voxel.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Shape;

    fn cells(shape: [u64; 3], cell: [u64; 3], tissue: Option<Region>) -> Vec<[u64; 3]> {
        let grid = Grid { shape: Shape(shape), cell: Shape(cell) };
        sample(grid, DataType::U8, tissue).into_iter().map(|cell| cell.0).collect()
    }

    #[test]
    fn the_window_leaves_a_few_thousandths_on_either_side() {
        let data: Vec<u8> = (0..=1000i16).flat_map(|v| (v - 500).to_le_bytes()).collect();
        assert_eq!(percentiles(&data, DataType::I16), Some((-496.0, 497.0)));
        let shuffled: Vec<u8> = (0..=1000i16).flat_map(|v| (v * 5 % 1001 - 500).to_le_bytes()).collect();
        assert_eq!(percentiles(&shuffled, DataType::I16), Some((-496.0, 497.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn the_value_at_a_place_is_that_of_the_sorted_list(
            mut values in prop::collection::vec(prop_oneof![any::<f64>(), (-9i16..9).prop_map(f64::from)], 1..60),
            place in any::<prop::sample::Index>(),
        ) {
            let place = place.index(values.len());
            let found = nth(|| values.iter().copied(), place);
            values.sort_by(f64::total_cmp);
            prop_assert_eq!(found.to_bits(), values[place].to_bits());
        }
    }

    #[test]
    fn a_flat_level_gives_no_window() {
        assert_eq!(percentiles(&[7, 0, 7, 0], DataType::U16), None);
        assert_eq!(percentiles(&[], DataType::F32), None);
        assert_eq!(percentiles(&f32::NAN.to_le_bytes(), DataType::F32), None);
    }

    #[test]
    fn at_most_eight_blocks_are_measured_all_of_them_in_the_tissue() {
        let all = cells([640; 3], [64; 3], None);
        assert_eq!((all.len(), all[0], all[7]), (8, [3; 3], [6; 3]));
        let tissue = Region { start: [0; 3], end: [64, 128, 640] };
        assert!(cells([640; 3], [64; 3], Some(tissue)).iter().all(|[z, y, _]| *z == 0 && *y <= 1));
        assert_eq!(cells([1, 500, 500], [1, 500, 500], None), [[0; 3]], "a single block is measured once");
        assert_eq!(cells([8, 100, 100], [1, 50, 100], None).len(), 4);
    }

    #[test]
    fn blocks_that_are_too_large_are_not_measured() {
        assert_eq!(cells([8, 9000, 9000], [1, 9000, 9000], None), [[0; 3]; 0]);
        assert_eq!(cells([8, 6000, 6000], [1, 6000, 6000], None).len(), 1);
    }

    #[test]
    fn tissue_outside_of_the_image_counts_as_none_told() {
        let elsewhere = Region { start: [900; 3], end: [901; 3] };
        assert_eq!(cells([640; 3], [64; 3], Some(elsewhere)), cells([640; 3], [64; 3], None));
    }
}
