//! `--inside LABEL[=V,…]`: which labels, and at which level they are read.

use super::super::CliError;
use super::super::place::ImagePlace;
use super::super::session::Session;
use super::field::SampledLevel;
use crate::geometry::LevelIndex;
use crate::sample::{InsideLabels, Judge, Known, LabelsInside, Laid, VoxelReader};
use crate::view::ViewSpec;
use crate::volume::Level;

/// Most voxels of a mask: 128 MiB of bits.
const MAX_VOXELS: u64 = 1 << 30;

/// The argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InsideArg {
    name: String,
    inside: LabelsInside,
}

/// Who judges places, and in words for the header by what.
pub(super) struct Judged<'a> {
    pub labels: InsideLabels<'a>,
    pub told: String,
}

impl InsideArg {
    pub fn parse(text: &str) -> Result<InsideArg, String> {
        let (name, values) = match text.split_once('=') {
            None => (text, None),
            Some((name, values)) => (name, Some(values)),
        };
        if name.is_empty() {
            return Err("must be the name of labels, as mitochondria or mitochondria=1,2".to_owned());
        }
        let value = |value: &str| {
            value.trim().parse::<i128>().map_err(|_| format!("`{value}` is no label, which are whole numbers"))
        };
        let inside = match values {
            None => LabelsInside::Any,
            Some(values) => LabelsInside::These(values.split(',').map(value).collect::<Result<_, _>>()?),
        };
        Ok(InsideArg { name: name.to_owned(), inside })
    }

    /// Reads what is known beforehand of the labels that the field lies over: their finest level where it fits the memory.
    pub async fn judge<'a>(
        &self,
        session: &Session,
        reader: &'a VoxelReader,
        place: &ImagePlace<'_>,
        field: &SampledLevel<'_>,
        (fraction, mask_level): (f64, Option<LevelIndex>),
    ) -> Result<Judged<'a>, CliError> {
        let image = place.image_name();
        let failed = |reason: String| CliError::Failed(format!("{image}: {reason}"));
        let labels = if place.label.is_some() { &[] } else { place.store.image.labels.as_slice() };
        let Some(spec) = labels.iter().find(|label| label.name == self.name) else {
            let known = labels.iter().map(|label| label.name.as_str()).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(failed(format!("it has no labels `{}`; it has {known}", self.name)));
        };
        let name = format!("{image}/labels/{}", self.name);
        let opened =
            session.open(&spec.source, &name).await.map_err(|error| CliError::Failed(format!("{name}: {error}")))?;
        let of_image = &field.opened.pyramid;
        // Labels without a voxel size have their image's, where they have its shape.
        let shown = ViewSpec::default().show_label(of_image, &opened.pyramid, |spec, pyramid| spec.apply(pyramid));
        let pyramid = match shown {
            Ok(Some(view)) => view.pyramid,
            Ok(None) | Err(_) => opened.pyramid.clone(),
        };
        if of_image.is_calibrated() != pyramid.is_calibrated() {
            let reason = "where the labels lie is not known, since of one of them and its image no voxel size is known";
            return Err(CliError::Failed(format!("{name}: {reason}")));
        }
        let lay = |level: &Level| Laid::on(field.shown(), level);
        let covered = |level: &Level| lay(level).cover(&field.ground.within).map(|cover| cover.region);
        let fits = |level: &Level| {
            covered(level).is_none_or(|region| region.shape().voxels().is_some_and(|voxels| voxels <= MAX_VOXELS))
        };
        let Some(finest) = pyramid.levels.first() else { return Err(failed(format!("{} have no level", self.name))) };
        if covered(finest).is_none() {
            return Err(CliError::Failed(format!("{name}: the labels cover nothing of what is sampled")));
        }
        let number = mask_level.map(|level| usize::from(level.0)).or_else(|| fits(finest).then_some(0));
        let (known, judged) = match number {
            None => (Known::Nothing, "judged in s0 place by place".to_owned()),
            Some(number) => {
                let Some(level) = pyramid.levels.get(number).filter(|level| fits(level)) else {
                    let levels = pyramid.levels.len();
                    return Err(CliError::Failed(format!(
                        "{name}: s{number} of its {levels} levels is none, or has more than {MAX_VOXELS} voxels; give a --within"
                    )));
                };
                let Some(region) = lay(level).touched(&field.ground.within) else {
                    return Err(CliError::Failed(format!("{name}: s{number} covers nothing of what is sampled")));
                };
                let index = LevelIndex(number as u8);
                let of = (region, level.grid.cell, pyramid.dtype);
                let mask = reader.mask(&opened.image, index, of, &self.inside).await?;
                let share = mask.total() as f64 / region.shape().voxels().unwrap_or(1) as f64 * 100.0;
                match number {
                    0 => (Known::Finest(mask), format!("judged in s0, where {share:.3} % are inside")),
                    _ => {
                        let judged = format!(
                            "judged in s0 place by place, where {index} has any inside, which are {share:.3} % of it: \
                             what {index} has lost of s0 is left out"
                        );
                        (Known::Coarse(index, mask, lay(level)), judged)
                    }
                }
            }
        };
        let labels = InsideLabels {
            name: self.name.clone(),
            inside: self.inside.clone(),
            fraction,
            laid: lay(finest),
            known,
            labels: opened.image.clone(),
            dtype: pyramid.dtype,
            reader,
        };
        let told = format!(" with {}, {judged}", labels.asked());
        Ok(Judged { labels, told })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_a_name_and_perhaps_values() {
        let parsed = |text: &str| InsideArg::parse(text).map(|arg| (arg.name, arg.inside));
        assert_eq!(parsed("cells"), Ok(("cells".to_owned(), LabelsInside::Any)));
        assert_eq!(parsed("cells=1,-2"), Ok(("cells".to_owned(), LabelsInside::These(vec![1, -2]))));
        for wrong in ["", "=1", "cells=", "cells=a", "cells=1,,2"] {
            assert!(InsideArg::parse(wrong).is_err(), "{wrong}");
        }
    }
}
