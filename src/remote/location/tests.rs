use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> String {
    Location::parse(text, Some(Path::new("/data/here"))).unwrap().to_string()
}

fn reason(text: &str) -> String {
    Location::parse(text, Some(Path::new("/data"))).unwrap_err().reason
}

#[test]
fn a_folder_name_that_begins_with_a_space_is_encoded_once() {
    let address = "https://h.org/data/%20Electron/a.tif";
    assert_eq!(parsed("https://h.org/data/ Electron/a.tif"), address);
    assert_eq!(parsed(address), address);
    assert_eq!(parsed("https://h.org/data/%2520Electron/a.tif"), "https://h.org/data/%2520Electron/a.tif");
    let folder = Location::parse("https://h.org/data/%20Electron/", None).unwrap();
    assert_eq!(folder.join("a.tif").to_string(), address);
}

#[test]
fn paths_start_at_the_folder_of_the_configuration() {
    assert_eq!(parsed("em/a b%20.tif"), "file:///data/here/em/a%20b%2520.tif");
    assert_eq!(parsed("/abs/x"), "file:///abs/x");
    assert_eq!(parsed("file:///abs/x%20y"), "file:///abs/x%20y");
    let location = Location::parse("../up/a#b?c", Some(Path::new("/data/here"))).unwrap();
    assert_eq!(location.url.to_file_path().unwrap(), Path::new("/data/here/../up/a#b?c"));
    assert!(Location::parse("relative", None).is_err());
}

#[test]
fn buckets_and_keys_are_kept() {
    assert_eq!(parsed("s3://janelia-cosem-datasets/jrc/jrc.zarr"), "s3://janelia-cosem-datasets/jrc/jrc.zarr");
    assert_eq!(parsed("s3://b-1.x/a b%20c"), "s3://b-1.x/a%20b%20c");
}

#[test]
fn addresses_that_cannot_be_read_say_why() {
    assert!(reason("ftp://h/x").contains("ftp"));
    assert!(reason("s3:bucket/x").contains("bucket"));
    assert!(reason("s3:///x").contains("bucket"));
    assert!(reason("s3://bucket:9000/x").contains("endpoint"));
    assert!(reason("https://user:word@h/x").contains("password"));
    assert!(reason("https://h/x#y").contains("%23"));
    assert!(reason("s3://b/x?y").contains("%3F"));
    assert!(reason("https://h/x ").contains("%20"));
    assert!(reason("file://elsewhere/x").contains("machine"));
    assert!(reason("https://h/a\nb").contains("control"));
    assert!(reason("").contains("empty"));
    assert!(reason("https://").contains("host"));
    assert!(reason("nifti://http://h/x").contains("`nifti`"));
    assert!(reason("s3://https://h/b/k").contains("behind `s3://`"));
    assert!(reason("https://http://h/x").contains("write that one alone"));
}

#[test]
fn a_key_is_encoded_and_stays_in_the_folder() {
    let folder = Location::parse("s3://bucket/a.zarr", None).unwrap();
    assert_eq!(folder.join("s0/0.0.0").to_string(), "s3://bucket/a.zarr/s0/0.0.0");
    assert_eq!(folder.join("x y%20?#").to_string(), "s3://bucket/a.zarr/x%20y%2520%3F%23");
    assert_eq!(folder.join("../../b/./c").to_string(), "s3://bucket/a.zarr/b/c");
    let bare = Location::parse("s3://bucket", None).unwrap();
    assert_eq!(bare.join("k").to_string(), "s3://bucket/k");
    let listing = Location::parse("https://h/p?token=1", None).unwrap();
    assert_eq!(listing.join("k").url.as_str(), "https://h/p/k?token=1");
}

#[test]
fn what_gives_access_is_not_shown() {
    for (given, shown) in [
        ("https://h/p?token=1", "https://h/p?token=…"),
        (
            "https://h/p?list-type=2&X-Amz-Signature=abc&X-Amz-Date=3",
            "https://h/p?list-type=2&X-Amz-Signature=…&X-Amz-Date=3",
        ),
        ("https://h/p?type=map&image=9846137", "https://h/p?type=map&image=9846137"),
        (
            "https://h/p?sv=2024-11-04&ST=1&se=2&sr=b&sp=r&spr=https&sip=3&sig=4&page=5",
            "https://h/p?sv=…&ST=…&se=…&sr=…&sp=…&spr=…&sip=…&sig=…&page=5",
        ),
        ("https://h/api/plane?code=abc&decode=1", "https://h/api/plane?code=…&decode=1"),
        ("https://h/p?key", "https://h/p?key"),
        ("https://h/p", "https://h/p"),
    ] {
        assert_eq!(Location::parse(given, None).unwrap().to_string(), shown);
    }
}

#[test]
fn a_file_whose_name_has_a_tab_or_the_end_of_a_line_is_not_the_one_without() {
    let folder = Location::parse("/data", None).unwrap();
    for name in ["s\t1.tif", "s1.tif\n", "\rs1.tif", "a b\t%20#?é.tif"] {
        assert_eq!(folder.join(name).url.to_file_path().unwrap(), Path::new("/data").join(name));
    }
    assert_eq!(folder.join("../x\t/./y").url.to_file_path().unwrap(), Path::new("/data/x\t/y"));
}

#[test]
fn an_address_that_is_refused_is_told_as_it_was_written() {
    for text in ["nifti://http://127.0.0.1:80/a b.nii.gz", "x://y://z://", "FTP://H/ä", "a b", "x+y://h?page=3"] {
        assert_eq!(shown_text(text), text);
        assert_eq!(Location::parse(text, None).unwrap_err().text, text);
    }
    for (text, told) in [
        ("nifti://http://u:w@h/a?token=3&page=4", "nifti://http://%E2%80%A6@h/a?token=…&page=4"),
        ("x://y://ftp://h/a?sig=3", "x://y://ftp://h/a?sig=…"),
    ] {
        assert_eq!(shown_text(text), told);
    }
}

/// Names of the given form, but for the two that mean a folder.
fn named(form: &'static str) -> impl Strategy<Value = String> {
    form.prop_map(|name| if matches!(name.as_str(), "." | "..") { format!("{name}x") } else { name })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(256)))]

    #[test]
    fn a_key_below_a_folder_is_read_back_as_it_was(key in named("[^/\u{0}]{1,20}")) {
        for folder in ["https://h/a/", "s3://b/a", "file:///a"] {
            let joined = Location::parse(folder, None).unwrap().join(&key);
            let last = joined.url.path_segments().unwrap().next_back().unwrap().to_owned();
            let decoded = percent_encoding::percent_decode_str(&last).decode_utf8().unwrap().into_owned();
            prop_assert_eq!(&decoded, &key, "{}", folder);
            let again = Location::parse(joined.url.as_str(), None).unwrap();
            prop_assert_eq!(again.url, joined.url);
        }
    }

    #[test]
    fn no_text_breaks_the_parser(text in "((https?|s3|gs|file|zarr):/{0,3})?.{0,40}") {
        let _ = Location::parse(&text, Some(Path::new("/data")));
    }

    #[test]
    fn a_path_is_read_back_as_it_was(name in named("[^/\u{0}-\u{1f}\u{7f}-\u{9f}:]{1,20}")) {
        let location = Location::parse(&name, Some(Path::new("/data"))).unwrap();
        prop_assert_eq!(location.url.to_file_path().unwrap(), Path::new("/data").join(&name));
    }
}
