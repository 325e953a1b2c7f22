//! How a volume is stored.

use std::fmt;

use serde::{Serialize, Serializer};

/// The format of a volume's files. Its text is for people: `ImageJ TIFF, big-endian, uncompressed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageFormat {
    /// The format with its variant and what the voxels are packed by.
    pub name: String,
    /// Whether voxels are stored as they are, by no codec.
    pub is_uncompressed: bool,
    /// Whether the files hold the voxels and nothing else: as they are, in their type, in whole planes. Chunks and tiles are padded
    /// at the edges and may be absent.
    pub is_plain: bool,
    /// Levels that cannot be shown, each with the reason.
    pub left_out: Vec<String>,
    /// What is to be told of levels that are shown and of which no file of a chunk is there.
    pub unwritten: Option<String>,
}

impl fmt::Display for StorageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.left_out.iter().try_for_each(|level| write!(f, "; without {level}"))?;
        self.unwritten.iter().try_for_each(|told| write!(f, "; {told}"))
    }
}

impl Serialize for StorageFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
impl StorageFormat {
    /// Whole planes in a format that is of no interest.
    pub fn for_tests() -> Self {
        StorageFormat {
            name: "test".to_owned(),
            is_uncompressed: true,
            is_plain: true,
            left_out: Vec::new(),
            unwritten: None,
        }
    }
}
