//! Readers of the formats that archives store volumes in.
//!
//! A source describes its pyramid once and then answers two questions about each *block*, its native unit:
//! where the block's bytes lie, and what voxels they decode to. Fetching, joining of ranges, retries and caching
//! happen around it, so a source holds format knowledge only.

pub mod coarser;
mod contiguous;
pub mod dm3;
pub mod foreign;
mod indices;
mod jpeg;
mod json;
pub mod mrc;
pub mod planes;
pub mod precomputed;
mod remedy;
pub mod stack;
mod storage_format;
pub mod tiff;
mod unwritten;
#[cfg(test)]
mod variants;
pub mod zarr;

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use futures::future::BoxFuture;

pub use storage_format::StorageFormat;

use crate::document::Document;
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, LevelIndex};
use crate::remote::{Cause, Compression, RemoteError};
use crate::store::{Healable, Object, Witness, is_long_document, is_past_caches};

/// What a source says about itself once it is open.
#[derive(Debug, Clone)]
pub struct Description {
    /// Type of a voxel after decoding.
    pub dtype: DataType,
    /// Levels, finest first; never empty.
    pub levels: Vec<SourceLevel>,
    /// Value of voxels that are absent at the origin.
    pub fill: FillValue,
    /// Display window `(low, high)` that the file states.
    pub window: Option<(f64, f64)>,
    /// How the volume is stored.
    pub format: StorageFormat,
    /// How the coarser levels were made, where the source says.
    pub downsampling: Option<String>,
    /// Whether the source's own blocks are three-dimensional chunks that views keep as their grid.
    pub chunked: bool,
}

impl Description {
    /// The grid of the finest level, where the block lies in it.
    fn grid_with(&self, block: CellIndex) -> Option<Grid> {
        self.levels.first().map(|level| level.grid).filter(|grid| grid.contains(block))
    }
}

/// One level of a source.
#[derive(Debug, Clone)]
pub struct SourceLevel {
    /// The array and its native blocks.
    pub grid: Grid,
    /// Nanometres per voxel along `z, y, x`; `None` where the source does not say.
    pub scale: Option<[f64; 3]>,
    /// Position of the centre of the first voxel in nanometres along `z, y, x`.
    pub translation: [f64; 3],
    /// Position of the first voxel in voxels of this level along `z, y, x`; 0 where the source counts from there.
    pub offset: [i64; 3],
}

/// What the place of a volume is that of, where its files state one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatedPlace {
    /// The centre of the first voxel.
    Centre,
    /// The corner of the first voxel, so that volumes of other voxel sizes begin together at one corner.
    Corner,
    /// None is stated.
    Nowhere,
}

/// Where a level lies beside the finest one, in voxels of that one along `z, y, x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Relative {
    /// Voxels of the finest level per voxel.
    pub scale: [f64; 3],
    /// Position of the centre of the first voxel.
    pub translation: [f64; 3],
}

/// Where the bytes of a block are.
#[derive(Debug, Clone)]
pub enum Placement {
    /// The origin holds no such block: its voxels have the fill value.
    Absent {
        /// When that was borne out last.
        confirmed: SystemTime,
    },
    /// A byte range of an object.
    Range {
        /// The object.
        object: Object,
        /// First byte.
        start: u64,
        /// Number of bytes; never 0.
        length: u64,
    },
    /// A whole object, of which at most `limit` bytes are accepted. The block is absent if the object is.
    Whole {
        /// The object.
        object: Object,
        /// Longest body that can be a valid block.
        limit: u64,
        /// What bears out that there is no such object.
        witness: Witness,
    },
    /// A whole object that is a compressed file of which at most `limit` bytes are accepted once unpacked. The block is
    /// absent if the object is.
    Packed {
        /// The object.
        object: Object,
        /// How it is compressed.
        compression: Compression,
        /// Longest content that can be a valid block.
        limit: u64,
        /// What bears out that there is no such object.
        witness: Witness,
    },
}

impl Placement {
    /// A whole object, unless it is known that its store lacks it.
    pub async fn whole(object: Object, limit: u64, witness: &Witness) -> Self {
        object.look_up().await;
        match witness.knows_absent(&object).filter(|_| !is_past_caches()) {
            Some(confirmed) => Placement::Absent { confirmed },
            None => Placement::Whole { object, limit, witness: witness.clone() },
        }
    }

    /// Whether its bytes were fetched before and can be had without asking anybody, as far as can be said without reading
    /// them. Waits for the disk.
    pub fn is_at_hand(&self) -> bool {
        match self {
            Placement::Absent { .. } => true,
            Placement::Range { object, start, length } => {
                object.is_at_hand(Some(&(*start..start.saturating_add(*length))))
            }
            Placement::Whole { object, .. } | Placement::Packed { object, .. } => object.is_at_hand(None),
        }
    }

    /// Whether it is in a file of this machine.
    pub fn is_local(&self) -> bool {
        match self {
            Placement::Absent { .. } => false,
            Placement::Range { object, .. } | Placement::Whole { object, .. } | Placement::Packed { object, .. } => {
                object.is_local()
            }
        }
    }
}

/// A volume in one format.
pub trait Source: Send + Sync + 'static {
    /// Shape, type and levels.
    fn description(&self) -> &Description;

    /// The documents that the description was read from.
    fn documents(&self) -> Vec<Document> {
        Vec::new()
    }

    /// Bytes that it keeps in memory as long as it is open, beside some kilobytes and its documents.
    fn kept(&self) -> u64 {
        0
    }

    /// Where the level lies beside the finest one, where the source says that and not how large a voxel is.
    fn relative(&self, _level: LevelIndex) -> Option<Relative> {
        None
    }

    /// Nanometres per voxel of the finest level along those of `z, y, x` of which the source says that, where it does not say
    /// it of all.
    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        [None; 3]
    }

    /// The numbers that the size of the finest level's voxels has along `z, y, x`, where the source says them without a unit.
    fn plain_voxel_size(&self) -> Option<[f64; 3]> {
        None
    }

    /// Whether it is to be shown with low values bright.
    fn is_inverted(&self) -> bool {
        false
    }

    /// Finds the bytes of a block of the level's grid. May fetch indices, which the source keeps.
    fn locate(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>>;

    /// Finds the bytes of a block that is about to be fetched: those of its own where it is a part of something longer, of
    /// which [`Source::locate`] says the place. That may take reading all of it.
    fn locate_to_fetch(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        self.locate(level, block)
    }

    /// Makes sure that a block is absent of which the object that [`Source::locate`] named is; an error where it may be
    /// elsewhere.
    fn bear_out_absence(&self, _level: LevelIndex, _block: CellIndex) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Decodes the bytes found by [`Source::locate_to_fetch`] into voxels: C order `z, y, x`, little-endian, of the block's
    /// region clipped to the array, so exactly `grid.region(block).shape().bytes(dtype.size())` bytes.
    fn decode(&self, level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError>;

    /// What decodes a block in place of [`Source::decode`], where the source is made of parts that are let go of and fetched
    /// again.
    fn part(&self, _level: LevelIndex, _block: CellIndex) -> BoxFuture<'_, Result<Option<SourcePart>, SourceError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The same for parts of which many may be held at once. They are had before there is a permit for decoding, so that one that
    /// has to be fetched again keeps no permit from others.
    fn part_ahead(
        &self,
        _level: LevelIndex,
        _block: CellIndex,
    ) -> BoxFuture<'_, Result<Option<SourcePart>, SourceError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The objects that hold the voxels of some planes of the finest level, `None` for one that there is none of. `None` where
    /// only [`Source::locate`] tells.
    fn objects(&self, _planes: Range<u64>) -> Option<Vec<Option<Object>>> {
        None
    }

    /// What its places are those of.
    fn stated_place(&self) -> StatedPlace {
        StatedPlace::Nowhere
    }

    /// The finest level that the source has, where it is not shown: the places of the others are counted from it.
    fn finest_unshown(&self) -> Option<&SourceLevel> {
        None
    }

    /// Whether voxels are numbers of things, of which no mean makes sense.
    fn is_segmentation(&self) -> bool {
        false
    }

    /// Whether blocks that are asked for at the same moment are looked at together: they may lie in one object.
    fn is_gathered(&self, level: LevelIndex) -> bool {
        self.contiguous_group_log2(level) > 0
    }

    /// Blocks that lie together at the origin: the largest `k` for which those of an aligned group of 2ᵏ along each axis
    /// follow each other in one object; 0 where each lies for itself.
    fn contiguous_group_log2(&self, _level: LevelIndex) -> u32 {
        0
    }
}

/// What decodes a block: a part of its source, held until that is done.
pub struct SourcePart(Box<dyn FnOnce(Bytes) -> Result<Bytes, SourceError> + Send>);

impl SourcePart {
    /// A part that decodes its block by `decode`, which holds the part.
    pub fn new(decode: impl FnOnce(Bytes) -> Result<Bytes, SourceError> + Send + 'static) -> Self {
        SourcePart(Box::new(decode))
    }

    /// Decodes the block, as [`Source::decode`] does.
    pub fn decode(self, raw: Bytes) -> Result<Bytes, SourceError> {
        (self.0)(raw)
    }
}

/// What is said of a document that is longer than [`LONGEST_DOCUMENT`](crate::store::LONGEST_DOCUMENT).
pub(crate) const TOO_LONG: &str =
    "it is longer than 4 MiB, the most that is read of one document; move what does not describe the image elsewhere";

/// Why a source cannot be opened or a block cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SourceError {
    /// The bytes could not be fetched.
    #[error(transparent)]
    Remote(RemoteError),
    /// The file breaks its format.
    #[error("{file}: {field}: {reason}")]
    Malformed {
        /// URL of the file.
        file: String,
        /// Tag, key or place in it.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A document is longer than [`LONGEST_DOCUMENT`](crate::store::LONGEST_DOCUMENT).
    #[error("{file}: document: {}", TOO_LONG)]
    TooLong {
        /// URL of the document.
        file: String,
    },
    /// The file is valid, but emfs does not read this variant.
    #[error("{file}: {field}: {reason} is not supported{}", remedy::Told(remedy.as_deref()))]
    Unsupported {
        /// URL of the file.
        file: String,
        /// Tag, key or place in it.
        field: String,
        /// The variant, by name.
        reason: String,
        /// What to do with it, where something helps.
        remedy: Option<Cow<'static, str>>,
    },
}

impl SourceError {
    /// Why a file could not be had, where that is what is wrong.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            SourceError::Remote(error) => Some(&error.cause),
            SourceError::Malformed { .. } | SourceError::TooLong { .. } | SourceError::Unsupported { .. } => None,
        }
    }

    /// Whether it says no more than that nothing of the kind that was looked for is there.
    pub fn is_of_other_kind(&self) -> bool {
        match self {
            SourceError::Remote(error) => matches!(error.cause, Cause::NotFound | Cause::Gone(_)),
            SourceError::Malformed { field, reason, .. } => match field.as_str() {
                "document" | "folder" | "header" | "body" | "attributes.json" => true,
                "listing" => reason.starts_with("has no file"),
                _ => false,
            },
            SourceError::TooLong { .. } | SourceError::Unsupported { .. } => false,
        }
    }

    /// What is there in place of the kind that was looked for, and what to do with it.
    pub fn seen_instead(&self) -> Option<&str> {
        let SourceError::Malformed { reason, .. } = self else { return None };
        let (_, told) = reason.split_once("; ")?;
        ["it is ", "it holds ", "`"].iter().any(|start| told.starts_with(start)).then_some(told)
    }
}

impl From<RemoteError> for SourceError {
    /// A document that is too long was had, and says nothing of who gave it.
    fn from(error: RemoteError) -> Self {
        if is_long_document(&error) {
            return SourceError::TooLong { file: error.url };
        }
        SourceError::Remote(error)
    }
}

impl Healable for SourceError {
    fn is_of_bytes(&self) -> bool {
        match self {
            SourceError::Malformed { .. } | SourceError::TooLong { .. } | SourceError::Unsupported { .. } => true,
            SourceError::Remote(error) => error.cause.is_answer(),
        }
    }
}

impl SourceError {
    /// A file that breaks its format.
    pub fn malformed(file: impl Into<String>, field: impl Into<String>, reason: impl Into<String>) -> Self {
        SourceError::Malformed { file: file.into(), field: field.into(), reason: reason.into() }
    }

    /// A valid file of a variant that is not read.
    pub fn unsupported(file: impl Into<String>, field: impl Into<String>, reason: impl Into<String>) -> Self {
        SourceError::Unsupported { file: file.into(), field: field.into(), reason: reason.into(), remedy: None }
    }

    /// The same with what to do with files of that variant, where it is one that is not read.
    fn with_remedy_of_variant(self, told: &'static str) -> Self {
        if let SourceError::Unsupported { .. } = self { self.with_remedy(told) } else { self }
    }

    /// What to do with a file of a variant that is not read.
    fn remedy(&self) -> Option<&str> {
        match self {
            SourceError::Unsupported { remedy, .. } => remedy.as_deref(),
            _ => None,
        }
    }

    /// The same with what to do with such a file.
    pub fn with_remedy(self, told: impl Into<Cow<'static, str>>) -> Self {
        match self {
            SourceError::Remote(error) => SourceError::Remote(error),
            SourceError::Malformed { file, field, reason } => {
                SourceError::Malformed { file, field, reason: format!("{reason}; {}", told.into()) }
            }
            SourceError::TooLong { file } => {
                SourceError::malformed(file, "document", format!("{TOO_LONG}; {}", told.into()))
            }
            SourceError::Unsupported { file, field, reason, .. } => {
                SourceError::Unsupported { file, field, reason, remedy: Some(told.into()) }
            }
        }
    }
}

/// Warns of levels that are left out, and says which and why. What may be the fault of one bad answer is believed only where
/// it was fetched past every cache.
fn leave_out(file: &str, levels: &[(Option<&String>, &SourceError)]) -> Result<Vec<String>, SourceError> {
    let Some((_, first)) = levels.first() else { return Ok(Vec::new()) };
    if !is_past_caches() {
        return Err((*first).clone());
    }
    let told = levels.iter().map(|(path, error)| {
        let name = path.map_or_else(|| "a level".to_owned(), |path| format!("level {}", json::quoted(path)));
        tracing::warn!("{file}: {name} is left out: {error}");
        format!("{name} ({error})")
    });
    Ok(told.collect())
}
