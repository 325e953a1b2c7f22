//! The value of what was never written: GDAL leaves blocks out that hold nothing else and says in a tag of its own what that is.
//!
//! Sources: GDAL's driver `GTiff` (`GDAL_NODATA`), tifffile's `TiffPage.nodata`.

use super::ifd::{Ifd, tags, text_of};
use super::read::ReadAhead;
use crate::dtype::{DataType, FillValue};
use crate::source::SourceError;

/// Longest text of a number.
const MAX_TEXT: u64 = 256;

/// What voxels of a page are that were never written; 0 where the file does not say, or says no value of their type. A tag that
/// cannot be read is an error where such voxels are there.
pub(super) async fn read(
    file: &mut ReadAhead,
    ifd: &Ifd,
    dtype: DataType,
    is_whole: bool,
) -> Result<FillValue, SourceError> {
    match stated(file, ifd).await? {
        Some(text) => Ok(value(&text, dtype).unwrap_or(FillValue::zero(dtype))),
        None if ifd.has(tags::GDAL_NODATA) && !is_whole => {
            let reason = "cannot be read, and the page has strips or tiles that hold nothing but this value";
            Err(SourceError::malformed(file.name(), ifd.field(tags::GDAL_NODATA), reason))
        }
        None => Ok(FillValue::zero(dtype)),
    }
}

/// What the file says that is no value of the type, so that 0 is shown in its place.
pub(super) async fn unusable(file: &mut ReadAhead, ifd: &Ifd, dtype: DataType) -> Result<Option<String>, SourceError> {
    Ok(stated(file, ifd).await?.filter(|text| value(text, dtype).is_none()))
}

async fn stated(file: &mut ReadAhead, ifd: &Ifd) -> Result<Option<String>, SourceError> {
    let bytes = ifd.opaque(file, tags::GDAL_NODATA, MAX_TEXT).await?;
    let text = |bytes: bytes::Bytes| text_of(bytes.split(|byte| *byte == 0).next().unwrap_or_default());
    Ok(bytes.map(text).map(|text| text.trim().to_owned()))
}

/// A number as a value of the type; `None` where it is none.
pub(super) fn value(text: &str, dtype: DataType) -> Option<FillValue> {
    let text = text.trim().replace(',', ".");
    let float = || text.parse::<f64>().ok();
    // 2⁶⁴ and more is no integer of any type.
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 2e19).then_some(number as i128);
    let integer = || text.parse::<i128>().ok().or_else(|| float().and_then(whole));
    match dtype {
        DataType::F64 => FillValue::from_le_bytes(&float()?.to_le_bytes()),
        DataType::F32 => {
            let number = float()?;
            let short = number as f32;
            let fits = short.is_finite() || !number.is_finite();
            FillValue::from_le_bytes(&short.to_le_bytes()).filter(|_| fits)
        }
        DataType::U8 => FillValue::from_le_bytes(&u8::try_from(integer()?).ok()?.to_le_bytes()),
        DataType::I8 => FillValue::from_le_bytes(&i8::try_from(integer()?).ok()?.to_le_bytes()),
        DataType::U16 => FillValue::from_le_bytes(&u16::try_from(integer()?).ok()?.to_le_bytes()),
        DataType::I16 => FillValue::from_le_bytes(&i16::try_from(integer()?).ok()?.to_le_bytes()),
        DataType::U32 => FillValue::from_le_bytes(&u32::try_from(integer()?).ok()?.to_le_bytes()),
        DataType::I32 => FillValue::from_le_bytes(&i32::try_from(integer()?).ok()?.to_le_bytes()),
        DataType::U64 => FillValue::from_le_bytes(&u64::try_from(integer()?).ok()?.to_le_bytes()),
        DataType::I64 => FillValue::from_le_bytes(&i64::try_from(integer()?).ok()?.to_le_bytes()),
    }
}
