//! Kinds of sources, by the names that a configuration has for them.

use std::fmt;

/// What a source is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An image of the Image Data Resource.
    Idr,
    /// An entry of EMPIAR.
    Empiar,
    /// TIFF files.
    Tiff,
    /// Files of DigitalMicrograph, DM3 or DM4.
    Dm3,
    /// MRC files.
    Mrc,
    /// An array or a group of Zarr, version 2 or 3.
    Zarr,
    /// A dataset or a group of N5.
    N5,
    /// A precomputed volume of neuroglancer.
    Precomputed,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] =
        [Kind::Idr, Kind::Empiar, Kind::Tiff, Kind::Dm3, Kind::Mrc, Kind::Zarr, Kind::N5, Kind::Precomputed];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Idr => "idr",
            Kind::Empiar => "empiar",
            Kind::Tiff => "tiff",
            Kind::Dm3 => "dm3",
            Kind::Mrc => "mrc",
            Kind::Zarr => "zarr",
            Kind::N5 => "n5",
            Kind::Precomputed => "precomputed",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind that is read for what people call by the ending of its files, or in other letters.
    pub fn meant(name: &str) -> Option<Kind> {
        let name = name.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
        let name = name.trim_start_matches('-');
        Kind::named(name).or(match name {
            "dm" | "dm4" | "gatan" => Some(Kind::Dm3),
            "tif" | "btf" | "tf8" | "bigtiff" | "ome-tif" | "ome-tiff" | "imagej" => Some(Kind::Tiff),
            "mrcs" | "map" | "rec" | "st" | "ccp4" => Some(Kind::Mrc),
            "zarr2" | "zarr3" | "ome-zarr" | "omezarr" | "ngff" | "ome-ngff" => Some(Kind::Zarr),
            "neuroglancer" | "neuroglancer-precomputed" => Some(Kind::Precomputed),
            _ => None,
        })
    }

    /// Whether its sources are stacks of planes, whose chunk grid emfs chooses, rather than such with a grid of their own.
    pub const fn is_planes(self) -> bool {
        match self {
            Kind::Idr | Kind::Empiar | Kind::Tiff | Kind::Dm3 | Kind::Mrc => true,
            Kind::Zarr | Kind::N5 | Kind::Precomputed => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_name_that_leads_back() {
        for kind in Kind::ALL {
            assert_eq!((Kind::named(kind.name()), Kind::meant(kind.name())), (Some(kind), Some(kind)));
        }
        assert_eq!((Kind::named("Zarr"), Kind::meant("Zarr"), Kind::meant("nifti")), (None, Some(Kind::Zarr), None));
    }
}
