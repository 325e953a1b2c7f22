//! Files of Gatan's DigitalMicrograph, DM3 and DM4: their tags, and where their pixels are.
//!
//! Pure: a [`Walker`] is given bytes of the file and says which it needs next, so that a file of gigabytes is understood
//! from a few kilobytes wherever it lies. Pixels and other long values are passed over; [`tags::TagData`] says where they are.
//! [`DmImage::find`] then picks the image among the thumbnails.
//!
//! ```ignore
//! use emfs::dm::{DmError, Image, Step, Tags, Walker};
//!
//! fn image(file: &[u8]) -> Result<(Tags, Image), DmError> {
//!     let mut walker = Walker::new(file.len() as u64);
//!     let mut step = Step::Need { offset: 0, length: 1 };
//!     while let Step::Need { offset, .. } = step {
//!         // From here on any number of bytes; the whole rest of the file is one way.
//!         step = walker.feed(offset, &file[offset as usize..])?;
//!     }
//!     let tags = walker.finish()?;
//!     let image = Image::find(&tags)?;
//!     Ok((tags, image))
//! }
//! assert!(image(b"not such a file").is_err());
//! ```
//!
//! # The format
//!
//! Gatan has not published it; this is what its files and the readers of others agree on. Structure is big-endian,
//! payloads are in the byte order that the header names. A *word* is 32 bits in DM3 and 64 in DM4.
//!
//! ```text
//! file   := version:u32  root length:word  little-endian:u32 (1 or 0)  group  8 zero bytes
//! group  := sorted:u8  open:u8  count:word  entry × count
//! entry  := 20:u8  length:u16  name  [DM4: bytes that follow:u64]  group
//!         | 21:u8  length:u16  name  [DM4: bytes that follow:u64]  data
//! data   := "%%%%"  count:word  encoding (count words)  payload
//! encoding := scalar | 18 length | 15 0 n (0 scalar) × n | 20 encoding length
//! scalar := 2 i16 | 3 i32 | 4 u16 | 5 u32 | 6 f32 | 7 f64 | 8 bool | 9 i8 | 10 u8 | 11 i64 | 12 u64
//! ```
//!
//! The root length is not what it should be in many files and is not looked at. Nothing is aligned.
//!
//! # Limits
//!
//! Every count and length is compared with what is left of the file before it is believed. A file may have
//! [`tags::MAX_TAGS`] tags, nested [`walker::MAX_DEPTH`] deep, of which values up to [`walker::MAX_KEPT`] bytes are kept.

mod encoding;
mod error;
mod image;
mod json;
mod tags;
mod walker;

#[cfg(test)]
pub(crate) mod tests;

pub use error::DmError;
pub use image::{Calibration, DmImage};
pub use tags::Tags;
pub use walker::{DmVersion, Step, Walker};
