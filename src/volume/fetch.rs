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
use crate::cache::Held;
use crate::remote::{Cause, Object, RemoteError};
use crate::source::Placement;

/// Single blocks longer than twice this are fetched as parallel ranges of this length.
const PART: u64 = 4 << 20;

/// How often an object that does not decode is fetched.
const WHOLE_ATTEMPTS: u32 = 2;

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
        let key = *piece.tag.key();
        match decode(&blocks, &image, key, bytes, alone).await {
            Ok(decoded) => finish(&blocks, piece.tag, Held::new(decoded, lease.split(image.block_bytes(key)))),
            Err(error) => piece.tag.finish(Err(error)),
        }
    }
}

async fn fetch_whole(blocks: Arc<Blocks>, image: Arc<Image>, worker: BlockWorker, object: Object, limit: u64) {
    let key = *worker.key();
    let bytes = image.block_bytes(key);
    let mut lease = blocks.pool.lease(limit.saturating_add(bytes)).await;
    let mut attempt = 1;
    loop {
        match object.anew().whole(limit).await {
            Ok(fetched) => match decode(&blocks, &image, key, fetched.bytes, true).await {
                Ok(decoded) => return finish(&blocks, worker, Held::new(decoded, lease.split(bytes))),
                // Nothing says how long a whole object must be, so a cut or foreign answer is noticed only here.
                Err(_) if attempt < WHOLE_ATTEMPTS => attempt += 1,
                Err(error) => return worker.finish(Err(VolumeError::Undecodable(attempt, error.into()))),
            },
            Err(RemoteError { cause: Cause::NotFound, .. }) => {
                return finish(&blocks, worker, Held::new(Bytes::new(), lease.split(EMPTY_ENTRY)));
            }
            Err(error) => return worker.finish(Err(VolumeError::Source(error.into()))),
        }
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

/// Decodes on a thread that may compute. `alone`: no other block shares `raw`.
async fn decode(
    blocks: &Blocks,
    image: &Arc<Image>,
    key: BlockKey,
    raw: Bytes,
    alone: bool,
) -> Result<Bytes, VolumeError> {
    // Never closed, and without a permit decoding would only be less orderly.
    let _permit = blocks.decoding.acquire().await;
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
    task.await.unwrap_or(Err(VolumeError::Lost))
}
