//! What to do with files of variants that are not read: the end of the sentence that refuses them.

use std::fmt;

/// A stack in each of several files.
pub(super) const STACKS: &str = "write each file as an image of its own (`[[dataset.image]]` with its `url`), or say by \
                                 `pattern` which files hold a plane each";
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
