//! Blocks that do not decode are found and fetched once more, past every cache.

use std::sync::Arc;

use bytes::Bytes;

use super::VolumeError;
use super::block::{BlockKey, BlockLeader, BlockOutcome, versions_of};
use super::block_memory::BlockMemory;
use super::bulk_read::BulkRead;
use super::decode::{FetchedBlock, decode};
use super::image::Image;
use super::parts::fetch_parts;
use super::whole::Whole;
use crate::cache::Held;
use crate::source::{Placement, SourceError};
use crate::store::{Unproven, unproven};

/// How often a block that does not decode is fetched.
const ATTEMPTS: u32 = 2;

/// Finds, fetches and decodes a block once more, past every cache, because what came first does not decode: `error`.
/// Takes memory of its own, so the caller must hold none while it waits for this.
pub(super) async fn fetch_past_caches(
    memory: Arc<BlockMemory>,
    image: Arc<Image>,
    leader: BlockLeader,
    error: VolumeError,
    bulk: Option<BulkRead>,
) {
    // That a decoder ended without an answer says nothing about the bytes.
    if matches!(error, VolumeError::Lost) {
        return leader.finish(BlockOutcome::failed(error));
    }
    let key = *leader.key();
    let bytes = image.block_bytes(key);
    let fetched = unproven(true, async {
        let whole = match image.locate_to_fetch(key.level, key.index).await? {
            Placement::Absent { .. } => return Ok(None),
            Placement::Range { object, start, length } => {
                let mut reservation = memory.reserve(object.place(), length.saturating_add(bytes)).await;
                let raw = fetch_parts(&object, start..start.saturating_add(length)).await?;
                memory.complete(&mut reservation).await;
                return Ok(Some((raw, None, reservation, (object, false))));
            }
            Placement::Whole { object, limit, witness } => Whole::new(object, limit, witness),
            Placement::Packed { object, compression, limit, witness } => {
                Whole::packed(object, compression, limit, witness)
            }
        };
        let mut reservation = memory.reserve(whole.object.place(), whole.needed().saturating_add(bytes)).await;
        let fetched = whole.fetch(&image, key).await?;
        if fetched.is_some() {
            memory.complete(&mut reservation).await;
        }
        Ok::<_, SourceError>(fetched.map(|fetched| (fetched, whole.packed, reservation, (whole.object, true))))
    });
    let (fetched, unproven) = fetched.await;
    let (raw, packed, mut reservation, (object, is_whole)) = match fetched {
        Ok(Some(fetched)) => fetched,
        Ok(None) => return memory.finish_absent(&image, leader).await,
        Err(other) => return leader.finish(BlockOutcome::failed(other)),
    };
    let noting = bulk.as_ref().filter(|_| !object.is_local());
    let stored = FetchedBlock { bytes: raw.clone(), shared: false, packed };
    match decode_unproven(&memory, &image, key, stored, unproven).await {
        Ok(decoded) => {
            tracing::info!("{}: {error}; fetched once more, it is well", image.name);
            if let Some(bulk) = noting {
                bulk.forget(key.index).await;
                bulk.note(vec![(key.index, raw)]).await;
            }
            memory.finish(leader, Held::new(decoded, reservation.lease.split(bytes)).of_versions(versions_of(&object)));
        }
        Err(error) => {
            if let Some(bulk) = noting {
                bulk.forget(key.index).await;
            }
            if is_whole && error.is_of_content() {
                object.drop_senseless();
            }
            leader.finish(BlockOutcome::failed(VolumeError::Undecodable(ATTEMPTS, error.into())));
        }
    }
}

/// Decodes what is not relied on before: a page in place of a 404 tells a version as well.
pub(super) async fn decode_unproven(
    memory: &BlockMemory,
    image: &Arc<Image>,
    key: BlockKey,
    stored: FetchedBlock,
    unproven: Unproven,
) -> Result<Bytes, VolumeError> {
    let decoded = decode(memory, image, key, stored).await?;
    match unproven.makes_sense() {
        true => Ok(decoded),
        false => {
            let (field, reason) = (format!("{} block {}", key.level, key.index), "its object was doubted meanwhile");
            Err(SourceError::malformed(&*image.name, field, reason).into())
        }
    }
}
