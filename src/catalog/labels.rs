//! What the values of a label image mean, where the configuration says so.

use serde::Deserialize;
use toml::Spanned;

use super::error::{CatalogError, CatalogText};

/// Most values that are told of.
const MAX_VALUES: usize = 4096;

/// A value of a label image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelValue {
    /// The value of its voxels.
    pub value: u64,
    /// What they are, in words.
    pub name: Option<String>,
    /// Red, green and blue in which it is shown.
    pub colour: Option<[u8; 3]>,
}

/// `{ value = 255, name = "mitochondrion", colour = "#ff0000" }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLabelValue {
    value: u64,
    name: Option<String>,
    colour: Option<Spanned<String>>,
}

/// Checks what is said of values.
pub(super) fn values(
    place: CatalogText<'_>,
    raw: Option<Spanned<Vec<RawLabelValue>>>,
) -> Result<Vec<LabelValue>, CatalogError> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let span = raw.span();
    let raw = raw.into_inner();
    if raw.len() > MAX_VALUES {
        return Err(place.error(span, "values", format!("tell of at most {MAX_VALUES} values")));
    }
    let mut values: Vec<LabelValue> = Vec::with_capacity(raw.len());
    for RawLabelValue { value, name, colour } in raw {
        if values.iter().any(|other| other.value == value) {
            return Err(place.error(span, "values", format!("the value {value} comes twice")));
        }
        let colour = match colour {
            None => None,
            Some(text) => Some(rgb(text.get_ref()).ok_or_else(|| {
                let reason = format!("`{}` must be red, green and blue as \"#rrggbb\"", text.get_ref());
                place.error(text.span(), "colour", reason)
            })?),
        };
        values.push(LabelValue { value, name, colour });
    }
    Ok(values)
}

/// The bytes of `#rrggbb`.
fn rgb(text: &str) -> Option<[u8; 3]> {
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    Some([byte(0)?, byte(2)?, byte(4)?])
}

#[cfg(test)]
mod tests {
    use crate::catalog::{Catalog, LabelValue};

    fn parsed(values: &str) -> Result<Vec<LabelValue>, String> {
        let label = format!("name = \"a\"\nvalues = [{values}]\nsource = {{ kind = \"zarr\", url = \"https://h/a\" }}");
        let text = format!(
            "[[dataset]]\nname = \"v\"\nsource = {{ kind = \"zarr\", url = \"https://h/v\" }}\n[[dataset.labels]]\n{label}"
        );
        let catalog = Catalog::parse(&text, "c.toml", None).map_err(|error| error.to_string())?;
        let label = &catalog.datasets[0].images[0].labels[0];
        Ok(label.source.label.clone().unwrap().to_vec())
    }

    #[test]
    fn values_have_names_and_colours_each_value_once() {
        let found = parsed("{ value = 255, name = \"mitochondrion\", colour = \"#ff8000\" }, { value = 0 }").unwrap();
        let first = LabelValue { value: 255, name: Some("mitochondrion".into()), colour: Some([255, 128, 0]) };
        assert_eq!(found, [first, LabelValue { value: 0, name: None, colour: None }]);
        for (wrong, reason) in [
            ("{ value = 1, colour = \"red\" }", "#rrggbb"),
            ("{ value = 1, colour = \"#ff00é\" }", "#rrggbb"),
            ("{ value = 1 }, { value = 1 }", "comes twice"),
            ("{ value = -1 }", "value"),
            ("{ name = \"a\" }", "value"),
        ] {
            let error = parsed(wrong).unwrap_err();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
    }
}
