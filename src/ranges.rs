//! Arithmetic of ranges, of bytes mostly.

use std::ops::Range;

/// What two ranges have in common, which may be nothing.
pub fn common(one: &Range<u64>, other: &Range<u64>) -> Range<u64> {
    one.start.max(other.start)..one.end.min(other.end)
}

/// The parts of `range` that are in none of `covered`, which are in order.
pub fn gaps(range: Range<u64>, covered: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut at = range.start;
    for part in covered {
        if at < part.start.min(range.end) {
            found.push(at..part.start.min(range.end));
        }
        at = at.max(part.end);
    }
    if at < range.end {
        found.push(at..range.end);
    }
    found
}

/// Ranges in order, those joined that have no more than `near` between them. Empty ones are left out.
pub fn joined(ranges: impl IntoIterator<Item = Range<u64>>, near: u64) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        match found.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(near) => last.end = last.end.max(range.end),
            _ => found.push(range),
        }
    }
    found
}
