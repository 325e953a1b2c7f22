//! A slice of a level across an axis, read from its chunk files.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::documents::DescribedLevel;
use super::failure::Failure;
use super::file;
use super::site::Site;
use crate::geometry::{CellIndex, Region};

/// Pixels of a side of a picture at most.
pub(super) const MAX_SIDE: u64 = 2048;

/// Bytes of chunk files that are read for a slice at most.
const READ: u64 = 512 << 20;

/// Chunks of a slice that are read at once.
const AT_ONCE: usize = 16;

/// Which pixels of a level: those at `index` along `axis` (0: z, 1: y, 2: x), of which each `step`²-th or their mean is a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub axis: usize,
    pub index: u64,
    pub step: u64,
}

impl Cut {
    /// The axes that run down and to the right.
    pub fn across(self) -> [usize; 2] {
        match self.axis {
            0 => [1, 2],
            1 => [0, 2],
            _ => [0, 1],
        }
    }

    /// Rows and columns of the picture.
    pub fn extent(self, level: &DescribedLevel) -> [u64; 2] {
        self.across().map(|axis| level.grid.shape.0[axis].div_ceil(self.step))
    }
}

/// Rows of values, from the top.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slice<T> {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<T>,
}

/// Grey values: the mean where several voxels are one pixel.
pub(super) async fn grey(
    site: &Arc<Site>,
    path: &str,
    level: &DescribedLevel,
    cut: Cut,
) -> Result<Slice<f32>, Failure> {
    let [rows, columns] = cut.extent(level).map(|extent| extent as usize);
    let mut means = Means::of(rows * columns, cut.step);
    let dtype = level.dtype;
    read(site, path, level, cut, |pixel, voxel| {
        if let Some(value) = dtype.value(voxel) {
            means.add(pixel, value);
        }
    })
    .await?;
    Ok(Slice { rows, columns, values: means.values() })
}

/// The voxels of each pixel, summed up. However many they are, no sum loses the last of them.
enum Means {
    /// Each pixel is one voxel.
    Single(Vec<f32>),
    /// Sums and numbers of voxels.
    Sums(Vec<(f64, u64)>),
}

impl Means {
    fn of(pixels: usize, step: u64) -> Means {
        if step > 1 { Means::Sums(vec![(0.0, 0); pixels]) } else { Means::Single(vec![0.0; pixels]) }
    }

    fn add(&mut self, pixel: usize, value: f32) {
        match self {
            Means::Single(values) => values.get_mut(pixel).into_iter().for_each(|kept| *kept = value),
            Means::Sums(sums) => sums.get_mut(pixel).into_iter().for_each(|(sum, count)| {
                *sum += f64::from(value);
                *count += 1;
            }),
        }
    }

    fn values(self) -> Vec<f32> {
        match self {
            Means::Single(values) => values,
            Means::Sums(sums) => sums.into_iter().map(|(sum, count)| (sum / count.max(1) as f64) as f32).collect(),
        }
    }
}

/// Numbers of segments: one of the voxels where several are one pixel.
pub(super) async fn segments(
    site: &Arc<Site>,
    path: &str,
    level: &DescribedLevel,
    cut: Cut,
) -> Result<Slice<u64>, Failure> {
    let [rows, columns] = cut.extent(level).map(|extent| extent as usize);
    let mut values = vec![0u64; rows * columns];
    read(site, path, level, cut, |pixel, voxel| {
        if let Some(value) = values.get_mut(pixel) {
            *value = voxel.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        }
    })
    .await?;
    Ok(Slice { rows, columns, values })
}

/// Shows each voxel of a slice with the number of its pixel.
async fn read(
    site: &Arc<Site>,
    path: &str,
    level: &DescribedLevel,
    cut: Cut,
    mut put: impl FnMut(usize, &[u8]),
) -> Result<(), Failure> {
    let grid = &level.grid;
    let mut region = grid.shape.region();
    (region.start[cut.axis], region.end[cut.axis]) = (cut.index, cut.index + 1);
    let bytes = grid.cell.bytes(level.dtype.size()).unwrap_or(u64::MAX);
    let chunks = cut.across().map(|axis| grid.counts()[axis]).iter().product::<u64>();
    let needed = chunks.saturating_mul(bytes);
    if needed > READ {
        return Err(Failure::Request(format!(
            "{path}: this slice would read {} MiB of chunks; ask for a coarser level, another axis or a crop",
            needed >> 20
        )));
    }
    let fetch = |index: CellIndex| async move {
        let CellIndex([z, y, x]) = index;
        let parts: Vec<String> = format!("{path}/{z}/{y}/{x}").split('/').map(str::to_owned).collect();
        let found = site.names().find(&parts).await?;
        let size = found.attributes.size;
        Ok::<(CellIndex, Bytes), Failure>((index, file::bytes(site, &found, 0..size).await?))
    };
    let mut chunks = stream::iter(grid.cells_in(&region)).map(fetch).buffer_unordered(AT_ONCE);
    while let Some(chunk) = chunks.next().await {
        let (index, bytes) = chunk?;
        place(level, cut, &grid.region(index), &bytes, &mut put);
    }
    Ok(())
}

/// Shows the voxels of a chunk that the slice cuts.
fn place(level: &DescribedLevel, cut: Cut, region: &Region, bytes: &[u8], put: &mut impl FnMut(usize, &[u8])) {
    let size = level.dtype.size();
    let [_, columns] = cut.extent(level);
    let [_, height, width] = level.grid.cell.0;
    let [down, right] = cut.across();
    let mut voxel = region.start;
    voxel[cut.axis] = cut.index;
    for row in region.start[down]..region.end[down] {
        voxel[down] = row;
        for column in region.start[right]..region.end[right] {
            voxel[right] = column;
            let [z, y, x] = std::array::from_fn(|axis| voxel[axis] - region.start[axis]);
            let at = (((z * height) + y) * width + x) as usize * size;
            if let Some(voxel) = bytes.get(at..at + size) {
                put((row / cut.step * columns + column / cut.step) as usize, voxel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DataType;
    use crate::geometry::{Grid, Shape};

    #[test]
    fn a_pixel_is_the_mean_of_its_voxels_however_many_they_are() {
        // Of 16 bits, of 24, which 32-bit floats count, and beyond.
        for count in [1u64, 2, 255, 65_535, 65_536, 90_000, 17_000_000] {
            let mut means = Means::of(2, 300);
            (0..count).for_each(|_| means.add(1, 100.0));
            assert_eq!(means.values(), [0.0, 100.0], "{count}");
        }
        let mut means = Means::of(1, 512);
        (0..1 << 18).for_each(|at| means.add(0, if at % 2 == 0 { 65_535.0 } else { 65_533.0 }));
        assert_eq!(means.values(), [65_534.0]);
        let mut single = Means::of(1, 1);
        single.add(0, 7.0);
        assert_eq!(single.values(), [7.0]);
    }

    #[test]
    fn a_slice_takes_its_voxels_of_each_chunk() {
        let grid = Grid { shape: Shape([4, 5, 6]), cell: Shape([3, 3, 4]) };
        let level =
            DescribedLevel { path: "s0".to_owned(), grid, dtype: DataType::U8, scale: [1.0; 3], translation: [0.0; 3] };
        for axis in 0..3 {
            let cut = Cut { axis, index: 3, step: 1 };
            let [rows, columns] = cut.extent(&level);
            let mut seen = vec![None; (rows * columns) as usize];
            let mut region = grid.shape.region();
            (region.start[axis], region.end[axis]) = (3, 4);
            for index in grid.cells_in(&region) {
                let part = grid.region(index);
                let bytes: Vec<u8> = (0..3 * 3 * 4u64)
                    .map(|at| {
                        let [z, y, x] = [at / 12 + part.start[0], at / 4 % 3 + part.start[1], at % 4 + part.start[2]];
                        (100 * z % 256 + 10 * y + x) as u8
                    })
                    .collect();
                place(&level, cut, &part, &bytes, &mut |pixel, voxel| seen[pixel] = Some(voxel[0]));
            }
            let [down, right] = cut.across();
            for row in 0..rows {
                for column in 0..columns {
                    let mut voxel = [3; 3];
                    (voxel[down], voxel[right]) = (row, column);
                    let [z, y, x] = voxel;
                    let expected = (100 * z % 256 + 10 * y + x) as u8;
                    assert_eq!(seen[(row * columns + column) as usize], Some(expected), "{axis} {row} {column}");
                }
            }
        }
    }
}
