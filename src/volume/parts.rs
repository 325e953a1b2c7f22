//! A long range as several parallel ones.

use std::iter;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};

use crate::remote::RemoteError;
use crate::store::Object;

/// Ranges longer than twice this are fetched as parallel ones of this length.
const PART: u64 = 4 << 20;

/// Parts that are asked for at once, which are in memory beside the whole. An index may tell any length, and where that is
/// wrong the first parts fail.
const AT_ONCE: usize = 8;

/// Memory that is taken before more than two parts have come: one that grows is copied, and there twice meanwhile.
const FORESEEN: u64 = 256 << 20;

/// The bytes of `range`.
pub(super) async fn fetch_parts(object: &Object, range: Range<u64>) -> Result<Bytes, RemoteError> {
    let length = range.end.saturating_sub(range.start);
    let mut parts = stream::iter(parts(range)).map(|part| object.range(part)).buffered(AT_ONCE);
    let Some(first) = parts.try_next().await? else { return Ok(Bytes::new()) };
    let Some(second) = parts.try_next().await? else { return Ok(first.bytes) };
    let mut whole = BytesMut::with_capacity(usize::try_from(length.min(FORESEEN)).unwrap_or_default());
    whole.extend_from_slice(&first.bytes);
    whole.extend_from_slice(&second.bytes);
    drop((first, second));
    while let Some(part) = parts.try_next().await? {
        whole.extend_from_slice(&part.bytes);
    }
    Ok(whole.freeze())
}

/// In what parts a range is asked for; as one where it is short, or makes no sense.
fn parts(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let length = range.end.saturating_sub(range.start);
    let part = if length <= 2 * PART { length } else { PART };
    let mut next = Some(range.start);
    iter::from_fn(move || {
        let start = next?;
        let end = start.saturating_add(part).min(range.end);
        next = (end < range.end).then_some(end);
        Some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parts that a test looks at.
    const SEEN: usize = 1000;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn parts_make_the_range_whatever_an_index_says(
            start in prop_oneof![any::<u64>(), 0u64..1 << 34, u64::MAX - (1 << 26)..=u64::MAX],
            length in prop_oneof![any::<u64>(), 0u64..1 << 31],
        ) {
            let range = start..start.saturating_add(length);
            let mut at = start;
            for part in parts(range.clone()).take(SEEN) {
                prop_assert_eq!(part.start, at);
                prop_assert!(part.end - part.start <= 2 * PART);
                prop_assert!(!part.is_empty() || range.is_empty());
                at = part.end;
            }
            prop_assert!(at == range.end || at - start == SEEN as u64 * PART);
        }
    }

    #[test]
    fn a_range_that_is_none_is_asked_for_as_it_is() {
        for (start, end) in [(7, 7), (7, 3), (u64::MAX, u64::MAX), (u64::MAX, 0)] {
            let mut parts = parts(start..end);
            assert_eq!((parts.next(), parts.next()), (Some(start..end), None));
        }
    }
}
