//! Where an export goes: a directory, or a prefix of a bucket. What is put is there whole or not at all.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use url::Url;

use super::error::ExportError;
use super::upload::{Upload, Uploads};
use crate::remote::chain;
use crate::task;

/// What the name of a file ends in while it is written.
const HALF: &str = ".emfs-partial";
/// How long it may take to abort what is not complete.
const ABORTING: Duration = Duration::from_secs(10);

/// A place for an OME-Zarr store. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A directory.
    Directory(PathBuf),
    /// Objects below a prefix.
    Bucket {
        /// The bucket.
        store: Arc<dyn ObjectStore>,
        /// What the keys begin with.
        prefix: Key,
        /// As given.
        url: String,
        /// Objects that are being put in parts.
        uploads: Uploads,
    },
}

impl Destination {
    /// A path, `s3://bucket/prefix` or `gs://bucket/prefix`. Buckets are reached with what the environment says
    /// (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS` …). Uses no network.
    pub fn parse(text: &str) -> Result<Destination, ExportError> {
        let Some((scheme @ ("s3" | "gs"), _)) = text.split_once("://") else {
            if text.contains("://") {
                return Err(ExportError::Usage(format!("`{text}`: a destination is a path, s3://… or gs://…")));
            }
            let path = std::path::absolute(text).map_err(ExportError::write(text))?;
            return Ok(Destination::Directory(path));
        };
        let wrong = |reason: String| ExportError::Usage(format!("`{text}`: {reason}"));
        let url = Url::parse(text).map_err(|error| wrong(error.to_string()))?;
        let bucket = url.host_str().ok_or_else(|| wrong("no bucket is named".to_owned()))?;
        let prefix = Key::from_url_path(url.path()).map_err(|error| wrong(error.to_string()))?;
        let store: Arc<dyn ObjectStore> = if scheme == "s3" {
            let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
            Arc::new(builder.build().map_err(|error| wrong(error.to_string()))?)
        } else {
            let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
            Arc::new(builder.build().map_err(|error| wrong(error.to_string()))?)
        };
        let url = text.trim_end_matches('/').to_owned();
        Ok(Destination::Bucket { store, prefix, url, uploads: Uploads::default() })
    }

    /// A place below this one.
    pub fn join(&self, name: &str) -> Destination {
        match self {
            Destination::Directory(path) => Destination::Directory(path.join(name)),
            Destination::Bucket { store, prefix, url, uploads } => Destination::Bucket {
                store: store.clone(),
                prefix: name.split('/').fold(prefix.clone(), |key, part| key.join(part)),
                url: format!("{url}/{name}"),
                uploads: uploads.clone(),
            },
        }
    }

    /// Whether something is there.
    pub async fn exists(&self) -> Result<bool, ExportError> {
        match self {
            Destination::Directory(path) => Ok(path.symlink_metadata().is_ok()),
            Destination::Bucket { store, prefix, .. } => {
                let first = store.list(Some(prefix)).try_next().await;
                Ok(first.map_err(self.failed(""))?.is_some())
            }
        }
    }

    /// Puts bytes under a key.
    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), ExportError> {
        match self {
            Destination::Directory(folder) => {
                let path = folder.join(key);
                blocking(move || {
                    let mut file = create(&half(&path))?;
                    file.write_all(&bytes)?;
                    drop(file);
                    fs::rename(half(&path), &path)
                })
                .await
                .map_err(self.failed(key))
            }
            Destination::Bucket { store, .. } => {
                store.put(&self.key(key), bytes.into()).await.map_err(self.failed(key)).map(drop)
            }
        }
    }

    /// Begins to put bytes under a key piece by piece.
    pub(super) async fn writer(&self, key: &str) -> Result<KeyWriter, ExportError> {
        match self {
            Destination::Directory(folder) => {
                let path = folder.join(key);
                let to = half(&path);
                let file = blocking(move || create(&to)).await.map_err(self.failed(key))?;
                Ok(KeyWriter::File { file: file.into(), path, destination: self.clone(), key: key.to_owned() })
            }
            Destination::Bucket { store, uploads, .. } => {
                let upload = uploads.begin(store, self.key(key)).await.map_err(self.failed(key))?;
                Ok(KeyWriter::Upload { upload, destination: self.clone(), key: key.to_owned() })
            }
        }
    }

    /// All bytes under a key, `None` where there is nothing.
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, ExportError> {
        match self {
            Destination::Directory(folder) => {
                let path = folder.join(key);
                match blocking(move || fs::read(path)).await {
                    Ok(bytes) => Ok(Some(bytes.into())),
                    Err(error) if is_missing(&error) => Ok(None),
                    Err(error) => Err(self.failed(key)(error)),
                }
            }
            Destination::Bucket { store, .. } => match store.get(&self.key(key)).await {
                Ok(found) => found.bytes().await.map(Some).map_err(self.failed(key)),
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(self.failed(key)(error)),
            },
        }
    }

    /// SHA-256 and length of what is under a key, `None` where there is nothing.
    pub(super) async fn digest(&self, key: &str) -> Result<Option<([u8; 32], u64)>, ExportError> {
        match self {
            Destination::Directory(folder) => {
                let path = folder.join(key);
                match blocking(move || digest(&path)).await {
                    Ok(found) => Ok(Some(found)),
                    Err(error) if is_missing(&error) => Ok(None),
                    Err(error) => Err(self.failed(key)(error)),
                }
            }
            Destination::Bucket { store, .. } => {
                let found = match store.get(&self.key(key)).await {
                    Ok(found) => found,
                    Err(object_store::Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(self.failed(key)(error)),
                };
                let (mut hash, mut length) = (Sha256::new(), 0);
                let mut stream = found.into_stream();
                while let Some(piece) = stream.try_next().await.map_err(self.failed(key))? {
                    hash.update(&piece);
                    length += piece.len() as u64;
                }
                Ok(Some((hash.finalize().into(), length)))
            }
        }
    }

    /// Lengths of all objects by key; of a bucket, because asking for each would take long.
    pub(super) async fn lengths(&self) -> Result<Option<HashMap<String, u64>>, ExportError> {
        let Destination::Bucket { store, prefix, .. } = self else { return Ok(None) };
        let mut found = HashMap::new();
        let mut list = store.list(Some(prefix));
        while let Some(object) = list.try_next().await.map_err(self.failed(""))? {
            if let Some(rest) = object.location.as_ref().strip_prefix(prefix.as_ref()) {
                found.insert(rest.trim_start_matches('/').to_owned(), object.size);
            }
        }
        Ok(Some(found))
    }

    /// Waits until all that was put is on the disk.
    pub(super) async fn sync(&self) -> Result<(), ExportError> {
        let Destination::Directory(folder) = self else { return Ok(()) };
        let folder = folder.clone();
        let synced = blocking(move || Ok(nix::unistd::syncfs(fs::File::open(folder)?)?));
        synced.await.map_err(self.failed(""))
    }

    /// Aborts what was begun and is not complete, after which nothing more may be put. Gives a sentence for each object whose
    /// parts may stay.
    pub async fn end(&self) -> Vec<String> {
        let Destination::Bucket { url, uploads, .. } = self else { return Vec::new() };
        let left = |what: &str, reason: &dyn std::fmt::Display| {
            format!("{what}: parts of an object that is not complete may stay in the bucket, which costs: {reason}")
        };
        match tokio::time::timeout(ABORTING, uploads.abort()).await {
            Ok(stay) => stay.iter().map(|(key, error)| left(key.as_ref(), error)).collect(),
            Err(_) => vec![left(url, &format_args!("the bucket did not answer for {} s", ABORTING.as_secs()))],
        }
    }

    fn key(&self, key: &str) -> Key {
        match self {
            Destination::Directory(_) => Key::from(key),
            Destination::Bucket { prefix, .. } => key.split('/').fold(prefix.clone(), |whole, part| whole.join(part)),
        }
    }

    /// For `map_err`: an error with what is under `key`.
    fn failed<E: std::error::Error>(&self, key: &str) -> impl FnOnce(E) -> ExportError + use<E> {
        let what = if key.is_empty() { self.to_string() } else { format!("{self}/{key}") };
        move |error| ExportError::Write { what, reason: chain(&error) }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Destination::Directory(path) => path.display().fmt(f),
            Destination::Bucket { url, .. } => f.write_str(url),
        }
    }
}

/// Bytes on their way to a key. What is not finished is not there.
pub(super) enum KeyWriter {
    File { file: Arc<fs::File>, path: PathBuf, destination: Destination, key: String },
    Upload { upload: Upload, destination: Destination, key: String },
}

impl KeyWriter {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), ExportError> {
        match self {
            KeyWriter::File { file, destination, key, .. } => {
                let file = file.clone();
                let written = blocking(move || (&*file).write_all(&bytes)).await;
                written.map_err(destination.failed(key))
            }
            KeyWriter::Upload { upload, destination, key } => {
                upload.write(bytes).await.map_err(destination.failed(key))
            }
        }
    }

    pub(super) async fn finish(self) -> Result<(), ExportError> {
        match self {
            KeyWriter::File { file, path, destination, key } => {
                drop(file);
                let renamed = blocking(move || fs::rename(half(&path), &path)).await;
                renamed.map_err(destination.failed(&key))
            }
            KeyWriter::Upload { upload, destination, key } => upload.finish().await.map_err(destination.failed(&key)),
        }
    }
}

/// Runs what waits for a disk where that holds nobody up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// The file's name while it is written.
fn half(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(HALF);
    name.into()
}

fn create(path: &Path) -> io::Result<fs::File> {
    match fs::File::create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::File::create(path)
        }
        other => other,
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn digest(path: &Path) -> io::Result<([u8; 32], u64)> {
    let (mut file, mut hash, mut length) = (fs::File::open(path)?, Sha256::new(), 0);
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((hash.finalize().into(), length)),
            read => {
                hash.update(&piece[..read]);
                length += read as u64;
            }
        }
    }
}
