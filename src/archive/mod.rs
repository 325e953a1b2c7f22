//! From what the configuration names to an open source: archives that know images by number are asked where the file is.

mod empiar;
mod idr;
mod listing;
mod sections;
mod series;

use std::sync::Arc;

use crate::catalog::{DmFiles, SourceKind, SourceSpec};
use crate::document::Document;
use crate::remote::{Cause, Location, Object, Remote, RemoteError};
use crate::source::{Source, SourceError, dm3, precomputed, tiff, zarr};

/// A source with what its archive says about it.
#[derive(Clone)]
pub struct Opened {
    /// The volume.
    pub source: Arc<dyn Source>,
    /// Where it was found.
    pub location: Location,
    /// Nanometres per voxel along `z, y, x` by the archive's own metadata, for sources that state none.
    pub voxel_size: Option<[f64; 3]>,
    /// The documents that the archive and the source answered.
    pub documents: Vec<Document>,
}

/// Finds and opens the source of an image. Where that fails by what is kept of it on disk, its origin is asked.
pub async fn open(remote: &Remote, spec: &SourceSpec) -> Result<Opened, SourceError> {
    let error = match attempt(remote, spec).await {
        Err(error) if may_be_outdated(&error) => error,
        answer => return answer,
    };
    let Some(remote) = remote.doubting() else { return Err(error) };
    tracing::debug!("{error}; trying without belief in what is kept");
    match attempt(&remote, spec).await {
        Err(SourceError::Remote(RemoteError { cause: Cause::Offline(_), .. })) => Err(error),
        answer => answer,
    }
}

/// Whether an answer that was kept may be the reason.
fn may_be_outdated(error: &SourceError) -> bool {
    match error {
        SourceError::Malformed { .. } | SourceError::Unsupported { .. } => true,
        SourceError::Remote(error) => matches!(error.cause, Cause::NotFound | Cause::Changed(_) | Cause::Protocol(_)),
    }
}

async fn attempt(remote: &Remote, spec: &SourceSpec) -> Result<Opened, SourceError> {
    match &spec.kind {
        SourceKind::Precomputed { url } => Ok(Opened::alone(Arc::new(precomputed::open(remote, url).await?), url)),
        SourceKind::Tiff { url } => Ok(Opened::alone(Arc::new(tiff::open(remote.object(url)?).await?), url)),
        SourceKind::Zarr { url } => Ok(Opened::alone(Arc::new(zarr::open(remote, url).await?), url)),
        SourceKind::Idr { image, server, files, url } => {
            let found = idr::find(remote, *image, server, files, url.as_ref()).await?;
            let source = tiff::open(remote.object(&found.location)?).await?;
            found.compare(*image, source.description());
            let mut documents = found.documents;
            documents.extend(source.documents());
            Ok(Opened {
                source: Arc::new(source),
                location: found.location,
                voxel_size: found.facts.and_then(|facts| facts.voxel_size),
                documents,
            })
        }
        SourceKind::Dm3 { files } => {
            let (location, files) = dm_files(remote, files).await?;
            let configured = configured(spec);
            let source = dm3::open(objects(remote, &files)?, configured).await?;
            Ok(Opened::alone(Arc::new(source), &location))
        }
        SourceKind::Empiar { entry, server, files, imageset } => {
            let entry = empiar::Entry { number: *entry, server, files, imageset: imageset.as_deref() };
            let found = empiar::find(remote, entry).await?;
            let (said, configured) = (found.voxel_size(), configured(spec));
            let missing = std::array::from_fn(|axis| said[axis].or(configured[axis]));
            let source = dm3::open(objects(remote, &found.files)?, missing).await?;
            found.compare(source.description());
            let mut documents = found.documents;
            documents.extend(source.documents());
            Ok(Opened { source: Arc::new(source), location: found.folder, voxel_size: None, documents })
        }
    }
}

fn configured(spec: &SourceSpec) -> [Option<f64>; 3] {
    spec.voxel_size.map_or([None; 3], |size| size.map(Some))
}

fn objects(remote: &Remote, files: &[Location]) -> Result<Vec<Object>, RemoteError> {
    files.iter().map(|file| remote.object(file)).collect()
}

/// Where the files are, in the order of z, and the address that stands for all of them.
async fn dm_files(remote: &Remote, files: &DmFiles) -> Result<(Location, Vec<Location>), SourceError> {
    match files {
        DmFiles::File(file) => Ok((file.clone(), vec![file.clone()])),
        DmFiles::Folder(folder) => {
            let names = sections::find(remote, folder, None).await?;
            Ok((folder.clone(), names.iter().map(|name| folder.join(name)).collect()))
        }
        DmFiles::List(files) => match files.first() {
            Some(first) => Ok((first.clone(), files.clone())),
            None => Err(SourceError::malformed("the list of files", "urls", "is empty")),
        },
    }
}

impl Opened {
    /// A source of which nothing is said elsewhere.
    fn alone(source: Arc<dyn Source>, location: &Location) -> Self {
        let documents = source.documents();
        Opened { source, location: location.clone(), voxel_size: None, documents }
    }
}

#[cfg(test)]
mod tests;
