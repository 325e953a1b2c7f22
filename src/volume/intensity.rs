//! Statistics of an image's voxels that were computed on this machine. They are kept beside the measured window, and the
//! next to open the image shows them.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::catalog::SourceSpec;
use crate::source::Description;
use crate::store::RangeStore;

/// Version of the rule: statistics of another one are not used.
const RULE: u32 = 1;

/// Statistics of voxels of the finest level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intensity {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the voxels themselves (divided by their number).
    pub std: f64,
    /// The least value that was met.
    pub min: f64,
    /// The greatest value that was met.
    pub max: f64,
    /// Percentiles: how many per cent of the voxels, and the value.
    pub percentiles: Vec<(f64, f64)>,
    /// Blocks of voxels.
    pub blocks: u64,
    /// SHA-256 of the list of blocks.
    pub blocks_sha256: String,
}

/// What the statistics of an image are kept under. `origin`: the address the source was opened at.
fn key(origin: &str, description: &Description, spec: &SourceSpec) -> String {
    let shape = description.levels.first().map(|level| level.grid.shape.to_string()).unwrap_or_default();
    format!("{origin} intensity {RULE} {} {shape} {}", spec.digest(), description.dtype)
}

/// The statistics that were computed last, where they are kept.
pub fn kept(
    disk: Option<&Arc<dyn RangeStore>>,
    origin: &str,
    description: &Description,
    spec: &SourceSpec,
) -> Option<Intensity> {
    let note = disk?.note(&key(origin, description, spec)).ok()??;
    let kept: Intensity = serde_json::from_slice(&note).ok()?;
    [kept.mean, kept.std, kept.min, kept.max].iter().all(|value| value.is_finite()).then_some(kept)
}

/// Keeps statistics in place of those before.
pub fn keep(
    disk: &Arc<dyn RangeStore>,
    origin: &str,
    description: &Description,
    spec: &SourceSpec,
    intensity: &Intensity,
) {
    if let Ok(note) = serde_json::to_vec(intensity) {
        disk.set_note(&key(origin, description, spec), Bytes::from(note));
    }
}
