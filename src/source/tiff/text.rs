//! What the first page's ImageDescription says of the volume: ImageJ's `key=value` lines, OME-XML, tifffile's JSON.
//!
//! Sources: ImageJ's `TiffEncoder`, the OME-TIFF specification, tifffile's `{"shape": …}`. Resolution tags alone are
//! never taken for a voxel size, because most programs write the resolution of a print there.

use serde_json::Value;

use crate::document::bounds;
use crate::length::Unit;

/// Longest text that is read as JSON: those of tifffile are short.
pub(super) const LONGEST_JSON: usize = 64 << 10;

/// The program or convention that wrote the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Plain,
    ImageJ,
    Ome,
    Shaped,
}

/// What a description says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) dialect: Dialect,
    /// Number of pages of the volume, where said.
    pub(super) pages: Option<u64>,
    /// Whether all pages may follow each other after the first one's IFD, without IFDs of their own.
    pub(super) one_run: bool,
    /// Nanometres per voxel along `z, y, x`, where said.
    pub(super) scale: [Option<f64>; 3],
    /// Display window.
    pub(super) window: Option<(f64, f64)>,
    /// Whether stored values of 16 bits are meant less 32768.
    pub(super) signed: bool,
}

impl Text {
    const PLAIN: Text =
        Text { dialect: Dialect::Plain, pages: None, one_run: false, scale: [None; 3], window: None, signed: false };

    /// Reads a description. `resolution` is the pixels per unit along `y, x` of the page's tags, as fractions, `plane` its
    /// height and width. The error is the variant that is not read.
    pub(super) fn parse(text: &str, resolution: [Option<[f64; 2]>; 2], plane: [u64; 2]) -> Result<Text, String> {
        if text.starts_with("ImageJ=") {
            image_j(text, resolution)
        } else if text.starts_with("SCIFIO=") {
            // Fiji's other writer: the same keys, but every page has its IFD.
            Ok(Text { dialect: Dialect::Plain, one_run: false, ..image_j(text, resolution)? })
        } else if let Some(pixels) = elements(text, "Pixels").next() {
            ome(text, pixels)
        } else if text.starts_with('{') {
            shaped(text, plane)
        } else {
            Ok(Text::PLAIN)
        }
    }
}

fn image_j(text: &str, resolution: [Option<[f64; 2]>; 2]) -> Result<Text, String> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::trim);
    let count = |key: &str| match value(key) {
        None => Ok(None),
        Some(number) => number.parse::<u64>().map(Some).map_err(|_| format!("`{key}={number}` of ImageJ")),
    };
    for (key, what) in [("channels", "channels"), ("frames", "time points")] {
        if let Some(several @ 2..) = count(key)? {
            return Err(format!("an ImageJ stack of {several} {what}"));
        }
    }
    let pages = count("images")?.or(count("slices")?);
    let number = |key: &str| value(key)?.parse::<f64>().ok().filter(|number| number.is_finite());
    let unit = value("unit").and_then(Unit::named);
    // Written where they differ.
    let own = |key: &str| value(key).map_or(unit, Unit::named);
    let pixel = |unit: Option<Unit>, per_unit: Option<[f64; 2]>| unit?.per_pixel(per_unit?);
    let depth = number("spacing").map(f64::abs).filter(|spacing| *spacing > 0.0);
    let depth = depth.zip(own("zunit")).and_then(|(depth, unit)| unit.nanometres(depth));
    let scale = [depth, pixel(own("yunit"), resolution[0]), pixel(unit, resolution[1])];
    // With a calibration function the limits are not in the units of the stored values.
    let window = match (number("min"), number("max")) {
        (Some(low), Some(high)) if low < high && value("cf").is_none() => Some((low, high)),
        _ => None,
    };
    // The straight line by which ImageJ marks images of signed numbers.
    let signed = value("cf") == Some("0") && number("c0") == Some(-32768.0) && number("c1") == Some(1.0);
    Ok(Text { dialect: Dialect::ImageJ, pages, one_run: true, scale, window, signed })
}

fn ome(text: &str, pixels: &str) -> Result<Text, String> {
    if elements(text, "Pixels").count() > 1 {
        return Err("OME-TIFF of several images".into());
    }
    let count = |name: &str| match attribute(pixels, name) {
        None => Ok(1),
        Some(number) => number.parse::<u64>().map_err(|_| format!("OME-XML {name} `{number}`")),
    };
    for (name, what) in [("SizeC", "channels"), ("SizeT", "time points")] {
        if let several @ 2.. = count(name)? {
            return Err(format!("OME-TIFF of {several} {what}"));
        }
    }
    let first = |element, name| attribute(element, name).unwrap_or_else(|| "0".into());
    if elements(text, "TiffData").any(|element| first(element, "IFD") != first(element, "FirstZ")) {
        return Err("OME-TIFF whose pages are not in the order of z".into());
    }
    let size = |axis: char| {
        let size: f64 = attribute(pixels, &format!("PhysicalSize{axis}"))?.parse().ok()?;
        let unit = attribute(pixels, &format!("PhysicalSize{axis}Unit")).unwrap_or_else(|| "µm".into());
        Unit::named(&unit)?.nanometres(size).filter(|size| *size > 0.0)
    };
    let scale = ['Z', 'Y', 'X'].map(size);
    Ok(Text { dialect: Dialect::Ome, pages: Some(count("SizeZ")?), scale, ..Text::PLAIN })
}

/// The attributes of every element of this local name.
fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.split('<').skip(1).filter_map(move |piece| {
        let end = piece.find(|c: char| c.is_whitespace() || matches!(c, '/' | '>'))?;
        let (own, rest) = piece.split_at(end);
        if own.rsplit(':').next() == Some(name) { attributes(rest) } else { None }
    })
}

/// What stands before the `>` that ends an element; within quotes it is a letter as any other.
fn attributes(rest: &str) -> Option<&str> {
    let mut open = None;
    let end = rest.find(|c| {
        match open {
            Some(quote) if c == quote => open = None,
            None if matches!(c, '"' | '\'') => open = Some(c),
            _ => {}
        }
        open.is_none() && c == '>'
    })?;
    rest.get(..end)
}

/// The value of an attribute, character references of µ and Å resolved.
fn attribute(element: &str, name: &str) -> Option<String> {
    let mut rest = element;
    while let Some(equals) = rest.find('=') {
        let key = rest[..equals].trim();
        let value = rest[equals + 1..].trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, after) = value[1..].split_once(quote)?;
        if key == name {
            let mut value = value.to_owned();
            for (reference, letter) in [("&#181;", "µ"), ("&#xB5;", "µ"), ("&#xb5;", "µ"), ("&#197;", "Å")] {
                value = value.replace(reference, letter);
            }
            return Some(value);
        }
        rest = after;
    }
    None
}

fn shaped(text: &str, plane: [u64; 2]) -> Result<Text, String> {
    if text.len() > LONGEST_JSON {
        return Ok(Text::PLAIN);
    }
    let Ok(Value::Object(document)) = bounds::parse(text.as_bytes()) else { return Ok(Text::PLAIN) };
    let extents = |value: &Value| value.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
    let Some(mut shape) = document.get("shape").and_then(extents) else { return Ok(Text::PLAIN) };
    let axes = document.get("axes").and_then(Value::as_str).unwrap_or_default().to_uppercase();
    let mut axes = axes.as_str();
    // Samples, channels and times of which there is one come after the plane.
    while !shape.ends_with(&plane) && shape.pop_if(|extent| *extent == 1).is_some() {
        axes = axes.strip_suffix(['S', 'C', 'T']).unwrap_or(axes);
    }
    let Some((leading, last)) = shape.split_last_chunk::<2>() else { return Ok(Text::PLAIN) };
    // What an editor left there tells of another image.
    if *last != plane {
        return Ok(Text::PLAIN);
    }
    if !axes.is_empty() && !axes.ends_with("YX") {
        return Err(format!("an array of axes {axes} in {{\"shape\": …}}"));
    }
    for (axis, extent) in axes.chars().zip(leading) {
        if matches!(axis, 'C' | 'T' | 'S') && *extent > 1 {
            return Err(format!("an axis {axis} of {extent} in {{\"shape\": …}}"));
        }
    }
    if leading.iter().filter(|extent| **extent > 1).count() > 1 {
        return Err(format!("a shape of {} dimensions", leading.len() + 2));
    }
    let pages = leading.iter().copied().max().unwrap_or(1).max(1);
    // A single page says nothing about others that were appended later.
    let pages = (pages > 1).then_some(pages);
    let one_run = document.get("truncated").and_then(Value::as_bool).unwrap_or(false);
    Ok(Text { dialect: Dialect::Shaped, pages, one_run, ..Text::PLAIN })
}
