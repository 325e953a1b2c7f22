//! Volumes in DM3 and DM4 files of Gatan's DigitalMicrograph: an image or a stack of images in one file.
//!
//! What is in a file is [`crate::dm`]'s knowledge; here is which bytes of it a block is. Blocks are bands of rows.

mod file;

#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;

use self::file::OpenFile;
use super::{Description, Placement, Source, SourceError, SourceLevel};
use crate::document::Document;
use crate::dtype::FillValue;
use crate::geometry::{CellIndex, Grid, LevelIndex, Shape};
use crate::source::contiguous::Contiguous;
use crate::source::planes::{all, bounded_band};
use crate::store::Object;

/// Longest row that is accepted.
const MAX_ROW: u64 = 1 << 30;

/// A file as a volume of one level.
pub struct Dm3Source {
    voxels: Contiguous,
    description: Description,
    /// The file's tags, unless it is a section of a volume whose first one has told them.
    tags: Option<Document>,
    /// Nanometres per voxel along `z, y, x`, where the file says them or else the configuration.
    voxel_size: [Option<f64>; 3],
}

/// Opens a file, which may be a stack. `missing`: nanometres per voxel along `z, y, x` for axes of which it does not say
/// it; `told` says whether its tags are kept for people.
pub async fn open(object: Object, missing: [Option<f64>; 3], told: bool) -> Result<Dm3Source, SourceError> {
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
    let tags = if told { Some(file::document(&object, tags).await?) } else { None };
    let (offset, big_endian) = (image.offset, image.big_endian);
    let voxels = Contiguous { object, grid, offset, item: form.dtype.size(), big_endian, field: "ImageData" };
    Ok(Dm3Source { voxels, description, tags, voxel_size })
}

impl Source for Dm3Source {
    fn description(&self) -> &Description {
        &self.description
    }

    fn documents(&self) -> Vec<Document> {
        self.tags.iter().cloned().collect()
    }

    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        self.voxel_size
    }

    fn objects(&self, _planes: Range<u64>) -> Option<Vec<Option<Object>>> {
        Some(vec![Some(self.voxels.object.clone())])
    }

    fn locate(&self, _level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move { self.voxels.locate(block) })
    }

    fn decode(&self, _level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        self.voxels.numbers(block, raw)
    }
}
