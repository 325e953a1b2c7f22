//! Copies boxes of voxels between dense arrays.

use crate::geometry::{Region, Shape};

/// A dense C-order array of which some voxels lie at `region` of a larger one.
pub(crate) struct PlacedArray<D> {
    /// The voxels, `region.shape()` of them.
    pub(crate) data: D,
    /// Where they lie, `z, y, x`.
    pub(crate) region: Region,
}

/// Where the rows of a part (along x) lie in an array, in bytes.
struct Rows {
    first: usize,
    /// From a plane to the next.
    plane: usize,
    /// From a row to the next.
    row: usize,
}

impl Rows {
    /// Of an array that covers `whole`, in which `part` lies.
    fn of(whole: &Region, part: &Region, item_size: usize) -> Rows {
        let Shape([_, height, width]) = whole.shape();
        let [z, y, x] = part.relative_to(whole.start).start;
        let bytes = |voxels: u64| voxels as usize * item_size;
        Rows { first: bytes((z * height + y) * width + x), plane: bytes(height * width), row: bytes(width) }
    }

    fn at(&self, z: usize, y: usize) -> usize {
        self.first + z * self.plane + y * self.row
    }
}

/// Copies the voxels of `part`, which both arrays cover. Rows that a shorter array does not hold are skipped, so that no
/// length can make it panic: `false`, and what was copied to must not be shown.
#[must_use = "what is not whole must not be shown"]
pub(crate) fn copy_part(
    from: &PlacedArray<&[u8]>,
    to: &mut PlacedArray<&mut [u8]>,
    part: &Region,
    item_size: usize,
) -> bool {
    let Shape([depth, height, width]) = part.shape();
    let length = width as usize * item_size;
    let (sources, targets) = (Rows::of(&from.region, part, item_size), Rows::of(&to.region, part, item_size));
    let mut is_whole = true;
    for z in 0..depth as usize {
        for y in 0..height as usize {
            let (source, target) = (sources.at(z, y), targets.at(z, y));
            if let (Some(source), Some(target)) =
                (from.data.get(source..source + length), to.data.get_mut(target..target + length))
            {
                target.copy_from_slice(source);
            } else {
                is_whole = false;
            }
        }
    }
    is_whole
}

/// Fills the voxels of `part` with one value, given as little-endian bytes; `false` where the array does not hold them all,
/// and must not be shown.
#[must_use = "what is not whole must not be shown"]
pub(crate) fn fill(to: &mut PlacedArray<&mut [u8]>, part: &Region, value: &[u8]) -> bool {
    let Some(shared) = to.region.intersection(part) else { return true };
    let Shape([depth, height, width]) = shared.shape();
    let length = width as usize * value.len();
    let rows = Rows::of(&to.region, &shared, value.len());
    let mut is_whole = true;
    for z in 0..depth as usize {
        for y in 0..height as usize {
            let first = rows.at(z, y);
            if let Some(row) = to.data.get_mut(first..first + length) {
                row.chunks_exact_mut(value.len()).for_each(|voxel| voxel.copy_from_slice(value));
            } else {
                is_whole = false;
            }
        }
    }
    is_whole
}

/// Where a chunk lies whose shown part is `region`.
pub(super) fn placed(region: &Region, chunk: Shape) -> Region {
    moved(&Region { start: [0; 3], end: chunk.0 }, region.start)
}

/// A region of a chunk as one of the level.
pub(super) fn moved(part: &Region, by: [u64; 3]) -> Region {
    let moved = |place: [u64; 3]| std::array::from_fn(|axis| by[axis].saturating_add(place[axis]));
    Region { start: moved(part.start), end: moved(part.end) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn region() -> impl Strategy<Value = Region> {
        let axis = (0u64..6, 1u64..6).prop_map(|(start, extent)| (start, start + extent));
        [axis.clone(), axis.clone(), axis].prop_map(|axes| Region { start: axes.map(|a| a.0), end: axes.map(|a| a.1) })
    }

    /// The value that a voxel at `z, y, x` has in every array of these tests.
    fn voxel(z: u64, y: u64, x: u64) -> [u8; 2] {
        ((z * 121 + y * 11 + x) as u16 + 1).to_le_bytes()
    }

    fn dense(region: &Region) -> Vec<u8> {
        let mut data = Vec::new();
        for z in region.start[0]..region.end[0] {
            for y in region.start[1]..region.end[1] {
                for x in region.start[2]..region.end[2] {
                    data.extend(voxel(z, y, x));
                }
            }
        }
        data
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]
        #[test]
        fn exactly_the_shared_voxels_are_copied(from in region(), to in region()) {
            let source = dense(&from);
            let mut target = vec![0; dense(&to).len()];
            if let Some(shared) = from.intersection(&to) {
                let mut target = PlacedArray { data: target.as_mut_slice(), region: to };
                let is_whole = copy_part(&PlacedArray { data: &source, region: from }, &mut target, &shared, 2);
                prop_assert!(is_whole);
            }
            let mut expected = dense(&to);
            let mut at = 0;
            for z in to.start[0]..to.end[0] {
                for y in to.start[1]..to.end[1] {
                    for x in to.start[2]..to.end[2] {
                        let inside = [z, y, x].iter().zip(from.start).zip(from.end).all(|((&v, a), b)| v >= a && v < b);
                        if !inside {
                            expected[at..at + 2].fill(0);
                        }
                        at += 2;
                    }
                }
            }
            prop_assert_eq!(target, expected);
        }

        #[test]
        fn exactly_the_part_is_filled(whole in region(), part in region()) {
            let mut target = vec![0; dense(&whole).len()];
            let is_whole = fill(&mut PlacedArray { data: &mut target, region: whole }, &part, &[7, 9]);
            prop_assert!(is_whole);
            let shared = whole.intersection(&part).map_or(0, |shared| shared.shape().voxels().unwrap());
            prop_assert_eq!(target.chunks(2).filter(|voxel| *voxel == [7, 9]).count() as u64, shared);
        }

        #[test]
        fn that_an_array_is_shorter_than_its_region_is_told(whole in region(), cut in 1usize..20) {
            let source = dense(&whole);
            let short = &source[..source.len().saturating_sub(cut)];
            let from = |data| PlacedArray { data, region: whole };
            let (mut long, mut shorter) = (source.clone(), short.to_vec());
            let mut target = PlacedArray { data: long.as_mut_slice(), region: whole };
            let is_whole = copy_part(&from(short), &mut target, &whole, 2);
            prop_assert!(!is_whole);
            let mut target = PlacedArray { data: shorter.as_mut_slice(), region: whole };
            let is_whole = copy_part(&from(&source), &mut target, &whole, 2) || fill(&mut target, &whole, &[7, 9]);
            prop_assert!(!is_whole);
        }
    }
}
