//! How the query engine reads a snapshot of a table: only the columns that a question names, and
//! only the parts that can hold what it asks for.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;

use super::grown::Reach;
use crate::archive::scan::{Asked, Sealed};

/// A table as it stood at one moment.
pub(crate) trait Snapshot: fmt::Debug + Send + Sync + 'static {
    fn schema(&self) -> SchemaRef;
    /// How far each part reaches, in chain order.
    fn parts(&self) -> Vec<Reach>;
    fn rows(&self, part: usize) -> usize;
    fn column(&self, part: usize, column: usize) -> ArrayRef;
}

/// A snapshot as the engine's table: rows in memory, behind those that are sealed. `seq`, when a
/// table has it, is its first column and the order of the rows in memory.
#[derive(Debug)]
pub(crate) struct Scan<T> {
    recent: T,
    sealed: Option<Sealed>,
}

impl<T: Snapshot> Scan<T> {
    /// A table all of whose rows are in memory.
    pub(crate) const fn of(recent: T) -> Self {
        Self { recent, sealed: None }
    }

    /// A table with sealed rows before those in memory.
    pub(crate) const fn behind(sealed: Option<Sealed>, recent: T) -> Self {
        Self { recent, sealed }
    }

    async fn plan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = plain(&self.recent.schema());
        let columns: Vec<usize> =
            projection.cloned().unwrap_or_else(|| (0..schema.fields().len()).collect());
        let window = filters.iter().fold(Window::ALL, |window, filter| {
            bounds(filter).map_or(window, |bounds| window.narrowed(bounds))
        });
        let asked = Asked { schema: &schema, columns: &columns, filters, window, limit };
        let recent = self.recent(session.config().target_partitions(), &asked)?;
        let Some(sealed) = &self.sealed else { return Ok(recent) };
        match sealed.plan(session, &asked).await? {
            None => Ok(recent),
            Some(sealed) => UnionExec::try_new(vec![sealed, recent]),
        }
    }

    fn recent(&self, lanes: usize, asked: &Asked<'_>) -> Result<Arc<dyn ExecutionPlan>> {
        let Asked { schema, columns, window, limit, .. } = *asked;
        let projected = Arc::new(schema.project(columns)?);
        let mut batches = Vec::new();
        let mut rows = 0;
        let reaches = self.recent.parts();
        for (part, reach) in reaches.iter().enumerate() {
            if !window.meets(*reach) {
                continue;
            }
            if limit.is_some_and(|limit| rows >= limit) {
                break;
            }
            rows += self.recent.rows(part);
            batches.push(self.batch(part, columns, &projected)?);
        }
        let source = MemorySourceConfig::try_new(&lanes_of(batches, lanes), projected, None)?
            .with_limit(limit);
        // Parts that are about to be archived may overlap with those that stay.
        let ascends = reaches.windows(2).all(|pair| pair[0].seq.1 < pair[1].seq.0);
        let in_order = columns.iter().position(|c| ascends && schema.field(*c).name() == "seq");
        let orderings = in_order.and_then(|at| {
            let expr = Arc::new(Column::new("seq", at));
            let options = SortOptions { descending: false, nulls_first: false };
            LexOrdering::new([PhysicalSortExpr { expr, options }])
        });
        let source = source.try_with_sort_information(orderings.into_iter().collect())?;
        Ok(DataSourceExec::from_data_source(source))
    }

    fn batch(&self, part: usize, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
        let arrays = columns.iter().zip(schema.fields()).map(|(column, field)| {
            let array = self.recent.column(part, *column);
            if array.data_type() == field.data_type() {
                Ok(array)
            } else {
                cast(&array, field.data_type())
            }
        });
        let arrays = arrays.collect::<std::result::Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.recent.rows(part)));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
    }
}

/// The same columns with texts as plain texts. The engine groups dictionaries by way of rows; and of
/// dictionaries and views each batch would count the whole page that it shares with others, so that
/// questions came to the end of their memory long before they had used it.
fn plain(schema: &SchemaRef) -> SchemaRef {
    let text = |field: &FieldRef| {
        let DataType::Dictionary(_, text) = field.data_type() else { return Arc::clone(field) };
        Arc::new(field.as_ref().clone().with_data_type(text.as_ref().clone()))
    };
    Arc::new(Schema::new(schema.fields().iter().map(text).collect::<Fields>()))
}

/// Batches in at most `lanes` runs, so that each run keeps the order.
fn lanes_of(batches: Vec<RecordBatch>, lanes: usize) -> Vec<Vec<RecordBatch>> {
    let each = batches.len().div_ceil(lanes.max(1)).max(1);
    let mut runs: Vec<Vec<RecordBatch>> = batches.chunks(each).map(<[_]>::to_vec).collect();
    if runs.is_empty() {
        runs.push(Vec::new());
    }
    runs
}

impl<T: Snapshot> TableProvider for Scan<T> {
    fn schema(&self) -> SchemaRef {
        plain(&self.recent.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Conditions choose parts and files and not rows, so the engine still applies them all.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    fn scan<'a, 'b, 'c, 'd, 'e>(
        &'a self,
        session: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        filters: &'d [Expr],
        limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'e>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        Box::pin(self.plan(session, projection, filters, limit))
    }
}

/// A column that parts are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    Seq,
    Ts,
}

/// Inclusive bounds on one axis.
type Bounds = (Axis, i64, i64);

/// Inclusive bounds on both axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    seq: (i64, i64),
    ts: (i64, i64),
}

impl Window {
    pub(crate) const ALL: Self = Self { seq: (i64::MIN, i64::MAX), ts: (i64::MIN, i64::MAX) };

    fn narrowed(mut self, (axis, low, high): Bounds) -> Self {
        let side = match axis {
            Axis::Seq => &mut self.seq,
            Axis::Ts => &mut self.ts,
        };
        *side = (side.0.max(low), side.1.min(high));
        self
    }

    /// Whether everything within `reach` is within the window.
    pub(crate) const fn covers(self, reach: Reach) -> bool {
        self.seq.0 <= reach.seq.0
            && reach.seq.1 <= self.seq.1
            && self.ts.0 <= reach.ts.0
            && reach.ts.1 <= self.ts.1
    }

    pub(crate) const fn meets(self, reach: Reach) -> bool {
        self.seq.0 <= reach.seq.1
            && reach.seq.0 <= self.seq.1
            && self.ts.0 <= reach.ts.1
            && reach.ts.0 <= self.ts.1
    }
}

/// What a condition says about `seq` or `ts`, if it is a comparison with a literal.
fn bounds(filter: &Expr) -> Option<Bounds> {
    if let Expr::Between(Between { expr, negated: false, low, high }) = filter {
        let axis = axis(expr)?;
        return Some((axis, literal(axis, low)?, literal(axis, high)?));
    }
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = filter else { return None };
    let (axis, value, op) = match axis(left) {
        Some(axis) => (axis, literal(axis, right)?, *op),
        None => {
            let axis = axis(right)?;
            (axis, literal(axis, left)?, op.swap()?)
        }
    };
    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's operators, not ours")]
    match op {
        Operator::Eq => Some((axis, value, value)),
        Operator::Lt => Some((axis, i64::MIN, value.saturating_sub(1))),
        Operator::LtEq => Some((axis, i64::MIN, value)),
        Operator::Gt => Some((axis, value.saturating_add(1), i64::MAX)),
        Operator::GtEq => Some((axis, value, i64::MAX)),
        _ => None,
    }
}

fn axis(expr: &Expr) -> Option<Axis> {
    match expr.try_as_col()?.name.as_str() {
        "seq" => Some(Axis::Seq),
        "ts" => Some(Axis::Ts),
        _ => None,
    }
}

fn literal(axis: Axis, expr: &Expr) -> Option<i64> {
    let Expr::Literal(value, _) = expr else { return None };
    match (axis, value) {
        (Axis::Seq, ScalarValue::Int64(Some(value)))
        | (Axis::Ts, ScalarValue::TimestampMicrosecond(Some(value), _)) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::logical_expr::{col, lit};

    use super::*;

    fn window(filters: &[Expr]) -> Window {
        filters.iter().filter_map(bounds).fold(Window::ALL, Window::narrowed)
    }

    #[test]
    fn comparisons_with_literals_bound_a_scan_from_either_side() {
        assert_eq!(window(&[col("seq").gt(lit(5i64)), lit(9i64).gt_eq(col("seq"))]).seq, (6, 9));
        assert_eq!(window(&[col("seq").between(lit(3i64), lit(4i64))]).seq, (3, 4));
        let ts = ScalarValue::TimestampMicrosecond(Some(7), Some("+00:00".into()));
        assert_eq!(window(&[col("ts").eq(lit(ts))]).ts, (7, 7));
    }

    #[test]
    fn what_does_not_bound_leaves_every_part() {
        let others = [
            col("seq").not_eq(lit(5i64)),
            col("seq").not_between(lit(3i64), lit(4i64)),
            col("uses").gt(lit(5i64)),
            col("seq").gt(col("uses")),
            col("seq").gt(lit(1i64)).or(col("uses").gt(lit(1i64))),
        ];
        assert_eq!(window(&others), Window::ALL);
    }

    #[test]
    fn a_part_is_read_when_its_edge_touches() {
        let reach = Reach { seq: (10, 20), ts: (100, 200) };
        assert!(window(&[col("seq").gt_eq(lit(20i64))]).meets(reach));
        assert!(window(&[col("seq").lt_eq(lit(10i64))]).meets(reach));
        assert!(!window(&[col("seq").gt_eq(lit(21i64))]).meets(reach));
        assert!(!window(&[col("seq").lt_eq(lit(9i64))]).meets(reach));
    }
}
