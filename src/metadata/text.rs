//! The records of all datasets for people: datasets as columns, fields as rows, contradictions marked and told below.

use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use wildmatch::WildMatch;

use super::fields::{DATASET, IMAGE};
use super::tables::plain;

/// Letters of the narrowest column of a dataset.
const MIN_COLUMN: usize = 16;
/// Letters of the widest one.
const MAX_COLUMN: usize = 44;
/// Letters of the longest cell in Markdown.
const MAX_CELL: usize = 90;
/// Fields that are long, or that the layout of the mount decides; they are in the other forms.
const LEFT_OUT: [&str; 9] =
    ["url", "study/references", "axes", "name", "content_type", "label_of", "zarr", "zarr_v3", "source_kind"];
/// The same where fields begin so: few datasets have them.
const LEFT_OUT_BELOW: [&str; 3] = ["intensity/mean", "intensity/std", "intensity/percentiles/"];
/// Fields whose way into the record the text at the root of the mount shows.
const SHOWN: [&str; 7] = [
    "study/licence",
    "biosample/organism",
    "acquisition/accelerating_voltage_kv",
    "acquisition/started",
    "images/0/dtype",
    "images/0/voxel_size/z",
    "images/0/voxel_size/x",
];

/// What stands for a value that is not known.
const UNKNOWN: &str = "–";

/// A row: its name, and the fields whose values are joined in it.
struct TableRow {
    name: String,
    paths: Vec<String>,
}

/// A table and the notes to its marks.
struct Grid {
    head: Vec<String>,
    rows: Vec<(String, Vec<String>)>,
    notes: Vec<String>,
}

/// A table whose lines have at most `width` letters; `fields` chooses rows by their names.
pub fn aligned_columns(records: &[Value], width: usize, fields: Option<&str>) -> String {
    let grid = grid(records, fields);
    let label =
        grid.rows.iter().map(|(name, _)| display_width(name)).max().unwrap_or(0).clamp(8, (width / 2).clamp(8, 40));
    let available_width = width.saturating_sub(label);
    let columns_per_block = (available_width / (MIN_COLUMN + 2)).clamp(1, grid.head.len().max(1));
    let mut text = String::new();
    for first in (0..grid.head.len()).step_by(columns_per_block) {
        let columns: Vec<usize> = (first..grid.head.len().min(first + columns_per_block)).collect();
        let share = (available_width / columns.len().max(1)).saturating_sub(2).clamp(8, MAX_COLUMN);
        let wide = |column: &usize| {
            let cells = grid.rows.iter().filter_map(|(_, cells)| cells.get(*column));
            cells.chain(grid.head.get(*column)).map(|cell| display_width(cell)).max().unwrap_or(0).clamp(1, share)
        };
        let widths: Vec<usize> = columns.iter().map(wide).collect();
        if first > 0 {
            text.push('\n');
        }
        let cells = |of: &[String]| columns.iter().map(|&c| of.get(c).cloned().unwrap_or_default()).collect::<Vec<_>>();
        line(&mut text, "", &cells(&grid.head), label, &widths);
        let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        line(&mut text, &"─".repeat(label), &rule, label, &widths);
        for (name, row) in &grid.rows {
            line(&mut text, name, &cells(row), label, &widths);
        }
    }
    if !grid.notes.is_empty() {
        text.push_str("\nContradictions and doubts\n");
    }
    for note in &grid.notes {
        for (number, piece) in wrapped(note, width.saturating_sub(5).max(8)).iter().enumerate() {
            text.push_str(if number == 0 { "" } else { "     " });
            text.push_str(piece);
            text.push('\n');
        }
    }
    text
}

/// The same table in Markdown.
pub fn markdown(records: &[Value], fields: Option<&str>) -> String {
    let grid = grid(records, fields);
    let mut text = row(std::iter::once("field").chain(grid.head.iter().map(String::as_str)));
    text.push_str(&format!("|{}\n", "---|".repeat(grid.head.len() + 1)));
    for (name, cells) in &grid.rows {
        text.push_str(&row(std::iter::once(format!("`{name}`")).chain(cells.iter().map(|cell| cut(cell)))));
    }
    if !grid.notes.is_empty() {
        text.push('\n');
    }
    for note in &grid.notes {
        text.push_str(&format!("- {}\n", note.replace(['\n', '\r'], " ")));
    }
    text
}

/// A row of a table in Markdown.
fn row<S: AsRef<str>>(cells: impl Iterator<Item = S>) -> String {
    let cells: Vec<String> = cells.map(|cell| cell.as_ref().replace('|', "\\|").replace(['\n', '\r'], " ")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// A cell that can be read in a table: the end of a long one is left out, but not the marks of its notes.
fn cut(cell: &str) -> String {
    let (text, marks) = cell.find(" [").filter(|_| cell.ends_with(']')).map_or((cell, ""), |at| cell.split_at(at));
    if display_width(text) <= MAX_CELL {
        return cell.to_owned();
    }
    let shown = wrapped(text, MAX_CELL).into_iter().next().unwrap_or_default();
    format!("{shown} …{marks}")
}

/// How some fields came to their values, as rows in Markdown.
fn ways(records: &[Value]) -> String {
    let mut text = row(["field", "dataset", "stands in", "as", "is in the record"].into_iter());
    text.push_str(&format!("|{}\n", "---|".repeat(5)));
    for field in SHOWN {
        for record in records {
            let pointer = format!("/{field}");
            let entry = &record["provenance"][pointer.as_str()];
            let value = record.pointer(&pointer).filter(|value| !value.is_null());
            let Some(value) = value else { continue };
            let of = |key: &str| plain(&entry[key]);
            let (place, found) = match entry["method"].as_str() {
                Some("upstream") => (format!("`{}` `{}`", of("document"), of("pointer")), of("value_as_found")),
                Some("curated") => (of("reference"), of("value_as_found")),
                _ => (of("rule"), String::new()),
            };
            let found = if found.is_empty() && entry["method"] == "curated" { plain(value) } else { found };
            let found = format!("{found} {}", of("unit_as_found"));
            let name = field.replace("images/0/", "image/");
            text.push_str(&row([name, plain(&record["id"]), place, cut(found.trim()), plain(value)].into_iter()));
        }
    }
    text
}

/// The text of `README.md` at the root of the mount.
pub fn readme(records: &[Value]) -> String {
    let mut text = include_str!("readme.md").replacen("{ways}", &ways(records), 1);
    for record in records {
        let of = |pointer: &str| record.pointer(pointer).map(plain).filter(|text| !text.is_empty());
        text.push_str(&format!("- **{}**", plain(&record["id"])));
        let statement = of("/study/citation").unwrap_or_else(|| "no citation is known".to_owned());
        text.push_str(&format!(": {statement}"));
        if let Some(licence) = of("/study/licence").or_else(|| of("/study/licence_statement")) {
            text.push_str(&format!(" Licence: {licence}."));
        }
        text.push('\n');
    }
    text
}

fn grid(records: &[Value], fields: Option<&str>) -> Grid {
    let rows: Vec<TableRow> = rows().into_iter().filter(|row| chosen(row, fields)).collect();
    let mut notes = Vec::new();
    let rows = rows.iter().map(|row| {
        let cells: Vec<String> = records.iter().map(|record| cell(record, row, &mut notes)).collect();
        (row.name.clone(), cells)
    });
    // What nobody knows is shown to those who ask for it.
    let rows = rows.filter(|(_, cells)| fields.is_some() || cells.iter().any(|cell| cell != UNKNOWN)).collect();
    Grid { head: records.iter().map(|record| plain(&record["id"])).collect(), rows, notes }
}

/// Whether a pattern chooses any row.
pub fn is_field(pattern: &str) -> bool {
    rows().iter().any(|row| chosen(row, Some(pattern)))
}

fn chosen(row: &TableRow, fields: Option<&str>) -> bool {
    let Some(pattern) = fields else { return true };
    let name = row.name.split_whitespace().next().unwrap_or_default();
    std::iter::once(name).chain(row.paths.iter().map(String::as_str)).any(|text| matches(pattern, text))
}

/// Whether `text` fits a pattern, in which `*` stands for any letters and `?` for one.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    WildMatch::new(pattern).matches(text)
}

/// One row per field; what belongs together along z, y, x or as low and high is one row.
fn rows() -> Vec<TableRow> {
    let mut rows: Vec<TableRow> = Vec::new();
    let fields = DATASET.iter().map(|field| field.path.to_owned());
    let fields = fields.chain(IMAGE.iter().map(|field| format!("image/{}", field.path)));
    for path in fields {
        let field = path.trim_start_matches("image/");
        let is_left_out = LEFT_OUT.contains(&field) || LEFT_OUT_BELOW.iter().any(|start| field.starts_with(start));
        if is_left_out || path.ends_with("/unit") {
            continue;
        }
        let (group, last) = path.rsplit_once('/').unwrap_or(("", &path));
        let joined = matches!(last, "z" | "y" | "x" | "low" | "high" | "min" | "max");
        if joined && let Some(row) = rows.last_mut().filter(|row| row.name.starts_with(&format!("{group} "))) {
            row.paths.push(path);
            continue;
        }
        let name = match (last, group.rsplit('/').next()) {
            ("z", Some("voxel_size" | "origin")) => format!("{group} (z, y, x, nm)"),
            ("z", _) => format!("{group} (z, y, x)"),
            ("low", _) => format!("{group} (low, high)"),
            ("min", _) => format!("{group} (min, max)"),
            _ => path.clone(),
        };
        rows.push(TableRow { name, paths: vec![path] });
    }
    rows
}

/// The values of a row, with marks for what is told in a note; of the images the first is told.
fn cell(record: &Value, row: &TableRow, notes: &mut Vec<String>) -> String {
    let mut values = Vec::new();
    let mut told: Vec<Remark> = Vec::new();
    for path in &row.paths {
        let name = path.trim_start_matches("image/");
        let pointer = match path.strip_prefix("image/") {
            Some(field) => format!("/images/0/{field}"),
            None => format!("/{path}"),
        };
        let value = record.pointer(&pointer).unwrap_or(&Value::Null);
        values.push(if value.is_null() { UNKNOWN.to_owned() } else { plain(value) });
        let reason = record["provenance"][pointer.as_str()]["reason"].as_str();
        let beside = record["alternatives"][pointer.as_str()].as_array().into_iter().flatten();
        // What was preferred for a reason is told with what it was preferred to.
        if let Some(reason) = reason.filter(|reason| !beside.clone().any(|other| other["reason"] == *reason)) {
            Remark::tell(&mut told, name, "", reason.to_owned());
        }
        let below = |other: &str| other == pointer || other.strip_prefix(&*pointer).is_some_and(|r| r.starts_with('/'));
        let alternatives = record["alternatives"].as_object().into_iter().flatten();
        for (_, others) in alternatives.filter(|(other, _)| below(other)) {
            for other in others.as_array().into_iter().flatten() {
                let source = ["document", "reference", "rule"].iter().map(|key| &other["provenance"][*key]);
                let source = source.map(plain).find(|text| !text.is_empty()).unwrap_or_default();
                Remark::tell(
                    &mut told,
                    name,
                    &plain(&other["value"]),
                    format!("{source}: {}", plain(&other["reason"])),
                );
            }
        }
    }
    if values.iter().all(|value| value == UNKNOWN) {
        values.truncate(1);
    }
    let mut cell = values.join(", ");
    for note in told {
        let number = notes.len() + 1;
        cell.push_str(&format!(" [{number}]"));
        notes.push(note.text(number, &plain(&record["id"])));
    }
    cell
}

/// What is said of one field or, for the same reason, of several that belong together.
struct Remark {
    names: Vec<String>,
    values: Vec<String>,
    reason: String,
}

impl Remark {
    fn tell(told: &mut Vec<Remark>, name: &str, value: &str, reason: String) {
        let (name, value) = (name.to_owned(), value.to_owned());
        match told.iter_mut().find(|note| note.reason == reason && !note.names.contains(&name)) {
            Some(note) => {
                note.names.push(name);
                note.values.push(value);
            }
            None => told.push(Remark { names: vec![name], values: vec![value], reason }),
        }
    }

    /// `[3] hemibrain shape/z, y, x: 3, 4, 5 in …: why`.
    fn text(&self, number: usize, dataset: &str) -> String {
        let mut names = self.names.first().cloned().unwrap_or_default();
        for name in self.names.iter().skip(1) {
            names.push_str(", ");
            names.push_str(name.rsplit('/').next().unwrap_or(name));
        }
        let values = self.values.join(", ");
        let said = if self.values.iter().all(String::is_empty) { String::new() } else { format!("{values} in ") };
        format!("[{number}] {dataset} {names}: {said}{}", self.reason)
    }
}

/// Columns of a terminal that a text takes.
fn display_width(text: &str) -> usize {
    text.width()
}

/// A row as lines; cells that are too long go on below.
fn line(text: &mut String, name: &str, cells: &[String], label: usize, widths: &[usize]) {
    let names = wrapped(name, label);
    let cells: Vec<Vec<String>> = cells.iter().zip(widths).map(|(cell, width)| wrapped(cell, *width)).collect();
    let height = cells.iter().map(Vec::len).chain([names.len()]).max().unwrap_or(1);
    for number in 0..height {
        let mut line = String::new();
        let all = std::iter::once((&names, &label)).chain(cells.iter().zip(widths));
        for (pieces, width) in all {
            let piece = pieces.get(number).map_or("", String::as_str);
            line.push_str(piece);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(display_width(piece)) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// A text in pieces of at most `width` columns, cut between words where it can be.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut piece = String::new();
    for word in text.split_whitespace() {
        let mut word: String = word.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let gap = usize::from(!piece.is_empty());
        if display_width(&piece) + gap + display_width(&word) > width && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
        }
        while display_width(&word) > width {
            let rest = word.split_off(break_of(&word, width));
            pieces.push(std::mem::replace(&mut word, rest));
        }
        if !piece.is_empty() {
            piece.push(' ');
        }
        piece.push_str(&word);
    }
    if !piece.is_empty() || pieces.is_empty() {
        pieces.push(piece);
    }
    pieces
}

/// Where a word is cut that is wider than `width`: an address goes on behind one of its marks, if that is not too near its
/// start.
fn break_of(word: &str, width: usize) -> usize {
    let (mut end, mut mark, mut columns) = (0, None, 0);
    for (at, letter) in word.char_indices() {
        columns += letter.width().unwrap_or(0);
        if columns > width && at > 0 {
            break;
        }
        end = at + letter.len_utf8();
        if "/-_.=?&;".contains(letter) && columns > width / 2 + 1 {
            mark = Some(end);
        }
    }
    mark.unwrap_or(end)
}
