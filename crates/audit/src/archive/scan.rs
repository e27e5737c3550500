//! How the query engine reads sealed rows: the files that can hold what a question asks for, checked
//! against the manifest, with the engine's own Parquet reader over our own access to the store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::catalog::Session;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use object_store::{OBJECT_STORE_COALESCE_DEFAULT, ObjectStore, coalesce_ranges};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::manifest::{File, Manifest, Segment};
use super::{Archive, Fault};
use crate::table::grown::Reach;
use crate::table::scan::Window;
use crate::table::sheet::UTC;

/// Bytes at a file's end that are read at once, in the hope that they hold all of its metadata.
const FOOTER_BYTES: usize = 512 * 1_024;

/// Which table's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    Events,
    Calls,
    Grants,
    Tasks,
    Approvals,
}

/// The sealed rows of a table, as of one version of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Sealed {
    pub(crate) archive: Arc<Archive>,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) rows: Rows,
}

/// What a question asks of a table.
pub(crate) struct Asked<'a> {
    pub(crate) schema: &'a SchemaRef,
    /// The columns that it needs, in its order.
    pub(crate) columns: &'a [usize],
    pub(crate) filters: &'a [Expr],
    pub(crate) window: Window,
    pub(crate) limit: Option<usize>,
}

/// Where the engine is told that the files are. Nothing in a statement can name it.
pub(crate) fn url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse("archive://sealed")
}

impl Sealed {
    /// The object store that the engine is told of.
    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.archive.store)
    }

    /// Index of the first event whose row is kept.
    pub(crate) fn first_kept(&self) -> u64 {
        self.manifest.kept().first().map_or(0, |segment| segment.first)
    }

    /// Reads what was asked for, or nothing if no file can hold any of it.
    pub(crate) async fn plan(
        &self,
        session: &dyn Session,
        asked: &Asked<'_>,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (files, in_order) = self.files(asked);
        if files.is_empty() {
            return Ok(None);
        }
        self.archive.ensure(&files).await.map_err(external)?;
        let lanes = session.config().target_partitions().max(1);
        let each = files.len().div_ceil(lanes);
        let groups = files.chunks(each).map(|files| {
            FileGroup::new(files.iter().map(|file| partitioned(file, asked.schema)).collect())
        });
        let readers = Arc::new(Readers(Arc::clone(&self.archive)));
        let source = ParquetSource::new(Arc::clone(asked.schema))
            .with_pushdown_filters(true)
            .with_reorder_filters(true)
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(true)
            .with_parquet_file_reader_factory(readers);
        let mut config = FileScanConfigBuilder::new(url()?, Arc::new(source))
            .with_file_groups(groups.collect())
            .with_projection_indices(Some(asked.columns.to_vec()))?
            .with_statistics(statistics(&files, asked.schema))
            .with_limit(asked.limit);
        if in_order {
            config = config.with_output_ordering(by_seq().into_iter().collect());
        }
        Ok(Some(DataSourceExec::from_data_source(config.build())))
    }

    /// The files that can hold what was asked for, and whether they are in the order of the chain.
    fn files(&self, asked: &Asked<'_>) -> (Vec<&File>, bool) {
        let segments = self.manifest.kept().iter();
        match self.rows {
            Rows::Events => {
                let by_agent = names_an_agent(asked.filters) && !needs_link(asked);
                let covered = |s: &Segment| by_agent && asked.window.covers(reach(&s.events));
                let mut in_order = true;
                let files = segments.filter(|s| asked.window.meets(reach(&s.events)));
                let files = files.filter_map(|segment| {
                    if covered(segment) {
                        in_order = false;
                        segment.by_agent.as_ref()
                    } else {
                        Some(&segment.events)
                    }
                });
                let files = files.collect();
                (files, in_order)
            }
            Rows::Calls => (met(segments.map(|s| s.calls.as_ref()), asked.window), false),
            Rows::Tasks => (met(segments.map(|s| s.tasks.as_ref()), asked.window), false),
            Rows::Approvals => (met(segments.map(|s| s.approvals.as_ref()), asked.window), false),
            Rows::Grants => (met(segments.map(|s| s.grants.as_ref()), asked.window), false),
        }
    }
}

/// The files among these that reach into a window.
fn met<'a>(files: impl Iterator<Item = Option<&'a File>>, window: Window) -> Vec<&'a File> {
    files.flatten().filter(|file| window.meets(reach(file))).collect()
}

const fn reach(file: &File) -> Reach {
    Reach { seq: file.seq, ts: file.ts }
}

/// Whether a condition asks for one agent.
fn names_an_agent(filters: &[Expr]) -> bool {
    let is_agent = |expr: &Expr| expr.try_as_col().is_some_and(|column| column.name == "agent_id");
    let is_literal = |expr: &Expr| matches!(expr, Expr::Literal(..));
    filters.iter().any(|filter| {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else {
            return false;
        };
        (is_agent(left) && is_literal(right)) || (is_literal(left) && is_agent(right))
    })
}

fn needs_link(asked: &Asked<'_>) -> bool {
    let is_link = |name: &str| name == "link";
    asked.columns.iter().any(|at| is_link(asked.schema.field(*at).name()))
        || asked.filters.iter().flat_map(Expr::column_refs).any(|column| is_link(&column.name))
}

/// Ascending by `seq`, the first column.
fn by_seq() -> Option<LexOrdering> {
    let options = SortOptions { descending: false, nulls_first: false };
    LexOrdering::new([PhysicalSortExpr { expr: Arc::new(Column::new("seq", 0)), options }])
}

fn partitioned(file: &File, schema: &SchemaRef) -> PartitionedFile {
    PartitionedFile::new(file.name.clone(), file.bytes)
        .with_statistics(Arc::new(statistics(&[file], schema)))
}

/// How many rows files have, and from where to where they reach.
fn statistics(files: &[&File], schema: &SchemaRef) -> Statistics {
    let mut statistics = Statistics::new_unknown(schema);
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    statistics.num_rows = Precision::Exact(usize::try_from(rows).unwrap_or(usize::MAX));
    let seq = |value| ScalarValue::Int64(Some(value));
    let ts = |value| ScalarValue::TimestampMicrosecond(Some(value), Some(UTC.into()));
    let low = |of: fn(&File) -> i64| files.iter().map(|file| of(file)).min().unwrap_or(i64::MIN);
    let high = |of: fn(&File) -> i64| files.iter().map(|file| of(file)).max().unwrap_or(i64::MAX);
    let bounds = [
        (seq(low(|file| file.seq.0)), seq(high(|file| file.seq.1))),
        (ts(low(|file| file.ts.0)), ts(high(|file| file.ts.1))),
    ];
    // The first two columns are `seq` and `ts`, which are never null.
    for (column, (low, high)) in statistics.column_statistics.iter_mut().zip(bounds) {
        *column = ColumnStatistics {
            null_count: Precision::Exact(0),
            min_value: Precision::Inexact(low),
            max_value: Precision::Inexact(high),
            ..ColumnStatistics::new_unknown()
        };
    }
    statistics
}

fn external(fault: Fault) -> DataFusionError {
    DataFusionError::External(Box::new(fault))
}

/// Makes readers of files that were verified.
#[derive(Debug)]
struct Readers(Arc<Archive>);

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let (name, bytes) = (file.object_meta.location.to_string(), file.object_meta.size);
        Ok(Box::new(Reader { archive: Arc::clone(&self.0), name, bytes }))
    }
}

struct Reader {
    archive: Arc<Archive>,
    name: String,
    bytes: u64,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).finish_non_exhaustive()
    }
}

fn unread(fault: Fault) -> ParquetError {
    ParquetError::External(Box::new(fault))
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { self.archive.bytes(&self.name, range).await.map_err(unread) }.boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move {
            let fetch = |range| self.archive.bytes(&self.name, range);
            let fetched = coalesce_ranges(&ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT);
            fetched.await.map_err(unread)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            if let Some(known) = self.archive.metadata(&self.name) {
                return Ok(known);
            }
            let bytes = self.bytes;
            let metadata = ParquetMetaDataReader::new()
                .with_page_index_policy(PageIndexPolicy::Optional)
                .with_prefetch_hint(Some(FOOTER_BYTES))
                .load_and_finish(&mut *self, bytes)
                .await?;
            let metadata = Arc::new(metadata);
            self.archive.keep_metadata(&self.name, &metadata);
            Ok(metadata)
        }
        .boxed()
    }
}
