//! How label images are seen through the views of their images.

use super::ViewSpec;
use crate::volume::Pyramid;

impl ViewSpec {
    /// Shows a label image through a view of its image, with `show`; `None` where the view leaves it out. A box of the
    /// image means the same voxels of the labels only if both have one shape, so others are left out of crops. The labels
    /// keep their own chunks where their voxel type makes files of the view's ones too small or too large.
    pub fn show_label<T, E>(
        self,
        image: &Pyramid,
        label: &Pyramid,
        show: impl Fn(ViewSpec) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        let extent = |pyramid: &Pyramid| pyramid.levels.first().map(|level| level.grid.shape);
        if self.crop.is_some() && extent(image) != extent(label) {
            return Ok(None);
        }
        show(self).or_else(|_| show(ViewSpec { chunk: None, ..self })).map(Some)
    }
}
