//! What the first page of a TIFF file says in ImageJ's way, which most programs for microscopy understand.

use std::fmt::Write;

use crate::dtype::DataType;
use crate::tiff_tags::IMAGEJ_SIGNED_SHIFT;
use crate::volume::{Level, Pyramid};

/// The version whose files these are like. ImageJ only looks for the word.
const VERSION: &str = "1.53t";

/// The text of a level: how many planes there are and how far apart, the unit, where the first voxel lies, the window.
///
/// Of labels no window is told, so that they are shown from their lowest to their highest number.
pub(super) fn describe(pyramid: &Pyramid, level: &Level, is_label: bool) -> Vec<u8> {
    let [planes, ..] = level.grid.shape.0;
    let mut text = format!("ImageJ={VERSION}\n");
    if planes > 1 {
        // Writing to a text does not fail, here and below.
        let _ = write!(text, "images={planes}\nslices={planes}\nloop=false\n");
    }
    if pyramid.is_calibrated() {
        let _ = write!(text, "unit=nm\nspacing={}\n", level.scale[0]);
    }
    for (axis, name) in ["zorigin", "yorigin", "xorigin"].into_iter().enumerate() {
        // In voxels: the place in the volume is (index - origin) times the voxel size.
        let origin = -level.corner[axis] / level.scale[axis];
        if origin != 0.0 {
            let _ = writeln!(text, "{name}={origin}");
        }
    }
    if !is_label {
        // Signed numbers of 16 bits become unsigned in ImageJ, and it counts the window in these.
        let shift = if pyramid.dtype == DataType::I16 { IMAGEJ_SIGNED_SHIFT } else { 0.0 };
        let (low, high) = (pyramid.window.0 + shift, pyramid.window.1 + shift);
        let _ = write!(text, "min={low}\nmax={high}\n");
    }
    text.push('\0');
    text.into_bytes()
}

/// Voxels per nanometre as a fraction: exact where the voxel size is a decimal number of few digits.
pub(super) fn resolution(voxel_size: f64) -> [u32; 2] {
    let whole = |number: f64| (1.0..=f64::from(u32::MAX)).contains(&number).then(|| number.round() as u32);
    let parts = (0..10u32).rev().filter_map(|digits| {
        let voxels = 10u32.checked_pow(digits)?;
        Some([voxels, whole(voxel_size * f64::from(voxels))?])
    });
    let error = |[voxels, length]: &[u32; 2]| (f64::from(*length) / f64::from(*voxels) / voxel_size - 1.0).abs();
    // The shortest of those that are as good as binary numbers are.
    let mut best = [1, 1];
    let mut least = f64::INFINITY;
    for part in parts {
        if error(&part) <= least.max(1e-12) {
            least = error(&part);
            best = part;
        }
    }
    best
}
