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
use crate::catalog::{SourceKind, SourceSpec};
use crate::document::{Document, DocumentKind};
use crate::geometry::Shape;
use crate::remote::{Cause, Location};
use crate::source::{Description, Source, SourceError};
use crate::store::{Healable, Lost, Missed, Remote, is_past_caches, past_caches};

/// Longest answer that is read. Those of an image in one file have a few kilobytes, those of thousands of files some megabytes.
const MAX_ANSWER: u64 = 4 << 20;
/// How often an answer that says "not yet" is asked for.
const ATTEMPTS: u32 = 4;
/// After what time a description is asked for again that is said to be missing.
const AGAIN: Duration = if cfg!(test) { Duration::from_millis(5) } else { Duration::from_secs(1) };
/// Longest wait before asking again, whatever the server proposes.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Where an image's files are, and what OMERO says of the image.
#[derive(Debug)]
pub(super) struct Found {
    /// All files of its import, at least one.
    files: Vec<Location>,
    /// What OMERO says of the image, where it said so.
    pub facts: Option<Facts>,
    /// Why it did not, and where it is asked for that.
    undescribed: Option<(SourceError, Location)>,
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
        describe(remote, &about, patience, image),
    );
    let (named, facts) = (of(named, heard), of(facts, heard));
    let choice = choose(named, facts, fallback)?;
    if let Some(warning) = choice.warning {
        warn!("image {image}: {warning}");
    }
    Ok(Found { files: choice.files, facts: choice.facts, undescribed: choice.undescribed.map(|error| (error, about)) })
}

/// Asks for the description of an image. That there is none is no answer before it was said again a while later.
async fn describe(remote: &Remote, about: &Location, patience: Duration, image: u64) -> Asked<Facts> {
    let ask = || ask_for(remote, about.clone(), DocumentKind::OmeroImage, patience, move |answer| answer.facts(image));
    match ask().await {
        Err(error) if is_missing(&error) => {
            tokio::time::sleep(AGAIN).await;
            past_caches(ask()).await
        }
        answer => answer,
    }
}

fn is_missing(error: &SourceError) -> bool {
    matches!(error.cause(), Some(Cause::NotFound))
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
    /// Why there are none.
    undescribed: Option<SourceError>,
    warning: Option<String>,
}

/// Without a description the image is shown only where the configuration names the file for when OMERO does not answer, or
/// where OMERO says that it has none. Anything else is no answer, and the next one may be.
fn choose(
    files: Result<Vec<Location>, SourceError>,
    facts: Result<Facts, SourceError>,
    fallback: Option<&Location>,
) -> Result<Choice, SourceError> {
    let (facts, undescribed) = match facts {
        Ok(facts) => (Some(facts), None),
        // A description that was understood and tells of more than one volume holds for the file too, however it is found.
        Err(error @ SourceError::Unsupported { .. }) => return Err(error),
        Err(error) if fallback.is_none() && !is_missing(&error) => return Err(error),
        Err(error) => (None, Some(error)),
    };
    let (files, warning) = match (files, fallback) {
        (Ok(files), _) => (files, undescribed.as_ref().map(|error| format!("OMERO does not describe it: {error}"))),
        (Err(error), Some(url)) => (
            vec![url.clone()],
            Some(format!("OMERO does not tell its file, {url} of the configuration is used: {error}")),
        ),
        (Err(error), None) => return Err(error),
    };
    Ok(Choice { files, facts, undescribed, warning })
}

impl Found {
    /// Refuses an image that OMERO does not describe and of which nothing else says how large its voxels are. One of which
    /// something does is shown, and one whose file the configuration names for when OMERO does not answer, if need be without
    /// a voxel size: OMERO is asked again as long as the result is kept, and where it says anything else of the image than is
    /// shown, that is told as a failure.
    pub(super) fn without_description(
        &self,
        remote: &Remote,
        image: u64,
        spec: &SourceSpec,
        source: &dyn Source,
    ) -> Result<Option<Missed>, SourceError> {
        let (Some((error, about)), Some(level)) = (&self.undescribed, source.description().levels.first()) else {
            return Ok(None);
        };
        let partial = source.partial_voxel_size();
        let own = level.scale.or_else(|| Some([partial[0]?, partial[1]?, partial[2]?]));
        let size = spec.overrides.voxel_size.or(own).or(spec.voxel_size);
        if size.is_none() && !matches!(spec.kind, SourceKind::Idr { url: Some(_), .. }) {
            return Err(match error {
                error if !error.is_of_bytes() => error.clone(),
                error => SourceError::malformed(
                    about.to_string(),
                    "data.Pixels",
                    format!(
                        "the image is not described ({error}), and its file states no voxel size; `voxel_size = [z, y, x]` in \
                         nanometres in the configuration says it"
                    ),
                ),
            });
        }
        let (shape, url) = (level.grid.shape, about.to_string());
        let lost = Lost {
            is_document: Box::new(move |bytes| is_otherwise(&url, bytes, image, (shape, size))),
            was: "did not describe the image, of which it says something else,",
            without: format!("image {image} is shown as its file and the configuration describe it"),
        };
        Ok(Some(Missed::new(remote, about, lost)))
    }

    /// Warns where what is at `location` is not what OMERO describes. The file is believed.
    pub(super) fn compare(&self, image: u64, location: &Location, file: &Description) {
        let (Some(facts), Some(level)) = (&self.facts, file.levels.first()) else { return };
        if facts.shape != level.grid.shape {
            let (said, is) = (facts.shape, level.grid.shape);
            warn!("image {image}: OMERO says {said} voxels (z×y×x), {location} has {is}; the file is believed");
        }
        if let (Some(said), Some(is)) = (facts.voxel_size, level.scale)
            && is_unlike(said, is)
        {
            warn!("image {image}: OMERO says voxels of {said:?} nm (z, y, x), {location} {is:?}; the file is believed");
        }
    }
}

/// Whether an answer describes an image in another way than it is shown, by its shape and voxel size.
fn is_otherwise(url: &str, bytes: &[u8], image: u64, (shape, size): (Shape, Option<[f64; 3]>)) -> bool {
    match Answer::read(url.to_owned(), bytes).and_then(|answer| answer.facts(image)) {
        Ok(facts) => {
            facts.shape != shape || facts.voxel_size.is_some_and(|said| size.is_none_or(|size| is_unlike(said, size)))
        }
        Err(error) => matches!(error, SourceError::Unsupported { .. }),
    }
}

fn is_unlike(said: [f64; 3], is: [f64; 3]) -> bool {
    said.iter().zip(is).any(|(said, is)| (said - is).abs() > 0.01 * is.abs())
}

#[cfg(test)]
mod tests;
