//! The `multiscales` of OME-NGFF 0.4 and 0.5: axes, levels and where they lie in space.

use serde_json::Value;

use super::axes::{Axes, Units};
use super::json::{JsonField, quoted};
use super::transform::{Numbers, Transform};
use crate::source::{Relative, SourceError, remedy};

/// Levels of a pyramid.
const MAX_LEVELS: usize = 31;

/// Versions of the format that are read.
const VERSIONS: [&str; 5] = ["0.1", "0.2", "0.3", "0.4", "0.5"];

/// Those in which levels have no transformations, and those in which images have no axes.
const SCALELESS: [&str; 3] = ["0.1", "0.2", "0.3"];
const AXELESS: [&str; 2] = ["0.1", "0.2"];

/// Why their scales are no lengths, and those of images of other versions that say as little.
const UNITLESS: &str = "this version of the format has no units";
const NAMELESS: &str = "the image names no axes";
const SCALES_MISSING: &str = "the levels have no coordinateTransformations";

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
    /// How the channels are to be shown.
    pub channels: Vec<ChannelDisplay>,
    /// How the coarser levels were made.
    pub downsampling: Option<String>,
}

impl Multiscales {
    /// How the channel that is shown is to be shown.
    pub fn display(&self) -> ChannelDisplay {
        let number = self.axes.channel().map_or(Some(0), |(_, channel)| usize::try_from(channel).ok());
        number.and_then(|number| self.channels.get(number)).copied().unwrap_or_default()
    }

    /// An image of which nothing but its arrays tells.
    pub fn of_arrays(version: &str, axes: Axes) -> Self {
        Multiscales {
            version: version.to_owned(),
            axes,
            unitless: None,
            datasets: Vec::new(),
            rejected: Vec::new(),
            channels: Vec::new(),
            downsampling: None,
        }
    }
}

/// How a channel is to be shown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct ChannelDisplay {
    /// `(low, high)`.
    pub window: Option<(f64, f64)>,
    /// Whether the low end of it is the bright one.
    pub is_inverted: bool,
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
    /// The numbers that the size of its voxels has, where no axis has a unit.
    pub plain: Option<[f64; 3]>,
    /// Nanometres from the origin to the centre of the first voxel; 0 where not all axes have units.
    pub translation: [f64; 3],
    /// Where it lies beside the finest level, where not all axes have units and the levels have transformations.
    pub relative: Option<Relative>,
}

/// How an image was read that says less than the format has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Whether it names no axes, so that the last three of its arrays are `z, y, x`.
    pub is_nameless: bool,
    /// Whether its levels say nothing of their sizes.
    pub is_silent: bool,
    /// What was taken for something else than it is.
    pub notes: Vec<String>,
}

/// An image before its levels are read.
struct Image<'a> {
    field: JsonField<'a>,
    version: String,
    list: JsonField<'a>,
    axes: Axes,
    units: Units,
    /// The `transform` of the first level, as OpenOrganelle has it.
    transform: Option<JsonField<'a>>,
    reading: Reading,
}

/// Reads the first image of a group's attributes; `None` where they hold none.
pub(super) fn parse(attributes: &JsonField) -> Result<Option<(Multiscales, Reading)>, SourceError> {
    let Some((root, image)) = image(attributes)? else { return Ok(None) };
    let Image { field, version, list, axes, mut units, transform, mut reading } = image;
    let mut numbers = Numbers { axes: (!reading.is_nameless).then_some(&axes), note: None };
    let outer = field.optional("coordinateTransformations")?;
    let outer = outer.map(|outer| Transform::of_image(&outer, &mut numbers)).transpose()?;
    let (outer, choice) = outer.unwrap_or((Transform::IDENTITY, None));
    reading.notes.extend(choice);
    let is_old = SCALELESS.iter().any(|old| version.ends_with(old));
    let says_nothing = |level: &JsonField| {
        ["coordinateTransformations", "transform"]
            .into_iter()
            .all(|name| level.value.get(name).is_none_or(Value::is_null))
    };
    let all = list.elements(MAX_LEVELS)?;
    let is_bare = !all.is_empty() && all.iter().all(says_nothing);
    if is_bare && outer.scale == Transform::IDENTITY.scale {
        // Ones that nobody wrote are no lengths.
        let reason = if is_old { UNITLESS } else { SCALES_MISSING };
        reading.is_silent = true;
        units = Units::unknown(units.lacking.unwrap_or_else(|| reason.to_owned()));
    }
    let writer = Writer {
        is_old: is_old || is_bare,
        units: transform.as_ref().and_then(|transform| transform.value.get("units").cloned()),
    };
    let (mut datasets, rejected) = levels(&list, &units, (&outer, &mut numbers), &writer)?;
    if reading.is_silent {
        datasets.iter_mut().for_each(|dataset| dataset.plain = None);
    }
    reading.notes.extend(numbers.note);
    let (channels, downsampling) = (channels(root.value), downsampling(&field));
    let unitless = units.lacking;
    Ok(Some((Multiscales { version, axes, unitless, datasets, rejected, channels, downsampling }, reading)))
}

/// The axes of the first image, where it names them, whatever its levels are like.
pub(super) fn axes(attributes: &JsonField) -> Result<Option<Axes>, SourceError> {
    Ok(image(attributes)?.filter(|(_, image)| !image.reading.is_nameless).map(|(_, image)| image.axes))
}

/// The first image, and what holds it.
fn image<'a>(attributes: &JsonField<'a>) -> Result<Option<(JsonField<'a>, Image<'a>)>, SourceError> {
    // Version 0.5 has everything in `ome`, 0.4 at the root.
    let ome = attributes.optional("ome")?;
    let root = ome.as_ref().unwrap_or(attributes).clone();
    let Some(images) = root.optional("multiscales")? else {
        return Ok(None);
    };
    let Some(field) = images.elements(usize::MAX)?.into_iter().next() else {
        return Ok(None);
    };
    let mut reading = Reading::default();
    let version = version(ome.as_ref(), &field)?;
    let list = field.member("datasets")?;
    let transform = match list.value.get(0) {
        Some(_) => list.elements(MAX_LEVELS)?.first().map(|first| first.optional("transform")).transpose()?.flatten(),
        None => None,
    };
    let (axes, units) = match (field.optional("axes")?, &transform) {
        (Some(axes), _) => Axes::of_image(&axes)?,
        (None, Some(transform)) => Axes::of_transform(transform)?,
        // The first two versions have five axes and say nothing of them.
        (None, None) => {
            reading.is_nameless = true;
            let is_old = AXELESS.iter().any(|old| version.ends_with(old));
            (Axes::tczyx(), Units::unknown(if is_old { UNITLESS } else { NAMELESS }))
        }
    };
    Ok(Some((root, Image { field, version, list, axes, units, transform, reading })))
}

/// Reads the levels, finest first, and what is wrong with those that cannot be read; the transformations of the image,
/// `outer`, come after those of each.
fn levels(
    list: &JsonField,
    units: &Units,
    (outer, numbers): (&Transform, &mut Numbers),
    writer: &Writer,
) -> Result<(Vec<LevelEntry>, Vec<SourceError>), SourceError> {
    let (mut placed, mut rejected) = (Vec::new(), Vec::new());
    for dataset in list.elements(MAX_LEVELS)? {
        match place(&dataset, outer, numbers, writer) {
            Ok(level) => placed.push((dataset, level)),
            Err(error) => rejected.push(error),
        }
    }
    let volume = |place: &Place| place.at.scale.iter().product::<f64>();
    placed.sort_by(|(_, a), (_, b)| volume(a).total_cmp(&volume(b)));
    let Some(finest) = placed.first().map(|(_, place)| place.at.scale) else {
        return Err(rejected.into_iter().next().unwrap_or_else(|| list.malformed("there is no level")));
    };
    let graded = placed.iter().any(|(_, place)| place.at.scale != finest);
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
pub(super) struct Place {
    pub path: String,
    pub at: Transform,
}

/// In which way levels are described.
struct Writer {
    /// Whether levels may have no transformations.
    is_old: bool,
    /// The units that the finest level states itself, as OpenOrganelle has it.
    units: Option<Value>,
}

fn place(dataset: &JsonField, outer: &Transform, numbers: &mut Numbers, writer: &Writer) -> Result<Place, SourceError> {
    let own = match (dataset.optional("coordinateTransformations")?, dataset.optional("transform")?) {
        (Some(transformations), _) => Transform::of_list(&transformations, numbers)?,
        (None, Some(own)) => {
            if own.value.get("units") != writer.units.as_ref() {
                return Err(own.malformed("it has other units than the first level"));
            }
            Transform::of_own(&own, numbers)?
        }
        (None, None) if writer.is_old => Transform::IDENTITY,
        (None, None) => {
            return Err(dataset.malformed("`coordinateTransformations` is missing, which other levels have"));
        }
    };
    Ok(Place { path: path(&dataset.member("path")?)?, at: own.then(outer) })
}

impl Place {
    /// The level in nanometres, or in voxels of the finest one.
    fn counted(self, field: &JsonField, units: &Units, finest: [f64; 3]) -> Result<LevelEntry, SourceError> {
        self.level(units, finest).map_err(|counted| {
            let transformations = field.optional("coordinateTransformations").ok().flatten();
            let field = transformations.as_ref().unwrap_or(field);
            field.malformed(format!("the voxel size is not a positive number of {counted}"))
        })
    }

    /// The same. An error says of what its size is no positive number.
    pub fn level(self, units: &Units, finest: [f64; 3]) -> Result<LevelEntry, &'static str> {
        let Place { path, at: Transform { scale: size, translation: start } } = self;
        // What has no nanometres is refused below.
        let nanometres = |lengths: [f64; 3]| -> [Option<f64>; 3] {
            std::array::from_fn(|axis| Some(units.along[axis]?.nanometres(lengths[axis]).unwrap_or(f64::NAN)))
        };
        let partial = nanometres(size);
        let all = |lengths: [Option<f64>; 3]| -> Option<[f64; 3]> {
            let [Some(z), Some(y), Some(x)] = lengths else { return None };
            Some([z, y, x])
        };
        let lengths = all(partial).zip(all(nanometres(start)));
        let voxels = |lengths: [f64; 3]| -> [f64; 3] { std::array::from_fn(|axis| lengths[axis] / finest[axis]) };
        let (scale, translation) = lengths.unwrap_or((voxels(size), voxels(start)));
        let is_size = |size: &f64| size.is_finite() && *size > 0.0;
        if !scale.iter().chain(partial.iter().flatten()).all(is_size)
            || !translation.iter().all(|part| part.is_finite())
        {
            return Err(if lengths.is_some() { "nanometres" } else { "voxels of the finest level" });
        }
        let plain = Some(size).filter(|_| units.along == [None; 3]);
        let level = LevelEntry { plain, ..LevelEntry::bare(path) };
        Ok(match lengths {
            Some((scale, translation)) => LevelEntry { scale: Some(scale), translation, ..level },
            None => LevelEntry { partial, relative: Some(Relative { scale, translation }), ..level },
        })
    }
}

impl LevelEntry {
    /// A level of which nothing but the path is known.
    pub fn bare(path: String) -> Self {
        LevelEntry { path, scale: None, partial: [None; 3], plain: None, translation: [0.0; 3], relative: None }
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
    // Some writers write a number.
    let number = field.value.as_f64().map(|number| number.to_string());
    match number.as_deref().map_or_else(|| field.text(), Ok)? {
        text if VERSIONS.iter().any(|known| text.starts_with(known)) => Ok(format!("OME-NGFF {}", &text[..3])),
        other => {
            let reason = format!("OME-NGFF version {}", quoted(other));
            Err(field.unsupported(reason).with_remedy(remedy::NGFF_VERSION))
        }
    }
}

/// Reads the path of an array: names joined by `/`, none of them leading elsewhere. As in Zarr, a `/` at the beginning or the
/// end says nothing, and no name at all is the group itself.
pub(super) fn path(field: &JsonField) -> Result<String, SourceError> {
    let text = field.text()?;
    let names: Vec<&str> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    let leads_elsewhere = |name: &&str| *name == ".." || name.chars().any(|c| c.is_control() || c == '\\');
    if text.len() > 1024 || names.iter().any(leads_elsewhere) {
        return Err(field.unsupported(format!("the path {}", quoted(text))));
    }
    Ok(names.join("/"))
}

/// How the channels are to be shown. These are hints, so a malformed one is no reason to refuse the image.
fn channels(root: &Value) -> Vec<ChannelDisplay> {
    let channels = root.pointer("/omero/channels").and_then(Value::as_array).into_iter().flatten();
    let window = |channel: &Value| {
        let window = channel.get("window")?;
        let (start, end) = (window.get("start")?.as_f64()?, window.get("end")?.as_f64()?);
        (start.is_finite() && end.is_finite() && start < end).then_some((start, end))
    };
    let is_inverted = |channel: &Value| channel.get("inverted").and_then(Value::as_bool).unwrap_or_default();
    channels.map(|channel| ChannelDisplay { window: window(channel), is_inverted: is_inverted(channel) }).collect()
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
