//! Answers for a daemon that has ended: that the chunks are there, and that nothing can be read.
//!
//! A mount without a process fails every request alike. To programs that take a `stat` that fails for "no such chunk", as
//! zarr 2 does, it is a volume of fill values. So somebody has to go on answering, in a process of its own and with the few
//! messages of the protocol that this takes (fuse(4), `linux/fuse.h`). What is no look-up of a name in a store fails as it
//! would without anybody, with `ENOTCONN`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::{getegid, geteuid, read, write};

use crate::tree::{Inode, NodeKind, Remains};

/// The kernel hands out nothing to who has no buffer for the longest write, 16 MiB as `fuser` agrees on it. What is not used
/// of it takes no memory.
const BUFFER_BYTES: usize = (16 << 20) + 4096;

/// Bytes before the body of a request, and of an answer.
const REQUEST_HEAD: usize = 40;
const ANSWER_HEAD: usize = 16;

/// Kinds of requests.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const FLUSH: u32 = 25;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// A message in place of an answer: give out again what the daemon has taken and not answered. Since Linux 6.9.
const RESEND: i32 = 7;

/// Longer than any mount lives, in seconds.
const YEARS: u64 = 10 * 365 * 24 * 3600;

/// The size of every file, which nobody knows any more: enough that a reader asks for bytes and gets the error, where an
/// empty file would just end.
const SIZE: u64 = 64 << 20;

const BLOCK_SIZE: u32 = 4096;

/// Answers the requests of the mount behind `device` until that is taken away. To be called when its daemon has ended; fails
/// where the kernel cannot tell what that still had to answer.
pub fn guard(device: impl AsFd, mut remains: Remains) -> io::Result<()> {
    write(&device, &head(0, RESEND, 0))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match read(&device, &mut buffer) {
            Ok(length) => {
                if let Some(answer) = answer(buffer.get(..length).unwrap_or_default(), &mut remains) {
                    // Fails where nobody waits for it any more.
                    let _ = write(&device, &answer);
                }
            }
            // Who asked has been interrupted.
            Err(Errno::EINTR | Errno::ENOENT | Errno::EAGAIN) => {}
            Err(Errno::ENODEV) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The answer to a request, where it wants one.
fn answer(request: &[u8], remains: &mut Remains) -> Option<Vec<u8>> {
    let (kind, unique, inode) = (number(request, 4)?, number(request, 8)?, Inode::new(number(request, 16)?));
    let body = match kind as u32 {
        FORGET | BATCH_FORGET | INTERRUPT => return None,
        LOOKUP => name(request).and_then(|name| remains.lookup(inode, name)).map(entry),
        GETATTR if Remains::is_file(inode) => Some(attributes_alone(inode)),
        _ => None,
    };
    Some(match (body, kind as u32) {
        (Some(body), _) => [head(body.len(), 0, unique).as_slice(), &body].concat(),
        // As the daemon: closing a file needs no message, and who has read all of it from memory meets no error.
        (None, FLUSH) => head(0, -libc::ENOSYS, unique).to_vec(),
        (None, _) => head(0, -libc::ENOTCONN, unique).to_vec(),
    })
}

/// The number at this place of a request.
fn number(request: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*request.get(at..)?.first_chunk()?))
}

/// The name that is looked up, which a zero ends.
fn name(request: &[u8]) -> Option<&OsStr> {
    request.get(REQUEST_HEAD..)?.split(|&byte| byte == 0).next().map(OsStr::from_bytes)
}

fn head(body: usize, error: i32, unique: u64) -> [u8; ANSWER_HEAD] {
    let mut head = [0; ANSWER_HEAD];
    let length = (ANSWER_HEAD + body) as u32;
    let fields = length.to_ne_bytes().into_iter().chain(error.to_ne_bytes()).chain(unique.to_ne_bytes());
    head.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    head
}

/// `fuse_entry_out`. The name holds for good, and so do the attributes of a file; those of a directory are asked for each
/// time, in vain: on the way to a file nobody needs them.
fn entry((inode, kind): (Inode, NodeKind)) -> Vec<u8> {
    let generation = 0;
    let attributes_hold = if kind == NodeKind::File { YEARS } else { 0 };
    let nanoseconds = 0;
    let mut body = longs(&[inode.get(), generation, YEARS, attributes_hold, nanoseconds]);
    body.extend(attributes(inode, kind));
    body
}

/// `fuse_attr_out` of a file.
fn attributes_alone(inode: Inode) -> Vec<u8> {
    let nanoseconds = 0;
    let mut body = longs(&[YEARS, nanoseconds]);
    body.extend(attributes(inode, NodeKind::File));
    body
}

/// `fuse_attr`, with all times at the epoch.
fn attributes(inode: Inode, kind: NodeKind) -> Vec<u8> {
    let (size, mode) = match kind {
        NodeKind::File => (SIZE, libc::S_IFREG | 0o644),
        NodeKind::Directory => (0, libc::S_IFDIR | 0o755),
    };
    let (seconds, nanoseconds, links, device, flags) = (0, 0, 1, 0, 0);
    let mut body = longs(&[inode.get(), size, size / 512, seconds, seconds, seconds]);
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let rest = [nanoseconds, nanoseconds, nanoseconds, mode, links, user, group, device, BLOCK_SIZE, flags];
    body.extend(rest.into_iter().flat_map(u32::to_ne_bytes));
    body
}

fn longs(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().copied().flat_map(u64::to_ne_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u32, unique: u64, inode: u64, body: &[u8]) -> Vec<u8> {
        let mut request = vec![0; 4];
        request.extend(kind.to_ne_bytes());
        request.extend([unique.to_ne_bytes(), inode.to_ne_bytes()].concat());
        request.resize(REQUEST_HEAD, 0);
        [&request, body].concat()
    }

    fn asked(kind: u32, inode: u64, body: &[u8]) -> (i32, Vec<u8>) {
        let mut remains = Remains::new(vec!["a".to_owned()]);
        let answer = answer(&request(kind, 7 << 40, inode, body), &mut remains).unwrap();
        assert_eq!(answer[..4], (answer.len() as u32).to_ne_bytes());
        assert_eq!(answer[8..16], (7u64 << 40).to_ne_bytes());
        (i32::from_ne_bytes(*answer[4..].first_chunk().unwrap()), answer[ANSWER_HEAD..].to_vec())
    }

    #[test]
    fn answers_have_the_lengths_of_the_protocol() {
        let (error, body) = asked(LOOKUP, 1, b"a\0");
        assert_eq!((error, body.len()), (0, 128));
        let file = Remains::new(vec![]).lookup(Inode::new(2), OsStr::new("em.zarr")).unwrap().0;
        let (error, body) = asked(LOOKUP, file.get(), b".zgroup\0");
        assert_eq!((error, body.len()), (0, 128));
        let file = number(&body, 0).unwrap();
        let (error, body) = asked(GETATTR, file, &[0; 16]);
        assert_eq!((error, body.len()), (0, 104));
    }

    #[test]
    fn all_else_is_not_connected() {
        let (read, statfs, readdir) = (15, 17, 28);
        for (kind, inode) in [(read, 1 << 63 | 1), (statfs, 1), (readdir, 1), (GETATTR, 1), (GETATTR, 2), (4000, 1)] {
            assert_eq!(asked(kind, inode, &[0; 64]), (-libc::ENOTCONN, vec![]), "{kind}");
        }
        for name in [b"b\0".as_slice(), b"", b"\0", b"metadata.json\0", b"\xff\0"] {
            assert_eq!(asked(LOOKUP, 1, name), (-libc::ENOTCONN, vec![]));
        }
    }

    #[test]
    fn what_wants_no_answer_and_what_is_no_request_gets_none() {
        let mut remains = Remains::default();
        for kind in [FORGET, BATCH_FORGET, INTERRUPT] {
            assert_eq!(answer(&request(kind, 8, 1, &[0; 24]), &mut remains), None);
        }
        assert_eq!(answer(&[0; 20], &mut remains), None);
    }
}
