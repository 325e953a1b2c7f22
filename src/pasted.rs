//! Addresses of volumes as people paste them: as viewers write them, or those of a document.

mod links;
mod plain;

use percent_encoding::percent_decode_str;

pub use self::links::{brief, refusal};
pub use self::plain::plain;
use crate::kind::Kind;

/// What viewers write before or behind an address, and the kind that it means.
const FORMATS: [(&str, Kind); 6] = [
    ("precomputed", Kind::Precomputed),
    ("neuroglancer-precomputed", Kind::Precomputed),
    ("zarr", Kind::Zarr),
    ("zarr2", Kind::Zarr),
    ("zarr3", Kind::Zarr),
    ("n5", Kind::N5),
];

/// How the folders are called that are Zarr or N5 stores.
const STORES: [&str; 3] = [".zarr", ".n5", ".zr"];

/// What viewers write behind an address whose kind is to be found out.
const ANY: &str = "auto";

/// The address of a volume of the kind `kind` without what viewers add to it.
pub fn address(text: &str, kind: Kind) -> Result<String, String> {
    let text = plain(text)?;
    // A text of N5's library is a URI, of which a query is a part even where it is a path of this machine.
    let (mut text, mut is_uri) = (text.as_str(), false);
    while let Some((scheme, rest)) = text.split_once(':') {
        if let Some(reason) = refusal(text) {
            return Err(reason);
        }
        let Some(meant) = meant(scheme) else { break };
        let rest = match rest.strip_prefix("//") {
            Some(rest) => rest,
            None if plain::is_address(rest) => {
                is_uri = true;
                rest
            }
            None => break,
        };
        agree(scheme, meant, kind)?;
        text = rest;
    }
    let text = plain(text)?;
    let is_known = |pipe: &str| pipe.split_once(':').is_some_and(|(scheme, _)| meant(scheme).is_some());
    let is_piped = |text: &str| text.split_once('|').is_some_and(|(_, pipes)| pipes.split('|').all(is_known));
    let text = text.strip_suffix('|').filter(|text| is_piped(text)).unwrap_or(&text);
    let (mut base, pipes) = match text.split_once('|') {
        Some((base, rest)) if rest.split('|').all(is_pipe) => (base.to_owned(), Some(rest)),
        _ => (text.to_owned(), None),
    };
    for separator in ["/", ".", "%2F", "%2f"] {
        if let Some(bare) = base.strip_suffix(&format!("?dimension_separator={separator}")) {
            base = bare.to_owned();
        }
    }
    if kind != Kind::Precomputed {
        base = with_dataset(base, is_uri);
    }
    for pipe in pipes.into_iter().flat_map(|rest| rest.split('|')) {
        let (scheme, path) = pipe.split_once(':').unwrap_or((pipe, ""));
        if !scheme.eq_ignore_ascii_case(ANY) {
            let meant = meant(scheme).ok_or_else(|| format!("`|{scheme}:` is not read"))?;
            agree(scheme, meant, kind)?;
        }
        if !path.trim_matches('/').is_empty() {
            base = format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'));
        }
    }
    Ok(without_document(base, kind))
}

/// The address of the dataset in a URI of N5's library, `CONTAINER?DATASET`. What stands behind a question mark is for the
/// server where it has names and values, and where the path says nothing of a store.
fn with_dataset(address: String, is_uri: bool) -> String {
    let Some((container, dataset)) = address.split_once('?') else { return address };
    let is_url = address.contains("://");
    let is_store = |name: &str| {
        let name = name.to_ascii_lowercase();
        STORES.iter().any(|ending| name.ends_with(ending))
    };
    let is_path = !dataset.contains(['=', '&', '?']);
    if !is_path || !(is_uri || is_url && container.split('/').any(is_store)) {
        return address;
    }
    // An address stays percent-encoded, apart from what parts the names in it; a path is none.
    let dataset = match is_url || address.starts_with("file:") {
        true => dataset.replace("%2F", "/").replace("%2f", "/"),
        false => percent_decode_str(dataset).decode_utf8_lossy().into_owned(),
    };
    match dataset.trim_matches('/') {
        "" => container.to_owned(),
        dataset => format!("{}/{dataset}", container.trim_end_matches('/')),
    }
}

fn meant(scheme: &str) -> Option<Kind> {
    FORMATS.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|(_, kind)| *kind)
}

fn agree(scheme: &str, meant: Kind, kind: Kind) -> Result<(), String> {
    if meant == kind {
        return Ok(());
    }
    Err(format!("it says `{scheme}`, so write `kind = \"{meant}\"` instead of `{kind}`"))
}

/// Whether it is what neuroglancer writes behind a `|`; a known word stands for itself, as people write it.
fn is_pipe(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match text.split_once(':') {
        Some((scheme, _)) => is_word(scheme),
        None => meant(text).is_some() || text.eq_ignore_ascii_case(ANY),
    }
}

/// The folder of a document that describes a volume.
fn without_document(address: String, kind: Kind) -> String {
    let documents: &[&str] = match kind {
        Kind::Precomputed => &["info"],
        Kind::Zarr => &[".zattrs", ".zgroup", ".zarray", ".zmetadata", "zarr.json"],
        _ => &["attributes.json"],
    };
    // What stands behind a question mark, as where an address is signed, is of the folder's documents too.
    let (path, query) = match address.split_once('?') {
        Some((path, query)) if address.contains("://") => (path, format!("?{query}")),
        _ => (address.as_str(), String::new()),
    };
    match path.rsplit_once('/') {
        Some((folder, name)) if documents.contains(&name) && !folder.is_empty() && !folder.ends_with('/') => {
            format!("{folder}{query}")
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(text: &str, kind: Kind, expected: &str) {
        assert_eq!(address(text, kind).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn what_viewers_write_around_an_address_is_taken_off() {
        is("precomputed://gs://b/raw/jpeg", Kind::Precomputed, "gs://b/raw/jpeg");
        is("gs://b/seg|neuroglancer-precomputed:", Kind::Precomputed, "gs://b/seg");
        is("gs://b/seg/|neuroglancer-precomputed:", Kind::Precomputed, "gs://b/seg/");
        is("zarr://https://h/a.zarr", Kind::Zarr, "https://h/a.zarr");
        is("zarr2://s3://b/a.zarr/?dimension_separator=/", Kind::Zarr, "s3://b/a.zarr/");
        is("zarr3://s3://b/a.zarr", Kind::Zarr, "s3://b/a.zarr");
        is("https://h/a.zarr/|zarr2:", Kind::Zarr, "https://h/a.zarr/");
        is("https://h/a.zarr|zarr3:s0/", Kind::Zarr, "https://h/a.zarr/s0/");
        is("s3://b/a.zarr|zarr:/em/s0", Kind::Zarr, "s3://b/a.zarr/em/s0");
        is("n5://https://h/a.n5", Kind::N5, "https://h/a.n5");
        is("s3://b/a.n5/|n5:em/fibsem", Kind::N5, "s3://b/a.n5/em/fibsem");
        is("https://h/a?token=1&x=2", Kind::Zarr, "https://h/a?token=1&x=2");
        is("precomputed://local", Kind::Precomputed, "local");
    }

    #[test]
    fn a_suffix_means_the_same_without_its_colon() {
        for (suffix, kind) in
            FORMATS.into_iter().chain([Kind::Zarr, Kind::N5, Kind::Precomputed].map(|kind| (ANY, kind)))
        {
            for suffix in [suffix.to_owned(), suffix.to_ascii_uppercase()] {
                for base in ["https://h/a", "s3://b/a/", "/data/a"] {
                    is(&format!("{base}|{suffix}:"), kind, base);
                    is(&format!("{base}|{suffix}"), kind, base);
                }
            }
        }
        is("https://h/a|auto:s0", Kind::Zarr, "https://h/a/s0");
        assert!(address("https://h/a|zarr", Kind::N5).unwrap_err().contains("kind = \"zarr\""));
        is("https://h/a|b", Kind::Zarr, "https://h/a|b");
    }

    #[test]
    fn the_query_of_an_n5_uri_is_the_path_of_a_dataset() {
        for (text, expected) in [
            ("http://h/x.zarr?0", "http://h/x.zarr/0"),
            ("http://h/x.zarr/?/em/s0/", "http://h/x.zarr/em/s0"),
            ("zarr://http://h/x.ome.zarr?labels/seg", "http://h/x.ome.zarr/labels/seg"),
            ("zarr:https://h/X.ZARR?em%2Fs0", "https://h/X.ZARR/em/s0"),
            ("http://h/x.zarr?a%20b", "http://h/x.zarr/a%20b"),
            ("http://h/x.zarr/em?s0", "http://h/x.zarr/em/s0"),
            ("http://h/x.zarr?", "http://h/x.zarr"),
            ("http://h/x.zarr?0/.zarray", "http://h/x.zarr/0"),
            ("file:///d/x.zarr?0", "file:///d/x.zarr/0"),
            ("zarr:/d/x?a%20b", "/d/x/a b"),
            ("zarr:file:/d/x?a%20b", "file:/d/x/a%20b"),
            ("zarr:s3://b/x?s0", "s3://b/x/s0"),
        ] {
            is(text, Kind::Zarr, expected);
        }
        is("s3://b/x.n5?em/s0", Kind::N5, "s3://b/x.n5/em/s0");
        is("n5:gs://b/x.n5?em/s0", Kind::N5, "gs://b/x.n5/em/s0");
        is("n5:file:///d/x.n5?setup0/timepoint0", Kind::N5, "file:///d/x.n5/setup0/timepoint0");
        // These are for a server, or a name of this machine.
        for text in ["http://h/x.zarr?x=1", "http://h/x.zarr?a&b", "http://h/x?0", "/d/x.zarr?0"] {
            is(text, Kind::Zarr, text);
        }
    }

    #[test]
    fn a_format_before_an_address_is_taken_off() {
        for (prefix, kind) in FORMATS {
            for address in ["http://h/a", "file:///d/a", "s3://b/a", "/d/a"] {
                is(&format!("{prefix}:{address}"), kind, address);
                is(&format!("<{prefix}://{address}>"), kind, address);
                is(&format!("{prefix}:\"{address}\""), kind, address);
            }
            is(&format!("{prefix}://gcs://b/a#"), kind, "gs://b/a");
            is(&format!("{prefix}:<http://h/a#>"), kind, "http://h/a");
            is(&format!("{prefix}:folder"), kind, &format!("{prefix}:folder"));
        }
        assert!(address("n5:file:///d/a", Kind::Zarr).unwrap_err().contains("kind = \"n5\""));
        is("https://h/a.zarr/|zarr2:|", Kind::Zarr, "https://h/a.zarr/");
        assert!(address("precomputed://gs+xml://b/k", Kind::Precomputed).unwrap_err().contains("write `gs://b/k`"));
    }

    #[test]
    fn the_address_of_a_document_is_that_of_its_folder() {
        is("https://h/em/info", Kind::Precomputed, "https://h/em");
        is("/data/em/info", Kind::Precomputed, "/data/em");
        is("precomputed://gs://b/em/info", Kind::Precomputed, "gs://b/em");
        for name in [".zattrs", ".zgroup", ".zarray", ".zmetadata", "zarr.json"] {
            is(&format!("s3://b/a.zarr/{name}"), Kind::Zarr, "s3://b/a.zarr");
        }
        is("a.n5/attributes.json", Kind::N5, "a.n5");
        is("https://h/em/info?x=1", Kind::Precomputed, "https://h/em?x=1");
        is("https://h/a.zarr/.zattrs?token=a/info", Kind::Zarr, "https://h/a.zarr?token=a/info");
        is("/data/em?/info", Kind::Precomputed, "/data/em?");
        // A folder may have such a name.
        is("https://h/em/info/", Kind::Precomputed, "https://h/em/info/");
        is("https://h/info", Kind::Zarr, "https://h/info");
        is("info", Kind::Precomputed, "info");
        is("/info", Kind::Precomputed, "/info");
        is("gs://info", Kind::Precomputed, "gs://info");
    }

    #[test]
    fn another_kind_and_what_is_no_file_are_named() {
        let error = |text: &str, kind: Kind| address(text, kind).unwrap_err();
        assert_eq!(error("n5://https://h/a", Kind::Zarr), "it says `n5`, so write `kind = \"n5\"` instead of `zarr`");
        assert!(error("gs://b/seg|neuroglancer-precomputed:", Kind::Zarr).contains("kind = \"precomputed\""));
        assert!(error("zarr://gs://b/seg", Kind::Precomputed).contains("kind = \"zarr\""));
        assert!(error("gs://b/a.zip|zip:|zarr3:", Kind::Zarr).contains("`|zip:` is not read"));
        for scheme in ["graphene", "brainmaps", "dvid", "boss", "precomputed://graphene"] {
            let text = format!("{scheme}://https://h/x");
            assert!(error(&text, Kind::Precomputed).contains("it is not read"), "{text}");
        }
        assert!(error("graphene://middleauth+https://h/x", Kind::Precomputed).contains("PyChunkedGraph"));
    }

    #[test]
    fn a_path_may_hold_a_bar() {
        is("/data/a|b/em", Kind::Zarr, "/data/a|b/em");
        is("/data/a|b:c d|", Kind::Zarr, "/data/a|b:c d|");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9:/|?=._%-]{0,60}", any_text in any::<String>()) {
            for kind in [Kind::Zarr, Kind::N5, Kind::Precomputed] {
                let _ = address(&text, kind);
                let _ = address(&any_text, kind);
                let _ = address(&format!("https://h/#!{any_text}"), kind);
                let _ = address(&format!("a+{any_text}"), kind);
                let _ = address(&format!("{kind}:{any_text}"), kind);
                let _ = address(&format!("https://h/x.n5?{any_text}"), kind);
            }
        }
    }
}
