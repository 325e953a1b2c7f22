//! Measures the display window of an image that nobody states one for, from a list of blocks that follows from the image alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;

use super::VolumeError;
use super::block::BlockVoxels;
use super::blocks::Blocks;
use super::image::Image;
use super::image_notes::ImageNotes;
use super::percentiles::Tails;
use super::window::{self, Measured};
use crate::catalog::SourceSpec;
use crate::dtype::DataType;
use crate::geometry::{CellIndex, Grid, LevelIndex, Region};
use crate::source::Description;
use crate::task;

/// Most bytes of voxels that are measured.
const MAX_BYTES: u64 = 64 << 20;

/// Measures the window of an image and keeps it, unless it is there or somebody states one.
pub async fn measure_and_keep(
    image: &Arc<Image>,
    blocks: &Arc<Blocks>,
    spec: &SourceSpec,
    notes: &ImageNotes,
) -> Result<(), VolumeError> {
    let description = image.source.description();
    let is_to_be_measured = window::is_to_be_measured(description, spec);
    if !is_to_be_measured || window::kept(notes, description, spec).await.is_some() {
        return Ok(());
    }
    if let Some(measured) = measure(image, blocks, spec).await? {
        window::keep(notes, spec, &measured);
    }
    Ok(())
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
    let mut left = MAX_BYTES;
    let cells: BTreeSet<CellIndex> = corners.collect();
    let fits = |cell: &CellIndex| {
        let rest = grid.region(*cell).shape().bytes(dtype.size()).and_then(|bytes| left.checked_sub(bytes));
        rest.inspect(|rest| left = *rest).is_some()
    };
    cells.into_iter().take_while(fits).collect()
}

/// Measures the window, one block after the other so that whoever reads meanwhile does not wait for it, and no memory is
/// taken but that of a block. `None` where no window follows from the blocks.
async fn measure(image: &Arc<Image>, blocks: &Arc<Blocks>, spec: &SourceSpec) -> Result<Option<Measured>, VolumeError> {
    let Description { levels, dtype, .. } = image.source.description();
    let Some(finest) = levels.first() else { return Ok(None) };
    let cells = sample(finest.grid, *dtype, spec.tissue);
    let voxels = cells.iter().filter_map(|cell| finest.grid.region(*cell).shape().bytes(1)).sum();
    let (mut tails, mut used) = (Tails::of(voxels, *dtype), Vec::new());
    for cell in cells {
        let mut results = blocks.request(image, LevelIndex(0), vec![cell], None);
        while let Some((_, result)) = results.next().await {
            // What the archive does not have says nothing of the image.
            if let BlockVoxels::Present(held) = result? {
                let counted = move || {
                    tails.add(&held.data);
                    tails
                };
                tails = task::spawn_blocking(counted).await.map_err(|_| VolumeError::Lost)?;
                used.push(cell.0);
            }
        }
    }
    let found = task::spawn_blocking(move || tails.window()).await.map_err(|_| VolumeError::Lost)?;
    Ok(found.map(|(low, high)| Measured { low, high, blocks: used }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Shape;

    fn cells(shape: [u64; 3], cell: [u64; 3], tissue: Option<Region>) -> Vec<[u64; 3]> {
        let grid = Grid { shape: Shape(shape), cell: Shape(cell) };
        sample(grid, DataType::U8, tissue).into_iter().map(|cell| cell.0).collect()
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
