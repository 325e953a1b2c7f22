//! The files of an image that OMERO imported from several: those that are sections of the volume, in the order of z.
//!
//! OMERO names all files of the import, of which an image may be a part, and says how many planes the image has. Files are
//! shown as it where they are as many, or where the configuration says which they are.

use tracing::warn;

use super::Found;
use crate::archive::format::ArchiveFormat;
use crate::catalog::{Overrides, SectionOrder, SourceSpec, VolumeFiles};
use crate::remote::Location;
use crate::source::{Description, SourceError};

/// What to write where the files are not those of the image.
const REMEDY: &str =
    "`pattern = '…(\\d+)…'` says which of them are its sections and, by its group, which number counts";
/// Names that a line of the log tells.
const MAX_TOLD: usize = 8;

impl Found {
    /// The files that hold the image's voxels.
    pub(in crate::archive) fn volume(&self, image: u64, overrides: &Overrides) -> Result<VolumeFiles, SourceError> {
        let is_tiff = |file: &&Location| ArchiveFormat::Tiff.has(name(file));
        let (tiffs, others): (Vec<&Location>, Vec<&Location>) = self.files.iter().partition(is_tiff);
        let refused = |variant: String| Err(SourceError::unsupported(format!("image {image}"), "client", variant));
        match (self.files.as_slice(), tiffs.as_slice()) {
            ([file], _) => return Ok(VolumeFiles::File(file.clone())),
            (files, []) => return refused(format!("an image of {} files of which none is a TIFF file", files.len())),
            _ => {}
        }
        if !others.is_empty() {
            let told: Vec<&str> = others.iter().take(MAX_TOLD).map(|file| name(file)).collect();
            let more = others.len().saturating_sub(MAX_TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            warn!("image {image}: left out, as they are no TIFF files: {}{more}", told.join(", "));
        }
        if let [file] = tiffs.as_slice() {
            return Ok(VolumeFiles::File((*file).clone()));
        }
        let is_decided = is_decided(overrides);
        match self.facts.map(|facts| facts.shape.0[0]) {
            _ if is_decided => {}
            Some(planes) if planes == tiffs.len() as u64 => {}
            Some(planes) => {
                return refused(format!(
                    "an image of {planes} planes in an import of {} TIFF files; {REMEDY}",
                    tiffs.len()
                ));
            }
            None => {
                return refused(format!(
                    "an import of {} TIFF files, of how many of which it is made OMERO does not say; {REMEDY}",
                    tiffs.len()
                ));
            }
        }
        Ok(match tiffs.first() {
            // Files of OME say themselves which plane is in which.
            Some(first) if !is_decided && tiffs.iter().all(|file| is_ome(file)) => VolumeFiles::File((*first).clone()),
            _ => VolumeFiles::List(tiffs.into_iter().cloned().collect()),
        })
    }

    /// The configuration of a source whose files OMERO names: in which order it does says nothing.
    pub(in crate::archive) fn numbered(spec: &SourceSpec) -> SourceSpec {
        let order = spec.overrides.order.or(Some(SectionOrder::Number));
        SourceSpec { overrides: Overrides { order, ..spec.overrides.clone() }, ..spec.clone() }
    }

    /// Refuses what is a part of an image in several files.
    pub(in crate::archive) fn check_whole(
        &self,
        image: u64,
        overrides: &Overrides,
        opened: &Description,
    ) -> Result<(), SourceError> {
        let files = self.files.len();
        match (self.facts.map(|facts| facts.shape.0[0]), opened.levels.first().map(|level| level.grid.shape.0[0])) {
            (Some(planes), Some(there)) if files > 1 && there < planes && !is_decided(overrides) => {
                let variant = format!("{there} of the {planes} planes of an image in {files} files; {REMEDY}");
                Err(SourceError::unsupported(format!("image {image}"), "client", variant))
            }
            _ => Ok(()),
        }
    }
}

/// Whether the configuration says which files are sections. An order says nothing of that.
fn is_decided(overrides: &Overrides) -> bool {
    overrides.pattern.is_some()
}

/// The last part of an address, as it stands there.
fn name(file: &Location) -> &str {
    file.url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default()
}

fn is_ome(file: &Location) -> bool {
    let name = name(file).to_ascii_lowercase();
    name.ends_with(".ome.tif") || name.ends_with(".ome.tiff")
}
