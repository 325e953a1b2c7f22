//! The sections of a volume: the files of a folder, or those that the configuration names, in the order of z.
//!
//! A file server may be several ones behind one name whose listings differ, so a name that is not in the listing but would
//! make up the number of files that somebody promised is asked for.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt, stream};
use tracing::warn;

use super::format::ArchiveFormat;
use super::listing::{self, ListedNames};
use super::naming::natural;
use super::series::{self, Series, stem};
use crate::cache::Reservation;
use crate::catalog::{Overrides, SectionOrder};
use crate::remote::{Cause, Location, RemoteError};
use crate::source::{SourceError, foreign, stack};
use crate::store::{Object, Remote};

/// Names that are asked for at most.
const MAX_ASKED: u64 = 64;
/// Names that are asked for at a time.
const ASKED_AT_ONCE: usize = 16;
/// Names that a line of the log tells.
const MAX_TOLD: usize = 16;

/// Which files are sections, and in which order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    /// Formats of which they may be.
    pub(super) formats: &'static [ArchiveFormat],
    /// How many there are, where somebody said so.
    pub(super) promised: Option<u64>,
    /// What the configuration says of them.
    pub(super) overrides: &'a Overrides,
}

/// Files of a folder, with the memory that their handles are counted with before they are made: there may be many.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) folder: Location,
    pub(super) format: ArchiveFormat,
    /// In the order of z; none where there is no section.
    pub(super) names: Vec<Option<String>>,
    pub(super) kept: Reservation,
}

impl Sections {
    /// A handle of each.
    pub(super) fn objects(&self, remote: &Remote) -> Result<Vec<Option<Object>>, RemoteError> {
        let object = |name: &Option<String>| match name {
            Some(name) => remote.object(&self.folder.join(name)).map(Some),
            None => Ok(None),
        };
        self.names.iter().map(object).collect()
    }
}

/// Names in an order, before those that a listing may have lost are asked for.
enum Ordered {
    Series(Series),
    /// As they are, beside those that are left out.
    List(Vec<String>, Vec<String>),
}

/// The sections in a folder.
pub(super) async fn find(remote: &Remote, folder: &Location, rules: Rules<'_>) -> Result<Sections, SourceError> {
    let failed = |reason: String| SourceError::malformed(folder.to_string(), "listing", reason);
    let listed = listing::files(remote, folder).await?;
    let (promised, overrides, formats) = (rules.promised, rules.overrides.clone(), rules.formats);
    let work = move || {
        let (format, names, others) = of_formats(listed, formats, &overrides)?;
        let ordered = ordered(&names.names, promised, &overrides)?;
        Ok((with_others(ordered, others, (promised, formats.len() > 1), &overrides)?, format, names))
    };
    let ordered = remote.desk().work(work).await;
    let (ordered, format, _listed) = ordered.unwrap_or_else(|| Err("could not be read".to_owned())).map_err(failed)?;
    let strangers = match &ordered {
        Ordered::Series(series) => &series.strangers,
        Ordered::List(_, strangers) => strangers,
    };
    if !strangers.is_empty() {
        let (told, more) = strangers.split_at(strangers.len().min(MAX_TOLD));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        let told = told.join(", ");
        warn!("{folder}: left out, as they are not named and numbered like the others: {told}{more}");
    }
    let names = match ordered {
        Ordered::Series(mut series) => {
            if let Some(promised) = promised {
                complete(remote, folder, &mut series, promised).await?;
            }
            match rules.overrides.blank_gaps {
                true => {
                    fill_gaps(remote, folder, &mut series).await?;
                    series.with_gaps().map_err(failed)?
                }
                false => series.names().map_err(failed)?.into_iter().map(Some).collect(),
            }
        }
        Ordered::List(names, _) => names.into_iter().map(Some).collect(),
    };
    let kept = remote.desk().keep(stack::memory(names.len() as u64)).map_err(|error| failed(error.to_string()))?;
    Ok(Sections { folder: folder.clone(), format, names, kept })
}

/// Files that the configuration names, in the order that it wants.
pub(super) fn arranged(files: &[Location], overrides: &Overrides) -> Result<Vec<Option<Location>>, SourceError> {
    if overrides.pattern.is_none() && matches!(overrides.order, None | Some(SectionOrder::Listed)) {
        return Ok(files.iter().cloned().map(Some).collect());
    }
    let failed = |reason: String| SourceError::malformed("the list of files", "urls", reason);
    let name = |file: &Location| {
        let segment = file.url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
        percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
    };
    let mut named = std::collections::HashMap::new();
    for file in files {
        if named.insert(name(file), file).is_some() {
            return Err(failed(format!("{:?} comes twice, so names say no order", name(file))));
        }
    }
    let names: Vec<String> = files.iter().map(name).collect();
    let names = match ordered(&names, Some(names.len() as u64), overrides).map_err(failed)? {
        Ordered::Series(series) if overrides.blank_gaps => series.with_gaps().map_err(failed)?,
        Ordered::Series(series) => series.names().map_err(failed)?.into_iter().map(Some).collect(),
        Ordered::List(names, _) => names.into_iter().map(Some).collect(),
    };
    Ok(names.into_iter().map(|name| name.and_then(|name| named.get(&name).map(|file| (*file).clone()))).collect())
}

/// The names of sections of one format, whose memory stays counted as long as they are there, and those of the others.
fn of_formats(
    mut listed: ListedNames,
    formats: &[ArchiveFormat],
    overrides: &Overrides,
) -> Result<(ArchiveFormat, ListedNames, Vec<String>), String> {
    let all = || listed.names.iter().chain(&listed.escaped);
    let has_usual = |format: &&ArchiveFormat| all().any(|name| format.has_usual(name));
    let has_any = |format: &&ArchiveFormat| all().any(|name| format.has(name));
    let Some(format) = formats.iter().find(has_usual).or_else(|| formats.iter().find(has_any)).copied() else {
        let endings: Vec<&str> = formats.iter().flat_map(|format| format.endings()).collect();
        let of_folder = || {
            let folder = listed.folder.as_ref().filter(|_| listed.names.iter().all(|name| name.starts_with('.')))?;
            Some(format!("; it holds folders, as {folder:?}: write the address of the one with the sections"))
        };
        let other =
            foreign::of_names(&listed.names).map(|what| format!("; {what}")).or_else(of_folder).unwrap_or_default();
        return Err(format!("has no file that ends in {}{other}", endings.join(", ")));
    };
    // Which number of a series each has can be said of none whose name is no text.
    let is_meant = |name: &&String| overrides.pattern.as_ref().is_none_or(|pattern| pattern.is_match(name));
    let escaped: Vec<&String> = listed.escaped.iter().filter(|name| format.has(name)).filter(is_meant).collect();
    if let Some(first) = escaped.first() {
        let count = escaped.len();
        return Err(format!(
            "{count} files have names that are no text in UTF-8, as `{first}`, and would be missing; give them other names, \
             for example by `convmv -f latin1 -t utf8`, or say by `pattern` which of the others are the sections"
        ));
    }
    let is_other = |name: &&String| !format.has(name) && ArchiveFormat::ALL.iter().any(|format| format.has(name));
    let others = listed.names.iter().filter(is_other).cloned().collect();
    listed.names.retain(|name| format.has(name));
    Ok((format, listed, others))
}

/// What was ordered, beside files of other formats: they may be pictures of the sections, but none that is missing among these.
/// Where any format may be meant (`any_format`), people hear of those and the others are shown.
fn with_others(
    ordered: Ordered,
    others: Vec<String>,
    (promised, any_format): (Option<u64>, bool),
    overrides: &Overrides,
) -> Result<Ordered, String> {
    match ordered {
        Ordered::Series(series) if promised == Some(series.len()) => Ok(Ordered::Series(series)),
        Ordered::Series(mut series) => {
            let number = |name: &String| match &overrides.pattern {
                Some(pattern) => pattern.captures(name)?.get(1)?.as_str().parse().ok(),
                None => series.number_but_for_ending(name),
            };
            let goes_on = |name: &&String| number(name).is_some_and(|number| !series.has(number));
            let missing: Vec<&String> = others.iter().filter(goes_on).collect();
            match missing.first() {
                None => Ok(Ordered::Series(series)),
                Some(_) if any_format => {
                    let missing: Vec<String> = missing.into_iter().cloned().collect();
                    series.strangers.extend(missing);
                    Ok(Ordered::Series(series))
                }
                Some(first) => Err(format!(
                    "{} files of another format, as {first:?}, have numbers that are missing among the others; write all in one \
                     format, or say by `pattern = '…(\\d+)…\\.tif$'`, with the ending that is wanted, which are the sections",
                    missing.len()
                )),
            }
        }
        Ordered::List(names, mut strangers) => {
            let taken: HashSet<String> = names.iter().map(|name| stem(name).to_owned()).collect();
            if overrides.pattern.is_none() {
                strangers.extend(others.into_iter().filter(|name| !taken.contains(stem(name))));
            }
            Ok(Ordered::List(names, strangers))
        }
    }
}

/// Puts names in the order that the configuration wants, else in that of their numbers.
fn ordered(names: &[String], promised: Option<u64>, overrides: &Overrides) -> Result<Ordered, String> {
    let (mut wanted, mut strangers) = (Vec::new(), Vec::new());
    let mut numbers = Vec::new();
    for name in names {
        let found = match &overrides.pattern {
            None => Some(None),
            Some(pattern) => pattern.captures(name).map(|found| found.get(1).map(|number| number.as_str().to_owned())),
        };
        match found {
            Some(number) => {
                wanted.push(name.clone());
                numbers.push(number);
            }
            None => strangers.push(name.clone()),
        }
    }
    match (overrides.order, &overrides.pattern) {
        (Some(SectionOrder::Natural), _) => {
            wanted.sort_by(|a, b| natural(a, b));
            Ok(Ordered::List(wanted, strangers))
        }
        (Some(SectionOrder::Listed), _) => Ok(Ordered::List(wanted, strangers)),
        (_, Some(_)) => {
            let number = |(name, number): (String, Option<String>)| match number.and_then(|text| text.parse().ok()) {
                Some(number) => Ok((number, name)),
                None => Err(format!("the group of `pattern` finds no number in {name:?}")),
            };
            let numbered: Result<Vec<(u64, String)>, String> = wanted.into_iter().zip(numbers).map(number).collect();
            Ok(Ordered::Series(Series::numbered(numbered?, strangers)?))
        }
        (_, None) => Ok(match Series::find(names, promised)? {
            series::FolderContent::Series(series) => Ordered::Series(series),
            series::FolderContent::All => {
                wanted.sort_by(|a, b| natural(a, b));
                Ordered::List(wanted, strangers)
            }
        }),
    }
}

/// Asks for the names that the listing may have lost: those of gaps, then those after the last and before the first one.
async fn complete(remote: &Remote, folder: &Location, series: &mut Series, promised: u64) -> Result<(), SourceError> {
    let lost = |series: &Series| promised.saturating_sub(series.len());
    if lost(series) == 0 || lost(series) > MAX_ASKED || !series.names_others() {
        return Ok(());
    }
    let asked: Vec<u64> = series.missing().take(lost(series) as usize).collect();
    add_those_there(remote, folder, series, asked).await?;
    for side in [0, 1] {
        while lost(series) > 0
            && series.gaps() == 0
            && let Some(number) = series.neighbours().get(side).copied().flatten()
        {
            if !exists(&remote.object(&folder.join(&series.name(number)))?).await? {
                break;
            }
            series.add(number);
        }
    }
    Ok(())
}

/// Asks for the names of gaps that are to be shown as empty sections: a listing that has lost a name must not make nothing of
/// a section that is there.
async fn fill_gaps(remote: &Remote, folder: &Location, series: &mut Series) -> Result<(), SourceError> {
    let is_known = series.names_others() && series.gaps() <= series::MAX_NAMES as u64;
    let asked: Vec<u64> = if is_known { series.missing().collect() } else { Vec::new() };
    add_those_there(remote, folder, series, asked).await
}

/// Adds those of some numbers whose files are there.
async fn add_those_there(
    remote: &Remote,
    folder: &Location,
    series: &mut Series,
    asked: Vec<u64>,
) -> Result<(), SourceError> {
    let ask = |number: u64| {
        let object = remote.object(&folder.join(&series.name(number)));
        async move { Ok::<_, SourceError>(exists(&object?).await?.then_some(number)) }
    };
    let found: Vec<Option<u64>> = stream::iter(asked).map(ask).buffer_unordered(ASKED_AT_ONCE).try_collect().await?;
    found.into_iter().flatten().for_each(|number| series.add(number));
    Ok(())
}

async fn exists(object: &Object) -> Result<bool, SourceError> {
    match object.start(1).await {
        Ok(_) => Ok(true),
        Err(RemoteError { cause: Cause::NotFound, .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
