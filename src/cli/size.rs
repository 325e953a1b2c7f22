//! Sizes and times as arguments.

use std::time::Duration;

use crate::decimal;

/// Longest `--timeout`.
const MAX_TIMEOUT: f64 = 86_400.0;

/// A number of bytes above 0: `4096`, or with K, M or G (binary) `512M`.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((end, 'K' | 'k')) => (&text[..end], 1 << 10),
        Some((end, 'M' | 'm')) => (&text[..end], 1 << 20),
        Some((end, 'G' | 'g')) => (&text[..end], 1 << 30),
        _ => (text, 1u64),
    };
    match decimal::unsigned(number).ok().and_then(|number| number.checked_mul(unit)) {
        Some(0) => Err("must be above 0".to_owned()),
        Some(size) => Ok(size),
        None => Err("must be a number of bytes, or of K, M or G, such as 512M".to_owned()),
    }
}

/// The same, or 0.
pub(super) fn bytes_or_none(text: &str) -> Result<u64, String> {
    if text == "0" { Ok(0) } else { bytes(text) }
}

/// One value for all axes, or three for z, y and x with `x` between them, as in the names of views, or commas.
pub(super) fn per_axis<T: Copy>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<[T; 3], String> {
    let extents = text.split(['x', ',']).map(parse).collect::<Result<Vec<_>, _>>()?;
    match extents[..] {
        [one] => Ok([one; 3]),
        [z, y, x] => Ok([z, y, x]),
        _ => Err("must be N or ZxYxX".to_owned()),
    }
}

/// A number of seconds above 0, up to a day.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= MAX_TIMEOUT);
    let duration = number.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.filter(|duration| !duration.is_zero()).ok_or_else(|| "must be seconds, above 0 and up to 86400".to_owned())
}

/// A time above 0, up to a day: a number of seconds, or one with `s`, `m` or `h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let units = [('s', 1.0), ('m', 60.0), ('h', 3600.0)];
    let with_unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
    let (number, unit) = with_unit.unwrap_or((text, 1.0));
    let wrong = || "must be a time such as 30, 30s, 10m or 2h, above 0 and up to a day".to_owned();
    let number: f64 = number.parse().map_err(|_| wrong())?;
    seconds(&(number * unit).to_string()).map_err(|_| wrong())
}

/// Bytes for people: `1.5 GiB`.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while value >= 1024.0 {
        match units.next() {
            Some(next) => {
                value /= 1024.0;
                unit = Some(next);
            }
            None => break,
        }
    }
    format!("{value:.1} {}", unit.unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_bytes_or_binary_units() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("3K"), Ok(3 << 10));
        assert_eq!(bytes("512M"), Ok(512 << 20));
        assert_eq!(bytes("2g"), Ok(2 << 30));
        for wrong in ["", "K", "-1", "+1", "1.5G", "1 G", "1T", "0", "0G", "ü", "99999999999999999999", "17179869184G"]
        {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds("60"), Ok(Duration::from_secs(60)));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "nan", "inf", "1e300", "1e-300", "s", "60s"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_may_have_a_unit() {
        for (text, expected) in [("1", 1), ("30s", 30), ("10m", 600), ("2h", 7200), ("1.5m", 90), ("24h", 86_400)] {
            assert_eq!(time(text), Ok(Duration::from_secs(expected)), "{text}");
        }
        for wrong in ["", "0", "-1m", "m", "nanm", "25h", "1d", "10 m"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn extents_are_separated_as_in_names_or_by_commas() {
        let parse = |text| per_axis(text, |text| text.parse::<u64>().map_err(|error| error.to_string()));
        assert_eq!(parse("64"), Ok([64; 3]));
        assert_eq!((parse("1x2x3"), parse("1,2,3")), (Ok([1, 2, 3]), Ok([1, 2, 3])));
        for wrong in ["", "1x2", "1,2,3,4", "1xx3", "1 2 3"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn people_read_sizes_with_a_unit() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(1 << 30), "1.0 GiB");
        assert_eq!(human(u64::MAX), "16384.0 PiB");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(100)))]

        #[test]
        fn no_text_makes_a_parser_panic(text in "\\PC*") {
            let _ = (bytes(&text), seconds(&text), time(&text));
        }
    }
}
