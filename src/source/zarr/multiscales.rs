//! The `multiscales` of OME-NGFF 0.4 and 0.5: axes, levels and where they lie in space.

use serde_json::Value;

use super::axes::{Axes, Units};
use super::json::{JsonField, quoted};
use crate::source::{Relative, SourceError};

/// Levels of a pyramid.
const MAX_LEVELS: usize = 31;

/// Transformations in one list; the format has two, more are composed all the same.
const MAX_TRANSFORMATIONS: usize = 16;

/// Versions of the format that are read.
const VERSIONS: [&str; 5] = ["0.1", "0.2", "0.3", "0.4", "0.5"];

/// Those in which levels have no transformations, and those in which images have no axes.
const SCALELESS: [&str; 3] = ["0.1", "0.2", "0.3"];
const AXELESS: [&str; 2] = ["0.1", "0.2"];

/// Why their scales are no lengths.
const UNITLESS: &str = "this version of the format has no units";

/// An image in several resolutions.
#[derive(Debug, Clone)]
pub(super) struct Multiscales {
    /// `OME-NGFF` and the version, as the group states it.
    pub version: String,
    /// The axes that all its arrays have.
    pub axes: Axes,
    /// Why scales are no lengths along some axis, where they are none.
    pub unitless: Option<String>,
    /// Levels, finest first; never empty.
    pub datasets: Vec<LevelEntry>,
    /// What is wrong with levels that are not among them.
    pub rejected: Vec<SourceError>,
    /// Display windows of the channels.
    pub windows: Vec<Option<(f64, f64)>>,
    /// How the coarser levels were made.
    pub downsampling: Option<String>,
}

/// One level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LevelEntry {
    /// Path of its array below the group.
    pub path: String,
    /// Nanometres per voxel along `z, y, x`, where all axes have units.
    pub scale: Option<[f64; 3]>,
    /// The same along those axes that have units, where others have none.
    pub partial: [Option<f64>; 3],
    /// Nanometres from the origin to the centre of the first voxel; 0 where not all axes have units.
    pub translation: [f64; 3],
    /// Where it lies beside the finest level, where not all axes have units and the levels have transformations.
    pub relative: Option<Relative>,
}

/// Reads the first image of a group's attributes; `None` where they hold none.
pub(super) fn parse(attributes: &JsonField) -> Result<Option<Multiscales>, SourceError> {
    // Version 0.5 has everything in `ome`, 0.4 at the root.
    let ome = attributes.optional("ome")?;
    let root = ome.as_ref().unwrap_or(attributes);
    let Some(images) = root.optional("multiscales")? else {
        return Ok(None);
    };
    let images = images.elements(usize::MAX)?;
    let Some(image) = images.first() else {
        return Ok(None);
    };
    let version = version(ome.as_ref(), image)?;
    let list = image.member("datasets")?;
    let cosem = match list.value.get(0) {
        Some(_) => list.elements(MAX_LEVELS)?.first().map(|first| first.optional("transform")).transpose()?.flatten(),
        None => None,
    };
    let (axes, units) = match (image.optional("axes")?, &cosem) {
        (Some(axes), _) => Axes::of_image(&axes)?,
        (None, Some(transform)) => Axes::of_transform(transform)?,
        // The first two versions have five axes and say nothing of them.
        (None, None) if AXELESS.iter().any(|old| version.ends_with(old)) => (Axes::tczyx(), Units::unknown(UNITLESS)),
        (None, None) => return Err(image.member("axes").err().unwrap_or_else(|| image.malformed("axes"))),
    };
    let mut outer = Transform::identity(axes.rank());
    if let Some(transformations) = image.optional("coordinateTransformations")? {
        outer.apply_all(&transformations)?;
    }
    let writer = Writer {
        is_old: SCALELESS.iter().any(|old| version.ends_with(old)),
        units: cosem.as_ref().and_then(|transform| transform.value.get("units").cloned()),
    };
    let (datasets, rejected) = levels(&list, (&axes, &units), &outer, &writer)?;
    let (windows, downsampling) = (windows(root), downsampling(image));
    Ok(Some(Multiscales { version, axes, unitless: units.lacking, datasets, rejected, windows, downsampling }))
}

/// Reads the levels, finest first, and what is wrong with those that cannot be read; the transformations of the image,
/// `outer`, come after those of each.
fn levels(
    list: &JsonField,
    (axes, units): (&Axes, &Units),
    outer: &Transform,
    writer: &Writer,
) -> Result<(Vec<LevelEntry>, Vec<SourceError>), SourceError> {
    let (mut placed, mut rejected) = (Vec::new(), Vec::new());
    for dataset in list.elements(MAX_LEVELS)? {
        match place(&dataset, axes, outer, writer) {
            Ok(level) => placed.push((dataset, level)),
            Err(error) => rejected.push(error),
        }
    }
    let volume = |place: &Place| place.scale.iter().product::<f64>();
    placed.sort_by(|(_, a), (_, b)| volume(a).total_cmp(&volume(b)));
    let Some(finest) = placed.first().map(|(_, place)| place.scale) else {
        return Err(rejected.into_iter().next().unwrap_or_else(|| list.malformed("there is no level")));
    };
    let graded = placed.iter().any(|(_, place)| place.scale != finest);
    let mut datasets = Vec::new();
    for (field, place) in placed {
        match place.counted(&field, units, finest) {
            Ok(dataset) => datasets.push(dataset),
            Err(error) => rejected.push(error),
        }
    }
    if let (true, Some(_)) = (datasets.is_empty(), rejected.first()) {
        return Err(rejected.remove(0));
    }
    // Some writers give each level the size of the finest one's voxels, or none, which tells nothing of the levels.
    if !graded {
        datasets.iter_mut().for_each(|dataset| dataset.relative = None);
    }
    Ok((datasets, rejected))
}

/// Where a level lies, in the units of its axes.
struct Place {
    path: String,
    scale: [f64; 3],
    translation: [f64; 3],
}

/// In which way levels are described.
struct Writer {
    /// Whether levels may have no transformations.
    is_old: bool,
    /// The units that the finest level states itself, as OpenOrganelle has it.
    units: Option<Value>,
}

fn place(dataset: &JsonField, axes: &Axes, outer: &Transform, writer: &Writer) -> Result<Place, SourceError> {
    let mut transform = Transform::identity(axes.rank());
    match (dataset.optional("coordinateTransformations")?, dataset.optional("transform")?) {
        (Some(transformations), _) => transform.apply_all(&transformations)?,
        (None, Some(own)) => {
            if own.value.get("units") != writer.units.as_ref() {
                return Err(own.malformed("it has other units than the first level"));
            }
            transform.apply_own(&own)?;
        }
        (None, None) if writer.is_old => {}
        (None, None) => drop(dataset.member("coordinateTransformations")?),
    }
    transform.then(outer);
    let path = path(&dataset.member("path")?)?;
    Ok(Place { path, scale: axes.pick(&transform.scale), translation: axes.pick(&transform.translation) })
}

impl Place {
    /// The level in nanometres, or in voxels of the finest one.
    fn counted(self, field: &JsonField, units: &Units, finest: [f64; 3]) -> Result<LevelEntry, SourceError> {
        // What has no nanometres is refused below.
        let nanometres = |lengths: [f64; 3]| -> [Option<f64>; 3] {
            std::array::from_fn(|axis| Some(units.along[axis]?.nanometres(lengths[axis]).unwrap_or(f64::NAN)))
        };
        let partial = nanometres(self.scale);
        let all = |lengths: [Option<f64>; 3]| -> Option<[f64; 3]> {
            let [Some(z), Some(y), Some(x)] = lengths else { return None };
            Some([z, y, x])
        };
        let lengths = all(partial).zip(all(nanometres(self.translation)));
        let voxels = |lengths: [f64; 3]| -> [f64; 3] { std::array::from_fn(|axis| lengths[axis] / finest[axis]) };
        let (scale, translation) = lengths.unwrap_or((voxels(self.scale), voxels(self.translation)));
        let is_size = |size: &f64| size.is_finite() && *size > 0.0;
        if !scale.iter().chain(partial.iter().flatten()).all(is_size)
            || !translation.iter().all(|part| part.is_finite())
        {
            let counted = if lengths.is_some() { "nanometres" } else { "voxels of the finest level" };
            let transformations = field.member("coordinateTransformations")?;
            return Err(transformations.malformed(format!("the voxel size is not a positive number of {counted}")));
        }
        let level = LevelEntry::bare(self.path);
        Ok(match lengths {
            Some((scale, translation)) => LevelEntry { scale: Some(scale), translation, ..level },
            None => LevelEntry { partial, relative: Some(Relative { scale, translation }), ..level },
        })
    }
}

impl LevelEntry {
    /// A level of which nothing but the path is known.
    pub fn bare(path: String) -> Self {
        LevelEntry { path, scale: None, partial: [None; 3], translation: [0.0; 3], relative: None }
    }

    /// Whether nothing is said of its size beside others.
    pub fn is_unscaled(&self) -> bool {
        self.scale.is_none() && self.relative.is_none()
    }

    /// Size of a voxel beside those of other levels.
    pub fn spacing(&self) -> [f64; 3] {
        self.scale.or(self.relative.map(|relative| relative.scale)).unwrap_or([1.0; 3])
    }
}

/// The version of the format: of `ome` (0.5), else of the image (0.4).
fn version(ome: Option<&JsonField>, image: &JsonField) -> Result<String, SourceError> {
    let stated = ome.map(|ome| ome.optional("version")).transpose()?.flatten();
    let Some(field) = stated.or(image.optional("version")?) else {
        return Ok("OME-NGFF".to_owned());
    };
    match field.text()? {
        text if VERSIONS.iter().any(|known| text.starts_with(known)) => Ok(format!("OME-NGFF {}", &text[..3])),
        other => Err(field.unsupported(format!("OME-NGFF version {}", quoted(other)))),
    }
}

/// A scaling followed by a translation, along the axes of the array.
struct Transform {
    scale: Vec<f64>,
    translation: Vec<f64>,
}

impl Transform {
    fn identity(rank: usize) -> Self {
        Transform { scale: vec![1.0; rank], translation: vec![0.0; rank] }
    }

    /// Applies the transformations of a document, in their order, after this one.
    fn apply_all(&mut self, list: &JsonField) -> Result<(), SourceError> {
        let rank = self.scale.len();
        for transformation in list.elements(MAX_TRANSFORMATIONS)? {
            let kind = transformation.member("type")?;
            let mut next = Transform::identity(rank);
            match kind.text()? {
                "identity" => {}
                "scale" => {
                    let scale = transformation.member("scale")?;
                    next.scale = scale.numbers(rank)?;
                    if let Some(factor) = next.scale.iter().find(|&&factor| factor <= 0.0) {
                        return Err(scale.malformed(format!("{factor} is not above 0")));
                    }
                }
                "translation" => next.translation = transformation.member("translation")?.numbers(rank)?,
                other => return Err(kind.unsupported(format!("transformation {}", quoted(other)))),
            }
            self.then(&next);
        }
        Ok(())
    }

    /// Applies the `transform` of a level as OpenOrganelle writes it.
    fn apply_own(&mut self, own: &JsonField) -> Result<(), SourceError> {
        let rank = self.scale.len();
        let scale = own.member("scale")?;
        let mut next = Transform { scale: scale.numbers(rank)?, ..Transform::identity(rank) };
        if let Some(factor) = next.scale.iter().find(|&&factor| factor <= 0.0) {
            return Err(scale.malformed(format!("{factor} is not above 0")));
        }
        if let Some(translation) = own.optional("translate")? {
            next.translation = translation.numbers(rank)?;
        }
        self.then(&next);
        Ok(())
    }

    /// Applies `outer` after this one.
    fn then(&mut self, outer: &Transform) {
        for axis in 0..self.scale.len() {
            self.scale[axis] *= outer.scale[axis];
            self.translation[axis] = self.translation[axis] * outer.scale[axis] + outer.translation[axis];
        }
    }
}

/// Reads the path of an array: names joined by `/`, none of them leading elsewhere.
pub(super) fn path(field: &JsonField) -> Result<String, SourceError> {
    let text = field.text()?;
    let leads_elsewhere =
        |name: &str| matches!(name, "" | "." | "..") || name.chars().any(|c| c.is_control() || c == '\\');
    if text.len() > 1024 || text.split('/').any(leads_elsewhere) {
        return Err(field.unsupported(format!("the path {}", quoted(text))));
    }
    Ok(text.to_owned())
}

/// The windows of the channels. They are hints for display, so a malformed one is no reason to refuse the image.
fn windows(root: &JsonField) -> Vec<Option<(f64, f64)>> {
    let channels = root.value.pointer("/omero/channels").and_then(Value::as_array).into_iter().flatten();
    let window = |channel: &Value| {
        let window = channel.get("window")?;
        let (start, end) = (window.get("start")?.as_f64()?, window.get("end")?.as_f64()?);
        (start.is_finite() && end.is_finite() && start < end).then_some((start, end))
    };
    channels.map(window).collect()
}

/// What the image says of its coarser levels: the type, and the method or whatever else is a text.
fn downsampling(image: &JsonField) -> Option<String> {
    let text = |pointer: &str| image.value.pointer(pointer).and_then(|value| value.as_str()).filter(|t| !t.is_empty());
    let parts: Vec<&str> =
        ["/type", "/metadata", "/metadata/method", "/metadata/description"].into_iter().filter_map(text).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests;
