//! What is wrong with a file.

/// Why a file is not read. `field` is the path of a tag (`ImageList.1.ImageData.Data`) or a place in the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DmError {
    /// The file breaks its format.
    #[error("{field}: {reason}")]
    Malformed {
        /// Tag or place.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file may be valid, but this reader does not read such ones.
    #[error("{field}: {reason} is not supported")]
    Unsupported {
        /// Tag or place.
        field: String,
        /// What is not supported, by name.
        reason: String,
    },
}

impl DmError {
    pub(super) fn malformed(field: impl Into<String>, reason: impl Into<String>) -> Self {
        DmError::Malformed { field: field.into(), reason: reason.into() }
    }

    pub(super) fn unsupported(field: impl Into<String>, reason: impl Into<String>) -> Self {
        DmError::Unsupported { field: field.into(), reason: reason.into() }
    }
}
