//! What an export keeps beside it until it is complete: what was asked for, what is written, blocks for later.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::destination::Destination;
use super::error::ExportError;
use super::manifest::pretty;
use crate::hex::hex;
use crate::lock::{Lock, try_lock};
use crate::xdg;

/// Folder of an export that is not complete.
pub(super) const FOLDER: &str = ".emfs-export";
/// What an export was asked for. Without this file nothing is resumed.
const ARGUMENTS: &str = "arguments.json";
/// The same while it is written.
const HALF: &str = "arguments.half";
/// Locked by whoever writes.
const LOCK: &str = "lock";

/// The folder with its lock, so that no two exports write to one place where the filesystem has locks.
#[derive(Debug)]
pub(super) struct StateFolder {
    pub(super) folder: PathBuf,
    /// Whether the filesystem could lock it.
    pub(super) is_locked: bool,
    _lock: File,
}

/// Where the state of an export to `destination` is: in a directory itself, for buckets on this machine.
pub(super) fn folder(destination: &Destination) -> Result<PathBuf, ExportError> {
    if let Destination::Directory(path) = destination {
        return Ok(path.join(FOLDER));
    }
    let states = xdg::state_home().map_err(|missing| ExportError::Write {
        what: destination.to_string(),
        reason: format!("what is written must be noted on this machine: {missing}"),
    })?;
    let name = hex(&Sha256::digest(destination.to_string()));
    Ok(states.join("emfs").join("exports").join(&name[..32]))
}

/// What an earlier run was asked for, if it began.
pub(super) fn earlier(folder: &Path) -> Result<Option<Value>, ExportError> {
    let path = folder.join(ARGUMENTS);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(ExportError::write(path.display().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(ExportError::write(path.display().to_string())(error)),
    }
}

impl StateFolder {
    /// Makes the folder and notes what is asked for. What is noted there stays where it is of `earlier`, which is
    /// resumed, and is removed otherwise. What fails leaves nothing behind that was not there before.
    pub(super) fn begin(
        folder: PathBuf,
        arguments: &Value,
        earlier: Option<&Value>,
    ) -> Result<StateFolder, ExportError> {
        let made: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
        match start(&folder, arguments, earlier) {
            Ok(Some((lock, is_locked))) => Ok(StateFolder { folder, is_locked, _lock: lock }),
            Ok(None) => {
                let process = fs::read_to_string(folder.join(LOCK)).ok().and_then(|text| text.parse::<u32>().ok());
                let process = process.map_or_else(String::new, |process| format!(" (process {process})"));
                let reason = format!("another emfs{process} is writing there; wait until it has ended, or stop it");
                Err(ExportError::Write { what: folder.display().to_string(), reason })
            }
            Err(error) => {
                if !made.is_empty() {
                    for file in [LOCK, HALF] {
                        let _ = fs::remove_file(folder.join(file));
                    }
                }
                // One that is not empty stays.
                made.iter().for_each(|folder| drop(fs::remove_dir(folder)));
                Err(error)
            }
        }
    }

    /// Removes all that was kept, since the export is complete. First goes what would have the rest resumed.
    pub(super) fn end(self) -> io::Result<()> {
        fs::remove_file(self.folder.join(ARGUMENTS))?;
        fs::remove_dir_all(&self.folder)
    }
}

/// Locks the folder, where the filesystem can, and notes what is asked for; `None` where another has locked it.
fn start(folder: &Path, arguments: &Value, earlier: Option<&Value>) -> Result<Option<(File, bool)>, ExportError> {
    let failed = |error: io::Error| ExportError::write(folder.display().to_string())(error);
    fs::create_dir_all(folder).map_err(failed)?;
    let path = folder.join(LOCK);
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let mut lock = opened.map_err(failed)?;
    let state = try_lock(&lock).map_err(failed)?;
    if state == Lock::Taken {
        return Ok(None);
    }
    // For whoever finds it locked.
    lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(failed)?;
    if let Some(expected) = earlier {
        if self::earlier(folder)?.as_ref() != Some(expected) {
            let reason = "another emfs has written there meanwhile; give the command again".to_owned();
            return Err(ExportError::Write { what: folder.display().to_string(), reason });
        }
    } else {
        forget(folder, &path).map_err(failed)?;
    }
    let half = folder.join(HALF);
    fs::write(&half, pretty(arguments)).map_err(failed)?;
    fs::rename(&half, folder.join(ARGUMENTS)).map_err(failed)?;
    Ok(Some((lock, state == Lock::Held)))
}

/// Removes what is kept in a folder but for its lock, which is held.
fn forget(folder: &Path, lock: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.path() {
            path if path == lock => {}
            path if entry.file_type()?.is_dir() => fs::remove_dir_all(path)?,
            path => fs::remove_file(path)?,
        }
    }
    Ok(())
}

/// Says in which keys two objects differ.
pub(super) fn difference(before: &Value, now: &Value) -> Option<String> {
    if before == now {
        return None;
    }
    let (Some(first), Some(second)) = (before.as_object(), now.as_object()) else {
        return Some(format!("it was made by {before}, not by {now}"));
    };
    if let (Some(before), Some(now)) = (before["name"].as_str(), now["name"].as_str())
        && before != now
    {
        // The rest differs, too.
        return Some(format!("that of {before}, not of {now}"));
    }
    let keys = first.keys().chain(second.keys().filter(|key| !first.contains_key(*key)));
    let differences = keys.filter_map(|key| {
        let (before, now) = (first.get(key).unwrap_or(&Value::Null), second.get(key).unwrap_or(&Value::Null));
        if before == now {
            return None;
        }
        let images = if key == "images" { of_images(before, now, &second["name"]) } else { None };
        Some(images.unwrap_or_else(|| format!("{key} was {before} and is now {now}")))
    });
    Some(differences.collect::<Vec<_>>().join("; "))
}

/// Says in which images of `name` two exports differ; `None` where not image by image.
fn of_images(before: &Value, now: &Value, name: &Value) -> Option<String> {
    let (Some(first), Some(second)) = (before.as_array(), now.as_array()) else { return None };
    let labels = |images: &[Value]| images.iter().map(|image| image["label"].clone()).collect::<Vec<_>>();
    let (had, has) = (labels(first), labels(second));
    if had != has {
        let told = |labels: Vec<Value>| {
            let labels = labels.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
            if labels.is_empty() { "none".to_owned() } else { labels }
        };
        return Some(format!("its labels were {} and are now {}", told(had), told(has)));
    }
    let differences = first.iter().zip(second).filter(|(first, second)| first != second).map(|(first, second)| {
        let name = name.as_str().unwrap_or("the image");
        let image = first["label"].as_str().map_or_else(|| name.to_owned(), |label| format!("{name}/labels/{label}"));
        if first["source"] != second["source"] {
            return format!("the configuration names other files or servers for {image} now (put them back to resume)");
        }
        format!("{image}: {}", difference(first, second).unwrap_or_default())
    });
    Some(differences.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn begin(folder: &Path, earlier: Option<&Value>) -> Result<StateFolder, ExportError> {
        StateFolder::begin(folder.to_owned(), &json!({"name": "v"}), earlier)
    }

    #[test]
    fn what_is_noted_stays_for_those_alone_who_resume_it() {
        let folder = tempfile::tempdir().unwrap();
        drop(begin(folder.path(), None).unwrap());
        let noted = folder.path().join("s0");
        fs::create_dir(&noted).unwrap();
        let earlier = earlier(folder.path()).unwrap();
        drop(begin(folder.path(), earlier.as_ref()).unwrap());
        assert!(noted.exists());
        let told = begin(folder.path(), Some(&json!({"name": "w"}))).unwrap_err().to_string();
        assert!(noted.exists() && told.contains("meanwhile"), "{told}");
        begin(folder.path(), None).unwrap().end().unwrap();
        assert!(!folder.path().exists());
    }

    #[test]
    fn an_export_of_another_name_is_told_by_the_names_alone_and_one_of_other_labels_by_these() {
        let image = |label: Option<&str>, block: u64| json!({"label": label, "levels": vec![block; 64]});
        let before = json!({"name": "v/em", "images": [image(None, 8)], "format": 2});
        let other = json!({"name": "w/em", "images": [image(None, 16)], "format": 3});
        assert_eq!(difference(&before, &other).as_deref(), Some("that of v/em, not of w/em"));
        let more = json!({"name": "v/em", "images": [image(None, 8), image(Some("cells"), 8)], "format": 2});
        assert_eq!(difference(&before, &more).as_deref(), Some("its labels were none and are now cells"));
    }

    #[test]
    fn nothing_is_removed_while_another_writes_there() {
        let folder = tempfile::tempdir().unwrap();
        let _first = begin(folder.path(), None).unwrap();
        let noted = folder.path().join("s0");
        fs::create_dir(&noted).unwrap();
        assert!(begin(folder.path(), None).is_err() && noted.exists());
    }

    #[test]
    fn what_fails_at_its_beginning_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("out").join(FOLDER);
        // Another export that was resumed, and is gone.
        assert!(begin(&state, Some(&json!({"name": "w"}))).is_err());
        assert!(!folder.path().join("out").exists() && folder.path().exists());
        drop(begin(&state, None).unwrap());
        assert!(begin(&state, Some(&json!({"name": "w"}))).is_err() && state.join(ARGUMENTS).exists());
    }

    #[test]
    fn what_is_cut_short_at_its_end_is_not_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let state = begin(folder.path(), None).unwrap();
        assert!(earlier(folder.path()).unwrap().is_some());
        // What cannot be removed any more is nothing that would be gone on with.
        fs::remove_file(folder.path().join(ARGUMENTS)).unwrap();
        assert!(state.end().is_err() && folder.path().exists());
        assert!(earlier(folder.path()).unwrap().is_none());
    }

    #[test]
    fn who_writes_there_already_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let _first = begin(folder.path(), None).unwrap();
        let told = begin(folder.path(), None).unwrap_err().to_string();
        assert!(told.contains(&format!("process {})", std::process::id())) && told.contains("wait"), "{told}");
    }
}
