//! How fast chunks of a JPEG volume are decoded: million voxels a second of the decoder by itself, and the shares of that
//! of a chunk's decoding with all its checks, and of a volume that reads them from a local file. Run by `scripts/bench`, with the folder of a volume of 8×8×16 chunks of 64³ voxels in `EMFS_BENCH_VOLUME`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::block::Voxels;
use super::{Blocks, Image};
use crate::cache::Place;
use crate::geometry::{CellIndex, LevelIndex, Region};
use crate::remote::{LimitsByHost, Location};
use crate::source::{Placement, Source, precomputed};
use crate::stats::Stats;
use crate::store::Remote;

const ROUNDS: usize = 9;
const LEVEL: LevelIndex = LevelIndex(0);

/// Voxels per second of `decode` on all processors. What it decodes is kept, as a volume keeps it.
fn rate<V: AsRef<[u8]> + Send>(stored: &[(CellIndex, Bytes)], decode: impl Fn(CellIndex, &Bytes) -> V + Sync) -> f64 {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let decode = &decode;
    let begin = Instant::now();
    let decoded: Vec<V> = std::thread::scope(|scope| {
        let shares = stored.chunks(stored.len().div_ceil(threads));
        let each = |share: &[(CellIndex, Bytes)]| share.iter().map(|(cell, raw)| decode(*cell, raw)).collect();
        let running: Vec<_> = shares.map(|share| scope.spawn(move || -> Vec<V> { each(share) })).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let seconds = begin.elapsed().as_secs_f64();
    decoded.iter().map(|voxels| voxels.as_ref().len()).sum::<usize>() as f64 / seconds
}

/// The same through a volume with nothing in memory.
async fn through_volume(source: &Arc<dyn Source>, cells: &[CellIndex]) -> f64 {
    let blocks = Blocks::new(1 << 30, Arc::new(Stats::default()));
    let image = Arc::new(Image::new(0, "d/em", source.clone(), Place::cached()));
    let begin = Instant::now();
    let mut voxels = 0;
    let mut results = blocks.request(&image, LEVEL, cells.to_vec(), None);
    while let Some((_, result)) = results.next().await {
        let Voxels::Present(held) = result.unwrap() else { panic!("a chunk is absent") };
        voxels += held.data.len();
    }
    voxels as f64 / begin.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn share_of_the_bare_decoder_s_rate() {
    let folder = std::env::var("EMFS_BENCH_VOLUME").unwrap();
    let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(30), Arc::new(Stats::default())).unwrap();
    let opened = precomputed::open(&remote, &Location::parse(&folder, None).unwrap(), None).await.unwrap();
    let source: Arc<dyn Source> = Arc::new(opened);
    let half = Region { start: [0; 3], end: [512; 3] };
    let cells: Vec<CellIndex> = source.description().levels[0].grid.cells_in(&half).collect();
    let mut stored = Vec::new();
    for &cell in &cells {
        let Placement::Range { object, start, length } = source.locate(LEVEL, cell).await.unwrap() else { panic!() };
        stored.push((cell, object.range(start..start + length).await.unwrap().bytes));
    }
    let mut rounds: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        let grey = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::Luma);
        let bare = rate(&stored, |_, raw| JpegDecoder::new_with_options(ZCursor::new(raw), grey).decode().unwrap());
        let checked = rate(&stored, |cell, raw| source.decode(LEVEL, cell, raw.clone()).unwrap());
        let through = through_volume(&source, &cells).await;
        for (rounds, value) in rounds.iter_mut().zip([bare / 1e6, checked / bare, through / bare]) {
            rounds.push(value);
        }
    }
    let [bare, checked, through] = rounds.map(|mut rounds| {
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2]
    });
    println!("| {bare:.0} | {checked:.2} | {through:.2} |");
}
