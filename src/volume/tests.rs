//! Images and chunks of a source that holds no block.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::*;
use crate::cache::FetchPlace;
use crate::catalog::{Recorded, SourceKind, SourceSpec};
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, LevelIndex, Region, Shape};
use crate::remote::Location;
use crate::source::coarser::Coarser;
use crate::source::{Description, Placement, Relative, Source, SourceError, SourceLevel, StorageFormat};
use crate::stats::Stats;
use crate::store::ABSENT_TTL;

/// Levels of bytes without a voxel size, all blocks of which are absent.
pub(super) struct Empty {
    description: Description,
    relative: Vec<Relative>,
    partial: [Option<f64>; 3],
    plain: Option<[f64; 3]>,
}

impl Empty {
    pub(super) fn new(shapes: &[[u64; 3]], relative: Vec<Relative>) -> Self {
        let level = |&shape: &[u64; 3]| SourceLevel {
            grid: Grid { shape: Shape(shape), cell: Shape([4; 3]) },
            scale: None,
            translation: [0.0; 3],
            offset: [0; 3],
        };
        let description = Description {
            dtype: DataType::U8,
            levels: shapes.iter().map(level).collect(),
            fill: FillValue::from_le_bytes(&[7]).unwrap(),
            window: None,
            format: StorageFormat::for_tests(),
            downsampling: None,
            chunked: true,
        };
        Empty { description, relative, partial: [None; 3], plain: None }
    }

    /// One level in blocks of that shape.
    pub(super) fn of_cells(shape: [u64; 3], cell: [u64; 3]) -> Self {
        let mut source = Empty::new(&[shape], vec![]);
        source.description.levels[0].grid.cell = Shape(cell);
        source
    }
}

impl Source for Empty {
    fn description(&self) -> &Description {
        &self.description
    }

    fn relative(&self, level: LevelIndex) -> Option<Relative> {
        self.relative.get(usize::from(level.0)).copied()
    }

    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        self.partial
    }

    fn plain_voxel_size(&self) -> Option<[f64; 3]> {
        self.plain
    }

    fn locate(&self, _: LevelIndex, _: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async { Ok(Placement::Absent { confirmed: std::time::UNIX_EPOCH }) })
    }

    fn decode(&self, _: LevelIndex, _: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        Ok(raw)
    }
}

/// A scale and a translation.
type Placed = ([f64; 3], [f64; 3]);

/// Scales and translations that are shown of levels of these extents along `z`.
fn shown(extents: &[u64], relative: Vec<Relative>, voxel_size: Option<[f64; 3]>) -> Vec<Placed> {
    let (levels, calibrated) = shown_with(extents, relative, [None; 3], voxel_size);
    assert_eq!(calibrated, [voxel_size.is_some(); 3]);
    levels
}

/// The same of a source that states sizes along some axes, and along which they are known in the end.
fn shown_with(
    extents: &[u64],
    relative: Vec<Relative>,
    partial: [Option<f64>; 3],
    voxel_size: Option<[f64; 3]>,
) -> (Vec<Placed>, [bool; 3]) {
    let shapes: Vec<[u64; 3]> = extents.iter().map(|&extent| [extent, 4, 4]).collect();
    let image = Arc::new(Image::new(
        0,
        "d/em",
        Arc::new(Empty { partial, ..Empty::new(&shapes, relative) }),
        FetchPlace::cached(),
    ));
    let pyramid = image.pyramid(&spec(voxel_size), None, None, "v").unwrap();
    (pyramid.levels.iter().map(|level| (level.scale, level.translation)).collect(), pyramid.calibrated)
}

pub(super) fn spec(voxel_size: Option<[f64; 3]>) -> SourceSpec {
    let url = Location::anonymous("file:///v".parse().unwrap());
    SourceSpec {
        pyramid: true,
        first_level: None,
        label: None,
        kind: SourceKind::Zarr { url },
        chunk: None,
        window: None,
        recorded_window: None,
        recorded: Recorded::default(),
        voxel_size,
        channel: None,
        overrides: Default::default(),
        tissue: None,
    }
}

#[test]
fn a_voxel_size_along_some_axes_is_kept_and_the_configuration_fills_the_others() {
    let of = |factor: f64| Relative { scale: [factor; 3], translation: [0.5, 0.5, 0.0] };
    let (extents, relative, partial) = ([20, 10], vec![of(1.0), of(2.0)], [None, Some(8.0), Some(4.0)]);
    let half = [([1.0, 8.0, 4.0], [0.5, 4.0, 0.0]), ([2.0, 16.0, 8.0], [0.5, 4.0, 0.0])];
    let found = shown_with(&extents, relative.clone(), partial, None);
    assert_eq!(found, (half.to_vec(), [false, true, true]));
    let full = [([30.0, 8.0, 4.0], [15.0, 4.0, 0.0]), ([60.0, 16.0, 8.0], [15.0, 4.0, 0.0])];
    let found = shown_with(&extents, relative, partial, Some([30.0, 9.0, 4.0]));
    assert_eq!(found, (full.to_vec(), [true; 3]));
}

#[test]
fn levels_without_a_voxel_size_keep_the_ratios_that_the_source_states() {
    let of = |factor: f64| Relative { scale: [factor, 1.0, 1.0], translation: [3.0, 0.0, 0.0] };
    // Of 1001 halved six and seven times with the rest dropped 15 and 7 are left, which are not 1001 / 64 and / 128.
    let (extents, relative) = ([1001, 15, 7], vec![of(1.0), of(64.0), of(128.0)]);
    let counted = [1.0, 64.0, 128.0].map(|factor| ([factor, 1.0, 1.0], [3.0, 0.0, 0.0]));
    assert_eq!(shown(&extents, relative.clone(), None), counted);
    let sized = [30.0, 1920.0, 3840.0].map(|size| ([size, 8.0, 4.0], [90.0, 0.0, 0.0]));
    assert_eq!(shown(&extents, relative, Some([30.0, 8.0, 4.0])), sized);
}

#[test]
fn a_voxel_whose_size_has_no_unit_keeps_the_ratio_of_its_edges() {
    let of = |factor: f64| Relative { scale: [1.0, factor, factor], translation: [2.0, 12.5, 0.0] };
    let shown = |plain: [f64; 3], voxel_size: Option<[f64; 3]>, relative: Vec<Relative>| {
        let empty = Empty { plain: Some(plain), ..Empty::new(&[[20, 8, 8], [20, 4, 4]], relative) };
        let image = Arc::new(Image::new(0, "d/em", Arc::new(empty), FetchPlace::cached()));
        let pyramid = image.pyramid(&spec(voxel_size), None, None, "v").unwrap();
        assert_eq!(pyramid.calibrated, [voxel_size.is_some(); 3]);
        pyramid.levels.iter().map(|level| (level.scale, level.translation)).collect::<Vec<_>>()
    };
    let edges = [([5.0, 1.0, 1.0], [10.0, 12.5, 0.0]), ([5.0, 2.0, 2.0], [10.0, 12.5, 0.0])];
    for plain in [[40.0, 8.0, 8.0], [0.04, 0.008, 0.008], [5.0, 1.0, 1.0]] {
        assert_eq!(shown(plain, None, vec![of(1.0), of(2.0)]), edges);
    }
    let sized = [([30.0, 8.0, 4.0], [60.0, 100.0, 0.0]), ([30.0, 16.0, 8.0], [60.0, 100.0, 0.0])];
    assert_eq!(shown([40.0, 8.0, 8.0], Some([30.0, 8.0, 4.0]), vec![of(1.0), of(2.0)]), sized);
    assert_eq!(shown([40.0, 8.0, 8.0], None, vec![])[1], ([5.0, 2.0, 2.0], [0.0, 0.5, 0.5]));
    // What is out of all proportion says nothing.
    assert_eq!(shown([1e300, 1e-300, 1.0], None, vec![of(1.0), of(2.0)])[0].0, [1.0; 3]);
}

#[test]
fn levels_of_which_the_source_states_no_place_are_estimated_by_their_shapes() {
    let expected = [([30.0, 8.0, 4.0], [0.0; 3]), ([60.0, 8.0, 4.0], [15.0, 0.0, 0.0])];
    assert_eq!(shown(&[21, 10], vec![], Some([30.0, 8.0, 4.0])), expected);
}

#[test]
fn a_volume_from_a_level_on_has_its_corners_where_the_whole_one_has_them() {
    let source = || {
        let mut source = Empty::new(&[[97, 83, 45], [50, 43, 23], [26, 22, 12]], vec![]);
        for (number, level) in source.description.levels.iter_mut().enumerate() {
            // As precomputed volumes have them.
            let factor = f64::from(1u8 << number);
            level.scale = Some([8.0 * factor, 8.0 * factor, 30.0]);
            level.offset = [13 >> number, 7 >> number, 21];
            let centre = |axis: usize| level.offset[axis] as f64 * 8.0 * factor + 4.0 * (factor - 1.0);
            level.translation = [centre(0), centre(1), 630.0];
        }
        source
    };
    let levels = |source: Arc<dyn Source>, force: Option<[f64; 3]>| {
        let image = Arc::new(Image::new(0, "d/em", source, FetchPlace::cached()));
        let mut spec = spec(None);
        spec.overrides.voxel_size = force;
        image.pyramid(&spec, None, None, "v").unwrap().levels
    };
    let part = |first| Arc::new(Coarser::new(Box::new(source()), first, "f").unwrap());
    let whole = levels(Arc::new(source()), None);
    assert_eq!(whole[1].corner, [96.0, 48.0, 630.0]);
    for first in 0..3 {
        assert_eq!(levels(part(first), None), whole[usize::from(first)..]);
    }
    let forced = levels(part(1), Some([32.0, 32.0, 60.0]));
    assert_eq!(forced[0].corner, [192.0, 96.0, 1260.0], "twice as large");
}

#[tokio::test]
async fn a_chunk_that_is_an_absent_block_is_asked_for_once() {
    let stats = Arc::new(Stats::default());
    let blocks = Blocks::new(1 << 20, ABSENT_TTL, stats.clone());
    let chunks = Chunks::new(1 << 20, blocks.clone(), stats.clone());
    let image = Arc::new(Image::new(0, "d/em", Arc::new(Empty::new(&[[8, 8, 8]], vec![])), FetchPlace::cached()));
    let grid = image.source.description().levels[0].grid;
    let region = grid.region(CellIndex([1, 0, 1]));
    let geometry = ChunkGeometry { level: LevelIndex(0), region, chunk: grid.cell };
    let chunk = chunks.read(&image, ChunkKey { image: 0, geometry }).await.unwrap();
    assert_eq!(chunk.data, vec![7; 64]);
    let counted = stats.snapshot().cache;
    assert_eq!((counted.block_hits, counted.block_misses), (0, 1));
}

#[tokio::test]
async fn what_is_made_of_absent_blocks_holds_no_longer_than_they_do() {
    let stats = Arc::new(Stats::default());
    let ttl = std::time::Duration::from_millis(20);
    let blocks = Blocks::new(1 << 20, ttl, stats.clone());
    let chunks = Chunks::new(1 << 20, blocks.clone(), stats.clone());
    let empty = Arc::new(Empty::of_cells([4, 1024, 4], [4; 3]));
    let image = Image::new(0, "d/em", empty, FetchPlace::cached()).with_computed(&spec(None), None, None);
    assert!(image.is_computed(LevelIndex(1)));
    let image = Arc::new(image);
    let of = |start: u64, end: u64| Region { start: [0, start, 0], end: [4, end, 4] };
    // A block, several of them, a block that is computed of some, and several of those.
    for (level, region) in [(0, of(16, 20)), (0, of(30, 50)), (1, of(0, 4)), (1, of(8, 20))] {
        let geometry = ChunkGeometry { level: LevelIndex(level), region, chunk: region.shape() };
        let key = ChunkKey { image: 0, geometry };
        let first = chunks.read(&image, key).await.unwrap();
        assert!(first.holds_until().is_some_and(|until| until <= std::time::Instant::now() + ttl), "{geometry:?}");
        tokio::time::sleep(2 * ttl).await;
        assert!(first.is_over() && chunks.cached(&image, &key).is_none());
        let misses = stats.snapshot().cache.block_misses;
        assert_eq!(chunks.read(&image, key).await.unwrap().data, first.data);
        assert!(stats.snapshot().cache.block_misses > misses, "it is asked for again: {geometry:?}");
    }
}
