//! `emfs explain`.

use std::fmt::Write;

use super::CliError;
use super::config::ConfigArgs;
use super::mounted::{self, Meant};
use super::output::print;
use super::session::CacheArgs;
use super::target::{self, NamedStore, Tiff};
use crate::geometry::LevelIndex;
use crate::tiff::{TiffLayout, TiffName};
use crate::volume::View;

/// Say what a name stands for, or why it is no view.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks the archive for the image's shape, but for names that no image can have.

Examples:
  emfs explain hemibrain/em.crop-z18000-19000_y18000-19000_x15000-16000.chunk-128.zarr
  emfs explain hemibrain/crop-z0-99999_y0-10_x0-10
  emfs explain hemibrain/em.tif")]
pub(super) struct ExplainArgs {
    /// A path in a mount, or DATASET/NAME as below the mountpoint; the image `em` and the ending may be left out
    name: String,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Explains a name.
pub(super) fn run(args: &ExplainArgs) -> Result<(), CliError> {
    let Meant { catalog, path, cache, .. } = mounted::meant(&args.name, &args.config, &args.cache)?;
    let (dataset, rest) = target::split(&catalog, &path)?;
    if rest.contains('/') {
        return Err(CliError::Failed(format!(
            "`{rest}` leads into a store; a view is named directly below its dataset"
        )));
    }
    let failed = |reason: String| CliError::Failed(format!("{}/{rest}: {reason}", dataset.name));
    if rest.ends_with(TiffName::ENDING) {
        let Tiff { name, image, label, view } = target::tiff(dataset, rest)?;
        let pyramid = target::pyramid(&catalog, dataset, image, &cache)?;
        let view = match &label {
            None => view.apply(&pyramid).map(Some),
            Some(label) => {
                let label = target::pyramid(&catalog, dataset, label, &cache)?;
                view.show_label(&pyramid, &label, |view, label| view.apply(label))
            }
        };
        let view = view.map_err(|error| failed(error.to_string()))?;
        let view = view.ok_or_else(|| failed("the view leaves these labels out".to_owned()))?;
        let (place, layout) = TiffLayout::of_view(&view, label.is_some()).map_err(|error| failed(error.to_string()))?;
        return Ok(print(&describe_tiff(&format!("{}/{name}", dataset.name), &view, place, &layout))?);
    }
    let NamedStore { name, image, view, .. } = target::store(dataset, rest)?;
    let pyramid = target::pyramid(&catalog, dataset, image, &cache)?;
    let view = view.apply(&pyramid).map_err(|error| failed(error.to_string()))?;
    Ok(print(&describe(&format!("{}/{name}", dataset.name), &image.name, &view))?)
}

fn describe_tiff(name: &str, view: &View, place: usize, layout: &TiffLayout) -> String {
    let number = view.numbers.get(place).copied().unwrap_or_default();
    let shape = view.pyramid.levels.get(place).map(|level| level.grid.shape.to_string()).unwrap_or_default();
    let kind = if layout.is_classic() { "TIFF" } else { "BigTIFF, which not every program reads" };
    format!("{name}: level s{number}, {shape} voxels of {}; {kind}; {} bytes\n", view.pyramid.dtype, layout.size())
}

fn describe(name: &str, image: &str, view: &View) -> String {
    let mut text = format!("{name}: image {image}, {}, axes z, y, x\n", view.pyramid.dtype);
    for ((number, level), origin) in view.numbers.iter().zip(&view.pyramid.levels).zip(&view.origins) {
        let grid = &level.grid;
        let files = grid.counts().into_iter().fold(1, u64::saturating_mul);
        let bytes = grid.cell.bytes(view.pyramid.dtype.size()).unwrap_or(u64::MAX);
        let scale = match view.pyramid.calibrated {
            [z, y, x] if z == y && y == x => {
                format!("{}{}", level.scale.map(|scale| scale.to_string()).join("×"), if z { " nm" } else { "" })
            }
            some => {
                let each = |axis: usize| format!("{}{}", level.scale[axis], if some[axis] { " nm" } else { "" });
                [0, 1, 2].map(each).join("×")
            }
        };
        let start = origin.map(|voxel| voxel.to_string()).join(",");
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "  {}: {} voxels of {scale} from {start} on, {files} chunks of {} ({bytes} bytes each)",
            view.level_names.name(LevelIndex(*number)),
            grid.shape,
            grid.cell
        );
    }
    text
}
