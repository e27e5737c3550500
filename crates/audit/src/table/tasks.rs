//! `tasks`: one row a task, from when to when it was open. A task is settled when it is closed.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringDictionaryBuilder, TimestampMicrosecondArray};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use bailiwick_core::event::{Place, TaskClosed, TaskOpened};
use bailiwick_core::id::{AgentId, TaskId, Text};
use bailiwick_core::time::Time;
use bincode::{Decode, Encode};

use super::events::canonical;
use super::grown::{Grown, Kept, Living, Part};
use super::sheet::{Columns, UTC, columns, micros};
use super::standing::{self, Standing};

columns! {
    /// Cells of a task that are known when it is opened.
    Fixed {
        Seq "seq" Int always; Ts "ts" Time always; TaskId "task_id" Name always; AgentId "agent_id" Name always;
        OwnerId "owner_id" Name always; Sort "sort" Name; Targets "targets" Long;
        StatementDigest "statement_digest" Bytes32; OpenedAt "opened_at" Time always;
    }
}

columns! {
    /// Cells of a task that its end fills.
    Changing { Status "status" Name always; ClosedAt "closed_at" Time; Reason "reason" Name; }
}

/// Whose task it is, and how it ended.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Task {
    seq: u64,
    agent: AgentId,
    closed: Option<(Time, Option<Text>)>,
}

impl Living for Task {
    type Derived = [ArrayRef; Changing::LISTED.len()];
}

impl standing::Changing for Task {
    type Fixed = Fixed;
    type Cells = Changing;
    type Beside = ();

    fn column(part: &Part<Self>, column: Changing, (): &()) -> ArrayRef {
        Arc::clone(&part.live.derived(|_| true, derive)[column.at()])
    }
}

/// All tasks.
#[derive(Debug)]
pub(crate) struct Tasks(Grown<Fixed, Task>);

impl Tasks {
    pub(crate) fn new() -> Self {
        Self(Grown::new())
    }

    pub(crate) fn open(&mut self, place: Place, fact: &TaskOpened) {
        let live = Task { seq: place.index, agent: fact.agent.clone(), closed: None };
        self.0.push(place, live, |row| {
            row.set(Fixed::Seq, place.index);
            row.set(Fixed::Ts, place.time);
            row.set(Fixed::TaskId, TaskId(place.index));
            row.set(Fixed::AgentId, &fact.agent);
            row.set(Fixed::OwnerId, &fact.owner);
            row.set_some(Fixed::Sort, fact.sort.as_ref());
            let targets = &fact.targets;
            row.set_some(Fixed::Targets, (!targets.is_empty()).then(|| canonical(targets)));
            row.set_some(Fixed::StatementDigest, fact.statement.as_ref());
            row.set(Fixed::OpenedAt, place.time);
        });
    }

    pub(crate) fn close(&mut self, place: Place, fact: &TaskClosed) {
        if let Some(task) = self.0.live_mut(fact.task.0) {
            task.closed = Some((place.time, fact.reason.clone()));
        }
    }

    /// A transfer closes every task of the agent; those with an event of their own, which is in the
    /// same entry, get that event's reason.
    pub(crate) fn close_all_of(&mut self, place: Place, agent: &AgentId) {
        let parts = self.0.snapshot();
        let rows = parts.iter().flat_map(|part| part.live.rows());
        let open = rows.filter(|task| task.agent == *agent && task.closed.is_none());
        let open: Vec<u64> = open.map(|task| task.seq).collect();
        drop(parts);
        for seq in open {
            if let Some(task) = self.0.live_mut(seq) {
                task.closed = Some((place.time, None));
            }
        }
    }

    /// Takes out what is settled.
    pub(crate) fn settle(&mut self) -> Result<Standing<Task>, ArrowError> {
        let closed =
            |part: &Part<Task>| part.live.rows().iter().map(|task| task.closed.is_some()).collect();
        Ok(Standing::of(self.0.settle(closed)?, ()))
    }

    /// All rows, with those before them that are about to be archived.
    pub(crate) fn snapshot(&self, before: &[Part<Task>]) -> Standing<Task> {
        Standing::new(before, &self.0, ())
    }

    pub(crate) fn kept(&mut self) -> Kept<Task> {
        self.0.kept()
    }

    pub(crate) fn restored(kept: Kept<Task>) -> Self {
        Self(Grown::restored(kept))
    }
}

fn derive(rows: &[Task]) -> [ArrayRef; Changing::LISTED.len()] {
    let mut status = StringDictionaryBuilder::<Int32Type>::new();
    let mut reason = StringDictionaryBuilder::<Int32Type>::new();
    for Task { closed, .. } in rows {
        status.append_value(if closed.is_some() { "closed" } else { "open" });
        reason
            .append_option(closed.as_ref().and_then(|(_, reason)| Some(reason.as_ref()?.as_str())));
    }
    let closed_at = rows.iter().map(|task| task.closed.as_ref().map(|(at, _)| micros(*at)));
    [
        Arc::new(status.finish()),
        Arc::new(closed_at.collect::<TimestampMicrosecondArray>().with_timezone(UTC)),
        Arc::new(reason.finish()),
    ]
}
