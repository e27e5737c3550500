use std::sync::Arc;

use arrow::array::{
    Decimal128Array, FixedSizeBinaryArray, Int8Array, Int64Array, ListBuilder, StringBuilder,
    UInt64Array,
};
use arrow::datatypes::IntervalMonthDayNano;
use bytes::Bytes;

use super::*;
use crate::pg::parameter;

/// The values of a column in one form, none for an absent one.
fn written(column: ArrayRef, format: Format) -> Vec<Option<Vec<u8>>> {
    let cells = Cells::new(&column).unwrap();
    let value = |row| {
        let mut out = BytesMut::new();
        cells.write(row, format, &mut out);
        let length = i32::from_be_bytes(out[..4].try_into().unwrap());
        if length == -1 {
            return None;
        }
        assert_eq!(usize::try_from(length).unwrap(), out.len() - 4);
        Some(out[4..].to_vec())
    };
    (0..column.len()).map(value).collect()
}

fn texts(column: ArrayRef) -> Vec<Option<String>> {
    let text = |value: Option<Vec<u8>>| value.map(|bytes| String::from_utf8(bytes).unwrap());
    written(column, Format::Text).into_iter().map(text).collect()
}

fn check(column: impl Array + 'static, expected: &[Option<&str>]) {
    let shown = texts(Arc::new(column));
    let shown: Vec<_> = shown.iter().map(Option::as_deref).collect();
    assert_eq!(shown, expected);
}

#[test]
fn values_are_written_as_postgres_writes_them() {
    check(BooleanArray::from(vec![Some(true), Some(false), None]), &[Some("t"), Some("f"), None]);
    check(Int8Array::from(vec![Some(-7), None]), &[Some("-7"), None]);
    check(Int64Array::from(vec![Some(i64::MIN)]), &[Some("-9223372036854775808")]);
    check(StringViewArray::from(vec![Some("é\n"), None]), &[Some("é\n"), None]);
    check(
        Float64Array::from(vec![1.0, 0.1, 1e300, -1e-7, f64::NAN, f64::INFINITY, 0.0]),
        &["1", "0.1", "1e300", "-1e-7", "NaN", "Infinity", "0"].map(Some),
    );
    let bytes = FixedSizeBinaryArray::try_from_iter([[0u8, 255]].into_iter()).unwrap();
    check(bytes, &[Some("\\x00ff")]);
    check(
        Date32Array::from(vec![0, -719_163, 20_780]),
        &[Some("1970-01-01"), Some("0001-12-31 BC"), Some("2026-11-23")],
    );
    let moments = vec![Some(1_795_402_030_123_450), Some(0), Some(-1), None];
    let zoned = TimestampMicrosecondArray::from(moments.clone()).with_timezone("UTC");
    check(
        zoned,
        &[
            Some("2026-11-23 02:47:10.12345+00"),
            Some("1970-01-01 00:00:00+00"),
            Some("1969-12-31 23:59:59.999999+00"),
            None,
        ],
    );
    check(TimestampMicrosecondArray::from(moments[1..2].to_vec()), &[Some("1970-01-01 00:00:00")]);
    let numbers = Decimal128Array::from(vec![-1_050, 5]).with_precision_and_scale(10, 2).unwrap();
    check(numbers, &[Some("-10.50"), Some("0.05")]);
    let intervals = vec![
        IntervalMonthDayNano::new(14, 3, 14_706_500_000_000),
        IntervalMonthDayNano::new(0, 1, 0),
        IntervalMonthDayNano::new(0, 0, -1_000_000_000),
    ];
    check(
        IntervalMonthDayNanoArray::from(intervals),
        &["1 year 2 mons 3 days 04:05:06.5", "1 day", "-00:00:01"].map(Some),
    );
}

#[test]
fn a_column_of_nothing_has_no_values() {
    check(arrow::array::NullArray::new(2), &[None, None]);
}

#[test]
fn names_kept_once_are_written_each_time() {
    let names: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    check(names, &[Some("a"), None, Some("a")]);
}

#[test]
fn a_number_that_the_wire_has_no_place_for_is_an_error() {
    let column: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX]));
    assert!(Cells::new(&column).is_err());
    check(UInt64Array::from(vec![7]), &[Some("7")]);
}

fn lists() -> ArrayRef {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value(vec![Some("a"), None, Some("b \"c\\,"), Some(""), Some("null")]);
    lists.append_value(Vec::<Option<&str>>::new());
    lists.append_null();
    Arc::new(lists.finish())
}

#[test]
fn a_moment_that_the_wire_has_no_place_for_is_the_earliest_that_it_has() {
    let days = written(Arc::new(Date32Array::from(vec![i32::MIN])), Format::Binary);
    assert_eq!(days, [Some(i32::MIN.to_be_bytes().to_vec())]);
    let micros = Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN]));
    assert_eq!(written(micros, Format::Binary), [Some(i64::MIN.to_be_bytes().to_vec())]);
}

#[test]
fn lists_are_written_with_their_quotes_and_nulls() {
    let shown = texts(lists());
    let first = r#"{a,NULL,"b \"c\\,","","null"}"#.to_owned();
    assert_eq!(shown, [Some(first), Some("{}".to_owned()), None]);
}

/// What is written reads back the same, as a parameter of the column's type, in both forms.
#[test]
fn values_read_back_from_both_forms() {
    let zoned = TimestampMicrosecondArray::from(vec![Some(1_795_402_030_123_450), Some(-1), None]);
    let numbers = vec![
        Some(-123_456_789_012_345_678),
        Some(10_000_000_000),
        Some(1),
        Some(0),
        Some(99_990_000_000_000),
        None,
    ];
    let numbers = Decimal128Array::from(numbers).with_precision_and_scale(38, 10).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int16Array::from(vec![Some(i16::MIN), None])),
        Arc::new(Int32Array::from(vec![Some(i32::MAX), None])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(0), None])),
        Arc::new(Float32Array::from(vec![Some(0.1), Some(f32::MIN), None])),
        Arc::new(Float64Array::from(vec![Some(0.1), Some(1e-300), Some(f64::INFINITY), None])),
        Arc::new(StringArray::from(vec![Some("é"), Some(""), None])),
        Arc::new(BinaryArray::from(vec![Some(&[0u8, 255][..]), Some(&[]), None])),
        Arc::new(Date32Array::from(vec![Some(20_780), Some(0), None])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), Some(0), None])),
        Arc::new(zoned.clone()),
        Arc::new(zoned.with_timezone("UTC")),
        Arc::new(numbers),
        lists(),
    ];
    for column in columns {
        let kind = wire_type(column.data_type());
        for format in [Format::Text, Format::Binary] {
            let values = written(Arc::clone(&column), format);
            for (row, value) in values.into_iter().enumerate() {
                let value = value.map(Bytes::from);
                let read = parameter::scalar(&kind, format, value.as_ref()).unwrap();
                let read = read.to_array().unwrap();
                let same = column.slice(row, 1);
                let same = arrow::compute::cast(&same, read.data_type()).unwrap();
                assert_eq!(&read, &same, "{kind} {format:?} {row}");
            }
        }
    }
}

#[test]
fn numbers_in_binary_have_the_groups_that_postgres_sends() {
    let column = Decimal128Array::from(vec![-1_234, 100_000]).with_precision_and_scale(10, 2);
    let written = written(Arc::new(column.unwrap()), Format::Binary);
    let groups = |numbers: &[i16]| -> Option<Vec<u8>> {
        Some(numbers.iter().flat_map(|number| number.to_be_bytes()).collect())
    };
    assert_eq!(written[0], groups(&[2, 0, 0x4000, 2, 12, 3_400]));
    assert_eq!(written[1], groups(&[1, 0, 0, 2, 1_000]));
}
