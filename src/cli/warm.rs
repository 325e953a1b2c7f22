//! `emfs warm`.

mod bar;
mod follow;
mod labels;
mod names;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use futures::StreamExt;
use futures::stream;
use parking_lot::Mutex;

use self::bar::WarmBar;
use self::names::{Named, Wanted, WantedImage, Wish};
use super::config::ConfigArgs;
use super::output::{eprint_line, print};
use super::place::{self, ImagePart, ImagePlace};
use super::session::{CacheArgs, Session, finish};
use super::size::human;
use super::{CliError, mounted};
use crate::archive::{ImageFailure, OpenImage};
use crate::catalog::{Catalog, SourceSpec};
use crate::daemon::TIMEOUT;
use crate::disk::{CacheUse, Disk, FolderAccess};
use crate::geometry::{CellIndex, LevelIndex, Region};
use crate::view::ViewSpec;
use crate::volume::Pyramid;
use crate::volume::warm::{WarmProgress, warm, warm_computed};

/// Memory for the voxels that display windows are taken from; an eighth of it for what waits to be kept, which has to be
/// more than is fetched ahead of the disk.
const MEMORY: u64 = 512 << 20;
/// Blocks that are looked at together.
const BATCH: usize = 512;
/// Images that are fetched at once; each host allows as many requests as its limits say.
const IMAGES: usize = 8;
/// Failures that are told of one by one.
const TOLD: usize = 1000;

/// Fetch what a job will read, to be kept on disk.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Names what to fetch as below the mountpoint: DATASET/NAME[/sN[/Z/Y/X]], where the image `em` and `.zarr` may be left out. A path
in a mount means what is mounted there, and its cache. A store is fetched with its labels, a sample with those that lie over it. Of
a box or a sample all chunks of the named store are fetched that it touches, since they are read as a whole. Needs no mount, and a
mount with the same cache directory has it at once. What is kept already is not fetched again, so an interrupted run is continued by
the same command.

Examples:
  emfs warm jrc_mus-nacc-2 --level s2
  emfs warm epfl-hippocampus --level s1,s2   # computes them once, for all who read them later
  emfs warm hemibrain --level s0 --box z18000-19000_y18000-19000_x15000-16000
  emfs warm hemibrain/em.crop-z18000-19000_y18000-19000_x15000-16000.zarr --cache-dir /scratch/em
  emfs warm --list chunks.txt                 # a line each, such as idr-9846137/em.zarr/s0/3/0/1; - reads stdin
  emfs warm --list list.csv                   # what the samples of `emfs sample` need, labels too
  emfs warm --follow list.csv --ahead 512 &   # the same a little ahead of a job that says what it has read, see `emfs help ml`
  emfs mount /mnt/em --offline                # then work with it where there is no network")]
pub(super) struct WarmArgs {
    /// DATASET/NAME, a level of it or a chunk
    #[arg(value_name = "DATASET/NAME", required_unless_present_any = ["list", "follow"])]
    names: Vec<String>,
    /// A file with a name, level or chunk per line, or a list of samples; `-` is standard input
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// A list of samples in the order in which a job reads them; keeps ahead of it, and ends with the list
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "list", "level", "within"])]
    follow: Option<PathBuf>,
    /// How many samples ahead of the last one read
    #[arg(long, value_name = "N", default_value_t = 512, requires = "follow", value_parser = clap::value_parser!(u64).range(1..))]
    ahead: u64,
    /// Where the job adds the number of each row that it has read, a line each [default: the list's name with .read]
    #[arg(long, value_name = "FILE", requires = "follow")]
    position: Option<PathBuf>,
    /// Only these levels of the stores, as s1 or s1,s2 [default: all]
    #[arg(long, value_name = "sN", value_parser = place::level, value_delimiter = ',')]
    level: Vec<LevelIndex>,
    /// Only this box of the stores, in voxels of their s0: zA-B_yA-B_xA-B
    #[arg(long = "box", value_name = "BOX", value_parser = |text: &str| ViewSpec::parse_box(text))]
    within: Option<Region>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print nothing but failures
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Fetches.
pub(super) fn run(args: &WarmArgs) -> Result<(), CliError> {
    if let Some(list) = &args.follow {
        return follow::run(args, list);
    }
    let mut named = args.named()?;
    let paths = named.iter_mut().filter_map(Named::path);
    let (catalog, cache) = mounted::meant_by_all(paths, &args.config, &args.cache)?;
    let mut failures = Failures::default();
    let wanted = args.wanted(&catalog, &named, &mut failures)?;
    let run = WarmRun::begin(args, &catalog, &cache, failures)?;
    finish(async {
        let work = stream::iter(&wanted).for_each_concurrent(IMAGES, |wanted| async {
            match run.session.open(wanted.source(), &wanted.name).await {
                Ok(opened) => {
                    run.image(wanted, &opened).await;
                    let place = &wanted.wishes[0].place;
                    if place.label.is_none()
                        && let Err(error) = run.session.measure_window(place.source(), &opened).await
                    {
                        run.failures.lock().add(format!("{}: its display window: {error}", wanted.name));
                    }
                }
                Err(error) => run.failures.lock().add(format!("{}: {error}", wanted.name)),
            }
        });
        tokio::select! {
            () = work => {}
            () = run.bar.show(&run.progress, &run.session.stats) => {}
        }
        run.confirm_absences().await;
    })?;
    run.end()
}

/// The disk of a cache that can be written.
fn writable(cache: &CacheUse) -> Result<Disk, CliError> {
    let Some(disk) = cache.disk.clone() else {
        return Err(CliError::Failed("there is no cache to fetch into (--cache-size 0?)".to_owned()));
    };
    match disk.access() {
        FolderAccess::ReadOnly => Err(CliError::Failed(format!("{} cannot be written", disk.folder().display()))),
        _ => Ok(disk),
    }
}

/// Tells what was fetched, in `received` bytes, and what could not be.
fn report(
    args: &WarmArgs,
    progress: &WarmProgress,
    received: u64,
    failures: Failures,
    begin: Instant,
) -> Result<(), CliError> {
    failures.lines.iter().for_each(|line| eprint_line(line));
    if !args.quiet {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = begin.elapsed().as_secs_f64();
        print(&format!(
            "{} blocks, {} of them kept before; {} fetched in {seconds:.1} s\n",
            load(&progress.blocks),
            load(&progress.found),
            human(received)
        ))?;
        for (dataset, blocks) in &*progress.absent.lock() {
            print(&format!("{dataset}: {blocks} blocks are absent at the archive, which shows as its fill value\n"))?;
        }
        match load(&progress.local) {
            0 => {}
            local => print(&format!(
                "{local} blocks are in files of this machine, which are read where they are: nothing of them need be kept\n"
            ))?,
        }
    }
    match failures.count {
        0 => Ok(()),
        count => Err(CliError::Failed(format!("{count} could not be fetched or kept"))),
    }
}

impl WantedImage<'_> {
    /// Where its voxels come from.
    fn source(&self) -> &SourceSpec {
        // There is no image of which nothing is wanted.
        self.wishes[0].place.source()
    }
}

/// What could not be had.
#[derive(Debug, Default)]
struct Failures {
    lines: Vec<String>,
    count: usize,
}

impl Failures {
    fn add(&mut self, line: String) {
        self.count += 1;
        if self.count <= TOLD {
            self.lines.push(line);
        }
    }
}

/// A run, and the work on one image in it.
struct WarmRun<'a> {
    args: &'a WarmArgs,
    session: Session,
    disk: Disk,
    progress: WarmProgress,
    failures: Mutex<Failures>,
    bar: WarmBar,
    /// Images that labels lie over, by name, as far as they were asked for.
    images: Mutex<HashMap<String, Pyramid>>,
    begin: Instant,
}

impl<'a> WarmRun<'a> {
    /// Opens the cache. `failures`: what could not be had before.
    fn begin(args: &'a WarmArgs, catalog: &Catalog, cache: &CacheArgs, failures: Failures) -> Result<Self, CliError> {
        let cache = cache.cache()?;
        let disk = writable(&cache)?;
        Ok(WarmRun {
            args,
            session: Session::new(&catalog.limits, cache, TIMEOUT, MEMORY)?,
            disk,
            progress: WarmProgress::default(),
            failures: Mutex::new(failures),
            bar: WarmBar::new(args.quiet),
            images: Mutex::default(),
            begin: Instant::now(),
        })
    }

    /// What is kept as absent is believed by others for a while.
    async fn confirm_absences(&self) {
        if let Err(cause) = self.session.remote.confirm_absences().await {
            self.failures.lock().add(cause.to_string());
        }
    }

    /// Has all of it on disk, and tells what was fetched and what could not be.
    fn end(self) -> Result<(), CliError> {
        let WarmRun { args, session, progress, failures, bar, begin, .. } = self;
        // Its lines end before others follow.
        drop(bar);
        let received = session.stats.received();
        drop(session);
        report(args, &progress, received, failures.into_inner(), begin)
    }

    async fn image(&self, wanted: &WantedImage<'_>, opened: &OpenImage) {
        let mut boxes: Vec<(LevelIndex, Region)> = Vec::new();
        let lies_over = |wish: &&Wish<'_>| matches!(wish.voxels, Wanted::Over(_)) || wish.place.lies_over_image();
        let over = match wanted.wishes.iter().find(lies_over) {
            Some(wish) => match self.over(&wish.place).await {
                Ok(image) => Some(image),
                Err(error) => return self.failures.lock().add(format!("{}: its image: {error}", wanted.name)),
            },
            None => None,
        };
        for wish in &wanted.wishes {
            match self.boxes(wish, &wanted.name, (opened, over.as_ref())) {
                Ok(more) => boxes.extend(more),
                Err(reason) => {
                    let at = self.args.place_of(wish.at);
                    self.failures.lock().add(format!("{at}{}: {reason}", wanted.name));
                }
            }
        }
        // Samples share chunks; chunks of one list share blocks, and lie together where they are sorted.
        let mut taken = HashSet::new();
        boxes.retain(|wanted| taken.insert(*wanted));
        let mut levels: Vec<(LevelIndex, Vec<Region>)> = Vec::new();
        for (level, region) in boxes {
            match levels.iter_mut().find(|(other, _)| *other == level) {
                Some((_, regions)) => regions.push(region),
                None => levels.push((level, vec![region])),
            }
        }
        for (level, regions) in levels {
            let Some(grid) = opened.image.grid(level) else { continue };
            let count = |region: &Region| {
                let extent = |axis: usize| {
                    let cell = grid.cell.0[axis].max(1);
                    region.end[axis].div_ceil(cell).saturating_sub(region.start[axis] / cell)
                };
                (0..3).map(extent).fold(1, u64::saturating_mul)
            };
            self.bar.expect(regions.iter().map(count).fold(0, u64::saturating_add));
            let mut blocks = regions.iter().flat_map(|region| grid.cells_in(region));
            loop {
                let batch: Vec<CellIndex> = blocks.by_ref().take(BATCH).collect();
                if batch.is_empty() {
                    break;
                }
                let unique: Vec<CellIndex> = batch.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
                self.bar.unexpect((batch.len() - unique.len()) as u64);
                let failed = if opened.image.is_computed(level) {
                    warm_computed(&self.session.blocks, &opened.image, level, &unique, &self.disk, &self.progress).await
                } else {
                    warm(&opened.image, level, &unique, &self.disk, &self.progress).await
                };
                for (block, error) in failed {
                    self.failures.lock().add(format!("{} {level} block {block}: {error}", wanted.name));
                }
            }
        }
    }

    /// The image that labels lie over.
    async fn over(&self, place: &ImagePlace<'_>) -> Result<Pyramid, ImageFailure> {
        let name = format!("{}/{}", place.store.dataset.name, place.store.image.name);
        if let Some(image) = self.images.lock().get(&name) {
            return Ok(image.clone());
        }
        let image = place.image(&self.session).await?;
        self.images.lock().insert(name, image.clone());
        Ok(image)
    }

    /// Levels of the image and the voxels of them that are wanted: whole chunks of what is named, since whoever reads a voxel of
    /// a chunk reads all of the chunk.
    fn boxes(
        &self,
        wish: &Wish<'_>,
        name: &str,
        (opened, over): (&OpenImage, Option<&Pyramid>),
    ) -> Result<Vec<(LevelIndex, Region)>, String> {
        let place = &wish.place;
        if let (Wanted::Over(voxels), ImagePart::Level(level, _), Some(image)) = (wish.voxels, &place.part, over) {
            return Ok(labels::over_sample(place, (image, &opened.pyramid), *level, &voxels));
        }
        let view = place.seen(over, None).view(&opened.pyramid).map_err(|error| error.to_string())?;
        // Labels that do not lie over the crop.
        let Some(view) = view else { return Ok(Vec::new()) };
        let (levels, chunk): (Vec<LevelIndex>, &[u64]) = match &place.part {
            ImagePart::Document => return Ok(Vec::new()),
            ImagePart::Level(level, chunk) => (vec![*level], chunk),
            ImagePart::All if self.args.level.is_empty() => {
                (view.numbers.iter().copied().map(LevelIndex).collect(), &[])
            }
            ImagePart::All => {
                // Images have different numbers of levels, and labels may have fewer than theirs.
                let (there, missing): (Vec<_>, Vec<_>) =
                    self.args.level.iter().copied().partition(|level| view.position(*level).is_some());
                match missing.first() {
                    Some(&level) if place.label.is_none() && there.is_empty() => {
                        return Err(place::region(&view, level, &[]).err().unwrap_or_default());
                    }
                    Some(level) if place.label.is_none() => {
                        eprint_line(&format!("{name} has no level {level}; the others are fetched"));
                    }
                    _ => {}
                }
                (there, &[])
            }
        };
        // The box is one of s0, also where that is not shown.
        let within = self.args.within.map(|part| place.seen(over, Some(part)).with_all_levels().view(&opened.pyramid));
        let within = within.transpose().map_err(|error| error.to_string())?;
        let mut boxes = Vec::new();
        for level in levels {
            let mut region = place::region(&view, level, chunk)?;
            let (shown, origin) = place::shown(&view, level)?;
            if let Wanted::Sample(voxels) = wish.voxels {
                let shape = shown.grid.shape;
                if shape.region().intersection(&voxels) != Some(voxels) {
                    return Err(format!("the sample does not lie in the {shape} voxels of {level}"));
                }
                region = place::chunks_of(shown, origin, &voxels);
            }
            if let Some(within) = &within {
                // Of coarser levels a small box shows nothing, and of labels that lie beside it.
                let part = within.as_ref().and_then(|within| place::region(within, level, &[]).ok());
                match part.and_then(|part| region.intersection(&part)) {
                    Some(part) => region = place::chunks_of(shown, origin, &part.relative_to(origin)),
                    None => continue,
                }
            }
            boxes.push((level, region));
        }
        Ok(boxes)
    }
}
