//! Names that archives write in their own ways, as the identifiers of vocabularies.

/// Licences by their SPDX identifiers.
const LICENCES: [&str; 10] = [
    "CC0-1.0",
    "CC-BY-4.0",
    "CC-BY-3.0",
    "CC-BY-SA-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0",
    "CC-BY-NC-ND-4.0",
    "ODC-By-1.0",
    "MIT",
];

/// Imaging methods: as the record names them, the class of the FBbi ontology, and that class's own name.
const METHODS: [(&str, &str, &str); 3] = [
    ("FIB-SEM", "FBbi:00050000", "focussed ion beam scanning electron microscopy (FIB-SEM)"),
    ("SBF-SEM", "FBbi:00000585", "serial block face SEM (SBFSEM)"),
    ("SEM", "FBbi:00000257", "scanning electron microscopy (SEM)"),
];

/// The SPDX identifier of a licence that is written so, or as `CC BY 4.0`.
pub(super) fn licence(text: &str) -> Option<&'static str> {
    let text = text.split_whitespace().collect::<Vec<_>>().join("-");
    LICENCES.into_iter().find(|known| known.eq_ignore_ascii_case(&text))
}

/// Identifier, name and address of an imaging method in the FBbi ontology.
pub(super) fn method(name: &str) -> Option<(&'static str, &'static str, String)> {
    let (_, id, label) = METHODS.into_iter().find(|(known, ..)| *known == name)?;
    Some((id, label, format!("http://purl.obolibrary.org/obo/{}", id.replace(':', "_"))))
}

/// The DOI in a text, without a resolver's address.
pub(super) fn doi(text: &str) -> Option<&str> {
    text.split_whitespace().find_map(|word| {
        let doi = &word[word.find("10.")?..];
        let (registrant, name) = doi.split_once('/')?;
        (registrant[3..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !name.is_empty()).then_some(doi)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn licences_are_known_by_their_common_names() {
        for (text, expected) in [
            ("CC BY 4.0", Some("CC-BY-4.0")),
            ("CC-BY-4.0", Some("CC-BY-4.0")),
            ("CC0 1.0", Some("CC0-1.0")),
            ("CC BY", None),
            ("", None),
        ] {
            assert_eq!(licence(text), expected, "{text}");
        }
    }

    #[test]
    fn a_doi_is_found_with_and_without_a_resolver() {
        for (text, expected) in [
            ("10.17867/10000141d https://doi.org/10.17867/10000141d", Some("10.17867/10000141d")),
            ("https://doi.org/10.1126/sciadv.aba8811", Some("10.1126/sciadv.aba8811")),
            ("about 10.5 of 3/4", None),
            ("10.x/y", None),
            ("", None),
        ] {
            assert_eq!(doi(text), expected, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn any_text_is_a_term_or_none(text in "([ -~é]|10\\.|/){0,24}") {
            licence(&text);
            method(&text);
            if let Some(found) = doi(&text) {
                prop_assert!(text.contains(found) && found.starts_with("10."));
            }
        }
    }
}
