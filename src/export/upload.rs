//! Objects of a bucket that are put in parts. Those that are not completed are aborted: their parts would stay, and be billed.
//!
//! The `WriteMultipart` of `object_store` is used up by its `finish`, so that what fails in there can no longer be aborted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path as Key;
use object_store::{Error, MultipartUpload, ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::task;

/// Bytes of a part, and how many parts are under way.
const PART: usize = 8 << 20;
const PARTS: usize = 2;

type Parts = Arc<tokio::sync::Mutex<Box<dyn MultipartUpload>>>;

/// The uploads of a destination that are not complete. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Uploads {
    open: Arc<Mutex<BTreeMap<Number, (Key, Parts)>>>,
    /// Shared by those that the bucket is asked to begin. Whether all are aborted, and no more may begin.
    beginning: Arc<tokio::sync::RwLock<bool>>,
}

/// Tells uploads apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Number(u64);

impl Uploads {
    pub(super) async fn begin(&self, store: &Arc<dyn ObjectStore>, key: Key) -> Result<Upload, Error> {
        let (this, store) = (self.clone(), store.clone());
        // A task of its own: the bucket may have begun it when whoever asked for it is gone.
        let begun = task::spawn(async move {
            let is_over = this.beginning.read().await;
            if *is_over {
                return Err(Error::Generic { store: "export", source: "it is over".into() });
            }
            let parts: Parts = Arc::new(tokio::sync::Mutex::new(store.put_multipart(&key).await?));
            let mut open = this.open.lock();
            let number = Number(open.last_key_value().map_or(0, |(last, _)| last.0 + 1));
            open.insert(number, (key, parts.clone()));
            Ok((number, parts))
        });
        let (number, parts) = begun.await??;
        Ok(Upload { uploads: self.clone(), number, parts, buffer: BytesMut::new(), under_way: JoinSet::new() })
    }

    /// Aborts all that were begun and not completed; from now on none begins. Gives those that stay.
    pub(super) async fn abort(&self) -> Vec<(Key, Error)> {
        *self.beginning.write().await = true;
        let open = std::mem::take(&mut *self.open.lock());
        let aborting = open.into_values().map(async |(key, parts)| {
            let aborted = parts.lock().await.abort().await;
            aborted.err().map(|error| (key, error))
        });
        futures::future::join_all(aborting).await.into_iter().flatten().collect()
    }
}

/// An object on its way.
pub(super) struct Upload {
    uploads: Uploads,
    number: Number,
    parts: Parts,
    buffer: BytesMut,
    under_way: JoinSet<Result<(), Error>>,
}

impl Upload {
    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.buffer.extend_from_slice(&bytes);
        while self.buffer.len() >= PART {
            let part = self.buffer.split_to(PART).freeze();
            self.put(part).await?;
        }
        Ok(())
    }

    async fn put(&mut self, part: Bytes) -> Result<(), Error> {
        self.until_under_way(PARTS - 1).await?;
        let putting = self.parts.lock().await.put_part(part.into());
        self.under_way.spawn(putting);
        Ok(())
    }

    async fn until_under_way(&mut self, most: usize) -> Result<(), Error> {
        while self.under_way.len() > most {
            match self.under_way.join_next().await {
                Some(ended) => ended??,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            let last = std::mem::take(&mut self.buffer).freeze();
            self.put(last).await?;
        }
        self.until_under_way(0).await?;
        self.parts.lock().await.complete().await?;
        self.uploads.open.lock().remove(&self.number);
        Ok(())
    }
}
