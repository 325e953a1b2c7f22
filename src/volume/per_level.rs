//! What is known of each level of each image of a mount.

use std::collections::HashMap;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

use crate::geometry::LevelIndex;

/// A value for each level, by the number of its image; made when it is first asked for.
#[derive(Default)]
pub(super) struct PerLevel<T>(Mutex<HashMap<(u32, LevelIndex), T>>);

impl<T: Default> PerLevel<T> {
    /// The value of a level. Nobody else has one of any level while it is held.
    pub(super) fn of(&self, image: u32, level: LevelIndex) -> MappedMutexGuard<'_, T> {
        MutexGuard::map(self.0.lock(), |levels| levels.entry((image, level)).or_default())
    }
}
