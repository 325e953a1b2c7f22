//! The display window of an image: which values are shown black and white.
//!
//! Where nobody states one it is measured: from a list of blocks that follows from the image alone, so that it is the same
//! on every machine. Opening an image never waits for that. Who has measured keeps the result with the cache, and the next
//! to open the image shows it.

use serde::{Deserialize, Serialize};

use super::image_notes::ImageNotes;
use super::percentiles::TAIL;
use super::pyramid::tidy;
use crate::catalog::SourceSpec;
use crate::geometry::CellIndex;
use crate::source::Description;

/// Version of the rule: a window that was measured by another one is not used.
const RULE: u32 = 1;

/// A window that was measured, and what it was measured from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Blocks of the finest level, `z, y, x` in the grid of the source.
    pub(super) blocks: Vec<[u64; 3]>,
}

/// A display window and in words how it came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct DisplayWindow {
    /// `(low, high)`.
    pub range: (f64, f64),
    /// The rule it follows from.
    pub rule: String,
}

/// Whether an image's window is to be measured: nobody states one.
pub(super) fn is_to_be_measured(description: &Description, spec: &SourceSpec) -> bool {
    spec.window.or(description.window).is_none()
}

/// Chooses the window: configured, else stated by the file, else measured, else the catalogue's recorded one, else the
/// range of the type.
pub(super) fn choose(description: &Description, spec: &SourceSpec, measured: Option<Measured>) -> DisplayWindow {
    let told = |range, rule: &str| DisplayWindow { range, rule: rule.to_owned() };
    if let Some(range) = spec.window {
        return told(range, "the configuration");
    }
    if let Some(range) = description.window {
        return told(range, "the source");
    }
    if let Some(Measured { low, high, blocks }) = measured {
        let blocks: Vec<String> = blocks.into_iter().map(|block| CellIndex(block).to_string()).collect();
        let (least, most) = (tidy(100.0 * TAIL), tidy(100.0 * (1.0 - TAIL)));
        let rule =
            format!("{least} to {most} % of the voxels of s0 in the archive's blocks {} (z/y/x)", blocks.join(", "));
        return told((low, high), &rule);
    }
    match spec.recorded_window {
        Some(range) => told(range, "recorded in the catalogue"),
        None => told(description.dtype.display_range(), "the range of the type"),
    }
}

/// What a measured window is called: where it is measured follows from where the tissue is.
fn name(spec: &SourceSpec) -> String {
    spec.tissue.map_or_else(|| "window".to_owned(), |tissue| format!("window {tissue:?}"))
}

/// The window that was measured before, where it is kept.
pub async fn kept(notes: &ImageNotes, description: &Description, spec: &SourceSpec) -> Option<Measured> {
    if !is_to_be_measured(description, spec) {
        return None;
    }
    let measured: Measured = notes.read(&name(spec), RULE).await?;
    (measured.low.is_finite() && measured.high.is_finite() && measured.low < measured.high).then_some(measured)
}

/// Keeps a window that was measured.
pub(super) fn keep(notes: &ImageNotes, spec: &SourceSpec, measured: &Measured) {
    notes.write(&name(spec), RULE, measured);
}
