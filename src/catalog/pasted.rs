//! Addresses of volumes as people paste them: as viewers write them, or those of a document.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::document::bounds;
use crate::neuroglancer;
use crate::remote::shown_text;

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
const SERVICES: [(&str, &str); 4] = [
    (
        "graphene",
        "a segmentation that a PyChunkedGraph server computes; a flat copy of it has a `precomputed://` address",
    ),
    ("brainmaps", "a volume of Google's BrainMaps service, which needs an account"),
    ("dvid", "a volume of a DVID server; an exported copy of it has a `precomputed://` address"),
    ("boss", "a volume of the BossDB service; most of them are in the bucket `s3://bossdb-open-data` as well"),
];

/// What viewers write behind an address whose kind is to be found out.
const ANY: &str = "auto";

/// Layers of a link that are named.
const MAX_LAYERS: usize = 5;

/// Letters of an address that a message repeats, and those of all layers of a link.
const TOLD: usize = 64;
const TOLD_OF_LAYERS: usize = 200;

/// What is wrong with a text that viewers understand as an address, and that is none of files.
pub(super) fn refusal(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    if let Some((_, what)) = SERVICES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)) {
        return Some(format!("`{scheme}://` is {what}; it is not read"));
    }
    let is_web = ["http", "https"].iter().any(|web| web.eq_ignore_ascii_case(scheme));
    if let Some((_, state)) = rest.split_once("#!").filter(|_| is_web) {
        let write = "write the `source` of one of its layers";
        return Some(match layers(state) {
            Some(sources) => format!("it is a link to a viewer, not to a volume; {write}: {sources}"),
            None => format!("it is a link to a viewer, not to a volume; {write} instead"),
        });
    }
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let schemes: Vec<&str> = scheme.split('+').collect();
    if schemes.len() < 2 || !schemes.iter().all(|word| is_word(word)) {
        return None;
    }
    let has = |word: &str| schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case(word));
    let instead = |scheme: &str, rest: &str| brief(&shown_text(&format!("{scheme}://{rest}")));
    let web = if has("https") { "https" } else { "http" };
    Some(match (has("https") || has("http"), rest.split_once('/')) {
        _ if has("middleauth") => {
            let open = instead(web, rest);
            format!(
                "`{scheme}://` is a volume for which one has to log in; it is not read. If it is public, write {open}"
            )
        }
        (true, Some((_, key))) if has("gs") => {
            let env = "`credentials = \"env\"` where one has to log in";
            format!("`{scheme}://` is not read; write {}, and {env}", instead("gs", key))
        }
        (true, Some((host, key))) if has("s3") => {
            let own = format!("{} with `endpoint = \"{web}://{host}\"`", instead("s3", key));
            format!("`{scheme}://` is not read; write {}, or {own}", instead(web, rest))
        }
        (true, _) => format!("`{scheme}://` is not read; write {}", instead(web, rest)),
        (false, _) if has("gs") || has("s3") => {
            let bucket = if has("gs") { "gs" } else { "s3" };
            format!("`{scheme}://` is not read; write {}", instead(bucket, rest))
        }
        _ => format!("`{scheme}://` is not read; write an address with https://, http://, file://, s3:// or gs://"),
    })
}

/// The sources of the layers in the state of a viewer, as far as they are told; `None` where there are none to read.
fn layers(state: &str) -> Option<String> {
    let state: Value = bounds::parse(&percent_decode_str(state).collect::<Vec<u8>>()).ok()?;
    let layers = neuroglancer::layers(&state)?;
    let mut told: Vec<String> = Vec::new();
    for (_, address) in layers.into_iter().flat_map(|(_, layer)| neuroglancer::sources(layer)) {
        let source = format!("`{}`", shown_text(address));
        let length: usize = told.iter().chain([&source]).map(|source| source.chars().count()).sum();
        if told.len() == MAX_LAYERS || length > TOLD_OF_LAYERS || source.contains(char::is_control) {
            break;
        }
        told.push(source);
    }
    (!told.is_empty()).then(|| told.join(", "))
}

/// An address as a message repeats it.
pub(super) fn brief(text: &str) -> String {
    let more = if text.chars().nth(TOLD).is_some() { "…" } else { "" };
    format!("`{}{more}`", text.chars().take(TOLD).collect::<String>())
}

/// The address of a volume of the kind `kind` without what viewers add to it.
pub(super) fn address(text: &str, kind: &str) -> Result<String, String> {
    if text == "~" || text.starts_with("~/") {
        return Err("`~` is the shell's and is not expanded here; write the whole path".to_owned());
    }
    let mut text = text;
    while let Some((scheme, rest)) = text.split_once("://") {
        if let Some(reason) = refusal(text) {
            return Err(reason);
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

fn meant(scheme: &str) -> Option<&'static str> {
    FORMATS.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|(_, kind)| *kind)
}

fn agree(scheme: &str, meant: &str, kind: &str) -> Result<(), String> {
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
fn without_document(address: String, kind: &str) -> String {
    let documents: &[&str] = match kind {
        "precomputed" => &["info"],
        "zarr" => &[".zattrs", ".zgroup", ".zarray", ".zmetadata", "zarr.json"],
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
    fn a_suffix_means_the_same_without_its_colon() {
        for (suffix, kind) in FORMATS.into_iter().chain(["zarr", "n5", "precomputed"].map(|kind| (ANY, kind))) {
            for suffix in [suffix.to_owned(), suffix.to_ascii_uppercase()] {
                for base in ["https://h/a", "s3://b/a/", "/data/a"] {
                    is(&format!("{base}|{suffix}:"), kind, base);
                    is(&format!("{base}|{suffix}"), kind, base);
                }
            }
        }
        is("https://h/a|auto:s0", "zarr", "https://h/a/s0");
        assert!(address("https://h/a|zarr", "n5").unwrap_err().contains("kind = \"zarr\""));
        is("https://h/a|b", "zarr", "https://h/a|b");
    }

    #[test]
    fn a_link_to_a_viewer_is_refused_with_the_sources_of_its_layers() {
        let error = |text: &str| address(text, "precomputed").unwrap_err();
        let begin = "it is a link to a viewer, not to a volume; write the `source` of one of its layers";
        let state = r#"{"layers":[{"source":"precomputed://gs://b/em"},{"source":{"url":"zarr://s3://b/a"}},
            {"type":"annotation"},{"source":["gs://b/seg","gs://b/mesh?key=3"]},{"source":3},{"source":"x"},{"source":"y"}]}"#;
        let encoded = percent_encoding::utf8_percent_encode(state, percent_encoding::NON_ALPHANUMERIC).to_string();
        for state in [state, encoded.as_str()] {
            let told = "`precomputed://gs://b/em`, `zarr://s3://b/a`, `gs://b/seg`, `gs://b/mesh?key=…`, `x`";
            assert_eq!(error(&format!("https://neuroglancer-demo.appspot.com/#!{state}")), format!("{begin}: {told}"));
        }
        let old = r#"http://h/v/#!{"layers":{"em":{"source":"n5://http://h/a"}}}"#;
        assert_eq!(error(old), format!("{begin}: `n5://http://h/a`"));
        let long = format!(r#"https://h/#!{{"layers":[{{"source":"gs://{}"}}]}}"#, "b".repeat(1000));
        for unread in ["https://h/#!gs://b/state.json", "https://h/#!{", "https://h/#!%7B%22layers%22%3A3%7D", &long] {
            assert_eq!(error(unread), format!("{begin} instead"));
        }
    }

    #[test]
    fn joined_schemes_are_refused_by_name_with_what_to_write() {
        for (text, name, write) in [
            ("gs+xml://b/k", "`gs+xml://`", "write `gs://b/k`"),
            ("precomputed://gs+xml://b/k", "`gs+xml://`", "write `gs://b/k`"),
            ("s3+http://h:9/b/k", "`s3+http://`", "`http://h:9/b/k`, or `s3://b/k` with `endpoint = \"http://h:9\"`"),
            ("s3+https://h/b/k", "`s3+https://`", "write `https://h/b/k`, or `s3://b/k` with"),
            ("middleauth+https://h/a", "a volume for which one has to log in; it is not read", "write `https://h/a`"),
            ("gs+ngauth+https://h/b/k", "`gs+ngauth+https://`", "`gs://b/k`, and `credentials = \"env\"`"),
            ("GS+https://h", "`GS+https://`", "write `https://h`"),
            ("a+b://h/k", "`a+b://`", "write an address with https://"),
        ] {
            let told = address(text, "precomputed").unwrap_err();
            assert!(told.contains(name) && told.contains(write), "{text}: {told}");
        }
        assert!(refusal("https://h/a+b").is_none() && refusal("/data/a+b://c").is_none());
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
        is("https://h/em/info?x=1", "precomputed", "https://h/em?x=1");
        is("https://h/a.zarr/.zattrs?token=a/info", "zarr", "https://h/a.zarr?token=a/info");
        is("/data/em?/info", "precomputed", "/data/em?");
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
                let _ = address(&format!("https://h/#!{any_text}"), kind);
                let _ = address(&format!("a+{any_text}"), kind);
            }
        }
    }
}
