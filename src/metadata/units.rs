//! From the units and dates of archives to those of the record: nanometres, ISO 8601.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};

/// Powers of ten of a nanometre by the name of a unit, folded to lower case.
const LENGTHS: [(i32, &[&str]); 8] = [
    (-3, &["pm", "picometer", "picometers", "picometre"]),
    (-1, &["å", "a", "angstrom", "angstroms", "ångström"]),
    (0, &["nm", "nanometer", "nanometers", "nanometre", "nanometres"]),
    (3, &["µm", "um", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"]),
    (6, &["mm", "millimeter", "millimeters", "millimetre"]),
    (7, &["cm", "centimeter", "centimeters", "centimetre"]),
    (8, &["dm", "decimeter", "decimeters", "decimetre"]),
    (9, &["m", "meter", "meters", "metre", "metres"]),
];

/// The power of ten of a nanometre that a unit of length is.
fn exponent(unit: &str) -> Option<i32> {
    // ImageJ escapes letters; µ has two code points.
    let unit = unit.trim().replace("\\u00B5", "µ").replace("\\u00b5", "µ").replace("\\u00C5", "Å");
    let unit = unit.replace('μ', "µ").replace('\u{212b}', "Å").to_lowercase();
    LENGTHS.iter().find(|(_, names)| names.contains(&unit.as_str())).map(|(exponent, _)| *exponent)
}

/// A length in nanometres; `None` for an unknown unit or a length that is not finite.
pub(super) fn nanometres(value: f64, unit: &str) -> Option<f64> {
    if matches!(unit.trim(), "inch" | "inches" | "in") {
        return Some(value * 25.4e6).filter(|length| length.is_finite());
    }
    shifted(value, exponent(unit)?)
}

/// Nanometres per pixel from a resolution of `above / below` pixels per unit.
pub(super) fn per_pixel(above: f64, below: f64, unit: &str) -> Option<f64> {
    let unit = nanometres(1.0, unit)?;
    Some(unit * below / above).filter(|length| length.is_finite() && *length > 0.0)
}

/// `value · 10^exponent` by moving the decimal point: 0.0069 µm are 6.9 nm, not 6.8999999999999995.
pub(super) fn shifted(value: f64, exponent: i32) -> Option<f64> {
    let text = format!("{value:e}");
    let (mantissa, power) = text.split_once('e')?;
    let moved: f64 = format!("{mantissa}e{}", power.parse::<i32>().ok()?.checked_add(exponent)?).parse().ok()?;
    moved.is_finite().then_some(moved)
}

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
    fn lengths_of_all_units_are_nanometres_to_the_last_digit() {
        for (value, unit, expected) in [
            (80.0, "Å", Some(8.0)),
            (29.6, "ANGSTROM", Some(2.96)),
            (80.0, "\u{212b}", Some(8.0)),
            (2.96, "nm", Some(2.96)),
            (50.0, "NANOMETER", Some(50.0)),
            (0.0069, "µm", Some(6.9)),
            (0.02, "\\u00B5m", Some(20.0)),
            (0.02, "μm", Some(20.0)),
            (0.02, "MICROMETER", Some(20.0)),
            (0.0079982504, "micron", Some(7.9982504)),
            (0.00005, "mm", Some(50.0)),
            (8e-9, "m", Some(8.0)),
            (1.0, "inch", Some(25.4e6)),
            (1.0, "pixel", None),
            (1.0, "", None),
            (1e308, "m", None),
        ] {
            assert_eq!(nanometres(value, unit), expected, "{value} {unit}");
        }
    }

    #[test]
    fn resolutions_are_turned_around() {
        assert_eq!(per_pixel(50_000_000.0, 1_000_000.0, "\\u00B5m"), Some(20.0));
        assert_eq!(per_pixel(300.0, 1.0, "inch"), Some(25.4e6 / 300.0));
        assert_eq!(per_pixel(2_000_000.0, 1.0, "cm"), Some(5.0));
        assert_eq!(per_pixel(0.0, 1.0, "cm"), None);
        assert_eq!(per_pixel(1.0, 0.0, "cm"), None);
    }

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
            nanometres(number, &text);
            filetime(number);
            per_pixel(number, number, "nm");
        }

        #[test]
        fn a_date_in_the_order_of_german_is_not_taken_for_another(day in 1u32..29, month in 1u32..13, year in 1990i32..2030) {
            let text = format!("{day:02}.{month:02}.{year}");
            prop_assert_eq!(date(&text), Some(format!("{year}-{month:02}-{day:02}")));
        }
    }
}
