//! The `Range` header, as RFC 9110 wants it understood.

use std::ops::Range;

use crate::decimal::{self, NotDecimal};

/// What a `Range` header asks of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestedRange {
    /// All of it: no header, or one that a server may ignore (another unit, several ranges, nonsense).
    Whole,
    /// Some of it, clipped to the object; never empty.
    Part(Range<u64>),
    /// Nothing that the object has.
    Unsatisfiable,
}

/// Reads the header for an object of `length` bytes.
pub fn wanted(header: Option<&str>, length: u64) -> RequestedRange {
    header.and_then(|text| parse(text, length)).unwrap_or(RequestedRange::Whole)
}

fn parse(header: &str, length: u64) -> Option<RequestedRange> {
    let (first, last) = header.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let part = match (first, last) {
        ("", suffix) => length.saturating_sub(number(suffix)?)..length,
        (first, "") => number(first)?..length,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(length)
        }
    };
    Some(if part.start < part.end { RequestedRange::Part(part) } else { RequestedRange::Unsatisfiable })
}

/// A number as the grammar has it: digits only. One too large for 64 bits is beyond any object.
fn number(text: &str) -> Option<u64> {
    match decimal::unsigned(text) {
        Ok(number) => Some(number),
        Err(NotDecimal::TooLarge) => Some(u64::MAX),
        Err(NotDecimal::Digits | NotDecimal::LeadingZero) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn single_ranges_are_clipped_to_the_object() {
        for (header, expected) in [
            ("bytes=0-0", RequestedRange::Part(0..1)),
            ("bytes=5-99", RequestedRange::Part(5..10)),
            ("bytes=9-", RequestedRange::Part(9..10)),
            ("bytes=-3", RequestedRange::Part(7..10)),
            ("bytes=-99", RequestedRange::Part(0..10)),
            ("bytes=0-99999999999999999999999", RequestedRange::Part(0..10)),
            ("bytes=10-", RequestedRange::Unsatisfiable),
            ("bytes=10-12", RequestedRange::Unsatisfiable),
            ("bytes=-0", RequestedRange::Unsatisfiable),
            ("bytes=5-4", RequestedRange::Whole),
            ("bytes=0-1,3-4", RequestedRange::Whole),
            ("bytes=+1-2", RequestedRange::Whole),
            ("lines=1-2", RequestedRange::Whole),
            ("bytes=-", RequestedRange::Whole),
        ] {
            assert_eq!(wanted(Some(header), 10), expected, "{header}");
        }
        assert_eq!(wanted(None, 10), RequestedRange::Whole);
        assert_eq!(wanted(Some("bytes=0-"), 0), RequestedRange::Unsatisfiable);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn a_part_is_never_empty_and_never_beyond_the_object(header in "(bytes=)?[0-9,=+ -]{0,24}", length in 0u64..100) {
            if let RequestedRange::Part(part) = wanted(Some(&header), length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
