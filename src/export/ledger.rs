//! What is written, in a file beside the export: one entry of fixed size per chunk or file, each with its own check, so
//! that a machine that stopped in the middle of a write leaves entries that are missing, never wrong ones.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes of an entry: SHA-256, offset, length, CRC-32C of these and of the entry's place, and nothing.
const ENTRY: usize = 64;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrittenFile {
    /// SHA-256 of the bytes.
    pub(super) sha256: [u8; 32],
    /// Where they are in their file.
    pub(super) offset: u64,
    /// How many they are.
    pub(super) length: u64,
}

impl WrittenFile {
    fn encode(&self, place: u64) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..32].copy_from_slice(&self.sha256);
        bytes[32..40].copy_from_slice(&self.offset.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.length.to_le_bytes());
        let check = check(&bytes, place);
        bytes[48..52].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENTRY], place: u64) -> Option<WrittenFile> {
        let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let told = u32::from_le_bytes(bytes.get(48..52)?.try_into().ok()?);
        if told != check(bytes, place) {
            return None;
        }
        Some(WrittenFile { sha256: bytes.get(..32)?.try_into().ok()?, offset: number(32)?, length: number(40)? })
    }
}

/// The place is in it so that an empty entry, or one that belongs elsewhere, is none.
fn check(bytes: &[u8; ENTRY], place: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..48]), &place.wrapping_add(1).to_le_bytes())
}

/// The entries of one array.
#[derive(Debug)]
pub(super) struct ArrayLedger(File);

impl ArrayLedger {
    /// Opens or makes the file.
    pub(super) fn open(path: &Path) -> io::Result<ArrayLedger> {
        File::options().read(true).write(true).create(true).truncate(false).open(path).map(ArrayLedger)
    }

    /// Notes what was written at a place.
    pub(super) fn write(&self, place: u64, entry: &WrittenFile) -> io::Result<()> {
        let at = place.checked_mul(ENTRY as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.0.write_all_at(&entry.encode(place), at)
    }

    /// The entry of a place.
    pub(super) fn read(&self, place: u64) -> io::Result<Option<WrittenFile>> {
        let mut bytes = [0; ENTRY];
        let at = place.checked_mul(ENTRY as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        match self.0.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(WrittenFile::decode(&bytes, place)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All entries with their places, in order; the last item may be an error.
    pub(super) fn entries(&self) -> io::Result<impl Iterator<Item = io::Result<(u64, WrittenFile)>>> {
        let mut file = self.0.try_clone()?;
        io::Seek::rewind(&mut file)?;
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let mut failed = false;
        let places = (0u64..).map_while(move |place| {
            let mut bytes = [0; ENTRY];
            match reader.read_exact(&mut bytes) {
                _ if failed => None,
                Ok(()) => Some(WrittenFile::decode(&bytes, place).map(|entry| Ok((place, entry)))),
                // A last entry that is cut off is none.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                Err(error) => {
                    failed = true;
                    Some(Some(Err(error)))
                }
            }
        });
        Ok(places.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_are_found_again_and_gaps_are_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let entry = |n: u8| WrittenFile { sha256: [n; 32], offset: 7, length: 1 << 40 };
        let ledger = ArrayLedger::open(&path).unwrap();
        ledger.write(5, &entry(5)).unwrap();
        ledger.write(2, &entry(2)).unwrap();
        drop(ledger);
        let ledger = ArrayLedger::open(&path).unwrap();
        let entries: Vec<_> = ledger.entries().unwrap().map(Result::unwrap).collect();
        assert_eq!(entries, [(2, entry(2)), (5, entry(5))]);
        assert_eq!(ledger.read(5).unwrap(), Some(entry(5)));
        assert_eq!((ledger.read(0).unwrap(), ledger.read(6).unwrap()), (None, None));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        // A folder opens and does not read, as a file on a disk that fails.
        let ledger = ArrayLedger(File::open(folder.path()).unwrap());
        let entries: Vec<_> = ledger.entries().unwrap().take(2).collect();
        assert!(matches!(entries[..], [Err(_)]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(200)))]

        #[test]
        fn a_damaged_or_displaced_entry_is_none(at in 0usize..52, bit in 0u8..8, place in 0u64..1000, other in 0u64..1000) {
            let entry = WrittenFile { sha256: [9; 32], offset: 3, length: 4 };
            let mut bytes = entry.encode(place);
            prop_assert_eq!(WrittenFile::decode(&bytes, place), Some(entry));
            prop_assert_eq!(WrittenFile::decode(&bytes, other).is_some(), place == other);
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(WrittenFile::decode(&bytes, place), None);
        }

        #[test]
        fn no_file_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ledger");
            std::fs::write(&path, bytes).unwrap();
            let ledger = ArrayLedger::open(&path).unwrap();
            prop_assert!(ledger.entries().unwrap().count() <= 4);
            prop_assert!(ledger.read(u64::MAX).is_err());
        }
    }
}
