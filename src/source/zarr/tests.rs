//! Whole groups: those of other writers, where a folder of them is given, and hand-written ones.

mod around;
mod codecs;
mod fixtures;
mod groups;
mod levels;
mod lone;
mod sloppy;
mod variants;
mod versions;
mod writers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use url::Url;

use super::documents::Documents;
use super::{Selection, ZarrSource, open_n5_through, open_through};
use crate::geometry::{CellIndex, LevelIndex};
use crate::remote::{Cause, LimitsByHost, Location, RemoteError};
use crate::source::SourceError;
use crate::stats::Stats;
use crate::store::{Remote, healed, past_caches};

/// What comes when a document is asked for.
type Answer = Result<Vec<u8>, Cause>;

/// Documents by URL. Notes what was asked for.
pub(super) struct Shelf {
    documents: BTreeMap<String, Answer>,
    asked: Mutex<Vec<String>>,
    /// The document in whose place something else comes at first, and how often.
    late: Mutex<Option<(String, Answer, usize)>>,
    /// The documents that are never answered.
    silent: Vec<String>,
}

const ROOT: &str = "https://example.org";
const AROUND: &str = "https://example.org/bucket";
const GROUP: &str = "https://example.org/bucket/image.zarr";

fn url_of(key: &str) -> String {
    match (key.strip_prefix("../../"), key.strip_prefix("../")) {
        (Some(key), _) => format!("{ROOT}/{key}"),
        (None, Some(key)) => format!("{AROUND}/{key}"),
        (None, None) => format!("{GROUP}/{key}"),
    }
}

/// Runs it where there is a clock.
fn run<T>(opening: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(opening)
}

impl Shelf {
    /// Documents below [`GROUP`].
    pub(super) fn of<const N: usize>(documents: [(&str, Value); N]) -> Self {
        let entry = |(key, value): (&str, Value)| (format!("{GROUP}/{key}"), Ok(value.to_string().into_bytes()));
        Shelf {
            documents: documents.into_iter().map(entry).collect(),
            asked: Mutex::default(),
            late: Mutex::default(),
            silent: Vec::new(),
        }
    }

    /// Keys that begin with `../` are those of the folder around [`GROUP`].
    pub(super) fn refuse(mut self, key: &str, cause: Cause) -> Self {
        self.documents.insert(url_of(key), Err(cause));
        self
    }

    pub(super) fn raw(mut self, key: &str, text: &str) -> Self {
        self.documents.insert(url_of(key), Ok(text.as_bytes().to_vec()));
        self
    }

    /// Nothing comes of the document.
    pub(super) fn silent(mut self, key: &str) -> Self {
        self.silent.push(url_of(key));
        self
    }

    /// The document is said to be missing so many times.
    pub(super) fn late(self, key: &str, times: usize) -> Self {
        *self.late.lock().unwrap() = Some((format!("{GROUP}/{key}"), Err(Cause::NotFound), times));
        self
    }

    /// A text comes in place of the document so many times.
    pub(super) fn disguised(self, key: &str, text: &str, times: usize) -> Self {
        *self.late.lock().unwrap() = Some((format!("{GROUP}/{key}"), Ok(text.as_bytes().to_vec()), times));
        self
    }

    fn open(&self) -> Result<ZarrSource, SourceError> {
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap();
        let group = Location::anonymous(Url::parse(GROUP).unwrap());
        run(open_through(self, remote, &group, Selection::default()))
    }

    /// Opens it as it is opened after something made no sense.
    fn open_past_caches(&self) -> Result<ZarrSource, SourceError> {
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap();
        let group = Location::anonymous(Url::parse(GROUP).unwrap());
        run(past_caches(open_through(self, remote, &group, Selection::default())))
    }

    /// Opens it as an archive does: once more, past every cache, where something makes no sense.
    fn open_healed(&self) -> Result<ZarrSource, SourceError> {
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap();
        let group = Location::anonymous(Url::parse(GROUP).unwrap());
        run(healed(|| open_through(self, remote.clone(), &group, Selection::default())))
    }

    /// Opens the levels from `first` on.
    fn open_from(&self, first_level: u8) -> Result<ZarrSource, SourceError> {
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap();
        let group = Location::anonymous(Url::parse(GROUP).unwrap());
        let selection = Selection { channel: None, first_level };
        run(healed(|| open_through(self, remote.clone(), &group, selection)))
    }

    /// Opens one of several channels.
    fn open_channel(&self, channel: u64) -> Result<ZarrSource, SourceError> {
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap();
        let group = Location::anonymous(Url::parse(GROUP).unwrap());
        run(open_through(self, remote, &group, Selection { channel: Some(channel), first_level: 0 }))
    }

    /// Opens it as one of N5.
    pub(super) fn open_n5(&self) -> Result<ZarrSource, SourceError> {
        self.open_n5_at("", None)
    }

    /// Opens what is at a path below [`GROUP`] as one of N5, and a channel of it.
    pub(super) fn open_n5_at(&self, path: &str, channel: Option<u64>) -> Result<ZarrSource, SourceError> {
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap();
        let group = Location::anonymous(Url::parse(format!("{GROUP}/{path}").trim_end_matches('/')).unwrap());
        run(open_n5_through(self, remote, &group, Selection { channel, first_level: 0 }))
    }

    /// The same as an archive opens it: once more, past every cache, where something makes no sense.
    pub(super) fn open_n5_healed_at(&self, path: &str) -> Result<ZarrSource, SourceError> {
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap();
        let group = Location::anonymous(Url::parse(&format!("{GROUP}/{path}")).unwrap());
        run(healed(|| open_n5_through(self, remote.clone(), &group, Selection::default())))
    }

    /// The same as it is opened after something made no sense.
    pub(super) fn open_n5_past_caches(&self) -> Result<ZarrSource, SourceError> {
        let remote = Remote::new(LimitsByHost::default(), Duration::from_secs(60), Arc::new(Stats::default())).unwrap();
        let group = Location::anonymous(Url::parse(GROUP).unwrap());
        run(past_caches(open_n5_through(self, remote, &group, Selection::default())))
    }

    /// The text of the error that opening ends with.
    fn error(&self) -> String {
        self.open().map(|source| source.description.format).unwrap_err().to_string()
    }

    fn asked(&self) -> Vec<String> {
        let key = |url: &String| url.replace(&format!("{GROUP}/"), "").replace(&format!("{AROUND}/"), "../");
        self.asked.lock().unwrap().iter().map(key).collect()
    }
}

impl Documents for Shelf {
    fn get<'a>(&'a self, location: &'a Location, limit: u64) -> BoxFuture<'a, Result<Bytes, RemoteError>> {
        let url = location.to_string();
        self.asked.lock().unwrap().push(url.clone());
        if self.silent.contains(&url) {
            return Box::pin(std::future::pending());
        }
        let mut found = self.documents.get(&url).cloned().unwrap_or(Err(Cause::NotFound));
        if let Some((late, instead, times)) = &mut *self.late.lock().unwrap()
            && (late.as_str(), *times > 0) == (url.as_str(), true)
        {
            *times -= 1;
            found = instead.clone();
        }
        let found = match found {
            Ok(bytes) if bytes.len() as u64 > limit => Err(Cause::Protocol("too long".to_owned())),
            other => other,
        };
        let result = found.map(Bytes::from).map_err(|cause| RemoteError { url, range: None, attempts: 1, cause });
        Box::pin(async move { result })
    }
}

/// The location of a chunk, relative to [`GROUP`].
pub(super) fn chunk_key(source: &ZarrSource, level: u8, block: [u64; 3]) -> String {
    let (level, _, indices) = source.chunk(LevelIndex(level), CellIndex(block)).unwrap();
    level.object(indices).to_string().replace(&format!("{GROUP}/"), "")
}

/// A small `.zarray` of 4 × 5 × 6 voxels in chunks of 2 × 3 × 4.
fn zarray() -> Value {
    json!({"zarr_format": 2, "shape": [4, 5, 6], "chunks": [2, 3, 4], "dtype": "<u2", "fill_value": 0, "order": "C",
           "filters": null, "compressor": null, "dimension_separator": "/"})
}

/// The same as a `zarr.json`.
fn zarr_json() -> Value {
    json!({"zarr_format": 3, "node_type": "array", "shape": [4, 5, 6], "data_type": "uint16", "fill_value": 0,
           "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3, 4]}},
           "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
           "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}], "attributes": {},
           "storage_transformers": []})
}

/// Attributes of an image of one level `s0`.
fn attributes() -> Value {
    let axis = |name: &str| json!({"name": name, "type": "space", "unit": "nanometer"});
    json!({"multiscales": [{
        "axes": [axis("z"), axis("y"), axis("x")],
        "datasets": [{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [8.0, 4.0, 4.0]}]}],
        "version": "0.4"}]})
}
