//! From the packed bytes of a strip or tile to the numbers that were packed. Nothing grows beyond what is expected.

use std::borrow::Cow;

use bytes::Bytes;
use flate2::Decompress;
use weezl::decode::{Configuration, Decoder};
use weezl::{BitOrder, LzwStatus};

use super::storage::Codec;
use crate::decompress::{InflateError, inflate, unzstd};
use crate::source::jpeg;

/// How many bytes a strip or tile has once it is unpacked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// At least; the others are not needed.
    pub(super) needed: usize,
    /// At the most: the last strip may be stored with as many rows as the others.
    pub(super) most: usize,
    /// Of a row.
    pub(super) row: usize,
}

/// Exactly the bytes that are needed.
pub(super) fn unpack(raw: &[u8], codec: Codec, tables: Option<&Bytes>, size: Size) -> Result<Vec<u8>, String> {
    match codec {
        Codec::None => Ok(raw.to_vec()),
        Codec::Deflate => unzlib(raw, size),
        Codec::Lzw => lzw(raw, size.needed),
        Codec::PackBits => pack_bits(raw, size.needed),
        Codec::Zstd => zstandard(raw, size),
        Codec::Jpeg => grey_jpeg(raw, tables, size),
    }
}

/// A zeroed buffer of so many bytes; what is claimed of a file was checked against its length.
fn zeroed(bytes: usize) -> Result<Vec<u8>, String> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| format!("no memory for {bytes} bytes"))?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}

/// A whole zlib stream.
fn unzlib(raw: &[u8], size: Size) -> Result<Vec<u8>, String> {
    let mut voxels = Vec::new();
    voxels.try_reserve_exact(size.needed).map_err(|_| format!("no memory for {} bytes", size.needed))?;
    match inflate(Decompress::new(true), raw, size.most, &mut voxels) {
        Ok(_) if voxels.len() < size.needed => {
            return Err(format!("deflate data of {} bytes where {} are expected", voxels.len(), size.needed));
        }
        Ok(_) => voxels.truncate(size.needed),
        Err(InflateError::TooLong(most)) => {
            return Err(format!("deflate data of more than the {most} bytes expected"));
        }
        Err(InflateError::CutOff(made)) => {
            return Err(format!("deflate data that ends after {made} of {} bytes", size.needed));
        }
        Err(error) => return Err(format!("broken deflate data: {error}")),
    }
    Ok(voxels)
}

/// LZW as TIFF 6.0 has it, or as writers had it before that, which libtiff tells by the first code. Not every writer marks
/// the end, so the bytes end where enough are there.
fn lzw(raw: &[u8], needed: usize) -> Result<Vec<u8>, String> {
    let is_old = raw.first() == Some(&0) && raw.get(1).is_some_and(|byte| byte & 1 == 1);
    let configuration = match is_old {
        true => Configuration::new(BitOrder::Lsb, 8),
        false => Configuration::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let mut decoder: Decoder = configuration.with_yield_on_full_buffer(true).build();
    let mut voxels = zeroed(needed)?;
    let (mut read, mut made) = (0, 0);
    while made < needed {
        let (input, output) = (raw.get(read..).unwrap_or_default(), voxels.get_mut(made..).unwrap_or_default());
        let step = decoder.decode_bytes(input, output);
        (read, made) = (read + step.consumed_in, made + step.consumed_out);
        match step.status {
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(error) => return Err(format!("broken LZW data: {error}")),
        }
    }
    if made < needed { Err(format!("LZW data that ends after {made} of {needed} bytes")) } else { Ok(voxels) }
}

/// PackBits (TIFF 6.0, section 9): runs of bytes as they are, and of one byte again and again.
fn pack_bits(raw: &[u8], needed: usize) -> Result<Vec<u8>, String> {
    let mut voxels = Vec::new();
    voxels.try_reserve_exact(needed).map_err(|_| format!("no memory for {needed} bytes"))?;
    let mut rest = raw;
    while voxels.len() < needed {
        let left = needed - voxels.len();
        let Some((&header, after)) = rest.split_first() else { break };
        rest = match header {
            0..=127 => {
                let length = usize::from(header) + 1;
                let Some((run, after)) =
                    after.split_at_checked(length.min(after.len())).filter(|(run, _)| run.len() == length)
                else {
                    break;
                };
                voxels.extend_from_slice(run.get(..left).unwrap_or(run));
                after
            }
            128 => after,
            129..=255 => {
                let Some((&byte, after)) = after.split_first() else { break };
                let length = 257 - usize::from(header);
                voxels.resize(voxels.len() + length.min(left), byte);
                after
            }
        };
    }
    if voxels.len() < needed {
        return Err(format!("PackBits data that end after {} of {needed} bytes", voxels.len()));
    }
    Ok(voxels)
}

fn zstandard(raw: &[u8], size: Size) -> Result<Vec<u8>, String> {
    let mut voxels = unzstd(raw, size.most).map_err(|reason| format!("broken Zstandard data: {reason}"))?;
    if voxels.len() < size.needed {
        return Err(format!("Zstandard data of {} bytes where {} are expected", voxels.len(), size.needed));
    }
    voxels.truncate(size.needed);
    Ok(voxels)
}

/// A grey picture as wide as the rows are, behind the tables that all of a page have in common.
fn grey_jpeg(raw: &[u8], tables: Option<&Bytes>, size: Size) -> Result<Vec<u8>, String> {
    const START: [u8; 2] = [0xff, 0xd8];
    const END: [u8; 2] = [0xff, 0xd9];
    let whole = match tables.map(|tables| tables.strip_suffix(&END).unwrap_or(tables)) {
        Some(tables) if tables.starts_with(&START) => {
            let picture = raw.strip_prefix(&START).ok_or("it is no JPEG")?;
            Cow::Owned([tables, picture].concat())
        }
        _ => Cow::Borrowed(raw),
    };
    let row = size.row.max(1);
    let (least, most) = (size.needed / row, size.most / row);
    let mut voxels = jpeg::grey(&whole, |width, height| {
        if width == row && (least..=most).contains(&height) {
            return Ok(());
        }
        Err(format!("JPEG of {width}×{height} pixels where {row}×{least} are expected"))
    })?;
    voxels.truncate(size.needed);
    Ok(voxels)
}
