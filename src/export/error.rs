//! Why an export does not happen or is not complete.

use crate::volume::VolumeError;

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What is asked for contradicts itself or the image.
    #[error("{0}")]
    Usage(String),
    /// Something is at the destination already.
    #[error("{0} exists; name a new one, or go on with what is there by --resume")]
    Exists(String),
    /// What is at the destination is of another export.
    #[error("{destination} cannot be resumed: {reason}; name a new DEST, or remove what is there")]
    Other {
        /// The destination.
        destination: String,
        /// What differs.
        reason: String,
    },
    /// The image cannot be opened or shown.
    #[error("{name}: {error}")]
    Open {
        /// Dataset and image.
        name: String,
        /// Why.
        error: VolumeError,
    },
    /// The destination or the files beside it cannot be written or read.
    #[error("{what}: {reason}")]
    Write {
        /// The file or object, with what was done.
        what: String,
        /// Why.
        reason: String,
    },
    /// Some chunks could not be had.
    #[error("{0}")]
    Incomplete(String),
    /// The export was asked to stop.
    #[error("stopped; the same command with --resume goes on")]
    Stopped,
}

impl ExportError {
    /// For `map_err`: an error while writing or reading `what`.
    pub(super) fn write<E: std::fmt::Display>(what: impl Into<String>) -> impl FnOnce(E) -> ExportError {
        move |error| ExportError::Write { what: what.into(), reason: error.to_string() }
    }
}
