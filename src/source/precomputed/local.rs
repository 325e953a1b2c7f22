//! Compressed chunks in local files.
//!
//! Elsewhere an object that is stored compressed says so by its Content-Encoding. Files have none, so cloud-volume
//! appends the compression to their names: <https://github.com/seung-lab/cloud-files>.

use std::path::{Path, PathBuf};

use crate::remote::Location;
use crate::source::SourceError;

/// What is appended for compressions that emfs does not undo here.
const OTHERS: [&str; 4] = ["br", "zstd", "xz", "bz2"];

/// Where a local chunk is instead, if it is a gzip file.
///
/// # Errors
///
/// Where it is there only by another compression: it must not be taken for absent.
pub(super) async fn gzipped(chunk: &Location) -> Result<Option<Location>, SourceError> {
    let Some(path) = Some(&chunk.url).filter(|url| url.scheme() == "file").and_then(|url| url.to_file_path().ok())
    else {
        return Ok(None);
    };
    // What is wrong with the file will be told when it is read.
    if exists(&path).await.unwrap_or(true) {
        return Ok(None);
    }
    if exists(&with(&path, "gz")).await? {
        let mut gzipped = chunk.clone();
        gzipped.url.set_path(&format!("{}.gz", chunk.url.path()));
        return Ok(Some(gzipped));
    }
    for compression in OTHERS {
        let file = with(&path, compression);
        if exists(&file).await? {
            let reason = format!("compression {compression}");
            return Err(SourceError::unsupported(file.display().to_string(), "chunk", reason));
        }
    }
    Ok(None)
}

fn with(path: &Path, compression: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(compression);
    name.into()
}

async fn exists(path: &Path) -> Result<bool, SourceError> {
    let found = tokio::fs::try_exists(path).await;
    found.map_err(|error| SourceError::malformed(path.display().to_string(), "chunk", error.to_string()))
}
