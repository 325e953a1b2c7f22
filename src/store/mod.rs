//! Objects as they are read: what is kept of them, how long that is believed, and which version they are.
//!
//! An [`Object`] answers from the disk as far as it can and asks its origin (`crate::remote`) for the rest. What comes is kept;
//! what does not parse is fetched once more past every cache ([`healed`]); what is absent is borne out by the store's own
//! document ([`Witness`]).

mod absence;
mod answer;
mod believed;
mod cache_entry;
mod cache_policy;
mod entry_metadata;
mod handle;
mod healing;
mod missed;
mod object;
mod range_store;
mod remote;
mod seen;
mod source_change;
mod witness;

#[cfg(test)]
mod tests;

pub use cache_entry::CachedExtent;
pub use cache_policy::{ABSENT_TTL, CachePolicy};
pub use healing::{Healable, Unproven, healed, healed_apart, is_past_caches, past_caches, unproven};
pub use missed::{Lost, Missed};
pub use object::{LONGEST_DOCUMENT, Object, is_long_document};
pub(crate) use range_store::off_the_runtime;
pub use range_store::{COMPUTED, Extent, RangeStore, Unavailable};
pub use remote::Remote;
pub use seen::{SeenVersion, SeenVersions};
pub use witness::Witness;
