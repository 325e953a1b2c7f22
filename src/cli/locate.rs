//! `emfs locate`.

use std::path::PathBuf;

use futures::future::join_all;
use serde::Serialize;

use super::config::ConfigArgs;
use super::mounted::{self, Meant};
use super::output::{aligned_columns, print};
use super::place::{self, ImagePart, ImagePlace};
use super::session::{CacheArgs, Session, finish};
use super::{CliError, target};
use crate::catalog::Catalog;
use crate::document::iso;
use crate::geometry::{CellIndex, LevelIndex, Region};
use crate::source::{Placement, SourceError};
use crate::store::CachedExtent;
use crate::volume::Image;

/// Memory for the voxels that display windows are taken from.
const MEMORY: u64 = 256 << 20;
/// Blocks that are told of at most.
const MAX_BLOCKS: usize = 100_000;

/// Say where the bytes behind a chunk are, and whether they are kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Finds each block of the archive that the chunk is made of; reads no voxels, but indices where there are some. The
catalogue and the cache of a path in a mount are those of the mount, unless --config or --cache-dir say otherwise; where
it was mounted with --offline nobody is asked here either, unless --revalidate is given.

Examples:
  emfs locate /mnt/em/hemibrain/em.zarr/s0/280/280/240
  emfs locate idr-9846137/em.zarr/s0/0/0/0 --json")]
pub(super) struct LocateArgs {
    /// A chunk in a mount, or DATASET/NAME/sN/Z/Y/X
    path: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

/// A block and its bytes.
#[derive(Debug, Serialize)]
struct Block {
    /// `z, y, x` in the grid of the archive's blocks.
    block: [u64; 3],
    /// `None` where the archive has no such block.
    url: Option<String>,
    /// First byte.
    start: u64,
    /// Number of bytes; of an object that is fetched as a whole it is known once it was.
    length: Option<u64>,
    /// Bytes of them that are kept.
    kept: u64,
    /// Where the archive has no such block: when that was borne out last.
    absent: Option<String>,
    /// The level that it is a block of where emfs computes that; the blocks it is made of follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    computed: Option<String>,
}

/// Finds the blocks and prints them.
pub(super) fn run(args: &LocateArgs) -> Result<(), CliError> {
    let Some(given) = args.path.to_str() else {
        return Err(CliError::Failed(format!("{}: no name below a mount is like that", args.path.display())));
    };
    let Meant { catalog, path, cache, .. } = mounted::meant(given, &args.config, &args.cache)?;
    let blocks = blocks(&catalog, &path, &cache)?;
    if args.json {
        let value = serde_json::json!({ "path": path, "blocks": blocks });
        return Ok(print(&format!("{value:#}\n"))?);
    }
    Ok(print(&text(&blocks))?)
}

fn blocks(catalog: &Catalog, path: &str, cache: &CacheArgs) -> Result<Vec<Block>, CliError> {
    let failed = |reason: String| CliError::Failed(format!("{path}: {reason}"));
    let place = ImagePlace::parse(catalog, path)?;
    let ImagePart::Level(level, chunk) = &place.part else {
        return Err(failed("name a chunk or a level, such as DATASET/NAME/s0/0/0/0".to_owned()));
    };
    let session = Session::new(&catalog.limits, cache.cache_of_any_size()?, target::PATIENCE, MEMORY)?;
    finish(async {
        let name = place.image_name();
        let opened = session.open(place.source(), &name).await.map_err(|error| failed(error.to_string()))?;
        let view = place.view(&session, &opened.pyramid).await.map_err(failed)?;
        let region = place::region(&view, *level, chunk).map_err(failed)?;
        let computed = computed(&opened.image, *level, &region).await;
        let (level, region) = opened.image.stored(*level, region);
        let grid = opened.image.grid(level);
        let grid = grid.ok_or_else(|| failed(format!("there is no level {level}")))?;
        let cells: Vec<CellIndex> = grid.cells_in(&region).take(MAX_BLOCKS.saturating_add(1)).collect();
        if cells.len() > MAX_BLOCKS {
            return Err(failed(format!("it is made of more than {MAX_BLOCKS} blocks; name a smaller part")));
        }
        let image = &opened.image;
        let found = join_all(cells.into_iter().map(|cell| async move { locate(image, level, cell).await })).await;
        let found = computed.into_iter().map(Ok).chain(found);
        found.collect::<Result<Vec<_>, _>>().map_err(|error| failed(error.to_string()))
    })?
}

/// The blocks of a level that emfs computes.
async fn computed(image: &Image, level: LevelIndex, region: &Region) -> Vec<Block> {
    let Some(grid) = image.grid(level).filter(|_| image.is_computed(level)) else { return Vec::new() };
    let mut blocks = Vec::new();
    for cell in grid.cells_in(region).take(MAX_BLOCKS) {
        let length = grid.region(cell).shape().bytes(image.source.description().dtype.size());
        let kept = if image.has_computed(level, vec![cell]).await { length.unwrap_or(0) } else { 0 };
        blocks.push(Block {
            block: cell.0,
            url: None,
            start: 0,
            length,
            kept,
            absent: None,
            computed: Some(level.to_string()),
        });
    }
    blocks
}

async fn locate(image: &Image, level: LevelIndex, cell: CellIndex) -> Result<Block, SourceError> {
    let absent = Block { block: cell.0, url: None, start: 0, length: None, kept: 0, absent: None, computed: None };
    Ok(match image.locate(level, cell).await? {
        Placement::Absent { confirmed } => Block { absent: Some(iso(confirmed)), ..absent },
        Placement::Range { object, start, length } => {
            let kept = object.kept_bytes(&(start..start.saturating_add(length)));
            Block { url: Some(object.address().to_owned()), start, length: Some(length), kept, ..absent }
        }
        Placement::Whole { object, .. } | Placement::Packed { object, .. } => {
            let url = Some(object.address().to_owned());
            match object.kept_whole() {
                CachedExtent::Unknown => Block { url, ..absent },
                CachedExtent::Present { length, kept } => Block { url, length: Some(length), kept, ..absent },
            }
        }
    })
}

fn text(blocks: &[Block]) -> String {
    let mut rows = vec![["block", "cache", "bytes", "url"].map(str::to_owned).to_vec()];
    for Block { block: [z, y, x], url, start, length, kept, absent, computed } in blocks {
        let state = match (url, length) {
            (None, _) if computed.is_none() => format!("absent, confirmed at {}", absent.as_deref().unwrap_or("-")),
            (_, Some(length)) if kept == length => "kept".to_owned(),
            (_, _) if *kept == 0 => "-".to_owned(),
            (_, _) => format!("{kept} bytes"),
        };
        let origin = computed.as_ref().map(|level| format!("{level}, computed from the blocks below"));
        let bytes = match length {
            Some(length) => format!("{start}-{}", start.saturating_add(length.saturating_sub(1))),
            None => "-".to_owned(),
        };
        rows.push(vec![format!("{z}/{y}/{x}"), state, bytes, url.clone().or(origin).unwrap_or_else(|| "-".to_owned())]);
    }
    aligned_columns(&rows)
}
