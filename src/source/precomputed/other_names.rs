//! Chunks that a server has by other names than the format gives them. Plain servers of files give those of cloud-volume and
//! neuroglancer-scripts by the names that they have in the folder, with the ending of their compression or as `x/y/z`: all that
//! is asked for by its usual name is absent then, and would be shown as zeros.

use std::sync::OnceLock;
use std::time::Instant;

use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Mutex;

use super::chunk_names::ChunkNames;
use super::info::Scale;
use crate::geometry::CellIndex;
use crate::remote::{Cause, Compression, Location};
use crate::source::SourceError;
use crate::store::{Remote, Witness};

/// For so many absent chunks of a scale it is asked whether they are there by another name; after that for each whose number is a
/// power of two.
const FIRST: u64 = 8;

/// What is known of the names of a scale.
enum Known {
    /// A chunk was read by its usual name.
    AsUsual,
    /// The address of a chunk that has another one.
    Otherwise(String),
}

/// What is known of the names of the chunks of a scale that is not sharded, on a server.
#[derive(Default)]
pub(super) struct OtherNames {
    known: OnceLock<Known>,
    /// Held while it is asked for a chunk by its other names.
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    /// Absent chunks so far.
    absent: u64,
    /// When it could not be learnt last, and why.
    failed: Option<(Instant, SourceError)>,
    /// What is kept of it, where that was looked for.
    noted: Option<Option<String>>,
}

/// A chunk that is absent by its usual name.
pub(super) struct AbsentChunk<'a> {
    pub remote: &'a Remote,
    pub folder: &'a Location,
    pub scale: &'a Scale,
    pub block: CellIndex,
    /// Longest body that can be it.
    pub longest: u64,
    pub witness: &'a Witness,
}

impl OtherNames {
    /// Notes that a chunk was read by its usual name.
    pub fn are_usual(&self) {
        let _ = self.known.set(Known::AsUsual);
    }

    /// Makes sure that the chunk is not there by another name. `is_kept`: that it is absent was kept and is not said just now.
    ///
    /// # Errors
    /// Where it is, where another chunk of the scale is, or where that cannot be learnt.
    pub async fn bear_out(&self, chunk: &AbsentChunk<'_>, is_kept: bool) -> Result<(), SourceError> {
        if let Some(known) = self.known.get() {
            return chunk.judged(known);
        }
        let began = Instant::now();
        let mut asked = self.asked.lock().await;
        if let Some(known) = self.known.get() {
            return chunk.judged(known);
        }
        // Those who waited all the while for a host that says nothing do not wait once more, one after the other.
        if let Some((when, error)) = &asked.failed
            && began < *when
        {
            return Err(error.clone());
        }
        let noted = match &asked.noted {
            Some(noted) => noted.clone(),
            None => asked.noted.insert(chunk.noted().await).clone(),
        };
        let is_offline = chunk.remote.is_offline();
        match noted {
            // It was asked for by its other names when that was kept.
            None if (is_kept || is_offline) && asked.failed.is_none() => return Ok(()),
            Some(noted) if is_offline => return chunk.judged(self.known.get_or_init(|| Known::Otherwise(noted))),
            _ => {}
        }
        let number = asked.absent + 1;
        if number <= FIRST || number.is_power_of_two() || asked.failed.is_some() {
            match chunk.found().await {
                Ok(Some(other)) => {
                    chunk.note(&other);
                    return chunk.judged(self.known.get_or_init(|| Known::Otherwise(other)));
                }
                Ok(None) => {
                    if asked.noted.take().flatten().is_some() {
                        chunk.note("");
                    }
                    (asked.noted, asked.failed) = (Some(None), None);
                }
                Err(error) => {
                    // Nobody takes it for absent before that is learnt.
                    let unknown = chunk.unknown();
                    chunk.note(&unknown);
                    (asked.noted, asked.failed) = (Some(Some(unknown)), Some((Instant::now(), error.clone())));
                    return Err(error);
                }
            }
        }
        asked.absent = number;
        Ok(())
    }
}

impl AbsentChunk<'_> {
    fn judged(&self, known: &Known) -> Result<(), SourceError> {
        let Known::Otherwise(other) = known else { return Ok(()) };
        if *other == self.unknown() {
            let reason =
                "whether absent chunks are there by other names could not be learnt; mount once without --offline";
            return Err(SourceError::malformed(other, "name", reason));
        }
        let usual = self.folder.join(&self.name(ChunkNames::Flat));
        let reason = format!(
            "it is there, and {usual} is not, so that chunks are not called as the format says; \
             have the server give them by the names `x_y_z`, with a `Content-Encoding` where they are compressed, and mount again, \
             or read the folder by its path on the machine that has it"
        );
        Err(SourceError::malformed(other, "name", reason))
    }

    fn name(&self, names: ChunkNames) -> String {
        names.name(&self.scale.grid.region(self.block), self.scale.offset)
    }

    /// The names that it may have instead.
    fn others(&self) -> Vec<String> {
        let (flat, nested) = (self.name(ChunkNames::Flat), self.name(ChunkNames::Nested));
        let packed = Compression::ALL.map(|compression| format!("{flat}.{}", compression.ending()));
        let nested_packed = format!("{nested}.{}", Compression::Gzip.ending());
        packed.into_iter().chain([nested_packed, nested]).collect()
    }

    /// Asks for it by its other names; an answer is the address that it has.
    async fn found(&self) -> Result<Option<String>, SourceError> {
        let others = self.others();
        let mut failed = None;
        for answer in join_all(others.iter().map(|name| self.is_there(name))).await {
            match answer {
                Ok(Some(other)) => return Ok(Some(other)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn is_there(&self, name: &str) -> Result<Option<String>, SourceError> {
        let object = self.remote.object(&self.folder.join(name))?;
        let answer = match object.range_if_there(0..1, self.witness).await {
            // Of an object that is stored compressed, there is only the whole.
            Err(error) if error.cause.is_invalid() => object.whole_if_there(self.longest, self.witness).await,
            answer => answer,
        };
        match answer {
            Ok(found) => Ok(found.map(|_| object.url().to_owned())),
            Err(error) if is_refusal(&error.cause) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Under what it is kept beside the fetched bytes that chunks have other names: what is kept to be absent is not, where
    /// nobody can be asked.
    fn key(&self) -> String {
        format!("{} names", Remote::key(self.folder))
    }

    /// What is kept where it could not be learnt.
    fn unknown(&self) -> String {
        self.folder.to_string()
    }

    fn note(&self, other: &str) {
        if let Some(disk) = self.remote.disk() {
            disk.set_metadata(&self.key(), Bytes::from(other.to_owned()));
        }
    }

    async fn noted(&self) -> Option<String> {
        let noted = self.remote.disk()?.metadata_soon(&self.key()).await.ok()??;
        String::from_utf8(noted.to_vec()).ok().filter(|other| !other.is_empty())
    }
}

/// Whether the origin says of a name that it has nothing like that. Some have no file of such a name and say so in other words.
fn is_refusal(cause: &Cause) -> bool {
    match cause {
        Cause::Gone(_) => true,
        // These three mean "not now".
        Cause::Status(status) => (400..500).contains(status) && !matches!(status, 408 | 425 | 429),
        _ => false,
    }
}
