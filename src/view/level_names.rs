//! What the directories of levels are called.

use crate::geometry::LevelIndex;

/// The letter that stands before a level's number.
const LETTER: char = 's';

/// Names of the levels in a store. Janelia's tools look for `s0`, others, such as iohub and cloud-volume, for `0`; a store
/// that listed both would hold each voxel twice for everything that walks through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LevelNames {
    /// `s0`, `s1`, …
    #[default]
    Lettered,
    /// `0`, `1`, …
    Numbered,
}

impl LevelNames {
    /// Every way.
    pub const ALL: [LevelNames; 2] = [LevelNames::Lettered, LevelNames::Numbered];

    /// Name of a level's directory.
    pub fn name(self, level: LevelIndex) -> String {
        match self {
            LevelNames::Lettered => format!("{LETTER}{}", level.0),
            LevelNames::Numbered => level.0.to_string(),
        }
    }

    /// The level of a directory name, whose number is in its only spelling: no sign, no leading zero.
    pub fn parse(self, name: &str) -> Option<LevelIndex> {
        let number = match self {
            LevelNames::Lettered => name.strip_prefix(LETTER)?,
            LevelNames::Numbered => name,
        };
        u8::try_from(super::name::number(number).ok()?).ok().map(LevelIndex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_found_by_the_name_it_has_and_by_no_other_spelling() {
        for names in LevelNames::ALL {
            for level in [0, 9, 10, 255].map(LevelIndex) {
                assert_eq!(names.parse(&names.name(level)), Some(level));
            }
            for other in ["", "s", "s00", "00", "s01", "01", "s+1", "+1", "s256", "256", "S0", "s1 ", "1 "] {
                assert_eq!(names.parse(other), None, "{other}");
            }
        }
        assert_eq!(LevelNames::Lettered.parse("0"), None);
        assert_eq!(LevelNames::Numbered.parse("s0"), None);
    }
}
