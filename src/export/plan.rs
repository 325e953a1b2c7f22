//! From what is asked for to the arrays that are written.

use serde_json::{Value, json};

use super::array::ArrayPlan;
use super::codec::ChunkCompression;
use super::documents::{ChunkStorage, ShownStore, documents};
use super::error::ExportError;
use super::layout::ArrayLayout;
use crate::geometry::{Grid, LevelIndex, Region, Shape};
use crate::view::{LevelNames, ViewError, ViewSpec};
use crate::volume::{Image, Pyramid, View};
use crate::zarr::Format;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most chunks in a shard, whose index is held in memory.
const MAX_IN_SHARD: u64 = 1 << 20;

/// Most chunks in an array, as in one that is mounted.
const MAX_CHUNKS: u64 = 1 << 37;

/// Most positions along an axis of a level that is exported alone: 128 MiB.
const MAX_POSITIONS: u64 = 1 << 24;

/// Most blocks that a chunk is made of, whose places are held in memory.
const MAX_BLOCKS: u64 = 1 << 20;

/// How a store is written.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Zarr v3 in place of v2.
    pub v3: bool,
    /// Compression of chunks.
    pub compression: ChunkCompression,
    /// Shape of chunks in place of the view's.
    pub chunk: Option<Shape>,
    /// Shape of shards.
    pub shard: Option<Shape>,
    /// Levels by number; all where none is named.
    pub levels: Vec<u8>,
    /// Whether a level that is a view of its own has the positions of its voxels beside it, as it has in a mount.
    pub positions: bool,
}

impl ExportOptions {
    pub(super) fn format(&self) -> Format {
        if self.v3 { Format::V3 } else { Format::V2 }
    }
}

/// An open image or label image.
#[derive(Clone)]
pub struct ExportMember {
    /// Name of the label image, if it is one.
    pub label: Option<String>,
    /// The voxels.
    pub image: Arc<Image>,
    /// The whole image.
    pub pyramid: Pyramid,
    /// Where the voxels come from, as resolved.
    pub origin: String,
    /// What stands for all that the configuration says of where they come from, see [`SourceSpec::digest`].
    ///
    /// [`SourceSpec::digest`]: crate::catalog::SourceSpec::digest
    pub source: String,
}

/// What to export.
#[derive(Clone)]
pub struct ExportRequest {
    /// `DATASET/NAME` without the ending.
    pub name: String,
    /// The name that viewers show.
    pub title: String,
    /// What is shown of the image.
    pub view: ViewSpec,
    /// The image, and its labels after it.
    pub members: Vec<ExportMember>,
    /// How.
    pub options: ExportOptions,
    /// What is known of the dataset.
    pub record: Value,
    /// The documents that the record was made from, by file name.
    pub upstream: Vec<(String, Bytes)>,
    /// Where those came from.
    pub documents: BTreeSet<String>,
    /// Text for those who get the export, where its licence needs one.
    pub notice: Option<String>,
}

impl ExportRequest {
    /// What the view shows of the image or of labels; `None` of labels that it leaves out.
    fn shown(&self, member: &ExportMember) -> Result<Option<View>, ViewError> {
        let view = ViewSpec { chunk: self.options.chunk.or(self.view.chunk), ..self.view };
        match (&member.label, self.members.first()) {
            (Some(_), Some(main)) => view.show_label(&main.pyramid, &member.pyramid, |spec, label| spec.apply(label)),
            _ => view.apply(&member.pyramid).map(Some),
        }
    }

    /// The levels of the image or of labels that are written.
    fn levels(&self, member: &ExportMember) -> Vec<u8> {
        let shown = self.shown(member).ok().flatten().map_or(Vec::new(), |view| view.numbers);
        let is_wanted = |level: &u8| self.options.levels.is_empty() || self.options.levels.contains(level);
        shown.into_iter().filter(is_wanted).collect()
    }

    /// A sentence for each label image of which levels are not written that are written of its image, or nothing at all.
    pub fn left_out(&self) -> Vec<String> {
        let Some((image, labels)) = self.members.split_first() else { return Vec::new() };
        let of_image = self.levels(image);
        let sentence = |member: &ExportMember| {
            let (label, levels) = (member.label.as_deref()?, self.levels(member));
            let missing = of_image.iter().filter(|level| !levels.contains(level));
            let missing: Vec<String> = missing.map(|level| self.view.level_names.name(LevelIndex(*level))).collect();
            let labels = format!("{}: the labels {label}", self.name);
            match (missing.is_empty(), levels.is_empty()) {
                (true, _) => None,
                (false, true) => Some(format!(
                    "{labels} are not written: the view shows nothing of them, or they have no such level"
                )),
                (false, false) => Some(format!("{labels} have no level {}", missing.join(", "))),
            }
        };
        labels.iter().filter_map(sentence).collect()
    }
}

/// What is written.
pub(super) struct Plan {
    pub(super) targets: Vec<ArrayPlan>,
    pub(super) documents: Vec<(String, Bytes)>,
    /// All that decides which bytes are written, for comparing.
    pub(super) arguments: Value,
}

/// An image through the view, with the levels that are wanted.
struct Part<'a> {
    member: &'a ExportMember,
    pyramid: Pyramid,
    origins: Vec<[u64; 3]>,
    levels: Vec<u8>,
    level_names: LevelNames,
    coordinates: bool,
}

impl Plan {
    /// `most`: bytes of voxels in a batch, see [`ArrayLayout::new`].
    pub(super) fn new(request: &ExportRequest, most: u64) -> Result<Plan, ExportError> {
        let options = &request.options;
        let wrong = |reason: String| ExportError::Usage(format!("{}: {reason}", request.name));
        if options.shard.is_some() && !options.v3 {
            return Err(wrong("Zarr v2 has no shards; add --format v3".to_owned()));
        }
        let view = request.view;
        let mut parts = Vec::new();
        for member in &request.members {
            let Some(shown) = request.shown(member).map_err(|error| wrong(error.to_string()))? else { continue };
            let mut part = part(member, shown, &options.levels).map_err(wrong)?;
            part.coordinates = options.positions && view.level.is_some();
            parts.push(part);
        }
        parts.iter().try_for_each(check_positions).map_err(wrong)?;
        parts.retain(|part| !part.levels.is_empty());
        let mut targets = Vec::new();
        for part in &parts {
            targets.extend(arrays(part, options, most).map_err(wrong)?);
        }
        let shown: Vec<ShownStore<'_>> = parts.iter().map(|part| part.shown(request)).collect();
        let Some((image, labels)) = shown.split_first() else {
            return Err(wrong("it has none of the levels".to_owned()));
        };
        let storage = ChunkStorage { format: options.format(), compression: options.compression, shard: options.shard };
        let arguments = arguments(request, view.crop, &parts);
        Ok(Plan { documents: documents(image, labels, storage), arguments, targets })
    }

    /// Voxels to write.
    pub(super) fn voxels(&self) -> u64 {
        let voxels = |target: &ArrayPlan| target.layout.chunks.shape.voxels().unwrap_or(u64::MAX);
        self.targets.iter().map(voxels).fold(0, u64::saturating_add)
    }
}

impl Part<'_> {
    fn shown<'a>(&'a self, request: &'a ExportRequest) -> ShownStore<'a> {
        ShownStore {
            title: self.member.label.as_deref().unwrap_or(&request.title),
            label: self.member.label.as_deref(),
            pyramid: &self.pyramid,
            levels: &self.levels,
            level_names: self.level_names,
            coordinates: self.coordinates,
        }
    }
}

/// Refuses a level alone whose positions would be too many to be made at once.
fn check_positions(part: &Part<'_>) -> Result<(), String> {
    let extents = part.pyramid.levels.iter().flat_map(|level| level.grid.shape.0);
    match extents.max().filter(|extent| part.coordinates && *extent > MAX_POSITIONS) {
        None => Ok(()),
        Some(extent) => Err(format!(
            "the positions of {extent} voxels along an axis are too many to stand beside the level; name the image, and the \
             level by --level"
        )),
    }
}

/// The wanted levels of a view. A label image may have fewer than its image.
fn part<'a>(member: &'a ExportMember, view: View, wanted: &[u8]) -> Result<Part<'a>, String> {
    if let (None, Some(missing)) = (&member.label, wanted.iter().find(|level| !view.numbers.contains(level))) {
        let last = LevelIndex(view.numbers.last().copied().unwrap_or_default());
        return Err(format!("there is no level {}; the last is {last}", LevelIndex(*missing)));
    }
    let mut pyramid = Pyramid { levels: Vec::new(), ..view.pyramid.clone() };
    let (mut origins, mut levels) = (Vec::new(), Vec::new());
    for ((number, level), origin) in view.numbers.into_iter().zip(view.pyramid.levels).zip(view.origins) {
        if wanted.is_empty() || wanted.contains(&number) {
            pyramid.levels.push(level);
            origins.push(origin);
            levels.push(number);
        }
    }
    Ok(Part { member, pyramid, origins, levels, level_names: view.level_names, coordinates: false })
}

fn arrays(part: &Part<'_>, options: &ExportOptions, most: u64) -> Result<Vec<ArrayPlan>, String> {
    let Part { member, pyramid, origins, levels, level_names, .. } = part;
    let prefix = member.label.as_ref().map_or_else(String::new, |label| format!("labels/{label}/"));
    let mut targets = Vec::new();
    let voxels = |shape: Shape| u128::from(shape.voxels().unwrap_or(u64::MAX)).max(1);
    let finest = pyramid.levels.first().map_or(1, |level| voxels(level.grid.shape));
    for (((level, origin), number), next) in pyramid.levels.iter().zip(origins).zip(levels).zip(1..) {
        let path = format!("{prefix}{}", level_names.name(LevelIndex(*number)));
        let native = member.image.grid(LevelIndex(*number)).ok_or_else(|| format!("{path}: no such level"))?;
        let chunk = level.grid.cell;
        if let Some(shard) = options.shard {
            check_shard(shard, chunk).map_err(|reason| format!("{path}: {reason}"))?;
        }
        let size = pyramid.dtype.size();
        if level.grid.shape.bytes(size).is_none() || chunk.bytes(size).is_none_or(|bytes| bytes > 1 << 30) {
            return Err(format!("{path}: chunks of {chunk} in an array of {} are too large", level.grid.shape));
        }
        let chunks = ArrayLayout::count(&level.grid);
        if chunks > MAX_CHUNKS {
            let reason = format!("{chunks} chunks of {chunk} in an array of {}", level.grid.shape);
            return Err(format!("{path}: {reason} are more than {MAX_CHUNKS}; choose larger ones with --chunk"));
        }
        let blocks = (0..3).fold(1u64, |n, axis| n.saturating_mul(chunk.0[axis] / native.cell.0[axis].max(1) + 1));
        if blocks > MAX_BLOCKS {
            let reason = format!("a chunk of {chunk} is made of {blocks} blocks of {}", native.cell);
            return Err(format!("{path}: {reason}, more than {MAX_BLOCKS}; choose smaller ones with --chunk"));
        }
        let is_computed = |number: &u8| member.image.is_computed(LevelIndex(*number));
        // A batch of a computed level is made of about a batch of the finest one.
        let part = if is_computed(number) { voxels(level.grid.shape) } else { finest };
        let most = u64::try_from(u128::from(most) * part / finest).unwrap_or(most);
        targets.push(ArrayPlan {
            path,
            image: member.image.clone(),
            level: LevelIndex(*number),
            is_below: levels.get(next).is_some_and(is_computed),
            layout: ArrayLayout::new(level.grid, options.shard, *origin, native, size, most),
            dtype: pyramid.dtype,
            fill: pyramid.fill,
            compression: options.compression,
            format: options.format(),
        });
    }
    Ok(targets)
}

fn check_shard(shard: Shape, chunk: Shape) -> Result<(), String> {
    if (0..3).any(|axis| chunk.0[axis] == 0 || !shard.0[axis].is_multiple_of(chunk.0[axis])) {
        return Err(format!("a shard of {shard} is no multiple of chunks of {chunk}; choose them with --chunk"));
    }
    let inside = (0..3).fold(1u64, |n, axis| n.saturating_mul(shard.0[axis] / chunk.0[axis]));
    if inside > MAX_IN_SHARD {
        return Err(format!("a shard of {shard} has {inside} chunks of {chunk}, more than {MAX_IN_SHARD}"));
    }
    Ok(())
}

fn arguments(request: &ExportRequest, crop: Option<Region>, parts: &[Part<'_>]) -> Value {
    let options = &request.options;
    let described: Vec<Value> = parts
        .iter()
        .map(|part| {
            let levels: Vec<Value> = part
                .pyramid
                .levels
                .iter()
                .zip(&part.levels)
                .map(|(level, number)| {
                    // What was fetched is kept by it.
                    let block = part.member.image.grid(LevelIndex(*number)).map(|native| native.cell.0);
                    let Grid { shape, cell } = level.grid;
                    json!({"level": LevelIndex(*number).to_string(), "shape": shape.0, "chunk": cell.0, "block": block})
                })
                .collect();
            json!({
                "label": part.member.label, "origin": part.member.origin, "source": part.member.source,
                "dtype": part.pyramid.dtype.name(), "stored_as": part.pyramid.format, "levels": levels,
            })
        })
        .collect();
    json!({
        "name": request.name,
        "box": crop.map(|crop| json!({"start": crop.start, "end": crop.end, "axes": ["z", "y", "x"]})),
        "format": if options.v3 { "v3" } else { "v2" },
        "compress": options.compression.to_string(),
        "shard": options.shard.map(|shard| shard.0),
        "images": described,
    })
}

#[cfg(test)]
mod tests;
