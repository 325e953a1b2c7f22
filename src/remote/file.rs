//! A local file, asked like a server: its status, length and version are checked as those of any other origin.
//!
//! Files are read directly and not through `object_store`, which cannot say whether a file changed while it was read.
//!
//! What tells versions apart is the time of the last change (ctime), which nobody can set, unlike that of the content
//! (mtime). It is taken from a clock that stands still for some milliseconds at a time, so a file that has just changed
//! could change again without a trace: its bytes are used only after that clock went on. No time tells of a store into a
//! mapped page that is waiting to be written already, nor when a call that writes ends that had begun before.

use std::fs::Metadata;
use std::io::{ErrorKind, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::time::{ClockId, clock_gettime};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::{Instant, sleep};

use super::Cause;
use super::backoff::Failure;
use super::head::Head;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

const SECOND: i128 = 1_000_000_000;
/// How long the time of a change may stand still, in nanoseconds, where a filesystem keeps whole seconds.
const WHOLE_SECONDS: i128 = 2 * SECOND;
/// A change that lies so far in the future was timed by the clock of another machine.
const OTHER_CLOCK: i128 = SECOND;
/// Pause between two looks at a file that has just changed.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// A file that has just changed at every look for so long is being written.
const BEING_WRITTEN: Duration = Duration::from_secs(3);

/// A file that is being read.
#[derive(Debug)]
pub(super) struct FileBody {
    file: File,
    version: String,
    left: u64,
}

/// Opens the file and answers as a server would.
pub(super) async fn open(
    path: &Path,
    range: Option<Range<u64>>,
    if_match: Option<&str>,
) -> Result<(Head, Option<FileBody>), Failure> {
    // A pipe would block the open until somebody writes; so the kind is looked at first.
    let opened = async {
        let kind = tokio::fs::metadata(path).await?;
        if !kind.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path).await?;
        file.set_max_buf_size(PIECE);
        let metadata = settled(&file, now).await?;
        std::io::Result::Ok(Some((file, metadata)))
    };
    let (mut file, metadata) = match opened.await {
        Ok(Some((file, Some(metadata)))) => (file, metadata),
        Ok(Some((_, None))) => return Err(Failure::torn("the file is being written")),
        Ok(None) => return Err(Failure::last(Cause::Protocol("not a regular file".into()))),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => return Ok((answer(404), None)),
            ErrorKind::PermissionDenied => return Ok((answer(403), None)),
            _ => return Err(Failure::opening(&error, error.to_string())),
        },
    };
    let (total, version) = (metadata.len(), version(&metadata));
    if if_match.is_some_and(|etag| etag != version) {
        return Ok((answer(412), None));
    }
    let mut head = Head { etag: Some(version.clone()), ..answer(200) };
    let part = match range {
        None => 0..total,
        Some(range) if range.start >= total => {
            let head = Head { content_range: Some(format!("bytes */{total}")), ..answer(416) };
            return Ok((head, None));
        }
        Some(range) => {
            let part = range.start..range.end.min(total);
            head.status = 206;
            head.content_range = Some(format!("bytes {}-{}/{total}", part.start, part.end.saturating_sub(1)));
            part
        }
    };
    let left = part.end.saturating_sub(part.start);
    head.content_length = Some(left);
    file.seek(SeekFrom::Start(part.start)).await.map_err(|error| Failure::connection(error.to_string(), 0))?;
    Ok((head, Some(FileBody { file, version, left })))
}

impl FileBody {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let lost = |error: std::io::Error| Failure::connection(error.to_string(), 1);
        if self.left == 0 {
            let now = version(&self.file.metadata().await.map_err(lost)?);
            if now != self.version {
                return Err(Failure::torn("the file was written while it was read"));
            }
            return Ok(None);
        }
        let piece = PIECE.min(usize::try_from(self.left).unwrap_or(PIECE));
        let mut buffer = BytesMut::with_capacity(piece);
        let read = (&mut self.file).take(self.left).read_buf(&mut buffer).await.map_err(lost)?;
        if read == 0 {
            return Err(Failure::odd_body(format!("the file ended {} bytes early", self.left)));
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(Some(buffer.freeze()))
    }
}

/// What the file is once its last change is so long ago, by the clock `now`, that another would show; `None` where it
/// changes all the time.
async fn settled(file: &File, now: impl Fn() -> (i64, i64)) -> std::io::Result<Option<Metadata>> {
    let began = Instant::now();
    loop {
        let metadata = file.metadata().await?;
        if !could_change_unseen((metadata.ctime(), metadata.ctime_nsec()), now()) {
            return Ok(Some(metadata));
        }
        if began.elapsed() > BEING_WRITTEN {
            return Ok(None);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The clock that times of changes are taken from: seconds, nanoseconds.
fn now() -> (i64, i64) {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec, now.tv_nsec)
}

/// Whether a change of the file at `now` or later could be given the same time as its last one.
fn could_change_unseen(changed: (i64, i64), now: (i64, i64)) -> bool {
    let nanoseconds = |(seconds, rest): (i64, i64)| i128::from(seconds) * SECOND + i128::from(rest);
    let age = nanoseconds(now) - nanoseconds(changed);
    let stands_still = if changed.1 == 0 { WHOLE_SECONDS } else { 0 };
    age <= stands_still && age >= -OTHER_CLOCK
}

/// What stands for an ETag: a file that was replaced or written has another.
fn version(metadata: &Metadata) -> String {
    let device = metadata.dev();
    let (written, written_rest) = (metadata.mtime(), metadata.mtime_nsec());
    let (changed, changed_rest) = (metadata.ctime(), metadata.ctime_nsec());
    let times = format!("{written}.{written_rest:09}-{changed}.{changed_rest:09}");
    format!("\"{device}-{}-{}-{times}\"", metadata.ino(), metadata.len())
}

fn answer(status: u16) -> Head {
    Head { status, delimited: true, ..Head::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_old_enough_once_its_clock_went_on() {
        let at = |seconds, nanoseconds| (seconds, nanoseconds);
        assert!(could_change_unseen(at(10, 500), at(10, 500)));
        assert!(!could_change_unseen(at(10, 500), at(10, 501)));
        // A fine-grained time may be ahead of the clock that stands still, that of another machine far ahead.
        assert!(could_change_unseen(at(10, 500), at(10, 100)));
        assert!(could_change_unseen(at(11, 1), at(10, 999_999_999)));
        assert!(!could_change_unseen(at(12, 1), at(10, 999_999_999)));
        // Where whole seconds are kept, the same second may come again.
        assert!(could_change_unseen(at(10, 0), at(12, 0)));
        assert!(!could_change_unseen(at(10, 0), at(12, 1)));
        for extreme in [i64::MIN, i64::MAX] {
            let _ = could_change_unseen(at(extreme, 0), at(-extreme.saturating_add(1), 999_999_999));
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_all_the_time_is_not_read() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = File::open(named.path()).await.unwrap();
        let changed = file.metadata().await.unwrap();
        // Whenever the clock is looked at, the file has just changed.
        let clock = || (changed.ctime(), changed.ctime_nsec());
        assert!(settled(&file, clock).await.unwrap().is_none());
        assert!(settled(&file, now).await.unwrap().is_some());
    }
}
