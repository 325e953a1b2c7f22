//! Blocks that are computed from blocks which never come.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::cache::{FetchPlace, Joined};
use crate::volume::tests::{Empty, spec};

/// Longer than anything takes here that does not wait for a host.
const DEADLINE: Duration = Duration::from_secs(20);

const SILENT: u32 = 0;
const OTHER: u32 = 1;

/// Blocks of which those of one image never come, and those of others are absent.
struct Lower {
    memory: Arc<BlockMemory>,
    /// Who waits for blocks that do not come.
    waiting: Arc<AtomicUsize>,
}

/// One who waits, until it is dropped.
struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    fn new(of: &Arc<AtomicUsize>) -> Self {
        of.fetch_add(1, Ordering::SeqCst);
        Waiting(of.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Below for Lower {
    fn memory(&self) -> &BlockMemory {
        &self.memory
    }

    fn request(self: Arc<Self>, image: &Arc<Image>, _: LevelIndex, wanted: Vec<CellIndex>, _: u64) -> Requested {
        let is_silent = image.number == SILENT;
        let come = |index| {
            let waiting = Waiting::new(&self.waiting);
            Box::pin(async move {
                if is_silent {
                    std::future::pending::<()>().await;
                }
                drop(waiting);
                (index, Ok(BlockVoxels::Absent))
            }) as BoxFuture<'static, _>
        };
        wanted.into_iter().map(come).collect()
    }
}

/// An image with two computed levels.
fn image(number: u32, place: FetchPlace) -> Arc<Image> {
    let source = Arc::new(Empty::of_cells([1, 2048, 2048], [1, 64, 64]));
    let image = Image::new(number, "d/em", source, place).with_computed(&spec(None), None, None);
    assert_eq!(image.computed().levels.len(), 2);
    Arc::new(image)
}

fn lower() -> Arc<Lower> {
    Arc::new(Lower {
        memory: BlockMemory::new(1 << 20, Duration::from_secs(60), Arc::default()),
        waiting: Arc::default(),
    })
}

/// Begins to compute a block; what is returned waits for it.
fn begin(lower: &Arc<Lower>, image: &Arc<Image>, level: u8, x: u64) -> impl Future<Output = Option<BlockOutcome>> {
    let key = BlockKey { image: image.number, level: LevelIndex(level), index: CellIndex([0, x / 8, x % 8]) };
    let Joined::Leading(leader, follower) = lower.memory.join(key).0 else { panic!("nobody computes {key:?} yet") };
    task::spawn(compute(lower.clone(), image.clone(), leader, None));
    async move { follower.await.ok() }
}

#[tokio::test]
async fn what_a_silent_host_should_send_keeps_no_memory_from_what_others_compute() {
    let lower = lower();
    let silent = image(SILENT, FetchPlace::host("silent"));
    let others = [FetchPlace::host("other"), FetchPlace::here("/")].map(|place| image(OTHER, place));
    for level in [1, 2] {
        let pending: Vec<_> = (0..64).map(|x| begin(&lower, &silent, level, x)).collect();
        while lower.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        for (x, image) in (0..).zip(&others) {
            let computed = tokio::time::timeout(DEADLINE, begin(&lower, image, level, x)).await;
            let Ok(Some(BlockOutcome::Settled(Ok(BlockVoxels::Present(held))))) = computed else {
                panic!("level {level} at {:?}: {computed:?}", image.place);
            };
            assert_eq!(held.data, vec![7; 64 * 64]);
        }
        assert!(lower.waiting.load(Ordering::SeqCst) > 0);
        drop(pending);
    }
}

#[tokio::test]
async fn a_block_that_nobody_waits_for_any_more_is_not_computed() {
    let lower = lower();
    let image = image(SILENT, FetchPlace::host("a"));
    let follower = begin(&lower, &image, 2, 0);
    while lower.waiting.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    drop(follower);
    let began = Instant::now();
    while lower.waiting.load(Ordering::SeqCst) > 0 {
        assert!(began.elapsed() < DEADLINE, "it still waits for blocks below");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Who asks again has it computed anew.
    drop(begin(&lower, &image, 2, 0));
}
