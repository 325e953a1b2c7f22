//! Listings of folders: as Apache's autoindex shows them, and as S3 answers ListObjectsV2.

use std::fmt::Write;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::files::{Child, Files};
use crate::http::escape;

const MODIFIED: &str = "2026-01-01 00:00";
const MODIFIED_ISO: &str = "2026-01-01T00:00:00.000Z";
/// Keys of one answer at most, as in S3.
const MAX_KEYS: usize = 1000;
/// What a reference within a folder must not hold literally.
const HREF: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'?').add(b'&').add(b':');

/// The page of a folder, whose `path` (decoded) begins and ends in a slash.
pub(super) fn autoindex(path: &str, children: &[Child]) -> String {
    let title = escape(path.trim_end_matches('/'));
    let parent = path.trim_end_matches('/').rsplit_once('/').map_or("", |(parent, _)| parent);
    let mut page = format!(
        r#"<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html>
 <head><title>Index of {title}</title></head>
 <body>
<h1>Index of {title}</h1>
  <table>
   <tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th><th><a href="?C=S;O=A">Size</a></th><th><a href="?C=D;O=A">Description</a></th></tr>
   <tr><th colspan="5"><hr></th></tr>
<tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td><a href="{}/">Parent Directory</a></td><td>&nbsp;</td><td align="right">  - </td><td>&nbsp;</td></tr>
"#,
        utf8_percent_encode(parent, HREF)
    );
    for child in children {
        let (icon, alt, slash, size) = match child.size {
            None => ("folder", "[DIR]", "/", "  - ".to_owned()),
            Some(size) => ("unknown", "[   ]", "", rounded(size)),
        };
        let href = utf8_percent_encode(&child.name, HREF);
        let name = escape(&child.name);
        // Writing into a String cannot fail.
        let _ = writeln!(
            page,
            r#"<tr><td valign="top"><img src="/icons/{icon}.gif" alt="{alt}"></td><td><a href="{href}{slash}">{name}{slash}</a></td><td align="right">{MODIFIED}  </td><td align="right">{size}</td><td>&nbsp;</td></tr>"#
        );
    }
    page + "   <tr><th colspan=\"5\"><hr></th></tr>\n</table>\n</body></html>\n"
}

/// A size as Apache rounds it: `650 `, `822K`, `3.2M`.
fn rounded(size: usize) -> String {
    let size = size as f64;
    match size {
        ..1000.0 => format!("{size:3} "),
        ..1_022_976.0 if size < 9.95 * 1024.0 => format!("{:.1}K", size / 1024.0),
        ..1_022_976.0 => format!("{:3.0}K", size / 1024.0),
        ..10_433_331.0 => format!("{:.1}M", size / 1_048_576.0),
        _ => format!("{:3.0}M", size / 1_048_576.0),
    }
}

/// What a client asks of ListObjectsV2.
#[derive(Debug, Default)]
pub(super) struct ListRequest {
    pub prefix: String,
    pub delimiter: String,
    pub max_keys: Option<usize>,
    /// `continuation-token` or `start-after`: names up to this one are left out.
    pub after: String,
}

/// The answer to ListObjectsV2; `None` where there is no such bucket.
pub(super) fn list_objects(files: &Files, bucket: &str, request: &ListRequest) -> Option<String> {
    let root = format!("s3/{bucket}/");
    files.below(&root).next()?;
    let limit = request.max_keys.unwrap_or(MAX_KEYS).min(MAX_KEYS);
    let mut rows = String::new();
    let mut count = 0;
    // The last name that was written, and whether another one follows.
    let mut last = String::new();
    let mut truncated = false;
    let within = format!("{root}{}", request.prefix);
    for (path, entry) in files.below(&within) {
        let key = &path[root.len()..];
        let rest = &key[request.prefix.len()..];
        let cut = (!request.delimiter.is_empty()).then(|| rest.find(&request.delimiter)).flatten();
        let name = match cut {
            Some(at) => &key[..request.prefix.len() + at + request.delimiter.len()],
            None => key,
        };
        if name <= request.after.as_str() || name == last {
            continue;
        }
        if count == limit {
            truncated = true;
            break;
        }
        count += 1;
        name.clone_into(&mut last);
        let name = escape(name);
        let _ = match cut {
            Some(_) => write!(rows, "<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"),
            None => write!(
                rows,
                "<Contents><Key>{name}</Key><LastModified>{MODIFIED_ISO}</LastModified><ETag>{}</ETag><Size>{}</Size>\
                 <StorageClass>STANDARD</StorageClass></Contents>",
                escape(&entry.etag),
                entry.bytes.len()
            ),
        };
    }
    let next = if truncated {
        format!("<NextContinuationToken>{}</NextContinuationToken>", escape(&last))
    } else {
        String::new()
    };
    Some(format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{}</Name><Prefix>{}</Prefix><Delimiter>{}</Delimiter><KeyCount>{count}</KeyCount><MaxKeys>{limit}</MaxKeys><IsTruncated>{truncated}</IsTruncated>{next}{rows}</ListBucketResult>"#,
        escape(bucket),
        escape(&request.prefix),
        escape(&request.delimiter),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "jrc_mus-nacc-2/jrc_mus-nacc-2.zarr/recon-2/em/fibsem-int16/";

    fn names(xml: &str, tag: &str) -> Vec<String> {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        xml.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_delimiter_folds_keys_into_prefixes() {
        let files = Files::embedded();
        let request = ListRequest { prefix: GROUP.into(), delimiter: "/".into(), ..Default::default() };
        let xml = list_objects(&files, "janelia-cosem-datasets", &request).unwrap();
        assert_eq!(names(&xml, "Key"), [".zattrs", ".zgroup"].map(|name| format!("{GROUP}{name}")));
        assert_eq!(names(&xml, "Prefix")[1..], ["s0/", "s1/", "s2/", "s3/"].map(|name| format!("{GROUP}{name}")));
        assert!(list_objects(&files, "elsewhere", &request).is_none());
    }

    #[test]
    fn pages_of_a_listing_join_to_the_whole() {
        let files = Files::embedded();
        for delimiter in ["", "/"] {
            let mut request = ListRequest { prefix: GROUP.into(), delimiter: delimiter.into(), ..Default::default() };
            let whole = list_objects(&files, "janelia-cosem-datasets", &request).unwrap();
            let mut keys = Vec::new();
            request.max_keys = Some(3);
            loop {
                let xml = list_objects(&files, "janelia-cosem-datasets", &request).unwrap();
                keys.extend(names(&xml, "Key"));
                match names(&xml, "NextContinuationToken").pop() {
                    Some(token) => request.after = token,
                    None => break,
                }
            }
            assert_eq!(keys, names(&whole, "Key"));
        }
    }

    #[test]
    fn an_autoindex_encodes_names_in_references() {
        let child = Child { name: " a+b<c>.tif".into(), size: Some(841_218) };
        let page = autoindex("/epfl/x/", &[child]);
        assert!(page.contains(r#"<a href="%20a+b%3Cc%3E.tif"> a+b&lt;c&gt;.tif</a>"#), "{page}");
        assert!(page.contains(r#"<a href="/epfl/">Parent Directory</a>"#), "{page}");
        assert!(page.contains("822K"), "{page}");
    }
}
