//! Why a name is no view, in sentences for people.

use crate::dtype::DataType;
use crate::geometry::{LevelIndex, Shape};

/// Why a name is no view, or no view of a certain image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Not one of the parts that a view's name is made of.
    #[error(
        "`{part}` is no part of a view's name; the parts are `.crop-z<a>-<b>_y<a>-<b>_x<a>-<b>`, `.s<N>`, \
         `.numbered`, and `.chunk-<N>` or `.chunk-<Z>x<Y>x<X>`"
    )]
    Unknown {
        /// The part as given.
        part: String,
    },
    /// The word for the format of a store, before other parts.
    #[error("`.v3` stands right before `.zarr` or nowhere")]
    Format,
    /// The parts stand in another order.
    #[error("the parts come in this order: `.crop-….s<N>.numbered.chunk-…`")]
    Order,
    /// A part is given twice.
    #[error("a view has only one {part}")]
    Repeated {
        /// `crop`, `level`, `numbered` or `chunk`.
        part: &'static str,
    },
    /// The crop does not have three axes in the right order.
    #[error("`{text}` is no box; a box is written `z<a>-<b>_y<a>-<b>_x<a>-<b>`, with all three axes in this order")]
    Box {
        /// The box as given.
        text: String,
    },
    /// The chunk has neither one nor three extents.
    #[error("`{text}` is no chunk shape; one is written `<N>` or `<Z>x<Y>x<X>`")]
    ChunkShape {
        /// The shape as given.
        text: String,
    },
    /// Not digits alone.
    #[error("`{text}` is not a decimal number")]
    Number {
        /// The number as given.
        text: String,
    },
    /// A number starts with zeros.
    #[error("`{text}` has a leading zero")]
    LeadingZero {
        /// The number as given.
        text: String,
    },
    /// A number does not fit 64 bits.
    #[error("{text} is too large a number")]
    Overflow {
        /// The number as given.
        text: String,
    },
    /// A box without voxels.
    #[error("{axis} {start}-{end} is empty: the end is the first voxel that is left out, so it must be larger")]
    EmptyCrop {
        /// Name of the axis.
        axis: char,
        /// First voxel.
        start: u64,
        /// One past the last voxel.
        end: u64,
    },
    /// A box that reaches beyond the image.
    #[error("{axis} {start}-{end} is outside the image, whose {axis} extent is {extent}")]
    Outside {
        /// Name of the axis.
        axis: char,
        /// First voxel.
        start: u64,
        /// One past the last voxel.
        end: u64,
        /// Extent of level s0 in voxels.
        extent: u64,
    },
    /// A chunk extent that is zero or too long.
    #[error("a chunk of {extent} along {axis} is not possible: extents are 1 to {limit}")]
    ChunkExtent {
        /// Name of the axis.
        axis: char,
        /// Extent in voxels.
        extent: u64,
        /// Longest extent.
        limit: u64,
    },
    /// Files too small to be worth their requests.
    #[error("a chunk of {chunk} {dtype} voxels is a file of {bytes} bytes; the smallest is 4 KiB")]
    SmallChunk {
        /// The chunk shape.
        chunk: Shape,
        /// Type of the image's voxels.
        dtype: DataType,
        /// Bytes of a file.
        bytes: u64,
    },
    /// Files too large to be held in memory in numbers.
    #[error("a chunk of {chunk} {dtype} voxels is a file of {bytes} bytes; the largest is 64 MiB")]
    LargeChunk {
        /// The chunk shape.
        chunk: Shape,
        /// Type of the image's voxels.
        dtype: DataType,
        /// Bytes of a file.
        bytes: u64,
    },
    /// A level that is not there.
    #[error("there is no level {level}; the coarsest one is {last}")]
    Level {
        /// The level as given.
        level: LevelIndex,
        /// The last one that there is.
        last: LevelIndex,
    },
    /// A level whose positions would be too many.
    #[error("an axis of {extent} voxels is too long for a level alone; the longest has {limit}")]
    LongAxis {
        /// Extent in voxels.
        extent: u64,
        /// Longest extent.
        limit: u64,
    },
    /// Nothing to look at.
    #[error("the image has no level")]
    NoLevels,
}
