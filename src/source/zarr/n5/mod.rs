//! N5, the format from which Zarr v3 learned: groups and arrays of the same kind, whose axes are listed the fastest first and
//! whose blocks say themselves how large they are. Here axes are turned to `z, y, x` as everywhere.
//!
//! Format: <https://github.com/saalfeldlab/n5#file-system-specification>. How levels are listed: N5 viewers, OpenOrganelle and
//! BigDataViewer, each in its own way.

pub(super) mod block;
mod dataset;
mod levels;
mod order;
mod place;
mod stated;

use std::time::Instant;

use self::levels::{ArrayAttributes, DocumentSubject, N5Group};
use self::place::{GroupPlaces, KnownPlaces};
use self::stated::StatedPlace;
use super::above::{self, Said};
use super::array::ArrayDocument;
use super::axes::Axes;
use super::documents::{self, Documents, MAX_ARRAY_DOCUMENT};
use super::fault::LevelFault;
use super::json::{self, JsonField};
use super::multiscales::{LevelEntry, Multiscales};
use super::pyramid::{self, Listed};
use crate::kind::Kind;
use crate::remote::{Cause, Location, RemoteError};
use crate::source::{SourceError, foreign, remedy};
use crate::store::{Healable, is_past_caches, past_caches};
use futures::FutureExt;

/// Name of the documents of groups and arrays.
pub(super) const DOCUMENT: &str = "attributes.json";

/// Members that the attributes of every array have.
pub(super) const MEMBERS: [&str; 3] = ["dimensions", "blockSize", "dataType"];

/// Levels of a pyramid.
const MAX_LEVELS: usize = 31;

/// The folder of the first moment of a BigDataViewer setup.
const MOMENT: &str = "timepoint0";

/// A level with what its own attributes say of it.
struct Found {
    listed: Listed,
    axes: Option<Axes>,
    place: StatedPlace,
}

/// What is at an address.
pub(super) struct N5Image {
    pub image: Multiscales,
    pub listed: Vec<Listed>,
    /// What was taken for something else than it is.
    pub notes: Vec<String>,
    /// Whether its place is that of the corner of the first voxel.
    pub by_corner: bool,
    /// The path where another level would be, where nothing says how many there are.
    pub end: Option<String>,
}

/// Finds the array at `group`, or the levels of the image there.
pub(super) async fn find(
    documents: &impl Documents,
    group: &Location,
    channel: Option<u64>,
) -> Result<N5Image, SourceError> {
    let file = group.join(DOCUMENT);
    let root = match documents.get(&file, MAX_ARRAY_DOCUMENT).await {
        Ok(bytes) => documents.alone(move || {
            let value = json::parse(&file.to_string(), &bytes)?;
            levels::read(&JsonField::root(&file.to_string(), &value)?)
        })?,
        // A group need not have attributes.
        Err(error) if is_absent(&error) => DocumentSubject::Group(Box::default()),
        Err(error) => return Err(error.into()),
    };
    match root {
        DocumentSubject::Array(found) => {
            let ArrayAttributes { array, axes, place } = *found;
            let (file, rank) = (group.join(DOCUMENT).to_string(), array.shape.len());
            let said = match axes.is_some() && place.says_size() {
                true => Said::default(),
                false => above(documents, group, rank).await?,
            };
            let mut notes: Vec<String> = said.note().into_iter().collect();
            let around = said.value;
            let axes = axes.or(around.axes).or_else(|| Axes::of_rank(rank));
            let axes = axes.ok_or_else(|| {
                SourceError::unsupported(&file, "dimensions", format!("an array of {rank} axes"))
                    .with_remedy(remedy::VOLUME)
            })?;
            let axes = axes.of_channel(channel);
            axes.check(&file, &array)?;
            let dataset = LevelEntry::bare(String::new());
            let listed = Listed::new(dataset, group.clone(), Ok(array));
            // What it says itself goes before what the group says of it.
            let around = N5Group::of_place(around.place.filter(|_| !place.says_size()));
            let by_corner = place.is_of_funlib();
            let found = Found { listed, axes: None, place };
            let (image, listed, note) = placed(axes, &around, vec![found]);
            notes.extend(note);
            Ok(N5Image { image, listed, notes, by_corner, end: None })
        }
        DocumentSubject::Group(mut about) => {
            let (mut found, end) = match about.levels.take() {
                Some(paths) => (known(documents, group, &paths).await, None),
                None => looked_for(documents, group, &about).await?,
            };
            if found.is_empty() {
                return Err(SourceError::malformed(group.to_string(), DOCUMENT, nothing(documents, group).await));
            }
            if !about.finest.says_size() && found.iter().all(|level| level.listed.dataset.path.starts_with(MOMENT)) {
                about.finest = of_moment(documents, group).await?;
            } else if group.parent().is_some_and(|(_, name)| name.starts_with("timepoint")) {
                about.finest = std::mem::take(&mut about.finest).of_bigdataviewer();
            }
            let axes = agreed(&about, &mut found, channel);
            let (image, listed, note) = placed(axes, &about, found);
            Ok(N5Image { image, listed, notes: note.into_iter().collect(), by_corner: false, end })
        }
    }
}

/// What the first moment of a BigDataViewer setup says of the size of voxels.
async fn of_moment(documents: &impl Documents, setup: &Location) -> Result<StatedPlace, SourceError> {
    let file = setup.join(MOMENT).join(DOCUMENT);
    let bytes = match documents.get(&file, MAX_ARRAY_DOCUMENT).await {
        Ok(bytes) => bytes,
        // It need not have attributes.
        Err(error) if is_absent(&error) => return Ok(StatedPlace::default()),
        Err(error) => return Err(error.into()),
    };
    documents.alone(move || {
        let value = json::parse(&file.to_string(), &bytes)?;
        Ok(stated::of(&JsonField::root(&file.to_string(), &value)?)?.of_bigdataviewer())
    })
}

/// What the group above an array says of it.
#[derive(Default)]
struct Around {
    /// The axes that it names for arrays of so many.
    axes: Option<Axes>,
    /// The place of the array, where it lists that.
    place: Option<StatedPlace>,
}

/// What the group above an array of so many axes says of it.
async fn above(documents: &impl Documents, array: &Location, rank: usize) -> Result<Said<Around>, SourceError> {
    let Some((group, name)) = array.parent() else { return Ok(Said::default()) };
    let read = |file: &str, bytes: &[u8]| {
        let value = json::parse(file, bytes)?;
        Ok(match levels::read(&JsonField::root(file, &value)?)? {
            DocumentSubject::Group(about) => {
                let axes = about.axes(rank).filter(|axes| axes.rank() == rank);
                Around { axes, place: about.into_place(&name) }
            }
            // What is there need not be a group.
            DocumentSubject::Array(_) => Around::default(),
        })
    };
    above::said(documents, &group.join(DOCUMENT), MAX_ARRAY_DOCUMENT, read).await
}

/// The axes of all levels, of which those that do not have them are left out.
fn agreed(about: &N5Group, found: &mut [Found], channel: Option<u64>) -> Axes {
    let stated = |level: &Found| {
        let rank = level.listed.array.as_ref().ok()?.shape.len();
        level.axes.clone().or_else(|| about.axes(rank))
    };
    let first = found.iter().find_map(|level| level.listed.array.as_ref().ok());
    let assumed = first.and_then(|array| Axes::of_rank(array.shape.len())).unwrap_or_else(Axes::zyx);
    let agreed = found.iter().find_map(stated).unwrap_or(assumed);
    let axes = agreed.clone().of_channel(channel);
    for level in found {
        let file = level.listed.location.join(DOCUMENT).to_string();
        let unlike = match (&level.listed.array, stated(level)) {
            (Ok(_), Some(own)) if own != agreed => {
                Some(SourceError::unsupported(&file, "axes", "other axes than those of the first level"))
            }
            (Ok(array), _) => axes.check(&file, array).err(),
            (Err(_), _) => None,
        };
        if let Some(error) = unlike {
            level.listed.array = Err(LevelFault::Unreadable(error));
        }
    }
    axes
}

/// Reads the attributes of an array.
pub(super) fn parse(file: &str, bytes: &[u8]) -> Result<ArrayDocument, SourceError> {
    dataset::read(&JsonField::root(file, &json::parse(file, bytes)?)?)
}

fn is_absent(error: &RemoteError) -> bool {
    matches!(error.cause, Cause::NotFound | Cause::Denied(_))
}

/// The levels at these paths.
async fn known(documents: &impl Documents, group: &Location, paths: &[String]) -> Vec<Found> {
    let level = |path: &String| level(documents, group, path.clone());
    futures::future::join_all(paths.iter().map(level)).await
}

/// The levels `s0`, `s1` …, or those of the first moment of a BigDataViewer setup, as far as they go on.
async fn looked_for(
    documents: &impl Documents,
    group: &Location,
    about: &N5Group,
) -> Result<(Vec<Found>, Option<String>), SourceError> {
    for folder in [String::new(), format!("{MOMENT}/")] {
        let (mut found, mut end): (Vec<Found>, _) = (Vec::new(), None);
        let most = if about.factors.is_empty() { MAX_LEVELS } else { about.factors.len().min(MAX_LEVELS) };
        let path = |number: usize| format!("{folder}s{number}");
        for number in 0..most {
            let began = Instant::now();
            let read = level(documents, group, path(number)).await;
            match &read.listed.array {
                Err(fault) if says_absent(fault) && number == 0 => break,
                Err(fault) if says_absent(fault) && about.factors.is_empty() => {
                    // Nothing says how many there are, so that this is the end is believed only past every cache, and
                    // where the next one is missing too. A level that is missing between two others is left out, and told.
                    if began.elapsed() < documents::AGAIN {
                        let again = past_caches(level(documents, group, path(number))).await;
                        if again.listed.array.is_ok() {
                            found.push(again);
                            continue;
                        }
                    }
                    if !goes_on(documents, group, path(number + 1)).await? {
                        end = Some(path(number));
                        break;
                    }
                    found.push(read);
                }
                Err(fault) if !fault.error().is_of_bytes() => return Err(fault.error().clone()),
                Err(LevelFault::Unknown(error)) if number > 0 && about.factors.is_empty() => {
                    if !is_past_caches() {
                        return Err(error.clone());
                    }
                    // Some servers answer so for whatever is not there. It is told as a level that is left out.
                    found.push(read);
                    if !goes_on(documents, group, path(number + 1)).await? {
                        break;
                    }
                }
                _ => found.push(read),
            }
        }
        if !found.is_empty() {
            return Ok((found, end));
        }
    }
    Ok((Vec::new(), None))
}

/// Whether there is a level, past every cache, where another one is missing before it.
async fn goes_on(documents: &impl Documents, group: &Location, path: String) -> Result<bool, SourceError> {
    match past_caches(level(documents, group, path)).await.listed.array {
        Ok(_) | Err(LevelFault::Unreadable(_)) => Ok(true),
        Err(fault) if says_absent(&fault) || fault.error().is_of_bytes() => Ok(false),
        Err(fault) => Err(fault.error().clone()),
    }
}

fn says_absent(fault: &LevelFault) -> bool {
    matches!(fault.error().cause(), Some(Cause::NotFound | Cause::Denied(_)))
}

async fn level(documents: &impl Documents, group: &Location, path: String) -> Found {
    let location = group.join(&path);
    let read = |file: &str, bytes: &[u8]| levels::array(&JsonField::root(file, &json::parse(file, bytes)?)?);
    let (array, axes, place) = match documents::of_level(documents, &location.join(DOCUMENT), &MEMBERS, read).await {
        Ok(ArrayAttributes { array, axes, place }) => (Ok(array), axes, place),
        Err(fault) => (Err(fault), None, StatedPlace::default()),
    };
    Found { listed: Listed::new(LevelEntry::bare(path), location, array), axes, place }
}

/// Puts levels and what is said of their places together, and says what was taken for granted.
fn placed(axes: Axes, about: &N5Group, found: Vec<Found>) -> (Multiscales, Vec<Listed>, Option<String>) {
    let mut lacking = None;
    let mut place = |stated: &StatedPlace| {
        stated.along(&axes).unwrap_or_else(|reason| {
            lacking.get_or_insert(reason);
            None
        })
    };
    let group = GroupPlaces {
        places: about.places.iter().map(&mut place).collect(),
        finest: place(&about.finest),
        factors: about.factors.iter().map(|factor| factor.sizes(&axes).ok()).collect(),
    };
    let own: Vec<_> = found.iter().map(|level| place(&level.place)).collect();
    let is_readable: Vec<bool> = found.iter().map(|level| level.listed.array.is_ok()).collect();
    let KnownPlaces { levels: places, unitless, is_assumed } = place::of_levels(&group, &own, &is_readable);
    let note =
        is_assumed.then(|| "its `resolution` has no unit and is taken for nanometres, as funlib has it".to_owned());
    let unitless = unitless.map(|reason| lacking.unwrap_or(reason));
    let mut listed: Vec<Listed> = found.into_iter().map(|level| level.listed).collect();
    for (listed, place) in listed.iter_mut().zip(places) {
        place.apply(&mut listed.dataset);
    }
    pyramid::sort(&mut listed);
    (Multiscales { unitless, ..Multiscales::of_arrays("N5", axes) }, listed, note)
}

/// What is to be said of a folder without an image.
async fn nothing(documents: &impl Documents, group: &Location) -> String {
    let is_there =
        |location: Location| async move { documents.get(&location, MAX_ARRAY_DOCUMENT).await.is_ok() }.boxed();
    for (path, what) in [
        ("setup0/timepoint0/s0/attributes.json", "setup0/timepoint0"),
        ("setup0/attributes.json", "setup0/timepoint0"),
        ("0/s0/attributes.json", "0"),
        ("0/attributes.json", "0"),
        // Paintera has its arrays there, N5 viewers those of the first channel, OpenOrganelle its images.
        ("data/s0/attributes.json", "data"),
        ("data/attributes.json", "data"),
        ("c0/s0/attributes.json", "c0"),
        ("c0/attributes.json", "c0"),
        ("s0/attributes.json", "s0"),
    ] {
        if is_there(group.join(path)).await {
            return format!("it is a group whose image is further down: write the address {}", group.join(what));
        }
    }
    let mut arrays = documents.names(group).await;
    arrays.sort();
    for name in arrays.into_iter().take(16) {
        let location = group.join(&name).join(DOCUMENT);
        if documents.get(&location, MAX_ARRAY_DOCUMENT).await.is_ok() {
            return format!("it is a group without levels; write the address {}", group.join(&name));
        }
    }
    let seen = foreign::Seen { names: documents.names(group).await, front: documents.front(group).await };
    match foreign::advice(Kind::N5, group, is_there, seen).await {
        Some(remedy) => format!("it is no array and has no levels s0, s1 …; {remedy}"),
        None => "it is no array and has no levels s0, s1 …: is the address right?".to_owned(),
    }
}

#[cfg(test)]
mod tests;
