use proptest::prelude::*;

use super::*;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn series(given: &[String], promised: Option<u64>) -> Result<Series, String> {
    Series::find(given, promised).map(|found| match found {
        FolderContent::Series(series) => series,
        FolderContent::All => panic!("all of several series"),
    })
}

fn find(given: &[&str], promised: Option<u64>) -> Result<Vec<String>, String> {
    series(&names(given), promised).and_then(|series| series.names())
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
fn a_gap_is_named_with_the_keys_that_decide() {
    let missing = |given: &[&str]| find(given, None).unwrap_err();
    let error = missing(&["s_0000.dm3", "s_0002.dm3"]);
    assert!(error.starts_with("\"s_0001.dm3\" of the series is missing; `gaps = \"blank\"`"), "{error}");
    assert!(error.contains("`order = \"natural\"`"), "{error}");
    assert!(missing(&["s_9.dm3", "s_13.dm3"]).starts_with("\"s_10.dm3\" and 2 more of the series is missing"));
    let far = missing(&["s_0.dm3", "s_18446744073709551615.dm3"]);
    assert!(far.starts_with("\"s_1.dm3\" and"), "{far}");
}

#[test]
fn a_gap_is_an_empty_section_where_that_is_wanted() {
    let found = series(&names(&["s_0000.dm3", "s_0003.dm3", "s_0001.dm3"]), None).unwrap().with_gaps().unwrap();
    assert_eq!(
        found,
        [Some("s_0000.dm3"), Some("s_0001.dm3"), None, Some("s_0003.dm3")].map(|name| name.map(str::to_owned))
    );
    let far = series(&names(&["s_0.dm3", "s_18446744073709551615.dm3"]), None).unwrap();
    assert!(far.with_gaps().unwrap_err().contains("more than 32768"));
}

#[test]
fn endings_of_one_meaning_are_of_one_series_however_they_are_written() {
    for endings in [[".dm3", ".DM3", ".dm4"], [".tif", ".TIFF", ".tiff"]] {
        let given =
            endings.iter().enumerate().map(|(number, ending)| format!("s_{number:04}{ending}")).collect::<Vec<_>>();
        assert_eq!(series(&given, None).unwrap().names().unwrap(), given);
    }
    let error = find(&["s_0000.dm3", "s_0000.dm4"], None).unwrap_err();
    assert!(error.contains("have the same number"), "{error}");
}

#[test]
fn a_clock_beside_the_number_does_not_count() {
    let given = ["s_0000_20180611_202716.dm3", "s_0001_20180611_202725.dm3", "s_0002_20180612_003000.dm3"];
    let expected = find(&given, None).unwrap_err();
    assert!(expected.contains("numbered in several places; `pattern"), "the clock goes back at midnight: {expected}");
    let given = ["s_0000_20180611_202716.dm3", "s_0001_20180611_202725.dm3", "s_0002_20180611_202734.dm3"];
    assert_eq!(find(&[given[2], given[0], given[1]], None), Ok(names(&given)));
}

#[test]
fn a_part_of_the_files_is_never_taken_for_all_of_them() {
    let run =
        |run: &str, count: u64| (0..count).map(move |number| format!("{run}_{number:04}.dm4")).collect::<Vec<_>>();
    let runs = [run("r01a", 26), run("r01b", 83), run("r02", 132)].concat();
    assert_eq!(Series::find(&runs, Some(241)), Ok(FolderContent::All));
    for promised in [None, Some(578)] {
        let error = Series::find(&runs, promised).unwrap_err();
        for part in ["132 as \"r02_0000.dm4\"", "83 as \"r01b_0000.dm4\"", "26 as", "order = \"natural\"", "pattern"] {
            assert!(error.contains(part), "{error} without {part}");
        }
    }
    assert_eq!(series(&runs, Some(83)).unwrap().names().unwrap(), run("r01b", 83), "that is what was promised");
    for other in ["s_restart_0003.dm3", "s_0002b.dm3", "s_0003b.dm3", "t_0004.dm3"] {
        let given = [vec!["s_0000.dm3", "s_0001.dm3", "s_0002.dm3", other]].concat();
        let error = find(&given, None);
        let expected = ["s_restart_0003.dm3", "s_0002b.dm3", "s_0003b.dm3"].contains(&other);
        assert_eq!(error.is_err(), expected, "{other}: {error:?}");
    }
    assert!(find(&["s_0000.dm3", "s_0001.dm3", "s_0002.dm3", "t_0.dm3", "t_1.dm3"], None).is_err());
}

#[test]
fn files_are_numbered_by_the_group_of_a_pattern() {
    let files = |numbers: &[u64]| numbers.iter().map(|number| (*number, format!("f{number}"))).collect::<Vec<_>>();
    assert_eq!(Series::numbered(files(&[3, 1, 2]), Vec::new()).unwrap().names(), Ok(names(&["f1", "f2", "f3"])));
    let gap = Series::numbered(files(&[1, 3]), Vec::new()).unwrap().names().unwrap_err();
    assert!(gap.starts_with("number 2 of the series is missing"), "{gap}");
    let twice = Series::numbered(vec![(1, "a".into()), (1, "b".into())], Vec::new()).unwrap_err();
    assert_eq!(twice, "\"a\" and \"b\" have the same number 1 by `pattern`");
    assert_eq!(Series::numbered(Vec::new(), Vec::new()).unwrap_err(), "no name fits `pattern`");
}

#[test]
fn what_is_no_series_is_refused() {
    assert_eq!(find(&[], None).unwrap_err(), "there are none");
    let error = find(&["a.dm3", "b.dm3"], None).unwrap_err();
    assert!(error.starts_with("files of several numbered series: 1 as \"a.dm3\", 1 as \"b.dm3\"; `order"), "{error}");
    let error = find(&["r0_c0.dm3", "r0_c1.dm3", "r1_c0.dm3", "r1_c1.dm3"], None).unwrap_err();
    assert!(error.starts_with("files as \"r0_c0.dm3\" are numbered in several places; `pattern"), "{error}");
    let error = find(&["s_1.dm3", "s_01.dm3"], None).unwrap_err();
    assert!(error.starts_with("\"s_1.dm3\" and \"s_01.dm3\" have the same number; `order"), "{error}");
}

#[test]
fn of_several_series_the_promised_is_taken_and_single_files_of_other_names_are_left_out() {
    let given = names(&["o_1.dm3", "s_0.dm3", "s_1.dm3", "s_2.dm3"]);
    let longest = series(&given, None).unwrap();
    assert_eq!(longest.names().unwrap(), names(&["s_0.dm3", "s_1.dm3", "s_2.dm3"]));
    assert_eq!(longest.strangers, names(&["o_1.dm3"]));
    let given = names(&["o_1.dm3", "s_0.dm3", "s_1.dm3", "s_2.dm3", "t_1.dm3", "t_2.dm3"]);
    assert_eq!(series(&given, Some(2)).unwrap().names().unwrap(), names(&["t_1.dm3", "t_2.dm3"]));
}

#[test]
fn names_of_very_many_numbers_and_very_many_names_are_bounded() {
    let too_many = "1_".repeat(17);
    let found = series(&names(&["s_0.dm3", "s_1.dm3", &format!("{too_many}.dm3")]), None).unwrap();
    assert_eq!(found.names().unwrap(), names(&["s_0.dm3", "s_1.dm3"]));
    assert_eq!(found.strangers, names(&[&format!("{too_many}.dm3")]));
    let most = "1_".repeat(15);
    assert!(find(&[&format!("{most}2.dm3"), &format!("{most}3.dm3")], None).is_ok());
    let error = find(&[&format!("{too_many}2.dm3"), &format!("{too_many}3.dm3")], None).unwrap_err();
    assert!(error.starts_with("all names have more than 16 numbers; `order"), "{error}");
    let many: Vec<String> = (0..(1 << 15) + 1).map(|number| format!("s_{number}.dm3")).collect();
    assert_eq!(Series::find(&many, None).unwrap_err(), "32769 names, more than the 32768 that are looked at");
}

#[test]
fn a_name_that_is_not_there_can_be_told_and_added() {
    let mut series = self::series(&names(&["s_0001.dm3", "s_0003.dm3"]), Some(5)).unwrap();
    assert_eq!((series.len(), series.gaps(), series.missing().collect::<Vec<_>>()), (2, 1, vec![2]));
    assert_eq!(series.neighbours(), [Some(4), Some(0)]);
    series.add(2);
    series.add(0);
    assert_eq!(series.neighbours(), [Some(4), None]);
    assert_eq!(series.names().unwrap(), names(&["s_0000.dm3", "s_0001.dm3", "s_0002.dm3", "s_0003.dm3"]));
    assert_eq!(self::series(&names(&["only.dm3"]), None).unwrap().neighbours(), [None, None]);
}

#[test]
fn a_file_of_the_series_name_without_a_number_may_be_its_first_one() {
    for (first, others) in [
        ("Stack.tif", ["Stack (1).tif", "Stack (2).tif"]),
        ("Image.tif", ["Image-1.tif", "Image-2.tif"]),
        ("Image.TIFF", ["Image_001.tif", "Image_002.tif"]),
        ("s.dm3", ["s1.dm3", "s2.dm3"]),
    ] {
        let error = find(&[others[0], first, others[1]], None).unwrap_err();
        assert!(error.starts_with(&format!("{first:?} has the name of the series of {:?}", others[0])), "{error}");
        assert!(error.contains("by `urls`") && !error.contains("natural"), "that order has it last: {error}");
    }
    for other in ["overview.tif", "Sta.tif", "Stacks.tif"] {
        let found = find(&["Stack_1.tif", "Stack_2.tif", other], None);
        assert_eq!(found, Ok(names(&["Stack_1.tif", "Stack_2.tif"])));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(500)))]

    #[test]
    fn a_complete_series_is_found_whatever_its_names(
        before in "[a-zé_-]{0,6}", after in "[a-z_é-]{0,5}", start in 0u64..2000, count in 2u64..30,
        width in 0usize..6, rotation in any::<prop::sample::Index>(), lost in prop::option::of(any::<prop::sample::Index>())
    ) {
        let name = |number: u64| format!("{before}{number:0width$}{after}.dm3");
        let expected: Vec<String> = (start..start + count).map(name).collect();
        let mut given = expected.clone();
        given.rotate_left(rotation.index(count as usize));
        let mut series = self::series(&given, None).unwrap();
        prop_assert_eq!(series.names().unwrap(), expected.clone());
        if let Some(lost) = lost {
            let lost = lost.index(count as usize);
            given.retain(|name| *name != expected[lost]);
            series = self::series(&given, None).unwrap();
            let inner = lost > 0 && lost + 1 < count as usize;
            prop_assert_eq!(series.gaps(), u64::from(inner));
            if inner {
                let error = series.names().unwrap_err();
                prop_assert!(error.starts_with(&format!("{:?} of the series is missing;", &expected[lost])), "{error}");
                prop_assert_eq!(series.missing().map(|number| series.name(number)).collect::<Vec<_>>(), [expected[lost].clone()]);
            }
        }
    }

    #[test]
    fn any_names_give_a_series_of_them_or_an_error(given in prop::collection::vec("[0-9a-b.é]{0,24}", 0..12), promised in prop::option::of(0u64..12)) {
        let mut unique = given;
        unique.sort();
        unique.dedup();
        if let Ok(FolderContent::Series(series)) = Series::find(&unique, promised) {
            let _ = (series.gaps(), series.neighbours(), series.missing().next());
            if let Ok(found) = series.names() {
                prop_assert!(!found.is_empty() && found.iter().all(|name| unique.contains(name)));
                prop_assert_eq!(found.len() + series.strangers.len(), unique.len());
            }
        }
    }
}
