//! `slice.png`: a slice as a picture, in its window, with labels over it.

use std::io;
use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use super::body::{self, Body};
use super::conditions::{Outcome, weigh};
use super::describe::describe;
use super::documents::{Described, DescribedLevel};
use super::failure::Failure;
use super::headers::value;
use super::overlay::Overlay;
use super::query::Query;
use super::site::Site;
use super::slice::{self, Cut, MAX_SIDE, Slice};
use crate::geometry::LevelIndex;
use crate::task;
use crate::view::LevelNames;

/// Pixels that the longer side of a picture should have at least, where nobody says.
const SIZE: u64 = 512;

/// How much of a pixel is its label's colour, of 256.
const OVER: u32 = 96;

/// What a picture shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PictureView {
    /// Which of the levels.
    pub level: usize,
    /// Which of its voxels.
    pub cut: Cut,
    /// Values to be shown black and white.
    pub window: (f64, f64),
    /// The labels over it.
    pub labels: Option<String>,
}

impl PictureView {
    /// What a query asks for: `level` (its name or number), `axis`, `z` (or `y`, `x`: the voxel of that level along the axis),
    /// `lo` and `hi`, `labels`, `size`. What it leaves open is chosen.
    pub fn of(described: &Described, query: &Query) -> Result<PictureView, Failure> {
        let axis = match query.get("axis") {
            None | Some("z") => 0,
            Some("y") => 1,
            Some("x") => 2,
            Some(other) => return Err(Failure::Request(format!("`axis={other}` is none of z, y, x"))),
        };
        let across = Cut { axis, index: 0, step: 1 };
        let size = query.number("size")?.unwrap_or(SIZE);
        let level = match query.get("level") {
            None => {
                let longest = |level: &DescribedLevel| across.extent(level).into_iter().max().unwrap_or_default();
                described.levels.iter().rposition(|level| longest(level) >= size).unwrap_or_default()
            }
            Some(name) => {
                let asked = level_named(name);
                let is_asked = |level: &DescribedLevel| asked.is_some() && level_named(&level.path) == asked;
                let found = described.levels.iter().position(is_asked);
                found.ok_or_else(|| Failure::NotFound(format!("level `{name}`")))?
            }
        };
        let Some(chosen) = described.levels.get(level) else { return Err(Failure::NotFound("level".to_owned())) };
        let extent = chosen.grid.shape.0[axis];
        let asked = query.number("z")?;
        let asked = if asked.is_some() { asked } else { query.number(["z", "y", "x"][axis])? };
        let index = asked.unwrap_or(extent / 2);
        if index >= extent {
            return Err(Failure::NotFound(format!("slice {index} of {extent}")));
        }
        let longest = across.extent(chosen).into_iter().max().unwrap_or(1);
        let step = longest.div_ceil(MAX_SIDE).max(1);
        let (black, white) = described.window.unwrap_or((0.0, 255.0));
        let window = (query.number("lo")?.unwrap_or(black), query.number("hi")?.unwrap_or(white));
        let labels = query.get("labels").map(str::to_owned);
        if let Some(name) = labels.as_ref().filter(|name| !described.labels.contains(name)) {
            return Err(Failure::NotFound(format!("labels `{name}`")));
        }
        Ok(PictureView { level, cut: Cut { axis, index, step }, window, labels })
    }
}

/// The answer to a request for a picture. Its tag is another one for another picture, and in each life of a server; who has it
/// has no chunk read.
pub(super) async fn respond(
    site: &Arc<Site>,
    (dataset, store): (&str, &str),
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    let described = describe(site, dataset, store, "").await?;
    let view = PictureView::of(&described, query)?;
    let tag = format!("\"{:x}-p{:x}\"", site.life(), xxh3_64(format!("{dataset}/{store} {view:?}").as_bytes()));
    let mut response = Response::new(body::empty());
    response.headers_mut().insert(CACHE_CONTROL, value("no-cache"));
    response.headers_mut().extend(HeaderValue::from_str(&tag).ok().map(|tag| (ETAG, tag)));
    match weigh(headers, &tag, 0) {
        Outcome::NotModified => *response.status_mut() = StatusCode::NOT_MODIFIED,
        Outcome::Changed => *response.status_mut() = StatusCode::PRECONDITION_FAILED,
        // Of a picture there are no parts.
        Outcome::Send(_) => {
            *response.body_mut() = body::whole(drawn(site, &described, view).await?);
            response.headers_mut().insert(CONTENT_TYPE, value("image/png"));
        }
    }
    Ok(response)
}

/// The picture as a file.
async fn drawn(site: &Arc<Site>, described: &Described, view: PictureView) -> Result<Vec<u8>, Failure> {
    let Some(level) = described.levels.get(view.level) else { return Err(Failure::NotFound("level".to_owned())) };
    let grey = slice::grey(site, &described.path("", level), level, view.cut).await?;
    let labels = match &view.labels {
        Some(name) => Some(Overlay::read(site, described, name, level, view.cut).await?),
        None => None,
    };
    // Some milliseconds of work, during which others are to be answered.
    let png = task::spawn_blocking(move || encode(&grey, view.window, labels.as_ref())).await;
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the picture is not made: {error}"));
    png.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// The level that a query or a document names, in whichever way levels are called there.
fn level_named(name: &str) -> Option<LevelIndex> {
    LevelNames::ALL.into_iter().find_map(|names| names.parse(name))
}

fn encode(grey: &Slice<f32>, (black, white): (f64, f64), labels: Option<&Overlay>) -> Result<Vec<u8>, io::Error> {
    let scale = 255.0 / (white - black);
    // A window without extent, and values that are no number, are shown black.
    let shown = |value: f32| ((f64::from(value) - black) * scale).clamp(0.0, 255.0).round() as u8;
    let (kind, pixels): (_, Vec<u8>) = match labels {
        None => (png::ColorType::Grayscale, grey.values.iter().map(|value| shown(*value)).collect()),
        Some(labels) => {
            let pixels = grey.values.iter().zip(labels.pixels());
            (png::ColorType::Rgb, pixels.flat_map(|(value, label)| over(shown(*value), label)).collect())
        }
    };
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, grey.columns as u32, grey.rows as u32);
    encoder.set_color(kind);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file)
}

/// A grey value under the colour of a label, 0 being none.
fn over(grey: u8, label: u64) -> [u8; 3] {
    if label == 0 {
        return [grey; 3];
    }
    // Neighbours in number are far apart in colour.
    let mixed = label.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let hue = (mixed >> 40) % 1536;
    let (sector, rest) = (hue / 256, (hue % 256) as u8);
    let colour = match sector {
        0 => [255, rest, 0],
        1 => [255 - rest, 255, 0],
        2 => [0, 255, rest],
        3 => [0, 255 - rest, 255],
        4 => [rest, 0, 255],
        _ => [255, 0, 255 - rest],
    };
    colour.map(|part| ((u32::from(part) * OVER + u32::from(grey) * (256 - OVER)) / 256) as u8)
}
