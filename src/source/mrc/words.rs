//! The numbers of a header, in either byte order.

/// Bytes of the header.
pub(super) const LENGTH: usize = 1024;
/// Which field is wrong, and why; what to do where the file is valid and of a variant that is not read.
pub(super) type Wrong = (&'static str, String, Option<&'static str>);

/// The numbers of a header.
pub(super) struct Words<'a> {
    bytes: &'a [u8; LENGTH],
    big_endian: bool,
}

impl<'a> Words<'a> {
    pub(super) fn new(bytes: &'a [u8; LENGTH], big_endian: bool) -> Words<'a> {
        Words { bytes, big_endian }
    }

    fn raw(&self, at: usize) -> [u8; 4] {
        let mut word = [0; 4];
        for (byte, stored) in word.iter_mut().zip(self.bytes.iter().skip(at)) {
            *byte = *stored;
        }
        word
    }

    /// All of the header.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    pub(super) fn whole(&self, at: usize) -> i32 {
        let raw = self.raw(at);
        if self.big_endian { i32::from_be_bytes(raw) } else { i32::from_le_bytes(raw) }
    }

    pub(super) fn float(&self, at: usize) -> f32 {
        f32::from_bits(self.whole(at) as u32)
    }

    pub(super) fn three(&self, at: usize) -> [i32; 3] {
        [self.whole(at), self.whole(at + 4), self.whole(at + 8)]
    }
}
