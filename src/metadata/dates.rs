//! From the dates of archives to those of the record, ISO 8601.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

/// The time of a Windows FILETIME, hundreds of nanoseconds since 1601.
pub(super) fn filetime(ticks: f64) -> Option<String> {
    /// Seconds from 1601 to 1970.
    const EPOCH: i64 = 11_644_473_600;
    // Before 1970 and after 2200 nothing was acquired.
    if !(1.16e17..1.9e17).contains(&ticks) {
        return None;
    }
    let time = DateTime::<Utc>::from_timestamp((ticks / 1e7).floor() as i64 - EPOCH, 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A date in ISO 8601, from that, `dd.mm.yyyy`, or the form of `ctime`.
pub(super) fn date(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control() || c == '\u{2028}');
    for format in ["%Y-%m-%d", "%d.%m.%Y", "%Y:%m:%d", "%a %b %d %Y"] {
        if let Ok(date) = NaiveDate::parse_from_str(text, format) {
            return Some(date.format("%Y-%m-%d").to_string());
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%SZ", "%Y:%m:%d %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%Y-%m-%d %H:%M:%S"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            let zone = if format.ends_with('Z') { "Z" } else { "" };
            return Some(format!("{}{zone}", time.format("%Y-%m-%dT%H:%M:%S")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_of_all_writers_are_iso_8601() {
        assert_eq!(filetime(131_732_224_360_781_860.0).as_deref(), Some("2018-06-11T20:27:16Z"));
        assert_eq!(filetime(0.0), None);
        for (text, expected) in [
            ("11.06.2018", Some("2018-06-11")),
            ("2024-01-15", Some("2024-01-15")),
            ("Mon Mar 09 2015", Some("2015-03-09")),
            ("Mon Jun 11 22:26:45 2018\u{2028}", Some("2018-06-11T22:26:45")),
            ("2020:07:22 10:00:00", Some("2020-07-22T10:00:00")),
            ("31.02.2018", None),
            ("06/11/2018", None),
            ("", None),
        ] {
            assert_eq!(date(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn no_text_and_no_number_panics(text: String, number: f64) {
            date(&text);
            filetime(number);
        }

        #[test]
        fn a_date_in_the_order_of_german_is_not_taken_for_another(day in 1u32..29, month in 1u32..13, year in 1990i32..2030) {
            let text = format!("{day:02}.{month:02}.{year}");
            prop_assert_eq!(date(&text), Some(format!("{year}-{month:02}-{day:02}")));
        }
    }
}
