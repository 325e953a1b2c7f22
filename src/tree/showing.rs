//! What a store shows of its image and labels, as far as these are described.

use std::sync::Arc;

use super::images::Images;
use super::store::{AppliedView, Label, TreeStore, show};
use super::{ImageId, Miss};

impl TreeStore {
    /// The image (0) or a label image (from 1) as the view shows it.
    pub fn shown(&self, member: usize, images: &Images) -> Result<Arc<AppliedView>, Miss> {
        if member > self.labels() {
            return Err(Miss::Stale);
        }
        let key = (self.serial, self.view(member));
        let state = match images.recall(key) {
            Some(state) => state,
            None => {
                let missing: Vec<ImageId> = if member == 0 { vec![0] } else { vec![0, member] }
                    .into_iter()
                    .map(|member| self.image_of(member))
                    .filter(|&image| images.pyramid(image).is_none())
                    .collect();
                let pyramids = images.pyramid(self.image).zip(images.pyramid(self.image_of(member)));
                let (image, pyramid) = pyramids.ok_or(Miss::NotDescribed(missing))?;
                let state = match member {
                    0 => show(self.spec, self.image, pyramid).map(Some),
                    _ => self.spec.show_label(image, pyramid, |spec, label| show(spec, self.image_of(member), label)),
                };
                images.remember(key, state.clone());
                state
            }
        };
        match state {
            Ok(Some(shown)) => Ok(shown),
            Ok(None) => Err(Miss::NotFound),
            Err(reason) => Err(Miss::Unusable { name: self.name.clone(), reason }),
        }
    }

    /// The label images that are listed in the view, by member number. The image itself must be described to tell, and its
    /// labels where the view may leave some out.
    pub fn listed_labels(&self, images: &Images) -> Result<Vec<usize>, Miss> {
        if self.spec.crop.is_none() && self.spec.level.is_none() {
            return Ok((1..=self.labels()).collect());
        }
        Ok(self.shown_labels(images)?.into_iter().map(|(member, _)| member).collect())
    }

    /// The same with what the view shows of each. The image must be described, and all labels described or given up.
    pub fn shown_labels(&self, images: &Images) -> Result<Vec<Label>, Miss> {
        let is_given_up = |member: usize| images.is_given_up(self.image_of(member));
        let is_missing = |image: &ImageId| images.pyramid(*image).is_none();
        let missing: Vec<ImageId> = Some(self.image).into_iter().filter(is_missing).collect();
        let labels = (1..=self.labels()).filter(|&member| !is_given_up(member)).map(|member| self.image_of(member));
        let labels: Vec<ImageId> = labels.filter(is_missing).collect();
        if !labels.is_empty() {
            return Err(Miss::LabelsNotDescribed { images: missing, labels });
        }
        if !missing.is_empty() {
            return Err(Miss::NotDescribed(missing));
        }
        let mut labels = vec![];
        for member in 1..=self.labels() {
            if is_given_up(member) {
                labels.push((member, None));
                continue;
            }
            match self.shown(member, images) {
                Ok(shown) => labels.push((member, Some(shown))),
                Err(Miss::NotFound) => {}
                // Labels that the view cannot show are an error where they are touched.
                Err(Miss::Unusable { .. }) => labels.push((member, None)),
                Err(miss) => return Err(miss),
            }
        }
        Ok(labels)
    }
}
