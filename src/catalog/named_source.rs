//! The images and label images of a dataset by their names.

use std::fmt;

use super::{Dataset, ImageSpec, SourceSpec};

/// An image or label image, and where its voxels come from.
#[derive(Debug, Clone, Copy)]
pub struct NamedSource<'a> {
    /// Name of the image, or of the image that the labels are of.
    pub image: &'a str,
    /// Name of the label image, if it is one.
    pub label: Option<&'a str>,
    /// Where its voxels come from.
    pub source: &'a SourceSpec,
}

/// As it is named below its dataset: `em`, `em/labels/cells`.
impl fmt::Display for NamedSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.label {
            None => f.write_str(self.image),
            Some(label) => write!(f, "{}/labels/{label}", self.image),
        }
    }
}

impl ImageSpec {
    /// The image, and its label images after it.
    pub fn sources(&self) -> impl Iterator<Item = NamedSource<'_>> {
        let own = NamedSource { image: &self.name, label: None, source: &self.source };
        let labels =
            self.labels.iter().map(move |label| NamedSource { label: Some(&label.name), source: &label.source, ..own });
        std::iter::once(own).chain(labels)
    }
}

impl Dataset {
    /// All images, each followed by its label images.
    pub fn sources(&self) -> impl Iterator<Item = NamedSource<'_>> {
        self.images.iter().flat_map(ImageSpec::sources)
    }

    /// Whether all of them are elsewhere, none in a file of this machine.
    pub fn is_remote(&self) -> bool {
        self.sources().all(|named| !named.source.kind.has_local_files())
    }
}
