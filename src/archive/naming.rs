//! The order of files as people sort them: numbers within names by their values.

use std::cmp::Ordering;

/// Compares names: runs of digits by the numbers they are, other letters whatever their case; what is equal so, letter by
/// letter.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    while let (Some(first), Some(second)) = (left.chars().next(), right.chars().next()) {
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let (one, other) = (digits(left), digits(right));
            left = left.get(one.len()..).unwrap_or_default();
            right = right.get(other.len()..).unwrap_or_default();
            let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
            one.len().cmp(&other.len()).then_with(|| one.cmp(other))
        } else {
            left = left.get(first.len_utf8()..).unwrap_or_default();
            right = right.get(second.len_utf8()..).unwrap_or_default();
            first.to_lowercase().cmp(second.to_lowercase())
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

fn digits(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_within_names_are_in_the_order_of_their_values() {
        let mut names =
            ["s_10.tif", "s_9.tif", "S_9b.tif", "r01b_0000.tif", "r01a_0131.tif", "r01a_0002.tif", "s_009.tif"];
        names.sort_by(|a, b| natural(a, b));
        let expected =
            ["r01a_0002.tif", "r01a_0131.tif", "r01b_0000.tif", "s_009.tif", "s_9.tif", "S_9b.tif", "s_10.tif"];
        assert_eq!(names, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(500)))]

        #[test]
        fn the_order_is_total(a in "[0-9aAé_.]{0,9}", b in "[0-9aAé_.]{0,9}", c in "[0-9aAé_.]{0,9}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b) == Ordering::Equal, a == b);
            if natural(&a, &b) != Ordering::Greater && natural(&b, &c) != Ordering::Greater {
                prop_assert_ne!(natural(&a, &c), Ordering::Greater);
            }
        }
    }
}
