//! A local file, asked like a server: its status, length and version are checked as those of any other origin.
//!
//! Files are read directly and not through `object_store`, which cannot say whether a file changed while it was read.
//!
//! What tells versions apart is the time of the last change (ctime), which nobody can set, unlike that of the content
//! (mtime). It is taken from a clock that stands still for some milliseconds at a time, so a file that has just changed
//! could change again without a trace: its bytes are used only after that clock went on. No time tells of a store into a
//! mapped page that is waiting to be written already, nor when a call that writes ends that had begun before.
//!
//! A filesystem may hang, as that of a dead server does, and no call to it can be taken back. So one thread makes all calls of
//! a request, and the request's permit is its until the last of them returns, however long ago whoever asked has gone. However
//! many ask, a filesystem that hangs has no more threads than permits.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

use super::Cause;
use super::backoff::FailedAttempt;
use super::head::Head;
use super::in_the_way::broken_link;
use super::limits::Permit;
use super::wanted;
use crate::task;

/// Bytes read at once.
const PIECE: u64 = 1 << 20;
/// Pieces that are read while nobody has taken those before.
const PIECES_AHEAD: usize = 2;

const SECOND: i128 = 1_000_000_000;
/// How long the time of a change may stand still, in nanoseconds, where a filesystem keeps whole seconds.
const WHOLE_SECONDS: i128 = 2 * SECOND;
/// A change that lies so far in the future was timed by the clock of another machine.
const OTHER_CLOCK: i128 = SECOND;
/// Pause between two looks at a file that has just changed.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// A file that has just changed at every look for so long is being written.
const BEING_WRITTEN: Duration = Duration::from_secs(3);

/// What the thread says: a head, pieces, the end.
#[derive(Debug)]
enum Part {
    Head(Head),
    Piece(Bytes),
    End,
}

/// The thread's side of a request.
struct Speaker(mpsc::Sender<Result<Part, FailedAttempt>>);

/// A file that is being read.
#[derive(Debug)]
pub(super) struct FileBody(mpsc::Receiver<Result<Part, FailedAttempt>>);

/// Opens the file and answers as a server would. `permit` is kept until the file's last call has returned.
pub(super) async fn open(
    path: &Path,
    part: Option<wanted::WantedBytes>,
    if_match: Option<&str>,
    permit: Permit,
) -> Result<(Head, FileBody), FailedAttempt> {
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let (path, if_match) = (path.to_owned(), if_match.map(str::to_owned));
    task::spawn_blocking(move || {
        let _permit = permit;
        let speaker = Speaker(sender);
        if let Err(failure) = answer(&path, part, if_match.as_deref(), &speaker) {
            // Nobody may be there any more to hear it.
            let _ = speaker.0.blocking_send(Err(failure));
        }
    });
    let mut body = FileBody(receiver);
    match body.next().await? {
        Part::Head(head) => Ok((head, body)),
        Part::Piece(_) | Part::End => Err(lost()),
    }
}

impl FileBody {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, FailedAttempt> {
        match self.next().await? {
            Part::Piece(piece) => Ok(Some(piece)),
            Part::Head(_) | Part::End => Ok(None),
        }
    }

    async fn next(&mut self) -> Result<Part, FailedAttempt> {
        self.0.recv().await.unwrap_or_else(|| Err(lost()))
    }
}

impl Speaker {
    /// An error where nobody listens any more: then nothing more has to be read.
    fn say(&self, part: Part) -> Result<(), FailedAttempt> {
        self.0.blocking_send(Ok(part)).map_err(|_| lost())
    }

    fn say_only(&self, head: Head) -> Result<(), FailedAttempt> {
        self.say(Part::Head(head))?;
        self.say(Part::End)
    }
}

/// The thread ended before the answer did.
fn lost() -> FailedAttempt {
    FailedAttempt::connection("the file was not read to its end", 1)
}

/// Reads a file, on a thread that may wait for its filesystem, and says what there is.
fn answer(
    path: &Path,
    part: Option<wanted::WantedBytes>,
    if_match: Option<&str>,
    speaker: &Speaker,
) -> Result<(), FailedAttempt> {
    if speaker.0.is_closed() {
        return Ok(());
    }
    let (mut file, metadata) = match regular(path) {
        Ok(Some((file, Some(metadata)))) => (file, metadata),
        Ok(Some((_, None))) => return Err(FailedAttempt::torn("the file is being written")),
        Ok(None) => return Err(FailedAttempt::last(Cause::Protocol("not a regular file".into()))),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                return match broken_link(path) {
                    Some(told) => Err(FailedAttempt::last(Cause::Elsewhere(told))),
                    None => speaker.say_only(head(404)),
                };
            }
            // What the system says so is not an accident that passes.
            ErrorKind::PermissionDenied => return Err(FailedAttempt::last(Cause::Forbidden(error.to_string()))),
            _ if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENAMETOOLONG)) => {
                return Err(FailedAttempt::last(Cause::Request(error.to_string())));
            }
            _ => return Err(FailedAttempt::opening(&error, error.to_string())),
        },
    };
    let (total, version) = (metadata.len(), version(&metadata));
    if if_match.is_some_and(|etag| etag != version) {
        return speaker.say_only(head(412));
    }
    let mut head = Head { etag: Some(version.clone()), ..head(200) };
    let range = match part {
        Some(wanted::WantedBytes::Range(range)) => Some(range),
        Some(wanted::WantedBytes::End(length)) => Some(total.saturating_sub(length)..total),
        None => None,
    };
    let part = match range {
        None => 0..total,
        Some(range) if range.start >= total => {
            head.status = 416;
            head.content_range = Some(format!("bytes */{total}"));
            return speaker.say_only(head);
        }
        Some(range) => {
            let part = range.start..range.end.min(total);
            head.status = 206;
            head.content_range = Some(format!("bytes {}-{}/{total}", part.start, part.end.saturating_sub(1)));
            part
        }
    };
    let mut left = part.end.saturating_sub(part.start);
    head.content_length = Some(left);
    speaker.say(Part::Head(head))?;
    let lost = |error: std::io::Error| FailedAttempt::connection(error.to_string(), 1);
    file.seek(SeekFrom::Start(part.start)).map_err(lost)?;
    while left > 0 {
        let wanted = PIECE.min(left);
        let mut piece = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        file.by_ref().take(wanted).read_to_end(&mut piece).map_err(lost)?;
        if piece.is_empty() {
            return Err(FailedAttempt::malformed_body(format!("the file ended {left} bytes early")));
        }
        left = left.saturating_sub(piece.len() as u64);
        speaker.say(Part::Piece(piece.into()))?;
    }
    if self::version(&file.metadata().map_err(lost)?) != version {
        return Err(FailedAttempt::torn("the file was written while it was read"));
    }
    speaker.say(Part::End)
}

/// The file with what it is, as [`settled`] has it; `None` where it is no regular file.
fn regular(path: &Path) -> std::io::Result<Option<(File, Option<Metadata>)>> {
    // A pipe would block the open until somebody writes; so the kind is looked at first.
    if !std::fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = File::open(path)?;
    let metadata = settled(&file, now)?;
    Ok(Some((file, metadata)))
}

/// What the file is once its last change is so long ago, by the clock `now`, that another would show; `None` where it
/// changes all the time.
fn settled(file: &File, now: impl Fn() -> (i64, i64)) -> std::io::Result<Option<Metadata>> {
    let began = Instant::now();
    loop {
        let metadata = file.metadata()?;
        if !could_change_unseen((metadata.ctime(), metadata.ctime_nsec()), now()) {
            return Ok(Some(metadata));
        }
        if began.elapsed() > BEING_WRITTEN {
            return Ok(None);
        }
        sleep(LOOK_AGAIN);
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

fn head(status: u16) -> Head {
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

    #[test]
    fn what_the_system_says_of_a_name_is_the_answer_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let ring = folder.path().join("ring");
        std::os::unix::fs::symlink(&ring, &ring).unwrap();
        let long = folder.path().join("x".repeat(300));
        for (path, said) in [(ring, "symbolic links"), (long, "name too long")] {
            let (sender, _receiver) = mpsc::channel(PIECES_AHEAD);
            let failure = answer(&path, None, None, &Speaker(sender)).unwrap_err();
            assert!(failure.ends_after(1));
            assert!(failure.cause.to_string().contains(said), "{}", failure.cause);
        }
    }

    #[test]
    fn a_file_that_changes_all_the_time_is_not_read() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let file = File::open(named.path()).unwrap();
        let changed = file.metadata().unwrap();
        // Whenever the clock is looked at, the file has just changed.
        let clock = || (changed.ctime(), changed.ctime_nsec());
        assert!(settled(&file, clock).unwrap().is_none());
        assert!(settled(&file, now).unwrap().is_some());
    }
}
