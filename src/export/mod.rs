//! Copies of views, complete and reproducible: an OME-Zarr store in a directory or a bucket.
//!
//! Blocks are read as the mount reads them, copied into chunks (`batch`), compressed and put under their keys by
//! rename. Nothing that is not complete looks complete: all documents come last, the one that makes the store a store at
//! the end. Every chunk is written, also those of the fill value alone, so that a file that is missing is missing.
//! Until then `.emfs-export` beside the chunks says what is written, with a checksum each, and keeps what was fetched and
//! is needed. Equal requests give equal bytes: shards hold their chunks in order, and what differs between runs is
//! under `time` in the manifest.

mod absent;
mod array;
mod batch;
mod block_log;
mod codec;
mod destination;
mod documents;
mod error;
mod estimate;
mod journal;
mod layout;
mod ledger;
mod manifest;
mod order;
mod outage;
mod plan;
mod progress;
mod state;
mod upload;
mod versions;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tracing::Instrument;

pub use codec::ChunkCompression;
pub use destination::Destination;
pub use error::ExportError;
pub use estimate::{Estimate, estimate};
pub use plan::{ExportMember, ExportOptions, ExportRequest};
pub use progress::{Progress, ProgressState};

use crate::cache::MemoryBudget;
use crate::lock::UNSUPPORTED;
use crate::store::Remote;
use crate::task;
use crate::volume::{Blocks, InFlightLimit};
use array::ArrayExport;
use batch::BatchWork;
use block_log::ExportBlockLog;
use destination::blocking;
use manifest::{CHECKSUMS, List, MANIFEST, pretty};
use outage::Outage;
use plan::Plan;
use state::StateFolder;
use versions::ObservedVersions;

/// Batches under way at a time, as far as there is memory: many small ones keep all connections busy.
const AT_ONCE: usize = 8;
/// Part of the memory that a batch may take where a single chunk does not need more.
const SHARE: u64 = 4;

/// What all exports of a run share.
pub struct Exporter {
    remote: Remote,
    blocks: Arc<Blocks>,
    buffers: Arc<MemoryBudget<()>>,
    /// Bytes of voxels that are not yet written.
    limit: u64,
    jobs: usize,
    /// What may be under way for the export that was begun last.
    window: Mutex<Option<Arc<InFlightLimit>>>,
    /// Counters of the run.
    pub progress: Arc<Progress>,
}

/// How an export ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportOutcome {
    /// It is complete; the arrays of which blocks are absent at the archive.
    Written(Vec<AbsentIn>),
    /// It was complete before.
    Complete,
}

/// The blocks of an array that the archive lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentIn {
    /// Path of the array in the store.
    pub array: String,
    /// How many this run found.
    pub blocks: usize,
    /// Whether these are all that it asked for.
    pub is_all: bool,
}

impl Exporter {
    /// `memory`: bytes for chunks, besides those that `blocks` may use. `jobs`: chunks compressed at a time.
    pub fn new(remote: Remote, blocks: Arc<Blocks>, memory: u64, jobs: usize, progress: Arc<Progress>) -> Exporter {
        let (limit, jobs) = ((memory / 2).max(1), jobs.max(1));
        let buffers = Arc::new(MemoryBudget::new(limit));
        Exporter { remote, blocks, buffers, limit, jobs, window: Mutex::default(), progress }
    }

    /// Bytes of voxels in a batch, as far as one chunk allows.
    pub fn batch_limit(&self) -> u64 {
        self.limit / SHARE
    }

    /// What has to be called before the images of a request are opened, so that the versions of what they are made of
    /// are in the manifest. Waits until nothing is under way for an export that has failed.
    pub async fn begin(&self) {
        let window = self.window.lock().take();
        if let Some(window) = window {
            window.end().await;
        }
        self.remote.seen().record();
    }

    /// Writes a store. With `resume`, what is there is checked and completed; else nothing may be there.
    pub async fn export(
        &self,
        request: &ExportRequest,
        destination: &Destination,
        resume: bool,
    ) -> Result<ExportOutcome, ExportError> {
        let plan = self.plan(request)?;
        let folder = state::folder(destination)?;
        let there = destination.exists().await?;
        if there && !resume {
            return Err(ExportError::Exists(destination.to_string()));
        }
        let other = |reason: String| ExportError::Other { destination: destination.to_string(), reason };
        // In a bucket nothing may be there yet of what is noted; where it is of another export, nothing will be.
        let earlier = if resume { state::earlier(&folder)? } else { None };
        let earlier = earlier.filter(|earlier| there || state::difference(earlier, &plan.arguments).is_none());
        match &earlier {
            Some(earlier) => {
                if let Some(difference) = state::difference(earlier, &plan.arguments) {
                    return Err(other(format!("it was begun as another export: {difference}")));
                }
            }
            None if there => {
                let Some(manifest) = manifest::read(destination).await? else {
                    return Err(other("no export of this machine began there".to_owned()));
                };
                return match state::difference(&manifest["arguments"], &plan.arguments) {
                    None => {
                        manifest::verify(destination, &manifest, self.jobs).await?;
                        Ok(ExportOutcome::Complete)
                    }
                    Some(difference) => Err(other(format!("it is a complete other export: {difference}"))),
                };
            }
            None => {}
        }
        let state = StateFolder::begin(folder, &plan.arguments, earlier.as_ref())?;
        if !state.is_locked {
            self.progress.warn(|| {
                format!("{}: {UNSUPPORTED}, so nothing keeps others from writing there", state.folder.display())
            });
        }
        let noted = state.folder.join("versions.json");
        let versions = ObservedVersions::open(&self.remote, noted, destination.to_string(), request.documents.clone())?;
        let versions = Arc::new(versions);
        versions.save()?;
        let arrays = self.open(&plan, &state).await?;
        self.progress.expect(plan.voxels());
        if earlier.is_some() {
            for array in &arrays {
                array.recover(destination, &self.progress, self.jobs).await?;
            }
        }
        self.fetch(request, destination, &arrays, &versions).await?;
        self.remote.confirm_absences().await.map_err(|cause| {
            let advice = "the same command with --resume asks again for what was absent";
            ExportError::Incomplete(format!("{}: {cause}; {advice}", request.name))
        })?;
        let absent = arrays.iter().filter(|array| array.absent.count() > 0).map(|array| AbsentIn {
            array: array.target.path.clone(),
            blocks: array.absent.count(),
            is_all: array.absent.is_all(),
        });
        let absent = absent.collect();
        self.complete(request, destination, plan, arrays, &versions).await?;
        blocking(move || state.end()).await.map_err(ExportError::write("removing what is not needed any more"))?;
        Ok(ExportOutcome::Written(absent))
    }

    /// Reads a complete export again and compares it with its manifest. Gives the number of files.
    pub async fn verify(&self, destination: &Destination) -> Result<u64, ExportError> {
        let Some(manifest) = manifest::read(destination).await? else {
            return Err(ExportError::Incomplete(format!("{destination} has no {MANIFEST}: it is not complete")));
        };
        manifest::verify(destination, &manifest, self.jobs).await
    }

    fn plan(&self, request: &ExportRequest) -> Result<Plan, ExportError> {
        let plan = Plan::new(request, self.batch_limit())?;
        for target in &plan.targets {
            let (bytes, path) = (target.layout.chunk_bytes(), &target.path);
            if bytes > self.limit.saturating_mul(2) {
                let reason =
                    format!("chunks of {bytes} bytes in {path} do not fit into the memory; give more with --memory");
                return Err(ExportError::Usage(format!("{}: {reason}", request.name)));
            }
        }
        Ok(plan)
    }

    async fn open(&self, plan: &Plan, state: &StateFolder) -> Result<Vec<Arc<ArrayExport>>, ExportError> {
        let mut arrays = Vec::with_capacity(plan.targets.len());
        for target in &plan.targets {
            let folder = state.folder.join(target.path.replace('/', "."));
            let (target, shown) = (target.clone(), folder.display().to_string());
            let array = blocking(move || ArrayExport::open(target, folder)).await.map_err(ExportError::write(shown))?;
            arrays.push(Arc::new(array));
        }
        Ok(arrays)
    }

    async fn fetch(
        &self,
        request: &ExportRequest,
        destination: &Destination,
        arrays: &[Arc<ArrayExport>],
        versions: &Arc<ObservedVersions>,
    ) -> Result<(), ExportError> {
        let most = arrays.iter().map(|array| array.target.layout.chunk_bytes()).max().unwrap_or(1).max(1);
        // Compressed chunks are in memory beside the plain ones.
        let jobs = usize::try_from(self.limit / 2 / most).unwrap_or(1).clamp(1, self.jobs);
        let work = BatchWork {
            blocks: self.blocks.clone(),
            buffers: self.buffers.clone(),
            jobs: Arc::new(Semaphore::new(jobs)),
            destination: destination.clone(),
            progress: self.progress.clone(),
            versions: versions.clone(),
            outage: Arc::new(Outage::new((!self.remote.is_offline()).then(|| self.remote.timeout()))),
            name: request.name.clone(),
        };
        let failed_before = self.progress.state().failed;
        let window = Arc::new(layout::window(arrays.iter().map(|array| &array.target.layout)));
        *self.window.lock() = Some(window.clone());
        let swept: Vec<_> = arrays
            .iter()
            .map(|array| {
                let log = ExportBlockLog::new(array, versions, &work.outage);
                (array, log.bulk_read(&window), log)
            })
            .collect();
        let targets: Vec<&array::ArrayPlan> = arrays.iter().map(|array| &array.target).collect();
        let batches = order::batches(&targets).filter_map(|(place, batch)| Some((swept.get(place)?, batch)));
        let running = futures::stream::iter(batches).map(|((array, bulk, log), batch)| {
            let work = &work;
            let path = || Some(format!("{}/{} batch {}", work.name, array.target.path, batch.number));
            let span = task::request("EXPORT", path);
            async move { batch::run(work, array, log, bulk, &batch).await }.instrument(span)
        });
        let ended = running.buffer_unordered(AT_ONCE).try_collect::<()>().await;
        window.close();
        ended?;
        match self.progress.state().failed - failed_before {
            0 => Ok(()),
            failed => Err(ExportError::Incomplete(format!(
                "{}: {failed} chunks could not be had; the same command with --resume tries them again",
                request.name
            ))),
        }
    }

    /// Puts all that stands beside the chunks: last what makes the store a store.
    async fn complete(
        &self,
        request: &ExportRequest,
        destination: &Destination,
        plan: Plan,
        arrays: Vec<Arc<ArrayExport>>,
        versions: &ObservedVersions,
    ) -> Result<(), ExportError> {
        let mut list = List::begin(destination).await?;
        let mut described = Vec::new();
        for array in &arrays {
            described.push(manifest::array(array, &mut list).await?);
        }
        let (record, retrieved) = without_times(request.record.clone());
        let mut beside = vec![("metadata.json".to_owned(), pretty(&record))];
        beside.extend(request.upstream.iter().map(|(name, bytes)| (format!("upstream/{name}"), bytes.clone())));
        beside.extend(request.notice.iter().map(|text| ("NOTICE".to_owned(), Bytes::from(text.clone()))));
        for (key, bytes) in beside.iter().chain(&plan.documents) {
            list.add(&Sha256::digest(bytes), key).await?;
        }
        let (objects, all) = versions.all();
        let mut absent: BTreeMap<&str, usize> = BTreeMap::new();
        for array in &arrays {
            *absent.entry(array.target.image.dataset()).or_default() += array.absent.count();
        }
        let manifest = json!({
            "emfs": env!("CARGO_PKG_VERSION"),
            "arguments": plan.arguments,
            "arrays": described,
            "absent": absent,
            "objects": objects,
            "objects_complete": all,
            "checksums": {"file": CHECKSUMS, "sha256": list.finish().await?},
            "time": {"exported": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true), "retrieved": retrieved},
        });
        beside.push((MANIFEST.to_owned(), pretty(&manifest)));
        for (key, bytes) in beside {
            destination.put(&key, bytes).await?;
        }
        // Whatever happens to the machine now, the document that makes the store a store is not there before its chunks.
        destination.sync().await?;
        for (key, bytes) in plan.documents {
            destination.put(&key, bytes).await?;
        }
        destination.sync().await
    }
}

/// A record without what differs between two runs: when its documents were fetched, which is given by file name.
fn without_times(mut record: Value) -> (Value, Value) {
    let mut times = serde_json::Map::new();
    for document in record["documents"].as_array().into_iter().flatten() {
        if let (Some(file), Some(time)) = (document["file"].as_str(), document.get("retrieved")) {
            times.insert(file.to_owned(), time.clone());
        }
    }
    for part in ["documents", "provenance", "alternatives"] {
        if let Some(part) = record.get_mut(part) {
            remove_times(part);
        }
    }
    (record, times.into())
}

fn remove_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.shift_remove("retrieved");
            map.values_mut().for_each(remove_times);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_times),
        _ => {}
    }
}
