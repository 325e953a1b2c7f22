//! The way of an operation where bytes are kept on disk: the disk first, then the origin for what is missing.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;

use super::cache_entry::{CacheEntry, KnownEntry};
use super::entry_metadata::{EntryMetadata, Present};
use super::handle::Handle;
use super::healing;
use super::range_store::Extent;
use super::seen::SeenVersion;
use crate::ranges::{common, gaps, joined};
use crate::remote::{Cause, Fetched, ObjectVersion, RangeRequest, RemoteError};

/// Missing parts that lie nearer to each other are fetched as one.
const NEAR: u64 = 128 << 10;

/// So few bytes are fetched again rather than confirmed.
const SHORT: u64 = 256 << 10;

/// How often an operation starts anew because the object changed under it.
const RENEWALS: u32 = 3;

/// Answers `ask` from the disk as far as it can, unless what is kept led to bytes that make no sense.
pub(super) async fn run(handle: &Handle, kept: &CacheEntry, ask: &RangeRequest) -> Result<Fetched, RemoteError> {
    if healing::is_past_caches() {
        return past_caches(handle, kept, ask).await;
    }
    let mut renewals = 0;
    loop {
        let known = kept.look(handle.origin.pin()).await;
        match answer(handle, kept, &known, ask).await {
            Err(error) if may_start_anew(&error, handle, kept, &known, &mut renewals).await => {}
            answer => return answer.map_err(|error| kept.advised(error)),
        }
    }
}

/// Answers `ask` by the origin alone; its answer takes the place of what is kept.
pub(super) async fn past_caches(
    handle: &Handle,
    kept: &CacheEntry,
    ask: &RangeRequest,
) -> Result<Fetched, RemoteError> {
    let mut renewals = 0;
    loop {
        let known = kept.look(handle.origin.pin()).await;
        let replace = async {
            let fetched = handle.ask(ask).await?;
            let replaced = kept.replace(handle.origin.pin(), &known, ask, &fetched).await;
            replaced.map_err(|cause| handle.origin.failed(ask, cause))?;
            Ok(fetched)
        };
        match replace.await {
            Err(error) if may_start_anew(&error, handle, kept, &known, &mut renewals).await => {}
            answer => return answer.map_err(|error| kept.advised(error)),
        }
    }
}

/// Whether an operation that found another object than `known` goes on with that one.
async fn may_start_anew(
    error: &RemoteError,
    handle: &Handle,
    kept: &CacheEntry,
    known: &KnownEntry,
    renewals: &mut u32,
) -> bool {
    let has_changed = matches!(error.cause, Cause::Changed(_)) && kept.renew(handle.origin.pin(), known).await;
    *renewals += u32::from(has_changed);
    has_changed && *renewals <= RENEWALS
}

/// The bytes of `parts`, of which each begins where the one before ends, each in memory of its own; `None` where they
/// cannot all be had from the disk without asking the origin.
pub(super) async fn kept_parts(handle: &Handle, kept: &CacheEntry, parts: Vec<Range<u64>>) -> Option<Vec<Bytes>> {
    let known = kept.look(handle.origin.pin()).await;
    let there = match &known.metadata {
        Some(EntryMetadata::Present(there)) if known.believed => there,
        _ => return None,
    };
    let range = parts.first()?.start..parts.last()?.end;
    let bytes = kept.read_parts(there.version.id()?, parts).await?;
    if !handle.origin.pin().give(&there.version, &range, None) {
        return None;
    }
    kept.mark_served(&known).ok()?;
    handle.stats.disk(true, bytes.iter().map(|part| part.len() as u64).sum());
    let ObjectVersion { etag, last_modified, total } = &there.version;
    let version = || SeenVersion { etag: etag.clone(), last_modified: last_modified.clone(), bytes: *total };
    handle.seen.note(handle.origin.url(), version);
    Some(bytes)
}

async fn answer(
    handle: &Handle,
    kept: &CacheEntry,
    known: &KnownEntry,
    ask: &RangeRequest,
) -> Result<Fetched, RemoteError> {
    let there = match &known.metadata {
        Some(EntryMetadata::Absent(_)) if known.believed => return Err(handle.origin.failed(ask, Cause::NotFound)),
        Some(EntryMetadata::Present(there)) => there,
        _ => return miss(handle, kept, known, ask).await,
    };
    let wanted = wanted(there, ask).map_err(|cause| handle.origin.failed(ask, cause))?;
    let Some((id, range)) = wanted else { return miss(handle, kept, known, ask).await };
    let extents = kept.read(id, range.clone()).await;
    let gaps = missing(&range, &extents);
    let bytes = if gaps.is_empty() {
        if !known.believed
            && let Some(fetched) = revalidate(handle, kept, known, ask, &range).await?
        {
            return Ok(fetched);
        }
        let Some(bytes) = assemble(&range, extents) else { return miss(handle, kept, known, ask).await };
        // It may have been found meanwhile that only what is kept told of another version.
        if !handle.origin.pin().give(&there.version, &range, Some((ask, &bytes))) {
            return miss(handle, kept, known, ask).await;
        }
        handle.stats.disk(true, bytes.len() as u64);
        bytes
    } else if let (RangeRequest::Range(_), Some(first), Some(last)) = (ask, extents.first(), extents.last())
        && handle.origin.pin().give(&there.version, &(first.start..last.range().end), None)
    {
        handle.stats.disk(false, length(&extents));
        let fetching = gaps.into_iter().map(|gap| async {
            let start = gap.start;
            let fetched = origin(handle, kept, known, &RangeRequest::Range(gap)).await?;
            Ok(Extent { start, bytes: fetched.bytes })
        });
        let mut pieces = try_join_all(fetching).await?;
        pieces.extend(extents);
        match assemble(&range, pieces) {
            Some(bytes) => bytes,
            None => return miss(handle, kept, known, ask).await,
        }
    } else {
        return miss(handle, kept, known, ask).await;
    };
    kept.mark_served(known).map_err(|cause| handle.origin.failed(ask, cause))?;
    let Present { version, content_type, .. } = there;
    let whole = there.body.as_ref().filter(|_| matches!(ask, RangeRequest::Whole(_))).map(|body| body.length);
    Ok(Fetched {
        bytes,
        total: whole.or(version.total),
        etag: version.etag.clone(),
        last_modified: version.last_modified.clone(),
        content_type: content_type.clone(),
        decoded: false,
    })
}

/// Answers what is not kept.
async fn miss(
    handle: &Handle,
    kept: &CacheEntry,
    known: &KnownEntry,
    ask: &RangeRequest,
) -> Result<Fetched, RemoteError> {
    handle.stats.disk(false, 0);
    origin(handle, kept, known, ask).await
}

/// Asks the origin and keeps what it answers. That there is no such object is kept by who knows what that means.
async fn origin(
    handle: &Handle,
    kept: &CacheEntry,
    known: &KnownEntry,
    ask: &RangeRequest,
) -> Result<Fetched, RemoteError> {
    let fetched = handle.ask(ask).await?;
    kept.keep(handle.origin.pin(), known, ask, &fetched).map_err(|cause| handle.origin.failed(ask, cause))?;
    Ok(fetched)
}

/// Asks the origin whether it still has what is kept; the answer to `ask` where it sent that along. An origin that cannot
/// be reached or has too much to do does not take away what is kept.
async fn revalidate(
    handle: &Handle,
    kept: &CacheEntry,
    known: &KnownEntry,
    ask: &RangeRequest,
    range: &Range<u64>,
) -> Result<Option<Fetched>, RemoteError> {
    let _one = match kept.confirming.try_lock() {
        Ok(one) => one,
        // The one who asks may wait for long.
        Err(_) if handle.origin.is_out_of_reach() => return Ok(None),
        Err(_) => kept.confirming.lock().await,
    };
    if kept.look(handle.origin.pin()).await.believed || kept.was_unconfirmed() {
        return Ok(None);
    }
    // Without a name for its version, an object that changed may well have its length still.
    let is_nameless = handle.origin.pin().version().is_none_or(|version| version.id().is_none());
    let again = matches!(ask, RangeRequest::Whole(_)) && (is_nameless || range.end - range.start <= SHORT);
    // A proxy on the way may have the old one still.
    let answer = healing::past_caches(async {
        if again { origin(handle, kept, known, ask).await } else { handle.ask(&RangeRequest::Start(1)).await }
    });
    let answer = answer.await;
    match answer {
        Ok(fetched) if again => Ok(Some(fetched)),
        Ok(_) => {
            kept.confirmed();
            Ok(None)
        }
        Err(error) if says_nothing(&error.cause) || kept.outlives(&error.cause) => {
            tracing::debug!("{error}; what is kept of it is used");
            // That nobody was asked took no time.
            if !matches!(error.cause, Cause::Offline(_)) {
                kept.unconfirmed();
            }
            Ok(None)
        }
        // An origin that does not give ranges is asked for all of it.
        Err(error) if error.cause.is_invalid() && !again => origin(handle, kept, known, ask).await.map(Some),
        Err(error) => Err(error),
    }
}

/// Whether an operation that ended so leaves open what the origin has.
fn says_nothing(cause: &Cause) -> bool {
    match cause {
        Cause::Offline(_) | Cause::Connection(_) | Cause::Exhausted(_) | Cause::Timeout { .. } => true,
        Cause::Status(status) => *status == 429 || (500..600).contains(status),
        _ => false,
    }
}

/// The name under which the bytes that `ask` wants are kept, and which they are; `None` where that is not known.
fn wanted(there: &Present, ask: &RangeRequest) -> Result<Option<(String, Range<u64>)>, Cause> {
    let of_version = there.version.id();
    Ok(match ask {
        RangeRequest::Range(range) => of_version.map(|id| (id, range.clone())),
        RangeRequest::Start(most) => of_version.zip(there.version.total).map(|(id, total)| (id, 0..total.min(*most))),
        RangeRequest::End(most) => {
            let of_version = of_version.zip(there.version.total);
            of_version.map(|(id, total)| (id, ask.place(total.min(*most), Some(total))))
        }
        RangeRequest::Whole(limit) => match there.whole() {
            Some((_, length)) if length > *limit => return Err(Cause::TooLong { length, limit: *limit }),
            whole => whole.map(|(id, length)| (id, 0..length)),
        },
    })
}

/// What of `range` is not in `extents`, which are in order; neighbours as one.
fn missing(range: &Range<u64>, extents: &[Extent]) -> Vec<Range<u64>> {
    let kept: Vec<_> = extents.iter().map(Extent::range).collect();
    joined(gaps(range.clone(), &kept), NEAR)
}

fn length(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.bytes.len() as u64).sum()
}

/// The bytes of `range`; `None` where `pieces` do not cover it.
fn assemble(range: &Range<u64>, mut pieces: Vec<Extent>) -> Option<Bytes> {
    if let [piece] = pieces.as_slice()
        && piece.range() == *range
    {
        return Some(piece.bytes.clone());
    }
    pieces.sort_unstable_by_key(|piece| piece.start);
    let covered: Vec<_> = pieces.iter().map(Extent::range).collect();
    if !gaps(range.clone(), &covered).is_empty() {
        return None;
    }
    let mut bytes = BytesMut::zeroed((range.end - range.start) as usize);
    for piece in pieces {
        let part = common(&piece.range(), range);
        if !part.is_empty() {
            let source = &piece.bytes[(part.start - piece.start) as usize..(part.end - piece.start) as usize];
            bytes[(part.start - range.start) as usize..(part.end - range.start) as usize].copy_from_slice(source);
        }
    }
    Some(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn what_is_kept_and_what_is_missing_make_the_whole(
            start in 0u64..1 << 20,
            runs in proptest::collection::vec((any::<bool>(), 1u64..40_000), 1..20),
        ) {
            let mut at = start;
            let mut extents = Vec::new();
            let expected = |at: u64| (at.wrapping_mul(0x9E37_79B9) >> 24) as u8;
            let piece = |range: Range<u64>| Extent { start: range.start, bytes: range.map(expected).collect() };
            for (kept, length) in runs {
                if kept {
                    extents.push(piece(at..at + length));
                }
                at += length;
            }
            let range = start..at;
            let gaps = missing(&range, &extents);
            prop_assert!(gaps.windows(2).all(|pair| pair[1].start - pair[0].end > NEAR));
            prop_assert!(gaps.iter().all(|gap| gap.start >= start && gap.end <= at && !gap.is_empty()));
            let pieces: Vec<_> = gaps.into_iter().map(piece).chain(extents).collect();
            prop_assert_eq!(assemble(&range, pieces.clone()), Some(range.clone().map(expected).collect::<Bytes>()));
            // Without the first piece it is not the whole.
            let cut = pieces.into_iter().filter(|piece| piece.start != range.start).collect();
            prop_assert_eq!(assemble(&range, cut), None);
        }
    }
}
