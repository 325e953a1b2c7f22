//! Local files.

use std::path::Path;

use super::*;
use crate::remote::Cause;

fn object(path: &Path) -> Object {
    let remote = Remote::new(Manners::default(), TIMEOUT, Arc::default()).unwrap();
    remote.object(&Location::parse(path.to_str().unwrap(), None).unwrap()).unwrap()
}

#[tokio::test]
async fn ranges_starts_and_wholes_of_a_file_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(" a file%20#?.tif");
    let all = data(3_000_000);
    std::fs::write(&path, &all).unwrap();
    let object = object(&path);
    for range in [0..1, 5..2_999_999, 2_999_999..3_000_000, 0..3_000_000] {
        let fetched = object.range(range.clone()).await.unwrap();
        assert_eq!(fetched.bytes, all[range.start as usize..range.end as usize]);
        assert_eq!(fetched.total, Some(3_000_000));
    }
    assert_eq!(object.start(10).await.unwrap().bytes, all[..10]);
    assert_eq!(object.start(1 << 40).await.unwrap().bytes, all);
    assert_eq!(object.whole(3_000_000).await.unwrap().bytes, all);
    for error in
        [object.whole(2_999_999).await, object.range(0..3_000_001).await, object.range(3_000_000..3_000_001).await]
    {
        assert!(matches!(error.unwrap_err().cause, Cause::Protocol(_)));
    }
}

#[tokio::test]
async fn an_empty_file_is_empty() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let fetched = object(file.path()).start(10).await.unwrap();
    assert_eq!((fetched.bytes.len(), fetched.total), (0, Some(0)));
    assert!(object(file.path()).whole(10).await.unwrap().bytes.is_empty());
}

#[tokio::test]
async fn a_file_that_is_missing_is_not_found_and_a_folder_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), b"x").unwrap();
    for missing in ["none", "none/none", "file/none"] {
        let error = object(&folder.path().join(missing)).range(0..5).await.unwrap_err();
        assert_eq!((error.cause, error.attempts), (Cause::NotFound, 2));
    }
    assert!(matches!(object(folder.path()).whole(5).await.unwrap_err().cause, Cause::Protocol(_)));
}

#[tokio::test]
async fn a_pipe_does_not_stop_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(object(&path).start(5).await.unwrap_err().cause, Cause::Protocol(_)));
}

#[tokio::test]
async fn a_file_that_was_written_replaced_or_removed_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let changes: [fn(&Path); 3] = [
        |path| std::fs::write(path, data(101)).unwrap(),
        |path| {
            let new = path.with_extension("new");
            std::fs::write(&new, data(100)).unwrap();
            std::fs::rename(&new, path).unwrap();
        },
        |path| std::fs::remove_file(path).unwrap(),
    ];
    for change in changes {
        std::fs::write(&path, data(100)).unwrap();
        let object = object(&path);
        object.range(0..10).await.unwrap();
        change(&path);
        let error = object.range(0..10).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Changed(_) | Cause::Gone(_)), "{error}");
    }
}
