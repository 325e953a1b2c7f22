//! Compressed chunks in local files.
//!
//! Elsewhere an object that is stored compressed says so by its Content-Encoding. Files have none, so cloud-volume
//! appends the compression to their names: <https://github.com/seung-lab/cloud-files>.

use std::path::{Path, PathBuf};

use crate::remote::Location;
use crate::source::SourceError;
use crate::store::Remote;

/// What is appended for compressions that emfs does not undo here.
const OTHERS: [&str; 4] = ["br", "zstd", "xz", "bz2"];

/// How a chunk is stored.
enum Stored {
    /// By its own name, or not at all.
    AsNamed,
    Gzipped,
    /// By a compression that is not undone.
    Otherwise(PathBuf, &'static str),
}

/// Where a local chunk is instead, if it is a gzip file.
///
/// # Errors
///
/// Where it is there only by another compression: it must not be taken for absent. Or the filesystem does not answer.
pub(super) async fn gzipped(remote: &Remote, chunk: &Location) -> Result<Option<Location>, SourceError> {
    if chunk.url.scheme() != "file" {
        return Ok(None);
    }
    match remote.with_path(chunk, look).await?? {
        Stored::AsNamed => Ok(None),
        Stored::Gzipped => {
            let mut gzipped = chunk.clone();
            gzipped.url.set_path(&format!("{}.gz", chunk.url.path()));
            Ok(Some(gzipped))
        }
        Stored::Otherwise(file, compression) => {
            let reason = format!("compression {compression}");
            Err(SourceError::unsupported(file.display().to_string(), "chunk", reason))
        }
    }
}

fn look(path: &Path) -> Result<Stored, SourceError> {
    // What is wrong with the file will be told when it is read.
    if path.try_exists().unwrap_or(true) {
        return Ok(Stored::AsNamed);
    }
    if exists(&with(path, "gz"))? {
        return Ok(Stored::Gzipped);
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

fn exists(path: &Path) -> Result<bool, SourceError> {
    path.try_exists().map_err(|error| SourceError::malformed(path.display().to_string(), "chunk", error.to_string()))
}
