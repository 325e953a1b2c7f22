//! One file: read with few requests, and what it is to the volume.

use bytes::Bytes;

use crate::dm::{Calibration, DmError, DmImage, DmVersion, Step, Tags, Walker};
use crate::document::{Document, DocumentKind};
use crate::dtype::DataType;
use crate::geometry::Shape;
use crate::length::Unit;
use crate::source::{SourceError, StorageFormat, foreign, remedy};
use crate::store::Object;

/// Bytes of the file's start that are read first. The thumbnail begins within them.
const FRONT: u64 = 16 << 10;
/// Bytes that are read next, and next again, where more of the file is left than [`REST`]: between the thumbnail and the
/// pixels lies a kilobyte, behind them some tens. With the front these are 64 KiB.
const AHEAD: [u64; 3] = [4 << 10, REST, 1 << 20];
/// A rest of the file so short is read whole.
const REST: u64 = 44 << 10;
/// Parts that are read before a file is refused; one with dozens of long tags is not an image.
const MAX_PARTS: usize = 64;

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileFormat {
    pub(super) dtype: DataType,
    /// `z, y, x` of one file.
    pub(super) shape: Shape,
}

/// An open file.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) form: FileFormat,
    pub(super) image: DmImage,
    pub(super) tags: Tags,
    version: DmVersion,
}

/// Reads the tags of a file.
pub(super) async fn open(object: &Object) -> Result<OpenFile, SourceError> {
    let named = |error| from_dm(object.url(), error);
    let front = object.start(FRONT).await?;
    let Some(total) = front.total else {
        return Err(SourceError::malformed(object.url(), "header", "the length of the file is not known"));
    };
    let is_dm = matches!(front.bytes.first_chunk(), Some([0, 0, 0, 3 | 4]));
    if let Some(what) = foreign::of_bytes(&front.bytes).filter(|_| !is_dm) {
        return Err(SourceError::malformed(object.url(), "header", format!("not a DM3 or DM4 file but {what}")));
    }
    let (mut walker, mut step) = feed(object, Walker::new(total), 0, front.bytes).await?;
    let mut parts = 0;
    while let Step::Need { offset, length } = step {
        if parts == MAX_PARTS {
            let reason = format!("a file whose tags lie in more than {MAX_PARTS} places");
            return Err(SourceError::unsupported(object.url(), "tags", reason));
        }
        let rest = total.saturating_sub(offset);
        let ahead = AHEAD.get(parts).or(AHEAD.last()).copied().unwrap_or(REST);
        let wanted = if rest <= REST { rest } else { length.max(ahead).min(rest) };
        let part = object.range(offset..offset.saturating_add(wanted)).await?;
        (walker, step) = feed(object, walker, offset, part.bytes).await?;
        parts += 1;
    }
    let version = walker.version().unwrap_or(DmVersion::Dm3);
    let tags = walker.finish().map_err(named)?;
    let image = DmImage::find(&tags).map_err(|error| named(error).with_remedy_of_variant(remedy::DM_PIXELS))?;
    let field = || format!("ImageList.{}.ImageData.Dimensions", image.number);
    let shape = match image.shape.as_slice() {
        [height, width] => Shape([1, *height, *width]),
        [leading @ .., depth, height, width] if leading.iter().all(|extent| *extent == 1) => {
            Shape([*depth, *height, *width])
        }
        other => {
            let axes = if other.len() == 1 { "one axis".to_owned() } else { format!("{} axes", other.len()) };
            let error = SourceError::unsupported(object.url(), field(), format!("an image of {axes}"));
            return Err(error.with_remedy_of_variant(remedy::DM_AXES));
        }
    };
    Ok(OpenFile { form: FileFormat { dtype: image.pixel, shape }, image, tags, version })
}

/// Hands bytes of the file to the walker.
async fn feed(object: &Object, mut walker: Walker, offset: u64, bytes: Bytes) -> Result<(Walker, Step), SourceError> {
    let (walker, step) = aside(object, move || {
        let step = walker.feed(offset, &bytes);
        (walker, step)
    })
    .await?;
    Ok((walker, step.map_err(|error| from_dm(object.url(), error))?))
}

/// The tags of a file for people.
pub(super) async fn document(object: &Object, tags: Tags) -> Result<Document, SourceError> {
    let (url, retrieved) = (object.url().to_owned(), object.confirmed());
    aside(object, move || Document::dump(DocumentKind::DmTags, url, &tags.to_json()).retrieved_at(retrieved)).await
}

/// Does what may take long and much memory, as files may be made so that it does, on a thread that nobody else waits for.
async fn aside<T: Send + 'static>(
    object: &Object,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SourceError> {
    let lost = || SourceError::malformed(object.url(), "tags", "could not be read");
    object.desk().work(work).await.ok_or_else(lost)
}

fn from_dm(file: &str, error: DmError) -> SourceError {
    match error {
        DmError::Malformed { field, reason } => SourceError::malformed(file, field, reason),
        DmError::Unsupported { field, reason } => SourceError::unsupported(file, field, reason),
    }
}

impl OpenFile {
    /// Nanometres per voxel and the centre of the first one along `z, y, x`, where known, `missing` filling gaps.
    pub(super) fn placement(&self, missing: [Option<f64>; 3]) -> [Option<(f64, f64)>; 3] {
        let known = self.lengths();
        std::array::from_fn(|axis| known[axis].or(missing[axis].map(|scale| (scale, 0.0))))
    }

    /// Units of its axes that are none of length that is known.
    pub(super) fn unknown_units(&self) -> Vec<&str> {
        let units = self.image.calibrations.iter().flatten().map(|axis| axis.unit.as_str());
        let mut units: Vec<&str> = units.filter(|unit| Unit::named(unit).is_none() && !Unit::is_none(unit)).collect();
        units.dedup();
        units
    }

    /// Nanometres per voxel and the centre of the first one along `z, y, x`, where known.
    fn lengths(&self) -> [Option<(f64, f64)>; 3] {
        let lengths = |calibration: &Calibration| calibration.nanometres();
        let mut axes = self.image.calibrations.iter().rev().map(|axis| axis.as_ref().and_then(lengths));
        let (x, y) = (axes.next().flatten(), axes.next().flatten());
        let z = axes.next().flatten().or_else(|| self.image.section.as_ref().and_then(lengths));
        [z, y, x]
    }

    /// How the volume is stored.
    pub(super) fn format(&self) -> StorageFormat {
        let version = match self.version {
            DmVersion::Dm3 => "DM3",
            DmVersion::Dm4 => "DM4",
        };
        let order = if self.image.big_endian { "big-endian" } else { "little-endian" };
        StorageFormat {
            name: format!("{version}, {order}"),
            is_uncompressed: true,
            is_plain: true,
            left_out: Vec::new(),
            unwritten: None,
        }
    }
}
