//! The image of a file, among the thumbnails and whatever else it holds.

use super::DmError;
use super::tags::{TagData, Tags};
use crate::dtype::DataType;
use crate::length::Unit;

/// Most axes that an image has.
const MAX_DIMENSIONS: usize = 16;
/// `DataType` of thumbnails.
const RGBA: u64 = 23;

/// What a pixel is, by the number of the tag `DataType`; the error is the name of a type that is not read: complex, colour,
/// packed and bit types.
fn pixel_type(number: u64) -> Result<DataType, String> {
    let name = match number {
        1 => return Ok(DataType::I16),
        2 => return Ok(DataType::F32),
        6 => return Ok(DataType::U8),
        7 => return Ok(DataType::I32),
        9 => return Ok(DataType::I8),
        10 => return Ok(DataType::U16),
        11 => return Ok(DataType::U32),
        12 => return Ok(DataType::F64),
        3 => "complex64",
        5 => "packed complex64",
        8 | RGBA => "RGBA",
        13 => "complex128",
        14 => "binary",
        27 => "packed complex64 (half-plane)",
        28 => "packed complex128 (half-plane)",
        _ => return Err(format!("pixel type {number}")),
    };
    Err(format!("{name} (pixel type {number})"))
}

/// How pixels lie along an axis: pixel `n` is at `(n − origin) · scale`.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Pixel at which the position is 0.
    pub origin: f64,
    /// Units per pixel; 1 with an empty unit where the axis is not calibrated.
    pub scale: f64,
    /// The unit as written: `nm`, `µm`, `1/nm`.
    pub unit: String,
}

impl Calibration {
    /// Nanometres per pixel and the position of pixel 0 in nanometres, where the unit is one of length.
    pub fn nanometres(&self) -> Option<(f64, f64)> {
        let scale = Unit::named(&self.unit)?.nanometres(self.scale).filter(|scale| *scale > 0.0)?;
        let start = if self.origin == 0.0 { 0.0 } else { -self.origin * scale };
        start.is_finite().then_some((scale, start))
    }
}

/// An image: what it is and where its pixels are, in one run, C order, the last axis of [`DmImage::shape`] fastest.
#[derive(Debug, Clone, PartialEq)]
pub struct DmImage {
    /// Its number in `ImageList`.
    pub number: u64,
    /// What a pixel is.
    pub pixel: DataType,
    /// Extents, slowest axis first: `y, x` or `z, y, x`. None is 0.
    pub shape: Vec<u64>,
    /// Where the pixels begin in the file.
    pub offset: u64,
    /// Bytes of all pixels: the product of `shape` times the size of a pixel.
    pub length: u64,
    /// Whether the pixels are big-endian.
    pub big_endian: bool,
    /// Calibrations in the order of `shape`; `None` where the file has none for an axis.
    pub calibrations: Vec<Option<Calibration>>,
    /// Distance of sections as the acquisition's tags say it, for images that are one section of a series.
    pub section: Option<Calibration>,
    /// Lowest and highest value on display.
    pub display: Option<(f64, f64)>,
}

impl DmImage {
    /// Finds the image that the file is about and checks that its tags agree with each other.
    pub fn find(tags: &Tags) -> Result<DmImage, DmError> {
        let number = choose(tags)?;
        let text = number.to_string();
        let path = |rest: &[&'static str]| {
            let mut path = vec!["ImageList".to_owned(), text.clone()];
            path.extend(rest.iter().map(|name| (*name).to_owned()));
            path
        };
        let get = |rest: &[&'static str]| fetch(tags, &path(rest));
        let field = |rest: &[&'static str]| path(rest).join(".");

        let data_type = ["ImageData", "DataType"];
        let pixel = get(&data_type).and_then(TagData::unsigned);
        let pixel = pixel.ok_or_else(|| DmError::malformed(field(&data_type), "is missing or no number"))?;
        let pixel = pixel_type(pixel).map_err(|name| DmError::unsupported(field(&data_type), name))?;

        let depth = ["ImageData", "PixelDepth"];
        if let Some(depth_said) = get(&depth).and_then(TagData::unsigned)
            && depth_said != pixel.size() as u64
        {
            let reason = format!("{depth_said} bytes, but pixels of type {pixel:?} have {}", pixel.size());
            return Err(DmError::malformed(field(&depth), reason));
        }

        let dimensions = path(&["ImageData", "Dimensions"]);
        let mut shape = extents(tags, &dimensions)?;
        let data = get(&["ImageData", "Data"])
            .ok_or_else(|| DmError::malformed(field(&["ImageData", "Data"]), "is missing"))?;
        let bytes = shape.iter().try_fold(pixel.size() as u64, |bytes, extent| bytes.checked_mul(*extent));
        if bytes != Some(data.length) {
            let reason = format!("{} bytes, where {shape:?} pixels of type {pixel:?} are said", data.length);
            return Err(DmError::malformed(field(&["ImageData", "Data"]), reason));
        }
        let mut calibrations: Vec<_> = (0..shape.len())
            .map(|axis| {
                let mut group = path(&["ImageData", "Calibrations", "Dimension"]);
                group.push(axis.to_string());
                calibration(tags, &group)
            })
            .collect();
        shape.reverse();
        calibrations.reverse();
        Ok(DmImage {
            number,
            pixel,
            shape,
            offset: data.offset,
            length: data.length,
            big_endian: data.big_endian,
            calibrations,
            section: section(tags, &path),
            display: display(tags),
        })
    }
}

/// The image that the first source shows; where the file does not say, the first that is no thumbnail, else the last.
fn choose(tags: &Tags) -> Result<u64, DmError> {
    let images = tags.count(&["ImageList"]) as u64;
    if images == 0 {
        return Err(DmError::malformed("ImageList", "there is no image"));
    }
    if let Some(reference) = tags.get(&["ImageSourceList", "0", "ImageRef"]) {
        return match reference.unsigned() {
            Some(number) if number < images => Ok(number),
            _ => {
                let reason = format!("names none of the {images} images");
                Err(DmError::malformed("ImageSourceList.0.ImageRef", reason))
            }
        };
    }
    let thumbnails: Vec<u64> = (0..tags.count(&["Thumbnails"]).min(MAX_DIMENSIONS))
        .filter_map(|number| tags.get(&["Thumbnails", &number.to_string(), "ImageIndex"])?.unsigned())
        .collect();
    let candidates = (0..images.min(MAX_DIMENSIONS as u64)).find(|number| {
        let data_type = tags.get(&["ImageList", &number.to_string(), "ImageData", "DataType"]);
        !thumbnails.contains(number) && data_type.and_then(TagData::unsigned) != Some(RGBA)
    });
    Ok(candidates.unwrap_or(images - 1))
}

fn fetch<'a>(tags: &'a Tags, path: &[String]) -> Option<&'a TagData> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    tags.get(&path)
}

/// The extents, fastest axis first.
fn extents(tags: &Tags, group: &[String]) -> Result<Vec<u64>, DmError> {
    let names: Vec<&str> = group.iter().map(String::as_str).collect();
    let count = tags.count(&names);
    if !(1..=MAX_DIMENSIONS).contains(&count) {
        return Err(DmError::malformed(names.join("."), format!("{count} extents")));
    }
    (0..count)
        .map(|axis| {
            let axis = axis.to_string();
            let path: Vec<&str> = names.iter().copied().chain([axis.as_str()]).collect();
            match tags.get(&path).and_then(TagData::unsigned) {
                Some(extent @ 1..) => Ok(extent),
                _ => Err(DmError::malformed(path.join("."), "is missing, 0 or no number")),
            }
        })
        .collect()
}

fn calibration(tags: &Tags, group: &[String]) -> Option<Calibration> {
    let get = |name: &str| {
        let names: Vec<&str> = group.iter().map(String::as_str).chain([name]).collect();
        tags.get(&names)
    };
    let number = |name| get(name)?.number().filter(|number| number.is_finite());
    Some(Calibration {
        origin: number("Origin").unwrap_or(0.0),
        scale: number("Scale")?,
        unit: get("Units").and_then(TagData::text).unwrap_or_default(),
    })
}

/// The thickness of a section: what the file says of its third dimension, else what 3View recorded.
fn section(tags: &Tags, path: &dyn Fn(&[&'static str]) -> Vec<String>) -> Option<Calibration> {
    let said = calibration(tags, &path(&["ImageTags", "Meta Data", "Dimension info", "2"]));
    if let Some(said) = said.filter(|said| said.nanometres().is_some()) {
        return Some(said);
    }
    let thickness = fetch(tags, &path(&["ImageTags", "SBFSEM", "Record", "Slice thickness"]))?.number()?;
    let thickness = Calibration { origin: 0.0, scale: thickness, unit: "nm".into() };
    thickness.nanometres().is_some().then_some(thickness)
}

fn display(tags: &Tags) -> Option<(f64, f64)> {
    let limit = |name| tags.get(&["DocumentObjectList", "0", "ImageDisplayInfo", name])?.number();
    let (low, high) = (limit("LowLimit")?, limit("HighLimit")?);
    (low.is_finite() && high.is_finite() && low < high).then_some((low, high))
}
