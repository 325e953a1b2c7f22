//! A block of an array of N5: a header of big-endian numbers that says how large it is, and the compressed voxels. Blocks at
//! the far edges may be cut to the array, or be whole. One that is smaller than its place holds zeros beyond its end.

use bytes::Bytes;

use crate::source::zarr::array::ArrayDocument;
use crate::source::zarr::axes::Axes;
use crate::source::zarr::codec::{self, CodecError, Sizes};
use crate::source::zarr::layout::{ByteOrder, ChunkLayout, c_order};

/// Bytes of a header of so many axes.
pub(in crate::source::zarr) const fn header(rank: usize) -> usize {
    4 + 4 * rank
}

/// Decodes the voxels of a block of which the first `shape` along the axes that are shown lie in the array.
pub(in crate::source::zarr) fn decode(
    raw: Bytes,
    array: &ArrayDocument,
    axes: &Axes,
    shape: [usize; 3],
) -> Result<Bytes, CodecError> {
    let error = |reason: String| CodecError { codec: "block", reason };
    let rank = array.shape.len();
    let (head, _) = raw.split_at_checked(header(rank)).ok_or_else(|| error("its header is cut off".to_owned()))?;
    let (short, _) = head.as_chunks::<2>();
    let [mode, rank_there] = [0, 1].map(|at| short.get(at).map_or(u16::MAX, |number| u16::from_be_bytes(*number)));
    if mode != 0 {
        let name = if mode == 1 { "varlength" } else { "unknown" };
        return Err(error(format!("mode {mode} ({name}) is not supported")));
    }
    if usize::from(rank_there) != rank {
        return Err(error(format!("{rank_there} axes where the array has {rank}")));
    }
    let (numbers, _) = head.get(4..).unwrap_or_default().as_chunks::<4>();
    // The header lists the fastest axis first.
    let extents: Vec<u64> = numbers.iter().rev().map(|number| u32::from_be_bytes(*number).into()).collect();
    let fits = extents.iter().zip(&array.chunk).all(|(extent, most)| (1..=*most).contains(extent));
    let channel = axes.channel().map(|(axis, index)| (axis, index % array.chunk[axis]));
    if !fits {
        let listed: Vec<String> = extents.iter().map(u64::to_string).collect();
        return Err(error(format!("a block of {} voxels at a place for {shape:?}", listed.join("×"))));
    }
    // A block is within the bounds of the array's blocks.
    let item_size = array.dtype.size();
    let plain = extents.iter().fold(item_size, |bytes, extent| bytes.saturating_mul(*extent as usize));
    let decoded = codec::decode(raw.slice(header(rank)..), &array.codecs, &Sizes::of_chain(plain, &array.codecs))?;
    let layout = ChunkLayout::new(&extents, &c_order(rank), item_size, ByteOrder::Big);
    let start = channel.map_or(0, |(axis, index)| layout.offset(axis, index as usize));
    let held: [usize; 3] = std::array::from_fn(|axis| shape[axis].min(extents[axes.kept[axis]] as usize));
    if channel.is_some_and(|(axis, index)| index >= extents[axis]) {
        return Ok(padded(&[], held, shape, item_size));
    }
    let voxels = layout
        .extract(decoded, start, axes.kept, held)
        .ok_or_else(|| error("it holds fewer voxels than its header says".to_owned()))?;
    Ok(if held == shape { voxels } else { padded(&voxels, held, shape, item_size) })
}

/// The first `held` of `shape` voxels, and zeros beyond.
fn padded(voxels: &[u8], held: [usize; 3], shape: [usize; 3], item_size: usize) -> Bytes {
    let mut all = vec![0; shape.iter().product::<usize>() * item_size];
    let row = held[2] * item_size;
    for (number, voxels) in voxels.chunks_exact(row.max(1)).enumerate() {
        let (z, y) = (number / held[1], number % held[1]);
        let start = (z * shape[1] + y) * shape[2] * item_size;
        all[start..start + row].copy_from_slice(voxels);
    }
    all.into()
}
