//! `emfs export`.

mod bar;
mod report;
mod samples;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::ConfigArgs;
use super::options::{Detail, log_to_stderr};
use super::output::{eprint_line, print};
use super::session::{CacheArgs, Session};
use super::{CliError, mounted, place, size, target};
use crate::archive::OpenImage;
use crate::catalog::{Catalog, Dataset, ImageSpec, NamedSource};
use crate::daemon::{self, Signals, default_limit};
use crate::export::{
    ChunkCompression, Destination, ExportError, ExportMember, ExportOptions, ExportOutcome, ExportRequest, Exporter,
    Progress, estimate,
};
use crate::geometry::{LevelIndex, Region, Shape};
use crate::metadata::{self, ImageRecord, Knowledge};
use crate::view::ViewSpec;
use crate::zarr::{Format, StoreName};
use bar::ExportBar;

pub(super) use samples::view as view_of_sample;

/// Write datasets, images or views as OME-Zarr stores
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs no mount. One image becomes the store DEST; several become DEST/DATASET/IMAGE.zarr. DEST is a new directory, or a
prefix of a bucket (s3://…, gs://…) that is reached with what the environment says. Equal commands write equal bytes; the
time in manifest.json is the only difference.

Examples:
  emfs export \"$(emfs crop hemibrain --size 1000 --seed 7)\" crop.zarr
  emfs export hemibrain/em.crop-z18000-19000_y18000-19000_x15000-16000 crop.zarr --format v3 --chunk 64 --shard 512
  emfs export jrc_mus-nacc-2 s3://bucket/nacc.zarr --level s2 --level s3
  emfs export --list list.csv samples         # a store for each row of a list of `emfs sample`: samples/000000.zarr …
  emfs export --all volumes --resume")]
pub(super) struct ExportArgs {
    /// DATASET[/NAME] (image `em` may be left out) or a path in a mount, once or more, then DEST
    #[arg(required = true, value_name = "DATASET[/NAME]… DEST")]
    arguments: Vec<String>,
    /// All images of all datasets
    #[arg(long)]
    all: bool,
    /// The samples of a list, each with the labels of its image, as DEST/NUMBER.zarr by their rows from 0
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "level"])]
    list: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Zarr version [default: that of the name, v2 where it says none]
    #[arg(long, value_parser = format)]
    format: Option<Format>,
    /// Compression of chunks: none, blosc or zstd:N
    #[arg(long, value_name = "zstd:N|blosc|none", default_value_t)]
    compress: ChunkCompression,
    /// Chunk shape: N or ZxYxX [default: that of the view]
    #[arg(long, value_name = "N|ZxYxX", value_parser = shape)]
    chunk: Option<Shape>,
    /// Shard shape (v3): N or ZxYxX, a multiple of the chunk
    #[arg(long, value_name = "N|ZxYxX", value_parser = shape)]
    shard: Option<Shape>,
    /// Write this level; may be given several times [default: all]
    #[arg(long, value_name = "sN", value_parser = place::level)]
    level: Vec<LevelIndex>,
    /// Go on with what an interrupted export has written to DEST
    #[arg(long)]
    resume: bool,
    /// Read all that was written again and compare it with the manifest; alone where the export is complete already
    #[arg(long)]
    verify: bool,
    /// Chunks compressed at a time [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Say what it would cost and read no voxels; with --offline, what of it is not kept
    #[arg(long, conflicts_with_all = ["resume", "verify"])]
    dry_run: bool,
    /// No progress and no summary
    #[arg(long)]
    quiet: bool,
    /// Memory for voxels: bytes, or K, M, G [default: 1G, at most a quarter of the machine's]
    #[arg(long, value_name = "SIZE", value_parser = size::bytes)]
    memory: Option<u64>,
    /// Fail what makes no progress for so long
    #[arg(long, value_name = "S", default_value = "60", value_parser = size::seconds)]
    timeout: Duration,
    #[command(flatten)]
    cache: CacheArgs,
    /// Log to stderr what goes on; twice for everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "v2" => Ok(Format::V2),
        "v3" => Ok(Format::V3),
        _ => Err("must be v2 or v3".to_owned()),
    }
}

fn shape(text: &str) -> Result<Shape, String> {
    let extents = size::per_axis(text, |text| {
        let extent = text.parse::<u64>().ok().filter(|extent| (1..=1 << 20).contains(extent));
        extent.ok_or_else(|| format!("`{text}` is no number from 1 to 1048576"))
    });
    extents.map(Shape)
}

/// A store to write.
struct Job<'a> {
    dataset: &'a Dataset,
    image: &'a ImageSpec,
    name: StoreName,
    view: ViewSpec,
    /// Voxels of a level of the view that are written alone.
    sample: Option<(LevelIndex, Region)>,
    destination: Destination,
}

impl Job<'_> {
    fn path(&self) -> String {
        let name = self.name.to_string();
        format!("{}/{}", self.dataset.name, name.strip_suffix(self.name.format.ending()).unwrap_or(&name))
    }
}

impl From<ExportError> for CliError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Usage(reason) => CliError::Usage(reason),
            error => CliError::Failed(error.to_string()),
        }
    }
}

/// Writes the stores one after the other; one that fails does not stop the others.
pub(super) fn run(args: &ExportArgs) -> Result<(), CliError> {
    if args.verbose > 0 {
        log_to_stderr(Detail::Progress(args.verbose));
    }
    let mut named = args.arguments.clone();
    let to = named.pop().unwrap_or_default();
    let (catalog, cache) = mounted::meant_by_all(&mut named, &args.config, &args.cache)?;
    let jobs = jobs(args, &catalog, &named, &to)?;
    let runtime = daemon::runtime()?;
    let memory = args.memory.unwrap_or_else(default_limit);
    let session = Session::new(&catalog.limits, cache.cache()?, args.timeout, memory)?;
    let progress = Arc::new(Progress::new(session.stats.clone()));
    let threads = args.jobs.map(usize::from);
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    let exporter = Exporter::new(session.remote.clone(), session.blocks.clone(), memory / 2, threads, progress.clone());
    let mut signals = Signals::but_ignored_hangup(&runtime).map_err(CliError::system("catching signals"))?;
    let work = async {
        let mut failed = Vec::new();
        for job in &jobs {
            let done = match args.dry_run {
                true => dry_run(args, &catalog, &session, &exporter, job).await,
                false => one(args, &session, &exporter, job).await,
            };
            if let Err(error) = done {
                failed.push(error);
            }
        }
        failed
    };
    let (failed, left) = runtime.block_on(async {
        let failed = tokio::select! {
            failed = work => failed,
            _ = signals.next() => vec![ExportError::Stopped],
        };
        let ends = futures::future::join_all(jobs.iter().map(|job| job.destination.end()));
        (failed, ends.await.into_iter().flatten())
    });
    left.for_each(|line| eprint_line(&format!("emfs export: {line}")));
    // What still writes a chunk may finish it, which does no harm.
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Some(warning) = progress.warning() {
        eprint_line(&format!("emfs export: {warning}"));
    }
    progress.failures().iter().for_each(|line| eprint_line(line));
    let mut errors = failed;
    let Some(last) = errors.pop() else { return Ok(()) };
    errors.iter().for_each(|error| eprint_line(&format!("emfs export: {error}")));
    Err(last.into())
}

/// What is to be written: `named`, paths of the catalogue, and what the options say, to `to`.
fn jobs<'a>(args: &ExportArgs, catalog: &'a Catalog, named: &'a [String], to: &str) -> Result<Vec<Job<'a>>, CliError> {
    let usage = |reason: &str| Err(CliError::Usage(reason.to_owned()));
    if (args.all || args.list.is_some()) && !named.is_empty() {
        return usage("--all and --list take DEST alone");
    }
    if let Some(list) = &args.list {
        return samples::jobs(args, catalog, list, &Destination::parse(to)?);
    }
    if !args.all && named.is_empty() {
        return usage("name what to export before DEST, or give --all");
    }
    if args.shard.is_some() && args.format == Some(Format::V2) {
        return usage("Zarr v2 has no shards; --shard needs --format v3");
    }
    let root = Destination::parse(to)?;
    let mut stores = Vec::new();
    if args.all {
        for dataset in &catalog.datasets {
            for image in &dataset.images {
                stores.push((dataset, target::store(dataset, &image.name)?));
            }
        }
    }
    for path in named {
        let (dataset, rest) = target::split(catalog, path)?;
        if let Some((store, below)) = rest.split_once('/') {
            return Err(CliError::Failed(inside(&format!("{}/{store}", dataset.name), below)));
        }
        stores.push((dataset, target::store(dataset, rest)?));
    }
    let several = args.all || stores.len() > 1;
    let mut jobs = Vec::new();
    let mut taken = HashSet::new();
    for (dataset, store) in stores {
        let file = StoreName { format: Format::V2, ..store.name.clone() };
        let destination = if several { root.join(&dataset.name).join(&file.to_string()) } else { root.clone() };
        if !taken.insert(destination.to_string()) {
            return usage(&format!("{}/{file} is named twice", dataset.name));
        }
        jobs.push(Job { dataset, image: store.image, name: store.name, view: store.view, sample: None, destination });
    }
    if several {
        must_be_new(args, &root)?;
    }
    Ok(jobs)
}

/// Says what to name in place of a part of a store.
fn inside(store: &str, below: &str) -> String {
    let mut words = below.split('/').peekable();
    let labels = words.next_if_eq(&"labels").and_then(|_| words.next());
    let labels = labels.map_or(String::new(), |label| format!(", whose labels {label} are written with it"));
    let level = words.next().and_then(|word| place::level(word).ok());
    let level = level.map_or(String::new(), |level| format!(", and the level as --level {level}"));
    format!("{store}/{below} leads into a store; name the store itself, {store}{labels}{level}")
}

/// Refuses to write several stores into a directory that is there, unless an export goes on.
fn must_be_new(args: &ExportArgs, root: &Destination) -> Result<(), CliError> {
    match root {
        Destination::Directory(path) if !args.resume && !args.verify && path.exists() => {
            Err(ExportError::Exists(root.to_string()).into())
        }
        _ => Ok(()),
    }
}

async fn one(args: &ExportArgs, session: &Session, exporter: &Exporter, job: &Job<'_>) -> Result<(), ExportError> {
    let say = |line: String| {
        if !args.quiet {
            eprint_line(&line);
        }
    };
    if args.verify && !args.resume && job.destination.exists().await? {
        let files = exporter.verify(&job.destination).await?;
        say(format!("{}: {files} files are as the manifest says", job.destination));
        return Ok(());
    }
    let begin = Instant::now();
    exporter.begin().await;
    let before = exporter.progress.state();
    let request = request(args, session, job).await?;
    request.left_out().into_iter().for_each(say);
    let bar = (!args.quiet).then(|| ExportBar::start(&request.name, exporter.progress.clone()));
    let outcome = exporter.export(&request, &job.destination, args.resume).await;
    drop(bar);
    match outcome? {
        ExportOutcome::Complete => say(format!("{} is complete already", job.destination)),
        ExportOutcome::Written(absent) => {
            let state = exporter.progress.state();
            say(report::summary(&request.name, &job.destination, &before, &state, begin.elapsed()));
            absent.iter().for_each(|absent| say(report::absent(&request.name, absent)));
        }
    }
    if args.verify {
        let files = exporter.verify(&job.destination).await?;
        say(format!("{}: {files} files are as the manifest says", job.destination));
    }
    Ok(())
}

async fn dry_run(
    args: &ExportArgs,
    catalog: &Catalog,
    session: &Session,
    exporter: &Exporter,
    job: &Job<'_>,
) -> Result<(), ExportError> {
    let request = request(args, session, job).await?;
    request.left_out().iter().for_each(|line| eprint_line(line));
    // The start of a file has voxels too.
    session.flush().await;
    let offline = session.remote.is_offline();
    let cost = estimate(&request, exporter.batch_limit(), offline).await?;
    let text = match offline {
        true => report::missing(&request.name, &cost),
        false => report::cost(&request.name, &cost, &catalog.limits),
    };
    print(&text).map_err(|error| ExportError::Write { what: "stdout".to_owned(), reason: error.to_string() })?;
    match offline && cost.fetches() {
        true => {
            Err(ExportError::Incomplete(format!("{}: not all of it is kept, and --offline asks nobody", request.name)))
        }
        false => Ok(()),
    }
}

/// Opens the image and its labels.
async fn request(args: &ExportArgs, session: &Session, job: &Job<'_>) -> Result<ExportRequest, ExportError> {
    let name = job.path();
    let sources: Vec<NamedSource<'_>> = job.image.sources().collect();
    let opening = sources.iter().map(|named| {
        let name = named.label.map_or_else(|| name.clone(), |label| format!("{name}/labels/{label}"));
        async move {
            let opened = session.open(named.source, &name).await;
            opened.map_err(|failure| ExportError::Open { name, error: failure.error })
        }
    });
    let mut opened: Vec<OpenImage> = futures::future::try_join_all(opening).await?;
    // They come in the order in which they were answered, which another run need not repeat.
    opened.iter_mut().for_each(|opened| opened.documents.sort_by(|a, b| (&a.name, &a.url).cmp(&(&b.name, &b.url))));
    let records: Vec<ImageRecord<'_>> = sources
        .iter()
        .zip(&opened)
        .map(|(named, opened)| ImageRecord {
            named: *named,
            // What this machine has computed must not make an export another one.
            knowledge: Knowledge::Described { pyramid: &opened.pyramid, origin: &opened.origin, intensity: None },
            documents: &opened.documents,
        })
        .collect();
    let record = metadata::record(job.dataset, &records);
    let documents = opened.iter().flat_map(|opened| &opened.documents).map(|document| document.url.clone()).collect();
    let mut upstream = Vec::new();
    for (named, opened) in sources.iter().zip(&opened) {
        let documents = opened.documents.iter();
        upstream.extend(documents.map(|document| (metadata::document_name(named, document), document.bytes())));
    }
    let view = match job.sample {
        None => job.view,
        Some((level, place)) => samples::view(job.view, &opened[0].pyramid, level, &place)
            .map_err(|reason| ExportError::Usage(format!("{name}: {reason}")))?,
    };
    let members = sources.iter().zip(opened).map(|(named, opened)| ExportMember {
        label: named.label.map(str::to_owned),
        image: opened.image,
        pyramid: opened.pyramid,
        origin: opened.origin,
        source: named.source.digest(),
    });
    Ok(ExportRequest {
        title: name.replacen('/', " ", 1),
        view,
        members: members.collect(),
        options: ExportOptions {
            v3: args.format.unwrap_or(job.name.format) == Format::V3,
            compression: args.compress,
            chunk: args.chunk,
            shard: args.shard,
            levels: args.level.iter().map(|level| level.0).collect(),
            // A list is read by those who know where its samples lie.
            positions: job.sample.is_none(),
        },
        record,
        upstream,
        documents,
        notice: report::notice(job.dataset),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_into_a_store_is_told_with_its_store_and_its_level() {
        let lead = "leads into a store; name the store itself";
        for (below, expected) in [
            ("s1", format!("v/em.zarr/s1 {lead}, v/em.zarr, and the level as --level s1")),
            ("s1/0/0/0", format!("v/em.zarr/s1/0/0/0 {lead}, v/em.zarr, and the level as --level s1")),
            ("labels", format!("v/em.zarr/labels {lead}, v/em.zarr")),
            ("labels/a", format!("v/em.zarr/labels/a {lead}, v/em.zarr, whose labels a are written with it")),
            (
                "labels/a/s2",
                format!(
                    "v/em.zarr/labels/a/s2 {lead}, v/em.zarr, whose labels a are written with it, and the level as --level s2"
                ),
            ),
            (".zattrs", format!("v/em.zarr/.zattrs {lead}, v/em.zarr")),
        ] {
            assert_eq!(inside("v/em.zarr", below), expected);
        }
    }
}
