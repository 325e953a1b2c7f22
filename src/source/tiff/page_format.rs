//! What the voxels of a page are.

use std::fmt;

use crate::dtype::DataType;

/// What all pages of a volume have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageFormat {
    pub(super) width: u64,
    pub(super) height: u64,
    pub(super) dtype: DataType,
    pub(super) white_is_zero: bool,
}

impl PageFormat {
    /// Bytes of `rows` rows of `width` voxels as they are shown; the products were checked when the page was read.
    pub(super) fn bytes(&self, rows: u64, width: u64) -> u64 {
        rows.saturating_mul(width).saturating_mul(self.dtype.size() as u64)
    }

    /// Bytes of the page.
    pub(super) fn plane(&self) -> u64 {
        self.bytes(self.height, self.width)
    }
}

/// As in `1536×2048 uint8`.
impl fmt::Display for PageFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let white = if self.white_is_zero { ", white is 0" } else { "" };
        write!(f, "{}×{} {}{white}", self.height, self.width, self.dtype)
    }
}
