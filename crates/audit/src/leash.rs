//! The leash: makes an abandoned question stop.
//!
//! A task stops where it gives way to others, and the engine's joins may not for a very long time:
//! a join polls its input once and then goes through any number of pairs. So every join is made to
//! give way each few batches that it puts out, and a join's condition, which is what runs when
//! nothing is put out, fails once nobody waits for the answer any more.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
    PiecewiseMergeJoinExec, SortMergeJoinExec, SymmetricHashJoinExec,
};

/// Whether anybody still waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leash(Arc<AtomicBool>);

/// Pulls the leash when it goes.
#[derive(Debug)]
pub(crate) struct Hand(pub(crate) Leash);

impl Drop for Hand {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// The same plan, whose joins stop when the leash is pulled.
pub(crate) fn held(plan: Arc<dyn ExecutionPlan>, leash: &Leash) -> Result<Arc<dyn ExecutionPlan>> {
    let held = plan.transform_up(|node| match join(&node, leash)? {
        Some(join) => Ok(Transformed::yes(Arc::new(CooperativeExec::new(join)) as _)),
        None => Ok(Transformed::no(node)),
    })?;
    Ok(held.data)
}

/// The join that `node` is, with its condition on the leash.
fn join(node: &Arc<dyn ExecutionPlan>, leash: &Leash) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let on_leash = |filter: &JoinFilter| {
        let inner = Arc::clone(filter.expression());
        let expression = Arc::new(Held { inner, leash: leash.clone() });
        let schema = Arc::clone(filter.schema());
        JoinFilter::new(expression, filter.column_indices().to_vec(), schema)
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
        let filter = join.filter().map(on_leash);
        let join = NestedLoopJoinExecBuilder::from(join).with_filter(filter).build()?;
        return Ok(Some(Arc::new(join)));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>() {
        let filter = join.filter().map(on_leash);
        return join.builder().with_filter(filter).build_exec().map(Some);
    }
    let other = node.is::<CrossJoinExec>()
        || node.is::<SortMergeJoinExec>()
        || node.is::<PiecewiseMergeJoinExec>()
        || node.is::<SymmetricHashJoinExec>();
    Ok(other.then(|| Arc::clone(node)))
}

/// A condition that fails once the leash is pulled.
#[derive(Debug)]
struct Held {
    inner: Arc<dyn PhysicalExpr>,
    leash: Leash,
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Held {}

impl Hash for Held {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl PhysicalExpr for Held {
    fn data_type(&self, input_schema: &Schema) -> Result<DataType> {
        self.inner.data_type(input_schema)
    }

    fn nullable(&self, input_schema: &Schema) -> Result<bool> {
        self.inner.nullable(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.leash.0.load(Ordering::Relaxed) {
            return Err(DataFusionError::Execution("nobody waits for the answer".to_owned()));
        }
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self { inner, leash: self.leash.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
