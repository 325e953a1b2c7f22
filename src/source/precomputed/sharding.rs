//! In which shard and minishard a chunk is: the arithmetic of `neuroglancer_uint64_sharded_v1`.
//!
//! Format: <https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.rst>.

/// Most bits of a minishard's number: more would make a shard's index longer than any file.
pub(super) const MAX_MINISHARD_BITS: u32 = 32;

/// Bytes of an entry of a shard's index.
pub(super) const ENTRY: u64 = 16;

/// How chunks are spread over shards. `minishard_bits` is at most [`MAX_MINISHARD_BITS`], the sum of it and
/// `shard_bits` at most 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VolumeSharding {
    /// Low bits of a chunk's code that do not count, so that neighbours stay together.
    pub preshift_bits: u32,
    /// What is done with the remaining bits.
    pub hash: Hash,
    /// Low bits of the hash, which number the minishard.
    pub minishard_bits: u32,
    /// The bits after them, which number the shard.
    pub shard_bits: u32,
    /// How the index of a minishard is stored.
    pub index_encoding: ShardEncoding,
    /// How a chunk is stored, beside its own encoding.
    pub data_encoding: ShardEncoding,
}

/// The hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Identity,
    /// The low 64 bits of MurmurHash3_x86_128 of the eight little-endian bytes, seed 0.
    Murmur,
}

/// Compression of parts of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardEncoding {
    Raw,
    Gzip,
}

/// Number of a shard and of a minishard in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ShardPlace {
    pub shard: u64,
    pub minishard: u64,
}

impl VolumeSharding {
    /// Where the chunk of that code is.
    pub fn place(&self, code: u64) -> ShardPlace {
        let shifted = code.checked_shr(self.preshift_bits).unwrap_or(0);
        let hash = match self.hash {
            Hash::Identity => shifted,
            Hash::Murmur => murmur(shifted),
        };
        ShardPlace {
            minishard: hash & mask(self.minishard_bits),
            shard: hash.checked_shr(self.minishard_bits).unwrap_or(0) & mask(self.shard_bits),
        }
    }

    /// Whether there is a shard of that number.
    pub fn has(&self, shard: u64) -> bool {
        shard <= mask(self.shard_bits)
    }

    /// Name of a shard's file.
    pub fn file(&self, shard: u64) -> String {
        let digits = self.shard_bits.div_ceil(4) as usize;
        format!("{shard:0digits$x}.shard")
    }

    /// Bytes of a shard's index, which is at the start of the file.
    pub fn index_bytes(&self) -> u64 {
        ENTRY << self.minishard_bits.min(MAX_MINISHARD_BITS)
    }
}

fn mask(bits: u32) -> u64 {
    1u64.checked_shl(bits).map_or(u64::MAX, |bit| bit - 1)
}

/// The low 64 bits of MurmurHash3_x86_128 (Austin Appleby, public domain) of `key`'s eight bytes, seed 0.
fn murmur(key: u64) -> u64 {
    const C: [u32; 4] = [0x239b_961b, 0xab0e_9789, 0x38b3_4ae5, 0xa1e3_8b93];
    let [low, high] = [key as u32, (key >> 32) as u32];
    // Eight bytes are less than one block of 16, so that there is a tail only.
    let mut h = [0u32; 4];
    h[1] ^= high.wrapping_mul(C[1]).rotate_left(16).wrapping_mul(C[2]);
    h[0] ^= low.wrapping_mul(C[0]).rotate_left(15).wrapping_mul(C[1]);
    h = h.map(|part| part ^ 8);
    let sum = |h: &mut [u32; 4]| {
        h[0] = h[0].wrapping_add(h[1]).wrapping_add(h[2]).wrapping_add(h[3]);
        for part in 1..4 {
            h[part] = h[part].wrapping_add(h[0]);
        }
    };
    sum(&mut h);
    h = h.map(|mut part| {
        part = (part ^ (part >> 16)).wrapping_mul(0x85eb_ca6b);
        part = (part ^ (part >> 13)).wrapping_mul(0xc2b2_ae35);
        part ^ (part >> 16)
    });
    sum(&mut h);
    u64::from(h[0]) | u64::from(h[1]) << 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::precomputed::morton;

    fn sharding(hash: Hash, preshift_bits: u32, minishard_bits: u32, shard_bits: u32) -> VolumeSharding {
        let (index_encoding, data_encoding) = (ShardEncoding::Gzip, ShardEncoding::Raw);
        VolumeSharding { preshift_bits, hash, minishard_bits, shard_bits, index_encoding, data_encoding }
    }

    #[test]
    fn the_hash_of_tensorstore_s_tests_comes_out() {
        for (key, low, high) in
            [(0, 0xe028_ae41, 0x4772_b084), (1, 0x16d4_ce9a, 0xe8bd_67d6), (42, 0x5119_f47a, 0xc20b_94f9)]
        {
            assert_eq!(murmur(key), low | high << 32, "{key}");
        }
    }

    #[test]
    fn the_vectors_of_cloud_volume_hold() {
        let murmur = sharding(Hash::Murmur, 6, 11, 7);
        let place = murmur.place(1_822_975_381);
        assert_eq!((murmur.file(place.shard).as_str(), place.minishard), ("42.shard", 18));
        let identity = sharding(Hash::Identity, 2, 3, 3);
        let place = identity.place(0b10_1010_1010);
        assert_eq!((identity.file(place.shard).as_str(), place.minishard), ("5.shard", 0b010));
    }

    #[test]
    fn chunks_of_the_hemibrain_s_grid_are_in_the_known_shards() {
        let sharding = sharding(Hash::Identity, 9, 6, 15);
        assert_eq!(sharding.index_bytes(), 1024);
        for (voxel, file, minishard) in [
            ([5191, 18266, 18352], "0c08.shard", 62),
            ([15000, 18000, 18000], "0c49.shard", 55),
            ([17213, 19862, 20697], "0e22.shard", 17),
            ([34426, 39724, 41393], "7112.shard", 11),
        ] {
            let [x, y, z]: [u64; 3] = voxel;
            let code = morton::code([z / 64, y / 64, x / 64], [647, 621, 538]).unwrap();
            let place = sharding.place(code);
            assert_eq!((sharding.file(place.shard).as_str(), place.minishard), (file, minishard), "{voxel:?}");
        }
    }

    #[test]
    fn bits_of_zero_and_of_64_are_possible() {
        let none = sharding(Hash::Identity, 0, 0, 0);
        assert_eq!(none.place(u64::MAX), ShardPlace { shard: 0, minishard: 0 });
        assert_eq!((none.file(0).as_str(), none.index_bytes()), ("0.shard", 16));
        let all = sharding(Hash::Identity, 0, 0, 64);
        assert_eq!(all.place(u64::MAX), ShardPlace { shard: u64::MAX, minishard: 0 });
        assert_eq!(all.file(0x1f), "000000000000001f.shard");
        assert_eq!(sharding(Hash::Identity, 64, 6, 15).place(u64::MAX), ShardPlace { shard: 0, minishard: 0 });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn no_code_and_no_bits_overflow(
            code in any::<u64>(), preshift in 0u32..=64, minishard in 0u32..=32, shard in 0u32..=32, murmur in any::<bool>(),
        ) {
            let hash = if murmur { Hash::Murmur } else { Hash::Identity };
            let sharding = sharding(hash, preshift, minishard, shard);
            let place = sharding.place(code);
            prop_assert!(place.minishard < 1 << minishard && place.shard < 1 << shard);
        }
    }
}
