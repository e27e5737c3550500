//! An answer: plain columns and rows, without a type of the engine, as JSON or CSV.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use crate::table::sheet::UTC;

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Table {
    /// The columns, in the order asked for.
    pub columns: Vec<Column>,
    /// The rows. Moments are RFC 3339 in UTC with microseconds, bytes are hexadecimal, integers
    /// are numbers with every digit.
    pub rows: Vec<Vec<Value>>,
    /// Index of the last event that the answer takes into account; none on an empty ledger.
    pub as_of_seq: Option<u64>,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its SQL type: `bigint`, `text`, `timestamptz` …
    #[serde(rename = "type")]
    pub kind: String,
}

impl Table {
    /// The answer as CSV (RFC 4180), a header first, an absent value as an empty cell.
    ///
    /// A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe
    /// in front, since spreadsheets would run it as a formula. Numbers are left alone.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut text = String::new();
        let header = self.columns.iter().map(|column| text_cell(&column.name));
        line(&mut text, header);
        for row in &self.rows {
            line(&mut text, row.iter().map(cell));
        }
        text
    }
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(&cell);
    }
    text.push_str("\r\n");
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => text_cell(text),
        Value::Array(_) | Value::Object(_) => text_cell(&value.to_string()),
    }
}

fn text_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

/// The name that SQL has for a type.
pub(crate) fn type_name(kind: &DataType) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types, not ours")]
    let name = match kind {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint",
        DataType::UInt16 | DataType::Int32 => "integer",
        DataType::UInt32 | DataType::Int64 => "bigint",
        DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Dictionary(_, value) => return type_name(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            return format!("{}[]", type_name(item.data_type()));
        }
        DataType::Null => "unknown",
        _ => "record",
    };
    name.to_owned()
}

/// Appends a batch's rows to `rows`.
pub(crate) fn append(rows: &mut Vec<Vec<Value>>, batch: &RecordBatch) -> Result<(), ArrowError> {
    let start = rows.len();
    rows.resize_with(start + batch.num_rows(), || Vec::with_capacity(batch.num_columns()));
    for column in batch.columns() {
        let values = values(column)?;
        for (row, value) in rows[start..].iter_mut().zip(values) {
            row.push(value);
        }
    }
    Ok(())
}

/// A column's values as JSON.
fn values(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    macro_rules! numbers {
        ($($kind:ident => $type:ty),+) => {
            match column.data_type() {
                $(DataType::$kind => {
                    let numbers = column.as_primitive::<$type>();
                    return Ok(numbers.iter().map(|n| n.map_or(Value::Null, Value::from)).collect());
                })+
                _ => {}
            }
        };
    }
    numbers!(
        Int8 => Int8Type, Int16 => Int16Type, Int32 => Int32Type, Int64 => Int64Type,
        UInt8 => UInt8Type, UInt16 => UInt16Type, UInt32 => UInt32Type, UInt64 => UInt64Type,
        Float32 => Float32Type, Float64 => Float64Type
    );
    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types, not ours")]
    match column.data_type() {
        // Such a column has no list of what is absent: everything is.
        DataType::Null => Ok(vec![Value::Null; column.len()]),
        DataType::Boolean => {
            let flags = column.as_boolean();
            Ok(flags.iter().map(|flag| flag.map_or(Value::Null, Value::from)).collect())
        }
        DataType::Utf8 => {
            let texts = column.as_string::<i32>();
            Ok(texts.iter().map(|text| text.map_or(Value::Null, Value::from)).collect())
        }
        DataType::Utf8View => {
            let texts = column.as_string_view();
            Ok(texts.iter().map(|text| text.map_or(Value::Null, Value::from)).collect())
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let moments = column.as_primitive::<TimestampMicrosecondType>();
            Ok(moments.iter().map(|moment| moment.map_or(Value::Null, rfc3339)).collect())
        }
        DataType::Timestamp(_, Some(_)) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
            values(&arrow::compute::cast(column, &micros)?)
        }
        DataType::Dictionary(_, value) => values(&arrow::compute::cast(column, value)?),
        DataType::List(_) => {
            let lists = column.as_list::<i32>();
            let each = |list: Option<ArrayRef>| match list {
                Some(list) => values(&list).map(Value::Array),
                None => Ok(Value::Null),
            };
            lists.iter().map(each).collect()
        }
        _ => shown(column),
    }
}

/// Everything that JSON has no form for, as the engine writes it; bytes come out hexadecimal.
fn shown(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    let options = FormatOptions::new();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let each = |row| {
        if column.is_null(row) {
            return Ok(Value::Null);
        }
        Ok(Value::String(formatter.value(row).try_to_string()?))
    };
    (0..column.len()).map(each).collect()
}

/// A moment in microseconds as RFC 3339 in UTC.
fn rfc3339(micros: i64) -> Value {
    const DAY: i64 = 86_400_000_000;
    let (days, within) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (seconds, micros) = (within / 1_000_000, within % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    Value::String(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z"
    ))
}

/// The date of a day counted from 1970-01-01: years are counted from 1 March, so that the leap
/// day is a year's last, and eras have 400 years.
pub(crate) const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let january_or_february = if month <= 2 { 1 } else { 0 };
    (era * 400 + year + january_or_february, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str], rows: Vec<Vec<Value>>) -> Table {
        let column = |name: &&str| Column { name: (*name).to_owned(), kind: "text".to_owned() };
        Table { columns: names.iter().map(column).collect(), rows, as_of_seq: None }
    }

    #[test]
    fn a_cell_that_a_spreadsheet_would_run_is_disarmed() {
        for text in ["=1+1", "+1", "-1", "@sum", "\tx"] {
            let csv = table(&["a"], vec![vec![text.into()]]).csv();
            assert!(csv.starts_with(&format!("a\r\n'{text}")), "{csv:?}");
        }
        assert_eq!(table(&["=a"], vec![]).csv(), "'=a\r\n");
        assert_eq!(table(&["a"], vec![vec![(-5).into()]]).csv(), "a\r\n-5\r\n");
    }

    #[test]
    fn cells_with_quotes_commas_and_lines_are_quoted() {
        let row = vec!["a\"b".into(), "c,d".into(), "e\nf".into(), Value::Null, true.into()];
        let csv = table(&["1", "2", "3", "4", "5"], vec![row]).csv();
        assert_eq!(csv, "1,2,3,4,5\r\n\"a\"\"b\",\"c,d\",\"e\nf\",,true\r\n");
    }

    #[test]
    fn moments_are_written_as_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
        assert_eq!(rfc3339(1_795_402_030_123_456), "2026-11-23T02:47:10.123456Z");
        assert_eq!(rfc3339(4_107_542_399_000_001), "2100-02-28T23:59:59.000001Z");
        assert_eq!(rfc3339(4_107_542_400_000_000), "2100-03-01T00:00:00.000000Z");
    }
}
