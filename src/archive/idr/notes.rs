//! What people noted about an image and about the study it belongs to: OMERO's map annotations.

use std::time::Duration;

use tracing::warn;
use url::Url;

use super::answer::Answer;
use super::{Asked, ask_for};
use crate::document::{Document, DocumentKind};
use crate::remote::Location;
use crate::source::SourceError;
use crate::store::Remote;

/// How long all of it may take. It only tells people more, so what goes wrong with it is no failure.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks `server` for the annotations of `image` and of its project: four small requests at the most.
pub(in crate::archive) async fn notes(remote: &Remote, image: u64, server: &Url) -> Vec<Document> {
    let server = Location::anonymous(server.clone());
    let of_image = async {
        let answer =
            ask_for(remote, annotations(&server, "image", image), DocumentKind::OmeroAnnotations, PATIENCE, nothing)
                .await;
        Vec::from_iter(told(answer).and_then(|(_, document)| document))
    };
    let mut study = Vec::new();
    // What came in time is kept.
    let of_study = async { tokio::time::timeout(PATIENCE, study_of(remote, image, &server, &mut study)).await };
    let (mut documents, _) = futures::join!(of_image, of_study);
    documents.append(&mut study);
    documents
}

/// The way from an image to its dataset, its project, and what is noted about that. Ends where an answer is none.
async fn study_of(remote: &Remote, image: u64, server: &Location, documents: &mut Vec<Document>) -> Option<()> {
    let datasets = server.join(&format!("api/v0/m/images/{image}/datasets/"));
    let dataset = first(remote, datasets, DocumentKind::OmeroDatasets, documents).await?;
    let projects = server.join(&format!("api/v0/m/datasets/{dataset}/projects/"));
    let project = first(remote, projects, DocumentKind::OmeroProjects, documents).await?;
    let answer =
        ask_for(remote, annotations(server, "project", project), DocumentKind::OmeroStudy, PATIENCE, nothing).await;
    documents.extend(told(answer)?.1);
    Some(())
}

/// The number of the first object of the answer to a question for a list, which is also a document for people.
async fn first(remote: &Remote, from: Location, kind: DocumentKind, documents: &mut Vec<Document>) -> Option<u64> {
    let (first, document) = told(ask_for(remote, from, kind, PATIENCE, |answer| Ok(answer.first())).await)?;
    documents.extend(document);
    first.ok()?
}

/// What came of a question; why nothing did is told, since the record of the image lacks it.
fn told<T>(asked: Asked<T>) -> Option<(Result<T, SourceError>, Option<Document>)> {
    asked.inspect_err(|error| warn!("the record does without it: {error}")).ok()
}

fn nothing(_: &Answer) -> Result<(), SourceError> {
    Ok(())
}

/// The route of the map annotations of an object.
fn annotations(server: &Location, kind: &str, number: u64) -> Location {
    let mut location = server.join("webclient/api/annotations/");
    location.url.set_query(Some(&format!("type=map&{kind}={number}")));
    location
}
