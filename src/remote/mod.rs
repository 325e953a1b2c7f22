//! Bytes by range from `https`, `http`, `s3`, `gs` and files, through one checked reader.
//!
//! Whatever the origin does, the caller gets exactly the bytes that were asked for or a [`RemoteError`] that says why
//! not: the status, the range, the length and the pinned ETag are checked for every answer.
//!
//! The way of a request: an `Origin` starts an `operation`, which repeats attempts within its `clock`; each `attempt`
//! waits for its turn at the host (`limits`), is raced by a second where it stalls (`race`), goes out over a `transport`
//! and has its answer compared with the request (`checks`) and with the object's first answer (`pin`).

mod attempt;
mod backoff;
mod breaker;
mod checks;
mod checksum;
mod clock;
mod error;
mod fetched;
mod file;
mod filesystems;
mod gzip;
mod head;
mod http;
mod limits;
mod location;
mod manners;
mod mirrors;
mod operation;
mod origin;
mod origins;
mod paths;
mod pin;
mod race;
mod speed;
mod stores;
mod transport;
mod wanted;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use checks::{Ask, too_long};
pub(crate) use gzip::gunzip;
pub(crate) use origin::Origin;
pub(crate) use origins::Origins;
pub(crate) use pin::{Pin, Version};
pub(crate) use stores::chain;

pub use error::{Cause, RemoteError};
pub use fetched::Fetched;
pub use location::{Credentials, Location, LocationError};
pub use manners::{HostManners, Manners};
