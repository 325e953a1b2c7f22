//! Which file of a volume says what all of them are like: the first one that can be read, unless it stands alone.
//!
//! A file that cannot be read, or is unlike the others, is an error for its own blocks and nothing else. That is believed of
//! no answer that a cache may have given, and of no server that cannot be asked: with another model the volume might be
//! another one.

use super::section::{Opener, Section, opened};
use crate::remote::{Cause, RemoteError};
use crate::source::{SourceError, remedy};
use crate::store::{Healable, Object, is_past_caches};

/// Files at the beginning of which one must be good, to say what all of them are like.
const MAX_BAD: usize = 4;

/// A file by its number.
type Numbered<'a> = (usize, &'a Object);

/// What all files must be like.
pub(super) struct Model {
    pub(super) number: usize,
    pub(super) section: Section,
    /// The last file, where it is another one that is like it.
    pub(super) last: Option<(usize, Section)>,
}

/// Opens the first file that can be read and the last one.
pub(super) async fn find(objects: &[Option<Object>], opener: &Opener, is_divided: bool) -> Result<Model, SourceError> {
    let there = || objects.iter().enumerate().filter_map(|(number, object)| Some((number, object.as_ref()?)));
    let mut few = there().take(MAX_BAD);
    let mut bad = Vec::new();
    let (number, object, section) = loop {
        let Some((number, object)) = few.next() else {
            let none = || SourceError::malformed("the list of files", "url", "is empty");
            return Err(bad.into_iter().next().unwrap_or_else(none));
        };
        match plane(opener, object, is_divided).await {
            Ok(section) => break (number, object, section),
            Err(error) if is_of_file(&error) => bad.push(error),
            Err(error) => return Err(error),
        }
    };
    bad.iter().for_each(left_out);
    let alone = Model { number, section, last: None };
    let Some((last, last_object)) = there().next_back().filter(|(last, _)| *last != number) else { return Ok(alone) };
    let cell = alone.section.grid().map(|grid| grid.cell);
    let last_section = match opened(opener, last_object, (cell, is_divided), || false).await {
        Ok(section) => section,
        Err(error) if error.is_of_bytes() && !is_past_caches() => return Err(error),
        Err(error) => {
            left_out(&error);
            return Ok(alone);
        }
    };
    match alone.section.check_same(object.url(), last_object, &last_section) {
        Ok(()) => Ok(Model { last: Some((last, last_section)), ..alone }),
        Err(error) if !is_past_caches() => Err(error),
        Err(error) => {
            let between: Vec<Numbered<'_>> = few.filter(|(between, _)| *between != last).collect();
            decided(opener, (object, alone), (&last_section, error), &between).await
        }
    }
}

/// The first or another file, by what the files `between` it and the last one are like. `last`: that one, and how it differs.
async fn decided(
    opener: &Opener,
    (object, first): (&Object, Model),
    (last, error): (&Section, SourceError),
    between: &[Numbered<'_>],
) -> Result<Model, SourceError> {
    let cell = first.section.grid().map(|grid| grid.cell);
    for (number, other) in between {
        match opened(opener, other, (cell, first.section.is_divided), || false).await {
            Ok(section) if section.is_of_form(&first.section) => {
                left_out(&error);
                return Ok(first);
            }
            Ok(section) if section.is_of_form(last) => {
                // Once more, as that which people are told of.
                let section = plane(opener, other, first.section.is_divided).await?;
                if let Err(error) = section.check_same(other.url(), object, &first.section) {
                    left_out(&error);
                }
                return Ok(Model { number: *number, section, last: None });
            }
            Err(error) if !is_of_file(&error) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Err(error)
}

/// Opens a file that may be the model, so one of a single plane.
async fn plane(opener: &Opener, object: &Object, is_divided: bool) -> Result<Section, SourceError> {
    let section = opened(opener, object, (None, is_divided), || false).await?;
    match section.grid() {
        None => Err(SourceError::malformed(object.url(), "image", "has no level")),
        Some(grid) if grid.shape.0[0] != 1 => {
            let variant = "a stack in each of several files";
            Err(SourceError::unsupported(object.url(), "image", variant).with_remedy(remedy::STACKS))
        }
        Some(_) => Ok(section),
    }
}

/// Whether it is known to be the fault of the file: past every cache it is not there or makes no sense, either.
fn is_of_file(error: &SourceError) -> bool {
    let is_own = match error {
        SourceError::Malformed { .. } | SourceError::TooLong { .. } | SourceError::Unsupported { .. } => true,
        SourceError::Remote(RemoteError { cause, .. }) => *cause == Cause::NotFound,
    };
    is_own && is_past_caches()
}

fn left_out(error: &SourceError) {
    tracing::warn!("{error}; what is read of this section is an error, the others are shown");
}
