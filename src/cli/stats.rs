//! `emfs stats`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::output::{aligned_columns, print};
use super::place::{self, ImagePlace};
use super::sample::field::{self, LevelChoice, SampledLevel};
use super::sample::{MEMORY, settle, shape, whole};
use super::session::{ReadArgs, Session, finish};
use super::{CliError, mounted};
use crate::geometry::{LevelIndex, Region, Shape};
use crate::sample::list::{self, Sample};
use crate::sample::statistics::{self, Summary};
use crate::sample::{DrawRule, Drawn, Everywhere, SampleError, VoxelReader, draw};
use crate::volume::intensity::{self, Intensity};

/// Print the statistics of images, of the voxels in a list of blocks
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exact, and the same on every machine: the blocks are those of `emfs sample` with the same count, size and seed, or of a list.
Those of s0 of a whole image are kept with the cache, and the next mount shows them in metadata.json.

Examples:
  emfs stats epfl-hippocampus jrc_mus-nacc-2
  emfs stats --list list.csv --format json > stats.json")]
pub(super) struct StatsArgs {
    /// DATASET or DATASET/NAME; image `em` may be left out
    #[arg(required_unless_present = "list", value_name = "DATASET[/NAME]")]
    names: Vec<String>,
    /// How many blocks of each image
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    blocks: u64,
    /// Extent of a block in voxels, at most that of the image: N or ZxYxX
    #[arg(long, value_name = "N|ZxYxX", default_value = "128", value_parser = shape)]
    size: Shape,
    /// Seed of the draw
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The blocks of this list, as emfs sample prints it; with names, those of these images
    #[arg(long, value_name = "FILE", conflicts_with_all = ["blocks", "size", "seed"])]
    list: Option<PathBuf>,
    /// Only this split of the list
    #[arg(long, value_name = "NAME", requires = "list")]
    split: Option<String>,
    /// The level [default: the finest; of a list all that it has]
    #[arg(long, value_name = "sN", value_parser = place::level)]
    level: Option<LevelIndex>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    read: ReadArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// The rows of a file, or of stdin for `-`.
pub(super) fn read_list(file: &Path) -> Result<Vec<(u64, Sample)>, CliError> {
    let name = file.display().to_string();
    let text = match file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(file),
    };
    let text = text.map_err(CliError::system(name.clone()))?;
    let says_nothing = text.lines().all(|line| line.trim().is_empty() || line.starts_with('#'));
    let rows = if says_nothing { Vec::new() } else { list::parse(&text, &name)? };
    if rows.is_empty() { Err(names_nothing(file)) } else { Ok(rows) }
}

/// A list without a row. Nobody asks for nothing: what was to make the list has failed.
pub(super) fn names_nothing(file: &Path) -> CliError {
    CliError::Failed(format!("{}: the list names nothing", file.display()))
}

/// Computes and prints.
pub(super) fn run(args: &StatsArgs) -> Result<(), CliError> {
    let mut rows = match &args.list {
        Some(file) => read_list(file)?,
        None => Vec::new(),
    };
    if let Some(split) = &args.split {
        rows.retain(|(_, sample)| sample.split == *split);
    }
    if let (Some(level), Some(list)) = (args.level, &args.list) {
        let levels: BTreeSet<LevelIndex> = rows.iter().map(|(_, sample)| sample.level).collect();
        rows.retain(|(_, sample)| sample.level == level);
        if rows.is_empty() {
            let levels = levels.iter().map(LevelIndex::to_string).collect::<Vec<_>>().join(", ");
            let told =
                if levels.is_empty() { "it has none at all".to_owned() } else { format!("they are of {levels}") };
            return Err(CliError::Failed(format!("{}: no row is of {level}; {told}", list.display())));
        }
    }
    let mut names = args.names.clone();
    let (catalog, cache) = mounted::meant_by_all(&mut names, &args.read.config, &args.read.cache)?;
    let of_list: BTreeSet<String> =
        rows.iter().map(|(_, sample)| format!("{}/{}", sample.store, sample.level)).collect();
    let mut stores: Vec<&String> = names.iter().collect();
    if names.is_empty() {
        stores.extend(&of_list);
    }
    let places = stores.into_iter().map(|name| ImagePlace::parse(&catalog, name)).collect::<Result<Vec<_>, _>>()?;
    if places.is_empty() {
        return Err(CliError::Failed("the list has no such row".to_owned()));
    }
    let session = Session::new(&catalog.limits, cache.cache_of_any_size()?, args.read.timeout, MEMORY)?;
    let reader = VoxelReader::new(MEMORY / 4, session.blocks.clone(), session.stats.clone());
    let computed = finish(async {
        let mut all = Vec::new();
        for place in &places {
            all.push(one(args, &session, &reader, place, &rows).await?);
        }
        settle("stats", &session).await?;
        // Not before it is sure that nothing was taken for absent that is not.
        all.iter().for_each(Computed::keep);
        Ok::<_, CliError>(all)
    })??;
    let text = match args.format {
        Format::Json => {
            format!("{:#}\n", Value::from(computed.iter().map(|computed| computed.told.clone()).collect::<Vec<_>>()))
        }
        Format::Table => as_table(&computed),
    };
    Ok(print(&text)?)
}

/// The statistics of one image.
struct Computed<'a> {
    told: Value,
    summary: Summary,
    field: SampledLevel<'a>,
    intensity: Option<Intensity>,
}

impl Computed<'_> {
    /// Keeps those of the finest level of a whole image where there is a cache.
    fn keep(&self) {
        if let Some(found) = &self.intensity {
            intensity::keep(&self.field.opened.notes, found);
        }
    }
}

async fn one<'a>(
    args: &StatsArgs,
    session: &Session,
    reader: &VoxelReader,
    place: &'a ImagePlace<'a>,
    rows: &[(u64, Sample)],
) -> Result<Computed<'a>, CliError> {
    // A name from the list has its level.
    let choice = args.level.filter(|_| !args.names.is_empty()).map_or(LevelChoice::Finest, LevelChoice::Level);
    let field = SampledLevel::open(session, place, choice, None).await?;
    let samples = match &args.list {
        None => drawn(args, &field).await?,
        Some(file) => listed(&file.display().to_string(), &field, rows)?,
    };
    let boxes: Vec<Region> = samples.iter().map(|sample| field.of_image(&sample.place)).collect();
    let summary = statistics::compute(reader, &field.target(), &boxes).await?;
    let hash = statistics::list_hash(&samples);
    let blocks = samples.len() as u64;
    // What is kept is shown as that of the image, of which a crop is a part.
    let is_of_image = field.level == LevelIndex(0) && place.store.view.crop.is_none();
    let intensity = is_of_image.then(|| statistics::intensity(&summary, blocks, &hash)).flatten();
    let mut told = json!({
        "dataset": place.store.dataset.name,
        "image": field::image(place),
        "store": field::store(place),
        "level": field.level.to_string(),
    });
    let more = statistics::json(&summary, field.opened.pyramid.dtype, blocks, &hash);
    if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
        told.extend(more);
    }
    Ok(Computed { told, summary, intensity, field })
}

/// The blocks of `emfs sample` with the same numbers, smaller where the image is.
async fn drawn(args: &StatsArgs, field: &SampledLevel<'_>) -> Result<Vec<Sample>, SampleError> {
    let extent = field.ground.within.shape();
    let size = Shape(std::array::from_fn(|axis| args.size.0[axis].min(extent.0[axis])));
    let rule = DrawRule { seed: args.seed, size, regions: None, shares: whole(), block: None, margin: None };
    let drawn: Vec<Drawn> = draw(&field.ground, &rule, args.blocks, &Everywhere).await?;
    Ok(drawn.iter().map(|drawn| field.sample(drawn, &rule)).collect())
}

/// The rows of the list that are of the field's level, all of which have to lie in it.
fn listed(file: &str, field: &SampledLevel<'_>, rows: &[(u64, Sample)]) -> Result<Vec<Sample>, CliError> {
    let shape = field.shown().grid.shape;
    let mut found = Vec::new();
    for (line, sample) in
        rows.iter().filter(|(_, sample)| format!("{} {}", sample.store, sample.level) == field.ground.name)
    {
        if sample.place.intersection(&shape.region()) != Some(sample.place) {
            let reason = format!("the place does not lie in the {shape} voxels of {}", field.ground.name);
            return Err(SampleError::List { file: file.to_owned(), line: *line, reason }.into());
        }
        found.push(sample.clone());
    }
    match found.is_empty() {
        true => Err(CliError::Failed(format!("{file}: no row is of {}", field.ground.name))),
        false => Ok(found),
    }
}

fn as_table(computed: &[Computed<'_>]) -> String {
    let head =
        ["store", "level", "mean", "std", "min", "0.1 %", "1 %", "50 %", "99 %", "99.9 %", "max", "fill", "blocks"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for Computed { told, summary, .. } in computed {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
        let text = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        let mut line = vec![text("store"), text("level")];
        line.extend([number(summary.mean), number(summary.std), told["min"].to_string()]);
        line.extend(summary.percentiles.iter().map(|(_, value)| value.to_string()));
        let fill = summary.fill_fraction().map_or("-".to_owned(), |share| format!("{:.2} %", share * 100.0));
        line.extend([told["max"].to_string(), fill, told["blocks"].to_string()]);
        lines.push(line);
    }
    aligned_columns(&lines)
}
