//! What the tests of exports share: images whose blocks are absent or cannot be had.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{
    AbsentIn, Destination, ExportError, ExportMember, ExportOptions, ExportOutcome, ExportRequest, Exporter, Progress,
};
use crate::cache::FetchPlace;
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, LevelIndex, Shape};
use crate::remote::{Cause, RemoteError};
use crate::source::{Description, Placement, Source, SourceError, SourceLevel, StorageFormat};
use crate::stats::Stats;
use crate::store::{ABSENT_TTL, Remote};
use crate::view::ViewSpec;
use crate::volume::{Blocks, Image, Level, Pyramid};

/// One level of bytes; its blocks are absent, or fail as told.
struct Fake {
    description: Description,
    failure: Option<SourceError>,
}

impl Source for Fake {
    fn description(&self) -> &Description {
        &self.description
    }

    fn locate(&self, _: LevelIndex, _: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        let found = self.failure.clone().map_or(Ok(Placement::Absent { confirmed: std::time::UNIX_EPOCH }), Err);
        Box::pin(async { found })
    }

    fn decode(&self, _: LevelIndex, _: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        Ok(raw)
    }
}

/// Memory for blocks.
pub(super) fn blocks() -> Arc<Blocks> {
    Blocks::new(16 << 20, ABSENT_TTL, Arc::new(Stats::default()))
}

/// A request for all of an image with a grid of its own.
pub(super) fn request(
    shape: [u64; 3],
    chunk: [u64; 3],
    block: [u64; 3],
    failure: Option<SourceError>,
) -> ExportRequest {
    let (dtype, scale, translation) = (DataType::U8, [1.0; 3], [0.0; 3]);
    let grid = |cell| Grid { shape: Shape(shape), cell: Shape(cell) };
    let description = Description {
        dtype,
        levels: vec![SourceLevel { grid: grid(block), scale: Some(scale), translation, offset: [0; 3] }],
        fill: FillValue::zero(dtype),
        window: None,
        format: StorageFormat::for_tests(),
        downsampling: None,
        chunked: true,
    };
    let pyramid = Pyramid::for_tests(
        dtype,
        vec![Level { grid: grid(chunk), scale, translation, corner: translation, offset: [0; 3] }],
    );
    let image = Arc::new(Image::new(0, "d/em", Arc::new(Fake { description, failure }), FetchPlace::cached()));
    let member =
        ExportMember { label: None, image, pyramid, origin: "https://host/v".to_owned(), source: "1".to_owned() };
    ExportRequest {
        name: "v/em".to_owned(),
        title: "v em".to_owned(),
        view: ViewSpec::default(),
        members: vec![member],
        options: ExportOptions::default(),
        record: serde_json::json!({}),
        upstream: Vec::new(),
        documents: Default::default(),
        notice: None,
    }
}

const LONG: Duration = Duration::from_secs(3600);

/// Writes an array of 20 chunks, a batch each, to a new folder.
async fn export(
    folder: &Path,
    failure: Option<SourceError>,
    timeout: Duration,
) -> (Result<ExportOutcome, ExportError>, u64) {
    let remote = Remote::new(Default::default(), timeout, Arc::new(Stats::default())).unwrap();
    let progress = Arc::new(Progress::new(Arc::new(Stats::default())));
    let exporter = Exporter::new(remote, blocks(), 8 * 16 * 16 * 16, 1, progress.clone());
    let request = request([320, 16, 16], [16; 3], [16; 3], failure);
    let destination = Destination::Directory(folder.join("x.zarr"));
    let outcome = exporter.export(&request, &destination, false).await;
    (outcome, progress.state().failed)
}

fn remote_error(cause: Cause) -> Option<SourceError> {
    Some(SourceError::Remote(RemoteError { url: "https://host/v".to_owned(), range: None, attempts: 1, cause }))
}

#[tokio::test]
async fn an_export_of_absent_blocks_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, failed) = export(folder.path(), None, LONG).await;
    let absent = AbsentIn { array: "s0".to_owned(), blocks: 20, is_all: true };
    assert_eq!((outcome.unwrap(), failed), (ExportOutcome::Written(vec![absent]), 0));
}

#[tokio::test]
async fn an_origin_that_is_down_is_not_asked_for_all_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, failed) = export(folder.path(), remote_error(Cause::timeout(60)), Duration::from_nanos(1)).await;
    let told = outcome.unwrap_err().to_string();
    assert!(failed < 20 && told.contains("cannot be reached") && told.contains("--resume"), "{failed} {told}");
}

#[tokio::test]
async fn an_outage_that_is_short_does_not_stop_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (outcome, failed) = export(folder.path(), remote_error(Cause::Status(503)), LONG).await;
    let told = outcome.unwrap_err().to_string();
    assert!(failed == 20 && told.contains("20 chunks could not be had"), "{failed} {told}");
}

#[tokio::test]
async fn damage_at_the_origin_does_not_stop_the_rest() {
    for failure in [Some(SourceError::malformed("v", "s0", "damaged")), remote_error(Cause::Denied(403))] {
        let folder = tempfile::tempdir().unwrap();
        let (outcome, failed) = export(folder.path(), failure, Duration::from_nanos(1)).await;
        let told = outcome.unwrap_err().to_string();
        assert!(failed == 20 && told.contains("20 chunks could not be had"), "{failed} {told}");
    }
}
