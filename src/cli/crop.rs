//! `emfs crop`.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::config::ConfigArgs;
use super::mounted::{self, Meant};
use super::output::{eprint_line, print};
use super::session::CacheArgs;
use super::target::{self, NamedStore};
use super::{CliError, size};
use crate::catalog::{Catalog, Dataset, ImageSpec};
use crate::geometry::{Region, Shape};
use crate::http::viewers::{Seen, SeenLayer};
use crate::sample::random::below;
use crate::view::{ViewError, ViewSpec};
use crate::volume::{Level, Pyramid};
use crate::zarr::{Format, StoreName};

/// Print the name of a random crop.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The box is drawn from --within, else from where the catalogue says there is tissue, else from the whole image. The same
seed gives the same box; one that is drawn is told on stderr.

Examples:
  emfs crop hemibrain --size 1000
  emfs crop --from-neuroglancer 'https://…/#!…' --size 128
  cp -r \"/mnt/em/$(emfs crop hemibrain --size 128x256x256 --seed 7 --chunk 64)\" crop.zarr")]
pub(super) struct CropArgs {
    /// DATASET or DATASET/IMAGE, or a path to one in a mount
    #[arg(required_unless_present = "from_neuroglancer")]
    image: Option<String>,
    /// What this link to neuroglancer looks at, rather than a random place
    #[arg(long, value_name = "URL", conflicts_with_all = ["image", "seed", "within"])]
    from_neuroglancer: Option<String>,
    /// Extent of the crop in voxels: N or ZxYxX
    #[arg(long, value_name = "N|ZxYxX", value_parser = sizes)]
    size: [f64; 3],
    /// Seed of the draw [default: a random one]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Draw inside this box: zA-B_yA-B_xA-B
    #[arg(long, value_name = "BOX", value_parser = |text: &str| ViewSpec::parse_box(text))]
    within: Option<Region>,
    /// The size is in nanometres
    #[arg(long)]
    nm: bool,
    /// Chunk shape of the view: N or ZxYxX
    #[arg(long, value_name = "N|ZxYxX", value_parser = chunk)]
    chunk: Option<ViewSpec>,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Draws a crop and prints its path below the mountpoint.
pub(super) fn run(args: &CropArgs) -> Result<(), CliError> {
    let seen = args.from_neuroglancer.as_deref().map(|link| Seen::parse(link).map_err(CliError::Failed)).transpose()?;
    let image = match seen.as_ref().and_then(|seen| seen.layers.first()) {
        Some(layer) => format!("{}/{}", layer.dataset, layer.store),
        None => args.image.clone().unwrap_or_default(),
    };
    let Meant { catalog, path: given, cache, .. } = mounted::meant(&image, &args.config, &args.cache)?;
    let shown = seen.as_ref().map(|seen| shown(&catalog, seen)).transpose()?;
    let (dataset, spec) = match &shown {
        Some(shown) => (shown.store.dataset, shown.store.image),
        None => {
            let (dataset, name) = target::split(&catalog, &given)?;
            let name = name.strip_suffix(".zarr").unwrap_or(name);
            (dataset, target::image(dataset, name.strip_suffix(".v3").unwrap_or(name))?)
        }
    };
    // Where the catalogue says all that is needed, nobody is asked.
    let suits = args.chunk.and_then(|view| view.chunk).is_none_or(ViewSpec::suits_any_type);
    let pyramid = match (args.within, spec.source.tissue, args.nm || !suits || seen.is_some()) {
        (None, Some(_), false) => None,
        _ => Some(target::pyramid(&catalog, dataset, spec, &cache)?),
    };
    let seed = args.seed.unwrap_or_else(rand::random);
    let place = shown.as_ref().zip(pyramid.as_ref()).map(|(shown, pyramid)| shown.place(pyramid)).transpose();
    let view = place
        .and_then(|place| draw(args, spec, pyramid.as_ref(), seed, place))
        .map_err(|reason| CliError::Failed(format!("{}/{}: {reason}", dataset.name, spec.name)))?;
    if args.seed.is_none() && seen.is_none() {
        eprint_line(&format!("seed {seed}"));
    }
    Ok(print(&path(dataset, spec, view))?)
}

/// The layer of a link that is meant.
struct Shown<'a> {
    seen: &'a Seen,
    layer: &'a SeenLayer,
    store: NamedStore<'a>,
}

/// The first layer that shows something of the catalogue.
fn shown<'a>(catalog: &'a Catalog, seen: &'a Seen) -> Result<Shown<'a>, CliError> {
    let mut wrong = None;
    for layer in &seen.layers {
        let found =
            target::split(catalog, &layer.dataset).and_then(|(dataset, _)| target::store(dataset, &layer.store));
        match found {
            Ok(store) => return Ok(Shown { seen, layer, store }),
            // Why the one that is most likely meant is none.
            Err(error) => wrong = wrong.or(Some(error)),
        }
    }
    Err(wrong.unwrap_or_else(|| CliError::Failed("the link shows no store of emfs".to_owned())))
}

impl Shown<'_> {
    /// The place in its centre.
    fn place(&self, pyramid: &Pyramid) -> Result<[f64; 3], String> {
        let finest = self.store.view.level.map_or(0, |level| usize::from(level.0));
        let level = pyramid.levels.get(finest).ok_or("the image has no level as the link shows it")?;
        self.seen.place(self.layer, level.scale, pyramid.calibrated)
    }
}

fn path(dataset: &Dataset, spec: &ImageSpec, view: ViewSpec) -> String {
    format!("{}/{}\n", dataset.name, StoreName { image: spec.name.clone(), view, format: Format::V2 })
}

fn draw(
    args: &CropArgs,
    spec: &ImageSpec,
    pyramid: Option<&Pyramid>,
    seed: u64,
    place: Option<[f64; 3]>,
) -> Result<ViewSpec, String> {
    let finest = pyramid.and_then(|pyramid| pyramid.levels.first());
    // Before a crop is drawn, which lies in the image or not as the seed has it.
    if let (Some(within), Some(pyramid)) = (args.within, pyramid) {
        let within = ViewSpec { crop: Some(within), ..ViewSpec::default() };
        within.apply(pyramid).map_err(|error| format!("--within: {error}"))?;
    }
    let whole = finest.map(|level| level.grid.shape.region());
    let within = args.within.or(spec.source.tissue).or(whole).ok_or("the image has no level")?;
    let voxel = match (args.nm, finest) {
        (true, Some(level)) if pyramid.is_some_and(Pyramid::is_calibrated) => level.scale,
        (true, _) => {
            return Err("no voxel size is known along all axes, so a size in nanometres means nothing".to_owned());
        }
        (false, _) => [1.0; 3],
    };
    // A float cast saturates: too large a size is refused below as any other that does not fit.
    let size = std::array::from_fn(|axis| ((args.size[axis] / voxel[axis]).round() as u64).max(1));
    let crop = match (place, finest) {
        (Some(place), Some(level)) => box_around(place, level, Shape(size))?,
        _ => random_box(within, Shape(size), seed)?,
    };
    let view = ViewSpec { crop: Some(crop), chunk: args.chunk.and_then(|spec| spec.chunk), ..ViewSpec::default() };
    if let Some(pyramid) = pyramid {
        view.apply(pyramid).map_err(|error| error.to_string())?;
    }
    Ok(view)
}

/// The box of `size` voxels around a place (nm, or voxels where no length is known), moved into the image where it sticks out.
fn box_around(place: [f64; 3], level: &Level, size: Shape) -> Result<Region, String> {
    let mut crop = Region { start: [0; 3], end: [0; 3] };
    for (axis, place) in place.into_iter().enumerate() {
        let (extent, all) = (size.0[axis], level.grid.shape.0[axis]);
        let Some(slack) = all.checked_sub(extent) else {
            return Err(format!("a crop of {size} voxels does not fit into the image's {}", level.grid.shape));
        };
        let index = ((place - level.translation[axis]) / level.scale[axis]).round();
        if index < 0.0 || index >= all as f64 {
            return Err(format!("the link looks at a place outside the image ({} voxels)", level.grid.shape));
        }
        crop.start[axis] = (index as u64).saturating_sub(extent / 2).min(slack);
        crop.end[axis] = crop.start[axis] + extent;
    }
    Ok(crop)
}

/// A box of `size` voxels anywhere in `within`, all places being equally likely. The same for ever for a seed.
fn random_box(within: Region, size: Shape, seed: u64) -> Result<Region, String> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut crop = Region { start: [0; 3], end: [0; 3] };
    for axis in 0..3 {
        let (extent, available) = (size.0[axis], within.shape().0[axis]);
        let Some(slack) = available.checked_sub(extent) else {
            let name = ViewSpec { crop: Some(within), ..ViewSpec::default() }.to_string();
            let within = within.shape();
            let name = name.trim_start_matches(".crop-");
            return Err(format!("a crop of {size} voxels does not fit into {within} voxels ({name}; see --within)"));
        };
        // The slack is smaller than any extent of an image, which 64 bits count.
        crop.start[axis] = within.start[axis] + below(&mut random, slack.saturating_add(1));
        crop.end[axis] = crop.start[axis] + extent;
    }
    Ok(crop)
}

/// Extents of a crop.
fn sizes(text: &str) -> Result<[f64; 3], String> {
    size::per_axis(text, |text| {
        let size = text.parse::<f64>().ok().filter(|size| size.is_finite() && *size > 0.0);
        size.ok_or_else(|| format!("`{text}` is no extent above 0"))
    })
}

/// The view with chunks of a shape.
fn chunk(text: &str) -> Result<ViewSpec, ViewError> {
    ViewSpec::parse(&format!(".chunk-{}", text.replace(',', "x")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TISSUE: Region = Region { start: [18000, 18000, 15000], end: [20000, 20000, 17000] };

    fn name(seed: u64) -> String {
        let crop = random_box(TISSUE, Shape([1000; 3]), seed).unwrap();
        ViewSpec { crop: Some(crop), ..ViewSpec::default() }.to_string()
    }

    #[test]
    fn a_seed_gives_the_same_crop_for_ever() {
        for (seed, golden) in [
            (0, ".crop-z18709-19709_y18466-19466_x15699-16699"),
            (1, ".crop-z18402-19402_y18080-19080_x15597-16597"),
            (7, ".crop-z18157-19157_y18168-19168_x15704-16704"),
            (u64::MAX, ".crop-z18684-19684_y18428-19428_x15381-16381"),
        ] {
            assert_eq!(name(seed), golden, "{seed}");
        }
    }

    #[test]
    fn a_crop_that_does_not_fit_is_an_error() {
        let error = random_box(TISSUE, Shape([2001, 1, 1]), 0).unwrap_err();
        assert_eq!(
            error,
            "a crop of 2001×1×1 voxels does not fit into 2000×2000×2000 voxels \
             (z18000-20000_y18000-20000_x15000-17000; see --within)"
        );
        assert_eq!(random_box(TISSUE, TISSUE.shape(), 5), Ok(TISSUE));
    }

    #[test]
    fn sizes_are_one_number_or_three() {
        assert_eq!(sizes("64"), Ok([64.0; 3]));
        assert_eq!(sizes("1x2.5x3"), Ok([1.0, 2.5, 3.0]));
        assert_eq!(sizes("1,2.5,3"), Ok([1.0, 2.5, 3.0]));
        for wrong in ["", "0", "-1", "1,2", "1,2,3,4", "nan", "inf", "a"] {
            assert!(sizes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_shape_of_chunks_is_separated_as_the_size_is() {
        let shape = |text| chunk(text).ok().and_then(|view| view.chunk);
        assert_eq!((shape("8x16x64"), shape("8,16,64")), (Some(Shape([8, 16, 64])), Some(Shape([8, 16, 64]))));
        assert_eq!(shape("8,16"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn a_crop_lies_in_its_box(
            start in proptest::array::uniform3(0u64..1 << 40), sides in proptest::array::uniform3(1u64..1 << 20),
            part in proptest::array::uniform3(0u64..1 << 20), seed in any::<u64>(),
        ) {
            let within = Region { start, end: std::array::from_fn(|axis| start[axis] + sides[axis]) };
            let size = Shape(std::array::from_fn(|axis| 1 + part[axis] % sides[axis]));
            let crop = random_box(within, size, seed).unwrap();
            prop_assert_eq!(crop.shape(), size);
            prop_assert_eq!(crop.intersection(&within), Some(crop));
        }
    }
}
