//! A slice of a level across an axis, read from its chunk files.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::task::JoinError;

use super::documents::DescribedLevel;
use super::failure::Failure;
use super::file;
use super::site::Site;
use crate::dtype::DataType;
use crate::geometry::{CellIndex, Grid};
use crate::task;
use crate::vfs::Validity;

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
    /// Whether some of them stand for voxels that are absent at the origin, which may come to be there.
    pub is_passing: bool,
}

/// A row of the voxels of a chunk that a slice cuts.
struct Row<'a> {
    /// The chunk from the first of them on.
    bytes: &'a [u8],
    /// Bytes from one to the next.
    stride: usize,
    /// How many there are.
    voxels: usize,
    /// The pixel of the first, and how many before it are of that pixel.
    pixel: usize,
    within: u64,
    /// Voxels of a row that are one pixel.
    step: u64,
}

impl Row<'_> {
    /// The bytes of all of them, and the pixel of each.
    fn split(&self) -> (&[u8], impl Iterator<Item = usize> + use<>) {
        let (mut pixel, mut within, step) = (self.pixel, self.within, self.step);
        let next = move || {
            let current = pixel;
            within += 1;
            if within == step {
                (pixel, within) = (pixel + 1, 0);
            }
            Some(current)
        };
        let length = self.voxels.saturating_mul(self.stride).min(self.bytes.len());
        (self.bytes.get(..length).unwrap_or_default(), std::iter::from_fn(next))
    }
}

/// What is made of the voxels of a slice, which come by rows.
trait Pixels: Send + 'static {
    fn add(&mut self, row: &Row<'_>);
}

/// Grey values: the mean where several voxels are one pixel.
pub(super) async fn grey(
    site: &Arc<Site>,
    path: &str,
    level: &DescribedLevel,
    cut: Cut,
) -> Result<Slice<f32>, Failure> {
    let [rows, columns] = cut.extent(level).map(|extent| extent as usize);
    let means = Means::of(rows * columns, cut.step);
    let (grey, is_passing) = read(site, path, level, cut, Grey { means, dtype: level.dtype }).await?;
    Ok(Slice { rows, columns, values: apart(move || grey.means.values()).await?, is_passing })
}

struct Grey {
    means: Means,
    dtype: DataType,
}

impl Pixels for Grey {
    fn add(&mut self, row: &Row<'_>) {
        let (bytes, mut pixels) = row.split();
        let Grey { means, dtype } = self;
        dtype.values(bytes, row.stride, |value| pixels.next().into_iter().for_each(|pixel| means.add(pixel, value)));
    }
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
    let segments = Segments { values: vec![0; rows * columns], size: level.dtype.size() };
    let (segments, is_passing) = read(site, path, level, cut, segments).await?;
    Ok(Slice { rows, columns, values: segments.values, is_passing })
}

struct Segments {
    values: Vec<u64>,
    /// Bytes of a voxel.
    size: usize,
}

impl Pixels for Segments {
    fn add(&mut self, row: &Row<'_>) {
        let (bytes, pixels) = row.split();
        let voxels = bytes.chunks(row.stride).map_while(|voxel| voxel.get(..self.size));
        for (voxel, pixel) in voxels.zip(pixels) {
            if let Some(value) = self.values.get_mut(pixel) {
                *value = voxel.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            }
        }
    }
}

/// Work that other requests should not wait for.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let failed = |error: JoinError| Failure::Failed(format!("the slice is not made: {error}"));
    task::spawn_blocking(work).await.map_err(failed)
}

/// Shows pixels the voxels of a slice, one chunk after the other; says whether some of them are absent at the origin.
async fn read<P: Pixels>(
    site: &Arc<Site>,
    path: &str,
    level: &DescribedLevel,
    cut: Cut,
    mut pixels: P,
) -> Result<(P, bool), Failure> {
    let validity = Arc::new(Validity::default());
    let grid = level.grid;
    let mut region = grid.shape.region();
    (region.start[cut.axis], region.end[cut.axis]) = (cut.index, cut.index + 1);
    let size = level.dtype.size();
    let bytes = grid.cell.bytes(size).unwrap_or(u64::MAX);
    let chunks = cut.across().map(|axis| grid.counts()[axis]).iter().product::<u64>();
    let needed = chunks.saturating_mul(bytes);
    if needed > READ {
        return Err(Failure::Request(format!(
            "{path}: this slice would read {} MiB of chunks; ask for a coarser level, another axis or a crop",
            needed >> 20
        )));
    }
    let fetch = |index: CellIndex| {
        let validity = validity.clone();
        async move {
            let CellIndex([z, y, x]) = index;
            let parts: Vec<String> = format!("{path}/{z}/{y}/{x}").split('/').map(str::to_owned).collect();
            let found = site.names().find(&parts).await?;
            let size = found.attributes.size;
            Ok::<(CellIndex, Bytes), Failure>((index, file::bytes_until(site, &found, 0..size, &validity).await?))
        }
    };
    let mut chunks = stream::iter(grid.cells_in(&region)).map(fetch).buffer_unordered(AT_ONCE);
    while let Some(chunk) = chunks.next().await {
        let (index, bytes) = chunk?;
        let placed = move || {
            place(grid, size, cut, index, &bytes, &mut pixels);
            pixels
        };
        pixels = apart(placed).await?;
    }
    Ok((pixels, validity.until().is_some()))
}

/// Shows pixels the rows of voxels of a chunk that the slice cuts; `size`: bytes of a voxel.
fn place(grid: Grid, size: usize, cut: Cut, index: CellIndex, bytes: &[u8], pixels: &mut impl Pixels) {
    let region = grid.region(index);
    let [_, height, width] = grid.cell.0;
    let strides = [height * width, width, 1].map(|voxels| voxels as usize * size);
    let [down, right] = cut.across();
    let columns = grid.shape.0[right].div_ceil(cut.step);
    let voxels = region.shape().0[right] as usize;
    let plane = (cut.index - region.start[cut.axis]) as usize * strides[cut.axis];
    for row in region.start[down]..region.end[down] {
        let at = plane + (row - region.start[down]) as usize * strides[down];
        pixels.add(&Row {
            bytes: bytes.get(at..).unwrap_or_default(),
            stride: strides[right],
            voxels,
            pixel: (row / cut.step * columns + region.start[right] / cut.step) as usize,
            within: region.start[right] % cut.step,
            step: cut.step,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Shape;

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

    /// The value of a voxel, as the type has it.
    fn value(dtype: DataType, voxel: &[u8]) -> f32 {
        let mut values = Vec::new();
        dtype.values(voxel, voxel.len(), |value| values.push(value));
        values[0]
    }

    #[test]
    fn a_pixel_is_made_of_its_voxels_one_after_the_other_whatever_the_type_the_axis_and_the_step() {
        let grid = Grid { shape: Shape([4, 5, 6]), cell: Shape([3, 3, 4]) };
        for (number, dtype) in DataType::ALL.into_iter().enumerate() {
            let size = dtype.size();
            // The last voxels of the last chunk did not come.
            let chunk = |CellIndex([z, y, x]): CellIndex| {
                let seed = ((z * 7 + y) * 7 + x) as usize * 977 + number;
                let bytes =
                    (0..3 * 3 * 4 * size).map(|at| (at * (seed + 31) + at / 3 + seed) as u8).collect::<Vec<u8>>();
                bytes[..bytes.len() - if (z, y, x) == (1, 1, 1) { 8 * size + 1 } else { 0 }].to_vec()
            };
            for (axis, index, step) in (0..3).flat_map(|axis| [1, 2, 3, 7].map(|step| (axis, 3, step))) {
                let level = DescribedLevel { path: "s0".into(), grid, dtype, scale: [1.0; 3], translation: [0.0; 3] };
                let cut = Cut { axis, index, step };
                let [rows, columns] = cut.extent(&level);
                let pixels = (rows * columns) as usize;
                let mut grey = Grey { means: Means::of(pixels, step), dtype };
                let mut segments = Segments { values: vec![0; pixels], size };
                let (mut means, mut numbers) = (Means::of(pixels, step), vec![0; pixels]);
                let mut region = grid.shape.region();
                (region.start[axis], region.end[axis]) = (index, index + 1);
                for cell in grid.cells_in(&region) {
                    let (bytes, part) = (chunk(cell), grid.region(cell));
                    place(grid, size, cut, cell, &bytes, &mut grey);
                    place(grid, size, cut, cell, &bytes, &mut segments);
                    let [down, right] = cut.across();
                    for (row, column) in (part.start[down]..part.end[down])
                        .flat_map(|row| (part.start[right]..part.end[right]).map(move |column| (row, column)))
                    {
                        let mut voxel = [index; 3];
                        (voxel[down], voxel[right]) = (row, column);
                        let [z, y, x] = std::array::from_fn(|axis| (voxel[axis] - part.start[axis]) as usize);
                        let at = ((z * 3 + y) * 4 + x) * size;
                        let Some(voxel) = bytes.get(at..at + size) else { continue };
                        let pixel = (row / step * columns + column / step) as usize;
                        means.add(pixel, value(dtype, voxel));
                        numbers[pixel] = voxel.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
                    }
                }
                // Numbers that are none are alike.
                let bits = |value: f32| if value.is_nan() { u32::MAX } else { value.to_bits() };
                let bits = |means: Means| means.values().into_iter().map(bits).collect::<Vec<u32>>();
                assert_eq!(bits(grey.means), bits(means), "{dtype} {axis} {step}");
                assert_eq!(segments.values, numbers, "{dtype} {axis} {step}");
            }
        }
    }

    #[tokio::test]
    async fn who_makes_a_slice_keeps_no_other_request_waiting() {
        // There is one thread for all requests, and it is not the one that makes a slice.
        let own = std::thread::current().id();
        assert_ne!(apart(move || std::thread::current().id()).await.unwrap(), own);
        let lost = apart(|| -> () { panic!("a mistake") }).await.unwrap_err();
        assert!(matches!(&lost, Failure::Failed(reason) if reason.contains("the slice is not made")), "{lost:?}");
    }
}
