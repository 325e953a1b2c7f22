//! One step of a reader through a stream.

/// How far a reader came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Packed bytes that it read.
    pub(super) read: usize,
    /// Bytes that it made of them.
    pub(super) made: usize,
    /// Whether the stream may end here.
    pub(super) may_end: bool,
    /// Whether it does.
    pub(super) has_ended: bool,
}
