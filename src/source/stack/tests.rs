use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures::FutureExt;

use super::*;
use crate::dtype::{DataType, FillValue};
use crate::geometry::Grid;
use crate::remote::{Cause, Location, RemoteError};
use crate::source::{SourceLevel, StorageFormat};
use crate::store::{Remote, healed, past_caches};

/// A file of a plane.
struct Plane {
    object: Object,
    start: u64,
    description: Description,
}

impl Source for Plane {
    fn description(&self) -> &Description {
        &self.description
    }

    fn locate(&self, _level: LevelIndex, _block: CellIndex) -> BoxFuture<'_, Result<Placement, SourceError>> {
        let (object, start) = (self.object.clone(), self.start);
        Box::pin(std::future::ready(Ok(Placement::Range { object, start, length: 1 })))
    }

    fn decode(&self, _level: LevelIndex, _block: CellIndex, raw: Bytes) -> Result<Bytes, SourceError> {
        Ok(raw)
    }
}

/// Where a header that makes no sense has its voxels, and how late it comes.
const WRONG: u64 = 16;
const LATE: Duration = Duration::from_millis(300);

/// What the file of a number is: `a` and `b` are planes of two forms, `s` a stack, `!` makes no sense, `?` once, past no cache,
/// `t` cannot be asked, `-` is not there, `w` has its voxels at a wrong place (16) in the answer of a cache, which comes late.
struct Folder {
    remote: Remote,
    files: &'static str,
    opened: Arc<AtomicUsize>,
}

impl Folder {
    fn new(files: &'static str) -> Self {
        let remote = Remote::new(Default::default(), Duration::from_secs(10), Default::default()).unwrap();
        Folder { remote, files, opened: Arc::default() }
    }

    fn objects(&self) -> Vec<Option<Object>> {
        let object = |(number, _)| {
            let location = Location::parse(&format!("/no/such/folder/{number}"), None).unwrap();
            Some(self.remote.object(&location).unwrap())
        };
        self.files.char_indices().map(object).collect()
    }

    fn opener(&self) -> Opener {
        let (files, opened) = (self.files, self.opened.clone());
        Arc::new(move |object: Object, _| {
            opened.fetch_add(1, Ordering::Relaxed);
            let url = object.url().to_owned();
            let number: usize = url.rsplit('/').next().unwrap().parse().unwrap();
            let failed = |cause| SourceError::Remote(RemoteError { url: url.clone(), range: None, attempts: 1, cause });
            let is_wrong = files.as_bytes()[number] == b'w' && !is_past_caches();
            let start = if is_wrong { WRONG } else { 0 };
            let plane = |shape| {
                let grid = Grid { shape: Shape(shape), cell: Shape([1, shape[1], shape[2]]) };
                let description = Description {
                    dtype: DataType::U8,
                    levels: vec![SourceLevel { grid, scale: None, translation: [0.0; 3], offset: [0; 3] }],
                    fill: FillValue::zero(DataType::U8),
                    window: None,
                    format: StorageFormat {
                        name: "planes".into(),
                        is_uncompressed: true,
                        is_plain: true,
                        left_out: Vec::new(),
                        unwritten: None,
                    },
                    downsampling: None,
                    chunked: false,
                };
                Ok(Arc::new(Plane { object: object.clone(), start, description }) as Arc<dyn Source>)
            };
            let answer = match files.as_bytes()[number] {
                b'a' | b'w' => plane([1, 4, 5]),
                b'?' if is_past_caches() => plane([1, 4, 5]),
                b'b' => plane([1, 8, 10]),
                b's' => plane([6, 4, 5]),
                b't' => Err(failed(Cause::Timeout { seconds: 60, before: None })),
                b'-' => Err(failed(Cause::NotFound)),
                _ => Err(SourceError::malformed(url.clone(), "header", "makes no sense")),
            };
            async move {
                if is_wrong {
                    tokio::time::sleep(LATE).await;
                }
                answer
            }
            .boxed()
        })
    }

    async fn open(&self) -> Result<Stack, SourceError> {
        healed(|| open(self.objects(), self.opener())).await
    }

    /// Which sections can be read, as letters of them and `.` for others, and the plane's rows; or why none can.
    async fn shown(files: &'static str) -> Result<(String, u64), String> {
        let folder = Folder::new(files);
        let stack = folder.open().await.map_err(|error| error.to_string())?;
        let Shape([depth, rows, _]) = stack.description().levels[0].grid.shape;
        assert_eq!(depth, files.len() as u64, "those that cannot be read keep their place");
        let mut shown = String::new();
        for (z, file) in files.char_indices() {
            let placed = healed(|| stack.locate(LevelIndex(0), CellIndex([z as u64, 0, 0]))).await;
            match placed {
                Ok(Placement::Range { object, .. }) => {
                    assert!(object.url().ends_with(&format!("/{z}")));
                    shown.push(file);
                }
                Ok(_) => panic!("{z} is not absent"),
                Err(error) => {
                    assert!(error.to_string().contains(&format!("/{z}")), "{error}");
                    shown.push('.');
                }
            }
        }
        Ok((shown, rows))
    }
}

#[tokio::test]
async fn a_first_or_last_section_that_is_bad_is_an_error_for_its_own_blocks() {
    for (files, shown) in [
        ("!aaaa", ".aaaa"),
        ("aaaa!", "aaaa."),
        ("aa!aa", "aa.aa"),
        ("!-!a!", "...a."),
        ("-aaaa", ".aaaa"),
        ("aaaa-", "aaaa."),
        ("aaaat", "aaaa."),
        ("saaa", ".aaa"),
        ("aaas", "aaa."),
        ("!a", ".a"),
        ("a!", "a."),
    ] {
        assert_eq!(Folder::shown(files).await, Ok((shown.to_owned(), 4)), "{files}");
    }
}

#[tokio::test]
async fn a_first_or_last_section_unlike_all_others_is_the_one_that_is_left_out() {
    for (files, shown, rows) in [
        ("baaa", ".aaa", 4),
        ("abbb", ".bbb", 8),
        ("aaab", "aaa.", 4),
        ("b!aa", "..aa", 4),
        ("!baaa", "..aaa", 4),
        ("aab", "aa.", 4),
    ] {
        assert_eq!(Folder::shown(files).await, Ok((shown.to_owned(), rows)), "{files}");
    }
    for files in ["ab", "a!b", "assb"] {
        let error = Folder::shown(files).await.unwrap_err();
        assert!(error.contains("uint8 of 1×8×10 (z×y×x), unlike uint8 of 1×4×5 in"), "{files}: {error}");
    }
}

#[tokio::test]
async fn where_all_of_the_first_few_are_bad_the_first_ones_error_is_told() {
    for (files, expected) in [
        ("!-!!a", "/0: header: makes no sense"),
        ("-!!!a", "/0 failed after 1 attempt: not found"),
        ("!", "/0: header: makes no sense"),
        (
            "sssss",
            "/0: image: a stack in each of several files is not supported; write each file as an image of its own",
        ),
    ] {
        let error = Folder::shown(files).await.unwrap_err();
        assert!(error.contains(expected), "{files}: {error}");
    }
}

#[tokio::test]
async fn no_volume_has_another_model_because_its_server_cannot_be_asked() {
    assert!(Folder::shown("taaa").await.unwrap_err().contains("/0 failed after 1 attempt: no progress for 60 s"));
    // Not even where another file is bad for sure; that one's error is told.
    assert!(Folder::shown("!taa").await.unwrap_err().contains("/0: header: makes no sense"));
    assert!(Folder::shown("btaa").await.unwrap_err().contains("unlike"));
}

#[tokio::test]
async fn a_bad_answer_of_a_cache_leaves_no_section_out() {
    for files in ["?aaa", "aaa?", "?", "?a?"] {
        let folder = Folder::new(files);
        let stack = folder.open().await.unwrap();
        assert!(stack.files.like.ends_with("/0"), "{files}: {} is the model", stack.files.like);
        let before = folder.opened.load(Ordering::Relaxed);
        stack.locate(LevelIndex(0), CellIndex([files.len() as u64 - 1, 0, 0])).await.unwrap();
        assert_eq!(folder.opened.load(Ordering::Relaxed), before, "{files}: the last one is open");
    }
}

/// Where the second section has its voxels.
async fn place(stack: &Stack) -> u64 {
    match stack.locate(LevelIndex(0), CellIndex([1, 0, 0])).await.unwrap() {
        Placement::Range { start, .. } => start,
        _ => panic!("it is in a file"),
    }
}

#[tokio::test]
async fn a_section_whose_blocks_make_no_sense_is_opened_past_every_cache() {
    let folder = Folder::new("awaa");
    let stack = folder.open().await.unwrap();
    assert_eq!(place(&stack).await, WRONG);
    assert_eq!(past_caches(place(&stack)).await, 0);
    assert_eq!(place(&stack).await, 0);
    // Its blocks are many, and each of them may make no sense: it is opened once for all of them.
    let opened = folder.opened.load(Ordering::Relaxed);
    for _ in 0..4 {
        assert_eq!(past_caches(place(&stack)).await, 0);
    }
    assert_eq!(folder.opened.load(Ordering::Relaxed), opened);
    tokio::time::sleep(FAILURE_REMEMBERED).await;
    past_caches(place(&stack)).await;
    assert_eq!(folder.opened.load(Ordering::Relaxed), opened + 1);
}

#[tokio::test]
async fn who_heals_a_section_does_not_wait_for_a_cache_and_what_is_healed_stays() {
    let folder = Folder::new("awaa");
    let stack = folder.open().await.unwrap();
    let (wrong, right) = tokio::join!(place(&stack), past_caches(place(&stack)));
    assert_eq!((wrong, right), (WRONG, 0));
    assert_eq!(place(&stack).await, 0);
}

#[tokio::test]
async fn why_a_section_could_not_be_opened_is_forgotten_after_a_moment() {
    let folder = Folder::new("a!!!a");
    let stack = folder.open().await.unwrap();
    for z in 1..3 {
        assert!(stack.locate(LevelIndex(0), CellIndex([z, 0, 0])).await.is_err());
    }
    assert!(stack.files.failed.get(&1).is_some() && stack.files.failed.get(&2).is_some());
    tokio::time::sleep(FAILURE_REMEMBERED).await;
    assert!(stack.locate(LevelIndex(0), CellIndex([3, 0, 0])).await.is_err());
    assert!(stack.files.failed.get(&1).is_none() && stack.files.failed.get(&3).is_some());
}
