//! How many bytes the values of a column have, whatever they share: a text that a thousand columns
//! or rows show counts a thousand times, as it does once somebody copies it.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

/// Bytes of a batch's values.
pub(crate) fn of_batch(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| of(column)).fold(0, usize::saturating_add)
}

/// Bytes of a column's values, with what says where each of them stands.
#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types: others say themselves")]
pub(crate) fn of(column: &dyn Array) -> usize {
    let rows = column.len();
    match column.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 => between(column.as_string::<i32>().value_offsets()) + 4 * rows,
        DataType::LargeUtf8 => between(column.as_string::<i64>().value_offsets()) + 8 * rows,
        DataType::Binary => between(column.as_binary::<i32>().value_offsets()) + 4 * rows,
        DataType::LargeBinary => between(column.as_binary::<i64>().value_offsets()) + 8 * rows,
        DataType::Utf8View => viewed(column.as_string_view().views()),
        DataType::BinaryView => viewed(column.as_binary_view().views()),
        DataType::FixedSizeBinary(width) => {
            rows.saturating_mul(usize::try_from(*width).unwrap_or(0))
        }
        DataType::List(_) => listed::<i32>(column),
        DataType::LargeList(_) => listed::<i64>(column),
        DataType::FixedSizeList(..) => of(column.as_fixed_size_list().values()),
        DataType::Struct(_) => column.as_struct().columns().iter().map(|column| of(column)).sum(),
        DataType::Dictionary(..) => {
            let longest = longest(column.as_any_dictionary().values());
            rows.saturating_mul(longest + 4)
        }
        other => match other.primitive_width() {
            Some(width) => width * rows,
            None => column.get_array_memory_size(),
        },
    }
}

/// Bytes of the longest of a column's values.
#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types: others are all as long")]
pub(crate) fn longest(column: &dyn Array) -> usize {
    let rows = column.len();
    match column.data_type() {
        DataType::Utf8 => apart(column.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => apart(column.as_string::<i64>().value_offsets()),
        DataType::Binary => apart(column.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => apart(column.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => column.as_string_view().views().iter().map(length).max().unwrap_or(0),
        DataType::Dictionary(..) => longest(column.as_any_dictionary().values()),
        DataType::Struct(_) => {
            column.as_struct().columns().iter().map(|column| longest(column)).sum()
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            (0..rows).map(|row| of(&column.slice(row, 1))).max().unwrap_or(0)
        }
        _ => of(column) / rows.max(1),
    }
}

/// Bytes of one value.
#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types: others say themselves")]
pub(crate) fn of_scalar(value: &ScalarValue) -> usize {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => text.len(),
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes))
        | ScalarValue::FixedSizeBinary(_, Some(bytes)) => bytes.len(),
        ScalarValue::List(list) => of(list.as_ref()),
        ScalarValue::LargeList(list) => of(list.as_ref()),
        ScalarValue::FixedSizeList(list) => of(list.as_ref()),
        ScalarValue::Struct(members) => of(members.as_ref()),
        ScalarValue::Dictionary(_, value) => of_scalar(value),
        _ => size_of::<i128>(),
    }
}

/// Whether the values of a type have no common length.
pub(crate) fn varies(kind: &DataType) -> bool {
    kind.primitive_width().is_none() && !matches!(kind, DataType::Boolean | DataType::Null)
}

/// The items that a column of lists has, all together, down to those that are no lists.
pub(crate) fn items(column: &ArrayRef) -> usize {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's types: others are no lists")]
    match column.data_type() {
        DataType::List(_) => inner::<i32>(column).map_or(0, |inner| items(&inner)),
        DataType::LargeList(_) => inner::<i64>(column).map_or(0, |inner| items(&inner)),
        DataType::FixedSizeList(..) => items(column.as_fixed_size_list().values()),
        _ => column.len(),
    }
}

fn between<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => last.as_usize() - first.as_usize(),
        _ => 0,
    }
}

fn apart<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
    offsets.windows(2).map(|pair| pair[1].as_usize() - pair[0].as_usize()).max().unwrap_or(0)
}

/// A view begins with the length of what it shows.
const fn length(view: &u128) -> usize {
    (*view & 0xffff_ffff) as usize
}

fn viewed(views: &[u128]) -> usize {
    views.iter().map(|view| size_of::<u128>() + length(view)).sum()
}

/// What the lists of a column hold.
fn inner<O: OffsetSizeTrait>(column: &dyn Array) -> Option<ArrayRef> {
    let lists = column.as_list_opt::<O>()?;
    let first = lists.value_offsets().first()?.as_usize();
    Some(lists.values().slice(first, between(lists.value_offsets())))
}

fn listed<O: OffsetSizeTrait>(column: &dyn Array) -> usize {
    inner::<O>(column).map_or(0, |inner| of(&inner)) + size_of::<O>() * column.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        DictionaryArray, Int64Array, ListBuilder, StringArray, StringBuilder, StringViewArray,
        StructArray,
    };
    use arrow::datatypes::{Field, Fields, Int32Type};

    use super::*;

    #[test]
    fn a_part_of_a_column_counts_for_itself() {
        let texts = StringArray::from(vec![Some("ab"), None, Some("cdefg")]);
        assert_eq!((of(&texts), longest(&texts)), (7 + 12, 5));
        assert_eq!((of(&texts.slice(0, 2)), longest(&texts.slice(0, 2))), (2 + 8, 2));
        let views = StringViewArray::from(vec!["ab", "a text of more than twelve bytes"]);
        assert_eq!((of(&views), longest(&views)), (34 + 32, 32));
    }

    #[test]
    fn what_values_share_counts_for_each_of_them() {
        let names: DictionaryArray<Int32Type> =
            ["long name", "a", "long name"].into_iter().collect();
        assert_eq!(of(&names), 3 * (9 + 4));
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), Some("bc")]);
        lists.append_null();
        lists.append_value([Some("def")]);
        let lists = lists.finish();
        assert_eq!(of(&lists), (6 + 12) + 12);
        assert_eq!(of(&lists.slice(2, 1)), (3 + 4) + 4);
        assert_eq!(longest(&lists), (3 + 8) + 4);
        let lists: ArrayRef = Arc::new(lists);
        assert_eq!(items(&lists), 3);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["abc", "d"]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let fields: Fields = [("t", DataType::Utf8), ("n", DataType::Int64)]
            .map(|(name, kind)| Field::new(name, kind, true))
            .into_iter()
            .collect();
        let members = StructArray::new(fields, vec![texts, numbers], None);
        assert_eq!((of(&members), longest(&members)), ((4 + 8) + 16, 3 + 8));
    }

    #[test]
    fn one_value_counts_as_it_is_long() {
        assert_eq!(of_scalar(&ScalarValue::from("four")), 4);
        assert!(varies(&DataType::Utf8) && !varies(&DataType::Int64));
    }
}
