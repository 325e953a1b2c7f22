//! Units of length of OME-NGFF axes, in nanometres.

/// Turns a length in some unit into nanometres.
pub(super) type ToNanometres = fn(f64) -> f64;

/// Converts a length in `unit` into nanometres; `None` where the unit is not known.
///
/// The names are those that OME-NGFF takes from UDUNITS-2, and the short forms that writers use.
pub(super) fn nanometres(unit: &str) -> Option<ToNanometres> {
    // A division where the factor is below one: 0.1 has no exact value, 10 has.
    Some(match unit {
        "nanometer" | "nanometre" | "nm" => |length| length,
        "angstrom" | "ångström" | "Å" => |length| length / 10.0,
        "picometer" | "picometre" | "pm" => |length| length / 1e3,
        "femtometer" | "femtometre" | "fm" => |length| length / 1e6,
        "attometer" => |length| length / 1e9,
        "zeptometer" => |length| length / 1e12,
        "yoctometer" => |length| length / 1e15,
        // Both the Greek letter and the micro sign.
        "micrometer" | "micrometre" | "micron" | "um" | "μm" | "µm" => |length| length * 1e3,
        "millimeter" | "millimetre" | "mm" => |length| length * 1e6,
        "centimeter" | "centimetre" | "cm" => |length| length * 1e7,
        "decimeter" => |length| length * 1e8,
        "meter" | "metre" | "m" => |length| length * 1e9,
        "inch" => |length| length * 25_400_000.0,
        "foot" => |length| length * 304_800_000.0,
        "yard" => |length| length * 914_400_000.0,
        "decameter" => |length| length * 1e10,
        "hectometer" => |length| length * 1e11,
        "kilometer" => |length| length * 1e12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::nanometres;

    #[test]
    fn lengths_are_converted_without_noise() {
        let convert = |unit: &str, length: f64| nanometres(unit).map(|convert| convert(length));
        assert_eq!(convert("nanometer", 2.96), Some(2.96));
        assert_eq!(convert("angstrom", 29.6), Some(2.96));
        assert_eq!(convert("micrometer", 0.004), Some(4.0));
        assert_eq!(convert("millimeter", 0.000008), Some(8.0));
        assert_eq!(convert("meter", 8e-9), Some(8.0));
        assert_eq!(convert("picometer", 400.0), Some(0.4));
        assert_eq!(convert("pixel", 1.0), None);
        assert_eq!(convert("", 1.0), None);
    }
}
