//! Reads of files.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use super::answer::slice;
use super::voxels::{self, Voxels};
use super::{Errno, Reply, Vfs, tiff};
use crate::tree::{Inode, Node};
use crate::volume::ChunkGeometry;

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
        Node::Chunk(chunk) => {
            let geometry = ChunkGeometry { level: chunk.level, region: chunk.region, chunk: chunk.shape };
            let voxels = Voxels { image: chunk.image, geometry, bytes: chunk.bytes() };
            voxels::read(vfs, inode.into(), &voxels, offset, size)
        }
        Node::Tiff(file) => tiff::read(vfs, inode, &file, offset, size),
    }
}
