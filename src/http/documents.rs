//! What the documents of a store say of it, for pages, slices and links: read as any client would, from wherever they come.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::dtype::DataType;
use crate::geometry::{Grid, Shape};
use crate::kind::Kind;
use crate::view::{LevelNames, ViewSpec};
use crate::zarr::{Format, StoreName};

/// What is wrong with an array that nobody but another program can have written.
const FOREIGN: &str = "it is none of emfs";

/// An image as its documents describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// Name of the dataset.
    pub dataset: String,
    /// Its Zarr v2 store, as `em.zarr`.
    pub store: String,
    /// From the finest to the coarsest; never empty.
    pub levels: Vec<DescribedLevel>,
    /// Values to be shown black and white, the second being the smaller one where the image is inverted; `None` for labels.
    pub window: Option<(f64, f64)>,
    /// Names of its label images.
    pub labels: Vec<String>,
    /// Whether its source holds planes along z.
    pub is_planes: bool,
    /// Along which axes its scale is in nanometres.
    pub calibrated: [bool; 3],
}

/// One array of the pyramid. Lists are z, y, x.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedLevel {
    /// Name of the array.
    pub path: String,
    /// Voxels, and voxels of a chunk.
    pub grid: Grid,
    /// Type of a voxel.
    pub dtype: DataType,
    /// Distance of voxels, nm.
    pub scale: [f64; 3],
    /// Centre of the first voxel, nm.
    pub translation: [f64; 3],
}

/// Why an image cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum DescriptionError<E> {
    /// The documents do not come.
    #[error(transparent)]
    Unread(E),
    /// There is no such document.
    #[error("there is no {0}")]
    Missing(String),
    /// A document is not what emfs writes.
    #[error("{path}: {reason}")]
    Foreign {
        /// The document.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    multiscales: Vec<Multiscale>,
    omero: Option<Omero>,
}

#[derive(Deserialize)]
struct Multiscale {
    axes: Vec<Axis>,
    datasets: Vec<Dataset>,
}

#[derive(Deserialize)]
struct Axis {
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dataset {
    path: String,
    coordinate_transformations: Vec<Transformation>,
}

#[derive(Deserialize)]
struct Transformation {
    scale: Option<[f64; 3]>,
    translation: Option<[f64; 3]>,
}

#[derive(Deserialize)]
struct Omero {
    channels: Vec<Channel>,
}

#[derive(Deserialize)]
struct Channel {
    window: DisplayRange,
    #[serde(default)]
    inverted: bool,
}

impl Channel {
    /// Values to be shown black and white.
    fn black_and_white(&self) -> (f64, f64) {
        let DisplayRange { start, end } = self.window;
        if self.inverted { (end, start) } else { (start, end) }
    }
}

#[derive(Deserialize)]
struct DisplayRange {
    start: f64,
    end: f64,
}

#[derive(Deserialize)]
struct Array {
    shape: [u64; 3],
    chunks: [u64; 3],
    dtype: String,
}

impl Array {
    /// Its voxels and chunks and the type of a voxel, if it may be one that emfs shows.
    fn grid(&self) -> Option<(Grid, DataType)> {
        let dtype = DataType::ALL.into_iter().find(|dtype| dtype.v2_name() == self.dtype)?;
        let grid = Grid { shape: Shape(self.shape), cell: Shape(self.chunks) };
        self.chunks.iter().all(|extent| *extent > 0).then_some((grid, dtype))
    }
}

#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    labels: Vec<String>,
}

impl Described {
    /// Reads the documents of a store; `fetch` has those at a path below the root, or nothing where there is none. `below`: the
    /// group of labels in it, as `/labels/x`, or nothing.
    pub async fn read<E, F, Fut>(dataset: &str, store: &str, below: &str, fetch: F) -> Result<Self, DescriptionError<E>>
    where
        F: Fn(String) -> Fut,
        Fut: Future<Output = Result<Option<Bytes>, E>>,
    {
        let store = named(store, Format::V2);
        let root = format!("{dataset}/{store}{below}");
        let group: Group = document(&fetch, format!("{root}/.zattrs")).await?;
        let foreign =
            |reason: &str| DescriptionError::Foreign { path: format!("{root}/.zattrs"), reason: reason.into() };
        let multiscale = group.multiscales.into_iter().next().ok_or_else(|| foreign("it has no multiscales"))?;
        let mut levels = Vec::new();
        for Dataset { path, coordinate_transformations } in multiscale.datasets {
            let of_array = format!("{root}/{path}/.zarray");
            let array: Array = document(&fetch, of_array.clone()).await?;
            let (grid, dtype) =
                array.grid().ok_or(DescriptionError::Foreign { path: of_array, reason: FOREIGN.into() })?;
            let scale = coordinate_transformations.iter().find_map(|transformation| transformation.scale);
            let translation = coordinate_transformations.iter().find_map(|transformation| transformation.translation);
            levels.push(DescribedLevel {
                path,
                grid,
                dtype,
                scale: scale.unwrap_or([1.0; 3]),
                translation: translation.unwrap_or_default(),
            });
        }
        if levels.is_empty() {
            return Err(foreign("it has no level"));
        }
        let window = group.omero.and_then(|omero| omero.channels.first().map(Channel::black_and_white));
        let labels: Option<Labels> = match below {
            "" => optional(&fetch, format!("{root}/labels/.zattrs")).await?,
            _ => None,
        };
        Ok(Described {
            dataset: dataset.to_owned(),
            is_planes: is_planes(&fetch, dataset, &store).await,
            store,
            levels,
            window,
            labels: labels.map(|labels| labels.labels).unwrap_or_default(),
            calibrated: std::array::from_fn(|axis| {
                multiscale.axes.get(axis).is_some_and(|axis| axis.unit.as_deref() == Some("nanometer"))
            }),
        })
    }

    /// Whether its scale is in nanometres along all axes.
    pub fn is_calibrated(&self) -> bool {
        self.calibrated == [true; 3]
    }

    /// The finest level.
    pub fn finest(&self) -> Option<&DescribedLevel> {
        self.levels.first()
    }

    /// The TIFF file of what the store shows, which has no chunks.
    pub fn tiff(&self) -> String {
        match self.store.parse::<StoreName>() {
            Ok(name) => {
                let view = ViewSpec { chunk: None, level_names: LevelNames::default(), ..name.view };
                format!("{}{view}.tif", name.image)
            }
            Err(_) => self.store.replace(".zarr", ".tif"),
        }
    }

    /// The files of what the store shows, each with what is told of it.
    pub fn files(&self) -> [(String, &'static str); 3] {
        [(self.store.clone(), " (Zarr v2)"), (named(&self.store, Format::V3), " (Zarr v3)"), (self.tiff(), "")]
    }

    /// The path of a level below the root.
    pub fn path(&self, below: &str, level: &DescribedLevel) -> String {
        format!("{}/{}{below}/{}", self.dataset, self.store, level.path)
    }
}

/// What a `.zarray` says: the voxels and chunks of the array and the type of a voxel.
pub fn array_of(document: &[u8]) -> Result<(Grid, DataType), String> {
    let array: Array = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    array.grid().ok_or_else(|| FOREIGN.to_owned())
}

/// What a `.zattrs` says: the values to be shown black and white.
pub fn window_of(document: &[u8]) -> Result<(f64, f64), String> {
    let group: Group = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let channel = group.omero.and_then(|omero| omero.channels.into_iter().next());
    Ok(channel.ok_or("the group has no channel")?.black_and_white())
}

/// Nanometres per voxel of the finest level along `z, y, x` that the `.zattrs` of a group states; `None` where an axis has no
/// such unit.
pub fn scale_of(document: &[u8]) -> Result<Option<[f64; 3]>, String> {
    let group: Group = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let in_nanometres =
        |multiscale: &Multiscale| multiscale.axes.iter().all(|axis| axis.unit.as_deref() == Some("nanometer"));
    let finest = group
        .multiscales
        .iter()
        .filter(|multiscale| in_nanometres(multiscale))
        .find_map(|multiscale| multiscale.datasets.first());
    Ok(finest.and_then(|level| level.coordinate_transformations.iter().find_map(|step| step.scale)))
}

/// The name of a store's form in a format.
fn named(store: &str, format: Format) -> String {
    match store.parse::<StoreName>() {
        Ok(name) => StoreName { format, ..name }.to_string(),
        Err(_) => store.to_owned(),
    }
}

/// Whether the source of an image holds planes, as far as the record of its dataset says.
async fn is_planes<E, F, Fut>(fetch: &F, dataset: &str, store: &str) -> bool
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<Option<Bytes>, E>>,
{
    let Ok(Some(record)) = optional::<Value, _, _, _>(fetch, format!("{dataset}/metadata.json")).await else {
        return false;
    };
    let name = store.parse::<StoreName>().map(|name| name.image).unwrap_or_default();
    let list = |key: &str| record[key].as_array().cloned().unwrap_or_default();
    let view = list("views").into_iter().find(|view| view["name"] == name.as_str());
    let name = view.and_then(|view| view["image"].as_str().map(str::to_owned)).unwrap_or(name);
    let image = list("images").into_iter().find(|image| image["name"] == name.as_str());
    image.and_then(|image| Kind::named(image["source_kind"].as_str()?)).is_some_and(Kind::is_planes)
}

async fn document<T: DeserializeOwned, E, F, Fut>(fetch: &F, path: String) -> Result<T, DescriptionError<E>>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<Option<Bytes>, E>>,
{
    optional(fetch, path.clone()).await?.ok_or(DescriptionError::Missing(path))
}

async fn optional<T: DeserializeOwned, E, F, Fut>(fetch: &F, path: String) -> Result<Option<T>, DescriptionError<E>>
where
    F: Fn(String) -> Fut,
    Fut: Future<Output = Result<Option<Bytes>, E>>,
{
    let Some(bytes) = fetch(path.clone()).await.map_err(DescriptionError::Unread)? else { return Ok(None) };
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|error| DescriptionError::Foreign { path, reason: error.to_string() })
}
