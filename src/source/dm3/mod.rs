//! Volumes in DM3 and DM4 files of Gatan's DigitalMicrograph: an image or a stack of images in one file.
//!
//! What is in a file is [`crate::dm`]'s knowledge; here is which bytes of it a block is. Blocks are bands of rows.

mod file;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use futures::future::BoxFuture;

use self::file::Opened;
use super::{Description, Placement, Source, SourceError, SourceLevel};
use crate::document::Document;
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, LevelIndex, Shape};
use crate::source::planes::plane_chunk;
use crate::store::Object;

/// A plane so long is one block.
const WHOLE_PLANE: u64 = 1 << 20;
/// A band of rows has so many bytes at least.
const MIN_BAND: u64 = 512 << 10;
/// Longest band of rows, unless a single row is longer.
const MAX_BAND: u64 = 64 << 20;
/// Longest row that is accepted.
const MAX_ROW: u64 = 1 << 30;

/// A file as a volume of one level.
pub struct Dm3Source {
    object: Object,
    description: Description,
    /// The file's tags, unless it is a section of a volume whose first one has told them.
    tags: Option<Document>,
    /// Nanometres per voxel along `z, y, x`, where the file says them or else the configuration.
    voxel_size: [Option<f64>; 3],
    /// Where the pixels begin.
    offset: u64,
    big_endian: bool,
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
    let grid = Grid { shape, cell: Shape([1, band(shape, form.dtype), width]) };
    let placed = opened.placement(missing);
    let voxel_size = placed.map(|placed| placed.map(|(scale, _)| scale));
    let scale = match voxel_size {
        [Some(z), Some(y), Some(x)] => Some([z, y, x]),
        _ => None,
    };
    for unit in opened.unknown_units() {
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
    let Opened { image, tags, .. } = opened;
    let tags = if told { Some(file::document(&object, tags).await?) } else { None };
    Ok(Dm3Source { object, description, tags, voxel_size, offset: image.offset, big_endian: image.big_endian })
}

/// Rows of a block: as many as the chunks have that are cut from it, or a multiple of that.
fn band(shape: Shape, dtype: DataType) -> u64 {
    let [_, height, width] = shape.0;
    let row = width * dtype.size() as u64;
    if row.saturating_mul(height) <= WHOLE_PLANE {
        return height;
    }
    let chunk = plane_chunk(shape, dtype).0[1].max(1);
    let mut rows = (chunk * MIN_BAND.div_ceil((chunk * row).max(1))).min(height);
    while rows > 1 && rows * row > MAX_BAND {
        rows = rows.div_ceil(2);
    }
    rows
}

impl Dm3Source {
    fn grid(&self, block: CellIndex) -> Result<Grid, SourceError> {
        let grid = self.description.levels.first().map(|level| level.grid).filter(|grid| grid.contains(block));
        grid.ok_or_else(|| self.outside(format!("block {block} lies outside of the volume")))
    }

    fn outside(&self, reason: String) -> SourceError {
        SourceError::malformed(self.object.url(), "ImageData", reason)
    }
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

    fn locate(&self, _level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move {
            let grid = self.grid(block)?;
            let [_, height, width] = grid.shape.0;
            let size = self.description.dtype.size() as u64;
            let region = grid.region(block);
            // The whole volume fits 63 bits, so its parts do; the offset was checked against the file's length.
            let before = (block.0[0] * height + region.start[1]) * width * size;
            let start = self.offset.checked_add(before);
            let start = start.ok_or_else(|| self.outside("holds pixels beyond 2⁶⁴ bytes".into()))?;
            let length = region.shape().bytes(size as usize).unwrap_or_default();
            Ok(Placement::Range { object: self.object.clone(), start, length })
        })
    }

    fn decode(&self, _level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let grid = self.grid(block)?;
        let size = self.description.dtype.size();
        if grid.region(block).shape().bytes(size) != Some(raw.len() as u64) {
            return Err(self.outside(format!("block {block} came with {} bytes", raw.len())));
        }
        if !self.big_endian || size == 1 {
            return Ok(raw);
        }
        let mut voxels = Vec::from(raw);
        voxels.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        Ok(voxels.into())
    }
}
