//! The names of views: `[.crop-z<a>-<b>_y<a>-<b>_x<a>-<b>][.s<N>][.numbered][.chunk-<N>|.chunk-<Z>x<Y>x<X>]`.
//!
//! A name is spelled in one way, so that it can stand for the view in caches and in other people's scripts; only three
//! equal extents of a chunk may be written as one or one by one.

use std::fmt;
use std::str::FromStr;

use super::{AXES, LevelNames, MAX_CHUNK_EXTENT, ViewError, ViewSpec};
use crate::decimal::{self, NotDecimal};
use crate::geometry::{LevelIndex, Region, Shape};

/// The part of a name that has the levels called `0`, `1`, ….
const NUMBERED: &str = "numbered";

impl ViewSpec {
    /// Parses what stands between an image's name and the ending of a store's name: nothing, or parts that each start
    /// with a dot, as in `.crop-z0-10_y0-10_x0-10.chunk-64`.
    pub fn parse(text: &str) -> Result<ViewSpec, ViewError> {
        let mut spec = ViewSpec::default();
        if text.is_empty() {
            return Ok(spec);
        }
        let parts = text.strip_prefix('.').ok_or_else(|| ViewError::Unknown { part: text.to_owned() })?;
        for part in parts.split('.') {
            if let Some(text) = part.strip_prefix("crop-") {
                if spec.crop.is_some() {
                    return Err(ViewError::Repeated { part: "crop" });
                }
                if spec.chunk.is_some() || spec.level.is_some() || spec.level_names != LevelNames::Lettered {
                    return Err(ViewError::Order);
                }
                spec.crop = Some(Self::parse_box(text)?);
            } else if let Some(text) = part.strip_prefix("chunk-") {
                if spec.chunk.is_some() {
                    return Err(ViewError::Repeated { part: "chunk" });
                }
                let Shape([z, y, x]) = parse_chunk(text)?;
                spec.chunk = Some(Shape([z, y, x]));
                spec.spelled_out = text.contains('x') && z == y && y == x;
            } else if part == NUMBERED {
                if spec.level_names == LevelNames::Numbered {
                    return Err(ViewError::Repeated { part: NUMBERED });
                }
                if spec.chunk.is_some() {
                    return Err(ViewError::Order);
                }
                spec.level_names = LevelNames::Numbered;
            } else if let Some(level) = level(part) {
                if spec.level.is_some() {
                    return Err(ViewError::Repeated { part: "level" });
                }
                if spec.chunk.is_some() || spec.level_names != LevelNames::Lettered {
                    return Err(ViewError::Order);
                }
                spec.level = Some(level?);
            } else if part == "v3" {
                return Err(ViewError::Format);
            } else {
                return Err(ViewError::Unknown { part: part.to_owned() });
            }
        }
        Ok(spec)
    }

    /// Parses a half-open box of s0's voxels, `z<a>-<b>_y<a>-<b>_x<a>-<b>`, which is not empty along any axis.
    pub fn parse_box(text: &str) -> Result<Region, ViewError> {
        let malformed = || ViewError::Box { text: text.to_owned() };
        let mut region = Region { start: [0; 3], end: [0; 3] };
        let mut ranges = text.split('_');
        for (axis, name) in AXES.into_iter().enumerate() {
            let range = ranges.next().and_then(|range| range.strip_prefix(name)).ok_or_else(malformed)?;
            let (start, end) = range.split_once('-').ok_or_else(malformed)?;
            let (start, end) = (number(start)?, number(end)?);
            if start >= end {
                return Err(ViewError::EmptyCrop { axis: name, start, end });
            }
            region.start[axis] = start;
            region.end[axis] = end;
        }
        if ranges.next().is_some() { Err(malformed()) } else { Ok(region) }
    }
}

/// The level of `s<N>`, if the part looks like one.
fn level(part: &str) -> Option<Result<LevelIndex, ViewError>> {
    let text = part.strip_prefix('s').filter(|text| text.starts_with(|first: char| first.is_ascii_digit()))?;
    let level = number(text).and_then(|number| {
        let level = u8::try_from(number).map_err(|_| ViewError::Overflow { text: text.to_owned() });
        level.map(LevelIndex)
    });
    Some(level)
}

fn parse_chunk(text: &str) -> Result<Shape, ViewError> {
    let extents = text.split('x').map(number).collect::<Result<Vec<u64>, _>>()?;
    let chunk = match extents[..] {
        [n] => Shape([n; 3]),
        [z, y, x] => Shape([z, y, x]),
        _ => return Err(ViewError::ChunkShape { text: text.to_owned() }),
    };
    for (axis, &extent) in AXES.into_iter().zip(&chunk.0) {
        if !(1..=MAX_CHUNK_EXTENT).contains(&extent) {
            return Err(ViewError::ChunkExtent { axis, extent, limit: MAX_CHUNK_EXTENT });
        }
    }
    Ok(chunk)
}

/// A decimal number in its only spelling: digits, no sign, no leading zero.
pub(super) fn number(text: &str) -> Result<u64, ViewError> {
    let text_owned = || text.to_owned();
    decimal::canonical(text).map_err(|wrong| match wrong {
        NotDecimal::Digits => ViewError::Number { text: text_owned() },
        NotDecimal::LeadingZero => ViewError::LeadingZero { text: text_owned() },
        NotDecimal::TooLarge => ViewError::Overflow { text: text_owned() },
    })
}

impl FromStr for ViewSpec {
    type Err = ViewError;

    fn from_str(text: &str) -> Result<Self, ViewError> {
        ViewSpec::parse(text)
    }
}

/// The name of the view, with a dot before each part; empty for the image itself.
impl fmt::Display for ViewSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(crop) = &self.crop {
            for (axis, (lead, name)) in [".crop-", "_", "_"].into_iter().zip(AXES).enumerate() {
                write!(f, "{lead}{name}{}-{}", crop.start[axis], crop.end[axis])?;
            }
        }
        if let Some(level) = self.level {
            write!(f, ".{level}")?;
        }
        if self.level_names == LevelNames::Numbered {
            write!(f, ".{NUMBERED}")?;
        }
        match self.chunk {
            None => Ok(()),
            Some(Shape([z, y, x])) if z == y && y == x && !self.spelled_out => write!(f, ".chunk-{z}"),
            Some(Shape([z, y, x])) => write!(f, ".chunk-{z}x{y}x{x}"),
        }
    }
}
