//! `emfs explain`.

use std::fmt::Write;
use std::path::PathBuf;

use super::output::print;
use super::{CliError, target};
use crate::catalog::{Dataset, MAIN_IMAGE};
use crate::volume::{View, ViewSpec};
use crate::zarr::StoreName;

/// Say what a name stands for, or why it is no view.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks the archive for the image's shape, but for names that no image can have.

Examples:
  emfs explain hemibrain/em.crop-z18000-19000_y18000-19000_x15000-16000.chunk-128.zarr
  emfs explain hemibrain/crop-z0-99999_y0-10_x0-10")]
pub(super) struct ExplainArgs {
    /// DATASET/NAME as below the mountpoint; the image `em` and the ending may be left out
    name: String,
    /// Datasets of your own (TOML) in place of the built-in ones
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Explains a name.
pub(super) fn run(args: &ExplainArgs) -> Result<(), CliError> {
    let catalog = target::catalog(args.config.as_deref())?;
    let (dataset, rest) = target::split(&catalog, &args.name)?;
    if rest.contains('/') {
        return Err(CliError::Failed(format!(
            "`{rest}` leads into a store; a view is named directly below its dataset"
        )));
    }
    let failed = |reason: String| CliError::Failed(format!("{}/{rest}: {reason}", dataset.name));
    let name = StoreName::parse(&complete(rest)).map_err(|error| failed(error.to_string()))?;
    let (image, spec) = meaning(dataset, &name).map_err(failed)?;
    let image = target::image(dataset, image)?;
    let pyramid = target::pyramid(&catalog, dataset, image)?;
    let view = spec.apply(&pyramid).map_err(|error| failed(error.to_string()))?;
    Ok(print(&describe(&format!("{}/{name}", dataset.name), &image.name, &view))?)
}

/// A name with what may be left out of it.
fn complete(name: &str) -> String {
    let lone = name == "v3.zarr" || name == "zarr" || name == "v3";
    let name = if name.starts_with('.') {
        format!("{MAIN_IMAGE}{name}")
    } else if lone || name.starts_with("crop-") || name.starts_with("chunk-") {
        format!("{MAIN_IMAGE}.{name}")
    } else {
        name.to_owned()
    };
    if name.ends_with(".zarr") { name } else { format!("{name}.zarr") }
}

/// The image and the view of it that a name stands for.
fn meaning<'a>(dataset: &'a Dataset, name: &'a StoreName) -> Result<(&'a str, ViewSpec), String> {
    let Some(listed) = dataset.views.iter().find(|view| view.name == name.image) else {
        return Ok((&name.image, name.view));
    };
    let image = dataset.images.get(listed.image).map_or(MAIN_IMAGE, |image| image.name.as_str());
    let view = ViewSpec { crop: Some(listed.crop), ..ViewSpec::default() };
    if name.view != ViewSpec::default() {
        return Err(format!("`{}` is a view itself, of which there are no views; write {image}{view}", listed.name));
    }
    Ok((image, view))
}

fn describe(name: &str, image: &str, view: &View) -> String {
    let mut text = format!("{name}: image {image}, {}, axes z, y, x\n", view.pyramid.dtype);
    for (number, (level, origin)) in view.pyramid.levels.iter().zip(&view.origins).enumerate() {
        let grid = &level.grid;
        let files = grid.counts().into_iter().fold(1, u64::saturating_mul);
        let bytes = grid.cell.bytes(view.pyramid.dtype.size()).unwrap_or(u64::MAX);
        let unit = if view.pyramid.calibrated { " nm" } else { "" };
        let scale = level.scale.map(|scale| scale.to_string()).join("×");
        let start = origin.map(|voxel| voxel.to_string()).join(",");
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "  s{number}: {} voxels of {scale}{unit} from {start} on, {files} chunks of {} ({bytes} bytes each)",
            grid.shape, grid.cell
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn the_image_and_the_ending_may_be_left_out() {
        for (given, complete_name) in [
            ("em", "em.zarr"),
            ("em.v3", "em.v3.zarr"),
            ("em-raw.chunk-64", "em-raw.chunk-64.zarr"),
            ("chunk-64", "em.chunk-64.zarr"),
            (".crop-z0-1_y0-1_x0-1.v3", "em.crop-z0-1_y0-1_x0-1.v3.zarr"),
            ("sample-1000.zarr", "sample-1000.zarr"),
        ] {
            assert_eq!(complete(given), complete_name);
        }
    }

    #[test]
    fn a_listed_view_is_its_crop_and_has_no_views() {
        let catalog = Catalog::builtin().unwrap();
        let dataset = catalog.datasets.iter().find(|dataset| dataset.name == "hemibrain").unwrap();
        let name = StoreName::parse("sample-1000.zarr").unwrap();
        let (image, spec) = meaning(dataset, &name).unwrap();
        assert_eq!((image, spec.to_string().as_str()), ("em", ".crop-z18000-19000_y18000-19000_x15000-16000"));
        let name = StoreName::parse("sample-1000.chunk-64.zarr").unwrap();
        assert!(meaning(dataset, &name).unwrap_err().contains("write em.crop-z18000-19000"));
    }
}
