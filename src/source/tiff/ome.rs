//! What OME-XML says of a volume: a few attributes of a few elements.
//!
//! Source: the OME-TIFF specification.

use std::collections::BTreeMap;

use super::page::MAX_PAGES;
use super::set::{MAX_PLANES, Planes, Set};
use super::text::{Dialect, Text};
use crate::xml::{self, Element};

/// What can be done where planes and pages do not go together.
const REMEDY: &str = "a copy with the planes in their order, as Bio-Formats' bfconvert writes it, can be read";

/// Whether a description is OME-XML.
pub(super) fn is_ome(text: &str) -> bool {
    xml::elements(text).any(|element| element.is("Pixels") || element.is("BinaryOnly"))
}

/// Reads the description of a page of this height and width; the error is the variant that is not read.
pub(super) fn parse(text: &str, plane: [u64; 2]) -> Result<Text, String> {
    let ome = Text { dialect: Dialect::Ome, ..Text::PLAIN };
    let Some(pixels) = elements(text, "Pixels").next() else {
        let file = elements(text, "BinaryOnly").find_map(|element| element.attribute("MetadataFile"));
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
    let size = |name: char| match pixels.attribute(&format!("Size{name}")) {
        None => Ok(1),
        Some(number) => match number.parse::<u64>() {
            Ok(size) if size > 0 => Ok(size),
            _ => Err(format!("OME-XML Size{name} `{number}`")),
        },
    };
    let order = pixels.attribute("DimensionOrder").unwrap_or_else(|| "XYZCT".to_owned()).to_uppercase();
    let names: Vec<char> = order.chars().filter(|name| "ZCT".contains(*name)).collect();
    let has_each_once = names.len() == 3 && "ZCT".chars().all(|name| names.contains(&name));
    if !has_each_once {
        return Err(format!("OME-XML DimensionOrder `{order}`"));
    }
    let mut axes = Vec::new();
    for name in names {
        axes.push((name.to_ascii_lowercase(), size(name)?));
    }
    let pages = axes.iter().try_fold(1u64, |pages, (_, extent)| pages.checked_mul(*extent));
    let pages = pages.ok_or("an OME-TIFF of more than 2⁶⁴ pages")?;
    let mut found = Text { pages: Some(pages), ..ome };
    let planes = planes(text)?;
    found.set = set(text, &axes, &planes);
    if matches!(found.set, None | Some(Set::One(_))) {
        found.order = page_order(&axes, &planes, pages)?.map(Into::into);
    }
    found.scale = scale(&pixels, &mut found);
    found.other_plane = plane_of(&pixels).filter(|other| *other != plane);
    Ok(found.along(axes).of_page())
}

/// Reads of the description what holds for one page, whichever that is: what all its images say alike.
pub(super) fn of_plane(text: &str, plane: [u64; 2]) -> Text {
    let mut found = Text { dialect: Dialect::Ome, ..Text::PLAIN };
    // Of several images that of the page's extents.
    let others = || elements(text, "Pixels").map(|pixels| plane_of(&pixels).filter(|other| *other != plane));
    if others().all(|other| other.is_some()) {
        found.other_plane = others().flatten().next();
    }
    let is_own = |pixels: &Element<'_>| plane_of(pixels).is_none_or(|own| own == plane);
    let mut scales = elements(text, "Pixels").filter(is_own).map(|pixels| scale(&pixels, &mut found));
    let first = scales.next().unwrap_or_default();
    let common = scales
        .fold(first, |common, other| std::array::from_fn(|axis| common[axis].filter(|_| common[axis] == other[axis])));
    Text { scale: common, ..found }
}

/// Height and width of the image that an element tells of.
fn plane_of(pixels: &Element<'_>) -> Option<[u64; 2]> {
    let extent = |name: &str| pixels.attribute(name)?.trim().parse().ok();
    Some([extent("SizeY")?, extent("SizeX")?])
}

/// Nanometres per voxel along `z, y, x` by the attributes of an element.
fn scale(pixels: &Element<'_>, found: &mut Text) -> [Option<f64>; 3] {
    ['Z', 'Y', 'X'].map(|axis| {
        let length = pixels.attribute(&format!("PhysicalSize{axis}"))?;
        let unit = pixels.attribute(&format!("PhysicalSize{axis}Unit")).unwrap_or_else(|| "µm".into());
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

/// What the elements say of planes; the error is that there are too many.
fn planes(text: &str) -> Result<Vec<Plane>, String> {
    let mut planes: Vec<Plane> = Vec::new();
    for element in xml::elements(text) {
        if element.is("TiffData") {
            if planes.len() as u64 == MAX_PLANES {
                return Err(format!("OME-XML of more than {MAX_PLANES} elements TiffData ({REMEDY})"));
            }
            let said = |key: &str| element.attribute(key).and_then(|number| number.parse().ok());
            let number = |key: &str| said(key).unwrap_or(0);
            let first = ["FirstZ", "FirstC", "FirstT"].map(number);
            let one = said("IFD").map(|_: u64| 1);
            let count = said("PlaneCount").or_else(|| said("NumPlanes")).or(one).filter(|count| *count > 0);
            planes.push(Plane { ifd: number("IFD"), first, count, file: None });
        } else if element.is("UUID")
            && let Some(plane) = planes.last_mut()
        {
            plane.file = Some((element.attribute("FileName").unwrap_or_default(), element.text().into_owned()));
        }
    }
    Ok(planes)
}

/// The page of each of so many planes, where these are not in the order of the planes. The error is the variant that is not
/// read. However many elements name a plane, it is gone through once.
fn page_order(axes: &[(char, u64)], planes: &[Plane], total: u64) -> Result<Option<Vec<u64>>, String> {
    let is_in_order = |plane: &Plane| plane.index(axes) == Some(plane.ifd);
    if planes.iter().all(is_in_order) {
        return Ok(None);
    }
    let unread = |what: &str| Err(format!("OME-TIFF whose pages are not in the order of z and {what} ({REMEDY})"));
    if total > MAX_PAGES {
        return unread("which has too many");
    }
    let first = |plane: &Plane| plane.index(axes).filter(|first| *first < total);
    let Some(firsts) = planes.iter().map(first).collect::<Option<Vec<u64>>>() else {
        return unread("which speaks of planes that it does not have");
    };
    let mut runs: Vec<(u64, &Plane)> = firsts.into_iter().zip(planes).collect();
    runs.sort_by_key(|(first, _)| *first);
    let mut pages: Vec<u64> = Vec::new();
    for (first, plane) in runs {
        let known = pages.len() as u64;
        if first > known {
            return unread("which does not say of each plane where it is");
        }
        // Where two runs of pages meet, they are the same one from there on.
        let is_another = |page: &u64| *page != plane.ifd;
        if pages.get(first as usize).is_some_and(is_another) {
            return unread("which has two pages for a plane");
        }
        let left = total - first;
        for number in known - first..plane.count.unwrap_or(left).min(left) {
            match plane.ifd.checked_add(number).filter(|page| *page < MAX_PAGES) {
                Some(page) => pages.push(page),
                None => return unread("which has two pages for a plane"),
            }
        }
    }
    if (pages.len() as u64) < total {
        return unread("which does not say of each plane where it is");
    }
    Ok(Some(pages))
}

/// The files of the image where these are more than this one.
fn set(text: &str, axes: &[(char, u64)], planes: &[Plane]) -> Option<Set> {
    let own = elements(text, "OME").find_map(|element| element.attribute("UUID"));
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

/// The elements of this name.
fn elements<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = Element<'a>> {
    xml::elements(text).filter(move |element| element.is(name))
}
