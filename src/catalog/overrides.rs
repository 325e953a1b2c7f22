//! Keys by which a configuration says what files have wrong or leave open.

use std::fmt;
use std::ops::Range;

use regex::Regex;
use serde::Deserialize;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};
use toml::Spanned;

use super::error::{CatalogError, CatalogText};

/// Longest pattern, and bytes of the program that it is made into.
const MAX_PATTERN: usize = 1024;
const MAX_PATTERN_SIZE: usize = 1 << 20;

/// What the configuration says against the files of a source, or decides where they leave it open.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Nanometres per voxel along `z, y, x` whatever the files say.
    pub voxel_size: Option<[f64; 3]>,
    /// The order of sections.
    pub order: Option<SectionOrder>,
    /// Which files are sections, and by its group which number counts.
    pub pattern: Option<Regex>,
    /// Whether sections that are missing between others are shown as empty ones.
    pub blank_gaps: bool,
    /// The axis of the files that is z.
    pub z_axis: Option<char>,
    /// Whether the whole pages of a file that is cut are shown.
    pub show_truncated: bool,
}

/// In which order files are the sections of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SectionOrder {
    /// That of a number in their names, without a gap.
    Number,
    /// That of their names, numbers in them by their values.
    Natural,
    /// That of the list that names them.
    Listed,
}

impl Overrides {
    /// Those that decide which voxels a source has, for its digest.
    pub(super) fn of_voxels(&self) -> Option<Value> {
        let order = self.order.map(|order| match order {
            SectionOrder::Number => "number",
            SectionOrder::Natural => "natural",
            SectionOrder::Listed => "listed",
        });
        let pattern = self.pattern.as_ref().map(Regex::as_str);
        let decides = order.is_some() || pattern.is_some() || self.blank_gaps || self.show_truncated;
        let all = json!([order, pattern, self.blank_gaps, self.z_axis, self.show_truncated]);
        (decides || self.z_axis.is_some()).then_some(all)
    }
}

/// The value of `voxel_size`.
#[derive(Debug, Clone, Copy)]
pub(super) enum RawSize {
    /// For what the files do not say.
    Missing([f64; 3]),
    /// `{ force = … }`.
    Forced([f64; 3]),
}

impl RawSize {
    pub(super) fn lengths(self) -> [f64; 3] {
        match self {
            RawSize::Missing(size) | RawSize::Forced(size) => size,
        }
    }
}

impl<'de> Deserialize<'de> for RawSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RawSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("three numbers of nanometres, [z, y, x], or { force = [z, y, x] }")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RawSize, A::Error> {
                <[f64; 3]>::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map(RawSize::Missing)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawSize, A::Error> {
                match map.next_entry::<String, [f64; 3]>()? {
                    Some((key, size)) if key == "force" => match map.next_key::<String>()? {
                        None => Ok(RawSize::Forced(size)),
                        Some(other) => Err(Error::unknown_field(&other, &["force"])),
                    },
                    Some((other, _)) => Err(Error::unknown_field(&other, &["force"])),
                    None => Err(Error::missing_field("force")),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// The keys as they are written.
pub(super) struct RawOverrides {
    pub(super) order: Option<Spanned<String>>,
    pub(super) pattern: Option<Spanned<String>>,
    pub(super) gaps: Option<Spanned<String>>,
    pub(super) axes: Option<Spanned<String>>,
    pub(super) truncated: Option<Spanned<String>>,
}

impl RawOverrides {
    /// The keys that are there.
    pub(super) fn given(&self) -> [Option<(&'static str, Range<usize>)>; 5] {
        let span = |key: &'static str, value: &Option<Spanned<String>>| value.as_ref().map(|value| (key, value.span()));
        [
            span("order", &self.order),
            span("pattern", &self.pattern),
            span("gaps", &self.gaps),
            span("axes", &self.axes),
            span("truncated", &self.truncated),
        ]
    }

    /// Checks them.
    pub(super) fn checked(
        self,
        place: CatalogText<'_>,
        voxel_size: Option<[f64; 3]>,
    ) -> Result<Overrides, CatalogError> {
        let order = match &self.order {
            None => None,
            Some(order) => Some(match order.get_ref().as_str() {
                "number" => SectionOrder::Number,
                "natural" => SectionOrder::Natural,
                "listed" => SectionOrder::Listed,
                other => {
                    let reason = format!("`{other}` must be \"natural\", \"number\" or \"listed\"");
                    return Err(place.error(order.span(), "order", reason));
                }
            }),
        };
        let pattern = self.pattern.map(|pattern| compiled(place, pattern, order)).transpose()?;
        let flag = |key: &str, value: Option<Spanned<String>>, word: &str| match value {
            Some(value) if value.get_ref() != word => {
                let reason = format!("`{}` must be {word:?}, or the key left out", value.get_ref());
                Err(place.error(value.span(), key, reason))
            }
            value => Ok(value.is_some()),
        };
        let z_axis = match &self.axes {
            None => None,
            Some(axes) => match axes.get_ref().chars().collect::<Vec<_>>().as_slice() {
                [z @ 'a'..='z', 'y', 'x'] if !matches!(z, 'x' | 'y') => Some(*z),
                _ => {
                    let reason = format!(
                        "`{}` must be the name of the axis that is z, and yx: \"zyx\", \"tyx\", \"cyx\"",
                        axes.get_ref()
                    );
                    return Err(place.error(axes.span(), "axes", reason));
                }
            },
        };
        let (blank_gaps, show_truncated) =
            (flag("gaps", self.gaps, "blank")?, flag("truncated", self.truncated, "show")?);
        Ok(Overrides { voxel_size, order, pattern, blank_gaps, z_axis, show_truncated })
    }
}

/// The pattern of a user; that of numbers has a group for them.
fn compiled(
    place: CatalogText<'_>,
    pattern: Spanned<String>,
    order: Option<SectionOrder>,
) -> Result<Regex, CatalogError> {
    let failed = |reason: String| place.error(pattern.span(), "pattern", reason);
    let text = pattern.get_ref();
    if text.len() > MAX_PATTERN {
        return Err(failed(format!("is longer than {MAX_PATTERN} letters")));
    }
    let regex = regex::RegexBuilder::new(text).size_limit(MAX_PATTERN_SIZE).build();
    let regex = regex.map_err(|error| failed(error.to_string()))?;
    // The whole match is the first.
    match (regex.captures_len(), order) {
        (2, _) | (1, Some(SectionOrder::Natural | SectionOrder::Listed)) => Ok(regex),
        _ => Err(failed("must have one group, around the number of the section: 'slice_(\\d+)'".to_owned())),
    }
}
