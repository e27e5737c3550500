//! The newest events: a question that everybody asks, and that needs no scan.
//!
//! Every index up to the last has its event, so of `events` without a condition the `n` rows that are
//! last by `seq` are those from `last + 1 - n` on. The engine cannot know that: it would read whole
//! row groups, all columns of them, to keep the last few.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Sort, lit};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Knows the last event of the snapshot that is asked.
#[derive(Debug)]
pub(super) struct Newest {
    pub(super) last: u64,
}

impl OptimizerRule for Newest {
    fn name(&self) -> &'static str {
        "newest_events"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(sort) = &plan else { return Ok(Transformed::no(plan)) };
        let Some(first) = self.first(sort) else { return Ok(Transformed::no(plan)) };
        plan.transform_down(|node| {
            let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
            let seq = Expr::Column(Column::new(Some(scan.table_name.clone()), "seq"));
            let bound = LogicalPlanBuilder::from(node).filter(seq.gt_eq(lit(first)))?.build()?;
            Ok(Transformed::new(bound, true, TreeNodeRecursion::Jump))
        })
    }
}

impl Newest {
    /// The first event that can be among the rows that a sort keeps, if that is known.
    fn first(&self, sort: &Sort) -> Option<i64> {
        let kept = u64::try_from(sort.fetch?).ok()?;
        let by = sort.expr.first().filter(|by| !by.asc)?;
        if by.expr.try_as_col()?.name != "seq" || !is_all_of_events(&sort.input) {
            return None;
        }
        i64::try_from((self.last + 1).checked_sub(kept)?).ok()
    }
}

/// Whether a plan is `events` with no condition, but maybe with fewer columns.
fn is_all_of_events(plan: &LogicalPlan) -> bool {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's plans, not ours")]
    match plan {
        LogicalPlan::TableScan(scan) => {
            let whole = scan.filters.is_empty() && scan.fetch.is_none();
            scan.table_name.table() == "events" && whole
        }
        LogicalPlan::Projection(projection) => {
            // A column of another name, or made of others, could be called `seq`.
            let plain = projection.expr.iter().all(|expr| expr.try_as_col().is_some());
            plain && is_all_of_events(&projection.input)
        }
        _ => false,
    }
}
