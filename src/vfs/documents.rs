//! The documents of a dataset and of the whole that change as more becomes known.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use futures::future::join_all;
use serde_json::Value;

use super::image_registry::KnownImage;
use super::revisions::Revision;
use super::{DirEntry, FileAttributes, LISTED_AT_ONCE, LookupAnswer, NodeKind, Reply, Vfs};
use crate::document::Packed;
use crate::metadata::{self, ImageRecord, Knowledge};
use crate::tree::{DatasetId, Folder, Inode, MutableDocument, NamedEntry};

/// How long a look-up waits for images it began to open.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same for images that could not be opened before: who lists a directory should not wait for a dead server each time.
const SHORT_PATIENCE: Duration = Duration::from_millis(200);

/// What keeps backups out (<https://bford.info/cachedir/>): all that is shown can be fetched again.
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file marks the volumes below as not worth a backup: emfs shows them, and their archives keep them.\n\
    # See https://bford.info/cachedir/\n";

/// `.` and `..`.
const DOTS: u64 = 2;

/// What `stat` says of a revision.
pub(super) fn attributes(revision: &Revision) -> FileAttributes {
    FileAttributes {
        inode: revision.inode.get(),
        size: revision.content.len() as u64,
        kind: NodeKind::File,
        nlink: 1,
        mtime: revision.modified,
        ttl: Duration::ZERO,
    }
}

impl Vfs {
    /// Looks a document up: opens what is not open, waits a moment for what this began, and tells what is known.
    pub(super) async fn look_up_document(self: &Arc<Self>, document: MutableDocument) -> LookupAnswer {
        let datasets = match document.folder {
            // Says the same whatever is known.
            Folder::Root if matches!(&*document.name, "metadata.schema.json" | "CACHEDIR.TAG") => Vec::new(),
            Folder::Root => self.datasets(),
            Folder::Dataset(dataset) | Folder::Upstream(dataset) => vec![dataset],
            Folder::Store(_) => Vec::new(),
        };
        self.ask(&datasets, &self.path_of(&document)).await;
        let attributes = self.current(document).map(|revision| {
            self.revisions.looked_up(&revision);
            attributes(&revision)
        });
        LookupAnswer { attributes, ttl: Duration::ZERO }
    }

    /// Opens the images of the datasets that are not open, and waits a moment for those that nobody else waits for.
    pub(super) async fn ask(self: &Arc<Self>, datasets: &[DatasetId], path: &str) {
        let images = datasets.iter().flat_map(|dataset| self.tree.images_of(*dataset));
        let openings = images.filter_map(|image| {
            let patience = match self.image_registry.known(image) {
                KnownImage::Failed(_) => SHORT_PATIENCE,
                _ => PATIENCE,
            };
            let (began, opening) = self.begin(image, format!("{path} (image {})", self.image_registry.name(image)));
            // What takes longer goes on without anybody waiting, and the next look-up tells of it.
            began.then_some(tokio::time::timeout(patience, opening))
        });
        join_all(openings.collect::<Vec<_>>()).await;
    }

    /// The document as it is now, without waiting or asking anybody; `None` where there is none of its name.
    pub(super) fn current(&self, document: MutableDocument) -> Option<Revision> {
        let content = match document.folder {
            Folder::Upstream(dataset) => self.upstream(dataset).into_iter().find(|(name, _)| *name == document.name)?.1,
            Folder::Dataset(dataset) if document.name == MutableDocument::METADATA => self.record(dataset),
            // Made anew when something else is known than before.
            Folder::Dataset(_) | Folder::Root => return self.derived(document),
            Folder::Store(store) => return self.refusal(store),
        };
        Some(self.revisions.publish(document, content))
    }

    /// The answer to a listing, later where documents in it have to be made: others may be at work on theirs for long.
    pub(super) fn once_made<T: Send + 'static>(
        self: &Arc<Self>,
        directory: Inode,
        cookie: u64,
        answer: impl FnOnce(&Arc<Self>) -> Reply<T> + Send + 'static,
    ) -> Reply<T> {
        if self.are_made(directory, cookie) {
            return answer(self);
        }
        let this = self.clone();
        Reply::Pending(
            async move {
                match answer(&this) {
                    Reply::Ready(answer) => answer,
                    Reply::Pending(answer) => answer.await,
                }
            }
            .boxed(),
        )
    }

    /// Whether the documents of a directory tell what is known, as far as they are listed at once.
    fn are_made(&self, directory: Inode, cookie: u64) -> bool {
        let Some(Folder::Root | Folder::Dataset(_)) = self.tree.folder_at(directory) else { return true };
        let Ok(listing) = self.tree.list(directory, cookie) else { return true };
        let generation = self.image_registry.generation();
        let is_made = |document: MutableDocument| match document.folder {
            Folder::Dataset(dataset) if document.name == MutableDocument::METADATA => {
                self.records.lock().get(&dataset).is_some_and(|(of, _)| *of == generation)
            }
            _ => self.whole.lock().get(&document).is_some_and(|(of, _)| *of == generation),
        };
        listing.take(LISTED_AT_ONCE).all(|entry| match entry.found {
            NamedEntry::Mutable(document) => is_made(document),
            NamedEntry::Node(..) => true,
        })
    }

    /// A document that is made of records, anew when something else is known than before.
    fn derived(&self, document: MutableDocument) -> Option<Revision> {
        let generation = self.image_registry.generation();
        if let Some((of, revision)) = self.whole.lock().get(&document)
            && *of == generation
        {
            return Some(revision.clone());
        }
        let content = match document.folder.dataset() {
            Some(dataset) => self.description(dataset, &document.name)?,
            None => self.root_document(&document.name)?,
        };
        let revision = self.revisions.publish(document.clone(), content);
        self.whole.lock().insert(document, (generation, revision.clone()));
        Some(revision)
    }

    /// A dataset in a form of others.
    fn description(&self, dataset: DatasetId, name: &str) -> Option<Packed> {
        let make: fn(&Value) -> Value = match name {
            MutableDocument::CROISSANT => metadata::croissant,
            MutableDocument::RO_CRATE => metadata::ro_crate,
            _ => return None,
        };
        let record = self.record(dataset);
        Some(self.desk.work_now(|| Packed::of(&json(&make(&without_extra(&record))))))
    }

    fn root_document(&self, name: &str) -> Option<Packed> {
        if name == "metadata.schema.json" {
            return Some(Packed::of(&json(&metadata::schema())));
        }
        if name == "CACHEDIR.TAG" {
            return Some(Packed::of(CACHE_TAG));
        }
        let records: Vec<Packed> = self.datasets().into_iter().map(|dataset| self.record(dataset)).collect();
        let make: fn(&[Value]) -> String = match name {
            "metadata.json" => return Some(Packed::of(&list(&records))),
            "metadata.csv" => metadata::csv,
            "correspondence.csv" => metadata::correspondence,
            "README.md" => metadata::readme,
            "croissant.json" => |records| text(&metadata::croissant_of_all(records)),
            "ro-crate-metadata.json" => |records| text(&metadata::ro_crate_of_all(records)),
            _ => return None,
        };
        self.desk.work_now(|| {
            let records: Vec<Value> = records.iter().map(without_extra).collect();
            Some(Packed::of(make(&records).as_bytes()))
        })
    }

    /// The archive's documents of a dataset with their names, as far as they are known.
    fn upstream(&self, dataset: DatasetId) -> Vec<(String, Packed)> {
        let mut found = Vec::new();
        for image in self.tree.images_of(dataset) {
            let Some(info) = self.tree.image(image) else { continue };
            let documents = self.image_registry.documents(image);
            let named = documents.iter().map(|told| (metadata::document_name(&info.named, told), told.content.clone()));
            found.extend(named);
        }
        found
    }

    /// When a directory last changed: one of its documents did, or an image was opened and so it is known which of its
    /// stores and documents are listed.
    pub(super) fn changed(&self, folder: Folder) -> Option<SystemTime> {
        let images = folder.dataset().into_iter().flat_map(|dataset| self.tree.images_of(dataset));
        let opened = images.filter_map(|image| Some(self.image_registry.opened(image)?.when)).max();
        opened.max(self.revisions.modified(folder))
    }

    /// The entries of `upstream` from a cookie on.
    pub(super) fn upstream_entries(&self, dataset: DatasetId, cookie: u64) -> Vec<DirEntry> {
        let documents = self.upstream(dataset).into_iter().zip(DOTS..).skip_while(|(_, place)| *place < cookie);
        let entries = documents.filter_map(|((name, content), place)| {
            let document = MutableDocument { folder: Folder::Upstream(dataset), name: name.clone().into() };
            let attributes = attributes(&self.revisions.publish(document, content));
            Some(DirEntry { name, attributes, ttl: Duration::ZERO, next_cookie: place.checked_add(1)? })
        });
        entries.collect()
    }

    fn datasets(&self) -> Vec<DatasetId> {
        (0..).map(DatasetId).take_while(|dataset| self.tree.dataset(*dataset).is_some()).collect()
    }

    pub(super) fn path_of(&self, document: &MutableDocument) -> String {
        let dataset = document.folder.dataset().and_then(|dataset| self.tree.dataset(dataset));
        let folder = match (document.folder, dataset) {
            (Folder::Upstream(_), Some(dataset)) => format!("{}/{}/", dataset.name, MutableDocument::UPSTREAM),
            (_, Some(dataset)) => format!("{}/", dataset.name),
            (_, None) => String::new(),
        };
        format!("{folder}{}", document.name)
    }

    /// The record of a dataset, made anew when something else is known than before.
    fn record(&self, id: DatasetId) -> Packed {
        let generation = self.image_registry.generation();
        if let Some((of, record)) = self.records.lock().get(&id)
            && *of == generation
        {
            return record.clone();
        }
        let record = self.desk.work_now(|| Packed::of(&json(&self.make_record(id))));
        self.records.lock().insert(id, (generation, record.clone()));
        record
    }

    fn make_record(&self, id: DatasetId) -> Value {
        let Some(dataset) = self.tree.dataset(id) else { return Value::Null };
        let known = self.tree.images_of(id);
        let known: Vec<_> = known
            .map(|image| (image, self.image_registry.known(image), self.image_registry.documents(image)))
            .collect();
        let images: Vec<ImageRecord<'_>> = known
            .iter()
            .filter_map(|(image, known, documents)| {
                let named = self.tree.image(*image)?.named;
                let knowledge = match known {
                    KnownImage::Open(opened) => Knowledge::Described {
                        pyramid: &opened.pyramid,
                        origin: &opened.origin,
                        intensity: opened.intensity.as_deref(),
                    },
                    KnownImage::Nothing => Knowledge::Missing("nobody has asked the source yet".into()),
                    KnownImage::Opening => Knowledge::Missing("the source has not answered yet".into()),
                    KnownImage::Failed(error) => Knowledge::Missing(error.to_string()),
                };
                Some(ImageRecord { named, knowledge, documents })
            })
            .collect();
        metadata::record(dataset, &images)
    }
}

fn text(value: &Value) -> String {
    String::from_utf8(json(value)).unwrap_or_default()
}

fn json(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The records as one list, in the form that each of them has.
fn list(records: &[Packed]) -> Vec<u8> {
    let mut list = b"[".to_vec();
    for (number, record) in records.iter().enumerate() {
        list.extend_from_slice(if number == 0 { b"\n" } else { b",\n" });
        let record = record.all();
        let lines: Vec<&[u8]> = record.trim_ascii_end().split(|byte| *byte == b'\n').collect();
        for (number, line) in lines.iter().enumerate() {
            list.extend_from_slice(if number == 0 { b"  " } else { b"\n  " });
            list.extend_from_slice(line);
        }
    }
    list.extend_from_slice(if records.is_empty() { b"]\n" } else { b"\n]\n" });
    list
}

/// A record as the tables are made from it.
fn without_extra(record: &Packed) -> Value {
    let mut record: Value = serde_json::from_slice(&record.all()).unwrap_or_default();
    if let Some(members) = record.as_object_mut() {
        members.shift_remove("extra");
    }
    record
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_make_up_the_list_that_they_would_be_printed_as() {
        let all = [json!({"a": [1, {"b": "x\ny"}], "c": {}}), json!({"extra": []}), json!({})];
        for count in 0..=all.len() {
            let records: Vec<Packed> = all[..count].iter().map(|record| Packed::of(&json(record))).collect();
            assert_eq!(list(&records), json(&all[..count].iter().cloned().collect()));
        }
    }
}
