use proptest::prelude::*;

use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn find(given: &[&str], promised: Option<u64>) -> Result<Vec<String>, String> {
    Series::find(&names(given), promised).and_then(|series| series.names())
}

#[test]
fn files_are_in_the_order_of_their_numbers() {
    let found = find(&["s_10.dm3", "s_9.dm3", "s_8.dm3"], None);
    assert_eq!(found, Ok(names(&["s_8.dm3", "s_9.dm3", "s_10.dm3"])));
    let found = find(&["F57-8_test1_slice_0001.dm3", "F57-8_test1_slice_0000.dm3"], Some(2));
    assert_eq!(found, Ok(names(&["F57-8_test1_slice_0000.dm3", "F57-8_test1_slice_0001.dm3"])));
    // The number that counts need not be the last one.
    let found = find(&["s02_x7.dm3", "s01_x7.dm3", "s03_x7.dm3"], None);
    assert_eq!(found, Ok(names(&["s01_x7.dm3", "s02_x7.dm3", "s03_x7.dm3"])));
    assert_eq!(find(&["only.dm3"], None), Ok(names(&["only.dm3"])));
    assert_eq!(find(&["7.dm3"], None), Ok(names(&["7.dm3"])));
}

#[test]
fn a_gap_is_named() {
    let missing = |given: &[&str]| find(given, None).unwrap_err();
    assert_eq!(missing(&["s_0000.dm3", "s_0002.dm3"]), "\"s_0001.dm3\" of the series is missing");
    assert_eq!(missing(&["s_9.dm3", "s_13.dm3"]), "\"s_10.dm3\" and 2 more of the series is missing");
    let far = missing(&["s_0.dm3", "s_18446744073709551615.dm3"]);
    assert!(far.starts_with("\"s_1.dm3\" and"), "{far}");
}

#[test]
fn what_is_no_series_is_refused() {
    assert_eq!(find(&[], None).unwrap_err(), "there are none");
    let error = find(&["a.dm3", "b.dm3"], None).unwrap_err();
    assert_eq!(error, "\"a.dm3\" and \"b.dm3\" are not of one numbered series");
    let error = find(&["r0_c0.dm3", "r0_c1.dm3", "r1_c0.dm3", "r1_c1.dm3"], None).unwrap_err();
    assert_eq!(error, "files as \"r0_c0.dm3\" are numbered in several places");
    let error = find(&["s_1.dm3", "s_01.dm3"], None).unwrap_err();
    assert_eq!(error, "\"s_1.dm3\" and \"s_01.dm3\" have the same number");
}

#[test]
fn of_several_series_the_promised_or_the_longest_is_taken() {
    let given = names(&["o_1.dm3", "s_0.dm3", "s_1.dm3", "s_2.dm3", "t_1.dm3", "t_2.dm3"]);
    let longest = Series::find(&given, None).unwrap();
    assert_eq!(longest.names().unwrap(), names(&["s_0.dm3", "s_1.dm3", "s_2.dm3"]));
    assert_eq!(longest.strangers, names(&["t_1.dm3", "t_2.dm3", "o_1.dm3"]));
    assert_eq!(Series::find(&given, Some(2)).unwrap().names().unwrap(), names(&["t_1.dm3", "t_2.dm3"]));
}

#[test]
fn names_of_very_many_numbers_and_very_many_names_are_bounded() {
    let odd = "1_".repeat(17);
    let found = Series::find(&names(&["s_0.dm3", "s_1.dm3", &format!("{odd}.dm3")]), None).unwrap();
    assert_eq!(found.names().unwrap(), names(&["s_0.dm3", "s_1.dm3"]));
    assert_eq!(found.strangers, names(&[&format!("{odd}.dm3")]));
    let most = "1_".repeat(15);
    assert!(find(&[&format!("{most}2.dm3"), &format!("{most}3.dm3")], None).is_ok());
    let error = find(&[&format!("{odd}2.dm3"), &format!("{odd}3.dm3")], None).unwrap_err();
    assert_eq!(error, "all names have more than 16 numbers");
    let many: Vec<String> = (0..(1 << 15) + 1).map(|number| format!("s_{number}.dm3")).collect();
    assert_eq!(Series::find(&many, None).unwrap_err(), "32769 names, more than the 32768 that are looked at");
}

#[test]
fn a_name_that_is_not_there_can_be_told_and_added() {
    let mut series = Series::find(&names(&["s_0001.dm3", "s_0003.dm3"]), Some(5)).unwrap();
    assert_eq!((series.len(), series.gaps(), series.missing().collect::<Vec<_>>()), (2, 1, vec![2]));
    assert_eq!(series.neighbours(), [Some(4), Some(0)]);
    series.add(2);
    series.add(0);
    assert_eq!(series.neighbours(), [Some(4), None]);
    assert_eq!(series.names().unwrap(), names(&["s_0000.dm3", "s_0001.dm3", "s_0002.dm3", "s_0003.dm3"]));
    assert_eq!(Series::find(&names(&["only.dm3"]), None).unwrap().neighbours(), [None, None]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(500)))]

    #[test]
    fn a_complete_series_is_found_whatever_its_names(
        before in "[a-zé_-]{0,6}", after in "[a-z_é-]{0,5}", start in 0u64..2000, count in 2u64..30,
        width in 0usize..6, turn in any::<prop::sample::Index>(), lost in prop::option::of(any::<prop::sample::Index>())
    ) {
        let name = |number: u64| format!("{before}{number:0width$}{after}.dm3");
        let expected: Vec<String> = (start..start + count).map(name).collect();
        let mut given = expected.clone();
        given.rotate_left(turn.index(count as usize));
        let mut series = Series::find(&given, None).unwrap();
        prop_assert_eq!(series.names().unwrap(), expected.clone());
        if let Some(lost) = lost {
            let lost = lost.index(count as usize);
            given.retain(|name| *name != expected[lost]);
            series = Series::find(&given, None).unwrap();
            let inner = lost > 0 && lost + 1 < count as usize;
            prop_assert_eq!(series.gaps(), u64::from(inner));
            if inner {
                prop_assert_eq!(series.names().unwrap_err(), format!("{:?} of the series is missing", &expected[lost]));
                prop_assert_eq!(series.missing().map(|number| series.name(number)).collect::<Vec<_>>(), [expected[lost].clone()]);
            }
        }
    }

    #[test]
    fn any_names_give_a_series_of_them_or_an_error(given in prop::collection::vec("[0-9a-b.é]{0,24}", 0..12), promised in prop::option::of(0u64..12)) {
        let mut unique = given;
        unique.sort();
        unique.dedup();
        if let Ok(series) = Series::find(&unique, promised) {
            let _ = (series.gaps(), series.neighbours(), series.missing().next());
            if let Ok(found) = series.names() {
                prop_assert!(!found.is_empty() && found.iter().all(|name| unique.contains(name)));
                prop_assert_eq!(found.len() + series.strangers.len(), unique.len());
            }
        }
    }
}
