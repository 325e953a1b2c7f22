//! From the path of a request to what is there.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use super::failure::Failure;
use crate::tree::Inode;
use crate::vfs::{Errno, FileAttributes, Reply, Vfs};

/// Stores that are kept in mind after a request: a view that nobody has in mind is made anew by the next one.
const STORES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// Which part of a path names a store.
const STORE: usize = 1;

/// A path as a request gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Its parts, decoded.
    pub parts: Vec<String>,
    /// Whether it ends as that of a directory.
    pub is_directory: bool,
}

impl Path {
    /// Decodes the path of an address. A part that holds a `/` or is empty names nothing, and stays as it is.
    pub fn parse(raw: &str) -> Result<Path, Failure> {
        let raw = raw.strip_prefix('/').unwrap_or(raw);
        let is_directory = raw.is_empty() || raw.ends_with('/');
        let raw = raw.strip_suffix('/').unwrap_or(raw);
        let decode = |part: &str| {
            if !part.contains('%') {
                return Ok(part.to_owned());
            }
            let broken = part.match_indices('%').any(|(at, _)| {
                !part.as_bytes().get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            });
            let decoded = percent_decode_str(part).decode_utf8().ok().filter(|_| !broken);
            decoded
                .map(String::from)
                .ok_or_else(|| Failure::Request("the path is not percent-encoded UTF-8".to_owned()))
        };
        let parts = if raw.is_empty() { Vec::new() } else { raw.split('/').map(decode).collect::<Result<_, _>>()? };
        Ok(Path { parts, is_directory })
    }
}

/// What the kernel is to a mount: who counts the references to what was looked up.
pub(super) struct CountedNames {
    vfs: Arc<Vfs>,
    stores: Mutex<LruCache<u64, ()>>,
}

/// What is at a path. Dropped, it is given back.
pub(super) struct FoundPath {
    /// The path, as the log has it.
    pub path: String,
    /// What is there.
    pub attributes: FileAttributes,
    vfs: Arc<Vfs>,
    looked_up: Vec<u64>,
}

impl Drop for FoundPath {
    fn drop(&mut self) {
        self.looked_up.iter().for_each(|inode| self.vfs.forget(*inode, 1));
    }
}

pub(super) async fn answer<T>(reply: Reply<T>) -> Result<T, Errno> {
    match reply {
        Reply::Ready(answer) => answer,
        Reply::Pending(answer) => answer.await,
    }
}

impl CountedNames {
    pub fn new(vfs: Arc<Vfs>) -> Self {
        CountedNames { vfs, stores: Mutex::new(LruCache::new(STORES)) }
    }

    /// What is at the path of these parts.
    pub async fn find(&self, parts: &[String]) -> Result<FoundPath, Failure> {
        let vfs = &self.vfs;
        let path = parts.join("/");
        let failed = |errno| Failure::of(vfs, &path, errno);
        let attributes = answer(vfs.getattr(Inode::ROOT.get())).await.map_err(failed)?;
        let mut found = FoundPath { path: path.clone(), attributes, vfs: Arc::clone(vfs), looked_up: Vec::new() };
        for (number, part) in parts.iter().enumerate() {
            if part.is_empty() || part == "." || part == ".." || part.contains(['/', '\0']) {
                return Err(Failure::NotFound(path));
            }
            let entry = answer(vfs.lookup(found.attributes.inode, OsStr::from_bytes(part.as_bytes()))).await;
            let attributes = entry.map_err(failed)?.attributes.ok_or_else(|| Failure::NotFound(path.clone()))?;
            found.looked_up.push(attributes.inode);
            found.attributes = attributes;
            if number == STORE && !attributes.ttl.is_zero() {
                self.keep(&mut found);
            }
        }
        Ok(found)
    }

    /// Keeps the store that was looked up last in mind.
    fn keep(&self, found: &mut FoundPath) {
        let inode = found.attributes.inode;
        let mut stores = self.stores.lock();
        if stores.get(&inode).is_some() {
            return;
        }
        // The reference is the table's from now on.
        found.looked_up.pop();
        if let Some((oldest, ())) = stores.push(inode, ()) {
            self.vfs.forget(oldest, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_part_by_part() {
        let parts = |raw: &str| Path::parse(raw).map(|path| (path.parts, path.is_directory)).ok();
        let of = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        assert_eq!(parts("/"), Some((of(&[]), true)));
        assert_eq!(parts("/a/em%2Ezarr/"), Some((of(&["a", "em.zarr"]), true)));
        assert_eq!(parts("/a%2Fb"), Some((of(&["a/b"]), false)));
        assert_eq!(parts("/a//b"), Some((of(&["a", "", "b"]), false)));
        assert_eq!(parts("/%C3%A9"), Some((of(&["é"]), false)));
        for broken in ["/%", "/%2", "/%zz", "/%ff"] {
            assert_eq!(parts(broken), None, "{broken}");
        }
    }
}
