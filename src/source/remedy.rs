//! What to do with files of variants that are not read: the end of the sentence that refuses them.

use std::fmt;

/// A stack in each of several files.
pub(super) const STACKS: &str = "write each file as an image of its own (`[[dataset.image]]` with its `url`), or say by \
                                 `pattern` which files hold a plane each";
/// A stack in each of several files that are one image by what they say.
pub(super) const SETS: &str = "they are one image by their OME-XML: name one of them by `url`, so that all are found";
/// Pages of several forms in one file.
pub(super) const PAGES: &str = "write those of the volume to a file of their own, by `tiffcp IN.tif,0,1,2 OUT.tif` of libtiff \
                                with the numbers of the pages, or by `tifffile` of Python";
/// Colours in TIFF.
pub(super) const COLOURS: &str = "convert it to grey values, in ImageJ by Image › Type › 8-bit, or by \
                                  `magick IN.tif -colorspace Gray -alpha off OUT.tif`";
/// Several numbers a pixel in TIFF that are no colours: channels, or grey and how opaque it is.
pub(super) const SAMPLES: &str = "keep one of them, in ImageJ by Image › Color › Split Channels, or, if the others say how \
                                  opaque a pixel is, by `magick IN.tif -alpha off OUT.tif`";
/// A codec or predictor of TIFF.
pub(super) const CODEC: &str = "store it in another way, by `tiffcp -c lzw IN.tif OUT.tif` of libtiff or \
                                `bfconvert -compression LZW IN.tif OUT.ome.tif` of Bio-Formats";
/// Too many strips or tiles in TIFF.
pub(super) const SEGMENTS: &str = "store fewer of them, by `tiffcp -s -r 256 IN.tif OUT.tif` or \
                                   `tiffcp -t -w 256 -l 256 IN.tif OUT.tif` of libtiff";
/// A codec of TIFF that libtiff has none of.
pub(super) const CODEC_OF_PYTHON: &str = "store it in another way, in Python with `tifffile` and `imagecodecs` by `imwrite(\"OUT.tif\", imread(\"IN.tif\"), \
     compression=\"zlib\")`";
/// Planes of a stack that were written as colours in TIFF.
pub(super) const PLANES_AS_COLOURS: &str = "its description speaks of a stack of these planes, which `tifffile` took for colours: write it by `imwrite(…, \
     photometric=\"minisblack\")`";
/// A page in TIFF of which nothing was stored.
pub(super) const EMPTY: &str =
    "if it is meant to be empty, write it out, by `gdal_translate IN.tif OUT.tif` of GDAL or by `tifffile` of Python";
/// Numbers in TIFF of a type that is none of a voxel.
pub(super) const NUMBERS: &str =
    "write its numbers as integers or floats of 8 to 64 bits, for example by `tifffile` of Python";
/// Formats that keep several planes in what looks like a page of TIFF.
pub(super) const PLANES: &str = "write a page for each plane, by `bfconvert IN OUT.ome.tif` of Bio-Formats";

/// Complex numbers in MRC.
pub(super) const MRC_COMPLEX: &str = "write the real image that it was made of, or its magnitudes as mode 2, for example by \
                                      `mrcfile` of Python";
/// Colours in MRC.
pub(super) const MRC_COLOURS: &str = "split it into files of a colour each by `clip splitrgb IN.mrc OUT` of IMOD";
/// Flags of IMOD that contradict each other.
pub(super) const MRC_FLAGS: &str =
    "rewrite it by `alterheader` or `newstack` of IMOD once it is known which of them holds";
/// Axes of MRC in another order.
pub(super) const MRC_AXES: &str = "write it with columns along x, rows along y and sections along z, by `AXIS X Y Z` of \
                                   `mapmask` of CCP4 or by `transpose` in Python with `mrcfile`";
/// Several volumes in one file of MRC.
pub(super) const MRC_VOLUMES: &str = "write each volume to a file of its own, for example by `mrcfile` of Python";

/// Pixels of DigitalMicrograph that are no single numbers.
pub(super) const DM_PIXELS: &str = "change it to a real or integer image, in DigitalMicrograph by Edit › Change Data Type, or \
                                    write it as TIFF, for example by `rsciio` of Python";
/// Axes of DigitalMicrograph beside those of a volume.
pub(super) const DM_AXES: &str =
    "write the planes that are wanted as a stack in TIFF, for example by `rsciio` of Python";

/// More than one moment in Zarr or N5.
pub(super) const MOMENTS: &str = "write the moment that is wanted as an array of its own, in Python by `out[:] = array[t]` with \
                                  `zarr` or `tensorstore`";
/// Arrays that have no three axes of space.
pub(super) const VOLUME: &str =
    "write it as an array with the axes z, y, x, a single plane with a z of length 1, and name them";
/// Names of axes that do not say which is which.
pub(super) const AXES: &str = "name its axes z, y, x and, where there are more, t and c (`dimension_names` of Zarr v3, \
                               `_ARRAY_DIMENSIONS` of v2, `axes` of an image)";
/// Codecs and filters of Zarr.
pub(super) const ZARR_CODEC: &str =
    "rewrite it by `zarr` of Python without filters and with Blosc, Zstandard, gzip or no compressor";
/// Shards in ways that are not read.
pub(super) const ZARR_SHARDS: &str = "rewrite it by `zarr` of Python with chunks and `shards` alone, or without shards";
/// Types of Zarr and N5 that are none of a voxel.
pub(super) const ZARR_TYPE: &str =
    "rewrite it by `zarr` or `tensorstore` of Python with integers of 8 to 64 bits, or floats of 32 or 64";
/// Structure of Zarr's documents.
pub(super) const ZARR_PLAIN: &str = "rewrite it by `zarr` of Python with a regular grid of chunks and no extensions";
/// Chunks that are too large.
pub(super) const CHUNKS: &str = "rewrite it in smaller chunks, for example of 64 voxels along each axis";
/// Places of levels in OME-NGFF.
pub(super) const TRANSFORMATION: &str = "write its place as a `scale` and a `translation`";
/// Versions of OME-NGFF.
pub(super) const NGFF_VERSION: &str =
    "write it as version 0.4 or 0.5, for example by `ome-zarr` or `ngff-zarr` of Python";
/// Codecs of N5.
pub(super) const N5_CODEC: &str =
    "rewrite it with the compression `gzip`, `zstd`, `blosc` or `raw`, for example by `tensorstore` of Python";
/// Encodings of precomputed volumes.
pub(super) const ENCODING: &str = "rewrite it as `raw`, `jpeg`, `png` or `compressed_segmentation`, for example by `igneous image \
                                   xfer SOURCE COPY --encoding raw` or by CloudVolume";
/// Types of precomputed volumes.
pub(super) const PRECOMPUTED_TYPE: &str =
    "rewrite it with integers of 8 to 64 bits or `float32`, for example by CloudVolume";

/// The end of a sentence, with a remedy where there is one.
pub(super) struct Told<'a>(pub(super) Option<&'a str>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}
