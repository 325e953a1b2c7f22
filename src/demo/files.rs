//! The embedded files, by the path they are served under.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

use bytes::Bytes;
use include_dir::{Dir, include_dir};

static REPLICA: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/src/demo/replica");

/// In the archive this folder's name begins with a space, which a file of the repository had better not have.
const SPACED: (&str, &str) = ("/ElectronMicroscopy_Hippocampus/", "/ ElectronMicroscopy_Hippocampus/");

/// One file.
#[derive(Debug, Clone)]
pub(super) struct ReplicaFile {
    /// Its bytes.
    pub bytes: Bytes,
    /// A strong ETag of them, quotes included.
    pub etag: String,
}

/// All files, by decoded path without leading slash: `s3/bucket/key`.
#[derive(Debug)]
pub(super) struct Files(BTreeMap<String, ReplicaFile>);

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    /// Name, for folders without slash.
    pub name: String,
    /// Bytes of a file; `None` for a folder.
    pub size: Option<usize>,
}

impl Files {
    /// The files of the replica.
    pub fn embedded() -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![&REPLICA];
        while let Some(folder) = folders.pop() {
            folders.extend(folder.dirs());
            for file in folder.files() {
                let path = file.path().to_string_lossy().replace(SPACED.0, SPACED.1);
                let mut hasher = DefaultHasher::new();
                file.contents().hash(&mut hasher);
                let etag = format!("\"{:016x}\"", hasher.finish());
                files.insert(path, ReplicaFile { bytes: Bytes::from_static(file.contents()), etag });
            }
        }
        Files(files)
    }

    /// The file at `path`.
    pub fn get(&self, path: &str) -> Option<&ReplicaFile> {
        self.0.get(path)
    }

    /// Files whose path starts with `prefix`, in the order of their paths' bytes.
    pub fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a ReplicaFile)> {
        self.0
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// What is directly in `folder` (its path, ending in a slash), by name; empty where there is no such folder.
    pub fn children(&self, folder: &str) -> Vec<Child> {
        let mut children: Vec<Child> = Vec::new();
        for (path, entry) in self.below(folder) {
            let rest = &path[folder.len()..];
            let child = match rest.split_once('/') {
                Some((name, _)) => Child { name: name.to_owned(), size: None },
                None => Child { name: rest.to_owned(), size: Some(entry.bytes.len()) },
            };
            if children.last() != Some(&child) {
                children.push(child);
            }
        }
        children
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_files_stay_below_five_megabytes() {
        let files = Files::embedded();
        let bytes: usize = files.0.values().map(|entry| entry.bytes.len()).sum();
        assert!((1 << 20..5_000_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn hidden_files_and_the_folder_with_a_space_are_there() {
        let files = Files::embedded();
        let group = "s3/janelia-cosem-datasets/jrc_mus-nacc-2/jrc_mus-nacc-2.zarr/recon-2/em/fibsem-int16/";
        assert!(files.get(&format!("{group}.zattrs")).is_some());
        assert_eq!(files.children(&format!("{group}s0/1/2/")).len(), 2, "one chunk is absent");
        let folder = "epfl/groups/c/cv/cvlab-unit/www/data/ ElectronMicroscopy_Hippocampus/";
        let names: Vec<_> = files.children(folder).into_iter().map(|child| child.name).collect();
        assert_eq!(
            names,
            ["testing.tif", "testing_groundtruth.tif", "training.tif", "training_groundtruth.tif", "volumedata.tif"]
        );
    }
}
