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
