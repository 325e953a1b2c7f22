//! Volumes in multi-page TIFF files, a page per z.
//!
//! Classic and BigTIFF, both byte orders; integers of 8 to 64 bits and floats of 32 and 64; strips and tiles;
//! uncompressed or deflate, with the horizontal predictor. Everything else is refused by name. Format: TIFF 6.0,
//! the BigTIFF design, the TIFF Technical Notes; ImageJ's and OME's conventions in ImageDescription.
//!
//! A file is opened with few requests however many pages it has, and no voxel is served from a place that the page's
//! own IFD has not confirmed, except those of ImageJ, whose pages need none. Blocks are bands of rows where a page is
//! one uncompressed run, else the file's own strips and tiles.

mod decode;
mod dump;
mod ifd;
mod index;
mod page;
mod read;
mod text;
mod volume;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use self::read::ObjectReader;
use self::volume::{FRONT, Volume};
use super::{Description, Placement, Source, SourceError};
use crate::document::Document;
use crate::geometry::{CellIndex, LevelIndex};
use crate::store::Object;

/// A TIFF file as a volume of one level.
pub struct TiffSource {
    object: Object,
    volume: Volume,
}

/// Opens the file: reads its header, its first page's IFD and as much of the others as finding them takes. `missing`:
/// nanometres per voxel along `z, y, x` for the axes along which a file says none that says some.
pub async fn open(object: Object, missing: [Option<f64>; 3]) -> Result<TiffSource, SourceError> {
    let front = object.start(FRONT).await?;
    let Some(total) = front.total else {
        return Err(SourceError::malformed(object.url(), "header", "the length of the file is not known"));
    };
    let reader = ObjectReader { object: object.clone(), total };
    let mut volume = Volume::open(Arc::new(reader), front.bytes).await?;
    volume.complete_voxel_size(missing);
    Ok(TiffSource { object, volume })
}

impl Source for TiffSource {
    fn description(&self) -> &Description {
        &self.volume.description
    }

    fn documents(&self) -> Vec<Document> {
        vec![self.volume.tags.clone().retrieved_at(self.object.confirmed())]
    }

    fn kept(&self) -> u64 {
        self.volume.index.kept()
    }

    fn locate(&self, _level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move {
            let range = self.volume.locate(block).await?;
            let length = range.end - range.start;
            Ok(Placement::Range { object: self.object.clone(), start: range.start, length })
        })
    }

    fn decode(&self, _level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        self.volume.decode(block, raw)
    }
}
