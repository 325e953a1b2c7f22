//! Images of the Image Data Resource, or of another OMERO server whose original files are public.
//!
//! OMERO knows an image by number. Two of its routes answer anonymous programs: `/api/v0/m/images/<id>/` describes the
//! image (sizes, physical sizes), `/webgateway/original_file_paths/<id>/` names its files by the paths they were imported
//! from, which are their places on the archive's file server too. Others tell what people noted about the image and
//! about its study.

mod answer;
mod fileset;
mod notes;

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;
use url::Url;

use self::answer::{Answer, Facts};
pub(super) use self::notes::notes;
use crate::document::{Document, DocumentKind};
use crate::remote::Location;
use crate::source::{Description, SourceError};
use crate::store::{Healable, Remote, is_past_caches, past_caches};

/// Longest answer that is read. Those of an image in one file have a few kilobytes, those of thousands of files some megabytes.
const MAX_ANSWER: u64 = 4 << 20;
/// How often an answer that says "not yet" is asked for.
const ATTEMPTS: u32 = 4;
/// Longest wait before asking again, whatever the server proposes.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Where an image's files are, and what OMERO says of the image.
#[derive(Debug)]
pub(super) struct Found {
    /// All files of its import, at least one.
    files: Vec<Location>,
    /// What OMERO says of the image, where it said so.
    pub facts: Option<Facts>,
}

/// Asks `server` for the files of `image`, which are below `files`; `fallback` is taken where the server has no answer.
/// The answers go to `heard`.
pub(super) async fn find(
    remote: &Remote,
    image: u64,
    server: &Url,
    files: &Url,
    fallback: Option<&Location>,
    heard: &mut Vec<Document>,
) -> Result<Found, SourceError> {
    let server = Location::anonymous(server.clone());
    let files = Location::anonymous(files.clone());
    // Where there is another way to the file, a silent server must not use up the time of who waits for it.
    let patience = fallback.map_or(Duration::MAX, |_| remote.timeout() / 4);
    let paths = server.join(&format!("webgateway/original_file_paths/{image}/"));
    let about = server.join(&format!("api/v0/m/images/{image}/"));
    let (named, facts) = futures::join!(
        ask_for(remote, paths, DocumentKind::OmeroFiles, patience, move |answer| answer.files(&files)),
        ask_for(remote, about, DocumentKind::OmeroImage, patience, move |answer| answer.facts(image)),
    );
    let (named, facts) = (of(named, heard), of(facts, heard));
    let choice = choose(named, facts, fallback)?;
    if let Some(warning) = choice.warning {
        warn!("image {image}: {warning}");
    }
    Ok(Found { files: choice.files, facts: choice.facts })
}

/// What was needed of an answer, and the answer for people.
type Asked<T> = Result<(Result<T, SourceError>, Option<Document>), SourceError>;

/// What was needed; the answer goes to `heard`.
fn of<T>(asked: Asked<T>, heard: &mut Vec<Document>) -> Result<T, SourceError> {
    let (needed, document) = asked?;
    heard.extend(document);
    needed
}

/// [`ask`], for no longer than `patience`. No single answer is final: one of which nothing can be made is asked for once more.
async fn ask_for<T: Send + 'static>(
    remote: &Remote,
    location: Location,
    kind: DocumentKind,
    patience: Duration,
    needed: impl Fn(&Answer) -> Result<T, SourceError> + Send + Sync + 'static,
) -> Asked<T> {
    let url = location.to_string();
    let needed = Arc::new(needed);
    let ask = || ask(remote, location.clone(), kind.clone(), Arc::clone(&needed));
    let asked = async {
        match ask().await {
            Err(error) | Ok((Err(error), _)) if error.is_of_bytes() && !is_past_caches() => past_caches(ask()).await,
            answer => answer,
        }
    };
    let answer = tokio::time::timeout(patience, asked).await;
    answer.unwrap_or_else(|_| {
        let reason = format!("none within {} s", patience.as_secs_f64());
        Err(SourceError::malformed(url, "answer", reason))
    })
}

/// Fetches one answer; a server that is still preparing it is asked again a few times.
async fn ask<T: Send + 'static>(
    remote: &Remote,
    location: Location,
    kind: DocumentKind,
    needed: Arc<impl Fn(&Answer) -> Result<T, SourceError> + Send + Sync + 'static>,
) -> Asked<T> {
    let mut attempt = 1;
    loop {
        // A handle remembers the ETag of what it saw, and a later answer may differ.
        let object = remote.object(&location)?;
        let bytes = object.document(MAX_ANSWER).await?;
        let (kind, url, needed) = (kind.clone(), object.url().to_owned(), Arc::clone(&needed));
        // Nothing else of it is kept while something else is asked for.
        let work = move || {
            let answer = Answer::read(url.clone(), &bytes)?;
            Ok(answer.busy().ok_or_else(|| (needed(&answer), Document::fetched(kind, url, &bytes))))
        };
        let lost = || Err(SourceError::malformed(object.url(), "body", "could not be read"));
        match object.desk().work(work).await.unwrap_or_else(lost)? {
            Err((needed, document)) => {
                return Ok((needed, document.map(|document| document.retrieved_at(object.confirmed()))));
            }
            Ok(_) if attempt == ATTEMPTS => {
                let reason = format!("still so after {ATTEMPTS} attempts");
                return Err(SourceError::malformed(object.url(), "ConcurrencyException", reason));
            }
            Ok(wait) => tokio::time::sleep(wait.min(MAX_WAIT)).await,
        }
        attempt += 1;
    }
}

/// What is made of the two answers.
#[derive(Debug)]
struct Choice {
    files: Vec<Location>,
    facts: Option<Facts>,
    warning: Option<String>,
}

fn choose(
    files: Result<Vec<Location>, SourceError>,
    facts: Result<Facts, SourceError>,
    fallback: Option<&Location>,
) -> Result<Choice, SourceError> {
    let (facts, undescribed) = match facts {
        Ok(facts) => (Some(facts), None),
        // A description that was understood and tells of more than one volume holds for the file too, however it is found.
        Err(error @ SourceError::Unsupported { .. }) => return Err(error),
        Err(error) => (None, Some(error)),
    };
    let (files, warning) = match (files, fallback) {
        (Ok(files), _) => (files, undescribed.map(|error| format!("OMERO does not describe it: {error}"))),
        (Err(error), Some(url)) => (
            vec![url.clone()],
            Some(format!("OMERO does not tell its file, {url} of the configuration is used: {error}")),
        ),
        (Err(error), None) => return Err(error),
    };
    Ok(Choice { files, facts, warning })
}

impl Found {
    /// Warns where what is at `location` is not what OMERO describes. The file is believed.
    pub(super) fn compare(&self, image: u64, location: &Location, file: &Description) {
        let (Some(facts), Some(level)) = (&self.facts, file.levels.first()) else { return };
        if facts.shape != level.grid.shape {
            let (said, is) = (facts.shape, level.grid.shape);
            warn!("image {image}: OMERO says {said} voxels (z×y×x), {location} has {is}; the file is believed");
        }
        if let (Some(said), Some(is)) = (facts.voxel_size, level.scale)
            && said.iter().zip(is).any(|(said, is)| (said - is).abs() > 0.01 * is.abs())
        {
            warn!("image {image}: OMERO says voxels of {said:?} nm (z, y, x), {location} {is:?}; the file is believed");
        }
    }
}

#[cfg(test)]
mod tests;
