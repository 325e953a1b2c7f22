//! Entries of EMPIAR, the Electron Microscopy Public Image Archive, whose images are DM, TIFF or MRC files of one section each.
//!
//! The entry's document (`/api/entry/<n>/`) names image sets and their folders, but no files: those are in the listing of
//! the folder on the file server.

mod answer;

use bytes::Bytes;
use tracing::warn;
use url::Url;

use self::answer::{EntryAnswer, ImageSet};
use super::format::ArchiveFormat;
use super::sections::{self, Rules, Sections};
use crate::catalog::Overrides;
use crate::document::{Document, DocumentKind};
use crate::remote::Location;
use crate::source::{Description, SourceError};
use crate::store::{Object, Remote};

/// Longest document of an entry that is read; those of many image sets have some hundreds of kilobytes.
const MAX_ANSWER: u64 = 2 << 20;

/// The entry as the configuration names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntrySpec<'a> {
    pub(super) number: u64,
    pub(super) server: &'a Url,
    pub(super) files: &'a Url,
    pub(super) imageset: Option<&'a str>,
}

/// The files of an image set, and what the entry says of it.
#[derive(Debug)]
pub(super) struct ImageSetFiles {
    pub(super) sections: Sections,
    set: ImageSet,
    entry: u64,
}

/// Asks the server for the entry, whose document goes to `heard`, and the file server for the names of the sections.
pub(super) async fn find(
    remote: &Remote,
    entry: EntrySpec<'_>,
    overrides: &Overrides,
    heard: &mut Vec<Document>,
) -> Result<ImageSetFiles, SourceError> {
    let server = Location::anonymous(entry.server.clone());
    let object = remote.object(&server.join(&format!("api/entry/{}/", entry.number)))?;
    let (set, document) = understood(&object, object.document(MAX_ANSWER).await?, entry).await?;
    heard.extend(document.map(|document| document.retrieved_at(object.confirmed())));
    let set = set?;
    let folder = Location::anonymous(entry.files.clone()).join(&format!("{}/{}", entry.number, set.directory));
    let rules = Rules { formats: &ArchiveFormat::ALL, promised: set.images, overrides };
    let sections = sections::find(remote, &folder, rules).await?;
    Ok(ImageSetFiles { sections, set, entry: entry.number })
}

/// What is needed of an entry, and the entry for people. Nothing else of it is kept while files are asked for.
async fn understood(
    object: &Object,
    bytes: Bytes,
    entry: EntrySpec<'_>,
) -> Result<(Result<ImageSet, SourceError>, Option<Document>), SourceError> {
    let (url, number) = (object.url().to_owned(), entry.number);
    let wanted = entry.imageset.map(str::to_owned);
    let work = move || {
        let document = Document::fetched(DocumentKind::EmpiarEntry, url.as_str(), &bytes);
        let answer = EntryAnswer::read(url, &bytes, number)?;
        Ok((answer.image_set(wanted.as_deref()), document))
    };
    let lost = || Err(SourceError::malformed(object.url(), "body", "could not be read"));
    object.desk().work(work).await.unwrap_or_else(lost)
}

impl ImageSetFiles {
    /// Nanometres per voxel along `z, y, x` as far as the entry says them.
    pub(super) fn voxel_size(&self) -> [Option<f64>; 3] {
        let [y, x] = self.set.pixel;
        [None, y, x]
    }

    /// Warns where the files are not what the entry says. The files are believed.
    pub(super) fn compare(&self, file: &Description) {
        let said = self.contradictions(file);
        if !said.is_empty() {
            warn!("EMPIAR-{}: the entry says {}; the files are believed", self.entry, said.join(", "));
        }
    }

    fn contradictions(&self, file: &Description) -> Vec<String> {
        let Some(level) = file.levels.first() else { return Vec::new() };
        let mut said = Vec::new();
        let [depth, height, width] = level.grid.shape.0;
        for (what, entry, files) in
            [("images", self.set.images, depth), ("rows", self.set.height, height), ("columns", self.set.width, width)]
        {
            if let Some(entry) = entry.filter(|entry| *entry != files) {
                said.push(format!("{entry} {what} where there are {files}"));
            }
        }
        if let Some(scale) = level.scale {
            for (axis, entry, is) in [("y", self.set.pixel[0], scale[1]), ("x", self.set.pixel[1], scale[2])] {
                // Entries state rounded sizes.
                if let Some(entry) = entry.filter(|entry| (entry - is).abs() > 0.01 * is) {
                    said.push(format!("{entry} nm per voxel along {axis} where the files say {is}"));
                }
            }
        }
        if let Some(entry) = self.set.dtype.filter(|entry| *entry != file.dtype) {
            said.push(format!("{entry} where the files hold {}", file.dtype));
        }
        said
    }
}

#[cfg(test)]
mod tests;
