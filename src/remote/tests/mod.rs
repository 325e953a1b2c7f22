//! What the tests of the reader share: an origin that does what a script says. The reader itself is tested through
//! `crate::store`, which is what everybody reads through.

pub(crate) mod origin;
