//! OME-NGFF images in Zarr v2 and v3: a group of arrays, one per level, whose chunks are objects of their own.
//!
//! Formats: the Zarr storage specification, version 2; the Zarr core specification, version 3.1; OME-NGFF 0.4 and 0.5.

mod array;
mod axes;
mod codec;
mod documents;
mod fill;
mod layout;
mod multiscales;
mod v2;
mod v3;

use bytes::Bytes;
use futures::future::BoxFuture;

use self::array::ArrayDocument;
use self::axes::Axes;
use self::documents::{Documents, Root};
use self::multiscales::{Dataset, Multiscales};
use super::{Description, Placement, Relative, Source, SourceError, SourceLevel, json};
use crate::document::Document;
use crate::geometry::{CellIndex, Grid, LevelIndex, Shape};
use crate::remote::Location;
use crate::store::{Remote, Witness};

/// A multiscale image, or a lone array of three axes.
#[derive(Debug, Clone)]
pub struct ZarrSource {
    remote: Remote,
    axes: Axes,
    levels: Vec<Level>,
    description: Description,
    documents: Vec<Document>,
}

#[derive(Debug, Clone)]
struct Level {
    location: Location,
    array: ArrayDocument,
    relative: Option<Relative>,
    witness: Witness,
}

/// Opens the image at `group`, the folder of `.zattrs` or `zarr.json`. Asks for that document and then, at once, for
/// those of all arrays.
///
/// The axes must be `z, y, x` in this order, apart from a `t` and a `c` of length 1; those of a lone array that does not
/// name them are taken to be. Errors name the document and the field: a variant that is not read is
/// [`SourceError::Unsupported`], a broken one [`SourceError::Malformed`].
pub async fn open(remote: &Remote, group: &Location) -> Result<ZarrSource, SourceError> {
    open_through(remote, remote.clone(), group).await
}

async fn open_through(documents: &impl Documents, remote: Remote, group: &Location) -> Result<ZarrSource, SourceError> {
    let kept = documents::Kept::new(documents);
    let documents = &kept;
    let (version, image, arrays, locations) = match documents::root(documents, group).await? {
        Root::Image(version, image) => {
            let locations: Vec<Location> = image.datasets.iter().map(|dataset| group.join(&dataset.path)).collect();
            let arrays = documents::arrays(documents, version, &locations, &image.axes).await?;
            if let Some(reason) = &image.unitless {
                tracing::warn!("{group}: {reason}, so its scales are no lengths; only their ratios are shown");
            }
            (version, image, arrays, locations)
        }
        Root::Array(version, array, axes) => {
            let dataset = Dataset { path: String::new(), scale: None, translation: [0.0; 3], relative: None };
            axes.check(&group.to_string(), &array)?;
            let image = Multiscales {
                version: "array".to_owned(),
                axes,
                unitless: None,
                datasets: vec![dataset],
                window: None,
                downsampling: None,
            };
            (version, image, vec![*array], vec![group.clone()])
        }
    };
    // That a chunk is absent has to be borne out by the document of its own array: the group's may stay where that moves.
    let witness = |array: &Location| {
        let document = array.join(version.array_document());
        let content = documents.content(&document).unwrap_or_default();
        Witness::new(&remote, &document, documents::MAX_ARRAY_DOCUMENT, &content)
    };
    let levels: Vec<Level> = locations
        .into_iter()
        .zip(arrays)
        .zip(&image.datasets)
        .map(|((location, array), dataset)| {
            let witness = witness(&location);
            Level { location, array, relative: dataset.relative, witness }
        })
        .collect();
    check_pyramid(&image.axes, &levels)?;
    let Some(Level { array: finest, .. }) = levels.first() else {
        return Err(SourceError::malformed(group.to_string(), "multiscales[0].datasets", "there is no level"));
    };
    let description = Description {
        dtype: finest.dtype,
        levels: levels
            .iter()
            .zip(&image.datasets)
            .map(|(level, dataset)| described(&image.axes, level, dataset))
            .collect(),
        fill: finest.fill,
        window: image.window,
        format: format!("{} in Zarr v{}, {}", image.version, version.number(), finest.compression()),
        downsampling: image.downsampling,
        chunked: true,
    };
    let documents = kept.into_documents(group);
    Ok(ZarrSource { remote, axes: image.axes, levels, description, documents })
}

fn described(axes: &Axes, level: &Level, dataset: &Dataset) -> SourceLevel {
    let (shape, cell) = (Shape(axes.pick(&level.array.shape)), Shape(axes.pick(&level.array.chunk)));
    let grid = Grid { shape, cell };
    SourceLevel { grid, scale: dataset.scale, translation: dataset.translation, offset: [0; 3] }
}

/// Checks that the arrays make one pyramid: the same type and fill value, and none larger than the one before it.
fn check_pyramid(axes: &Axes, levels: &[Level]) -> Result<(), SourceError> {
    for pair in levels.windows(2) {
        let [Level { array: finer, .. }, Level { array: coarser, location, .. }] = pair else { continue };
        let unlike = |field: &str, reason: String| Err(SourceError::unsupported(location.to_string(), field, reason));
        if coarser.dtype != finer.dtype {
            return unlike("dtype", format!("{} after a level of {}", coarser.dtype, finer.dtype));
        }
        if coarser.fill != finer.fill {
            return unlike("fill_value", "another fill value than that of the level before".to_owned());
        }
        let (shape, before) = (axes.pick(&coarser.shape), axes.pick(&finer.shape));
        if (0..3).any(|axis| shape[axis] > before[axis]) {
            return unlike("shape", format!("{} after a level of {}", Shape(shape), Shape(before)));
        }
    }
    Ok(())
}

impl ZarrSource {
    /// The level and the location of one of its chunks.
    fn chunk(&self, index: LevelIndex, block: CellIndex) -> Result<(&Level, &SourceLevel, Location), SourceError> {
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
        Ok((level, described, level.location.join(&level.array.keys.key(indices))))
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

    fn locate(&self, level: LevelIndex, block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        Box::pin(async move {
            let (level, _, location) = self.chunk(level, block)?;
            Ok(Placement::whole(self.remote.object(&location)?, level.array.sizes.stored(), &level.witness))
        })
    }

    fn decode(&self, level: LevelIndex, block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        let (level, described, location) = self.chunk(level, block)?;
        let array = &level.array;
        let decoded = codec::decode(raw, &array.codecs, &array.sizes)
            .map_err(|error| SourceError::malformed(location.to_string(), error.codec, error.reason))?;
        // A chunk fits memory, so does the part of it that lies in the array.
        let shape = described.grid.region(block).shape().0.map(|extent| extent as usize);
        array.layout.extract(decoded, self.axes.kept, shape).ok_or_else(|| {
            SourceError::malformed(location.to_string(), "chunk", "it holds fewer voxels than its shape says")
        })
    }
}

#[cfg(test)]
mod tests;
