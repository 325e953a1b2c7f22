//! Descriptions as long as they may be: what takes long is a few steps of it, not their number times another one.

use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::super::read::{ReadAhead, ReadAt};
use super::super::{axes, description};
use crate::cache::Desk;
use crate::source::SourceError;

/// Longest description that is read.
const LONGEST: usize = 10 << 20;

/// Far above what each takes, far below what one takes that is gone through once for each of its parts.
const DEADLINE: Duration = Duration::from_secs(20);

/// A text of a piece many times, each time with its number in the place of `#`.
fn filled(begin: &str, piece: &str, end: &str) -> String {
    let mut text = String::from(begin);
    let mut number = 0u32;
    while text.len() + piece.len() + end.len() + 8 < LONGEST {
        text += &piece.replace('#', &number.to_string());
        number += 1;
    }
    text + end
}

#[test]
fn no_description_takes_longer_than_its_length_accounts_for() {
    let image = "<OME UUID='urn:a'><Image><Pixels DimensionOrder='XYZCT' SizeX='8' SizeY='8' SizeZ='65000'>";
    let (end, twice) = ("</Pixels></Image></OME>", "<Image><Pixels SizeX='9' SizeY='9' PhysicalSizeX='1'");
    let texts = [
        // Planes that are named again and again, and by runs that begin within each other.
        filled(image, "<TiffData FirstZ='1'/>", end),
        filled(image, "<TiffData FirstZ='1' IFD='1' PlaneCount='60000'/><TiffData FirstZ='2'/>", end),
        filled(image, "<TiffData FirstZ='#' IFD='#' PlaneCount='65000'/>", end),
        filled(image, "<TiffData IFD='1' PlaneCount='9999999'/>", end),
        filled(image, "<TiffData/>", end),
        filled(image, "<TiffData FirstZ='#'><UUID FileName='#.tif'>urn:#</UUID></TiffData>", end),
        filled(image, "<TiffData FirstZ='0' PlaneCount='65000'><UUID FileName='#.tif'>urn:#</UUID></TiffData>", end),
        // Attributes.
        filled("<Pixels ", "a#='' ", "/>"),
        filled("<Pixels ", "a='' ", "/>"),
        filled("<Pixels ", "a ", "/>"),
        filled("<Pixels ", "a=b ", "/>"),
        filled("<Pixels DimensionOrder='", "Z", "' SizeZ='3'/>"),
        filled("<Pixels PhysicalSizeX='1' PhysicalSizeXUnit='", "&amp;", "'/>"),
        filled("<Pixels PhysicalSizeX='1' PhysicalSizeXUnit='", "&", "'/>"),
        filled("<Pixels PhysicalSizeX='", "1", "'/>"),
        // Images, each of another unit.
        filled("<OME>", &format!("{twice} PhysicalSizeXUnit='u#'/></Image>"), "</OME>"),
        filled("<OME>", "<Pixels/>", "</OME>"),
        // Markup, closed and not.
        filled("<Pixels/>", "<a>", ""),
        filled("<Pixels/>", "</a>", ""),
        filled("<Pixels/>", "<", ""),
        filled("<Pixels/>", "<a '", ""),
        filled("<Pixels/>", "<!--", ""),
        filled("<Pixels/>", "<!---->", ""),
        filled("<Pixels/>", "<![CDATA[", ""),
        filled("<Pixels/>", "<?", ""),
        filled("<Pixels/>", "<!DOCTYPE a [", ""),
        filled("<Pixels/>", "&", ""),
        // Lines and lists.
        filled("ImageJ=1\n", "unit=u#\nimages=1\n", ""),
        filled("ImageJ=1\n", "\n", ""),
        filled("SCIFIO=1\nunits=", "u#,", "\n"),
        filled("{\"shape\": [", "1,", "20,30]}"),
    ];
    let of_lists = filled("", "#,", "\n");
    let part = of_lists.get(..LONGEST / 4).unwrap_or_default();
    let lists = format!("SCIFIO=1\naxes={part}\nscales={part}\nunits={part}\nlengths={part}\n");
    for text in texts.into_iter().chain([lists]) {
        let (begun, begin) = (Instant::now(), text.chars().take(150).collect::<String>());
        if let Ok(said) = description::parse(&text, [None; 2], [20, 30]) {
            let _ = (axes::choose(&said, 65_000, axes::Choice::default()), said.units.len());
            assert!(said.units.len() <= 8 && said.axes.len() <= 64, "{begin}");
        }
        let _ = description::of_plane(&text, [20, 30]);
        let taken = begun.elapsed();
        assert!(taken < DEADLINE, "{taken:?}: {begin}");
    }
}

#[test]
fn planes_that_are_named_twice_have_one_page_wherever_their_runs_begin() {
    let order = |planes: &str| {
        let text = format!("<OME><Pixels SizeZ='4'>{planes}</Pixels></OME>");
        description::parse(&text, [None; 2], [20, 30]).map(|text| text.order.map(|order| order.to_vec()))
    };
    let run =
        |first: u64, ifd: u64, count: u64| format!("<TiffData FirstZ='{first}' IFD='{ifd}' PlaneCount='{count}'/>");
    for runs in [
        vec![(0, 3, 4), (0, 3, 4)],
        vec![(2, 5, 2), (0, 3, 3), (1, 4, 1)],
        vec![(0, 3, 9), (3, 6, 1)],
        vec![(3, 6, 1), (2, 5, 1), (1, 4, 1), (0, 3, 1)],
        vec![(0, 3, 1), (0, 3, 4)],
    ] {
        let text: String = runs.iter().map(|(first, ifd, count)| run(*first, *ifd, *count)).collect();
        assert_eq!(order(&text), Ok(Some(vec![3, 4, 5, 6])), "{text}");
    }
    for runs in [
        vec![(0, 3, 4), (0, 4, 1)],
        vec![(0, 3, 2), (1, 5, 3)],
        vec![(1, 5, 3), (0, 3, 2)],
        vec![(0, 3, 4), (3, 3, 1)],
        vec![(0, 3, 1), (0, 2, 4)],
    ] {
        let text: String = runs.iter().map(|(first, ifd, count)| run(*first, *ifd, *count)).collect();
        let error = order(&text).unwrap_err();
        assert!(error.contains("two pages for a plane"), "{text}: {error}");
    }
    for runs in [vec![(1, 4, 3)], vec![(0, 3, 1), (2, 5, 2)], vec![(0, 3, 3), (1, 4, 1)]] {
        let text: String = runs.iter().map(|(first, ifd, count)| run(*first, *ifd, *count)).collect();
        let error = order(&text).unwrap_err();
        assert!(error.contains("does not say of each plane"), "{text}: {error}");
    }
}

#[test]
fn names_of_files_and_units_are_the_letters_that_xml_means() {
    let plane = |z: u64, name: &str| {
        format!("<TiffData FirstZ='{z}' IFD='0'><UUID FileName='{name}'>urn:{z}&amp;</UUID></TiffData>")
    };
    let planes = [plane(0, "a &amp; b.tif"), plane(1, "c &#38; &#x64;.tif"), plane(2, "e & f.tif")].concat();
    let size = "PhysicalSizeZ='2' PhysicalSizeZUnit='&#x00B5;m' PhysicalSizeY='2' PhysicalSizeYUnit='&micro;m'";
    let text = format!("<OME UUID='urn:0&amp;'><Pixels SizeZ='3' {size}>{planes}</Pixels></OME>");
    let said = description::parse(&text, [None; 2], [20, 30]).unwrap();
    assert_eq!((said.scale, said.units.len()), ([Some(2e3), Some(2e3), None], 0));
    let Some(super::super::set::Set::Planes(planes)) = said.set else { panic!("{:?}", said.set) };
    let files: Vec<String> = planes.chosen(0..3, [None; 3]).files.into_iter().map(|(name, _)| name).collect();
    assert_eq!(files, ["a & b.tif", "c & d.tif", "e & f.tif"]);
}

/// A file of no bytes, with a desk.
struct AtDesk(Arc<Desk>);

impl ReadAt for AtDesk {
    fn name(&self) -> String {
        "desk.tif".into()
    }

    fn total(&self) -> u64 {
        0
    }

    fn read_at(&self, _: Range<u64>) -> BoxFuture<'_, Result<Bytes, SourceError>> {
        Box::pin(async { Ok(Bytes::new()) })
    }

    fn desk(&self) -> Option<&Arc<Desk>> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn a_long_description_is_made_sense_of_where_documents_are() {
    let file = ReadAhead::new(Arc::new(AtDesk(Arc::new(Desk::of(0)))), 0);
    let own = thread::current().id();
    for (letters, is_apart) in [(1000, false), (LONGEST, true)] {
        let work = move |text: &str| (text.len(), thread::current().id() != own);
        assert_eq!(file.work("x".repeat(letters), work).await, Some((letters, is_apart)));
    }
    let lost = file.work("x".repeat(LONGEST), |_| panic!("a mistake")).await;
    assert_eq!(lost, None::<()>);
}
