//! The display window of an image: which values are shown black and white.

use std::sync::Arc;

use futures::StreamExt;

use super::blocks::Voxels;
use super::image::Image;
use super::{Blocks, Level};
use crate::catalog::SourceSpec;
use crate::dtype::DataType;
use crate::geometry::LevelIndex;

/// Share of voxels below and above the window when it is taken from the data.
const TAIL: f64 = 0.001;

/// Largest level that is read whole for its percentiles.
const LARGEST_MEASURED: u64 = 16 << 20;

/// Chooses `(low, high)`: configured, else stated by the file, else 0–255 for 8 bit, else 0.1–99.9 % of the coarsest
/// level where that is a single chunk, else the range of the type.
pub(super) async fn choose(
    image: &Arc<Image>,
    blocks: &Arc<Blocks>,
    spec: &SourceSpec,
    levels: &[Level],
) -> (f64, f64) {
    let description = image.source.description();
    if let Some(window) = spec.window.or(description.window) {
        return window;
    }
    if description.dtype == DataType::U8 {
        return (0.0, 255.0);
    }
    measured(image, blocks, levels).await.unwrap_or(description.dtype.display_range())
}

/// The percentiles of the coarsest level. A failure to read it is no failure of the image: the window is a hint.
async fn measured(image: &Arc<Image>, blocks: &Arc<Blocks>, levels: &[Level]) -> Option<(f64, f64)> {
    let description = image.source.description();
    let number = u8::try_from(levels.len().checked_sub(1)?).ok()?;
    if levels.last()?.grid.counts() != [1, 1, 1] {
        return None;
    }
    let native = description.levels.last()?.grid;
    if native.shape.bytes(description.dtype.size()).is_none_or(|bytes| bytes > LARGEST_MEASURED) {
        return None;
    }
    let mut data = Vec::new();
    let mut results =
        blocks.request(image, LevelIndex(number), native.cells_in(&native.shape.region()).collect(), None);
    while let Some((_, result)) = results.next().await {
        if let Voxels::Present(held) = result.ok()? {
            data.extend_from_slice(&held.data);
        }
    }
    percentiles(&data, description.dtype)
}

/// The values below and above which `TAIL` of the voxels lie; `None` where no window follows from them.
fn percentiles(data: &[u8], dtype: DataType) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = data.chunks_exact(dtype.size()).filter_map(|voxel| value(voxel, dtype)).collect();
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| values[((last as f64 * share).round() as usize).min(last)];
    let (low, high) = (at(TAIL), at(1.0 - TAIL));
    (low < high).then_some((low, high))
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
    use super::*;

    #[test]
    fn the_window_leaves_a_thousandth_on_either_side() {
        let data: Vec<u8> = (0..=1000i16).flat_map(|v| (v - 500).to_le_bytes()).collect();
        assert_eq!(percentiles(&data, DataType::I16), Some((-499.0, 499.0)));
    }

    #[test]
    fn a_flat_level_gives_no_window() {
        assert_eq!(percentiles(&[7, 0, 7, 0], DataType::U16), None);
        assert_eq!(percentiles(&[], DataType::F32), None);
        assert_eq!(percentiles(&f32::NAN.to_le_bytes(), DataType::F32), None);
    }
}
