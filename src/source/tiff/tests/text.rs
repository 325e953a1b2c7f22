//! Descriptions, as the programs write them.

use super::super::axes::{self, Choice, Pages};
use super::super::description;
use super::super::set::{FileSet, Set};
use super::super::shaped::MAX_JSON;
use super::super::text::{Dialect, Text};
use crate::dtype::DataType;

fn parse(text: &str) -> Result<Text, String> {
    description::parse(text, [Some([4.0, 1.0]), Some([2.0, 1.0])], [20, 30])
}

#[test]
fn an_imagej_voxel_size_needs_a_unit_of_length_and_a_spacing() {
    let cases = [
        ("unit=micron\nspacing=0.5\n", [Some(500.0), Some(250.0), Some(500.0)]),
        ("unit=µm\nspacing=-0.5\n", [Some(500.0), Some(250.0), Some(500.0)]),
        ("unit=nm\nspacing=50\n", [Some(50.0), Some(0.25), Some(0.5)]),
        ("unit=cm\nspacing=1\n", [Some(1e7), Some(0.25e7), Some(0.5e7)]),
        ("unit=pixel\nspacing=1\n", [None; 3]),
        ("unit=nm\n", [Some(1.0), Some(0.25), Some(0.5)]),
        ("unit=nm\nslices=5\n", [Some(1.0), Some(0.25), Some(0.5)]),
        ("unit=nm\nspacing=0\n", [None, Some(0.25), Some(0.5)]),
        ("spacing=1\n", [None; 3]),
        ("unit=micron\nzunit=nm\nspacing=50.0\n", [Some(50.0), Some(250.0), Some(500.0)]),
        ("unit=micron\nyunit=nm\nzunit=micron\nspacing=0.05\n", [Some(50.0), Some(0.25), Some(500.0)]),
        ("unit=nm\nyunit=pixel\nzunit=frame\nspacing=2\n", [None, None, Some(0.5)]),
    ];
    for (lines, scale) in cases {
        assert_eq!(parse(&format!("ImageJ=1.53t\nimages=5\n{lines}")).unwrap().scale, scale, "{lines}");
    }
    let text = description::parse("ImageJ=1\nunit=nm\nspacing=1\n", [None, Some([0.0, 1.0])], [1, 1]).unwrap();
    assert_eq!(text.scale, [Some(1.0), None, None]);
}

#[test]
fn thousandths_of_a_micrometre_are_whole_nanometres() {
    for thousandths in 1..=20_000 {
        let (micrometres, nanometres) = (f64::from(thousandths) / 1e3, Some(f64::from(thousandths)));
        // As ImageJ and tifffile write them.
        for fraction in [[(1e6 / micrometres).floor(), 1e6], [1e3, f64::from(thousandths)]] {
            let text = format!("ImageJ=1.54f\nunit=micron\nspacing={micrometres}\n");
            let scale = description::parse(&text, [Some(fraction); 2], [20, 30]).unwrap().scale;
            assert_eq!(scale, [nanometres; 3], "{fraction:?}");
        }
        let size = |axis: char| format!("PhysicalSize{axis}=\"{micrometres}\" PhysicalSize{axis}Unit=\"µm\"");
        let text = format!("<OME><Pixels SizeZ=\"3\" {} {} {}/></OME>", size('Z'), size('Y'), size('X'));
        assert_eq!(parse(&text).unwrap().scale, [nanometres; 3]);
    }
}

#[test]
fn an_imagej_window_is_one_of_stored_values() {
    let parsed = |lines: &str| parse(&format!("ImageJ=1.53t\n{lines}")).unwrap();
    let window = |lines: &str| parsed(lines).window_of(DataType::U16);
    assert_eq!(window("min=36.0\nmax=199.0\n"), Some((36.0, 199.0)));
    // ImageJ's own image of signed numbers, which it stores as unsigned ones.
    let signed = "cf=0\nc0=-32768.0\nc1=1.0\nmin=32700.0\nmax=32900.0\n";
    assert_eq!(window(signed), Some((32_700.0, 32_900.0)));
    for lines in ["min=1\n", "min=5\nmax=5\n", "min=NaN\nmax=9\n"] {
        assert_eq!(window(lines), None, "{lines}");
    }
    let of_signed = |lines: &str| parsed(lines).window_of(DataType::I16);
    assert_eq!(of_signed("min=32700.0\nmax=32900.0\n"), Some((-68.0, 132.0)));
    assert_eq!(of_signed("min=-1441\nmax=447\n"), Some((-1441.0, 447.0)));
    assert_eq!(of_signed("min=0\nmax=447\n"), Some((0.0, 447.0)));
}

/// What a file of so many pages shows by its description.
fn chosen(text: &str, there: u64, choice: Choice) -> Result<Pages, String> {
    axes::choose(&parse(text)?, there, choice)
}

#[test]
fn the_one_axis_of_several_pages_is_z_whatever_it_is_called() {
    for (text, pages, called) in [
        ("ImageJ=1.53t\nimages=6\nchannels=1\nframes=1\nslices=6\n", 6, None),
        ("ImageJ=1.53t\nimages=6\nframes=6\n", 6, Some("time points")),
        ("ImageJ=1.53t\nimages=6\nchannels=6\n", 6, Some("channels")),
        ("SCIFIO=0.42.0\naxes=X,Y,Channel\nimages=2\nchannels=2\nslices=1\n", 2, Some("channels")),
        ("<OME><Pixels SizeC=\"1\" SizeT=\"1\" SizeZ=\"3\"/></OME>", 3, None),
        ("<ome:OME><ome:Pixels SizeC='1' SizeT='7' SizeZ='1'></ome:Pixels></ome:OME>", 7, Some("time points")),
        ("{\"shape\": [3, 20, 30], \"axes\": \"TYX\"}", 3, Some("time points")),
        ("{\"shape\": [1, 3, 20, 30]}", 3, None),
        ("{\"shape\": [3, 20, 30, 1]}", 3, None),
        ("{\"shape\": [3, 20, 30, 1, 1], \"axes\": \"ZYXCS\"}", 3, None),
        ("{\"shape\": [3, 20, 30], \"axes\": \"zyx\"}", 3, None),
        ("{\"shape\": [3, 20, 30, 1, 1], \"axes\": \"ZYXTC\"}", 3, None),
    ] {
        assert_eq!(parse(text).unwrap().pages, Some(pages), "{text}");
        let found = chosen(text, pages, Choice::default()).unwrap();
        assert_eq!((found.first, found.step, found.count), (0, 1, pages), "{text}");
        let warning = found.warning.unwrap_or_default();
        assert!(called.map_or(warning.is_empty(), |called| warning.contains(called)), "{text}: {warning}");
    }
    let named = Choice { z: Some('t'), channel: None };
    assert_eq!(chosen("ImageJ=1.53t\nimages=6\nframes=6\n", 6, named).unwrap().warning, None);
    assert_eq!(parse("any other text").unwrap().pages, None);
    assert_eq!(parse("{\"shape\": [2, 3, 10, 60]}").unwrap().pages, None, "of another image");
    let long = format!("{{\"shape\": [3, 20, 30], \"more\": \"{}\"}}", "x".repeat(MAX_JSON));
    assert_eq!(parse(&long).unwrap().pages, None);
}

#[test]
fn of_several_axes_the_configuration_says_what_is_shown() {
    let imagej = "ImageJ=1.53t\nimages=12\nchannels=2\nslices=3\nframes=2\n";
    let two = "ImageJ=1.53t\nimages=6\nchannels=2\nslices=3\n";
    let ome = "<OME><Pixels DimensionOrder=\"XYZCT\" SizeC=\"2\" SizeT=\"1\" SizeZ=\"3\"/></OME>";
    let mismatch = "ImageJ=1.53t\nimages=6\nchannels=2\nslices=2\n";
    let choice = |z: Option<char>, channel| Choice { z, channel };
    for (text, there, z, channel, expected) in [
        (two, 6, None, Some(0), Ok((0, 2, 3))),
        (two, 6, None, Some(1), Ok((1, 2, 3))),
        (ome, 6, None, Some(1), Ok((3, 1, 3))),
        (two, 6, Some('c'), None, Err("2 channels, 3 slices")),
        (two, 6, None, None, Err("`channel = N`")),
        (two, 6, None, Some(2), Err("channel 2 of 2")),
        (two, 5, None, Some(0), Err("5 pages for 2 channels, 3 slices")),
        (imagej, 12, None, Some(0), Err("2 time points")),
        ("{\"shape\": [2, 3, 20, 30], \"axes\": \"CTYX\"}", 6, None, Some(0), Err("`axes = ")),
        ("{\"shape\": [2, 3, 20, 30], \"axes\": \"CTYX\"}", 6, Some('t'), Some(1), Ok((3, 1, 3))),
        ("any text", 5, None, Some(1), Err("no channel 1")),
        // Of ImageJ's lines that contradict each other all pages are shown, with a warning.
        (mismatch, 6, None, None, Ok((0, 1, 6))),
        (mismatch, 6, None, Some(1), Err("6 pages for 2 channels, 2 slices (without `channel` all pages are shown)")),
        (mismatch, 5, None, None, Err("5 pages for 2 channels, 2 slices (all pages are shown if `tiffset")),
        // What no channel helps with is told before it is asked for one.
        (imagej, 12, None, None, Err("2 time points (write the time point")),
        (imagej, 12, Some('t'), Some(0), Err("file of their own")),
        (two, 6, Some('c'), Some(0), Err("leave out `axes`")),
        ("{\"shape\": [2, 3, 20, 30], \"axes\": \"TLYX\"}", 6, None, None, Err("file of its own")),
        ("ImageJ=1\nimages=3\nchannels=3\n", 3, None, Some(0), Ok((0, 1, 1))),
        ("ImageJ=1\nimages=3\nchannels=3\n", 3, None, Some(3), Err("channel 3 of 3")),
        ("ImageJ=1\nimages=3\nchannels=3\n", 3, None, Some(2), Ok((2, 1, 1))),
    ] {
        match (chosen(text, there, choice(z, channel)), expected) {
            (Ok(found), Ok(expected)) => assert_eq!((found.first, found.step, found.count), expected, "{text}"),
            (Err(error), Err(expected)) => assert!(error.contains(expected), "{error} instead of {expected}"),
            (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn what_has_no_order_of_planes_is_refused_by_name() {
    for (text, expected) in [
        ("<OME><Pixels SizeZ=\"3\"/><Pixels SizeZ=\"3\"/></OME>", "several images"),
        ("<OME><Pixels SizeZ=\"2\"><TiffData IFD=\"1\" FirstZ=\"0\"/></Pixels></OME>", "order of z"),
        ("<OME><Pixels SizeZ=\"0\"/></OME>", "SizeZ `0`"),
        ("<OME><Pixels SizeZ=\"2\" DimensionOrder=\"XYZ\"/></OME>", "DimensionOrder `XYZ`"),
        ("{\"shape\": [2, 3, 20, 30]}", "4 dimensions"),
        ("{\"shape\": [2, 3, 20, 30, 1]}", "a shape of 4 dimensions"),
        ("{\"shape\": [3, 20, 30], \"axes\": \"XZY\"}", "axes XZY"),
        ("{\"shape\": [3, 20, 30, 1], \"axes\": \"ZXYS\"}", "axes ZXY"),
        ("{\"shape\": [20, 30], \"axes\": \"XY\"}", "axes XY"),
    ] {
        let refused = parse(text).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
        let is_broken = refused.contains('`') && !refused.contains('(');
        assert!(is_broken || refused.ends_with(')'), "{refused} says no remedy");
    }
}

#[test]
fn imagej2_says_the_size_of_each_axis_in_its_own_unit() {
    let of = |axes: &str, scales: &str, units: &str| {
        let lines =
            format!("axes={axes}\nlengths=3,3,3\nscales={scales}\nunits={units}\nimages=3\nslices=3\nunit=micron\n");
        parse(&format!("SCIFIO=0.42.0\n{lines}")).unwrap()
    };
    let whole = of("X,Y,Z", "0.008,0.008,0.05", "\\u00B5m,micron,µm");
    assert_eq!(
        (whole.scale, whole.one_run, whole.dialect),
        ([Some(50.0), Some(8.0), Some(8.0)], false, Dialect::Plain)
    );
    assert_eq!(of("X,Y,Z", "8,8,1.0", "nm,nm,null").scale, [None, Some(8.0), Some(8.0)]);
    assert_eq!(of("X,Y,Time", "8,8,50", "nm,nm,nm").scale, [Some(50.0), Some(8.0), Some(8.0)]);
    assert_eq!(of("X,Y,Z", "8,8,50", "nm,nm,furlongs").units, ["furlongs"]);
    assert_eq!(of("", "", "").scale, [None; 3]);
}

#[test]
fn a_set_of_files_is_told_from_a_file_of_its_own() {
    let ome = |planes: &str| format!("<OME UUID=\"urn:uuid:0\"><Pixels SizeZ=\"2\">{planes}</Pixels></OME>");
    let plane = |z: u64, ifd: u64, file: &str, id: u64| {
        format!("<TiffData FirstZ=\"{z}\" IFD=\"{ifd}\"><UUID FileName=\"{file}\">urn:uuid:{id}</UUID></TiffData>")
    };
    let set = |planes: &[String]| parse(&ome(&planes.concat())).unwrap().set;
    assert_eq!(set(&[plane(0, 0, "old name.tif", 0), plane(1, 1, "old name.tif", 0)]), None);
    assert_eq!(set(&[]), None);
    let whole = [plane(1, 0, "b.tif", 1), plane(0, 0, "a.tif", 0)];
    let Some(Set::Planes(planes)) = set(&whole) else { panic!("{:?}", set(&whole)) };
    let FileSet { files, planes, is_of_single_pages, .. } = planes.chosen(0..2, [None; 3]);
    let page = || std::sync::Arc::from([0]);
    assert_eq!((files, planes), (vec![("a.tif".into(), page()), ("b.tif".into(), page())], vec![(0, 0), (1, 0)]));
    assert!(is_of_single_pages);
    for other in [
        vec![plane(0, 0, "a.tif", 0), plane(1, 0, "../b.tif", 1)],
        vec![plane(0, 0, "a.tif", 0), plane(0, 0, "b.tif", 1)],
    ] {
        assert!(matches!(set(&other), Some(Set::Other(_))), "{other:?}");
    }
    // All planes are in one file, be it this one under another UUID.
    assert_eq!(set(&[plane(0, 0, "b.tif", 1), plane(1, 1, "b.tif", 1)]), Some(Set::One("b.tif".into())));
    let companion = parse("<OME><BinaryOnly MetadataFile=\"v.companion.ome\" UUID=\"urn:uuid:9\"/></OME>").unwrap();
    assert!(matches!(companion.set, Some(Set::Other(reason)) if reason.contains("v.companion.ome")));
}

#[test]
fn the_planes_of_one_channel_of_a_set_are_the_pages_of_the_files_that_ome_says() {
    let of = |sizes: &str, parts: &[(&str, &str, u64, u64)]| {
        let part = |(first, file, ifd, count): &(&str, &str, u64, u64)| {
            format!(
                "<TiffData {first} IFD='{ifd}' PlaneCount='{count}'><UUID FileName='{file}'>urn:{file}</UUID></TiffData>"
            )
        };
        let parts: String = parts.iter().map(part).collect();
        parse(&format!("<OME UUID='urn:a'><Pixels DimensionOrder='XYZCT' {sizes}>{parts}</Pixels></OME>")).unwrap()
    };
    let chosen = |text: &Text, channel| {
        let Some(Set::Planes(planes)) = &text.set else { panic!("{:?}", text.set) };
        let pages = axes::choose(text, planes.len(), Choice { z: None, channel })?;
        let FileSet { files, planes, is_of_single_pages, .. } = planes.chosen(pages.numbers(), [None; 3]);
        let files: Vec<(String, Vec<u64>)> = files.into_iter().map(|(name, pages)| (name, pages.to_vec())).collect();
        Ok::<_, String>((files, planes, is_of_single_pages))
    };
    let named = |files: &[(&str, &[u64])]| -> Vec<(String, Vec<u64>)> {
        files.iter().map(|(name, pages)| ((*name).to_owned(), pages.to_vec())).collect()
    };
    // A file for each channel.
    let channels = of("SizeZ='3' SizeC='2'", &[("FirstC='0'", "a", 0, 3), ("FirstC='1'", "b", 0, 3)]);
    let expected = (named(&[("b", &[0, 1, 2])]), vec![(0, 0), (0, 1), (0, 2)], false);
    assert_eq!(chosen(&channels, Some(1)), Ok(expected));
    let error = chosen(&channels, None).unwrap_err();
    assert!(error.contains("3 slices, 2 channels without `channel = N`"), "{error}");
    assert!(chosen(&channels, Some(2)).unwrap_err().contains("channel 2 of 2"));
    // Slices in two files, and a file for each slice with both channels.
    let slices = of("SizeZ='3'", &[("FirstZ='0'", "a", 0, 2), ("FirstZ='2'", "b", 4, 1)]);
    assert_eq!(chosen(&slices, None), Ok((named(&[("a", &[0, 1]), ("b", &[4])]), vec![(0, 0), (0, 1), (1, 0)], false)));
    let pairs: Vec<_> = [("FirstZ='0'", "a", 0, 1), ("FirstZ='0' FirstC='1'", "a", 1, 1)]
        .into_iter()
        .chain([("FirstZ='1'", "b", 0, 1), ("FirstZ='1' FirstC='1'", "b", 1, 1)])
        .collect();
    let pairs = of("SizeZ='2' SizeC='2'", &pairs);
    assert_eq!(chosen(&pairs, Some(1)), Ok((named(&[("a", &[1]), ("b", &[1])]), vec![(0, 0), (1, 0)], false)));
    // Times cannot be chosen among, whatever channel is named.
    let times = of("SizeZ='2' SizeT='2'", &[("FirstT='0'", "a", 0, 2), ("FirstT='1'", "b", 0, 2)]);
    for channel in [None, Some(0)] {
        let error = chosen(&times, channel).unwrap_err();
        assert!(error.contains("2 time points") && error.contains("bfconvert -timepoint"), "{error}");
        assert!(!error.contains("channel ="), "{error}");
    }
    // Two pages for a plane, one page for two, one for none.
    for parts in [
        [("FirstZ='0'", "a", 0, 2), ("FirstZ='1'", "b", 0, 2)],
        [("FirstZ='0'", "a", 0, 2), ("FirstZ='2'", "a", 1, 2)],
        [("FirstZ='0'", "a", 0, 1), ("FirstZ='1'", "b", 0, 2)],
        [("FirstZ='0'", "a", 0, 9), ("FirstZ='1'", "b", 0, 1)],
    ] {
        let text = of("SizeZ='4'", &parts);
        assert!(matches!(text.set, Some(Set::Other(_)) | None | Some(Set::One(_))), "{:?}", text.set);
    }
    let many =
        of("SizeZ='4294967296' SizeC='4294967295'", &[("FirstZ='0'", "a", 0, 9), ("FirstZ='9'", "b", 0, u64::MAX)]);
    assert!(matches!(many.set, Some(Set::Other(_))));
}

#[test]
fn imagej2_lists_the_axes_in_the_order_of_the_pages() {
    let of = |axes: &str, lengths: &str| {
        parse(&format!("SCIFIO=0.42.0\naxes={axes}\nlengths={lengths}\nimages=6\nchannels=2\nslices=3\n")).unwrap()
    };
    let axes = |text: Text| text.axes.iter().map(|axis| (axis.name, axis.extent)).collect::<Vec<_>>();
    for (names, lengths, expected) in [
        ("X,Y,Z,Channel", "30,20,3,2", vec![('z', 3), ('c', 2)]),
        ("X,Y,Channel,Z", "30,20,2,3", vec![('c', 2), ('z', 3)]),
        ("Y,X,Z,Channel,Time", "20,30,3,2,1", vec![('z', 3), ('c', 2)]),
        ("X,Y,Z,Lifetime", "30,20,3,2", vec![('z', 3), ('l', 2)]),
        ("X,Y,Z,Custom", "30,20,3,2", vec![('z', 3), ('C', 2)]),
        ("X,Y,Unknown", "30,20,6", vec![('q', 6)]),
        // Of lists that do not tell, the counts hold.
        ("X,Y,Z,Channel", "30,20,3", vec![('c', 2), ('z', 3)]),
        ("X,Y,Z,Channel", "30,20,3,two", vec![('c', 2), ('z', 3)]),
        ("X,Y,Z,Channel", "30,20,3,0", vec![('c', 2), ('z', 3)]),
        ("Channel,X,Y,Z", "1,30,20,3", vec![('c', 2), ('z', 3)]),
        ("", "", vec![('c', 2), ('z', 3)]),
    ] {
        assert_eq!(axes(of(names, lengths)), expected, "{names} of {lengths}");
    }
    let slices_first = "SCIFIO=0.42.0\naxes=X,Y,Z,Channel\nlengths=30,20,3,2\nimages=6\nchannels=2\nslices=3\n";
    let second = chosen(slices_first, 6, Choice { z: None, channel: Some(1) }).unwrap();
    assert_eq!((second.first, second.step, second.count), (3, 1, 3));
    let lifetime = slices_first.replace("Channel", "Lifetime");
    let error = chosen(&lifetime, 6, Choice::default()).unwrap_err();
    assert!(error.contains("3 slices, 2 pages along `l`") && error.contains("file of their own"), "{error}");
}

#[test]
fn the_page_of_each_plane_is_the_one_that_ome_says() {
    let order = |planes: &str| {
        let text = parse(&format!("<OME><Pixels SizeZ=\"3\" SizeC=\"2\">{planes}</Pixels></OME>"));
        text.map(|text| text.order.map(|order| order.to_vec()))
    };
    let backwards: String =
        (0..6).map(|p| format!("<TiffData FirstZ='{}' FirstC='{}' IFD='{}'/>", p % 3, p / 3, 5 - p)).collect();
    for (planes, expected) in [
        ("", None),
        ("<TiffData/>", None),
        ("<TiffData IFD='0' PlaneCount='6'/>", None),
        ("<TiffData FirstZ='1' IFD='1'/>", None),
        (&backwards, Some(vec![5, 4, 3, 2, 1, 0])),
        ("<TiffData IFD='1' PlaneCount='6'/>", Some(vec![1, 2, 3, 4, 5, 6])),
        ("<TiffData IFD='3' PlaneCount='3'/><TiffData FirstC='1' PlaneCount='3'/>", Some(vec![3, 4, 5, 0, 1, 2])),
    ] {
        assert_eq!(order(planes).unwrap(), expected, "{planes}");
    }
    for (planes, expected) in [
        ("<TiffData IFD='1' PlaneCount='5'/>", "does not say of each plane"),
        ("<TiffData IFD='1' FirstZ='0'/><TiffData IFD='2' FirstZ='0'/>", "two pages for a plane"),
        ("<TiffData IFD='1' FirstT='9'/>", "planes that it does not have"),
        ("<TiffData IFD='18446744073709551615' PlaneCount='6'/>", "two pages for a plane"),
    ] {
        let error = order(planes).unwrap_err();
        assert!(error.contains(expected) && error.contains("order of z") && error.contains("bfconvert"), "{error}");
    }
}

#[test]
fn what_stands_in_a_comment_of_xml_says_nothing() {
    let text = "<?xml version='1.0'?><!DOCTYPE OME><OME><!-- <Pixels SizeZ=\"9\"> -->\
                <![CDATA[<Pixels SizeZ=\"7\"/>]]><Pixels SizeZ=\"3\"/><!-- <Pixels SizeZ=\"8\"/></OME>";
    assert_eq!(parse(text).unwrap().pages, Some(3));
    assert_eq!(parse("<!-- <Pixels SizeZ=\"9\"/> -->").unwrap().dialect, Dialect::Plain);
}

#[test]
fn ome_sizes_are_micrometres_where_no_unit_is_given() {
    let scale = |attributes: &str| parse(&format!("<OME><Pixels SizeZ=\"3\" {attributes}/></OME>")).unwrap().scale;
    let all = "PhysicalSizeX=\"8\" PhysicalSizeXUnit=\"nm\" PhysicalSizeY=\"0.008\" PhysicalSizeZ=\"0.05\"";
    assert_eq!(scale(all), [Some(50.0), Some(8.0), Some(8.0)]);
    assert_eq!(scale(&format!("{all} PhysicalSizeZUnit=\"&#181;m\"")), [Some(50.0), Some(8.0), Some(8.0)]);
    assert_eq!(scale(&format!("{all} PhysicalSizeZUnit=\"reference frame\"")), [None, Some(8.0), Some(8.0)]);
    assert_eq!(scale("PhysicalSizeX=\"8\""), [None, None, Some(8e3)]);
}

#[test]
fn a_plane_of_one_column_is_a_plane() {
    let parse = |text: &str| description::parse(text, [None; 2], [20, 1]);
    assert_eq!(parse("{\"shape\": [3, 20, 1]}").unwrap().pages, Some(3));
    assert_eq!(parse("{\"shape\": [3, 20, 1, 1], \"axes\": \"ZYXS\"}").unwrap().pages, Some(3));
}

#[test]
fn an_angle_bracket_in_a_value_does_not_end_the_element() {
    for name in ["a > b", "'>'", "/>"] {
        let text =
            format!("<OME><!-- it's --><Pixels Name=\"{name}\" SizeZ=\"3\" SizeT='1' PhysicalSizeX=\"8\"/></OME>");
        let text = parse(&text).unwrap();
        assert_eq!((text.pages, text.scale), (Some(3), [None, None, Some(8e3)]), "{name}");
    }
    let text = parse("<OME><Pixels Name='>' SizeT=\"2\" SizeZ=\"3\"/></OME>").unwrap();
    assert_eq!((text.pages, text.axes.len()), (Some(6), 2));
}
