//! An array that is shown alone: what it says of itself, and where it is silent what the group around it says.

use serde_json::Value;

use super::above::{self, Said};
use super::array::ArrayDocument;
use super::axes::Axes;
use super::documents::{Documents, MAX_GROUP_DOCUMENT};
use super::json::{self, JsonField, quoted};
use super::multiscales::{self, ChannelDisplay, LevelEntry, Multiscales, Reading};
use super::own::OwnAttributes;
use super::root::StoreVersion;
use crate::remote::Location;
use crate::source::{SourceError, remedy};
use crate::store::is_past_caches;

/// An array with what is known of it.
pub(super) struct LoneArray {
    /// The image of this one level.
    pub image: Multiscales,
    /// The level.
    pub dataset: LevelEntry,
    /// Whether its place is that of the corner of the first voxel.
    pub by_corner: bool,
    /// What was taken for granted.
    pub notes: Vec<String>,
}

/// What the group says of the array.
#[derive(Default)]
struct Parent {
    axes: Option<Axes>,
    dataset: Option<LevelEntry>,
    unitless: Option<String>,
    channels: Vec<ChannelDisplay>,
    notes: Vec<String>,
    /// Whether there is a group, and it lists no such array.
    is_of_others: bool,
}

/// Puts together what is known of the array at `location`. Asks for the document of its group unless it says all itself.
pub(super) async fn settle(
    documents: &impl Documents,
    location: &Location,
    version: StoreVersion,
    array: &ArrayDocument,
    own: &OwnAttributes,
    channel: Option<u64>,
) -> Result<LoneArray, SourceError> {
    let said = match own.is_complete() {
        true => Said::default(),
        false => parent(documents, location, version).await?,
    };
    let file = location.join(version.array_document()).to_string();
    let mut notes: Vec<String> = said.note().into_iter().collect();
    let Said { value: parent, fault } = said;
    notes.extend(parent.notes);
    let axes = match (own.axes_of(&array.shape).or(parent.axes), own.guessed.clone()) {
        (Some(axes), _) => axes,
        (None, Some(axes)) => {
            notes.push(format!("not all names of its axes say which they are; {}", axes.taken()));
            axes
        }
        (None, None) => {
            // Whoever should have named them is to be mended rather than asked.
            let axes = unnamed(location, &file, array, channel).map_err(|error| fault.unwrap_or(error))?;
            if axes != Axes::zyx() {
                notes.push(format!("nothing names its axes, which are taken to be {}", axes.told()));
            }
            axes
        }
    };
    let axes = axes.of_channel(channel);
    axes.check(&file, array)?;
    notes.extend(own.note.clone());
    let own = own.place(&axes);
    let by_corner = own.as_ref().is_some_and(|own| own.by_corner);
    let (dataset, unitless) = match (own, parent.dataset) {
        (Some(own), _) => {
            notes.extend(own.note);
            (own.dataset, own.unitless)
        }
        (None, Some(dataset)) => (LevelEntry { path: String::new(), relative: None, ..dataset }, parent.unitless),
        (None, None) => (LevelEntry::bare(String::new()), None),
    };
    let image = Multiscales { unitless, channels: parent.channels, ..Multiscales::of_arrays("array", axes) };
    Ok(LoneArray { image, dataset, by_corner, notes })
}

/// The axes of an array of which nobody says them. More than three are read where the first ones have length 1, or where a
/// channel is asked for.
fn unnamed(location: &Location, file: &str, array: &ArrayDocument, channel: Option<u64>) -> Result<Axes, SourceError> {
    let rank = array.shape.len();
    let others = array.shape.get(..rank.saturating_sub(3)).unwrap_or_default();
    let Some(axes) = Axes::of_rank(rank) else {
        let reason = format!("an array of {rank} axes instead of z, y, x");
        return Err(SourceError::unsupported(file, "shape", reason).with_remedy(remedy::VOLUME));
    };
    if others.iter().all(|extent| *extent == 1) || channel.is_some() {
        return Ok(axes);
    }
    let remedy = match location.parent() {
        Some((group, _)) => format!("write the address {group} if that is its image, which names them"),
        None => "name them in its attributes".to_owned(),
    };
    let shape: Vec<String> = array.shape.iter().map(u64::to_string).collect();
    let reason = format!("nothing names the {rank} axes of lengths {}; {remedy}, or", shape.join("×"));
    Err(SourceError::malformed(
        file,
        "shape",
        format!(
            "{reason} write `channel = N` beside `url` if the last three are z, y, x and the one before counts channels"
        ),
    ))
}

/// Asks the group around the array for an image that lists it.
async fn parent(
    documents: &impl Documents,
    location: &Location,
    version: StoreVersion,
) -> Result<Said<Parent>, SourceError> {
    let Some((group, name)) = location.parent() else { return Ok(Said::default()) };
    let said = said_of(documents, (&group, &name), version, true).await?;
    // ngff-zarr has a folder for each level between the image and the array.
    if said.value.is_of_others
        && let Some((image, folder)) = group.parent()
    {
        let further = said_of(documents, (&image, &format!("{folder}/{name}")), version, false).await?;
        // What could not be had need not be of this store.
        if further.fault.as_ref().is_none_or(|fault| fault.cause().is_none()) && !further.value.is_of_others {
            return Ok(further);
        }
    }
    Ok(said)
}

/// What the document of `group` says of the array at the path `name` below it. One that is not near need not be a group.
async fn said_of(
    documents: &impl Documents,
    (group, name): (&Location, &str),
    version: StoreVersion,
    is_near: bool,
) -> Result<Said<Parent>, SourceError> {
    let document = group.join(if version == StoreVersion::V3 { "zarr.json" } else { ".zattrs" });
    let is_final = is_past_caches();
    let others = || Parent { is_of_others: true, ..Parent::default() };
    let read = |file: &str, bytes: &[u8]| {
        let value = match json::parse(file, bytes) {
            Ok(value) if is_near || value.is_object() => value,
            Err(error) if is_near => return Err(error),
            _ => return Ok(others()),
        };
        let root = JsonField::root(file, &value)?;
        let attributes = if version == StoreVersion::V3 { root.optional("attributes")? } else { Some(root) };
        let Some(attributes) = attributes.filter(|attributes| lists(attributes.value, name)) else {
            return Ok(others());
        };
        let error = match multiscales::parse(&attributes) {
            Ok(Some((image, reading))) => return Ok(Parent::of(image, &reading, name)),
            Ok(None) => return Ok(Parent::default()),
            Err(error) => error,
        };
        // Without its places an image may still say which axis is which.
        match multiscales::axes(&attributes) {
            Ok(Some(axes)) if is_final => {
                Ok(Parent { axes: Some(axes), notes: vec![error.to_string()], ..Parent::default() })
            }
            _ => Err(error),
        }
    };
    above::said(documents, &document, MAX_GROUP_DOCUMENT, read).await
}

/// Whether the first image in a group's attributes lists the array at that path.
fn lists(attributes: &Value, name: &str) -> bool {
    let root = attributes.get("ome").unwrap_or(attributes);
    let datasets = root.pointer("/multiscales/0/datasets").and_then(Value::as_array).into_iter().flatten();
    let mut paths = datasets.filter_map(|dataset| dataset.get("path")?.as_str());
    paths.any(|path| path.split('/').filter(|part| !matches!(*part, "" | ".")).eq(name.split('/')))
}

impl Parent {
    fn of(image: Multiscales, reading: &Reading, name: &str) -> Self {
        let mut notes = reading.notes.clone();
        let first = image.datasets.first().map(|first| first.path.clone());
        let dataset = image.datasets.iter().find(|dataset| dataset.path == name).cloned();
        if dataset.is_none() {
            notes.extend(image.rejected.iter().map(ToString::to_string));
        }
        let known = dataset.filter(|_| !reading.is_silent).filter(|dataset| {
            let is_alone = image.datasets.len() == 1 || first.as_deref() == Some(name);
            let is_graded = image.datasets.iter().any(|other| other.spacing() != dataset.spacing());
            if !is_alone && !is_graded {
                notes.push(format!(
                    "its group states one voxel size for all levels, which is not taken for {}",
                    quoted(name)
                ));
            }
            is_alone || is_graded
        });
        let axes = (!reading.is_nameless).then_some(image.axes);
        let unitless = image.unitless.filter(|_| known.is_some());
        Parent { axes, dataset: known, unitless, channels: image.channels, notes, is_of_others: false }
    }
}
