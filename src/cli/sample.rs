//! `emfs sample`.

pub(super) mod field;
mod inside;

use clap::ValueEnum;

use self::field::{LevelChoice, SampledLevel};
use self::inside::InsideArg;
use super::output::{eprint_line, print};
use super::place::{self, ImagePlace};
use super::session::{ReadArgs, Session, finish};
use super::{CliError, mounted, size};
use crate::geometry::{LevelIndex, Region, Shape};
use crate::sample::list::{self, Sample};
use crate::sample::split::{self, SplitShare};
use crate::sample::{
    DrawRule, Drawn, Everywhere, Ground, RULE, Regions, SampleError, VoxelReader, draw, native_blocks,
};
use crate::view::ViewSpec;

/// Memory for blocks, and a quarter of it for what is put together of them.
pub(super) const MEMORY: u64 = 512 << 20;

/// Longest side of a sample or region.
const MAX_SIDE: u64 = 1 << 20;

/// Most samples of a list.
const MAX_SAMPLES: u64 = 10_000_000;

/// Print a list of places to train on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The same arguments print the same list on every machine. Its header says how it was drawn; `emfs help ml` has the rules. Needs
no mount. Places are drawn from --within, else from where the catalogue says there is tissue, else from the whole image.

Examples:
  emfs sample epfl-hippocampus/training --count 1000 --seed 7 > list.csv
  emfs sample hemibrain jrc_mus-nacc-2 --count 10000 --voxel-size 8 --region 256x8 --split train:0.8,val:0.1,test:0.1
  emfs sample epfl-hippocampus/training --count 500 --size 64 --inside mitochondria --fraction 0.05
  emfs warm --list list.csv                    # fetch what the list needs")]
pub(super) struct SampleArgs {
    /// DATASET or DATASET/NAME, once or more; image `em` may be left out
    #[arg(required = true, value_name = "DATASET[/NAME]")]
    names: Vec<String>,
    /// How many places
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_SAMPLES))]
    count: u64,
    /// Extent of a sample in voxels of its level: N or ZxYxX
    #[arg(long, value_name = "N|ZxYxX", default_value = "128", value_parser = shape)]
    size: Shape,
    /// Seed of the draw
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The level to sample [default: the finest]
    #[arg(long, value_name = "sN", value_parser = place::level, conflicts_with = "voxel_size")]
    level: Option<LevelIndex>,
    /// Sample each image at its level whose voxels are nearest to so many nanometres
    #[arg(long, value_name = "NM", value_parser = nanometres)]
    voxel_size: Option<f64>,
    /// Draw inside this box of s0: zA-B_yA-B_xA-B
    #[arg(long, value_name = "BOX", value_parser = |text: &str| ViewSpec::parse_box(text))]
    within: Option<Region>,
    /// Only places inside these labels of the image: all but 0, or the values told
    #[arg(long, value_name = "LABEL[=V,…]", value_parser = InsideArg::parse)]
    inside: Option<InsideArg>,
    /// The share of a place that has to be inside
    #[arg(long, value_name = "SHARE", default_value = "0.9", value_parser = fraction)]
    fraction: f64,
    /// Read only places of which this level of the labels has any inside, before their finest one judges: quicker where little is
    /// inside, and without what that level has lost [default: s0]
    #[arg(long, value_name = "sN", value_parser = place::level, requires = "inside")]
    mask_level: Option<LevelIndex>,
    /// Draw so many places at a time from a random region: 256x8 is eight from 256×256×256 voxels
    #[arg(long, value_name = "SIDExN|ZxYxXxN", value_parser = regions)]
    region: Option<Regions>,
    /// How places are divided among images
    #[arg(long, value_enum, default_value_t = Weights::ByVolume)]
    weights: Weights,
    /// Divide the places into splits that share no voxel
    #[arg(long, value_name = "NAME:SHARE,…", value_parser = Shares::parse)]
    split: Option<Shares>,
    /// Extent of the blocks of space that belong to one split [default: two samples or regions]
    #[arg(long, value_name = "N|ZxYxX", value_parser = shape, requires = "split")]
    split_block: Option<Shape>,
    /// Voxels between places of different splits at least [default: an eighth of a sample]
    #[arg(long, value_name = "N|ZxYxX", value_parser = margin, requires = "split")]
    margin: Option<Shape>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Weights {
    /// By the voxels that they are drawn from
    ByVolume,
    /// As many of each
    Equal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Json,
}

/// Shares of splits, which are one argument.
#[derive(Debug, Clone)]
struct Shares(Vec<SplitShare>);

impl Shares {
    fn parse(text: &str) -> Result<Shares, String> {
        split::parse(text).map(Shares)
    }
}

fn extent(text: &str) -> Result<u64, String> {
    let extent = text.parse::<u64>().ok().filter(|extent| (1..=MAX_SIDE).contains(extent));
    extent.ok_or_else(|| format!("`{text}` is no number from 1 to {MAX_SIDE}"))
}

/// The shape of an argument such as `128` or `64x128x128`.
pub(super) fn shape(text: &str) -> Result<Shape, String> {
    size::per_axis(text, extent).map(Shape)
}

fn margin(text: &str) -> Result<Shape, String> {
    size::per_axis(text, |text| if text == "0" { Ok(0) } else { extent(text) }).map(Shape)
}

fn regions(text: &str) -> Result<Regions, String> {
    let parts = text.split('x').map(extent).collect::<Result<Vec<_>, _>>()?;
    match parts[..] {
        [side, samples] => Ok(Regions { shape: Shape([side; 3]), samples }),
        [z, y, x, samples] => Ok(Regions { shape: Shape([z, y, x]), samples }),
        _ => Err("must be SIDExN or ZxYxXxN, such as 256x8".to_owned()),
    }
}

fn nanometres(text: &str) -> Result<f64, String> {
    let length = text.parse::<f64>().ok().filter(|length| length.is_finite() && *length > 0.0);
    length.ok_or_else(|| "must be a number of nanometres above 0".to_owned())
}

fn fraction(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "must be above 0 and at most 1".to_owned())
}

impl From<SampleError> for CliError {
    fn from(error: SampleError) -> Self {
        CliError::Failed(error.to_string())
    }
}

/// Draws and prints the list.
pub(super) fn run(args: &SampleArgs) -> Result<(), CliError> {
    if let Some(regions) = args.region
        && (0..3).any(|axis| regions.shape.0[axis] < args.size.0[axis])
    {
        let (region, size) = (regions.shape, args.size);
        return Err(CliError::Usage(format!("--region: samples of {size} voxels do not fit into {region} voxels")));
    }
    let mut names = args.names.clone();
    let (catalog, cache) = mounted::meant_by_all(&mut names, &args.read.config, &args.read.cache)?;
    let places = names.iter().map(|name| ImagePlace::parse(&catalog, name)).collect::<Result<Vec<_>, _>>()?;
    let session = Session::new(&catalog.limits, cache.cache_of_any_size()?, args.read.timeout, MEMORY)?;
    let reader = VoxelReader::new(MEMORY / 4, session.blocks.clone(), session.stats.clone());
    let (header, samples) = finish(lists(args, &session, &reader, &places))??;
    let text = match args.format {
        Format::Csv => list::csv(&header, &samples),
        Format::Json => format!("{:#}\n", list::json(&header, &samples)),
    };
    Ok(print(&text)?)
}

async fn lists(
    args: &SampleArgs,
    session: &Session,
    reader: &VoxelReader,
    places: &[ImagePlace<'_>],
) -> Result<(Vec<String>, Vec<Sample>), CliError> {
    let choice = match (args.level, args.voxel_size) {
        (Some(level), _) => LevelChoice::Level(level),
        (_, Some(length)) => LevelChoice::Nearest(length),
        _ => LevelChoice::Finest,
    };
    let opening = places.iter().map(|place| SampledLevel::open(session, place, choice, args.within));
    let fields = futures::future::try_join_all(opening).await?;
    if let Some(twice) =
        (1..fields.len()).find(|at| fields[..*at].iter().any(|other| other.ground.name == fields[*at].ground.name))
    {
        return Err(CliError::Usage(format!("{} is named twice", fields[twice].ground.name)));
    }
    let shares = args.split.as_ref().map_or_else(whole, |shares| shares.0.clone());
    let rule = DrawRule {
        seed: args.seed,
        size: args.size,
        regions: args.region,
        shares,
        block: args.split_block,
        margin: args.margin,
    };
    let weights: Vec<u64> = fields
        .iter()
        .map(|field| match args.weights {
            Weights::ByVolume => field.ground.within.shape().voxels().unwrap_or(u64::MAX),
            Weights::Equal => 1,
        })
        .collect();
    let mut header = args.header(&rule);
    let mut samples = Vec::new();
    for ((field, place), count) in fields.iter().zip(places).zip(split::divide(args.count, &weights)) {
        let (drawn, judged) = match &args.inside {
            None => (draw(&field.ground, &rule, count, &Everywhere).await?, String::new()),
            Some(inside) => {
                let judge = inside.judge(session, reader, place, field, (args.fraction, args.mask_level)).await?;
                (draw(&field.ground, &rule, count, &judge.labels).await?, judge.told)
            }
        };
        header.push(told(field, &drawn, &judged));
        if let Some(off) = &field.off {
            eprint_line(&format!("{}: {off}", field.ground.name));
        }
        samples.extend(drawn.into_iter().map(|drawn| field.sample(&drawn, &rule)));
    }
    settle("sample", session).await?;
    Ok((header, samples))
}

/// Makes sure of what archives were said not to have, and tells how much that is.
pub(super) async fn settle(command: &str, session: &Session) -> Result<(), CliError> {
    session.remote.confirm_absences().await.map_err(|cause| CliError::Failed(cause.to_string()))?;
    for (dataset, blocks) in session.stats.snapshot().absent {
        let told = format!("{dataset}: {blocks} blocks are absent at the archive, and count as its fill value");
        eprint_line(&format!("emfs {command}: {told}"));
    }
    Ok(())
}

/// The one split of lists without splits.
pub(super) fn whole() -> Vec<SplitShare> {
    vec![SplitShare { name: "all".to_owned(), share: split::WHOLE }]
}

/// A shape without a letter that is not ASCII, since headers are read by scripts.
fn plain(Shape([z, y, x]): Shape) -> String {
    format!("{z}x{y}x{x}")
}

/// What the header says of a store.
fn told(field: &SampledLevel<'_>, drawn: &[Drawn], judged: &str) -> String {
    let Region { start: [z, y, x], end: [z_end, y_end, x_end] } = field.ground.within;
    let within = format!("z{z}-{z_end}_y{y}-{y_end}_x{x}-{x_end}");
    let mut text = format!("{}: {} samples from {within}{judged}", field.ground.name, drawn.len());
    if let Some(voxel) = field.voxel_size() {
        text.push_str(&format!(", voxels of {voxel} nm"));
    }
    if let Some(off) = &field.off {
        text.push_str(&format!(" ({off})"));
    }
    if !drawn.is_empty() {
        // Whoever reads a voxel of a chunk reads all of the chunk.
        let read = drawn.iter().map(|drawn| field.shown().grid.whole_cells(&drawn.place));
        // Of levels that are computed, what they are computed in.
        let cell = field.opened.image.grid(field.level).map_or(field.ground.cell, |grid| grid.cell);
        let blocks = native_blocks(read, &Ground { cell, ..field.ground.clone() });
        let each = blocks as f64 / drawn.len() as f64;
        text.push_str(&format!(", {blocks} native blocks of {}, {each:.2} per sample", plain(cell)));
    }
    text
}

impl SampleArgs {
    fn header(&self, rule: &DrawRule) -> Vec<String> {
        let mut drawn = format!("count {}, size {}, seed {}", self.count, plain(self.size), self.seed);
        if let Some(regions) = self.region {
            drawn.push_str(&format!(", {} at a time from regions of {}", regions.samples, plain(regions.shape)));
        }
        if self.names.len() > 1 {
            drawn.push_str(match self.weights {
                Weights::ByVolume => ", images by volume",
                Weights::Equal => ", images equally",
            });
        }
        let mut header = vec![format!("emfs sample, rule {RULE}"), drawn];
        if self.split.is_some() {
            let shares =
                rule.shares.iter().map(|share| format!("{}:{}", share.name, share.share as f64 / split::WHOLE as f64));
            let (block, margin) = (plain(rule.block()), plain(Shape(rule.margin())));
            let shares = shares.collect::<Vec<_>>().join(",");
            header.push(format!("splits {shares} by blocks of {block} voxels or more, {margin} apart"));
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_a_side_and_a_number_or_a_shape_and_a_number() {
        assert_eq!(regions("256x8"), Ok(Regions { shape: Shape([256; 3]), samples: 8 }));
        assert_eq!(regions("64x256x128x16"), Ok(Regions { shape: Shape([64, 256, 128]), samples: 16 }));
        for wrong in ["", "256", "256x0", "1x2x3", "1x2x3x4x5", "ax8", "256x-8"] {
            assert!(regions(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_margin_may_be_nothing_and_a_size_may_not() {
        assert_eq!((margin("0"), margin("0x1x2")), (Ok(Shape([0; 3])), Ok(Shape([0, 1, 2]))));
        assert!(shape("0").is_err() && shape("1x2").is_err() && shape("2000000").is_err());
    }
}
