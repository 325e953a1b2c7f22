//! What the first page's ImageDescription says of the volume, and how it is said in ImageJ's `key=value` lines and in those
//! of ImageJ2 (SCIFIO), which mean other things.
//!
//! Sources: ImageJ's `TiffEncoder` and `FileSaver`, SCIFIO's `TIFFFormat`.

use std::sync::Arc;

use super::set::Set;
use crate::dtype::DataType;
use crate::length::Unit;
use crate::tiff_tags::IMAGEJ_SIGNED_SHIFT;

/// Units without a meaning that are told of.
const MAX_UNITS: usize = 8;
/// Axes that a list of ImageJ2 may have; it knows some dozens of kinds.
const MAX_AXES: usize = 64;

/// The program or convention that wrote the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Plain,
    ImageJ,
    Ome,
    Shaped,
}

/// An axis beside those of the plane, along which there is more than one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Long {
    /// `z`, `c`, `t` or what else the writer calls it, in small letters.
    pub(super) name: char,
    pub(super) extent: u64,
}

/// What a description says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) dialect: Dialect,
    /// Number of pages of the volume, where said.
    pub(super) pages: Option<u64>,
    /// The axes along which these pages follow each other, the fastest first.
    pub(super) axes: Vec<Long>,
    /// Whether all pages may follow each other after the first one's IFD, without IFDs of their own.
    pub(super) one_run: bool,
    /// Nanometres per voxel along `z, y, x`, where said.
    pub(super) scale: [Option<f64>; 3],
    /// Whether the depth is what ImageJ takes where none is written, so that whoever says another one is right.
    pub(super) is_depth_taken: bool,
    /// Display window.
    pub(super) window: Option<(f64, f64)>,
    /// Whether stored values of 16 bits are meant less 32768.
    pub(super) signed: bool,
    /// The page of each plane, where they are not in the order of the planes.
    pub(super) order: Option<Arc<[u64]>>,
    /// Where the planes lie in several files.
    pub(super) set: Option<Set>,
    /// Units that are none of length that is known.
    pub(super) units: Vec<String>,
    /// Whether ImageJ's lines state a unit, known or not.
    pub(super) states_unit: bool,
    /// Height and width of the image that it tells of, where these are not the page's.
    pub(super) other_plane: Option<[u64; 2]>,
}

impl Text {
    pub(super) const PLAIN: Text = Text {
        dialect: Dialect::Plain,
        pages: None,
        axes: Vec::new(),
        one_run: false,
        scale: [None; 3],
        is_depth_taken: false,
        window: None,
        signed: false,
        order: None,
        set: None,
        units: Vec::new(),
        states_unit: false,
        other_plane: None,
    };

    /// The unit of this name; one that is not known is noted, unless it says that there is none.
    pub(super) fn unit(&mut self, name: &str) -> Option<Unit> {
        let unit = Unit::named(name);
        let is_told = self.units.len() == MAX_UNITS || self.units.iter().any(|known| known == name);
        if unit.is_none() && !is_told && !Unit::is_none(name) {
            self.units.push(name.to_owned());
        }
        unit
    }

    /// The same without a size of voxels where it tells of another image than its page's: a binned or resized copy keeps the
    /// description of what it was made of.
    pub(super) fn of_page(self) -> Text {
        let scale = if self.other_plane.is_some() { [None; 3] } else { self.scale };
        Text { scale, ..self }
    }

    /// Keeps the axes of more than one page.
    pub(super) fn along(mut self, axes: impl IntoIterator<Item = (char, u64)>) -> Text {
        self.axes =
            axes.into_iter().filter(|(_, extent)| *extent > 1).map(|(name, extent)| Long { name, extent }).collect();
        self
    }
}

/// The value of a line `key=value`.
fn line<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let value = |(at, _)| {
        let (before, from) = text.split_at_checked(at)?;
        let value = from.strip_prefix(key)?.strip_prefix('=')?.split('\n').next()?;
        (before.is_empty() || before.ends_with('\n')).then_some(value.trim())
    };
    text.match_indices(key).find_map(value)
}

/// A number of pages in ImageJ's lines.
fn count(text: &str, key: &str) -> Result<Option<u64>, String> {
    match line(text, key) {
        None => Ok(None),
        Some(number) => number.parse::<u64>().map(Some).map_err(|_| format!("`{key}={number}` of ImageJ")),
    }
}

/// Pages and axes of ImageJ's lines. Channels follow each other first, then slices, then frames.
fn stack(text: &str, found: Text) -> Result<Text, String> {
    let [channels, slices, frames] = [count(text, "channels")?, count(text, "slices")?, count(text, "frames")?];
    let along = [('c', channels), ('z', slices), ('t', frames)].map(|(name, extent)| (name, extent.unwrap_or(1)));
    let product = along.iter().try_fold(1u64, |product, (_, extent)| product.checked_mul((*extent).max(1)));
    let product = product.ok_or("an ImageJ stack of more than 2⁶⁴ pages")?;
    let said = [channels, slices, frames].iter().any(Option::is_some).then_some(product);
    let pages = count(text, "images")?.or(said);
    // Of a stack without these keys only the number of pages is known.
    let along = if product == 1 { [('z', pages.unwrap_or(1)), ('c', 1), ('t', 1)] } else { along };
    Ok(Text { pages, ..found.along(along) })
}

fn number(text: &str, key: &str) -> Option<f64> {
    line(text, key)?.parse::<f64>().ok().filter(|number| number.is_finite())
}

/// The limits of display. They are stored values, also where a calibration function makes others of these.
fn limits(text: &str) -> Option<(f64, f64)> {
    let limits = number(text, "min").zip(number(text, "max"));
    limits.filter(|(low, high)| low < high)
}

impl Text {
    /// The window in values of the type as they are stored. Of signed numbers of 16 bits, ImageJ counts it from 32768 below
    /// on; tifffile writes what it is told, which is seen where no value of such a number is that large.
    pub(super) fn window_of(&self, dtype: DataType) -> Option<(f64, f64)> {
        let (low, high) = self.window?;
        let is_shifted = dtype == DataType::I16 && low >= 0.0 && high > f64::from(i16::MAX);
        let shift = if is_shifted { IMAGEJ_SIGNED_SHIFT } else { 0.0 };
        Some((low - shift, high - shift))
    }
}

/// Reads ImageJ's lines.
pub(super) fn image_j(text: &str, resolution: [Option<[f64; 2]>; 2]) -> Result<Text, String> {
    let mut found = stack(text, Text { dialect: Dialect::ImageJ, one_run: true, ..Text::PLAIN })?;
    // Those of single axes are written where they differ.
    let common = line(text, "unit").unwrap_or_default();
    let [z, y, x] = [line(text, "zunit"), line(text, "yunit"), None].map(|own| found.unit(own.unwrap_or(common)));
    let pixel = |unit: Option<Unit>, per_unit: Option<[f64; 2]>| unit?.per_pixel(per_unit?);
    // A depth of one unit is not written, nor is that of a single page.
    let is_stack = found.axes.iter().any(|axis| axis.name == 'z');
    let spacing = match line(text, "spacing") {
        Some(_) => number(text, "spacing").map(f64::abs).filter(|spacing| *spacing > 0.0),
        None => is_stack.then_some(1.0),
    };
    let depth = spacing.zip(z).and_then(|(depth, unit)| unit.nanometres(depth));
    found.is_depth_taken = line(text, "spacing").is_none();
    found.scale = [depth, pixel(y, resolution[0]), pixel(x, resolution[1])];
    found.states_unit = ["unit", "yunit"].iter().any(|key| line(text, key).is_some());
    found.window = limits(text);
    // The straight line by which ImageJ marks images of signed numbers.
    found.signed =
        line(text, "cf") == Some("0") && number(text, "c0") == Some(-32768.0) && number(text, "c1") == Some(1.0);
    Ok(found)
}

/// The axes beside those of the plane by ImageJ2's lists, in whose order pages follow each other; `None` where these do not tell.
fn listed(text: &str) -> Option<Vec<(char, u64)>> {
    let list = |key: &str| Some(line(text, key)?.split(',').map(str::trim).collect::<Vec<_>>());
    let (axes, lengths) = (list("axes")?, list("lengths")?);
    let place = |name: &str| axes.iter().position(|axis| axis.eq_ignore_ascii_case(name));
    let beyond = place("x")?.max(place("y")?) + 1;
    if axes.len() != lengths.len() || axes.len() > MAX_AXES || beyond != 2 {
        return None;
    }
    let axis =
        |(axis, length): (&&str, &&str)| Some((letter(axis)?, length.parse().ok().filter(|length| *length > 0)?));
    axes.iter().zip(&lengths).skip(beyond).map(axis).collect()
}

/// The letter of an axis that ImageJ2 writes by its name. Those of others than slices, channels and times are none of these.
fn letter(axis: &str) -> Option<char> {
    let axis = axis.to_ascii_lowercase();
    Some(match (axis.as_str(), axis.chars().next()?) {
        ("z", _) => 'z',
        ("channel", _) => 'c',
        ("time", _) => 't',
        ("unknown", _) => 'q',
        (_, first @ ('z' | 'c' | 't' | 'q' | 'x' | 'y')) => first.to_ascii_uppercase(),
        (_, first) => first,
    })
}

/// ImageJ2 says the size of a voxel by `axes`, `scales` and `units`, lists of one length. Its resolution tags are per
/// centimetre whatever these say, and every page has its own IFD.
pub(super) fn scifio(text: &str) -> Result<Text, String> {
    let mut found = stack(text, Text::PLAIN)?;
    if let Some(along) = listed(text) {
        found = found.along(along);
    }
    let list = |key: &str| line(text, key).unwrap_or_default().split(',').map(str::trim);
    let mut lengths = Vec::new();
    for ((axis, scale), unit) in list("axes").zip(list("scales")).zip(list("units")) {
        let unit = found.unit(unit);
        let size = scale.parse().ok().and_then(|scale: f64| unit?.nanometres(scale)).filter(|size| *size > 0.0);
        lengths.push((axis.to_ascii_lowercase(), size));
    }
    let along = |name: &str| lengths.iter().find(|(axis, _)| axis == name).and_then(|(_, size)| *size);
    // Another axis whose unit is one of length is z under another name.
    let other = || lengths.iter().find(|(axis, size)| !matches!(axis.as_str(), "x" | "y") && size.is_some());
    found.scale = [along("z").or_else(|| other().and_then(|(_, size)| *size)), along("y"), along("x")];
    found.window = limits(text);
    Ok(found)
}
