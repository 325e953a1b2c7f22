//! Why something failed, for whoever was not told with the error.

use super::Vfs;
use super::image_registry::KnownImage;
use crate::tree::{DatasetId, Inode};

impl Vfs {
    /// The path of an inode, as the log has it.
    pub fn path(&self, inode: u64) -> String {
        let inode = Inode::new(inode);
        let document = inode.as_revision().and_then(|_| self.revisions.document(inode));
        document.map_or_else(|| self.tree.path(inode), |document| self.path_of(&document))
    }

    /// What the log says of the last failure of `path` (`DATASET/NAME…`), else why the image that it is in cannot be opened.
    pub fn reason(&self, path: &str) -> Option<String> {
        self.stats.latest_failure_of(path).or_else(|| self.reason_of_image(path))
    }

    fn reason_of_image(&self, path: &str) -> Option<String> {
        let (dataset, rest) = path.split_once('/')?;
        let (store, below) = rest.split_once('/').unwrap_or((rest, ""));
        let label = below.strip_prefix("labels/").and_then(|below| below.split('/').next());
        let number = (0..).map(DatasetId).map_while(|id| Some((id, self.tree.dataset(id)?)));
        let (number, dataset) = number.into_iter().find(|(_, found)| found.name == dataset)?;
        let view = dataset.views.iter().find(|view| store.starts_with(&format!("{}.", view.name)));
        let image = view.and_then(|view| dataset.images.get(view.image)).map(|image| image.name.as_str());
        let image = image.or_else(|| store.split('.').next())?;
        let is_it = |id: &crate::tree::ImageId| {
            self.tree.image(*id).is_some_and(|info| (info.named.image, info.named.label) == (image, label))
        };
        let main = |id: &crate::tree::ImageId| {
            self.tree.image(*id).is_some_and(|info| (info.named.image, info.named.label) == (image, None))
        };
        let images = || self.tree.images_of(number);
        let found = [images().find(is_it), images().find(main)];
        found.into_iter().flatten().find_map(|id| match self.image_registry.known(id) {
            KnownImage::Failed(error) => Some(error.to_string()),
            KnownImage::Nothing | KnownImage::Opening | KnownImage::Open(_) => None,
        })
    }
}
