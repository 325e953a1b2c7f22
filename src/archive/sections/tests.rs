use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::*;

#[tokio::test]
async fn what_macos_leaves_beside_each_file_is_no_section() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..3 {
        std::fs::write(folder.path().join(format!("s{number}.dm3")), b"x").unwrap();
        std::fs::write(folder.path().join(format!("._s{number}.dm3")), b"x").unwrap();
    }
    let remote = Remote::new(Default::default(), Duration::from_secs(10), Default::default()).unwrap();
    let location = Location::parse(folder.path().to_str().unwrap(), None).unwrap();
    let rules = Rules { formats: &[ArchiveFormat::Dm], promised: None, overrides: &Overrides::default() };
    let names = find(&remote, &location, rules).await.unwrap().names;
    assert_eq!(names, ["s0.dm3", "s1.dm3", "s2.dm3"].map(|name| Some(name.to_owned())));
}

/// What is found in a folder of such files.
async fn found(files: &[&[u8]], format: ArchiveFormat, pattern: Option<&str>) -> Result<Vec<String>, String> {
    let folder = tempfile::tempdir().unwrap();
    for name in files {
        std::fs::write(folder.path().join(OsStr::from_bytes(name)), b"x").unwrap();
    }
    let remote = Remote::new(Default::default(), Duration::from_secs(10), Default::default()).unwrap();
    let location = Location::parse(folder.path().to_str().unwrap(), None).unwrap();
    let pattern = pattern.map(|pattern| regex::Regex::new(pattern).unwrap());
    let overrides = Overrides { pattern, ..Overrides::default() };
    let rules = Rules { formats: format.alone(), promised: None, overrides: &overrides };
    let sections = find(&remote, &location, rules).await.map_err(|error| error.to_string())?;
    Ok(sections.names.into_iter().flatten().collect())
}

#[tokio::test]
async fn a_name_that_is_no_text_is_refused_unless_the_pattern_leaves_it_out() {
    let files: [&[u8]; 4] = [b"S_00.tif", b"S_01.tif", b"S\xe4_02.tif", b"note\xe4.txt"];
    let error = found(&files, ArchiveFormat::Tiff, None).await.unwrap_err();
    assert!(error.contains("1 files have names that are no text in UTF-8, as `S\\xe4_02.tif`"), "{error}");
    assert!(found(&files, ArchiveFormat::Tiff, Some(r"S.*_(\d+)")).await.is_err());
    let chosen = found(&files, ArchiveFormat::Tiff, Some(r"S_(\d+)")).await;
    assert_eq!(chosen.unwrap(), ["S_00.tif", "S_01.tif"]);
    let others: [&[u8]; 3] = [b"S_00.tif", b"S_01.tif", b"note\xe4.txt"];
    assert_eq!(found(&others, ArchiveFormat::Tiff, None).await.unwrap(), ["S_00.tif", "S_01.tif"]);
    let only: [&[u8]; 1] = [b"S\xe4_02.tif"];
    assert!(found(&only, ArchiveFormat::Tiff, None).await.unwrap_err().contains("no text in UTF-8"));
}

#[tokio::test]
async fn files_of_another_ending_or_format_are_not_left_out_where_their_numbers_are_missing() {
    let of = async |names: &[&str], format: ArchiveFormat, pattern: Option<&str>| {
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        found(&names, format, pattern).await
    };
    for (files, format) in [
        (["s0.mrc", "s1.mrc", "s2.map", "s3.map"], ArchiveFormat::Mrc),
        (["s0.tif", "s1.tif", "s2.btf", "s3.btf"], ArchiveFormat::Tiff),
        (["s0.tif", "s1.tif", "s2.dm3", "s3.dm3"], ArchiveFormat::Tiff),
        (["s0.dm3", "s1.dm3", "s2.tif", "s3.tif"], ArchiveFormat::Dm),
        (["s0.tif", "s1.dm3", "s2.tif", "s3.dm3"], ArchiveFormat::Tiff),
    ] {
        let error = of(&files, format, None).await.unwrap_err();
        assert!(error.contains("pattern") && !error.contains("gaps"), "{files:?}: {error}");
    }
    let mixed = ["s0.tif", "s1.tif", "s2.dm3"];
    assert!(of(&mixed, ArchiveFormat::Tiff, Some(r"s(\d+)")).await.unwrap_err().contains("1 files of another format"));
    assert_eq!(of(&mixed, ArchiveFormat::Tiff, Some(r"s(\d+)\.tif$")).await.unwrap(), ["s0.tif", "s1.tif"]);
    // Pictures of the sections, and what is no section.
    let pictures = ["s0.dm3", "s1.dm3", "s0.tif", "s1.tif", "overview.tif", "s2.txt"];
    assert_eq!(of(&pictures, ArchiveFormat::Dm, None).await.unwrap(), ["s0.dm3", "s1.dm3"]);
}

#[tokio::test]
async fn sections_are_found_by_every_ending_of_their_format() {
    for (ending, format) in [
        ("mrc", ArchiveFormat::Mrc),
        ("mrcs", ArchiveFormat::Mrc),
        ("map", ArchiveFormat::Mrc),
        ("rec", ArchiveFormat::Mrc),
        ("ST", ArchiveFormat::Mrc),
        ("tif", ArchiveFormat::Tiff),
        ("btf", ArchiveFormat::Tiff),
        ("tf8", ArchiveFormat::Tiff),
        ("dm4", ArchiveFormat::Dm),
    ] {
        let files: Vec<String> = (0..3).map(|number| format!("s{number}.{ending}")).collect();
        let names: Vec<&[u8]> = files.iter().map(String::as_bytes).collect();
        assert_eq!(found(&names, format, None).await.unwrap(), files);
    }
    // Of several formats that may be meant, an ending that others use as well says least.
    let listed = async |names: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| std::fs::write(folder.path().join(name), b"x").unwrap());
        let remote = Remote::new(Default::default(), Duration::from_secs(10), Default::default()).unwrap();
        let location = Location::parse(folder.path().to_str().unwrap(), None).unwrap();
        let rules = Rules { formats: &ArchiveFormat::ALL, promised: None, overrides: &Overrides::default() };
        find(&remote, &location, rules).await.unwrap().format
    };
    assert_eq!(listed(&["s0.tif", "s1.tif", "site.map"]).await, ArchiveFormat::Tiff);
    assert_eq!(listed(&["s0.map", "s1.map"]).await, ArchiveFormat::Mrc);
}
