//! Volumes in multi-page TIFF files, a page per z.
//!
//! Classic and BigTIFF, both byte orders; integers of 1 to 16, 32 and 64 bits and floats of 16, 32 and 64; strips and tiles;
//! uncompressed, deflate, LZW, PackBits, Zstandard or grey JPEG, with either predictor. Everything else is refused by name.
//! Format: TIFF 6.0, the BigTIFF design, the TIFF Technical Notes; ImageJ's and OME's conventions in ImageDescription.
//!
//! A file is opened with few requests however many pages it has, and no voxel is served from a place that the page's
//! own IFD has not confirmed, except those of ImageJ, whose pages need none. Blocks are bands of rows where a page is
//! one uncompressed run, else the file's own strips and tiles; a page that is divided in another way than the first is read
//! by as many of its strips or tiles as a block needs. Where every page is one strip of deflate, LZW or
//! Zstandard that is too long for that, blocks are bands of its rows.

mod axes;
mod band;
mod blocks;
mod checks;
mod codecs;
mod decode;
mod description;
mod dump;
mod ending;
mod front;
mod ifd;
mod index;
mod layout;
mod long_strip;
mod lzw;
mod microscope;
mod nodata;
mod ome;
mod page;
mod page_format;
mod places;
mod read;
mod sample;
mod set;
mod shaped;
mod step;
mod storage;
mod strided;
mod table;
mod text;
mod unpacker;
mod volume;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use self::band::Band;
use self::long_strip::LongStrip;
use self::read::{ObjectReader, ReadAhead};
use self::storage::Codec;
use self::volume::{FRONT, Volume};
use super::indices::Indices;
use super::{Description, Placement, Source, SourceError, SourcePart};
use crate::document::Document;
use crate::geometry::{CellIndex, LevelIndex, Shape};
use crate::store::{Object, is_past_caches};

/// A TIFF file as a volume of one level.
pub struct TiffSource {
    object: Object,
    volume: Volume,
    /// Where the file has some.
    strips: Option<LongStrips>,
}

/// The long strips of a file.
struct LongStrips {
    /// Those that were gone through, by their page.
    gone_through: Indices<u64, Arc<LongStrip>>,
    /// Each is gone through with some memory.
    permits: Arc<Semaphore>,
}

/// Strips of a file that are gone through at once.
const AT_ONCE: u32 = 2;

impl LongStrips {
    /// Waits until a strip may be gone through. Readers of Zstandard keep up to 128 MiB that they may look back to.
    async fn permit(&self, codec: Codec) -> Result<OwnedSemaphorePermit, AcquireError> {
        let permits = if codec == Codec::Zstd { AT_ONCE } else { 1 };
        self.permits.clone().acquire_many_owned(permits).await
    }
}

pub use self::axes::Choice;
pub use self::layout::Layout;
pub use self::set::FileSet;

/// How a file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading<'a> {
    /// Nanometres per voxel along `z, y, x` for the axes along which a file says none that says some.
    pub missing: [Option<f64>; 3],
    /// Which of several axes are shown.
    pub choice: Choice,
    /// Whether the whole pages of a file that is cut are shown.
    pub show_cut: bool,
    /// Where it is one plane of a volume whose other planes are in other files.
    pub section: Option<Section>,
    /// The pages that are the planes, where another file says so.
    pub pages: Option<&'a Arc<[u64]>>,
    /// The names of the files of the folder whose sections are shown, where nobody chose among them.
    pub folder: Option<&'a [String]>,
}

impl Reading<'_> {
    /// Whether people hear of the file: not of each of the sections of a volume.
    fn is_told(&self) -> bool {
        self.section.is_none_or(|section| section.cell.is_none())
    }
}

/// A plane of a volume.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The shape of the blocks of the other planes, where some are open. Only the first is told of to people.
    pub cell: Option<Shape>,
    /// What the file of the first plane that was opened is like.
    pub like: Option<Layout>,
}

/// What an opened file is.
pub enum Opening {
    /// A volume.
    Volume(Box<TiffSource>),
    /// A part of a volume whose planes are in these files beside it.
    Set(FileSet),
}

/// Opens the file: reads its header, its first page's IFD and as much of the others as finding them takes.
pub async fn open(object: Object, reading: Reading<'_>) -> Result<Opening, SourceError> {
    let like = reading.section.and_then(|section| section.like).filter(|_| !is_past_caches());
    let (front, further) = match like {
        Some(layout) => layout.fetch(&object, FRONT).await?,
        None => (object.start(FRONT).await?, None),
    };
    let Some(total) = front.total else {
        return Err(SourceError::malformed(object.url(), "header", "the length of the file is not known"));
    };
    let mut file = ReadAhead::from(Arc::new(ObjectReader { object: object.clone(), total }), front.bytes);
    if let Some((start, bytes)) = further {
        file.add(start, bytes);
    }
    let mut volume = Volume::open(file, reading).await?;
    Ok(match volume.set.take() {
        Some(set) => Opening::Set(set),
        None => {
            let has_strips = reading.section.is_none() && volume.has_long_strips();
            let strips = has_strips.then(|| LongStrips {
                gone_through: Indices::new(object.desk()),
                permits: Arc::new(Semaphore::new(AT_ONCE as usize)),
            });
            Opening::Volume(Box::new(TiffSource { object, volume, strips }))
        }
    })
}

impl TiffSource {
    /// What the files of other planes may be like; `None` where nothing follows from this one.
    pub fn layout(&self) -> Option<Layout> {
        self.volume.layout
    }

    /// The band of a long strip that a block is, and that strip.
    async fn strip(&self, block: CellIndex) -> Result<Option<(Band, Arc<LongStrip>)>, SourceError> {
        let Some(strips) = &self.strips else { return Ok(None) };
        let Some(band) = self.volume.band(block).await? else { return Ok(None) };
        let read = async {
            // Never closed.
            let _permit = strips.permit(band.codec()).await;
            let bad = |reason| self.volume.bad(block, reason);
            let reader = &*self.volume.reader;
            Ok(Arc::new(LongStrip::read(reader, band.strip, band.size, band.codec(), bad).await?))
        };
        let strip = strips.gone_through.get(band.page, read).await?;
        Ok(Some((band, strip)))
    }

    fn placement(&self, range: Option<Range<u64>>) -> Placement {
        match range {
            Some(Range { start, end }) => Placement::Range { object: self.object.clone(), start, length: end - start },
            None => Placement::Absent { confirmed: self.object.confirmed() },
        }
    }
}

impl Source for TiffSource {
    fn description(&self) -> &Description {
        &self.volume.description
    }

    fn documents(&self) -> Vec<Document> {
        self.volume.tags.iter().map(|tags| tags.clone().retrieved_at(self.object.confirmed())).collect()
    }

    fn kept(&self) -> u64 {
        self.volume.index.kept()
    }

    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        self.volume.voxel_size
    }

    fn is_inverted(&self) -> bool {
        self.volume.form.white_is_zero
    }

    fn objects(&self, _planes: Range<u64>) -> Option<Vec<Option<Object>>> {
        Some(vec![Some(self.object.clone())])
    }

    fn locate(&self, _level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move { Ok(self.placement(self.volume.locate(block).await?)) })
    }

    fn locate_to_fetch(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move {
            match self.strip(block).await? {
                Some((band, strip)) => Ok(self.placement(band.range(&strip))),
                None => self.locate(level, block).await,
            }
        })
    }

    fn part_ahead(
        &self,
        _level: LevelIndex,
        block: CellIndex,
    ) -> BoxFuture<'_, Result<Option<SourcePart>, SourceError>> {
        Box::pin(async move {
            let Some((band, strip)) = self.strip(block).await? else { return Ok(None) };
            // A reader that had to go through what is before the band is let go of before there is another one.
            let permit = match &self.strips {
                Some(strips) if band.codec() == Codec::Zstd => Some(strips.permit(band.codec()).await),
                _ => None,
            };
            let bad = |reason| self.volume.bad(block, reason);
            let entered = band.enter(&strip, &*self.volume.reader, bad).await?;
            let bad = self.volume.malformed(block);
            Ok(Some(SourcePart::new(move |raw| {
                let decoded = band.decode(&strip, entered, &raw).map_err(bad);
                drop(permit);
                decoded
            })))
        })
    }

    fn decode(&self, _level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        self.volume.decode(block, raw)
    }
}
