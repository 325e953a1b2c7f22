//! Levels of which no file of a chunk is there. All of such a level would be shown as the fill value, and viewers ask for the
//! coarsest one first. It can be seen in folders of this machine.

use std::io;
use std::path::Path;

use super::SourceError;
use super::json::quoted;
use crate::remote::Location;

/// What is there of a level.
pub(super) struct LevelFiles {
    /// What the image calls it.
    pub name: String,
    /// Its folder.
    pub folder: Location,
    /// How many voxels it has.
    pub voxels: f64,
    /// Whether a file of a chunk is there, or may be.
    pub has_any: bool,
}

/// What is made of the levels of an image.
pub(super) struct Judged {
    /// For each one, why it is left out, where it is.
    pub left_out: Vec<Option<SourceError>>,
    /// What is to be told of those that are shown and have no file.
    pub unwritten: Option<String>,
}

/// Whether files may be in a folder that could not be listed for this reason. What is wrong with it is told when it is read.
pub(super) fn may_have_files(folder: &Path, error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::NotFound || folder.symlink_metadata().is_ok()
}

/// Says which levels are left out: those without a file, where one with more voxels has some. `levels`: the finest first.
pub(super) fn judge(levels: &[LevelFiles]) -> Judged {
    let is_finer = |(at, finer): (usize, &LevelFiles), number: usize, level: &LevelFiles| {
        finer.has_any && (finer.voxels > level.voxels || at < number && finer.voxels == level.voxels)
    };
    let is_left_out = |(number, level): (usize, &LevelFiles)| {
        !level.has_any && levels.iter().enumerate().any(|finer| is_finer(finer, number, level))
    };
    let why = |level: &LevelFiles| {
        let reason =
            "no file of a chunk is there, and a finer level has some; write it, or take it out of the document";
        SourceError::malformed(level.folder.to_string(), "chunks", reason)
    };
    let left_out: Vec<_> = levels.iter().enumerate().map(|level| is_left_out(level).then(|| why(level.1))).collect();
    let shown = levels.iter().zip(&left_out).filter(|(level, left_out)| !level.has_any && left_out.is_none());
    let names: Vec<String> = shown.map(|(level, _)| quoted(&level.name)).collect();
    let of = match (names.len(), levels.iter().any(|level| level.has_any)) {
        (0, _) => None,
        (_, false) => Some("any level".to_owned()),
        (1, true) => Some(format!("level {}", names.concat())),
        (_, true) => Some(format!("levels {}", names.join(", "))),
    };
    let unwritten = of.map(|of| format!("no file of a chunk of {of} is there, so that it is shown as the fill value"));
    Judged { left_out, unwritten }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the levels are left out, and what is told. Each is its voxels and whether it has files.
    fn judged(levels: &[(f64, bool)]) -> (Vec<bool>, Option<String>) {
        let folder = Location::parse("/v", None).unwrap();
        let of = |(number, &(voxels, has_any))| LevelFiles {
            name: format!("s{number}"),
            folder: folder.clone(),
            voxels,
            has_any,
        };
        let files: Vec<LevelFiles> = levels.iter().enumerate().map(of).collect();
        let Judged { left_out, unwritten } = judge(&files);
        (left_out.iter().map(Option::is_some).collect(), unwritten)
    }

    #[test]
    fn a_level_without_a_file_is_left_out_where_a_finer_one_has_some() {
        assert_eq!(judged(&[(8.0, true), (4.0, true), (2.0, true)]), (vec![false; 3], None));
        assert_eq!(judged(&[(8.0, true), (4.0, false), (2.0, true)]), (vec![false, true, false], None));
        assert_eq!(judged(&[(8.0, true), (4.0, false), (2.0, false)]), (vec![false, true, true], None));
        // Levels that come in another order than that of their sizes.
        assert_eq!(judged(&[(2.0, false), (8.0, true)]), (vec![true, false], None));
        assert_eq!(judged(&[(8.0, true), (8.0, false)]), (vec![false, true], None));
    }

    #[test]
    fn one_that_is_finer_than_all_that_have_files_is_shown_and_told() {
        let (left_out, told) = judged(&[(8.0, false), (4.0, true), (2.0, false)]);
        assert_eq!(left_out, [false, false, true]);
        assert_eq!(told.unwrap(), "no file of a chunk of level `s0` is there, so that it is shown as the fill value");
        let (left_out, told) = judged(&[(8.0, false), (4.0, false), (2.0, true)]);
        assert_eq!(left_out, [false; 3]);
        assert!(told.unwrap().contains("of levels `s0`, `s1` is there"));
        let (left_out, told) = judged(&[(8.0, false), (4.0, false)]);
        assert_eq!(left_out, [false; 2]);
        assert!(told.unwrap().contains("of any level is there"));
    }
}
