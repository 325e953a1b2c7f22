//! `/`: the datasets with a slice each, for people who know nothing of what is here.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hyper::Response;
use serde_json::Value;
use tokio::time::timeout;

use super::body::Body;
use super::describe::describe;
use super::failure::Failure;
use super::file;
use super::image_page::facts;
use super::listing::{html_line, names};
use super::markup::{escape, html, part};
use super::site::Site;
use super::viewers::{Link, Viewer};
use crate::catalog::MAIN_IMAGE;
use crate::vfs::NodeKind;

/// How long the page waits for a dataset that nobody has asked for yet; without it, it says less.
const PATIENCE: Duration = Duration::from_secs(3);

/// The parts of a record that are compared.
const SECTIONS: [&str; 4] = ["study", "biosample", "specimen", "acquisition"];

/// A dataset as the page shows it.
struct DatasetEntry {
    name: String,
    record: Value,
    /// Its voxels and links to viewers.
    about: String,
}

/// The page. `base` is the address of the server.
pub(super) async fn respond(site: &Arc<Site>, base: &str) -> Result<Response<Body>, Failure> {
    let root = site.names().find(&[]).await?;
    let entries = names(site, &root).await?;
    let datasets = entries.iter().filter(|entry| entry.attributes.kind == NodeKind::Directory);
    let shown = join_all(datasets.map(|entry| show(site, &entry.name, base))).await;
    let mut text = format!(
        "<h1>Volume electron microscopy</h1>\n<p>{} served by emfs as OME-Zarr at <code>{}</code>: what is read is fetched and \
         converted. <a href=\"?format=html\">All files</a>, <a href=\"?format=json\">as JSON</a>.</p>\n",
        count(shown.len()),
        escape(base)
    );
    shown.iter().for_each(|dataset| text.push_str(&article(dataset)));
    text.push_str(&comparison(&shown));
    text.push_str("<h2>Files</h2>\n<ul>\n");
    entries.iter().for_each(|entry| text.push_str(&html_line(entry)));
    text.push_str("</ul>\n");
    Ok(html("emfs", &text))
}

fn count(datasets: usize) -> String {
    if datasets == 1 { "One dataset".to_owned() } else { format!("{datasets} datasets") }
}

async fn show(site: &Arc<Site>, name: &str, base: &str) -> DatasetEntry {
    let record = timeout(PATIENCE, record(site, name)).await.ok().flatten().unwrap_or_default();
    let store = format!("{MAIN_IMAGE}.zarr");
    let about = match timeout(PATIENCE, describe(site, name, &store, "")).await {
        Ok(Ok(described)) => {
            let link = Link { server: base, image: &described, at: None, page: None };
            let pages = Viewer::ALL.into_iter().filter(|viewer| viewer.is_page());
            let links = pages.map(|viewer| format!("<a href=\"{}\">{}</a>", escape(&link.to(viewer)), viewer.title()));
            format!("{}<p>Open in {}</p>", facts(&described), links.collect::<Vec<_>>().join(" · "))
        }
        Ok(Err(failure)) => format!("<p>{}</p>", escape(&failure.text())),
        Err(_) => "<p>Its archive has not answered yet.</p>".to_owned(),
    };
    DatasetEntry { name: name.to_owned(), record, about }
}

async fn record(site: &Arc<Site>, dataset: &str) -> Option<Value> {
    let found = site.names().find(&[dataset.to_owned(), "metadata.json".to_owned()]).await.ok()?;
    let size = found.attributes.size;
    serde_json::from_slice(&file::bytes(site, &found, 0..size).await.ok()?).ok()
}

fn article(dataset: &DatasetEntry) -> String {
    let (name, address, record) = (escape(&dataset.name), part(&dataset.name), &dataset.record);
    let title = record["title"].as_str().map(escape).unwrap_or_default();
    let images = record["images"].as_array().into_iter().flatten();
    let images = images.filter(|image| image["content_type"] == "em").filter_map(|image| image["name"].as_str());
    let links = images.map(|image| format!("<a href=\"{address}/{0}/\">{0}</a>", part(image))).collect::<Vec<_>>();
    let study = &record["study"];
    let mut said = String::new();
    for (name, field) in
        [("Licence", "licence"), ("Use", "licence_statement"), ("Cite", "citation"), ("Page", "landing_page")]
    {
        if let Some(text) = study[field].as_str() {
            let text = escape(text);
            let shown = if text.starts_with("https://") { format!("<a href=\"{text}\">{text}</a>") } else { text };
            let _ = write!(said, "<dt>{name}</dt><dd>{shown}</dd>");
        }
    }
    format!(
        "<article><a class=\"thumb\" href=\"{address}/{MAIN_IMAGE}/\"><img loading=\"lazy\" \
         src=\"{address}/{MAIN_IMAGE}/slice.png?size=256\" alt=\"A slice of {name}\"></a>\n\
         <div><h2><a href=\"{address}/{MAIN_IMAGE}/\">{name}</a></h2><p>{title}</p>{}\n<dl>{said}</dl>\
         <p>Images: {} · <a href=\"{address}/\">files</a> · <a href=\"{address}/metadata.json\">all metadata</a></p></div></article>\n",
        dataset.about,
        links.join(", ")
    )
}

/// What is known of the datasets side by side.
fn comparison(datasets: &[DatasetEntry]) -> String {
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for section in SECTIONS {
        let fields = datasets.iter().filter_map(|dataset| dataset.record[section].as_object());
        let mut keys: Vec<&String> = Vec::new();
        fields.flat_map(|fields| fields.keys()).for_each(|key| {
            if !keys.contains(&key) {
                keys.push(key);
            }
        });
        for key in keys {
            let cells: Vec<String> = datasets.iter().map(|dataset| cell(&dataset.record[section][key])).collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                rows.push((key.replace('_', " "), cells));
            }
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let head: String = datasets.iter().map(|dataset| format!("<th>{}</th>", escape(&dataset.name))).collect();
    let mut text = format!("<h2>What is known of them</h2>\n<div class=\"scroll\"><table><tr><th></th>{head}</tr>\n");
    for (name, cells) in rows {
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = writeln!(text, "<tr><th>{}</th>{cells}</tr>", escape(&name));
    }
    text + "</table></div>\n"
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null | Value::Object(_) => String::new(),
        Value::String(text) => escape(text),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join("; "),
        other => escape(&other.to_string()),
    }
}
