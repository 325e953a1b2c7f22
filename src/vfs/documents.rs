//! The documents of a dataset that change as more becomes known.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::library::Known;
use super::revisions::Revision;
use super::{Attributes, Entry, Kind, Vfs};
use crate::metadata::{ImageRecord, Knowledge, record};
use crate::tree::{DatasetId, MutableDocument};

/// How long a look-up waits for images it began to open.
const PATIENCE: Duration = Duration::from_secs(2);

/// What `stat` says of a revision.
pub(super) fn attributes(revision: &Revision) -> Attributes {
    Attributes {
        inode: revision.inode.get(),
        size: revision.bytes.len() as u64,
        kind: Kind::File,
        nlink: 1,
        mtime: revision.modified,
        ttl: Duration::ZERO,
    }
}

impl Vfs {
    /// Looks a document up: opens what is not open, waits a moment for what this began, and tells what is known.
    pub(super) async fn look_up_document(self: &Arc<Self>, document: MutableDocument) -> Entry {
        let openings = self.tree.images_of(document.dataset).filter_map(|image| {
            let name = self.tree.image(image).map_or("", |info| info.image);
            let (began, opening) = self.begin(image, format!("{} (image {name})", self.path_of(document)));
            began.then_some(opening)
        });
        let attempts = join_all(openings.collect::<Vec<_>>());
        // What takes longer goes on without anybody waiting, and the next look-up tells of it.
        let _ = tokio::time::timeout(PATIENCE, attempts).await;
        let revision = self.current(document);
        self.revisions.looked_up(&revision);
        Entry { attributes: Some(attributes(&revision)), ttl: Duration::ZERO }
    }

    /// The document as it is now, without waiting or asking anybody.
    pub(super) fn current(&self, document: MutableDocument) -> Revision {
        let mut bytes = serde_json::to_vec_pretty(&self.record(document.dataset)).unwrap_or_default();
        bytes.push(b'\n');
        self.revisions.publish(document.dataset, document.name, Bytes::from(bytes))
    }

    fn path_of(&self, document: MutableDocument) -> String {
        let dataset = self.tree.dataset(document.dataset).map_or("", |dataset| dataset.name.as_str());
        format!("{dataset}/{}", document.name)
    }

    fn record(&self, id: DatasetId) -> serde_json::Value {
        let Some(dataset) = self.tree.dataset(id) else { return serde_json::Value::Null };
        let known: Vec<_> = self.tree.images_of(id).map(|image| (image, self.library.known(image))).collect();
        let images: Vec<ImageRecord<'_>> = known
            .iter()
            .filter_map(|(image, known)| {
                let info = self.tree.image(*image)?;
                let knowledge = match known {
                    Known::Open(opened) => Knowledge::Described { pyramid: &opened.pyramid, origin: &opened.origin },
                    Known::Nothing => Knowledge::Missing("nobody has asked the source yet".into()),
                    Known::Opening => Knowledge::Missing("the source has not answered yet".into()),
                    Known::Failed(error) => Knowledge::Missing(error.to_string()),
                };
                Some(ImageRecord { image: info.image, label: info.label, spec: info.source, knowledge })
            })
            .collect();
        record(dataset, &images)
    }
}
