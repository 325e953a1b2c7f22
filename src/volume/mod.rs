//! Volumes: pyramids of levels, the views of them, and chunks assembled from native blocks.

pub mod block;
mod block_memory;
mod blocks;
mod boxes;
mod bulk_read;
pub mod chunks;
pub mod computed;
pub(crate) mod copy;
mod decode;
mod error;
mod fetch;
mod groups;
pub mod image;
pub mod image_notes;
pub mod intensity;
pub mod measure;
mod parts;
mod per_level;
mod percentiles;
pub(crate) mod plan;
pub mod pyramid;
mod refetch;
#[cfg(test)]
mod tests;
pub mod view;
pub mod warm;
mod whole;
pub mod window;

pub use blocks::Blocks;
pub use bulk_read::{BulkRead, InFlightLimit, Journal};
pub use chunks::{ChunkGeometry, ChunkKey, Chunks};
pub use error::VolumeError;
pub use image::Image;
pub use pyramid::{Level, Pyramid};
pub use view::View;
