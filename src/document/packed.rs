//! Texts that are kept for whoever may read them: packed, and given out in parts.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

/// Bytes that are packed together; a read unpacks one or two such pieces.
const PIECE: usize = 256 << 10;

/// Speed counts, and texts of archives become a tenth anyhow.
const LEVEL: i32 = 1;

/// Bytes in packed form. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed {
    length: usize,
    pieces: Arc<[Piece]>,
}

#[derive(PartialEq, Eq)]
enum Piece {
    /// What does not become shorter.
    Plain(Bytes),
    Zstd(Bytes),
}

impl Packed {
    /// Packs `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let pack = |piece: &[u8]| match zstd::bulk::compress(piece, LEVEL) {
            Ok(packed) if packed.len() < piece.len() => Piece::Zstd(Bytes::copy_from_slice(&packed)),
            _ => Piece::Plain(Bytes::copy_from_slice(piece)),
        };
        Packed { length: bytes.len(), pieces: bytes.chunks(PIECE).map(pack).collect() }
    }

    /// Bytes that were packed.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Bytes of memory that it takes.
    pub fn held(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes().len() + size_of::<Piece>()).sum()
    }

    /// Up to `size` bytes from `offset` on.
    pub fn slice(&self, offset: u64, size: usize) -> Bytes {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.length);
        let end = start.saturating_add(size).min(self.length);
        let (first, last) = (start / PIECE, end.div_ceil(PIECE));
        let mut unpacked = BytesMut::new();
        for piece in self.pieces.get(first..last.max(first)).unwrap_or_default() {
            unpacked.extend_from_slice(&piece.unpack());
        }
        let before = first * PIECE;
        let unpacked = unpacked.freeze();
        // What was packed here unpacks to as many bytes again.
        if unpacked.len() < end - before { Bytes::new() } else { unpacked.slice(start - before..end - before) }
    }

    /// All of it.
    pub fn all(&self) -> Bytes {
        self.slice(0, self.length)
    }
}

impl Piece {
    fn bytes(&self) -> &Bytes {
        match self {
            Piece::Plain(bytes) | Piece::Zstd(bytes) => bytes,
        }
    }

    fn unpack(&self) -> Bytes {
        match self {
            Piece::Plain(bytes) => bytes.clone(),
            Piece::Zstd(bytes) => zstd::bulk::decompress(bytes, PIECE).unwrap_or_default().into(),
        }
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} bytes)", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_is_given_out_as_it_was_packed() {
        let mut text: Vec<u8> = (0..3 * PIECE + 1000).map(|at| (at / 7 % 250) as u8).collect();
        rand::fill(&mut text[PIECE..2 * PIECE]);
        let packed = Packed::of(&text);
        assert_eq!(packed.all(), text);
        for (start, size) in [(0, 10), (PIECE - 3, 6), (PIECE, PIECE), (PIECE - 1, 2 * PIECE + 2), (text.len() - 1, 9)]
        {
            let end = (start + size).min(text.len());
            assert_eq!(packed.slice(start as u64, size), text[start..end]);
        }
        assert!(packed.slice(text.len() as u64, 5).is_empty() && packed.slice(u64::MAX, 5).is_empty());
        assert!(packed.held() < 2 * PIECE);
        assert!(Packed::of(b"").all().is_empty());
    }
}
