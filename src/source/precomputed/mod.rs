//! Neuroglancer "precomputed" volumes: chunks as objects of their own, or many of them in each of a few large files.
//!
//! Formats: volume and sharded of
//! <https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed>.

mod chunk_names;
mod decode;
mod index;
mod info;
mod local;
mod morton;
mod moved;
mod other_names;
mod segmentation;
mod sharding;
mod shards;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::chunk_names::ChunkNames;
use self::decode::Plain;
use self::info::{Info, Scale};
use self::other_names::{AbsentChunk, OtherNames};
use self::sharding::{ShardEncoding, VolumeSharding};
use self::shards::{Lookup, MinishardIndices};
use super::unwritten::{Judged, LevelFiles, judge};
use super::{Description, Placement, Source, SourceError, SourceLevel, StatedPlace, StorageFormat, foreign, leave_out};
use crate::decompress::gunzip;
use crate::document::{Document, DocumentKind};
use crate::dtype::FillValue;
use crate::geometry::{CellIndex, LevelIndex};
use crate::kind::Kind;
use crate::remote::{Cause, Compression, Location};
use crate::store::{self, Healable, Remote, Witness};

/// Bytes of an `info` that are counted on. Real ones have a few kilobytes.
const MAX_INFO: u64 = 512 << 10;

/// A volume.
pub struct PrecomputedSource {
    remote: Remote,
    /// Where it was found.
    folder: Location,
    info: Info,
    /// Folder of the chunks of each level.
    folders: Vec<Location>,
    /// What the chunks of each level are called where each is an object of its own.
    names: Vec<ChunkNames>,
    /// Whether those of each level have other names on a server.
    other_names: Vec<OtherNames>,
    shards: MinishardIndices,
    /// `info` bears out that a chunk or a shard is absent.
    witness: Witness,
    description: Description,
    /// `info`, for people.
    document: Option<Document>,
}

/// Opens the volume whose `info` is in `folder`, or where that says that it has moved to; fetches such documents only. Of
/// several channels, `channel` is shown.
pub async fn open(remote: &Remote, folder: &Location, channel: Option<u64>) -> Result<PrecomputedSource, SourceError> {
    let mut places = vec![folder.clone()];
    while let Some(place) = places.last() {
        let next = match attempt(remote, place, channel).await? {
            Found::Volume(source) => return Ok(*source),
            Found::Moved(next) => next,
        };
        if places.len() > moved::MOST || places.contains(&next) {
            break;
        }
        tracing::warn!("{place}: the volume has moved to {next}, where it is read; write that address");
        places.push(next);
    }
    let times = places.len();
    let reason =
        format!("the volume has moved {times} times and is nowhere; write the address at which it is by `url`");
    Err(SourceError::malformed(folder.join("info").to_string(), "redirect", reason))
}

/// What `info` is that of.
enum Found {
    /// A volume.
    Volume(Box<PrecomputedSource>),
    /// One that is elsewhere.
    Moved(Location),
}

async fn attempt(remote: &Remote, folder: &Location, channel: Option<u64>) -> Result<Found, SourceError> {
    let (mut location, mut compression) = (folder.join("info"), None);
    let mut document = remote.object(&location)?;
    let mut answer = document.description(MAX_INFO).await;
    if matches!(&answer, Err(error) if matches!(error.cause, Cause::NotFound))
        && let Some((packed, by)) = local::packed(remote, &location).await?
    {
        (location, compression) = (packed, Some(by));
        document = remote.object(&location)?;
        answer = document.description(MAX_INFO).await;
    }
    let bytes = match answer {
        Err(error) if matches!(error.cause, Cause::NotFound) => {
            let is_there = |location: Location| {
                let object = remote.object(&location);
                async move {
                    match object {
                        Ok(object) => object.description(MAX_INFO).await.is_ok(),
                        Err(_) => false,
                    }
                }
                .boxed()
            };
            let front = remote.object(folder)?.start(foreign::FRONT).await.ok().map(|answer| answer.bytes);
            let seen = foreign::Seen { front, ..foreign::Seen::default() };
            return match foreign::advice(Kind::Precomputed, folder, is_there, seen).await {
                Some(remedy) => {
                    Err(SourceError::malformed(document.url(), "document", format!("there is none; {remedy}")))
                }
                None => Err(error.into()),
            };
        }
        answer => answer?,
    };
    // What bears out that chunks are absent is the document as it is stored.
    let witness = Witness::new(remote, &location, store::LONGEST_DOCUMENT, &bytes).await;
    let bytes = match compression {
        Some(compression) => unpacked(document.url(), compression, &bytes)?,
        None => bytes,
    };
    if let Some(next) = remote.desk().work_now(|| moved::target(document.url(), &bytes, folder))? {
        return Ok(Found::Moved(next));
    }
    let mut info = remote.desk().work_now(|| info::parse(document.url(), &bytes, channel))?;
    let Levels { folders, names, unwritten } = levels(remote, folder, &mut info).await?;
    let mut description = describe(document.url(), &info)?;
    if let Some(told) = unwritten {
        tracing::warn!("{folder}: {told}");
        description.format.unwritten = Some(told);
    }
    let retrieved = document.confirmed();
    let document = Document::fetched(DocumentKind::PrecomputedInfo, document.url(), &bytes)
        .map(|told| told.retrieved_at(retrieved));
    let shards = MinishardIndices::new(remote.clone(), witness.clone());
    let (remote, folder) = (remote.clone(), folder.clone());
    let other_names = folders.iter().map(|_| OtherNames::default()).collect();
    let source =
        PrecomputedSource { remote, folder, info, folders, names, other_names, shards, witness, description, document };
    Ok(Found::Volume(Box::new(source)))
}

/// What is where of each level that is shown.
struct Levels {
    folders: Vec<Location>,
    names: Vec<ChunkNames>,
    /// What is to be told of those of which no file is there.
    unwritten: Option<String>,
}

/// Looks for the chunks of the scales. Those that are not called so, or of which none is there, are left out.
async fn levels(remote: &Remote, folder: &Location, info: &mut Info) -> Result<Levels, SourceError> {
    let mut found = Vec::new();
    for scale in std::mem::take(&mut info.scales) {
        let place = resolve(folder, &scale.key);
        match ChunkNames::of(remote, &place, &scale).await {
            Ok(names) => found.push((scale, place, names)),
            Err(error) if error.is_of_bytes() => info.left_out.push((Some(scale.key), error)),
            Err(error) => return Err(error),
        }
    }
    let files = |(scale, folder, names): &'_ (Scale, Location, Option<ChunkNames>)| LevelFiles {
        name: scale.key.clone(),
        folder: folder.clone(),
        voxels: scale.grid.shape.0.map(|extent| extent as f64).iter().product(),
        has_any: names.is_some(),
    };
    let Judged { left_out, unwritten } = judge(&found.iter().map(files).collect::<Vec<_>>());
    let (mut folders, mut names) = (Vec::new(), Vec::new());
    for ((scale, place, called), error) in found.into_iter().zip(left_out) {
        match error {
            Some(error) => info.left_out.push((Some(scale.key), error)),
            None => {
                info.scales.push(scale);
                folders.push(place);
                names.push(called.unwrap_or(ChunkNames::Flat));
            }
        }
    }
    match info.left_out.last() {
        Some((_, error)) if info.scales.is_empty() => Err(error.clone()),
        _ => Ok(Levels { folders, names, unwritten }),
    }
}

/// `info` as it was before it was compressed.
fn unpacked(file: &str, compression: Compression, bytes: &[u8]) -> Result<Bytes, SourceError> {
    let undone = compression.undo(bytes, store::LONGEST_DOCUMENT as usize);
    undone.map(Bytes::from).map_err(|reason| SourceError::malformed(file, "document", reason))
}

/// The folder that the relative path `key` leads to from `folder`.
fn resolve(folder: &Location, key: &str) -> Location {
    key.split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .fold(folder.clone(), |folder, part| if part == ".." { parent(folder) } else { folder.join(part) })
}

fn parent(mut folder: Location) -> Location {
    if let Ok(mut segments) = folder.url.path_segments_mut() {
        segments.pop_if_empty().pop();
    }
    folder
}

fn describe(file: &str, info: &Info) -> Result<Description, SourceError> {
    let Some(finest) = info.scales.first() else {
        return Err(SourceError::malformed(file, "scales", "there is no scale"));
    };
    let left_out: Vec<_> = info.left_out.iter().map(|(key, error)| (key.as_ref(), error)).collect();
    let left_out = leave_out(file, &left_out)?;
    let layout = if finest.sharding.is_some() { "sharded" } else { "unsharded" };
    Ok(Description {
        dtype: info.dtype,
        levels: info.scales.iter().map(|scale| level(scale, finest)).collect(),
        // The format has no fill value: what is not stored is zero.
        fill: FillValue::zero(info.dtype),
        window: None,
        format: StorageFormat {
            name: format!("neuroglancer precomputed, {layout}, {}", finest.codec.name()),
            is_uncompressed: false,
            is_plain: false,
            left_out,
            unwritten: None,
        },
        downsampling: None,
        chunked: true,
    })
}

fn level(scale: &Scale, finest: &Scale) -> SourceLevel {
    let nanometres = scale.resolution;
    // Offsets are those of corners; half a voxel leads from the corner to the centre.
    let translation = std::array::from_fn(|axis| {
        scale.offset[axis] as f64 * nanometres[axis] + (nanometres[axis] - finest.resolution[axis]) / 2.0
    });
    SourceLevel { grid: scale.grid, scale: Some(nanometres), translation, offset: scale.offset }
}

impl PrecomputedSource {
    /// Where the volume is: where it has moved to, if it has.
    pub fn folder(&self) -> &Location {
        &self.folder
    }

    /// Name of an unsharded chunk's object.
    fn name(&self, number: usize, scale: &Scale, block: CellIndex) -> String {
        let names = self.names.get(number).copied().unwrap_or(ChunkNames::Flat);
        names.name(&scale.grid.region(block), scale.offset)
    }

    /// The scale and the folder of a level that has the chunk.
    fn scale(&self, level: LevelIndex, block: CellIndex) -> Result<(usize, &Scale, &Location), SourceError> {
        let number = usize::from(level.0);
        let (Some(scale), Some(folder)) = (self.info.scales.get(number), self.folders.get(number)) else {
            let file = self.folders.first().map(Location::to_string).unwrap_or_default();
            return Err(SourceError::malformed(file, level.to_string(), "there is no such level"));
        };
        if !scale.grid.contains(block) {
            let reason = "it lies outside the grid of chunks";
            return Err(SourceError::malformed(folder.to_string(), format!("chunk {block}"), reason));
        }
        Ok((number, scale, folder))
    }

    /// Makes sure that a chunk of which there is no object is absent; `is_kept`: that was kept and is not said just now.
    async fn bear_out(&self, level: LevelIndex, block: CellIndex, is_kept: bool) -> Result<(), SourceError> {
        let (number, scale, folder) = self.scale(level, block)?;
        match self.other_names.get(number) {
            Some(other_names) if scale.sharding.is_none() && !folder.is_local() => {
                let (remote, longest, witness) = (&self.remote, self.longest(scale, block), &self.witness);
                let chunk = AbsentChunk { remote, folder, scale, block, longest, witness };
                other_names.bear_out(&chunk, is_kept).await
            }
            _ => Ok(()),
        }
    }

    async fn locate_in_shard(
        &self,
        level: shards::ShardedLevel<'_>,
        scale: &Scale,
        block: CellIndex,
    ) -> Result<Placement, SourceError> {
        let malformed = |file: &str, reason: String| SourceError::malformed(file, format!("chunk {block}"), reason);
        let code = morton::code(block.0, scale.grid.counts())
            .ok_or_else(|| malformed(&level.folder.to_string(), "it has no number".to_owned()))?;
        let found = match self.shards.minishard(level, level.sharding.place(code)).await? {
            Lookup::Found(found) => found,
            Lookup::Absent { confirmed } => return Ok(Placement::Absent { confirmed }),
        };
        let Some((start, length)) = found.chunks.find(code) else {
            found.bears_out().await?;
            return Ok(Placement::Absent { confirmed: found.object.confirmed() });
        };
        let malformed = |reason: String| malformed(found.object.url(), reason);
        if length == 0 || length > self.longest(scale, block) {
            return Err(malformed(format!("{length} bytes cannot be a chunk")));
        }
        // The index was refused if this sum were beyond 64 bits.
        let range = shards::behind(start..start.saturating_add(length), level.sharding)
            .ok_or_else(|| malformed("it lies beyond 64 bits".to_owned()))?;
        Ok(Placement::Range { object: found.object.clone(), start: range.start, length })
    }

    /// What a chunk holds: those at the far edges are stored short.
    fn plain(&self, scale: &Scale, block: CellIndex) -> Plain {
        // A chunk fits memory.
        let shape = scale.grid.region(block).shape().0.map(|extent| extent as usize);
        Plain { shape, dtype: self.info.dtype, channel: self.info.channel }
    }

    /// Longest body that can be the chunk.
    fn longest(&self, scale: &Scale, block: CellIndex) -> u64 {
        self.plain(scale, block).longest_stored(scale.codec)
    }
}

impl Source for PrecomputedSource {
    fn description(&self) -> &Description {
        &self.description
    }

    fn stated_place(&self) -> StatedPlace {
        StatedPlace::Corner
    }

    fn documents(&self) -> Vec<Document> {
        self.document.clone().into_iter().collect()
    }

    fn locate(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move {
            let (number, scale, folder) = self.scale(level, block)?;
            let Some(sharding) = &scale.sharding else {
                let location = folder.join(&self.name(number, scale, block));
                let limit = self.longest(scale, block);
                return Ok(match local::packed(&self.remote, &location).await? {
                    Some((packed, compression)) => {
                        let object = self.remote.object(&packed)?;
                        Placement::Packed { object, compression, limit, witness: self.witness.clone() }
                    }
                    None => {
                        let placement = Placement::whole(self.remote.object(&location)?, limit, &self.witness).await;
                        if matches!(placement, Placement::Absent { .. }) {
                            self.bear_out(level, block, true).await?;
                        }
                        placement
                    }
                });
            };
            let counts = scale.grid.counts();
            self.locate_in_shard(shards::ShardedLevel { number, folder, sharding, counts }, scale, block).await
        })
    }

    fn bear_out_absence(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(self.bear_out(level, block, false))
    }

    fn decode(&self, level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let (number, scale, folder) = self.scale(level, block)?;
        let pointer = foreign::pointer(&raw);
        let malformed = |reason: String| {
            let reason = pointer.map_or(reason, |what| format!("its file is {what}"));
            SourceError::malformed(folder.to_string(), format!("chunk {block}"), reason)
        };
        let plain = self.plain(scale, block);
        let stored = match scale.sharding {
            Some(VolumeSharding { data_encoding: ShardEncoding::Gzip, .. }) => {
                let most = usize::try_from(plain.longest(scale.codec)).unwrap_or(usize::MAX);
                gunzip(&raw, most).map(Bytes::from).map_err(malformed)?
            }
            _ => raw,
        };
        let decoded = decode::chunk(stored, scale.codec, plain).map_err(malformed)?;
        if let Some(other_names) = self.other_names.get(number) {
            other_names.are_usual();
        }
        Ok(decoded)
    }

    fn is_segmentation(&self) -> bool {
        self.info.is_segmentation
    }

    fn contiguous_group_log2(&self, level: LevelIndex) -> u32 {
        let Some(scale) = self.info.scales.get(usize::from(level.0)) else { return 0 };
        let Some(sharding) = &scale.sharding else { return 0 };
        // What the shift drops does not count for the choice of the minishard, where chunks lie by their codes.
        let counts = scale.grid.counts();
        let fits = |edge: &u32| morton::group_bits(counts, *edge) <= sharding.preshift_bits;
        (1..u64::BITS).take_while(fits).last().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
