//! Values of parameters, from the forms that the wire has for them to what the engine binds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray, StringArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, TimeUnit};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use pgwire::api::Type;

use super::moment;
use super::value::Format;
use super::wire::Reader;
use crate::table::sheet::UTC;

mod cast;

pub(super) use cast::cast_types;

/// Digits of a number, and how many of them after the point.
const NUMERIC: DataType = DataType::Decimal128(38, 10);

/// The engine's type for one of the wire; none where it is not offered for parameters.
pub(super) fn data_type(kind: &Type) -> Option<DataType> {
    Some(match *kind {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID | Type::XID => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => NUMERIC,
        Type::TEXT
        | Type::VARCHAR
        | Type::BPCHAR
        | Type::CHAR
        | Type::NAME
        | Type::UNKNOWN
        | Type::UUID
        | Type::JSON
        | Type::JSONB
        | Type::VOID => DataType::Utf8,
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        _ => {
            let item = data_type(item_type(kind)?)?;
            DataType::List(Arc::new(Field::new_list_field(item, true)))
        }
    })
}

/// The type of a list's items, for lists that are offered.
fn item_type(list: &Type) -> Option<&'static Type> {
    Some(match *list {
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::NAME_ARRAY => &Type::TEXT,
        Type::INT2_ARRAY => &Type::INT2,
        Type::INT4_ARRAY => &Type::INT4,
        Type::INT8_ARRAY | Type::OID_ARRAY => &Type::INT8,
        Type::FLOAT8_ARRAY => &Type::FLOAT8,
        Type::BOOL_ARRAY => &Type::BOOL,
        Type::TIMESTAMPTZ_ARRAY => &Type::TIMESTAMPTZ,
        _ => return None,
    })
}

/// A parameter's value.
///
/// # Errors
/// In words, when the bytes are no value of the type.
pub(super) fn scalar(
    kind: &Type,
    format: Format,
    value: Option<&Bytes>,
) -> Result<ScalarValue, String> {
    let to = data_type(kind).ok_or_else(|| format!("parameters of type {kind} are not offered"))?;
    let Some(bytes) = value else {
        return ScalarValue::try_from(&to).map_err(|e| e.strip_backtrace());
    };
    match format {
        Format::Text => {
            let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
            from_text(kind, &to, text)
        }
        Format::Binary => from_binary(kind, bytes.clone())
            .ok_or_else(|| format!("{} bytes are no {kind}", bytes.len())),
    }
}

fn from_text(kind: &Type, to: &DataType, text: &str) -> Result<ScalarValue, String> {
    if let Some(item) = item_type(kind) {
        let items = list_items(text).ok_or_else(|| "it is no list".to_owned())?;
        return list(cast_texts(&items, &data_type(item).ok_or("no such list")?)?);
    }
    if *kind == Type::BYTEA {
        let digits = text.strip_prefix("\\x").ok_or("bytes begin with `\\x`")?;
        let bytes = hex::decode(digits).map_err(|e| e.to_string())?;
        return Ok(ScalarValue::Binary(Some(bytes)));
    }
    let texts = [Some(text.to_owned())];
    let cast = cast_texts(&texts, to)?;
    ScalarValue::try_from_array(&cast, 0).map_err(|e| e.strip_backtrace())
}

/// Texts as values of another type, all of them or none.
fn cast_texts(texts: &[Option<String>], to: &DataType) -> Result<ArrayRef, String> {
    let texts: ArrayRef = Arc::new(texts.iter().collect::<StringArray>());
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&texts, to, &options).map_err(|e| e.to_string())
}

fn list(items: ArrayRef) -> Result<ScalarValue, String> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths([items.len()]);
    let list = ListArray::try_new(field, offsets, items, None).map_err(|e| e.to_string())?;
    Ok(ScalarValue::List(Arc::new(list)))
}

/// The items of `{a,"b c",NULL}`; none if it is no list of one dimension.
pub(super) fn list_items(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut rest = inner.chars().peekable();
    while rest.peek().is_some() {
        let (mut item, mut quoted) = (String::new(), false);
        if rest.next_if_eq(&'"').is_some() {
            quoted = true;
            loop {
                match rest.next()? {
                    '"' => break,
                    '\\' => item.push(rest.next()?),
                    other => item.push(other),
                }
            }
        } else {
            while let Some(next) = rest.next_if(|next| *next != ',') {
                match next {
                    '{' | '}' | '"' => return None,
                    '\\' => item.push(rest.next()?),
                    other => item.push(other),
                }
            }
        }
        let is_null = !quoted && item.eq_ignore_ascii_case("null");
        items.push((!is_null).then_some(item));
        match rest.next() {
            None => break,
            Some(',') if rest.peek().is_some() => {}
            Some(_) => return None,
        }
    }
    Some(items)
}

fn from_binary(kind: &Type, bytes: Bytes) -> Option<ScalarValue> {
    fn whole<const N: usize>(bytes: &Bytes) -> Option<[u8; N]> {
        bytes.as_ref().try_into().ok()
    }
    let integer = || match bytes.len() {
        2 => whole(&bytes).map(i16::from_be_bytes).map(i64::from),
        4 => whole(&bytes).map(i32::from_be_bytes).map(i64::from),
        _ => whole(&bytes).map(i64::from_be_bytes),
    };
    let moment = || integer()?.checked_add(moment::EPOCH_MICROS);
    Some(match *kind {
        Type::BOOL => ScalarValue::Boolean(Some(whole::<1>(&bytes)?[0] != 0)),
        Type::INT2 => ScalarValue::Int16(Some(i16::from_be_bytes(whole(&bytes)?))),
        Type::INT4 => ScalarValue::Int32(Some(i32::from_be_bytes(whole(&bytes)?))),
        Type::INT8 => ScalarValue::Int64(Some(i64::from_be_bytes(whole(&bytes)?))),
        Type::OID | Type::XID => {
            ScalarValue::Int64(Some(u32::from_be_bytes(whole(&bytes)?).into()))
        }
        Type::FLOAT4 => ScalarValue::Float32(Some(f32::from_be_bytes(whole(&bytes)?))),
        Type::FLOAT8 => ScalarValue::Float64(Some(f64::from_be_bytes(whole(&bytes)?))),
        Type::BYTEA => ScalarValue::Binary(Some(bytes.to_vec())),
        Type::DATE => {
            let days = i32::from_be_bytes(whole(&bytes)?).checked_add(moment::EPOCH_DAYS)?;
            ScalarValue::Date32(Some(days))
        }
        Type::TIME => ScalarValue::Time64Microsecond(Some(i64::from_be_bytes(whole(&bytes)?))),
        Type::TIMESTAMP if bytes.len() == 8 => {
            ScalarValue::TimestampMicrosecond(Some(moment()?), None)
        }
        Type::TIMESTAMPTZ if bytes.len() == 8 => {
            ScalarValue::TimestampMicrosecond(Some(moment()?), Some(UTC.into()))
        }
        Type::UUID => {
            let text = hex::encode(whole::<16>(&bytes)?);
            let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
            ScalarValue::Utf8(Some(parts.join("-")))
        }
        Type::NUMERIC => numeric(bytes)?,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => return None,
        _ => match item_type(kind) {
            Some(item) => list_binary(item, bytes)?,
            None => ScalarValue::Utf8(Some(String::from_utf8(bytes.to_vec()).ok()?)),
        },
    })
}

/// Groups of four decimal digits, as [`super::value`] writes them.
fn numeric(bytes: Bytes) -> Option<ScalarValue> {
    const PLACES: i32 = 10;
    let mut read = Reader(bytes);
    let (groups, weight, sign) = (read.i16()?, read.i16()?, read.i16()?);
    read.i16()?;
    if sign != 0 && sign != 0x4000 {
        return None;
    }
    let mut value: i128 = 0;
    for at in 0..i32::from(groups) {
        // The decimal power of the group's last digit, counted in places after the point.
        let power = 4 * (i32::from(weight) - at) + PLACES;
        let group = u16::try_from(read.i16()?).ok().filter(|group| *group < 10_000)?;
        let group = i128::from(group);
        let part = match u32::try_from(power) {
            Ok(power) => group.checked_mul(10i128.checked_pow(power)?)?,
            Err(_) => group / 10i128.checked_pow(power.unsigned_abs())?,
        };
        value = value.checked_add(part)?;
    }
    let value = if sign == 0 { value } else { value.checked_neg()? };
    read.0.is_empty().then_some(ScalarValue::Decimal128(Some(value), 38, 10))
}

fn list_binary(item: &Type, bytes: Bytes) -> Option<ScalarValue> {
    let mut read = Reader(bytes);
    let (dimensions, _nulls, _kind) = (read.i32()?, read.i32()?, read.u32()?);
    let mut count = 0;
    if dimensions != 0 {
        count = usize::try_from(read.i32()?).ok()?;
        read.i32()?;
    }
    if dimensions > 1 || count > read.0.len() / 4 {
        return None;
    }
    let to = data_type(item)?;
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        items.push(match read.value()? {
            Some(bytes) => from_binary(item, bytes)?,
            None => ScalarValue::try_from(&to).ok()?,
        });
    }
    if items.is_empty() {
        return list(arrow::array::new_empty_array(&to)).ok();
    }
    list(ScalarValue::iter_to_array(items).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: &Type, text: &str) -> Result<ScalarValue, String> {
        scalar(kind, Format::Text, Some(&Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn texts_become_values_of_their_type() {
        let moment = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some(UTC.into()));
        for written in [
            "2026-11-23 02:47:10.5+00",
            "2026-11-23T02:47:10.5Z",
            "2026-11-23 03:47:10.5+01",
            "2026-11-23 03:47:10.5+01:00",
            "2026-11-23 02:47:10.5",
        ] {
            let value = text(&Type::TIMESTAMPTZ, written);
            assert_eq!(value, Ok(moment(1_795_402_030_500_000)), "{written}");
        }
        assert_eq!(text(&Type::INT8, "-7"), Ok(ScalarValue::Int64(Some(-7))));
        assert_eq!(text(&Type::BOOL, "t"), Ok(ScalarValue::Boolean(Some(true))));
        assert_eq!(text(&Type::UNKNOWN, "a"), Ok(ScalarValue::from("a")));
        assert_eq!(text(&Type::DATE, "1970-01-02"), Ok(ScalarValue::Date32(Some(1))));
        assert_eq!(text(&Type::BYTEA, "\\x00ff"), Ok(ScalarValue::Binary(Some(vec![0, 255]))));
        assert_eq!(
            text(&Type::NUMERIC, "-1.5"),
            Ok(ScalarValue::Decimal128(Some(-15_000_000_000), 38, 10))
        );
        assert_eq!(scalar(&Type::INT8, Format::Text, None), Ok(ScalarValue::Int64(None)));
    }

    #[test]
    fn texts_that_are_no_value_are_refused() {
        for (kind, bad) in [
            (&Type::INT8, "x"),
            (&Type::INT8, "9223372036854775808"),
            (&Type::INT2, "40000"),
            (&Type::TIMESTAMPTZ, "yesterday"),
            (&Type::BYTEA, "00"),
            (&Type::BYTEA, "\\x0"),
            (&Type::BOOL, "maybe"),
            (&Type::INT8_ARRAY, "{1,x}"),
            (&Type::TEXT_ARRAY, "{{a},{b}}"),
            (&Type::TEXT_ARRAY, "{a,}"),
            (&Type::POINT, "(1,2)"),
        ] {
            assert!(text(kind, bad).is_err(), "{kind} {bad}");
        }
    }

    #[test]
    fn bytes_become_values_of_their_type() {
        let binary = |kind: &Type, bytes: &[u8]| {
            scalar(kind, Format::Binary, Some(&Bytes::copy_from_slice(bytes)))
        };
        assert_eq!(binary(&Type::INT4, &[0, 0, 1, 0]), Ok(ScalarValue::Int32(Some(256))));
        let epoch = ScalarValue::TimestampMicrosecond(Some(moment::EPOCH_MICROS), Some(UTC.into()));
        assert_eq!(binary(&Type::TIMESTAMPTZ, &[0; 8]), Ok(epoch));
        assert_eq!(binary(&Type::TEXT, b"a"), Ok(ScalarValue::from("a")));
        let numeric = [0, 2, 0, 0, 64, 0, 0, 2, 0, 12, 13, 72];
        assert_eq!(
            binary(&Type::NUMERIC, &numeric),
            Ok(ScalarValue::Decimal128(Some(-123_400_000_000), 38, 10))
        );
        let uuid = binary(&Type::UUID, &[17; 16]);
        assert_eq!(uuid, Ok(ScalarValue::from("11111111-1111-1111-1111-111111111111")));
        for (kind, bad) in [
            (&Type::INT4, &[0, 1][..]),
            (&Type::TIMESTAMPTZ, &[0; 4]),
            (&Type::TIMESTAMPTZ, &[127, 255, 255, 255, 255, 255, 255, 255]),
            (&Type::TEXT, &[255]),
            (&Type::NUMERIC, &[0, 9]),
            (&Type::NUMERIC, &[0, 1, 0, 0, 0, 0, 0, 0, 39, 16]),
            (&Type::NUMERIC, &[0, 1, 0, 0, 0, 0, 0, 0, 255, 255]),
            (&Type::INT8_ARRAY, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 127, 255, 255, 255]),
        ] {
            assert!(binary(kind, bad).is_err(), "{kind} {bad:?}");
        }
    }

    #[test]
    fn lists_are_read_with_their_quotes_and_nulls() {
        let items = list_items(r#"{a,"b \"c\",",NULL,"NULL",}"#);
        assert_eq!(items, None);
        let items = list_items(r#"{a,"b \"c\",",NULL,"NULL",""}"#).unwrap();
        let items: Vec<_> = items.iter().map(Option::as_deref).collect();
        assert_eq!(items, [Some("a"), Some("b \"c\","), None, Some("NULL"), Some("")]);
        assert_eq!(list_items("{}"), Some(vec![]));
    }
}
