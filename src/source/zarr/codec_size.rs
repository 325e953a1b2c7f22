//! How many bytes a step of a chain of codecs may make, and memory for them.

/// Bytes between two codecs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CodecSize {
    /// The most there can be.
    pub most: usize,
    /// Whether there are always so many.
    pub exact: bool,
}

impl CodecSize {
    pub(super) fn check(self, length: usize) -> Result<(), String> {
        if length > self.most {
            return Err(too_long(self.most));
        }
        if self.exact && length != self.most {
            return Err(format!("{length} bytes where a chunk has {}", self.most));
        }
        Ok(())
    }
}

/// An empty buffer for `length` bytes. Its pages are not touched before there are bytes for them.
pub(super) fn buffer(length: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    out.try_reserve_exact(length).map_err(|_| format!("no memory for {length} bytes"))?;
    Ok(out)
}

pub(super) fn too_long(most: usize) -> String {
    format!("it decodes to more than the {most} bytes that a chunk can have here")
}
