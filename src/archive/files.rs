//! Volumes of formats that are read file by file: one file, the files of a folder, or those that the configuration names.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use parking_lot::Mutex;

use super::Found;
use super::format::ArchiveFormat;
use super::sections::{self, Rules, Sections};
use crate::catalog::{Overrides, SourceSpec, VolumeFiles};
use crate::geometry::Shape;
use crate::remote::{Cause, Location};
use crate::source::stack::{self, Opener};
use crate::source::{Source, SourceError, dm3, mrc, tiff};
use crate::store::{Healable, Object, Remote};

/// What a file is not that names others though it was named by another.
const NO_PART: &str = "it is no part of an image";

/// What is said of the files: the configuration, and nanometres per voxel along `z, y, x` for what they do not say.
type Said<'a> = (&'a SourceSpec, [Option<f64>; 3]);

/// Opens a volume that the configuration names.
pub(super) async fn open(
    remote: &Remote,
    format: ArchiveFormat,
    files: &VolumeFiles,
    said: Said<'_>,
) -> Result<Found, SourceError> {
    let opened = of_files(remote, format, files, said).await;
    match opened {
        Err(error) => Err(advised(remote, files, error).await?),
        opened => opened,
    }
}

/// A file of which the wildcards of a shell, or what programs write for numbers, would mean many, and one of another system.
fn is_pattern(name: &str) -> bool {
    let number =
        name.split('%').skip(1).any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('d'));
    number || name.contains(['*', '?'])
}

/// What to say of addresses that cannot be those of files: patterns, paths of Windows, folders among files.
async fn advised(remote: &Remote, files: &VolumeFiles, error: SourceError) -> Result<SourceError, SourceError> {
    let bad = |file: &Location, reason: &str| SourceError::malformed(file.to_string(), "url", reason);
    let file = match files {
        VolumeFiles::List(files) => {
            for file in files {
                if is_folder(remote, file).await? {
                    return Ok(bad(
                        file,
                        "is a folder among the files of `urls`; name its files, or by `url` the folder alone",
                    ));
                }
            }
            return Ok(error);
        }
        VolumeFiles::File(file) | VolumeFiles::Folder(file) => file,
    };
    let path = percent_encoding::percent_decode_str(file.url.path()).decode_utf8_lossy();
    let is_of_windows = path.rsplit('/').find(|part| !part.is_empty()).is_some_and(|part| {
        matches!(part.as_bytes(), [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic()) || part.starts_with("\\\\")
    });
    Ok(match error.cause() {
        Some(Cause::NotFound) if is_of_windows => {
            bad(file, "is a path of Windows; write it as this system has it, in WSL `/mnt/c/…` for `C:\\…`")
        }
        Some(Cause::NotFound) if is_pattern(&path) => {
            let reason = "is no file; `url` takes no wildcards: name the folder, whose files are all taken in the order of their \
                          numbers, and say by `pattern`, a regular expression, which of them where others are there";
            bad(file, reason)
        }
        _ => error,
    })
}

async fn of_files(
    remote: &Remote,
    format: ArchiveFormat,
    files: &VolumeFiles,
    said: Said<'_>,
) -> Result<Found, SourceError> {
    match files {
        VolumeFiles::Folder(file) if is_file(remote, file).await? => one(remote, format, file, said).await,
        VolumeFiles::File(file) if is_folder(remote, file).await? => folder(remote, format, file, said).await,
        VolumeFiles::File(file) => match one(remote, format, file, said).await {
            // Many servers show a folder under its address without the slash at the end.
            Err(error) if error.is_of_bytes() && has_no_ending(file) => {
                folder(remote, format, file, said).await.map_err(|of_folder| likelier(error, of_folder))
            }
            opened => opened,
        },
        VolumeFiles::Folder(location) => folder(remote, format, location, said).await,
        VolumeFiles::List(files) => {
            let files = sections::arranged(files, &said.0.overrides)?;
            let Some(first) = files.iter().flatten().next().cloned() else {
                return Err(SourceError::malformed("the list of files", "urls", "is empty"));
            };
            if files.len() == 1 {
                return one(remote, format, &first, said).await;
            }
            whole_sections("the list of files", said.0)?;
            let object = |file: &Option<Location>| file.as_ref().map(|file| remote.object(file)).transpose();
            let objects = files.iter().map(object).collect::<Result<Vec<_>, _>>()?;
            Ok(Found::at(stack::open(objects, opener(format, said, None)).await?, &first))
        }
    }
}

/// Finds the sections of a folder and opens them.
async fn folder(
    remote: &Remote,
    format: ArchiveFormat,
    location: &Location,
    said: Said<'_>,
) -> Result<Found, SourceError> {
    let rules = Rules { formats: format.alone(), promised: None, overrides: &said.0.overrides };
    let sections = sections::find(remote, location, rules).await?;
    let opened = of_folder(remote, &sections, said).await?;
    Ok(Found { counted: Some(sections.kept), ..opened })
}

/// Whether the last part of an address has no dot, as those of folders mostly have none.
fn has_no_ending(location: &Location) -> bool {
    !location.url.path().rsplit('/').next().unwrap_or_default().contains('.')
}

/// Opens the sections of a folder.
pub(super) async fn of_folder(remote: &Remote, sections: &Sections, said: Said<'_>) -> Result<Found, SourceError> {
    let Sections { folder, format, names, .. } = sections;
    let Overrides { order, pattern, .. } = &said.0.overrides;
    let is_chosen = order.is_some() || pattern.is_some();
    if let [Some(name)] = names.as_slice() {
        return Ok(Found { location: folder.clone(), ..one(remote, *format, &folder.join(name), said).await? });
    }
    whole_sections(&folder.to_string(), said.0)?;
    let told = (!is_chosen).then(|| names.iter().flatten().cloned().collect());
    Ok(Found::at(stack::open(sections.objects(remote)?, opener(*format, said, told)).await?, folder))
}

/// What to say of an address that is neither a file nor a folder that could be shown: a file that is there is what was meant,
/// else a folder that is.
fn likelier(of_file: SourceError, of_folder: SourceError) -> SourceError {
    let is_absent = matches!(of_folder.cause(), Some(Cause::NotFound | Cause::Gone(_)));
    if is_absent || of_file.cause().is_none() { of_file } else { of_folder }
}

/// Refuses a channel of files that each hold one plane of the volume, in which there is none to choose.
fn whole_sections(place: &str, spec: &SourceSpec) -> Result<(), SourceError> {
    match spec.channel {
        None | Some(0) => Ok(()),
        Some(channel) => Err(SourceError::malformed(
            place,
            "channel",
            format!(
                "`channel = {channel}` is asked for, but each file is a section of one channel; leave `channel` out, and say by \
                 `pattern` or `urls` which files are of the channel that is wanted, or write one of them as `url` where they \
                 are a set of OME-TIFF"
            ),
        )),
    }
}

/// Whether an address of this machine is a folder, though it looks like that of a file.
async fn is_folder(remote: &Remote, location: &Location) -> Result<bool, SourceError> {
    match location.url.scheme() {
        "file" => Ok(remote.with_path(location, |path| path.is_dir()).await?),
        _ => Ok(false),
    }
}

/// Whether an address of this machine that was taken for a folder's is a file's.
async fn is_file(remote: &Remote, location: &Location) -> Result<bool, SourceError> {
    match location.url.scheme() {
        "file" => Ok(remote.with_path(location, |path| path.is_file()).await?),
        _ => Ok(false),
    }
}

/// Opens one file, which may hold many planes.
async fn one(remote: &Remote, format: ArchiveFormat, file: &Location, said: Said<'_>) -> Result<Found, SourceError> {
    let object = remote.object(file)?;
    let (spec, missing) = said;
    match format {
        ArchiveFormat::Dm => Ok(Found::at(dm3::open(object, missing, true).await?, file)),
        ArchiveFormat::Mrc => {
            let reading = mrc::MrcReading { missing, show_cut: spec.overrides.show_truncated, told: true, like: None };
            Ok(Found::at(mrc::open(object, reading).await?, file))
        }
        ArchiveFormat::Tiff => {
            let choice = tiff::Choice { z: spec.overrides.z_axis, channel: spec.channel };
            let show_cut = spec.overrides.show_truncated;
            let reading = tiff::Reading { missing, choice, show_cut, ..tiff::Reading::default() };
            match tiff::open(object, reading).await? {
                tiff::Opening::Volume(source) => Ok(Found::at(*source, file)),
                tiff::Opening::Set(set) => of_set(remote, set, file, said).await,
            }
        }
    }
}

/// Opens the files that a file of TIFF names, which are beside it.
async fn of_set(
    remote: &Remote,
    set: tiff::FileSet,
    file: &Location,
    (spec, missing): Said<'_>,
) -> Result<Found, SourceError> {
    let tiff::FileSet { files, planes, is_of_single_pages, voxel_size } = set;
    let Some(folder) = beside(file) else {
        let reason = "it holds one plane of an image in several files; name them by `urls`";
        return Err(SourceError::unsupported(file.to_string(), "ImageDescription", reason));
    };
    // What the file says that names the others holds for those that say nothing.
    let missing = std::array::from_fn(|axis| voxel_size[axis].or(missing[axis]));
    let object = |(name, _): &(String, _)| remote.object(&folder.join(name));
    let objects = files.iter().map(object).collect::<Result<Vec<_>, _>>()?;
    if is_of_single_pages {
        let objects = objects.into_iter().map(Some).collect();
        let opener = opener(ArchiveFormat::Tiff, (spec, missing), None);
        return Ok(Found::at(stack::open(objects, opener).await?, file));
    }
    let alone = if let [object] = objects.as_slice() { Some(object.clone()) } else { None };
    if let (Some(object), [(_, pages)]) = (alone, files.as_slice()) {
        let show_cut = spec.overrides.show_truncated;
        let reading = tiff::Reading { missing, show_cut, pages: Some(pages), ..tiff::Reading::default() };
        return match tiff::open(object, reading).await? {
            tiff::Opening::Volume(source) => Ok(Found::at(*source, file)),
            tiff::Opening::Set(_) => Err(SourceError::malformed(file.to_string(), "ImageDescription", NO_PART)),
        };
    }
    let pages = objects.iter().zip(&files).map(|(object, (_, pages))| (object.url().to_owned(), pages.clone()));
    let opener = tiff_opener(missing, None, pages.collect());
    Ok(Found::at(stack::open_divided(objects, planes, opener).await?, file))
}

/// The folder that a file is in.
fn beside(file: &Location) -> Option<Location> {
    let mut folder = file.clone();
    folder.url.path_segments_mut().ok()?.pop();
    folder.url.set_query(None);
    Some(folder)
}

/// A source as a stack has it.
fn boxed(source: Box<dyn Source>) -> Arc<dyn Source> {
    Arc::from(source)
}

/// How a section's file is opened. What people see of a volume is the first one's. `names`: those of a folder, where nobody chose
/// among them.
fn opener(format: ArchiveFormat, (_, missing): Said<'_>, names: Option<Arc<[String]>>) -> Opener {
    match format {
        ArchiveFormat::Dm => Arc::new(move |object: Object, cell: Option<Shape>| {
            async move { Ok(boxed(Box::new(dm3::open(object, missing, cell.is_none()).await?))) }.boxed()
        }),
        ArchiveFormat::Mrc => {
            let model = Arc::new(Mutex::new(None));
            Arc::new(move |object: Object, cell: Option<Shape>| {
                let (model, like) = (model.clone(), *model.lock());
                let reading = mrc::MrcReading { missing, show_cut: false, told: cell.is_none(), like };
                async move {
                    let source = mrc::open(object, reading).await?;
                    if cell.is_none() {
                        *model.lock() = Some(source.description().dtype);
                    }
                    Ok(boxed(Box::new(source)))
                }
                .boxed()
            })
        }
        ArchiveFormat::Tiff => tiff_opener(missing, names, HashMap::new()),
    }
}

/// How a TIFF file of one plane is opened, or of those of its `pages` that are said of its address.
fn tiff_opener(missing: [Option<f64>; 3], names: Option<Arc<[String]>>, pages: HashMap<String, Arc<[u64]>>) -> Opener {
    let (model, pages) = (Arc::new(Mutex::new(None)), Arc::new(pages));
    Arc::new(move |object: Object, cell: Option<Shape>| {
        let (model, like, names, pages) = (model.clone(), *model.lock(), names.clone(), pages.clone());
        async move {
            let url = object.url().to_owned();
            let pages = pages.get(&url);
            let section = Some(tiff::Section { cell, like });
            let reading =
                tiff::Reading { missing, section, pages, folder: names.as_deref(), ..tiff::Reading::default() };
            match tiff::open(object, reading).await? {
                tiff::Opening::Volume(source) => {
                    if cell.is_none() && pages.is_none() {
                        *model.lock() = source.layout();
                    }
                    Ok(boxed(source))
                }
                tiff::Opening::Set(_) => Err(SourceError::malformed(url, "ImageDescription", NO_PART)),
            }
        }
        .boxed()
    })
}
