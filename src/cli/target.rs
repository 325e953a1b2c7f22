//! An image of the catalogue as a command names it, and what its archive says of it.

use std::path::Path;
use std::sync::Arc;

use super::{CliError, serve};
use crate::archive;
use crate::catalog::{Catalog, Dataset, ImageSpec, MAIN_IMAGE};
use crate::remote::Remote;
use crate::stats::Stats;
use crate::volume::{Blocks, Image, Pyramid};

/// Memory for the voxels that an image's display window is taken from.
const MEMORY: u64 = 256 << 20;

/// The catalogue of `--config`, or the built-in one.
pub(super) fn catalog(config: Option<&Path>) -> Result<Catalog, CliError> {
    Ok(match config {
        Some(file) => Catalog::load(file)?,
        None => Catalog::builtin()?,
    })
}

/// A dataset, and the rest of the path below it; the main image where there is none.
pub(super) fn split<'a>(catalog: &'a Catalog, path: &'a str) -> Result<(&'a Dataset, &'a str), CliError> {
    let path = path.trim_end_matches('/');
    let (name, rest) = path.split_once('/').unwrap_or((path, MAIN_IMAGE));
    match catalog.datasets.iter().find(|dataset| dataset.name == name) {
        Some(dataset) => Ok((dataset, rest)),
        None => {
            let known = catalog.datasets.iter().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>().join(", ");
            Err(CliError::Failed(format!("there is no dataset `{name}`; the catalogue has {known}")))
        }
    }
}

/// The image of that name.
pub(super) fn image<'a>(dataset: &'a Dataset, name: &str) -> Result<&'a ImageSpec, CliError> {
    dataset.images.iter().find(|image| image.name == name).ok_or_else(|| {
        let known = dataset.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>().join(", ");
        CliError::Failed(format!("{} has no image `{name}`; it has {known}", dataset.name))
    })
}

/// Asks the archive for the image's pyramid.
pub(super) fn pyramid(catalog: &Catalog, dataset: &Dataset, spec: &ImageSpec) -> Result<Pyramid, CliError> {
    let name = format!("{}/{}", dataset.name, spec.name);
    let failed = |reason: String| CliError::Failed(format!("{name}: {reason}"));
    let runtime = serve::runtime()?;
    runtime.block_on(async {
        let stats = Arc::new(Stats::default());
        let remote = Remote::new(catalog.manners.clone(), serve::TIMEOUT, stats.clone())
            .map_err(|error| failed(error.to_string()))?;
        let opened = archive::open(&remote, &spec.source).await.map_err(|error| failed(error.to_string()))?;
        let blocks = Blocks::new(MEMORY, stats);
        let image = Arc::new(Image::new(0, opened.source, &blocks));
        let pyramid = image.pyramid(&blocks, &spec.source, opened.voxel_size, &name).await;
        pyramid.map_err(|error| failed(error.to_string()))
    })
}
