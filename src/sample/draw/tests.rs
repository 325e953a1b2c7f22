use std::cell::Cell;

use futures::FutureExt;

use super::*;
use crate::sample::split::{WHOLE, parse};

/// Allows places that begin left of a voxel.
struct Left(u64);

impl Judge for Left {
    fn may_be(&self, place: &Region) -> bool {
        place.start[2] < self.0
    }
    fn share(&self, _: &Region) -> Option<f64> {
        Some(0.25)
    }
    async fn look(&self, places: &[Region], _: Enough) -> Result<Vec<Look>, SampleError> {
        Ok(vec![Look::ALLOWED; places.len()])
    }
    fn asked(&self) -> String {
        "90 % of cells".to_owned()
    }
    fn remedy(&self) -> String {
        "give a smaller --fraction or --size".to_owned()
    }
}

/// Allows the same, and has to read each place to know; counts how many it read.
struct ReadLeft(u64, Cell<u64>);

impl Judge for ReadLeft {
    fn may_be(&self, _: &Region) -> bool {
        true
    }
    fn share(&self, _: &Region) -> Option<f64> {
        None
    }
    async fn look(&self, places: &[Region], enough: Enough) -> Result<Vec<Look>, SampleError> {
        let (mut looks, mut allowed) = (Vec::new(), 0);
        for place in places.iter().take(enough.read as usize) {
            let is_allowed = place.start[2] < self.0;
            allowed += u64::from(is_allowed);
            looks.push(Look { is_allowed, read: Some(if is_allowed { 1.0 } else { 0.625 }) });
            if allowed == enough.allowed {
                break;
            }
        }
        self.1.update(|read| read + looks.len() as u64);
        Ok(looks)
    }
    fn asked(&self) -> String {
        "90 % of cells".to_owned()
    }
    fn remedy(&self) -> String {
        "look elsewhere".to_owned()
    }
}

fn ground(extent: u64) -> Ground {
    Ground {
        name: "a/em.zarr s0".to_owned(),
        within: Region { start: [0; 3], end: [extent; 3] },
        cell: Shape([64; 3]),
        origin: [0; 3],
    }
}

fn rule(size: u64) -> DrawRule {
    let shares = vec![SplitShare { name: "all".to_owned(), share: WHOLE }];
    DrawRule { seed: 7, size: Shape([size; 3]), regions: None, shares, block: None, margin: None }
}

fn drawn(ground: &Ground, rule: &DrawRule, count: u64, judge: &impl Judge) -> Result<Vec<Drawn>, SampleError> {
    draw(ground, rule, count, judge).now_or_never().unwrap()
}

#[test]
fn a_seed_draws_the_same_samples_for_ever() {
    let starts = |rule: DrawRule| {
        let drawn = drawn(&ground(1000), &rule, 3, &Left(u64::MAX)).unwrap();
        drawn.iter().map(|sample| sample.place.start).collect::<Vec<_>>()
    };
    let regions = Some(Regions { shape: Shape([256; 3]), samples: 2 });
    let shares = parse("train:0.5,test:0.5").unwrap();
    let all = [starts(rule(128)), starts(DrawRule { regions, ..rule(128) }), starts(DrawRule { shares, ..rule(128) })];
    assert_eq!(
        all,
        [
            [[493, 872, 123], [350, 623, 758], [435, 97, 153]],
            [[371, 796, 856], [384, 718, 766], [778, 522, 74]],
            [[25, 232, 72], [727, 16, 487], [701, 541, 399]]
        ]
    );
}

#[test]
fn as_many_are_drawn_as_were_asked_for_by_split_and_region() {
    let regions = Some(Regions { shape: Shape([256; 3]), samples: 8 });
    let shares = parse("train:0.8,val:0.1,test:0.1").unwrap();
    let drawn = drawn(&ground(4000), &DrawRule { regions, shares, ..rule(128) }, 100, &Left(u64::MAX)).unwrap();
    let of = |split| drawn.iter().filter(move |sample| sample.split == split).count();
    assert_eq!((of(0), of(1), of(2)), (80, 10, 10));
    let regions: BTreeSet<_> = drawn.iter().map(|sample| sample.region).collect();
    assert_eq!(regions.len(), 14, "ten of train, two of val, two of test");
    for one in &drawn {
        for other in drawn.iter().filter(|other| other.split != one.split) {
            assert_eq!(one.place.intersection(&other.place), None);
        }
    }
}

#[test]
fn regions_save_native_blocks() {
    let per_sample = |regions: Option<(u64, u64)>| {
        let regions = regions.map(|(side, samples)| Regions { shape: Shape([side; 3]), samples });
        let ground = ground(20_000);
        let drawn = drawn(&ground, &DrawRule { regions, ..rule(128) }, 960, &Left(u64::MAX)).unwrap();
        native_blocks(drawn.iter().map(|sample| sample.place), &ground) as f64 / 960.0
    };
    assert!((25.5..27.0).contains(&per_sample(None)), "{}", per_sample(None));
    assert!((6.0..8.0).contains(&per_sample(Some((256, 8)))), "{}", per_sample(Some((256, 8))));
    assert!(per_sample(Some((256, 16))) < 4.1, "{}", per_sample(Some((256, 16))));
}

#[test]
fn what_cannot_be_found_is_told_with_what_was_found() {
    let reason = drawn(&ground(1000), &rule(128), 5, &Left(0)).unwrap_err().to_string();
    assert_eq!(
        reason,
        "a/em.zarr s0: 0 of 5 samples were found: after 200000 places in a row none had 90 % of cells; of those that \
         were not, the fullest had 25.000 %; give a smaller --fraction or --size"
    );
    let reason = drawn(&ground(100), &rule(128), 5, &Left(9)).unwrap_err().to_string();
    assert!(reason.contains("samples of 128×128×128 voxels do not fit into 100×100×100 voxels"), "{reason}");
    let narrow = DrawRule { shares: parse("a:0.5,b:0.5").unwrap(), margin: Some(Shape([200; 3])), ..rule(128) };
    let reason = drawn(&ground(600), &narrow, 5, &Left(999)).unwrap_err().to_string();
    assert!(reason.contains("of split a were found: none of 200000 places in a row lies in its blocks"), "{reason}");
}

#[test]
fn regions_that_seldom_lie_in_a_split_are_found_and_a_seed_draws_the_same_for_ever() {
    let regions = Some(Regions { shape: Shape([10, 20, 20]), samples: 2 });
    let shares = parse("train:0.6,test:0.4").unwrap();
    let rule = DrawRule {
        size: Shape([8, 12, 12]),
        regions,
        shares,
        block: Some(Shape([11, 22, 22])),
        margin: Some(Shape([1; 3])),
        ..rule(8)
    };
    let ground = Ground { cell: Shape([64; 3]), ..ground(600) };
    let drawn = drawn(&ground, &rule, 40, &Left(u64::MAX)).unwrap();
    assert_eq!(drawn.len(), 40);
    let starts: Vec<_> = drawn.iter().take(3).map(|sample| sample.place.start).collect();
    assert_eq!(starts, [[2, 546, 66], [1, 540, 67], [132, 142, 564]]);
    // Of regions that lie in the split test, there is one in some thousands.
    let seldom = DrawRule { margin: Some(Shape([3; 3])), ..rule };
    assert_eq!(self::drawn(&ground, &seldom, 40, &Left(u64::MAX)).unwrap().len(), 40);
}

#[test]
fn that_no_region_lies_in_a_split_any_more_is_told_as_that() {
    let regions = Some(Regions { shape: Shape([300; 3]), samples: 4 });
    let shares = parse("a:0.5,b:0.5").unwrap();
    let rule = DrawRule { regions, shares, block: Some(Shape([300; 3])), margin: Some(Shape([200; 3])), ..rule(128) };
    let reason = drawn(&ground(600), &rule, 5, &Left(u64::MAX)).unwrap_err().to_string();
    assert!(
        reason.contains(
            "of split a were found: none of 200000 regions of 300×300×300 voxels in a row lies in its blocks of"
        ) && reason.ends_with("give a larger --split-block, or a smaller --margin or --region"),
        "{reason}"
    );
    // Also where some were found before.
    let mut tried = Tried { in_split: 0, missed: TRIES, ..Tried::default() };
    tried.refused(None);
    let ground = ground(600);
    let splits = Splits::cut(ground.within, rule.block(), rule.margin(), &rule.shares, &mut Random::new(0, "")).ok();
    let drawing =
        Drawing { ground: &ground, rule: &rule, splits, random: Random::new(0, ""), regions: 3, drawn: vec![] };
    let reason = drawing.unsatisfiable(1, (3, 5), &tried, &Left(0)).to_string();
    assert!(reason.contains("3 of 5 samples of split b were found: none of 200000 regions"), "{reason}");
}

#[test]
fn places_are_uniform_among_the_allowed_ones() {
    let drawn = drawn(&ground(40), &rule(9), 8000, &Left(8)).unwrap();
    let mut counts = [0f64; 8];
    drawn.iter().for_each(|sample| counts[sample.place.start[2] as usize] += 1.0);
    let chi: f64 = counts.iter().map(|count| (count - 1000.0).powi(2) / 1000.0).sum();
    assert!(chi < 18.48, "χ² of {counts:?} is {chi}, p < 0.01");
}

#[test]
fn who_reads_places_finds_the_same_and_reads_no_more_than_needed() {
    let regions = Some(Regions { shape: Shape([30; 3]), samples: 4 });
    for rule in [rule(9), DrawRule { regions, ..rule(9) }] {
        let judge = ReadLeft(8, Cell::new(0));
        assert_eq!(drawn(&ground(40), &rule, 50, &judge).unwrap(), drawn(&ground(40), &rule, 50, &Left(8)).unwrap());
    }
    let judge = ReadLeft(u64::MAX, Cell::new(0));
    drawn(&ground(1000), &rule(9), 5, &judge).unwrap();
    assert_eq!(judge.1.get(), 5, "not the rest of those that were drawn with them");
}

#[test]
fn places_are_read_a_bounded_number_of_times_before_it_is_given_up() {
    let regions = Some(Regions { shape: Shape([300; 3]), samples: 4000 });
    for (rule, expected) in [
        (rule(16), 4096),
        (rule(128), 4096),
        (rule(200), 1073),
        (rule(999), 256),
        (DrawRule { regions, ..rule(128) }, 4096),
    ] {
        let judge = ReadLeft(0, Cell::new(0));
        let reason = drawn(&ground(1000), &rule, 5, &judge).unwrap_err().to_string();
        assert_eq!(judge.1.get(), expected);
        assert!(
            reason.contains(&format!("places in a row, {expected} of them read, none had 90 % of cells; of those")),
            "{reason}"
        );
        assert!(reason.ends_with("the fullest had 62.500 %; look elsewhere"), "{reason}");
    }
}
