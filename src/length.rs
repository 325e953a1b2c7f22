//! Lengths in nanometres, from whatever unit a format writes: the one place where units are converted.
//!
//! Units are powers of ten of each other, so converting moves the decimal point in the text of a number. Multiplying would
//! add noise: 0.0069 µm are 6.9 nm, not 6.8999999999999995, which is no voxel size that two files agree on.

use crate::xml::unescaped;

/// Names of a unit, each with the power of ten of a nanometre that it is, and how many of that power.
const UNITS: [(&[&str], f64, i32); 18] = [
    (&["yoctometer", "yoctometre"], 1.0, -15),
    (&["zeptometer", "zeptometre"], 1.0, -12),
    (&["attometer", "attometre"], 1.0, -9),
    (&["fm", "femtometer", "femtometre"], 1.0, -6),
    (&["pm", "picometer", "picometre"], 1.0, -3),
    (&["Å", "A", "angstrom", "ångström", "ångstrom"], 1.0, -1),
    (&["nm", "nanometer", "nanometre"], 1.0, 0),
    (&["µm", "um", "micron", "micrometer", "micrometre"], 1.0, 3),
    (&["mm", "millimeter", "millimetre"], 1.0, 6),
    (&["cm", "centimeter", "centimetre"], 1.0, 7),
    (&["dm", "decimeter", "decimetre"], 1.0, 8),
    (&["m", "meter", "metre"], 1.0, 9),
    (&["decameter", "decametre"], 1.0, 10),
    (&["hectometer", "hectometre"], 1.0, 11),
    (&["km", "kilometer", "kilometre"], 1.0, 12),
    (&["in", "inch", "inches"], 254.0, 5),
    (&["foot", "feet"], 3048.0, 5),
    (&["yard"], 9144.0, 5),
];

/// What writers say where there is no unit.
const NO_UNIT: [&str; 9] = ["", "pixel", "px", "voxel", "null", "none", "undefined", "reference frame", "unit"];

/// Ways to write the letters µ and Å, which have two code points each: as ImageJ escapes them, and as UTF-8 that somebody has
/// read as Latin-1.
const LETTERS: [(&str, &str); 8] = [
    ("\\u00B5", "µ"),
    ("\\u00b5", "µ"),
    ("\\u03BC", "µ"),
    ("\\u03bc", "µ"),
    ("\\u00C5", "Å"),
    ("\\u00c5", "Å"),
    ("Âµ", "µ"),
    ("Î¼", "µ"),
];

/// A name with each letter in one spelling.
fn plain(name: &str) -> String {
    let mut name = unescaped(name.trim()).replace('μ', "µ").replace('\u{212b}', "Å");
    for (written, letter) in LETTERS {
        if name.contains(written) {
            name = name.replace(written, letter);
        }
    }
    name
}

/// The denominator with which ImageJ writes fractions, whose numerator it cuts off.
const OF_IMAGEJ: f64 = 1e6;
/// From this numerator on a fraction is as precise as its 32 bits allow, so its last digit is one of rounding.
const ALL_BITS: f64 = (1u32 << 30) as f64;
/// Digits behind which there is only noise.
const DIGITS: usize = 15;

/// A unit of length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    count: f64,
    exponent: i32,
}

impl Unit {
    /// Finds a unit by its symbol or its name, in singular or plural, however its letters are; `None` where it is none of
    /// length. The names are those that OME-NGFF takes from UDUNITS-2, those of OME-XML and OMERO, and the short forms that
    /// writers use.
    pub fn named(name: &str) -> Option<Unit> {
        let name = plain(name);
        let folded = name.to_lowercase();
        let is_symbol = |known: &str| known.chars().count() <= 2;
        let is_named = |known: &&str| match is_symbol(known) {
            // Mm is another unit than mm, and MM is none.
            true => *known == name || (name != "Mm" && name.chars().count() > 1 && known.to_lowercase() == folded),
            false => folded == **known || folded.strip_suffix('s') == Some(known),
        };
        let (_, count, exponent) = UNITS.into_iter().find(|(names, ..)| names.iter().any(is_named))?;
        Some(Unit { count, exponent })
    }

    /// Whether a name says that there is no unit.
    pub fn is_none(name: &str) -> bool {
        let name = plain(name).to_lowercase();
        NO_UNIT.contains(&name.as_str()) || NO_UNIT.contains(&name.strip_suffix('s').unwrap_or(&name))
    }

    /// A length in this unit as nanometres; `None` where that is not finite.
    pub fn nanometres(self, length: f64) -> Option<f64> {
        shifted(length * self.count, self.exponent)
    }

    /// Nanometres per pixel from a resolution of `above / below` pixels per unit; `None` where that is no size.
    pub fn per_pixel(self, [above, below]: [f64; 2]) -> Option<f64> {
        let below_nm = self.nanometres(below)?;
        let size = Some(below_nm / above).filter(|size| size.is_finite() && *size > 0.0)?;
        if below != OF_IMAGEJ && above < ALL_BITS {
            return Some(size);
        }
        // Of the sizes that are written like this, the one of the fewest digits is what was meant.
        let is_written_so = |short: &f64| (below_nm / short - above).abs() < 1.0;
        let short = (0..DIGITS).find_map(|digits| format!("{size:.digits$e}").parse().ok().filter(is_written_so));
        short.or(Some(size))
    }
}

/// `number · 10^exponent` by moving the decimal point; `None` where that is not finite.
pub fn shifted(number: f64, exponent: i32) -> Option<f64> {
    let text = format!("{number:e}");
    let (mantissa, power) = text.split_once('e')?;
    let moved: f64 = format!("{mantissa}e{}", power.parse::<i32>().ok()?.checked_add(exponent)?).parse().ok()?;
    moved.is_finite().then_some(moved)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanometres(length: f64, unit: &str) -> Option<f64> {
        Unit::named(unit)?.nanometres(length)
    }

    #[test]
    fn lengths_of_all_units_are_nanometres_to_the_last_digit() {
        for (length, unit, expected) in [
            (80.0, "Å", Some(8.0)),
            (29.6, "ANGSTROM", Some(2.96)),
            (80.0, "\u{212b}", Some(8.0)),
            (2.0, "A", Some(0.2)),
            (2.96, "nm", Some(2.96)),
            (50.0, "NANOMETER", Some(50.0)),
            (0.0069, "µm", Some(6.9)),
            (0.02, "\\u00B5m", Some(20.0)),
            (0.02, "μm", Some(20.0)),
            (0.02, "MICROMETER", Some(20.0)),
            (0.0079982504, "microns", Some(7.9982504)),
            (0.00005, "mm", Some(50.0)),
            (8e-9, "m", Some(8.0)),
            (400.0, "picometer", Some(0.4)),
            (-0.0069, "µm", Some(-6.9)),
            (0.0, "µm", Some(0.0)),
            (1.0, "inch", Some(25.4e6)),
            (1.0, "inches", Some(25.4e6)),
            (1.0, "foot", Some(304.8e6)),
            (1.0, "kilometer", Some(1e12)),
            (1.0, "Mm", None),
            (8.0, "NM", Some(8.0)),
            (8.0, "Nm", Some(8.0)),
            (0.02, "UM", Some(20.0)),
            (8.0, "Nanometers", Some(8.0)),
            (0.02, "&#956;m", Some(20.0)),
            (0.02, "&#xB5;m", Some(20.0)),
            (0.02, "&micro;m", Some(20.0)),
            (0.02, "\\u03BCm", Some(20.0)),
            (80.0, "&#197;", Some(8.0)),
            (80.0, "Angstroms", Some(8.0)),
            (1.0, "M", None),
            (1.0, "a", None),
            (1.0, "1/nm", None),
            (1.0, "pixel", None),
            (1.0, "µ", None),
            (1.0, "s", None),
            (1.0, "", None),
            (1e308, "m", None),
            (f64::NAN, "nm", None),
        ] {
            assert_eq!(nanometres(length, unit), expected, "{length} {unit}");
        }
    }

    #[test]
    fn thousandths_of_a_micrometre_are_whole_nanometres_in_every_unit() {
        for (names, count, exponent) in UNITS {
            for thousandths in (1..=20_000).filter(|_| count == 1.0) {
                let length: f64 = format!("{thousandths}e{}", -exponent).parse().unwrap();
                assert_eq!(nanometres(length, names[0]), Some(f64::from(thousandths)), "{length} {}", names[0]);
            }
        }
    }

    #[test]
    fn resolutions_are_turned_around() {
        let per_pixel = |above, below, unit| Unit::named(unit)?.per_pixel([above, below]);
        assert_eq!(per_pixel(50_000_000.0, 1_000_000.0, "\\u00B5m"), Some(20.0));
        assert_eq!(per_pixel(300.0, 1.0, "inch"), Some(25.4e6 / 300.0));
        assert_eq!(per_pixel(10_000.0, 69.0, "µm"), Some(6.9));
        assert_eq!(per_pixel(2_000_000.0, 1.0, "cm"), Some(5.0));
        assert_eq!(per_pixel(0.0, 1.0, "cm"), None);
        assert_eq!(per_pixel(1.0, 0.0, "cm"), None);
    }

    #[test]
    fn resolutions_that_imagej_has_cut_off_are_the_sizes_that_were_meant() {
        for thousandths in 1..=20_000 {
            for (unit, per_unit) in [("µm", 1e3), ("mm", 1e6), ("cm", 1e7), ("nm", 1.0)] {
                // As ImageJ's TiffEncoder does.
                let resolution = per_unit / f64::from(thousandths);
                let largest = f64::from(i32::MAX);
                let below = if resolution * OF_IMAGEJ > largest { (largest / resolution).floor() } else { OF_IMAGEJ };
                let above = (resolution * below).floor();
                let size = Unit::named(unit).unwrap().per_pixel([above, below]);
                // Pixels of more than 10 units are written in fewer digits than they have.
                if above >= 5e4 {
                    assert_eq!(size, Some(f64::from(thousandths)), "{above}/{below} per {unit}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(crate::test_cases(64)))]

        #[test]
        fn no_text_and_no_number_panics(text: String, number: f64, other: f64) {
            nanometres(number, &text);
            let nanometre = Unit { count: 1.0, exponent: 0 };
            prop_assert!(nanometre.per_pixel([number, other]).is_none_or(|size| size.is_finite() && size > 0.0));
            if number.is_finite() {
                prop_assert_eq!(nanometres(number, "nm"), Some(number));
            }
        }
    }
}
