//! Elements of XML and their attributes, and the references to characters that XML and HTML have in common.
//!
//! What is not well-formed is read as far as it can be told what it says: files live longer than the programs that wrote them.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::escape::{resolve_predefined_entity, unescape_with};
use quick_xml::events::{BytesStart, Event};

/// Longest reference to a character, as `&#x0000212B;`.
const LONGEST_REFERENCE: usize = 16;

/// The start of an element, or an empty one.
#[derive(Debug, Clone)]
pub struct Element<'a> {
    start: BytesStart<'a>,
    after: &'a str,
}

/// All elements in their order, whatever they are in. Comments and CDATA hold none. After what is no XML at all there are none.
pub fn elements(text: &str) -> impl Iterator<Item = Element<'_>> {
    // A byte order mark would not be counted in the reader's positions.
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = Reader::from_str(text);
    let config = reader.config_mut();
    (config.check_end_names, config.allow_unmatched_ends, config.allow_dangling_amp) = (false, true, true);
    let next = move || {
        loop {
            match reader.read_event() {
                Ok(Event::Start(start) | Event::Empty(start)) => {
                    let end = usize::try_from(reader.buffer_position()).ok();
                    let after = end.and_then(|end| text.get(end..)).unwrap_or_default();
                    return Some(Element { start, after });
                }
                Ok(Event::Eof) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    };
    std::iter::from_fn(next).fuse()
}

impl Element<'_> {
    /// Whether it has this name, without its prefix.
    pub fn is(&self, name: &str) -> bool {
        self.start.local_name().as_ref() == name.as_bytes()
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<String> {
        // The check for a name that is there twice compares each with each.
        let mut attributes = self.start.attributes();
        let found = attributes.with_checks(false).flatten().find(|found| found.key.as_ref() == name.as_bytes())?;
        Some(unescaped(std::str::from_utf8(&found.value).ok()?).into_owned())
    }

    /// The text in it before another element begins.
    pub fn text(&self) -> Cow<'_, str> {
        let end = self.after.find('<').unwrap_or(self.after.len());
        unescaped(self.after.get(..end).unwrap_or_default().trim())
    }
}

/// A text with the characters that are meant for references to them: numbers, the five names of XML, and those of letters of
/// units. Any other ampersand stays as it is.
pub fn unescaped(text: &str) -> Cow<'_, str> {
    let named = |name: &str| match name {
        "micro" => Some("µ"),
        "mu" => Some("μ"),
        "Aring" => Some("Å"),
        name => resolve_predefined_entity(name),
    };
    let Some(first) = text.find('&') else { return text.into() };
    let (before, mut rest) = text.split_at(first);
    let mut plain = String::with_capacity(text.len());
    plain.push_str(before);
    while !rest.is_empty() {
        let end = rest.bytes().take(LONGEST_REFERENCE).position(|byte| byte == b';');
        let reference = end.and_then(|end| rest.get(..=end));
        let meant = reference.and_then(|reference| Some((unescape_with(reference, named).ok()?, reference.len())));
        let (letters, length) = meant.unwrap_or_else(|| ("&".into(), 1));
        plain.push_str(&letters);
        let (before, next) =
            rest.get(length..).map_or(("", ""), |rest| rest.split_at(rest.find('&').unwrap_or(rest.len())));
        plain.push_str(before);
        rest = next;
    }
    plain.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_to_characters_are_the_characters_and_other_ampersands_stay() {
        for (text, expected) in [
            ("a &amp; b.ome.tif", "a & b.ome.tif"),
            ("&lt;&gt;&quot;&apos;&#34;&#39;&#x27;&#43;", "<>\"'\"''+"),
            ("&#181;m &#xB5;m &#x3bc;m &micro;m &mu;m", "µm µm μm µm μm"),
            ("&#197; &Aring; &#8491; &#x0000212B;", "Å Å \u{212b} \u{212b}"),
            ("&amp;lt; &amp;amp;", "&lt; &amp;"),
            ("a & b &amp c &", "a & b &amp c &"),
            ("&&amp;&;&#;&#x;&#0;&#xD800;&#99999999999;&nothing;", "&&&;&#;&#x;&#0;&#xD800;&#99999999999;&nothing;"),
            ("?a=1&b=2;", "?a=1&b=2;"),
            ("é&é;é", "é&é;é"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(unescaped(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_well_formed_is_read_as_far_as_it_goes() {
        let names = |text: &str| {
            let named = |element: Element<'_>| element.attribute("n").unwrap_or_default();
            elements(text).filter(|element| element.is("E")).map(named).collect::<Vec<_>>().concat()
        };
        for (text, expected) in [
            ("<E n='1'/><E n=\"2\"></E>", "12"),
            (
                "\u{feff}<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE E [<!ENTITY a \"<E n='0'/>\">]><p:E n = '1'>",
                "1",
            ),
            ("words before <E n='1'>words & words; 2 > 1 &amp; </E> after", "1"),
            ("<E n='1'><E n='2'></F></E></E></E><E n='3'/>", "123"),
            ("<!-- it's <E n='0'/> -- <E n='0'/> --><![CDATA[<E n='0'/>]]><E n='1'/>", "1"),
            ("<E n='a>b'/><E m='n=\"0\"' n='/>'/>", "a>b/>"),
            ("<E n='1' n='2'/><E m n='3'/><E m=4 n='5'/>", "135"),
            ("<E n='1'/><!-- <E n='0'/>", "1"),
            ("<E n='1'/><E n='2", "1"),
            ("<E n='1'/><E", "1"),
            ("<E n='1'/><", "1"),
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn the_text_of_an_element_ends_where_another_one_begins() {
        let text = |text: &str| elements(text).last().map(|element| element.text().into_owned());
        assert_eq!(text("\u{feff}<a> urn:b&amp;c\n</a> d").as_deref(), Some("urn:b&c"));
        assert_eq!(text("<a>b").as_deref(), Some("b"));
        assert_eq!(text("<a></a>b").as_deref(), Some(""));
        assert_eq!(text("b"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

        #[test]
        fn any_text_is_what_it_was_before_it_was_escaped(text: String) {
            let escaped = quick_xml::escape::escape(text.as_str());
            prop_assert_eq!(unescaped(&escaped), text.as_str());
            let element = format!("<E n=\"{escaped}\">{escaped}</E>");
            let found = elements(&element).next().unwrap();
            prop_assert_eq!(found.attribute("n"), Some(text.clone()));
            prop_assert_eq!(found.text(), text.trim());
        }

        #[test]
        fn any_letters_of_markup_are_read(text in "[<>/!?&;#x'\"= \\[\\]aE-]{0,60}") {
            elements(&text).for_each(|element| {
                let _ = (element.attribute("a"), element.text());
            });
        }
    }
}
