//! Streams of the codecs that long strips come in, read piece by piece.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};
use zstd::stream::raw::{DParameter, Decoder, Operation};

use super::lzw::Lzw;
use super::step::Step;
use super::storage::Codec;

/// The longest window of Zstandard, as a power of 2: what libtiff reads.
const MAX_WINDOW_LOG: u32 = 27;

/// The reader of a stream.
pub(super) enum Unpacker {
    Deflate(Box<InflateState>),
    Lzw(Box<Lzw>),
    /// Frames one after the other.
    Zstd(Box<Decoder<'static>>),
}

impl Unpacker {
    /// Whether there is one for a codec.
    pub(super) fn reads(codec: Codec) -> bool {
        matches!(codec, Codec::Deflate | Codec::Lzw | Codec::Zstd)
    }

    /// Before a stream that begins with these bytes.
    pub(super) fn new(codec: Codec, start: &[u8]) -> Result<Unpacker, String> {
        match codec {
            Codec::Deflate => Ok(Unpacker::Deflate(InflateState::new_boxed(DataFormat::Zlib))),
            Codec::Lzw => Ok(Unpacker::Lzw(Box::new(Lzw::new(start)))),
            Codec::Zstd => {
                let made = Decoder::new().and_then(|mut decoder| {
                    decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))?;
                    Ok(decoder)
                });
                made.map(|decoder| Unpacker::Zstd(Box::new(decoder))).map_err(|error| format!("no reader: {error}"))
            }
            Codec::None | Codec::PackBits | Codec::Jpeg => Err("a codec that is not read piece by piece".to_owned()),
        }
    }

    /// As people call what it reads.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Unpacker::Deflate(_) => "deflate",
            Unpacker::Lzw(_) => "LZW",
            Unpacker::Zstd(_) => "Zstandard",
        }
    }

    /// Another one that has come as far, and the bytes of memory that it takes; `None` where the library makes none, so that a
    /// stream is read from the beginning of a frame.
    pub(super) fn copied(&self) -> Option<(Unpacker, usize)> {
        match self {
            Unpacker::Deflate(state) => Some((Unpacker::Deflate(state.clone()), size_of::<InflateState>())),
            Unpacker::Lzw(state) => Some((Unpacker::Lzw(state.clone()), Lzw::bytes())),
            Unpacker::Zstd(_) => None,
        }
    }

    /// Whether a stream has an end that must come. Not every writer of LZW marks it.
    pub(super) fn marks_its_end(&self) -> bool {
        !matches!(self, Unpacker::Lzw(_))
    }

    /// Reads on, until the input or the space in the output ends.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step, String> {
        match self {
            Unpacker::Deflate(state) => {
                let result = inflate(state, input, output, MZFlush::None);
                let (read, made) = (result.bytes_consumed, result.bytes_written);
                match result.status {
                    Ok(status) => {
                        let has_ended = status == MZStatus::StreamEnd;
                        Ok(Step { read, made, may_end: has_ended, has_ended })
                    }
                    // There is no more of it yet.
                    Err(MZError::Buf) => Ok(Step { read, made, may_end: false, has_ended: false }),
                    Err(_) if state.last_status() == TINFLStatus::Adler32Mismatch => {
                        Err("broken deflate data: its checksum is another".to_owned())
                    }
                    Err(_) => Err("broken deflate data".to_owned()),
                }
            }
            Unpacker::Lzw(state) => state.step(input, output),
            Unpacker::Zstd(decoder) => {
                let status = decoder.run_on_buffers(input, output);
                let status = status.map_err(|error| format!("broken Zstandard data: {error}"))?;
                let (read, made) = (status.bytes_read, status.bytes_written);
                Ok(Step { read, made, may_end: status.remaining == 0, has_ended: false })
            }
        }
    }
}
