use super::*;
use crate::export::state::difference;
use crate::export::tests::request;
use crate::geometry::CellIndex;
use crate::remote::{Cause, RemoteError};
use crate::source::SourceError;
use crate::volume::Level;

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
    first.members.push(ExportMember { label: Some("cells".to_owned()), ..first.members[0].clone() });
    let mut other = first.clone();
    other.members[1].source = "2".to_owned();
    let [first, other] = [first, other].map(|request| Plan::new(&request, 1 << 20).unwrap().arguments);
    let told = difference(&first, &other).unwrap();
    assert!(told.contains("v/em/labels/cells") && told.contains("configuration"), "{told}");
}

#[test]
fn a_grid_of_too_many_chunks_is_refused() {
    let told = |shape, chunk, block| match Plan::new(&request(shape, chunk, block, None), 1 << 20) {
        Ok(plan) => format!("{} batches", plan.targets[0].layout.batch_count()),
        Err(error) => error.to_string(),
    };
    let many = told([1 << 20; 3], [1; 3], [1; 3]);
    assert!(many.starts_with("v/em: s0: 1152921504606846976 chunks of 1×1×1") && many.contains("--chunk"), "{many}");
    assert!(told([1 << 38, 1, 1], [1; 3], [1; 3]).contains("274877906944 chunks"));
    // The first that are not refused take no memory for each.
    assert_eq!(told([1 << 37, 1, 1], [1; 3], [1; 3]), format!("{} batches", 1u64 << 24));
    let blocks = told([512; 3], [512; 3], [1; 3]);
    assert!(blocks.contains("135005697 blocks of 1×1×1") && blocks.contains("--chunk"), "{blocks}");
}

#[tokio::test]
async fn what_the_largest_grid_costs_is_known_at_once() {
    let request = request([1 << 16, 1 << 16, 1 << 16], [16; 3], [16; 3], None);
    let cost = crate::export::estimate(&request, 1 << 16, false).await.unwrap();
    assert_eq!((cost.files, cost.whole), (1 << 36, false));
}

#[tokio::test]
async fn blocks_whose_index_is_not_kept_are_missing_where_nobody_is_asked() {
    let cause = Cause::Offline("not in the cache".to_owned());
    let error = SourceError::from(RemoteError { url: "https://host/v".to_owned(), range: None, attempts: 0, cause });
    let request = request([32; 3], [16; 3], [16; 3], Some(error));
    let cost = crate::export::estimate(&request, 1 << 16, true).await.unwrap();
    assert!(cost.fetches() && cost.unplaced == 8.0, "{cost:?}");
    // Where somebody could be asked, its host is out of reach.
    assert!(crate::export::estimate(&request, 1 << 16, false).await.is_err());
}

#[test]
fn an_array_of_the_largest_grid_takes_no_memory_before_it_is_written() {
    let mut request = request([1 << 20, 1 << 17, 1], [1; 3], [1; 3], None);
    request.options = ExportOptions { v3: true, shard: Some(Shape([1; 3])), ..ExportOptions::default() };
    let plan = Plan::new(&request, 1 << 20).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let array = crate::export::array::ArrayExport::open(plan.targets[0].clone(), folder.path().join("s0")).unwrap();
    let last = CellIndex([(1 << 20) - 1, (1 << 17) - 1, 0]);
    assert!(!array.is_done(last) && !array.is_finished((1 << 37) - 1));
    array.finish((1 << 37) - 1);
    assert!(array.is_finished((1 << 37) - 1) && !array.is_finished((1 << 37) - 2));
}

#[test]
fn labels_that_are_left_out_and_levels_that_they_lack_are_told() {
    let mut request = request([64; 3], [16; 3], [16; 3], None);
    let coarse = |size: f64| Level {
        grid: Grid { shape: Shape([32; 3]), cell: Shape([16; 3]) },
        scale: [size; 3],
        translation: [0.0; 3],
        corner: [0.0; 3],
        offset: [0; 3],
    };
    request.members.push(ExportMember { label: Some("cells".to_owned()), ..request.members[0].clone() });
    assert!(request.left_out().is_empty());
    request.members[0].pyramid.levels.push(coarse(16.0));
    assert_eq!(request.left_out(), ["v/em: the labels cells have no level s1"]);
    request.options.levels = vec![1];
    let none = "v/em: the labels cells are not written: the view shows nothing of them, or they have no such level";
    assert_eq!(request.left_out(), [none]);
    request.options.levels = vec![0];
    assert!(request.left_out().is_empty());
    request.options.levels = vec![];
    request.view.level = Some(LevelIndex(1));
    assert_eq!(request.left_out(), [none]);
    request.view.level = None;
    request.members[1].pyramid.further = vec![coarse(16.0)].into();
    assert!(request.left_out().is_empty(), "they are computed");
}
