//! Understanding OMERO.web's JSON. Shapes: omero-marshal (2016-06 schema) and omero-web's webgateway.

use std::time::Duration;

use serde_json::Value;

use crate::document::bounds;
use crate::geometry::Shape;
use crate::length::Unit;
use crate::remote::Location;
use crate::source::SourceError;

/// The folder that files were imported from, which the archive's file server stands for.
const IMPORTED_FROM: &str = "uod/idr/filesets/";
/// Characters of foreign text that a message repeats.
const QUOTED: usize = 160;

/// A JSON answer.
#[derive(Debug)]
pub(super) struct Answer {
    url: String,
    json: Value,
}

/// What OMERO says of an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Facts {
    /// Voxels along `z, y, x`.
    pub shape: Shape,
    /// Nanometres per voxel along `z, y, x`, where all three are known.
    pub voxel_size: Option<[f64; 3]>,
}

impl Answer {
    /// Reads an answer that came with a status of success, which does not mean that it is one: pages of a login, and
    /// errors in JSON, come with status 200.
    pub(super) fn read(url: String, bytes: &[u8]) -> Result<Self, SourceError> {
        match bounds::parse(bytes) {
            Ok(json) => Answer { url, json }.without_exception(),
            Err(reason) => Err(SourceError::malformed(url, "body", reason)),
        }
    }

    fn without_exception(self) -> Result<Self, SourceError> {
        match self.json.get("Exception") {
            None => Ok(self),
            Some(exception) => Err(self.malformed("Exception", quote(exception.as_str().unwrap_or("without a text")))),
        }
    }

    /// How long the server wants to be left alone, where it says that it is still preparing the answer.
    pub(super) fn busy(&self) -> Option<Duration> {
        let exception = self.json.get("ConcurrencyException")?;
        Some(Duration::from_millis(exception.get("backOff").and_then(Value::as_u64).unwrap_or(1000)))
    }

    /// The image's files (`/webgateway/original_file_paths/<id>/`) below `files`, at least one.
    pub(super) fn files(&self, files: &Location) -> Result<Vec<Location>, SourceError> {
        let client = match self.json.get("client") {
            Some(Value::Array(client)) => client,
            Some(_) => return Err(self.malformed("client", "is no list of paths")),
            None => return Err(self.malformed("client", self.what_instead())),
        };
        if client.is_empty() {
            return Err(SourceError::unsupported(&self.url, "client", "an image of 0 files"));
        }
        client.iter().enumerate().map(|(number, path)| self.file(number, path, files)).collect()
    }

    /// The file that was imported from a path.
    fn file(&self, number: usize, path: &Value, files: &Location) -> Result<Location, SourceError> {
        let field = || format!("client[{number}]");
        let path = path.as_str().ok_or_else(|| self.malformed(field(), "is no text"))?;
        let inside = path
            .strip_prefix('/')
            .unwrap_or(path)
            .strip_prefix(IMPORTED_FROM)
            .ok_or_else(|| self.malformed(field(), format!("{} is not below {IMPORTED_FROM}", quote(path))))?;
        // An address would lose or climb over these.
        if inside.split('/').any(|segment| matches!(segment, "" | "." | "..") || segment.contains(char::is_control)) {
            return Err(self.malformed(field(), format!("{} is no path of a file", quote(path))));
        }
        if inside.split('/').any(|segment| segment.ends_with(".zarr")) {
            return Err(SourceError::unsupported(&self.url, field(), "an image converted to Zarr"));
        }
        Ok(files.join(inside))
    }

    /// The description of `image` (`/api/v0/m/images/<id>/`).
    pub(super) fn facts(&self, image: u64) -> Result<Facts, SourceError> {
        let data = match self.json.get("data") {
            Some(Value::Array(list)) if list.len() == 1 => &list[0],
            Some(data @ Value::Object(_)) => data,
            Some(_) => return Err(self.malformed("data", "is neither an image nor a list of one")),
            None => return Err(self.malformed("data", self.what_instead())),
        };
        if let Some(id) = data.get("@id")
            && id.as_u64() != Some(image)
        {
            return Err(self.malformed("data.@id", format!("is {}, not {image}", quote(&id.to_string()))));
        }
        let pixels = data.get("Pixels").ok_or_else(|| self.malformed("data.Pixels", "is missing"))?;
        let size = |axis: &str| {
            let field = format!("data.Pixels.Size{axis}");
            match pixels.get(format!("Size{axis}")).map(Value::as_u64) {
                Some(Some(size)) if size > 0 => Ok(size),
                Some(_) => Err(self.malformed(field, "is no positive whole number")),
                None => Err(self.malformed(field, "is missing")),
            }
        };
        let shape = Shape([size("Z")?, size("Y")?, size("X")?]);
        for (axis, what) in [("C", "channels"), ("T", "time points")] {
            let count = size(axis)?;
            if count > 1 {
                let reason = format!("an image of {count} {what}");
                return Err(SourceError::unsupported(&self.url, format!("data.Pixels.Size{axis}"), reason));
            }
        }
        let length = |axis: &str| nanometres(pixels.get(format!("PhysicalSize{axis}"))?);
        let voxel_size = || Some([length("Z")?, length("Y")?, length("X")?]);
        Ok(Facts { shape, voxel_size: voxel_size() })
    }

    /// The number of the first object of a list (`/api/v0/m/…/`).
    pub(super) fn first(&self) -> Option<u64> {
        self.json.get("data")?.get(0)?.get("@id")?.as_u64()
    }

    /// Why a key is missing: errors of the JSON API hold a message in its place.
    fn what_instead(&self) -> String {
        match self.json.get("message").and_then(Value::as_str) {
            Some(message) => format!("is missing, the server says {}", quote(message)),
            None => "is missing".to_owned(),
        }
    }

    fn malformed(&self, field: impl Into<String>, reason: impl Into<String>) -> SourceError {
        SourceError::malformed(&self.url, field, reason)
    }
}

/// A length as omero-marshal writes it, `{"Unit": "MICROMETER", "Value": 0.02}`; `None` where it is no positive length,
/// as in pixels.
fn nanometres(length: &Value) -> Option<f64> {
    let unit = Unit::named(length.get("Unit")?.as_str()?)?;
    unit.nanometres(length.get("Value")?.as_f64()?).filter(|length| *length > 0.0)
}

/// Foreign text in a message: not too long, and without what would break a line.
fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    format!("{quoted:?}")
}
