//! What OME-XML says of a volume, read without a parser of XML: a few attributes of a few elements.
//!
//! Source: the OME-TIFF specification.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::page::MAX_PAGES;
use super::set::{Planes, Set};
use super::text::{Dialect, Text};

/// Whether a description is OME-XML.
pub(super) fn is_ome(text: &str) -> bool {
    let text = &*markup(text);
    elements(text, "Pixels").next().is_some() || elements(text, "BinaryOnly").next().is_some()
}

/// Reads the description of a page of this height and width; the error is the variant that is not read.
pub(super) fn parse(text: &str, plane: [u64; 2]) -> Result<Text, String> {
    let text = &*markup(text);
    let ome = Text { dialect: Dialect::Ome, ..Text::PLAIN };
    let Some(pixels) = elements(text, "Pixels").next() else {
        let file = elements(text, "BinaryOnly").find_map(|element| attribute(element, "MetadataFile"));
        let file = file.unwrap_or_else(|| "another file".to_owned());
        let ending = file.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        let is_tiff = matches!(ending.as_str(), "tif" | "tiff" | "tf2" | "tf8" | "btf");
        let remedy = if is_tiff { "; name that file by `url`, else" } else { "" };
        let reason = format!("it holds a part of an image whose description is in {file:?}{remedy}");
        return Ok(Text { set: Some(Set::Other(reason)), ..ome });
    };
    if elements(text, "Pixels").count() > 1 {
        let remedy =
            "write the one that is wanted to a file of its own, by `bfconvert -series 0 IN OUT.ome.tif` of Bio-Formats";
        return Err(format!("OME-TIFF of several images ({remedy})"));
    }
    let size = |name: char| match attribute(pixels, &format!("Size{name}")) {
        None => Ok(1),
        Some(number) => match number.parse::<u64>() {
            Ok(size) if size > 0 => Ok(size),
            _ => Err(format!("OME-XML Size{name} `{number}`")),
        },
    };
    let order = attribute(pixels, "DimensionOrder").unwrap_or_else(|| "XYZCT".to_owned()).to_uppercase();
    let mut axes = Vec::new();
    for name in order.chars().filter(|name| "ZCT".contains(*name)) {
        axes.push((name.to_ascii_lowercase(), size(name)?));
    }
    let mut names: Vec<char> = axes.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    if names != ['c', 't', 'z'] {
        return Err(format!("OME-XML DimensionOrder `{order}`"));
    }
    let pages = axes.iter().try_fold(1u64, |pages, (_, extent)| pages.checked_mul(*extent));
    let pages = pages.ok_or("an OME-TIFF of more than 2⁶⁴ pages")?;
    let mut found = Text { pages: Some(pages), ..ome };
    let planes = planes(text);
    found.set = set(text, &axes, &planes);
    if matches!(found.set, None | Some(Set::One(_))) {
        found.order = page_order(&axes, &planes, pages)?.map(Into::into);
    }
    found.scale = scale(pixels, &mut found);
    found.other_plane = plane_of(pixels).filter(|other| *other != plane);
    Ok(found.along(axes).of_page())
}

/// Reads of the description what holds for one page, whichever that is: what all its images say alike.
pub(super) fn of_plane(text: &str, plane: [u64; 2]) -> Text {
    let text = &*markup(text);
    let mut found = Text { dialect: Dialect::Ome, ..Text::PLAIN };
    // Of several images that of the page's extents.
    let others: Vec<_> =
        elements(text, "Pixels").map(plane_of).map(|other| other.filter(|other| *other != plane)).collect();
    if others.iter().all(Option::is_some) {
        found.other_plane = others.into_iter().flatten().next();
    }
    let is_own = |pixels: &&str| plane_of(pixels).is_none_or(|own| own == plane);
    let mut scales = elements(text, "Pixels").filter(is_own).map(|pixels| scale(pixels, &mut found));
    let first = scales.next().unwrap_or_default();
    let common = scales
        .fold(first, |common, other| std::array::from_fn(|axis| common[axis].filter(|_| common[axis] == other[axis])));
    Text { scale: common, ..found }
}

/// Height and width of the image that an element tells of.
fn plane_of(pixels: &str) -> Option<[u64; 2]> {
    let extent = |name: &str| attribute(pixels, name)?.trim().parse().ok();
    Some([extent("SizeY")?, extent("SizeX")?])
}

/// Nanometres per voxel along `z, y, x` by the attributes of an element.
fn scale(pixels: &str, found: &mut Text) -> [Option<f64>; 3] {
    ['Z', 'Y', 'X'].map(|axis| {
        let length = attribute(pixels, &format!("PhysicalSize{axis}"))?;
        let unit = attribute(pixels, &format!("PhysicalSize{axis}Unit")).unwrap_or_else(|| "µm".into());
        let unit = found.unit(&unit);
        length.trim().parse().ok().and_then(|length: f64| unit?.nanometres(length)).filter(|size| *size > 0.0)
    })
}

/// A `TiffData` element: which pages of which file are which planes.
#[derive(Debug, Default)]
struct Plane {
    ifd: u64,
    first: [u64; 3],
    /// Number of planes, `None` for all that follow.
    count: Option<u64>,
    /// Name and UUID of the file, where said.
    file: Option<(String, String)>,
}

impl Plane {
    /// The number of the plane by the order of the axes.
    fn index(&self, axes: &[(char, u64)]) -> Option<u64> {
        let (mut index, mut step) = (0u64, 1u64);
        for (name, extent) in axes {
            let at = self.first[usize::from(*name == 'c') + 2 * usize::from(*name == 't')];
            index = index.checked_add(at.checked_mul(step)?)?;
            step = step.checked_mul(*extent)?;
        }
        Some(index)
    }
}

fn planes(text: &str) -> Vec<Plane> {
    let mut planes: Vec<Plane> = Vec::new();
    for (name, rest) in all_elements(text) {
        match name {
            "TiffData" => {
                let said = |key: &str| attribute(rest, key).and_then(|number| number.parse().ok());
                let number = |key: &str| said(key).unwrap_or(0);
                let first = ["FirstZ", "FirstC", "FirstT"].map(number);
                let one = said("IFD").map(|_: u64| 1);
                let count = said("PlaneCount").or_else(|| said("NumPlanes")).or(one).filter(|count| *count > 0);
                planes.push(Plane { ifd: number("IFD"), first, count, file: None });
            }
            "UUID" => {
                let file = attribute(rest, "FileName").unwrap_or_default();
                let id = rest.rsplit('>').next().unwrap_or_default().trim().to_owned();
                if let Some(plane) = planes.last_mut() {
                    plane.file = Some((file, id));
                }
            }
            _ => {}
        }
    }
    planes
}

/// The page of each of so many planes, where these are not in the order of the planes. The error is the variant that is not
/// read.
fn page_order(axes: &[(char, u64)], planes: &[Plane], total: u64) -> Result<Option<Vec<u64>>, String> {
    let is_in_order = |plane: &Plane| plane.index(axes) == Some(plane.ifd);
    if planes.iter().all(is_in_order) {
        return Ok(None);
    }
    let remedy = "a copy with the planes in their order, as Bio-Formats' bfconvert writes it, can be read";
    let unread = |what: &str| Err(format!("OME-TIFF whose pages are not in the order of z and {what} ({remedy})"));
    if total > MAX_PAGES {
        return unread("which has too many");
    }
    let mut pages: Vec<Option<u64>> = vec![None; total as usize];
    for plane in planes {
        let Some(first) = plane.index(axes).filter(|first| *first < total) else {
            return unread("which speaks of planes that it does not have");
        };
        let left = total - first;
        for number in 0..plane.count.unwrap_or(left).min(left) {
            let page = plane.ifd.checked_add(number).filter(|page| *page < MAX_PAGES);
            match pages.get_mut((first + number) as usize) {
                Some(place) if page.is_some() && place.is_none_or(|known| Some(known) == page) => *place = page,
                _ => return unread("which has two pages for a plane"),
            }
        }
    }
    match pages.into_iter().collect::<Option<Vec<u64>>>() {
        Some(pages) => Ok(Some(pages)),
        None => unread("which does not say of each plane where it is"),
    }
}

/// The files of the image where these are more than this one.
fn set(text: &str, axes: &[(char, u64)], planes: &[Plane]) -> Option<Set> {
    let own = elements(text, "OME").find_map(|element| attribute(element, "UUID"));
    let mut files = BTreeMap::new();
    for (name, id) in planes.iter().filter_map(|plane| plane.file.as_ref()) {
        files.insert(id.as_str(), name.as_str());
    }
    let is_own = |id: &str| own.as_deref().is_none_or(|own| own == id);
    if files.keys().all(|id| is_own(id)) && files.len() <= 1 {
        return None;
    }
    let total = axes.iter().map(|(_, extent)| *extent).fold(1, u64::saturating_mul);
    if let (1, Some(name)) = (files.len(), files.values().next())
        && planes.iter().all(|plane| plane.file.is_some())
    {
        return Some(Set::One((*name).to_owned()));
    }
    let other = || {
        let names: Vec<&str> = files.values().copied().take(4).collect();
        let reason =
            format!("it holds a part of an image of {total} planes in {} files ({}, …)", files.len(), names.join(", "));
        Some(Set::Other(reason))
    };
    let parts = planes.iter().map(|plane| {
        let (first, (name, _)) = plane.index(axes).zip(plane.file.as_ref())?;
        Some((first, plane.count.unwrap_or(1), name.as_str(), plane.ifd))
    });
    parts.collect::<Option<Vec<_>>>().and_then(|parts| Planes::new(axes, &parts)).map(Set::Planes).or_else(other)
}

/// The text without its comments and without what is no markup in it.
fn markup(text: &str) -> Cow<'_, str> {
    if !text.contains("<!") {
        return text.into();
    }
    let (mut rest, mut markup) = (text, String::new());
    while let Some(start) = rest.find("<!") {
        let (before, from) = rest.split_at(start);
        let end = [("<!--", "-->"), ("<![CDATA[", "]]>")].into_iter().find(|(start, _)| from.starts_with(start));
        let (start, end) = end.unwrap_or(("<!", ">"));
        markup.push_str(before);
        let inside = from.get(start.len()..).unwrap_or_default();
        rest = inside.split_once(end).map_or("", |(_, after)| after);
    }
    markup.push_str(rest);
    markup.into()
}

/// The names of all elements without their prefixes, each with what follows the name up to the next element.
fn all_elements(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('<').skip(1).filter_map(|piece| {
        let end = piece.find(|c: char| c.is_whitespace() || matches!(c, '/' | '>'))?;
        let (own, rest) = piece.split_at(end);
        Some((own.rsplit(':').next().unwrap_or(own), rest))
    })
}

/// The attributes of every element of this local name.
fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    all_elements(text).filter(move |(own, _)| *own == name).filter_map(|(_, rest)| attributes(rest))
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

/// The value of an attribute.
fn attribute(element: &str, name: &str) -> Option<String> {
    let mut rest = element;
    while let Some(equals) = rest.find('=') {
        let key = rest[..equals].trim();
        let value = rest[equals + 1..].trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, after) = value[1..].split_once(quote)?;
        if key == name {
            return Some(value.to_owned());
        }
        rest = after;
    }
    None
}
