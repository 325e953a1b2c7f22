//! The tags of TIFF files that are read, written or told of: TIFF 6.0, its technical notes, and what microscopes write.
#![allow(missing_docs)]

/// What ImageJ adds to signed numbers of 16 bits, which are unsigned in its memory.
pub const IMAGEJ_SIGNED_SHIFT: f64 = 32_768.0;

/// Number and name of a tag.
#[derive(Debug, Clone, Copy)]
pub struct Tag(pub u16, pub &'static str);

macro_rules! tags {
    ($list:ident: $($constant:ident = $number:literal $name:literal;)*) => {
        $(pub const $constant: Tag = Tag($number, $name);)*
        pub const $list: &[Tag] = &[$($constant),*];
    };
}

// What a dump of a file's tags tells by name.
tags! { TOLD_BY_NAME:
    NEW_SUBFILE_TYPE = 254 "NewSubfileType";
    SUBFILE_TYPE = 255 "SubfileType";
    IMAGE_WIDTH = 256 "ImageWidth";
    IMAGE_LENGTH = 257 "ImageLength";
    BITS_PER_SAMPLE = 258 "BitsPerSample";
    COMPRESSION = 259 "Compression";
    PHOTOMETRIC = 262 "PhotometricInterpretation";
    FILL_ORDER = 266 "FillOrder";
    DOCUMENT_NAME = 269 "DocumentName";
    IMAGE_DESCRIPTION = 270 "ImageDescription";
    MAKE = 271 "Make";
    MODEL = 272 "Model";
    STRIP_OFFSETS = 273 "StripOffsets";
    ORIENTATION = 274 "Orientation";
    SAMPLES_PER_PIXEL = 277 "SamplesPerPixel";
    ROWS_PER_STRIP = 278 "RowsPerStrip";
    STRIP_BYTE_COUNTS = 279 "StripByteCounts";
    MIN_SAMPLE_VALUE = 280 "MinSampleValue";
    MAX_SAMPLE_VALUE = 281 "MaxSampleValue";
    X_RESOLUTION = 282 "XResolution";
    Y_RESOLUTION = 283 "YResolution";
    PLANAR_CONFIGURATION = 284 "PlanarConfiguration";
    PAGE_NAME = 285 "PageName";
    XPOSITION = 286 "XPosition";
    YPOSITION = 287 "YPosition";
    RESOLUTION_UNIT = 296 "ResolutionUnit";
    PAGE_NUMBER = 297 "PageNumber";
    SOFTWARE = 305 "Software";
    DATE_TIME = 306 "DateTime";
    ARTIST = 315 "Artist";
    HOST_COMPUTER = 316 "HostComputer";
    PREDICTOR = 317 "Predictor";
    TILE_WIDTH = 322 "TileWidth";
    TILE_LENGTH = 323 "TileLength";
    TILE_OFFSETS = 324 "TileOffsets";
    TILE_BYTE_COUNTS = 325 "TileByteCounts";
    SAMPLE_FORMAT = 339 "SampleFormat";
    COPYRIGHT = 33432 "Copyright";
    IJ_METADATA_BYTE_COUNTS = 50838 "IJMetadataByteCounts";
    IJ_METADATA = 50839 "IJMetadata";
}

// What it tells by number.
pub const COLOR_MAP: Tag = Tag(320, "ColorMap");
pub const JPEG_TABLES: Tag = Tag(347, "JPEGTables");
pub const IMAGE_DEPTH: Tag = Tag(32997, "ImageDepth");
pub const UIC_STACK: Tag = Tag(33629, "UIC2");
pub const CZ_SEM: Tag = Tag(34118, "CZ_SEM");
pub const LSM_INFO: Tag = Tag(34412, "CZ_LSMINFO");
// What DigitalMicrograph exports: unit and size of a pixel along x and y.
pub const DM_X_UNIT: Tag = Tag(65003, "DM units along x");
pub const DM_Y_UNIT: Tag = Tag(65004, "DM units along y");
pub const DM_X_SCALE: Tag = Tag(65009, "DM scale along x");
pub const DM_Y_SCALE: Tag = Tag(65010, "DM scale along y");
pub const FEI_SFEG: Tag = Tag(34680, "FEI_SFEG");
pub const GDAL_NODATA: Tag = Tag(42113, "GDAL_NODATA");
pub const FEI_HELIOS: Tag = Tag(34682, "FEI_HELIOS");
