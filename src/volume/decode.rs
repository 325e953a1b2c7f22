//! From the bytes of a block as they came to its voxels.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

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
    let permit = memory.decoding().await;
    let at_hand = match ahead {
        Some(part) => Some(Ok(Some(part))),
        None => image.source.part(key.level, key.index).now_or_never(),
    };
    let (part, _permits) = match at_hand {
        Some(part) => (part?, (permit, None)),
        None => {
            // It was let go of since the block was found, and its host may have fallen silent: decoding is for all images.
            drop(permit);
            let opening = image.opening_part().await;
            let part = image.source.part(key.level, key.index).await?;
            (part, (memory.decoding().await, opening))
        }
    };
    memory.note_present(image);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::{BoxFuture, pending};

    use super::*;
    use crate::cache::FetchPlace;
    use crate::geometry::{CellIndex, LevelIndex};
    use crate::source::{Description, Placement, Source, SourceError, SourcePart};
    use crate::volume::tests::Empty;

    /// A source that has let go of its parts, and whose host is silent when they are to be opened again.
    struct LetGo(Empty);

    impl Source for LetGo {
        fn description(&self) -> &Description {
            self.0.description()
        }

        fn locate(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
            self.0.locate(level, block)
        }

        fn part(&self, _: LevelIndex, _: CellIndex) -> BoxFuture<'_, Result<Option<SourcePart>, SourceError>> {
            Box::pin(pending())
        }

        fn decode(&self, level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
            self.0.decode(level, block, raw)
        }
    }

    #[tokio::test]
    async fn who_opens_a_part_again_keeps_nobody_from_decoding() {
        let memory = BlockMemory::new(1 << 20, Duration::from_secs(60), Arc::default());
        let (number, place) = (0, FetchPlace::cached());
        let empty = || Empty::new(&[[8, 8, 8]], vec![]);
        let silent = Arc::new(Image::new(number, "d/silent", Arc::new(LetGo(empty())), place.clone()));
        let other = Arc::new(Image::new(number + 1, "d/other", Arc::new(empty()), place));
        let stored = || FetchedBlock { bytes: vec![3; 64].into(), shared: false, packed: None };
        let key = |image: &Image| BlockKey { image: image.number, level: LevelIndex(0), index: CellIndex([0; 3]) };
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..4 * cores {
            let (memory, silent, key) = (memory.clone(), silent.clone(), key(&silent));
            task::spawn(async move { decode(&memory, &silent, key, stored()).await });
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let decoding = decode(&memory, &other, key(&other), stored());
        let decoded = tokio::time::timeout(Duration::from_secs(20), decoding).await.unwrap().unwrap();
        assert_eq!(decoded, vec![3; 64]);
    }
}
