//! The header of MRC2014: 1024 bytes, of which those are read that say what the voxels are.
//!
//! Sources: the MRC2014 format (CCP-EM), and IMOD's description of its own flags.

use serde_json::{Value, json};

use crate::dtype::DataType;
use crate::geometry::Shape;
use crate::length::Unit;
use crate::source::remedy;

/// Bytes of the header.
pub(super) const LENGTH: usize = 1024;
/// By which IMOD marks its files.
const IMOD: u32 = 1_146_047_817;
/// Numbers of space groups from which on a file holds several volumes.
const VOLUME_STACKS: std::ops::RangeInclusive<i32> = 401..=630;

/// What a voxel is stored as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StoredVoxel {
    /// As it is shown.
    pub(super) dtype: DataType,
    /// Bytes of it in the file.
    pub(super) size: usize,
}

/// What a header says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MrcHeader {
    pub(super) big_endian: bool,
    pub(super) stored: StoredVoxel,
    /// `z, y, x`.
    pub(super) shape: Shape,
    /// Where the voxels begin.
    pub(super) offset: u64,
    /// Nanometres per voxel along `z, y, x`.
    pub(super) voxel_size: [Option<f64>; 3],
    /// Its numbers, for people.
    pub(super) told: Value,
}

/// Which field is wrong, and why; what to do where the file is valid and of a variant that is not read.
pub(super) type Wrong = (&'static str, String, Option<&'static str>);

struct Words<'a> {
    bytes: &'a [u8; LENGTH],
    big_endian: bool,
}

impl Words<'_> {
    fn raw(&self, at: usize) -> [u8; 4] {
        let mut word = [0; 4];
        for (byte, stored) in word.iter_mut().zip(self.bytes.iter().skip(at)) {
            *byte = *stored;
        }
        word
    }

    fn whole(&self, at: usize) -> i32 {
        let raw = self.raw(at);
        if self.big_endian { i32::from_be_bytes(raw) } else { i32::from_le_bytes(raw) }
    }

    fn float(&self, at: usize) -> f32 {
        f32::from_bits(self.whole(at) as u32)
    }

    fn three(&self, at: usize) -> [i32; 3] {
        [self.whole(at), self.whole(at + 4), self.whole(at + 8)]
    }
}

impl MrcHeader {
    /// Reads a header.
    pub(super) fn read(bytes: &[u8; LENGTH]) -> Result<MrcHeader, Wrong> {
        let malformed = |field, reason: String| Err((field, reason, None));
        let unsupported = |field, reason: String, remedy: &'static str| Err((field, reason, Some(remedy)));
        let stamp: &[u8] = &bytes[208..214];
        let big_endian = match stamp {
            [b'M', b'A', b'P', _, 0x44, _] => false,
            [b'M', b'A', b'P', _, 0x11, _] => true,
            // Before the year 2000 there was no such stamp: of the two orders one makes sense of the mode and the extents.
            _ => match [false, true].into_iter().find(|&big_endian| is_plausible(&Words { bytes, big_endian })) {
                Some(big_endian) => big_endian,
                None => {
                    return malformed(
                        "header",
                        "not an MRC file (neither a stamp of its byte order nor extents)".into(),
                    );
                }
            },
        };
        let words = Words { bytes, big_endian };
        let mode = words.whole(12);
        let is_imod = words.whole(152) as u32 == IMOD;
        let stored = |dtype: DataType, size| StoredVoxel { dtype, size };
        let stored = match mode {
            // IMOD's bytes are unsigned unless its flag says otherwise.
            0 if is_imod && words.whole(156) & 1 == 0 => stored(DataType::U8, 1),
            0 => stored(DataType::I8, 1),
            1 => stored(DataType::I16, 2),
            2 => stored(DataType::F32, 4),
            6 => stored(DataType::U16, 2),
            // Floats of half the size are shown as those of 32 bits, which hold them exactly.
            12 => stored(DataType::F32, 2),
            3 | 4 => return unsupported("MODE", format!("complex numbers (mode {mode})"), remedy::MRC_COMPLEX),
            16 => return unsupported("MODE", "colours (mode 16)".into(), remedy::MRC_COLOURS),
            101 => return unsupported("MODE", "numbers of four bits (mode 101)".into(), remedy::MRC_FOUR_BITS),
            other => return malformed("MODE", format!("{other} is none that the format has")),
        };
        let mut extents = [0; 3];
        for (extent, (said, name)) in extents.iter_mut().zip(words.three(0).into_iter().zip(["NX", "NY", "NZ"])) {
            match u64::try_from(said) {
                Ok(positive @ 1..) => *extent = positive,
                _ => return malformed(name, format!("{said} voxels")),
            }
        }
        let [x, y, z] = extents;
        match words.three(64) {
            [1, 2, 3] | [0, 0, 0] => {}
            [c, r, s] => {
                let reason = format!("columns, rows and sections along the axes {c}, {r}, {s}");
                return unsupported("MAPC", reason, remedy::MRC_AXES);
            }
        }
        let group = words.whole(88);
        if VOLUME_STACKS.contains(&group) {
            return unsupported("ISPG", format!("a stack of volumes (space group {group})"), remedy::MRC_VOLUMES);
        }
        let extended = words.whole(92);
        let Ok(extended) = u64::try_from(extended) else {
            return malformed("NSYMBT", format!("an extended header of {extended} bytes"));
        };
        let samples = words.three(28);
        let cell = [words.float(40), words.float(44), words.float(48)];
        let size = |axis: usize| {
            let (samples, cell) = (samples[axis], cell[axis]);
            // The nearest number that a person would have written: floats of 32 bits have seven digits.
            let size = (samples > 0).then(|| f64::from(cell) / f64::from(samples)).filter(|size| *size > 0.0)?;
            let short: f64 = format!("{size:.6e}").parse().ok()?;
            Unit::named("Å")?.nanometres(short)
        };
        let told = json!({
            "byte_order": if big_endian { "big-endian" } else { "little-endian" },
            "nx": x, "ny": y, "nz": z, "mode": mode,
            "mx": samples[0], "my": samples[1], "mz": samples[2],
            "cella": cell.map(f64::from), "ispg": group, "nsymbt": extended,
            "dmin": f64::from(words.float(76)), "dmax": f64::from(words.float(80)), "dmean": f64::from(words.float(84)),
            "exttyp": String::from_utf8_lossy(&bytes[104..108]).trim_matches(['\0', ' ']),
        });
        Ok(MrcHeader {
            big_endian,
            stored,
            shape: Shape([z, y, x]),
            offset: LENGTH as u64 + extended,
            voxel_size: [size(2), size(1), size(0)],
            told,
        })
    }
}

/// Whether the mode is one of the format and the extents are some.
fn is_plausible(words: &Words<'_>) -> bool {
    matches!(words.whole(12), 0..=4 | 6 | 12 | 16 | 101)
        && words.three(0).iter().all(|extent| (1..1 << 24).contains(extent))
}
