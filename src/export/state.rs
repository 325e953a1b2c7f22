//! What an export keeps beside it until it is complete: what was asked for, what is written, blocks for later.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::destination::Destination;
use super::error::ExportError;
use super::manifest::{hex, pretty};

/// Folder of an export that is not complete.
pub(super) const FOLDER: &str = ".emfs-export";

/// The folder with its lock, so that no two exports write to one place.
#[derive(Debug)]
pub(super) struct State {
    pub(super) folder: PathBuf,
    _lock: File,
}

/// Where the state of an export to `destination` is: in a directory itself, for buckets on this machine.
pub(super) fn folder(destination: &Destination) -> Result<PathBuf, ExportError> {
    if let Destination::Directory(path) = destination {
        return Ok(path.join(FOLDER));
    }
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let states = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    let states = states.ok_or_else(|| {
        let reason = "what is written must be noted on this machine: set XDG_STATE_HOME or HOME".to_owned();
        ExportError::Write { what: destination.to_string(), reason }
    })?;
    let name = hex(&Sha256::digest(destination.to_string()));
    Ok(states.join("emfs").join("exports").join(&name[..32]))
}

/// What an earlier run was asked for, if it began.
pub(super) fn earlier(folder: &Path) -> Result<Option<Value>, ExportError> {
    let path = folder.join("arguments.json");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(ExportError::write(path.display().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(ExportError::write(path.display().to_string())(error)),
    }
}

impl State {
    /// Makes the folder and notes what is asked for.
    pub(super) fn begin(folder: PathBuf, arguments: &Value) -> Result<State, ExportError> {
        let failed = |error: std::io::Error| ExportError::write(folder.display().to_string())(error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let path = folder.join("lock");
        let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut lock = opened.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&path).ok().and_then(|text| text.parse::<u32>().ok());
                let process = process.map_or_else(String::new, |process| format!(" (process {process})"));
                let reason = format!("another emfs{process} is writing there; wait until it has ended, or stop it");
                return Err(ExportError::Write { what: folder.display().to_string(), reason });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // For whoever finds it locked.
        lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(failed)?;
        let half = folder.join("arguments.half");
        fs::write(&half, pretty(arguments)).map_err(failed)?;
        fs::rename(&half, folder.join("arguments.json")).map_err(failed)?;
        Ok(State { folder, _lock: lock })
    }
}

/// Says in which keys two objects differ.
pub(super) fn difference(before: &Value, now: &Value) -> Option<String> {
    if before == now {
        return None;
    }
    let (Some(first), Some(second)) = (before.as_object(), now.as_object()) else {
        return Some(format!("it was made by {before}, not by {now}"));
    };
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
    if first.len() != second.len() || first.iter().zip(second).any(|(first, second)| first["label"] != second["label"])
    {
        return None;
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

    #[test]
    fn who_writes_there_already_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let _first = State::begin(folder.path().to_owned(), &json!({})).unwrap();
        let told = State::begin(folder.path().to_owned(), &json!({})).unwrap_err().to_string();
        assert!(told.contains(&format!("process {})", std::process::id())) && told.contains("wait"), "{told}");
    }
}
