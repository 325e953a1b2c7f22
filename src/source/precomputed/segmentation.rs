//! The encoding `compressed_segmentation`: small blocks of voxels, each a table of the values in it and an index of a few
//! bits per voxel. All offsets count words of 32 bits.
//!
//! Format:
//! <https://github.com/google/neuroglancer/tree/master/src/sliceview/compressed_segmentation>.

/// Indices of one block: more would take 1 GiB.
const MAX_VOXELS: u64 = 1 << 28;

/// Bytes of a word.
const WORD: usize = 4;

/// Words of a block's header.
const HEADER: usize = 2;

/// Bits of a header's first word that say where the table of values is; the others are bits per voxel.
const TABLE_BITS: u32 = 24;

/// The blocks of a scale: extents along `z, y, x`, none of them 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockShape([u64; 3]);

impl BlockShape {
    /// `None` where an extent is 0, or the indices of a block would take more than 1 GiB.
    pub fn new(extents: [u64; 3]) -> Option<Self> {
        let voxels = extents.iter().try_fold(1u64, |voxels, extent| voxels.checked_mul(*extent))?;
        (1..=MAX_VOXELS).contains(&voxels).then_some(BlockShape(extents))
    }

    /// Longest encoding of one channel of a chunk: a table and an index of 32 bits for each voxel, and those of blocks
    /// that go beyond the chunk are whole.
    pub fn longest(self, chunk: [u64; 3], item_size: usize) -> u64 {
        let blocks = (0..3).fold(1u64, |blocks, axis| blocks.saturating_mul(chunk[axis].div_ceil(self.0[axis])));
        let block = self.0.iter().fold(WORD as u64, |bytes, extent| bytes.saturating_mul(*extent));
        let lookup_table = chunk.iter().fold(item_size as u64, |bytes, extent| bytes.saturating_mul(*extent));
        blocks.saturating_mul(block.saturating_add((HEADER * WORD) as u64)).saturating_add(lookup_table)
    }
}

/// Decodes channel `channel` of `channels` of a chunk of the extents `chunk` (`z, y, x`, in memory) to `N` bytes a voxel.
pub(super) fn decode<const N: usize>(
    raw: &[u8],
    block: BlockShape,
    (channel, channels): (usize, usize),
    chunk: [usize; 3],
) -> Result<Vec<u8>, String> {
    let (words, rest) = raw.as_chunks::<WORD>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are no whole number of words", raw.len()));
    }
    let start = words.get(..channels).and_then(|offsets| offsets.get(channel)).map(|word| u32::from_le_bytes(*word));
    let start = start.ok_or_else(|| format!("{} words are too few for {channels} channels", words.len()))?;
    let data = words.get(start as usize..).ok_or_else(|| format!("channel {channel} begins behind the end"))?;
    // A block is at most 2^28 voxels.
    let block = block.0.map(|extent| extent as usize);
    let counts: [usize; 3] = std::array::from_fn(|axis| chunk[axis].div_ceil(block[axis]));
    let voxels = chunk.iter().try_fold(N, |bytes, extent| bytes.checked_mul(*extent)).ok_or("a chunk too long")?;
    let mut decoded = vec![0; voxels];
    let (out, _) = decoded.as_chunks_mut::<N>();
    for z in 0..counts[0] {
        for y in 0..counts[1] {
            for x in 0..counts[2] {
                let number = (z * counts[1] + y) * counts[2] + x;
                let place = Place { at: [z * block[0], y * block[1], x * block[2]], block, chunk };
                fill(data, number, place, out).map_err(|reason| format!("block {number}: {reason}"))?;
            }
        }
    }
    Ok(decoded)
}

/// Where a block lies in its chunk.
struct Place {
    at: [usize; 3],
    block: [usize; 3],
    chunk: [usize; 3],
}

/// Decodes the block of that number into the voxels of its chunk.
fn fill<const N: usize>(
    data: &[[u8; WORD]],
    number: usize,
    place: Place,
    out: &mut [[u8; N]],
) -> Result<(), &'static str> {
    let Place { at, block, chunk } = place;
    let header = number.checked_mul(HEADER).and_then(|at| data.get(at..)).and_then(|rest| rest.first_chunk::<HEADER>());
    let [first, values] = header.ok_or("its header is behind the end")?.map(u32::from_le_bytes);
    let (lookup_table_at, bits) = (first & ((1 << TABLE_BITS) - 1), first >> TABLE_BITS);
    let lookup_table =
        data.get(lookup_table_at as usize..).ok_or("its table is behind the end")?.as_flattened().as_chunks::<N>().0;
    // Blocks at the edge are clipped, but indices are stored for all of them.
    let extent: [usize; 3] = std::array::from_fn(|axis| block[axis].min(chunk[axis] - at[axis]));
    let rows = (0..extent[0]).flat_map(|z| (0..extent[1]).map(move |y| (z, y)));
    let row = |(z, y): (usize, usize)| {
        let start = ((at[0] + z) * chunk[1] + at[1] + y) * chunk[2] + at[2];
        start..start + extent[2]
    };
    const SHORT: &str = "an index leads behind the end of its table";
    match bits {
        0 => {
            let value = *lookup_table.first().ok_or(SHORT)?;
            rows.for_each(|place| out[row(place)].fill(value));
        }
        1 | 2 | 4 | 8 | 16 | 32 => {
            let values = data.get(values as usize..).ok_or("its indices are behind the end")?;
            // Powers of two, so that places of indices are told by shifts: a division for each voxel takes longer than the rest.
            let (bits_shift, word_shift) = (bits.trailing_zeros(), (32 / bits).trailing_zeros());
            let (in_word, mask) = ((1 << word_shift) - 1, u32::MAX >> (32 - bits));
            let last = ((extent[0] - 1) * block[1] + extent[1] - 1) * block[2] + extent[2] - 1;
            let values = values.get(..=last >> word_shift).ok_or("its indices go on behind the end")?;
            for (z, y) in rows {
                let index = (z * block[1] + y) * block[2];
                for (voxel, index) in out[row((z, y))].iter_mut().zip(index..) {
                    let word = u32::from_le_bytes(values[index >> word_shift]);
                    let entry = word >> ((index & in_word) << bits_shift) & mask;
                    *voxel = *lookup_table.get(entry as usize).ok_or(SHORT)?;
                }
            }
        }
        _ => return Err("bits per voxel that are none of 0, 1, 2, 4, 8, 16, 32"),
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests/segmentation.rs"]
mod tests;
