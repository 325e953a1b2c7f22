//! `emfs add`: the entry of a configuration for a volume that somebody names.

use std::path::Path;
use std::time::Duration;

use super::CliError;
use super::output::{eprint_line, print};
use super::session::{self, CacheArgs, Session, finish};
use crate::archive;
use crate::catalog::Catalog;
use crate::kind::Kind;
use crate::pasted;
use crate::remote;
use crate::source::SourceError;

/// Somebody waits for the answers.
const PATIENCE: Duration = Duration::from_secs(15);
/// No voxels are read.
const MEMORY: u64 = 1 << 20;
/// How the DOIs of entries of EMPIAR begin.
const DOIS: [&str; 3] = ["DOI:10.6019/", "10.6019/", "HTTPS://DOI.ORG/10.6019/"];
/// Kinds of addresses that do not say theirs, in the order in which they are tried.
const TRIED: [Kind; 6] = [Kind::Precomputed, Kind::Zarr, Kind::N5, Kind::Dm3, Kind::Mrc, Kind::Tiff];

/// Print the entry of a configuration for a volume
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The archive is asked what is there, unless --no-probe is given; what it says stands above the entry as a comment.

Examples:
  emfs add EMPIAR-11759 >> my.toml
  emfs add IDR-9846137 --name nucleus >> my.toml
  emfs add precomputed://gs://flyem-male-cns/em/em-clahe-jpeg >> my.toml
  emfs mount ~/em --config my.toml")]
pub(super) struct AddArgs {
    /// An address, EMPIAR-NNNNN, or IDR-NNNN with the number of an image
    #[arg(value_name = "URL|EMPIAR-NNNNN|IDR-NNNN")]
    address: String,
    /// Name of the dataset [default: made of the address]
    #[arg(long)]
    name: Option<String>,
    /// The archive's web server, where it is another one
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// The archive's file server, where it is another one
    #[arg(long, value_name = "URL")]
    files: Option<String>,
    /// The server of a bucket, where it is another one
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The channel that is shown, where there are several, from 0
    #[arg(long, value_name = "N")]
    channel: Option<u32>,
    /// Ask nobody
    #[arg(long)]
    no_probe: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Prints the entry.
pub(super) fn run(args: &AddArgs) -> Result<(), CliError> {
    let name = args.name.clone().unwrap_or_else(|| name_of(&args.address));
    let entries = args.entries(&name)?;
    // The first kind says what is wrong with the address, where something is.
    let catalogs: Vec<(String, Result<Catalog, _>)> = entries
        .into_iter()
        .map(|entry| {
            let catalog = Catalog::parse(&entry, "the new entry", None);
            (entry, catalog)
        })
        .collect();
    if args.no_probe {
        let (entry, catalog) = first(catalogs)?;
        catalog?;
        return Ok(print(&entry)?);
    }
    let session = Session::new(&Catalog::builtin()?.limits, args.cache.cache_of_any_size()?, PATIENCE, MEMORY)?;
    if let Some((_, Err(wrong))) = catalogs.first()
        && catalogs.iter().all(|(_, catalog)| catalog.is_err())
    {
        return Err(wrong.clone().into());
    }
    let mut failures = Vec::new();
    for (entry, catalog) in catalogs {
        // What is wrong for one kind need not be so for others.
        let Ok(catalog) = catalog else { continue };
        let Some(image) = catalog.datasets.first().and_then(|dataset| dataset.images.first()) else { continue };
        match finish(archive::open(&session.remote, &image.source))? {
            Ok(opened) => return Ok(print(&(told(&opened) + &entry))?),
            Err(failure) => failures.push((image.source.kind.name(), failure.error)),
        }
    }
    worth_telling(&failures).iter().for_each(|line| eprint_line(line));
    let address = remote::shown_text(&args.address);
    Err(CliError::Failed(format!(
        "{address}: no volume could be opened there (--no-probe writes the entry all the same)"
    )))
}

/// Of why it is a volume of no kind what helps: where something of a kind is there what is wrong with that, else what is there.
fn worth_telling(failures: &[(&str, SourceError)]) -> Vec<String> {
    let line = |(kind, error): &(&str, SourceError)| format!("as {kind}: {error}");
    if let [only] = failures {
        return vec![line(only)];
    }
    let mut lines = Vec::new();
    let mut is_unreached = false;
    for failure in failures.iter().filter(|(_, error)| !error.is_of_other_kind()) {
        // One host that cannot be reached is told once.
        if failure.1.cause().is_none() || !std::mem::replace(&mut is_unreached, true) {
            lines.push(line(failure));
        }
    }
    if !lines.is_empty() {
        return lines;
    }
    let is_of_folder =
        |error: &&SourceError| matches!(error, SourceError::Malformed { field, .. } if field == "folder");
    let missing = || failures.iter().map(|(_, error)| error).find(is_of_folder).map(ToString::to_string);
    // A folder is told best by what it is listed with.
    match failures.iter().rev().find_map(|(_, error)| error.seen_instead()).map(str::to_owned).or_else(missing) {
        Some(told) => vec![told],
        None => vec![
            "nothing that emfs knows is there: no document of a store, and no file of a kind that is read".to_owned(),
        ],
    }
}

fn first<T>(list: Vec<T>) -> Result<T, CliError> {
    list.into_iter().next().ok_or_else(|| CliError::Failed("there is no such kind of source".to_owned()))
}

/// What the source says, as a comment.
fn told(opened: &archive::Opened) -> String {
    let description = opened.source.description();
    let Some(finest) = description.levels.first() else { return String::new() };
    let whole = finest.scale.or(opened.voxel_size).map(|size| size.map(Some));
    let known = whole.unwrap_or_else(|| opened.source.partial_voxel_size());
    let size = told_size(known, opened.source.plain_voxel_size());
    let format = description.format.to_string().replace(['\n', '\r'], " ");
    format!("# {} voxels (z × y × x) of {}, {size}: {format}.\n", finest.grid.shape, description.dtype)
}

/// How large a voxel is along `z, y, x`, as far as that is known, and what to add where it is not; `plain` are numbers without
/// a unit.
fn told_size(size: [Option<f64>; 3], plain: Option<[f64; 3]>) -> String {
    if size == [None; 3] {
        let known = match plain {
            Some([z, y, x]) => format!("{z} × {y} × {x} of no unit"),
            None => "of unknown size".to_owned(),
        };
        return format!("{known}; add `voxel_size = [z, y, x]` in nanometres");
    }
    let lengths = size.map(|length| length.map_or_else(|| "?".to_owned(), |length| length.to_string()));
    let more = match size.iter().any(Option::is_none) {
        true => " (`?` is not said; add `voxel_size = [z, y, x]` in nanometres)",
        false => "",
    };
    format!("{} nm{more}", lengths.join(" × "))
}

impl AddArgs {
    /// The entries that the address may mean, the likeliest first.
    fn entries(&self, name: &str) -> Result<Vec<String>, CliError> {
        let mut common: Vec<(&str, toml::Value)> = Vec::new();
        for (key, value) in [("server", &self.server), ("files", &self.files), ("endpoint", &self.endpoint)] {
            common.extend(value.clone().map(|value| (key, value.into())));
        }
        common.extend(self.channel.map(|channel| ("channel", i64::from(channel).into())));
        let entry = |kind: Kind, key: &str, value: toml::Value| {
            let mut source: Vec<(&str, toml::Value)> = vec![("kind", kind.name().into()), (key, value)];
            source.extend(common.iter().cloned());
            let lines: String = source.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            format!("[[dataset]]\nname = {}\n\n[dataset.source]\n{lines}", toml::Value::from(name))
        };
        let trimmed = self.address.trim();
        // A file may have a blank at the end of its name, and a name that was pasted too.
        let is_there = trimmed != self.address && Path::new(&self.address).symlink_metadata().is_ok();
        let address = if is_there { self.address.as_str() } else { trimmed };
        let is_path = Path::new(address).symlink_metadata().is_ok();
        if address.is_empty() {
            return Err(CliError::Usage(
                "the address is empty; write a URL, a path, EMPIAR-NNNNN or IDR-NNNN".to_owned(),
            ));
        }
        match Named::parse(address, is_path).map_err(CliError::Usage)? {
            Named::Empiar(number) => Ok(vec![entry(Kind::Empiar, "entry", number.into())]),
            Named::Idr(number) => Ok(vec![entry(Kind::Idr, "image", number.into())]),
            Named::Address => {
                // The entry is for a file that may lie anywhere.
                let is_url = is_path || address.contains("://");
                if !is_url {
                    let refused =
                        |reason: String| CliError::Usage(format!("{}: {reason}", remote::shown_text(address)));
                    pasted::plain(address).map_err(refused)?;
                }
                let url = match address.contains("://") {
                    true => address.to_owned(),
                    false => session::absolute(Path::new(address))?.display().to_string(),
                };
                Ok(possible_kinds(&url).into_iter().map(|kind| entry(kind, "url", url.as_str().into())).collect())
            }
        }
    }
}

/// What a text names.
#[derive(Debug, PartialEq, Eq)]
enum Named {
    /// An entry of EMPIAR.
    Empiar(i64),
    /// An image of the IDR.
    Idr(i64),
    /// Anything else is an address or a path.
    Address,
}

impl Named {
    /// `is_path`: whether something of this machine is called so.
    fn parse(text: &str, is_path: bool) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let known = DOIS.iter().find_map(|start| upper.strip_prefix(start));
        let upper = known.unwrap_or(&upper);
        let number = |rest: &str| {
            let separators: &[char] = if is_path { &['-'] } else { &['-', '_', ' '] };
            rest.strip_prefix(separators).and_then(|number| number.trim().parse::<u32>().ok()).map(i64::from)
        };
        // Folders may be called so, too.
        let is_word = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if let Some(rest) = upper.strip_prefix("EMPIAR").filter(|rest| is_word(rest) || number(rest).is_some()) {
            let wanted = || format!("{text}: an entry of EMPIAR is written EMPIAR-NNNNN, as EMPIAR-11759");
            return number(rest).map(Named::Empiar).ok_or_else(wanted);
        }
        if let Some(rest) = upper.strip_prefix("IDR").filter(|rest| is_word(rest) || number(rest).is_some()) {
            let wanted = || {
                format!(
                    "{text}: an image of the IDR is written IDR-NNNN with its number, as IDR-9846137; a study has many, and \
                     their pages show the numbers"
                )
            };
            return number(rest).map(Named::Idr).ok_or_else(wanted);
        }
        Ok(Named::Address)
    }
}

/// The kinds that an address may be of.
fn possible_kinds(address: &str) -> Vec<Kind> {
    let lower = address.to_ascii_lowercase();
    let (path, _) = lower.split_once(['?', '|']).unwrap_or((&lower, ""));
    let path = path.trim_end_matches('/');
    let is_precomputed = lower.starts_with("precomputed://") || lower.contains("|neuroglancer-precomputed");
    // It is of no kind, which is said once.
    let is_link = lower.starts_with("http") && lower.contains("#!");
    if is_precomputed || path.ends_with("/info") || is_link {
        return vec![Kind::Precomputed];
    }
    let by_ending = [
        (".tif", Kind::Tiff),
        (".tiff", Kind::Tiff),
        (".btf", Kind::Tiff),
        (".tf8", Kind::Tiff),
        (".dm3", Kind::Dm3),
        (".dm4", Kind::Dm3),
        (".mrc", Kind::Mrc),
        (".mrcs", Kind::Mrc),
        (".st", Kind::Mrc),
        (".rec", Kind::Mrc),
        (".map", Kind::Mrc),
        (".n5", Kind::N5),
        (".zarr", Kind::Zarr),
        ("/.zattrs", Kind::Zarr),
        ("/zarr.json", Kind::Zarr),
    ];
    if let Some((_, kind)) = by_ending.iter().find(|(ending, _)| path.ends_with(ending)) {
        return vec![*kind];
    }
    for (part, kind) in [(".zarr/", Kind::Zarr), (".n5/", Kind::N5)] {
        if path.contains(part) {
            return vec![kind];
        }
    }
    TRIED.to_vec()
}

/// Documents of stores, whose addresses stand for those of the folders that hold them.
const DOCUMENTS: [&str; 7] = ["info", ".zattrs", ".zgroup", ".zarray", ".zmetadata", "zarr.json", "attributes.json"];

/// A name for a dataset: the last parts of its address that say something, as a dataset may be called.
fn name_of(address: &str) -> String {
    let (path, _) = address.split_once(['?', '|']).unwrap_or((address, ""));
    let mut parts = path.trim().trim_end_matches('/').rsplit('/').filter(|part| !part.is_empty()).peekable();
    // The name of a document says what kind of folder it is in, and nothing else.
    let is_document = parts.peek().is_some_and(|last| DOCUMENTS.iter().any(|name| last.eq_ignore_ascii_case(name)));
    let last = parts.nth(usize::from(is_document)).unwrap_or("volume");
    let mut name = last.to_ascii_lowercase();
    for ending in [".zarr", ".n5", ".tiff", ".tif", ".dm3", ".dm4", ".mrc"] {
        if let Some(stem) = name.strip_suffix(ending) {
            name = stem.to_owned();
            break;
        }
    }
    let mut plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' }).collect();
    plain = plain.replace(".zarr", "-zarr").trim_matches(['.', '_', '-']).to_owned();
    if plain.is_empty() { "volume".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_size_that_is_known_along_some_axes_the_others_are_asked_for() {
        assert_eq!(told_size([Some(40.0), Some(8.0), Some(8.5)], None), "40 × 8 × 8.5 nm");
        let partly = told_size([None, Some(8.0), Some(8.0)], None);
        assert!(partly.starts_with("? × 8 × 8 nm (`?` is not said; add `voxel_size"));
        assert!(told_size([None; 3], None).starts_with("of unknown size; add `voxel_size"));
        assert!(told_size([None; 3], Some([40.0, 8.0, 8.0])).starts_with("40 × 8 × 8 of no unit; add `voxel_size"));
    }

    #[test]
    fn entries_and_images_are_known_however_their_number_is_written() {
        for text in [
            "EMPIAR-11759",
            "empiar_11759",
            "EMPIAR 11759",
            "doi:10.6019/EMPIAR-11759",
            "https://doi.org/10.6019/EMPIAR-11759",
        ] {
            assert_eq!(Named::parse(text, false), Ok(Named::Empiar(11759)), "{text}");
        }
        assert_eq!(Named::parse("IDR 9846137", false), Ok(Named::Idr(9846137)));
        for text in ["EMPIAR_11759", "empiar data", "idr_notes", "doi:10.1/EMPIAR_x", "a/EMPIAR-11759"] {
            assert_eq!(Named::parse(text, true), Ok(Named::Address), "{text}");
        }
        assert!(Named::parse("EMPIAR-x", false).is_err());
    }

    #[test]
    fn of_kinds_that_are_not_there_nothing_is_told() {
        let of = |field: &str, reason: &str| SourceError::malformed("f", field, reason);
        let nothing = || ("dm3", of("header", "version 1543569408, which is neither DM3 nor DM4"));
        let broken = ("zarr", of("multiscales[0].datasets", "there is no level"));
        assert_eq!(worth_telling(&[nothing(), broken]), ["as zarr: f: multiscales[0].datasets: there is no level"]);
        let picture = ("zarr", of("document", "there is none; it is PNG, which emfs does not read"));
        assert_eq!(worth_telling(&[nothing(), picture]), ["it is PNG, which emfs does not read"]);
        assert!(worth_telling(&[nothing(), nothing()])[0].starts_with("nothing that emfs knows is there"));
        assert!(worth_telling(&[nothing()])[0].contains("version 1543569408"));
    }

    #[test]
    fn addresses_say_their_kind_or_several_are_tried() {
        for (address, expected) in [
            ("precomputed://gs://b/em", vec![Kind::Precomputed]),
            ("https://h/a/volume.TIF", vec![Kind::Tiff]),
            ("https://h/a/x.zarr/recon-1/em?x=1", vec![Kind::Zarr]),
            ("s3://b/c.n5/em/s0", vec![Kind::N5]),
            ("https://h/stack.dm4", vec![Kind::Dm3]),
            ("https://h/density.map?x=1", vec![Kind::Mrc]),
            ("https://h/somewhere/", TRIED.to_vec()),
            ("https://h/x|neuroglancer-precomputed", vec![Kind::Precomputed]),
            ("https://h/#!{\"layers\":[]}", vec![Kind::Precomputed]),
        ] {
            assert_eq!(possible_kinds(address), expected, "{address}");
        }
    }

    #[test]
    fn every_address_gives_a_name_that_a_dataset_may_have() {
        for (address, expected) in [
            ("EMPIAR-11759", "empiar-11759"),
            ("https://h/a/Volume%201.tif", "volume-201"),
            ("s3://b/c.zarr/", "c"),
            ("gs://b/é", "volume"),
            ("https://h/em/cortex.zarr/.zattrs", "cortex"),
            ("s3://b/cortex.zarr/em/zarr.json", "em"),
            ("gs://b/hemibrain/info?x=1", "hemibrain"),
            ("https://h/cells.n5/attributes.json/", "cells"),
        ] {
            let name = name_of(address);
            assert_eq!(name, expected);
            let text = format!("[[dataset]]\nname = \"{name}\"\nsource = {{ kind = \"zarr\", url = \"https://h/v\" }}");
            assert!(Catalog::parse(&text, "c.toml", None).is_ok());
        }
    }
}
