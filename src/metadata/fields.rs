//! The fields of a record: the same for every dataset. Units are in the names, or stand beside the value.

/// What a field holds when it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    /// Text.
    Text,
    /// A list of texts.
    Texts,
    /// A number.
    Number,
    /// A whole number.
    Whole,
    /// True or false.
    Flag,
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub struct RecordField {
    /// The way to it, as `study/title`.
    pub path: &'static str,
    /// What it holds.
    pub kind: FieldKind,
    /// What it means.
    pub about: &'static str,
}

const fn text(path: &'static str, about: &'static str) -> RecordField {
    RecordField { path, kind: FieldKind::Text, about }
}

const fn texts(path: &'static str, about: &'static str) -> RecordField {
    RecordField { path, kind: FieldKind::Texts, about }
}

const fn number(path: &'static str, about: &'static str) -> RecordField {
    RecordField { path, kind: FieldKind::Number, about }
}

const fn whole(path: &'static str, about: &'static str) -> RecordField {
    RecordField { path, kind: FieldKind::Whole, about }
}

const fn flag(path: &'static str, about: &'static str) -> RecordField {
    RecordField { path, kind: FieldKind::Flag, about }
}

/// Fields of a dataset.
pub const DATASET: &[RecordField] = &[
    text("study/archive", "Archive that publishes the dataset"),
    text("study/accession", "Its name in the archive"),
    text("study/title", "Title"),
    text("study/landing_page", "Page for people"),
    text("study/publisher", "Who published the data"),
    text("study/copyright", "Who holds the copyright"),
    texts("study/doi", "DOIs of the data and of the publication, without a resolver"),
    text("study/licence", "Licence, SPDX identifier"),
    text("study/licence_url", "Text of the licence"),
    text("study/licence_statement", "What is said of use where no licence is named"),
    texts("study/authors", "Authors of the data"),
    text("study/citation", "How to cite"),
    text("study/release_date", "First published, ISO 8601"),
    text("study/deposition_date", "Deposited, ISO 8601"),
    texts("study/references", "Where the catalogue's values were found"),
    text("biosample/organism", "Scientific name of the species"),
    text("biosample/common_name", "Common name of the species"),
    whole("biosample/ncbi_taxid", "Number in the NCBI taxonomy"),
    text("biosample/strain", "Strain, sex and age"),
    text("biosample/tissue", "Organ or tissue"),
    text("biosample/cell_line", "Cell line"),
    text("biosample/stage", "Developmental stage or stage of the cell cycle"),
    text("specimen/preparation", "Fixation and embedding"),
    text("specimen/contrast", "What gives contrast"),
    text("acquisition/method", "Imaging method"),
    text("acquisition/method_fbbi_id", "The method's term in the FBbi ontology"),
    text("acquisition/instrument", "Microscope"),
    text("acquisition/detector", "Detector or signal"),
    number("acquisition/accelerating_voltage_kv", "Accelerating voltage or landing energy, kV"),
    number("acquisition/beam_current_na", "Beam current, nA"),
    number("acquisition/bias_voltage_v", "Bias of the specimen, V"),
    number("acquisition/dwell_time_us", "Dwell time per pixel, µs"),
    number("acquisition/scan_rate_mhz", "Scan rate, MHz"),
    number("acquisition/slice_thickness_nm", "Thickness removed between two images, nm"),
    text("acquisition/started", "When the first image was taken, ISO 8601"),
    number("acquisition/duration_days", "How long the acquisition took, days"),
];

/// Fields of an image or label image.
pub const IMAGE: &[RecordField] = &[
    text("name", "Name"),
    text("content_type", "em or segmentation"),
    text("label_of", "Image that the labels are of"),
    text("zarr", "Its Zarr v2 store below the dataset"),
    text("zarr_v3", "Its Zarr v3 store below the dataset"),
    text("source_kind", "Kind of the source"),
    text("url", "Where its voxels come from"),
    texts("axes", "Order of the axes of the arrays"),
    whole("shape/z", "Voxels along z"),
    whole("shape/y", "Voxels along y"),
    whole("shape/x", "Voxels along x"),
    text("dtype", "Type of a voxel"),
    number("voxel_size/z", "Distance of voxels along z"),
    number("voxel_size/y", "Distance of voxels along y"),
    number("voxel_size/x", "Distance of voxels along x"),
    text("voxel_size/unit", "Unit of the distances"),
    number("origin/z", "Centre of the first voxel along z"),
    number("origin/y", "Centre of the first voxel along y"),
    number("origin/x", "Centre of the first voxel along x"),
    text("origin/unit", "Unit of the position"),
    number("anisotropy", "Largest voxel distance over the smallest"),
    whole("level_count", "Levels of the pyramid"),
    whole("chunk/z", "Voxels of a chunk along z"),
    whole("chunk/y", "Voxels of a chunk along y"),
    whole("chunk/x", "Voxels of a chunk along x"),
    whole("bytes_uncompressed", "Bytes of the finest level"),
    whole("bytes_on_the_wire", "Bytes of the finest level as the archive sends it"),
    number("intensity/min", "Least value of the voxels of a list of blocks, else of the type"),
    number("intensity/max", "Greatest value of the same voxels, else of the type"),
    number("intensity/mean", "Mean of the voxels of a list of blocks"),
    number("intensity/std", "Standard deviation of the same voxels"),
    number("intensity/percentiles/0.1", "Value that 0.1 % of the same voxels lie below"),
    number("intensity/percentiles/1", "The same of 1 %"),
    number("intensity/percentiles/50", "The same of 50 %"),
    number("intensity/percentiles/99", "The same of 99 %"),
    number("intensity/percentiles/99.9", "The same of 99.9 %"),
    number("display_window/low", "Value to be shown black"),
    number("display_window/high", "Value to be shown white"),
    text("membranes", "dark or bright"),
    text("upstream_format", "How the archive stores the volume"),
    flag("lossy", "Whether the archive stores it with loss"),
];

/// Fields of a level; lists are in the order z, y, x. The numbers of the last three are nanometres.
pub const LEVEL: &[(&str, &str)] = &[
    ("path", "Name of the array"),
    ("shape", "Voxels"),
    ("chunk", "Voxels of a chunk"),
    ("scale_nm", "Distance of voxels, nm"),
    ("translation_nm", "Centre of the first voxel, nm"),
    ("made_by", "Who made the level, and how"),
];
