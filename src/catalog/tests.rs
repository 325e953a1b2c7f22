use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Catalog, CatalogError> {
    Catalog::parse(text, "my.toml", Some(Path::new("/data")))
}

/// The message for a dataset with this source table.
fn source_error(lines: &str) -> String {
    parse(&format!("[[dataset]]\nname = \"a\"\n[dataset.source]\n{lines}\n")).unwrap_err().to_string()
}

#[test]
fn the_built_in_catalogue_is_valid() {
    let catalog = Catalog::builtin().unwrap();
    let names: Vec<_> = catalog.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names, ["idr-9846137", "empiar-11759", "epfl-hippocampus", "jrc_mus-nacc-2", "hemibrain"]);
    let epfl = &catalog.datasets[2];
    let images: Vec<_> = epfl.images.iter().map(|image| image.name.as_str()).collect();
    assert_eq!(images, ["em", "training", "testing"]);
    assert!(epfl.images[0].labels.is_empty());
    assert_eq!(epfl.images[1].labels[0].name, "mitochondria");
    assert_eq!(epfl.images[2].source.voxel_size, Some([5.0; 3]));
    assert_eq!(catalog.datasets[3].images[0].source.chunk, Some([64; 3]));
    let hemibrain = &catalog.datasets[4];
    assert_eq!((hemibrain.images[1].name.as_str(), hemibrain.views[0].name.as_str()), ("em-raw", "sample-1000"));
    for image in &hemibrain.images {
        // What random crops are drawn from holds the sample.
        let sample = hemibrain.views[0].crop;
        assert_eq!(image.source.tissue.unwrap().intersection(&sample), Some(sample));
        let SourceKind::Precomputed { url } = &image.source.kind else { unreachable!() };
        assert!(url.to_string().starts_with("gs://neuroglancer-janelia-flyem-hemibrain/emdata/"), "{url}");
    }
    for dataset in &catalog.datasets {
        for key in ["title", "licence", "citation", "landing_page", "references"] {
            assert!(dataset.about.contains_key(key), "{} has no {key}", dataset.name);
        }
    }
}

#[test]
fn a_space_at_the_start_of_a_folder_stays_encoded() {
    let catalog = Catalog::builtin().unwrap();
    let SourceKind::Tiff { files: VolumeFiles::File(url) } = &catalog.datasets[2].images[0].source.kind else {
        unreachable!()
    };
    assert!(url.to_string().ends_with("/www/data/%20ElectronMicroscopy_Hippocampus/volumedata.tif"), "{url}");
}

#[test]
fn hosts_have_the_manners_that_are_written_down() {
    let limits = Catalog::builtin().unwrap().limits;
    let ebi = limits.of("ftp.ebi.ac.uk");
    assert_eq!((ebi.connections, ebi.rate, ebi.stall.as_secs()), (4, Some(4.0), 12));
    assert_eq!(limits.of("documents.epfl.ch").connections, 8);
    let upper = parse(
        "[[dataset]]\nname='a'\nsource={kind='tiff',url='https://h/a.tif'}\n[host.'FTP.Example.org']\nconnections=2",
    )
    .unwrap();
    assert_eq!(upper.limits.of("ftp.example.org").connections, 2);
}

#[test]
fn an_unknown_key_is_an_error_with_file_line_and_key() {
    let error = source_error("kind = \"tiff\"\nurll = \"https://h/a.tif\"");
    assert!(error.starts_with("my.toml:5:1: urll: unknown field `urll`"), "{error}");
    let error = parse("[[dataset]]\nname = \"a\"\ncolour = 3\n").unwrap_err().to_string();
    assert!(error.starts_with("my.toml:3:1: colour: unknown field"), "{error}");
    let error = parse("datasets = 3\n").unwrap_err().to_string();
    assert!(error.starts_with("my.toml:1:1: datasets: unknown field"), "{error}");
}

#[test]
fn a_wrong_type_is_an_error_with_file_line_and_key() {
    let error = source_error("kind = \"tiff\"\nurl = 7");
    assert!(error.starts_with("my.toml:5:7: url: invalid type: integer `7`"), "{error}");
    let error = source_error("kind = \"tiff\"\nurl = \"https://h/a\"\nvoxel_size = [5, 5]");
    assert!(error.starts_with("my.toml:6:14: voxel_size: "), "{error}");
    let error = parse("[dataset]\nname = \"a\"\n").unwrap_err().to_string();
    assert_eq!(error, "my.toml:1:1: dataset: a list is due; write [[dataset]]");
    let error = source_error("kind = \"idr\"\nimage = -1");
    assert!(error.starts_with("my.toml:5:9: image: "), "{error}");
}

#[test]
fn a_number_that_is_written_as_a_text_is_told_as_one() {
    let error = source_error("kind = \"empiar\"\nentry = \"EMPIAR-11759\"");
    assert!(error.contains("entry: invalid type: string \"EMPIAR-11759\", expected a whole number"), "{error}");
    assert!(error.ends_with("write entry = 11759"), "{error}");
    let error = source_error("kind = \"empiar\"\nentry = \"mine\"");
    assert!(error.ends_with("expected a whole number"), "{error}");
}

#[test]
fn the_name_of_a_host_without_quotes_is_told_with_them() {
    let dataset = "[[dataset]]\nname='a'\nsource={kind='tiff',url='https://h/a'}\n";
    for keys in ["connections = 2", "rate = 1.0\nconnections = 2"] {
        let error = parse(&format!("{dataset}[host.ftp.example.org]\n{keys}\n")).unwrap_err().to_string();
        assert!(error.contains("write [host.\"ftp.example.org\"]"), "{error}");
    }
    assert!(parse(&format!("{dataset}[host.\"ftp.example.org\"]\nconnections = 2\n")).is_ok());
    let error = parse(&format!("{dataset}[host.\"ftp.example.org\"]\nspeed = 2\n")).unwrap_err().to_string();
    assert!(error.contains("unknown field `speed`"), "{error}");
}

#[test]
fn an_unknown_kind_names_the_known_ones() {
    let error = source_error("kind = \"nifti\"\nurl = \"https://h/a\"");
    assert_eq!(
        error,
        "my.toml:4:8: kind: unknown kind `nifti`; known are idr, empiar, tiff, dm3, mrc, zarr, n5, precomputed"
    );
}

#[test]
fn each_kind_has_its_own_keys() {
    assert!(source_error("kind = \"tiff\"").contains("url: a source of kind `tiff` needs `url`"));
    assert!(source_error("kind = \"idr\"").contains("image: a source of kind `idr` needs `image`"));
    let error = source_error("kind = \"zarr\"\nurl = \"https://h/a\"\nserver = \"https://h\"");
    assert_eq!(error, "my.toml:6:10: server: a source of kind `zarr` has no such key");
    let error = source_error("kind = \"tiff\"\nurl = \"https://h/a\"\nendpoint = \"http://127.0.0.1:9000\"");
    assert_eq!(error, "my.toml:6:12: endpoint: is for s3 and gs addresses only");
    let error = source_error("kind = \"tiff\"\nurl = \"https://h/a\"\ncredentials = \"env\"");
    assert_eq!(error, "my.toml:6:15: credentials: is for s3 and gs addresses only");
    for source in
        ["kind = \"tiff\"\nurl = \"https://h/a\"", "kind = \"idr\"\nimage = 1", "kind = \"empiar\"\nentry = 1"]
    {
        let text = format!("[[dataset]]\nname = \"d\"\n[dataset.source]\n{source}\ncredentials = \"none\"\n");
        assert!(parse(&text).is_ok(), "{source}");
    }
    let error = source_error("kind = \"zarr\"\nurl = \"s3://b/a\"\ncredentials = \"mine\"");
    assert!(error.contains("credentials: `mine` must be \"none\" or \"env\""), "{error}");
}

#[test]
fn an_entry_of_empiar_is_asked_for_where_the_archive_is() {
    let catalog = Catalog::builtin().unwrap();
    let spec = &catalog.datasets[1].images[0].source;
    let SourceKind::Empiar { entry, server, files, imageset } = &spec.kind else { unreachable!() };
    assert_eq!((*entry, imageset, spec.kind.name(), spec.kind.is_planes()), (11759, &None, "empiar", true));
    assert_eq!(server.as_str(), "https://www.ebi.ac.uk/empiar");
    assert_eq!(files.as_str(), "https://ftp.ebi.ac.uk/empiar/world_availability");
    for (lines, expected) in [
        ("kind = \"empiar\"", "entry: a source of kind `empiar` needs `entry`"),
        ("kind = \"empiar\"\nentry = 0", "entry: EMPIAR has no entry 0"),
        ("kind = \"empiar\"\nentry = 1\nurl = \"https://h/a\"", "url: a source of kind `empiar` has no such key"),
        ("kind = \"empiar\"\nentry = 1\nendpoint = \"http://h\"", "endpoint: is for s3 and gs addresses only"),
        ("kind = \"empiar\"\nentry = 1\nserver = \"h\"", "server: `h` must begin with http:// or https://"),
    ] {
        let error = source_error(lines);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn dm_files_are_one_or_a_folder_or_a_list() {
    let files = |lines: &str| {
        let text = format!("[[dataset]]\nname = \"a\"\n[dataset.source]\nkind = \"dm3\"\n{lines}\n");
        let catalog = parse(&text).unwrap();
        let kind = catalog.datasets[0].images[0].source.kind.clone();
        assert!(kind.is_planes() && kind.name() == "dm3");
        let SourceKind::Dm3 { files } = kind else { unreachable!() };
        files
    };
    assert!(matches!(files("url = \"https://h/a.DM3\""), VolumeFiles::File(_)));
    assert!(matches!(files("url = \"https://h/a.dm4\""), VolumeFiles::File(_)));
    assert!(matches!(files("url = \"https://h/a\""), VolumeFiles::Folder(_)));
    assert_eq!(files("url = \"sections/\"").to_string(), "file:///data/sections");
    let list = files("urls = [\"https://h/b.dm3\", \"a.dm3\"]");
    assert_eq!(list.to_string(), "https://h/b.dm3 … file:///data/a.dm3");
    for (lines, expected) in [
        ("", "url: a source of kind `dm3` needs `url` or `urls`"),
        ("urls = []", "urls: must be 1 to 1048576 addresses"),
        ("url = \"https://h/a\"\nurls = [\"https://h/a\"]", "urls: either `url` or `urls`, not both"),
        ("urls = [\"https://h/a\", \"ftp://h/b\"]", "url: `ftp://h/b` is no address"),
        ("url = \"https://h/a\"\nimage = 3", "image: a source of kind `dm3` has no such key"),
    ] {
        let error = source_error(&format!("kind = \"dm3\"\n{lines}"));
        assert!(error.contains(expected), "{error}");
    }
    assert!(source_error("kind = \"zarr\"\nurls = [\"https://h/a\"]").contains("urls: a source of kind `zarr` has no"));
}

#[test]
fn an_object_store_keeps_its_endpoint_and_credentials() {
    let catalog = parse(
        "[[dataset]]\nname = \"a\"\n[dataset.source]\nkind = \"zarr\"\nurl = \"s3://bucket/key\"\n\
         endpoint = \"http://127.0.0.1:9000\"\ncredentials = \"env\"\n",
    )
    .unwrap();
    let SourceKind::Zarr { url } = &catalog.datasets[0].images[0].source.kind else { unreachable!() };
    assert_eq!(url.endpoint.as_ref().unwrap().as_str(), "http://127.0.0.1:9000/");
    assert_eq!(url.credentials, crate::remote::Credentials::Env);
}

#[test]
fn a_precomputed_address_may_name_its_format() {
    let text =
        "[[dataset]]\nname = \"a\"\n[dataset.source]\nkind = \"precomputed\"\nurl = \"precomputed://gs://b/k\"\n";
    let catalog = parse(text).unwrap();
    let SourceKind::Precomputed { url } = &catalog.datasets[0].images[0].source.kind else { unreachable!() };
    assert_eq!(url.to_string(), "gs://b/k");
}

#[test]
fn a_blank_or_the_end_of_a_line_around_an_address_is_taken_off() {
    let source = |lines: &str| {
        let text = format!("[[dataset]]\nname = \"a\"\n[dataset.source]\n{lines}\n");
        parse(&text).unwrap().datasets[0].images[0].source.kind.clone()
    };
    for kind in ["precomputed", "zarr", "n5", "tiff", "mrc", "dm3"] {
        let told = |key: &str, address: &str| format!("{:?}", source(&format!("kind = \"{kind}\"\n{key} = {address}")));
        for (bare, padded) in [
            ("\"https://h/pc\"", "\" https://h/pc \""),
            ("\"https://h/pc/\"", "\"\\thttps://h/pc/\\r\\n\""),
            ("\"/data/em\"", "\" /data/em\\n\""),
            ("\"em\"", "\"\"\"\nem\n\"\"\""),
        ] {
            assert_eq!(told("url", padded), told("url", bare), "{kind}");
            if ["tiff", "mrc", "dm3"].contains(&kind) {
                assert_eq!(told("urls", &format!("[{padded}]")), told("urls", &format!("[{bare}]")), "{kind}");
            }
        }
    }
    assert!(source_error("kind = \"zarr\"\nurl = \" \"").contains("it is empty"));
}

#[test]
fn a_file_whose_name_ends_in_a_blank_is_not_the_one_without() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("a.tif"), b"x").unwrap();
    std::fs::write(path("a.tif "), b"y").unwrap();
    for (name, expected) in [("a.tif", "a.tif"), ("a.tif ", "a.tif "), (" a.tif", "a.tif"), ("b.tif ", "b.tif")] {
        for (written, base) in [(path(name).display().to_string(), None), (name.to_owned(), Some(folder.path()))] {
            let text = format!("[[dataset]]\nname = \"a\"\n[dataset.source]\nkind = \"tiff\"\nurl = {written:?}\n");
            let catalog = Catalog::parse(&text, "test", base).unwrap();
            let SourceKind::Tiff { files: VolumeFiles::File(file) } = &catalog.datasets[0].images[0].source.kind else {
                panic!("{text}")
            };
            let found = file.url.to_file_path().unwrap();
            if !(base.is_none() && name.starts_with(' ')) {
                assert_eq!(found, path(expected), "{written:?}");
            }
        }
    }
}

#[test]
fn a_kind_that_is_called_otherwise_is_told() {
    for (kind, meant) in [("dm4", "dm3"), ("tif", "tiff"), ("ome-tiff", "tiff"), ("OME.TIFF", "tiff"), ("TIFF", "tiff")]
    {
        let error = source_error(&format!("kind = \"{kind}\"\nurl = \"a\""));
        assert!(error.contains(&format!("did you mean `{meant}`?")), "{error}");
    }
    assert!(!source_error("kind = \"hdf5\"\nurl = \"a\"").contains("did you mean"));
}

#[test]
fn a_link_to_a_viewer_is_refused_for_any_kind_and_told_in_short() {
    let state = format!("{{'layers':[{{'source':'precomputed://gs://b/em'}}],'title':'{}'}}", "x".repeat(5000));
    let link = format!("https://neuroglancer-demo.appspot.com/#!{}", state.replace('\'', "%22"));
    for kind in ["precomputed", "zarr", "n5", "tiff", "mrc", "dm3"] {
        let error = source_error(&format!("kind = \"{kind}\"\nurl = \"{link}\""));
        assert!(error.ends_with("write the `source` of one of its layers: `precomputed://gs://b/em`"), "{error}");
        assert!(error.contains("url: `https://neuroglancer-demo.appspot.com/#!") && error.len() < 400, "{error}");
        let error = source_error(&format!("kind = \"{kind}\"\nurl = \"gs+xml://b/k\""));
        assert!(error.ends_with("url: `gs+xml://b/k`: `gs+xml://` is not read; write `gs://b/k`"), "{error}");
    }
}

#[test]
fn numbers_out_of_range_are_errors() {
    let with = |line: &str| source_error(&format!("kind = \"tiff\"\nurl = \"https://h/a\"\n{line}"));
    assert!(with("chunk = [0, 64, 64]").contains("chunk: each side must be 1 to 4096"));
    assert!(with("chunk = [64, 64, 4097]").contains("chunk: each side"));
    assert!(with("window = [3.0, 3.0]").contains("window: must be"));
    assert!(with("recorded_window = [3.0, 2.0]").contains("recorded_window: must be"));
    assert!(with("window = [nan, 3.0]").contains("window: must be"));
    assert!(with("voxel_size = [5, 5, 0]").contains("voxel_size: must be"));
    assert!(with("voxel_size = [5, 5, inf]").contains("voxel_size: must be"));
    assert!(with("tissue = \"z5-5_y0-1_x0-1\"").contains("tissue: z 5-5 is empty"));
    for line in [
        "md5_etags = 1",
        "connections = 0",
        "rate = 0.0",
        "rate = nan",
        "stall = 0",
        "stall = -1.0",
        "stall = 1e300",
        "absent = 500",
        "absent = \"404\"",
    ] {
        let text = format!("[[dataset]]\nname='a'\nsource={{kind='tiff',url='https://h/a'}}\n[host.\"h\"]\n{line}\n");
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("my.toml:5:"), "{line}: {error}");
    }
}

#[test]
fn names_that_would_clash_are_errors() {
    let named = |name: &str| {
        parse(&format!("[[dataset]]\nname = \"{name}\"\nsource = {{ kind = \"tiff\", url = \"https://h/a\" }}\n"))
    };
    for good in ["a", "A.b_c-d", "9", "em", "zarr"] {
        assert!(named(good).is_ok(), "{good}");
    }
    for bad in ["", ".a", "-a", "a/b", "a b", "a.zarr", "a.ZARR.b", "metadata.json", "Readme.md", "ü", "..", "a:b"] {
        assert!(named(bad).unwrap_err().to_string().starts_with("my.toml:2:8: name: "), "{bad}");
    }
    let twice = "[[dataset]]\nname='a'\nsource={kind='tiff',url='https://h/a'}\n[[dataset]]\nname='A'\nsource={kind='tiff',url='https://h/a'}";
    assert!(parse(twice).unwrap_err().to_string().starts_with("my.toml:5:6: name: `A` is taken"));
}

#[test]
fn images_labels_and_views_have_names_of_their_own() {
    let with = |rest: &str| {
        parse(&format!("[[dataset]]\nname='a'\nsource={{kind='tiff',url='https://h/a'}}\n{rest}\n"))
            .map_err(|e| e.to_string())
    };
    let image = |name: &str| format!("[[dataset.image]]\nname='{name}'\nsource={{kind='tiff',url='b.tif'}}\n");
    assert!(with(&image("em")).unwrap_err().contains("`em` is the image of [dataset.source]"));
    assert!(with(&image("Upper")).unwrap_err().contains("name: `Upper` must be"));
    assert!(with(&image("a.b")).unwrap_err().contains("name: `a.b` must be"));
    assert!(with(&(image("b") + &image("b"))).unwrap_err().contains("`b` is taken by another image"));
    let label = "{name='m',source={kind='tiff',url='m.tif'}}";
    assert!(with(&format!("{}labels=[{label},{label}]", image("b"))).unwrap_err().contains("taken by another label"));
    let view =
        |name: &str, image: &str| format!("[[dataset.view]]\nname='{name}'\nimage='{image}'\ncrop='z0-1_y0-1_x0-1'\n");
    let ok = with(&view("sample", "em")).unwrap();
    assert_eq!(
        (ok.datasets[0].views[0].image, ok.datasets[0].views[0].crop),
        (0, Region { start: [0; 3], end: [1; 3] })
    );
    assert!(with(&view("sample", "raw")).unwrap_err().contains("image: there is no image `raw`"));
    assert!(with(&(image("b") + &view("b", "em"))).unwrap_err().contains("taken by another image or view"));
}

#[test]
fn the_crop_of_a_view_that_is_no_box_is_told_with_its_line() {
    let text =
        "[[dataset]]\nname='a'\nsource={kind='tiff',url='https://h/a'}\n[[dataset.view]]\nname='v'\nimage='em'\n";
    let with = |crop: &str| parse(&format!("{text}crop='{crop}'\n")).unwrap_err().to_string();
    assert!(with("z0-4").contains(":7:6: crop: `z0-4` is no box"), "{}", with("z0-4"));
    assert!(with("z1-1_y0-1_x0-1").contains(":7:6: crop: z 1-1 is empty"), "{}", with("z1-1_y0-1_x0-1"));
}

#[test]
fn a_dataset_without_voxels_is_an_error() {
    assert!(parse("").unwrap_err().to_string().contains("no [[dataset]]"));
    assert!(parse("[[dataset]]\nname = \"a\"\n").unwrap_err().to_string().contains("neither a [dataset.source]"));
}

#[test]
fn a_missing_file_is_named() {
    let error = Catalog::load(Path::new("/nonexistent/c.toml")).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/c.toml: No such file"), "{error}");
}

#[test]
fn an_unknown_dataset_names_the_known_ones() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let error = Catalog::builtin().unwrap().select(&names(&["hemi"])).unwrap_err().to_string();
    assert!(error.contains("`hemi`") && error.contains("epfl-hippocampus"), "{error}");
    let one = Catalog::builtin().unwrap().select(&names(&["jrc_mus-nacc-2"])).unwrap();
    assert_eq!(one.datasets.len(), 1);
    assert_eq!(Catalog::builtin().unwrap().select(&[]).unwrap().datasets.len(), 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(200)))]

    #[test]
    fn no_text_makes_the_parser_panic(start in 0usize..BUILTIN.len(), end in 0usize..BUILTIN.len(), noise in "\\PC{0,12}") {
        // The built-in file with a hole and a patch: close enough to a catalogue to reach every check.
        let (start, end) = (start.min(end), start.max(end));
        let text = match (BUILTIN.get(..start), BUILTIN.get(end..)) {
            (Some(head), Some(tail)) => format!("{head}{noise}{tail}"),
            _ => noise,
        };
        let _ = parse(&text).map_err(|error| error.to_string());
    }
}

#[test]
fn a_file_that_is_no_utf_8_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, b"# \xc3\xbc\n[[dataset]]\nname = \"\xe9\"\n").unwrap();
    let told = Catalog::load(&path).unwrap_err().to_string();
    assert!(told.contains("my.toml:3:9: ") && told.contains("0xe9") && told.contains("UTF-8"), "{told}");
}

#[test]
fn a_long_bad_value_is_told_in_short() {
    let long = "x".repeat(70_000);
    for text in [
        format!("[[dataset]]\nname = \"v\"\n[dataset.source]\nkind = \"{long}\"\n"),
        format!("[[dataset]]\nname = \"{long}\"\n"),
        format!("[[dataset]]\nname = \"v\"\n{long} = 1\n"),
        format!("[[dataset]]\nname = \"v\"\nsource = {{ kind = \"tiff\", url = \"ftp://{long}\" }}\n"),
        format!(
            "[[dataset]]\nname = \"v\"\nsource = {{ kind = \"tiff\", url = \"https://{long}/a\", channel = \"{long}\" }}\n"
        ),
    ] {
        let told = Catalog::parse(&text, "my.toml", None).unwrap_err().to_string();
        assert!(told.len() < 1000 && told.starts_with("my.toml:"), "{} bytes: {:.300}", told.len(), told);
    }
}

#[test]
fn keys_that_overrule_a_file_are_read_and_their_mistakes_told() {
    let source = |lines: &str| {
        let text =
            format!("[[dataset]]\nname = \"a\"\n[dataset.source]\nkind = \"tiff\"\nurl = \"https://h/v/\"\n{lines}\n");
        parse(&text).unwrap().datasets[0].images[0].source.clone()
    };
    let forced = source("voxel_size = { force = [50, 8.5, 8] }");
    assert_eq!((forced.voxel_size, forced.overrides.voxel_size), (None, Some([50.0, 8.5, 8.0])));
    let missing = source("voxel_size = [50, 8.5, 8]");
    assert_eq!((missing.voxel_size, missing.overrides.voxel_size), (Some([50.0, 8.5, 8.0]), None));
    let keys = "order = \"natural\"\npattern = 'r01b_(\\d+)'\ngaps = \"blank\"\naxes = \"tyx\"\ntruncated = \"show\"";
    let Overrides { order, pattern, blank_gaps, z_axis, show_truncated, .. } = source(keys).overrides;
    assert_eq!((order, blank_gaps, z_axis, show_truncated), (Some(SectionOrder::Natural), true, Some('t'), true));
    assert!(pattern.is_some_and(|pattern| pattern.as_str() == "r01b_(\\d+)"));
    for (lines, expected) in [
        ("order = \"size\"", "order: `size` must be \"natural\", \"number\" or \"listed\""),
        ("pattern = 's_\\d+'", "pattern: must have one group"),
        ("pattern = 's_(\\d+'", "pattern: "),
        ("gaps = \"zero\"", "gaps: `zero` must be \"blank\""),
        ("axes = \"xyz\"", "axes: `xyz` must be the name of the axis that is z"),
        ("truncated = \"hide\"", "truncated: `hide` must be \"show\""),
        ("voxel_size = { force = [1, 2] }", "my.toml:6"),
        ("voxel_size = { forced = [1, 2, 3] }", "force"),
        ("voxel_size = { force = [1, 2, 0] }", "voxel_size: must be three numbers of nanometres above 0"),
        ("voxel_size = 3", "three numbers of nanometres, [z, y, x], or { force"),
    ] {
        let error = source_error(&format!("kind = \"tiff\"\nurl = \"https://h/v/\"\n{lines}"));
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
    let error = source_error("kind = \"dm3\"\nurl = \"https://h/v/\"\naxes = \"tyx\"");
    assert!(error.contains("axes: a source of kind `dm3` has no such key"), "{error}");
}
