//! What a voxel is stored as, and what it is shown as.
//!
//! Sources: the MRC2014 format (CCP-EM), and IMOD's description of its own flags with the rules by which its library
//! (`mrc_head_read`, `readBytesSigned`) reads files of others.

use super::words::{Words, Wrong};
use crate::dtype::DataType;
use crate::source::remedy;

/// By which IMOD marks its files.
const IMOD: u32 = 1_146_047_817;
/// Of IMOD's flags: bytes are signed.
const SIGNED: i32 = 1;
/// Of IMOD's flags: a byte holds two numbers.
const HALVED: i32 = 16;
/// What SerialEM writes into the only label of a file whose bytes hold two numbers.
const HALVED_LABEL: &[u8] = b"4 bits packed";
/// Sides of the frames that it writes so, one of each, of which the first is stored half as long.
const HALVED_FRAMES: [[i64; 2]; 3] = [[7676, 7420], [7680, 7424], [11520, 8184]];
/// By so much the sides of a frame may differ.
const FRAME_TOLERANCE: i64 = 2;

/// What a voxel is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredVoxel {
    /// As it is shown.
    pub(super) dtype: DataType,
    /// Of it in the file. Of two in a byte the first is in the lower half; rows begin at whole bytes.
    pub(super) bits: u8,
}

impl StoredVoxel {
    /// Bytes of it in the file, at least one.
    pub(super) fn size(&self) -> usize {
        usize::from(self.bits).div_ceil(8)
    }

    /// Whether two of them share a byte.
    pub(super) fn is_halved(&self) -> bool {
        self.bits == 4
    }
}

/// What a header says of its voxels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SaidVoxel {
    pub(super) stored: StoredVoxel,
    /// Voxels for each column that the header counts.
    pub(super) per_column: u64,
    /// Why bytes are taken for unsigned that the format has signed.
    pub(super) doubt: Option<String>,
}

/// Bits of a voxel of a mode.
pub(super) fn bits(mode: i32) -> Option<u64> {
    match mode {
        101 => Some(4),
        0 => Some(8),
        1 | 6 | 12 => Some(16),
        16 => Some(24),
        2 | 3 => Some(32),
        4 => Some(64),
        _ => None,
    }
}

/// What the voxels are. `like`: what those of the first section of a volume are.
pub(super) fn said(words: &Words<'_>, like: Option<DataType>) -> Result<SaidVoxel, Wrong> {
    let as_said = |dtype, bits| Ok(SaidVoxel { stored: StoredVoxel { dtype, bits }, per_column: 1, doubt: None });
    match words.whole(12) {
        0 => bytes(words, like),
        1 => as_said(DataType::I16, 16),
        2 => as_said(DataType::F32, 32),
        6 => as_said(DataType::U16, 16),
        // Floats of half the size are shown as those of 32 bits, which hold them exactly.
        12 => as_said(DataType::F32, 16),
        101 => as_said(DataType::U8, 4),
        mode @ (3 | 4) => Err(("MODE", format!("complex numbers (mode {mode})"), Some(remedy::MRC_COMPLEX))),
        16 => Err(("MODE", "colours (mode 16)".into(), Some(remedy::MRC_COLOURS))),
        other => Err(("MODE", format!("{other} is none that the format has"), None)),
    }
}

/// Bytes: signed, unsigned, or two numbers each.
fn bytes(words: &Words<'_>, like: Option<DataType>) -> Result<SaidVoxel, Wrong> {
    let flags = (words.whole(152) as u32 == IMOD).then(|| words.whole(156));
    let (lowest, highest) = (words.float(76), words.float(80));
    let (mut per_column, mut bits, mut doubt) = (1, 8, None);
    let dtype = match flags {
        Some(flags) if flags & SIGNED == 0 => DataType::U8,
        Some(_) => DataType::I8,
        // Two kinds of writers disagree here; what cannot be is what int8 cannot hold.
        None if lowest >= 0.0 && highest > 127.0 && highest <= 255.0 => {
            doubt = Some(format!(
                "mode 0 is int8, but the header says values from {lowest} to {highest}, which only uint8 holds, so they are \
                 shown as uint8, as IMOD reads them"
            ));
            DataType::U8
        }
        // The same in both.
        None if lowest >= 0.0 && highest >= lowest && highest <= 127.0 && like == Some(DataType::U8) => DataType::U8,
        None => DataType::I8,
    };
    let is_halved =
        flags.map_or_else(|| is_labelled_halved(words), |flags| flags & HALVED != 0 || is_labelled_halved(words));
    if is_halved {
        if flags.is_some() && dtype == DataType::I8 {
            let reason =
                "two numbers of 4 bits in each byte (flag 16) that is signed (flag 1), which contradict each other";
            return Err(("imodFlags", reason.into(), Some(remedy::MRC_FLAGS)));
        }
        (per_column, bits, doubt) = (2, 4, None);
    }
    let dtype = if is_halved { DataType::U8 } else { dtype };
    Ok(SaidVoxel { stored: StoredVoxel { dtype, bits }, per_column, doubt })
}

/// Whether SerialEM's label says that bytes hold two numbers, where the extents are those of frames that it writes so: other
/// programs copy labels.
fn is_labelled_halved(words: &Words<'_>) -> bool {
    let label = words.bytes().get(224..304).unwrap_or_default();
    let is_labelled = words.whole(220) == 1 && label.windows(HALVED_LABEL.len()).any(|part| part == HALVED_LABEL);
    let [width, height, _] = words.three(0).map(i64::from);
    let is_near = |side: i64, frame: i64| (side - frame).abs() <= FRAME_TOLERANCE;
    let is_frame = |[x, y]: [i64; 2]| is_near(width, x / 2) && is_near(height, y);
    is_labelled && HALVED_FRAMES.into_iter().any(|[one, other]| is_frame([one, other]) || is_frame([other, one]))
}

/// The numbers of rows of `width` voxels, two in each byte.
pub(super) fn unhalved(rows: &[u8], width: u64) -> Vec<u8> {
    let width = usize::try_from(width).unwrap_or(usize::MAX);
    let mut voxels = Vec::with_capacity(rows.len().saturating_mul(2));
    for row in rows.chunks_exact(width.div_ceil(2).max(1)) {
        voxels.extend(row.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(width));
    }
    voxels
}
