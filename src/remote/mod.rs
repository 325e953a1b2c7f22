//! Bytes by range from `https`, `http`, `s3`, `gs` and files, through one checked reader.
//!
//! Whatever the origin does, the caller gets exactly the bytes that were asked for or a [`RemoteError`] that says why
//! not: the status, the range, the length and the pinned ETag are checked for every answer.
//!
//! The way of a request: an [`Object`] starts an `operation`, which repeats attempts within its `clock`; each `attempt`
//! waits for its turn at the host (`limits`), is raced by a second where it stalls (`race`), goes out over a `transport`
//! and has its answer compared with the request (`checks`) and with the object's first answer (`pin`).

mod absence;
mod answer;
mod attempt;
mod backoff;
mod breaker;
mod checks;
mod checksum;
mod clock;
mod error;
mod file;
mod filesystems;
mod gzip;
mod head;
mod healing;
mod http;
mod keeping;
mod kept;
mod limits;
mod location;
mod manners;
mod mirrors;
mod note;
mod object;
mod operation;
mod paths;
mod pin;
mod race;
mod seen;
mod shared;
mod speed;
mod stores;
mod transport;

#[cfg(test)]
mod tests;

pub(crate) use gzip::gunzip;
pub(crate) use stores::chain;

pub use absence::Witness;
pub use error::{Cause, RemoteError};
pub use healing::{Healable, healed, is_past_caches, past_caches};
pub use keeping::{ABSENT_TTL, Keeping};
pub use kept::KeptWhole;
pub use location::{Credentials, Location, LocationError};
pub use manners::{HostManners, Manners};
pub use object::{Fetched, Object};
pub use seen::{Seen, SeenVersion};
pub use shared::Remote;
