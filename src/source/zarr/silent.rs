//! The arrays of an image, and what they say themselves where the image says nothing of them.

use super::axes::Axes;
use super::documents::Documents;
use super::fault::LevelFault;
use super::multiscales::{Multiscales, Reading};
use super::pyramid::{self, Listed};
use super::root::{self, StoreVersion};
use crate::remote::Location;
use crate::source::SourceError;

/// Reads the arrays that an image lists. An image that names no axes has those that its arrays name, else the last three are
/// `z, y, x`; one whose levels say nothing of their sizes has those that its arrays state, where all do.
pub(super) async fn listed(
    documents: &impl Documents,
    group: &Location,
    version: StoreVersion,
    (mut image, reading): (Multiscales, Reading),
    channel: Option<u64>,
) -> Result<(Multiscales, Vec<Listed>, Vec<String>), SourceError> {
    let at = |path: &String| if path.is_empty() { group.clone() } else { group.join(path) };
    let locations: Vec<Location> = image.datasets.iter().map(|dataset| at(&dataset.path)).collect();
    let arrays = root::arrays(documents, version, &locations).await;
    let mut notes = reading.notes;
    let mut datasets = image.datasets.clone();
    if reading.is_nameless || reading.is_silent {
        let own = root::own_attributes(documents, version, &locations).await;
        let mut all = Vec::new();
        for (own, array) in own.into_iter().zip(&arrays) {
            match (own, array) {
                (Ok(own), Ok(array)) => all.push((own, array)),
                (Err(error), Ok(_)) if !crate::store::Healable::is_of_bytes(&error) => return Err(error),
                (Err(error), Ok(_)) => notes.push(error.to_string()),
                (_, Err(_)) => {}
            }
        }
        if let (true, Some((own, array))) = (reading.is_nameless, all.first()) {
            let rank = array.shape.len();
            let axes = own.axes.clone().or_else(|| own.guessed.clone()).or_else(|| Axes::of_rank(rank));
            image.axes = axes.ok_or_else(|| {
                let file = group.to_string();
                SourceError::unsupported(
                    file,
                    "multiscales[0].axes",
                    format!("an image without axes of arrays of {rank}"),
                )
                .with_remedy(crate::source::remedy::VOLUME)
            })?;
            if own.axes.is_none() && rank != Axes::tczyx().rank() {
                notes.push(format!(
                    "the image names no axes; those of its arrays are taken to be {}",
                    image.axes.told()
                ));
            }
        }
        let places: Option<Vec<_>> = all.iter().map(|(own, _)| own.place(&image.axes)).collect();
        if let Some(places) = places.filter(|places| reading.is_silent && places.len() == datasets.len()) {
            image.unitless = places.iter().find_map(|place| place.unitless.clone());
            for (dataset, place) in datasets.iter_mut().zip(places) {
                let path = std::mem::take(&mut dataset.path);
                *dataset = super::multiscales::LevelEntry { path, ..place.dataset };
            }
        }
    }
    image.axes = image.axes.of_channel(channel);
    let checked = |(location, array): (&Location, Result<_, LevelFault>)| {
        let array = array?;
        let file = location.join(version.array_document()).to_string();
        image.axes.check(&file, &array).map_err(LevelFault::Unreadable)?;
        Ok(array)
    };
    let arrays: Vec<_> = locations.iter().zip(arrays).map(checked).collect();
    let mut listed: Vec<Listed> = datasets
        .into_iter()
        .zip(locations)
        .zip(arrays)
        .map(|((dataset, location), array)| Listed::new(dataset, location, array))
        .collect();
    pyramid::sort(&mut listed);
    Ok((image, listed, notes))
}
