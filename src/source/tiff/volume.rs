//! The volume that the pages of a file make up: its blocks, where they lie, and what they decode to.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::axes::{self, Pages};
use super::band::{self, Band};
use super::blocks::{self, PageRegion};
use super::description;
use super::ifd::{Header, Ifd, tags};
use super::index::{self, Index};
use super::layout::Layout;
use super::page::Page;
use super::page_format::PageFormat;
use super::read::{ReadAhead, ReadAt};
use super::sample::Palette;
use super::set::{FileSet, Set};
use super::storage::{Codec, Data, Segments, Stored};
use super::text::{Dialect, Text};
use super::{Reading, checks, dump, front, microscope};
use crate::document::{Document, DocumentKind};
use crate::dtype::DataType;
use crate::geometry::{CellIndex, Grid, Shape};
use crate::source::planes::{MAX_BAND, all, bounded_band};
use crate::source::{Description, SourceError, SourceLevel, StorageFormat};

/// Bytes of the file's start that are read first.
pub(super) const FRONT: u64 = 64 << 10;
/// Longest row or strip that is accepted.
const MAX_BLOCK: u64 = 1 << 30;
/// Strips that lie so far apart are not read together.
const APART: u64 = 64 << 10;

/// An open file.
pub(super) struct Volume {
    name: String,
    pub(super) reader: Arc<dyn ReadAt>,
    pub(super) description: Description,
    big_endian: bool,
    pub(super) form: PageFormat,
    /// Nanometres per voxel along `z, y, x`, where the file says them or else the configuration.
    pub(super) voxel_size: [Option<f64>; 3],
    pages: Pages,
    pub(super) index: Index,
    /// The first page's tags, for people; none of a section beside one that is told.
    pub(super) tags: Option<Document>,
    /// The files that hold the planes of the volume, where it is divided so.
    pub(super) set: Option<FileSet>,
    /// What files of other planes may be like.
    pub(super) layout: Option<Layout>,
}

impl Volume {
    /// Opens a file of which the first [`FRONT`] bytes (or all, if it is shorter), or else those that were foreseen, were read.
    pub(super) async fn open(mut file: ReadAhead, reading: Reading<'_>) -> Result<Volume, SourceError> {
        let (name, reader) = (file.name(), file.reader());
        let header = Header::read(&mut file).await?;
        let told = reading.is_told();
        let (header, mut ifd, mut first) = front::first_page(&mut file, header, told).await?;
        // A smaller picture before the others is one for looking at them, though it is not marked as such.
        if reading.section.is_some()
            && reading.pages.is_none()
            && let Some(larger) = front::larger_later(&mut file, header, &first, told).await?
        {
            (ifd, first) = larger;
        }
        let error = match Self::of_page(&mut file, &reader, header, (&ifd, &first), reading).await {
            Err(error) => error,
            Ok(volume) => {
                let is_plain = first.stored.storage.codec == Codec::None;
                let layout = file.reached().and_then(|reached| Layout::new(file.total(), reached, is_plain));
                return Ok(Volume { layout, ..volume });
            }
        };
        // Of a section that was seen before. In a file of many pages it is seen by this error, that they are unlike the first.
        let larger = match reading.section {
            None => front::larger_later(&mut file, header, &first, told).await?,
            Some(_) => None,
        };
        match larger {
            Some((ifd, larger)) => Self::of_page(&mut file, &reader, header, (&ifd, &larger), reading).await,
            None => {
                tracing::debug!("{name}: {error}");
                Err(error)
            }
        }
    }

    /// Opens a file whose first page of the volume is this one.
    async fn of_page(
        file: &mut ReadAhead,
        reader: &Arc<dyn ReadAt>,
        header: Header,
        (ifd, first): (&Ifd, &Page),
        reading: Reading<'_>,
    ) -> Result<Volume, SourceError> {
        let (name, form) = (file.name(), first.form);
        let refused = |variant| SourceError::unsupported(&*name, ifd.field(tags::IMAGE_DESCRIPTION), variant);
        let told = reading.is_told();
        let (text, scale, tags) = described(file, ifd, first, reading).await?;
        if told && text.signed && form.dtype == DataType::U16 {
            tracing::warn!("{name}: ImageJ means these voxels less 32768, as signed ones; they are shown as stored");
        }
        if told && first.palette == Some(Palette::Colours) {
            tracing::warn!("{name}: its table of colours is left out, the numbers that it is applied to are shown");
        }
        let set = match (&text.set, reading.section.is_some() || reading.pages.is_some()) {
            (Some(Set::Other(what)), true) if told && scale == [None; 3] => {
                tracing::warn!(
                    "{name}: {what}, which is not read; the voxel size that it says is to be written by `voxel_size`"
                );
                None
            }
            (None, _) | (_, true) => None,
            (Some(Set::Planes(planes)), false) => {
                let pages = axes::choose(&text, planes.len(), reading.choice).map_err(refused)?;
                Some((planes.chosen(pages.numbers(), scale), pages.warning))
            }
            (Some(Set::One(named)), false) if front::is_named(&name, named) => None,
            (Some(Set::One(named)), false) => {
                let remedy = "if that is this file, give it that name, else name that one by `url`";
                return Err(refused(format!("a file whose planes by its description are in {named:?} ({remedy})")));
            }
            (Some(Set::Other(what)), false) => {
                let remedy = "name the files of a plane each in the order of z by `urls`, or their folder by `url`";
                return Err(refused(format!("a part of an image ({what}; {remedy})")));
            }
        };
        if let Some(names) = reading.folder.filter(|_| told)
            && let Some(warning) = front::of_folder(&text, names, reading.choice).map_err(refused)?
        {
            tracing::warn!("{name}: {warning}");
        }
        let (index, pages, set) = match set {
            Some((set, warning)) => {
                if set.is_of_single_pages {
                    front::only_page(file, header, first, &text).await?;
                }
                (Index::One(first.stored.clone()), Pages { warning, ..Pages::ONE }, Some(set))
            }
            None if reading.section.is_some() && reading.pages.is_none() => {
                front::only_page(file, header, first, &text).await?;
                let said = text.pages.filter(|said| told && *said > 1 && !matches!(text.set, Some(Set::Planes(_))));
                if let Some(said) = said {
                    tracing::warn!(
                        "{name}: its description speaks of {said} pages; a section is the one page of its file"
                    );
                }
                (Index::One(first.stored.clone()), Pages::ONE, None)
            }
            None => {
                let index = index::find(file, reader.clone(), header, first, &text, reading.show_cut).await?;
                let pages = axes::choose(&text, index.pages(), reading.choice).map_err(refused)?;
                (index, pages, None)
            }
        };
        if let Some(warning) = &pages.warning {
            tracing::warn!("{name}: {warning}");
        }
        checks::warn_of_unwritten(file, ifd, first, (&index, told)).await?;
        if told && first.stored.storage.codec == Codec::Jpeg {
            checks::check_jpeg(file, ifd, first).await?;
        }
        if let Some([height, width]) = text.other_plane.filter(|_| told) {
            tracing::warn!(
                "{name}: its description is of an image of {height}×{width} pixels, not of these {}×{}, so that the size of a \
                 voxel that it states is not told",
                form.height,
                form.width
            );
        }
        for unit in text.units.iter().filter(|_| told) {
            tracing::warn!("{name}: the unit {unit:?} is none of length that is known, so what is in it is not told");
        }
        let shape = Shape([pages.count, form.height, form.width]);
        if shape.bytes(form.dtype.size()).is_none_or(|bytes| i64::try_from(bytes).is_err()) {
            return Err(SourceError::malformed(name, "page 0, ImageLength", format!("{shape} voxels are too many")));
        }
        let given = reading.section.and_then(|section| section.cell);
        let cell = given.unwrap_or_else(|| choose_cell(&form, &first.stored, &index, shape, reading.section.is_none()));
        if form.bytes(cell.0[1], cell.0[2]) > MAX_BLOCK {
            let reason = format!("a strip or row of more than {MAX_BLOCK} bytes");
            return Err(SourceError::unsupported(name, "page 0, ImageWidth", reason));
        }
        let voxel_size = std::array::from_fn(|axis| match reading.missing[axis] {
            Some(said) if axis == 0 && text.is_depth_taken => Some(said),
            missing => scale[axis].or(missing),
        });
        let description = Description {
            dtype: form.dtype,
            levels: vec![SourceLevel {
                grid: Grid { shape, cell },
                scale: all(voxel_size).filter(|_| scale != [None; 3]),
                translation: [0.0; 3],
                offset: [0; 3],
            }],
            fill: first.stored.storage.fill,
            window: text.window_of(form.dtype),
            format: storage_format(&header, first, text.dialect, &index),
            downsampling: None,
            chunked: false,
        };
        let tags = given
            .is_none()
            .then(|| Document::dump(DocumentKind::TiffTags, &*name, &dump::document(&header, index.pages(), tags)));
        let big_endian = header.big_endian;
        let reader = reader.clone();
        Ok(Volume { tags, name, reader, description, big_endian, form, voxel_size, pages, index, set, layout: None })
    }

    /// The one level's grid.
    pub(super) fn grid(&self) -> Option<Grid> {
        self.description.levels.first().map(|level| level.grid)
    }

    /// A block of the page on which it is, clipped to that.
    fn page_region(&self, block: CellIndex) -> Result<(u64, PageRegion), SourceError> {
        let Some(grid) = self.grid().filter(|grid| grid.contains(block)) else {
            return Err(self.bad(block, "lies outside of the volume".into()));
        };
        let region = grid.region(block);
        let range = |axis: usize| region.start[axis]..region.end[axis];
        let page = self.pages.first.saturating_add(block.0[0].saturating_mul(self.pages.step));
        Ok((page, PageRegion { rows: range(1), columns: range(2) }))
    }

    pub(super) fn bad(&self, block: CellIndex, reason: String) -> SourceError {
        self.malformed(block)(reason)
    }

    /// Makes an error of what is wrong with a block.
    pub(super) fn malformed(&self, block: CellIndex) -> impl FnOnce(String) -> SourceError + use<> {
        let name = self.name.clone();
        move |reason| SourceError::malformed(name, format!("page {}, block {block}", block.0[0]), reason)
    }

    /// How the page of a block is stored, and what of it the block is.
    async fn stored(&self, block: CellIndex) -> Result<(u64, PageRegion, Stored), SourceError> {
        let (page, region) = self.page_region(block)?;
        let stored = self.index.page(page).await?;
        let stored = stored.ok_or_else(|| self.bad(block, "lies on a page that the file does not have".into()))?;
        Ok((page, region, stored))
    }

    /// Whether blocks are bands of strips that are too long to be unpacked as a whole.
    pub(super) fn has_long_strips(&self) -> bool {
        self.rows() < self.form.height && are_long_strips(&self.form, &self.index)
    }

    /// The band of such a strip that a block is, where it is one.
    pub(super) async fn band(&self, block: CellIndex) -> Result<Option<Band>, SourceError> {
        let (page, region, stored) = self.stored(block).await?;
        Ok(Band::of(page, &stored, self.form, (region.rows.start, self.rows()), self.big_endian))
    }

    /// Rows of a block that is not clipped.
    fn rows(&self) -> u64 {
        self.grid().map_or(self.form.height, |grid| grid.cell.0[1])
    }

    /// The bytes of a block; `None` where none of it was ever written.
    pub(super) async fn locate(&self, block: CellIndex) -> Result<Option<Range<u64>>, SourceError> {
        let (_, region, stored) = self.stored(block).await?;
        let range = blocks::locate(&stored, &self.form, &region).map_err(|reason| self.bad(block, reason))?;
        if range.is_none() && stored.storage.fill != self.description.fill {
            return Err(self.bad(block, "was never written, and is of another GDAL_NODATA than page 0".into()));
        }
        Ok(range)
    }

    /// The voxels of a block, C order, little-endian, clipped to the page.
    pub(super) fn decode(&self, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let (page, region) = self.page_region(block)?;
        let stored = self.index.at_hand(page);
        let stored = stored.ok_or_else(|| self.bad(block, "lies on a page that was not found".into()))?;
        blocks::decode(&stored, &self.form, &region, raw, self.big_endian).map_err(|reason| self.bad(block, reason))
    }
}

/// What the first page's tags say of the volume: its description, nanometres per voxel, and the tags for people.
async fn described(
    file: &mut ReadAhead,
    ifd: &Ifd,
    first: &Page,
    reading: Reading<'_>,
) -> Result<(Text, [Option<f64>; 3], serde_json::Value), SourceError> {
    let form = first.form;
    let per_unit = [ifd.rational(file, tags::Y_RESOLUTION).await?, ifd.rational(file, tags::X_RESOLUTION).await?];
    let unit = match ifd.unsigned(file, tags::RESOLUTION_UNIT).await {
        Err(SourceError::Remote(error)) => return Err(error.into()),
        read_or_broken => read_or_broken.ok().flatten().and_then(|units| units.first().copied()),
    };
    let microscope = microscope::pixel_size(file, ifd, form.width).await?;
    let resolution = microscope::resolution(per_unit, unit.unwrap_or(2));
    let _share = file.reserve(ifd.text_bytes(tags::IMAGE_DESCRIPTION)).await;
    let text = description::read(file, ifd, (per_unit, [form.height, form.width]), reading).await?;
    let tags = ifd.dump(file);
    file.drop_long();
    let text = match reading.pages {
        Some(pages) => {
            Text { pages: None, axes: Vec::new(), one_run: false, order: Some(pages.clone()), set: None, ..text }
        }
        None => text,
    };
    let [z, y, x] = text.scale;
    // ImageJ's own resolution is in its own unit, whatever the tag of the unit says; others write its lines without a unit.
    let is_own = text.dialect == Dialect::ImageJ && (text.states_unit || unit.is_none());
    let resolution = if is_own { [None; 2] } else { resolution };
    let scale = [z, microscope[0].or(y).or(resolution[0]), microscope[1].or(x).or(resolution[1])];
    Ok((text, scale, tags))
}

/// Bands where every page is one run or, if that `may_be_long`, one long strip; else the file's own division where all pages
/// have one, else whole rows.
fn choose_cell(form: &PageFormat, first: &Stored, index: &Index, shape: Shape, may_be_long: bool) -> Shape {
    let band = bounded_band(shape, form.dtype, |rows| form.bytes(rows, form.width));
    let ways = index.ways();
    let segments = first.storage.segments;
    let is_run = |stored: &&Stored| matches!(stored.data, Data::Contiguous(_));
    if ways.iter().all(is_run) {
        return Shape([1, band, form.width]);
    }
    if ways.iter().all(|stored| stored.storage.segments == segments && !is_run(stored)) {
        let (rows, width) = segments.whole(form);
        let packed = ways.iter().all(|stored| stored.storage.codec != Codec::None && is_contiguous(&stored.data));
        let rows = match segments {
            Segments::Strips { .. } if may_be_long && are_long_strips(form, index) => {
                band::band_rows(form.height, form.bytes(form.height, form.width), band)
            }
            // Short strips that lie one after the other are read together.
            Segments::Strips { .. } if packed => rows.saturating_mul((band / rows).max(1)).min(form.height),
            _ => rows,
        };
        return Shape([1, rows, width]);
    }
    let rows = |stored: &&Stored| if is_run(stored) { band } else { stored.storage.segments.whole(form).0 };
    let rows = ways.iter().map(rows).max().unwrap_or(band).min(form.height);
    let fits = form.bytes(rows, form.width) <= MAX_BAND;
    Shape([1, if fits { rows } else { band }, form.width])
}

/// Whether every page is one strip that is too long to be unpacked as a whole, as far as they are known.
fn are_long_strips(form: &PageFormat, index: &Index) -> bool {
    let ways = index.ways();
    !ways.is_empty() && ways.iter().all(|stored| band::long_strip(form, stored).is_some())
}

/// Whether strips lie one after the other.
fn is_contiguous(data: &Data) -> bool {
    match data {
        Data::Contiguous(_) => true,
        Data::Segments(places) => places.windows(2).all(|pair| {
            let ((start, length), (next, _)) = (pair[0], pair[1]);
            let end = start.saturating_add(length);
            start > 0 && (end..=end.saturating_add(APART)).contains(&next)
        }),
    }
}

fn storage_format(header: &Header, first: &Page, dialect: Dialect, index: &Index) -> StorageFormat {
    let mut name = String::from(match dialect {
        Dialect::ImageJ => "ImageJ ",
        Dialect::Ome => "OME-",
        Dialect::Plain | Dialect::Shaped => "",
    });
    name += if header.big_tiff { "BigTIFF" } else { "TIFF" };
    name += if header.big_endian { ", big-endian" } else { ", little-endian" };
    let storage = &first.stored.storage;
    name += &format!(", {storage}");
    let is_packed = storage.bits != 8 * first.form.dtype.size() as u64;
    if is_packed {
        name += &format!(", {} bits", storage.bits);
    }
    let is_tiled = matches!(storage.segments, Segments::Tiles { .. });
    if is_tiled {
        name += ", tiled";
    }
    if first.palette == Some(Palette::Colours) {
        name += ", without its table of colours";
    }
    if first.form.white_is_zero {
        name += ", white is zero";
    }
    if let Index::Contiguous { pages, there, .. } = index
        && there > pages
    {
        name += &format!(", the first {pages} of at least {there} pages");
    }
    let is_uncompressed = storage.codec == Codec::None;
    let is_plain = is_uncompressed && !is_packed && !is_tiled;
    StorageFormat { name, is_uncompressed, is_plain, left_out: Vec::new(), unwritten: None }
}
