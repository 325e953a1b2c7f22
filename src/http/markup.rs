//! Pages and pieces of them.

use hyper::Response;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::body::{self, Body};
use super::headers::value;

/// What stands as it is in a part of an address.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A text as it may stand in a page, also within the quotes of an attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// A name as part of an address.
pub(super) fn part(name: &str) -> String {
    utf8_percent_encode(name, PART).to_string()
}

/// A page.
fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<style>{STYLE}</style></head>\n\
         <body>\n{body}\n</body></html>\n",
        escape(title)
    )
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.45 system-ui,sans-serif;margin:0 auto;max-width:72rem;padding:1rem}\
a{color:inherit}h1{font-size:1.5rem}h2{font-size:1.15rem;margin:.2rem 0}\
article{border-top:1px solid #8886;padding:1rem 0;display:flex;flex-wrap:wrap;gap:1rem}\
article>div{flex:1 1 20rem;min-width:0}\
.thumb{flex:0 0 auto;width:min(16rem,100%)}.thumb img{width:100%;background:#8883;min-height:4rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .8rem;margin:.4rem 0}dt{opacity:.7}dd{margin:0;overflow-wrap:anywhere}\
code,input{font-size:.95rem}pre{white-space:pre-wrap;overflow-wrap:anywhere}\
.picture{position:relative}.picture img{display:block;width:100%;image-rendering:auto;background:#8883}\
.bar{position:absolute;left:2%;bottom:2%;border-top:3px solid #fff;color:#fff;text-shadow:0 0 3px #000,0 0 3px #000;font-size:.85rem;text-align:center;white-space:nowrap}\
form{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:end;margin:.8rem 0}label{display:flex;flex-direction:column;font-size:.85rem}\
input[type=range]{width:min(28rem,85vw)}input[type=number]{width:7rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem}td,th{border:1px solid #8886;padding:.2rem .5rem;text-align:left;vertical-align:top}";

/// An answer that is a page.
pub(super) fn html(title: &str, content: &str) -> Response<Body> {
    let mut response = Response::new(body::whole(page(title, content)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, value("no-cache"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        value("default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'self'"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_break_out_of_a_page_or_an_address() {
        assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
        assert_eq!(part("a b/é?.zarr"), "a%20b%2F%C3%A9%3F.zarr");
    }
}
