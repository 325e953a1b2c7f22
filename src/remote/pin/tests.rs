use super::*;

fn version(etag: Option<&str>, date: Option<&str>, total: Option<u64>) -> ObjectVersion {
    ObjectVersion { etag: etag.map(str::to_owned), last_modified: date.map(str::to_owned), total }
}

fn refused(first: ObjectVersion, second: ObjectVersion) -> bool {
    let pin = Pin::default();
    settle(&pin, first).unwrap();
    let is_refused = pin.check(&second).is_err();
    assert_eq!(settle(&pin, second).is_err(), is_refused);
    is_refused
}

fn settle(pin: &Pin, version: ObjectVersion) -> Result<(), Cause> {
    pin.settle(version, &RangeRequest::Whole(9), b"bytes")
}

#[test]
fn another_etag_or_length_is_another_version() {
    let first = || version(Some("\"a\""), Some("monday"), Some(5));
    assert!(refused(first(), version(Some("\"b\""), Some("monday"), Some(5))));
    assert!(refused(first(), version(None, Some("monday"), Some(5))));
    assert!(refused(first(), version(Some("\"a\""), Some("monday"), Some(6))));
    assert!(!refused(first(), version(Some("\"a\""), Some("tuesday"), None)));
}

#[test]
fn without_an_etag_the_date_tells_versions_apart() {
    let first = || version(None, Some("monday"), Some(5));
    assert!(refused(first(), version(None, Some("tuesday"), Some(5))));
    assert!(refused(first(), version(None, None, Some(5))));
    assert!(!refused(first(), version(Some("\"a\""), Some("monday"), Some(5))));
}

#[test]
fn what_was_seen_earlier_does_not_take_the_place_of_an_answer() {
    let known = || version(Some("\"a\""), None, Some(5));
    for (first, same) in [(known(), true), (version(Some("\"b\""), None, Some(5)), false)] {
        let pin = Pin::default();
        settle(&pin, first.clone()).unwrap();
        assert_eq!(pin.preset(known()), same);
        assert_eq!(pin.version(), Some(first));
    }
    let pin = Pin::default();
    let nameless = version(None, None, Some(5));
    assert!(pin.preset(nameless.clone()) && !pin.preset(nameless));
}

#[test]
fn a_name_that_comes_later_is_the_object_s_name_from_then_on() {
    let pin = Pin::default();
    settle(&pin, version(None, None, Some(5))).unwrap();
    settle(&pin, version(Some("\"a\""), Some("monday"), Some(5))).unwrap();
    assert_eq!(pin.version(), Some(version(Some("\"a\""), Some("monday"), Some(5))));
    assert!(settle(&pin, version(Some("\"b\""), Some("monday"), Some(5))).is_err());
    assert!(settle(&pin, version(None, None, Some(5))).is_err());
}

#[test]
fn only_a_version_that_one_answer_alone_had_is_corrected() {
    let pin = Pin::default();
    settle(&pin, version(Some("\"a\""), None, Some(5))).unwrap();
    let answer = pin.only_answer().unwrap();
    assert!(answer.is(b"bytes") && !answer.is(b"other"));
    let corrected = version(Some("\"b\""), None, Some(6));
    pin.correct(&answer, corrected.clone());
    assert_eq!(pin.version(), Some(corrected.clone()));
    settle(&pin, corrected.clone()).unwrap();
    assert_eq!(pin.only_answer(), None);
    pin.correct(&answer, version(Some("\"a\""), None, Some(5)));
    assert_eq!(pin.version(), Some(corrected));
}

#[test]
fn another_name_of_the_version_is_one_only_with_its_date_and_length() {
    let pin = Pin::default();
    let first = version(Some("\"a\""), Some("monday"), Some(5));
    settle(&pin, first.clone()).unwrap();
    assert_eq!(pin.condition(), Some("\"a\"".to_owned()));
    pin.add_alias(&version(Some("\"z\""), Some("monday"), Some(5)), Some("\"b\"".to_owned()));
    assert!(pin.check(&version(Some("\"b\""), Some("monday"), Some(5))).is_err());
    pin.add_alias(&first, Some("\"b\"".to_owned()));
    assert_eq!(pin.condition(), None);
    settle(&pin, version(Some("\"b\""), Some("monday"), Some(5))).unwrap();
    for other in [
        version(Some("\"b\""), Some("tuesday"), Some(5)),
        version(Some("\"b\""), None, Some(5)),
        version(Some("\"b\""), Some("monday"), Some(6)),
        version(Some("\"b\""), Some("monday"), None),
        version(Some("\"c\""), Some("monday"), Some(5)),
        version(None, Some("monday"), Some(5)),
    ] {
        assert!(pin.check(&other).is_err() && settle(&pin, other).is_err());
    }
    assert_eq!(pin.version(), Some(first));
}

#[test]
fn a_weak_etag_tells_versions_apart_only_with_its_date() {
    let first = || version(Some("W/\"a\""), Some("monday"), Some(5));
    assert!(refused(first(), version(Some("W/\"a\""), Some("tuesday"), Some(5))));
    assert!(refused(first(), version(Some("W/\"b\""), Some("monday"), Some(5))));
    assert!(!refused(first(), first()));
    let other = version(Some("W/\"a\""), Some("tuesday"), Some(5));
    assert_ne!(first().id(), other.id());
}

#[test]
fn what_says_nothing_of_a_version_is_not_read_from_what_is_kept() {
    let kept = r#"{"etag": "\"\"", "last_modified": "monday", "total": 5}"#;
    let read: ObjectVersion = serde_json::from_str(kept).unwrap();
    assert_eq!(read, version(None, Some("monday"), Some(5)));
    let kept = r#"{"etag": "W/\"\"", "last_modified": "", "total": 5}"#;
    assert_eq!(serde_json::from_str::<ObjectVersion>(kept).unwrap().id(), None);
    let whole = version(Some("\"a\""), Some("monday"), None);
    assert_eq!(serde_json::from_str::<ObjectVersion>(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
}

#[test]
fn a_version_whose_bytes_were_made_something_of_is_not_forgotten() {
    let (first, other) = (version(Some("\"a\""), None, Some(5)), version(Some("\"b\""), None, Some(5)));
    let pin = Pin::default();
    settle(&pin, first.clone()).unwrap();
    assert!(pin.rely(pin.doubts()) && !pin.doubt());
    assert!(settle(&pin, other).is_err());
    assert_eq!(pin.version(), Some(first));
}

#[test]
fn bytes_of_a_version_that_was_forgotten_since_they_were_asked_for_are_not_relied_on() {
    let pin = Pin::default();
    let asked = pin.doubts();
    settle(&pin, version(Some("\"a\""), None, Some(5))).unwrap();
    assert!(pin.doubt());
    assert_eq!(pin.version(), None);
    assert!(!pin.rely(asked));
    let again = pin.doubts();
    settle(&pin, version(Some("\"b\""), None, Some(5))).unwrap();
    assert!(pin.rely(again) && !pin.doubt());
}
