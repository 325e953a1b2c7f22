use serde_json::{Value, json};

use super::parse;
use crate::dtype::DataType::{self, *};
use crate::source::zarr::json::JsonField;

fn fill(dtype: DataType, value: Value) -> Result<Vec<u8>, String> {
    let document = json!({"fill_value": value});
    let field = JsonField::root("a/.zarray", &document).unwrap().member("fill_value").unwrap();
    parse(&field, dtype).map(|fill| fill.as_le_bytes().to_vec()).map_err(|error| error.to_string())
}

#[test]
fn numbers_become_voxels_of_the_type() {
    assert_eq!(fill(U8, json!(255)), Ok(vec![255]));
    assert_eq!(fill(I8, json!(-128)), Ok(vec![0x80]));
    assert_eq!(fill(I16, json!(-2)), Ok(vec![0xfe, 0xff]));
    assert_eq!(fill(U16, json!(258.0)), Ok(vec![2, 1]));
    assert_eq!(fill(U64, json!(u64::MAX)), Ok(vec![255; 8]));
    assert_eq!(fill(I64, json!(i64::MIN)), Ok(i64::MIN.to_le_bytes().to_vec()));
    assert_eq!(fill(F32, json!(0.1)), Ok(0.1f32.to_le_bytes().to_vec()));
    assert_eq!(fill(F64, json!(3)), Ok(3f64.to_le_bytes().to_vec()));
}

#[test]
fn floats_may_be_words_or_bits() {
    assert_eq!(fill(F32, json!("NaN")), Ok(f32::NAN.to_le_bytes().to_vec()));
    assert_eq!(fill(F32, json!("-Infinity")), Ok(f32::NEG_INFINITY.to_le_bytes().to_vec()));
    assert_eq!(fill(F64, json!("Infinity")), Ok(f64::INFINITY.to_le_bytes().to_vec()));
    assert_eq!(fill(F32, json!("0x7fc00001")), Ok(0x7fc0_0001u32.to_le_bytes().to_vec()));
    // Of boolean arrays, which are shown as whole numbers.
    assert_eq!(fill(U8, json!(true)), Ok(vec![1]));
    assert_eq!(fill(F64, json!("0x7ff8000000000001")), Ok(0x7ff8_0000_0000_0001u64.to_le_bytes().to_vec()));
}

#[test]
fn numbers_may_stand_as_text() {
    assert_eq!(fill(U8, json!("0")), Ok(vec![0]));
    assert_eq!(fill(U8, json!("7.0")), Ok(vec![7]));
    assert_eq!(fill(I16, json!("-2")), Ok(vec![0xfe, 0xff]));
    assert_eq!(fill(U64, json!("18446744073709551615")), Ok(vec![255; 8]));
    assert_eq!(fill(F32, json!("0.0")), Ok(vec![0; 4]));
    assert_eq!(fill(F32, json!("-1")), Ok((-1f32).to_le_bytes().to_vec()));
    assert_eq!(fill(F64, json!("1.5e-3")), Ok(1.5e-3f64.to_le_bytes().to_vec()));
}

#[test]
fn values_outside_of_the_type_are_refused_by_name() {
    let cases = [
        (U8, json!(256), "256 is no uint8"),
        (U8, json!(-1), "-1 is no uint8"),
        (I8, json!(128), "128 is no int8"),
        (U16, json!(1.5), "1.5 is no uint16"),
        (U64, json!(1e300), "1e+300 is no uint64"),
        (F32, json!(true), "true is no float32"),
        (U8, json!(""), "`` is no uint8"),
        (U8, json!("256"), "`256` is no uint8"),
        (U8, json!("0.5"), "`0.5` is no uint8"),
        (U8, json!("NaN"), "`NaN` is no uint8"),
        (F32, json!("inf"), "`inf` is no float32"),
        (F32, json!("1e300"), "`1e300` is no float32"),
        (U8, json!([0]), "an array of 1 is no uint8"),
        (F32, json!(1e300), "1e+300 is no float32"),
        (F32, json!("nan"), "`nan` is no float32"),
        (F32, json!("0x7fc0"), "a float's bits are 0x and 8 hexadecimal digits"),
        (F64, json!("0x+ff8000000000001"), "a float's bits are 0x and 16 hexadecimal digits"),
    ];
    for (dtype, value, reason) in cases {
        assert_eq!(fill(dtype, value), Err(format!("a/.zarray: fill_value: {reason}")));
    }
}
