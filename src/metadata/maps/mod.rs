//! Which field of a document is which field of the record. A module per kind of document.

mod dm;
mod empiar;
mod mrc;
mod omero;
mod precomputed;
mod tiff;
mod zarr;

use serde_json::Value;

use super::claim_set::ClaimSet;
use crate::document::DocumentKind;
use crate::length::Unit;

/// The three axes of the record.
const AXES: [&str; 3] = ["z", "y", "x"];

/// Where the claims of one image go.
pub(super) struct ClaimTarget {
    /// `/images/0`.
    pub prefix: String,
    /// Whether what is said of the study, the specimen and the acquisition is taken, too.
    pub main: bool,
    /// The image's documents, by their numbers on the set.
    pub docs: std::ops::Range<usize>,
}

impl ClaimTarget {
    fn at(&self, field: &str) -> String {
        format!("{}/{field}", self.prefix)
    }

    /// The document of this kind.
    fn doc(&self, claims: &ClaimSet<'_>, kind: &DocumentKind) -> Option<usize> {
        self.docs.clone().find(|&number| claims.docs.get(number).is_some_and(|doc| doc.document.kind == *kind))
    }
}

/// Reads all documents of an image.
pub(super) fn read(claims: &mut ClaimSet<'_>, target: &ClaimTarget) {
    tiff::read(claims, target);
    dm::read(claims, target);
    mrc::read(claims, target);
    zarr::read(claims, target);
    precomputed::read(claims, target);
    omero::read(claims, target);
    empiar::read(claims, target);
}

/// A whole number above 0, which may be written as text.
fn count(value: &Value) -> Option<Value> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| *number > 0)?;
    Some(number.into())
}

/// A number, which may be written as text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| number.is_finite())
}

fn any_number(value: &Value) -> Option<Value> {
    number(value).map(Value::from)
}

/// A number above 0; instruments write 0 for what they do not know.
fn positive(value: &Value) -> Option<f64> {
    number(value).filter(|number| *number > 0.0)
}

/// A length in `unit` as nanometres.
fn length(unit: &str) -> impl Fn(&Value) -> Option<Value> {
    move |value| Unit::named(unit)?.nanometres(positive(value)?).map(Value::from)
}

fn text(value: &Value) -> Option<Value> {
    value.as_str().map(|text| text.trim().into())
}

fn date(value: &Value) -> Option<Value> {
    super::dates::date(value.as_str()?).map(Value::from)
}
