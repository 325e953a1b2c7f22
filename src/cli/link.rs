//! `emfs link`.

use std::error::Error;
use std::io;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, StatusCode};
use tokio_rustls::rustls;
use url::Url;

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
    /// The voxel to look at, of the finest level of what NAME is, with --crop too [default: the middle]
    #[arg(long, value_name = "Z,Y,X", value_parser = voxel)]
    at: Option<[u64; 3]>,
    /// Only this box of the image, in voxels of its finest level: zA-B_yA-B_xA-B
    #[arg(long, value_name = "BOX", value_parser = |text: &str| ViewSpec::parse_box(text))]
    crop: Option<Region>,
    /// Where `emfs serve` is, with its token where it has one: `http://HOST:PORT/TOKEN/` [default: where the mount that the
    /// path leads into serves, else http://127.0.0.1:8474/]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Another copy of the viewer's page, such as one of your own
    #[arg(long, value_name = "URL", value_parser = page)]
    page: Option<String>,
    /// Open it in the browser, too
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// Reads the address of a server. What is none is not shown, since it may hold a token.
fn server(text: &str) -> Result<Url, CliError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.filter(|url| url.query().is_none() && url.fragment().is_none());
    url.ok_or_else(|| {
        let form = format!("http://{ADDRESS}/ or https://HOST:PORT/TOKEN/");
        CliError::Usage(format!("--server: that is no address of a server such as {form}"))
    })
}

/// Reads the address of a viewer's page.
fn page(text: &str) -> Result<String, String> {
    match Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https" | "file")) {
        true => Ok(text.to_owned()),
        false => Err("that is no address of a page such as https://example.org/vizarr/".to_owned()),
    }
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

/// The voxel of a box that a voxel of the image is.
fn in_crop(at: [u64; 3], crop: &Region) -> Result<[u64; 3], CliError> {
    match (0..3).all(|axis| (crop.start[axis]..crop.end[axis]).contains(&at[axis])) {
        true => Ok(std::array::from_fn(|axis| at[axis] - crop.start[axis])),
        false => {
            Err(CliError::Usage("--at lies outside of the box of --crop; both are voxels of the image".to_owned()))
        }
    }
}

/// Prints the link.
pub(super) fn run(args: &LinkArgs) -> Result<(), CliError> {
    args.server.as_deref().map(server).transpose()?;
    let at = match (args.at, &args.crop) {
        (Some(at), Some(crop)) => Some(in_crop(at, crop)?),
        (at, _) => at,
    };
    if !args.viewer.is_page() && (args.open || args.page.is_some()) {
        return Err(CliError::Usage(format!("{} is no page that a browser could open", args.viewer.name())));
    }
    let Meant { catalog, path: name, cache, url } = mounted::meant(&args.name, &args.config, &args.cache)?;
    let address = args.server.clone().or(url).unwrap_or_else(|| format!("http://{ADDRESS}/"));
    let url = server(&address)?;
    let (dataset, name) =
        name.trim_end_matches('/').split_once('/').unwrap_or((name.trim_end_matches('/'), MAIN_IMAGE));
    let store = store(name, args.crop)?;
    let image = match finish(ask(&url, dataset, &store))? {
        Ok(image) => image,
        Err(Unasked::Nobody(reason)) => {
            // Without the path, which may hold a token.
            let at = url.origin().ascii_serialization();
            eprint_line(&format!("no server answers at {at} ({reason}); start one with `emfs serve`"));
            describe((catalog, &cache), dataset, &store)?
        }
        Err(Unasked::Untrusted(reason)) => {
            let at = url.origin().ascii_serialization();
            return Err(CliError::Failed(format!(
                "the certificate of {at} is not trusted on this machine ({reason}); name the file of the certificate that \
                 signed it as SSL_CERT_FILE=FILE, or have that installed (one that signs itself has to be made with \
                 basicConstraints=CA:FALSE); the browser has to trust it, too"
            )));
        }
        Err(Unasked::Failed(reason)) => return Err(CliError::Failed(format!("{dataset}/{name}: {reason}"))),
    };
    if let (Some(at), Some(finest)) = (at, image.finest())
        && (0..3).any(|axis| at[axis] >= finest.grid.shape.0[axis])
    {
        let reason = format!("{dataset}/{name}: --at lies outside its {} voxels (z×y×x)", finest.grid.shape);
        return Err(CliError::Failed(reason));
    }
    if let (Viewer::Vizarr, Some([z, _, _])) = (args.viewer, at)
        && z > 0
    {
        eprint_line(&format!("vizarr opens at the first plane; move its slider of z to {z}"));
    }
    let link = Link { server: &address, image: &image, at, page: args.page.as_deref() }.to(args.viewer);
    print(&format!("{link}\n"))?;
    if args.open { open(&link) } else { Ok(()) }
}

/// Why a server did not describe an image.
enum Unasked {
    /// There is none.
    Nobody(String),
    /// Its certificate is signed by nobody who is known here, or for another name.
    Untrusted(String),
    /// It says why.
    Failed(String),
}

/// Asks the server what it shows.
async fn ask(server: &Url, dataset: &str, store: &str) -> Result<Described, Unasked> {
    let mut builder = Client::builder().connect_timeout(CONNECTING).timeout(PATIENCE);
    if matches!(server.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
        builder = builder.no_proxy();
    }
    let client = builder.build().map_err(|error| Unasked::Failed(error.to_string()))?;
    let base = server.as_str().trim_end_matches('/');
    let fetch = |path: String| {
        let request = client.get(format!("{base}/{path}"));
        async move {
            let answer = request.send().await.map_err(|error| match untrusted(&error) {
                Some(reason) => Unasked::Untrusted(reason),
                None if error.is_connect() => Unasked::Nobody("nothing listens there".to_owned()),
                // Without the address, which may hold a token.
                None => Unasked::Failed(error.without_url().to_string()),
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

/// What is wrong with the certificate of a server, where that is why it was not asked.
fn untrusted(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(tls @ rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return Some(tls.to_string());
        }
        // What an error of the system wraps is no source of it.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source());
    }
    None
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
    fn what_is_no_address_is_refused_and_a_token_in_it_is_not_told() {
        for right in ["http://127.0.0.1:8474", "https://h/t0ken/", "http://[::1]:1/"] {
            assert!(server(right).is_ok() && page(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "127.0.0.1:8474/t0ken/",
            "localhost:8474/t0ken/",
            "ftp://h/t0ken",
            "http://h/t0ken?x",
            "http://h/#t0ken",
        ] {
            let error = server(wrong).unwrap_err().to_string();
            assert!(error.contains("no address") && !error.contains("t0ken"), "{error}");
        }
        for wrong in ["", "not a url", "example.org/vizarr", "ftp://x"] {
            assert!(page(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_voxel_to_look_at_is_one_of_the_image_also_where_a_box_is_shown() {
        let crop = Region { start: [10, 20, 30], end: [14, 28, 42] };
        assert_eq!(in_crop([10, 20, 30], &crop).unwrap(), [0, 0, 0]);
        assert_eq!(in_crop([13, 27, 41], &crop).unwrap(), [3, 7, 11]);
        for outside in [[9, 20, 30], [10, 28, 30], [0, 0, 0]] {
            assert!(in_crop(outside, &crop).unwrap_err().to_string().contains("outside of the box of --crop"));
        }
    }

    #[test]
    fn a_voxel_is_three_indices() {
        assert_eq!(voxel("1, 2,3"), Ok([1, 2, 3]));
        for wrong in ["", "1,2", "1,2,3,4", "1,2,-3", "1.5,2,3"] {
            assert!(voxel(wrong).is_err(), "{wrong}");
        }
    }
}
