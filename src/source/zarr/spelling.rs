//! What stands between the indices of chunks where the document of an array does not say it. It should be a dot then, but
//! some writers forgot to say that it is a slash, and all chunks would seem to be absent.

use std::sync::OnceLock;

use tokio::sync::Mutex;

use super::array::{ArrayDocument, ChunkKeys, Separator};
use crate::remote::Location;
use crate::source::SourceError;
use crate::store::{Remote, Witness};

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
            let keys = ChunkKeys { separator, ..array.keys };
            let object = remote.object(&array_at.join(&keys.key(indices.to_vec())))?;
            let found = match object.range_if_there(0..1, witness).await {
                // Of an object that is stored compressed, there is only the whole.
                Err(error) if error.cause.is_invalid() => object.whole_if_there(array.longest(), witness).await?,
                answer => answer?,
            };
            if found.is_none() {
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
