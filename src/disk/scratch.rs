//! Memory that records are read into, to be verified and handed on from there while they are in the processor's cache.

use std::ops::{Deref, DerefMut};

use parking_lot::{Condvar, Mutex};

/// What reads past the system's cache are multiples of, in the file and in memory: no disk has larger blocks, and no
/// kernel smaller pages.
pub const ALIGNMENT: usize = 4096;

/// Records read at the same time: enough to keep a disk busy. Others wait, so that no number of readers takes more memory.
const AT_ONCE: usize = 16;

/// The memory of a store.
pub struct Scratch {
    idle: Mutex<Vec<Vec<u8>>>,
    returned: Condvar,
}

/// Aligned memory, which is given back when dropped.
pub struct ScratchPiece<'a> {
    scratch: &'a Scratch,
    bytes: Vec<u8>,
    shift: usize,
    length: usize,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { idle: Mutex::new(vec![Vec::new(); AT_ONCE]), returned: Condvar::new() }
    }
}

impl Scratch {
    /// Waits for a piece of `length` bytes of any content.
    pub fn take(&self, length: usize) -> ScratchPiece<'_> {
        let mut bytes = {
            let mut idle = self.idle.lock();
            loop {
                match idle.pop() {
                    Some(bytes) => break bytes,
                    None => self.returned.wait(&mut idle),
                }
            }
        };
        let with_shift = length + ALIGNMENT;
        if bytes.len() < with_shift {
            bytes = vec![0; with_shift];
        }
        let shift = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        ScratchPiece { scratch: self, bytes, shift, length }
    }
}

impl Deref for ScratchPiece<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.shift..][..self.length]
    }
}

impl DerefMut for ScratchPiece<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.shift..][..self.length]
    }
}

impl Drop for ScratchPiece<'_> {
    fn drop(&mut self) {
        self.scratch.idle.lock().push(std::mem::take(&mut self.bytes));
        self.scratch.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn pieces_are_aligned_and_as_long_as_told() {
        let scratch = Scratch::default();
        for length in [0, 1, ALIGNMENT, 3 * ALIGNMENT + 5, 7] {
            let mut piece = scratch.take(length);
            piece.fill(7);
            assert_eq!((piece.len(), piece.as_ptr().align_offset(ALIGNMENT)), (length, 0));
        }
    }

    #[test]
    fn no_more_pieces_are_out_than_may_be_at_once() {
        let (scratch, out, most) = (Scratch::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 * AT_ONCE {
                scope.spawn(|| {
                    for length in 0..50 {
                        let _piece = scratch.take(length);
                        most.fetch_max(out.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        out.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= AT_ONCE);
    }
}
