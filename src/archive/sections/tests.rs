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
