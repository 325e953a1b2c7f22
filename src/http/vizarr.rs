//! What a link tells vizarr beside the store.
//!
//! vizarr looks at planes from one unit above z = 0 and sees nothing above that. It lays an image where the image's own
//! transformations say, in nanometres, so one that begins at a larger z would be black. It takes another matrix from the link.

use serde_json::{Value, json};

use super::documents::DescribedLevel;

/// The parameters for an image of which this is the finest level, each with its value in JSON; `at` is the voxel (z, y, x) to
/// look at, of which vizarr takes y and x.
pub(super) fn parameters(finest: &DescribedLevel, at: Option<[u64; 3]>) -> Vec<(&'static str, Value)> {
    let ([_, sy, sx], [tz, ty, tx]) = (finest.scale, finest.translation);
    let mut parameters = Vec::new();
    if tz != 0.0 {
        // By rows, for x, y, z and 1.
        let matrix = [sx, 0.0, 0.0, tx, 0.0, sy, 0.0, ty, 0.0, 0.0, finest.scale[0], 0.0, 0.0, 0.0, 0.0, 1.0];
        parameters.push(("model_matrix", json!(matrix)));
    }
    if let Some([_, y, x]) = at {
        // A place is that of a voxel's corner here. The zoom is the binary logarithm of pixels per nanometre: one a voxel.
        let centre = |index: u64, scale: f64, translation: f64| (index as f64 + 0.5) * scale + translation;
        let target = [centre(x, sx, tx), centre(y, sy, ty)];
        parameters.push(("viewState", json!({"target": target, "zoom": -sx.log2()})));
    }
    parameters
}
