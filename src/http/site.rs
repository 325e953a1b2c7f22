//! What is served, to whom, and from which memory.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::access::Access;
use super::body::Untaken;
use super::memory_file::MemoryFiles;
use super::paths::CountedNames;
use crate::vfs::Vfs;

/// What is taken of the memory for what clients have not taken yet: one part in so many.
const UNTAKEN: u64 = 8;

/// The same for answers that the kernel has as files.
const IN_FILES: u64 = 8;

/// What is served.
pub struct Site {
    vfs: Arc<Vfs>,
    names: CountedNames,
    access: Access,
    untaken: Untaken,
    memory_files: MemoryFiles,
    /// Datasets of which nothing is in a file of this machine.
    remote: HashSet<String>,
    /// The nanosecond in which it began.
    life: u64,
    is_tls: bool,
}

impl Site {
    /// The tree, for those who have access; `memory` is what it may take. `is_tls`: whether it is reached by TLS.
    pub fn new(vfs: Arc<Vfs>, access: Access, memory: u64, is_tls: bool) -> Arc<Self> {
        let life = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        let remote =
            vfs.shown_datasets().filter(|dataset| dataset.is_remote()).map(|dataset| dataset.name.clone()).collect();
        let names = CountedNames::new(Arc::clone(&vfs));
        let (untaken, memory_files) = (Untaken::of(memory / UNTAKEN), MemoryFiles::of(memory / IN_FILES));
        Arc::new(Site { vfs, names, access, untaken, memory_files, remote, life, is_tls })
    }

    pub(super) fn vfs(&self) -> &Arc<Vfs> {
        &self.vfs
    }

    pub(super) fn names(&self) -> &CountedNames {
        &self.names
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(super) fn untaken(&self) -> &Untaken {
        &self.untaken
    }

    pub(super) fn memory_files(&self) -> &MemoryFiles {
        &self.memory_files
    }

    /// Whether all that this dataset shows comes from elsewhere.
    pub(super) fn is_remote(&self, dataset: &str) -> bool {
        self.remote.contains(dataset)
    }

    /// The number of this life of the server, which is part of every tag.
    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// How its addresses begin.
    pub(super) fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// Whether anybody may read.
    pub(super) fn is_public(&self) -> bool {
        !self.access.is_limited()
    }
}
