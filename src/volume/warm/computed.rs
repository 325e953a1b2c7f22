//! Computes blocks of coarser levels to be kept on disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;

use super::{BlockFailure, WarmProgress, flush};
use crate::disk::Disk;
use crate::geometry::{CellIndex, LevelIndex};
use crate::volume::{Blocks, Image, VolumeError};

/// Blocks that are computed before the disk is waited for.
const BATCH: usize = 64;

/// Computes what of `blocks` of a level is not kept on `disk` yet; returns those that are not there in the end.
pub async fn warm_computed(
    memory: &Arc<Blocks>,
    image: &Arc<Image>,
    level: LevelIndex,
    blocks: &[CellIndex],
    disk: &Disk,
    progress: &WarmProgress,
) -> Vec<BlockFailure> {
    let mut failures = Vec::new();
    for batch in blocks.chunks(BATCH) {
        if progress.is_stopped(image) {
            break;
        }
        let mut missing = Vec::with_capacity(batch.len());
        for &block in batch {
            if image.has_computed(level, vec![block]).await {
                progress.found.fetch_add(1, Ordering::Relaxed);
                progress.blocks.fetch_add(1, Ordering::Relaxed);
            } else {
                missing.push(block);
            }
        }
        let mut made = Vec::with_capacity(missing.len());
        let mut results = memory.request(image, level, missing, None);
        while let Some((block, result)) = results.next().await {
            progress.blocks.fetch_add(1, Ordering::Relaxed);
            match result {
                Ok(_) => made.push(block),
                Err(error) => failures.push((block, error)),
            }
        }
        flush(disk).await;
        let (count, mut not_kept) = (made.len(), Vec::new());
        for block in made {
            if !image.has_computed(level, vec![block]).await {
                not_kept.push(block);
            }
        }
        let Some(&first) = not_kept.first() else { continue };
        match disk.trouble() {
            Some(reason) => failures.extend(progress.stop(None, first, VolumeError::NoRoom(reason))),
            None if count > 1 && not_kept.len() == count => {
                failures.extend(progress.stop(Some(image.number), first, VolumeError::NotKept));
            }
            None => failures.extend(not_kept.into_iter().map(|block| (block, VolumeError::NotKept))),
        }
    }
    failures
}
