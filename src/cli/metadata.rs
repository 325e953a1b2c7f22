//! `emfs metadata`.

use std::io::IsTerminal;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::Value;

use super::CliError;
use super::config::ConfigArgs;
use super::output::{eprint_line, print};
use super::probe_failures::ProbeFailures;
use super::session::{CacheArgs, Session, finish};
use crate::archive::{ImageFailure, OpenImage};
use crate::catalog::{Catalog, Dataset, NamedSource};
use crate::document::Document;
use crate::metadata::{self, ImageRecord, Knowledge};
use crate::volume::VolumeError;

/// How long a source may stay silent; shorter than for a mount, since somebody is waiting.
const PATIENCE: Duration = Duration::from_secs(15);
/// Memory for the voxels that display windows are taken from.
const MEMORY: u64 = 512 << 20;
/// Letters of a line where nobody says.
const WIDTH: usize = 120;

/// Show what is known of datasets, side by side
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks the archives; needs no mount. In a mount the same is in metadata.json and the files beside it.

Examples:
  emfs metadata
  emfs metadata hemibrain empiar-11759 --field 'acquisition/*'
  emfs metadata --format csv > volumes.csv")]
pub(super) struct MetadataArgs {
    /// Datasets [default: all]
    #[arg(value_name = "DATASET")]
    datasets: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Only rows whose name fits, as `acquisition/*` (of table and markdown)
    #[arg(long, value_name = "GLOB")]
    field: Option<String>,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Forms of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Datasets as columns
    Table,
    /// The records with the way each value came
    Json,
    /// One row per image
    Csv,
    /// The table in Markdown
    Markdown,
    /// One row per field and dataset, in CSV
    Correspondence,
}

/// Prints the records.
pub(super) fn run(args: &MetadataArgs) -> Result<(), CliError> {
    let catalog = args.config.catalog()?.select(&args.datasets)?;
    let field = args.field.as_deref();
    if let Some(pattern) = field {
        check_field(pattern, args.format)?;
    }
    let (records, failures, images) = records(&catalog, &args.cache)?;
    let text = match args.format {
        Format::Table => metadata::aligned_columns(&records, width(), field),
        Format::Json => {
            serde_json::to_string_pretty(&records).map_err(|error| CliError::Failed(error.to_string()))? + "\n"
        }
        Format::Csv => metadata::csv(&records),
        Format::Markdown => metadata::markdown(&records, field),
        Format::Correspondence => metadata::correspondence(&records),
    };
    print(&text)?;
    failures.end(images)
}

/// Refuses a choice of rows that leaves none, or that the form of output has no rows for.
fn check_field(pattern: &str, format: Format) -> Result<(), CliError> {
    if !matches!(format, Format::Table | Format::Markdown) {
        let reason = "--field chooses rows of the table; leave it out, or give --format table or markdown";
        return Err(CliError::Usage(reason.to_owned()));
    }
    if !metadata::is_field(pattern) {
        let reason = format!("--field `{pattern}` fits no row of the table; `--field '*'` shows all");
        return Err(CliError::Usage(reason));
    }
    Ok(())
}

/// Letters of a line: `COLUMNS`, else those of the terminal.
fn width() -> usize {
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || {
        let size = std::io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
        size.map(|(width, _)| usize::from(width.0))
    };
    given.or_else(terminal).unwrap_or(WIDTH).clamp(40, 1000)
}

/// What was found out of a source, or why nothing was, and what was answered.
struct Answer {
    opened: Result<OpenImage, VolumeError>,
    documents: Vec<Document>,
}

/// The records, the sources that failed, and how many there are.
fn records(catalog: &Catalog, cache: &CacheArgs) -> Result<(Vec<Value>, ProbeFailures, usize), CliError> {
    let session = Session::new(&catalog.limits, cache.cache_of_any_size()?, PATIENCE, MEMORY)?;
    let answers = finish(async {
        let of = |dataset| Dataset::sources(dataset).map(|named| open(&session, dataset, named));
        futures::future::join_all(catalog.datasets.iter().flat_map(of)).await
    })?;
    let sources = answers.len();
    let mut answers = answers.iter();
    let mut failures = ProbeFailures::default();
    let mut records = Vec::with_capacity(catalog.datasets.len());
    for dataset in &catalog.datasets {
        let images: Vec<ImageRecord<'_>> = dataset
            .sources()
            .zip(&mut answers)
            .map(|(named, answer)| ImageRecord {
                named,
                documents: &answer.documents,
                knowledge: match &answer.opened {
                    Ok(OpenImage { pyramid, origin, intensity, .. }) => {
                        Knowledge::Described { pyramid, origin, intensity: intensity.as_ref() }
                    }
                    Err(error) => {
                        failures.add(error);
                        eprint_line(&format!("{}/{}: {error}", dataset.name, named.image));
                        Knowledge::Missing(error.to_string())
                    }
                },
            })
            .collect();
        records.push(metadata::record(dataset, &images));
    }
    Ok((records, failures, sources))
}

async fn open(session: &Session, dataset: &Dataset, named: NamedSource<'_>) -> Answer {
    match session.open(named.source, &format!("{}/{named}", dataset.name)).await {
        Ok(opened) => Answer { documents: opened.documents.clone(), opened: Ok(opened) },
        Err(ImageFailure { error, documents }) => Answer { opened: Err(error), documents },
    }
}
