//! Labels over a slice. They may have voxels of another size than the image, and fill another part of space: nanometres say which
//! label lies under which pixel.

use std::sync::Arc;

use super::describe::describe;
use super::documents::DescribedLevel;
use super::failure::Failure;
use super::site::Site;
use super::slice::{self, Cut, MAX_SIDE, Slice};
use crate::http::Described;

/// The labels of a slice, and where they lie under its pixels.
pub(super) struct Overlay {
    labels: Slice<u64>,
    /// For each row of the picture the row of labels under it, where there is one.
    rows: Vec<Option<usize>>,
    /// The same for columns.
    columns: Vec<Option<usize>>,
}

impl Overlay {
    /// The labels of that name under a slice of a level of their image.
    pub async fn read(
        site: &Arc<Site>,
        image: &Described,
        name: &str,
        level: &DescribedLevel,
        cut: Cut,
    ) -> Result<Overlay, Failure> {
        let below = format!("/labels/{name}");
        let labels = describe(site, &image.dataset, &image.store, &below).await?;
        let [down, right] = cut.across();
        // The coarsest that has a label for each pixel, else the finest.
        let pixel = |axis: usize| level.scale[axis] * cut.step as f64 * 1.001;
        let fits = |found: &&DescribedLevel| [down, right].into_iter().all(|axis| found.scale[axis] <= pixel(axis));
        let chosen = labels.levels.iter().rfind(fits).or(labels.finest());
        let Some(chosen) = chosen else { return Err(Failure::NotFound(below)) };
        let longest = [down, right].map(|axis| chosen.grid.shape.0[axis]).into_iter().max().unwrap_or(1);
        let step = longest.div_ceil(MAX_SIDE).max(1);
        let under = |axis: usize, pixels: u64, size: u64| -> Vec<Option<usize>> {
            (0..pixels).map(|pixel| index(level, chosen, axis, (pixel, size)).map(|at| (at / step) as usize)).collect()
        };
        let [rows, columns] = cut.extent(level);
        let (rows, columns) = (under(down, rows, cut.step), under(right, columns, cut.step));
        let labels = match index(level, chosen, cut.axis, (cut.index, 1)) {
            Some(index) => {
                let cut = Cut { index, step, ..cut };
                slice::segments(site, &labels.path(&below, chosen), chosen, cut).await?
            }
            // They do not reach so far.
            None => Slice { rows: 0, columns: 0, values: Vec::new(), is_passing: false },
        };
        Ok(Overlay { labels, rows, columns })
    }

    /// Whether some of them stand for voxels that are absent at the origin.
    pub fn is_passing(&self) -> bool {
        self.labels.is_passing
    }

    /// The labels under the pixels, row by row from the top; 0 where there is none.
    pub fn pixels(&self) -> impl Iterator<Item = u64> {
        self.rows.iter().flat_map(|row| self.columns.iter().map(|column| self.label(*row, *column).unwrap_or_default()))
    }

    fn label(&self, row: Option<usize>, column: Option<usize>) -> Option<u64> {
        self.labels.values.get(row? * self.labels.columns + column?).copied()
    }
}

/// Which voxel of the labels has the centre of a pixel in it that is `size` voxels of the image wide, along an axis; `None` outside.
fn index(image: &DescribedLevel, labels: &DescribedLevel, axis: usize, (pixel, size): (u64, u64)) -> Option<u64> {
    let voxel = (pixel * size) as f64 + (size as f64 - 1.0) / 2.0;
    let place = image.translation[axis] + voxel * image.scale[axis];
    let index = ((place - labels.translation[axis]) / labels.scale[axis]).round();
    (index >= 0.0 && index < labels.grid.shape.0[axis] as f64).then_some(index as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DataType;
    use crate::geometry::{Grid, Shape};

    fn level(extent: u64, scale: f64, translation: f64) -> DescribedLevel {
        let grid = Grid { shape: Shape([extent; 3]), cell: Shape([8; 3]) };
        let (scale, translation) = ([scale; 3], [translation; 3]);
        DescribedLevel { path: "s0".to_owned(), grid, dtype: DataType::U8, scale, translation }
    }

    #[test]
    fn a_label_lies_under_the_pixels_of_its_nanometres() {
        let image = level(10, 8.0, 0.0);
        let found = |labels: &DescribedLevel, size| {
            (0..10 / size).map(|at| index(&image, labels, 0, (at, size))).collect::<Vec<_>>()
        };
        let same = level(10, 8.0, 0.0);
        assert_eq!(found(&same, 1), (0..10).map(Some).collect::<Vec<_>>());
        // Voxels of twice the size, whose corner is the image's.
        let coarse = level(5, 16.0, 4.0);
        assert_eq!(found(&coarse, 1), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4].map(Some));
        assert_eq!(found(&coarse, 2), [0, 1, 2, 3, 4].map(Some));
        // A part of the image.
        let part = level(2, 8.0, 24.0);
        assert_eq!(found(&part, 1)[2..6], [None, Some(0), Some(1), None]);
    }

    #[test]
    fn where_no_label_is_there_is_none() {
        let labels = Slice { rows: 1, columns: 2, values: vec![7, 9], is_passing: false };
        let overlay = Overlay { labels, rows: vec![None, Some(0)], columns: vec![Some(1), None, Some(0)] };
        assert_eq!(overlay.pixels().collect::<Vec<_>>(), [0, 0, 0, 9, 0, 7]);
        let none = Slice { rows: 0, columns: 0, values: Vec::new(), is_passing: false };
        let overlay = Overlay { labels: none, rows: vec![Some(0)], columns: vec![Some(0)] };
        assert_eq!(overlay.pixels().collect::<Vec<_>>(), [0]);
    }
}
