//! What the files of a scale are called. A chunk of an unsharded one by the positions of its ends along `x, y, z`.
//!
//! The format joins these by `_`. `volume-to-precomputed` of neuroglancer-scripts makes folders of them unless it is given
//! `--flat`, for a web server that turns one into the other. In a folder of this machine it can be seen which it is.

use std::fs::DirEntry;
use std::path::Path;

use super::info::Scale;
use super::sharding::VolumeSharding;
use crate::geometry::{CellIndex, Grid, Region};
use crate::remote::{Compression, Location};
use crate::source::SourceError;
use crate::source::json::quoted;
use crate::source::unwritten::may_have_files;
use crate::store::Remote;

/// Names of a folder that are looked at until one is that of a chunk.
const MOST: usize = 1 << 16;

/// How the parts of a name are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkNames {
    /// `x_y_z`.
    Flat,
    /// `x/y/z`.
    Nested,
}

impl ChunkNames {
    /// Those in the `folder` of a scale; `None` where no file of a chunk is there. Only a folder of this machine is looked into.
    ///
    /// # Errors
    /// Where the folder has names of chunks of which none is one of this scale: all of it would seem to be empty.
    pub async fn of(remote: &Remote, folder: &Location, scale: &Scale) -> Result<Option<Self>, SourceError> {
        if !folder.is_local() {
            return Ok(Some(ChunkNames::Flat));
        }
        let named = Named { grid: scale.grid, offset: scale.offset, sharding: scale.sharding };
        let seen = remote.with_path(folder, move |path| named.seen_in(path)).await?;
        seen.map_err(|other| {
            let first = match &scale.sharding {
                Some(sharding) => sharding.file(0),
                None => ChunkNames::Flat.name(&scale.grid.region(CellIndex([0; 3])), scale.offset),
            };
            let other = quoted(&other);
            let reason = format!("{other} is there, and no name that is one of the scale by `info`, as {first} is");
            let remedy = "set `voxel_offset`, `size`, `chunk_sizes` or `sharding` of the scale right there";
            SourceError::malformed(folder.to_string(), "chunks", format!("{reason}; {remedy}"))
        })
    }

    /// The name of the chunk of that region, the last ones of which are clipped to the array.
    pub fn name(self, region: &Region, offset: [i64; 3]) -> String {
        let at = |position: u64, axis: usize| i128::from(offset[axis]) + i128::from(position);
        let span = |axis: usize| format!("{}-{}", at(region.start[axis], axis), at(region.end[axis], axis));
        [2, 1, 0].map(span).join(if self == ChunkNames::Flat { "_" } else { "/" })
    }
}

/// The chunks of a scale.
#[derive(Debug, Clone, Copy)]
struct Named {
    grid: Grid,
    offset: [i64; 3],
    sharding: Option<VolumeSharding>,
}

impl Named {
    /// Which names are in the folder, `None` where there are none; an error is one that should be that of a chunk and is not.
    fn seen_in(&self, folder: &Path) -> Result<Option<ChunkNames>, String> {
        let (mut other, mut is_nested) = (None, false);
        let mut seen = 0;
        for entry in entries(folder) {
            seen += 1;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if self.is_flat(&name) {
                return Ok(Some(ChunkNames::Flat));
            }
            if !is_nested && self.sharding.is_none() && self.is_nested(&entry) {
                is_nested = true;
            } else if is_of_chunk(&name) {
                other.get_or_insert(name);
            }
        }
        match (is_nested, other) {
            (true, _) => Ok(Some(ChunkNames::Nested)),
            (false, Some(other)) => Err(other),
            (false, None) => {
                let is_hidden = || std::fs::read_dir(folder).is_err_and(|error| may_have_files(folder, &error));
                Ok((seen == MOST || is_hidden()).then_some(ChunkNames::Flat))
            }
        }
    }

    /// Whether it is the name of a chunk of this scale, or of a shard.
    fn is_flat(&self, name: &str) -> bool {
        if let Some(sharding) = &self.sharding {
            let number = name.strip_suffix(".shard").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            return number.is_some_and(|number| sharding.has(number) && sharding.file(number) == name);
        }
        let parts: Vec<&str> = unpacked(name).split('_').collect();
        matches!(parts.as_slice(), [x, y, z] if self.has(x, 2) && self.has(y, 1) && self.has(z, 0))
    }

    /// Whether there is a chunk of this scale two folders down.
    fn is_nested(&self, x: &DirEntry) -> bool {
        let has = |entry: &DirEntry, axis: usize| {
            entry.file_name().to_str().is_some_and(|name| self.has(if axis == 0 { unpacked(name) } else { name }, axis))
        };
        has(x, 2) && entries(&x.path()).any(|y| has(&y, 1) && entries(&y.path()).any(|z| has(&z, 0)))
    }

    /// Whether a part of a name is that of a chunk along the axis.
    fn has(&self, span: &str, axis: usize) -> bool {
        let Some(start) = span.get(1..).and_then(|rest| rest.find('-')).and_then(|at| span.get(..=at)) else {
            return false;
        };
        let Ok(start) = start.parse::<i64>() else { return false };
        let (first, extent, cell) = (i128::from(self.offset[axis]), self.grid.shape.0[axis], self.grid.cell.0[axis]);
        let Ok(inside) = u64::try_from(i128::from(start) - first) else { return false };
        let end = first + i128::from(inside.saturating_add(cell).min(extent));
        inside < extent && inside % cell == 0 && span == format!("{start}-{end}")
    }
}

/// What is in a folder; nothing where that cannot be said, which reading will tell of.
fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST)
}

/// A name without what is appended for a compression.
fn unpacked(name: &str) -> &str {
    let known = Compression::ALL.into_iter().map(Compression::ending).chain(super::local::OTHERS);
    let bare = |ending: &str| name.strip_suffix(ending)?.strip_suffix('.');
    known.into_iter().find_map(bare).unwrap_or(name)
}

/// Whether a name is made as that of a chunk of some scale is, or as that of a shard.
fn is_of_chunk(name: &str) -> bool {
    let has_span = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let rest = digits.trim_start_matches(|letter: char| letter.is_ascii_digit());
        rest.len() < digits.len() && rest.starts_with('-')
    };
    // The last two are those of shards as they were first.
    has_span(name) || [".shard", ".index", ".data"].iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::Shape;
    use crate::source::precomputed::sharding::{Hash, ShardEncoding};

    fn named(offset: [i64; 3]) -> Named {
        Named { grid: Grid { shape: Shape([5, 40, 70]), cell: Shape([4, 32, 64]) }, offset, sharding: None }
    }

    fn seen(named: Named, names: &[&str]) -> Result<Option<ChunkNames>, String> {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        named.seen_in(folder.path())
    }

    #[test]
    fn it_is_seen_how_the_chunks_of_a_scale_are_called() {
        let at = named([-3, 0, 5]);
        for flat in [&["5-69_0-32_-3-1"][..], &["69-75_32-40_1-2.gz"], &["1-2_3-4_5-6", "5-69_0-32_1-2.br", "0.shard"]]
        {
            assert_eq!(seen(at, flat), Ok(Some(ChunkNames::Flat)), "{flat:?}");
        }
        for none in [&[][..], &["info", "provenance", "mesh/x", ".5-6"]] {
            assert_eq!(seen(at, none), Ok(None), "{none:?}");
        }
        for nested in [&["5-69/0-32/-3-1"][..], &["69-75/32-40/1-2.gz", "1-2_3-4_5-6"]] {
            assert_eq!(seen(at, nested), Ok(Some(ChunkNames::Nested)), "{nested:?}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_looked_into_may_have_chunks_and_one_that_is_missing_has_none() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        std::fs::write(folder.path().join("file"), b"x").unwrap();
        let seen = |name: &str| named([0; 3]).seen_in(&folder.path().join(name));
        assert_eq!(seen("link"), Ok(Some(ChunkNames::Flat)));
        assert_eq!(seen("file"), Ok(Some(ChunkNames::Flat)));
        assert_eq!(seen("missing"), Ok(None));
    }

    #[test]
    fn a_folder_whose_names_are_those_of_no_chunk_of_the_scale_is_told_with_one_of_them() {
        let at = named([0; 3]);
        for other in [
            "5-69_0-32_0-4",
            "0-64_0-32_0-5",
            "0-64_0-32_0-4.png.gz",
            "-64-0_0-32_0-4",
            "0-64_0-32_1-5",
            "64-70_32-64_4-5",
            "0.shard",
            "0-64_0-32_4-04",
            "70-134_0-32_0-4",
        ] {
            assert_eq!(seen(at, &[other]), Err(other.to_owned()));
        }
        for nested in ["5-69/0-32/0-4", "0-64/1-33/0-4", "0-64/0-32/1-5"] {
            let first = nested.split('/').next().unwrap().to_owned();
            assert_eq!(seen(at, &[nested]), Err(first));
        }
    }

    #[test]
    fn a_folder_of_shards_has_the_names_of_shards() {
        let sharding = VolumeSharding {
            preshift_bits: 0,
            hash: Hash::Identity,
            minishard_bits: 0,
            shard_bits: 9,
            index_encoding: ShardEncoding::Raw,
            data_encoding: ShardEncoding::Raw,
        };
        let at = Named { sharding: Some(sharding), ..named([0; 3]) };
        for well in [&["0a1.shard"][..], &["1ff.shard", "0.shard"]] {
            assert_eq!(seen(at, well), Ok(Some(ChunkNames::Flat)), "{well:?}");
        }
        for none in [&["info", "mesh"][..], &[]] {
            assert_eq!(seen(at, none), Ok(None), "{none:?}");
        }
        for other in ["a1.shard", "200.shard", "0A1.shard", "00a1.shard", "0-64_0-32_0-4", "0-64/0-32/0-4", "0a1.index"]
        {
            let first = other.split('/').next().unwrap().to_owned();
            assert_eq!(seen(at, &[other]), Err(first));
        }
    }

    proptest! {
        #[test]
        fn what_a_chunk_is_called_is_seen(
            offset in proptest::array::uniform3(-1000i64..1000),
            shape in proptest::array::uniform3(1u64..200),
            cell in proptest::array::uniform3(1u64..64),
            pick in any::<[u64; 3]>(),
            is_flat: bool,
        ) {
            let grid = Grid { shape: Shape(shape), cell: Shape(cell) };
            let counts = grid.counts();
            let index = CellIndex(std::array::from_fn(|axis| pick[axis] % counts[axis]));
            let names = if is_flat { ChunkNames::Flat } else { ChunkNames::Nested };
            let name = names.name(&grid.region(index), offset);
            prop_assert_eq!(seen(Named { grid, offset, sharding: None }, &[&name]), Ok(Some(names)), "{}", name);
        }

        #[test]
        fn no_name_makes_it_panic(name in "[0-9_-]{0,30}", any_name in any::<String>()) {
            for name in [&name, &any_name] {
                for axis in 0..3 {
                    named([i64::MIN, i64::MAX, 0]).has(name, axis);
                }
                is_of_chunk(unpacked(name));
            }
        }
    }
}
