//! The table that says where voxels come from: which keys each kind takes, and what they mean.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::error::{CatalogError, CatalogText};
use super::overrides::{RawOverrides, RawSize};
use super::recorded::Recorded;
use super::{SourceKind, SourceSpec, VolumeFiles};
use crate::pasted;
use crate::remote::{Credentials, Location, shown_text};
use crate::view::ViewSpec;

/// The kinds this version reads.
const KINDS: [&str; 8] = ["idr", "empiar", "tiff", "dm3", "mrc", "zarr", "n5", "precomputed"];

/// Most voxels of a chunk: 64 MiB of bytes.
const MAX_VOXELS: u64 = 64 << 20;

/// Longest side of a chunk.
const MAX_CHUNK: u64 = 4096;

const IDR_SERVER: &str = "https://idr.openmicroscopy.org";
const IDR_FILES: &str = "https://ftp.ebi.ac.uk/pub/databases/IDR";
const EMPIAR_SERVER: &str = "https://www.ebi.ac.uk/empiar";
const EMPIAR_FILES: &str = "https://ftp.ebi.ac.uk/empiar/world_availability";

/// Most files of a list.
const MAX_FILES: usize = 1 << 20;

/// All keys of all kinds: a tagged enumeration would lose the places of the values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    kind: Spanned<String>,
    url: Option<Spanned<String>>,
    urls: Option<Spanned<Vec<Spanned<String>>>>,
    image: Option<Spanned<u64>>,
    entry: Option<Spanned<u64>>,
    imageset: Option<Spanned<String>>,
    server: Option<Spanned<String>>,
    files: Option<Spanned<String>>,
    endpoint: Option<Spanned<String>>,
    credentials: Option<Spanned<String>>,
    chunk: Option<Spanned<[u64; 3]>>,
    window: Option<Spanned<[f64; 2]>>,
    recorded_window: Option<Spanned<[f64; 2]>>,
    #[serde(default)]
    recorded: Recorded,
    voxel_size: Option<Spanned<RawSize>>,
    channel: Option<Spanned<u64>>,
    pyramid: Option<bool>,
    first_level: Option<Spanned<u8>>,
    tissue: Option<Spanned<String>>,
    order: Option<Spanned<String>>,
    pattern: Option<Spanned<String>>,
    gaps: Option<Spanned<String>>,
    axes: Option<Spanned<String>>,
    truncated: Option<Spanned<String>>,
}

/// Checks a source table.
pub(super) fn spec(
    place: CatalogText<'_>,
    folder: Option<&Path>,
    raw: Spanned<RawSource>,
) -> Result<SourceSpec, CatalogError> {
    let section = raw.span();
    let raw = raw.into_inner();
    let chunk = match raw.chunk {
        Some(chunk) if chunk.get_ref().iter().any(|side| !(1..=MAX_CHUNK).contains(side)) => {
            return Err(place.error(chunk.span(), "chunk", format!("each side must be 1 to {MAX_CHUNK}")));
        }
        Some(chunk) if chunk.get_ref().iter().product::<u64>() > MAX_VOXELS => {
            let reason = format!("must have at most {MAX_VOXELS} voxels, since a chunk is read whole");
            return Err(place.error(chunk.span(), "chunk", reason));
        }
        chunk => chunk.map(Spanned::into_inner),
    };
    let range = |key, window: Option<Spanned<[f64; 2]>>| match window.map(|window| (window.span(), window.into_inner()))
    {
        Some((span, [low, high])) if !(low.is_finite() && high.is_finite() && low < high) => {
            Err(place.error(span, key, "must be [low, high] with low below high"))
        }
        window => Ok(window.map(|(_, [low, high])| (low, high))),
    };
    let window = range("window", raw.window)?;
    let recorded_window = range("recorded_window", raw.recorded_window)?;
    let voxel_size = match raw.voxel_size {
        Some(size) if size.get_ref().lengths().iter().any(|length| !(length.is_finite() && *length > 0.0)) => {
            return Err(place.error(size.span(), "voxel_size", "must be three numbers of nanometres above 0"));
        }
        size => size.map(Spanned::into_inner),
    };
    let (voxel_size, forced) = match voxel_size {
        Some(RawSize::Forced(size)) => (None, Some(size)),
        Some(RawSize::Missing(size)) => (Some(size), None),
        None => (None, None),
    };
    let overrides = RawOverrides {
        order: raw.order,
        pattern: raw.pattern,
        gaps: raw.gaps,
        axes: raw.axes,
        truncated: raw.truncated,
    };
    let tissue = match raw.tissue.map(|tissue| (tissue.span(), ViewSpec::parse_box(tissue.get_ref()))) {
        Some((span, Err(error))) => return Err(place.error(span, "tissue", error.to_string())),
        Some((_, Ok(region))) => Some(region),
        None => None,
    };

    let kind = raw.kind.get_ref().as_str();
    let own = match kind {
        "idr" => {
            ["url", "image", "server", "files", "channel", "axes", "truncated", "order", "pattern", "gaps"].as_slice()
        }
        "empiar" => &["entry", "imageset", "server", "files", "order", "pattern", "gaps"],
        "tiff" => &["url", "urls", "channel", "order", "pattern", "gaps", "axes", "truncated"],
        "mrc" => &["url", "urls", "order", "pattern", "gaps", "truncated"],
        "dm3" => &["url", "urls", "order", "pattern", "gaps"],
        "precomputed" | "zarr" | "n5" => &["url", "channel", "first_level"],
        _ => &["url"],
    };
    let given = [
        raw.url.as_ref().map(|url| ("url", url.span())),
        raw.urls.as_ref().map(|urls| ("urls", urls.span())),
        raw.image.as_ref().map(|image| ("image", image.span())),
        raw.entry.as_ref().map(|entry| ("entry", entry.span())),
        raw.imageset.as_ref().map(|imageset| ("imageset", imageset.span())),
        raw.server.as_ref().map(|server| ("server", server.span())),
        raw.files.as_ref().map(|files| ("files", files.span())),
        raw.channel.as_ref().map(|channel| ("channel", channel.span())),
        raw.first_level.as_ref().map(|level| ("first_level", level.span())),
    ];
    let misplaced = given.into_iter().chain(overrides.given()).flatten().find(|(key, _)| !own.contains(key));
    if let (Some((key, span)), true) = (misplaced, KINDS.contains(&kind)) {
        return Err(place.error(span, key, format!("a source of kind `{kind}` has no such key")));
    }
    let overrides = overrides.checked(place, forced)?;
    let channel = raw.channel.map(Spanned::into_inner);
    let first_level = raw.first_level.map(Spanned::into_inner);
    let access = Access { endpoint: raw.endpoint, credentials: raw.credentials };
    let kind = match kind {
        "idr" => {
            let image = required(place, &section, kind, "image", raw.image)?;
            if *image.get_ref() == 0 {
                return Err(place.error(image.span(), "image", "OMERO counts images from 1"));
            }
            let url = raw.url.map(|url| location(place, folder, url)).transpose()?;
            let span = access.span();
            SourceKind::Idr {
                image: image.into_inner(),
                server: web(place, "server", raw.server, IDR_SERVER)?,
                files: web(place, "files", raw.files, IDR_FILES)?,
                url: match (url, span) {
                    (Some(url), _) => Some(access.apply(place, url)?),
                    (None, None) => None,
                    (None, Some((key, span))) => return Err(place.error(span, key, "is for s3 and gs addresses only")),
                },
            }
        }
        "empiar" => {
            let entry = required(place, &section, kind, "entry", raw.entry)?;
            if *entry.get_ref() == 0 {
                return Err(place.error(entry.span(), "entry", "EMPIAR has no entry 0"));
            }
            if let Some((key, span)) = access.span() {
                return Err(place.error(span, key, "is for s3 and gs addresses only"));
            }
            SourceKind::Empiar {
                entry: entry.into_inner(),
                server: web(place, "server", raw.server, EMPIAR_SERVER)?,
                files: web(place, "files", raw.files, EMPIAR_FILES)?,
                imageset: raw.imageset.map(Spanned::into_inner),
            }
        }
        "dm3" => SourceKind::Dm3 { files: files((place, folder), (&section, kind), raw.url, raw.urls, &access)? },
        "tiff" => SourceKind::Tiff { files: files((place, folder), (&section, kind), raw.url, raw.urls, &access)? },
        "mrc" => SourceKind::Mrc { files: files((place, folder), (&section, kind), raw.url, raw.urls, &access)? },
        "precomputed" | "zarr" | "n5" => {
            let text = required(place, &section, kind, "url", raw.url)?;
            let address = pasted::address(written(text.get_ref(), folder), kind);
            let address = address.map_err(|reason| refused(place, &text, &reason))?;
            let text = Spanned::new(text.span(), address);
            let url = access.apply(place, location(place, folder, text)?)?;
            match kind {
                "precomputed" => SourceKind::Precomputed { url },
                "n5" => SourceKind::N5 { url },
                _ => SourceKind::Zarr { url },
            }
        }
        other => {
            let meant = meant_kind(other).map(|kind| format!("; did you mean `{kind}`?")).unwrap_or_default();
            let reason = format!("unknown kind `{other}`; known are {}{meant}", KINDS.join(", "));
            return Err(place.error(raw.kind.span(), "kind", reason));
        }
    };
    Ok(SourceSpec {
        kind,
        chunk,
        window,
        recorded_window,
        recorded: raw.recorded,
        voxel_size,
        channel,
        first_level,
        pyramid: raw.pyramid.unwrap_or(true),
        label: None,
        overrides,
        tissue,
    })
}

/// The kind that is read for what people call by the ending of its files, or in other letters.
fn meant_kind(other: &str) -> Option<&'static str> {
    let other = other.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
    let other = other.trim_start_matches('-');
    if let Some(known) = KINDS.into_iter().find(|known| *known == other) {
        return Some(known);
    }
    Some(match other {
        "dm" | "dm4" | "gatan" => "dm3",
        "tif" | "btf" | "tf8" | "bigtiff" | "ome-tif" | "ome-tiff" | "imagej" => "tiff",
        "mrcs" | "map" | "rec" | "st" | "ccp4" => "mrc",
        "zarr2" | "zarr3" | "ome-zarr" | "omezarr" | "ngff" | "ome-ngff" => "zarr",
        "neuroglancer" | "neuroglancer-precomputed" => "precomputed",
        _ => return None,
    })
}

/// The files of a source that is read file by file: `url` of one or of a folder, or `urls` of a file per z.
fn files(
    (place, folder): (CatalogText<'_>, Option<&Path>),
    (section, kind): (&Range<usize>, &str),
    url: Option<Spanned<String>>,
    urls: Option<Spanned<Vec<Spanned<String>>>>,
    access: &Access,
) -> Result<VolumeFiles, CatalogError> {
    match (url, urls) {
        (Some(url), None) => {
            let url = access.apply(place, location(place, folder, url)?)?;
            let path = url.url.path().to_ascii_lowercase();
            let name = path.rsplit('/').next().unwrap_or_default();
            let file = match kind {
                "dm3" => name.ends_with(".dm3") || name.ends_with(".dm4"),
                // These have many endings, or none. What a server has there is found out.
                _ => !name.is_empty(),
            };
            Ok(if file { VolumeFiles::File(url) } else { VolumeFiles::Folder(url) })
        }
        (None, Some(urls)) => {
            let span = urls.span();
            let urls = urls.into_inner();
            if !(1..=MAX_FILES).contains(&urls.len()) {
                return Err(place.error(span, "urls", format!("must be 1 to {MAX_FILES} addresses")));
            }
            let urls = urls.into_iter().map(|url| access.apply(place, location(place, folder, url)?));
            Ok(VolumeFiles::List(urls.collect::<Result<_, _>>()?))
        }
        (Some(_), Some(urls)) => Err(place.error(urls.span(), "urls", "either `url` or `urls`, not both")),
        (None, None) => {
            Err(place.error(section.clone(), "url", format!("a source of kind `{kind}` needs `url` or `urls`")))
        }
    }
}

fn required<T>(
    place: CatalogText<'_>,
    section: &Range<usize>,
    kind: &str,
    key: &str,
    value: Option<Spanned<T>>,
) -> Result<Spanned<T>, CatalogError> {
    value.ok_or_else(|| place.error(section.clone(), key, format!("a source of kind `{kind}` needs `{key}`")))
}

/// The address in a text. Whoever pastes one often pastes a blank or the end of a line with it; a file that has these in its name
/// is another one than that without them.
fn written<'a>(text: &'a str, folder: Option<&Path>) -> &'a str {
    let trimmed = text.trim();
    let is_there = || folder.unwrap_or(Path::new("/")).join(text).symlink_metadata().is_ok();
    if trimmed == text || trimmed.is_empty() || text.contains("://") || !is_there() { trimmed } else { text }
}

/// The location that is written there.
fn location(place: CatalogText<'_>, folder: Option<&Path>, text: Spanned<String>) -> Result<Location, CatalogError> {
    let address = match written(text.get_ref(), folder) {
        file if file.trim() != file => file.to_owned(),
        address => pasted::plain(address).map_err(|reason| refused(place, &text, &reason))?,
    };
    if let Some(reason) = pasted::refusal(&address) {
        return Err(refused(place, &text, &reason));
    }
    Location::parse(&address, folder).map_err(|error| place.error(text.span(), "url", error.to_string()))
}

fn refused(place: CatalogText<'_>, text: &Spanned<String>, reason: &str) -> CatalogError {
    let address = pasted::brief(&shown_text(text.get_ref().trim()));
    place.error(text.span(), "url", format!("{address}: {reason}"))
}

/// The address of a web server.
fn web(place: CatalogText<'_>, key: &str, text: Option<Spanned<String>>, default: &str) -> Result<Url, CatalogError> {
    let (span, text) = match text {
        Some(text) => (text.span(), text.into_inner()),
        None => (0..0, default.to_owned()),
    };
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(place.error(span, key, format!("`{text}` must begin with http:// or https://"))),
        Err(error) => Err(place.error(span, key, format!("`{text}` is no address: {error}"))),
    }
}

/// The keys that say how an object store is reached.
struct Access {
    endpoint: Option<Spanned<String>>,
    credentials: Option<Spanned<String>>,
}

impl Access {
    fn span(&self) -> Option<(&'static str, Range<usize>)> {
        let endpoint = self.endpoint.as_ref().map(|endpoint| ("endpoint", endpoint.span()));
        // That there are none is said of any source.
        let credentials = self.credentials.as_ref().filter(|credentials| credentials.get_ref() != "none");
        endpoint.or_else(|| credentials.map(|credentials| ("credentials", credentials.span())))
    }

    fn apply(&self, place: CatalogText<'_>, location: Location) -> Result<Location, CatalogError> {
        let Some((key, span)) = self.span() else { return Ok(location) };
        if !matches!(location.url.scheme(), "s3" | "gs") {
            return Err(place.error(span, key, "is for s3 and gs addresses only"));
        }
        let credentials = match &self.credentials {
            None => Credentials::None,
            Some(text) => match text.get_ref().as_str() {
                "none" => Credentials::None,
                "env" => Credentials::Env,
                other => {
                    let reason = format!("`{other}` must be \"none\" or \"env\"");
                    return Err(place.error(text.span(), "credentials", reason));
                }
            },
        };
        let endpoint = match &self.endpoint {
            None => None,
            Some(text) => Some(web(place, "endpoint", Some(text.clone()), "")?),
        };
        Ok(Location { endpoint, credentials, ..location })
    }
}
