//! Why a chunk cannot be had.

use crate::remote::Cause;
use crate::source::SourceError;

/// A chunk or an image that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VolumeError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The object came whole each time it was fetched, but is no block.
    #[error("{1} (after {0} attempts)")]
    Undecodable(u32, Box<VolumeError>),
    /// The image is valid but cannot be shown as a store.
    #[error("{0}")]
    Unsuitable(String),
    /// It was fetched, to be kept on disk, and is not there.
    #[error(
        "it was fetched but is not kept: the cache is too small, its disk is full or cannot be written, or its origin tells no versions"
    )]
    NotKept,
    /// It would be fetched to be kept on disk, and cannot be kept.
    #[error("neither this nor more is fetched, because it cannot be kept: {0}")]
    NoRoom(String),
    /// It is not fetched any more, because who wanted it has given up.
    #[error("it was given up")]
    GivenUp,
    /// The task that did the work ended without a result, which is a bug; the log has its panic.
    #[error("the task that read it ended without a result")]
    Lost,
}

impl VolumeError {
    /// What went wrong with the origin, where that is the reason.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            VolumeError::Source(SourceError::Remote(error)) => Some(&error.cause),
            VolumeError::Undecodable(_, error) => error.cause(),
            _ => None,
        }
    }

    /// Whether the origin could not be asked, which says nothing of the object.
    pub fn is_outage(&self) -> bool {
        self.is_silence()
            || matches!(self.cause(), Some(Cause::Connection(_) | Cause::Exhausted(_) | Cause::Status(429 | 502..=504)))
    }

    /// Whether nothing came from the origin for the whole timeout.
    pub fn is_silence(&self) -> bool {
        matches!(self.cause(), Some(Cause::Timeout { .. } | Cause::Offline(_)))
    }

    /// Whether what is there is not what emfs can show.
    pub fn is_of_content(&self) -> bool {
        match self {
            VolumeError::Source(
                SourceError::Malformed { .. } | SourceError::TooLong { .. } | SourceError::Unsupported { .. },
            ) => true,
            VolumeError::Undecodable(..) | VolumeError::Unsuitable(_) => true,
            _ => matches!(self.cause(), Some(Cause::NotFound | Cause::Request(_) | Cause::Elsewhere(_))),
        }
    }

    /// Whether the origin refused for want of credentials.
    pub fn is_denied(&self) -> bool {
        matches!(self.cause(), Some(Cause::Denied(_) | Cause::Forbidden(_) | Cause::Credentials(_)))
    }
}
