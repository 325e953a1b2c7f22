//! An image as whoever reads it wants it: its source opened, and the pyramid that is shown of it.

use std::sync::Arc;

use super::Kept;
use crate::catalog::SourceSpec;
use crate::document::Document;
use crate::dtype::DataType;
use crate::store::Remote;
use crate::volume::computed::KeptLevels;
use crate::volume::image_notes::ImageNotes;
use crate::volume::intensity::Intensity;
use crate::volume::{Image, Pyramid, VolumeError, intensity, window};

/// An open image.
pub struct OpenImage {
    /// Where its blocks come from.
    pub image: Arc<Image>,
    /// What it looks like.
    pub pyramid: Pyramid,
    /// The address of its voxels, as resolved.
    pub origin: String,
    /// What is computed of its voxels and kept for who opens it next.
    pub notes: ImageNotes,
    /// Statistics of its voxels that were computed before.
    pub intensity: Option<Intensity>,
    /// What archive and source said.
    pub documents: Vec<Document>,
    /// What is kept as long as it is open.
    pub kept: Arc<Kept>,
}

/// Why an image could not be opened.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct ImageFailure {
    /// The reason.
    pub error: VolumeError,
    /// What archive and source said nevertheless.
    pub documents: Vec<Document>,
}

/// Opens the image that `spec` tells of. `number`: unique in the process, for cache keys; `name`: for counters and messages.
pub async fn open_image(
    remote: &Remote,
    spec: &SourceSpec,
    number: u32,
    name: &str,
) -> Result<OpenImage, ImageFailure> {
    let opened = super::open(remote, spec).await;
    let opened =
        opened.map_err(|failure| ImageFailure { error: failure.error.into(), documents: failure.documents })?;
    let origin = opened.location.to_string();
    let found = opened.source.description();
    if let Some(finest) = found.levels.first() {
        for difference in spec.recorded.differences(finest.grid.shape.0, found.dtype.name(), found.levels.len()) {
            tracing::warn!("{name}: in the catalogue {difference}; what it has is shown");
        }
    }
    if spec.label.is_some() && matches!(found.dtype, DataType::F32 | DataType::F64) {
        let dtype = found.dtype;
        tracing::warn!(
            "{name}: labels of {dtype}, where OME-NGFF has integers and viewers, napari among them, refuse others; write them as \
             integers, in ImageJ by Image › Type › 16-bit or in Python by `labels.astype(\"uint32\")`"
        );
    }
    let image = Image::new(number, name, opened.source, opened.place);
    let key = || format!("{} {}", Remote::key(&opened.location), spec.digest());
    let kept = remote.disk().map(|disk| KeptLevels::new(disk.clone(), &key()));
    let image = Arc::new(image.with_computed(spec, opened.voxel_size, kept));
    let notes = ImageNotes::of(super::of_source(remote, spec), &origin, &*image.source, spec);
    let measured = window::kept(&notes, image.source.description(), spec).await;
    let intensity = intensity::kept(&notes).await;
    match image.pyramid(spec, opened.voxel_size, measured, name) {
        Ok(pyramid) => {
            Ok(OpenImage { image, pyramid, origin, notes, intensity, documents: opened.documents, kept: opened.kept })
        }
        Err(error) => Err(ImageFailure { error, documents: opened.documents }),
    }
}
