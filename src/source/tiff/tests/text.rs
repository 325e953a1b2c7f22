//! Descriptions, as the programs write them.

use super::super::text::{LONGEST_JSON, Text};

fn parse(text: &str) -> Result<Text, String> {
    Text::parse(text, [Some([4.0, 1.0]), Some([2.0, 1.0])], [20, 30])
}

#[test]
fn an_imagej_voxel_size_needs_a_unit_of_length_and_a_spacing() {
    let cases = [
        ("unit=micron\nspacing=0.5\n", [Some(500.0), Some(250.0), Some(500.0)]),
        ("unit=µm\nspacing=-0.5\n", [Some(500.0), Some(250.0), Some(500.0)]),
        ("unit=nm\nspacing=50\n", [Some(50.0), Some(0.25), Some(0.5)]),
        ("unit=cm\nspacing=1\n", [Some(1e7), Some(0.25e7), Some(0.5e7)]),
        ("unit=pixel\nspacing=1\n", [None; 3]),
        ("unit=nm\n", [None, Some(0.25), Some(0.5)]),
        ("unit=nm\nspacing=0\n", [None, Some(0.25), Some(0.5)]),
        ("spacing=1\n", [None; 3]),
        ("unit=micron\nzunit=nm\nspacing=50.0\n", [Some(50.0), Some(250.0), Some(500.0)]),
        ("unit=micron\nyunit=nm\nzunit=micron\nspacing=0.05\n", [Some(50.0), Some(0.25), Some(500.0)]),
        ("unit=nm\nyunit=pixel\nzunit=frame\nspacing=2\n", [None, None, Some(0.5)]),
    ];
    for (lines, scale) in cases {
        assert_eq!(parse(&format!("ImageJ=1.53t\nimages=5\n{lines}")).unwrap().scale, scale, "{lines}");
    }
    let text = Text::parse("ImageJ=1\nunit=nm\nspacing=1\n", [None, Some([0.0, 1.0])], [1, 1]).unwrap();
    assert_eq!(text.scale, [Some(1.0), None, None]);
}

#[test]
fn thousandths_of_a_micrometre_are_whole_nanometres() {
    for thousandths in 1..=20_000 {
        let (micrometres, nanometres) = (f64::from(thousandths) / 1e3, Some(f64::from(thousandths)));
        // As ImageJ and tifffile write them.
        for fraction in [[(1e6 / micrometres).floor(), 1e6], [1e3, f64::from(thousandths)]] {
            let text = format!("ImageJ=1.54f\nunit=micron\nspacing={micrometres}\n");
            let scale = Text::parse(&text, [Some(fraction); 2], [20, 30]).unwrap().scale;
            assert_eq!(scale, [nanometres; 3], "{fraction:?}");
        }
        let size = |axis: char| format!("PhysicalSize{axis}=\"{micrometres}\" PhysicalSize{axis}Unit=\"µm\"");
        let text = format!("<OME><Pixels SizeZ=\"3\" {} {} {}/></OME>", size('Z'), size('Y'), size('X'));
        assert_eq!(parse(&text).unwrap().scale, [nanometres; 3]);
    }
}

#[test]
fn an_imagej_window_is_taken_where_it_is_one_of_stored_values() {
    let window = |lines: &str| parse(&format!("ImageJ=1.53t\n{lines}")).unwrap().window;
    assert_eq!(window("min=36.0\nmax=199.0\n"), Some((36.0, 199.0)));
    for lines in ["min=1\n", "min=5\nmax=5\n", "min=NaN\nmax=9\n", "cf=0\nc0=-32768.0\nc1=1.0\nmin=1\nmax=9\n"] {
        assert_eq!(window(lines), None, "{lines}");
    }
}

#[test]
fn channels_and_time_are_refused_by_name_and_single_ones_dropped() {
    let cases = [
        ("ImageJ=1.53t\nimages=6\nchannels=2\nslices=3\n", "2 channels"),
        ("ImageJ=1.53t\nimages=6\nframes=6\n", "6 time points"),
        ("SCIFIO=0.42.0\naxes=X,Y,Channel\nimages=2\nchannels=2\nslices=1\n", "2 channels"),
        ("<OME><Pixels SizeC=\"2\" SizeT=\"1\" SizeZ=\"3\"/></OME>", "2 channels"),
        ("<ome:OME><ome:Pixels SizeC='1' SizeT='7' SizeZ='3'></ome:Pixels></ome:OME>", "7 time points"),
        ("<OME><Pixels SizeZ=\"3\"/><Pixels SizeZ=\"3\"/></OME>", "several images"),
        ("<OME><Pixels SizeZ=\"2\"><TiffData IFD=\"1\" FirstZ=\"0\"/></Pixels></OME>", "order of z"),
        ("{\"shape\": [2, 3, 20, 30]}", "4 dimensions"),
        ("{\"shape\": [3, 20, 30], \"axes\": \"TYX\"}", "axis T of 3"),
        ("{\"shape\": [2, 3, 20, 30, 1]}", "a shape of 4 dimensions"),
        ("{\"shape\": [3, 20, 30], \"axes\": \"XZY\"}", "axes XZY"),
        ("{\"shape\": [3, 20, 30, 1], \"axes\": \"ZXYS\"}", "axes ZXY"),
        ("{\"shape\": [20, 30], \"axes\": \"XY\"}", "axes XY"),
    ];
    for (text, expected) in cases {
        let refused = parse(text).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(parse("ImageJ=1.53t\nimages=6\nchannels=1\nframes=1\nslices=6\n").unwrap().pages, Some(6));
    assert_eq!(parse("<OME><Pixels SizeC=\"1\" SizeT=\"1\" SizeZ=\"3\"/></OME>").unwrap().pages, Some(3));
    assert_eq!(parse("{\"shape\": [1, 3, 20, 30]}").unwrap().pages, Some(3));
    assert_eq!(parse("{\"shape\": [3, 20, 30, 1]}").unwrap().pages, Some(3));
    assert_eq!(parse("{\"shape\": [3, 20, 30, 1, 1], \"axes\": \"ZYXCS\"}").unwrap().pages, Some(3));
    assert_eq!(parse("{\"shape\": [3, 20, 30], \"axes\": \"zyx\"}").unwrap().pages, Some(3));
    assert_eq!(parse("{\"shape\": [3, 20, 30, 1, 1], \"axes\": \"ZYXTC\"}").unwrap().pages, Some(3));
    assert_eq!(parse("any other text").unwrap().pages, None);
    assert_eq!(parse("{\"shape\": [2, 3, 10, 60]}").unwrap().pages, None, "of another image");
    let long = format!("{{\"shape\": [3, 20, 30], \"more\": \"{}\"}}", "x".repeat(LONGEST_JSON));
    assert_eq!(parse(&long).unwrap().pages, None);
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
    let parse = |text: &str| Text::parse(text, [None; 2], [20, 1]);
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
    let refused = parse("<OME><Pixels Name='>' SizeT=\"2\" SizeZ=\"3\"/></OME>").unwrap_err();
    assert!(refused.contains("2 time points"), "{refused}");
}
