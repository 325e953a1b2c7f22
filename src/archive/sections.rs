//! The sections of a volume: numbered DM3 or DM4 files of a folder.
//!
//! A file server may be several ones behind one name whose listings differ, so a name that is not in the listing but would
//! make up the number of files that somebody promised is asked for.

use tracing::warn;

use super::listing::{self, Names};
use super::series::Series;
use crate::cache::Reservation;
use crate::remote::{Cause, Location, RemoteError};
use crate::source::{SourceError, dm3};
use crate::store::{Object, Remote};

/// Names that are asked for at most.
const MOST_ASKED: u64 = 64;
/// Names that a line of the log tells.
const MOST_TOLD: usize = 16;
/// Endings of files that are sections.
const ENDINGS: [&str; 2] = [".dm3", ".dm4"];

/// Files of a folder, with the memory that their handles are counted with before they are made: there may be many.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) folder: Location,
    /// In the order of z.
    pub(super) names: Vec<String>,
    pub(super) kept: Reservation,
}

impl Sections {
    /// A handle of each.
    pub(super) fn objects(&self, remote: &Remote) -> Result<Vec<Object>, RemoteError> {
        self.names.iter().map(|name| remote.object(&self.folder.join(name))).collect()
    }
}

/// The sections in a folder by their numbers, `promised` of them where somebody said so.
pub(super) async fn find(remote: &Remote, folder: &Location, promised: Option<u64>) -> Result<Sections, SourceError> {
    let failed = |reason: String| SourceError::malformed(folder.to_string(), "listing", reason);
    let listed = listing::files(remote, folder).await?;
    let numbered = remote.desk().work(move || numbered(listed, promised)).await;
    let (mut series, _listed) = numbered.unwrap_or_else(|| Err("could not be read".to_owned())).map_err(failed)?;
    if !series.strangers.is_empty() {
        let (told, more) = series.strangers.split_at(series.strangers.len().min(MOST_TOLD));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        warn!("{folder}: left out, as they are not numbered like the others: {}{more}", told.join(", "));
    }
    if let Some(promised) = promised {
        complete(remote, folder, &mut series, promised).await?;
    }
    let kept = remote.desk().keep(dm3::memory(series.len())).map_err(|error| failed(error.to_string()))?;
    Ok(Sections { folder: folder.clone(), names: series.names().map_err(failed)?, kept })
}

/// The series that most of the names are of; their memory stays counted as long as the series is there.
fn numbered(mut listed: Names, promised: Option<u64>) -> Result<(Series, Names), String> {
    // macOS puts a file `._name` beside each one on disks of others.
    let hidden = |name: &str| name.starts_with('.');
    let is_section = |name: &str| ENDINGS.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending));
    listed.names.retain(|name| !hidden(name) && is_section(name));
    if listed.names.is_empty() {
        return Err("has no DM3 or DM4 file".into());
    }
    Ok((Series::find(&listed.names, promised)?, listed))
}

/// Asks for the names that the listing may have lost: those of gaps, then those after the last and before the first one.
async fn complete(remote: &Remote, folder: &Location, series: &mut Series, promised: u64) -> Result<(), SourceError> {
    let lost = |series: &Series| promised.saturating_sub(series.len());
    if lost(series) == 0 || lost(series) > MOST_ASKED {
        return Ok(());
    }
    let asked: Vec<u64> = series.missing().take(lost(series) as usize).collect();
    for number in asked {
        if exists(&remote.object(&folder.join(&series.name(number)))?).await? {
            series.add(number);
        }
    }
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

async fn exists(object: &Object) -> Result<bool, SourceError> {
    match object.start(1).await {
        Ok(_) => Ok(true),
        Err(RemoteError { cause: Cause::NotFound, .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
