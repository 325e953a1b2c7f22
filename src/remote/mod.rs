//! Bytes by range from `https`, `http`, `s3`, `gs` and files, through one checked reader.
//!
//! Whatever the origin does, the caller gets exactly the bytes that were asked for or a [`RemoteError`] that says why
//! not: the status, the range, the length and the pinned ETag are checked for every answer.

mod error;
mod location;
mod manners;
mod object;

pub use error::{Cause, RemoteError};
pub use location::{Credentials, Location, LocationError};
pub use manners::{Manners, HostManners};
pub use object::{Fetched, Object, Remote};
