//! Which axis of an array is which, by the names that attributes give them.

use crate::source::SourceError;
use crate::source::zarr::axes::Axes;
use crate::source::zarr::json::JsonField;

/// The axes by `axes`, which has their names in the order of `dimensions`; `None` where they have none that are known.
///
/// So TensorStore, neuroglancer and ilastik write and read them.
pub(super) fn of(attributes: &JsonField) -> Result<Option<Axes>, SourceError> {
    let Some(names) = attributes.optional("axes")? else { return Ok(None) };
    let axes = Axes::of_dimensions(&names, true)?;
    let is_named = |name: &JsonField| name.value.as_str().is_some_and(|name| !name.is_empty());
    if axes.is_none() && names.elements(usize::MAX)?.iter().any(is_named) {
        let reason = "no name is one of x, y, z, c and t; the first three axes are taken to be x, y, z";
        tracing::warn!("{}", names.malformed(reason));
    }
    Ok(axes)
}

/// The axes by OpenOrganelle's `transform`, which has their names in the order of numpy, the slowest first, unless its
/// `order` is `F`. `None` where it is none, or says nothing.
pub(super) fn of_transform(attributes: &JsonField) -> Option<Axes> {
    let transform = attributes.optional("transform").ok()??;
    let stated = |name: &str| transform.optional(name).ok().flatten();
    let order = stated("order").or_else(|| stated("ordering"));
    let is_fortran = order.is_some_and(|order| order.value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("F")));
    Axes::of_dimensions(&stated("axes")?, is_fortran).ok()?
}
