//! From the stored bytes of a chunk to voxels. Raw voxels are little-endian with x fastest, which is C order of
//! `z, y, x`; pictures hold the same sequence of voxels row by row and may be of any width. Several channels follow each other
//! there, but are the colours of a pixel in pictures.

use std::io::Cursor;

use bytes::Bytes;

use super::info::{Channel, VoxelEncoding};
use super::segmentation;
use crate::dtype::DataType;
use crate::source::jpeg;

/// What a chunk holds once it is decoded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    /// Extents along `z, y, x`; the voxels of a channel fit memory.
    pub shape: [usize; 3],
    pub dtype: DataType,
    pub channel: Channel,
}

impl Plain {
    /// Voxels of a channel.
    fn voxels(&self) -> usize {
        self.shape.iter().copied().fold(1, usize::saturating_mul)
    }

    /// Bytes of a channel.
    fn bytes(&self) -> usize {
        self.voxels().saturating_mul(self.dtype.size())
    }

    /// Longest encoding, without a gzip wrapping. Noise grows in JPEG and PNG, but not so much.
    pub fn longest(&self, codec: VoxelEncoding) -> u64 {
        let bytes = self.bytes() as u64;
        let one = match codec {
            VoxelEncoding::Raw => bytes,
            VoxelEncoding::Jpeg | VoxelEncoding::Png => bytes.saturating_mul(4).saturating_add(64 << 10),
            VoxelEncoding::Segmentation(block) => {
                let offset = size_of::<u32>() as u64;
                block.longest(self.shape.map(|extent| extent as u64), self.dtype.size()).saturating_add(offset)
            }
        };
        one.saturating_mul(self.channel.of as u64)
    }

    /// Longest valid body, including a gzip wrapping.
    pub fn longest_stored(&self, codec: VoxelEncoding) -> u64 {
        let longest = self.longest(codec);
        longest.saturating_add(longest / 128).saturating_add(64 << 10)
    }
}

/// Decodes the channel of a chunk that is shown.
pub(super) fn chunk(raw: Bytes, codec: VoxelEncoding, plain: Plain) -> Result<Bytes, String> {
    let Plain { shape, dtype, channel } = plain;
    let voxels = plain.voxels();
    match codec {
        VoxelEncoding::Raw => {
            let one = plain.bytes();
            let expected = one.checked_mul(channel.of).ok_or("a chunk too long")?;
            if raw.len() != expected {
                return Err(format!("expected {expected} bytes, got {}", raw.len()));
            }
            // A slice would keep the other channels in memory.
            let start = one * channel.number;
            Ok(if channel.of == 1 { raw } else { Bytes::copy_from_slice(&raw[start..start + one]) })
        }
        VoxelEncoding::Segmentation(block) => {
            let channel = (channel.number, channel.of);
            let decoded = match dtype.size() {
                4 => segmentation::decode::<4>(&raw, block, channel, shape),
                _ => segmentation::decode::<8>(&raw, block, channel, shape),
            };
            decoded.map(Bytes::from)
        }
        VoxelEncoding::Jpeg => {
            let fits = |width, height| size(voxels, width, height, "JPEG");
            let decoded = match channel.of {
                1 => jpeg::grey(&raw, fits),
                _ => jpeg::of_colours(&raw, channel.number, fits),
            };
            decoded.map(Bytes::from)
        }
        VoxelEncoding::Png => png(&raw, plain).map(Bytes::from),
    }
}

/// Checks that a picture has as many voxels as its chunk.
fn size(voxels: usize, width: usize, height: usize, kind: &str) -> Result<(), String> {
    match width.checked_mul(height) {
        Some(pixels) if pixels == voxels => Ok(()),
        _ => Err(format!("{kind} of {width}×{height} pixels for a chunk of {voxels} voxels")),
    }
}

/// What pixels of so many channels are called.
fn colours(channels: usize) -> Option<png::ColorType> {
    match channels {
        1 => Some(png::ColorType::Grayscale),
        2 => Some(png::ColorType::GrayscaleAlpha),
        3 => Some(png::ColorType::Rgb),
        4 => Some(png::ColorType::Rgba),
        _ => None,
    }
}

fn png(raw: &[u8], plain: Plain) -> Result<Vec<u8>, String> {
    let Plain { dtype, channel, .. } = plain;
    let corrupt = |error: png::DecodingError| format!("corrupt PNG: {error}");
    let expected = plain.bytes().checked_mul(channel.of).ok_or("a chunk too long")?;
    // Memory for a chunk and the lines that the decoder works on.
    let limits = png::Limits { bytes: expected.saturating_mul(2).saturating_add(1 << 20) };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(raw), limits);
    decoder.set_transformations(png::Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(corrupt)?;
    let depth = if dtype.size() == 2 { png::BitDepth::Sixteen } else { png::BitDepth::Eight };
    let (width, height) = reader.info().size();
    let found = reader.output_color_type();
    if found.1 != depth || Some(found.0) != colours(channel.of) {
        let due = match channel.of {
            1 => format!("grey {dtype} voxels"),
            channels => format!("{dtype} voxels of {channels} channels"),
        };
        return Err(format!("PNG of {found:?}, expected {due}"));
    }
    size(plain.voxels(), width as usize, height as usize, "PNG")?;
    let mut decoded = vec![0; expected];
    let frame = reader.next_frame(&mut decoded).map_err(corrupt)?;
    if frame.buffer_size() != expected {
        return Err(format!("PNG of {} bytes, expected {expected}", frame.buffer_size()));
    }
    reader.finish().map_err(corrupt)?;
    if channel.of > 1 {
        let (voxel, pixel) = (dtype.size(), dtype.size() * channel.of);
        let wanted = channel.number * voxel..(channel.number + 1) * voxel;
        decoded =
            decoded.chunks_exact(pixel).filter_map(|pixel| pixel.get(wanted.clone())).flatten().copied().collect();
    }
    if dtype.size() == 2 {
        decoded.as_chunks_mut::<2>().0.iter_mut().for_each(|voxel| voxel.reverse());
    }
    Ok(decoded)
}

#[cfg(test)]
#[path = "tests/decode.rs"]
mod tests;
