//! Folders by the XDG Base Directory Specification: what is not an absolute path counts as not set, as it says.

use std::path::PathBuf;

/// Neither of the variables that say where a folder is has an absolute path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither {0} nor HOME is set to an absolute path")]
pub(crate) struct NoFolder(&'static str);

/// Where a user's programs keep what can be made again.
pub(crate) fn cache_home() -> Result<PathBuf, NoFolder> {
    folder("XDG_CACHE_HOME", ".cache", variable)
}

/// Where a user's programs keep what should outlast a restart, as logs.
pub(crate) fn state_home() -> Result<PathBuf, NoFolder> {
    folder("XDG_STATE_HOME", ".local/state", variable)
}

/// Where a user's sockets are, if the session has such a place.
pub(crate) fn runtime_dir() -> Option<PathBuf> {
    variable("XDG_RUNTIME_DIR")
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute())
}

fn folder(
    name: &'static str,
    below_home: &str,
    variable: impl Fn(&str) -> Option<PathBuf>,
) -> Result<PathBuf, NoFolder> {
    variable(name).or_else(|| Some(variable("HOME")?.join(below_home))).ok_or(NoFolder(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_one_named_or_in_the_home_and_else_an_error_names_both() {
        let with = |cache: Option<&'static str>, home: Option<&'static str>| {
            let variable = move |name: &str| if name == "HOME" { home } else { cache }.map(PathBuf::from);
            folder("XDG_CACHE_HOME", ".cache", variable)
        };
        assert_eq!(with(Some("/c"), Some("/h")), Ok("/c".into()));
        assert_eq!(with(None, Some("/h")), Ok("/h/.cache".into()));
        let error = with(None, None).unwrap_err().to_string();
        assert!(error.contains("XDG_CACHE_HOME") && error.contains("HOME is set"), "{error}");
    }
}
