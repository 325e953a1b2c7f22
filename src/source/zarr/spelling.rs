//! What stands between the indices of chunks where the document of an array does not say it. It should be a dot then, but
//! some writers forgot to say that it is a slash, and all chunks would seem to be absent.

use std::sync::OnceLock;

use tokio::sync::Mutex;

use super::array::{ArrayDocument, ChunkKeys, Separator};
use crate::remote::Location;
use crate::source::SourceError;
use crate::store::{Object, Remote, Witness, past_caches};

/// What is known of the separator.
#[derive(Default)]
pub(super) struct Spelling {
    known: OnceLock<Separator>,
    /// Held while chunks are looked for.
    looking: Mutex<()>,
}

impl Spelling {
    /// That of keys as the document has them.
    pub fn of(keys: ChunkKeys) -> Self {
        let spelling = Spelling::default();
        if !keys.is_guess {
            // Nobody else has it yet.
            let _ = spelling.known.set(keys.separator);
        }
        spelling
    }

    /// The keys as they were found to be.
    pub fn keys(&self, keys: ChunkKeys) -> ChunkKeys {
        ChunkKeys { separator: self.known.get().copied().unwrap_or(keys.separator), ..keys }
    }

    /// Looks for a chunk by both spellings, unless one is known to be right.
    pub async fn look(
        &self,
        remote: &Remote,
        array_at: &Location,
        array: &ArrayDocument,
        indices: &[u64],
        witness: &Witness,
    ) -> Result<(), SourceError> {
        if self.known.get().is_some() {
            return Ok(());
        }
        let _looking = self.looking.lock().await;
        for separator in [array.keys.separator, array.keys.separator.other()] {
            if self.known.get().is_some() {
                return Ok(());
            }
            let chunk = |separator| {
                let keys = ChunkKeys { separator, ..array.keys };
                remote.object(&array_at.join(&keys.key(indices.to_vec())))
            };
            let object = chunk(separator)?;
            let is_there = match object.range_if_there(0..1, witness).await {
                // Of an object that is stored compressed, there is only the whole. So there is of a page in place of a 404.
                Err(error) if error.cause.is_invalid() && remote.is_offline() => {
                    object.whole_if_there(array.longest(), witness).await?.is_some()
                }
                Err(error) if error.cause.is_invalid() => {
                    is_surely_there(&object, &chunk(separator.other())?, array.longest(), witness).await?
                }
                answer => answer?.is_some(),
            };
            if !is_there {
                continue;
            }
            if separator != array.keys.separator {
                let text = separator.text();
                tracing::warn!("{array_at}: .zarray has no dimension_separator, but chunks are named with `{text}`");
            }
            // It is set only while this is held.
            let _ = self.known.set(separator);
        }
        Ok(())
    }
}

/// Whether an object of which there is only the whole is there: it is given so twice, and the same chunk is not there by its
/// other name. All chunks would be looked for in the wrong place else.
async fn is_surely_there(
    object: &Object,
    other: &Object,
    longest: u64,
    witness: &Witness,
) -> Result<bool, SourceError> {
    let Some(first) = object.whole_if_there(longest, witness).await? else { return Ok(false) };
    match past_caches(object.whole_if_there(longest, witness)).await? {
        Some(again) if again.bytes == first.bytes => {}
        _ => return Ok(false),
    }
    match other.range_if_there(0..1, witness).await {
        Ok(None) => Ok(true),
        Err(error) if !error.cause.is_invalid() => Err(error.into()),
        _ => Err(SourceError::malformed(object.url(), "name", "its chunk is there by another name as well")),
    }
}
