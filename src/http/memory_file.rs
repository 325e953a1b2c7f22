//! Answers that are asked for again and again, as files in memory: the kernel sends the pages of a file as they are, where it
//! copies what is sent from anywhere else, which is half of the work of a warm answer.
//!
//! A file only stands for bytes that an answer has in memory as well. What is sent from it is found by where those bytes are, so
//! that nothing else can be sent in their place, and where there is no file, or not for them, they are sent themselves.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create, sendfile};
use rustix::process::{Resource, getrlimit};
use socket2::SockRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::{Room, Share};

/// Shorter answers are copied as fast.
const SHORTEST: u64 = 64 << 10;

/// Making a file of a longer one would hold others up.
const LONGEST: u64 = 4 << 20;

/// Files at a time, each of which takes a descriptor.
const FILES: u64 = 512;

/// They take at most one in so many of the descriptors that this process may have.
const DESCRIPTORS: u64 = 4;

/// Answers that are remembered to have been asked for once.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);

/// A file that was asked for within this time makes no room for another one. Whoever reads more than there is room for, over and
/// over, would have files made only to lose them.
const KEPT: Duration = Duration::from_secs(10);

/// Bytes in memory, and a file of the same bytes.
#[derive(Debug)]
pub(super) struct MemoryFile {
    bytes: Bytes,
    file: File,
    _room: Share,
    _descriptor: OwnedSemaphorePermit,
}

/// The bytes of a file as those of an answer, which keep the file until they were sent.
struct Answer(Arc<MemoryFile>);

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

impl MemoryFile {
    fn new(bytes: &Bytes, room: Share, descriptor: OwnedSemaphorePermit) -> io::Result<Self> {
        let mut file = File::from(memfd_create("emfs-answer", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.write_all(bytes)?;
        // Pages of it may be on their way for as long as a client takes.
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(MemoryFile { bytes: bytes.clone(), file, _room: room, _descriptor: descriptor })
    }

    /// Where in the file a part of its bytes is; nothing where that is other memory, whatever it holds.
    fn offset(&self, part: &[u8]) -> Option<u64> {
        let (all, part) = (self.bytes.as_ptr_range(), part.as_ptr_range());
        let is_part = !part.is_empty() && all.start <= part.start && part.end <= all.end;
        is_part.then(|| (part.start.addr() - all.start.addr()) as u64)
    }

    /// Sends as much as goes of `parts`, which follow each other: up to the end of the first one that is in the file. Returns the
    /// number of bytes.
    pub fn send(&self, socket: &impl AsFd, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let in_file = parts.iter().enumerate().find_map(|(number, part)| Some((number, self.offset(part)?)));
        let Some((number, mut offset)) = in_file else { return SockRef::from(socket).send_vectored(parts) };
        let (before, from) = parts.split_at(number);
        let head: usize = before.iter().map(|part| part.len()).sum();
        if head > 0 {
            let sent = SockRef::from(socket).send_vectored_with_flags(before, libc::MSG_MORE)?;
            if sent < head {
                return Ok(sent);
            }
        }
        match sendfile(socket, &self.file, Some(&mut offset), from.first().map_or(0, |part| part.len())) {
            Ok(sent) => Ok(head + sent),
            // The rest is tried again, and fails again if it has to.
            Err(_) if head > 0 => Ok(head),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a connection sends next, as far as that is in a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Outlet(Arc<Mutex<Weak<MemoryFile>>>);

impl Outlet {
    /// The file, if the answer is not all sent.
    pub fn file(&self) -> Option<Arc<MemoryFile>> {
        self.0.lock().upgrade()
    }

    /// The bytes of a file as the answer that this connection sends next.
    pub fn answer(&self, file: Arc<MemoryFile>) -> Bytes {
        *self.0.lock() = Arc::downgrade(&file);
        Bytes::from_owner(Answer(file))
    }
}

/// Where the bytes of an answer are, and how many.
type Place = (usize, usize);

/// The files of all connections.
pub(super) struct MemoryFiles {
    table: Mutex<Table>,
    room: Room,
    longest: u64,
    descriptors: Arc<Semaphore>,
    kept: Duration,
}

struct Table {
    files: LruCache<Place, (Arc<MemoryFile>, Instant)>,
    asked_once: LruCache<Place, ()>,
}

impl MemoryFiles {
    /// At most so many bytes, counting those that are in memory as well.
    pub fn of(bytes: u64) -> Self {
        let table = Table { files: LruCache::unbounded(), asked_once: LruCache::new(REMEMBERED) };
        let descriptors = getrlimit(Resource::Nofile).current.map_or(FILES, |limit| FILES.min(limit / DESCRIPTORS));
        MemoryFiles {
            table: Mutex::new(table),
            room: Room::of(bytes),
            longest: LONGEST.min(bytes / 2),
            descriptors: Arc::new(Semaphore::new(descriptors as usize)),
            kept: KEPT,
        }
    }

    /// A file of the bytes of an answer, where these were asked for before.
    pub fn file(&self, bytes: &Bytes) -> Option<Arc<MemoryFile>> {
        let length = bytes.len() as u64;
        // What nobody else has is not kept, and the next answer of this name is other memory.
        if bytes.is_unique() || !(SHORTEST..=self.longest).contains(&length) {
            return None;
        }
        let place = (bytes.as_ptr().addr(), bytes.len());
        let mut table = self.table.lock();
        if let Some((file, last)) = table.files.get_mut(&place) {
            *last = Instant::now();
            return Some(Arc::clone(file));
        }
        if table.asked_once.pop(&place).is_none() {
            table.asked_once.push(place, ());
            return None;
        }
        let (room, descriptor) = self.take(&mut table, length)?;
        drop(table);
        let file = MemoryFile::new(bytes, room, descriptor);
        let file = Arc::new(file.inspect_err(|error| tracing::debug!("no file in memory: {error}")).ok()?);
        self.table.lock().files.push(place, (Arc::clone(&file), Instant::now()));
        Some(file)
    }

    /// What a file of so many bytes takes, of files that nobody asks for any more if need be.
    fn take(&self, table: &mut Table, bytes: u64) -> Option<(Share, OwnedSemaphorePermit)> {
        loop {
            let descriptor = Arc::clone(&self.descriptors).try_acquire_owned().ok();
            if let Some(taken) = self.room.try_take(2 * bytes).zip(descriptor) {
                return Some(taken);
            }
            table.files.peek_lru().filter(|(_, (_, last))| last.elapsed() >= self.kept)?;
            table.files.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use super::*;

    const LENGTH: usize = 100_000;

    fn answer(seed: usize) -> Bytes {
        (0..LENGTH).map(|at| ((at * 7 + seed) % 251) as u8).collect::<Vec<u8>>().into()
    }

    fn files(answers: u64) -> MemoryFiles {
        MemoryFiles::of(answers * 2 * (LENGTH as u64 + 1024))
    }

    /// The file of an answer that is kept and asked for twice.
    fn file(files: &MemoryFiles, bytes: &Bytes) -> Option<Arc<MemoryFile>> {
        let _kept = bytes.clone();
        assert!(files.file(bytes).is_none(), "a file for what is asked for once");
        files.file(bytes)
    }

    /// What comes of writing `parts` one after the other, as far as each goes at a time.
    fn sent(file: &MemoryFile, parts: &[&[u8]]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            all
        });
        let mut left: Vec<&[u8]> = parts.to_vec();
        while let Some(first) = left.first() {
            if first.is_empty() {
                left.remove(0);
                continue;
            }
            let slices: Vec<IoSlice<'_>> = left.iter().map(|part| IoSlice::new(part)).collect();
            let mut count = file.send(&server, &slices).unwrap();
            for part in &mut left {
                let taken = count.min(part.len());
                *part = &part[taken..];
                count -= taken;
            }
        }
        drop(server);
        reading.join().unwrap()
    }

    #[test]
    fn what_is_sent_are_the_bytes_that_were_given_whether_they_are_in_the_file_or_not() {
        let (ours, other) = (answer(1), answer(2));
        let file = file(&files(4), &ours).unwrap();
        let head = b"head".as_slice();
        for parts in [
            vec![head, &ours],
            vec![&ours[..]],
            vec![&ours[LENGTH / 3..]],
            vec![head, &ours[..17], &other, &ours[LENGTH - 1..]],
            vec![&other, head],
            vec![head, &other, &ours, &other],
        ] {
            assert!(sent(&file, &parts) == parts.concat());
        }
        // The same bytes elsewhere, and memory that only begins or ends in the file's, are not the file's.
        let copy = Bytes::copy_from_slice(&ours);
        assert_eq!((file.offset(&copy), file.offset(&ours[5..]), file.offset(&[])), (None, Some(5), None));
    }

    #[test]
    fn an_answer_that_was_dropped_is_never_sent_for_one_that_took_its_place_in_memory() {
        let (files, outlet) = (files(4), Outlet::default());
        let first = answer(1);
        let body = outlet.answer(file(&files, &first).unwrap());
        drop(first);
        // The file has the memory for as long as it can be sent.
        assert!(outlet.file().is_some_and(|file| file.offset(&body) == Some(0)));
        files.table.lock().files.clear();
        assert!(outlet.file().is_some());
        drop(body);
        assert!(outlet.file().is_none());
    }

    #[test]
    fn no_file_is_made_where_others_are_in_use_and_take_all_the_room() {
        let mut files = files(2);
        let answers = [answer(1), answer(2), answer(3)];
        let [first, second, third] = &answers;
        assert!(file(&files, first).is_some() && file(&files, second).is_some());
        assert!(file(&files, third).is_none());
        assert!(files.file(&first.clone()).is_some());
        files.kept = Duration::ZERO;
        assert!(file(&files, third).is_some(), "nobody asks for the others any more");
        assert!(files.file(first).is_some() && files.file(second).is_none());
    }

    #[test]
    fn what_is_short_or_not_kept_or_takes_more_than_the_room_has_no_file() {
        let files = files(1);
        for length in [1, SHORTEST as usize - 1, LENGTH + 2048, 1 << 20] {
            assert!(file(&files, &Bytes::from(vec![1; length])).is_none(), "{length}");
        }
        let not_kept = answer(1);
        assert!(files.file(&not_kept).is_none() && files.file(&not_kept).is_none());
    }
}
