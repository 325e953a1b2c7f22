//! Bytes by range from `https`, `http`, `s3`, `gs` and files, through one checked reader.
//!
//! Whatever the origin does, the caller gets exactly the bytes that were asked for or a [`RemoteError`] that says why
//! not: the status, the range, the length and the pinned ETag are checked for every answer.
//!
//! The way of a request: an `Origin` starts an `operation`, which repeats attempts within its `clock`; each `attempt`
//! waits for a permit of the host (`limits`), is hedged by a second one where it stalls (`hedge`), goes out over a `transport`
//! and has its answer compared with the request (`checks`) and with the object's first answer (`pin`).

mod attempt;
mod backoff;
mod breaker;
mod checks;
mod checksum;
mod clock;
mod compression;
mod error;
mod fetched;
mod file;
mod filesystems;
mod head;
mod hedge;
mod host_limits;
mod http;
mod in_the_way;
mod limits;
mod location;
mod mirrors;
mod operation;
mod origin;
mod origins;
mod paths;
mod pin;
mod speed;
mod stores;
mod transport;
mod validators;
mod wanted;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use checks::RangeRequest;
pub(crate) use http::leads_safely;
pub(crate) use origin::Origin;
pub(crate) use origins::Origins;
pub(crate) use pin::{ObjectVersion, Pin};
pub(crate) use stores::chain;
pub(crate) use validators::is_weak;

pub use compression::Compression;
pub use error::{Cause, RemoteError};
pub use fetched::Fetched;
pub use host_limits::{HostLimits, LimitsByHost};
pub use in_the_way::file_for_folder;
pub use location::{Credentials, Location, shown_text};
