//! From the bytes of a block as they came to its voxels.

use std::sync::Arc;

use bytes::Bytes;

use super::VolumeError;
use super::block::BlockKey;
use super::block_memory::BlockMemory;
use super::image::Image;
use crate::remote::Compression;
use crate::task;

/// The bytes of a block as they were fetched.
pub(super) struct FetchedBlock {
    pub(super) bytes: Bytes,
    /// Whether others share their memory.
    pub(super) shared: bool,
    /// Where they are a compressed file, how it is and the longest that it may hold.
    pub(super) packed: Option<(Compression, u64)>,
}

/// Decodes on a thread that may compute.
pub(super) async fn decode(
    memory: &BlockMemory,
    image: &Arc<Image>,
    key: BlockKey,
    stored: FetchedBlock,
) -> Result<Bytes, VolumeError> {
    let ahead = image.source.part_ahead(key.level, key.index).await?;
    let _permit = memory.decoding().await;
    let part = match ahead {
        Some(part) => Some(part),
        None => image.source.part(key.level, key.index).await?,
    };
    let image = image.clone();
    let expected = image.block_bytes(key);
    let task = task::spawn_blocking(move || {
        let FetchedBlock { bytes, shared, packed } = stored;
        let unsuitable =
            |reason: String| VolumeError::Unsuitable(format!("block {} of {}: {reason}", key.index, key.level));
        let raw = match packed {
            Some((compression, most)) => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                Bytes::from(compression.undo(&bytes, most).map_err(unsuitable)?)
            }
            None => bytes,
        };
        let decoded = match part {
            Some(part) => part.decode(raw.clone())?,
            None => image.source.decode(key.level, key.index, raw.clone())?,
        };
        if decoded.len() as u64 != expected {
            return Err(unsuitable(format!("expected {expected} bytes, got {}", decoded.len())));
        }
        // A slice would keep the whole joined answer in memory, for which it is not charged.
        let copied = shared && raw.as_ptr_range().contains(&decoded.as_ptr());
        Ok(if copied { Bytes::copy_from_slice(&decoded) } else { decoded })
    });
    task.await.unwrap_or(Err(VolumeError::Lost))
}
