//! The engine's way to move projections down, with a fault of it stepped round.
//!
//! A filter can drop columns by itself: it then has a projection of its own. `ProjectionPushdown`
//! runs twice, and where a sort between two projections has turned out needless after the first
//! run, the second meets a projection over such a filter. `FilterExec` then swaps the two and
//! puts that projection, whose places count the filter's columns, over the filter's input, whose
//! columns are others: the plan is refused ("Input field name … does not match"). So filters give
//! their projections back as steps of their own first; the rule merges the steps, and filters
//! take on what is left.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

type Rule = Arc<dyn PhysicalOptimizerRule + Send + Sync>;

/// The engine's own rules in their order, with every filter free of a projection before
/// projections are moved.
pub(super) fn rules() -> Vec<Rule> {
    let freed = |rule: Rule| {
        let first = (rule.name() == "ProjectionPushdown").then(|| Arc::new(Freed) as Rule);
        first.into_iter().chain([rule])
    };
    PhysicalOptimizer::new().rules.into_iter().flat_map(freed).collect()
}

#[derive(Debug)]
struct Freed;

impl PhysicalOptimizerRule for Freed {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(free).data()
    }

    fn name(&self) -> &'static str {
        "FreeFiltersOfProjections"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn free(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = plan.downcast_ref::<FilterExec>() else {
        return Ok(Transformed::no(plan));
    };
    let Some(places) = filter.projection() else { return Ok(Transformed::no(plan)) };
    let whole = FilterExecBuilder::from(filter).apply_projection(None)?.build()?;
    let schema = whole.schema();
    let columns = places.iter().map(|place| {
        let name = schema.field(*place).name();
        ProjectionExpr { expr: Arc::new(Column::new(name, *place)), alias: name.clone() }
    });
    let columns: Vec<_> = columns.collect();
    Ok(Transformed::yes(Arc::new(ProjectionExec::try_new(columns, Arc::new(whole))?)))
}
