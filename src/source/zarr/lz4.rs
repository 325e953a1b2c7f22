//! The two ways in which blocks of LZ4 are stored.

use xxhash_rust::xxh32::xxh32;

use super::codec_size::{CodecSize, buffer, too_long};

/// What each block of lz4-java begins with: a name, how it is stored, three little-endian numbers.
const MAGIC: &[u8] = b"LZ4Block";

/// What is said of a block without it.
const NAMELESS: &str =
    "a block without its name, as z5py writes it, which is not read; rewrite it with the compression `gzip`";

/// Bytes of that.
const HEADER: usize = MAGIC.len() + 13;

/// Seed of the checksums of lz4-java, of which the upper bits are not used.
const SEED: u32 = 0x9747_b28c;
const CHECKED_BITS: u32 = 0x0fff_ffff;

/// A block behind the length of what it holds, 32 bits little-endian.
pub(super) fn block(encoded: &[u8], size: CodecSize) -> Result<Vec<u8>, String> {
    let (length, rest) = encoded.split_first_chunk::<4>().ok_or("too short for a length")?;
    let length = u32::from_le_bytes(*length) as usize;
    size.check(length)?;
    unpack(rest, length)
}

/// Blocks as lz4-java's `LZ4BlockOutputStream` writes them, ended by an empty one.
pub(super) fn java(mut encoded: &[u8], most: usize) -> Result<Vec<u8>, String> {
    let mut out = buffer(most)?;
    loop {
        let (header, rest) = encoded.split_at_checked(HEADER).ok_or("cut off")?;
        let (magic, header) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(NAMELESS.to_owned());
        }
        let number = |at: usize| {
            let bytes = header.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().unwrap_or_default();
            u32::from_le_bytes(bytes)
        };
        let (stored, plain, checksum) = (number(1) as usize, number(5) as usize, number(9));
        let (data, rest) = rest.split_at_checked(stored).ok_or("cut off")?;
        encoded = rest;
        if plain == 0 {
            return if rest.is_empty() { Ok(out) } else { Err(format!("{} bytes after its end", rest.len())) };
        }
        if plain > most - out.len() {
            return Err(too_long(most));
        }
        let data = match header.first().map(|token| token & 0xf0) {
            Some(0x10) if stored == plain => data.to_vec(),
            Some(0x20) => unpack(data, plain)?,
            _ => return Err("a block stored in an unknown way".to_owned()),
        };
        if xxh32(&data, SEED) & CHECKED_BITS != checksum {
            return Err("a block with another checksum".to_owned());
        }
        out.extend_from_slice(&data);
    }
}

/// Undoes a block that holds so many bytes, which are within bounds.
fn unpack(encoded: &[u8], plain: usize) -> Result<Vec<u8>, String> {
    let mut out = buffer(plain)?;
    out.resize(plain, 0);
    match lz4_flex::block::decompress_into(encoded, &mut out) {
        Ok(length) if length == plain => Ok(out),
        Ok(length) => Err(format!("{length} bytes where there should be {plain}")),
        Err(error) => Err(format!("corrupt: {error}")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::source::zarr) fn written(data: &[u8], block: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for part in data.chunks(block).chain([&[][..]]) {
            let packed = if part.is_empty() { Vec::new() } else { lz4_flex::block::compress(part) };
            let (token, stored) = if packed.len() < part.len() { (0x25, packed.as_slice()) } else { (0x15, part) };
            out.extend_from_slice(MAGIC);
            out.push(token);
            let checksum = if part.is_empty() { 0 } else { xxh32(part, SEED) & CHECKED_BITS };
            for number in [stored.len() as u32, part.len() as u32, checksum] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(stored);
        }
        out
    }

    #[test]
    fn a_bare_block_is_refused_with_the_name_of_its_writer() {
        let bare = lz4_flex::block::compress(&[1; 100]);
        let bare = [bare.as_slice(), &[0; HEADER]].concat();
        assert!(java(&bare, 1000).unwrap_err().contains("as z5py writes it, which is not read; rewrite it"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn what_was_packed_is_unpacked_within_its_bound(
            data in prop::collection::vec(0u8..4, 0..300), block_size in 1usize..100, at in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut stored = written(&data, block_size);
            prop_assert_eq!(java(&stored, data.len()).unwrap(), data.clone());
            prop_assert!(data.is_empty() || java(&stored, data.len() - 1).is_err());
            prop_assert!(java(&stored[..stored.len() - 1], data.len()).is_err());
            let at = at.index(stored.len());
            stored[at] = byte;
            if let Ok(other) = java(&stored, data.len()) {
                prop_assert!(other.len() <= data.len());
            }
            let size = CodecSize { most: data.len(), exact: true };
            let packed = [&(data.len() as u32).to_le_bytes(), lz4_flex::block::compress(&data).as_slice()].concat();
            prop_assert_eq!(block(&packed, size).unwrap(), data.clone());
            let longer = [&(data.len() as u32 + 1).to_le_bytes(), packed.get(4..).unwrap()].concat();
            prop_assert!(block(&longer, size).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), most in 0usize..1000) {
            let _ = block(&bytes, CodecSize { most, exact: false });
            let _ = java(&[MAGIC, &bytes].concat(), most);
        }
    }
}
