//! Fetches blocks: finds them, asks for joined ranges, decodes, and hands each to those who wait for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;

use super::VolumeError;
use super::blocks::{Block, BlockKey, BlockWorker, Blocks, Voxels};
use super::image::Image;
use super::plan::{Piece, Request, join};
use crate::cache::{Held, Lease};
use crate::remote::{Cause, Object, RemoteError};
use crate::source::Placement;

/// Single blocks longer than twice this are fetched as parallel ranges of this length.
const PART: u64 = 4 << 20;

/// What a block without voxels of its own is charged: its entry in the cache.
const EMPTY_ENTRY: u64 = 256;

/// Does the work for all `workers`, which want blocks of one image.
pub(super) async fn fetch(blocks: Arc<Blocks>, image: Arc<Image>, workers: Vec<BlockWorker>) {
    let mut located: FuturesUnordered<_> = workers
        .into_iter()
        .map(|worker| {
            let image = image.clone();
            async move {
                let BlockKey { level, index, .. } = *worker.key();
                let placement = image.source.locate(level, index).await;
                (worker, placement)
            }
        })
        .collect();
    let mut pieces = Vec::new();
    let mut wholes = Vec::new();
    while let Some((worker, placement)) = located.next().await {
        match placement {
            Ok(Placement::Absent) => finish_absent(&blocks, worker).await,
            Ok(Placement::Range { object, start, length }) => pieces.push(Piece { object, start, length, tag: worker }),
            Ok(Placement::Whole { object, limit }) => wholes.push((worker, object, limit)),
            Err(error) => worker.finish(Err(error.into())),
        }
    }
    for request in join(pieces) {
        tokio::spawn(fetch_range(blocks.clone(), image.clone(), request));
    }
    for (worker, object, limit) in wholes {
        tokio::spawn(fetch_whole(blocks.clone(), image.clone(), worker, object, limit));
    }
}

async fn finish_absent(blocks: &Blocks, worker: BlockWorker) {
    let lease = blocks.pool.lease(EMPTY_ENTRY).await;
    finish(blocks, worker, Held::new(Bytes::new(), lease));
}

fn finish(blocks: &Blocks, worker: BlockWorker, held: Held) {
    let held = Arc::new(held);
    blocks.pool.insert(*worker.key(), held.clone());
    let block: Block = if held.data.is_empty() { Voxels::Absent } else { Voxels::Present(held) };
    worker.finish(Ok(block));
}

async fn fetch_range(blocks: Arc<Blocks>, image: Arc<Image>, request: Request<BlockWorker>) {
    let Request { object, start, end, pieces } = request;
    let decoded: u64 = pieces.iter().map(|piece| image.block_bytes(*piece.tag.key())).fold(0, u64::saturating_add);
    let mut lease = blocks.pool.lease((end - start).saturating_add(decoded)).await;
    let raw = match fetch_parts(&object, start..end).await {
        Ok(raw) => raw,
        Err(error) => {
            let error = VolumeError::Source(error.into());
            pieces.into_iter().for_each(|piece| piece.tag.finish(Err(error.clone())));
            return;
        }
    };
    let alone = pieces.len() == 1;
    for piece in pieces {
        let first = (piece.start - start) as usize;
        let bytes = raw.slice(first..first + piece.length as usize);
        let share = lease.split(image.block_bytes(*piece.tag.key()));
        decode(&blocks, &image, piece.tag, bytes, share, alone).await;
    }
}

async fn fetch_whole(blocks: Arc<Blocks>, image: Arc<Image>, worker: BlockWorker, object: Object, limit: u64) {
    let mut lease = blocks.pool.lease(limit.saturating_add(image.block_bytes(*worker.key()))).await;
    match object.whole(limit).await {
        Ok(fetched) => {
            let share = lease.split(image.block_bytes(*worker.key()));
            decode(&blocks, &image, worker, fetched.bytes, share, true).await;
        }
        Err(RemoteError { cause: Cause::NotFound, .. }) => {
            finish(&blocks, worker, Held::new(Bytes::new(), lease.split(EMPTY_ENTRY)));
        }
        Err(error) => worker.finish(Err(VolumeError::Source(error.into()))),
    }
}

/// A long range as several parallel ones.
async fn fetch_parts(object: &Object, range: Range<u64>) -> Result<Bytes, RemoteError> {
    let length = range.end - range.start;
    if length <= 2 * PART {
        return Ok(object.range(range).await?.bytes);
    }
    let parts = (range.start..range.end)
        .step_by(PART as usize)
        .map(|start| object.range(start..range.end.min(start + PART)))
        .map(|part| async move { part.await.map(|fetched| fetched.bytes) });
    let parts = try_join_all(parts).await?;
    let mut whole = BytesMut::with_capacity(length as usize);
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    Ok(whole.freeze())
}

/// Decodes on a thread that may compute, and hands the block over. `alone`: no other block shares `raw`.
async fn decode(blocks: &Arc<Blocks>, image: &Arc<Image>, worker: BlockWorker, raw: Bytes, share: Lease, alone: bool) {
    // Never closed, and without a permit decoding would only be less orderly.
    let _permit = blocks.decoding.acquire().await;
    let key = *worker.key();
    let image = image.clone();
    let expected = image.block_bytes(key);
    let task = tokio::task::spawn_blocking(move || {
        let decoded = image.source.decode(key.level, key.index, raw.clone())?;
        if decoded.len() as u64 != expected {
            let reason = format!("{} bytes where {expected} were due", decoded.len());
            return Err(VolumeError::Unsuitable(format!("block {} of {}: {reason}", key.index, key.level)));
        }
        // A slice would keep the whole joined answer in memory, for which it is not charged.
        let shared = !alone && raw.as_ptr_range().contains(&decoded.as_ptr());
        Ok(if shared { Bytes::copy_from_slice(&decoded) } else { decoded })
    });
    match task.await {
        Ok(Ok(decoded)) => finish(blocks, worker, Held::new(decoded, share)),
        Ok(Err(error)) => worker.finish(Err(error)),
        Err(_) => worker.finish(Err(VolumeError::Lost)),
    }
}
