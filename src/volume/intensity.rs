//! Statistics of an image's voxels that were computed on this machine. They are kept beside the measured window, and the
//! next to open the image shows them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::image_notes;
use crate::catalog::SourceSpec;
use crate::source::Description;
use crate::store::RangeStore;

/// Version of the rule: statistics of another one are not used. Those of the second may be of a crop.
const RULE: u32 = 3;

/// Statistics of voxels of the finest level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intensity {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the voxels themselves (divided by their number).
    pub std: f64,
    /// The least value that was met, a whole number where voxels are such.
    pub min: Number,
    /// The greatest value that was met.
    pub max: Number,
    /// Percentiles: how many per cent of the voxels, and the value.
    pub percentiles: Vec<(f64, f64)>,
    /// Blocks of voxels.
    pub blocks: u64,
    /// SHA-256 of the list of blocks.
    pub blocks_sha256: String,
}

/// What the statistics of an image are kept under. `origin`: the address the source was opened at.
fn key(origin: &str, description: &Description, spec: &SourceSpec) -> String {
    image_notes::key("intensity", RULE, origin, description, spec)
}

/// The statistics that were computed last, where they are kept.
pub async fn kept(
    disk: Option<&Arc<dyn RangeStore>>,
    origin: &str,
    description: &Description,
    spec: &SourceSpec,
) -> Option<Intensity> {
    let kept: Intensity = image_notes::read(disk, &key(origin, description, spec)).await?;
    // Numbers of JSON are finite.
    [kept.mean, kept.std].iter().all(|value| value.is_finite()).then_some(kept)
}

/// Keeps statistics in place of those before.
pub fn keep(
    disk: &Arc<dyn RangeStore>,
    origin: &str,
    description: &Description,
    spec: &SourceSpec,
    intensity: &Intensity,
) {
    image_notes::write(disk, &key(origin, description, spec), intensity);
}
