//! Statistics of voxels that are exact: the same whatever the order in which blocks come, and how many at a time.
//!
//! Voxels are looked at block by block and not kept. Types of 8 and 16 bits take one pass over the blocks, for all is known
//! when each value is counted. Types of 32 bits take two and of 64 bits four: the first counts the highest 16 bits of the
//! values, each further one the next 16 of those values that a percentile is among.

mod bins;
mod counter;
mod exact;

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use counter::Summary;

use self::counter::VoxelCounter;
use super::list::Sample;
use super::{SampleError, VoxelReader};
use crate::dtype::{DataType, FillValue};
use crate::geometry::{LevelIndex, Region, Shape};
use crate::hex::hex;
use crate::volume::Image;
use crate::volume::intensity::Intensity;

/// Version of the rules by which a list is hashed and statistics are told. Since 2, means and variances of large numbers are
/// rounded once.
pub const RULE: u32 = 2;

/// Per cent of the voxels that have at most the value told.
pub const PERCENTILES: [f64; 5] = [0.1, 1.0, 50.0, 99.0, 99.9];

/// A level of an open image as it is read.
pub struct ReadLevel<'a> {
    /// Where its voxels come from.
    pub image: &'a Arc<Image>,
    /// Its level.
    pub level: LevelIndex,
    /// Chunks of the level.
    pub cell: Shape,
    /// Type of a voxel.
    pub dtype: DataType,
    /// Value of voxels that nobody stored.
    pub fill: FillValue,
}

/// Statistics of the voxels in `places` of a level; voxels in several of them count several times.
pub async fn compute(reader: &VoxelReader, target: &ReadLevel<'_>, places: &[Region]) -> Result<Summary, SampleError> {
    let mut counter = VoxelCounter::new(target.dtype, target.fill);
    loop {
        for place in places {
            let of = (*place, target.cell, target.dtype);
            reader.each_piece(target.image, target.level, of, |_, data| counter.take(data)).await?;
        }
        if let Some(summary) = counter.next_pass() {
            return Ok(summary);
        }
    }
}

/// SHA-256 of a list of blocks: of its lines `STORE,LEVEL,z,y,x,dz,dy,dx`, sorted as text, each with a line feed.
pub fn list_hash(samples: &[Sample]) -> String {
    let line = |sample: &Sample| {
        let ([z, y, x], Shape([dz, dy, dx])) = (sample.place.start, sample.place.shape());
        format!("{},{},{z},{y},{x},{dz},{dy},{dx}\n", sample.store, sample.level)
    };
    let mut lines: Vec<String> = samples.iter().map(line).collect();
    lines.sort_unstable();
    hex(&Sha256::digest(lines.concat()))
}

/// Statistics as JSON, with the names that `emfs stats` gives them.
pub fn json(summary: &Summary, dtype: DataType, blocks: u64, hash: &str) -> Value {
    let told = |value: Option<counter::ToldValue>| value.map_or(Value::Null, counter::ToldValue::json);
    let percentiles: serde_json::Map<String, Value> =
        summary.percentiles.iter().map(|(share, value)| (share.to_string(), json!(value))).collect();
    json!({
        "dtype": dtype.name(),
        "blocks": blocks,
        "voxels": summary.voxels,
        "not_finite": summary.left_out,
        "mean": summary.mean,
        "std": summary.std,
        "min": told(summary.min),
        "max": told(summary.max),
        "percentiles": percentiles,
        "fill_fraction": summary.fill_fraction(),
        "histogram": {"edges": summary.edges, "counts": summary.histogram},
        "blocks_sha256": hash,
        "rule": RULE,
    })
}

/// What is kept of statistics; `None` where there were no voxels.
pub fn intensity(summary: &Summary, blocks: u64, hash: &str) -> Option<Intensity> {
    Some(Intensity {
        mean: summary.mean?,
        std: summary.std?,
        min: summary.min?.json().as_number()?.clone(),
        max: summary.max?.json().as_number()?.clone(),
        percentiles: summary.percentiles.clone(),
        blocks,
        blocks_sha256: hash.to_owned(),
    })
}
