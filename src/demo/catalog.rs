//! The built-in catalogue's datasets as a configuration that points at the replica.

use std::net::SocketAddr;

use super::respond::{EMPIAR_ENTRY, IDR_IMAGE};
use crate::catalog::BUILTIN;

/// The configuration for a replica at `address`, with what the built-in catalogue says about each dataset.
pub(super) fn toml(address: SocketAddr) -> String {
    let mut text = sources(address);
    let Ok(builtin) = BUILTIN.parse::<toml::Table>() else { return text };
    for dataset in builtin.get("dataset").and_then(toml::Value::as_array).into_iter().flatten() {
        let (Some(name), Some(about)) = (dataset.get("name").and_then(toml::Value::as_str), dataset.get("about"))
        else {
            continue;
        };
        let head = format!("[[dataset]]\nname = \"{name}\"\n");
        text = text.replacen(&head, &format!("{head}about = {about}\n"), 1);
    }
    text
}

fn sources(address: SocketAddr) -> String {
    let epfl = format!("http://{address}/epfl/groups/c/cv/cvlab-unit/www/data/%20ElectronMicroscopy_Hippocampus");
    format!(
        r#"[[dataset]]
name = "idr-{IDR_IMAGE}"
[dataset.source]
kind = "idr"
image = {IDR_IMAGE}
server = "http://{address}/idr"
files = "http://{address}/ebi/pub/databases/IDR"

[[dataset]]
name = "empiar-{EMPIAR_ENTRY}"
[dataset.source]
kind = "empiar"
entry = {EMPIAR_ENTRY}
server = "http://{address}/empiar"
files = "http://{address}/ebi/empiar/world_availability"

[[dataset]]
name = "epfl-hippocampus"
[dataset.source]
kind = "tiff"
url = "{epfl}/volumedata.tif"
voxel_size = [5.0, 5.0, 5.0]
{}{}
[[dataset]]
name = "jrc_mus-nacc-2"
[dataset.source]
kind = "zarr"
url = "s3://janelia-cosem-datasets/jrc_mus-nacc-2/jrc_mus-nacc-2.zarr/recon-2/em/fibsem-int16"
endpoint = "http://{address}/s3"

[[dataset]]
name = "hemibrain"
[dataset.source]
kind = "precomputed"
url = "gs://neuroglancer-janelia-flyem-hemibrain/emdata/clahe_yz/jpeg"
endpoint = "http://{address}/gs"
tissue = "z0-128_y0-128_x0-128"
[[dataset.image]]
name = "em-raw"
[dataset.image.source]
kind = "precomputed"
url = "gs://neuroglancer-janelia-flyem-hemibrain/emdata/raw/jpeg"
endpoint = "http://{address}/gs"
tissue = "z0-128_y0-128_x0-128"
[[dataset.view]]
name = "sample-100"
image = "em"
crop = "z20-120_y20-120_x20-120"
"#,
        labelled(&epfl, "training"),
        labelled(&epfl, "testing"),
    )
}

/// An image of the EPFL dataset with its mitochondria.
fn labelled(folder: &str, name: &str) -> String {
    let size = "voxel_size = [5.0, 5.0, 5.0]";
    format!(
        r#"[[dataset.image]]
name = "{name}"
source = {{ kind = "tiff", url = "{folder}/{name}.tif", {size} }}
labels = [{{ name = "mitochondria", source = {{ kind = "tiff", url = "{folder}/{name}_groundtruth.tif", {size} }} }}]
"#
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_configuration_is_toml_with_all_datasets() {
        let text = super::toml(([127, 0, 0, 1], 4321).into());
        let table: toml::Table = text.parse().unwrap();
        let datasets = table["dataset"].as_array().unwrap();
        let names: Vec<_> = datasets.iter().map(|dataset| dataset["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"]);
        assert_eq!(datasets[2]["image"].as_array().unwrap().len(), 2);
        assert_eq!(datasets[3]["source"]["endpoint"].as_str().unwrap(), "http://127.0.0.1:4321/s3");
        assert_eq!(datasets[4]["source"]["endpoint"].as_str().unwrap(), "http://127.0.0.1:4321/gs");
    }
}
