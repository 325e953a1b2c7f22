//! What was computed of an image on this machine, kept beside its fetched bytes.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::catalog::SourceSpec;
use crate::source::Description;
use crate::store::RangeStore;

/// What something is kept under that was computed by a version of a rule. `origin`: the address the source was opened at.
pub(super) fn key(what: &str, rule: u32, origin: &str, description: &Description, spec: &SourceSpec) -> String {
    let shape = description.levels.first().map(|level| level.grid.shape.to_string()).unwrap_or_default();
    format!("{origin} {what} {rule} {} {shape} {}", spec.digest(), description.dtype)
}

/// What is kept; nothing where it is not what it should be.
pub(super) async fn read<T: DeserializeOwned>(disk: Option<&Arc<dyn RangeStore>>, key: &str) -> Option<T> {
    serde_json::from_slice(&disk?.metadata_soon(key).await.ok()??).ok()
}

/// Keeps a value in place of the one before.
pub(super) fn write<T: Serialize>(disk: &Arc<dyn RangeStore>, key: &str, value: &T) {
    if let Ok(bytes) = serde_json::to_vec(value) {
        disk.set_metadata(key, Bytes::from(bytes));
    }
}
