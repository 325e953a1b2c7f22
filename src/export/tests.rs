//! What the tests of exports share: images whose blocks are absent or cannot be had.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{Member, Options, Request};
use crate::dtype::{DataType, FillValue};
use crate::geometry::{CellIndex, Grid, LevelIndex, Shape};
use crate::source::{Description, Placement, Source, SourceError, SourceLevel};
use crate::stats::Stats;
use crate::volume::{Blocks, Image, Level, Pyramid, ViewSpec};

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
        let found = self.failure.clone().map_or(Ok(Placement::Absent), Err);
        Box::pin(async { found })
    }

    fn decode(&self, _: LevelIndex, _: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        Ok(raw)
    }
}

/// Memory for blocks.
pub(super) fn blocks() -> Arc<Blocks> {
    Blocks::new(16 << 20, Arc::new(Stats::default()))
}

/// A request for all of an image with a grid of its own.
pub(super) fn request(shape: [u64; 3], chunk: [u64; 3], block: [u64; 3], failure: Option<SourceError>) -> Request {
    let (dtype, scale, translation) = (DataType::U8, [1.0; 3], [0.0; 3]);
    let grid = |cell| Grid { shape: Shape(shape), cell: Shape(cell) };
    let description = Description {
        dtype,
        levels: vec![SourceLevel { grid: grid(block), scale: Some(scale), translation }],
        fill: FillValue::zero(dtype),
        window: None,
        format: "fake".to_owned(),
        downsampling: None,
        chunked: true,
    };
    let pyramid = Pyramid {
        dtype,
        levels: vec![Level { grid: grid(chunk), scale, translation }],
        fill: FillValue::zero(dtype),
        window: (0.0, 255.0),
        calibrated: true,
        format: "fake".to_owned(),
        downsampling: None,
    };
    let image = Arc::new(Image::new(0, Arc::new(Fake { description, failure }), &blocks()));
    let member = Member { label: None, image, pyramid, origin: "https://host/v".to_owned(), source: "1".to_owned() };
    Request {
        name: "v/em".to_owned(),
        title: "v em".to_owned(),
        view: ViewSpec::default(),
        members: vec![member],
        options: Options::default(),
        record: serde_json::json!({}),
        upstream: Vec::new(),
        documents: Default::default(),
        notice: None,
    }
}
