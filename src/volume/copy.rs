//! Copies boxes of voxels between dense arrays.

use crate::geometry::{Region, Shape};

/// A dense C-order array of which some voxels lie at `region` of a larger one.
pub(crate) struct Placed<D> {
    /// The voxels, `region.shape()` of them.
    pub(crate) data: D,
    /// Where they lie, `z, y, x`.
    pub(crate) region: Region,
}

/// The byte ranges of the rows of `part` (along x) in an array that covers `whole`, in `z, y` order. `part` lies in
/// `whole`.
fn rows(whole: &Region, part: &Region, item_size: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
    let Shape([_, height, width]) = whole.shape();
    let inner = part.relative_to(whole.start);
    let length = (inner.end[2] - inner.start[2]) as usize * item_size;
    (inner.start[0]..inner.end[0]).flat_map(move |z| {
        (inner.start[1]..inner.end[1]).map(move |y| {
            let first = ((z * height + y) * width + inner.start[2]) as usize * item_size;
            (first, length)
        })
    })
}

/// Copies the voxels of `part`, which both arrays cover. Rows that a shorter array does not hold are skipped, so that no
/// length can make it panic; callers check lengths.
pub(crate) fn copy_part(from: &Placed<&[u8]>, to: &mut Placed<&mut [u8]>, part: &Region, item_size: usize) {
    let sources = rows(&from.region, part, item_size);
    let targets = rows(&to.region, part, item_size);
    for ((source, length), (target, _)) in sources.zip(targets) {
        if let (Some(source), Some(target)) =
            (from.data.get(source..source + length), to.data.get_mut(target..target + length))
        {
            target.copy_from_slice(source);
        }
    }
}

/// Fills the voxels of `part` with one value, given as little-endian bytes.
pub(crate) fn fill(to: &mut Placed<&mut [u8]>, part: &Region, value: &[u8]) {
    let Some(shared) = to.region.intersection(part) else { return };
    for (first, length) in rows(&to.region, &shared, value.len()) {
        if let Some(row) = to.data.get_mut(first..first + length) {
            row.chunks_exact_mut(value.len()).for_each(|voxel| voxel.copy_from_slice(value));
        }
    }
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
                let mut target = Placed { data: target.as_mut_slice(), region: to };
                copy_part(&Placed { data: &source, region: from }, &mut target, &shared, 2);
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
            fill(&mut Placed { data: &mut target, region: whole }, &part, &[7, 9]);
            let shared = whole.intersection(&part).map_or(0, |shared| shared.shape().voxels().unwrap());
            prop_assert_eq!(target.chunks(2).filter(|voxel| *voxel == [7, 9]).count() as u64, shared);
        }
    }
}
