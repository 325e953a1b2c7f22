//! `emfs datasets`.

use std::time::Duration;

use serde::Serialize;

use super::CliError;
use super::config::ConfigArgs;
use super::output::{eprint_line, print, table};
use super::probe_failures::ProbeFailures;
use super::session::{CacheArgs, Session, finish};
use crate::archive;
use crate::catalog::{BUILTIN, Catalog, SourceKind, SourceSpec};

/// Show what would be mounted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Uses no network, and shows what only the archives know as \"-\", unless --probe is given.")]
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
    dtype: Option<&'static str>,
    /// Nanometres, `z, y, x`.
    voxel_size: Option<[f64; 3]>,
    url: String,
    /// Of a dataset that is shown by --all: its licence.
    #[serde(skip_serializing_if = "Option::is_none")]
    licence: Option<String>,
    /// Of a further dataset: against what it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<String>,
}

/// Adds what is recorded of a dataset and not known from its source.
fn recorded(row: &mut DatasetRow, catalog: &Catalog) {
    let Some(about) = catalog.named(&row.dataset).map(|dataset| &dataset.about) else { return };
    let text = |key: &str| about.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    (row.licence, row.verified) = (text("licence"), text("verified"));
    let Some(recorded) = about.get("recorded").and_then(|recorded| recorded.get(&row.image)) else { return };
    let numbers = |key: &str| -> Option<[f64; 3]> {
        let number = |value: &toml::Value| value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let list: Vec<f64> = recorded.get(key)?.as_array()?.iter().filter_map(number).collect();
        list.try_into().ok()
    };
    row.shape = row.shape.or_else(|| numbers("shape").map(|shape| shape.map(|extent| extent as u64)));
    row.voxel_size = row.voxel_size.or_else(|| numbers("voxel_size"));
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
        rows.iter_mut().for_each(|row| recorded(row, &catalog));
    }
    let failures = match args.probe {
        true => probe(&catalog, &specs, &mut rows, &args.cache)?,
        false => ProbeFailures::default(),
    };
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
                row.dtype = Some(description.dtype.name());
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
    format!("\n{}", table(&lines))
}

fn readable(rows: &[DatasetRow]) -> String {
    let joined = |numbers: Vec<String>, sign: &str| numbers.join(sign);
    let mut lines =
        vec![["dataset", "image", "kind", "shape zyx", "dtype", "voxel nm", "url"].map(str::to_owned).to_vec()];
    for row in rows {
        let shape = row.shape.map(|shape| joined(shape.map(|extent| extent.to_string()).to_vec(), "×"));
        let size = row.voxel_size.map(|size| joined(size.map(|nanometres| nanometres.to_string()).to_vec(), "×"));
        let unknown = || "-".to_owned();
        lines.push(vec![
            row.dataset.clone(),
            row.image.clone(),
            row.kind.to_owned(),
            shape.unwrap_or_else(unknown),
            row.dtype.map_or_else(unknown, str::to_owned),
            size.unwrap_or_else(unknown),
            row.url.clone(),
        ]);
    }
    table(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_network_unknown_is_a_dash() {
        let catalog = Catalog::builtin().unwrap();
        let rows: Vec<_> =
            specs(&catalog, false).iter().map(|(dataset, image, spec)| row(dataset, image, spec)).collect();
        assert_eq!(rows.len(), 15);
        let text = readable(&rows);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..6], ["idr-9846137", "em", "idr", "-", "-", "-"]);
        assert_eq!(lines[5][..6], ["epfl-hippocampus", "training/labels/mitochondria", "tiff", "-", "-", "5×5×5"][..6]);
        assert!(lines[8][6].starts_with("s3://janelia-cosem-datasets/"));
    }
}
