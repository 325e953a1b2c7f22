//! Understanding the document of an entry. Shape: EMPIAR's REST API and its deposition schema. Values that are absent,
//! `null` or of another type than usual are taken as not stated; only the folder of an image set is indispensable.

use serde_json::Value;

use crate::document::bounds;
use crate::dtype::DataType;
use crate::length::Unit;
use crate::source::SourceError;

/// Characters of foreign text that a message repeats.
const QUOTED: usize = 160;

/// The document of one entry.
#[derive(Debug)]
pub(super) struct EntryAnswer {
    url: String,
    entry: Value,
}

/// What an entry says of an image set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImageSet {
    /// The folder below the entry's own, without slashes around it.
    pub(super) directory: String,
    /// Number of images.
    pub(super) images: Option<u64>,
    pub(super) width: Option<u64>,
    pub(super) height: Option<u64>,
    /// Nanometres per pixel along `y, x`; the document has ångströms.
    pub(super) pixel: [Option<f64>; 2],
    pub(super) dtype: Option<DataType>,
}

impl EntryAnswer {
    /// Reads the answer to a question for the entry `number`.
    pub(super) fn read(url: String, bytes: &[u8], number: u64) -> Result<Self, SourceError> {
        let fail = |field: &str, reason: String| Err(SourceError::malformed(url.clone(), field, reason));
        let mut document = match bounds::parse(bytes) {
            Ok(document) => document,
            Err(reason) => return fail("body", reason),
        };
        let Some(entries) = document.as_object_mut() else { return fail("body", "is no JSON object".into()) };
        let wanted = format!("EMPIAR-{number}");
        let is_wanted = |key: &str| key.eq_ignore_ascii_case(&wanted) || key == number.to_string();
        let Some(key) = entries.keys().find(|key| is_wanted(key)).cloned() else {
            let keys = entries.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return fail(&wanted, format!("is missing, there is {}", quote(&keys)));
        };
        match entries.remove(&key) {
            Some(entry @ Value::Object(_)) => Ok(EntryAnswer { url, entry }),
            _ => fail(&key, "is no JSON object".into()),
        }
    }

    /// The image set of this name or folder; without one the only image set.
    pub(super) fn image_set(&self, wanted: Option<&str>) -> Result<ImageSet, SourceError> {
        let sets = match self.entry.get("imagesets") {
            Some(Value::Array(sets)) => sets.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            _ => return Err(self.malformed("imagesets", "is missing or no list")),
        };
        let name = |set: &Value| set.get("name").and_then(Value::as_str).unwrap_or_default().trim().to_owned();
        let folder = |set: &Value| set.get("directory").and_then(Value::as_str).unwrap_or_default().to_owned();
        let fits = |set: &Value| match wanted {
            None => true,
            Some(wanted) => name(set) == wanted.trim() || trimmed(&folder(set)) == trimmed(wanted),
        };
        let fitting: Vec<usize> = (0..sets.len()).filter(|&number| sets.get(number).is_some_and(fits)).collect();
        let ([number], Some(set)) = (fitting.as_slice(), fitting.first().and_then(|&number| sets.get(number))) else {
            let there = sets.iter().map(|set| format!("{:?} in {:?}", name(set), folder(set))).collect::<Vec<_>>();
            let what = match wanted {
                Some(wanted) => format!("{} of them are {}", fitting.len(), quote(wanted)),
                None => "`imageset` must name one of them".to_owned(),
            };
            return Err(self.malformed("imagesets", format!("there are {}: {}; {what}", sets.len(), there.join(", "))));
        };
        let field = |key: &str| format!("imagesets[{number}].{key}");
        let directory = folder(set);
        let directory = trimmed(&directory);
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains(char::is_control);
        if directory.split('/').any(bad) {
            return Err(self.malformed(field("directory"), format!("{} is no folder", quote(directory))));
        }
        let positive = |key: &str| number_of(set.get(key)?).filter(|number| number.is_finite() && *number > 0.0);
        let count = |key: &str| {
            let number = positive(key)?;
            // Exact below 2⁵³, beyond which no image is.
            (number.fract() == 0.0 && number < 9e15).then_some(number as u64)
        };
        let pixel = |key: &str| Unit::named("Å")?.nanometres(positive(key)?);
        Ok(ImageSet {
            directory: directory.to_owned(),
            images: count("num_images_or_tilt_series"),
            width: count("image_width"),
            height: count("image_height"),
            pixel: [pixel("pixel_height"), pixel("pixel_width")],
            dtype: set.get("voxel_type").and_then(Value::as_str).and_then(voxel_type),
        })
    }

    fn malformed(&self, field: impl Into<String>, reason: impl Into<String>) -> SourceError {
        SourceError::malformed(&self.url, field, reason)
    }
}

/// A folder without slashes around it.
fn trimmed(folder: &str) -> &str {
    folder.trim().trim_matches('/')
}

/// A number, which the document may hold as text.
fn number_of(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// The names of the deposition schema.
fn voxel_type(name: &str) -> Option<DataType> {
    Some(match name {
        "UNSIGNED BYTE" => DataType::U8,
        "SIGNED BYTE" => DataType::I8,
        "UNSIGNED 16 BIT INTEGER" => DataType::U16,
        "SIGNED 16 BIT INTEGER" => DataType::I16,
        "UNSIGNED 32 BIT INTEGER" => DataType::U32,
        "SIGNED 32 BIT INTEGER" => DataType::I32,
        "32 BIT FLOAT" => DataType::F32,
        _ => return None,
    })
}

/// Foreign text in a message: not too long, and without what would break a line.
fn quote(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    format!("{quoted:?}")
}
