//! The sections of a volume: numbered DM3 or DM4 files of a folder.
//!
//! A file server may be several ones behind one name whose listings differ, so a name that is not in the listing but would
//! make up the number of files that somebody promised is asked for.

use tracing::warn;

use super::listing;
use super::series::Series;
use crate::remote::{Cause, Location, RemoteError};
use crate::source::SourceError;
use crate::store::{Object, Remote};

/// Names that are asked for at most.
const MOST_ASKED: u64 = 64;
/// Names that a line of the log tells.
const MOST_TOLD: usize = 16;
/// Endings of files that are sections.
const ENDINGS: [&str; 2] = [".dm3", ".dm4"];

/// The names of the sections in a folder by their numbers, `promised` of them where somebody said so.
pub(super) async fn find(
    remote: &Remote,
    folder: &Location,
    promised: Option<u64>,
) -> Result<Vec<String>, SourceError> {
    let failed = |reason: String| SourceError::malformed(folder.to_string(), "listing", reason);
    let mut names = listing::files(remote, folder).await?;
    // macOS puts a file `._name` beside each one on disks of others.
    let hidden = |name: &str| name.starts_with('.');
    names.retain(|name| !hidden(name) && ENDINGS.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending)));
    if names.is_empty() {
        return Err(failed("has no DM3 or DM4 file".into()));
    }
    let mut series = Series::find(&names, promised).map_err(failed)?;
    if !series.strangers.is_empty() {
        let (told, more) = series.strangers.split_at(series.strangers.len().min(MOST_TOLD));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        warn!("{folder}: left out, as they are not numbered like the others: {}{more}", told.join(", "));
    }
    if let Some(promised) = promised {
        complete(remote, folder, &mut series, promised).await?;
    }
    series.names().map_err(failed)
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
