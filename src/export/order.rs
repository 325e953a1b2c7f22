//! In which order the batches of arrays are worked on.
//!
//! A level that is computed is made of the blocks of the one below. Its batches come right behind those of the finer level
//! that end where they end along z, so that these blocks are still in memory, as long as a slab of
//! them fits there, and are not fetched once more.

use std::iter::Peekable;

use super::array::ArrayPlan;
use super::layout::{ArrayLayout, Batch};

/// Batches of several arrays, each with its array's place among them.
pub(super) fn batches<'a>(targets: &[&'a ArrayPlan]) -> impl Iterator<Item = (usize, Batch)> + use<'a> {
    let mut groups: Vec<Vec<ArrayBatches<'a, _>>> = Vec::new();
    for (place, target) in targets.iter().copied().enumerate() {
        let array = ArrayBatches { place, layout: &target.layout, batches: target.layout.batches().peekable() };
        let goes_along = |before: &&ArrayPlan| before.image.number == target.image.number && target.is_computed();
        match groups
            .last_mut()
            .filter(|_| place.checked_sub(1).and_then(|last| targets.get(last)).is_some_and(goes_along))
        {
            Some(group) => group.push(array),
            None => groups.push(vec![array]),
        }
    }
    groups.into_iter().flat_map(|mut group| {
        std::iter::from_fn(move || {
            let ends = group.iter_mut().enumerate().filter_map(|(number, array)| Some((array.end()?, number)));
            // Of several that end at the same place the finest comes first.
            let (_, number) = ends.min()?;
            let array = group.get_mut(number)?;
            Some((array.place, array.batches.next()?))
        })
    })
}

/// What is left of an array.
struct ArrayBatches<'a, I: Iterator<Item = Batch>> {
    place: usize,
    layout: &'a ArrayLayout,
    batches: Peekable<I>,
}

impl<I: Iterator<Item = Batch>> ArrayBatches<'_, I> {
    /// Where the next batch ends along z, as a part of 2³² of the array.
    fn end(&mut self) -> Option<u64> {
        let end = self.batches.peek()?.chunks[0].end;
        let [depth, ..] = self.layout.chunks.shape.0;
        let end = end.saturating_mul(self.layout.chunks.cell.0[0]).min(depth);
        Some(((u128::from(end) << 32) / u128::from(depth.max(1))) as u64)
    }
}
