//! The volume that the pages of a file make up: its blocks, where they lie, and what they decode to.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::ifd::{Header, tags};
use super::index::{self, Index};
use super::page::{Compression, Data, Page, PageFormat, Segments};
use super::read::{AHEAD, ReadAhead, ReadAt};
use super::text::{Dialect, Text};
use super::{decode, dump};
use crate::document::Document;
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, Shape};
use crate::source::planes::band_rows;
use crate::source::{Description, SourceError, SourceLevel};

/// Bytes of the file's start that are read first.
pub(super) const FRONT: u64 = 64 << 10;
/// Longest band of rows that is read as one block, unless a single row is longer.
const MAX_BAND: u64 = 64 << 20;
/// Longest row or uncompressed strip that is accepted.
const MAX_BLOCK: u64 = 1 << 30;

/// An open file.
pub(super) struct Volume {
    name: String,
    pub(super) description: Description,
    big_endian: bool,
    form: PageFormat,
    blocks: Blocks,
    /// Nanometres per voxel along `z, y, x`, where the file says them.
    stated: [Option<f64>; 3],
    pub(super) index: Index,
    /// The first page's tags, for people.
    pub(super) tags: Document,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocks {
    /// Bands of `rows` rows of pages that are one run each.
    Bands { rows: u64 },
    /// Each strip or tile.
    Segments(Segments),
}

impl Volume {
    /// Opens a file of which the first [`FRONT`] bytes (or all, if it is shorter) are `front`.
    pub(super) async fn open(reader: Arc<dyn ReadAt>, front: Bytes) -> Result<Volume, SourceError> {
        let name = reader.name();
        let mut file = ReadAhead::new(reader.clone(), AHEAD);
        file.add(0, front);
        let header = Header::read(&mut file).await?;
        let (ifd, first) = Page::read_at(&mut file, header, header.first, 0).await?;
        let Some(first) = first else {
            let field = ifd.field(tags::NEW_SUBFILE_TYPE);
            return Err(SourceError::unsupported(name, field, "a reduced image as the first page"));
        };
        let form = first.form;
        let resolution =
            [ifd.rational(&mut file, tags::Y_RESOLUTION).await?, ifd.rational(&mut file, tags::X_RESOLUTION).await?];
        let (text, tags) = {
            let _room = file.room(ifd.text_bytes(tags::IMAGE_DESCRIPTION)).await;
            let text = ifd.text(&mut file, tags::IMAGE_DESCRIPTION).await?.unwrap_or_default();
            let text = Text::parse(&text, resolution, [form.height, form.width])
                .map_err(|variant| SourceError::unsupported(&*name, ifd.field(tags::IMAGE_DESCRIPTION), variant))?;
            let tags = ifd.dump(&file);
            file.drop_long();
            (text, tags)
        };
        if text.signed && form.dtype == DataType::U16 {
            tracing::warn!("{name}: ImageJ means these voxels less 32768, as signed ones; they are shown as stored");
        }
        let index = index::find(&mut file, reader, header, &first, &text).await?;

        let shape = Shape([index.pages(), form.height, form.width]);
        if shape.bytes(form.dtype.size()).is_none_or(|bytes| i64::try_from(bytes).is_err()) {
            return Err(SourceError::malformed(name, "page 0, ImageLength", format!("{shape} voxels are too many")));
        }
        let blocks = choose_blocks(&form, first.segments, &index, shape);
        let cell = match blocks {
            Blocks::Bands { rows } | Blocks::Segments(Segments::Strips { rows }) => Shape([1, rows, form.width]),
            Blocks::Segments(Segments::Tiles { height, width }) => Shape([1, height, width]),
        };
        if form.bytes(cell.0[1], cell.0[2]) > MAX_BLOCK {
            let reason = format!("a strip or row of more than {MAX_BLOCK} bytes");
            return Err(SourceError::unsupported(name, "page 0, ImageWidth", reason));
        }
        let description = Description {
            dtype: form.dtype,
            levels: vec![SourceLevel {
                grid: Grid { shape, cell },
                scale: all(text.scale),
                translation: [0.0; 3],
                offset: [0; 3],
            }],
            fill: FillValue::zero(form.dtype),
            window: text.window,
            format: format_name(&header, &form, &first.segments, text.dialect),
            downsampling: None,
            chunked: false,
        };
        let tags = Document::dump("tiff-tags.json", &*name, &dump::document(&header, index.pages(), tags));
        let (big_endian, stated) = (header.big_endian, text.scale);
        Ok(Volume { tags, name, description, big_endian, form, blocks, stated, index })
    }

    /// Completes a voxel size that the file says along some axes only; `missing` is used along the others.
    pub(super) fn complete_voxel_size(&mut self, missing: [Option<f64>; 3]) {
        let stated = self.stated;
        if let (true, Some(level)) = (stated.iter().any(Option::is_some), self.description.levels.first_mut()) {
            level.scale = all(std::array::from_fn(|axis| stated[axis].or(missing[axis])));
        }
    }

    /// The one level's grid.
    pub(super) fn grid(&self) -> Option<Grid> {
        self.description.levels.first().map(|level| level.grid)
    }

    /// Extent of a block in the plane, clipped to the page: rows and columns.
    fn clipped(&self, block: CellIndex) -> Result<(u64, u64), SourceError> {
        match self.grid().filter(|grid| grid.contains(block)) {
            Some(grid) => {
                let [_, rows, columns] = grid.region(block).shape().0;
                Ok((rows, columns))
            }
            None => Err(self.bad(block, "lies outside of the volume".into())),
        }
    }

    fn bad(&self, block: CellIndex, reason: String) -> SourceError {
        SourceError::malformed(&*self.name, format!("page {}, block {block}", block.0[0]), reason)
    }

    /// The bytes of a block.
    pub(super) async fn locate(&self, block: CellIndex) -> Result<Range<u64>, SourceError> {
        let (rows, _) = self.clipped(block)?;
        let [page, down, across] = block.0;
        let data = self.index.page(page, self.form.plane()).await?;
        let data = data.ok_or_else(|| self.bad(block, "lies on a page that the file does not have".into()))?;
        let range = match (self.blocks, &data) {
            (
                Blocks::Bands { rows: band } | Blocks::Segments(Segments::Strips { rows: band }),
                Data::Contiguous(start),
            ) => {
                let before = self.form.bytes(down * band, self.form.width);
                start.checked_add(before).map(|start| (start, self.form.bytes(rows, self.form.width)))
            }
            (Blocks::Segments(segments), Data::Segments(places)) => {
                let number = down * segments.counts(&self.form).1 + across;
                usize::try_from(number).ok().and_then(|number| places.get(number)).copied()
            }
            _ => None,
        };
        let range = range.and_then(|(start, length)| Some(start..start.checked_add(length)?));
        range.ok_or_else(|| self.bad(block, "has its strips elsewhere than the other pages".into()))
    }

    /// The voxels of a block, C order, little-endian, clipped to the page.
    pub(super) fn decode(&self, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let (rows, columns) = self.clipped(block)?;
        let (stored_rows, stored_columns) = match self.blocks {
            Blocks::Segments(Segments::Tiles { height, width }) => (height, width),
            _ => (rows, columns),
        };
        let layout = decode::Layout {
            stored: [stored_rows as usize, stored_columns as usize],
            wanted: [rows as usize, columns as usize],
            item: self.form.dtype.size(),
            big_endian: self.big_endian,
        };
        decode::block(raw, self.form.compression, layout).map_err(|reason| self.bad(block, reason))
    }
}

/// Bands where every page is one run, else the file's own division.
fn choose_blocks(form: &PageFormat, segments: Segments, index: &Index, shape: Shape) -> Blocks {
    if form.compression != Compression::None || !index.all_runs() {
        return Blocks::Segments(segments);
    }
    let mut rows = band_rows(shape, form.dtype);
    while rows > 1 && form.bytes(rows, form.width) > MAX_BAND {
        rows = rows.div_ceil(2);
    }
    Blocks::Bands { rows }
}

fn format_name(header: &Header, form: &PageFormat, segments: &Segments, dialect: Dialect) -> String {
    let mut name = String::from(match dialect {
        Dialect::ImageJ => "ImageJ ",
        Dialect::Ome => "OME-",
        Dialect::Plain | Dialect::Shaped => "",
    });
    name += if header.big_tiff { "BigTIFF" } else { "TIFF" };
    name += if header.big_endian { ", big-endian" } else { ", little-endian" };
    name += match form.compression {
        Compression::None => ", uncompressed",
        Compression::Deflate { predictor: false } => ", deflate",
        Compression::Deflate { predictor: true } => ", deflate with horizontal predictor",
    };
    if let Segments::Tiles { .. } = segments {
        name += ", tiled";
    }
    if form.white_is_zero {
        name += ", white is zero";
    }
    name
}

/// The values along all axes, if none is missing.
fn all([z, y, x]: [Option<f64>; 3]) -> Option<[f64; 3]> {
    Some([z?, y?, x?])
}
