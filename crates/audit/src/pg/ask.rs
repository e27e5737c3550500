//! How a session asks: a statement that was admitted already, over the tables or about the schema.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ParamValues;
use datafusion::sql::parser::Statement;
use tokio::time::{Instant, timeout_at};

use super::catalog;
use crate::budget::Memory;
use crate::error::{Code, Error};
use crate::query::{self, Awaited, Limits, Opened, Within};
use crate::{Audit, session};

/// What a question reads.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The tables.
    Tables,
    /// What the tables and columns are called.
    Catalog(Arc<catalog::Asker>),
}

/// What is known of a statement before it is run.
#[derive(Debug, Clone)]
pub(super) struct Described {
    /// Each placeholder's type as the statement uses it, if that tells.
    pub(super) parameters: HashMap<String, Option<DataType>>,
    /// The answer's columns.
    pub(super) schema: SchemaRef,
}

impl Audit {
    /// Starts a question, whose answer comes in batches.
    pub(super) async fn open_admitted(
        &self,
        statement: Statement,
        place: Place,
        parameters: ParamValues,
        limits: &Limits,
        deadline: Instant,
    ) -> Result<Opened, Error> {
        let turn = match timeout_at(deadline, Arc::clone(&self.turns).acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) | Err(_) => {
                return Err(Error::refused(Code::Busy, "other questions took all the time"));
            }
        };
        let memory = self.budget.memory(limits.memory_bytes);
        let (state, as_of_seq) = self.state(&place, &memory)?;
        let within = Within { limits: *limits, deadline, turn, memory };
        let opened = query::open_in(state, as_of_seq, statement, parameters, within);
        Awaited(self.runtime()?.spawn(opened)).by(deadline, limits).await?
    }

    /// Plans a statement without running it. Parameters whose type is given have that one.
    pub(super) async fn describe(
        &self,
        statement: Statement,
        place: Place,
        given: HashMap<String, DataType>,
        limits: &Limits,
    ) -> Result<Described, Error> {
        let deadline = Instant::now() + limits.time;
        let (state, _) = self.state(&place, &self.budget.memory(limits.memory_bytes))?;
        let described = async move {
            let (parameters, schema) = query::describe(&state, statement, &given).await?;
            Ok(Described { parameters, schema })
        };
        Awaited(self.runtime()?.spawn(described)).by(deadline, limits).await?
    }

    fn state(
        &self,
        place: &Place,
        memory: &Memory,
    ) -> Result<(datafusion::execution::SessionState, Option<u64>), Error> {
        match place {
            Place::Tables => {
                if let Some(fault) = &self.fault {
                    return Err(fault.clone());
                }
                let snapshot = self.store()?.snapshot(crate::now());
                let as_of_seq = snapshot.as_of;
                let state = session::open(snapshot, self.threads, memory);
                Ok((state.map_err(|e| query::told(&e))?, as_of_seq))
            }
            Place::Catalog(asker) => {
                let state = catalog::open(asker, memory);
                Ok((state.map_err(|e| query::told(&e))?, None))
            }
        }
    }
}
