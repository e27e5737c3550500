//! Rows as Parquet: what an archive's files look like inside.
//!
//! zstd 3; row groups of 128 Ki rows with page indices, so that a look-up reads a few pages; numbers
//! that ascend as differences; Bloom filters on what is looked up by its exact value and is spread
//! over all files.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::Fault;

/// Rows in a row group.
const GROUP_ROWS: usize = 128 * 1_024;
/// Rows in a page, at most.
const PAGE_ROWS: usize = 20_000;
/// Rows that are put together at a time when rows change their order.
const CHUNK_ROWS: usize = 16 * 1_024;
/// Columns that mostly ascend.
const ASCENDING: [&str; 5] = ["seq", "ts", "entry", "latency_us", "finished_seq"];
/// Columns whose values are all different and are not looked up.
const DISTINCT: [&str; 5] = ["link", "args_commitment", "result_digest", "detail", "disclosed"];
/// Columns that are looked up by their exact value.
const LOOKED_UP: [&str; 5] = ["session_id", "trace_id", "grant_id", "resource", "call_id"];
/// How many different values a Bloom filter is made for, and how often it may be wrong.
const BLOOM: (u64, f64) = (64 * 1_024, 0.05);

fn properties(schema: &SchemaRef) -> Result<WriterProperties, Fault> {
    let level = ZstdLevel::try_new(3)?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS);
    for field in schema.fields() {
        let name = field.name().as_str();
        let path = ColumnPath::from(name);
        if ASCENDING.contains(&name) {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if DISTINCT.contains(&name) {
            properties = properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if LOOKED_UP.contains(&name) {
            properties = properties
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_max_ndv(path.clone(), BLOOM.0)
                .set_column_bloom_filter_fpp(path, BLOOM.1);
        }
    }
    Ok(properties.build())
}

/// Batches as one Parquet file.
pub(crate) fn written(
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<Vec<u8>, Fault> {
    let properties = properties(schema)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties))?;
    for batch in batches {
        writer.write(&batch?)?;
    }
    Ok(writer.into_inner()?)
}

/// The rows of some batches in another order, or only some of them, a chunk at a time.
#[derive(Debug)]
pub(crate) struct Reordered {
    schema: SchemaRef,
    columns: Vec<Source>,
    /// For each row that comes out, the batch and the row that it was.
    order: Vec<(u32, u32)>,
    /// The first row of each batch.
    starts: Vec<u32>,
    at: usize,
}

/// Where a column's values are.
#[derive(Debug)]
enum Source {
    /// In one array: dictionaries become one dictionary once, and not once a chunk.
    Whole(ArrayRef),
    /// In the batches as they are.
    Batches(Vec<ArrayRef>),
}

impl Reordered {
    /// The rows that have a value in the column of names `by`, ordered by it and then as they came,
    /// with the columns of `schema`.
    pub(crate) fn by(
        by: &str,
        batches: &[Arc<RecordBatch>],
        schema: SchemaRef,
    ) -> Result<Self, ArrowError> {
        let mut named: Vec<(&str, u32, u32)> = Vec::new();
        for (batch, rows) in (0..).zip(batches) {
            let names = rows.column(rows.schema_ref().index_of(by)?).as_dictionary::<Int32Type>();
            let values = names.values().as_string::<i32>();
            for (row, key) in (0..).zip(names.keys().iter()) {
                let Some(key) = key.and_then(|key| usize::try_from(key).ok()) else { continue };
                named.push((values.value(key), batch, row));
            }
        }
        named.sort_unstable();
        let order = named.into_iter().map(|(_, batch, row)| (batch, row)).collect();
        let mut starts = Vec::with_capacity(batches.len());
        let mut rows = 0u32;
        for batch in batches {
            starts.push(rows);
            rows += u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        }
        let columns = schema.fields().iter().map(|field| {
            let at =
                batches.first().map_or(Ok(0), |batch| batch.schema_ref().index_of(field.name()))?;
            let arrays: Vec<ArrayRef> = batches.iter().map(|b| Arc::clone(b.column(at))).collect();
            if !matches!(field.data_type(), DataType::Dictionary(..)) || arrays.is_empty() {
                return Ok(Source::Batches(arrays));
            }
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            Ok(Source::Whole(concat(&arrays)?))
        });
        let columns = columns.collect::<Result<_, ArrowError>>()?;
        Ok(Self { schema, columns, order, starts, at: 0 })
    }

    /// How many rows come out.
    pub(crate) fn rows(&self) -> usize {
        self.order.len()
    }

    fn chunk(&self, order: &[(u32, u32)]) -> Result<RecordBatch, ArrowError> {
        let places: Vec<(usize, usize)> =
            order.iter().map(|(batch, row)| (*batch as usize, *row as usize)).collect();
        let rows: UInt32Array =
            order.iter().map(|(batch, row)| self.starts[*batch as usize] + row).collect();
        let columns = self.columns.iter().map(|column| match column {
            Source::Whole(array) => take(array, &rows, None),
            Source::Batches(arrays) => {
                let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
                interleave(&arrays, &places)
            }
        });
        RecordBatch::try_new(Arc::clone(&self.schema), columns.collect::<Result<_, _>>()?)
    }
}

impl Iterator for Reordered {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.order.len().min(self.at + CHUNK_ROWS);
        let chunk = self.order.get(self.at..end).filter(|chunk| !chunk.is_empty())?;
        let chunk = self.chunk(chunk);
        self.at = end;
        Some(chunk)
    }
}
