//! What an export says of itself, and whether that is still so.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::array::ArrayExport;
use super::destination::{Destination, KeyWriter};
use super::error::ExportError;
use super::layout::ArrayLayout;
use crate::hex::hex;

/// Name of the manifest.
pub(super) const MANIFEST: &str = "manifest.json";
/// Name of the list of all files with their SHA-256, as `sha256sum -c` reads it.
pub(super) const CHECKSUMS: &str = "checksums.sha256";
/// Bytes of the list that are written at a time.
const PIECE: usize = 1 << 20;

/// The list of all files while it is written. It may be far longer than what memory is meant for.
pub(super) struct List {
    writer: KeyWriter,
    hash: Sha256,
    piece: Vec<u8>,
}

impl List {
    pub(super) async fn begin(destination: &Destination) -> Result<List, ExportError> {
        let writer = destination.writer(CHECKSUMS).await?;
        Ok(List { writer, hash: Sha256::new(), piece: Vec::with_capacity(PIECE) })
    }

    /// Adds a file; gives its line.
    pub(super) async fn add(&mut self, sha256: &[u8], key: &str) -> Result<String, ExportError> {
        let line = format!("{}  {key}\n", hex(sha256));
        if self.piece.len() + line.len() > PIECE {
            self.flush().await?;
        }
        self.piece.extend_from_slice(line.as_bytes());
        Ok(line)
    }

    async fn flush(&mut self) -> Result<(), ExportError> {
        self.hash.update(&self.piece);
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.writer.write(piece.into()).await
    }

    /// Puts the list in its place; gives its SHA-256.
    pub(super) async fn finish(mut self) -> Result<String, ExportError> {
        self.flush().await?;
        self.writer.finish().await?;
        Ok(hex(&self.hash.finalize()))
    }
}

/// What the manifest says of an array: its files are many, so their lines of the list have one checksum.
pub(super) async fn array(array: &ArrayExport, list: &mut List) -> Result<Value, ExportError> {
    let target = &array.target;
    let failed = || ExportError::write::<std::io::Error>(format!("what is noted of {}", target.path));
    let written = array.written().map_err(failed())?;
    let (mut hash, mut files, mut bytes) = (Sha256::new(), 0u64, 0u64);
    for noted in written {
        let (key, entry) = noted.map_err(failed())?;
        hash.update(list.add(&entry.sha256, &key).await?);
        files += 1;
        bytes += entry.length;
    }
    let layout = &target.layout;
    let count = ArrayLayout::count(&layout.files());
    if files != count {
        let reason = format!("{files} of the {count} files of {} are noted as written", target.path);
        return Err(ExportError::Incomplete(format!("{reason}; the same command with --resume writes the others")));
    }
    Ok(json!({
        "path": target.path,
        "shape": layout.chunks.shape.0,
        "chunk": layout.chunks.cell.0,
        "shard": layout.shard.map(|shard| shard.0),
        "dtype": target.dtype.name(),
        "first_voxel": layout.origin,
        "files": files,
        "bytes": bytes,
        "sha256": hex(&hash.finalize()),
    }))
}

/// Reads a complete export again and compares each file with the list, and the list with the manifest. Gives the number
/// of files, or what is wrong.
pub(super) async fn verify(destination: &Destination, manifest: &Value, jobs: usize) -> Result<u64, ExportError> {
    let wrong = |reason: String| {
        let remedy = "export it again to a new DEST, or remove this one and export it again";
        ExportError::Incomplete(format!("{destination} is damaged: {reason}; {remedy}"))
    };
    let list = destination.get(CHECKSUMS).await?.ok_or_else(|| wrong(format!("{CHECKSUMS} is missing")))?;
    if manifest["checksums"]["sha256"] != hex(&Sha256::digest(&list)).as_str() {
        return Err(wrong(format!("{CHECKSUMS} is not the one of {MANIFEST}")));
    }
    let text = String::from_utf8(list.into()).map_err(|error| wrong(error.to_string()))?;
    let checks = futures::stream::iter(text.lines().map(str::to_owned)).map(|line| async move {
        let Some((sha256, key)) = line.split_once("  ") else { return Ok(Some(line)) };
        Ok::<_, ExportError>(match destination.digest(key).await? {
            Some((found, _)) if hex(&found) == sha256 => None,
            Some(_) => Some(format!("{key} has other bytes")),
            None => Some(format!("{key} is missing")),
        })
    });
    let mut checks = checks.buffered(jobs);
    let (mut files, mut damaged, mut told) = (0u64, 0u64, Vec::new());
    while let Some(found) = checks.try_next().await? {
        files += 1;
        if let Some(found) = found {
            damaged += 1;
            if told.len() < 20 {
                told.push(found);
            }
        }
    }
    match damaged {
        0 => Ok(files),
        _ => Err(wrong(format!("{damaged} of {files} files: {}", told.join(", ")))),
    }
}

/// The manifest of what is at a destination, if an export is complete there.
pub(super) async fn read(destination: &Destination) -> Result<Option<Value>, ExportError> {
    let Some(bytes) = destination.get(MANIFEST).await? else { return Ok(None) };
    let parsed = serde_json::from_slice(&bytes);
    parsed
        .map(Some)
        .map_err(|error| ExportError::Write { what: format!("{destination}/{MANIFEST}"), reason: error.to_string() })
}

/// A JSON document for people.
pub(super) fn pretty(value: &Value) -> Bytes {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::export::plan::Plan;
    use crate::export::progress::Progress;
    use crate::export::tests::request;
    use crate::geometry::CellIndex;
    use crate::stats::Stats;

    #[tokio::test]
    async fn an_array_with_a_file_that_is_not_noted_is_not_complete() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::new(&request([32; 3], [16; 3], [16; 3], None), 1 << 20).unwrap();
        let opened = ArrayExport::open(plan.targets[0].clone(), folder.path().join("state")).unwrap();
        let array = Arc::new(opened);
        let destination = Destination::Directory(folder.path().join("x.zarr"));
        let progress = Progress::new(Arc::new(Stats::default()));
        let mut chunks = array.target.layout.chunks.cells_in(&array.target.layout.chunks.shape.region());
        let last = chunks.next().unwrap();
        for chunk in chunks {
            array.write(&destination, chunk, Bytes::from_static(b"voxels"), &progress).await.unwrap();
        }
        let mut list = List::begin(&destination).await.unwrap();
        let told = super::array(&array, &mut list).await.unwrap_err().to_string();
        assert!(told.contains("7 of the 8 files of s0") && told.contains("--resume"), "{told}");
        assert_eq!(last, CellIndex([0; 3]));
        array.write(&destination, last, Bytes::from_static(b"voxels"), &progress).await.unwrap();
        assert_eq!(super::array(&array, &mut list).await.unwrap()["files"], 8);
    }
}
