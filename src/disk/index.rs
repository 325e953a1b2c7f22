//! One index file: which bytes of which version of which object are where, in SQLite.
//!
//! A rollback journal, because the shared memory of a write-ahead log is a mapped file; no `fsync`, because the
//! segments say themselves what they hold: after a power cut the index is made anew from them.

use std::{
    fs,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi};

use super::types::FolderAccess;

/// "emfs" as SQLite's application id.
const APPLICATION: i64 = 0x656d_6673;
const FORMAT: i64 = 1;
const TABLES: i64 = 4;
const SCHEMA: &str = "
    CREATE TABLE objects (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE notes (object INTEGER PRIMARY KEY, note BLOB NOT NULL, sum INTEGER NOT NULL, set_at INTEGER NOT NULL);
    CREATE TABLE segments (id INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, is_full INTEGER NOT NULL, used INTEGER NOT NULL);
    CREATE TABLE extents (
        object INTEGER NOT NULL, version INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,
        segment INTEGER NOT NULL, offset INTEGER NOT NULL, header INTEGER NOT NULL, PRIMARY KEY (object, version, start)
    ) WITHOUT ROWID;
    CREATE INDEX extents_by_place ON extents (segment, offset);
    CREATE INDEX notes_by_time ON notes (set_at);
";
/// Readers wait for a commit, which takes milliseconds, and then do without.
const READER_WAITS: Duration = Duration::from_millis(500);
const WRITER_WAITS: Duration = Duration::from_secs(10);
/// Connections kept for the next readers.
const MAX_IDLE: usize = 8;
/// What a reader's connection may hold of the file, in SQLite's notation for KiB: the inner pages, and some leaves.
const READER_CACHE: i64 = -500;
/// Pages given back in one transaction: that is over before readers do without.
const PAGES_AT_ONCE: u32 = 200;

/// An open index.
pub struct DiskIndex {
    path: PathBuf,
    file: (u64, u64),
    access: FolderAccess,
    immutable: bool,
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Option<Connection>>,
}

/// Does this mean that the file is not what was written?
pub fn is_damage(reason: &rusqlite::Error) -> bool {
    match reason {
        rusqlite::Error::SqliteFailure(failure, _) => {
            matches!(
                failure.code,
                ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::SchemaChanged
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::InternalMalfunction
                    | ErrorCode::Unknown
            ) || failure.extended_code == ffi::SQLITE_IOERR_SHORT_READ
        }
        _ => true,
    }
}

/// Does this mean that somebody else uses the file?
pub fn is_busy(reason: &rusqlite::Error) -> bool {
    matches!(reason.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

impl DiskIndex {
    /// Makes the file at `path`, which is not there yet.
    pub fn create(path: &Path) -> rusqlite::Result<()> {
        let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        if let Err(reason) = made {
            let code = match reason.raw_os_error() {
                Some(libc::ENOSPC | libc::EDQUOT) => ffi::SQLITE_FULL,
                _ => ffi::SQLITE_CANTOPEN,
            };
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(reason.to_string())));
        }
        let mut connection = connect(path, FolderAccess::ReadWrite, false)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
        transaction.commit()
    }

    /// Opens the file at `path`; an error that [`is_damage`] when it is not an index of this format.
    pub fn open(path: &Path, access: FolderAccess) -> rusqlite::Result<Self> {
        let file = identity(path)
            .ok_or_else(|| rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CANTOPEN), None))?;
        let mut index = Self {
            path: path.to_owned(),
            file,
            access,
            immutable: false,
            readers: Mutex::default(),
            writer: Mutex::default(),
        };
        match index.check() {
            // A process was killed in a commit, and its journal cannot be rolled back in a folder that cannot be
            // written: what the file says is used as it is, because every record is checked against itself.
            Err(reason) if access == FolderAccess::ReadOnly && !is_damage(&reason) => {
                index.immutable = true;
                index.readers.lock().clear();
                index.check()?;
            }
            checked => checked?,
        }
        Ok(index)
    }

    fn check(&self) -> rusqlite::Result<()> {
        let matches = self.read_patiently(|connection| {
            let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
            Ok(number("PRAGMA application_id")? == APPLICATION
                && number("PRAGMA user_version")? == FORMAT
                && number("SELECT count(*) FROM sqlite_schema WHERE type = 'table'")? == TABLES
                && number("SELECT count(*) FROM sqlite_schema WHERE type IN ('trigger', 'view')")? == 0)
        })?;
        matches.then_some(()).ok_or_else(Self::foreign)
    }

    /// What is said of a file that is not what was written.
    pub fn foreign() -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTADB), None)
    }

    /// Forgets the pages in memory, so that the file is read again.
    pub fn disconnect(&self) {
        self.readers.lock().clear();
        *self.writer.lock() = None;
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is the file still the one at its path? Somebody may have removed or replaced it.
    pub fn is_current(&self) -> bool {
        identity(&self.path) == Some(self.file)
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |known| known.len())
    }

    /// Bytes of the file that something is in. The others are given back by [`DiskIndex::shrink`].
    pub fn bytes_in_use(connection: &Connection) -> rusqlite::Result<u64> {
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let free = number("PRAGMA freelist_count")?;
        let used = number("PRAGMA page_count")?.saturating_sub(free).saturating_mul(number("PRAGMA page_size")?);
        Ok(u64::try_from(used).unwrap_or(0))
    }

    /// Runs a query for somebody who waits for the answer and can do without.
    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.query(READER_WAITS, query)
    }

    /// Runs a query for somebody who cannot do without.
    pub fn read_patiently<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        self.query(WRITER_WAITS, query)
    }

    fn query<T>(
        &self,
        patience: Duration,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = self.readers.lock().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path, self.access, self.immutable)?;
                connection.pragma_update(None, "query_only", true)?;
                connection.pragma_update(None, "cache_size", READER_CACHE)?;
                connection
            }
        };
        connection.busy_timeout(patience)?;
        let answer = query(&connection);
        if answer.is_ok() {
            let mut readers = self.readers.lock();
            if readers.len() < MAX_IDLE {
                readers.push(connection);
            }
        }
        answer
    }

    /// Runs a transaction, alone among all processes; it is undone when `change` fails.
    pub fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let mut held = self.writer.lock();
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => {
                let connection = connect(&self.path, self.access, false)?;
                connection.busy_timeout(WRITER_WAITS)?;
                connection
            }
        };
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let answer = change(&transaction)?;
        transaction.commit()?;
        *held = Some(connection);
        Ok(answer)
    }

    /// Gives the pages that are not needed any more back to the disk, a few at a time.
    pub fn shrink(&self) -> rusqlite::Result<()> {
        let mut before = i64::MAX;
        loop {
            let began = Instant::now();
            let left = self.write(|transaction| {
                let mut statement = transaction.prepare(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
                transaction.query_row("PRAGMA freelist_count", [], |row| row.get(0))
            })?;
            if left == 0 || left >= before {
                return Ok(());
            }
            before = left;
            let_others(began);
        }
    }
}

/// Between two of many transactions: whoever waits for the index looks only now and then whether it is free.
pub fn let_others(began: Instant) {
    std::thread::sleep(began.elapsed());
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|known| (known.dev(), known.ino()))
}

fn connect(path: &Path, access: FolderAccess, immutable: bool) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
        | match access {
            FolderAccess::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE,
            FolderAccess::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
        };
    let connection = if immutable {
        let mut uri = url::Url::from_file_path(path).map_err(|()| rusqlite::Error::InvalidPath(path.to_owned()))?;
        uri.set_query(Some("immutable=1"));
        Connection::open_with_flags(uri.as_str(), flags | OpenFlags::SQLITE_OPEN_URI)?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    for (name, value) in [
        ("mmap_size", "0"),
        ("synchronous", "OFF"),
        ("temp_store", "MEMORY"),
        ("cache_size", "-2000"),
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
    ] {
        connection.pragma_update(None, name, value)?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}
