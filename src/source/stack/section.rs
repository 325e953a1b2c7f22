//! One file of a volume of a file per z: how it is opened, and whether it is like another one.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::cache::Reservation;
use crate::geometry::{Grid, Shape};
use crate::source::{Source, SourceError};
use crate::store::Object;

/// Memory that an opened file takes beside what it says it keeps.
const OPENED: u64 = 1024;

/// Opens the file of one section. The shape is that of the blocks of the others, where some are open.
pub type Opener =
    Arc<dyn Fn(Object, Option<Shape>) -> BoxFuture<'static, Result<Arc<dyn Source>, SourceError>> + Send + Sync>;

/// An open file, and its part of the memory for what is kept.
#[derive(Clone)]
pub(super) struct Section {
    /// Whether it may hold any number of planes.
    pub(super) is_divided: bool,
    pub(super) source: Arc<dyn Source>,
    pub(super) kept: Arc<Reservation>,
}

pub(super) type Located = Result<Section, SourceError>;

/// `evict`: lets go of something that is kept, and says whether there was any.
pub(super) async fn opened(
    opener: &Opener,
    object: &Object,
    (cell, is_divided): (Option<Shape>, bool),
    mut evict: impl FnMut() -> bool,
) -> Located {
    let source = opener(object.clone(), cell).await?;
    let bytes = source.kept().saturating_add(OPENED);
    let kept = loop {
        match object.desk().keep_for_now(bytes) {
            Ok(kept) => break Ok(kept),
            Err(_) if evict() => {}
            Err(_) => break object.desk().keep(bytes),
        }
    };
    let kept = kept.map_err(|error| SourceError::malformed(object.url(), "image", error.to_string()))?;
    Ok(Section { is_divided, source, kept: Arc::new(kept) })
}

impl Section {
    /// The one level's grid; of a file of several planes, that of each of them.
    pub(super) fn grid(&self) -> Option<Grid> {
        let mut grid = self.source.description().levels.first().map(|level| level.grid)?;
        if self.is_divided {
            grid.shape.0[0] = 1;
        }
        Some(grid)
    }

    /// Whether planes of both are planes of one volume, however they are stored.
    pub(super) fn is_of_form(&self, other: &Section) -> bool {
        let form = |section: &Section| {
            let dtype = section.source.description().dtype;
            (section.grid().map(|grid| grid.shape), dtype, section.source.is_inverted())
        };
        form(self) == form(other)
    }

    /// Refuses a file that is not like this one, whose address is `like`.
    pub(super) fn check_same(&self, like: &str, object: &Object, other: &Section) -> Result<(), SourceError> {
        if self.is_of_form(other) && self.grid() == other.grid() {
            return Ok(());
        }
        let told = |section: &Section| {
            let shape = section.grid().map_or(Shape([0; 3]), |grid| grid.shape);
            let white = if section.source.is_inverted() { " with white as 0" } else { "" };
            format!("{} of {shape}{white}", section.source.description().dtype)
        };
        let reason = format!("{} (z×y×x), unlike {} in {like}", told(other), told(self));
        Err(SourceError::malformed(object.url(), "image", reason))
    }
}
