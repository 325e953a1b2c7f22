//! What is claimed of each field, by whom, and what is made of it.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::places::{leaves, put, sort_key, unknown};
use crate::document::Document;

/// Longest text that becomes a value.
const MAX_TEXT: usize = 4096;
/// Bytes of what is claimed together.
const MAX_CLAIMED: usize = 1 << 20;
/// Bytes of what stands at one place of a document and becomes a value.
const MAX_FOUND: usize = 64 << 10;
/// Leaves of one document that the record repeats under `extra`, and their bytes.
const MAX_EXTRA: usize = 4096;
const MAX_EXTRA_BYTES: usize = 128 << 10;
/// Bytes of those of all documents.
const MAX_ALL_EXTRA_BYTES: usize = 512 << 10;
/// Longest text that it repeats there.
const MAX_EXTRA_TEXT: usize = 1024;

/// A document of the dataset, parsed.
pub(super) struct Doc<'a> {
    /// Its file name below `upstream`.
    pub file: String,
    pub document: &'a Document,
    /// What it says; none where the documents before it have as many values as a record is made of.
    pub value: Option<Value>,
}

/// How a value came.
#[derive(Debug, Clone)]
pub(super) enum Evidence {
    /// A document says so: its number, the place in it, what stands there, and in which unit.
    Upstream { doc: usize, pointer: String, found: Value, unit: Option<String> },
    /// People found it; `reference` says where.
    Curated { reference: String, found: Option<Value>, unit: Option<String> },
    /// It follows from other values.
    Computed { rule: String },
    /// It is likely.
    Assumed { reason: String },
}

/// How much a claim is believed; the first is believed most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Somebody looked into it.
    Preferred,
    /// The file with the voxels.
    File,
    /// The archive's documents about it.
    Archive,
    /// The catalogue.
    Catalogue,
    /// Anything else.
    Derived,
    /// Known to be wrong.
    Rejected,
    /// Told beside the field only where nothing else is known of it.
    Hint,
}

impl Rank {
    /// Whether a claim of this rank may be the value.
    fn believed(self) -> bool {
        self < Rank::Rejected
    }
}

#[derive(Debug, Clone)]
struct Claim {
    pointer: String,
    value: Value,
    evidence: Evidence,
    rank: Rank,
    /// Why it is believed or not.
    reason: Option<String>,
}

/// All claims of one dataset.
pub(super) struct ClaimSet<'a> {
    pub docs: Vec<Doc<'a>>,
    claims: Vec<Claim>,
    claimed: usize,
    served_values: HashMap<String, (Value, String)>,
    reasons: HashMap<String, String>,
    doubts: Vec<(String, &'static str)>,
}

impl<'a> ClaimSet<'a> {
    pub(super) fn new(docs: Vec<Doc<'a>>) -> Self {
        ClaimSet {
            docs,
            claims: Vec::new(),
            claimed: 0,
            served_values: HashMap::new(),
            reasons: HashMap::new(),
            doubts: Vec::new(),
        }
    }

    /// What stands at a place of a document, if anything does.
    pub(super) fn found(&self, doc: usize, pointer: &str) -> Option<&Value> {
        self.docs.get(doc)?.value.as_ref()?.pointer(pointer).filter(|value| !value.is_null())
    }

    /// Claims what `convert` makes of a place in a document. What it makes nothing of is a reason why the field is missing.
    pub(super) fn upstream(
        &mut self,
        field: &str,
        rank: Rank,
        (doc, pointer): (usize, &str),
        unit: Option<&str>,
        convert: impl FnOnce(&Value) -> Option<Value>,
    ) {
        let Some(found) = self.found(doc, pointer) else { return };
        let told = brief(found);
        let found = if bulk(found) <= MAX_FOUND { found.clone() } else { Value::Null };
        match convert(&found).filter(fits) {
            Some(value) => {
                let evidence =
                    Evidence::Upstream { doc, pointer: pointer.to_owned(), found, unit: unit.map(str::to_owned) };
                self.claim(field, value, evidence, rank, None);
            }
            None if found.as_str() == Some("") => {}
            None => {
                let file = self.docs.get(doc).map(|doc| doc.file.clone()).unwrap_or_default();
                let unit = unit.map(|unit| format!(" (unit {unit:?})")).unwrap_or_default();
                let reason = format!("upstream/{file} has {told}{unit} at {pointer}, which is no such value");
                self.reasons.entry(field.to_owned()).or_insert(reason);
            }
        }
    }

    pub(super) fn claim(&mut self, field: &str, value: Value, evidence: Evidence, rank: Rank, reason: Option<String>) {
        let found = match &evidence {
            Evidence::Upstream { pointer, found, .. } => pointer.len() + bulk(found),
            _ => 0,
        };
        self.claimed += field.len() + bulk(&value) + found;
        if self.claimed > MAX_CLAIMED {
            let reason = "the documents state more than a record holds";
            self.reasons.entry(field.to_owned()).or_insert_with(|| reason.to_owned());
            return;
        }
        self.claims.push(Claim { pointer: field.to_owned(), value, evidence, rank, reason });
    }

    /// Claims each leaf of a list or an object on the same ground.
    pub(super) fn claim_all(&mut self, field: &str, value: Value, evidence: &Evidence, rank: Rank) {
        match value {
            Value::Array(items) => {
                for (number, item) in items.into_iter().enumerate() {
                    self.claim_all(&format!("{field}/{number}"), item, evidence, rank);
                }
            }
            Value::Null => {}
            value => self.claim(field, value, evidence.clone(), rank, None),
        }
    }

    /// What emfs shows, which is the value whatever is claimed; a claim that says the same tells where it is from.
    pub(super) fn shown(&mut self, field: &str, value: impl Into<Value>, rule: &str) {
        self.served_values.insert(field.to_owned(), (value.into(), rule.to_owned()));
    }

    /// Why a field is not known.
    pub(super) fn missing(&mut self, field: &str, reason: &str) {
        self.reasons.insert(field.to_owned(), reason.to_owned());
    }

    /// Why a field is not known, unless another reason was told already.
    pub(super) fn missing_otherwise(&mut self, field: &str, reason: &str) {
        self.reasons.entry(field.to_owned()).or_insert_with(|| reason.to_owned());
    }

    /// Why what documents say of the fields below this one is not yet sure.
    pub(super) fn doubt(&mut self, field: &str, reason: &'static str) {
        self.doubts.push((format!("{field}/"), reason));
    }

    /// The value of a field so far.
    pub(super) fn value(&self, field: &str) -> Option<&Value> {
        if let Some((value, _)) = self.served_values.get(field) {
            return Some(value);
        }
        let claims = self.claims.iter().filter(|claim| claim.pointer == field && claim.rank.believed());
        claims.min_by_key(|claim| claim.rank).map(|claim| &claim.value)
    }

    /// Whether a claim of this rank is there for the field.
    pub(super) fn has(&self, field: &str) -> bool {
        self.value(field).is_some()
    }

    /// Fills `record`, whose fields are all there and `null`, and adds where everything came from.
    pub(super) fn fill(mut self, record: &mut Value) {
        self.claims.sort_by_key(|claim| claim.rank);
        let mut order: Vec<String> = Vec::new();
        let mut fields: HashMap<&str, Vec<&Claim>> = HashMap::new();
        for claim in &self.claims {
            fields.entry(&claim.pointer).or_default().push(claim);
        }
        let mut seen = HashSet::new();
        let mut served: Vec<&String> = self.served_values.keys().collect();
        served.sort_by_key(|pointer| sort_key(pointer));
        for pointer in self.claims.iter().map(|claim| &claim.pointer).chain(served) {
            if seen.insert(pointer.clone()) {
                order.push(pointer.clone());
            }
        }
        let (mut provenance, mut alternatives) = (Map::new(), Map::new());
        for pointer in &order {
            let claims = fields.get(pointer.as_str()).map(Vec::as_slice).unwrap_or_default();
            let (value, mut entry, rest) = self.decide(pointer, claims);
            let (mut confirmed, mut others) = (Vec::new(), Vec::new());
            let preferred = claims.first().filter(|claim| claim.rank == Rank::Preferred);
            let preferred = preferred.and_then(|claim| claim.reason.as_deref());
            for claim in rest {
                if claim.rank == Rank::Hint && value.is_some() {
                } else if value.as_ref().is_some_and(|value| same(value, &claim.value)) {
                    confirmed.push(self.evidence(&claim.evidence));
                } else {
                    let reason = claim.reason.as_deref().or(preferred).unwrap_or(BELIEVED);
                    others.push(
                        json!({"value": claim.value, "reason": reason, "provenance": self.evidence(&claim.evidence)}),
                    );
                }
            }
            if !others.is_empty() {
                alternatives.insert(pointer.clone(), others.into());
            }
            let Some(value) = value else { continue };
            if put(record, pointer, value) {
                if !confirmed.is_empty() {
                    entry["confirmed_by"] = confirmed.into();
                }
                provenance.insert(pointer.clone(), entry);
            }
        }
        let mut missing = Map::new();
        for pointer in unknown(record) {
            let reason = self.reason(&pointer).unwrap_or("no source states it").into();
            missing.insert(pointer, reason);
        }
        let extra = self.extra();
        record["extra"]["upstream"] = extra;
        record["provenance"] = provenance.into();
        record["alternatives"] = alternatives.into();
        record["missing"] = missing.into();
    }

    /// The value of a field, where it came from, and the claims that are left over.
    fn decide<'c>(&self, pointer: &str, claims: &[&'c Claim]) -> (Option<Value>, Value, Vec<&'c Claim>) {
        let chosen = match self.served_values.get(pointer) {
            Some((value, _)) => claims.iter().position(|claim| same(&claim.value, value) && claim.rank.believed()),
            None => claims.iter().position(|claim| claim.rank.believed()),
        };
        let rest = claims.iter().enumerate().filter(|(number, _)| Some(*number) != chosen).map(|(_, claim)| *claim);
        let rest = rest.collect();
        match (chosen.and_then(|number| claims.get(number)), self.served_values.get(pointer)) {
            (Some(claim), served_values) => {
                let mut entry = self.evidence(&claim.evidence);
                let upstream = matches!(claim.evidence, Evidence::Upstream { .. });
                let doubt = self.doubts.iter().find(|(below, _)| upstream && pointer.starts_with(below));
                if let Some(reason) = claim.reason.as_deref().or(doubt.map(|(_, reason)| *reason)) {
                    entry["reason"] = reason.into();
                }
                let value = served_values.map_or(&claim.value, |(value, _)| value);
                (Some(value.clone()), entry, rest)
            }
            (None, Some((value, rule))) => (Some(value.clone()), json!({"method": "computed", "rule": rule}), rest),
            (None, None) => (None, Value::Null, rest),
        }
    }

    fn evidence(&self, evidence: &Evidence) -> Value {
        match evidence {
            Evidence::Upstream { doc, pointer, found, unit } => {
                let doc = self.docs.get(*doc);
                json!({
                    "method": "upstream",
                    "document": doc.map(|doc| format!("upstream/{}", doc.file)),
                    "pointer": pointer,
                    "value_as_found": found,
                    "unit_as_found": unit,
                    "retrieved": doc.map(|doc| doc.document.retrieved_text()),
                    "sha256": doc.map(|doc| doc.document.sha256.as_str()),
                })
            }
            Evidence::Curated { reference, found, unit } => json!({
                "method": "curated", "reference": reference, "value_as_found": found, "unit_as_found": unit,
            }),
            Evidence::Computed { rule } => json!({"method": "computed", "rule": rule}),
            Evidence::Assumed { reason } => json!({"method": "assumed", "rule": reason}),
        }
    }

    /// The reason for a field, or for the nearest one above it.
    fn reason(&self, pointer: &str) -> Option<&str> {
        let mut at = pointer;
        loop {
            if let Some(reason) = self.reasons.get(at) {
                return Some(reason);
            }
            at = at.rsplit_once('/')?.0;
        }
    }

    /// Everything that stands in the documents and was not taken.
    fn extra(&self) -> Value {
        let used: HashSet<(usize, &str)> = self
            .claims
            .iter()
            .filter(|claim| claim.rank != Rank::Hint)
            .filter_map(|claim| match &claim.evidence {
                Evidence::Upstream { doc, pointer, .. } => Some((*doc, pointer.as_str())),
                _ => None,
            })
            .collect();
        let mut budget_of_all = MAX_ALL_EXTRA_BYTES;
        let documents = self.docs.iter().enumerate().map(|(number, doc)| {
            let (mut left, mut over) = (Map::new(), 0usize);
            let most = budget_of_all.min(MAX_EXTRA_BYTES);
            let mut budget = most;
            leaves(doc.value.as_ref().unwrap_or(&Value::Null), &mut String::new(), &mut |pointer, leaf| {
                // Of a long one not even the sum is made: thousands of leaves may lie below one long name.
                if pointer.len() > MAX_EXTRA_TEXT {
                    over += 1;
                    return;
                }
                if used.contains(&(number, pointer)) || doc.value.is_none() {
                    return;
                }
                let leaf = shortened(leaf);
                match budget.checked_sub(pointer.len() + bulk(&leaf)).filter(|_| left.len() < MAX_EXTRA) {
                    Some(rest) => {
                        budget = rest;
                        left.insert(pointer.to_owned(), leaf);
                    }
                    None => over += 1,
                }
            });
            budget_of_all -= most - budget;
            if doc.value.is_none() {
                left.insert(
                    "…".into(),
                    format!("all {} values are in upstream/{}", doc.document.values, doc.file).into(),
                );
            }
            if over > 0 {
                left.insert("…".into(), format!("{over} more in upstream/{}", doc.file).into());
            }
            (doc.file.clone(), Value::Object(left))
        });
        Value::Object(documents.collect())
    }
}

/// Why another claim was taken.
const BELIEVED: &str = "files are believed before the archive's other documents, and these before the catalogue";

fn fits(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty() && text.len() <= MAX_TEXT,
        Value::Null | Value::Object(_) | Value::Array(_) => false,
        Value::Number(_) | Value::Bool(_) => true,
    }
}

/// Whether two values say the same; numbers within rounding.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()),
        _ => a == b,
    }
}

/// About how many bytes a value takes.
fn bulk(value: &Value) -> usize {
    64 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bulk).sum(),
        Value::Object(members) => members.iter().map(|(key, member)| key.len() + bulk(member)).sum(),
        _ => 0,
    }
}

/// A value in a few words.
pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(members) => format!("an object of {}", members.len()),
        Value::String(text) => format!("{:?}", text.chars().take(60).collect::<String>()),
        other => other.to_string(),
    }
}

fn shortened(leaf: &Value) -> Value {
    match leaf {
        Value::String(text) if text.len() > MAX_EXTRA_TEXT => {
            let shown: String = text.chars().take(MAX_EXTRA_TEXT / 4).collect();
            format!("{shown}… ({} bytes)", text.len()).into()
        }
        leaf => leaf.clone(),
    }
}
