//! Reads of files.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use super::answer::slice;
use super::voxels::{self, FileVoxels, Receiver, Validity};
use super::{Errno, Reply, Vfs, tiff};
use crate::tree::{Inode, NodeContent};
use crate::volume::ChunkGeometry;

impl Vfs {
    /// Up to `size` bytes from `offset` for the kernel, which keeps them; fewer only at the end of the file.
    pub fn read(self: &Arc<Self>, inode: u64, offset: u64, size: u32) -> Reply<Bytes> {
        self.read_for(Receiver::Kernel, Inode::new(inode), (offset, size))
    }

    /// The same for a program that may ask again. Where it goes away before the answer, and nobody else waits for the same, the
    /// work for it ends soon. `validity` is told how long the answer holds.
    pub fn fetch(self: &Arc<Self>, inode: u64, (offset, size): (u64, u32), validity: &Arc<Validity>) -> Reply<Bytes> {
        self.read_for(Receiver::Program(validity.clone()), Inode::new(inode), (offset, size))
    }

    fn read_for(self: &Arc<Self>, receiver: Receiver, inode: Inode, bytes: (u64, u32)) -> Reply<Bytes> {
        let reading = self.tree.dataset_of_store(inode).map(|dataset| self.readers.read(dataset));
        match read(self, receiver, inode, bytes) {
            Reply::Ready(answer) => Reply::Ready(answer),
            Reply::Pending(answer) => Reply::Pending(
                async move {
                    let _until_answered = reading;
                    answer.await
                }
                .boxed(),
            ),
        }
    }
}

/// Up to `size` bytes of a file from `offset`.
fn read(vfs: &Arc<Vfs>, receiver: Receiver, inode: Inode, (offset, size): (u64, u32)) -> Reply<Bytes> {
    if inode.as_revision().is_some() {
        let revision = vfs.revisions.get(inode).ok_or(Errno::STALE);
        return Reply::Ready(revision.map(|revision| revision.content.slice(offset, size as usize)));
    }
    match vfs.described(move |vfs| vfs.tree.path(inode), move |vfs| vfs.tree.read_node(inode)) {
        Reply::Ready(Ok(node)) => read_node(vfs, receiver, inode, node, (offset, size)),
        Reply::Ready(Err(errno)) => Reply::Ready(Err(errno)),
        Reply::Pending(node) => {
            let vfs = vfs.clone();
            Reply::Pending(
                async move {
                    match read_node(&vfs, receiver, inode, node.await?, (offset, size)) {
                        Reply::Ready(result) => result,
                        Reply::Pending(result) => result.await,
                    }
                }
                .boxed(),
            )
        }
    }
}

fn read_node(
    vfs: &Arc<Vfs>,
    receiver: Receiver,
    inode: Inode,
    node: NodeContent,
    (offset, size): (u64, u32),
) -> Reply<Bytes> {
    match node {
        NodeContent::Directory => Reply::Ready(Err(Errno::IS_A_DIRECTORY)),
        NodeContent::Document(bytes) => Reply::Ready(Ok(slice(&bytes, offset, size))),
        NodeContent::Chunk(chunk) => {
            let geometry = ChunkGeometry { level: chunk.level, region: chunk.region, chunk: chunk.shape };
            let voxels = FileVoxels { image: chunk.image, geometry, bytes: chunk.bytes() };
            voxels::read(vfs, receiver, inode.into(), &voxels, (offset, size))
        }
        NodeContent::Tiff(file) => tiff::read(vfs, receiver, inode, &file, (offset, size)),
    }
}
