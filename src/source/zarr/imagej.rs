//! What ImageJ's exporter to N5 and Zarr (n5-ij, "ImageJ metadata") says of an array: the size of its voxels, and how its
//! planes are counted.

use super::axes::Axes;
use super::json::JsonField;
use crate::source::SourceError;

/// How many channels, slices and moments a hyperstack has. Its axes are x, y, c, z, t, the fastest first; of the last three, the
/// exporter leaves out those of length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hyperstack([u64; 3]);

/// Names of these three.
const NAMES: [&str; 3] = ["c", "z", "t"];

/// Which of the three an array may have, the likely ones first. One without z is no volume.
const PRESENT: [[bool; 3]; 4] = [[false, true, false], [true, true, false], [false, true, true], [true, true, true]];

impl Hyperstack {
    /// What the attributes of an array say; `None` where they say it not in these words.
    pub fn read(attributes: &JsonField) -> Option<Self> {
        let count = |name: &str| {
            let value = attributes.value.get(name)?;
            let whole = value.as_f64().filter(|number| number.fract() == 0.0 && (1.0..1e15).contains(number));
            value.as_u64().or(whole.map(|number| number as u64)).filter(|count| *count > 0)
        };
        Some(Hyperstack([count("numChannels")?, count("numSlices")?, count("numFrames")?]))
    }

    /// The axes of an array of that shape, the slowest first; `None` where the counts are not its.
    pub fn axes(self, shape: &[u64]) -> Option<Axes> {
        let planes = shape.get(..shape.len().checked_sub(2)?)?;
        let fits = |present: &[bool; 3]| {
            let has = |axis: &usize| present[*axis];
            let is_bare = (0..3).all(|axis| present[axis] || self.0[axis] == 1);
            is_bare && (0..3).rev().filter(has).map(|axis| self.0[axis]).eq(planes.iter().copied())
        };
        let present = PRESENT.into_iter().find(fits)?;
        let names = (0..3).rev().filter(|axis| present[*axis]).map(|axis| NAMES[axis]);
        Axes::of_names(names.chain(["y", "x"]))
    }
}

/// How large a voxel is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Calibration<'a> {
    /// Along `x, y, z`.
    pub size: [f64; 3],
    pub unit: Option<&'a str>,
}

impl<'a> Calibration<'a> {
    /// What the attributes of an array say; `None` where they say nothing of it.
    pub fn read(attributes: &JsonField<'a>) -> Result<Option<Self>, SourceError> {
        let mut size = [0.0; 3];
        for (size, name) in size.iter_mut().zip(["pixelWidth", "pixelHeight", "pixelDepth"]) {
            let Some(field) = attributes.optional(name)? else { return Ok(None) };
            *size = field.finite()?;
        }
        let unit = attributes.value.get("pixelUnit").and_then(|unit| unit.as_str());
        // ImageJ has 0 where nobody said it.
        Ok(Some(Calibration { size, unit }).filter(|_| size.iter().all(|size| *size > 0.0)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(counts: [u64; 3], shape: &[u64]) -> Option<String> {
        let [channels, slices, frames] = counts;
        let attributes = json!({ "numChannels": channels, "numSlices": slices, "numFrames": frames });
        let root = JsonField::root("a", &attributes).unwrap();
        Some(Hyperstack::read(&root)?.axes(shape)?.told())
    }

    #[test]
    fn the_axes_of_a_hyperstack_are_in_the_order_of_imagej_where_its_counts_are_those_of_the_array() {
        for (counts, shape, expected) in [
            ([1, 20, 1], &[20, 30, 40][..], Some("z, y, x")),
            ([2, 20, 1], &[20, 2, 30, 40], Some("z, c, y, x")),
            ([1, 20, 1], &[20, 1, 30, 40], Some("z, c, y, x")),
            ([1, 20, 5], &[5, 20, 30, 40], Some("t, z, y, x")),
            ([2, 20, 5], &[5, 20, 2, 30, 40], Some("t, z, c, y, x")),
            ([1, 1, 1], &[1, 30, 40], Some("z, y, x")),
            ([2, 20, 1], &[2, 20, 30, 40], None),
            ([2, 20, 1], &[20, 30, 40], None),
            ([2, 20, 5], &[20, 2, 30, 40], None),
            ([1, 1, 1], &[30, 40], None),
            ([1, 1, 1], &[40], None),
            ([0, 20, 1], &[20, 30, 40], None),
        ] {
            assert_eq!(told(counts, shape).as_deref(), expected, "{counts:?} {shape:?}");
        }
    }
}
