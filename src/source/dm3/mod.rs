//! Volumes in DM3 and DM4 files of Gatan's DigitalMicrograph: an image or a stack of images in one file.
//!
//! What is in a file is [`crate::dm`]'s knowledge; here is which bytes of it a block is. Blocks are bands of rows.

mod file;

#[cfg(test)]
mod tests;

use self::file::OpenFile;
use super::{Description, SourceError, SourceLevel};
use crate::dtype::FillValue;
use crate::geometry::{Grid, Shape};
use crate::source::contiguous::{Contiguous, ContiguousSource};
use crate::source::planes::{all, bounded_band};
use crate::store::Object;

/// Longest row that is accepted.
const MAX_ROW: u64 = 1 << 30;

/// Opens a file, which may be a stack. `missing`: nanometres per voxel along `z, y, x` for axes of which it does not say
/// it; `told` says whether its tags are kept for people.
pub async fn open(object: Object, missing: [Option<f64>; 3], told: bool) -> Result<ContiguousSource, SourceError> {
    let opened = file::open(&object).await?;
    let form = opened.form;
    let shape = form.shape;
    let too_large = shape.bytes(form.dtype.size()).is_none_or(|bytes| i64::try_from(bytes).is_err());
    let [_, _, width] = shape.0;
    let row = width.saturating_mul(form.dtype.size() as u64);
    if too_large || row > MAX_ROW {
        let reason = format!("a volume of {shape} voxels");
        return Err(SourceError::unsupported(object.url(), "Dimensions", reason));
    }
    let band = bounded_band(shape, form.dtype, |rows| rows.saturating_mul(row));
    let grid = Grid { shape, cell: Shape([1, band, width]) };
    let placed = opened.placement(missing);
    let voxel_size = placed.map(|placed| placed.map(|(scale, _)| scale));
    let scale = all(voxel_size);
    for unit in opened.unknown_units().into_iter().filter(|_| told) {
        let name = object.url();
        tracing::warn!("{name}: the unit {unit:?} is none of length that is known, so what is in it is not told");
    }
    let translation = match scale {
        Some(_) => placed.map(|placed| placed.map_or(0.0, |(_, start)| start)),
        None => [0.0; 3],
    };
    let description = Description {
        dtype: form.dtype,
        levels: vec![SourceLevel { grid, scale, translation, offset: [0; 3] }],
        fill: FillValue::zero(form.dtype),
        window: opened.image.display,
        format: opened.format(),
        downsampling: None,
        chunked: false,
    };
    let OpenFile { image, tags, .. } = opened;
    let document = if told { Some(file::document(&object, tags).await?) } else { None };
    let (offset, big_endian) = (image.offset, image.big_endian);
    let voxels = Contiguous { object, grid, offset, item: form.dtype.size(), big_endian, field: "ImageData" };
    Ok(ContiguousSource { voxels, conversion: None, description, document, voxel_size })
}
