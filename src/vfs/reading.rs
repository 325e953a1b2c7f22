//! Reads of files.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use super::answer::slice;
use super::pinned_chunks::Found;
use super::{Errno, Reply, Vfs};
use crate::cache::Held;
use crate::tree::{ChunkRef, Inode, Node};
use crate::volume::{ChunkGeometry, ChunkKey};

/// Up to `size` bytes of a file from `offset`.
pub(super) fn read(vfs: &Arc<Vfs>, inode: Inode, offset: u64, size: u32) -> Reply<Bytes> {
    if inode.as_revision().is_some() {
        let revision = vfs.revisions.get(inode).ok_or(Errno::STALE);
        return Reply::Ready(revision.map(|revision| revision.content.slice(offset, size as usize)));
    }
    match vfs.described(move |vfs| vfs.tree.path(inode), move |vfs| vfs.tree.read_node(inode)) {
        Reply::Ready(Ok(node)) => read_node(vfs, inode, node, offset, size),
        Reply::Ready(Err(errno)) => Reply::Ready(Err(errno)),
        Reply::Pending(node) => {
            let vfs = vfs.clone();
            Reply::Pending(
                async move {
                    match read_node(&vfs, inode, node.await?, offset, size) {
                        Reply::Ready(result) => result,
                        Reply::Pending(result) => result.await,
                    }
                }
                .boxed(),
            )
        }
    }
}

fn read_node(vfs: &Arc<Vfs>, inode: Inode, node: Node, offset: u64, size: u32) -> Reply<Bytes> {
    match node {
        Node::Directory => Reply::Ready(Err(Errno::IS_A_DIRECTORY)),
        Node::Document(bytes) => Reply::Ready(Ok(slice(&bytes, offset, size))),
        Node::Chunk(chunk) => read_chunk(vfs, inode, &chunk, offset, size),
    }
}

/// Part of a chunk, once all of it is there.
fn read_chunk(vfs: &Arc<Vfs>, inode: Inode, chunk: &ChunkRef, offset: u64, size: u32) -> Reply<Bytes> {
    let Some(opened) = vfs.image_registry.opened(chunk.image) else {
        // Its path was found, so the image is open.
        return Reply::Ready(Err(Errno::STALE));
    };
    let geometry = ChunkGeometry { level: chunk.level, region: chunk.region, chunk: chunk.shape };
    let key = ChunkKey { image: chunk.image.0, geometry };
    let found = vfs.pinned.get(inode);
    let gave_way = matches!(found, Found::GaveWay);
    let held = match found {
        Found::Held(held) => Some(held),
        Found::GaveWay | Found::Nothing => vfs.chunks.cached(&opened.image, &key),
    };
    if let Some(held) = held {
        return Reply::Ready(Ok(answer(vfs, inode, &key, held, offset, size)));
    }
    if gave_way
        && let Some(bytes) = vfs.chunks.part(&opened.image, &geometry, offset..offset.saturating_add(u64::from(size)))
    {
        vfs.pinned.answered_part(inode, chunk.bytes(), offset, offset.saturating_add(bytes.len() as u64));
        return Reply::Ready(Ok(bytes));
    }
    if let Some(errno) = vfs.pinned.failure(inode) {
        return Reply::Ready(Err(errno));
    }
    vfs.image_registry.measure_later(chunk.image);
    let this = vfs.clone();
    let mut answer = async move {
        match this.chunks.read(&opened.image, key).await {
            Ok(held) => Ok(answer(&this, inode, &key, held, offset, size)),
            Err(error) => {
                let errno = Errno::from(&error);
                // The kernel's other pieces of the same read fail with it and are not failures of their own.
                if this.pinned.fail(inode, errno) {
                    this.failed(&this.tree.path(inode), &error);
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

/// Part of a chunk that is there. Once all of it was answered the kernel keeps it, so its memory is of more use for the
/// next chunk, while it is still in the processor's cache.
fn answer(vfs: &Vfs, inode: Inode, key: &ChunkKey, held: Arc<Held>, offset: u64, size: u32) -> Bytes {
    let (bytes, whole) = vfs.pinned.answer(inode, key, &held, offset, size);
    drop(held);
    if whole {
        vfs.chunks.release(key);
    }
    bytes
}
