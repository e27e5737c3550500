//! How many bytes a function's values can have, from what it is given, and what it may be given.

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;

use crate::error::{Code, Error};
use crate::size;

/// The most bytes of a text whose every character is compared with every one of another.
const COMPARED_BYTES_MAX: usize = 255;
/// The most items of a list whose every item is compared with every one of another.
const COMPARED_ITEMS_MAX: usize = 256;
/// Bytes that a number or a moment has at most when it is written as a text.
const WRITTEN_BYTES: usize = 48;
/// Bytes that one byte of a format comes to at most: `%+` is a whole moment.
const FORMATTED_BYTES: usize = 24;
/// Bytes that an item of a list takes beside what it holds, while the list is made.
const ITEM_BYTES: usize = 16;

/// How a function's values grow with what it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// At most so many times what it is given.
    Sum(usize),
    /// Everything behind the first, with the first between them.
    Between,
    /// The items of the first as texts, with the second between them and the third for absent ones.
    Joined,
    /// Each byte of the first may become an item.
    Split,
    /// The second is a format.
    Formatted,
    /// A text for each group of the pattern, which is the second.
    Groups,
    /// The third may stand wherever a character of the first stood.
    Replaced,
    /// What is asked about the names in the schema: quoted, escaped, or split.
    Named,
    /// As long as the first, whose characters are compared with those of the second.
    Trimmed,
    /// A number, of texts whose characters are compared.
    Compared,
    /// Yes or no, of lists whose items are compared.
    ComparedItems,
}

impl Rule {
    /// The rule for a function; none for those whose values are of one length, or are shared with
    /// what they are made of.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "coalesce"
            | "nvl"
            | "nvl2"
            | "get_field"
            | "arrow_typeof"
            | "ascii"
            | "bit_length"
            | "contains"
            | "ends_with"
            | "octet_length"
            | "starts_with"
            | "character_length"
            | "find_in_set"
            | "strpos"
            | "current_date"
            | "current_time"
            | "now"
            | "date_bin"
            | "date_part"
            | "date_trunc"
            | "from_unixtime"
            | "make_date"
            | "to_date"
            | "to_local_time"
            | "to_timestamp"
            | "to_timestamp_seconds"
            | "to_timestamp_millis"
            | "to_timestamp_micros"
            | "to_timestamp_nanos"
            | "to_unixtime"
            | "regexp_count"
            | "regexp_instr"
            | "regexp_like"
            | "array_length"
            | "array_has"
            | "array_position"
            | "cardinality"
            | "empty" => return None,
            "concat_ws" => Self::Between,
            "array_to_string" => Self::Joined,
            "string_to_array" => Self::Split,
            "to_char" => Self::Formatted,
            "regexp_match" => Self::Groups,
            "replace" => Self::Replaced,
            "btrim" | "ltrim" | "rtrim" => Self::Trimmed,
            "levenshtein" => Self::Compared,
            "array_has_all" | "array_has_any" => Self::ComparedItems,
            // A letter of one or two bytes may have a form of three times as many.
            "upper" | "lower" | "initcap" => Self::Sum(3),
            "translate" => Self::Sum(4),
            "quote_ident" | "quote_literal" | "like_pattern" | "parse_ident" => Self::Named,
            _ => Self::Sum(1),
        })
    }

    /// The most bytes that the values of `rows` rows can have.
    pub(super) fn most(self, args: &[ColumnarValue], rows: usize) -> usize {
        let bytes = |at: usize| args.get(at).map_or(0, |arg| bytes(arg, rows));
        let all = (0..args.len()).map(bytes).fold(0, usize::saturating_add);
        let more = match self {
            Self::Sum(times) => all.saturating_mul(times),
            Self::Between => all.saturating_add(bytes(0).saturating_mul(args.len())),
            Self::Joined => {
                let items = args.first().map_or(0, |lists| items(lists, rows));
                let between = [1, 2].map(|at| args.get(at).map_or(0, longest));
                let each = WRITTEN_BYTES + between[0] + between[1];
                all.saturating_add(items.saturating_mul(each))
            }
            Self::Split => all.saturating_add(bytes(0).saturating_mul(ITEM_BYTES)),
            Self::Formatted => bytes(1).saturating_mul(FORMATTED_BYTES),
            Self::Groups => {
                let groups = 1 + args.get(1).map_or(0, longest);
                let groups = args.get(1).and_then(groups_of).unwrap_or(groups);
                all.saturating_add(bytes(0).saturating_mul(groups))
            }
            Self::Replaced => {
                let each = args.get(2).map_or(0, longest);
                all.saturating_add((bytes(0) + rows).saturating_mul(each))
            }
            Self::Named => all.saturating_mul(ITEM_BYTES),
            Self::Trimmed => bytes(0),
            Self::Compared | Self::ComparedItems => 0,
        };
        more.saturating_add(rows.saturating_mul(ITEM_BYTES))
    }

    /// Refuses what would take time that grows with the product of two lengths.
    pub(super) fn check(self, name: &str, args: &[ColumnarValue]) -> Result<()> {
        match self {
            Self::Compared => args.iter().try_for_each(|arg| short(name, arg)),
            Self::Trimmed => args.get(1).map_or(Ok(()), |arg| short(name, arg)),
            Self::ComparedItems => args.iter().try_for_each(|arg| few(name, arg)),
            Self::Named | Self::Replaced => args.iter().try_for_each(|arg| name_of(name, arg)),
            Self::Sum(_)
            | Self::Between
            | Self::Joined
            | Self::Split
            | Self::Formatted
            | Self::Groups => Ok(()),
        }
    }
}

/// Bytes of what is given, for all rows: a value that they share may be written for each.
fn bytes(arg: &ColumnarValue, rows: usize) -> usize {
    match arg {
        ColumnarValue::Array(array) => size::of(array),
        ColumnarValue::Scalar(value) => size::of_scalar(value).saturating_mul(rows),
    }
}

fn longest(arg: &ColumnarValue) -> usize {
    match arg {
        ColumnarValue::Array(array) => size::longest(array),
        ColumnarValue::Scalar(value) => size::of_scalar(value),
    }
}

fn items(lists: &ColumnarValue, rows: usize) -> usize {
    match lists {
        ColumnarValue::Array(array) => size::items(array),
        ColumnarValue::Scalar(value) => {
            let each = value.to_array().map_or(0, |array| size::items(&array));
            each.saturating_mul(rows)
        }
    }
}

/// The groups of a pattern that is the same for every row.
fn groups_of(pattern: &ColumnarValue) -> Option<usize> {
    let ColumnarValue::Scalar(value) = pattern else { return None };
    let text = value.try_as_str().flatten()?;
    Some(1 + text.matches('(').count())
}

fn short(name: &str, arg: &ColumnarValue) -> Result<()> {
    if longest(arg) > COMPARED_BYTES_MAX {
        let message = format!(
            "`{name}` compares texts of at most {COMPARED_BYTES_MAX} bytes; shorten them with \
             `left(…, {COMPARED_BYTES_MAX})`"
        );
        return Err(refused(message));
    }
    Ok(())
}

/// Lets pass what may be the name of something.
fn name_of(name: &str, arg: &ColumnarValue) -> Result<()> {
    if longest(arg) > super::CONSTANT_BYTES_MAX {
        let most = super::CONSTANT_BYTES_MAX;
        let message = format!("`{name}` takes texts of at most {most} bytes");
        return Err(Error::refused(Code::Memory, message).within());
    }
    Ok(())
}

fn few(name: &str, arg: &ColumnarValue) -> Result<()> {
    let most = match arg {
        ColumnarValue::Array(array) => longest_list(array.data_type(), array),
        ColumnarValue::Scalar(ScalarValue::Null) => 0,
        ColumnarValue::Scalar(value) => {
            value.to_array().map_or(0, |array| longest_list(array.data_type(), &array))
        }
    };
    if most > COMPARED_ITEMS_MAX {
        let message = format!("`{name}` compares lists of at most {COMPARED_ITEMS_MAX} items");
        return Err(refused(message));
    }
    Ok(())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types: others are no lists")]
fn longest_list(kind: &DataType, array: &arrow::array::ArrayRef) -> usize {
    match kind {
        DataType::List(_) => {
            let offsets = array.as_list::<i32>().value_offsets();
            offsets.windows(2).map(|pair| pair[1].abs_diff(pair[0]) as usize).max().unwrap_or(0)
        }
        DataType::LargeList(_) => {
            (0..array.len()).map(|row| size::items(&array.slice(row, 1))).max().unwrap_or(0)
        }
        DataType::FixedSizeList(_, length) => usize::try_from(*length).unwrap_or(0),
        _ => 0,
    }
}

fn refused(message: String) -> DataFusionError {
    Error::refused(Code::Failed, message).within()
}
