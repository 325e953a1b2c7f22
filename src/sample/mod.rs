//! Lists of samples and the statistics of their voxels: where a training run reads, the same on every machine.

mod draw;
mod inside;
mod laid;
pub mod list;
mod mask;
pub mod random;
mod reading;
pub mod split;
pub mod statistics;

pub use draw::{DrawRule, Drawn, Ground, Judge, Regions, draw, native_blocks};
pub use inside::{Everywhere, InsideLabels, Known};
pub use laid::Laid;
pub use mask::LabelsInside;
pub use reading::VoxelReader;

use crate::volume::VolumeError;

/// Version of the rule that lists are drawn by: another one may draw other lists from a seed. Since 2, labels are counted by the
/// voxels of the image where these are finer, and a coarse level of labels refuses no place that it has something of. The
/// numbers are still those of the first version, and so are lists without labels or with labels of the image's voxel size
/// that were judged in their finest level.
pub const RULE: u32 = 2;

/// Why there is no list, or no statistics of one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SampleError {
    /// There are no such samples.
    #[error("{0}")]
    Unsatisfiable(String),
    /// Voxels cannot be read.
    #[error("{what}: {error}")]
    Read {
        /// Where they are.
        what: String,
        /// The reason.
        error: VolumeError,
    },
    /// A list is not as it should be.
    #[error("{file}:{line}: {reason}")]
    List {
        /// The list.
        file: String,
        /// The line.
        line: u64,
        /// What is wrong there.
        reason: String,
    },
}

impl SampleError {
    /// The same with the name of what it is about before it.
    fn of(self, name: &str) -> SampleError {
        match self {
            SampleError::Unsatisfiable(reason) => SampleError::Unsatisfiable(format!("{name}: {reason}")),
            error => error,
        }
    }
}
