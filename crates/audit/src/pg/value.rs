//! Values of an answer in the forms that the wire has for them: as text, and in binary.

use std::fmt::Write as _;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    DictionaryArray, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, ListArray, RecordBatch, StringArray, StringViewArray,
    Time64MicrosecondArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, IntervalUnit, TimeUnit};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::{BufMut, BytesMut};
use pgwire::api::Type;

use super::moment;
use crate::table::sheet::UTC;

/// In which form a value goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Binary,
}

/// The type under which the wire knows a column.
pub(super) fn wire_type(kind: &DataType) -> Type {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types: others go as text")]
    match kind {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => Type::INT2,
        DataType::UInt16 | DataType::Int32 => Type::INT4,
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => Type::INT8,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => {
            Type::NUMERIC
        }
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Type::BYTEA,
        DataType::Date32 | DataType::Date64 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Interval(_) => Type::INTERVAL,
        DataType::Dictionary(_, value) => wire_type(value),
        DataType::List(item) | DataType::LargeList(item) => list_type(&wire_type(item.data_type())),
        _ => Type::TEXT,
    }
}

/// The list of a type; text where the wire has none that is offered here.
fn list_type(item: &Type) -> Type {
    match *item {
        Type::BOOL => Type::BOOL_ARRAY,
        Type::INT2 => Type::INT2_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::FLOAT4 => Type::FLOAT4_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        Type::TEXT => Type::TEXT_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        Type::DATE => Type::DATE_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        Type::TIMESTAMP => Type::TIMESTAMP_ARRAY,
        _ => Type::TEXT,
    }
}

/// Bytes of every value of a type, or -1 where they differ.
pub(super) fn type_bytes(kind: &Type) -> i16 {
    match *kind {
        Type::BOOL => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMPTZ | Type::TIMESTAMP | Type::TIME => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// A column's values, ready to be written one by one.
#[derive(Debug)]
pub(super) enum Cells {
    Flag(BooleanArray),
    Small(Int16Array),
    Int(Int32Array),
    Long(Int64Array),
    Real(Float32Array),
    Double(Float64Array),
    Number(Decimal128Array),
    Text(StringArray),
    /// Texts as views into larger pieces.
    View(StringViewArray),
    Name(DictionaryArray<Int32Type>, StringArray),
    Bytes(BinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    /// With a time zone, which is UTC, or without.
    Moment(TimestampMicrosecondArray, bool),
    Interval(IntervalMonthDayNanoArray),
    List(ListArray, Box<Cells>, Type),
}

impl Cells {
    /// The columns of a batch.
    pub(super) fn of(batch: &RecordBatch) -> Result<Vec<Self>, ArrowError> {
        batch.columns().iter().map(Self::new).collect()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types: others go as text")]
    fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        let as_kind = |kind: &DataType| cast(column, kind);
        let number = |column: &ArrayRef| column.as_primitive().clone();
        Ok(match column.data_type() {
            DataType::Boolean => Self::Flag(column.as_boolean().clone()),
            DataType::Int16 => Self::Small(column.as_primitive().clone()),
            DataType::Int8 | DataType::UInt8 => {
                Self::Small(as_kind(&DataType::Int16)?.as_primitive().clone())
            }
            DataType::Int32 => Self::Int(column.as_primitive().clone()),
            DataType::UInt16 => Self::Int(as_kind(&DataType::Int32)?.as_primitive().clone()),
            DataType::Int64 => Self::Long(column.as_primitive().clone()),
            DataType::UInt32 => Self::Long(as_kind(&DataType::Int64)?.as_primitive().clone()),
            DataType::UInt64 => {
                Self::Long(checked(column, &DataType::Int64)?.as_primitive().clone())
            }
            DataType::Float32 => Self::Real(column.as_primitive().clone()),
            DataType::Float16 => Self::Real(as_kind(&DataType::Float32)?.as_primitive().clone()),
            DataType::Float64 => Self::Double(column.as_primitive().clone()),
            DataType::Decimal128(..) => Self::Number(number(column)),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
                Self::Number(number(&as_kind(&DataType::Decimal128(38, *scale))?))
            }
            DataType::Utf8 => Self::Text(column.as_string().clone()),
            DataType::Utf8View => Self::View(column.as_string_view().clone()),
            DataType::LargeUtf8 => Self::Text(as_kind(&DataType::Utf8)?.as_string().clone()),
            DataType::Dictionary(key, value)
                if **key == DataType::Int32 && **value == DataType::Utf8 =>
            {
                let names = column.as_dictionary::<Int32Type>().clone();
                let values = names.values().as_string().clone();
                Self::Name(names, values)
            }
            DataType::Dictionary(_, value) => Self::new(&as_kind(value)?)?,
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => {
                Self::Bytes(as_kind(&DataType::Binary)?.as_binary().clone())
            }
            DataType::Date32 | DataType::Date64 => {
                Self::Date(as_kind(&DataType::Date32)?.as_primitive().clone())
            }
            DataType::Time32(_) | DataType::Time64(_) => {
                let micros = DataType::Time64(TimeUnit::Microsecond);
                Self::Time(as_kind(&micros)?.as_primitive().clone())
            }
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
                let utc = zone.as_ref().map(|_| UTC.into());
                let zoned = DataType::Timestamp(TimeUnit::Microsecond, utc);
                let moments = cast(&as_kind(&zoned)?, &micros)?;
                Self::Moment(moments.as_primitive().clone(), zone.is_some())
            }
            DataType::Interval(_) => {
                let kind = DataType::Interval(IntervalUnit::MonthDayNano);
                Self::Interval(as_kind(&kind)?.as_primitive().clone())
            }
            DataType::List(item) | DataType::LargeList(item)
                if wire_type(column.data_type()) != Type::TEXT =>
            {
                let lists = as_kind(&DataType::List(item.clone()))?.as_list::<i32>().clone();
                let items = Self::new(lists.values())?;
                Self::List(lists, Box::new(items), wire_type(item.data_type()))
            }
            DataType::Null => Self::Text(StringArray::new_null(column.len())),
            _ => Self::Text(shown(column)?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Flag(cells) => cells.is_null(row),
            Self::Small(cells) => cells.is_null(row),
            Self::Int(cells) => cells.is_null(row),
            Self::Long(cells) => cells.is_null(row),
            Self::Real(cells) => cells.is_null(row),
            Self::Double(cells) => cells.is_null(row),
            Self::Number(cells) => cells.is_null(row),
            Self::Text(cells) => cells.is_null(row),
            Self::View(cells) => cells.is_null(row),
            Self::Name(cells, values) => cells.key(row).is_none_or(|key| values.is_null(key)),
            Self::Bytes(cells) => cells.is_null(row),
            Self::Date(cells) => cells.is_null(row),
            Self::Time(cells) => cells.is_null(row),
            Self::Moment(cells, _) => cells.is_null(row),
            Self::Interval(cells) => cells.is_null(row),
            Self::List(cells, ..) => cells.is_null(row),
        }
    }

    /// Writes a value behind its length, or -1 for none.
    pub(super) fn write(&self, row: usize, format: Format, to: &mut BytesMut) {
        if self.is_null(row) {
            to.put_i32(-1);
            return;
        }
        let at = to.len();
        to.put_i32(0);
        match format {
            Format::Text => self.write_text(row, to),
            Format::Binary => self.write_binary(row, to),
        }
        let length = i32::try_from(to.len() - at - 4).unwrap_or(i32::MAX);
        to[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn write_text(&self, row: usize, to: &mut BytesMut) {
        // Writing to a buffer that grows does not fail.
        let _ = match self {
            Self::Flag(cells) => to.write_str(if cells.value(row) { "t" } else { "f" }),
            Self::Small(cells) => write!(to, "{}", cells.value(row)),
            Self::Int(cells) => write!(to, "{}", cells.value(row)),
            Self::Long(cells) => write!(to, "{}", cells.value(row)),
            Self::Real(cells) => float(to, &cells.value(row).to_string(), cells.value(row).into()),
            Self::Double(cells) => float(to, &cells.value(row).to_string(), cells.value(row)),
            Self::Number(cells) => to.write_str(&cells.value_as_string(row)),
            Self::Text(cells) => to.write_str(cells.value(row)),
            Self::View(cells) => to.write_str(cells.value(row)),
            Self::Name(cells, values) => {
                to.write_str(cells.key(row).map_or("", |key| values.value(key)))
            }
            Self::Bytes(cells) => write!(to, "\\x{}", hex::encode(cells.value(row))),
            Self::Date(cells) => moment::date(to, cells.value(row).into()),
            Self::Time(cells) => moment::time(to, cells.value(row)),
            Self::Moment(cells, zoned) => moment::moment(to, cells.value(row), *zoned),
            Self::Interval(cells) => moment::interval(to, cells.value(row)),
            Self::List(cells, items, _) => {
                list_text(to, items, range(cells, row));
                Ok(())
            }
        };
    }

    fn write_binary(&self, row: usize, to: &mut BytesMut) {
        match self {
            Self::Flag(cells) => to.put_u8(cells.value(row).into()),
            Self::Small(cells) => to.put_i16(cells.value(row)),
            Self::Int(cells) => to.put_i32(cells.value(row)),
            Self::Long(cells) => to.put_i64(cells.value(row)),
            Self::Real(cells) => to.put_f32(cells.value(row)),
            Self::Double(cells) => to.put_f64(cells.value(row)),
            Self::Number(cells) => numeric(to, cells.value(row), cells.scale()),
            Self::Text(_) | Self::View(_) | Self::Name(..) => self.write_text(row, to),
            Self::Bytes(cells) => to.put_slice(cells.value(row)),
            Self::Date(cells) => to.put_i32(cells.value(row).saturating_sub(moment::EPOCH_DAYS)),
            Self::Time(cells) => to.put_i64(cells.value(row)),
            Self::Moment(cells, _) => {
                to.put_i64(cells.value(row).saturating_sub(moment::EPOCH_MICROS))
            }
            Self::Interval(cells) => {
                let interval = cells.value(row);
                to.put_i64(interval.nanoseconds / 1_000);
                to.put_i32(interval.days);
                to.put_i32(interval.months);
            }
            Self::List(cells, items, kind) => list_binary(to, items, kind, range(cells, row)),
        }
    }
}

/// A cast that fails where a value does not fit.
fn checked(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    arrow::compute::cast_with_options(column, kind, &options)
}

/// Everything that the wire has no form for, as the engine writes it.
fn shown(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let each = |row| match column.is_null(row) {
        true => Ok(None),
        false => formatter.value(row).try_to_string().map(Some),
    };
    (0..column.len()).map(each).collect()
}

/// A float as PostgreSQL writes it: the shortest text that reads back the same.
fn float(to: &mut BytesMut, short: &str, value: f64) -> std::fmt::Result {
    match short {
        "inf" => to.write_str("Infinity"),
        "-inf" => to.write_str("-Infinity"),
        _ if value != 0.0 && !(1e-5..1e15).contains(&value.abs()) && value.is_finite() => {
            write!(to, "{value:e}")
        }
        _ => to.write_str(short),
    }
}

/// The items of one list.
fn range(lists: &ListArray, row: usize) -> std::ops::Range<usize> {
    let at = |row: usize| usize::try_from(lists.value_offsets()[row]).unwrap_or(0);
    at(row)..at(row + 1)
}

/// `{a,"b c",NULL}`
fn list_text(to: &mut BytesMut, items: &Cells, rows: std::ops::Range<usize>) {
    to.put_u8(b'{');
    let first = rows.start;
    for row in rows {
        if row > first {
            to.put_u8(b',');
        }
        if items.is_null(row) {
            to.put_slice(b"NULL");
            continue;
        }
        let mut item = BytesMut::new();
        items.write_text(row, &mut item);
        let plain = !item.is_empty()
            && !item.eq_ignore_ascii_case(b"null")
            && !item.iter().any(|b| b"{},\"\\".contains(b) || b.is_ascii_whitespace());
        if plain {
            to.put_slice(&item);
            continue;
        }
        to.put_u8(b'"');
        for byte in item {
            if matches!(byte, b'"' | b'\\') {
                to.put_u8(b'\\');
            }
            to.put_u8(byte);
        }
        to.put_u8(b'"');
    }
    to.put_u8(b'}');
}

/// Dimensions, whether there are nulls, the items' type, then length and lower bound of the one
/// dimension, then the items.
fn list_binary(to: &mut BytesMut, items: &Cells, kind: &Type, rows: std::ops::Range<usize>) {
    to.put_i32(i32::from(!rows.is_empty()));
    to.put_i32(i32::from(rows.clone().any(|row| items.is_null(row))));
    to.put_u32(kind.oid());
    if rows.is_empty() {
        return;
    }
    to.put_i32(i32::try_from(rows.len()).unwrap_or(i32::MAX));
    to.put_i32(1);
    for row in rows {
        items.write(row, Format::Binary, to);
    }
}

/// A number of `scale` digits after the point, in groups of four decimal digits.
fn numeric(to: &mut BytesMut, value: i128, scale: i8) {
    let shown = u32::from(u8::try_from(scale).unwrap_or(0));
    // Groups are counted from the point, so the digits after it are filled up to whole groups.
    let filled = shown.next_multiple_of(4);
    let mut text = value.unsigned_abs().to_string();
    if scale < 0 {
        text.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
    }
    text.extend(std::iter::repeat_n('0', (filled - shown) as usize));
    let whole = text.len().next_multiple_of(4);
    let text = format!("{text:0>whole$}");
    let mut groups: Vec<i16> = text
        .as_bytes()
        .chunks(4)
        .map(|group| group.iter().fold(0, |n, d| n * 10 + i16::from(d - b'0')))
        .collect();
    let mut weight = groups.len() as i64 - i64::from(filled / 4) - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    to.put_i16(i16::try_from(groups.len()).unwrap_or(i16::MAX));
    to.put_i16(i16::try_from(weight).unwrap_or(0));
    to.put_u16(if value < 0 { 0x4000 } else { 0 });
    to.put_i16(i16::try_from(shown).unwrap_or(0));
    for group in groups {
        to.put_i16(group);
    }
}

#[cfg(test)]
mod tests;
