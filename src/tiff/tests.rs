//! What the files are called and what they say, read by a few lines of the specification.

use proptest::prelude::*;

use super::*;
use crate::dtype::DataType;
use crate::geometry::{Grid, LevelIndex, Region, Shape};
use crate::view::ViewSpec;
use crate::volume::{Level, Pyramid};

fn pyramid(shape: [u64; 3], dtype: DataType) -> Pyramid {
    let level = Level {
        grid: Grid { shape: Shape(shape), cell: Shape([16; 3]) },
        scale: [8.0, 2.96, 7.99825],
        translation: [0.0; 3],
        corner: [16.0, 0.0, -7.99825],
        offset: [0; 3],
    };
    Pyramid { window: (3.0, 200.5), ..Pyramid::for_tests(dtype, vec![level]) }
}

fn layout(shape: [u64; 3], dtype: DataType) -> TiffLayout {
    let pyramid = pyramid(shape, dtype);
    TiffLayout::of(&pyramid, &pyramid.levels[0], false).unwrap()
}

/// A number of `length` bytes.
fn number(bytes: &[u8], at: u64, length: u64) -> u64 {
    (0..length).rev().fold(0, |number, place| number << 8 | u64::from(bytes[(at + place) as usize]))
}

/// The fields of all pages, as (tag, type, count, value or offset).
fn pages(bytes: &[u8]) -> Vec<Vec<(u64, u64, u64, u64)>> {
    assert_eq!(bytes[..2], *b"II");
    let is_big = match number(bytes, 2, 2) {
        42 => false,
        43 => true,
        other => panic!("{other}"),
    };
    let (counts, words, step) = if is_big { (8, 8, 20) } else { (2, 4, 12) };
    let mut at = if is_big { number(bytes, 8, 8) } else { number(bytes, 4, 4) };
    let mut pages = Vec::new();
    while at != 0 {
        assert_eq!(at % 2, 0, "directories begin at even places");
        let fields = number(bytes, at, counts);
        let field = |index: u64| {
            let at = at + counts + index * step;
            (
                number(bytes, at, 2),
                number(bytes, at + 2, 2),
                number(bytes, at + 4, words),
                number(bytes, at + 4 + words, words),
            )
        };
        pages.push((0..fields).map(field).collect());
        at = number(bytes, at + counts + fields * step, words);
    }
    pages
}

fn field(page: &[(u64, u64, u64, u64)], tag: u64) -> u64 {
    page.iter().find(|field| field.0 == tag).unwrap().3
}

#[test]
fn every_page_has_its_plane_and_planes_follow_each_other() {
    for (shape, dtype) in [([5, 3, 7], DataType::U16), ([1, 1, 1], DataType::F64), ([700_000, 100, 100], DataType::I8)]
    {
        let layout = layout(shape, dtype);
        assert_eq!(layout.is_classic(), shape[0] < 1000, "{shape:?}");
        let pages = pages(&layout.front(0..layout.voxels()));
        assert_eq!(pages.len() as u64, shape[0]);
        let mut end = layout.voxels();
        for page in &pages {
            assert!(page.is_sorted_by_key(|field| field.0), "fields are sorted");
            assert_eq!((field(page, 256), field(page, 257), field(page, 278)), (shape[2], shape[1], shape[1]));
            assert_eq!((field(page, 258), field(page, 273)), (dtype.size() as u64 * 8, end));
            end += field(page, 279);
        }
        assert_eq!(end, layout.size());
        assert_eq!(layout.size() - layout.voxels(), Shape(shape).bytes(dtype.size()).unwrap());
    }
}

#[test]
fn a_file_is_classic_up_to_4_gib() {
    let front = layout([2, 1, 1], DataType::U8).voxels();
    assert_eq!(front, 4096);
    for (plane, is_classic) in [((u64::from(u32::MAX) - front) / 2, true), ((1 << 32) - front, false)] {
        let layout = layout([2, 1, plane], DataType::U8);
        assert_eq!(layout.is_classic(), is_classic, "{}", layout.size());
    }
}

#[test]
fn a_level_that_no_field_can_tell_is_no_file() {
    for shape in [[1, 1, 1 << 32], [1 << 40, 1 << 30, 1], [1 << 62, 1, 1]] {
        let pyramid = pyramid(shape, DataType::U64);
        assert!(TiffLayout::of(&pyramid, &pyramid.levels[0], false).is_err(), "{shape:?}");
    }
}

#[test]
fn a_view_is_the_finest_level_that_is_classic_or_the_coarsest() {
    let view = |sizes: &[u64]| {
        let mut pyramid = pyramid([1; 3], DataType::U8);
        let finest = pyramid.levels.remove(0);
        pyramid.levels = sizes
            .iter()
            .map(|&size| Level { grid: Grid { shape: Shape([4, 1 << 10, size]), ..finest.grid }, ..finest.clone() })
            .collect();
        let view = ViewSpec::default().apply(&pyramid).unwrap();
        TiffLayout::of_view(&view, false).map(|(place, layout)| (place, layout.is_classic())).unwrap()
    };
    assert_eq!(view(&[1 << 22, 1 << 21, 1 << 10, 1]), (2, true));
    assert_eq!(view(&[1 << 22, 1 << 21]), (1, false));
    assert_eq!(view(&[7, 3]), (0, true));
}

#[test]
fn the_first_page_says_size_unit_place_and_window() {
    let layout = layout([5, 3, 7], DataType::U16);
    let front = layout.front(0..layout.voxels());
    let first = &pages(&front)[0];
    let (_, _, length, at) = *first.iter().find(|field| field.0 == 270).unwrap();
    let text = std::str::from_utf8(&front[at as usize..(at + length) as usize]).unwrap();
    let expected =
        "ImageJ=1.53t\nimages=5\nslices=5\nloop=false\nunit=nm\nspacing=8\nzorigin=-2\nxorigin=1\nmin=3\nmax=200.5\n\0";
    assert_eq!(text, expected);
    let fraction = |tag| (number(&front, field(first, tag), 4), number(&front, field(first, tag) + 4, 4));
    assert_eq!((fraction(282), fraction(283)), ((100_000, 799_825), (100, 296)));
    let mut signed = pyramid([5, 3, 7], DataType::I16);
    signed.window = (-1441.0, 447.0);
    let text = TiffLayout::of(&signed, &signed.levels[0], false).unwrap().front(0..4096);
    assert!(String::from_utf8_lossy(&text).contains("min=31327\nmax=33215\n"), "ImageJ's numbers are unsigned");
    let pyramid = pyramid([5, 3, 7], DataType::U16);
    let label = TiffLayout::of(&pyramid, &pyramid.levels[0], true).unwrap();
    assert!(!String::from_utf8_lossy(&label.front(0..4096)).contains("min="));
}

#[test]
fn names_are_those_of_stores_with_another_ending() {
    let name = TiffName::parse("em.crop-z0-1_y0-2_x0-3.s2.labels-mito_2.tif").unwrap();
    assert_eq!((name.image.as_str(), name.label.as_deref()), ("em", Some("mito_2")));
    assert_eq!(name.view.to_string(), ".crop-z0-1_y0-2_x0-3.s2");
    for (name, reason) in [
        ("em.tiff", "the name of a TIFF file ends in `.tif`"),
        ("em.chunk-64.tif", "a TIFF file has no chunks: leave `.chunk-…` out"),
        ("em.numbered.tif", "a TIFF file holds one level, which has no name in it: leave `.numbered` out"),
        ("em.labels-.tif", "`` is no name of an image or label: those are lower-case letters, digits, `_` and `-`"),
        (".tif", "`` is no name of an image or label: those are lower-case letters, digits, `_` and `-`"),
    ] {
        assert_eq!(TiffName::parse(name).unwrap_err().to_string(), reason);
    }
    for name in ["em.v3.tif", "em.zarr.tif", "em.s01.tif", "em.labels-a.s1.tif", "em.s1.crop-z0-1_y0-1_x0-1.tif"] {
        assert!(TiffName::parse(name).is_err(), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(128)))]

    #[test]
    fn any_part_of_the_front_is_that_part_of_it(
        planes in 1u64..400,
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        big in any::<bool>(),
    ) {
        let layout = layout([planes, 3, if big { 1 << 31 } else { 5 }], DataType::U8);
        let whole = layout.front(0..layout.voxels());
        prop_assert_eq!(whole.len() as u64, layout.voxels());
        let mut places: Vec<u64> = cuts.iter().map(|cut| cut.index(whole.len()) as u64).collect();
        places.extend([0, layout.voxels()]);
        places.sort_unstable();
        let parts = places.windows(2).flat_map(|cut| layout.front(cut[0]..cut[1])).collect::<Vec<u8>>();
        prop_assert_eq!(parts, whole);
    }

    #[test]
    fn a_voxel_size_is_told_to_the_last_digit(digits in 1u32..10_000_000, places in 0i32..7) {
        let size = f64::from(digits) / 10f64.powi(places);
        let pyramid = Pyramid { levels: vec![Level { scale: [size; 3], ..pyramid([1; 3], DataType::U8).levels.remove(0) }], ..pyramid([1; 3], DataType::U8) };
        let front = TiffLayout::of(&pyramid, &pyramid.levels[0], false).unwrap().front(0..4096);
        let at = field(&pages(&front)[0], 282);
        let told = number(&front, at + 4, 4) as f64 / number(&front, at, 4) as f64;
        prop_assert!((told / size - 1.0).abs() < 1e-12 || digits > 4_000_000 && (told / size - 1.0).abs() < 1e-9, "{size} {told}");
    }

    #[test]
    fn a_name_is_read_back_as_it_was_written(
        image in "[a-z0-9][a-z0-9_-]{0,12}",
        label in proptest::option::of("[a-z0-9][a-z0-9_-]{0,12}"),
        level in proptest::option::of(any::<u8>().prop_map(LevelIndex)),
        start in proptest::option::of(proptest::array::uniform3(0u64..1 << 20)),
    ) {
        let crop = start.map(|start| Region { start, end: start.map(|voxel| voxel + 7) });
        let name = TiffName { image, label, view: ViewSpec { crop, level, ..ViewSpec::default() } };
        prop_assert_eq!(TiffName::parse(&name.to_string()), Ok(name));
    }

    #[test]
    fn any_name_is_refused_or_canonical(name in r"\PC{0,30}(\.tif)?") {
        if let Ok(parsed) = TiffName::parse(&name) {
            prop_assert_eq!(parsed.to_string(), name);
        }
    }
}

#[test]
fn a_volume_whose_0_is_white_says_so_and_a_label_does_not() {
    let white = Pyramid { inverted: true, ..pyramid([2, 3, 4], DataType::U8) };
    let photometric = |is_label: bool| {
        let layout = TiffLayout::of(&white, &white.levels[0], is_label).unwrap();
        let all = pages(&layout.front(0..layout.voxels()));
        all.iter().map(|page| page.iter().find(|field| field.0 == 262).unwrap().3).collect::<Vec<_>>()
    };
    assert_eq!((photometric(false), photometric(true)), (vec![0, 0], vec![1, 1]));
}
