//! The TIFF files beside the stores: their names, and which voxels lie where in them.

use std::borrow::Cow;
use std::ops::Range;

use super::group_node::GroupNode;
use super::listing::EntryAt;
use super::resolved_node::{ResolvedNode, StoreMember};
use super::store::TreeStore;
use super::{DatasetId, ImageId, Miss, NamedEntry, NodeAttributes, Tree};
use crate::geometry::{LevelIndex, Region};
use crate::ranges::common;
use crate::tiff::{TiffLayout, TiffName};
use crate::view::ViewSpec;
use crate::volume::pyramid::chunk_bytes;
use crate::zarr::Format;

/// A TIFF file: what is in it, and whose voxels.
#[derive(Debug, Clone)]
pub struct TiffRef {
    /// Where the voxels come from.
    pub image: ImageId,
    /// Their level in the image.
    pub level: LevelIndex,
    /// Which of that level's voxels are shown.
    pub region: Region,
    /// Where they lie in the file.
    pub layout: TiffLayout,
    /// Rows of the blocks that a reader of whole rows should ask for together.
    rows: u64,
    row: u64,
}

/// Voxels that lie together in a TIFF file and are read as one: some planes, or some rows of one plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TiffPart {
    /// The voxels of the image's level.
    pub region: Region,
    /// Where in the file they begin.
    pub start: u64,
    /// How many bytes they are.
    pub bytes: u64,
}

impl TiffRef {
    /// How many parts of about so many bytes there are.
    pub fn parts(&self, bytes: u64) -> u64 {
        let [planes, height, _] = self.region.shape().0;
        match self.cut(bytes) {
            (1, rows) => planes.saturating_mul(height.div_ceil(rows)),
            (planes_per_part, _) => planes.div_ceil(planes_per_part),
        }
    }

    /// The numbers of the parts of about so many bytes in which any of `wanted` lies, of the bytes of the file.
    pub fn parts_in(&self, wanted: &Range<u64>, bytes: u64) -> Range<u64> {
        let part = common(wanted, &(self.layout.voxels()..self.layout.size()));
        if part.is_empty() {
            return 0..0;
        }
        self.part_at(part.start, bytes)..self.part_at(part.end - 1, bytes) + 1
    }

    /// A part by its number, which is below [`TiffRef::parts`].
    pub fn part(&self, number: u64, bytes: u64) -> TiffPart {
        let Region { start: [z, y, x], end } = self.region;
        let [_, height, _] = self.region.shape().0;
        let (planes_per_part, rows) = self.cut(bytes);
        let (start, end) = if planes_per_part > 1 {
            let first = z + number * planes_per_part;
            ([first, y, x], [first.saturating_add(planes_per_part).min(end[0]), end[1], end[2]])
        } else {
            let bands = height.div_ceil(rows);
            let (plane, first) = (z + number / bands, y + number % bands * rows);
            ([plane, first, x], [plane + 1, first.saturating_add(rows).min(end[1]), end[2]])
        };
        let region = Region { start, end };
        let offset = (start[0] - z) * self.layout.plane() + (start[1] - y) * self.row;
        let [planes, rows, _] = region.shape().0;
        TiffPart { region, start: self.layout.voxels() + offset, bytes: planes * rows * self.row }
    }

    fn part_at(&self, place: u64, bytes: u64) -> u64 {
        let place = place - self.layout.voxels();
        let (plane, inside) = (place / self.layout.plane(), place % self.layout.plane());
        let [_, height, _] = self.region.shape().0;
        match self.cut(bytes) {
            (1, rows) => plane * height.div_ceil(rows) + inside / self.row / rows,
            (planes_per_part, _) => plane / planes_per_part,
        }
    }

    /// Planes of a part, and rows where it is of one plane: as many as fit, whole rows of blocks if one does.
    fn cut(&self, bytes: u64) -> (u64, u64) {
        let [_, height, _] = self.region.shape().0;
        let planes = bytes / self.layout.plane().max(1);
        if planes > 0 {
            return (planes, height);
        }
        let rows = (bytes / self.row.max(1)).max(1);
        let whole = rows / self.rows.max(1) * self.rows;
        (1, if whole > 0 { whole } else { rows })
    }
}

impl Tree {
    /// The TIFF file beside a store, of the image or a label.
    pub(super) fn tiff(&self, member: &StoreMember) -> Result<TiffRef, Miss> {
        if member.store.spec.chunk.is_some() {
            return Err(Miss::NotFound);
        }
        let shown = self.shown(member)?;
        let (place, layout) = TiffLayout::of_view(&shown.view, member.index > 0).map_err(|_| Miss::NotFound)?;
        let level = shown.view.numbers.get(place).map(|&number| LevelIndex(number)).ok_or(Miss::Stale)?;
        let (array, origin) = shown.level(level).zip(shown.origin(level)).ok_or(Miss::Stale)?;
        let shape = array.grid.shape;
        let end = std::array::from_fn(|axis| origin[axis] + shape.0[axis]);
        let row = chunk_bytes(crate::geometry::Shape([1, 1, shape.0[2]]), shown.view.pyramid.dtype);
        let region = Region { start: origin, end };
        Ok(TiffRef { image: shown.image, level, region, layout, rows: array.grid.cell.0[1], row })
    }

    pub(super) fn look_up_tiff(&self, dataset: DatasetId, name: &TiffName) -> Result<NamedEntry, Miss> {
        let store = match name.label {
            Some(_) => self.open_store_of_label(dataset, &name.image, name.view)?,
            None => self.open_store(dataset, &name.image, name.view)?,
        };
        let found = self.tiff_of(store.clone(), name.label.as_deref());
        if found.is_err() {
            // The reference that opening it has counted.
            self.views.forget(store.view(0), 1);
        }
        found
    }

    fn tiff_of(&self, store: std::sync::Arc<TreeStore>, label: Option<&str>) -> Result<NamedEntry, Miss> {
        let image = StoreMember { store, index: 0, format: Format::V2 };
        let index = match label {
            None => 0,
            Some(label) => (1..=image.store.labels())
                .find(|&index| self.label_name(&image, index) == label)
                .ok_or(Miss::NotFound)?,
        };
        let resolved = ResolvedNode::Group { member: image.sibling(index), node: GroupNode::Tiff };
        Ok(NamedEntry::Node(resolved.inode(), self.attributes_of(&resolved)?))
    }

    /// The name of the file beside a store, of the image or a label.
    pub(super) fn tiff_name(&self, member: &StoreMember) -> String {
        let label = (member.index > 0).then(|| self.label_name(member, member.index));
        TiffName::of(&member.store.name, label)
    }

    /// The names of the files beside a store.
    pub(super) fn tiff_names(&self, store: &std::sync::Arc<TreeStore>) -> Vec<String> {
        let members = if store.spec.chunk.is_none() { 0..store.labels() + 1 } else { 0..0 };
        let member = |index| StoreMember { store: store.clone(), index, format: Format::V2 };
        members.map(|index| self.tiff_name(&member(index))).collect()
    }

    /// The files of a dataset's listing by their number: those of whole images and their labels, as far as these are open
    /// and the file is one that every program reads.
    pub(super) fn listed_tiff(&self, dataset: DatasetId, number: usize) -> EntryAt<'static> {
        let whole = self.images.stores(dataset).iter().filter(|store| store.spec == ViewSpec::default());
        let mut members = whole.flat_map(|store| (0..=store.labels()).map(move |index| (store, index)));
        let (store, index) = members.nth(number)?;
        let member = StoreMember { store: store.clone(), index, format: Format::V2 };
        let file = self.tiff(&member).ok().filter(|file| file.layout.is_classic());
        Some(file.map(|file| {
            let inode = member.group_inode(GroupNode::Tiff);
            (Cow::Owned(self.tiff_name(&member)), NamedEntry::Node(inode, NodeAttributes::file(file.layout.size())))
        }))
    }
}
