//! From TOML text to a [`Catalog`], with the file, line and key of whatever is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::error::{CatalogError, CatalogText};
use super::labels::RawLabelValue;
use super::names::{self, MAIN_IMAGE};
use super::source::{self, RawSource};
use super::{Catalog, Dataset, ImageSpec, LabelSpec, NamedView, SourceSpec};
use crate::remote::{HostLimits, LimitsByHost};
use crate::view::ViewSpec;

/// More connections than any archive wants.
const MAX_CONNECTIONS: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalog {
    #[serde(default)]
    dataset: Vec<Spanned<RawDataset>>,
    #[serde(default)]
    host: BTreeMap<Spanned<String>, RawHost>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDataset {
    name: Spanned<String>,
    #[serde(default)]
    about: toml::Table,
    source: Option<Spanned<RawSource>>,
    #[serde(default)]
    labels: Vec<RawLabel>,
    #[serde(default)]
    image: Vec<RawImage>,
    #[serde(default)]
    view: Vec<RawView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawImage {
    name: Spanned<String>,
    source: Spanned<RawSource>,
    #[serde(default)]
    labels: Vec<RawLabel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLabel {
    name: Spanned<String>,
    source: Spanned<RawSource>,
    values: Option<Spanned<Vec<RawLabelValue>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawView {
    name: Spanned<String>,
    image: Spanned<String>,
    crop: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHost {
    connections: Option<Spanned<usize>>,
    rate: Option<Spanned<f64>>,
    stall: Option<Spanned<f64>>,
    md5_etags: Option<bool>,
    absent: Option<Spanned<u16>>,
}

/// Parses the text of the catalogue `file`; relative paths in it start at `folder`.
pub(super) fn catalog(text: &str, file: &str, folder: Option<&Path>) -> Result<Catalog, CatalogError> {
    let place = CatalogText { file, text };
    let raw: RawCatalog = toml::from_str(text).map_err(|error| place.parser_error(&error))?;
    let limits = limits(place, raw.host)?;
    if raw.dataset.is_empty() {
        return Err(place.error(0..0, "dataset", "the file has no [[dataset]]"));
    }
    let mut taken = BTreeSet::new();
    let mut datasets = Vec::with_capacity(raw.dataset.len());
    for raw in raw.dataset {
        let span = raw.span();
        datasets.push(dataset(place, folder, span, raw.into_inner(), &mut taken)?);
    }
    Ok(Catalog { datasets, further: Vec::new(), limits })
}

fn dataset(
    place: CatalogText<'_>,
    folder: Option<&Path>,
    span: std::ops::Range<usize>,
    raw: RawDataset,
    taken: &mut BTreeSet<String>,
) -> Result<Dataset, CatalogError> {
    check_name(place, &raw.name, names::dataset_fault)?;
    if !taken.insert(raw.name.get_ref().to_ascii_lowercase()) {
        let reason = format!("`{}` is taken by another dataset (case does not count)", raw.name.get_ref());
        return Err(place.error(raw.name.span(), "name", reason));
    }
    let mut images = Vec::with_capacity(raw.image.len() + 1);
    if let Some(source) = raw.source {
        let source = source::spec(place, folder, source)?;
        let labels = labels(place, folder, raw.labels)?;
        images.push(ImageSpec { name: MAIN_IMAGE.to_owned(), source, labels });
    } else if let Some(label) = raw.labels.first() {
        let reason = format!("are those of the image `{MAIN_IMAGE}`, for which there is no [dataset.source]");
        return Err(place.error(label.name.span(), "labels", reason));
    }
    let mut image_names = BTreeSet::new();
    for raw in raw.image {
        check_name(place, &raw.name, names::image_fault)?;
        if raw.name.get_ref() == MAIN_IMAGE {
            let reason = format!("`{MAIN_IMAGE}` is the image of [dataset.source]");
            return Err(place.error(raw.name.span(), "name", reason));
        }
        check_unique(place, &raw.name, "image", &mut image_names)?;
        let labels = labels(place, folder, raw.labels)?;
        let source = source::spec(place, folder, raw.source)?;
        images.push(ImageSpec { name: raw.name.into_inner(), source, labels });
    }
    if images.is_empty() {
        let reason = format!("dataset `{}` has neither a [dataset.source] nor a [[dataset.image]]", raw.name.get_ref());
        return Err(place.error(span, "source", reason));
    }
    let mut views = Vec::with_capacity(raw.view.len());
    for raw in raw.view {
        check_name(place, &raw.name, names::image_fault)?;
        if raw.name.get_ref() == MAIN_IMAGE {
            return Err(place.error(raw.name.span(), "name", format!("`{MAIN_IMAGE}` is an image")));
        }
        check_unique(place, &raw.name, "image or view", &mut image_names)?;
        let Some(image) = images.iter().position(|image| image.name == *raw.image.get_ref()) else {
            let reason = format!("there is no image `{}` in this dataset", raw.image.get_ref());
            return Err(place.error(raw.image.span(), "image", reason));
        };
        let crop = ViewSpec::parse_box(raw.crop.get_ref())
            .map_err(|error| place.error(raw.crop.span(), "crop", error.to_string()))?;
        views.push(NamedView { name: raw.name.into_inner(), image, crop });
    }
    Ok(Dataset { name: raw.name.into_inner(), about: raw.about, images, views })
}

/// The label images of an image.
fn labels(place: CatalogText<'_>, folder: Option<&Path>, raw: Vec<RawLabel>) -> Result<Vec<LabelSpec>, CatalogError> {
    let mut taken = BTreeSet::new();
    let mut labels = Vec::with_capacity(raw.len());
    for label in raw {
        check_name(place, &label.name, names::image_fault)?;
        check_unique(place, &label.name, "label", &mut taken)?;
        let values = super::labels::values(place, label.values)?;
        let source = SourceSpec { label: Some(values.into()), ..source::spec(place, folder, label.source)? };
        labels.push(LabelSpec { name: label.name.into_inner(), source });
    }
    Ok(labels)
}

fn check_name(
    place: CatalogText<'_>,
    name: &Spanned<String>,
    fault: impl Fn(&str) -> Option<String>,
) -> Result<(), CatalogError> {
    match fault(name.get_ref()) {
        Some(reason) => Err(place.error(name.span(), "name", reason)),
        None => Ok(()),
    }
}

fn check_unique(
    place: CatalogText<'_>,
    name: &Spanned<String>,
    what: &str,
    taken: &mut BTreeSet<String>,
) -> Result<(), CatalogError> {
    if taken.insert(name.get_ref().clone()) {
        return Ok(());
    }
    Err(place.error(name.span(), "name", format!("`{}` is taken by another {what}", name.get_ref())))
}

fn limits(place: CatalogText<'_>, hosts: BTreeMap<Spanned<String>, RawHost>) -> Result<LimitsByHost, CatalogError> {
    let mut by_host = LimitsByHost::default();
    for (name, raw) in hosts {
        // In the form that URLs give back, so that a request finds it.
        if name.get_ref().contains('/') {
            let reason = format!("`{}`: the name of a host stands alone, without `https://` and path", name.get_ref());
            return Err(place.error(name.span(), "host", reason));
        }
        let host = url::Host::parse(name.get_ref())
            .map_err(|error| place.error(name.span(), "host", format!("`{}`: {error}", name.get_ref())))?
            .to_string();
        let mut limits = HostLimits::default();
        limits.md5_etags = raw.md5_etags.unwrap_or(limits.md5_etags);
        if let Some(connections) = raw.connections {
            let span = connections.span();
            limits.connections = connections.into_inner();
            if !(1..=MAX_CONNECTIONS).contains(&limits.connections) {
                return Err(place.error(span, "connections", format!("must be 1 to {MAX_CONNECTIONS}")));
            }
        }
        if let Some(rate) = raw.rate {
            if !(rate.get_ref().is_finite() && *rate.get_ref() > 0.0) {
                return Err(place.error(rate.span(), "rate", "must be a number of requests per second above 0"));
            }
            limits.rate = Some(rate.into_inner());
        }
        if let Some(stall) = raw.stall {
            limits.stall = Duration::try_from_secs_f64(*stall.get_ref())
                .ok()
                .filter(|stall| !stall.is_zero())
                .ok_or_else(|| place.error(stall.span(), "stall", "must be a number of seconds above 0"))?;
        }
        if let Some(absent) = raw.absent {
            if !matches!(absent.get_ref(), 403 | 404) {
                return Err(place.error(
                    absent.span(),
                    "absent",
                    "must be 404 or 403, the status of what is not there",
                ));
            }
            limits.absent = Some(absent.into_inner());
        }
        if by_host.hosts.insert(host.clone(), limits).is_some() {
            return Err(place.error(name.span(), "host", format!("`{host}` has a table already")));
        }
    }
    Ok(by_host)
}
