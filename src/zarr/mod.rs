//! What Zarr and OME-Zarr documents say about a pyramid, and the names of stores and chunks. No chunk bytes.
//!
//! Two formats are written, each into a store of its own: Zarr v2 with OME-NGFF 0.4 and Zarr v3 with OME-Zarr 0.5. A
//! directory that held both would be refused or misread by several readers.

mod array;
mod coordinate;
mod ome;
mod store_name;
#[cfg(test)]
mod tests;
pub mod v2;
pub mod v3;

pub use coordinate::Coordinate;
pub use store_name::StoreName;
pub(crate) use store_name::is_image_name;

use bytes::Bytes;
use serde_json::Value;

use crate::decimal;
use crate::geometry::LevelIndex;
use crate::view::LevelNames;
use crate::volume::{Level, Pyramid};

/// The two formats a store can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Zarr v2 with OME-NGFF 0.4.
    V2,
    /// Zarr v3 with OME-Zarr 0.5.
    V3,
}

impl Format {
    /// Both, in the order they are listed.
    pub const ALL: [Format; 2] = [Format::V2, Format::V3];

    /// What follows the view in a store's name.
    pub const fn ending(self) -> &'static str {
        match self {
            Format::V2 => ".zarr",
            Format::V3 => ".v3.zarr",
        }
    }
}

/// An OME-Zarr group to write documents for.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// A short name without a slash.
    pub name: &'a str,
    /// The levels, as the view shows them.
    pub pyramid: &'a Pyramid,
    /// Numbers of the levels, where some of the image's are left out.
    pub numbers: Option<&'a [u8]>,
    /// What the levels are called.
    pub level_names: LevelNames,
    /// Whether arrays beside the level tell where its voxels lie, as in views of one level.
    pub coordinates: bool,
    /// Whether the image holds labels of the image two directories above it.
    pub is_label: bool,
}

impl<'a> Group<'a> {
    /// The levels with their names.
    fn levels(&self) -> impl Iterator<Item = (String, &'a Level)> {
        let number = |place: u8| self.numbers.map_or(Some(place), |numbers| numbers.get(usize::from(place)).copied());
        let name = |number| self.level_names.name(LevelIndex(number));
        (0u8..).map_while(number).map(name).zip(&self.pyramid.levels).collect::<Vec<_>>().into_iter()
    }

    /// The arrays of coordinates, where there are some.
    fn coordinates(&self) -> impl Iterator<Item = Coordinate> {
        let level = self.pyramid.levels.first().filter(|_| self.coordinates);
        let calibrated = self.pyramid.calibrated;
        level.into_iter().flat_map(move |level| Coordinate::all(level, calibrated))
    }
}

/// One component of a chunk key: a decimal number in its only spelling (no sign, no leading zero).
pub fn parse_index(component: &str) -> Option<u64> {
    decimal::canonical(component).ok()
}

/// A JSON document as the bytes of a file.
fn document(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
