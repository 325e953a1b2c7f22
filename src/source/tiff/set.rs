//! Files that hold the planes of one image together, as OME-XML lists them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Planes of a set that are put together.
pub(super) const MAX_PLANES: u64 = 1 << 18;

/// Where the planes of an image lie that is not in this file alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Set {
    /// In the pages of these files.
    Planes(Planes),
    /// The name of the one file that holds all planes, whose UUID is not that of the file which says so.
    One(String),
    /// Any other division: why they cannot be put together without being named.
    Other(String),
}

/// Which page of which file each plane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planes {
    /// The axes along which the planes follow each other, the fastest first.
    axes: Vec<(char, u64)>,
    /// Names of the files.
    files: Vec<String>,
    /// Of each plane the number of its file, and that of the page in it.
    places: Vec<(usize, u64)>,
}

/// What a description says of some planes that follow each other: the number of the first one, how many there are, and the
/// name of the file and the number of the page in it with which they begin.
pub(super) type Part<'a> = (u64, u64, &'a str, u64);

/// Files of which some pages are the planes of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct FileSet {
    /// The files' names, and of each the pages that are shown.
    pub files: Vec<(String, Arc<[u64]>)>,
    /// Of each plane, in the order of z, the number of its file, and which of the pages shown of that it is.
    pub planes: Vec<(usize, u64)>,
    /// Whether every file of the image holds one page.
    pub is_of_single_pages: bool,
    /// Nanometres per voxel along `z, y, x`, as the file says them that names the others.
    pub voxel_size: [Option<f64>; 3],
}

impl Planes {
    /// The planes, where each has one page of its own; `axes` are those along which they follow each other.
    pub(super) fn new(axes: &[(char, u64)], parts: &[Part<'_>]) -> Option<Planes> {
        let total = axes.iter().try_fold(1u64, |total, (_, extent)| total.checked_mul(*extent));
        let total = total.filter(|total| *total <= MAX_PLANES)?;
        let mut places: Vec<Option<(usize, u64)>> = vec![None; total as usize];
        let (mut files, mut numbers, mut used) = (Vec::new(), HashMap::new(), HashSet::new());
        // Whatever their counts say then.
        let are_single = parts.len() as u64 == total;
        for (first, count, name, page) in parts {
            let is_name = !name.is_empty() && !name.contains(['/', '\\']) && !name.contains(char::is_control);
            if !is_name || name.starts_with("..") {
                return None;
            }
            let file = *numbers.entry(*name).or_insert_with(|| {
                files.push((*name).to_owned());
                files.len() - 1
            });
            for number in 0..if are_single { 1 } else { *count } {
                let place = (file, page.checked_add(number)?);
                let plane = places.get_mut(usize::try_from(first.checked_add(number)?).ok()?)?;
                if plane.replace(place).is_some() || !used.insert(place) {
                    return None;
                }
            }
        }
        Some(Planes { axes: axes.to_vec(), files, places: places.into_iter().collect::<Option<_>>()? })
    }

    pub(super) fn len(&self) -> u64 {
        self.places.len() as u64
    }

    /// The files of some of the planes, by their numbers in the order of z.
    pub(super) fn chosen(&self, planes: impl Iterator<Item = u64>, voxel_size: [Option<f64>; 3]) -> FileSet {
        let (mut files, mut numbers, mut chosen) = (Vec::<(&String, Vec<u64>)>::new(), HashMap::new(), Vec::new());
        let place = |plane: u64| self.places.get(usize::try_from(plane).ok()?);
        for (file, page) in planes.filter_map(place) {
            let Some(name) = self.files.get(*file) else { continue };
            let number = *numbers.entry(*file).or_insert_with(|| {
                files.push((name, Vec::new()));
                files.len() - 1
            });
            if let Some((_, pages)) = files.get_mut(number) {
                chosen.push((number, pages.len() as u64));
                pages.push(*page);
            }
        }
        let files = files.into_iter().map(|(name, pages)| (name.clone(), pages.into())).collect();
        let is_of_single_pages =
            self.files.len() == self.places.len() && self.places.iter().all(|(_, page)| *page == 0);
        FileSet { files, planes: chosen, is_of_single_pages, voxel_size }
    }

    /// The axes along which the planes of some files differ; `None` where one of them is none of these or holds several.
    pub(super) fn differing(&self, names: &[String]) -> Option<BTreeSet<char>> {
        let mut planes = HashMap::new();
        for (plane, (file, _)) in self.places.iter().enumerate() {
            if planes.insert(self.files.get(*file)?.as_str(), plane as u64).is_some() {
                return None;
            }
        }
        let planes: Vec<u64> = names.iter().map(|name| planes.get(name.as_str()).copied()).collect::<Option<_>>()?;
        let (mut step, mut differing) = (1, BTreeSet::new());
        for (axis, extent) in &self.axes {
            let along = |plane: &u64| plane / step % extent;
            if planes.iter().map(along).collect::<BTreeSet<u64>>().len() > 1 {
                differing.insert(*axis);
            }
            step *= extent;
        }
        Some(differing)
    }
}
