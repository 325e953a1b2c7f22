//! What stands for a source, to tell whether it is still the one that it was.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{SourceKind, SourceSpec, VolumeFiles};
use crate::hex::hex;
use crate::remote::Location;

impl SourceSpec {
    /// SHA-256 in hexadecimal of all that decides which voxels a source has: its kind and every address and number that
    /// names its files. Whose credentials are used and what is only shown, as the window, are not part of it.
    pub fn digest(&self) -> String {
        let mut keys = match &self.kind {
            SourceKind::Idr { image, server, files, url } => json!({
                "image": image, "server": server.as_str(), "files": files.as_str(), "url": url.as_ref().map(location),
            }),
            SourceKind::Empiar { entry, server, files, imageset } => json!({
                "entry": entry, "server": server.as_str(), "files": files.as_str(), "imageset": imageset,
            }),
            SourceKind::Dm3 { files } | SourceKind::Tiff { files } | SourceKind::Mrc { files } => match files {
                VolumeFiles::File(url) | VolumeFiles::Folder(url) => json!({"url": location(url)}),
                VolumeFiles::List(urls) => json!({"urls": urls.iter().map(location).collect::<Vec<_>>()}),
            },
            SourceKind::Precomputed { url } | SourceKind::Zarr { url } | SourceKind::N5 { url } => {
                json!({"url": location(url)})
            }
        };
        if let Some(channel) = self.channel {
            keys["channel"] = channel.into();
        }
        if let Some(first) = self.first_level.filter(|first| *first > 0) {
            keys["first_level"] = first.into();
        }
        if let Some(overrides) = self.overrides.of_voxels() {
            keys["overrides"] = overrides;
        }
        keys["kind"] = self.kind.name().into();
        hex(&Sha256::digest(keys.to_string()))
    }
}

fn location(location: &Location) -> Value {
    json!([location.url.as_str(), location.endpoint.as_ref().map(url::Url::as_str)])
}

#[cfg(test)]
mod tests {
    use crate::catalog::Catalog;

    fn digest(source: &str) -> String {
        let text = format!("[[dataset]]\nname = \"v\"\n[dataset.source]\n{source}");
        let catalog = Catalog::parse(&text, "config.toml", None).unwrap();
        catalog.datasets[0].images[0].source.digest()
    }

    #[test]
    fn every_address_of_a_source_counts() {
        let sources = [
            "kind = \"dm3\"\nurls = [\"https://h/1.dm3\", \"https://h/2.dm3\", \"https://h/3.dm3\"]",
            "kind = \"dm3\"\nurls = [\"https://h/1.dm3\", \"https://h/4.dm3\", \"https://h/3.dm3\"]",
            "kind = \"dm3\"\nurls = [\"https://h/1.dm3\", \"https://h/3.dm3\", \"https://h/2.dm3\"]",
            "kind = \"dm3\"\nurl = \"https://h/1.dm3\"",
            "kind = \"zarr\"\nurl = \"s3://b/v\"",
            "kind = \"precomputed\"\nurl = \"s3://b/v\"",
            "kind = \"zarr\"\nurl = \"s3://b/v\"\nendpoint = \"https://h\"",
            "kind = \"precomputed\"\nurl = \"s3://b/v\"\nchannel = 1",
            "kind = \"precomputed\"\nurl = \"s3://b/v\"\nfirst_level = 1",
            "kind = \"idr\"\nimage = 1",
            "kind = \"idr\"\nimage = 1\nfiles = \"https://h\"",
            "kind = \"empiar\"\nentry = 1",
            "kind = \"empiar\"\nentry = 1\norder = \"natural\"",
            "kind = \"empiar\"\nentry = 1\npattern = '(\\d+)'",
            "kind = \"empiar\"\nentry = 1\ngaps = \"blank\"",
            "kind = \"tiff\"\nurl = \"https://h/v.tif\"",
            "kind = \"tiff\"\nurl = \"https://h/v.tif\"\naxes = \"tyx\"",
            "kind = \"tiff\"\nurl = \"https://h/v.tif\"\ntruncated = \"show\"",
            "kind = \"mrc\"\nurl = \"https://h/v.tif\"",
            "kind = \"empiar\"\nentry = 1\nimageset = \"a\"",
        ];
        let digests: std::collections::BTreeSet<String> = sources.iter().map(|source| digest(source)).collect();
        assert_eq!(digests.len(), sources.len());
    }

    #[test]
    fn what_is_only_shown_does_not_count() {
        let source = "kind = \"zarr\"\nurl = \"s3://b/v\"";
        assert_eq!(digest(source), digest(&format!("{source}\nwindow = [0.0, 1.0]\ncredentials = \"env\"")));
    }
}
