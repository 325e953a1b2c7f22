//! `emfs datasets`.

use std::time::Duration;

use serde::Serialize;

use super::CliError;
use super::config::ConfigArgs;
use super::output::{aligned_columns, eprint_line, print};
use super::probe_failures::ProbeFailures;
use super::session::{CacheArgs, Session, finish};
use super::size;
use crate::archive;
use crate::catalog::{BUILTIN, Catalog, Certainty, Recorded, SourceKind, SourceSpec};

/// Show what would be mounted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Uses no network unless --probe is given: what only the archives know is as others recorded it, which a * tells, or \"-\"."
)]
pub(super) struct DatasetsArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the built-in catalogue, to copy and change
    #[arg(long, conflicts_with_all = ["config", "json", "probe"])]
    toml: bool,
    /// Also show further public volumes, which are mounted for who names them with --dataset
    #[arg(long, conflicts_with_all = ["config", "toml"])]
    all: bool,
    /// Ask the archives for what is not known
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// An image or label image.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct DatasetRow {
    dataset: String,
    /// `em`, `training`, `training/labels/mitochondria`.
    image: String,
    kind: &'static str,
    /// `z, y, x`.
    shape: Option<[u64; 3]>,
    dtype: Option<String>,
    /// Nanometres, `z, y, x`.
    voxel_size: Option<[f64; 3]>,
    url: String,
    /// Levels that are stored.
    levels: Option<u64>,
    /// Bytes as stored.
    bytes: Option<u64>,
    /// Which of these were recorded by others and not asked for.
    recorded: Vec<&'static str>,
    /// How much what is recorded is to be relied on.
    #[serde(skip_serializing_if = "Option::is_none")]
    certainty: Option<Certainty>,
    /// Where it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    /// Of a dataset that is shown by --all: its licence.
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<String>,
    /// Of a further dataset: against what it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<String>,
}

impl DatasetRow {
    /// Adds what is recorded of a volume and not known otherwise.
    fn add_recorded(&mut self, recorded: &Recorded) {
        fn fill<T: Clone>(known: &mut Option<T>, recorded: Option<&T>) -> bool {
            let is_new = known.is_none() && recorded.is_some();
            *known = known.take().or_else(|| recorded.cloned());
            is_new
        }
        let filled = [
            ("shape", fill(&mut self.shape, recorded.shape.as_ref())),
            ("dtype", fill(&mut self.dtype, recorded.dtype.as_ref())),
            ("voxel_size", fill(&mut self.voxel_size, recorded.voxel_size.as_ref())),
            ("levels", fill(&mut self.levels, recorded.levels.as_ref())),
            ("bytes", fill(&mut self.bytes, recorded.bytes.as_ref())),
        ];
        self.recorded = filled.into_iter().filter_map(|(name, is_new)| is_new.then_some(name)).collect();
        if !self.recorded.is_empty() {
            (self.certainty, self.reference) = (recorded.certainty, recorded.reference.clone());
        }
    }

    /// The text of a cell, with a mark where it is recorded.
    fn cell(&self, name: &str, text: Option<String>) -> String {
        let mark = if self.recorded.contains(&name) { MARK } else { "" };
        text.map_or_else(|| "-".to_owned(), |text| text + mark)
    }
}

/// Stands behind what is recorded.
const MARK: &str = "*";

/// Adds the licence of a dataset and against what it was tried.
fn add_licence(row: &mut DatasetRow, catalog: &Catalog) {
    let Some(about) = catalog.named(&row.dataset).map(|dataset| &dataset.about) else { return };
    let text = |key: &str| about.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    (row.licence, row.verified) = (text("licence"), text("verified"));
}

/// Prints the datasets.
pub(super) fn run(args: &DatasetsArgs) -> Result<(), CliError> {
    if args.toml {
        return Ok(print(BUILTIN)?);
    }
    let catalog = args.config.catalog()?;
    let specs = specs(&catalog, args.all);
    let mut rows: Vec<DatasetRow> = specs.iter().map(|(dataset, image, spec)| row(dataset, image, spec)).collect();
    if args.all {
        rows.iter_mut().for_each(|row| add_licence(row, &catalog));
    }
    let failures = match args.probe {
        true => probe(&catalog, &specs, &mut rows, &args.cache)?,
        false => ProbeFailures::default(),
    };
    for (row, (_, _, spec)) in rows.iter_mut().zip(&specs) {
        row.add_recorded(&spec.recorded);
    }
    if args.json {
        let text = serde_json::to_string_pretty(&rows).map_err(|error| CliError::Failed(error.to_string()))?;
        print(&(text + "\n"))?;
    } else {
        print(&readable(&rows))?;
        if args.all {
            print(&licences(&catalog))?;
        }
    }
    failures.end(rows.len())
}

/// How long a source may stay silent; shorter than for a mount, since somebody is waiting.
const PATIENCE: Duration = Duration::from_secs(15);
/// No voxels are read.
const MEMORY: u64 = 1 << 20;

/// Every image and label image: its dataset, its name, its source.
fn specs(catalog: &Catalog, all: bool) -> Vec<(String, String, SourceSpec)> {
    let datasets = catalog.datasets.iter().chain(catalog.further.iter().filter(|_| all));
    let specs = datasets.flat_map(|dataset| {
        dataset.sources().map(|named| (dataset.name.clone(), named.to_string(), named.source.clone()))
    });
    specs.collect()
}

fn row(dataset: &str, image: &str, spec: &SourceSpec) -> DatasetRow {
    let url = match &spec.kind {
        SourceKind::Idr { url: Some(url), .. }
        | SourceKind::Precomputed { url }
        | SourceKind::Zarr { url }
        | SourceKind::N5 { url } => url.to_string(),
        SourceKind::Idr { image, server, url: None, .. } => {
            format!("{}/webclient/img_detail/{image}/", server.as_str().trim_end_matches('/'))
        }
        SourceKind::Empiar { entry, files, .. } => format!("{}/{entry}/", files.as_str().trim_end_matches('/')),
        SourceKind::Dm3 { files } | SourceKind::Tiff { files } | SourceKind::Mrc { files } => files.to_string(),
    };
    DatasetRow {
        dataset: dataset.to_owned(),
        image: image.to_owned(),
        kind: spec.kind.name(),
        shape: None,
        dtype: None,
        voxel_size: spec.voxel_size,
        url,
        levels: None,
        bytes: None,
        recorded: Vec::new(),
        certainty: None,
        reference: None,
        licence: None,
        verified: None,
    }
}

/// Fills in what the sources say; returns those of which that is nothing.
fn probe(
    catalog: &Catalog,
    specs: &[(String, String, SourceSpec)],
    rows: &mut [DatasetRow],
    cache: &CacheArgs,
) -> Result<ProbeFailures, CliError> {
    let session = Session::new(&catalog.limits, cache.cache_of_any_size()?, PATIENCE, MEMORY)?;
    let answers = finish(async {
        let opened = specs.iter().map(|(_, _, spec)| archive::open(&session.remote, spec));
        futures::future::join_all(opened).await
    })?;
    let mut failures = ProbeFailures::default();
    for (row, answer) in rows.iter_mut().zip(answers) {
        match answer {
            Ok(opened) => {
                let description = opened.source.description();
                if let Some(told) = &description.format.unwritten {
                    eprint_line(&format!("{}/{}: warning: {told}", row.dataset, row.image));
                }
                row.dtype = Some(description.dtype.name().to_owned());
                row.levels = Some(description.levels.len() as u64);
                if let Some(finest) = description.levels.first() {
                    row.shape = Some(finest.grid.shape.0);
                    row.voxel_size = finest.scale.or(opened.voxel_size).or(row.voxel_size);
                }
            }
            Err(failure) => {
                eprint_line(&format!("{}/{}: {failure}", row.dataset, row.image));
                failures.add(&failure.error.into());
            }
        }
    }
    Ok(failures)
}

/// The licences of all datasets, in the words of the catalogue.
fn licences(catalog: &Catalog) -> String {
    let mut lines = vec![["dataset", "licence", "tried"].map(str::to_owned).to_vec()];
    for dataset in catalog.datasets.iter().chain(&catalog.further) {
        let text = |key: &str| dataset.about.get(key).and_then(toml::Value::as_str).unwrap_or("-").to_owned();
        lines.push(vec![dataset.name.clone(), text("licence"), text("verified")]);
    }
    format!("\n{}", aligned_columns(&lines))
}

fn readable(rows: &[DatasetRow]) -> String {
    let head = ["dataset", "image", "kind", "shape zyx", "dtype", "voxel nm", "levels", "stored", "url"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let shape = row.shape.map(|shape| shape.map(|extent| extent.to_string()).join("×"));
        let size = row.voxel_size.map(|size| size.map(|nanometres| nanometres.to_string()).join("×"));
        lines.push(vec![
            row.dataset.clone(),
            row.image.clone(),
            row.kind.to_owned(),
            row.cell("shape", shape),
            row.cell("dtype", row.dtype.clone()),
            row.cell("voxel_size", size),
            row.cell("levels", row.levels.map(|levels| levels.to_string())),
            row.cell("bytes", row.bytes.map(size::human)),
            row.url.clone(),
        ]);
    }
    let legend = match rows.iter().any(|row| !row.recorded.is_empty()) {
        true => "\n* as others recorded it; --probe asks, and a file that is opened counts for what it says\n",
        false => "",
    };
    aligned_columns(&lines) + legend
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_network_what_is_recorded_is_shown_with_a_mark_and_what_is_not_as_a_dash() {
        let catalog = Catalog::builtin().unwrap();
        let listed = |(dataset, image, spec): &(String, String, SourceSpec)| {
            let mut row = row(dataset, image, spec);
            row.add_recorded(&spec.recorded);
            row
        };
        let rows: Vec<_> = specs(&catalog, false).iter().map(listed).collect();
        assert_eq!(rows.len(), 15);
        let text = readable(&rows);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..7], ["idr-9846137", "em", "idr", "184×775×1121*", "uint8*", "20×20×20*", "1*"]);
        assert_eq!(
            lines[5][..6],
            ["epfl-hippocampus", "training/labels/mitochondria", "tiff", "165×768×1024*", "uint8*", "5×5×5"]
        );
        assert!(lines[8].last().is_some_and(|url| url.starts_with("s3://janelia-cosem-datasets/")));
        assert!(lines[15].contains(&"-"), "{:?}", lines[15]);
    }
}
