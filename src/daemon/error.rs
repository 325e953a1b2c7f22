//! What can go wrong with a daemon, and with asking one.

use std::io;

use crate::catalog::CatalogError;
use crate::fuse::MountError;

/// Why there is no daemon, or no answer of one.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A catalogue that cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There is no mount, or its daemon does not answer.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// An error of the system.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: String,
        /// The error.
        error: io::Error,
    },
    /// Any other reason.
    #[error("{0}")]
    Failed(String),
}

impl DaemonError {
    /// For `map_err`: an error of the system while doing `what`.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> DaemonError {
        move |error| DaemonError::System { what: what.into(), error }
    }
}
