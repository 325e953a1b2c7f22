//! Arithmetic of ranges of bytes.

use std::ops::Range;

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
