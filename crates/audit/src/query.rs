//! From a question to its answer.
//!
//! Questions run on threads of their own, so that a long one never holds up whoever decides
//! calls, with stacks deep enough for the deepest statement that the guard lets pass. The caller
//! waits no longer than the deadline, whatever the threads do.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::answer::{Column, Table, append, type_name};
use crate::budget::{MADE, Memory};
use crate::error::{Code, Error};
use crate::leash::{Hand, Leash};
use crate::session::materialized;
use crate::store::Snapshot;
use crate::{guard, leash, pace, session, size};

/// Batches that are made before the first of them is taken.
const BATCHES_AHEAD: usize = 2;

/// What the engine says, in one of its errors or inside another, when the disk's part is used up.
const DISK_FULL: &str = "The used disk space";

/// What one question may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows of the answer.
    pub rows: usize,
    /// Bytes of the answer, as the engine holds it.
    pub bytes: usize,
    /// From the question to the last row, the wait for its turn included.
    pub time: Duration,
    /// Bytes of working memory.
    pub memory_bytes: usize,
}

impl Limits {
    /// What an interactive question may take: 100,000 rows, 64 MiB, 10 seconds, 256 MiB.
    pub const INTERACTIVE: Self = Self {
        rows: 100_000,
        bytes: 64 * 1_024 * 1_024,
        time: Duration::from_secs(10),
        memory_bytes: 256 * 1_024 * 1_024,
    };
}

/// Values for a question's placeholders: `$agent` by its name, `$1` by its number.
pub type Parameters = BTreeMap<String, Value>;

/// A task that ends when nobody waits for it any more.
pub(crate) struct Awaited<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T> Awaited<T> {
    /// What the task comes to, if it does by `deadline`.
    pub(crate) async fn by(&mut self, deadline: Instant, limits: &Limits) -> Result<T, Error> {
        match timeout_at(deadline, &mut self.0).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(Error::refused(Code::Failed, "the question broke the engine")),
            Err(_) => Err(too_slow(limits)),
        }
    }
}

pub(crate) fn too_slow(limits: &Limits) -> Error {
    let message = format!("the answer took longer than {} ms", limits.time.as_millis());
    Error::refused(Code::Timeout, message)
}

/// The scalars of a question's parameters.
pub(crate) fn scalars(parameters: &Parameters) -> Result<ParamValues, Error> {
    let mut scalars = HashMap::with_capacity(parameters.len());
    for (name, value) in parameters {
        let scalar = match value {
            Value::Null => ScalarValue::Null,
            Value::Bool(flag) => ScalarValue::from(*flag),
            Value::String(text) => ScalarValue::from(text.as_str()),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => ScalarValue::from(integer),
                (None, Some(float)) => ScalarValue::from(float),
                (None, None) => return Err(no_type(name)),
            },
            Value::Array(_) | Value::Object(_) => return Err(no_type(name)),
        };
        scalars.insert(name.clone(), scalar.into());
    }
    Ok(ParamValues::Map(scalars))
}

fn no_type(name: &str) -> Error {
    let name: String = name.chars().take(80).collect();
    let message = format!("the parameter `{name}` is not a text, a number, a boolean or null");
    Error::refused(Code::Parameter, message)
}

/// An answer that is coming: its columns, and its batches as the engine makes them. Dropping it
/// ends the work.
pub(crate) struct Opened {
    /// The columns.
    pub(crate) schema: SchemaRef,
    /// The last event that the answer takes into account.
    pub(crate) as_of_seq: Option<u64>,
    batches: Receiver<Result<RecordBatch, Error>>,
    memory: Memory,
    _hand: Hand,
}

impl Opened {
    /// The next rows, or none after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<RecordBatch, Error>> {
        self.batches.recv().await
    }

    /// All rows as plain values, if they have at most so many `bytes`. They count against the
    /// question's memory while they are gathered.
    pub(crate) async fn collected(mut self, bytes: usize) -> Result<Table, Error> {
        let columns = columns(&self.schema);
        let gathered = MemoryConsumer::new("Answer").register(&self.memory.pool);
        let (mut rows, mut held) = (Vec::new(), 0);
        while let Some(batch) = self.next().await {
            let (before, batch) = (rows.len(), batch?);
            check_weight(&batch, size_of::<Value>(), held, bytes)?;
            append(&mut rows, &batch).map_err(|e| told(&e.into()))?;
            let more = rows[before..].iter().flatten().map(weight).sum::<usize>();
            held += more;
            if held > bytes {
                return Err(too_large(bytes));
            }
            gathered.try_grow(more).map_err(|e| unless_held(told(&e), &self.memory))?;
        }
        Ok(Table { columns, rows, as_of_seq: self.as_of_seq })
    }
}

/// Refuses a batch that is twice as large as an answer may be, before anything is made of it: its
/// columns may share what an answer has to repeat. `held` bytes are there already, and each value
/// takes `cell` bytes besides what it holds.
pub(crate) fn check_weight(
    batch: &RecordBatch,
    cell: usize,
    held: usize,
    bytes: usize,
) -> Result<(), Error> {
    let cells = batch.num_rows().saturating_mul(batch.num_columns());
    let weight = size::of_batch(batch).saturating_add(cells.saturating_mul(cell));
    if held.saturating_add(weight) / 2 > bytes { Err(too_large(bytes)) } else { Ok(()) }
}

pub(crate) fn too_large(bytes: usize) -> Error {
    let message = format!("the answer has more than {bytes} bytes; name fewer columns, or a range");
    Error::refused(Code::TooLarge, message)
}

fn columns(schema: &SchemaRef) -> Vec<Column> {
    let column = |field: &FieldRef| Column {
        name: field.name().clone(),
        kind: type_name(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}

/// Plans an admitted statement over a snapshot and starts it.
///
/// `turn` is given up when the work has ended, not when the caller's patience has.
pub(crate) async fn open(
    statement: Statement,
    parameters: ParamValues,
    snapshot: Snapshot,
    threads: usize,
    within: Within,
) -> Result<Opened, Error> {
    let as_of_seq = snapshot.as_of;
    let state = session::open(snapshot, threads, &within.memory);
    let state = state.map_err(|e| told(&e))?;
    open_in(state, as_of_seq, statement, parameters, within).await
}

/// Plans an admitted statement in a session and starts it.
pub(crate) async fn open_in(
    mut state: SessionState,
    as_of_seq: Option<u64>,
    statement: Statement,
    parameters: ParamValues,
    within: Within,
) -> Result<Opened, Error> {
    let planned = materialized::plan(&state, statement, Some(&parameters)).await;
    let planned = planned.map_err(|e| told(&e))?;
    planned.plans().try_for_each(guard::verify)?;
    let schema = Arc::clone(planned.plan.schema().inner());
    let optimized = |plan: &LogicalPlan| state.optimize(plan).map_err(|e| told(&e));
    let plan = optimized(&planned.plan)?;
    let once = planned.once.iter().map(|once| optimized(&once.plan));
    let once = once.collect::<Result<Vec<_>, _>>()?;
    let mut rows = pace::rows(&plan, &within.memory)?;
    for plan in &once {
        rows = rows.min(pace::rows(plan, &within.memory)?);
    }
    *state.config_mut() = state.config().clone().with_batch_size(rows);
    let hand = Hand(Leash::default());
    for (table, plan) in planned.once.iter().zip(&once) {
        table.answered_by(physical(&state, plan, &within, &hand).await?);
    }
    let physical = physical(&state, &plan, &within, &hand).await?;
    let context = Arc::new(TaskContext::from(&state));
    let stream = execute_stream(physical, context).map_err(|e| told(&e))?;
    let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
    let memory = within.memory.clone();
    tokio::spawn(produce(stream, sender, within));
    Ok(Opened { schema, as_of_seq, batches, memory, _hand: hand })
}

/// The types of an admitted statement's placeholders, where its use of them tells, and its columns.
/// Placeholders whose type is given have that one.
pub(crate) async fn describe(
    state: &SessionState,
    statement: Statement,
    given: &HashMap<String, DataType>,
) -> Result<(HashMap<String, Option<DataType>>, SchemaRef), Error> {
    let planned = materialized::plan(state, statement.clone(), None).await;
    let planned = planned.map_err(|e| told(&e))?;
    planned.forget().map_err(|e| told(&e))?;
    let mut parameters = HashMap::new();
    for plan in planned.plans() {
        guard::verify(plan)?;
        for (placeholder, inferred) in plan.get_parameter_types().map_err(|e| told(&e))? {
            let known: &mut Option<DataType> = parameters.entry(placeholder).or_default();
            *known = known.take().or(inferred);
        }
    }
    let mut values = HashMap::with_capacity(parameters.len());
    for (placeholder, inferred) in &parameters {
        let kind = given.get(placeholder).or(inferred.as_ref()).unwrap_or(&DataType::Utf8);
        let null = ScalarValue::try_from(kind).map_err(|e| told(&e))?;
        values.insert(placeholder.trim_start_matches('$').to_owned(), null.into());
    }
    // Of what type a column is may hang on those of the placeholders.
    let planned = materialized::plan(state, statement, Some(&ParamValues::Map(values))).await;
    let planned = planned.map_err(|e| told(&e))?;
    Ok((parameters, Arc::clone(planned.plan.schema().inner())))
}

/// What a question runs within.
pub(crate) struct Within {
    pub(crate) limits: Limits,
    pub(crate) deadline: Instant,
    pub(crate) turn: OwnedSemaphorePermit,
    pub(crate) memory: Memory,
}

/// Hands on what the engine makes, until the end, a limit, or nobody takes it any more.
async fn produce(
    mut stream: SendableRecordBatchStream,
    sender: Sender<Result<RecordBatch, Error>>,
    within: Within,
) {
    let Within { limits, deadline, turn, memory } = within;
    let mut rows = 0;
    let work = async {
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|e| unless_held(told(&e), &memory))?;
            rows += batch.num_rows();
            if rows > limits.rows {
                let message =
                    format!("the answer has more than {} rows; add a `limit`", limits.rows);
                return Err(Error::refused(Code::TooManyRows, message));
            }
            if sender.send(Ok(batch)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let failed = tokio::select! {
        biased;
        () = sender.closed() => None,
        done = timeout_at(deadline, work) => done.unwrap_or_else(|_| Err(too_slow(&limits))).err(),
    };
    drop(stream);
    drop(turn);
    if let Some(error) = failed {
        // Nobody may wait any more; then there is nobody to tell.
        let _ = sender.send(Err(error)).await;
    }
}

/// How a plan is run, so that it ends when the leash is pulled.
async fn physical(
    state: &SessionState,
    plan: &LogicalPlan,
    within: &Within,
    hand: &Hand,
) -> Result<Arc<dyn ExecutionPlan>, Error> {
    let physical = state.query_planner().create_physical_plan(plan, state).await;
    let physical = physical.map_err(|e| told(&e))?;
    guard::verify_sorts(&physical, within.limits.rows)?;
    let rows = state.config().batch_size();
    let physical = pace::kept(physical, &within.memory, rows).map_err(|e| told(&e))?;
    leash::held(physical, &hand.0).map_err(|e| told(&e))
}

/// Bytes of a value, near enough to bound an answer.
fn weight(value: &Value) -> usize {
    let inner = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(k, v)| k.len() + weight(v)).sum(),
    };
    inner + size_of::<Value>()
}

/// What the engine says, under our codes.
pub(crate) fn told(error: &DataFusionError) -> Error {
    if let Some(ours) = Error::behind(error) {
        return ours;
    }
    let mut code = code_of(error);
    let mut message: String = error.strip_backtrace().chars().take(1_000).collect();
    if message.contains("No value found for placeholder") || message.contains("Placeholder '") {
        return Error::refused(Code::Parameter, message);
    }
    if code == Code::Memory || message.contains(DISK_FULL) {
        let (known, words) = resource(&message);
        (code, message) = (known, words.to_owned());
    }
    Error::refused(code, message)
}

/// The same error, unless it is other questions that hold what this one wants.
fn unless_held(error: Error, memory: &Memory) -> Error {
    let ended = [Code::Memory, Code::Disk].map(Code::as_str).contains(&error.code());
    if !ended || !memory.is_held_by_others() {
        return error;
    }
    let message = "other questions hold the memory that there is for all; ask again";
    Error::refused(Code::Busy, message)
}

/// What came to its end, from the engine's words.
fn resource(message: &str) -> (Code, &'static str) {
    if message.contains(DISK_FULL) {
        (Code::Disk, "the question needs more room on disk than there is for questions; narrow it")
    } else if message.contains("Join") {
        let words = "a join of the question needs more memory than it may take, and joins are not \
            done on disk; narrow what is joined";
        (Code::Memory, words)
    } else if message.contains(MADE) {
        let words = "the texts and lists that the question makes need more memory than it may \
            take; make fewer of them or shorter ones, or narrow it";
        (Code::Memory, words)
    } else {
        (Code::Memory, "the question needs more memory than it may take; narrow it")
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the engine's errors, not ours")]
fn code_of(error: &DataFusionError) -> Code {
    match error {
        DataFusionError::ResourcesExhausted(_) => Code::Memory,
        DataFusionError::SQL(..) => Code::Syntax,
        DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_) => Code::Invalid,
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            code_of(inner)
        }
        DataFusionError::Shared(inner) => code_of(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(Code::Failed, code_of),
        _ => Code::Failed,
    }
}
