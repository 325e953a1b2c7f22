//! The documents of the tree's own stores, read as a client would.

use std::sync::Arc;

use super::documents::{Described, DescriptionError};
use super::failure::Failure;
use super::file;
use super::site::Site;

impl Site {
    /// What the documents of a store say.
    pub async fn describe(self: &Arc<Self>, dataset: &str, store: &str) -> Result<Described, String> {
        describe(self, dataset, store, "").await.map_err(|failure| failure.text())
    }
}

/// What the documents of a store say.
pub(super) async fn describe(site: &Arc<Site>, dataset: &str, store: &str, below: &str) -> Result<Described, Failure> {
    let fetch = |path: String| async move {
        let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        let found = match site.names().find(&parts).await {
            Err(Failure::NotFound(_)) => return Ok(None),
            found => found?,
        };
        let size = found.attributes.size;
        file::bytes(site, &found, 0..size).await.map(Some)
    };
    Described::read(dataset, store, below, fetch).await.map_err(|error| match error {
        DescriptionError::Unread(failure) => failure,
        DescriptionError::Missing(path) => Failure::NotFound(path),
        DescriptionError::Foreign { .. } => Failure::Failed(error_text(&error)),
    })
}

fn error_text(error: &DescriptionError<Failure>) -> String {
    match error {
        DescriptionError::Foreign { path, reason } => format!("{path}: {reason}"),
        DescriptionError::Missing(path) => path.clone(),
        DescriptionError::Unread(failure) => format!("{failure:?}"),
    }
}
