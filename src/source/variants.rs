//! The table in `manual/own-data.md` of the variants of each format that are read, compared with what the parsers take.

/// Compares the row of `kind` and `what` with the names that `is_read` takes of `all`, which has what is known to exist.
pub(super) fn check(kind: &str, what: &str, all: &[&str], is_read: impl Fn(&str) -> bool) {
    let manual = include_str!("../manual/own-data.md");
    let start = format!("| {kind} | {what} | ");
    let rows: Vec<&str> = manual.lines().filter_map(|line| line.strip_prefix(&start)).collect();
    let [row] = rows.as_slice() else { panic!("the manual has {} rows of {kind}, {what}", rows.len()) };
    // Names are every second part between backticks.
    let mut told: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
    let mut read: Vec<&str> = all.iter().copied().filter(|name| is_read(name)).collect();
    told.sort_unstable();
    read.sort_unstable();
    assert_eq!(told, read, "{kind}, {what}");
}

/// Types of voxels that the formats know, in the words of Zarr v3.
pub(super) const TYPES: [&str; 20] = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bfloat16",
    "complex64",
    "complex128",
    "string",
    "int4",
    "uint4",
    "r16",
    "float8_e4m3",
];
