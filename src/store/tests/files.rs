//! Local files.

use std::path::Path;

use super::*;
use crate::remote::Cause;
use crate::store::Witness;

fn object(path: &Path) -> Object {
    let remote = Remote::new(LimitsByHost::default(), TIMEOUT, Arc::default()).unwrap();
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
        assert!(error.unwrap_err().cause.is_invalid());
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
async fn a_name_that_is_there_is_no_absence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let document = path("s/.zarray");
    std::fs::create_dir_all(path("s/folder")).unwrap();
    std::fs::write(&document, b"{}").unwrap();
    std::fs::write(path("s/file"), b"x").unwrap();
    std::os::unix::fs::symlink("../.git/annex/objects/XX/MD5E-s3--abc", path("s/annexed")).unwrap();
    std::os::unix::fs::symlink("/nonexistent/of/another", path("s/away")).unwrap();
    std::os::unix::fs::symlink("file", path("s/well")).unwrap();
    std::os::unix::fs::symlink("folder", path("s/there")).unwrap();
    let remote = Remote::new(LimitsByHost::default(), TIMEOUT, Arc::default()).unwrap();
    let at = |path: &Path| Location::parse(path.to_str().unwrap(), None).unwrap();
    let witness = Witness::new(&remote, &at(&document), 100, b"{}").await;
    for (name, told) in [
        ("s/annexed", "by `git annex get` or `datalad get`"),
        ("s/annexed/0/0", "s/annexed` is a link to `../.git/annex/objects/XX/MD5E-s3--abc`, which is not here"),
        ("s/away", "s/away` is a link to `/nonexistent/of/another`, which is not here"),
        ("s/away/0", "s/away` is a link to `/nonexistent/of/another`, which is not here"),
        ("s/file/0/0", "s/file` is a file in the place of a folder"),
        ("s/well/0", "s/well` is a file in the place of a folder"),
        ("s/folder", "not a regular file"),
    ] {
        let object = remote.object(&at(&path(name))).unwrap();
        let all = object.whole_if_there(10, &witness).await.unwrap_err();
        assert!(all.to_string().contains(told), "{name}: {all}");
        assert!(object.range_if_there(0..1, &witness).await.is_err());
        assert!(object.end_if_there(1, &witness).await.is_err());
    }
    for absent in ["s/none", "s/folder/none", "s/there/none", "s/none/0/0"] {
        let object = remote.object(&at(&path(absent))).unwrap();
        assert!(object.whole_if_there(10, &witness).await.unwrap().is_none(), "{absent}");
    }
    let object = remote.object(&at(&path("s/well"))).unwrap();
    assert_eq!(object.whole_if_there(10, &witness).await.unwrap().unwrap().bytes, b"x"[..]);
    // Documents are looked for below whatever is there, but a link is one that should be.
    let error = remote.object(&at(&path("s/file/.zattrs"))).unwrap().whole(10).await.unwrap_err();
    assert_eq!(error.cause, Cause::NotFound);
    let error = remote.object(&at(&path("s/annexed"))).unwrap().whole(10).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Elsewhere(_)), "{error}");
}

#[tokio::test]
async fn a_pipe_does_not_stop_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(object(&path).start(5).await.unwrap_err().cause, Cause::Protocol(_)));
}

/// Writes over the file, with the time of its content put back.
fn rewrite(path: &Path, content: &[u8]) {
    use std::os::unix::fs::FileExt;

    let file = std::fs::File::options().write(true).open(path).unwrap();
    let times = file.metadata().unwrap();
    file.write_all_at(content, 0).unwrap();
    let times = std::fs::FileTimes::new().set_modified(times.modified().unwrap());
    file.set_times(times).unwrap();
}

#[tokio::test]
async fn a_file_that_was_rewritten_with_its_time_put_back_has_changed_however_soon() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..crate::test_cases(20).min(500) {
        let path = folder.path().join(round.to_string());
        std::fs::write(&path, data(100)).unwrap();
        let object = object(&path);
        // The first look comes right after a change, and the next change right after that.
        assert_eq!(object.range(0..10).await.unwrap().bytes, data(100)[..10]);
        rewrite(&path, &[7; 100]);
        let error = object.range(10..20).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Changed(_)), "{error}");
        assert_eq!(self::object(&path).range(10..20).await.unwrap().bytes, [7; 10][..]);
    }
}

#[tokio::test]
async fn a_file_that_is_rewritten_again_and_again_gives_one_version_or_none() {
    // A page, which is written in one go: a file that is left half written is a version as well.
    const PAGE: usize = 4096;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [0; PAGE]).unwrap();
    let path = file.path().to_owned();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut value = 0u8;
        let pause = |value: u8| stopped.recv_timeout(Duration::from_millis(u64::from(value) % 20));
        while pause(value) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            value = value.wrapping_add(1);
            rewrite(&path, &[value; PAGE]);
        }
    });
    let mut read = 0;
    for _ in 0..crate::test_cases(100).min(2_000) {
        let object = object(file.path());
        // Two requests, so that the second is of the first one's version.
        if let (Ok(start), Ok(rest)) = (object.range(0..10).await, object.range(10..PAGE as u64).await) {
            assert!(start.bytes.iter().chain(&rest.bytes).all(|byte| *byte == start.bytes[0]));
            read += 1;
        }
    }
    assert!(read > 0);
    drop(stop);
    writer.join().unwrap();
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
