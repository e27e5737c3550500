//! `with … as materialized (…)`: a query of a statement that is answered once, however often the
//! statement names it, as in PostgreSQL.
//!
//! The engine puts such a query in the place of each of its names and answers it each time. What is
//! marked becomes a table of the session instead, whose rows are made when they are first read, count
//! against the question's memory, and go with the question.
//!
//! The word counts in the outermost `with` of a statement. Further inside, for a query that hides a
//! table, and for one whose columns are named anew, it changes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{SchemaProvider, Session, TableProvider};
use datafusion::common::runtime::{JoinSet, SpawnedTask};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::common::{DataFusionError, ParamValues, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Cte, CteAsMaterialized, Query, SetExpr, Statement as Ast, With,
};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::guard::{ast_of, folded};

/// Any name: all tables are in one schema.
const UNNAMED: &str = "_";

/// A statement's plan, and the queries in it that are answered once, each behind those that it reads.
pub(crate) struct Planned {
    pub(crate) plan: LogicalPlan,
    pub(crate) once: Vec<Arc<Once>>,
    tables: Option<Arc<dyn SchemaProvider>>,
}

impl Planned {
    /// All of its plans.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &LogicalPlan> {
        self.once.iter().map(|once| &once.plan).chain([&self.plan])
    }

    /// Takes its tables out of the session again.
    pub(crate) fn forget(&self) -> Result<()> {
        for (once, tables) in self.once.iter().zip(self.tables.iter().cycle()) {
            tables.deregister_table(&once.name)?;
        }
        Ok(())
    }
}

/// Plans a statement, with values for its placeholders where there are any.
pub(crate) async fn plan(
    state: &SessionState,
    mut statement: Statement,
    values: Option<&ParamValues>,
) -> Result<Planned> {
    let (mut once, mut tables) = (Vec::new(), None);
    if let Some(Ast::Query(query)) = ast_of(&mut statement)
        && let Some(with) = query.with.take_if(|with| is_marked(with))
    {
        let schema = tables.insert(state.schema_for_ref(UNNAMED)?);
        query.with = plan_once(state, with, values, (schema, &mut once)).await?;
    }
    let plan = state.statement_to_plan(statement).await?;
    Ok(Planned { plan: bound(state, plan, values)?, once, tables })
}

/// Whether one of the queries is marked, and all of them have names of their own.
fn is_marked(with: &With) -> bool {
    let names: BTreeSet<String> =
        with.cte_tables.iter().map(|named| folded(&named.alias.name)).collect();
    let marked = |named: &Cte| named.materialized == Some(CteAsMaterialized::Materialized);
    names.len() == with.cte_tables.len() && with.cte_tables.iter().any(marked)
}

/// A plan with values for its placeholders, analysed: of what types its columns are is known only
/// then.
fn bound(
    state: &SessionState,
    plan: LogicalPlan,
    values: Option<&ParamValues>,
) -> Result<LogicalPlan> {
    let Some(values) = values else { return Ok(plan) };
    let plan = plan.with_param_values(values.clone())?;
    state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})
}

/// Makes tables of the queries that are marked. Those that are left.
async fn plan_once(
    state: &SessionState,
    with: With,
    values: Option<&ParamValues>,
    (tables, once): (&Arc<dyn SchemaProvider>, &mut Vec<Arc<Once>>),
) -> Result<Option<With>> {
    let With { with_token, recursive, cte_tables } = with;
    let mut left = With { with_token, recursive, cte_tables: Vec::new() };
    for named in cte_tables {
        let name = folded(&named.alias.name);
        let marked = named.materialized == Some(CteAsMaterialized::Materialized);
        // One that hides a table, or names its columns anew, is answered as the engine does.
        if !marked || !named.alias.columns.is_empty() || tables.table_exist(&name) {
            left.cte_tables.push(named);
            continue;
        }
        let before = Some(&left).filter(|left| !left.cte_tables.is_empty());
        let plan = state.statement_to_plan(alone(named, before)).await?;
        // Under its name each column has one of its own, as the engine gives it to a query.
        let plan = LogicalPlanBuilder::from(plan).alias(name.as_str())?.build()?;
        let plan = bound(state, plan, values)?;
        let (input, rows) = (OnceLock::new(), Arc::default());
        let table = Arc::new(Once { name: name.clone(), plan, input, rows });
        tables.register_table(name, Arc::clone(&table) as _)?;
        once.push(table);
    }
    Ok(Some(left).filter(|left| !left.cte_tables.is_empty()))
}

/// A query of a statement, with those that stand before it, as a statement of its own.
fn alone(named: Cte, before: Option<&With>) -> Statement {
    let Cte { query, .. } = named;
    let query = match before {
        None => query,
        Some(before) => Box::new(Query {
            with: Some(before.clone()),
            body: Box::new(SetExpr::Query(query)),
            order_by: None,
            limit_clause: None,
            fetch: None,
            locks: Vec::new(),
            for_clause: None,
            settings: None,
            format_clause: None,
            pipe_operators: Vec::new(),
        }),
    };
    Statement::Statement(Box::new(Ast::Query(query)))
}

/// A query that is answered once, as a table.
#[derive(Debug)]
pub(crate) struct Once {
    name: String,
    pub(crate) plan: LogicalPlan,
    input: OnceLock<Arc<dyn ExecutionPlan>>,
    rows: Arc<Kept>,
}

impl Once {
    /// Says how it is answered. Has to be done before a plan that reads it is made.
    pub(crate) fn answered_by(&self, input: Arc<dyn ExecutionPlan>) {
        // The first answer counts.
        let _ = self.input.set(input);
    }

    fn scanned(&self, columns: Option<&Vec<usize>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(input) = self.input.get() else {
            return internal_err!("`{}` is read before it is planned", self.name);
        };
        let schema = match columns {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(input.properties().partitioning.partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Arc::new(MaterializedExec {
            name: self.name.clone(),
            input: Arc::clone(input),
            rows: Arc::clone(&self.rows),
            columns: columns.cloned(),
            properties: Arc::new(properties),
        }))
    }
}

impl TableProvider for Once {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema().inner())
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    fn scan<'a, 'b, 'c, 'd, 'e>(
        &'a self,
        _session: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        _filters: &'d [Expr],
        _limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'e>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        Box::pin(std::future::ready(self.scanned(projection)))
    }
}

/// Rows that were made, each partition's of the plan that made them together.
#[derive(Debug)]
struct Rows {
    partitions: Vec<Vec<RecordBatch>>,
    memory: Vec<MemoryReservation>,
}

type Made = Shared<BoxFuture<'static, Result<Arc<Rows>, Arc<DataFusionError>>>>;

/// The rows, once somebody has asked for them.
#[derive(Default)]
struct Kept(Mutex<Option<Made>>);

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    /// The rows, made by a task of their own: who asked first may not be polled again before others
    /// have them.
    fn rows(&self, input: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Made {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = kept.get_or_insert_with(|| {
            let task = SpawnedTask::spawn(made(Arc::clone(input), Arc::clone(context)));
            let joined = async move {
                let ended = task.join().await;
                let ended = ended.unwrap_or_else(|e| Err(DataFusionError::External(Box::new(e))));
                ended.map(Arc::new).map_err(Arc::new)
            };
            joined.boxed().shared()
        });
        made.clone()
    }
}

/// All rows of a plan, all of its partitions at the same time.
async fn made(input: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Rows> {
    let mut tasks = JoinSet::new();
    for partition in 0..input.properties().partitioning.partition_count() {
        let mut stream = input.execute(partition, Arc::clone(&context))?;
        let memory = MemoryConsumer::new("Materialized").register(context.memory_pool());
        tasks.spawn(async move {
            let (mut batches, mut counter) = (Vec::new(), RecordBatchMemoryCounter::new());
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                memory.try_grow(counter.count_batch(&batch))?;
                batches.push(batch);
            }
            Ok((batches, memory))
        });
    }
    let mut rows = Rows { partitions: Vec::new(), memory: Vec::new() };
    while let Some(ended) = tasks.join_next().await {
        let ended: Result<_> = ended.map_err(|e| DataFusionError::External(Box::new(e)))?;
        let (batches, memory) = ended?;
        rows.partitions.push(batches);
        rows.memory.push(memory);
    }
    Ok(rows)
}

/// Reads rows that are made once. What makes them is planned by itself, so nothing that is planned
/// around this looks into it.
#[derive(Debug)]
struct MaterializedExec {
    name: String,
    input: Arc<dyn ExecutionPlan>,
    rows: Arc<Kept>,
    columns: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for MaterializedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaterializedExec: {}", self.name)
    }
}

impl ExecutionPlan for MaterializedExec {
    fn name(&self) -> &'static str {
        "MaterializedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let made = self.rows.rows(&self.input, &context);
        let (columns, schema) = (self.columns.clone(), self.schema());
        let batches = async move {
            // They are held, and count, until the last of them has been read.
            let rows = made.await.map_err(DataFusionError::Shared)?;
            let count = rows.partitions.get(partition).map_or(0, Vec::len);
            let read = move |at: usize| chosen(&rows.partitions[partition][at], &columns, &schema);
            Ok::<_, DataFusionError>(stream::iter((0..count).map(read)))
        };
        let stream = stream::once(batches).try_flatten();
        let stream = RecordBatchStreamAdapter::new(self.schema(), stream);
        Ok(make_cooperative(Box::pin(stream)))
    }
}

/// Some columns of a batch, under the names that they have outside.
fn chosen(
    batch: &RecordBatch,
    columns: &Option<Vec<usize>>,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let arrays = match columns {
        Some(columns) => columns.iter().map(|at| Arc::clone(batch.column(*at))).collect(),
        None => batch.columns().to_vec(),
    };
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
}
