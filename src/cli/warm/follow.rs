//! `emfs warm --follow`: fetches what a job will read next, a bounded number of samples ahead of what it has read.
//!
//! The job adds a line with the number of a row, counted from 0, to a file whenever it has read that sample. What lies more
//! than so many rows behind the furthest of them is not fetched yet.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt};

use super::names::of_samples;
use super::{Failures, IMAGES, WarmArgs, WarmRun};
use crate::archive::OpenImage;
use crate::cli::CliError;
use crate::cli::session::finish;
use crate::cli::stats::read_list;

/// Time between two looks at the job.
const LOOK: Duration = Duration::from_millis(100);

/// How long a job may read nothing until it is taken to have ended.
const SILENT: Duration = Duration::from_secs(600);

/// Samples that are fetched together at most, so that those that are needed first come first.
const STEP: usize = 64;

/// How far a job is.
struct Job {
    file: PathBuf,
    /// Bytes of the file that were looked at.
    seen: u64,
    /// Rows up to the furthest that was read.
    read: usize,
    moved: Instant,
}

impl Job {
    /// Looks at what was added.
    fn look(&mut self) -> std::io::Result<usize> {
        let mut file = match std::fs::File::open(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(self.read),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.seen {
            // It was begun anew.
            self.seen = 0;
        }
        file.seek(SeekFrom::Start(self.seen))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // The last line may not be complete.
        let complete = text.rfind('\n').map_or(0, |end| end + 1);
        self.seen += complete as u64;
        let rows = text[..complete].lines().filter_map(|line| line.trim().parse::<usize>().ok());
        let furthest = rows.map(|row| row.saturating_add(1)).max().unwrap_or(0);
        if complete > 0 {
            self.moved = Instant::now();
        }
        self.read = self.read.max(furthest);
        Ok(self.read)
    }
}

/// Follows a job until all of its list is fetched.
pub(super) fn run(args: &WarmArgs, list: &Path) -> Result<(), CliError> {
    let rows = read_list(list)?;
    let file = args.position.clone().unwrap_or_else(|| {
        let mut name = list.as_os_str().to_owned();
        name.push(".read");
        name.into()
    });
    let catalog = args.config.catalog()?;
    let run = WarmRun::begin(args, &catalog, &args.cache, Failures::default())?;
    let mut job = Job { file, seen: 0, read: 0, moved: Instant::now() };
    let mut opened: HashMap<String, OpenImage> = HashMap::new();
    let followed = finish(async {
        let (mut next, ahead) = (0, usize::try_from(args.ahead).unwrap_or(usize::MAX));
        while next < rows.len() {
            let read = job.look().map_err(CliError::system(job.file.display().to_string()))?;
            let end = read.saturating_add(ahead).min(rows.len()).min(next + STEP);
            if next >= end {
                if job.moved.elapsed() > SILENT {
                    let (left, minutes) = (rows.len() - next, SILENT.as_secs() / 60);
                    let reason =
                        format!("the job has read nothing for {minutes} minutes; {left} samples were not fetched");
                    return Err(CliError::Failed(reason));
                }
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let named = of_samples(rows[next..end].to_vec());
            let wanted = args.wanted(&catalog, &named, &mut run.failures.lock())?;
            for image in &wanted {
                if !opened.contains_key(&image.name) {
                    match run.session.open(image.source(), &image.name).await {
                        Ok(open) => drop(opened.insert(image.name.clone(), open)),
                        Err(error) => run.failures.lock().add(format!("{}: {error}", image.name)),
                    }
                }
            }
            let found = wanted.iter().filter_map(|image| Some((image, opened.get(&image.name)?)));
            stream::iter(found).for_each_concurrent(IMAGES, |(image, open)| run.image(image, open)).await;
            next = end;
        }
        run.confirm_absences().await;
        Ok(())
    })?;
    drop(opened);
    run.end()?;
    followed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_as_far_as_its_furthest_row_of_complete_lines() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list.csv.read");
        let mut job = Job { file: file.clone(), seen: 0, read: 0, moved: Instant::now() };
        assert_eq!(job.look().unwrap(), 0);
        for (text, expected) in
            [("3\n1\n", 4), ("3\n1\n7", 4), ("3\n1\n71\nnot a row\n", 72), ("5\n", 72), ("5\n98\n", 99)]
        {
            std::fs::write(&file, text).unwrap();
            assert_eq!(job.look().unwrap(), expected, "{text:?}");
        }
    }
}
