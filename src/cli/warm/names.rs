//! What is to be fetched, by name: from the arguments and from a list.

use std::io::Read;
use std::path::Path;

use super::super::CliError;
use super::super::place::{Part, Place};
use super::{Failures, WarmArgs};
use crate::catalog::Catalog;

/// A name, and where it is in a list.
pub(super) struct Named {
    text: String,
    at: Option<At>,
}

impl Named {
    /// The text where it may be a path in a mount. Lines of a list are names unless they look like paths.
    pub(super) fn path(&mut self) -> Option<&mut String> {
        (self.at.is_none() || self.text.starts_with(['/', '.'])).then_some(&mut self.text)
    }
}

/// A line of the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct At(usize);

/// An image with all that is wanted of it.
pub(super) struct Wanted<'a> {
    pub name: String,
    pub places: Vec<(Place<'a>, Option<At>)>,
}

impl WarmArgs {
    /// The names, those of the list last.
    pub(super) fn named(&self) -> Result<Vec<Named>, CliError> {
        let mut all: Vec<Named> = self.names.iter().map(|name| Named { text: name.clone(), at: None }).collect();
        if let Some(list) = &self.list {
            let text = read(list).map_err(CliError::system(list.display().to_string()))?;
            // Lines that say something.
            let lines = text.lines().map(str::trim).zip(1..);
            let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
            all.extend(lines.map(|(line, number)| Named { text: line.to_owned(), at: Some(At(number)) }));
        }
        Ok(all)
    }

    /// What stands before a complaint about a line: its place as `FILE:LINE: `.
    pub(super) fn place_of(&self, at: Option<At>) -> String {
        match (&self.list, at) {
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
    ) -> Result<Vec<Wanted<'a>>, CliError> {
        let mut places = Vec::with_capacity(named.len());
        for Named { text, at } in named {
            match Place::parse(catalog, text) {
                Ok(place) => places.push((place, *at)),
                Err(error) if at.is_some() => failures.add(format!("{}{error}", self.place_of(*at))),
                Err(error) => return Err(error),
            }
        }
        Ok(by_image(places))
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

/// Places by image, and the labels of images that are wanted as a whole.
fn by_image<'a>(places: Vec<(Place<'a>, Option<At>)>) -> Vec<Wanted<'a>> {
    let mut all: Vec<Wanted<'a>> = Vec::new();
    let mut add = |place: Place<'a>, at: Option<At>| {
        let name = place.image_name();
        match all.iter_mut().find(|wanted| wanted.name == name) {
            Some(wanted) => wanted.places.push((place, at)),
            None => all.push(Wanted { name, places: vec![(place, at)] }),
        }
    };
    for (place, at) in places {
        if place.label.is_none() && place.part == Part::All {
            for label in &place.store.image.labels {
                add(Place { store: place.store.clone(), label: Some(label), part: Part::All }, at);
            }
        }
        add(place, at);
    }
    all
}
