//! The folder of a store: its files' names, who may write, and which index is the one in use.
//!
//! An index that is damaged is not repaired: one of a new name takes its place, so that a process that still has the
//! old one open cannot write its journal next to the new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use super::{
    index::{DiskIndex, is_damage},
    segments,
    types::{DiskError, FolderAccess},
};
use crate::lock::{Lock, try_lock};

const TAG: &str = "CACHEDIR.TAG";
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Bytes of public datasets that emfs has fetched; it fetches them again where this folder is removed.\n";
const LOCK: &str = "lock";
const LOCK_WAITS: Duration = Duration::from_secs(10);

/// Makes the folder and its fixed files where they are missing, and says what may be done with it.
pub fn prepare(folder: &Path) -> Result<FolderAccess, DiskError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|reason| io_error(folder, reason))?;
    let is_ours = names(folder).is_ok_and(|names| names.iter().all(|name| is_of_store(name)));
    let lock = folder.join(LOCK);
    match OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock) {
        Ok(_) => {}
        Err(reason) if cannot_be_written(&reason) => {
            fs::read_dir(folder).map_err(|reason| io_error(folder, reason))?;
            return Ok(FolderAccess::ReadOnly);
        }
        // A full disk has space for no new file; what is there can still be used.
        Err(reason) if is_full(&reason) => return Ok(FolderAccess::ReadWrite),
        Err(reason) => return Err(io_error(&lock, reason)),
    }
    // Whatever else is in the folder, backups are not to leave it out.
    if is_ours && let Ok(mut tag) = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(TAG)) {
        let _ = tag.write_all(TAG_TEXT.as_bytes());
    }
    Ok(FolderAccess::ReadWrite)
}

/// Is this the name of a file that only a store makes?
fn is_kept(name: &str) -> bool {
    generation(name).is_some() || journal(name).is_some() || segments::number(name).is_some()
}

fn is_of_store(name: &str) -> bool {
    name == TAG || name == LOCK || is_kept(name)
}

/// Is there a store in the folder, be it an empty one?
pub fn holds_store(folder: &Path) -> Result<bool, DiskError> {
    let names = match fs::read_dir(folder) {
        Err(reason) if matches!(reason.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(false);
        }
        _ => names(folder)?,
    };
    // Others tag their caches as well.
    let tag = folder.join(TAG);
    let is_tagged = || {
        let has_length = |known: fs::Metadata| known.is_file() && known.len() == TAG_TEXT.len() as u64;
        fs::metadata(&tag).is_ok_and(has_length) && fs::read(&tag).is_ok_and(|text| text == TAG_TEXT.as_bytes())
    };
    Ok(names.iter().any(|name| is_kept(name)) || is_tagged())
}

fn cannot_be_written(reason: &io::Error) -> bool {
    matches!(reason.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM))
}

fn is_full(reason: &io::Error) -> bool {
    matches!(reason.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EIO))
}

/// The index in use. A folder that can be written gets one; what is damaged, not of this format or left over goes.
pub fn index(folder: &Path, access: FolderAccess) -> Result<Option<DiskIndex>, DiskError> {
    let found = generations(folder)?;
    if let [only] = found[..] {
        match DiskIndex::open(&index_path(folder, only), access) {
            Ok(index) => return Ok(Some(index)),
            Err(reason) if is_damage(&reason) || is_missing(&reason) => {}
            Err(reason) => return Err(index_error(&index_path(folder, only), reason)),
        }
    }
    if access == FolderAccess::ReadOnly {
        return Ok(found.iter().find_map(|generation| DiskIndex::open(&index_path(folder, *generation), access).ok()));
    }
    let _lock = lock(folder)?;
    let found = generations(folder)?;
    let mut usable = None;
    for generation in &found {
        let path = index_path(folder, *generation);
        if usable.is_some() {
            remove_index(folder, *generation);
            continue;
        }
        match DiskIndex::open(&path, access) {
            Ok(index) => usable = Some(index),
            Err(reason) if is_damage(&reason) => remove_index(folder, *generation),
            Err(reason) => return Err(index_error(&path, reason)),
        }
    }
    if usable.is_none() {
        let newest = found.first().copied().unwrap_or(0);
        let path = index_path(folder, newest.saturating_add(1).max(now()));
        DiskIndex::create(&path).map_err(|reason| {
            let _ = fs::remove_file(&path);
            index_error(&path, reason)
        })?;
        usable = Some(DiskIndex::open(&path, access).map_err(|reason| index_error(&path, reason))?);
    }
    remove_journals(folder);
    Ok(usable)
}

/// Is something kept in the folder that this process may not open, although it may look into the folder?
pub fn is_closed_to_us(folder: &Path) -> bool {
    let names = names(folder).unwrap_or_default();
    let none_opens = |is_meant: &dyn Fn(&str) -> bool| {
        let mut opened =
            names.iter().filter(|name| is_meant(name)).map(|name| File::open(folder.join(name))).peekable();
        let refused =
            |file: io::Result<File>| file.is_err_and(|reason| reason.kind() == io::ErrorKind::PermissionDenied);
        opened.peek().is_some() && opened.all(refused)
    };
    none_opens(&|name| generation(name).is_some()) || none_opens(&|name| segments::number(name).is_some())
}

fn is_missing(reason: &rusqlite::Error) -> bool {
    reason.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen)
}

/// Takes an index out of use that was found to be damaged, unless that happened already.
pub fn retire(folder: &Path, index: &DiskIndex) -> Result<(), DiskError> {
    let _lock = lock(folder)?;
    if index.is_current() {
        remove_database(index.path());
    }
    Ok(())
}

/// Removes everything that is kept, and no file that is not of a store.
pub fn clear(folder: &Path) -> Result<(), DiskError> {
    if prepare(folder)? == FolderAccess::ReadOnly {
        return Err(DiskError::ReadOnly(folder.to_owned()));
    }
    let _lock = lock(folder)?;
    for name in names(folder)? {
        if is_kept(&name) {
            let path = folder.join(&name);
            match fs::remove_file(&path) {
                Err(reason) if reason.kind() != io::ErrorKind::NotFound => return Err(io_error(&path, reason)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Bytes and number of the files of a store in the folder.
pub fn files(folder: &Path) -> Result<(u64, u64), DiskError> {
    let mut bytes: u64 = 0;
    let mut files: u64 = 0;
    for name in names(folder)? {
        if is_of_store(&name) {
            bytes = bytes.saturating_add(fs::metadata(folder.join(&name)).map_or(0, |known| known.len()));
            files += 1;
        }
    }
    Ok((bytes, files))
}

/// Most bytes that are left free of a large disk, where a twentieth would be more than others ever need.
const MAX_LEFT_FREE: i128 = 4 << 30;

/// Bytes of the folder's filesystem that may still be used; negative where what is left to others is in use.
pub fn usable_bytes(folder: &Path) -> io::Result<i128> {
    let known = nix::sys::statvfs::statvfs(folder).map_err(io::Error::from)?;
    let fragment = i128::from(known.fragment_size());
    Ok(i128::from(known.blocks_available()) * fragment - left_free(i128::from(known.blocks()) * fragment))
}

/// Bytes that the cache leaves free on a disk of `size` bytes: a twentieth, but not more than [`MAX_LEFT_FREE`].
fn left_free(size: i128) -> i128 {
    (size / 20).min(MAX_LEFT_FREE)
}

/// Held while an index is made or removed; the system releases it when the process ends.
fn lock(folder: &Path) -> Result<File, DiskError> {
    let path = folder.join(LOCK);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|reason| io_error(&path, reason))?;
    let deadline = Instant::now() + LOCK_WAITS;
    loop {
        match try_lock(&file) {
            Ok(Lock::Held | Lock::Unsupported) => return Ok(file),
            Ok(Lock::Taken) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(Lock::Taken) => {
                let reason = io::Error::new(io::ErrorKind::TimedOut, "another process holds this lock");
                return Err(io_error(&path, reason));
            }
            Err(reason) => return Err(io_error(&path, reason)),
        }
    }
}

/// Does the filesystem of the folder have locks? Where that cannot be tried, nobody is told that it has none.
pub fn has_locks(folder: &Path) -> bool {
    let file = OpenOptions::new().write(true).open(folder.join(LOCK));
    !file.is_ok_and(|file| try_lock(&file).is_ok_and(|lock| lock == Lock::Unsupported))
}

fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn index_path(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("index-{generation:016x}.sqlite"))
}

fn generation(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("index-")?.strip_suffix(".sqlite")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (format!("{number:016x}") == digits).then_some(number)
}

fn journal(name: &str) -> Option<u64> {
    generation(name.strip_suffix("-journal")?)
}

/// The indices in the folder, newest first.
fn generations(folder: &Path) -> Result<Vec<u64>, DiskError> {
    let mut found: Vec<_> = names(folder)?.iter().filter_map(|name| generation(name)).collect();
    found.sort_unstable_by(|one, other| other.cmp(one));
    Ok(found)
}

fn remove_index(folder: &Path, generation: u64) {
    remove_database(&index_path(folder, generation));
}

fn remove_database(path: &Path) {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(journal);
}

/// Removes journals of indices that are gone.
fn remove_journals(folder: &Path) {
    for name in names(folder).unwrap_or_default() {
        if journal(&name).is_some_and(|generation| !index_path(folder, generation).exists()) {
            let _ = fs::remove_file(folder.join(name));
        }
    }
}

fn names(folder: &Path) -> Result<Vec<String>, DiskError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|reason| io_error(folder, reason))? {
        names.extend(entry.map_err(|reason| io_error(folder, reason))?.file_name().into_string());
    }
    Ok(names)
}

/// An error of the system about a path.
pub fn io_error(path: &Path, reason: io::Error) -> DiskError {
    DiskError::Io { path: path.to_owned(), reason }
}

/// What is said where there is no index in use.
pub fn no_index(folder: &Path) -> DiskError {
    io_error(folder, io::Error::other("there is no index"))
}

/// An error of SQLite about an index.
pub fn index_error(path: &Path, reason: rusqlite::Error) -> DiskError {
    DiskError::Index { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_of_a_small_disk_and_4_gib_of_a_large_one_are_left_free() {
        for (size, left) in [(64 << 20, (64 << 20) / 20), (80 << 30, 4 << 30), (250 << 30, 4 << 30), (1 << 60, 4 << 30)]
        {
            assert_eq!(left_free(size), left, "of a disk of {size} bytes");
        }
    }
}
