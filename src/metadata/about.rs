//! What the configuration says of a dataset (`[dataset.about]`), as claims.
//!
//! Keys of the study: `archive`, `accession`, `title`, `landing_page`, `doi` (list), `licence` (SPDX identifier, or a
//! sentence), `licence_url`, `citation`, `authors` (list), `release_date`, `references` (list). Everything else is a fact:
//!
//! ```toml
//! facts = [
//!     { field = "acquisition/accelerating_voltage_kv", value = 1.2, as_found = "1.2", unit = "keV", reference = "https://…" },
//! ]
//! ```
//!
//! `field` is a path of the record; that of an image is `images/NAME/FIELD`, and `extra/NAME` what the record has no field
//! for. `reference` says who states it, `as_found`
//! in which words. A fact yields to what the archive itself says, unless it has `prefer = "why"`. One with `rejected =
//! "why"` is never the value, but is told beside it.

use serde_json::{Value, json};

use super::claim_set::{ClaimSet, Evidence, Rank};
use super::fields::DATASET;
use super::terms;
use crate::catalog::Dataset;

/// What the names of facts begin with that have no field of the record.
const EXTRA: &str = "extra/";

/// Keys of the study that are lists or texts.
const STUDY: [&str; 9] =
    ["archive", "accession", "landing_page", "doi", "licence_url", "citation", "authors", "release_date", "references"];

/// Claims everything that the configuration says; `images` are the names in the order of the record.
pub(super) fn claim(claims: &mut ClaimSet<'_>, dataset: &Dataset, images: &[String]) {
    let about = &dataset.about;
    let text = |key: &str| about.get(key).and_then(toml::Value::as_str);
    let first = about.get("references").and_then(|list| list.get(0)).and_then(toml::Value::as_str);
    let source = text("landing_page").or(first).unwrap_or("the configuration").to_owned();
    let curated = Evidence::Curated { reference: source.clone(), found: None, unit: None };
    for key in STUDY {
        if let Some(value) = about.get(key) {
            claims.claim_all(&format!("/study/{key}"), plain(value), &curated, Rank::Catalogue);
        }
    }
    if let Some(title) = text("title").filter(|_| !claims.has("/study/title")) {
        claims.claim("/study/title", title.into(), curated.clone(), Rank::Catalogue, None);
    }
    if let Some(licence) = text("licence") {
        if let Some(known) = terms::licence(licence) {
            claims.claim("/study/licence", known.into(), curated, Rank::Catalogue, None);
        } else {
            claims.claim("/study/licence_statement", licence.into(), curated, Rank::Catalogue, None);
            claims.missing("/study/licence", "no licence is named; see licence_statement");
        }
    }
    for fact in about.get("facts").and_then(toml::Value::as_array).into_iter().flatten() {
        claim_fact(claims, fact, images, &source);
    }
    let method = claims.value("/acquisition/method").and_then(Value::as_str).map(str::to_owned);
    if let Some((id, label, reference)) = method.as_deref().and_then(terms::method) {
        let evidence = Evidence::Curated { reference, found: Some(label.into()), unit: None };
        claims.claim("/acquisition/method_fbbi_id", id.into(), evidence, Rank::Derived, None);
    }
}

/// The part of a record for what has no field: what the configuration says, and places for its facts called `extra/NAME`.
pub(super) fn extra(dataset: &Dataset) -> Value {
    let mut about = dataset.about.clone();
    let facts = about.remove("facts");
    let fields = facts.as_ref().and_then(toml::Value::as_array).into_iter().flatten();
    let names = fields.filter_map(|fact| fact.get("field")?.as_str()?.strip_prefix(EXTRA));
    let curated: Value = names.filter(|name| is_name(name)).map(|name| (name.to_owned(), Value::Null)).collect();
    json!({"upstream": {}, "about": plain(&toml::Value::Table(about)), "curated": curated})
}

/// Whether a fact without a field may be called so.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// One fact; what is no fact stays in the record under `extra`.
fn claim_fact(claims: &mut ClaimSet<'_>, fact: &toml::Value, images: &[String], source: &str) {
    let text = |key: &str| fact.get(key).and_then(toml::Value::as_str);
    let (Some(field), Some(value)) = (text("field"), fact.get("value")) else { return };
    let Some(pointer) = pointer(field, images) else { return };
    let evidence = Evidence::Curated {
        reference: text("reference").unwrap_or(source).to_owned(),
        found: fact.get("as_found").map(plain),
        unit: text("unit").map(str::to_owned),
    };
    let (rank, reason) = match (text("prefer"), text("rejected")) {
        (_, Some(reason)) => (Rank::Rejected, Some(reason)),
        (Some(reason), None) => (Rank::Preferred, Some(reason)),
        (None, None) => (Rank::Catalogue, text("note")),
    };
    match plain(value) {
        list @ Value::Array(_) => claims.claim_all(&pointer, list, &evidence, rank),
        Value::Object(_) | Value::Null => {}
        value => claims.claim(&pointer, value, evidence, rank, reason.map(str::to_owned)),
    }
}

/// The JSON Pointer of a fact's field.
fn pointer(field: &str, images: &[String]) -> Option<String> {
    if let Some(rest) = field.strip_prefix("images/") {
        let (number, rest) = images
            .iter()
            .enumerate()
            .filter_map(|(number, name)| Some((number, rest.strip_prefix(name.as_str())?.strip_prefix('/')?)))
            .next_back()?;
        return Some(format!("/images/{number}/{rest}"));
    }
    if let Some(name) = field.strip_prefix(EXTRA) {
        return is_name(name).then(|| format!("/extra/curated/{name}"));
    }
    DATASET.iter().any(|known| known.path == field).then(|| format!("/{field}"))
}

/// TOML as JSON; dates become their text.
pub(super) fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.iter().map(plain).collect(),
        toml::Value::Table(members) => members.iter().map(|(key, item)| (key.clone(), plain(item))).collect(),
    }
}
