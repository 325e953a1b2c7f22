//! An image of the catalogue as a command names it, and what its archive says of it.

use std::path::Path;
use std::time::Duration;

use super::CliError;
use super::session::{CacheArgs, Session, finish};
use crate::catalog::{Catalog, Dataset, ImageSpec, MAIN_IMAGE};
use crate::tiff::TiffName;
use crate::view::ViewSpec;
use crate::volume::Pyramid;
use crate::zarr::StoreName;

/// Memory for the voxels that an image's display window is taken from.
const MEMORY: u64 = 512 << 20;

/// How long a source may be silent that is asked for what an image is: somebody waits for the answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// A dataset, and the rest of the path below it; the main image where there is none.
pub(super) fn split<'a>(catalog: &'a Catalog, path: &'a str) -> Result<(&'a Dataset, &'a str), CliError> {
    let path = path.trim_end_matches('/');
    let (name, rest) = path.split_once('/').unwrap_or((path, MAIN_IMAGE));
    match catalog.named(name) {
        Some(dataset) => Ok((dataset, rest)),
        None => {
            let known = catalog.datasets.iter().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>().join(", ");
            let is_path = path.starts_with(['/', '.']) || Path::new(name).is_dir();
            let hint = if is_path { "; the path leads into no mount of emfs" } else { "" };
            Err(CliError::Failed(format!("there is no dataset `{name}`; the catalogue has {known}{hint}")))
        }
    }
}

/// The image of that name.
pub(super) fn image<'a>(dataset: &'a Dataset, name: &str) -> Result<&'a ImageSpec, CliError> {
    dataset.images.iter().find(|image| image.name == name).ok_or_else(|| {
        if let Some(view) = dataset.views.iter().find(|view| view.name == name) {
            let image = dataset.images.get(view.image).map_or(MAIN_IMAGE, |image| image.name.as_str());
            let shown = ViewSpec { crop: Some(view.crop), ..ViewSpec::default() }.to_string();
            let within = shown.trim_start_matches(".crop-");
            return CliError::Failed(format!(
                "{name} is a view of the image {image} of {set}; name the image, {set}/{image}, and the view's box by \
                 --within {within}",
                set = dataset.name
            ));
        }
        let known = dataset.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>().join(", ");
        CliError::Failed(format!("{} has no image `{name}`; it has {known}", dataset.name))
    })
}

/// A store as it is named below its dataset.
#[derive(Debug, Clone)]
pub(super) struct NamedStore<'a> {
    pub dataset: &'a Dataset,
    /// The complete name.
    pub name: StoreName,
    pub image: &'a ImageSpec,
    /// What it shows of the image.
    pub view: ViewSpec,
}

/// The store of that name; the image `em` and the ending may be left out.
pub(super) fn store<'a>(dataset: &'a Dataset, name: &str) -> Result<NamedStore<'a>, CliError> {
    let failed = |reason: String| CliError::Failed(format!("{}/{name}: {reason}", dataset.name));
    if let Some(stem) = name.strip_suffix(TiffName::ENDING) {
        let what = match TiffName::parse(&with_image(name)) {
            Ok(TiffName { image, view, label: Some(label) }) => {
                format!("its voxels are the labels {label} of the store {image}{view}.zarr; name that")
            }
            _ => format!("name the store of the same voxels, {stem}.zarr"),
        };
        return Err(failed(format!("a TIFF file is no store; {what}")));
    }
    let name = StoreName::parse(&complete(name)).map_err(|error| failed(error.to_string()))?;
    let (of, view) = meaning(dataset, &name.image, name.view).map_err(failed)?;
    let image = image(dataset, of)?;
    Ok(NamedStore { dataset, name, image, view })
}

/// A TIFF file as it is named below its dataset.
#[derive(Debug, Clone)]
pub(super) struct Tiff<'a> {
    /// The complete name.
    pub name: TiffName,
    pub image: &'a ImageSpec,
    /// The label image of the image that it shows, as one of its own.
    pub label: Option<ImageSpec>,
    /// What it shows of the image.
    pub view: ViewSpec,
}

/// The TIFF file of that name; the image `em` may be left out.
pub(super) fn tiff<'a>(dataset: &'a Dataset, name: &str) -> Result<Tiff<'a>, CliError> {
    let failed = |reason: String| CliError::Failed(format!("{}/{name}: {reason}", dataset.name));
    let name = TiffName::parse(&with_image(name)).map_err(|error| failed(error.to_string()))?;
    let (of, view) = meaning(dataset, &name.image, name.view).map_err(failed)?;
    let image = image(dataset, of)?;
    let label = match &name.label {
        None => None,
        Some(wanted) => {
            let found = image.labels.iter().find(|label| label.name == *wanted);
            let found = found.ok_or_else(|| failed(format!("{} has no labels `{wanted}`", image.name)))?;
            let name = format!("{}/labels/{wanted}", image.name);
            Some(ImageSpec { name, source: found.source.clone(), labels: Vec::new() })
        }
    };
    Ok(Tiff { name, image, label, view })
}

/// A name with what may be left out of it.
pub(super) fn complete(name: &str) -> String {
    let name = with_image(name);
    if name.ends_with(".zarr") { name } else { format!("{name}.zarr") }
}

/// A name with the image that may be left out of it.
fn with_image(name: &str) -> String {
    let lone = matches!(name, "v3.zarr" | "zarr" | "v3" | "tif");
    if name.starts_with('.') {
        format!("{MAIN_IMAGE}{name}")
    } else if lone || name.starts_with("crop-") || name.starts_with("chunk-") {
        format!("{MAIN_IMAGE}.{name}")
    } else {
        name.to_owned()
    }
}

/// The image and the view of it that a name stands for.
fn meaning<'a>(dataset: &'a Dataset, name: &'a str, of: ViewSpec) -> Result<(&'a str, ViewSpec), String> {
    let Some(listed) = dataset.views.iter().find(|view| view.name == name) else {
        return Ok((name, of));
    };
    let image = dataset.images.get(listed.image).map_or(MAIN_IMAGE, |image| image.name.as_str());
    let view = ViewSpec { crop: Some(listed.crop), ..ViewSpec::default() };
    if of != ViewSpec::default() {
        return Err(format!("`{}` is a view itself, of which there are no views; write {image}{view}", listed.name));
    }
    Ok((image, view))
}

/// Asks the archive for the image's pyramid.
pub(super) fn pyramid(
    catalog: &Catalog,
    dataset: &Dataset,
    spec: &ImageSpec,
    cache: &CacheArgs,
) -> Result<Pyramid, CliError> {
    let name = format!("{}/{}", dataset.name, spec.name);
    let session = Session::new(&catalog.limits, cache.cache_of_any_size()?, PATIENCE, MEMORY)?;
    let opened = finish(session.open(&spec.source, &name))?;
    let opened = opened.map_err(|error| CliError::Failed(format!("{name}: {error}")))?;
    Ok(opened.pyramid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_and_the_ending_may_be_left_out() {
        for (given, complete_name) in [
            ("em", "em.zarr"),
            ("em.v3", "em.v3.zarr"),
            ("em-raw.chunk-64", "em-raw.chunk-64.zarr"),
            ("chunk-64", "em.chunk-64.zarr"),
            (".crop-z0-1_y0-1_x0-1.v3", "em.crop-z0-1_y0-1_x0-1.v3.zarr"),
            ("sample-1000.zarr", "sample-1000.zarr"),
        ] {
            assert_eq!(complete(given), complete_name);
        }
    }

    #[test]
    fn a_tiff_file_is_no_store_but_says_which_has_its_voxels() {
        let catalog = Catalog::builtin().unwrap();
        let dataset = catalog.datasets.iter().find(|dataset| dataset.name == "hemibrain").unwrap();
        let refused = store(dataset, "em.s1.tif").unwrap_err().to_string();
        assert!(refused.contains("a TIFF file is no store") && refused.contains("em.s1.zarr"), "{refused}");
        let refused = store(dataset, "em.s1.labels-cells.tif").unwrap_err().to_string();
        assert!(refused.ends_with("its voxels are the labels cells of the store em.s1.zarr; name that"), "{refused}");
    }

    #[test]
    fn where_an_image_is_asked_for_a_listed_view_is_told_with_its_image_and_its_box() {
        let catalog = Catalog::builtin().unwrap();
        let dataset = catalog.datasets.iter().find(|dataset| dataset.name == "hemibrain").unwrap();
        let refused = image(dataset, "sample-1000").unwrap_err().to_string();
        assert!(refused.contains("name the image, hemibrain/em, and"), "{refused}");
        assert!(refused.ends_with("--within z18000-19000_y18000-19000_x15000-16000"), "{refused}");
    }

    #[test]
    fn a_listed_view_is_its_crop_and_has_no_views() {
        let catalog = Catalog::builtin().unwrap();
        let dataset = catalog.datasets.iter().find(|dataset| dataset.name == "hemibrain").unwrap();
        let name = StoreName::parse("sample-1000.zarr").unwrap();
        let (image, spec) = meaning(dataset, &name.image, name.view).unwrap();
        assert_eq!((image, spec.to_string().as_str()), ("em", ".crop-z18000-19000_y18000-19000_x15000-16000"));
        let name = StoreName::parse("sample-1000.chunk-64.zarr").unwrap();
        assert!(meaning(dataset, &name.image, name.view).unwrap_err().contains("write em.crop-z18000-19000"));
    }
}
