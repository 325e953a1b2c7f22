//! Statistics of an image's voxels that were computed on this machine. They are kept beside the measured window, and the
//! next to open the image shows them.

use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::image_notes::ImageNotes;

/// Version of the rule: statistics of another one are not used. Those of the second may be of a crop.
const RULE: u32 = 3;

const WHAT: &str = "intensity";

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

/// The statistics that were computed last, where they are kept.
pub async fn kept(notes: &ImageNotes) -> Option<Intensity> {
    let kept: Intensity = notes.read(WHAT, RULE).await?;
    // Numbers of JSON are finite.
    [kept.mean, kept.std].iter().all(|value| value.is_finite()).then_some(kept)
}

/// Keeps statistics in place of those before.
pub fn keep(notes: &ImageNotes, intensity: &Intensity) {
    notes.write(WHAT, RULE, intensity);
}
