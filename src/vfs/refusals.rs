//! Stores that cannot be described: their directory holds one file, which says why and what to do.
//!
//! Readers of Zarr tell such a store from none at all with one word, if any. The file is there as long as the last attempt to
//! open the image failed. What the kernel keeps of the directory is given for no time until the store is described, and that
//! store's directory has another time of change if it ever was refused, so that no listing with the file in it is kept.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;

use super::image_registry::KnownImage;
use super::revisions::Revision;
use super::{DirEntry, LookupAnswer, Reply, UNCHANGING, Vfs, documents};
use crate::document::Packed;
use crate::remote::Cause;
use crate::tree::{Folder, Inode, Miss, MutableDocument};
use crate::volume::VolumeError;

/// Behind `.` and `..`.
const COOKIE: u64 = 3;

/// The time of change of a described store's directory that held the file before.
const AGAIN: Duration = UNCHANGING.saturating_add(Duration::from_secs(1));

const ADDRESS: &str = "Compare the address and the kind of the source in the configuration with what is there, and do what the \
                       reason says; after a change of the configuration, mount again.";
const ACCESS: &str = "The origin or the system refuses to give the data to this user. Where they want credentials, write \
                      `credentials = \"env\"` beside `url`, set those of the environment, and mount again.";
const ORIGIN: &str = "The origin was not reached, or its answers cannot be used. `emfs status MOUNTPOINT` and the log say \
                      more.";

const OFFLINE: &str = "Nobody is asked while emfs is mounted with `--offline`. Fetch what is needed with `emfs warm`, or mount \
                       without it.";

/// What can be done about a failure.
fn remedy(error: &VolumeError) -> &'static str {
    if matches!(error.cause(), Some(Cause::Offline(_))) {
        OFFLINE
    } else if error.is_denied() {
        ACCESS
    } else if error.is_of_content() {
        ADDRESS
    } else {
        ORIGIN
    }
}

impl Vfs {
    /// What the directory of a store says of why it cannot be described, without waiting or asking anybody.
    pub(super) fn refusal(&self, store: Inode) -> Option<Revision> {
        let (reason, remedy) = match self.tree.store_at(store)?.err()? {
            Miss::NotDescribed(images) => {
                images.into_iter().find_map(|image| match self.image_registry.known(image) {
                    KnownImage::Failed(error) => Some((error.to_string(), remedy(&error))),
                    KnownImage::Opening => Some(("its source has not answered yet".to_owned(), ORIGIN)),
                    KnownImage::Nothing | KnownImage::Open(_) => None,
                })?
            }
            miss => (miss.to_string(), ADDRESS),
        };
        let path = self.tree.path(store);
        let text = format!(
            "emfs cannot show {path}: {reason}\n\n{remedy}\n\nemfs tries again whenever something in this directory is asked for, \
             and this file is gone once that succeeds.\n"
        );
        let document = MutableDocument { folder: Folder::Store(store), name: MutableDocument::ERROR.into() };
        Some(self.revisions.publish(document, Packed::of(text.as_bytes())))
    }

    /// Looks the file up in the directory of a store, after opening what the store shows.
    pub(super) fn find_refusal(self: &Arc<Self>, store: Inode) -> Reply<LookupAnswer> {
        let this = self.clone();
        Reply::Pending(
            async move {
                if let Some(Err(Miss::NotDescribed(images))) = this.tree.store_at(store) {
                    let path = format!("{}/{}", this.tree.path(store), MutableDocument::ERROR);
                    // What fails is in the log, and in the file.
                    let _ = this.open(&images, &path).await;
                }
                let attributes = this.refusal(store).map(|revision| {
                    this.revisions.looked_up(&revision);
                    documents::attributes(&revision)
                });
                Ok(LookupAnswer { attributes, ttl: Duration::ZERO })
            }
            .boxed(),
        )
    }

    /// The listing of a directory; where it is that of a store and fails, of what says why.
    pub(super) fn or_refusal(
        self: &Arc<Self>,
        directory: Inode,
        cookie: u64,
        listing: Reply<Vec<DirEntry>>,
    ) -> Reply<Vec<DirEntry>> {
        let Reply::Pending(listing) = listing else { return listing };
        let this = self.clone();
        Reply::Pending(
            async move {
                let failed = match listing.await {
                    Ok(entries) => return Ok(entries),
                    Err(failed) => failed,
                };
                let revision = this.refusal(directory).ok_or(failed)?;
                let dataset = this.tree.dataset_of_store(directory).ok_or(failed)?;
                let above = Inode::dataset(dataset);
                let own = |name: &str, inode: Inode, next_cookie: u64| {
                    let attributes = this.attributes(inode, crate::tree::NodeAttributes::DIRECTORY);
                    DirEntry { name: name.to_owned(), attributes, ttl: Duration::ZERO, next_cookie }
                };
                let file = DirEntry {
                    name: MutableDocument::ERROR.to_owned(),
                    attributes: documents::attributes(&revision),
                    ttl: Duration::ZERO,
                    next_cookie: COOKIE,
                };
                let all = [own(".", directory, 1), own("..", above, 2), file];
                Ok(all.into_iter().filter(|entry| entry.next_cookie > cookie).collect())
            }
            .boxed(),
        )
    }

    /// When the directory of a store last changed, and how long that may be kept; `None` where it never does.
    pub(super) fn times_of_store(&self, inode: Inode) -> Option<(SystemTime, Duration)> {
        let described = self.tree.store_at(inode)?;
        match (described, self.revisions.modified(Folder::Store(inode)).is_some()) {
            (Ok(()), false) => None,
            (Ok(()), true) => Some((SystemTime::UNIX_EPOCH + AGAIN, super::FOREVER)),
            (Err(_), false) => Some((SystemTime::UNIX_EPOCH + UNCHANGING, Duration::ZERO)),
            (Err(_), true) => Some((SystemTime::now(), Duration::ZERO)),
        }
    }
}
