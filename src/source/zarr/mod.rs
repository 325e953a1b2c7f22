//! OME-NGFF images in Zarr v2 and v3, and those of N5: a group of arrays, one per level, whose chunks are objects of their own.
//!
//! Formats: the Zarr storage specification, version 2; the Zarr core specification, version 3.1; OME-NGFF 0.4 and 0.5.

mod above;
mod array;
mod axes;
mod chain;
mod codec;
mod codec_size;
mod documents;
mod extension;
mod fault;
mod fill;
mod filters;
mod imagej;
mod layout;
mod lone;
mod lz4;
mod multiscales;
mod n5;
mod numcodecs;
mod own;
mod pyramid;
mod root;
mod sharding;
mod shards;
mod silent;
mod spelling;
mod transform;
mod unwritten;
mod v2;
mod v3;
mod whereabouts;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};

use self::array::{ArrayDocument, ChunkFormat};
use self::axes::Axes;
use self::codec::CodecError;
use self::documents::Documents;
use self::fault::LevelFault;
use self::multiscales::{LevelEntry, Multiscales};
use self::pyramid::{LeftOut, Listed, ShownLevel};
use self::root::{Root, StoreVersion};
use self::shards::ShardIndices;
use self::spelling::Spelling;
use super::{
    Description, Placement, Relative, Source, SourceError, SourceLevel, StatedPlace, StorageFormat, foreign, json,
    leave_out,
};
use crate::document::Document;
use crate::dtype::widened;
use crate::geometry::{CellIndex, Grid, LevelIndex, Shape};
use crate::remote::Location;
use crate::store::{LONGEST_DOCUMENT, Lost, Missed, Remote, Witness};

/// A multiscale image, or a lone array of three axes.
pub struct ZarrSource {
    remote: Remote,
    shards: ShardIndices,
    axes: Axes,
    levels: Vec<Level>,
    /// Nanometres per voxel of the finest level along the axes that have units, where others have none.
    partial: [Option<f64>; 3],
    /// The numbers of its size without a unit.
    plain: Option<[f64; 3]>,
    /// Whether the place that is stated is that of the corner of the first voxel.
    by_corner: bool,
    /// Whether the low end of the window is shown bright.
    is_inverted: bool,
    description: Description,
    documents: Vec<Document>,
    /// How many levels are finer than the one from which on they are wanted.
    finer: u8,
    /// The finest level, where it is finer than that and cannot be shown.
    unshown: Option<SourceLevel>,
    /// Documents of levels that are left out because these are missing.
    _missed: Vec<Missed>,
}

/// Which part of an image is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection {
    /// The channel; the only one where none is said.
    pub channel: Option<u64>,
    /// The level, as they are listed, from which on they are wanted: one that is finer need not be readable.
    pub first_level: u8,
}

struct Level {
    location: Location,
    array: ArrayDocument,
    relative: Option<Relative>,
    witness: Witness,
    spelling: Spelling,
}

impl Level {
    /// The object that has the chunk at these indices along all axes.
    fn object(&self, indices: Vec<u64>) -> Location {
        let indices = match &self.array.sharding {
            Some(sharding) => sharding.place(&indices).0,
            None => indices,
        };
        self.location.join(&self.spelling.keys(self.array.keys).key(indices))
    }
}

/// Opens the image at `group`, the folder of `.zattrs` or `zarr.json`. Asks for that document and then, at once, for
/// those of all arrays.
///
/// The axes must be `z, y, x` in whichever order, apart from a `t` of length 1 and a `c`, of which one is shown; those of a lone
/// array that does not name them are taken to be in this order. Errors name the document and the field: a variant that is not
/// read is [`SourceError::Unsupported`], a broken one [`SourceError::Malformed`].
pub async fn open(remote: &Remote, group: &Location, selection: Selection) -> Result<ZarrSource, SourceError> {
    open_through(remote, remote.clone(), group, selection).await
}

/// Opens the image of N5 at `group`, the folder of `attributes.json`: an array, or the levels of an image.
pub async fn open_n5(remote: &Remote, group: &Location, selection: Selection) -> Result<ZarrSource, SourceError> {
    open_n5_through(remote, remote.clone(), group, selection).await
}

async fn open_through(
    documents: &impl Documents,
    remote: Remote,
    group: &Location,
    Selection { channel, first_level }: Selection,
) -> Result<ZarrSource, SourceError> {
    let origin = documents;
    let documents = documents::CachedDocuments::new(documents);
    match root::root(&documents, group).await? {
        Root::Image(version, found) => {
            let (image, reading) = *found;
            let (image, mut listed, notes) =
                silent::listed(&documents, group, version, (image, reading), channel).await?;
            let unwritten = unwritten::leave_out(&remote, &image.axes, &mut listed).await?;
            let told = Told { notes, by_corner: false, end: None, first_level, unwritten };
            assembled(documents, remote, group, version, (image, listed), told).await
        }
        Root::Array(version, found) => {
            let (array, own) = *found;
            // The document of the group around it is none of what is shown.
            let lone = lone::settle(origin, group, version, &array, &own, channel).await?;
            let mut listed = vec![Listed::new(lone.dataset, group.clone(), Ok(array))];
            let unwritten = unwritten::leave_out(&remote, &lone.image.axes, &mut listed).await?;
            let told = Told { notes: lone.notes, by_corner: lone.by_corner, end: None, first_level, unwritten };
            assembled(documents, remote, group, version, (lone.image, listed), told).await
        }
    }
}

async fn open_n5_through(
    documents: &impl Documents,
    remote: Remote,
    group: &Location,
    Selection { channel, first_level }: Selection,
) -> Result<ZarrSource, SourceError> {
    let documents = documents::CachedDocuments::new(documents);
    let n5::N5Image { image, mut listed, notes, by_corner, end } = n5::find(&documents, group, channel).await?;
    let unwritten = unwritten::leave_out(&remote, &image.axes, &mut listed).await?;
    let end = end.map(|path| (group.join(&path), path));
    let told = Told { notes, by_corner, end, first_level, unwritten };
    assembled(documents, remote, group, StoreVersion::N5, (image, listed), told).await
}

/// What is told beside an image and its levels.
struct Told {
    /// What was taken for something else than it is.
    notes: Vec<String>,
    /// Whether places are those of the corners of first voxels.
    by_corner: bool,
    /// Where another level would be and its path, where nothing says how many there are.
    end: Option<(Location, String)>,
    /// The level from which on they are wanted.
    first_level: u8,
    /// What is to be told of levels of which no file is there.
    unwritten: Option<String>,
}

/// Puts together what the documents say.
async fn assembled(
    documents: documents::CachedDocuments<'_, impl Documents>,
    remote: Remote,
    group: &Location,
    version: StoreVersion,
    (image, listed): (Multiscales, Vec<Listed>),
    Told { mut notes, by_corner, end, first_level, unwritten }: Told,
) -> Result<ZarrSource, SourceError> {
    let pyramid::Chosen { mut shown, left_out, notes: cut, finer, unshown } =
        pyramid::choose(&image.axes, listed, usize::from(first_level))?;
    notes.extend(cut);
    notes.extend(pyramid::mend_scales(&image.axes, &mut shown));
    let omitted = omitted(group, &image, &left_out)?;
    let partial = shown.first().map_or([None; 3], |finest| finest.dataset.partial);
    let plain = shown.first().and_then(|finest| finest.dataset.plain);
    if let Some(reason) = &image.unitless {
        let lacking = ["z", "y", "x"].into_iter().zip(partial).filter(|(_, size)| size.is_none());
        let lacking: Vec<&str> = lacking.map(|(axis, _)| axis).collect();
        let along = lacking.join(", ");
        let reason = format!("{reason}, so its scales along {along} are no lengths; only their ratios are shown");
        let reason = match plain {
            Some([z, y, x]) => format!("{reason} (the finest is {z} × {y} × {x}; `voxel_size` says it in nanometres)"),
            None => reason,
        };
        notes.insert(0, reason);
    }
    notes.extend(unwritten.clone());
    if !notes.is_empty() {
        tracing::warn!("{group}: {}", notes.join("; "));
    }
    // That a chunk is absent has to be borne out by the document of its own array: the group's may stay where that moves.
    let witness = async |array: &Location| {
        let document = array.join(version.array_document());
        let content = documents.content(&document).unwrap_or_default();
        Witness::new(&remote, &document, LONGEST_DOCUMENT, &content).await
    };
    let witnesses = join_all(shown.iter().map(|level| witness(&level.location))).await;
    let described: Vec<SourceLevel> = shown.iter().map(|level| described(&image.axes, level)).collect();
    let levels: Vec<Level> = shown
        .into_iter()
        .zip(witnesses)
        .map(|(ShownLevel { dataset, location, array, .. }, witness)| {
            let spelling = Spelling::of(array.keys);
            Level { location, array, relative: dataset.relative, witness, spelling }
        })
        .collect();
    // Nothing but its place is known of it, and asked for.
    let unshown = described.first().zip(unshown).map(|(shown, LevelEntry { scale, translation, .. })| SourceLevel {
        grid: shown.grid,
        scale,
        translation,
        offset: [0; 3],
    });
    let Some(Level { array: finest, .. }) = levels.first() else {
        return Err(SourceError::malformed(group.to_string(), "multiscales[0].datasets", "there is no level"));
    };
    let layout = if finest.sharding.is_some() { "sharded, " } else { "" };
    let display = image.display();
    let description = Description {
        dtype: finest.dtype,
        levels: described,
        fill: finest.fill,
        window: display.window,
        format: StorageFormat {
            name: format!("{}{}, {layout}{}", image.version, version.told(), finest.compression()),
            is_uncompressed: finest.codecs.is_empty(),
            is_plain: false,
            left_out: omitted,
            unwritten,
        },
        downsampling: image.downsampling,
        chunked: true,
    };
    let doubted = left_out.iter().filter(|level| level.fault.is_of_answer());
    let doubted = doubted.map(|LeftOut { location, dataset, fault, .. }| {
        let was_missing = matches!(fault, LevelFault::Missing(_));
        (location.clone(), dataset.path.clone(), was_missing)
    });
    let doubted = doubted.chain(end.map(|(location, path)| (location, path, true)));
    let missed =
        doubted.filter(|(location, ..)| location.url.scheme() != "file").map(|(location, path, was_missing)| {
            let (was, path) =
                (if was_missing { "was said to be missing" } else { "made no sense" }, json::quoted(&path));
            let lost = Lost {
                is_document: Box::new(move |bytes| fault::is_document(bytes, version.array_members())),
                was,
                without: format!("{group} is shown without level {path}"),
            };
            Missed::new(&remote, &location.join(version.array_document()), lost)
        });
    let mut missed: Vec<Missed> = missed.collect();
    // What an array need not have says of its axes and sizes what nobody else does.
    let about = version.optional_document().map(|name| group.join(name)).filter(|about| {
        about.url.scheme() != "file" && !documents.content(about).is_some_and(|text| fault::is_object(&text))
    });
    missed.extend(about.map(|about| {
        let (was, without) = ("was said to be missing", format!("{group} is shown without what it says"));
        Missed::new(&remote, &about, Lost { is_document: Box::new(fault::is_object), was, without })
    }));
    let without: Vec<&Location> = left_out.iter().map(|level| &level.location).collect();
    let documents = documents.into_documents(group, &without).await;
    let shards = ShardIndices::new(remote.clone());
    let axes = image.axes;
    Ok(ZarrSource {
        remote,
        shards,
        axes,
        levels,
        partial,
        plain,
        by_corner,
        is_inverted: display.is_inverted,
        description,
        documents,
        unshown,
        finer: u8::try_from(finer).unwrap_or(u8::MAX),
        _missed: missed,
    })
}

fn described(axes: &Axes, level: &ShownLevel) -> SourceLevel {
    let (shape, cell) = (Shape(axes.pick(&level.array.shape)), Shape(axes.pick(&level.array.chunk)));
    let (grid, dataset) = (Grid { shape, cell }, &level.dataset);
    SourceLevel { grid, scale: dataset.scale, translation: dataset.translation, offset: [0; 3] }
}

/// Warns of the levels that are left out, and says which they are.
fn omitted(group: &Location, image: &Multiscales, left_out: &[LeftOut]) -> Result<Vec<String>, SourceError> {
    let without_place = image.rejected.iter().map(|error| (None, error));
    let all: Vec<_> =
        left_out.iter().map(|level| (Some(&level.dataset.path), level.fault.error())).chain(without_place).collect();
    leave_out(&group.to_string(), &all)
}

impl ZarrSource {
    /// How many of its levels are finer than the one from which on they are wanted.
    pub fn finer(&self) -> u8 {
        self.finer
    }

    /// The level that has a chunk, and the chunk's indices along all axes.
    fn chunk(&self, index: LevelIndex, block: CellIndex) -> Result<(&Level, &SourceLevel, Vec<u64>), SourceError> {
        let number = usize::from(index.0);
        let (Some(level), Some(described)) = (self.levels.get(number), self.description.levels.get(number)) else {
            let file = self.levels.first().map(|level| level.location.to_string()).unwrap_or_default();
            return Err(SourceError::malformed(file, index.to_string(), "there is no such level"));
        };
        if !described.grid.contains(block) {
            let reason = "it lies outside the grid of chunks";
            return Err(SourceError::malformed(level.location.to_string(), format!("chunk {block}"), reason));
        }
        let mut indices = vec![0; level.array.shape.len()];
        for (axis, index) in self.axes.kept.into_iter().zip(block.0) {
            indices[axis] = index;
        }
        if let Some((axis, channel)) = self.axes.channel() {
            indices[axis] = channel / level.array.chunk[axis];
        }
        Ok((level, described, indices))
    }
}

impl Source for ZarrSource {
    fn description(&self) -> &Description {
        &self.description
    }

    fn documents(&self) -> Vec<Document> {
        self.documents.clone()
    }

    fn relative(&self, level: LevelIndex) -> Option<Relative> {
        self.levels.get(usize::from(level.0))?.relative
    }

    fn partial_voxel_size(&self) -> [Option<f64>; 3] {
        self.partial
    }

    fn plain_voxel_size(&self) -> Option<[f64; 3]> {
        self.plain
    }

    fn is_inverted(&self) -> bool {
        self.is_inverted
    }

    fn finest_unshown(&self) -> Option<&SourceLevel> {
        self.unshown.as_ref()
    }

    fn stated_place(&self) -> StatedPlace {
        let finest = self.description.levels.first().and_then(|finest| finest.scale);
        let is_moved = |relative: Relative| relative.translation != [0.0; 3];
        match (finest, self.relative(LevelIndex(0)).is_some_and(is_moved)) {
            // A scale without a translation says that the centre of the first voxel is at 0.
            (Some(_), _) if !self.by_corner => StatedPlace::Centre,
            (Some(_), _) | (None, true) => StatedPlace::Corner,
            (None, false) => StatedPlace::Nowhere,
        }
    }

    fn locate(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move {
            let number = usize::from(level.0);
            let (level, _, indices) = self.chunk(level, block)?;
            let Level { array, witness, .. } = level;
            let longest = array.longest();
            let Some(sharding) = &array.sharding else {
                level.spelling.look(&self.remote, &level.location, array, &indices, witness).await?;
                return Ok(Placement::whole(self.remote.object(&level.object(indices))?, longest, witness).await);
            };
            let (shard, entry) = sharding.place(&indices);
            let key = (number, self.axes.pick(&shard));
            let location = &level.object(indices);
            let axes = self.axes.kept;
            let chunk = shards::Chunk { key, location, sharding, entry, block, axes, longest, witness };
            self.shards.locate(chunk).await
        })
    }

    fn decode(&self, level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let (level, described, indices) = self.chunk(level, block)?;
        let (array, location) = (&level.array, level.object(indices));
        // A chunk fits memory, so does the part of it that lies in the array.
        let shape = described.grid.region(block).shape().0.map(|extent| extent as usize);
        let pointer = foreign::pointer(&raw);
        let malformed = |error: CodecError| match pointer {
            Some(what) => SourceError::malformed(location.to_string(), "file", format!("it is {what}")),
            None => SourceError::malformed(location.to_string(), error.codec, error.reason),
        };
        match array.form {
            ChunkFormat::N5 => n5::block::decode(raw, array, &self.axes, shape).map_err(malformed),
            ChunkFormat::Bare | ChunkFormat::Half => {
                let channel = self.axes.channel();
                let start =
                    channel.map_or(0, |(axis, index)| array.layout.offset(axis, (index % array.chunk[axis]) as usize));
                let decoded = codec::decode(raw, &array.codecs, &array.sizes).map_err(malformed)?;
                let voxels = array.layout.extract(decoded, start, self.axes.kept, shape).ok_or_else(|| {
                    SourceError::malformed(location.to_string(), "chunk", "it holds fewer voxels than its shape says")
                })?;
                Ok(if array.form == ChunkFormat::Half { widened(&voxels).into() } else { voxels })
            }
        }
    }

    fn is_gathered(&self, level: LevelIndex) -> bool {
        self.levels.get(usize::from(level.0)).is_some_and(|level| level.array.sharding.is_some())
    }

    fn contiguous_group_log2(&self, level: LevelIndex) -> u32 {
        self.shards.contiguous_group_log2(usize::from(level.0))
    }
}

#[cfg(test)]
mod tests;
