//! A sheet: the columns of one table while rows are written to it, one cell at a time.
//!
//! A table lists its columns once, with [`columns!`]. A row sets the cells it has and ends;
//! whatever it left out is null.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int8Builder,
    Int16Builder, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder,
    StringDictionaryBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef, TimeUnit};
use bailiwick_core::id::{
    Action, AgentId, ApprovalId, CallId, CredentialId, FindingId, GrantId, GrantRequestId, OwnerId,
    PolicyId, RequestId, Resource, RevocationId, SessionId, TaskId, Text, ToolId,
};
use bailiwick_core::record::hash::Digest;
use bailiwick_core::time::Time;

/// The time zone of every moment, in the spelling that the engine's own `now()` has.
pub(crate) const UTC: &str = "+00:00";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Small,
    Tiny,
    Float,
    Flag,
    /// Text with few distinct values: dictionary-encoded.
    Name,
    /// Text with many distinct values.
    Long,
    Time,
    Bytes16,
    Bytes32,
}

impl Kind {
    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Int => DataType::Int64,
            Self::Small => DataType::Int16,
            Self::Tiny => DataType::Int8,
            Self::Float => DataType::Float64,
            Self::Flag => DataType::Boolean,
            Self::Name => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
            Self::Long => DataType::Utf8,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Bytes16 => DataType::FixedSizeBinary(16),
            Self::Bytes32 => DataType::FixedSizeBinary(32),
        }
    }
}

/// One column as a table lists it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether every row has it.
    pub(crate) always: bool,
}

/// The columns of one table.
pub(crate) trait Columns: Copy + std::fmt::Debug + Send + Sync + 'static {
    const ALL: &'static [Self];
    const LISTED: &'static [Listed];
    fn at(self) -> usize;
}

/// Lists a table's columns: `Variant "name" Kind;`, with `always` after the kind if it is never null.
macro_rules! columns {
    ($(#[$doc:meta])* $table:ident { $($column:ident $name:literal $kind:ident $($always:ident)?;)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        #[repr(usize)]
        pub(crate) enum $table { $($column),+ }

        impl $crate::table::sheet::Columns for $table {
            const ALL: &'static [Self] = &[$(Self::$column),+];
            const LISTED: &'static [$crate::table::sheet::Listed] = &[$(
                $crate::table::sheet::Listed {
                    name: $name,
                    kind: $crate::table::sheet::Kind::$kind,
                    always: columns!(@always $($always)?),
                }
            ),+];
            fn at(self) -> usize {
                self as usize
            }
        }
    };
    (@always always) => { true };
    (@always) => { false };
}
pub(crate) use columns;

pub(crate) fn fields(listed: &[Listed]) -> Vec<Field> {
    listed.iter().map(|c| Field::new(c.name, c.kind.data_type(), !c.always)).collect()
}

pub(crate) fn schema<C: Columns>() -> SchemaRef {
    Arc::new(Schema::new(fields(C::LISTED)))
}

/// A cell's value.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Int(i64),
    Float(f64),
    Flag(bool),
    Text(&'a str),
    Made(String),
    Time(Time),
    Bytes(&'a [u8]),
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

macro_rules! plain_values {
    ($($type:ty => $variant:ident;)+) => {$(
        impl From<$type> for Value<'_> {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )+};
}
plain_values! {
    u8 => Int; u32 => Int; i64 => Int; f64 => Float; bool => Flag; String => Made; Time => Time;
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Bytes(value)
    }
}

impl<'a> From<&'a Digest> for Value<'a> {
    fn from(value: &'a Digest) -> Self {
        Self::Bytes(&value.0)
    }
}

macro_rules! text_values {
    ($($type:ty),+) => {$(
        impl<'a> From<&'a $type> for Value<'a> {
            fn from(value: &'a $type) -> Self {
                Self::Text(value.as_str())
            }
        }
    )+};
}
text_values!(
    OwnerId,
    AgentId,
    CredentialId,
    PolicyId,
    SessionId,
    RequestId,
    Action,
    ToolId,
    Resource,
    Text
);

macro_rules! number_values {
    ($($type:ty),+) => {$(
        impl From<$type> for Value<'_> {
            fn from(value: $type) -> Self {
                Self::Made(value.to_string())
            }
        }
    )+};
}
number_values!(GrantId, ApprovalId, GrantRequestId, TaskId, CallId, RevocationId, FindingId);

/// A column being written.
enum Column {
    Int(Int64Builder),
    Small(Int16Builder),
    Tiny(Int8Builder),
    Float(Float64Builder),
    Flag(BooleanBuilder),
    Name(StringDictionaryBuilder<Int32Type>),
    Long(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    Bytes(FixedSizeBinaryBuilder),
}

macro_rules! each {
    ($column:expr, $builder:ident => $do:expr) => {
        match $column {
            Column::Int($builder) => $do,
            Column::Small($builder) => $do,
            Column::Tiny($builder) => $do,
            Column::Float($builder) => $do,
            Column::Flag($builder) => $do,
            Column::Name($builder) => $do,
            Column::Long($builder) => $do,
            Column::Time($builder) => $do,
            Column::Bytes($builder) => $do,
        }
    };
}

impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Self::Int(_) => "Int",
            Self::Small(_) => "Small",
            Self::Tiny(_) => "Tiny",
            Self::Float(_) => "Float",
            Self::Flag(_) => "Flag",
            Self::Name(_) => "Name",
            Self::Long(_) => "Long",
            Self::Time(_) => "Time",
            Self::Bytes(_) => "Bytes",
        };
        write!(f, "{kind} column of {} cells", self.len())
    }
}

impl Column {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Int => Self::Int(Int64Builder::new()),
            Kind::Small => Self::Small(Int16Builder::new()),
            Kind::Tiny => Self::Tiny(Int8Builder::new()),
            Kind::Float => Self::Float(Float64Builder::new()),
            Kind::Flag => Self::Flag(BooleanBuilder::new()),
            Kind::Name => Self::Name(StringDictionaryBuilder::new()),
            Kind::Long => Self::Long(StringBuilder::new()),
            Kind::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            Kind::Bytes16 => Self::Bytes(FixedSizeBinaryBuilder::new(16)),
            Kind::Bytes32 => Self::Bytes(FixedSizeBinaryBuilder::new(32)),
        }
    }

    fn len(&self) -> usize {
        each!(self, builder => ArrayBuilder::len(builder))
    }

    fn pad(&mut self, rows: usize) {
        if self.len() < rows {
            let missing = rows - self.len();
            each!(self, builder => builder.append_nulls(missing));
        }
    }

    fn take(&mut self) -> ArrayRef {
        each!(self, builder => Arc::new(builder.finish()))
    }

    fn copy(&self) -> ArrayRef {
        each!(self, builder => Arc::new(builder.finish_cloned()))
    }

    /// A value of another kind than the column's is left out, which padding turns into a null;
    /// the pairs are fixed in the source, so the assertion finds a wrong one in any test.
    fn append(&mut self, value: &Value<'_>) {
        match (self, value) {
            (Self::Int(to), Value::Int(v)) => to.append_value(*v),
            (Self::Small(to), Value::Int(v)) => to.append_option(i16::try_from(*v).ok()),
            (Self::Tiny(to), Value::Int(v)) => to.append_option(i8::try_from(*v).ok()),
            (Self::Float(to), Value::Float(v)) => to.append_value(*v),
            (Self::Flag(to), Value::Flag(v)) => to.append_value(*v),
            (Self::Name(to), Value::Text(v)) => to.append_value(v),
            (Self::Name(to), Value::Made(v)) => to.append_value(v),
            (Self::Name(to), Value::Bytes(v)) => to.append_value(hex::encode(v)),
            (Self::Long(to), Value::Text(v)) => to.append_value(v),
            (Self::Long(to), Value::Made(v)) => to.append_value(v),
            (Self::Time(to), Value::Time(v)) => to.append_value(micros(*v)),
            (Self::Bytes(to), Value::Bytes(v)) => {
                let fits = to.append_value(v);
                debug_assert!(fits.is_ok(), "{} bytes do not fit the column", v.len());
            }
            (column, value) => debug_assert!(false, "{value:?} does not fit {column:?}"),
        }
    }
}

/// Whole microseconds since the Unix epoch, as SQL counts time.
pub(crate) fn micros(time: Time) -> i64 {
    i64::try_from(time.micros()).unwrap_or(i64::MAX)
}

/// The columns of a table while rows are written to it.
///
/// INVARIANT: between rows every column has `rows` cells.
#[derive(Debug)]
pub(crate) struct Sheet<C> {
    columns: Vec<Column>,
    rows: usize,
    schema: SchemaRef,
    of: PhantomData<C>,
}

impl<C: Columns> Sheet<C> {
    pub(crate) fn new() -> Self {
        Self {
            columns: C::LISTED.iter().map(|c| Column::new(c.kind)).collect(),
            rows: 0,
            schema: schema::<C>(),
            of: PhantomData,
        }
    }

    pub(crate) const fn rows(&self) -> usize {
        self.rows
    }

    /// Writes a cell of the row at hand. A cell that is written already keeps its value.
    pub(crate) fn set<'a>(&mut self, column: C, value: impl Into<Value<'a>>) {
        let to = &mut self.columns[column.at()];
        if to.len() == self.rows {
            to.append(&value.into());
        }
    }

    pub(crate) fn set_some<'a, V: Into<Value<'a>>>(&mut self, column: C, value: Option<V>) {
        if let Some(value) = value {
            self.set(column, value);
        }
    }

    pub(crate) fn end_row(&mut self) {
        self.rows += 1;
        for column in &mut self.columns {
            column.pad(self.rows);
        }
    }

    /// The rows, leaving the sheet empty.
    pub(crate) fn take(&mut self) -> RecordBatch {
        let columns = self.columns.iter_mut().map(Column::take).collect();
        let rows = std::mem::take(&mut self.rows);
        batch(&self.schema, columns, rows)
    }

    /// A copy of the rows.
    pub(crate) fn copy(&self) -> RecordBatch {
        let columns = self.columns.iter().map(Column::copy).collect();
        batch(&self.schema, columns, self.rows)
    }
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).expect(
        "a sheet's columns are those of its schema, of equal length, and set where required",
    )
}
