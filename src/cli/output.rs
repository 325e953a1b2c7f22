//! Writing to stdout and stderr, where a closed pipe is no reason to panic.

use std::io::{self, ErrorKind, Write};

use unicode_width::UnicodeWidthStr;

/// Stdout does not take what is written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) struct OutputError(#[from] io::Error);

impl OutputError {
    /// Whether the reader has gone.
    pub fn is_closed(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

/// Writes a text to stdout.
pub(super) fn print(text: &str) -> Result<(), OutputError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line to stderr; there is nobody left to tell where that fails.
pub(super) fn eprint_line(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Lines of columns, each as wide as its widest cell.
pub(super) fn aligned_columns(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.width()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text = aligned_columns(&[row(&["name", "shape"]), row(&["a", "1×2"]), row(&["longer"])]);
        assert_eq!(text, "name    shape\na       1×2\nlonger\n");
    }
}
