//! Reads of TIFF files: what they say of themselves is made, voxels come as they do for chunks, some MiB at a time.
//!
//! Who reads on from one part to the next gets the following ones fetched ahead, in their order, as far as a share of the
//! memory for chunks reaches. Who jumps gets nothing ahead.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::{join_all, try_join_all};
use lru::LruCache;
use parking_lot::Mutex;

use super::pinned_chunks::FilePart;
use super::voxels::{self, FileVoxels, Receiver};
use super::{Reply, Vfs};
use crate::task;
use crate::tree::{Inode, TiffRef};
use crate::volume::{ChunkGeometry, ChunkKey, Chunks};

/// Bytes of a part, about, where there is memory for many.
const PART: u64 = 4 << 20;

/// Parts that fit the memory for chunks at least.
const PARTS: u64 = 16;

/// What is fetched ahead of a reader: one in so many of those.
const AHEAD: u64 = 4;

/// Files whose readers are followed.
const FILES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// How far somebody has read in a file.
#[derive(Debug, Clone, Copy)]
struct Reader {
    /// The last part.
    at: u64,
    /// The first part that was not asked for ahead.
    next: u64,
}

/// The readers of files, the latest ones.
pub(super) struct Ahead(Mutex<LruCache<Inode, Reader>>);

impl Default for Ahead {
    fn default() -> Self {
        Ahead(Mutex::new(LruCache::new(FILES)))
    }
}

impl Ahead {
    /// Somebody reads this part; which ones to fetch ahead, of `count`, at most `most` further on.
    fn read(&self, file: FilePart, count: u64, most: u64) -> std::ops::Range<u64> {
        let mut readers = self.0.lock();
        let part = file.number;
        let old = readers.get(&file.inode).copied();
        let new = match old {
            Some(reader) if part == reader.at + 1 => {
                Reader { at: part, next: (part + 1 + most).min(count).max(reader.next) }
            }
            // Of several reads that are under way the earlier one may come later.
            Some(reader) if part <= reader.at && part + 2 > reader.at => reader,
            _ => Reader { at: part, next: part + 1 },
        };
        readers.put(file.inode, new);
        match old {
            Some(old) if part == old.at + 1 => old.next.max(part + 1)..new.next,
            _ => 0..0,
        }
    }
}

/// Bytes of a part; the same as long as the mount lasts.
fn part_bytes(chunks: &Chunks) -> u64 {
    (chunks.limit() / PARTS).clamp(1, PART)
}

fn part_of(file: &TiffRef, number: u64, most: u64) -> (u64, FileVoxels) {
    let part = file.part(number, most);
    let geometry = ChunkGeometry { level: file.level, region: part.region, chunk: part.region.shape() };
    (part.start, FileVoxels { image: file.image, geometry, bytes: part.bytes })
}

/// Up to `size` bytes of a file from `offset`.
pub(super) fn read(
    vfs: &Arc<Vfs>,
    receiver: Receiver,
    inode: Inode,
    file: &TiffRef,
    (offset, size): (u64, u32),
) -> Reply<Bytes> {
    let end = offset.saturating_add(u64::from(size)).min(file.layout.size());
    if offset >= end {
        return Reply::Ready(Ok(Bytes::new()));
    }
    let most = part_bytes(&vfs.chunks);
    let front = (offset < file.layout.voxels()).then(|| Bytes::from(file.layout.front(offset..end)));
    let parts = file.parts_in(&(offset..end), most);
    let read = |number| {
        let (start, voxels) = part_of(file, number, most);
        let (from, to) = (offset.max(start) - start, end.min(start + voxels.bytes) - start);
        // No longer than what was asked for.
        voxels::read(vfs, receiver.clone(), FilePart { inode, number }, &voxels, (from, (to - from) as u32))
    };
    let replies: Vec<Reply<Bytes>> = parts.clone().map(read).collect();
    parts.for_each(|number| fetch_ahead(vfs, FilePart { inode, number }, file, most));
    let front = front.map(|bytes| Reply::Ready(Ok(bytes)));
    joined(front.into_iter().chain(replies).collect())
}

/// The answers in one, in their order, or the first error.
fn joined(replies: Vec<Reply<Bytes>>) -> Reply<Bytes> {
    if replies.iter().all(|reply| matches!(reply, Reply::Ready(_))) {
        let ready = replies.into_iter().filter_map(|reply| match reply {
            Reply::Ready(answer) => Some(answer),
            Reply::Pending(_) => None,
        });
        return Reply::Ready(ready.collect::<Result<Vec<Bytes>, _>>().map(concatenated));
    }
    let pending = replies.into_iter().map(|reply| match reply {
        Reply::Ready(answer) => std::future::ready(answer).boxed(),
        Reply::Pending(answer) => answer,
    });
    let pending = try_join_all(pending.collect::<Vec<_>>());
    Reply::Pending(async move { pending.await.map(concatenated) }.boxed())
}

fn concatenated(parts: Vec<Bytes>) -> Bytes {
    match <[Bytes; 1]>::try_from(parts) {
        Ok([bytes]) => bytes,
        Err(parts) => {
            let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
            parts.iter().for_each(|part| whole.extend_from_slice(part));
            whole.freeze()
        }
    }
}

/// Fetches what follows a part that is read after the one before it.
fn fetch_ahead(vfs: &Arc<Vfs>, part: FilePart, file: &TiffRef, most: u64) {
    let Some(opened) = vfs.image_registry.opened(file.image) else { return };
    let bytes = part_of(file, part.number, most).1.bytes;
    let reach = (vfs.chunks.limit() / AHEAD / bytes.max(1)).max(1);
    let parts = vfs.ahead.read(part, file.parts(most), reach);
    if parts.is_empty() {
        return;
    }
    let keys: Vec<ChunkKey> = parts
        .map(|number| ChunkKey { image: file.image.0, geometry: part_of(file, number, most).1.geometry })
        .filter(|key| vfs.chunks.cached(&opened.image, key).is_none())
        .collect();
    let chunks = vfs.chunks.clone();
    // What fails here is tried again, and told, when it is read.
    task::spawn(async move {
        join_all(keys.into_iter().map(|key| chunks.read(&opened.image, key))).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ahead: &Ahead, number: u64) -> std::ops::Range<u64> {
        ahead.read(FilePart { inode: Inode::new(7), number }, 20, 4)
    }

    #[test]
    fn who_reads_on_has_what_follows_fetched_once_and_in_order() {
        let ahead = Ahead::default();
        assert!(read(&ahead, 0).is_empty());
        let mut fetched = Vec::new();
        for number in 1..20 {
            fetched.extend(read(&ahead, number));
            // The pieces of one part, and one of the part before that comes late.
            assert!(read(&ahead, number).is_empty() && read(&ahead, number - 1).is_empty());
        }
        assert_eq!(fetched, (2..20).collect::<Vec<_>>());
    }

    #[test]
    fn who_jumps_has_nothing_fetched() {
        let ahead = Ahead::default();
        for number in [0, 5, 3, 19, 7, 12, 7] {
            assert!(read(&ahead, number).is_empty(), "{number}");
        }
        assert_eq!(read(&ahead, 8), 9..13);
    }
}
