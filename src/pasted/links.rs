//! Links to viewers and pages of consoles, and addresses that are none of files: what they are, and what to write.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use crate::document::bounds;
use crate::neuroglancer;
use crate::remote::shown_text;

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

/// Parameters in which viewers have the address of what they show: vizarr and the validator of OME-NGFF, Avivator, ITK.
const SHOWN: [&str; 3] = ["source", "image_url", "fileToLoad"];

/// What the page of a viewer is called, where its address does not end in `/`.
const PAGES: [&str; 4] = ["viz", "view", "validator", ".html"];

/// Layers of a link that are named.
const MAX_LAYERS: usize = 5;

/// Letters of an address that a message repeats, and those of all layers of a link.
const TOLD: usize = 64;
const TOLD_OF_LAYERS: usize = 200;

/// What is wrong with a text that viewers understand as an address, and that is none of files.
pub fn refusal(text: &str) -> Option<String> {
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
    if is_web && let Some(reason) = Url::parse(text).ok().and_then(|url| console(&url).or_else(|| viewer(&url))) {
        return Some(reason);
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

/// What a link to a viewer is that has the address of what it shows as a parameter.
fn viewer(url: &Url) -> Option<String> {
    let page = url.path_segments()?.next_back()?.to_ascii_lowercase();
    if !page.is_empty() && !PAGES.iter().any(|part| page.contains(part)) {
        return None;
    }
    let (_, source) = url.query_pairs().find(|(name, value)| SHOWN.contains(&&**name) && value.contains("://"))?;
    Some(format!("it is a link to a viewer, not to a volume; write what it shows: {}", repeated(&source)))
}

/// What a page is on which a browser shows a bucket.
fn console(url: &Url) -> Option<String> {
    let host = url.host_str()?.to_ascii_lowercase();
    let path = percent_decode_str(url.path()).decode_utf8().ok()?;
    let path = path.trim_start_matches('/');
    let page = |scheme: &str, bucket: &str, key: &str| {
        let address = format!("{scheme}://{bucket}/{}", key.trim_start_matches('/'));
        (!bucket.is_empty())
            .then(|| format!("it is a page that shows a bucket to people, not a volume; write {}", repeated(&address)))
    };
    let keyed = |path: &str, scheme: &str| {
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        page(scheme, bucket, key)
    };
    if host == "console.cloud.google.com" {
        let path = path.strip_prefix("storage/browser/")?;
        // What stands behind a semicolon is which of its tabs the page shows.
        return keyed(path.strip_prefix("_details/").unwrap_or(path).split(';').next()?, "gs");
    }
    if host == "storage.cloud.google.com" {
        return keyed(path, "gs");
    }
    if host.ends_with("console.aws.amazon.com") {
        let bucket = path.strip_prefix("s3/buckets/").or_else(|| path.strip_prefix("s3/object/"))?;
        let key = url.query_pairs().find(|(name, _)| name == "prefix").map(|(_, prefix)| prefix.into_owned());
        return page("s3", bucket.trim_end_matches('/'), &key.unwrap_or_default());
    }
    // Buckets that are open to all have a page of their own that lists them.
    let (bucket, _) = host.strip_suffix(".amazonaws.com")?.rsplit_once(".s3")?;
    (path == "index.html").then(|| page("s3", bucket, url.fragment()?))?
}

/// An address as a message has it that says to write it.
pub(super) fn repeated(address: &str) -> String {
    let address: String =
        shown_text(address).chars().filter(|letter| !letter.is_control()).take(TOLD_OF_LAYERS).collect();
    format!("`{address}`")
}

/// An address as a message repeats it.
pub fn brief(text: &str) -> String {
    let more = if text.chars().nth(TOLD).is_some() { "…" } else { "" };
    format!("`{}{more}`", text.chars().take(TOLD).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_link_to_a_viewer_is_refused_with_the_sources_of_its_layers() {
        let error = |text: &str| refusal(text).unwrap();
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
            ("s3+http://h:9/b/k", "`s3+http://`", "`http://h:9/b/k`, or `s3://b/k` with `endpoint = \"http://h:9\"`"),
            ("s3+https://h/b/k", "`s3+https://`", "write `https://h/b/k`, or `s3://b/k` with"),
            ("middleauth+https://h/a", "a volume for which one has to log in; it is not read", "write `https://h/a`"),
            ("gs+ngauth+https://h/b/k", "`gs+ngauth+https://`", "`gs://b/k`, and `credentials = \"env\"`"),
            ("GS+https://h", "`GS+https://`", "write `https://h`"),
            ("a+b://h/k", "`a+b://`", "write an address with https://"),
        ] {
            let told = refusal(text).unwrap();
            assert!(told.contains(name) && told.contains(write), "{text}: {told}");
        }
        assert!(refusal("https://h/a+b").is_none() && refusal("/data/a+b://c").is_none());
    }

    #[test]
    fn a_link_to_a_viewer_with_a_source_and_a_page_of_a_bucket_are_refused_with_the_address_to_write() {
        for (text, write) in [
            ("https://hms-dbmi.github.io/vizarr/?source=http://h/x.zarr", "`http://h/x.zarr`"),
            ("https://h/vizarr?source=https%3A%2F%2Fh%2Fx.zarr&x=1", "`https://h/x.zarr`"),
            ("https://ome.github.io/ome-ngff-validator/?source=https://h/x.zarr?token=3", "`https://h/x.zarr?token=…`"),
            ("https://avivator.gehlenborglab.org/?image_url=https://h/x.tif", "`https://h/x.tif`"),
            (
                "https://kitware.github.io/itk-vtk-viewer/app/?rotate=false&fileToLoad=https://h/x.zarr",
                "`https://h/x.zarr`",
            ),
            ("https://console.cloud.google.com/storage/browser/b/em/raw/", "`gs://b/em/raw/`"),
            ("https://console.cloud.google.com/storage/browser/b/em;tab=objects?project=p&prefix=", "`gs://b/em`"),
            ("https://console.cloud.google.com/storage/browser/_details/b/em/info", "`gs://b/em/info`"),
            ("https://storage.cloud.google.com/b/em%20raw/info", "`gs://b/em raw/info`"),
            ("https://s3.console.aws.amazon.com/s3/buckets/b?prefix=jrc_hela-2/", "`s3://b/jrc_hela-2/`"),
            (
                "https://us-east-1.console.aws.amazon.com/s3/buckets/b?region=us-east-1&prefix=a%2Fb/&x=1",
                "`s3://b/a/b/`",
            ),
            ("https://s3.console.aws.amazon.com/s3/object/b?prefix=a/info", "`s3://b/a/info`"),
            ("https://s3.console.aws.amazon.com/s3/buckets/b", "`s3://b/`"),
            ("https://b.s3.amazonaws.com/index.html#a/b/", "`s3://b/a/b/`"),
            ("https://b.s3.eu-west-2.amazonaws.com/index.html#a.zarr", "`s3://b/a.zarr`"),
        ] {
            let told = refusal(text).unwrap_or_default();
            assert!(told.ends_with(write), "{text}: {told}");
        }
        for text in [
            "https://h/fetch?source=https://h/x.tif",
            "https://h/?source=x",
            "https://h/?token=https://h/x",
            "https://console.cloud.google.com/storage",
            "https://b.s3.amazonaws.com/a.zarr",
            "https://b.s3.amazonaws.com/index.html",
            "https://storage.googleapis.com/b/k",
        ] {
            assert_eq!(refusal(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_link_makes_it_panic(text in "[a-z0-9:/|?=.#;&_%-]{0,60}", any_text in any::<String>()) {
            for host in ["h", "b.s3.amazonaws.com", "s3.console.aws.amazon.com/s3/buckets", "console.cloud.google.com/storage/browser"] {
                let _ = refusal(&format!("https://{host}/{text}"));
                let _ = refusal(&format!("https://{host}/{any_text}"));
            }
        }
    }
}
