//! What is to be fetched, by name: from the arguments and from a list.

use std::io::Read;
use std::path::Path;

use super::super::CliError;
use super::super::place::{ImagePart, ImagePlace};
use super::super::stats::names_nothing;
use super::{Failures, WarmArgs};
use crate::catalog::Catalog;
use crate::geometry::Region;
use crate::sample::list::{self, Sample};

/// A name, and where it is in a list.
pub(super) struct Named {
    text: String,
    at: Option<At>,
    /// Of a list of samples: the voxels of the level.
    voxels: Option<Region>,
}

impl Named {
    /// The text where it may be a path in a mount. Lines of a list are names unless they look like paths.
    pub(super) fn path(&mut self) -> Option<&mut String> {
        (self.at.is_none() || self.text.starts_with(['/', '.'])).then_some(&mut self.text)
    }
}

/// A line of the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct At(u64);

/// Something that is wanted of an image.
pub(super) struct Wish<'a> {
    pub place: ImagePlace<'a>,
    pub at: Option<At>,
    pub voxels: Wanted,
}

/// Which voxels of a place are wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    All,
    /// These alone of its level.
    Sample(Region),
    /// Of labels: what lies over these voxels of the level of their image.
    Over(Region),
}

/// An image with all that is wanted of it.
pub(super) struct WantedImage<'a> {
    pub name: String,
    pub wishes: Vec<Wish<'a>>,
}

/// The rows of a list of samples as names.
pub(super) fn of_samples(samples: Vec<(u64, Sample)>) -> Vec<Named> {
    let named = samples.into_iter().map(|(line, sample)| Named {
        text: format!("{}/{}", sample.store, sample.level),
        at: Some(At(line)),
        voxels: Some(sample.place),
    });
    named.collect()
}

impl WarmArgs {
    /// The names, those of the list last.
    pub(super) fn named(&self) -> Result<Vec<Named>, CliError> {
        let named = |name: &String| Named { text: name.clone(), at: None, voxels: None };
        let mut all: Vec<Named> = self.names.iter().map(named).collect();
        if let Some(file) = &self.list {
            let text = read(file).map_err(CliError::system(file.display().to_string()))?;
            let before = all.len();
            if list::is_list(&text) {
                all.extend(of_samples(list::parse(&text, &file.display().to_string())?));
                return if all.len() == before { Err(names_nothing(file)) } else { Ok(all) };
            }
            // Lines that say something.
            let lines = text.lines().map(str::trim).zip(1..);
            let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
            let named =
                |(line, number): (&str, u64)| Named { text: line.to_owned(), at: Some(At(number)), voxels: None };
            all.extend(lines.map(named));
            if all.len() == before {
                return Err(names_nothing(file));
            }
        }
        Ok(all)
    }

    /// What stands before a complaint about a line: its place as `FILE:LINE: `.
    pub(super) fn place_of(&self, at: Option<At>) -> String {
        match (self.list.as_ref().or(self.follow.as_ref()), at) {
            (Some(list), Some(At(line))) => format!("{}:{line}: ", list.display()),
            _ => String::new(),
        }
    }

    /// What the names stand for, by image. A bad line of a list does not stop the others.
    pub(super) fn wanted<'a>(
        &self,
        catalog: &'a Catalog,
        named: &'a [Named],
        failures: &mut Failures,
    ) -> Result<Vec<WantedImage<'a>>, CliError> {
        let mut wishes = Vec::with_capacity(named.len());
        for Named { text, at, voxels } in named {
            match ImagePlace::parse(catalog, text) {
                Ok(place) => wishes.push(Wish { place, at: *at, voxels: voxels.map_or(Wanted::All, Wanted::Sample) }),
                Err(error) if at.is_some() => failures.add(format!("{}{error}", self.place_of(*at))),
                Err(error) => return Err(error),
            }
        }
        Ok(by_image(wishes))
    }
}

fn read(list: &Path) -> std::io::Result<String> {
    match list.to_str() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => std::fs::read_to_string(list),
    }
}

/// Wishes by image, and the labels of images that are wanted as a whole, or over a sample.
fn by_image<'a>(wishes: Vec<Wish<'a>>) -> Vec<WantedImage<'a>> {
    let mut all: Vec<WantedImage<'a>> = Vec::new();
    let mut add = |wish: Wish<'a>| {
        let name = wish.place.image_name();
        match all.iter_mut().find(|wanted| wanted.name == name) {
            Some(wanted) => wanted.wishes.push(wish),
            None => all.push(WantedImage { name, wishes: vec![wish] }),
        }
    };
    for wish in wishes {
        let over = match wish.voxels {
            Wanted::Sample(voxels) => Some(Wanted::Over(voxels)),
            _ => (wish.place.part == ImagePart::All).then_some(Wanted::All),
        };
        if let (None, Some(voxels)) = (wish.place.label, over) {
            for label in &wish.place.store.image.labels {
                let part = wish.place.part.clone();
                let place = ImagePlace { store: wish.place.store.clone(), label: Some(label), part };
                add(Wish { place, at: wish.at, voxels });
            }
        }
        add(wish);
    }
    all
}
