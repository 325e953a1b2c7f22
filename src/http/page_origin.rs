//! The origins of pages (RFC 6454), by which browsers say whose script asks.

use std::str::FromStr;

use url::Url;

/// Where a page comes from, as a browser writes it into `Origin` (RFC 6454, section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageOrigin {
    /// `*`
    Any,
    /// `https://example.org`, in the form that browsers send.
    Of(String),
}

/// A text that no browser sends as an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a page's origin is written as https://example.org, with its port where that is another than usual; `*` stands for all"
)]
pub struct NoOrigin;

impl FromStr for PageOrigin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        match text.trim() {
            "*" => return Ok(PageOrigin::Any),
            // Of pages that are files, or kept in a box.
            "null" => return Ok(PageOrigin::Of("null".to_owned())),
            _ => {}
        }
        let url = Url::parse(text.trim()).map_err(|_| NoOrigin)?;
        let is_alone = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        // A star within a name would be taken for a pattern by whoever wrote it.
        let is_named = url.host_str().is_some_and(|host| !host.is_empty() && !host.contains('*'))
            && url.username().is_empty()
            && url.password().is_none();
        if !is_alone || !is_named {
            return Err(NoOrigin);
        }
        let origin = url.origin();
        let text = match origin.is_tuple() {
            true => origin.ascii_serialization(),
            // That of a browser's extension.
            false => url.as_str().trim_end_matches('/').to_ascii_lowercase(),
        };
        Ok(PageOrigin::Of(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_compared_as_browsers_send_it() {
        for (text, sent) in [
            ("https://Example.org", "https://example.org"),
            ("https://example.org/", "https://example.org"),
            ("https://example.org:443", "https://example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("moz-extension://AbC-1", "moz-extension://abc-1"),
            ("null", "null"),
        ] {
            assert_eq!(text.parse(), Ok(PageOrigin::Of(sent.to_owned())), "{text}");
        }
        assert_eq!("*".parse(), Ok(PageOrigin::Any));
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        let texts = [
            "",
            "example.org",
            "neuroglancer-demo.appspot.com",
            "https://a/path",
            "https://a?x",
            "https://u:p@a",
            "https://",
        ];
        for text in texts.into_iter().chain(["https://*.example.org", "file:///x"]) {
            assert_eq!(text.parse::<PageOrigin>(), Err(NoOrigin), "{text}");
        }
    }
}
