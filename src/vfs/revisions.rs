//! Documents that change while mounted. Each revision is a file of its own: a reader that has the old one open keeps it
//! whole, and who opens it anew sees the new one.

use std::collections::HashMap;

use std::time::SystemTime;

use parking_lot::Mutex;

use crate::document::Packed;
use crate::tree::{Folder, Inode, MutableDocument};

/// One revision of one document.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub(super) inode: Inode,
    pub(super) content: Packed,
    pub(super) modified: SystemTime,
}

#[derive(Default)]
struct State {
    next: u64,
    latest: HashMap<MutableDocument, Revision>,
    /// What the kernel knows, with the number of its look-ups.
    live: HashMap<Inode, (Revision, u64)>,
}

/// All revisions that are latest or still known to the kernel.
#[derive(Default)]
pub(super) struct Revisions {
    state: Mutex<State>,
}

impl Revisions {
    /// The latest revision, which is a new one where the content differs from the last.
    pub(super) fn publish(&self, document: MutableDocument, content: Packed) -> Revision {
        let mut state = self.state.lock();
        if let Some(latest) = state.latest.get(&document)
            && latest.content == content
        {
            return latest.clone();
        }
        let revision = Revision { inode: Inode::revision(state.next), content, modified: SystemTime::now() };
        state.next += 1;
        state.latest.insert(document, revision.clone());
        revision
    }

    /// When a document of the directory last changed.
    pub(super) fn modified(&self, folder: Folder) -> Option<SystemTime> {
        let state = self.state.lock();
        state.latest.iter().filter(|(of, _)| of.folder == folder).map(|(_, revision)| revision.modified).max()
    }

    /// The document whose latest revision is at an inode.
    pub(super) fn document(&self, inode: Inode) -> Option<MutableDocument> {
        let state = self.state.lock();
        state.latest.iter().find(|(_, revision)| revision.inode == inode).map(|(document, _)| document.clone())
    }

    /// The revision at an inode.
    pub(super) fn get(&self, inode: Inode) -> Option<Revision> {
        let state = self.state.lock();
        let live = state.live.get(&inode).map(|(revision, _)| revision);
        live.or_else(|| state.latest.values().find(|revision| revision.inode == inode)).cloned()
    }

    /// Counts a look-up of a revision by the kernel.
    pub(super) fn looked_up(&self, revision: &Revision) {
        let mut state = self.state.lock();
        state.live.entry(revision.inode).or_insert_with(|| (revision.clone(), 0)).1 += 1;
    }

    /// Counts a look-up of the revision at an inode by a listing.
    pub(super) fn listed(&self, inode: Inode) {
        if let Some(revision) = self.get(inode) {
            self.looked_up(&revision);
        }
    }

    /// Takes back look-ups; at none left an old revision is gone.
    pub(super) fn forget(&self, inode: Inode, lookups: u64) {
        let mut state = self.state.lock();
        if let Some((_, count)) = state.live.get_mut(&inode) {
            *count = count.saturating_sub(lookups);
            if *count == 0 {
                state.live.remove(&inode);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_revision_stays_whole_until_it_is_forgotten() {
        let revisions = Revisions::default();
        let document = MutableDocument { folder: Folder::Root, name: "metadata.json".into() };
        let old = revisions.publish(document.clone(), Packed::of(b"old"));
        revisions.looked_up(&old);
        let new = revisions.publish(document.clone(), Packed::of(b"new"));
        assert_ne!(old.inode, new.inode);
        assert_eq!(revisions.get(old.inode).unwrap().content.all(), "old");
        revisions.forget(old.inode, 1);
        assert!(revisions.get(old.inode).is_none());
        assert_eq!(revisions.get(new.inode).unwrap().content.all(), "new");
    }

    #[test]
    fn equal_bytes_are_no_new_revision() {
        let revisions = Revisions::default();
        let document = MutableDocument { folder: Folder::Root, name: "metadata.csv".into() };
        let one = revisions.publish(document.clone(), Packed::of(b"{}"));
        let two = revisions.publish(document.clone(), Packed::of(b"{}"));
        assert_eq!(one.inode, two.inode);
    }
}
