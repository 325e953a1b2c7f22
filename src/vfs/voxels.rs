//! Reads of voxels: all of a chunk or of a part of a file are there before any of them is answered.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;

use super::answer::slice;
use super::pinned_chunks::{ChunkState, FilePart};
use super::{Errno, Reply, Vfs};
use crate::cache::Held;
use crate::tree::ImageId;
use crate::volume::{ChunkGeometry, ChunkKey};

/// Voxels that a file shows, or a part of one.
pub(super) struct FileVoxels {
    pub(super) image: ImageId,
    pub(super) geometry: ChunkGeometry,
    /// How many bytes they are.
    pub(super) bytes: u64,
}

/// Who gets what is read.
#[derive(Debug, Clone)]
pub(super) enum Receiver {
    /// The kernel, which asks for a file in pieces and keeps them.
    Kernel,
    /// A program, which may ask for the same again and is told how long it holds.
    Program(Arc<Validity>),
}

/// How long answers hold: where voxels are absent at the origin, no longer than that is believed.
#[derive(Debug, Default)]
pub struct Validity(Mutex<Option<Instant>>);

impl Validity {
    /// When the first of them holds no longer; `None` where all hold for ever.
    pub fn until(&self) -> Option<Instant> {
        *self.0.lock()
    }

    fn note(&self, held: &Held) {
        let mut until = self.0.lock();
        *until = until.into_iter().chain(held.holds_until()).min();
    }
}

/// Some bytes of voxels, once all of them are there.
pub(super) fn read(
    vfs: &Arc<Vfs>,
    receiver: Receiver,
    part: FilePart,
    voxels: &FileVoxels,
    (offset, size): (u64, u32),
) -> Reply<Bytes> {
    let FileVoxels { image, geometry, bytes: length } = *voxels;
    let Some(opened) = vfs.image_registry.opened(image) else {
        // Its path was found, so the image is open.
        return Reply::Ready(Err(Errno::STALE));
    };
    let key = ChunkKey { image: image.0, geometry };
    // A program is not answered from what the kernel reads in pieces, which may hold no longer.
    let found = if let Receiver::Kernel = receiver { vfs.pinned.get(part) } else { ChunkState::Nothing };
    let gave_way = matches!(found, ChunkState::GaveWay);
    let held = match found {
        ChunkState::Held(held) => Some(held),
        ChunkState::GaveWay | ChunkState::Nothing => vfs.chunks.cached(&opened.image, &key),
    };
    if let Some(held) = held {
        return Reply::Ready(Ok(answer(vfs, &receiver, part, &key, held, (offset, size))));
    }
    if gave_way
        && let Some(bytes) = vfs.chunks.part(&opened.image, &geometry, offset..offset.saturating_add(u64::from(size)))
    {
        vfs.pinned.answered_part(part, length, offset, offset.saturating_add(bytes.len() as u64));
        return Reply::Ready(Ok(bytes));
    }
    if let Some(errno) = vfs.pinned.failure(part) {
        return Reply::Ready(Err(errno));
    }
    vfs.image_registry.measure_later(image);
    let this = vfs.clone();
    let mut answer = async move {
        match this.chunks.read(&opened.image, key).await {
            Ok(held) => Ok(answer(&this, &receiver, part, &key, held, (offset, size))),
            Err(error) => {
                let errno = Errno::from(&error);
                // The kernel's other pieces of the same read fail with it and are not failures of their own.
                if this.pinned.fail(part, errno) {
                    this.failed(&this.tree.path(part.inode), &error);
                }
                Err(errno)
            }
        }
    }
    .boxed();
    // What is in memory is answered by this thread: to wake another takes longer.
    match (&mut answer).now_or_never() {
        Some(answer) => Reply::Ready(answer),
        None => Reply::Pending(answer),
    }
}

/// Part of a chunk that is there. Once all of it was answered to the kernel, that keeps it, so its memory is of more use for the
/// next chunk, while it is still in the processor's cache.
fn answer(
    vfs: &Vfs,
    receiver: &Receiver,
    part: FilePart,
    key: &ChunkKey,
    held: Arc<Held>,
    (offset, size): (u64, u32),
) -> Bytes {
    if let Receiver::Program(validity) = receiver {
        validity.note(&held);
        return slice(&held.data, offset, size);
    }
    let (bytes, whole) = vfs.pinned.answer(part, key, &held, offset, size);
    drop(held);
    if whole {
        vfs.chunks.release(key);
    }
    bytes
}
