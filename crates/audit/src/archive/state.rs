//! The tables at the end of a segment, without what is archived: where a start goes on.

use std::sync::Arc;

use bailiwick_core::event::Place;
use bincode::config::standard;
use bincode::{Decode, Encode};

use super::Fault;
use crate::store::Store;
use crate::table::approvals::{self, Approval, Approvals};
use crate::table::calls::{self, Calls, Ending};
use crate::table::checkpoints::Signed;
use crate::table::grants::{self, Grant, Grants};
use crate::table::grown::Kept;
use crate::table::marks::{Marks, Names};
use crate::table::registry::{Agent, Owner, Policy, Registry};
use crate::table::revocations::{Finding, Revocation};
use crate::table::tasks::{self, Task, Tasks};
use crate::table::whole::Whole;

/// Bumped whenever the encoding changes: a state of another version is made anew from the ledger.
const FORMAT: u32 = 5;

/// All tables at the end of a segment, but for `events` and settled rows.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ledger: Option<String>,
    pub(crate) last: Place,
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) grants: Kept<Grant>,
    pub(crate) marks: Arc<Marks>,
    pub(crate) calls: Kept<Ending>,
    pub(crate) tasks: Kept<Task>,
    pub(crate) approvals: Kept<Approval>,
    pub(crate) plain: Plain,
}

/// The tables that are kept as plain rows.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Plain {
    pub(crate) revocations: Whole<Revocation>,
    pub(crate) findings: Whole<Finding>,
    pub(crate) checkpoints: Whole<Signed>,
    pub(crate) agents: Whole<Agent>,
    pub(crate) owners: Whole<Owner>,
    pub(crate) policies: Whole<Policy>,
}

/// Grants, calls, tasks and approvals, each as [`Kept::encode`] writes them.
type Grown = [Vec<u8>; 4];
type Written = (u32, Option<String>, Place, Vec<String>, Grown, Marks, Plain);

impl State {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Fault> {
        let names: Vec<&str> = self.names.iter().map(AsRef::as_ref).collect();
        let grown: Grown = [
            self.grants.encode::<grants::Fixed>()?,
            self.calls.encode::<calls::Fixed>()?,
            self.tasks.encode::<tasks::Fixed>()?,
            self.approvals.encode::<approvals::Fixed>()?,
        ];
        let ledger = self.ledger.as_deref();
        let written = (FORMAT, ledger, self.last, names, grown, &*self.marks, &self.plain);
        bincode::encode_to_vec(written, standard())
            .map_err(|e| Fault::Format { what: e.to_string() })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let format = |what: &dyn std::fmt::Display| Fault::Format { what: what.to_string() };
        let (version, _): (u32, _) =
            bincode::decode_from_slice(bytes, standard()).map_err(|e| format(&e))?;
        if version != FORMAT {
            return Err(format(&"the state was written by another version"));
        }
        let (written, read): (Written, usize) =
            bincode::decode_from_slice(bytes, standard()).map_err(|e| format(&e))?;
        if read != bytes.len() {
            return Err(format(&"the state has more than it should"));
        }
        let (_, ledger, last, names, [grants, calls, tasks, approvals], marks, plain) = written;
        Ok(Self {
            ledger,
            last,
            names: names.into_iter().map(Arc::from).collect(),
            grants: Kept::decode::<grants::Fixed>(&grants)?,
            marks: Arc::new(marks),
            calls: Kept::decode::<calls::Fixed>(&calls)?,
            tasks: Kept::decode::<tasks::Fixed>(&tasks)?,
            approvals: Kept::decode::<approvals::Fixed>(&approvals)?,
            plain,
        })
    }
}

impl From<State> for Store {
    fn from(state: State) -> Self {
        let State { ledger, last, names, grants, marks, calls, tasks, approvals, plain } = state;
        let Plain { revocations, findings, checkpoints, agents, owners, policies } = plain;
        let marks = Arc::try_unwrap(marks).unwrap_or_else(|shared| (*shared).clone());
        let mut store = Self::new();
        store.ledger = ledger;
        store.last = Some(last);
        store.names = Names::restored(names);
        store.grants = Grants::restored(grants, marks);
        store.calls = Calls::restored(calls);
        store.approvals = Approvals::restored(approvals);
        store.revocations = revocations;
        store.findings = findings;
        store.checkpoints = checkpoints;
        store.registry = Registry::restored(agents, owners, policies, Tasks::restored(tasks));
        store
    }
}
