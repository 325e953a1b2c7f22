use proptest::prelude::*;

use super::*;

fn part_of(range: &str, length: Option<u64>) -> Head {
    Head { status: 206, content_range: Some(range.into()), content_length: length, delimited: true, ..Head::default() }
}

fn full(length: Option<u64>) -> Head {
    Head { status: 200, content_length: length, delimited: true, ..Head::default() }
}

fn cause(ask: &RangeRequest, head: &Head) -> Cause {
    expected_body(ask, head, false, false).unwrap_err().cause
}

#[test]
fn the_whole_is_accepted_for_a_range_only_where_the_range_is_the_whole() {
    let expected = expected_body(&RangeRequest::Range(0..10), &full(Some(10)), false, false).unwrap();
    assert_eq!(expected, ExpectedBody { length: Length::Exactly(10), total: Some(10) });
    for (range, length) in [(0..10, Some(11)), (0..10, Some(9)), (0..10, None), (1..10, Some(10)), (1..10, Some(9))] {
        assert!(matches!(cause(&RangeRequest::Range(range), &full(length)), Cause::Protocol(_)));
    }
}

#[test]
fn a_start_may_be_shorter_only_where_the_object_is() {
    let ask = RangeRequest::Start(100);
    let expected = expected_body(&ask, &part_of("bytes 0-49/50", Some(50)), false, false).unwrap();
    assert_eq!(expected, ExpectedBody { length: Length::Exactly(50), total: Some(50) });
    assert!(expected_body(&ask, &part_of("bytes 0-99/500", None), false, false).is_ok());
    for text in ["bytes 0-49/500", "bytes 0-99/*", "bytes 1-99/500", "bytes 0-100/500"] {
        assert!(matches!(cause(&ask, &part_of(text, None)), Cause::Protocol(_)), "{text}");
    }
    assert!(expected_body(&ask, &full(Some(100)), false, false).is_ok());
    assert!(expected_body(&ask, &full(Some(101)), false, false).is_err());
    let empty = Head { status: 416, content_range: Some("bytes */0".into()), ..Head::default() };
    assert_eq!(expected_body(&ask, &empty, false, false).unwrap().length, Length::Empty);
    assert!(expected_body(&RangeRequest::Range(0..1), &empty, false, false).is_err());
}

#[test]
fn an_end_is_where_the_length_says_and_may_be_shorter_only_where_the_object_is() {
    let ask = RangeRequest::End(100);
    let expected = expected_body(&ask, &part_of("bytes 400-499/500", Some(100)), false, false).unwrap();
    assert_eq!(expected, ExpectedBody { length: Length::Exactly(100), total: Some(500) });
    let expected = expected_body(&ask, &part_of("bytes 0-49/50", None), false, false).unwrap();
    assert_eq!(expected, ExpectedBody { length: Length::Exactly(50), total: Some(50) });
    for text in ["bytes 0-99/500", "bytes 399-499/500", "bytes 401-499/500", "bytes 400-498/500"] {
        assert!(matches!(cause(&ask, &part_of(text, None)), Cause::Protocol(_)), "{text}");
    }
    assert!(expected_body(&ask, &full(Some(100)), false, false).is_ok());
    assert!(expected_body(&ask, &full(Some(101)), false, false).is_err());
    let empty = Head { status: 416, content_range: Some("bytes */0".into()), ..Head::default() };
    assert_eq!(expected_body(&ask, &empty, false, false).unwrap().length, Length::Empty);
    assert_eq!(ask.place(100, Some(500)), 400..500);
    assert_eq!(ask.place(50, Some(50)), 0..50);
}

#[test]
fn a_length_that_is_hidden_is_where_the_last_bytes_end() {
    let ask = RangeRequest::End(100);
    let expected = expected_body(&ask, &part_of("bytes 400-499/*", None), false, false).unwrap();
    assert_eq!(expected, ExpectedBody { length: Length::Exactly(100), total: Some(500) });
    // These may be the first bytes, or not all that were asked for.
    for text in ["bytes 0-99/*", "bytes 0-100/*", "bytes 401-499/*", "bytes 399-499/*"] {
        assert!(matches!(cause(&ask, &part_of(text, None)), Cause::Protocol(_)), "{text}");
    }
    let range = RangeRequest::Range(400..500);
    let expected = expected_body(&range, &part_of("bytes 400-499/*", None), false, false).unwrap();
    assert_eq!(expected, ExpectedBody { length: Length::Exactly(100), total: None });
    assert!(expected_body(&range, &part_of("bytes 400-498/*", None), false, false).is_err());
}

#[test]
fn an_object_that_was_seen_before_is_gone_and_not_absent() {
    let head = Head { status: 404, ..Head::default() };
    assert_eq!(cause(&RangeRequest::Whole(1), &head), Cause::NotFound);
    let failure = expected_body(&RangeRequest::Whole(1), &head, true, false).unwrap_err();
    assert_eq!(failure.cause, Cause::Gone(404));
}

#[test]
fn an_encoded_body_is_refused() {
    let head = Head { content_encoding: Some("gzip".into()), ..part_of("bytes 0-9/10", None) };
    assert!(matches!(cause(&RangeRequest::Range(0..10), &head), Cause::Protocol(_)));
    let head = Head { content_encoding: Some("identity".into()), ..head };
    assert!(expected_body(&RangeRequest::Range(0..10), &head, false, false).is_ok());
}

#[test]
fn a_compressed_body_is_taken_whole_and_codings_that_say_nothing_are_passed_over() {
    let coded =
        |coding: &str| Head { status: 200, delimited: true, content_encoding: Some(coding.into()), ..Head::default() };
    for coding in ["gzip", "x-gzip", "BR", "zstd", "aws-chunked,gzip", "aws-chunked, br", " identity ,zstd"] {
        assert!(expected_body(&RangeRequest::Whole(10), &coded(coding), false, false).is_ok(), "{coding}");
        let part = Head { content_encoding: Some(coding.into()), ..part_of("bytes 0-9/10", None) };
        assert!(matches!(cause(&RangeRequest::Range(0..10), &part), Cause::Protocol(_)), "{coding}");
    }
    for coding in ["", "aws-chunked", "identity", ",", "AWS-Chunked,"] {
        assert!(expected_body(&RangeRequest::Whole(10), &coded(coding), false, false).is_ok(), "`{coding}`");
        let part = Head { content_encoding: Some(coding.into()), ..part_of("bytes 0-9/10", None) };
        assert!(expected_body(&RangeRequest::Range(0..10), &part, false, false).is_ok(), "`{coding}`");
    }
    for coding in ["deflate", "compress", "gzip, br", "gzip,gzip", "exi"] {
        let expected = format!("invalid response: Content-Encoding `{coding}` though identity was asked for");
        assert_eq!(cause(&RangeRequest::Whole(10), &coded(coding)).to_string(), expected);
    }
}

#[test]
fn a_bucket_in_another_region_is_told_with_what_to_write() {
    let moved = |status, region: Option<&str>| Head { status, region: region.map(str::to_owned), ..Head::default() };
    let told = cause(&RangeRequest::Whole(1), &moved(301, Some("eu-central-1"))).to_string();
    assert!(told.contains("status 301 with x-amz-bucket-region: eu-central-1"), "{told}");
    assert!(told.contains(r#"`endpoint = "https://s3.eu-central-1.amazonaws.com"`"#), "{told}");
    assert!(
        cause(&RangeRequest::Whole(1), &moved(400, Some("eu-central-1")))
            .to_string()
            .contains("AWS_REGION=eu-central-1")
    );
    assert_eq!(cause(&RangeRequest::Whole(1), &moved(400, None)), Cause::Status(400));
    let told = cause(&RangeRequest::Whole(1), &moved(307, None)).to_string();
    assert!(told.contains("status 307 without a Location") && told.contains("`endpoint`"), "{told}");
}

#[test]
fn an_empty_range_is_not_asked_for() {
    let backwards = Range { start: 5, end: 3 };
    for ask in [RangeRequest::Range(5..5), RangeRequest::Range(backwards), RangeRequest::Start(0), RangeRequest::End(0)]
    {
        assert!(matches!(ask.check(), Err(Cause::Request(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(512)))]

    #[test]
    fn a_range_is_promised_only_by_an_answer_with_these_very_bytes(
        start in 0u64..20, length in 1u64..20, status in prop_oneof![Just(200u16), Just(206)],
        first in 0u64..20, last in 0u64..40, total in 0u64..40, announced in proptest::option::of(0u64..40),
    ) {
        let range = start..start + length;
        let text = format!("bytes {first}-{last}/{total}");
        let head = Head { status, content_length: announced, ..part_of(&text, None) };
        if let Ok(expected) = expected_body(&RangeRequest::Range(range.clone()), &head, false, false) {
            prop_assert_eq!(expected.length, Length::Exactly(length));
            prop_assert!(announced.is_none_or(|announced| announced == length));
            if status == 206 {
                prop_assert_eq!((first, last + 1), (range.start, range.end));
            } else {
                prop_assert_eq!((0, announced), (range.start, Some(range.end)));
            }
        }
    }
}
