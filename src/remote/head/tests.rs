use proptest::prelude::*;
use reqwest::header::HeaderValue;

use super::*;

fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).fold(
        HeaderMap::new(),
        |mut map, (name, value)| {
            map.append(name, value);
            map
        },
    )
}

#[test]
fn two_content_ranges_are_refused() {
    let map = headers(&[(CONTENT_RANGE, "bytes 0-1/2"), (CONTENT_RANGE, "bytes 0-1/3")]);
    assert!(Head::of_http(206, Version::HTTP_11, &map, false).is_err());
}

#[test]
fn a_body_without_length_on_http_1_has_no_known_end() {
    assert!(!Head::of_http(200, Version::HTTP_11, &HeaderMap::new(), false).unwrap().delimited);
    assert!(Head::of_http(200, Version::HTTP_2, &HeaderMap::new(), false).unwrap().delimited);
    let chunked = headers(&[(TRANSFER_ENCODING, "chunked")]);
    assert!(Head::of_http(200, Version::HTTP_11, &chunked, false).unwrap().delimited);
}

#[test]
fn an_etag_or_a_date_that_says_nothing_is_none() {
    for etag in ["\"\"", "W/\"\"", ""] {
        let map = headers(&[(ETAG, etag), (LAST_MODIFIED, "Thu, 01 Jan 1970 00:00:00 GMT")]);
        let head = Head::of_http(200, Version::HTTP_11, &map, false).unwrap();
        assert_eq!((head.etag, head.last_modified), (None, None), "{etag}");
    }
}

#[test]
fn etags_of_different_bytes_stay_different() {
    let read = |bytes: &[u8]| {
        let map = HeaderMap::from_iter([(ETAG, HeaderValue::from_bytes(bytes).unwrap())]);
        Head::of_http(200, Version::HTTP_11, &map, false).unwrap().etag.unwrap()
    };
    let tags: [&[u8]; 4] = [b"\"\xff\"", b"\"\xfe\"", b"\"\xc3\xa9\"", b"\"\xe9\""];
    assert_eq!(tags.map(read).into_iter().collect::<std::collections::BTreeSet<_>>().len(), tags.len());
}

#[test]
fn contradicting_content_ranges_are_refused() {
    for text in [
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes 0-/10",
        "bytes -5/10",
        "bytes +1-5/10",
        "bytes 0-1",
        "items 0-1/2",
        "",
        "bytes 0-18446744073709551615/*",
        "bytes 0-18446744073709551616/*",
        "bytes */*",
        "bytes 0-1/ 2",
        "bytes */-1",
        "bytes=0-1/2",
    ] {
        assert_eq!(ContentRange::parse(text), None, "{text}");
    }
    assert_eq!(ContentRange::parse("bytes */0"), Some(ContentRange::Unsatisfied { total: 0 }));
    assert_eq!(ContentRange::parse("Bytes 0-4/*"), Some(ContentRange::Part { start: 0, end: 5, total: None }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn a_content_range_is_read_back_as_written(start in 0..u64::MAX / 2, length in 1..u64::MAX / 4, more in 0..u64::MAX / 4) {
        let (end, total) = (start + length, start + length + more);
        let text = format!("bytes {start}-{}/{total}", end - 1);
        prop_assert_eq!(ContentRange::parse(&text), Some(ContentRange::Part { start, end, total: Some(total) }));
    }

    #[test]
    fn no_content_range_text_breaks_the_parser(text in "(bytes )?[0-9*+ -]{0,22}[-/]?[0-9*]{0,22}/?[0-9*]{0,22}") {
        if let Some(ContentRange::Part { start, end, total }) = ContentRange::parse(&text) {
            prop_assert!(start < end && total.is_none_or(|total| end <= total));
        }
    }

    #[test]
    fn no_header_value_breaks_the_head(value in proptest::collection::vec(any::<u8>(), 0..40), status in 100u16..600) {
        let mut map = HeaderMap::new();
        for name in [CONTENT_LENGTH, CONTENT_RANGE, CONTENT_ENCODING, CONTENT_TYPE, ETAG, LAST_MODIFIED, RETRY_AFTER] {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                map.append(name, value);
            }
        }
        if let Ok(head) = Head::of_http(status, Version::HTTP_11, &map, false) {
            prop_assert_eq!(head.status, status);
        }
    }
}
