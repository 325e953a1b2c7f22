//! Compressed objects in local files.
//!
//! Elsewhere an object that is stored compressed says so by its Content-Encoding. Files have none, so cloud-volume
//! appends the compression to their names: <https://github.com/seung-lab/cloud-files>.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::remote::{Compression, Location};
use crate::source::{SourceError, foreign};
use crate::store::Remote;

/// What is appended for compressions that emfs does not undo here.
pub(super) const OTHERS: [&str; 2] = ["xz", "bz2"];

/// How an object is stored.
enum Stored {
    /// By its own name, or not at all.
    AsNamed,
    /// By a compression that is undone.
    Packed(Compression),
    /// By one that is not.
    Otherwise(PathBuf, &'static str),
}

/// Where a local object is instead, if it is a compressed file, and how that is compressed.
///
/// # Errors
///
/// Where it is there only by another compression: it must not be taken for absent. Or the filesystem does not answer.
pub(super) async fn packed(remote: &Remote, named: &Location) -> Result<Option<(Location, Compression)>, SourceError> {
    if named.url.scheme() != "file" {
        return Ok(None);
    }
    match remote.with_path(named, look).await?? {
        Stored::AsNamed => Ok(None),
        Stored::Packed(compression) => {
            let mut packed = named.clone();
            packed.url.set_path(&format!("{}.{}", named.url.path(), compression.ending()));
            Ok(Some((packed, compression)))
        }
        Stored::Otherwise(file, compression) => {
            let reason = format!("compression {compression}");
            Err(SourceError::unsupported(file.display().to_string(), "file", reason))
        }
    }
}

fn look(path: &Path) -> Result<Stored, SourceError> {
    // What is wrong with the file will be told when it is read.
    if exists(path).unwrap_or(true) {
        return Ok(Stored::AsNamed);
    }
    for compression in Compression::ALL {
        let file = with(path, compression.ending());
        if exists(&file)? {
            return match pointer(&file) {
                Some(what) => Err(SourceError::malformed(file.display().to_string(), "file", format!("it is {what}"))),
                None => Ok(Stored::Packed(compression)),
            };
        }
    }
    for compression in OTHERS {
        let file = with(path, compression);
        if exists(&file)? {
            return Ok(Stored::Otherwise(file, compression));
        }
    }
    Ok(Stored::AsNamed)
}

fn with(path: &Path, compression: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(compression);
    name.into()
}

/// What a file is whose content is elsewhere. Others are not read here.
fn pointer(file: &Path) -> Option<&'static str> {
    let is_short = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= foreign::FRONT);
    if is_short { foreign::pointer(&std::fs::read(file).ok()?) } else { None }
}

/// Whether the name is there; a link that leads nowhere is one, too.
fn exists(path: &Path) -> Result<bool, SourceError> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(SourceError::malformed(path.display().to_string(), "file", error.to_string())),
    }
}
