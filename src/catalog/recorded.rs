//! What was recorded of a volume by others, for who asks without a network. The file wins when it is opened.

use serde::{Deserialize, Serialize};

/// Facts of a volume that papers, notebooks and other programs tell.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Voxels of the finest level along `z, y, x`.
    pub shape: Option<[u64; 3]>,
    /// Type of a voxel, by its name in Zarr v3.
    pub dtype: Option<String>,
    /// Nanometres per voxel along `z, y, x`.
    pub voxel_size: Option<[f64; 3]>,
    /// How many levels are stored.
    pub levels: Option<u64>,
    /// Bytes of all files together, as stored.
    pub bytes: Option<u64>,
    /// How much it is to be relied on.
    pub certainty: Option<Certainty>,
    /// Where it is told.
    pub reference: Option<String>,
}

/// How much a recorded fact is to be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// Read off the file by several people.
    Certain,
    /// Told by the maintainers, or by several that may have it from each other.
    Likely,
    /// Told once, or concluded from a sibling.
    Uncertain,
}

impl Recorded {
    /// What a volume that was opened has otherwise: shape `z, y, x`, type and number of levels, as far as they are recorded.
    pub fn differences(&self, shape: [u64; 3], dtype: &str, levels: usize) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(recorded) = self.shape.filter(|recorded| *recorded != shape) {
            found.push(format!("a shape of {recorded:?} is recorded and it has {shape:?}"));
        }
        if let Some(recorded) = self.dtype.as_deref().filter(|recorded| *recorded != dtype) {
            found.push(format!("voxels of type {recorded} are recorded and it has {dtype}"));
        }
        if let Some(recorded) = self.levels.filter(|recorded| *recorded != levels as u64) {
            found.push(format!("{recorded} levels are recorded and it has {levels}"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volume_has_otherwise_is_told_and_what_is_not_recorded_is_not() {
        let recorded = Recorded { shape: Some([2, 3, 4]), levels: Some(2), ..Recorded::default() };
        assert_eq!(recorded.differences([2, 3, 4], "uint8", 2), Vec::<String>::new());
        assert_eq!(recorded.differences([2, 3, 5], "int8", 1).len(), 2);
    }
}
