//! `emfs demo`: the replica of the archives, mounted.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::daemon::Signals;
use crate::demo::slice::{self, PlaneSlice};
use crate::demo::{Log, Replica, ReplicaOptions, picture};
use crate::shell::word;

/// Serve a small replica of the archives from inside the binary, mount it and show what is in it.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Where to mount (default: a new temporary directory)
    #[arg(conflicts_with = "serve")]
    mountpoint: Option<PathBuf>,
    /// Without a mount: print a configuration for --config and, at its end, where to look; then wait for Ctrl-C
    #[arg(long)]
    serve: bool,
    /// End when all is shown, rather than wait for Ctrl-C
    #[arg(long, conflicts_with = "serve")]
    once: bool,
    /// Write the replica's access log to stderr
    #[arg(long)]
    log: bool,
    /// Let each answer of the replica wait so long, as if it were far away
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay: u64,
    /// Where the picture goes (default: slices.png in a new temporary directory)
    #[arg(long, value_name = "FILE", conflicts_with = "serve")]
    picture: Option<PathBuf>,
}

/// The dataset that the link of the demo shows.
pub const LINKED: &str = "hemibrain";

/// Where the datasets of the demo are to be seen in a browser.
#[derive(Debug, Default)]
pub struct DemoPages {
    /// A page with all of them.
    pub page: String,
    /// One of them in a viewer.
    pub link: String,
}

/// Runs the demo. `mount` mounts a configuration (TOML) at a directory and serves it; what it returns unmounts when dropped.
/// `serve` only serves it, until what it returns is dropped, and says where.
pub fn run<M, S, E: Display>(
    args: DemoArgs,
    mount: impl FnOnce(&str, &Path) -> Result<(M, DemoPages), E>,
    serve: impl FnOnce(&str) -> Result<(S, String), E>,
) -> ExitCode {
    // From here on a signal ends the demo where it waits, and never leaves a mount behind.
    let result =
        signals().map_err(Failure::Signals).and_then(|ended| demo(&args, &mut io::stdout(), &ended, mount, serve));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("emfs demo: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the replica does not start: {0}")]
    Replica(io::Error),
    #[error("signals cannot be waited for: {0}")]
    Signals(io::Error),
    #[error("{}: {error}", .path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("the replica is not served: {0}")]
    Serve(String),
    #[error("{}: {reason}\nWithout a mount, `emfs demo --serve` shows the same in a browser", .mountpoint.display())]
    Mount { mountpoint: PathBuf, reason: String },
    #[error(transparent)]
    Slice(#[from] slice::SliceError),
    #[error("output: {0}")]
    Output(#[from] io::Error),
}

/// Does what `args` say; `ended` gets a message when the demo shall end.
fn demo<M, S, E: Display>(
    args: &DemoArgs,
    out: &mut impl Write,
    ended: &mpsc::Receiver<()>,
    mount: impl FnOnce(&str, &Path) -> Result<(M, DemoPages), E>,
    serve: impl FnOnce(&str) -> Result<(S, String), E>,
) -> Result<(), Failure> {
    let log = args.log.then(|| Arc::new(|line: &str| eprintln!("{line}")) as Log);
    let options = ReplicaOptions { delay: Duration::from_millis(args.delay), log };
    let replica = Replica::start_with(options).map_err(Failure::Replica)?;
    if args.serve {
        let configuration = replica.catalog_toml();
        let (_serving, url) = serve(&configuration).map_err(|error| Failure::Serve(error.to_string()))?;
        out.write_all(configuration.as_bytes())?;
        writeln!(out, "\n# The same as a page: {url}\n# In neuroglancer: emfs link {LINKED} --server {url} --open")?;
        out.flush()?;
        let _ = ended.recv();
        return Ok(());
    }

    let place = Place::prepare(args)?;
    let (mounted, pages) = mount(&replica.catalog_toml(), &place.mountpoint)
        .map_err(|error| Failure::Mount { mountpoint: place.mountpoint.clone(), reason: error.to_string() })?;
    writeln!(out, "A replica of five archives is mounted at {}", place.mountpoint.display())?;
    let datasets = tree(out, &place.mountpoint)?;
    let slices = datasets.iter().map(|dataset| show(out, &place.mountpoint, dataset)).collect::<Result<Vec<_>, _>>()?;
    let file = &place.picture;
    let named: Vec<_> = datasets.iter().map(String::as_str).zip(slices).collect();
    picture::write(file, &named).map_err(|error| Failure::File { path: file.clone(), error })?;
    writeln!(out, "\n{} shows them side by side: {}", file.display(), datasets.join(", "))?;
    if let Some(dataset) = datasets.first() {
        hints(out, &place.mountpoint.join(dataset).join("em.zarr"))?;
    }
    writeln!(out, "\nThe same as a page: {}\n{LINKED} in neuroglancer: {}", pages.page, pages.link)?;
    if !args.once {
        writeln!(out, "\nCtrl-C ends the demo.")?;
        out.flush()?;
        let _ = ended.recv();
    }
    // The mount goes before the directory it is on, and before the server it reads from.
    drop(mounted);
    drop(place);
    drop(replica);
    Ok(())
}

/// A receiver that gets a message for each signal that shall end the demo.
fn signals() -> io::Result<mpsc::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = Signals::but_ignored_hangup(&runtime)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                signals.next().await;
                if sender.send(()).is_err() {
                    break;
                }
            }
        });
    })?;
    Ok(receiver)
}

/// The directories of the demo. What it made is removed when dropped, but for the picture.
struct Place {
    mountpoint: PathBuf,
    picture: PathBuf,
    made: Vec<PathBuf>,
}

impl Place {
    fn prepare(args: &DemoArgs) -> Result<Self, Failure> {
        if let (Some(mountpoint), Some(picture)) = (&args.mountpoint, &args.picture) {
            return Ok(Place { mountpoint: mountpoint.clone(), picture: picture.clone(), made: Vec::new() });
        }
        let template = std::env::temp_dir().join("emfs-demo-XXXXXX");
        let folder = nix::unistd::mkdtemp(&template)
            .map_err(|errno| Failure::File { path: template.clone(), error: errno.into() })?;
        let mut place = Place {
            mountpoint: folder.join("em"),
            picture: args.picture.clone().unwrap_or_else(|| folder.join("slices.png")),
            made: vec![folder],
        };
        match &args.mountpoint {
            Some(mountpoint) => place.mountpoint.clone_from(mountpoint),
            None => {
                let path = place.mountpoint.clone();
                fs::create_dir(&path).map_err(|error| Failure::File { path: path.clone(), error })?;
                place.made.insert(0, path);
            }
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for folder in &self.made {
            // Fails for the folder of the picture, which stays, and for one that is still mounted.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Prints the datasets, their images and the entries of each; returns the datasets.
fn tree(out: &mut impl Write, mountpoint: &Path) -> Result<Vec<String>, Failure> {
    let mut datasets = Vec::new();
    for (name, is_folder) in entries(mountpoint)? {
        if !is_folder {
            writeln!(out, "  {name}")?;
            continue;
        }
        writeln!(out, "  {name}/")?;
        let folder = mountpoint.join(&name);
        for (image, is_folder) in entries(&folder)? {
            if is_folder {
                let inside: Vec<String> = entries(&folder.join(&image))?.into_iter().map(|(name, _)| name).collect();
                writeln!(out, "    {:<24} {}", format!("{image}/"), inside.join("  "))?;
            } else {
                writeln!(out, "    {image}")?;
            }
        }
        if folder.join("em.zarr").is_dir() {
            datasets.push(name);
        }
    }
    Ok(datasets)
}

/// The names in a directory and whether each is a directory, by name.
fn entries(folder: &Path) -> Result<Vec<(String, bool)>, Failure> {
    let read = || -> io::Result<Vec<(String, bool)>> {
        fs::read_dir(folder)?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), entry.file_type()?.is_dir()))
            })
            .collect()
    };
    let mut names = read().map_err(|error| Failure::File { path: folder.to_owned(), error })?;
    names.sort();
    Ok(names)
}

/// Reads the middle slice of a dataset and says what that took.
fn show(out: &mut impl Write, mountpoint: &Path, dataset: &str) -> Result<PlaneSlice, Failure> {
    let store = mountpoint.join(dataset).join("em.zarr");
    let slice = slice::middle(&store)?;
    writeln!(
        out,
        "read {dataset}/em.zarr/s0 z={}: {}×{} voxels of {}, {} KiB",
        slice.z,
        slice.height,
        slice.width,
        if slice.files == 1 { "1 chunk file".to_owned() } else { format!("{} chunk files", slice.files) },
        slice.bytes / 1024
    )?;
    Ok(slice)
}

/// Three lines that a reader may try.
fn hints(out: &mut impl Write, store: &Path) -> io::Result<()> {
    let (store, word) = (store.display(), word(store));
    writeln!(
        out,
        r#"
Try, while it is mounted:
  python -c "import zarr; print(zarr.open('{store}', mode='r')['s0'][0, :4, :4])"
  python -c "import tensorstore as ts; print(ts.open({{'driver': 'zarr', 'kvstore': 'file://{store}/s0/'}}).result())"
  napari --plugin napari-ome-zarr {word}"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        demo: DemoArgs,
    }

    fn args(text: &str) -> Result<DemoArgs, clap::Error> {
        use clap::Parser;
        Command::try_parse_from(text.split(' ')).map(|command| command.demo)
    }

    #[test]
    fn serving_excludes_what_needs_a_mount() {
        assert!(args("demo --serve --log --delay 20").is_ok());
        for text in ["demo --serve --once", "demo --serve /mnt", "demo --delay -1"] {
            assert!(args(text).is_err(), "{text}");
        }
    }

    /// Runs the demo until its end; a message to end it is there from the start.
    fn shown<E: Display>(
        text: &str,
        mount: impl FnOnce(&str, &Path) -> Result<(), E>,
    ) -> (String, Result<(), Failure>) {
        let (end, ended) = mpsc::channel();
        end.send(()).unwrap();
        let mut out = Vec::new();
        let pages = || DemoPages { page: "http://p/".to_owned(), link: "http://l/#!".to_owned() };
        let mount = |toml: &str, mountpoint: &Path| mount(toml, mountpoint).map(|()| ((), pages()));
        let serve = |_: &str| Ok(((), "http://p/".to_owned()));
        let result = demo(&args(text).unwrap(), &mut out, &ended, mount, serve);
        (String::from_utf8(out).unwrap(), result)
    }

    #[test]
    fn a_mount_that_fails_leaves_no_directory() {
        let mut seen = None;
        let (out, result) = shown("demo", |toml, mountpoint| {
            assert!(toml.contains("jrc_mus-nacc-2") && mountpoint.is_dir());
            seen = Some(mountpoint.to_owned());
            Err("no /dev/fuse")
        });
        let mountpoint = seen.unwrap();
        assert_eq!(
            result.unwrap_err().to_string(),
            format!(
                "{}: no /dev/fuse\nWithout a mount, `emfs demo --serve` shows the same in a browser",
                mountpoint.display()
            )
        );
        assert!(out.is_empty() && !mountpoint.exists() && !mountpoint.parent().unwrap().exists());
    }

    #[test]
    fn a_mounted_replica_is_shown_and_pictured() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("p.png");
        let mountpoint = folder.path().join("em");
        fs::create_dir(&mountpoint).unwrap();
        // A directory of plain files stands for the mount.
        let plain_files = |_: &str, mountpoint: &Path| {
            let store = mountpoint.join("one/em.zarr");
            fs::create_dir_all(store.join("s0/0/0"))?;
            let omero = r#"{"omero": {"channels": [{"window": {"start": 0, "end": 9}}]}}"#;
            fs::write(store.join(".zattrs"), omero)?;
            fs::write(store.join("s0/.zarray"), r#"{"shape": [1, 2, 2], "chunks": [1, 2, 2], "dtype": "|u1"}"#)?;
            fs::write(store.join("s0/0/0/0"), [1, 2, 3, 4])
        };
        let text = format!("demo --picture {} {}", picture.display(), mountpoint.display());
        let (out, result) = shown(&text, plain_files);
        result.unwrap();
        assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
        for line in [
            "    em.zarr/                 .zattrs  s0\n".to_owned(),
            "read one/em.zarr/s0 z=0: 2×2 voxels of 1 chunk file, 0 KiB\n".to_owned(),
            format!("{} shows them side by side: one\n", picture.display()),
            "The same as a page: http://p/\nhemibrain in neuroglancer: http://l/#!\n".to_owned(),
            "Ctrl-C ends the demo.\n".to_owned(),
        ] {
            assert!(out.contains(&line), "{line} in {out}");
        }
        assert!(mountpoint.is_dir(), "a directory of the user stays");
        let (out, _) = shown(&(text + " --once"), plain_files);
        assert!(!out.contains("Ctrl-C"));
    }

    #[test]
    fn serving_prints_the_configuration() {
        let (out, result) = shown("demo --serve", |_, _| Err("not called"));
        result.unwrap();
        assert!(out.parse::<toml::Table>().unwrap().contains_key("dataset"));
        assert!(out.ends_with("page: http://p/\n# In neuroglancer: emfs link hemibrain --server http://p/ --open\n"));
    }
}
