//! Volumes in MRC files: the format of CCP4 maps and of IMOD, in which most of EMPIAR's volumes come.
//!
//! All voxels lie in one run behind the header and its extension. Blocks are bands of rows.

mod header;
#[cfg(test)]
mod tests;
mod voxel;
mod words;

use self::header::MrcHeader;
use self::voxel::StoredVoxel;
use self::words::LENGTH;
use super::{Description, SourceError, SourceLevel, StorageFormat, foreign};
use crate::document::{Document, DocumentKind};
use crate::dtype::{DataType, FillValue, widened};
use crate::geometry::{Grid, Shape};
use crate::source::contiguous::{Contiguous, ContiguousSource, Conversion};
use crate::source::planes::{all, bounded_band};
use crate::store::{Object, is_past_caches};

/// Longest row that is accepted.
const MAX_ROW: u64 = 1 << 30;

/// How a file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct MrcReading {
    /// Nanometres per voxel along `z, y, x` for the axes along which a file says none.
    pub missing: [Option<f64>; 3],
    /// Whether the whole sections of a file that is cut are shown.
    pub show_cut: bool,
    /// Whether its header is kept for people.
    pub told: bool,
    /// Where it is a further section of a volume: what voxels of the first one are.
    pub like: Option<DataType>,
}

/// Opens a file.
pub async fn open(object: Object, reading: MrcReading) -> Result<ContiguousSource, SourceError> {
    let front = object.start(LENGTH as u64).await?;
    let bad = |field: &str, reason: String| SourceError::malformed(object.url(), field, reason);
    let total = front.total.ok_or_else(|| bad("header", "the length of the file is not known".into()))?;
    let Some(bytes) = front.bytes.first_chunk::<LENGTH>() else {
        return Err(bad("header", format!("a file of {total} bytes is shorter than the {LENGTH} of a header")));
    };
    let mut header = MrcHeader::read(bytes, total, reading.like).map_err(|(field, reason, remedy)| {
        match (foreign::of_bytes(bytes).filter(|what| !what.starts_with("MRC")), remedy) {
            (Some(what), _) => bad("header", format!("not an MRC file but {what}")),
            (None, Some(remedy)) => SourceError::unsupported(object.url(), field, reason).with_remedy(remedy),
            (None, None) => bad(field, reason),
        }
    })?;
    let [depth, height, width] = header.shape.0;
    let StoredVoxel { dtype, .. } = header.stored;
    let columns = if header.stored.is_halved() { width.div_ceil(2) } else { width };
    let row = width.saturating_mul(header.stored.size().max(dtype.size()) as u64);
    let is_large = |shape: Shape| shape.bytes(8).is_none_or(|bytes| i64::try_from(bytes).is_err());
    if is_large(header.shape) || row > MAX_ROW {
        let reason = format!("a volume of {} voxels", header.shape);
        return Err(SourceError::unsupported(object.url(), "NX", reason));
    }
    let plane = height * columns * header.stored.size() as u64;
    let there = total.saturating_sub(header.offset) / plane;
    if there < depth {
        if !(reading.show_cut && there > 0 && is_past_caches()) {
            let reason = format!(
                "{depth} sections of {plane} bytes from {} on do not lie in the file of {total} bytes, so section {there} is \
                 the first one missing; `truncated = \"show\"` shows those before it",
                header.offset
            );
            return Err(bad("NZ", reason));
        }
        tracing::warn!("{}: only {there} of its {depth} sections are there and shown", object.url());
        header.shape.0[0] = there;
    }
    if let Some(doubt) = header.doubt.filter(|_| reading.told) {
        tracing::warn!("{}: {doubt}", object.url());
    }
    let band = bounded_band(header.shape, dtype, |rows| rows.saturating_mul(row));
    let voxel_size = std::array::from_fn(|axis| header.voxel_size[axis].or(reading.missing[axis]));
    let scale = all(voxel_size).filter(|_| header.voxel_size != [None; 3]);
    let grid = Grid { shape: header.shape, cell: Shape([1, band, width]) };
    let order = if header.big_endian { "big-endian" } else { "little-endian" };
    let is_half = header.stored.size() < dtype.size();
    let is_halved = header.stored.is_halved();
    let stored = match (is_half, is_halved) {
        (true, _) => "floats of 16 bits",
        (_, true) => "4 bits",
        _ => "uncompressed",
    };
    let name = format!("MRC, {order}, {stored}");
    let is_plain = !is_half && !is_halved;
    let format = StorageFormat { name, is_uncompressed: is_plain, is_plain, left_out: Vec::new(), unwritten: None };
    let description = Description {
        dtype,
        levels: vec![SourceLevel { grid, scale, translation: [0.0; 3], offset: [0; 3] }],
        fill: FillValue::zero(dtype),
        window: None,
        format,
        downsampling: None,
        chunked: false,
    };
    let document = reading
        .told
        .then(|| Document::dump(DocumentKind::MrcHeader, object.url(), &header.told).retrieved_at(object.confirmed()));
    let MrcHeader { offset, big_endian, stored, .. } = header;
    let [depth, ..] = grid.shape.0;
    let columns = Grid { shape: Shape([depth, height, columns]), cell: Shape([1, band, columns]) };
    let voxels = Contiguous { object, grid: columns, offset, item: stored.size(), big_endian, field: "voxels" };
    let conversion: Option<Conversion> = match (is_half, is_halved) {
        (_, true) => Some(Box::new(move |numbers| voxel::unhalved(&numbers, width).into())),
        (true, _) => Some(Box::new(|numbers| widened(&numbers).into())),
        _ => None,
    };
    Ok(ContiguousSource { voxels, conversion, description, document, voxel_size })
}
