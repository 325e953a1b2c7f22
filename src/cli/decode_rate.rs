//! `emfs decode-rate`: how fast chunks of a JPEG volume are decoded. For `scripts/bench`; a command, and not a benchmark of
//! Cargo's, because it measures the binary that people run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::CliError;
use super::output::print;
use crate::cache::FetchPlace;
use crate::geometry::{CellIndex, LevelIndex, Region};
use crate::remote::{LimitsByHost, Location};
use crate::source::{Placement, Source, precomputed};
use crate::stats::Stats;
use crate::store::{ABSENT_TTL, CachePolicy, Remote};
use crate::volume::block::BlockVoxels;
use crate::volume::{Blocks, Image};

/// The hidden subcommand.
pub(super) const COMMAND: &str = "decode-rate";

const ROUNDS: usize = 9;
const LEVEL: LevelIndex = LevelIndex(0);

/// The box whose chunks are decoded.
const BOX: Region = Region { start: [0; 3], end: [512; 3] };

/// Print a row: million voxels a second of the decoder by itself, and the shares of that of a chunk's decoding with all its
/// checks, and of a volume that reads the chunks from a local file
#[derive(Debug, clap::Args)]
pub(super) struct DecodeRateArgs {
    /// The folder of a precomputed volume of sharded JPEG chunks, of 512³ voxels or more
    folder: String,
}

pub(super) fn run(args: &DecodeRateArgs) -> Result<(), CliError> {
    let runtime = tokio::runtime::Runtime::new().map_err(CliError::system("starting the runtime"))?;
    let [bare, checked, through] = runtime.block_on(measure(&args.folder)).map_err(CliError::Failed)?;
    Ok(print(&format!("| {bare:.0} | {checked:.2} | {through:.2} |\n"))?)
}

async fn measure(folder: &str) -> Result<[f64; 3], String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let location = Location::parse(folder, None).map_err(|error| told(&error))?;
    let (limits, stats) = (LimitsByHost::default(), Arc::new(Stats::default()));
    let remote = Remote::with_policy(limits, Duration::from_secs(30), stats, CachePolicy::default());
    let remote = remote.map_err(|error| told(&error))?;
    let source: Arc<dyn Source> =
        Arc::new(precomputed::open(&remote, &location, None).await.map_err(|error| told(&error))?);
    let finest = source.description().levels.first().ok_or("the volume has no level")?;
    let cells: Vec<CellIndex> = finest.grid.cells_in(&BOX).collect();
    let mut stored = Vec::new();
    for &cell in &cells {
        let placement = source.locate(LEVEL, cell).await.map_err(|error| told(&error))?;
        let Placement::Range { object, start, length } = placement else {
            return Err(format!("chunk {cell} is no part of a shard"));
        };
        let fetched = object.range(start..start.saturating_add(length)).await.map_err(|error| told(&error))?;
        stored.push((cell, fetched.bytes));
    }
    let mut rounds: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let grey = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::Luma);
        let by_itself = |_, raw: &Bytes| {
            let decoded = JpegDecoder::new_with_options(ZCursor::new(raw), grey).decode();
            decoded.map_err(|error| told(&error))
        };
        let with_checks = |cell, raw: &Bytes| source.decode(LEVEL, cell, raw.clone()).map_err(|error| told(&error));
        let bare = rate(&stored, by_itself)?;
        let checked = rate(&stored, with_checks)?;
        let through = through_volume(&source, &cells).await?;
        for (rounds, value) in rounds.iter_mut().zip([bare / 1e6, checked / bare, through / bare]) {
            rounds.push(value);
        }
    }
    Ok(rounds.map(|mut rounds| {
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2]
    }))
}

/// Voxels per second of `decode` on all processors. What it decodes is kept, as a volume keeps it.
fn rate<V: AsRef<[u8]> + Send>(
    stored: &[(CellIndex, Bytes)],
    decode: impl Fn(CellIndex, &Bytes) -> Result<V, String> + Sync,
) -> Result<f64, String> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let decode = &decode;
    let begin = Instant::now();
    let decoded: Vec<Result<V, String>> = std::thread::scope(|scope| {
        let shares = stored.chunks(stored.len().div_ceil(threads).max(1));
        let each = |share: &[(CellIndex, Bytes)]| share.iter().map(|(cell, raw)| decode(*cell, raw)).collect();
        let running: Vec<_> =
            shares.map(|share| scope.spawn(move || -> Vec<Result<V, String>> { each(share) })).collect();
        let died = || vec![Err("a thread that decodes has died".to_owned())];
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|_| died())).collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    let mut voxels = 0;
    for chunk in decoded {
        voxels += chunk?.as_ref().len();
    }
    Ok(voxels as f64 / seconds)
}

/// The same through a volume with nothing in memory.
async fn through_volume(source: &Arc<dyn Source>, cells: &[CellIndex]) -> Result<f64, String> {
    let blocks = Blocks::new(1 << 30, ABSENT_TTL, Arc::new(Stats::default()));
    let image = Arc::new(Image::new(0, "d/em", source.clone(), FetchPlace::cached()));
    let begin = Instant::now();
    let mut voxels = 0;
    let mut results = blocks.request(&image, LEVEL, cells.to_vec(), None);
    while let Some((cell, result)) = results.next().await {
        match result.map_err(|error| error.to_string())? {
            BlockVoxels::Present(held) => voxels += held.data.len(),
            BlockVoxels::Absent => return Err(format!("chunk {cell} is absent")),
        }
    }
    Ok(voxels as f64 / begin.elapsed().as_secs_f64())
}
