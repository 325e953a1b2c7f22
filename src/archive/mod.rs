//! From what the configuration names to an open source: archives that know images by number are asked where the file is.

mod empiar;
mod files;
mod format;
mod idr;
mod image;
mod listing;
mod naming;
mod sections;
mod series;

use std::sync::Arc;

use self::format::ArchiveFormat;
use crate::cache::{FetchPlace, Reservation};
use crate::catalog::{SourceKind, SourceSpec};
use crate::document::Document;
use crate::remote::Location;
use crate::source::coarser::Coarser;
use crate::source::zarr::{self, Selection, ZarrSource};
use crate::source::{Source, SourceError, precomputed};
use crate::store::{Healable, Missed, Remote, healed};

pub use self::image::{ImageFailure, OpenImage, open_image};

/// A source with what its archive says about it.
#[derive(Clone)]
pub struct Opened {
    /// The volume.
    pub source: Arc<dyn Source>,
    /// Where it was found.
    pub location: Location,
    /// Who has to answer there.
    pub place: FetchPlace,
    /// Nanometres per voxel along `z, y, x` by the archive's own metadata, for sources that state none.
    pub voxel_size: Option<[f64; 3]>,
    /// The documents that the archive and the source answered.
    pub documents: Vec<Document>,
    /// What is kept as long as it is open.
    pub kept: Arc<Kept>,
}

/// What is kept as long as a source is open.
#[derive(Debug)]
pub struct Kept {
    /// What it takes of the memory for that.
    _memory: Reservation,
    /// What was done without, which is looked for.
    _missed: Option<Missed>,
}

/// Why a source could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct OpenFailure {
    /// The reason.
    pub error: SourceError,
    /// What the archive answered nevertheless.
    pub documents: Vec<Document>,
}

/// An open source.
struct Found {
    source: Arc<dyn Source>,
    location: Location,
    /// By its archive.
    voxel_size: Option<[f64; 3]>,
    /// Memory that was counted before the source could be asked what it takes.
    counted: Option<Reservation>,
    /// What the archive did not say.
    missed: Option<Missed>,
}

impl Found {
    fn at(source: impl Source + 'static, location: &Location) -> Found {
        Found { source: Arc::new(source), location: location.clone(), voxel_size: None, counted: None, missed: None }
    }
}

impl Healable for OpenFailure {
    fn is_of_bytes(&self) -> bool {
        self.error.is_of_bytes()
    }
}

/// What gives the objects of an image's source.
fn of_source(remote: &Remote, spec: &SourceSpec) -> Remote {
    // All channels of a file or store change together.
    let all = SourceSpec { channel: None, first_level: None, ..spec.clone() };
    remote.of_source(&format!("{} {}", spec.kind.address(), all.digest()))
}

/// Finds and opens the source of an image.
pub async fn open(remote: &Remote, spec: &SourceSpec) -> Result<Opened, OpenFailure> {
    let remote = &of_source(remote, spec);
    healed(|| attempt(remote, spec)).await
}

async fn attempt(remote: &Remote, spec: &SourceSpec) -> Result<Opened, OpenFailure> {
    let mut documents = Vec::new();
    match find(remote, spec, &mut documents).await {
        Ok(Found { source, location, voxel_size, counted: before, missed }) => {
            documents.extend(source.documents());
            let documents = counted(remote, documents);
            drop(before);
            let kept = remote.desk().keep(source.kept());
            let kept = kept.map_err(|error| SourceError::malformed(location.to_string(), "index", error.to_string()));
            match kept.and_then(|kept| Ok((kept, remote.object(&location)?))) {
                Ok((kept, object)) => {
                    let place = object.place().clone();
                    let kept = Arc::new(Kept { _memory: kept, _missed: missed });
                    Ok(Opened { place, source, location, voxel_size, documents, kept })
                }
                Err(error) => Err(OpenFailure { error, documents }),
            }
        }
        Err(error) => Err(OpenFailure { error, documents: counted(remote, documents) }),
    }
}

/// The documents for which there is memory. What is shown to people is no reason to keep from them what they came for.
fn counted(remote: &Remote, documents: Vec<Document>) -> Vec<Document> {
    let count = |document: Document| match remote.desk().keep(document.content.held() as u64) {
        Ok(kept) => Some(document.counted(kept)),
        Err(error) => {
            tracing::warn!("{} is not shown as {}: {error}", document.url, document.name);
            None
        }
    };
    documents.into_iter().filter_map(count).collect()
}

/// Finds and opens it; what the archive answers goes to `heard` at once, because what comes after may fail.
async fn find(remote: &Remote, spec: &SourceSpec, heard: &mut Vec<Document>) -> Result<Found, SourceError> {
    Ok(match &spec.kind {
        SourceKind::Precomputed { url } => {
            let source = precomputed::open(remote, url, spec.channel).await?;
            // It may have moved.
            let place = source.folder().clone();
            leveled(source, &place, spec.first_level.unwrap_or(0))?
        }
        SourceKind::N5 { url } => of_zarr(zarr::open_n5(remote, url, selection(spec)).await?, url, spec)?,
        SourceKind::Zarr { url } => of_zarr(zarr::open(remote, url, selection(spec)).await?, url, spec)?,
        SourceKind::Idr { image, server, files, url } => {
            let numbered = idr::Found::numbered(spec);
            let opening = async {
                let found = idr::find(remote, *image, server, files, url.as_ref(), heard).await?;
                let said = found.facts.as_ref().and_then(|facts| facts.voxel_size);
                let missing = said.map_or(configured(spec), |size| size.map(Some));
                let volume = found.volume(*image, &spec.overrides)?;
                let opened = files::open(remote, ArchiveFormat::Tiff, &volume, (&numbered, missing)).await?;
                found.check_whole(*image, &spec.overrides, opened.source.description())?;
                let missed = found.without_description(remote, *image, spec, opened.source.as_ref())?;
                found.compare(*image, &opened.location, opened.source.description());
                Ok::<_, SourceError>((Found { missed, ..opened }, found))
            };
            let (opened, notes) = futures::join!(opening, idr::notes(remote, *image, server));
            heard.extend(notes);
            let (opened, found) = opened?;
            Found { voxel_size: found.facts.and_then(|facts| facts.voxel_size), ..opened }
        }
        SourceKind::Dm3 { files } => files::open(remote, ArchiveFormat::Dm, files, (spec, configured(spec))).await?,
        SourceKind::Tiff { files } => files::open(remote, ArchiveFormat::Tiff, files, (spec, configured(spec))).await?,
        SourceKind::Mrc { files } => files::open(remote, ArchiveFormat::Mrc, files, (spec, configured(spec))).await?,
        SourceKind::Empiar { entry, server, files, imageset } => {
            let entry = empiar::EntrySpec { number: *entry, server, files, imageset: imageset.as_deref() };
            let found = empiar::find(remote, entry, &spec.overrides, heard).await?;
            let (said, configured) = (found.voxel_size(), configured(spec));
            let missing = std::array::from_fn(|axis| said[axis].or(configured[axis]));
            let opened = files::of_folder(remote, &found.sections, (spec, missing)).await?;
            found.compare(opened.source.description());
            Found { counted: Some(found.sections.kept), ..opened }
        }
    })
}

/// A source of a format with levels, from that level on which the configuration says to be the first one with voxels.
fn leveled(source: impl Source, location: &Location, first: u8) -> Result<Found, SourceError> {
    Ok(match first {
        0 => Found::at(source, location),
        first => Found::at(Coarser::new(Box::new(source), first, &location.to_string())?, location),
    })
}

/// The same of one of whose levels those that are finer need not be there.
fn of_zarr(source: ZarrSource, location: &Location, spec: &SourceSpec) -> Result<Found, SourceError> {
    let (finer, count) = (source.finer(), source.description().levels.len());
    let first = if usize::from(finer) < count { finer } else { spec.first_level.unwrap_or(0) };
    leveled(source, location, first)
}

fn selection(spec: &SourceSpec) -> Selection {
    Selection { channel: spec.channel, first_level: spec.first_level.unwrap_or(0) }
}

fn configured(spec: &SourceSpec) -> [Option<f64>; 3] {
    spec.voxel_size.map_or([None; 3], |size| size.map(Some))
}

#[cfg(test)]
mod tests;
