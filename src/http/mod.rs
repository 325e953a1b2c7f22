//! The tree over HTTP: an adapter beside `fuse`, for viewers and for machines without `/dev/fuse`. The paths are those below a
//! mountpoint; a few more are pages for people.
//!
//! 404 is only what is not in the grid: to a Zarr client that is the fill value. What failed is 503, with the line of the log.

mod access;
mod body;
mod conditions;
mod describe;
mod dimension;
mod documents;
mod failure;
mod file;
mod headers;
mod image_page;
mod index_page;
mod job_tokens;
mod layer_transform;
mod link;
mod listen;
mod listing;
mod markup;
mod memory_file;
mod overlay;
mod page_origin;
mod page_place;
mod paths;
mod patience;
mod picture;
mod query;
mod respond;
mod seen;
mod site;
mod slice;
mod tls;
pub mod viewers;
mod vizarr;

pub use access::{Access, Token};
pub use documents::{Described, DescriptionError, array_of, scale_of, window_of};
pub use job_tokens::JobTokens;
pub use listen::Server;
pub use markup::escape;
pub use page_origin::PageOrigin;
pub use site::Site;
pub use tls::acceptor;
