//! Volumes: pyramids of levels, the views of them, and chunks assembled from native blocks.

pub mod pyramid;
pub mod view;

pub use pyramid::{Level, Pyramid};
pub use view::{View, ViewError, ViewSpec};
