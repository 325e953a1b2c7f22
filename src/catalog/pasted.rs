//! Addresses of volumes as people paste them: as viewers write them, or those of a document.

/// What viewers write before or behind an address, and the kind that it means.
const FORMATS: [(&str, &str); 6] = [
    ("precomputed", "precomputed"),
    ("neuroglancer-precomputed", "precomputed"),
    ("zarr", "zarr"),
    ("zarr2", "zarr"),
    ("zarr3", "zarr"),
    ("n5", "n5"),
];

/// Addresses that are no files, and what they are.
const SERVICES: [(&str, &str); 5] = [
    (
        "graphene",
        "a segmentation that a PyChunkedGraph server computes; a flat copy of it has a `precomputed://` address",
    ),
    ("brainmaps", "a volume of Google's BrainMaps service, which needs an account"),
    ("dvid", "a volume of a DVID server; an exported copy of it has a `precomputed://` address"),
    ("boss", "a volume of the BossDB service; most of them are in the bucket `s3://bossdb-open-data` as well"),
    ("middleauth+https", "a volume for which one has to log in"),
];

/// The address of a volume of the kind `kind` without what viewers add to it.
pub(super) fn address(text: &str, kind: &str) -> Result<String, String> {
    let mut text = text;
    while let Some((scheme, rest)) = text.split_once("://") {
        if let Some((_, what)) = SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)) {
            return Err(format!("`{scheme}://` is {what}; it is not read"));
        }
        let Some(meant) = meant(scheme) else { break };
        agree(scheme, meant, kind)?;
        text = rest;
    }
    let (mut base, pipes) = match text.split_once('|') {
        Some((base, rest)) if rest.split('|').all(is_pipe) => (base.to_owned(), Some(rest)),
        _ => (text.to_owned(), None),
    };
    for separator in ["/", ".", "%2F", "%2f"] {
        if let Some(bare) = base.strip_suffix(&format!("?dimension_separator={separator}")) {
            base = bare.to_owned();
        }
    }
    for (scheme, path) in pipes.into_iter().flat_map(|rest| rest.split('|')).filter_map(|pipe| pipe.split_once(':')) {
        let meant = meant(scheme).ok_or_else(|| format!("`|{scheme}:` is not read"))?;
        agree(scheme, meant, kind)?;
        if !path.trim_matches('/').is_empty() {
            base = format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/'));
        }
    }
    Ok(without_document(base, kind))
}

fn meant(scheme: &str) -> Option<&'static str> {
    FORMATS.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|(_, kind)| *kind)
}

fn agree(scheme: &str, meant: &str, kind: &str) -> Result<(), String> {
    if meant == kind {
        return Ok(());
    }
    Err(format!("it says `{scheme}`, so write `kind = \"{meant}\"` instead of `{kind}`"))
}

/// Whether it is what neuroglancer writes behind a `|`.
fn is_pipe(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.split_once(':').is_some_and(|(scheme, _)| is_word(scheme))
}

/// The folder of a document that describes a volume.
fn without_document(address: String, kind: &str) -> String {
    let documents: &[&str] = match kind {
        "precomputed" => &["info"],
        "zarr" => &[".zattrs", ".zgroup", ".zarray", ".zmetadata", "zarr.json"],
        _ => &["attributes.json"],
    };
    match address.rsplit_once('/') {
        Some((folder, name)) if documents.contains(&name) && !folder.is_empty() && !folder.ends_with('/') => {
            folder.to_owned()
        }
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(text: &str, kind: &str, expected: &str) {
        assert_eq!(address(text, kind).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn what_viewers_write_around_an_address_is_taken_off() {
        is("precomputed://gs://b/raw/jpeg", "precomputed", "gs://b/raw/jpeg");
        is("gs://b/seg|neuroglancer-precomputed:", "precomputed", "gs://b/seg");
        is("gs://b/seg/|neuroglancer-precomputed:", "precomputed", "gs://b/seg/");
        is("zarr://https://h/a.zarr", "zarr", "https://h/a.zarr");
        is("zarr2://s3://b/a.zarr/?dimension_separator=/", "zarr", "s3://b/a.zarr/");
        is("zarr3://s3://b/a.zarr", "zarr", "s3://b/a.zarr");
        is("https://h/a.zarr/|zarr2:", "zarr", "https://h/a.zarr/");
        is("https://h/a.zarr|zarr3:s0/", "zarr", "https://h/a.zarr/s0/");
        is("s3://b/a.zarr|zarr:/em/s0", "zarr", "s3://b/a.zarr/em/s0");
        is("n5://https://h/a.n5", "n5", "https://h/a.n5");
        is("s3://b/a.n5/|n5:em/fibsem", "n5", "s3://b/a.n5/em/fibsem");
        is("https://h/a?token=1&x=2", "zarr", "https://h/a?token=1&x=2");
        is("precomputed://local", "precomputed", "local");
    }

    #[test]
    fn the_address_of_a_document_is_that_of_its_folder() {
        is("https://h/em/info", "precomputed", "https://h/em");
        is("/data/em/info", "precomputed", "/data/em");
        is("precomputed://gs://b/em/info", "precomputed", "gs://b/em");
        for name in [".zattrs", ".zgroup", ".zarray", ".zmetadata", "zarr.json"] {
            is(&format!("s3://b/a.zarr/{name}"), "zarr", "s3://b/a.zarr");
        }
        is("a.n5/attributes.json", "n5", "a.n5");
        // A folder may have such a name.
        is("https://h/em/info/", "precomputed", "https://h/em/info/");
        is("https://h/info", "zarr", "https://h/info");
        is("info", "precomputed", "info");
        is("/info", "precomputed", "/info");
        is("gs://info", "precomputed", "gs://info");
    }

    #[test]
    fn another_kind_and_what_is_no_file_are_named() {
        let error = |text: &str, kind: &str| address(text, kind).unwrap_err();
        assert_eq!(error("n5://https://h/a", "zarr"), "it says `n5`, so write `kind = \"n5\"` instead of `zarr`");
        assert!(error("gs://b/seg|neuroglancer-precomputed:", "zarr").contains("kind = \"precomputed\""));
        assert!(error("zarr://gs://b/seg", "precomputed").contains("kind = \"zarr\""));
        assert!(error("gs://b/a.zip|zip:|zarr3:", "zarr").contains("`|zip:` is not read"));
        for scheme in ["graphene", "brainmaps", "dvid", "boss", "precomputed://graphene"] {
            let text = format!("{scheme}://https://h/x");
            assert!(error(&text, "precomputed").contains("it is not read"), "{text}");
        }
        assert!(error("graphene://middleauth+https://h/x", "precomputed").contains("PyChunkedGraph"));
    }

    #[test]
    fn a_path_may_hold_a_bar() {
        is("/data/a|b/em", "zarr", "/data/a|b/em");
        is("/data/a|b:c d|", "zarr", "/data/a|b:c d|");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z0-9:/|?=._%-]{0,60}", any_text in any::<String>()) {
            for kind in ["zarr", "n5", "precomputed"] {
                let _ = address(&text, kind);
                let _ = address(&any_text, kind);
            }
        }
    }
}
