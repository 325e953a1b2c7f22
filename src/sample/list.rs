//! The list of samples: CSV with a header of comments, or JSON.

mod json;

use std::borrow::Cow;
use std::fmt::Write;

pub use json::json;

use super::SampleError;
use crate::geometry::{LevelIndex, Region, Shape};
use crate::view::LevelNames;

/// The columns, in their order; others may follow.
pub const COLUMNS: [&str; 12] =
    ["dataset", "image", "store", "level", "z", "y", "x", "dz", "dy", "dx", "split", "region"];

/// Columns that a list has to have to be read.
const NEEDED: [&str; 8] = ["store", "level", "z", "y", "x", "dz", "dy", "dx"];

/// A row of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the image, `em`, or of its labels, `em/labels/cells`.
    pub image: String,
    /// The store below the mountpoint, `hemibrain/em.zarr`.
    pub store: String,
    /// The array in it.
    pub level: LevelIndex,
    /// Its voxels, of that level of the store.
    pub place: Region,
    /// Name of its split.
    pub split: String,
    /// Number of the region that it was drawn from, in its store and level.
    pub region: Option<u64>,
}

impl Sample {
    fn cells(&self) -> [String; COLUMNS.len()] {
        let ([z, y, x], Shape([dz, dy, dx])) = (self.place.start, self.place.shape());
        let region = self.region.map(|region| region.to_string()).unwrap_or_default();
        let number = |number: u64| number.to_string();
        [
            self.dataset.clone(),
            self.image.clone(),
            self.store.clone(),
            self.level.to_string(),
            number(z),
            number(y),
            number(x),
            number(dz),
            number(dy),
            number(dx),
            self.split.clone(),
            region,
        ]
    }
}

/// The list as CSV, with `header` as lines of comments. No cell needs quotes: names have neither commas nor quotes.
pub fn csv(header: &[String], samples: &[Sample]) -> String {
    let mut text = String::new();
    for line in header {
        // Writing to a text does not fail.
        let _ = writeln!(text, "# {line}");
    }
    text.push_str(&COLUMNS.join(","));
    text.push('\n');
    for sample in samples {
        text.push_str(&sample.cells().join(","));
        text.push('\n');
    }
    text
}

/// Whether a text is a list of samples: JSON, or CSV whose first line that is no comment names the columns.
pub fn is_list(text: &str) -> bool {
    let first = begin(text).lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| {
        let columns: Vec<&str> = line.split(',').map(str::trim).collect();
        is_json(text) || NEEDED.iter().all(|needed| columns.contains(needed))
    })
}

/// Without what some programs begin texts with.
fn begin(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// No name and no column begins so.
fn is_json(text: &str) -> bool {
    begin(text).trim_start().starts_with(['{', '['])
}

/// Reads a list in CSV or JSON; `file` is its name in errors. Gives each sample with its line.
pub fn parse(text: &str, file: &str) -> Result<Vec<(u64, Sample)>, SampleError> {
    let of = |(line, reason): (u64, String)| SampleError::List { file: file.to_owned(), line, reason };
    if is_json(text) { json::rows(begin(text)).map_err(of) } else { csv_rows(begin(text)).map_err(of) }
}

/// The rows of a list in CSV; the line and the reason where it is none.
fn csv_rows(text: &str) -> Result<Vec<(u64, Sample)>, (u64, String)> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
    let columns = reader.headers().map_err(|error| (1, error.to_string()))?.clone();
    let place = |name: &str| columns.iter().position(|column| column == name);
    if let Some(missing) = NEEDED.iter().find(|name| place(name).is_none()) {
        let reason = format!("there is no column `{missing}`; the columns of a list are {}", COLUMNS.join(","));
        return Err((columns.position().map_or(1, csv::Position::line), reason));
    }
    let mut samples = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| (error.position().map_or(0, csv::Position::line), error.to_string()))?;
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |name: &str| place(name).and_then(|at| row.get(at)).unwrap_or_default().into();
        samples.push((line, sample(cell).map_err(|reason| (line, reason))?));
    }
    Ok(samples)
}

/// The sample of a row; the reason where it is none. `cell`: what stands in a column, nothing where there is none.
fn sample<'a>(cell: impl Fn(&str) -> Cow<'a, str>) -> Result<Sample, String> {
    let number = |name: &str| {
        let number = cell(name).parse::<u64>().ok().filter(|number| *number <= 1 << 62);
        number.ok_or_else(|| format!("{name}: `{}` is no number of voxels", cell(name)))
    };
    let (mut start, mut end) = ([0; 3], [0; 3]);
    for (axis, (from, extent)) in [("z", "dz"), ("y", "dy"), ("x", "dx")].into_iter().enumerate() {
        start[axis] = number(from)?;
        let length = number(extent)?;
        if length == 0 {
            return Err(format!("{extent} is 0, so that there are no voxels"));
        }
        end[axis] = start[axis] + length;
    }
    let level = LevelNames::Lettered.parse(&cell("level"));
    let level = level.ok_or_else(|| format!("level: `{}` is no level, such as s0", cell("level")))?;
    let store = cell("store");
    let (dataset, _) = store.split_once('/').ok_or_else(|| format!("store: `{store}` is no DATASET/NAME"))?;
    Ok(Sample {
        dataset: dataset.to_owned(),
        image: cell("image").into_owned(),
        store: store.clone().into_owned(),
        level,
        place: Region { start, end },
        split: cell("split").into_owned(),
        region: cell("region").parse().ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sample(region: Option<u64>) -> Sample {
        Sample {
            dataset: "a".to_owned(),
            image: "em".to_owned(),
            store: "a/em.zarr".to_owned(),
            level: LevelIndex(2),
            place: Region { start: [1, 2, 3], end: [5, 8, 11] },
            split: "train".to_owned(),
            region,
        }
    }

    #[test]
    fn a_list_is_read_as_it_was_written() {
        let samples = [sample(None), sample(Some(4))];
        let text = csv(&["one".to_owned(), "two".to_owned()], &samples);
        assert_eq!(
            text,
            "# one\n# two\ndataset,image,store,level,z,y,x,dz,dy,dx,split,region\n\
             a,em,a/em.zarr,s2,1,2,3,4,6,8,train,\na,em,a/em.zarr,s2,1,2,3,4,6,8,train,4\n"
        );
        assert!(is_list(&text) && !is_list("a/em.zarr/s0\n") && !is_list(""));
        assert_eq!(parse(&text, "l.csv").unwrap(), [(4, samples[0].clone()), (5, samples[1].clone())]);
    }

    #[test]
    fn columns_are_found_by_name_and_others_are_left_alone() {
        let text = "# c\nnote,x,y,z,dx,dy,dz,level,store\nhi,3,2,1,8,6,4,s2,a/em.zarr\n";
        let (line, read) = parse(text, "l.csv").unwrap().remove(0);
        assert_eq!((line, read.place, read.split.as_str()), (3, sample(None).place, ""));
    }

    #[test]
    fn a_wrong_cell_is_told_by_file_line_and_column() {
        let head = "store,level,z,y,x,dz,dy,dx\n";
        for (row, expected) in [
            ("a/em.zarr,s0,1,2,-3,4,4,4", "l.csv:2: x: `-3` is no number of voxels"),
            ("a/em.zarr,s0,1,2,3,4,0,4", "l.csv:2: dy is 0, so that there are no voxels"),
            ("a/em.zarr,0,1,2,3,4,4,4", "l.csv:2: level: `0` is no level, such as s0"),
            ("a,s0,1,2,3,4,4,4", "l.csv:2: store: `a` is no DATASET/NAME"),
            (
                "a/em.zarr,s0,1,2,99999999999999999999,4,4,4",
                "l.csv:2: x: `99999999999999999999` is no number of voxels",
            ),
        ] {
            assert_eq!(parse(&format!("{head}{row}\n"), "l.csv").unwrap_err().to_string(), expected);
        }
        let reason = parse("store,level\na/b,s0\n", "l.csv").unwrap_err().to_string();
        assert!(reason.starts_with("l.csv:1: there is no column `z`"), "{reason}");
        assert!(parse(&format!("{head}a/em.zarr,s0\n"), "l.csv").unwrap_err().to_string().starts_with("l.csv:2: "));
    }
}
