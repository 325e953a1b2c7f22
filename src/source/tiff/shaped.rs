//! The JSON that tifffile writes into the first page's description: `{"shape": [12, 768, 1024]}`.

use serde_json::Value;

use super::text::{Dialect, Text};
use crate::document::bounds;

/// Longest text that is read as JSON: those of tifffile are short.
pub(super) const MAX_JSON: usize = 64 << 10;

/// Reads the shape; text that says none of this image is plain text.
pub(super) fn parse(text: &str, plane: [u64; 2]) -> Result<Text, String> {
    if text.len() > MAX_JSON {
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
        let remedy = "write it with planes of rows, of axes ZYX, by `tifffile` of Python";
        return Err(format!("an array of axes {axes} in {{\"shape\": …}} ({remedy})"));
    }
    let names: Vec<char> = axes.to_lowercase().chars().collect();
    // Axes without a name are z where there is one of them.
    let name = |number: usize| if names.len() == leading.len() + 2 { names.get(number).copied() } else { None };
    let long = leading.iter().enumerate().rev().map(|(number, extent)| (name(number).unwrap_or('q'), *extent));
    let long: Vec<(char, u64)> = long.filter(|(_, extent)| *extent > 1).collect();
    if long.iter().filter(|(name, _)| *name == 'q').count() > 1 {
        let remedy = "name its axes, as in `metadata={\"axes\": \"CZYX\"}` of Python's `tifffile`, or write a file for each volume";
        return Err(format!("a shape of {} dimensions ({remedy})", leading.len() + 2));
    }
    let pages = long.iter().try_fold(1u64, |pages, (_, extent)| pages.checked_mul(*extent));
    let pages = pages.ok_or("a shape of more than 2⁶⁴ pages")?;
    // A single page says nothing about others that were appended later.
    let pages = (pages > 1).then_some(pages);
    let one_run = document.get("truncated").and_then(Value::as_bool).unwrap_or(false);
    Ok(Text { dialect: Dialect::Shaped, pages, one_run, ..Text::PLAIN }.along(long))
}
