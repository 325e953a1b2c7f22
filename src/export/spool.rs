//! Decoded blocks that several batches need, in files beside the export: what memory cannot hold is not fetched twice,
//! and neither is what an interrupted export had fetched for batches that were not complete.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::geometry::CellIndex;

/// Bytes of the check behind the voxels.
const CHECK: usize = 4;

/// The kept blocks of one array.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    kept: Mutex<HashSet<CellIndex>>,
    /// Blocks that a batch is about to keep, each with what is closed once it has.
    claimed: Arc<Mutex<HashMap<CellIndex, Arc<Semaphore>>>>,
    /// Numbers the files that are being written: several batches may keep one block at once.
    halves: AtomicU64,
}

impl Spool {
    /// The blocks in a folder, which is made where it is missing.
    pub(super) fn open(folder: PathBuf) -> io::Result<Spool> {
        fs::create_dir_all(&folder)?;
        let mut kept = HashSet::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(parse) {
                Some(index) => drop(kept.insert(index)),
                // Half written when the export stopped.
                None => fs::remove_file(entry.path())?,
            }
        }
        Ok(Spool { folder, kept: Mutex::new(kept), claimed: Arc::default(), halves: AtomicU64::new(0) })
    }

    /// Whether a block may be there.
    pub(super) fn has(&self, block: CellIndex) -> bool {
        self.kept.lock().contains(&block)
    }

    /// Claims a block, so that batches that need it too wait for it to be kept rather than fetch it again; where another
    /// has claimed it, gives what is closed once that one has let go.
    pub(super) fn claim(&self, block: CellIndex) -> Result<Claim, Arc<Semaphore>> {
        let mut claimed = self.claimed.lock();
        if let Some(other) = claimed.get(&block) {
            return Err(other.clone());
        }
        claimed.insert(block, Arc::new(Semaphore::new(0)));
        Ok(Claim { claimed: self.claimed.clone(), block })
    }

    /// Keeps the voxels of a block; none for one that the origin does not have.
    pub(super) fn put(&self, block: CellIndex, voxels: &[u8]) -> io::Result<()> {
        let path = self.path(block);
        let half = path.with_extension(format!("{}.half", self.halves.fetch_add(1, Ordering::Relaxed)));
        let mut file = fs::File::create(&half)?;
        file.write_all(voxels)?;
        file.write_all(&crc32c::crc32c(voxels).to_le_bytes())?;
        fs::rename(&half, &path)?;
        self.kept.lock().insert(block);
        Ok(())
    }

    /// The voxels of a block, which are `length` bytes or none; `None` where they are not there or damaged.
    pub(super) fn get(&self, block: CellIndex, length: u64) -> Option<Vec<u8>> {
        let mut bytes = fs::read(self.path(block)).ok();
        if let Some(bytes) = &mut bytes
            && let Some(end) = bytes.len().checked_sub(CHECK)
        {
            let told: Option<[u8; CHECK]> = bytes[end..].try_into().ok();
            bytes.truncate(end);
            let whole = bytes.is_empty() || bytes.len() as u64 == length;
            if whole && told.map(u32::from_le_bytes) == Some(crc32c::crc32c(bytes)) {
                return Some(std::mem::take(bytes));
            }
        }
        self.kept.lock().remove(&block);
        None
    }

    /// Drops a block that nobody needs any more.
    pub(super) fn remove(&self, block: CellIndex) {
        if self.kept.lock().remove(&block) {
            // What stays behind goes with the folder.
            let _ = fs::remove_file(self.path(block));
        }
    }

    fn path(&self, block: CellIndex) -> PathBuf {
        let [z, y, x] = block.0;
        self.folder.join(Path::new(&format!("{z}-{y}-{x}")))
    }
}

/// The right to fetch a block. Dropping it lets go.
#[derive(Debug)]
pub(super) struct Claim {
    claimed: Arc<Mutex<HashMap<CellIndex, Arc<Semaphore>>>>,
    block: CellIndex,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(waited_for) = self.claimed.lock().remove(&self.block) {
            waited_for.close();
        }
    }
}

fn parse(name: &str) -> Option<CellIndex> {
    let mut numbers = name.split('-').map(|number| number.parse().ok());
    let index = CellIndex([numbers.next()??, numbers.next()??, numbers.next()??]);
    numbers.next().is_none().then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_claimed_block_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        let block = CellIndex([0, 0, 1]);
        let claim = spool.claim(block).unwrap();
        let other = spool.claim(block).unwrap_err();
        assert!(spool.claim(CellIndex([0, 0, 2])).is_ok());
        drop(claim);
        assert!(other.acquire().await.is_err() && spool.claim(block).is_ok());
    }

    #[test]
    fn a_block_of_another_length_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        let block = CellIndex([0, 0, 1]);
        for length in [5, 7, 0] {
            spool.put(block, b"voxels").unwrap();
            assert_eq!((spool.get(block, length), spool.has(block)), (None, false), "{length}");
        }
    }

    #[test]
    fn blocks_survive_and_damaged_ones_are_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = [CellIndex([1, 2, 3]), CellIndex([4, 5, 6]), CellIndex([7, 8, 9])];
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        spool.put(a, b"voxels").unwrap();
        spool.put(b, b"").unwrap();
        spool.put(c, b"voxels").unwrap();
        fs::write(folder.path().join("7-8-9"), b"vozels1234").unwrap();
        fs::write(folder.path().join("1-1-1.half"), b"vox").unwrap();
        let spool = Spool::open(folder.path().to_owned()).unwrap();
        assert!(spool.has(a) && spool.has(b) && spool.has(c) && !spool.has(CellIndex([1, 1, 1])));
        assert_eq!(spool.get(a, 6).unwrap(), b"voxels");
        assert_eq!(spool.get(b, 6).unwrap(), b"");
        assert_eq!((spool.get(c, 6), spool.has(c)), (None, false));
        spool.remove(a);
        assert!(!spool.has(a) && spool.get(a, 6).is_none() && !folder.path().join("1-1-1.half").exists());
    }
}
