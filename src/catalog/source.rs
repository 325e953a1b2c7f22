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
use crate::geometry::Region;
use crate::kind::Kind;
use crate::pasted;
use crate::remote::{Credentials, Location, shown_text};
use crate::view::ViewSpec;

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

impl RawSource {
    fn take_overrides(&mut self) -> RawOverrides {
        RawOverrides {
            order: self.order.take(),
            pattern: self.pattern.take(),
            gaps: self.gaps.take(),
            axes: self.axes.take(),
            truncated: self.truncated.take(),
        }
    }
}

/// Checks a source table.
pub(super) fn spec(
    place: CatalogText<'_>,
    folder: Option<&Path>,
    raw: Spanned<RawSource>,
) -> Result<SourceSpec, CatalogError> {
    let section = raw.span();
    let mut raw = raw.into_inner();
    let overrides = raw.take_overrides();
    let kind = known_kind(place, &raw.kind)?;
    refuse_keys_of_others(place, kind, &raw, &overrides)?;
    let window = range(place, "window", raw.window)?;
    let recorded_window = range(place, "recorded_window", raw.recorded_window)?;
    let (voxel_size, forced) = match size(place, raw.voxel_size)? {
        Some(RawSize::Forced(size)) => (None, Some(size)),
        Some(RawSize::Missing(size)) => (Some(size), None),
        None => (None, None),
    };
    let access = Access { endpoint: raw.endpoint, credentials: raw.credentials };
    let written = Written { place, folder, section, kind, access };
    Ok(SourceSpec {
        kind: match kind {
            Kind::Idr => written.idr(raw.image, (raw.server, raw.files), raw.url)?,
            Kind::Empiar => written.empiar(raw.entry, (raw.server, raw.files), raw.imageset)?,
            Kind::Tiff => SourceKind::Tiff { files: written.files(raw.url, raw.urls)? },
            Kind::Dm3 => SourceKind::Dm3 { files: written.files(raw.url, raw.urls)? },
            Kind::Mrc => SourceKind::Mrc { files: written.files(raw.url, raw.urls)? },
            Kind::Zarr => SourceKind::Zarr { url: written.store(raw.url)? },
            Kind::N5 => SourceKind::N5 { url: written.store(raw.url)? },
            Kind::Precomputed => SourceKind::Precomputed { url: written.store(raw.url)? },
        },
        chunk: chunk(place, raw.chunk)?,
        window,
        recorded_window,
        recorded: raw.recorded,
        voxel_size,
        channel: raw.channel.map(Spanned::into_inner),
        first_level: raw.first_level.map(Spanned::into_inner),
        pyramid: raw.pyramid.unwrap_or(true),
        label: None,
        overrides: overrides.checked(place, forced)?,
        tissue: tissue(place, raw.tissue)?,
    })
}

fn known_kind(place: CatalogText<'_>, text: &Spanned<String>) -> Result<Kind, CatalogError> {
    let name = text.get_ref();
    Kind::named(name).ok_or_else(|| {
        let meant = Kind::meant(name).map(|kind| format!("; did you mean `{kind}`?")).unwrap_or_default();
        let known = Kind::ALL.map(Kind::name).join(", ");
        place.error(text.span(), "kind", format!("unknown kind `{name}`; known are {known}{meant}"))
    })
}

/// The keys of a kind that are not those of any kind.
fn own_keys(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Idr => &["url", "image", "server", "files", "channel", "axes", "truncated", "order", "pattern", "gaps"],
        Kind::Empiar => &["entry", "imageset", "server", "files", "order", "pattern", "gaps"],
        Kind::Tiff => &["url", "urls", "channel", "order", "pattern", "gaps", "axes", "truncated"],
        Kind::Mrc => &["url", "urls", "order", "pattern", "gaps", "truncated"],
        Kind::Dm3 => &["url", "urls", "order", "pattern", "gaps"],
        Kind::Precomputed | Kind::Zarr | Kind::N5 => &["url", "channel", "first_level"],
    }
}

fn refuse_keys_of_others(
    place: CatalogText<'_>,
    kind: Kind,
    raw: &RawSource,
    overrides: &RawOverrides,
) -> Result<(), CatalogError> {
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
    let own = own_keys(kind);
    match given.into_iter().chain(overrides.given()).flatten().find(|(key, _)| !own.contains(key)) {
        Some((key, span)) => Err(place.error(span, key, format!("a source of kind `{kind}` has no such key"))),
        None => Ok(()),
    }
}

fn chunk(place: CatalogText<'_>, chunk: Option<Spanned<[u64; 3]>>) -> Result<Option<[u64; 3]>, CatalogError> {
    let Some(chunk) = chunk else { return Ok(None) };
    let sides = *chunk.get_ref();
    if sides.iter().any(|side| !(1..=MAX_CHUNK).contains(side)) {
        return Err(place.error(chunk.span(), "chunk", format!("each side must be 1 to {MAX_CHUNK}")));
    }
    if sides.iter().product::<u64>() > MAX_VOXELS {
        let reason = format!("must have at most {MAX_VOXELS} voxels, since a chunk is read whole");
        return Err(place.error(chunk.span(), "chunk", reason));
    }
    Ok(Some(sides))
}

fn range(
    place: CatalogText<'_>,
    key: &str,
    window: Option<Spanned<[f64; 2]>>,
) -> Result<Option<(f64, f64)>, CatalogError> {
    let Some(window) = window else { return Ok(None) };
    let [low, high] = *window.get_ref();
    match low.is_finite() && high.is_finite() && low < high {
        true => Ok(Some((low, high))),
        false => Err(place.error(window.span(), key, "must be [low, high] with low below high")),
    }
}

fn size(place: CatalogText<'_>, size: Option<Spanned<RawSize>>) -> Result<Option<RawSize>, CatalogError> {
    let Some(size) = size else { return Ok(None) };
    match size.get_ref().lengths().iter().all(|length| length.is_finite() && *length > 0.0) {
        true => Ok(Some(size.into_inner())),
        false => Err(place.error(size.span(), "voxel_size", "must be three numbers of nanometres above 0")),
    }
}

fn tissue(place: CatalogText<'_>, text: Option<Spanned<String>>) -> Result<Option<Region>, CatalogError> {
    let Some(text) = text else { return Ok(None) };
    let region = ViewSpec::parse_box(text.get_ref());
    region.map(Some).map_err(|error| place.error(text.span(), "tissue", error.to_string()))
}

/// A source table: where it is written, and what all of its addresses share.
struct Written<'a> {
    place: CatalogText<'a>,
    folder: Option<&'a Path>,
    section: Range<usize>,
    kind: Kind,
    access: Access,
}

impl Written<'_> {
    /// An image of the IDR.
    fn idr(
        &self,
        image: Option<Spanned<u64>>,
        (server, files): (Option<Spanned<String>>, Option<Spanned<String>>),
        url: Option<Spanned<String>>,
    ) -> Result<SourceKind, CatalogError> {
        Ok(SourceKind::Idr {
            image: self.number("image", image, "OMERO counts images from 1")?,
            server: web(self.place, "server", server, IDR_SERVER)?,
            files: web(self.place, "files", files, IDR_FILES)?,
            url: match url {
                Some(url) => Some(self.file(url)?),
                None => self.refuse_access().map(|()| None)?,
            },
        })
    }

    /// An entry of EMPIAR.
    fn empiar(
        &self,
        entry: Option<Spanned<u64>>,
        (server, files): (Option<Spanned<String>>, Option<Spanned<String>>),
        imageset: Option<Spanned<String>>,
    ) -> Result<SourceKind, CatalogError> {
        let entry = self.number("entry", entry, "EMPIAR has no entry 0")?;
        self.refuse_access()?;
        Ok(SourceKind::Empiar {
            entry,
            server: web(self.place, "server", server, EMPIAR_SERVER)?,
            files: web(self.place, "files", files, EMPIAR_FILES)?,
            imageset: imageset.map(Spanned::into_inner),
        })
    }

    /// The folder of a store, by an address as people paste it.
    fn store(&self, url: Option<Spanned<String>>) -> Result<Location, CatalogError> {
        let text = self.required("url", url)?;
        let address = pasted::address(written(text.get_ref(), self.folder), self.kind);
        let address = address.map_err(|reason| refused(self.place, &text, &reason))?;
        self.file(Spanned::new(text.span(), address))
    }

    /// The files of a source that is read file by file: `url` of one or of a folder, or `urls` of a file per z.
    fn files(
        &self,
        url: Option<Spanned<String>>,
        urls: Option<Spanned<Vec<Spanned<String>>>>,
    ) -> Result<VolumeFiles, CatalogError> {
        match (url, urls) {
            (Some(url), None) => {
                let url = self.file(url)?;
                let path = url.url.path().to_ascii_lowercase();
                let name = path.rsplit('/').next().unwrap_or_default();
                let file = match self.kind {
                    Kind::Dm3 => name.ends_with(".dm3") || name.ends_with(".dm4"),
                    // These have many endings, or none. What a server has there is found out.
                    _ => !name.is_empty(),
                };
                Ok(if file { VolumeFiles::File(url) } else { VolumeFiles::Folder(url) })
            }
            (None, Some(urls)) => {
                let span = urls.span();
                let urls = urls.into_inner();
                if !(1..=MAX_FILES).contains(&urls.len()) {
                    return Err(self.place.error(span, "urls", format!("must be 1 to {MAX_FILES} addresses")));
                }
                let urls = urls.into_iter().map(|url| self.file(url));
                Ok(VolumeFiles::List(urls.collect::<Result<_, _>>()?))
            }
            (Some(_), Some(urls)) => Err(self.place.error(urls.span(), "urls", "either `url` or `urls`, not both")),
            (None, None) => self.missing("url", "`url` or `urls`"),
        }
    }

    fn file(&self, url: Spanned<String>) -> Result<Location, CatalogError> {
        self.access.apply(self.place, location(self.place, self.folder, url)?)
    }

    fn required<T>(&self, key: &str, value: Option<Spanned<T>>) -> Result<Spanned<T>, CatalogError> {
        value.map_or_else(|| self.missing(key, &format!("`{key}`")), Ok)
    }

    /// The number of something, of which there is none that is 0.
    fn number(&self, key: &str, value: Option<Spanned<u64>>, of_zero: &str) -> Result<u64, CatalogError> {
        let number = self.required(key, value)?;
        match number.get_ref() {
            0 => Err(self.place.error(number.span(), key, of_zero)),
            number => Ok(*number),
        }
    }

    fn missing<T>(&self, key: &str, needed: &str) -> Result<T, CatalogError> {
        let reason = format!("a source of kind `{}` needs {needed}", self.kind);
        Err(self.place.error(self.section.clone(), key, reason))
    }

    /// Where no address of an object store is given.
    fn refuse_access(&self) -> Result<(), CatalogError> {
        match self.access.span() {
            Some((key, span)) => Err(self.place.error(span, key, "is for s3 and gs addresses only")),
            None => Ok(()),
        }
    }
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
        Err(_) if !text.contains("://") => {
            Err(place.error(span, key, format!("`{text}` must begin with http:// or https://")))
        }
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
