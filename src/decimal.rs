//! Decimal numbers that stand as text: digits only, where Rust's own parser takes a sign as well.

/// Why a text is no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDecimal {
    /// It is empty, or something in it is no digit.
    Digits,
    /// It has a zero before its first digit, where only one spelling is taken.
    LeadingZero,
    /// It has more than 64 bits.
    TooLarge,
}

/// The number that the digits of `text` are.
pub fn unsigned(text: &str) -> Result<u64, NotDecimal> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotDecimal::Digits);
    }
    text.parse().map_err(|_| NotDecimal::TooLarge)
}

/// The same for a number in its only spelling, which has no leading zero.
pub fn canonical(text: &str) -> Result<u64, NotDecimal> {
    match unsigned(text) {
        Ok(_) | Err(NotDecimal::TooLarge) if text.len() > 1 && text.starts_with('0') => Err(NotDecimal::LeadingZero),
        number => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_are_a_number_and_only_one_spelling_of_it_is_canonical() {
        use NotDecimal::{Digits, LeadingZero, TooLarge};
        for (text, expected, only) in [
            ("0", Ok(0), Ok(0)),
            ("10", Ok(10), Ok(10)),
            ("18446744073709551615", Ok(u64::MAX), Ok(u64::MAX)),
            ("18446744073709551616", Err(TooLarge), Err(TooLarge)),
            ("007", Ok(7), Err(LeadingZero)),
            ("00", Ok(0), Err(LeadingZero)),
            ("018446744073709551616", Err(TooLarge), Err(LeadingZero)),
            ("", Err(Digits), Err(Digits)),
            ("+1", Err(Digits), Err(Digits)),
            ("-1", Err(Digits), Err(Digits)),
            (" 1", Err(Digits), Err(Digits)),
            ("0x1", Err(Digits), Err(Digits)),
            ("٣", Err(Digits), Err(Digits)),
        ] {
            assert_eq!((unsigned(text), canonical(text)), (expected, only), "{text:?}");
        }
    }
}
