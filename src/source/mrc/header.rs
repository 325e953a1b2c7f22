//! The header of MRC2014: 1024 bytes, of which those are read that say what the voxels are.
//!
//! Sources: the MRC2014 format (CCP-EM), and IMOD's description of its own flags.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::voxel::{self, SaidVoxel, StoredVoxel};
use super::words::{LENGTH, Words, Wrong};
use crate::dtype::DataType;
use crate::geometry::Shape;
use crate::length::Unit;
use crate::source::remedy;

/// Numbers of space groups from which on a file holds several volumes.
const VOLUME_STACKS: std::ops::RangeInclusive<i32> = 401..=630;

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
    /// Why its bytes are taken for unsigned that the format has signed.
    pub(super) doubt: Option<String>,
    /// Its numbers, for people.
    pub(super) told: Value,
}

impl MrcHeader {
    /// Reads the header of a file of `total` bytes. `like`: what the voxels of the first section of a volume are.
    pub(super) fn read(bytes: &[u8; LENGTH], total: u64, like: Option<DataType>) -> Result<MrcHeader, Wrong> {
        let malformed = |field, reason: String| Err((field, reason, None));
        let unsupported = |field, reason: String, remedy: &'static str| Err((field, reason, Some(remedy)));
        let stamp: &[u8] = &bytes[208..214];
        let words = |big_endian| Words::new(bytes, big_endian);
        let big_endian = match stamp {
            [b'M', b'A', b'P', _, 0x44, _] => false,
            [b'M', b'A', b'P', _, 0x11, _] => true,
            _ => match [false, true].map(|big_endian| likelihood(&words(big_endian), total)) {
                [Likelihood::None, Likelihood::None] => {
                    return malformed(
                        "header",
                        "not an MRC file (neither a stamp of its byte order nor extents)".into(),
                    );
                }
                [little, big] => big > little,
            },
        };
        let words = words(big_endian);
        let mode = words.whole(12);
        let SaidVoxel { stored, per_column, doubt } = voxel::said(&words, like)?;
        let mut extents = [0; 3];
        for (extent, (said, name)) in extents.iter_mut().zip(words.three(0).into_iter().zip(["NX", "NY", "NZ"])) {
            match u64::try_from(said) {
                Ok(positive @ 1..) => *extent = positive,
                _ => return malformed(name, format!("{said} voxels")),
            }
        }
        let [columns, y, z] = extents;
        // IMOD counts bytes and not voxels where each holds two, in the cell as well.
        let x = columns * per_column;
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
        let mut told = json!({
            "byte_order": if big_endian { "big-endian" } else { "little-endian" },
            "nx": columns, "ny": y, "nz": z, "mode": mode,
            "mx": samples[0], "my": samples[1], "mz": samples[2],
            "cella": cell.map(f64::from), "ispg": group, "nsymbt": extended,
            "dmin": f64::from(words.float(76)), "dmax": f64::from(words.float(80)), "dmean": f64::from(words.float(84)),
            "exttyp": String::from_utf8_lossy(&bytes[104..108]).trim_matches(['\0', ' ']),
        });
        if per_column > 1 {
            told["voxels_per_row"] = x.into();
        }
        Ok(MrcHeader {
            big_endian,
            stored,
            shape: Shape([z, y, x]),
            offset: LENGTH as u64 + extended,
            voxel_size: [size(2), size(1), size(0)],
            doubt,
            told,
        })
    }
}

/// How much sense a header makes in a byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likelihood {
    None,
    /// Its mode is one of the format and its extents are some.
    Possible,
    /// The voxels that it says lie in the file.
    Within,
    /// They end where the file does.
    Exact,
}

/// Before the year 2000 there was no stamp of the byte order. Mode 0 is the same in both, and extents may be some in both, of
/// which the length of the file bears one out.
fn likelihood(words: &Words<'_>, total: u64) -> Likelihood {
    let extents = words.three(0);
    let is_possible = extents.iter().all(|extent| (1..1 << 24).contains(extent));
    let Some(bits) = voxel::bits(words.whole(12)).filter(|_| is_possible) else { return Likelihood::None };
    let [x, y, z] = extents.map(|extent| u128::from(extent.unsigned_abs()));
    let extended = u128::from(words.whole(92).unsigned_abs());
    let end = LENGTH as u128 + extended + (x * u128::from(bits)).div_ceil(8) * y * z;
    match end.cmp(&u128::from(total)) {
        Ordering::Equal => Likelihood::Exact,
        Ordering::Less => Likelihood::Within,
        Ordering::Greater => Likelihood::Possible,
    }
}
