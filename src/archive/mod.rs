//! From what the configuration names to an open source: archives that know images by number are asked where the file is.

mod idr;

use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::{SourceKind, SourceSpec};
use crate::remote::{Location, Remote};
use crate::source::{Source, SourceError, precomputed, tiff, zarr};

/// A source with what its archive says about it.
#[derive(Clone)]
pub struct Opened {
    /// The volume.
    pub source: Arc<dyn Source>,
    /// Where it was found.
    pub location: Location,
    /// Nanometres per voxel along `z, y, x` by the archive's own metadata, for sources that state none.
    pub voxel_size: Option<[f64; 3]>,
    /// The archive's documents about it, as they were answered.
    pub documents: Vec<Document>,
}

/// A document of an archive.
#[derive(Debug, Clone)]
pub struct Document {
    /// Where it was fetched.
    pub url: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Finds and opens the source of an image.
pub async fn open(remote: &Remote, spec: &SourceSpec) -> Result<Opened, SourceError> {
    match &spec.kind {
        SourceKind::Precomputed { url } => Ok(Opened::alone(Arc::new(precomputed::open(remote, url).await?), url)),
        SourceKind::Tiff { url } => Ok(Opened::alone(Arc::new(tiff::open(remote.object(url)?).await?), url)),
        SourceKind::Zarr { url } => Ok(Opened::alone(Arc::new(zarr::open(remote, url).await?), url)),
        SourceKind::Idr { image, server, files, url } => {
            let found = idr::find(remote, *image, server, files, url.as_ref()).await?;
            let source = tiff::open(remote.object(&found.location)?).await?;
            found.compare(*image, source.description());
            Ok(Opened {
                source: Arc::new(source),
                location: found.location,
                voxel_size: found.facts.and_then(|facts| facts.voxel_size),
                documents: found.documents,
            })
        }
    }
}

impl Opened {
    /// A source of which nothing is said elsewhere.
    fn alone(source: Arc<dyn Source>, location: &Location) -> Self {
        Opened { source, location: location.clone(), voxel_size: None, documents: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
