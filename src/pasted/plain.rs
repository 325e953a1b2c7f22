//! What people paste around an address of any kind, and texts that are no address at all.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::links::repeated;
use super::meant;
use crate::document::bounds;

/// Marks around an address.
const AROUND: [(char, char); 6] = [('"', '"'), ('\'', '\''), ('`', '`'), ('<', '>'), ('“', '”'), ('«', '»')];

/// Schemes of other tools that mean the same.
const SAME: [(&str, &str); 3] = [("gcs", "gs"), ("s3a", "s3"), ("s3n", "s3")];

/// Schemes without `//` that begin an address.
const SCHEMES: [&str; 8] = ["http", "https", "file", "s3", "gs", "gcs", "s3a", "s3n"];

/// What stands before `::` in a chain of fsspec and says only that what is read is to be kept.
const CACHES: [&str; 4] = ["simplecache", "filecache", "blockcache", "cached"];

/// What stands there and says that a file is read as if it were a folder.
const WITHIN: [(&str, &str); 3] = [
    ("zip", "reads a ZIP archive; unpack it and write the address of the folder"),
    ("tar", "reads a TAR archive; unpack it and write the address of the folder"),
    ("reference", "reads references of kerchunk; write the address of what they refer to, or convert it to Zarr"),
];

/// The address in a text, without what people paste around it and in the words that are known here.
pub fn plain(text: &str) -> Result<String, String> {
    let mut text = text.trim();
    loop {
        if let Some(inner) = bare(text).or_else(|| without_fragment(text)) {
            text = inner.trim();
            continue;
        }
        let Some((word, rest)) = text.split_once("::") else { break };
        let name = word.split_once("://").map_or(word, |(name, _)| name).to_ascii_lowercase();
        if let Some((_, what)) = WITHIN.iter().find(|(within, _)| *within == name) {
            return Err(format!("`{name}::` of fsspec {what}"));
        }
        if !CACHES.contains(&name.as_str()) {
            break;
        }
        text = rest.trim();
    }
    if let Some(reason) = no_address(text) {
        return Err(reason);
    }
    let text = match text.strip_prefix("arn:aws:s3:::") {
        Some(key) => format!("s3://{key}"),
        None => text.to_owned(),
    };
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(text) };
    let same = SAME.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme));
    Ok(format!("{}://{rest}", same.map_or(scheme, |(_, same)| same)))
}

/// An address without the mark of a part of it that is not named.
fn without_fragment(text: &str) -> Option<&str> {
    text.strip_suffix('#').filter(|text| text.contains("://") && !text.contains('#'))
}

/// Whether it is an address or a whole path.
pub(super) fn is_address(text: &str) -> bool {
    let text = text.trim_start_matches(|letter| AROUND.iter().any(|(open, _)| *open == letter));
    let is_scheme = |scheme: &str| SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    text.starts_with('/')
        || text
            .split_once(':')
            .is_some_and(|(scheme, rest)| is_scheme(scheme) || is_word(scheme) && rest.starts_with("//"))
}

fn is_word(scheme: &str) -> bool {
    !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// What is between marks, where that is an address: names of this machine may have such marks.
fn bare(text: &str) -> Option<&str> {
    let within = |(open, close)| text.strip_prefix(open)?.strip_suffix(close);
    let linked = || text.strip_prefix('[')?.strip_suffix(')')?.rsplit_once("](").map(|(_, address)| address);
    AROUND.into_iter().find_map(within).or_else(linked).filter(|inner| is_address(inner) || inner.contains("://"))
}

/// What is wrong with a text that is none of an address and would be taken for the name of a file.
fn no_address(text: &str) -> Option<String> {
    if text == "~" || text.starts_with("~/") {
        return Some("`~` is the shell's and is not expanded here; write the whole path".to_owned());
    }
    if ["$HOME", "${HOME}"]
        .iter()
        .any(|home| text.strip_prefix(home).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    {
        return Some("`$HOME` is the shell's and is not expanded here; write the whole path".to_owned());
    }
    let bytes = text.as_bytes();
    let is_drive = bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes.get(1) == Some(&b':')
        && matches!(bytes.get(2), Some(b'\\' | b'/'))
        && bytes.get(3) != Some(&b'/');
    if is_drive || text.starts_with("\\\\") {
        return Some("it is a path of Windows; write the path that it has on this machine, as `/mnt/c/…`".to_owned());
    }
    if text.get(..4).is_some_and(|front| front.eq_ignore_ascii_case("arn:")) && !text.starts_with("arn:aws:s3:::") {
        return Some("it is an ARN that names no open bucket; write `s3://BUCKET/KEY`, and its `endpoint`".to_owned());
    }
    if text.starts_with('{') {
        return spec(text);
    }
    if let Some((scheme, rest)) = text.split_once(":/")
        && !rest.starts_with('/')
        && ["http", "https", "s3", "gs"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return Some(format!("a slash is missing; write {}", repeated(&format!("{scheme}://{rest}"))));
    }
    schemeless(text)
}

/// What a JSON spec of TensorStore is, and what to write in its place.
fn spec(text: &str) -> Option<String> {
    let spec = bounds::parse(text.as_bytes()).ok()?;
    let what = "it is a JSON spec of TensorStore";
    let driver = spec.get("driver").and_then(Value::as_str);
    let store = spec.get("kvstore")?;
    let kind = driver.and_then(|driver| meant(&driver.replace('_', "-")));
    Some(match (kind, address_of(store)) {
        (Some(kind), Some(address)) => {
            let below = spec.get("path").and_then(Value::as_str).unwrap_or_default().trim_matches('/');
            let address = if below.is_empty() { address } else { format!("{}/{below}", address.trim_end_matches('/')) };
            format!("{what}; write `kind = \"{kind}\"` and as `url` {}", repeated(&address))
        }
        _ => format!("{what}; write the address of its `kvstore` as `url`, as s3://BUCKET/KEY, and the `kind`"),
    })
}

/// The address of a key-value store of TensorStore.
fn address_of(store: &Value) -> Option<String> {
    if let Some(address) = store.as_str() {
        return Some(address.to_owned());
    }
    let text = |key: &str| store.get(key).and_then(Value::as_str);
    let path = text("path").unwrap_or_default();
    match text("driver")? {
        "file" => Some(path.to_owned()),
        "http" => Some(format!("{}{path}", text("base_url")?)),
        "s3" => Some(format!("s3://{}/{path}", text("bucket")?)),
        "gcs" => Some(format!("gs://{}/{path}", text("bucket")?)),
        _ => None,
    }
}

/// What to write for the name of a server that no scheme stands before.
fn schemeless(text: &str) -> Option<String> {
    let place = text.split('/').next()?;
    let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = match port {
        Some(port) => is_port(port) && is_name && (host.eq_ignore_ascii_case("localhost") || host.contains('.')),
        None => is_name && [".amazonaws.com", ".googleapis.com"].iter().any(|own| host.ends_with(own)),
    };
    let scheme = if port.is_some_and(|port| port != "443") { "http" } else { "https" };
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    is_host.then(|| {
        let address = repeated(&format!("{scheme}://{text}"));
        format!("it has no scheme; write {address}, or {} if it is a folder", repeated(&format!("./{decoded}")))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_paste_around_an_address_is_taken_off() {
        for address in ["https://h/x.zarr", "s3://b/k", "/d/x.zarr", "file:/d/x", "zarr://https://h/x.zarr"] {
            for text in [
                format!("\"{address}\""),
                format!("'{address}'"),
                format!("`{address}`"),
                format!("<{address}>"),
                format!(" “<{address}>” "),
                format!("[x.zarr]({address})"),
                format!("[a](b)]({address})"),
                format!("simplecache::{address}"),
                format!("filecache::blockcache::{address}"),
            ] {
                assert_eq!(plain(&text).as_deref(), Ok(address), "{text}");
            }
        }
        for text in ["x.zarr", "\"x\"", "<x>", "[x](y)", "a::b", "a'b'", "/d/x#", "/d/\"x\"", ""] {
            assert_eq!(plain(text).as_deref(), Ok(text));
        }
    }

    #[test]
    fn an_empty_fragment_is_taken_off_and_no_other() {
        for (text, expected) in [
            ("https://h/x.zarr#", "https://h/x.zarr"),
            ("file:///d/x.zarr/#", "file:///d/x.zarr/"),
            ("https://h/x.zarr/#0", "https://h/x.zarr/#0"),
            ("https://h/#!{}", "https://h/#!{}"),
        ] {
            assert_eq!(plain(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn the_words_of_other_tools_for_a_bucket_are_those_of_here() {
        for (text, expected) in [
            ("gcs://b/x", "gs://b/x"),
            ("s3a://b/x", "s3://b/x"),
            ("S3N://b/x", "s3://b/x"),
            ("arn:aws:s3:::b/k/x.zarr", "s3://b/k/x.zarr"),
            ("arn:aws:s3:::b", "s3://b"),
        ] {
            assert_eq!(plain(text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        for (text, write) in [
            ("~/x", "`~` is the shell's"),
            ("$HOME/x", "`$HOME` is the shell's"),
            ("C:\\data\\x.zarr", "a path of Windows"),
            ("d:/data/x.zarr", "a path of Windows"),
            ("\\\\server\\share", "a path of Windows"),
            ("http:/h/x.zarr", "a slash is missing; write `http://h/x.zarr`"),
            ("S3:/b/x", "write `S3://b/x`"),
            ("arn:aws:s3:eu-west-1:1:accesspoint/a", "write `s3://BUCKET/KEY`"),
            ("127.0.0.1:8000/x.zarr", "write `http://127.0.0.1:8000/x.zarr`, or `./127.0.0.1:8000/x.zarr` if"),
            ("localhost:9000", "write `http://localhost:9000`"),
            ("example.org:443/x", "write `https://example.org:443/x`"),
            ("b.s3.amazonaws.com/x.zarr", "write `https://b.s3.amazonaws.com/x.zarr`"),
            ("zip::https://h/x.zip", "`zip::` of fsspec reads a ZIP archive; unpack it"),
            ("zip://em::https://h/x.zip", "`zip::` of fsspec reads a ZIP archive; unpack it"),
            ("simplecache::zip://*.zarr::s3://b/x.zip", "`zip::`"),
            ("reference::https://h/x.json", "kerchunk"),
            (
                r#"{"driver":"zarr","kvstore":"https://h/x.zarr/"}"#,
                "`kind = \"zarr\"` and as `url` `https://h/x.zarr/`",
            ),
            (r#"{"driver":"zarr3","kvstore":{"driver":"s3","bucket":"b","path":"k/"},"path":"s0"}"#, "`s3://b/k/s0`"),
            (
                r#"{"driver":"neuroglancer_precomputed","kvstore":{"driver":"gcs","bucket":"b","path":"k"}}"#,
                "`kind = \"precomputed\"` and as `url` `gs://b/k`",
            ),
            (r#"{"driver":"n5","kvstore":{"driver":"http","base_url":"https://h","path":"/k"}}"#, "`https://h/k`"),
            (r#"{"driver":"n5","kvstore":{"driver":"file","path":"/d/x.n5"}}"#, "`/d/x.n5`"),
            (r#"{"driver":"n5","kvstore":{"driver":"memory"}}"#, "write the address of its `kvstore`"),
        ] {
            let told = plain(text).unwrap_err();
            assert!(told.contains(write), "{text}: {told}");
        }
        for text in ["a:1/x", "C:x", "{x}", "{", "a.zarr", "em:8000/x", "$HOMES/x", "x.amazonaws.com.zarr"] {
            assert_eq!(plain(text).as_deref(), Ok(text));
        }
    }

    proptest! {
        #[test]
        fn what_was_made_plain_stays_so(text in "([a-z0-9:/#.]|simplecache::|gcs://|https://|[\"'<>`]){0,12}", any_text in any::<String>()) {
            for text in [text, any_text] {
                if let Ok(once) = plain(&text) {
                    prop_assert_eq!(plain(&once), Ok(once));
                }
            }
        }
    }
}
