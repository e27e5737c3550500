//! What `verify_chain(from, to)` reads: one row that says whether the ledger's entries verify, and
//! whether the rows of `events` are those of the entries.
//!
//! The range comes as conditions on the first two columns. Entries are verified on a blocking thread;
//! then the rows come, in any order, and each is held against the link of its entry's event.

use std::fmt;
use std::future::Future;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{
    Array as _, AsArray as _, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use bailiwick_core::event::name_of;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType, col, lit,
};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, Partitioning, PlanProperties,
};
use futures::{StreamExt as _, stream};

use super::events::EventColumn;
use super::sheet::{self, Columns as _, Sheet, columns};
use crate::chain::{Broken, Chain, Header, READ_BYTES, Verified};
use crate::error::{Code, Error};

/// The most events that are verified at once.
pub(crate) const EVENTS_MAX: u64 = 1 << 20;

columns! {
    /// The columns of `verify_chain`.
    VerifiedColumn {
        FirstSeq "first_seq" Int always; LastSeq "last_seq" Int always; Holds "holds" Flag always;
        Entries "entries" Int; Rows "rows" Int always; LinkBefore "link_before" Bytes32;
        LinkAfter "link_after" Bytes32; FaultSeq "fault_seq" Int; Fault "fault" Long;
    }
}

/// The table that `verify_chain` reads.
#[derive(Debug)]
pub(crate) struct VerifyChain {
    pub(crate) chain: Option<Chain>,
    pub(crate) events: Arc<dyn TableProvider>,
    /// The first event of which there are rows.
    pub(crate) kept: u64,
    /// The last one.
    pub(crate) as_of: Option<u64>,
}

impl VerifyChain {
    /// The range that the conditions name.
    fn range(&self, filters: &[Expr]) -> Result<RangeInclusive<u64>> {
        let refused = |message: String| Err(Error::refused(Code::Invalid, message).within());
        let named = |column| filters.iter().find_map(|filter| equal(filter, column));
        let (Some(first), Some(last)) = (named("first_seq"), named("last_seq")) else {
            return refused("`verify_chain` takes the first and the last seq".to_owned());
        };
        let (Ok(from), Ok(to)) = (u64::try_from(first), u64::try_from(last)) else {
            return refused(format!("there are no events {first} to {last}"));
        };
        match self.as_of {
            _ if from > to => refused(format!("there are no events {first} to {last}")),
            Some(as_of) if to <= as_of => Ok(from..=to),
            Some(as_of) => refused(format!("event {last} is not there; the last is {as_of}")),
            None => refused("there are no events yet".to_owned()),
        }
    }

    async fn plan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let refused = |message: String| Err(Error::refused(Code::Invalid, message).within());
        let range = self.range(filters)?;
        let (first, last) = (*range.start(), *range.end());
        if last - first >= EVENTS_MAX {
            return refused(format!("at most {EVENTS_MAX} events are verified at once"));
        }
        if first < self.kept {
            return refused(format!("the archive keeps events from {} on", self.kept));
        }
        let Some(chain) = self.chain.clone() else {
            return refused(
                "`verify_chain` needs the ledger, which is not beside these tables".into(),
            );
        };
        let columns = [EventColumn::Seq, EventColumn::Ts, EventColumn::Kind, EventColumn::Link];
        let columns = columns.map(EventColumn::at).to_vec();
        let bounds = [col("seq").gt_eq(lit(signed(first))), col("seq").lt_eq(lit(signed(last)))];
        let rows = self.events.scan(session, Some(&columns), &bounds, None).await?;
        let schema = match projection {
            Some(columns) => Arc::new(self.schema().project(columns)?),
            None => self.schema(),
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Arc::new(VerifyChainExec {
            work: Work { chain, range },
            rows,
            columns: projection.cloned(),
            properties: Arc::new(properties),
        }))
    }
}

/// The number that a condition says a column is.
fn equal(filter: &Expr, column: &str) -> Option<i64> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = filter else {
        return None;
    };
    match (&**left, &**right) {
        (Expr::Column(named), Expr::Literal(ScalarValue::Int64(number), _))
        | (Expr::Literal(ScalarValue::Int64(number), _), Expr::Column(named))
            if named.name() == column =>
        {
            *number
        }
        _ => None,
    }
}

fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

impl TableProvider for VerifyChain {
    fn schema(&self) -> SchemaRef {
        sheet::schema::<VerifiedColumn>()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

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
        _limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<dyn ExecutionPlan>>> + Send + 'e>>
    where
        'a: 'e,
        'b: 'e,
        'c: 'e,
        'd: 'e,
        Self: 'e,
    {
        Box::pin(self.plan(session, projection, filters))
    }
}

/// Verifies entries, then the rows of their events.
#[derive(Debug)]
struct VerifyChainExec {
    work: Work,
    rows: Arc<dyn ExecutionPlan>,
    columns: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for VerifyChainExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = &self.work.range;
        write!(f, "VerifyChainExec: events {} to {}", range.start(), range.end())
    }
}

impl ExecutionPlan for VerifyChainExec {
    fn name(&self) -> &'static str {
        "VerifyChainExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.rows]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition]
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
        let (Some(rows), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("`VerifyChainExec` has one input");
        };
        let (work, columns) = (self.work.clone(), self.columns.clone());
        let properties = Arc::clone(&self.properties);
        Ok(Arc::new(Self { work, rows, columns, properties }))
    }

    fn execute(
        &self,
        _partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let rows = self.rows.execute(0, Arc::clone(&context))?;
        let (work, columns) = (self.work.clone(), self.columns.clone());
        let told = async move {
            let batch = work.done(rows, &context).await?;
            match columns {
                Some(columns) => Ok(batch.project(&columns)?),
                None => Ok(batch),
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::once(told))))
    }
}

/// What is to be verified.
#[derive(Debug, Clone)]
struct Work {
    chain: Chain,
    range: RangeInclusive<u64>,
}

/// Says that nobody waits any more when it goes.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The first thing that is wrong.
struct Fault {
    seq: u64,
    what: String,
}

impl Work {
    async fn done(
        self,
        rows: SendableRecordBatchStream,
        context: &TaskContext,
    ) -> Result<RecordBatch> {
        let count =
            usize::try_from(self.range.end() - self.range.start() + 1).unwrap_or(usize::MAX);
        let held = MemoryConsumer::new("VerifyChain").register(context.memory_pool());
        let rows_held = count.saturating_mul(size_of::<Header>() + size_of::<bool>());
        held.try_grow(rows_held.saturating_add(READ_BYTES))?;
        let turn = self.chain.turn().await;
        let _turn = turn.map_err(|e| DataFusionError::External(Box::new(e)))?;
        let wanted = Arc::new(AtomicBool::new(true));
        let _waiting = Waiting(Arc::clone(&wanted));
        let (chain, range) = (self.chain, self.range.clone());
        let verify = move || chain.verify(&range, &|| wanted.load(Ordering::Relaxed));
        let verified = SpawnedTask::spawn_blocking(verify).join().await;
        let verified = verified.map_err(|e| DataFusionError::External(Box::new(e)))?;
        let (mut entries, mut before, mut after, mut seen) = (None, None, None, 0);
        let fault = match verified {
            Ok(Verified { entries: count, before: link, headers }) => {
                (entries, before) = (Some(count), link);
                after = headers.last().map(|last| last.link);
                let mut compared = Compared::new(*self.range.start(), headers);
                let fault = compared.all(rows).await?;
                seen = compared.rows;
                fault
            }
            Err(Broken::Fault { index, what }) => Some(Fault { seq: index, what }),
            Err(Broken::Log(error)) => {
                let message = format!("the ledger cannot be read: {error}");
                return Err(Error::refused(Code::Failed, message).within());
            }
            Err(Broken::Abandoned) => {
                return Err(Error::refused(Code::Failed, "nobody waits for it").within());
            }
        };
        let mut sheet = Sheet::<VerifiedColumn>::new();
        sheet.set(VerifiedColumn::FirstSeq, *self.range.start());
        sheet.set(VerifiedColumn::LastSeq, *self.range.end());
        sheet.set(VerifiedColumn::Holds, fault.is_none());
        sheet.set_some(VerifiedColumn::Entries, entries);
        sheet.set(VerifiedColumn::Rows, seen);
        sheet.set_some(VerifiedColumn::LinkBefore, before.as_ref().map(|link| link.0.as_slice()));
        sheet.set_some(VerifiedColumn::LinkAfter, after.as_ref().map(|link| link.0.as_slice()));
        sheet.set_some(VerifiedColumn::FaultSeq, fault.as_ref().map(|fault| fault.seq));
        sheet.set_some(VerifiedColumn::Fault, fault.map(|fault| fault.what));
        sheet.end_row();
        Ok(sheet.take())
    }
}

/// Rows, as they are held against what the entries say.
struct Compared {
    first: u64,
    headers: Vec<Header>,
    seen: Vec<bool>,
    rows: u64,
}

impl Compared {
    fn new(first: u64, headers: Vec<Header>) -> Self {
        let seen = vec![false; headers.len()];
        Self { first, headers, seen, rows: 0 }
    }

    /// The first fault of all rows, if there is one.
    async fn all(&mut self, mut rows: SendableRecordBatchStream) -> Result<Option<Fault>> {
        let mut fault: Option<Fault> = None;
        while let Some(batch) = rows.next().await {
            let found = self.batch(&batch?);
            fault = [fault, found].into_iter().flatten().min_by_key(|fault| fault.seq);
        }
        let missing = self.seen.iter().position(|seen| !seen).map(|at| Fault {
            seq: self.first + at as u64,
            what: "`events` has no row of it".to_owned(),
        });
        Ok([fault, missing].into_iter().flatten().min_by_key(|fault| fault.seq))
    }

    /// The first fault of some rows. The engine has not applied the range to them.
    fn batch(&mut self, batch: &RecordBatch) -> Option<Fault> {
        let cells = Cells {
            seq: batch.column(0).as_primitive::<Int64Type>(),
            time: batch.column(1).as_primitive::<TimestampMicrosecondType>(),
            kind: batch.column(2).as_string(),
            link: batch.column(3).as_fixed_size_binary(),
        };
        let mut first: Option<Fault> = None;
        for row in 0..batch.num_rows() {
            let seq = u64::try_from(cells.seq.value(row)).unwrap_or(u64::MAX);
            let at = seq.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
            let Some((at, header)) = at.and_then(|at| Some((at, self.headers.get(at)?))) else {
                continue;
            };
            self.rows += 1;
            let twice = std::mem::replace(&mut self.seen[at], true);
            let what = if twice {
                "`events` has two rows of it"
            } else if !cells.are_of(row, header) {
                "its row in `events` is not of the event that the ledger has there"
            } else {
                continue;
            };
            if first.as_ref().is_none_or(|fault| seq < fault.seq) {
                first = Some(Fault { seq, what: what.to_owned() });
            }
        }
        first
    }
}

/// Columns of `events`.
struct Cells<'a> {
    seq: &'a Int64Array,
    time: &'a TimestampMicrosecondArray,
    kind: &'a StringArray,
    link: &'a FixedSizeBinaryArray,
}

impl Cells<'_> {
    fn are_of(&self, row: usize, header: &Header) -> bool {
        let is_whole =
            self.time.is_valid(row) && self.kind.is_valid(row) && self.link.is_valid(row);
        is_whole
            && self.link.value(row) == header.link.0
            && i64::try_from(header.time.0 / 1_000) == Ok(self.time.value(row))
            && name_of(header.kind) == Some(self.kind.value(row))
    }
}
