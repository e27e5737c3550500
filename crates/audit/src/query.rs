//! From a question to its answer.
//!
//! Questions run on threads of their own, so that a long one never holds up whoever decides
//! calls, with stacks deep enough for the deepest statement that the guard lets pass. The caller
//! waits no longer than the deadline, whatever the threads do.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::answer::{Column, Table, append, type_name};
use crate::error::{Code, Error};
use crate::leash::Leash;
use crate::store::Snapshot;
use crate::{guard, leash, session};

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

/// Answers an admitted statement from a snapshot.
pub(crate) async fn answer(
    statement: Statement,
    parameters: ParamValues,
    snapshot: Snapshot,
    threads: usize,
    limits: Limits,
    leash: Leash,
) -> Result<Table, Error> {
    let as_of_seq = snapshot.as_of;
    let state = session::open(snapshot, threads, limits.memory_bytes).map_err(|e| told(&e))?;
    let plan = plan(&state, statement, parameters).await?;
    let columns = plan
        .schema()
        .fields()
        .iter()
        .map(|field| Column { name: field.name().clone(), kind: type_name(field.data_type()) });
    let columns = columns.collect();
    let physical = state.create_physical_plan(&plan).await.map_err(|e| told(&e))?;
    let physical = leash::held(physical, &leash).map_err(|e| told(&e))?;
    let context = Arc::new(TaskContext::from(&state));
    let mut stream = execute_stream(physical, context).map_err(|e| told(&e))?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|e| told(&e))?;
        if rows.len() + batch.num_rows() > limits.rows {
            let message = format!("the answer has more than {} rows; add a `limit`", limits.rows);
            return Err(Error::refused(Code::TooManyRows, message));
        }
        let before = rows.len();
        append(&mut rows, &batch).map_err(|e| told(&e.into()))?;
        bytes += rows[before..].iter().flatten().map(weight).sum::<usize>();
        if bytes > limits.bytes {
            let message = format!("the answer has more than {} bytes", limits.bytes);
            return Err(Error::refused(Code::TooLarge, message));
        }
    }
    Ok(Table { columns, rows, as_of_seq })
}

async fn plan(
    state: &SessionState,
    statement: Statement,
    parameters: ParamValues,
) -> Result<LogicalPlan, Error> {
    let plan = state.statement_to_plan(statement).await.map_err(|e| told(&e))?;
    guard::verify(&plan)?;
    plan.with_param_values(parameters).map_err(|e| told(&e))
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
fn told(error: &DataFusionError) -> Error {
    let code = code_of(error);
    let mut message: String = error.strip_backtrace().chars().take(1_000).collect();
    if message.contains("No value found for placeholder") || message.contains("Placeholder '") {
        return Error::refused(Code::Parameter, message);
    }
    if code == Code::Memory {
        message = "the question needs more memory than it may take; narrow it".to_owned();
    }
    Error::refused(code, message)
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
