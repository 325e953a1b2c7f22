//! `slice.png`: a slice as a picture, in its window, with labels over it.

use std::io;
use std::sync::Arc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use xxhash_rust::xxh3::xxh3_64;

use super::body::{self, Body};
use super::conditions::{Outcome, weigh};
use super::describe::describe;
use super::dimension::{AXES, axis_named};
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
        let (axis, level) = axis_and_level(described, query)?;
        let across = Cut { axis, index: 0, step: 1 };
        let Some(chosen) = described.levels.get(level) else { return Err(Failure::NotFound("level".to_owned())) };
        let extent = chosen.grid.shape.0[axis];
        let index = asked_index(query, axis)?.unwrap_or(extent / 2);
        if index >= extent {
            return Err(Failure::NotFound(format!("slice {index} of {extent}")));
        }
        let longest = across.extent(chosen).into_iter().max().unwrap_or(1);
        let step = longest.div_ceil(MAX_SIDE).max(1);
        let (black, white) = described.window.unwrap_or((0.0, 255.0));
        let window = (finite(query, "lo")?.unwrap_or(black), finite(query, "hi")?.unwrap_or(white));
        if !(window.1 - window.0).is_finite() {
            return Err(Failure::Request(format!("`lo={}` and `hi={}` are too far apart", window.0, window.1)));
        }
        let labels = query.get("labels").map(str::to_owned);
        if let Some(name) = labels.as_ref().filter(|name| !described.labels.contains(name)) {
            return Err(Failure::NotFound(format!("labels `{name}`")));
        }
        Ok(PictureView { level, cut: Cut { axis, index, step }, window, labels })
    }
}

/// The axis that a query asks for, and which of the levels.
pub(super) fn axis_and_level(described: &Described, query: &Query) -> Result<(usize, usize), Failure> {
    let axis = match query.get("axis") {
        None => 0,
        Some(name) => axis_named(name).ok_or_else(|| Failure::Request(format!("`axis={name}` is none of z, y, x")))?,
    };
    let across = Cut { axis, index: 0, step: 1 };
    let size = query.number("size")?.unwrap_or(SIZE);
    let longest = |level: &DescribedLevel| across.extent(level).into_iter().max().unwrap_or_default();
    let level = match query.get("level") {
        None => described.levels.iter().rposition(|level| longest(level) >= size).unwrap_or_default(),
        Some(name) => level_of_name(described, name).ok_or_else(|| Failure::NotFound(format!("level `{name}`")))?,
    };
    Ok((axis, level))
}

/// Which of the levels has this name.
pub(super) fn level_of_name(described: &Described, name: &str) -> Option<usize> {
    let asked = level_named(name)?;
    described.levels.iter().position(|level| level_named(&level.path) == Some(asked))
}

/// The voxel along the axis that a query asks for.
pub(super) fn asked_index(query: &Query, axis: usize) -> Result<Option<u64>, Failure> {
    let asked = query.number("z")?;
    if asked.is_some() { Ok(asked) } else { query.number(AXES[axis]) }
}

/// The answer to a request for a picture. Its tag is another one for another picture, and in each life of a server; who has it
/// has no chunk read. A picture of voxels that are absent at the origin has none, for they may come to be there.
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
            let (picture, is_passing) = drawn(site, &described, view).await?;
            if is_passing {
                response.headers_mut().remove(ETAG);
            }
            *response.body_mut() = body::whole(picture);
            response.headers_mut().insert(CONTENT_TYPE, value("image/png"));
        }
    }
    Ok(response)
}

/// The picture as a file, and whether some of its voxels are absent at the origin.
async fn drawn(site: &Arc<Site>, described: &Described, view: PictureView) -> Result<(Vec<u8>, bool), Failure> {
    let Some(level) = described.levels.get(view.level) else { return Err(Failure::NotFound("level".to_owned())) };
    let grey = slice::grey(site, &described.path("", level), level, view.cut).await?;
    let labels = match &view.labels {
        Some(name) => Some(Overlay::read(site, described, name, level, view.cut).await?),
        None => None,
    };
    let is_passing = grey.is_passing || labels.as_ref().is_some_and(Overlay::is_passing);
    // Some milliseconds of work, during which others are to be answered.
    let png = task::spawn_blocking(move || encode(&grey, view.window, labels.as_ref())).await;
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("the picture is not made: {error}"));
    Ok((png.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?, is_passing))
}

/// A value to be shown black or white: a number, of which `nan`, `inf` and what is too large for one are none.
fn finite(query: &Query, name: &str) -> Result<Option<f64>, Failure> {
    match query.number::<f64>(name)? {
        Some(number) if !number.is_finite() => Err(Failure::Request(format!(
            "`{name}={}` is no finite number, as the value of a voxel is",
            query.get(name).unwrap_or_default()
        ))),
        number => Ok(number),
    }
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
