//! What descriptions of a dataset in the forms of others say: taken from its record, with the words for it in one place.

use chrono::Utc;
use serde_json::Value;

use crate::tiff::TiffName;

/// What a directory of the mount holds, as these descriptions name it.
pub(super) struct DescribedPart {
    /// Path from the description's directory.
    pub path: String,
    pub is_directory: bool,
    pub media_type: &'static str,
    pub about: String,
}

/// What is said of a dataset as a whole.
pub(super) struct Passport<'a> {
    record: &'a Value,
}

impl<'a> Passport<'a> {
    pub(super) fn of(record: &'a Value) -> Passport<'a> {
        Passport { record }
    }

    /// The name of its directory.
    pub(super) fn id(&self) -> &'a str {
        self.record["id"].as_str().unwrap_or_default()
    }

    pub(super) fn title(&self) -> &'a str {
        self.record["title"].as_str().unwrap_or(self.id())
    }

    /// A field of the study.
    pub(super) fn study(&self, field: &str) -> Option<&'a str> {
        self.record["study"][field].as_str()
    }

    /// The texts of a list of the study.
    pub(super) fn studies(&self, field: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.record["study"][field].as_array().into_iter().flatten().filter_map(Value::as_str)
    }

    /// One sentence or two: what was imaged, how, and where it is published.
    pub(super) fn description(&self) -> String {
        let text = |pointer: &str| self.record.pointer(pointer).and_then(Value::as_str);
        let mut sentence = self.title().trim_end_matches('.').to_owned();
        let known = [
            ("organism", text("/biosample/organism")),
            ("tissue", text("/biosample/tissue")),
            ("imaged by", text("/acquisition/method")),
            ("published by", text("/study/archive")),
            ("accession", text("/study/accession")),
        ];
        for (what, value) in known {
            if let Some(value) = value {
                sentence.push_str(&format!("; {what} {value}"));
            }
        }
        sentence.push_str(
            ". Volume electron microscopy, shown by emfs as OME-Zarr; metadata.json says how each value came.",
        );
        sentence
    }

    /// An address of the licence's text, or what is said of use.
    pub(super) fn licence(&self) -> Option<&'a str> {
        ["licence_url", "licence", "licence_statement"].iter().find_map(|field| self.study(field))
    }

    /// The day on which the data were published; where nobody says, the day on which they were first seen here.
    pub(super) fn published(&self) -> String {
        let dates = ["release_date", "deposition_date"].iter().find_map(|field| self.study(field));
        let seen = || self.documents().find_map(|document| document["retrieved"].as_str());
        let day = dates.or_else(seen).and_then(|date| date.get(..10));
        day.map_or_else(|| Utc::now().format("%Y-%m-%d").to_string(), str::to_owned)
    }

    /// The archive's documents.
    pub(super) fn documents(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.record["documents"].as_array().into_iter().flatten()
    }

    /// The images, and their labels.
    pub(super) fn images(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        self.record["images"].as_array().into_iter().flatten()
    }

    /// The stores of its images and views, and the TIFF files beside them; what is below them is theirs to describe.
    pub(super) fn stores(&self) -> Vec<DescribedPart> {
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        let mut parts = Vec::new();
        let mut store = |path: &str, about: String| {
            let media_type = "application/vnd+zarr";
            parts.push(DescribedPart { path: path.to_owned(), is_directory: true, media_type, about });
        };
        for image in self.images().filter(|image| image["label_of"].is_null()) {
            let name = text(&image["name"]);
            store(text(&image["zarr"]), format!("Image {name} and its labels as OME-Zarr 0.4 (Zarr v2)"));
            store(text(&image["zarr_v3"]), format!("Image {name} and its labels as OME-Zarr 0.5 (Zarr v3)"));
        }
        for view in self.record["views"].as_array().into_iter().flatten() {
            let about = format!("Voxels {} of image {}", text(&view["crop"]), text(&view["image"]));
            store(text(&view["zarr"]), format!("{about} as OME-Zarr 0.4 (Zarr v2)"));
            store(text(&view["zarr_v3"]), format!("{about} as OME-Zarr 0.5 (Zarr v3)"));
        }
        for image in self.images().filter(|image| image["shape"]["z"].is_u64()) {
            let name = text(&image["name"]);
            let path = match image["label_of"].as_str() {
                Some(of) => TiffName::of(of, Some(name)),
                None => TiffName::of(name, None),
            };
            let about = format!("{name} as one TIFF file: the finest level that stays under 4 GiB, else the coarsest");
            parts.push(DescribedPart { path, is_directory: false, media_type: "image/tiff", about });
        }
        parts
    }
}

/// Whether a text is an address that a reader can follow.
pub(super) fn is_address(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}
