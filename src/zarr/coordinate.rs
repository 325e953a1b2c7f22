//! Arrays of coordinates beside a level that is shown alone, by which xarray and others label its axes.
//!
//! The names of dimensions and the attributes are those of the CF conventions (<https://cfconventions.org>).

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::dtype::DataType;
use crate::view::AXES;
use crate::volume::Level;

/// Positions in a chunk.
const CHUNK: u64 = 1 << 16;

/// The positions of a level's voxels along one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinate {
    /// Name of the axis, and of the array.
    pub axis: char,
    /// Number of voxels.
    pub length: u64,
    /// Centre of the first voxel.
    first: f64,
    /// From one voxel to the next.
    step: f64,
    /// Whether the positions are nanometres; else they count voxels.
    calibrated: bool,
}

impl Coordinate {
    /// Type of the positions.
    pub const DTYPE: DataType = DataType::F64;

    /// Those of a level along all axes.
    pub fn all(level: &Level, calibrated: [bool; 3]) -> [Coordinate; 3] {
        std::array::from_fn(|axis| Coordinate {
            axis: AXES[axis],
            length: level.grid.shape.0[axis],
            first: level.translation[axis],
            step: level.scale[axis],
            calibrated: calibrated[axis],
        })
    }

    /// Length of a chunk.
    pub fn chunk(&self) -> u64 {
        self.length.clamp(1, CHUNK)
    }

    /// Number of chunks.
    pub fn chunks(&self) -> u64 {
        self.length.div_ceil(self.chunk())
    }

    /// Bytes of a chunk's file.
    pub fn chunk_bytes(&self) -> u64 {
        self.chunk().saturating_mul(Self::DTYPE.size() as u64)
    }

    /// The file of a chunk: positions, padded with 0.
    pub fn values(&self, chunk: u64) -> Bytes {
        let length = self.chunk();
        let begin = chunk.saturating_mul(length);
        let position = |index: u64| if index < self.length { self.first + index as f64 * self.step } else { 0.0 };
        (begin..begin.saturating_add(length)).flat_map(|index| position(index).to_le_bytes()).collect()
    }

    pub(super) fn attributes(&self) -> Map<String, Value> {
        let mut keys = Map::new();
        let name = self.axis;
        keys.insert("long_name".into(), json!(format!("centre of the voxel along {name}")));
        keys.insert("units".into(), json!(if self.calibrated { "nm" } else { "1" }));
        keys.insert("axis".into(), json!(name.to_ascii_uppercase()));
        keys
    }
}
