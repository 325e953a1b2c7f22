//! What is in a folder: from the page that a web server makes of it, or from the file system.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::path::Path;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::cache::{Desk, Reservation};
use crate::remote::Location;
use crate::source::SourceError;
use crate::store::Remote;
use crate::xml::unescaped;

/// Longest page that is read: a line is about 250 bytes, so one of 32 000 files.
const MAX_PAGE: u64 = 8 << 20;
/// What is no page of a folder.
const NO_LISTING: &str = "is no listing of a folder";
/// What is only a part of one.
const CUT: &str = "is a listing of a folder whose end is missing, so that files may be missing in it; where the server always \
                   answers so, name the files one by one in the configuration (`urls`)";
/// Elements that hold all of a page.
const FRAMES: [&str; 2] = ["html", "body"];
/// Those that hold the files of a page that has none of these, as Go's server writes it.
const LISTS: [&str; 4] = ["pre", "table", "ul", "ol"];
/// Files of one folder.
const MAX_FILES: usize = 1 << 15;
/// Longest name of a file.
const MAX_NAME: usize = 255;

/// Memory of a name beside its letters.
const NAME: usize = 48;

/// Names, those that cannot be told as text, escaped, and the name of a folder beside them.
type Names = (Vec<String>, Vec<String>, Option<String>);

/// Names with the memory that they are counted with.
#[derive(Debug)]
pub(super) struct ListedNames {
    pub(super) names: Vec<String>,
    /// Those that cannot be told as text, each byte of them that is none of UTF-8 as `\xe4`.
    pub(super) escaped: Vec<String>,
    /// The name of a folder beside them, where one of this machine has some.
    pub(super) folder: Option<String>,
    _kept: Reservation,
}

/// The names of the files directly in `folder`, in the order of the page, or of the file system.
pub(super) async fn files(remote: &Remote, folder: &Location) -> Result<ListedNames, SourceError> {
    // The folder itself, by the address that servers redirect to.
    let folder = folder.join("");
    match folder.url.scheme() {
        "http" | "https" => {
            let object = remote.object(&folder)?;
            let page = object.document(MAX_PAGE).await?;
            let (url, desk) = (folder.url.clone(), object.desk().clone());
            let work = move || {
                let page = String::from_utf8_lossy(&page);
                if !page.trim_start().starts_with('<') {
                    return Err(NO_LISTING.to_owned());
                }
                if is_cut(&page) {
                    return Err(CUT.to_owned());
                }
                counted(names(&page, &url)?, &desk)
            };
            let named = object.desk().work(work).await.unwrap_or_else(|| Err(NO_LISTING.to_owned()));
            named.map_err(|reason| SourceError::malformed(object.url(), "body", reason))
        }
        "file" => local(remote, &folder).await,
        scheme => {
            let reason = format!("listing of an address with {scheme}:");
            let remedy =
                format!("name the files in it, as {scheme}://BUCKET/KEY, by `urls = [\"…\", \"…\"]` in place of `url`");
            Err(SourceError::unsupported(folder.to_string(), "url", reason).with_remedy(remedy))
        }
    }
}

/// The names where there is memory for them; what is worked on one at a time is counted before the next begins.
fn counted((names, escaped, folder): Names, desk: &Desk) -> Result<ListedNames, String> {
    let bytes: usize = names.iter().chain(&escaped).map(|name| NAME + name.len()).sum();
    let kept = desk.keep(bytes as u64).map_err(|error| error.to_string())?;
    Ok(ListedNames { names, escaped, folder, _kept: kept })
}

async fn local(remote: &Remote, folder: &Location) -> Result<ListedNames, SourceError> {
    let names = remote.with_path(folder, names_in).await?;
    names
        .and_then(|names| counted(names, remote.desk()))
        .map_err(|reason| SourceError::malformed(folder.to_string(), "folder", reason))
}

fn names_in(folder: &Path) -> Result<Names, String> {
    let failed = |error: io::Error| error.to_string();
    let (mut names, mut escaped, mut first) = (Vec::new(), Vec::new(), None);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match entry.file_name().into_string() {
            Ok(name) if is_folder && !name.starts_with('.') => {
                first = first.filter(|first| *first < name).or(Some(name))
            }
            _ if is_folder => {}
            Ok(name) => names.push(name),
            Err(name) => escaped.push(escaped_name(name.as_encoded_bytes())),
        }
        if names.len() + escaped.len() > MAX_FILES {
            return Err(too_many());
        }
    }
    Ok((names, escaped, first))
}

/// A name as text for people.
fn escaped_name(name: &[u8]) -> String {
    let chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let valid = chunk.valid().escape_debug().to_string();
        format!("{valid}{}", chunk.invalid().escape_ascii())
    };
    name.utf8_chunks().map(chunk).collect()
}

fn too_many() -> String {
    format!("has more than {MAX_FILES} files; name those of the volume one by one in the configuration (`urls`)")
}

/// Whether the end of a page is missing: what holds all of it was opened and is not closed. Of a page that opens nothing,
/// nothing is demanded.
fn is_cut(page: &str) -> bool {
    let mut frames = [None; FRAMES.len()];
    let mut lists = [None; LISTS.len()];
    for (at, _) in page.match_indices('<') {
        let rest = page.get(at + 1..).unwrap_or_default();
        let (rest, opens) = rest.strip_prefix('/').map_or((rest, true), |rest| (rest, false));
        let name = rest.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default();
        let place = |names: &[&str]| names.iter().position(|known| known.eq_ignore_ascii_case(name));
        if let Some(frame) = place(&FRAMES) {
            frames[frame] = Some(opens);
        } else if let Some(list) = place(&LISTS) {
            lists[list] = Some(opens);
        }
    }
    match frames {
        [None, None] => lists.contains(&Some(true)),
        // An end of either is the end of all references.
        _ => !frames.contains(&Some(false)),
    }
}

/// The names of files that the page of a folder, whose address ends in a slash, refers to. Only references count: what
/// stands beside them is for people, and cut where it is long. References to other folders, to other orders of the same
/// page and to folders within are left out.
pub(super) fn names(page: &str, folder: &Url) -> Result<Names, String> {
    let (mut names, mut escaped, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (at, _) in page.match_indices(['h', 'H']) {
        let Some(name) = reference(page, at).and_then(|reference| file_name(reference, folder)) else { continue };
        if !seen.insert(name.clone()) {
            continue;
        }
        match String::from_utf8(name) {
            Ok(name) if !name.contains(char::is_control) => names.push(name),
            Ok(name) => escaped.push(escaped_name(name.as_bytes())),
            Err(error) => escaped.push(escaped_name(error.as_bytes())),
        }
        if names.len() + escaped.len() > MAX_FILES {
            return Err(too_many());
        }
    }
    Ok((names, escaped, None))
}

/// The value of an attribute `href` that begins at `at`.
fn reference(page: &str, at: usize) -> Option<&str> {
    let before = page.get(..at)?.chars().next_back()?;
    let (word, rest) = page.get(at..)?.split_at_checked(4)?;
    if !before.is_ascii_whitespace() || !word.eq_ignore_ascii_case("href") {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = rest.chars().next().filter(|letter| matches!(letter, '"' | '\''))?;
    rest.get(1..)?.split_once(quote).map(|(value, _)| value)
}

/// The name of a file in the folder that a reference is to: relative, by its path, or by its whole address.
fn file_name(reference: &str, folder: &Url) -> Option<Vec<u8>> {
    let file = folder.join(&unescaped(reference)).ok()?;
    let same_server = file.origin() == folder.origin();
    if !same_server || file.query().is_some() || file.fragment().is_some() {
        return None;
    }
    let mut segments = file.path_segments()?;
    let name: Vec<u8> = percent_decode_str(segments.next_back()?).collect();
    // What stands after the folder's last slash is empty.
    let mut parent = folder.path_segments()?;
    parent.next_back()?;
    // Some letters may be written in two ways.
    if !segments.map(decoded).eq(parent.map(decoded)) || name.is_empty() || name.len() > MAX_NAME {
        return None;
    }
    (!name.contains(&b'/')).then_some(name)
}

fn decoded(segment: &str) -> Cow<'_, [u8]> {
    percent_decode_str(segment).into()
}

#[cfg(test)]
mod tests;
