//! The built-in catalogue's datasets as a configuration that points at the replica.

use std::net::SocketAddr;

use crate::catalog::BUILTIN;

/// The box of tissue in the replica's cut-out of the hemibrain, and the crop that is listed under a name.
const TISSUE: &str = "z2-206_y1-203_x4-208";
const SAMPLE: &str = "z20-120_y20-120_x20-120";

/// What the display windows of the replica's cut-outs are measured to be, by dataset and image. Of the others the files
/// state them.
const WINDOWS: [(&str, &str, [f64; 2]); 6] = [
    ("epfl-hippocampus", "em", [18.0, 192.0]),
    ("epfl-hippocampus", "training", [13.0, 192.0]),
    ("epfl-hippocampus", "testing", [16.0, 194.0]),
    ("jrc_mus-nacc-2", "em", [-1441.0, 447.0]),
    ("hemibrain", "em", [37.0, 193.0]),
    ("hemibrain", "em-raw", [91.0, 162.0]),
];

/// The configuration for a replica at `address`: the built-in catalogue with its addresses turned to the replica.
pub(super) fn toml(address: SocketAddr) -> String {
    let mut catalog: toml::Table = BUILTIN.parse().unwrap_or_default();
    catalog.remove("host");
    for dataset in members(&mut catalog, "dataset") {
        let name = text(dataset, "name");
        if let Some(source) = dataset.get_mut("source").and_then(toml::Value::as_table_mut) {
            redirect(source, address);
            record(source, &name, "em");
        }
        for label in members(dataset, "labels") {
            if let Some(source) = label.get_mut("source").and_then(toml::Value::as_table_mut) {
                redirect(source, address);
                source.remove("tissue");
            }
        }
        for image in members(dataset, "image") {
            let of = text(image, "name");
            if let Some(source) = image.get_mut("source").and_then(toml::Value::as_table_mut) {
                redirect(source, address);
                record(source, &name, &of);
            }
            for label in members(image, "labels") {
                if let Some(source) = label.get_mut("source").and_then(toml::Value::as_table_mut) {
                    redirect(source, address);
                }
            }
        }
        for view in members(dataset, "view") {
            view.insert("name".into(), "sample-100".into());
            view.insert("crop".into(), SAMPLE.into());
        }
    }
    toml::to_string(&catalog).unwrap_or_default()
}

/// The tables of a list.
fn members<'a>(entry: &'a mut toml::Table, key: &str) -> impl Iterator<Item = &'a mut toml::Table> {
    let list = entry.get_mut(key).and_then(toml::Value::as_array_mut);
    list.into_iter().flatten().filter_map(toml::Value::as_table_mut)
}

fn text(entry: &toml::Table, key: &str) -> String {
    entry.get(key).and_then(toml::Value::as_str).unwrap_or_default().to_owned()
}

/// Records the display window of an image.
fn record(source: &mut toml::Table, dataset: &str, image: &str) {
    source.remove("recorded_window");
    if let Some((_, _, [low, high])) = WINDOWS.iter().find(|(of, name, _)| (*of, *name) == (dataset, image)) {
        source.insert("recorded_window".to_owned(), vec![*low, *high].into());
    }
}

/// Turns the addresses of a source to the replica.
fn redirect(source: &mut toml::Table, address: SocketAddr) {
    // Of the whole volume, of which the replica has a part.
    source.remove("recorded");
    let base = format!("http://{address}");
    let kind = source.get("kind").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    let mut set = |key: &str, value: String| source.insert(key.to_owned(), value.into());
    match kind.as_str() {
        "idr" => {
            set("server", format!("{base}/idr"));
            set("files", format!("{base}/ebi/pub/databases/IDR"));
            source.remove("url");
        }
        "empiar" => {
            set("server", format!("{base}/empiar"));
            set("files", format!("{base}/ebi/empiar/world_availability"));
        }
        "zarr" => _ = set("endpoint", format!("{base}/s3")),
        "precomputed" => {
            set("endpoint", format!("{base}/gs"));
            set("tissue", TISSUE.to_owned());
        }
        _ => {
            let url = source.get("url").and_then(toml::Value::as_str).unwrap_or_default();
            let there = url.replacen("https://documents.epfl.ch", &format!("{base}/epfl"), 1);
            source.insert("url".to_owned(), there.into());
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_configuration_is_toml_with_all_datasets() {
        let text = super::toml(([127, 0, 0, 1], 4321).into());
        let catalog: toml::Table = text.parse().unwrap();
        let datasets = catalog["dataset"].as_array().unwrap();
        let names: Vec<_> = datasets.iter().map(|dataset| dataset["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"]);
        assert_eq!(datasets[2]["image"].as_array().unwrap().len(), 2);
        assert_eq!(datasets[3]["source"]["endpoint"].as_str().unwrap(), "http://127.0.0.1:4321/s3");
        assert_eq!(datasets[4]["source"]["endpoint"].as_str().unwrap(), "http://127.0.0.1:4321/gs");
    }
}
