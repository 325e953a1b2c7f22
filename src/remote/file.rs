//! A local file, asked like a server: its status, length and version are checked as those of any other origin.
//!
//! Files are read directly and not through `object_store`, which cannot say whether a file changed while it was read.

use std::fs::Metadata;
use std::io::{ErrorKind, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::Cause;
use super::backoff::Failure;
use super::head::Head;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct FileBody {
    file: File,
    version: String,
    left: u64,
}

/// Opens the file and answers as a server would.
pub(super) async fn open(
    path: &Path,
    range: Option<Range<u64>>,
    if_match: Option<&str>,
) -> Result<(Head, Option<FileBody>), Failure> {
    // A pipe would block the open until somebody writes; so the kind is looked at first.
    let opened = async {
        let kind = tokio::fs::metadata(path).await?;
        if !kind.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path).await?;
        file.set_max_buf_size(PIECE);
        let metadata = file.metadata().await?;
        std::io::Result::Ok(Some((file, metadata)))
    };
    let (mut file, metadata) = match opened.await {
        Ok(Some(opened)) => opened,
        Ok(None) => return Err(Failure::last(Cause::Protocol("not a regular file".into()))),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => return Ok((answer(404), None)),
            ErrorKind::PermissionDenied => return Ok((answer(403), None)),
            _ => return Err(Failure::opening(&error, error.to_string())),
        },
    };
    let (total, version) = (metadata.len(), version(&metadata));
    if if_match.is_some_and(|etag| etag != version) {
        return Ok((answer(412), None));
    }
    let mut head = Head { etag: Some(version.clone()), ..answer(200) };
    let part = match range {
        None => 0..total,
        Some(range) if range.start >= total => {
            let head = Head { content_range: Some(format!("bytes */{total}")), ..answer(416) };
            return Ok((head, None));
        }
        Some(range) => {
            let part = range.start..range.end.min(total);
            head.status = 206;
            head.content_range = Some(format!("bytes {}-{}/{total}", part.start, part.end.saturating_sub(1)));
            part
        }
    };
    let left = part.end.saturating_sub(part.start);
    head.content_length = Some(left);
    file.seek(SeekFrom::Start(part.start)).await.map_err(|error| Failure::connection(error.to_string(), 0))?;
    Ok((head, Some(FileBody { file, version, left })))
}

impl FileBody {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let lost = |error: std::io::Error| Failure::connection(error.to_string(), 1);
        if self.left == 0 {
            let now = version(&self.file.metadata().await.map_err(lost)?);
            if now != self.version {
                return Err(Failure::last(Cause::Changed("the file was written while it was read".into())));
            }
            return Ok(None);
        }
        let piece = PIECE.min(usize::try_from(self.left).unwrap_or(PIECE));
        let mut buffer = BytesMut::with_capacity(piece);
        let read = (&mut self.file).take(self.left).read_buf(&mut buffer).await.map_err(lost)?;
        if read == 0 {
            return Err(Failure::odd_body(format!("the file ended {} bytes early", self.left)));
        }
        self.left = self.left.saturating_sub(read as u64);
        Ok(Some(buffer.freeze()))
    }
}

/// What stands for an ETag: a file that was replaced or written has another.
fn version(metadata: &Metadata) -> String {
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    format!("\"{}-{}-{seconds}.{nanoseconds:09}\"", metadata.ino(), metadata.len())
}

fn answer(status: u16) -> Head {
    Head { status, delimited: true, ..Head::default() }
}
