//! Which blocks of an array the archive lacks: the manifest tells how many. What an earlier run took for absent was perhaps
//! never confirmed, so that a later one asks for it again.
//!
//! The file has 24 bytes for each: its place along z, y, x as little-endian `u64`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::geometry::CellIndex;

/// Bytes of a block's entry.
const ENTRY: usize = 24;

/// The absent blocks of one array.
#[derive(Debug)]
pub(super) struct AbsentBlocks {
    path: PathBuf,
    /// Those of earlier runs.
    earlier: HashSet<CellIndex>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    blocks: HashSet<CellIndex>,
    /// Whether a block was there.
    has_present: bool,
    unsaved: Vec<u8>,
}

impl AbsentBlocks {
    /// Reads what an earlier run noted at `path`, if one did.
    pub(super) fn open(path: &Path) -> io::Result<AbsentBlocks> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        // An entry that was cut is found again with its block, whose chunk was not written.
        let whole = bytes.len() - bytes.len() % ENTRY;
        if whole < bytes.len() {
            File::options().write(true).open(path)?.set_len(whole as u64)?;
        }
        let number = |entry: &[u8; ENTRY], axis: usize| {
            let bytes = entry[8 * axis..].first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        let blocks = bytes.as_chunks::<ENTRY>().0.iter();
        let earlier = blocks.map(|entry| CellIndex(std::array::from_fn(|axis| number(entry, axis)))).collect();
        Ok(AbsentBlocks { path: path.to_owned(), earlier, state: Mutex::default() })
    }

    /// Notes a block, to be saved before anything is written that shows it.
    pub(super) fn note(&self, block: CellIndex) {
        let mut state = self.state.lock();
        if state.blocks.insert(block) && !self.earlier.contains(&block) {
            state.unsaved.extend(block.0.into_iter().flat_map(u64::to_le_bytes));
        }
    }

    /// Notes that a block is there.
    pub(super) fn note_present(&self) {
        self.state.lock().has_present = true;
    }

    /// Whether this run found no block that is there.
    pub(super) fn is_all(&self) -> bool {
        !self.state.lock().has_present
    }

    /// Appends what was noted to the file. Waits for a disk.
    pub(super) fn save(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.unsaved.is_empty() {
            return Ok(());
        }
        let mut file = File::options().create(true).append(true).open(&self.path)?;
        // A full disk may have cut what was written last.
        let length = file.metadata()?.len();
        file.set_len(length - length % ENTRY as u64)?;
        file.write_all(&state.unsaved)?;
        state.unsaved.clear();
        Ok(())
    }

    /// Whether all that was noted is in the file.
    pub(super) fn is_saved(&self) -> bool {
        self.state.lock().unsaved.is_empty()
    }

    /// Those that earlier runs noted.
    pub(super) fn earlier(&self) -> impl Iterator<Item = CellIndex> {
        self.earlier.iter().copied()
    }

    /// How many this run found.
    pub(super) fn count(&self) -> usize {
        self.state.lock().blocks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_there_in_the_next_run_and_a_cut_entry_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent");
        let blocks = [CellIndex([0, 0, 0]), CellIndex([1, u64::MAX, 3])];
        let absent = AbsentBlocks::open(&path).unwrap();
        for block in [blocks[0], blocks[1], blocks[0]] {
            absent.note(block);
        }
        assert_eq!((absent.count(), absent.is_saved()), (2, false));
        absent.save().unwrap();
        assert!(absent.is_saved());
        File::options().append(true).open(&path).unwrap().write_all(&[7; 5]).unwrap();
        let absent = AbsentBlocks::open(&path).unwrap();
        assert_eq!((absent.count(), absent.earlier().count()), (0, 2));
        for block in [blocks[0], CellIndex([4, 5, 6])] {
            absent.note(block);
        }
        // As a disk leaves it that was full for a while.
        File::options().append(true).open(&path).unwrap().write_all(&[7; 5]).unwrap();
        absent.save().unwrap();
        assert_eq!(absent.count(), 2);
        let mut all: Vec<CellIndex> = AbsentBlocks::open(&path).unwrap().earlier().collect();
        all.sort_by_key(|block| block.0);
        assert_eq!(all, [blocks[0], blocks[1], CellIndex([4, 5, 6])]);
    }
}
