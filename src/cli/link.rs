//! `emfs link`.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, StatusCode};

use super::config::ConfigArgs;
use super::mounted::Meant;
use super::output::{eprint_line, print};
use super::session::{CacheArgs, finish};
use super::web::ADDRESS;
use super::{CliError, mounted, target};
use crate::catalog::{Catalog, MAIN_IMAGE};
use crate::daemon::{self, Settings};
use crate::geometry::Region;
use crate::http::viewers::{Link, Viewer};
use crate::http::{Access, Described, DescriptionError, Site};
use crate::stats::Stats;
use crate::view::ViewSpec;
use crate::zarr::StoreName;

/// How long a server may take for a document: it may have to open the image first.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to answer at all.
const CONNECTING: Duration = Duration::from_secs(3);

/// Longest document that is taken.
const MAX_DOCUMENT: usize = 16 << 20;

/// Memory for describing an image without a server.
const MEMORY: u64 = 256 << 20;

/// Print a link that opens an image in a viewer.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is needed is asked of the server; where none answers yet, of the archive, for a link that works once `emfs serve` runs
with the same --config.

Examples:
  emfs link hemibrain                                 neuroglancer: window, units, place, labels
  emfs link hemibrain --at 17000,19000,16000 --open   at a voxel (z, y, x), in the browser
  emfs link epfl-hippocampus/training --viewer napari
  emfs link hemibrain --crop z17000-17500_y19000-19500_x16000-16500 --viewer vizarr")]
pub(super) struct LinkArgs {
    /// DATASET or DATASET/NAME, or a path to one in a mount; the image `em` and the ending may be left out
    name: String,
    /// neuroglancer, vizarr, validator, napari, fiji, webknossos or python
    #[arg(long, value_name = "VIEWER", default_value = "neuroglancer")]
    viewer: Viewer,
    /// The voxel of the finest level to look at [default: the middle]
    #[arg(long, value_name = "Z,Y,X", value_parser = voxel)]
    at: Option<[u64; 3]>,
    /// Only this box of the image, in voxels of its finest level: zA-B_yA-B_xA-B
    #[arg(long, value_name = "BOX", value_parser = |text: &str| ViewSpec::parse_box(text))]
    crop: Option<Region>,
    /// Where `emfs serve` is, with its token where it has one: `http://HOST:PORT/TOKEN/`
    #[arg(long, value_name = "URL", default_value_t = format!("http://{ADDRESS}/"))]
    server: String,
    /// Another copy of the viewer's page, such as one of your own
    #[arg(long, value_name = "URL")]
    page: Option<String>,
    /// Open it in the browser, too
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Reads three indices.
fn voxel(text: &str) -> Result<[u64; 3], String> {
    let voxel = text.split(',').map(|index| index.trim().parse().ok()).collect::<Option<Vec<u64>>>();
    voxel.and_then(|voxel| voxel.try_into().ok()).ok_or_else(|| format!("`{text}` is no voxel; write z,y,x"))
}

/// The complete name of a store, of which a box may be all that is wanted.
fn store(name: &str, crop: Option<Region>) -> Result<String, CliError> {
    let store = target::complete(name);
    let Some(crop) = crop else { return Ok(store) };
    let named = StoreName::parse(&store).map_err(|error| CliError::Usage(format!("{name}: {error}")))?;
    if named.view.crop.is_some() {
        return Err(CliError::Usage(format!("{name} is a crop already; --crop is for images")));
    }
    Ok(StoreName { view: ViewSpec { crop: Some(crop), ..named.view }, ..named }.to_string())
}

/// Prints the link.
pub(super) fn run(args: &LinkArgs) -> Result<(), CliError> {
    let server = url::Url::parse(&args.server).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let server =
        server.ok_or_else(|| CliError::Usage(format!("{} is no address such as http://{ADDRESS}/", args.server)))?;
    if args.open && !args.viewer.is_page() {
        return Err(CliError::Usage(format!("{} is no page that a browser could open", args.viewer.name())));
    }
    let Meant { catalog, path: name, cache } = mounted::meant(&args.name, &args.config, &args.cache)?;
    let (dataset, name) =
        name.trim_end_matches('/').split_once('/').unwrap_or((name.trim_end_matches('/'), MAIN_IMAGE));
    let store = store(name, args.crop)?;
    let image = match finish(ask(&server, dataset, &store))? {
        Ok(image) => image,
        Err(Unasked::Nobody(reason)) => {
            eprint_line(&format!("no server answers at {} ({reason}); start one with `emfs serve`", args.server));
            describe((catalog, &cache), dataset, &store)?
        }
        Err(Unasked::Failed(reason)) => return Err(CliError::Failed(format!("{dataset}/{name}: {reason}"))),
    };
    if let (Some(at), Some(finest)) = (args.at, image.finest())
        && (0..3).any(|axis| at[axis] >= finest.grid.shape.0[axis])
    {
        let reason = format!("{dataset}/{name}: --at lies outside its {} voxels (z×y×x)", finest.grid.shape);
        return Err(CliError::Failed(reason));
    }
    if let (Viewer::Vizarr, Some([z, _, _])) = (args.viewer, args.at)
        && z > 0
    {
        eprint_line(&format!("vizarr opens at the first plane; move its slider of z to {z}"));
    }
    let link = Link { server: &args.server, image: &image, at: args.at, page: args.page.as_deref() }.to(args.viewer);
    print(&format!("{link}\n"))?;
    if args.open { open(&link) } else { Ok(()) }
}

/// Why a server did not describe an image.
enum Unasked {
    /// There is none.
    Nobody(String),
    /// It says why.
    Failed(String),
}

/// Asks the server what it shows.
async fn ask(server: &url::Url, dataset: &str, store: &str) -> Result<Described, Unasked> {
    let mut builder = Client::builder().connect_timeout(CONNECTING).timeout(PATIENCE);
    if matches!(server.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|error| Unasked::Failed(error.to_string()))?;
    let base = server.as_str().trim_end_matches('/');
    let fetch = |path: String| {
        let request = client.get(format!("{base}/{path}"));
        async move {
            let answer = request.send().await.map_err(|error| match error.is_connect() {
                true => Unasked::Nobody("nothing listens there".to_owned()),
                // Without the address, which may hold a token.
                false => Unasked::Failed(error.without_url().to_string()),
            })?;
            let status = answer.status();
            let told = |text: Bytes| String::from_utf8_lossy(&text).trim_end().to_owned();
            let body = body(answer).await.map_err(Unasked::Failed)?;
            match status {
                StatusCode::OK => Ok(Some(body)),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(Unasked::Failed(format!("the server says {status}: {}", told(body)))),
            }
        }
    };
    Described::read(dataset, store, "", fetch).await.map_err(|error| match error {
        DescriptionError::Unread(unasked) => unasked,
        DescriptionError::Missing(path) => {
            let name = store.strip_suffix(".zarr").unwrap_or(store);
            Unasked::Failed(format!("the server has no {path}; `emfs explain {dataset}/{name}` may say why"))
        }
        DescriptionError::Foreign { path, reason } => Unasked::Failed(format!("{path}: {reason}")),
    })
}

async fn body(mut answer: reqwest::Response) -> Result<Bytes, String> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
        if body.len() + piece.len() > MAX_DOCUMENT {
            return Err("the server sends a document without end".to_owned());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.into())
}

/// Describes an image as a server of the same catalogue would.
fn describe((catalog, cache): (Catalog, &CacheArgs), dataset: &str, store: &str) -> Result<Described, CliError> {
    let catalog = catalog.select(&[dataset.to_owned()])?;
    let settings = Settings { memory: MEMORY, timeout: PATIENCE, cache: cache.cache()?, ..Settings::of(catalog) };
    let runtime = daemon::runtime()?;
    let described = {
        let _inside = runtime.enter();
        let tree = daemon::tree(&settings, Arc::new(Stats::default()))?;
        let site = Site::new(tree, Access::default(), settings.memory, false);
        runtime.block_on(site.describe(dataset, store))
    };
    runtime.shutdown_background();
    if let Some(disk) = &settings.cache.disk {
        disk.flush();
    }
    described.map_err(CliError::Failed)
}

/// Opens an address in the browser.
fn open(link: &str) -> Result<(), CliError> {
    let named = std::env::var_os("BROWSER").filter(|name| !name.is_empty());
    let opener = named.unwrap_or_else(|| if cfg!(target_os = "macos") { "open".into() } else { "xdg-open".into() });
    let started = Command::new(&opener).arg(link).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match started {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CliError::Failed(format!("{}: {status}; open the link yourself", opener.display()))),
        Err(error) => {
            Err(CliError::Failed(format!("{}: {error}; open the link yourself, or set BROWSER", opener.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voxel_is_three_indices() {
        assert_eq!(voxel("1, 2,3"), Ok([1, 2, 3]));
        for wrong in ["", "1,2", "1,2,3,4", "1,2,-3", "1.5,2,3"] {
            assert!(voxel(wrong).is_err(), "{wrong}");
        }
    }
}
