//! Paths below a mount: whatever command is given one, it means what is mounted there, with its catalogue and its cache.

use std::path::{Path, PathBuf};

use serde_json::Value;
use url::Url;

use super::config::ConfigArgs;
use super::session::CacheArgs;
use super::{CliError, umount};
use crate::catalog::Catalog;
use crate::daemon::{Peer, client};
use crate::mountinfo::{self, Mount};

/// What a path that a command was given means.
#[derive(Debug)]
pub(super) struct Meant {
    /// The catalogue it is a path of.
    pub catalog: Catalog,
    /// `DATASET/NAME…`.
    pub path: String,
    /// The cache to use.
    pub cache: CacheArgs,
    /// Where the mount that it leads into serves over HTTP.
    pub url: Option<String>,
}

/// What a path means: a place in the mount that it leads into, else one of the catalogue of `config` or the built-in one.
/// A configuration or a cache that was named counts more than those of the mount.
pub(super) fn meant(path: &str, config: &ConfigArgs, cache: &CacheArgs) -> Result<Meant, CliError> {
    let mut path = path.to_owned();
    let OfMount { catalog, cache, url } = of_all([&mut path], config, cache)?;
    Ok(Meant { catalog, path, cache, url })
}

/// The same for several paths, which become paths of the catalogue.
pub(super) fn meant_by_all<'a>(
    paths: impl IntoIterator<Item = &'a mut String>,
    config: &ConfigArgs,
    cache: &CacheArgs,
) -> Result<(Catalog, CacheArgs), CliError> {
    of_all(paths, config, cache).map(|OfMount { catalog, cache, .. }| (catalog, cache))
}

/// What a mount has told of itself, or what is used where there is none.
struct OfMount {
    catalog: Catalog,
    cache: CacheArgs,
    url: Option<String>,
}

fn of_all<'a>(
    paths: impl IntoIterator<Item = &'a mut String>,
    config: &ConfigArgs,
    cache: &CacheArgs,
) -> Result<OfMount, CliError> {
    let mut of: Option<Mount> = None;
    let mut inside = Vec::new();
    for path in paths {
        let Some((mount, below)) = below_a_mount(Path::new(path))? else { continue };
        if below.is_empty() {
            return Err(CliError::Failed(format!("{path} is a mount as a whole; name something below it")));
        }
        if let Some(other) = of.as_ref().filter(|of| of.device != mount.device) {
            let (one, other) = (mount.mountpoint.display(), other.mountpoint.display());
            return Err(CliError::Failed(format!("{one} and {other} are different mounts; ask for one at a time")));
        }
        of = Some(mount);
        inside.push((path, below));
    }
    let Some(mount) = of else {
        return Ok(OfMount { catalog: config.catalog()?, cache: cache.clone(), url: None });
    };
    let found = of_mount(&mount, config, cache)?;
    for (path, below) in inside {
        // Inside a mount, a plain name that begins with a dataset's may be the one that other commands print.
        let first = path.split('/').next().unwrap_or_default();
        if found.catalog.named(first).is_none() {
            *path = below;
        }
    }
    Ok(found)
}

/// The daemon that is meant by an address of the web, where it serves, or by a path to its mount or in it.
pub(super) fn peer(name: &Path) -> Result<Peer, CliError> {
    let url = name.to_str().and_then(|name| Url::parse(name).ok());
    match url.filter(|url| matches!(url.scheme(), "http" | "https")) {
        Some(url) => Peer::server(&url).map_err(CliError::system(url.origin().ascii_serialization())),
        None => Ok(Peer::from(&mount_of(name)?)),
    }
}

/// The mount at a path or around it.
fn mount_of(path: &Path) -> Result<Mount, CliError> {
    match below_a_mount(path)? {
        Some((mount, below)) if !below.is_empty() => Ok(mount),
        _ => umount::find(path),
    }
}

/// The catalogue and the cache of a mount, where none were named, and where it serves.
fn of_mount(mount: &Mount, config: &ConfigArgs, cache: &CacheArgs) -> Result<OfMount, CliError> {
    let told = client::flushed_status(mount).map_err(client::unanswered(mount))?;
    let report: Value =
        serde_json::from_str(&told).map_err(|error| CliError::Failed(format!("the daemon: {error}")))?;
    let mut cache = cache.clone();
    if cache.cache_dir.is_none() && cache.cache_size.is_none() {
        cache.cache_dir = report["cache_folder"].as_str().map(PathBuf::from);
        // A mount that keeps nothing uses nothing that is kept.
        cache.cache_size = cache.cache_dir.is_none().then_some(0);
    }
    cache.offline |= report["offline"] == true && !cache.revalidate;
    let catalog = match config.file {
        Some(_) => config.catalog()?,
        None => client::catalogue(mount).map_err(client::unanswered(mount))?.parse()?,
    };
    Ok(OfMount { catalog, cache, url: report["url"].as_str().map(str::to_owned) })
}

/// The mount of emfs that a path leads into, and the rest of the path. Nothing below the mountpoint is looked up: the
/// mount may be dead, or would open an image.
fn below_a_mount(path: &Path) -> Result<Option<(Mount, String)>, CliError> {
    let mounts = mountinfo::mounts().map_err(CliError::system("/proc/self/mountinfo"))?;
    let mounts: Vec<Mount> = mounts.into_iter().rev().filter(Mount::is_emfs).collect();
    let uppermost = |place: &Path| mounts.iter().find(|mount| place.starts_with(&mount.mountpoint));
    let absolute = std::path::absolute(path).map_err(CliError::system(path.display().to_string()))?;
    let resolved = mountinfo::followed(&absolute, |place| uppermost(place).is_some());
    Ok(uppermost(&resolved).map(|mount| {
        let below = resolved.strip_prefix(&mount.mountpoint).unwrap_or(&resolved);
        // A bind mount may show a part of the tree, as containers are given one dataset.
        let below = mount.root.strip_prefix("/").unwrap_or(&mount.root).join(below);
        (mount.clone(), below.display().to_string().trim_end_matches('/').to_owned())
    }))
}
