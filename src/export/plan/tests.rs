use super::*;
use crate::export::state::difference;
use crate::export::tests::request;

#[test]
fn another_grid_of_the_source_is_another_export() {
    let [first, again, other] = [[8, 16, 64], [8, 16, 64], [8, 32, 64]].map(|block| {
        let request = request([64; 3], [16; 3], block, None);
        Plan::new(&request, 1 << 20).unwrap().arguments
    });
    assert_eq!(difference(&first, &again), None);
    let told = difference(&first, &other).unwrap();
    assert!(told.contains(r#""block":[8,16,64]"#) && told.contains(r#""block":[8,32,64]"#), "{told}");
}

#[test]
fn another_list_of_files_is_told_by_the_image() {
    let mut first = request([64; 3], [16; 3], [16; 3], None);
    first.members.push(Member { label: Some("cells".to_owned()), ..first.members[0].clone() });
    let mut other = first.clone();
    other.members[1].source = "2".to_owned();
    let [first, other] = [first, other].map(|request| Plan::new(&request, 1 << 20).unwrap().arguments);
    let told = difference(&first, &other).unwrap();
    assert!(told.contains("v/em/labels/cells") && told.contains("configuration"), "{told}");
}
