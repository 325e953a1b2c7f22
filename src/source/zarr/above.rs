//! The document of the group around an array. It says what the array may lack, and is none of the array's own: where it is
//! bad the array is shown without it, and where it cannot be had just now that is an error, since what it says would be
//! missing as long as the array is open.

use super::documents::Documents;
use crate::remote::{Cause, Location};
use crate::source::SourceError;
use crate::store::is_past_caches;

/// What the document of a group says of an array in it.
#[derive(Debug, Default)]
pub(super) struct Said<T> {
    /// What was made of it; nothing where it says nothing.
    pub value: T,
    /// What is wrong with it, where it is there.
    pub fault: Option<SourceError>,
}

impl<T> Said<T> {
    /// What is to be told of an array that is shown without it.
    pub fn note(&self) -> Option<String> {
        self.fault.as_ref().map(|fault| format!("shown without what the group around it says: {fault}"))
    }
}

/// Gets the document, of `limit` bytes at the most, and what `read` makes of it and its name.
pub(super) async fn said<T: Default>(
    documents: &impl Documents,
    document: &Location,
    limit: u64,
    read: impl FnOnce(&str, &[u8]) -> Result<T, SourceError>,
) -> Result<Said<T>, SourceError> {
    let file = document.to_string();
    let value = match documents.get(document, limit).await {
        // The bytes are dropped in here, before another document is waited for.
        Ok(bytes) => documents.alone(move || read(&file, &bytes)),
        Err(error) => Err(error.into()),
    };
    match value {
        Ok(value) => Ok(Said { value, fault: None }),
        Err(error) if is_absent(&error) => Ok(Said::default()),
        Err(error) if is_believed(&error) => Ok(Said { value: T::default(), fault: Some(error) }),
        Err(error) => Err(error),
    }
}

/// Whether there is no such document. A store that may not be listed says 403 of what is not there.
pub(super) fn is_absent(error: &SourceError) -> bool {
    matches!(error.cause(), Some(Cause::NotFound | Cause::Denied(_)))
}

/// Whether it is bad for good. Some servers answer everything with a page, and any may do so once, so that what makes no sense
/// is believed to be so past every cache only: with other axes all voxels are elsewhere.
fn is_believed(error: &SourceError) -> bool {
    let Some(cause) = error.cause() else { return is_past_caches() };
    match cause {
        Cause::Forbidden(_) | Cause::Elsewhere(_) | Cause::Request(_) => true,
        Cause::Protocol(_) | Cause::TooLong { .. } | Cause::Gone(_) => is_past_caches(),
        // These three mean "not now".
        Cause::Status(status) => (400..500).contains(status) && !matches!(status, 408 | 425 | 429),
        _ => false,
    }
}
