//! Views that are not in the catalogue: numbers that come and go.

use std::collections::HashSet;

use super::super::store::NewStore;
use super::super::views::ViewTable;
use super::*;
use crate::view::ViewSpec;

#[test]
fn views_that_were_forgotten_leave_nothing_behind() {
    let tree = described();
    let directory = walk(&tree, "chunked").unwrap();
    let mut numbers = HashSet::new();
    for n in 0..100_000u64 {
        let (z, y, x) = (n % 100, n / 100 % 100, n / 10_000);
        let name = format!("em.crop-z{z}-150_y{y}-140_x{x}-130.zarr");
        let NamedEntry::Node(store, _) = tree.lookup(directory, OsStr::new(&name)).unwrap() else { panic!() };
        let NamedEntry::Node(level, _) = tree.lookup(store, OsStr::new("s0")).unwrap() else { panic!() };
        assert_eq!(tree.live_views(), 1);
        tree.forget(store, 1);
        assert_eq!(tree.live_views(), 1, "something in it is still known");
        tree.forget(level, 1);
        assert_eq!(tree.live_views(), 0);
        assert_eq!(tree.attributes(store), Err(Miss::Stale));
        numbers.insert(store);
    }
    assert_eq!(numbers.len(), 100_000, "numbers come back as late as possible");
}

#[test]
fn lookups_of_one_name_share_a_view() {
    let tree = described();
    let path = "chunked/em.chunk-16.zarr";
    let first = walk(&tree, path).unwrap();
    assert_eq!(walk(&tree, path), Ok(first));
    assert_ne!(walk(&tree, "chunked/em.chunk-16.v3.zarr"), Ok(first));
    assert_eq!(tree.live_views(), 1, "both formats are one view");
    tree.remember(first);
    tree.forget(first, 3);
    assert_eq!(tree.live_views(), 1);
    tree.forget(first, 1);
    assert_eq!(tree.live_views(), 0);
}

#[test]
fn a_view_of_the_catalogue_is_never_forgotten() {
    let tree = described();
    for path in ["planes/em.zarr", "planes/em.chunk-64.zarr", "chunked/sample.zarr"] {
        let store = walk(&tree, path).unwrap();
        tree.forget(store, 1_000_000);
        assert_eq!(walk(&tree, path), Ok(store));
    }
    tree.forget(Inode::ROOT, 7);
    tree.forget(Inode::new(u64::MAX), 7);
    assert_eq!(tree.live_views(), 0);
}

#[test]
fn a_name_of_its_own_has_numbers_of_its_own() {
    // A directory with two names would be renamed back and forth by the kernel.
    let tree = described();
    let named = walk(&tree, "chunked/sample.zarr").unwrap();
    let spelled = walk(&tree, "chunked/em.crop-z0-4_y0-4_x0-4.zarr").unwrap();
    assert_ne!(named, spelled);
    assert_eq!(names(&tree, "chunked/sample.zarr"), names(&tree, "chunked/em.crop-z0-4_y0-4_x0-4.zarr"));
}

fn views(limit: usize) -> (ViewTable, impl Fn(u64) -> NewStore) {
    let new_store = move |x: u64| {
        let spec = ViewSpec::parse(&format!(".crop-z0-1_y0-1_x{x}-90")).unwrap();
        NewStore { dataset: PLANES, image: EM, labels: 1, name: String::new(), spec }
    };
    (ViewTable::with_limit(vec![], limit), new_store)
}

#[test]
fn the_number_of_live_views_is_bounded() {
    let (views, new_store) = views(3);
    let stores: Vec<_> = (0..3).map(|x| views.add(new_store(x)).unwrap()).collect();
    assert!(matches!(views.add(new_store(3)), Err(Miss::TooManyViews)));
    assert!(views.add(new_store(2)).is_ok(), "a live one needs no new numbers");
    views.forget(stores[0].view(1), 1);
    assert!(views.add(new_store(3)).is_ok());
}

#[test]
fn views_beyond_those_kept_idle_are_told_once_the_oldest_first_and_never_those_of_a_busy_directory() {
    let tree = described();
    let directory = walk(&tree, "chunked").unwrap();
    let look_up = |n: u64| {
        let (z, y, x) = (n % 100, n / 100 % 100, n / 10_000);
        tree.lookup(directory, OsStr::new(&format!("em.crop-z{z}-150_y{y}-140_x{x}-130.zarr"))).unwrap();
    };
    (0..4096).for_each(look_up);
    assert!(tree.surplus(|_| false).is_empty());
    (4096..4098).for_each(look_up);
    assert!(tree.surplus(|busy| busy == directory).is_empty());
    let told = tree.surplus(|_| false);
    let endings = [".zarr", ".v3.zarr", ".tif"];
    let names = (0..2).flat_map(|z| endings.map(|ending| format!("z{z}-150_y0-140_x0-130{ending}")));
    assert!(told.iter().zip(names).all(|(told, name)| *told == (directory, format!("em.crop-{name}"))), "{told:?}");
    assert_eq!(told.len(), 6);
    assert_eq!(tree.live_views(), 4098, "only the kernel forgets");
    look_up(4098);
    assert!(tree.surplus(|_| false).iter().all(|name| !told.contains(name)));
    // The kernel has forgotten its name, but somebody was within it and asks for it by name again.
    look_up(0);
    let again: Vec<_> = (0..4096).flat_map(|_| tree.surplus(|_| false)).collect();
    assert_eq!(again.iter().filter(|name| **name == told[0]).count(), 1);
}

#[test]
fn numbers_in_use_are_passed_over_when_they_come_round() {
    let (views, new_store) = views(10);
    let kept = views.add(new_store(0)).unwrap();
    let other = views.add(new_store(1)).unwrap();
    views.forget(other.view(0), 1);
    let mut rounds = 0;
    let mut last = other.view(0);
    for n in 0..1_200_000u64 {
        let store = views.add(new_store(1 + n % 2)).unwrap();
        assert!(store.view(0) > kept.view(1), "never the numbers of a live view");
        rounds += u32::from(store.view(0) < last);
        last = store.view(0);
        assert_eq!(views.find(store.view(1)).map(|(_, member)| member), Some(1));
        views.forget(store.view(1), 1);
        if rounds == 1 {
            break;
        }
    }
    assert_eq!(rounds, 1);
    assert_eq!(views.live(), 1);
}

#[test]
fn a_number_given_out_again_does_not_show_old_documents() {
    let (views, new_store) = views(10);
    let serials: HashSet<u64> = (0..100)
        .map(|n| {
            let store = views.add(new_store(n % 80)).unwrap();
            views.forget(store.view(0), 1);
            store.serial
        })
        .collect();
    assert_eq!(serials.len(), 100);
    assert!(!serials.contains(&0), "which stands for the catalogue");
}

#[test]
fn concurrent_lookups_and_forgets_end_with_an_empty_table() {
    let tree = described();
    let directory = walk(&tree, "chunked").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..5_000 {
                    let name = format!("em.chunk-{}.zarr", 16 + n % 3);
                    let NamedEntry::Node(store, _) = tree.lookup(directory, OsStr::new(&name)).unwrap() else {
                        panic!()
                    };
                    let NamedEntry::Node(level, _) = tree.lookup(store, OsStr::new("s0")).unwrap() else { panic!() };
                    assert!(tree.attributes(level).is_ok());
                    tree.forget(level, 1);
                    tree.forget(store, 1);
                }
            });
        }
    });
    assert_eq!(tree.live_views(), 0);
}
