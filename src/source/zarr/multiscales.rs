//! The `multiscales` of OME-NGFF 0.4 and 0.5: axes, levels and where they lie in space.

use super::array::{ArrayDocument, MAX_RANK};
use super::json::{Field, quoted};
use super::units::{ToNanometres, nanometres};
use crate::source::SourceError;

/// Levels of a pyramid.
const MAX_LEVELS: usize = 31;

/// Transformations in one list; the format has two, more are composed all the same.
const MAX_TRANSFORMATIONS: usize = 16;

/// An image in several resolutions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Multiscales {
    /// `OME-NGFF` and the version, as the group states it.
    pub version: String,
    /// The axes that all its arrays have.
    pub axes: Axes,
    /// Levels, finest first; never empty.
    pub datasets: Vec<Dataset>,
    /// Display window of the first channel.
    pub window: Option<(f64, f64)>,
    /// How the coarser levels were made.
    pub downsampling: Option<String>,
}

/// One level.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dataset {
    /// Path of its array below the group.
    pub path: String,
    /// Nanometres per voxel along `z, y, x`, where the axes have units.
    pub scale: Option<[f64; 3]>,
    /// Nanometres from the origin to the centre of the first voxel; 0 where the axes have no units.
    pub translation: [f64; 3],
}

/// Which axes of an array are `z, y, x`. All others are `t` or `c`, and must have length 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes {
    names: Vec<String>,
    /// Positions of `z, y, x`, ascending.
    pub kept: [usize; 3],
}

impl Axes {
    /// The axes of an array that says nothing of them.
    pub fn zyx() -> Self {
        Axes { names: ["z", "y", "x"].map(str::to_owned).to_vec(), kept: [0, 1, 2] }
    }

    /// Checks that an array read from `file` is a volume with these axes.
    pub fn check(&self, file: &str, array: &ArrayDocument) -> Result<(), SourceError> {
        let (rank, axes) = (array.shape.len(), self.names.len());
        if rank != axes {
            let reason = format!("{rank} extents for the {axes} axes {}", self.names.join(", "));
            return Err(SourceError::malformed(file, "shape", reason));
        }
        for (position, (name, &extent)) in self.names.iter().zip(&array.shape).enumerate() {
            if extent != 1 && !self.kept.contains(&position) {
                return Err(SourceError::unsupported(file, "shape", format!("axis `{name}` of length {extent}")));
            }
        }
        Ok(())
    }

    /// Picks the entries of `z, y, x`.
    pub fn pick<T: Copy>(&self, values: &[T]) -> [T; 3] {
        self.kept.map(|axis| values[axis])
    }
}

/// Reads the first image of a group's attributes; `None` where they hold none.
pub(super) fn parse(attributes: &Field) -> Result<Option<Multiscales>, SourceError> {
    // Version 0.5 has everything in `ome`, 0.4 at the root.
    let ome = attributes.optional("ome")?;
    let root = ome.as_ref().unwrap_or(attributes);
    let Some(images) = root.optional("multiscales")? else {
        return Ok(None);
    };
    let images = images.elements(usize::MAX)?;
    let Some(image) = images.first() else {
        return Ok(None);
    };
    let version = version(ome.as_ref(), image)?;
    let (axes, units) = axes(&image.member("axes")?)?;
    let rank = axes.names.len();
    let mut outer = Transform::identity(rank);
    if let Some(transformations) = image.optional("coordinateTransformations")? {
        outer.apply_all(&transformations)?;
    }
    let mut datasets = Vec::new();
    let mut finer: Option<[f64; 3]> = None;
    let list = image.member("datasets")?;
    for dataset in list.elements(MAX_LEVELS)? {
        let transformations = dataset.member("coordinateTransformations")?;
        let mut transform = Transform::identity(rank);
        transform.apply_all(&transformations)?;
        transform.then(&outer);
        let (scale, translation) = (axes.pick(&transform.scale), axes.pick(&transform.translation));
        // Rounding apart: 378.8799999999999 follows 189.44.
        if finer.is_some_and(|finer| (0..3).any(|axis| scale[axis] < finer[axis] * (1.0 - 1e-6))) {
            return Err(transformations.unsupported("a level that is finer than the one before it"));
        }
        finer = Some(scale);
        let convert = |lengths: [f64; 3], units: &[ToNanometres; 3]| -> [f64; 3] {
            std::array::from_fn(|axis| units[axis](lengths[axis]))
        };
        let (scale, translation) = match &units {
            Some(units) => (Some(convert(scale, units)), convert(translation, units)),
            None => (None, [0.0; 3]),
        };
        if !scale.iter().flatten().all(|&size| size.is_finite() && size > 0.0)
            || !translation.iter().all(|length| length.is_finite())
        {
            return Err(transformations.malformed("the voxel size is not a positive number of nanometres"));
        }
        datasets.push(Dataset { path: path(&dataset.member("path")?)?, scale, translation });
    }
    if datasets.is_empty() {
        return Err(list.malformed("there is no level"));
    }
    Ok(Some(Multiscales { version, axes, datasets, window: window(root), downsampling: downsampling(image) }))
}

/// The version of the format: of `ome` (0.5), else of the image (0.4).
fn version(ome: Option<&Field>, image: &Field) -> Result<String, SourceError> {
    let stated = ome.map(|ome| ome.optional("version")).transpose()?.flatten();
    let Some(field) = stated.or(image.optional("version")?) else {
        return Ok("OME-NGFF".to_owned());
    };
    match field.text()? {
        text if text.starts_with("0.4") || text.starts_with("0.5") => Ok(format!("OME-NGFF {}", &text[..3])),
        other => Err(field.unsupported(format!("OME-NGFF version {}", quoted(other)))),
    }
}

/// Reads the axes and the units of `z, y, x`, the latter where all three have one.
fn axes(field: &Field) -> Result<(Axes, Option<[ToNanometres; 3]>), SourceError> {
    let mut names = Vec::new();
    let mut kept = Vec::new();
    let mut units = Vec::new();
    for axis in field.elements(MAX_RANK)? {
        let name = axis.member("name")?;
        match name.text()? {
            "z" | "y" | "x" => {
                kept.push(names.len());
                if let Some(unit) = axis.optional("unit")? {
                    let text = unit.text()?;
                    units.push(nanometres(text).ok_or_else(|| unit.unsupported(format!("unit {}", quoted(text))))?);
                }
            }
            "t" | "c" => {}
            other => return Err(name.unsupported(format!("axis {}", quoted(other)))),
        }
        names.push(name.text()?.to_owned());
    }
    let spatial: Vec<&str> = kept.iter().map(|&position| names[position].as_str()).collect();
    if spatial != ["z", "y", "x"] {
        return Err(field.unsupported(format!("an image with the axes {}", names.join(", "))));
    }
    let kept = [kept[0], kept[1], kept[2]];
    Ok((Axes { names, kept }, <[ToNanometres; 3]>::try_from(units).ok()))
}

/// A scaling followed by a translation, along the axes of the array.
struct Transform {
    scale: Vec<f64>,
    translation: Vec<f64>,
}

impl Transform {
    fn identity(rank: usize) -> Self {
        Transform { scale: vec![1.0; rank], translation: vec![0.0; rank] }
    }

    /// Applies the transformations of a document, in their order, after this one.
    fn apply_all(&mut self, list: &Field) -> Result<(), SourceError> {
        let rank = self.scale.len();
        for transformation in list.elements(MAX_TRANSFORMATIONS)? {
            let kind = transformation.member("type")?;
            let mut next = Transform::identity(rank);
            match kind.text()? {
                "identity" => {}
                "scale" => {
                    let scale = transformation.member("scale")?;
                    next.scale = scale.numbers(rank)?;
                    if let Some(factor) = next.scale.iter().find(|&&factor| factor <= 0.0) {
                        return Err(scale.malformed(format!("{factor} is not above 0")));
                    }
                }
                "translation" => next.translation = transformation.member("translation")?.numbers(rank)?,
                other => return Err(kind.unsupported(format!("transformation {}", quoted(other)))),
            }
            self.then(&next);
        }
        Ok(())
    }

    /// Applies `outer` after this one.
    fn then(&mut self, outer: &Transform) {
        for axis in 0..self.scale.len() {
            self.scale[axis] *= outer.scale[axis];
            self.translation[axis] = self.translation[axis] * outer.scale[axis] + outer.translation[axis];
        }
    }
}

/// Reads the path of an array: names joined by `/`, none of them leading elsewhere.
fn path(field: &Field) -> Result<String, SourceError> {
    let text = field.text()?;
    let odd = |name: &str| matches!(name, "" | "." | "..") || name.chars().any(|c| c.is_control() || c == '\\');
    if text.len() > 1024 || text.split('/').any(odd) {
        return Err(field.unsupported(format!("the path {}", quoted(text))));
    }
    Ok(text.to_owned())
}

/// The window of the first channel. It is a hint for display, so an odd one is no reason to refuse the image.
fn window(root: &Field) -> Option<(f64, f64)> {
    let window = root.value.pointer("/omero/channels/0/window")?;
    let (start, end) = (window.get("start")?.as_f64()?, window.get("end")?.as_f64()?);
    (start.is_finite() && end.is_finite() && start < end).then_some((start, end))
}

/// What the image says of its coarser levels: the type, and the method or whatever else is a text.
fn downsampling(image: &Field) -> Option<String> {
    let text = |pointer: &str| image.value.pointer(pointer).and_then(|value| value.as_str()).filter(|t| !t.is_empty());
    let parts: Vec<&str> =
        ["/type", "/metadata", "/metadata/method", "/metadata/description"].into_iter().filter_map(text).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

#[cfg(test)]
mod tests;
