//! A slice of an image, read through the mount as any program would: the documents, then the chunk files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::dtype::DataType;
use crate::geometry::{CellIndex, Grid};
use crate::http::{array_of, scale_of, window_of};

/// Pixels of a slice at most: the picture of a slice is meant for a screen.
const MAX_PIXELS: u64 = 64 << 20;

/// One z-slice of a level.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaneSlice {
    /// Pixels per row (x).
    pub width: usize,
    /// Rows (y).
    pub height: usize,
    /// Row by row, `height` × `width` values.
    pub pixels: Vec<f32>,
    /// Display window `(low, high)` of the image.
    pub window: (f32, f32),
    /// Nanometres per pixel along y and x, where they are known.
    pub pixel_size: Option<[f64; 2]>,
    /// Index along z of the slice in its level.
    pub z: u64,
    /// Chunk files that were read.
    pub files: usize,
    /// Bytes that were read from them.
    pub bytes: u64,
}

/// Why a slice cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// A file of the store cannot be read.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A document or chunk is not what the format says.
    #[error("{}: {reason}", .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Reads the middle slice of level `s0` of the Zarr v2 store at `store`.
pub fn middle(store: &Path) -> Result<PlaneSlice, SliceError> {
    let (low, high) = document(&store.join(".zattrs"), window_of)?;
    let scale = document(&store.join(".zattrs"), scale_of)?;
    let level = store.join("s0");
    let path = level.join(".zarray");
    let (grid, dtype) = document(&path, array_of)?;
    let [depth, height, width] = grid.shape.0;
    let pixels = height.checked_mul(width).filter(|&pixels| 0 < pixels && pixels <= MAX_PIXELS && depth > 0);
    let pixels =
        pixels.ok_or_else(|| SliceError::Store { path, reason: "no slice of it fits a picture".to_owned() })?;

    let z = depth / 2;
    let mut region = grid.shape.region();
    (region.start[0], region.end[0]) = (z, z + 1);
    let mut slice = PlaneSlice {
        width: width as usize,
        height: height as usize,
        pixels: vec![0.0; pixels as usize],
        window: (low as f32, high as f32),
        pixel_size: scale.map(|[_, y, x]| [y, x]),
        z,
        files: 0,
        bytes: 0,
    };
    for index in grid.cells_in(&region) {
        let CellIndex([cz, cy, cx]) = index;
        let path = level.join(format!("{cz}/{cy}/{cx}"));
        let chunk = fs::read(&path).map_err(|error| SliceError::Io { path: path.clone(), error })?;
        slice.files += 1;
        slice.bytes += chunk.len() as u64;
        place(&mut slice, &grid, index, dtype, &chunk).ok_or_else(|| SliceError::Store {
            path,
            reason: format!("{} bytes are no chunk of {} {dtype}", chunk.len(), grid.cell),
        })?;
    }
    Ok(slice)
}

/// Copies the slice's part of a chunk into it; `None` where the chunk has not the right length.
fn place(slice: &mut PlaneSlice, grid: &Grid, index: CellIndex, dtype: DataType, chunk: &[u8]) -> Option<()> {
    if grid.cell.bytes(dtype.size()) != Some(chunk.len() as u64) {
        return None;
    }
    let size = dtype.size();
    let region = grid.region(index);
    let [_, rows, columns] = grid.cell.0.map(|extent| extent as usize);
    let plane = (slice.z - region.start[0]) as usize;
    let (left, span) = (region.start[2] as usize, region.shape().0[2] as usize);
    for y in region.start[1]..region.end[1] {
        let row = plane * rows + (y - region.start[1]) as usize;
        let voxels = chunk.get(row * columns * size..)?.get(..span * size)?;
        let target = slice.pixels.get_mut(y as usize * slice.width + left..)?.get_mut(..span)?;
        let mut pixels = target.iter_mut();
        dtype.values(voxels, size, |value| pixels.next().into_iter().for_each(|pixel| *pixel = value));
    }
    Some(())
}

/// What a document says, as `read` understands it.
fn document<T>(path: &Path, read: fn(&[u8]) -> Result<T, String>) -> Result<T, SliceError> {
    let text = fs::read(path).map_err(|error| SliceError::Io { path: path.to_owned(), error })?;
    read(&text).map_err(|reason| SliceError::Store { path: path.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dtype: &str, chunk: impl Fn(u64, u64, u64) -> Vec<u8>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let level = folder.path().join("s0");
        let omero = r#"{"omero": {"channels": [{"window": {"start": 1, "end": 9, "min": 0, "max": 255}}]}}"#;
        fs::create_dir_all(level.join("1")).unwrap();
        fs::write(folder.path().join(".zattrs"), omero).unwrap();
        let array = format!(r#"{{"shape": [5, 3, 4], "chunks": [2, 2, 3], "dtype": "{dtype}", "order": "C"}}"#);
        fs::write(level.join(".zarray"), array).unwrap();
        for (y, x) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            fs::create_dir_all(level.join(format!("1/{y}"))).unwrap();
            fs::write(level.join(format!("1/{y}/{x}")), chunk(1, y, x)).unwrap();
        }
        folder
    }

    #[test]
    fn a_slice_is_put_together_from_padded_chunks() {
        // Each voxel holds 100 z + 10 y + x; padding holds −1.
        let folder = store("<i2", |cz, cy, cx| {
            let voxels = (0..2).flat_map(|z| (0..2).flat_map(move |y| (0..3).map(move |x| (z, y, x))));
            voxels
                .flat_map(|(z, y, x)| {
                    let (z, y, x) = (cz * 2 + z, cy * 2 + y, cx * 3 + x);
                    let inside = z < 5 && y < 3 && x < 4;
                    (if inside { (100 * z + 10 * y + x) as i16 } else { -1 }).to_le_bytes()
                })
                .collect()
        });
        let slice = middle(folder.path()).unwrap();
        let expected: Vec<f32> = (0..3).flat_map(|y| (0..4).map(move |x| (200 + 10 * y + x) as f32)).collect();
        assert_eq!((slice.width, slice.height, slice.z), (4, 3, 2));
        assert_eq!(slice.pixels, expected);
        assert_eq!((slice.window, slice.files, slice.bytes), ((1.0, 9.0), 4, 96));
    }

    #[test]
    fn a_chunk_of_another_length_is_an_error_that_names_it() {
        let folder = store("|u1", |_, y, x| vec![0; if (y, x) == (1, 0) { 11 } else { 12 }]);
        let error = middle(folder.path()).unwrap_err().to_string();
        assert!(error.ends_with("s0/1/1/0: 11 bytes are no chunk of 2×2×3 uint8"), "{error}");
        fs::remove_file(folder.path().join("s0/1/0/1")).unwrap();
        assert!(middle(folder.path()).unwrap_err().to_string().contains("s0/1/0/1"));
    }
}
