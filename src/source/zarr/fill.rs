//! The value of voxels that are not stored, as array documents write it.

use half::f16;
use serde_json::Value;

use super::json::JsonField;
use crate::dtype::{DataType, FillValue};
use crate::source::SourceError;

/// Reads a `fill_value`. Numbers must have an exact place in the type, apart from the rounding of floats; floats may
/// also be `NaN`, `Infinity`, `-Infinity` or, in Zarr v3, their bits as `0x7fc00000`. Numbers may stand as text, as n5-zarr
/// wrote those of all arrays.
pub(super) fn parse(field: &JsonField, dtype: DataType) -> Result<FillValue, SourceError> {
    let bytes = match dtype {
        DataType::U8 => u8::try_from(integer(field, dtype)?).map(|v| v.to_le_bytes().to_vec()),
        DataType::I8 => i8::try_from(integer(field, dtype)?).map(|v| v.to_le_bytes().to_vec()),
        DataType::U16 => u16::try_from(integer(field, dtype)?).map(|v| v.to_le_bytes().to_vec()),
        DataType::I16 => i16::try_from(integer(field, dtype)?).map(|v| v.to_le_bytes().to_vec()),
        DataType::U32 => u32::try_from(integer(field, dtype)?).map(|v| v.to_le_bytes().to_vec()),
        DataType::I32 => i32::try_from(integer(field, dtype)?).map(|v| v.to_le_bytes().to_vec()),
        DataType::U64 => u64::try_from(integer(field, dtype)?).map(|v| v.to_le_bytes().to_vec()),
        DataType::I64 => i64::try_from(integer(field, dtype)?).map(|v| v.to_le_bytes().to_vec()),
        DataType::F32 => Ok(match bits(field, 8)? {
            Some(bits) => (bits as u32).to_le_bytes().to_vec(),
            None => narrow(field, float(field, dtype)?)?.to_le_bytes().to_vec(),
        }),
        DataType::F64 => Ok(match bits(field, 16)? {
            Some(bits) => bits.to_le_bytes().to_vec(),
            None => float(field, dtype)?.to_le_bytes().to_vec(),
        }),
    };
    bytes.ok().and_then(|bytes| FillValue::from_le_bytes(&bytes)).ok_or_else(|| no_value(field, dtype))
}

/// The same for a float of 16 bits, as one of 32.
pub(super) fn half(field: &JsonField) -> Result<FillValue, SourceError> {
    let half = match bits(field, 4)? {
        Some(bits) => f16::from_bits(bits as u16),
        None => {
            let value = float(field, DataType::F32)?;
            let half = f16::from_f64(value);
            if value.is_finite() && !half.is_finite() {
                return Err(no_value(field, DataType::F32));
            }
            half
        }
    };
    FillValue::from_le_bytes(&half.to_f32().to_le_bytes()).ok_or_else(|| no_value(field, DataType::F32))
}

fn no_value(field: &JsonField, dtype: DataType) -> SourceError {
    field.malformed(format!("{} is no {dtype}", super::json::brief(field.value)))
}

fn integer(field: &JsonField, dtype: DataType) -> Result<i128, SourceError> {
    let number = match field.value {
        Value::Number(number) => number,
        Value::Bool(flag) => return Ok((*flag).into()),
        Value::String(text) => {
            let whole = text.parse::<i128>().ok().or_else(|| decimal(text).and_then(whole));
            return whole.ok_or_else(|| no_value(field, dtype));
        }
        _ => return Err(no_value(field, dtype)),
    };
    // numpy writes `0.0` for an integer array at times.
    number.as_i128().or_else(|| number.as_f64().and_then(whole)).ok_or_else(|| no_value(field, dtype))
}

/// A float that is a whole number, and not so large that it may have been rounded.
fn whole(value: f64) -> Option<i128> {
    (value.fract() == 0.0 && value.abs() < 2f64.powi(53)).then_some(value as i128)
}

/// A decimal number that stands as text.
fn decimal(text: &str) -> Option<f64> {
    // Words for numbers are those of the format only.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    text.parse::<f64>().ok().filter(|value| is_digits && value.is_finite())
}

fn float(field: &JsonField, dtype: DataType) -> Result<f64, SourceError> {
    match field.value {
        Value::Number(number) => number.as_f64().ok_or_else(|| no_value(field, dtype)),
        Value::String(text) => match text.as_str() {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            text => decimal(text).ok_or_else(|| no_value(field, dtype)),
        },
        _ => Err(no_value(field, dtype)),
    }
}

/// The nearest 32-bit float, which must be as finite as the number.
fn narrow(field: &JsonField, value: f64) -> Result<f32, SourceError> {
    let narrow = value as f32;
    if value.is_finite() && !narrow.is_finite() { Err(no_value(field, DataType::F32)) } else { Ok(narrow) }
}

/// The bits of a float written as `0x` and `digits` hexadecimal digits; `None` where the value is no such text.
fn bits(field: &JsonField, digits: usize) -> Result<Option<u64>, SourceError> {
    let Some(hex) = field.value.as_str().and_then(|text| text.strip_prefix("0x")) else {
        return Ok(None);
    };
    if hex.len() != digits || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(field.malformed(format!("a float's bits are 0x and {digits} hexadecimal digits")));
    }
    u64::from_str_radix(hex, 16).map(Some).map_err(|error| field.malformed(error.to_string()))
}

#[cfg(test)]
mod tests;
