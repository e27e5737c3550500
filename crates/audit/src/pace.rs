//! The pace of a question: its batches are as large as its memory allows.
//!
//! The engine works in batches of so many rows, however wide. Three things keep them within the
//! question's memory: how many rows a batch has is chosen by how wide the plan's rows seem
//! ([`rows`]); what is handed to expressions is cut to what they may make of it; and what a join or
//! a window may repeat on every row is refused when it is too long for that.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, InListExpr, Literal};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::{
    ChildrenPropertiesMode, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
    SymmetricHashJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, SendableRecordBatchStream};
use datafusion::prelude::SessionConfig;

use crate::budget::Memory;
use crate::error::{Code, Error};
use crate::session::CONSTANT_BYTES_MAX;
use crate::size;

use self::flow::{Flow, flowing};

mod flow;

/// The most rows of a batch.
const ROWS_MAX: usize = 8_192;
/// Below so many rows a batch costs more than it carries.
const ROWS_MIN: usize = 16;
/// The most rows of a batch that a join makes, or that a window adds texts to: each may repeat the
/// longest text there is.
const REPEATED_ROWS_MAX: usize = 1_024;
/// Bytes that a value without a common length is taken to have before any is seen.
const VALUE_BYTES: usize = 128;
/// A batch may have this part of a question's memory.
const PART: usize = 8;

/// How many rows a batch of a plan may have within so much memory.
///
/// # Errors
/// [`Error::Refused`] when its rows are too wide for any.
pub(crate) fn rows(plan: &LogicalPlan, memory: &Memory) -> Result<usize, Error> {
    let (mut widest, mut constants) = (0usize, 0usize);
    let walked = plan.apply_with_subqueries(|node| {
        widest = widest.max(node.schema().fields().iter().map(width).sum());
        let makes = matches!(
            node,
            LogicalPlan::Projection(_)
                | LogicalPlan::Aggregate(_)
                | LogicalPlan::Window(_)
                | LogicalPlan::Sort(_)
        );
        if makes {
            node.apply_expressions(|expr| {
                expr.apply(|part| {
                    if let Expr::Literal(value, _) = part {
                        constants = constants.saturating_add(size::of_scalar(value));
                    }
                    let is_list = matches!(part, Expr::InList(_));
                    Ok(if is_list { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
                })
            })?;
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.map_err(|e| crate::query::told(&e))?;
    let each = widest.saturating_add(constants).max(1);
    let rows = (memory.bytes / PART / each).min(ROWS_MAX);
    if rows < ROWS_MIN {
        let message = format!(
            "a row of the question has some {each} bytes, too many to work with; name fewer \
             columns or shorter texts"
        );
        return Err(Error::refused(Code::Memory, message));
    }
    Ok(rows)
}

fn width(field: &FieldRef) -> usize {
    match field.data_type().primitive_width() {
        Some(width) => width,
        None if size::varies(field.data_type()) => VALUE_BYTES,
        None => 1,
    }
}

/// The same plan, whose steps are handed no more at once than the question's memory allows.
///
/// # Errors
/// As the engine's, when a step takes no other inputs.
pub(crate) fn kept(
    plan: Arc<dyn ExecutionPlan>,
    memory: &Memory,
    rows: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| step(node, memory, rows)).map(|kept| kept.data)
}

fn step(
    node: Arc<dyn ExecutionPlan>,
    memory: &Memory,
    rows: usize,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let part = memory.bytes / PART;
    if node.is::<ProjectionExec>() || node.is::<AggregateExec>() {
        let Some(uses) = Uses::of(&node)? else { return Ok(Transformed::no(node)) };
        return over_inputs(node, rows, 0, |_| Flow::Spread { uses: uses.clone(), part });
    }
    if let Some(sort) = node.downcast_ref::<SortExec>() {
        let most = rows.max(sort.fetch().unwrap_or(0));
        return over_inputs(node, rows, 0, |_| Flow::Sorted { rows: most, part: 2 * part });
    }
    if node.is::<ScalarSubqueryExec>() {
        return over_inputs(node, rows, 1, |_| Flow::Constant { most: CONSTANT_BYTES_MAX });
    }
    if node.is::<WindowAggExec>() {
        let texts = added(&node);
        let memory = memory.clone();
        return over_inputs(node, rows, 0, |_| Flow::Whole { texts, memory: memory.clone() });
    }
    let most = rows.min(REPEATED_ROWS_MAX);
    let repeated = |cut| Flow::Repeated { rows: most, part: 2 * part, cut };
    if node.is::<BoundedWindowAggExec>() {
        return match added(&node) {
            0 => Ok(Transformed::no(node)),
            _ => over_inputs(node, rows, 0, |_| repeated(true)),
        };
    }
    if node.is::<DataSourceExec>() && rows < ROWS_MAX / 2 {
        return Ok(Transformed::yes(Arc::new(Paced {
            input: node,
            rows,
            flow: Flow::Cut { rows },
        })));
    }
    let joins = node.is::<HashJoinExec>()
        || node.is::<CrossJoinExec>()
        || node.is::<NestedLoopJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<PiecewiseMergeJoinExec>()
        || node.is::<SymmetricHashJoinExec>();
    if !joins || !node.schema().fields().iter().any(|f| size::varies(f.data_type())) {
        return Ok(Transformed::no(node));
    }
    // It puts out a row of the left with a whole batch of the right.
    let crosses = node.is::<CrossJoinExec>();
    let join = over_inputs(node, rows, 0, |at| repeated(crosses && at == 1))?.data;
    Ok(Transformed::yes(Arc::new(Paced { input: join, rows: most, flow: Flow::Free })))
}

/// How many columns without a common length a window adds.
fn added(node: &Arc<dyn ExecutionPlan>) -> usize {
    let texts = |schema: SchemaRef| {
        schema.fields().iter().filter(|field| size::varies(field.data_type())).count()
    };
    let before: usize = node.children().iter().map(|child| texts(child.schema())).sum();
    texts(node.schema()).saturating_sub(before)
}

/// The same step, with what flows into it from the input `first` on watched.
fn over_inputs(
    node: Arc<dyn ExecutionPlan>,
    rows: usize,
    first: usize,
    flow: impl Fn(usize) -> Flow,
) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let inputs = node.children().into_iter().enumerate().map(|(at, input)| {
        let input = Arc::clone(input);
        if at < first {
            return input;
        }
        Arc::new(Paced { input, rows, flow: flow(at) }) as Arc<dyn ExecutionPlan>
    });
    let inputs = inputs.collect();
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Ok(Transformed::yes(node.replace_children(inputs, options)?))
}

/// What a step's expressions make of a row: how often they name each column of the input, and the
/// bytes of constants that they may write into it.
#[derive(Debug, Clone)]
pub(crate) struct Uses {
    columns: Vec<usize>,
    constants: usize,
}

impl Uses {
    /// None when no column is named twice, and there are no constants to speak of.
    fn of(node: &Arc<dyn ExecutionPlan>) -> Result<Option<Self>> {
        let Some(input) = node.children().first().map(|child| child.schema()) else {
            return Ok(None);
        };
        let mut uses = Self { columns: vec![0; input.fields().len()], constants: 0 };
        node.apply_expressions(&mut |expr| {
            uses.add(expr);
            Ok(TreeNodeRecursion::Continue)
        })?;
        let plain = uses.columns.iter().all(|times| *times < 2) && uses.constants < VALUE_BYTES;
        Ok((!plain).then_some(uses))
    }

    fn add(&mut self, expr: &Arc<dyn PhysicalExpr>) {
        if let Some(column) = expr.downcast_ref::<Column>() {
            if let Some(times) = self.columns.get_mut(column.index()) {
                *times += 1;
            }
        } else if let Some(literal) = expr.downcast_ref::<Literal>() {
            self.constants += size::of_scalar(literal.value());
        } else if let Some(subquery) = expr.downcast_ref::<ScalarSubqueryExpr>() {
            let field = subquery.return_field(&Schema::empty());
            let varies = field.is_ok_and(|field| size::varies(field.data_type()));
            self.constants += if varies { CONSTANT_BYTES_MAX } else { 0 };
        } else if let Some(list) = expr.downcast_ref::<InListExpr>() {
            self.add(list.expr());
        } else {
            for child in expr.children() {
                self.add(child);
            }
        }
    }

    /// Bytes that may be made of a batch.
    fn made_of(&self, batch: &RecordBatch) -> usize {
        let columns = batch.columns().iter().zip(&self.columns);
        let used =
            columns.filter(|(column, times)| **times > 0 && size::varies(column.data_type()));
        let used = used.map(|(column, times)| size::of(column).saturating_mul(*times));
        used.fold(self.constants.saturating_mul(batch.num_rows()), usize::saturating_add)
    }
}

fn with_config(context: &TaskContext, config: SessionConfig) -> TaskContext {
    TaskContext::new(
        context.task_id(),
        context.session_id(),
        config,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    )
}

/// A step's input, watched, or a step with batches of its own size.
#[derive(Debug)]
struct Paced {
    input: Arc<dyn ExecutionPlan>,
    /// Rows of a batch below here.
    rows: usize,
    flow: Flow,
}

impl DisplayAs for Paced {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for Paced {
    fn name(&self) -> &'static str {
        "Paced"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().unwrap_or_else(|| Arc::clone(&self.input));
        Ok(Arc::new(Self { input, rows: self.rows, flow: self.flow.clone() }))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let context = if context.session_config().batch_size() == self.rows {
            context
        } else {
            let config = context.session_config().clone().with_batch_size(self.rows);
            Arc::new(with_config(&context, config))
        };
        Ok(flowing(self.input.execute(partition, context)?, &self.flow))
    }
}
