//! Tasks: opened on the ledger, which gives their id, and closed.

use super::{Draft, call, refuse};
use crate::command::{Answer, OpenTask, RefusalCode};
use crate::event::{Fact, TaskClosed, TaskOpened};
use crate::id::{TaskId, Text};

/// The most targets that a task may declare.
pub const TARGETS_MAX: usize = 16;

/// The most open tasks of one agent. One more closes the oldest, so that an agent whose sessions
/// die without a word never comes to a stop.
pub const TASKS_EACH_MAX: usize = 4_096;

pub(super) fn open(draft: &mut Draft<'_>, open: &OpenTask) -> Answer {
    let Some(agent) = draft.state.agents().get(&open.agent) else {
        let message = format!("agent `{}` is not registered", open.agent);
        return refuse(RefusalCode::NotFound, message);
    };
    if let Err(code) = call::alive(agent, draft.now) {
        let message = format!("agent `{}` may not act: {code}", open.agent);
        return refuse(RefusalCode::WrongState, message);
    }
    if open.targets.len() > TARGETS_MAX {
        return refuse(RefusalCode::OutOfRange, format!("at most {TARGETS_MAX} targets"));
    }
    let mut open_before = draft.state.tasks_of(&open.agent);
    if let Some(oldest) = open_before.next()
        && open_before.count() + 1 >= TASKS_EACH_MAX
    {
        let reason = Text::new("the agent has too many open tasks").ok();
        draft.record_by_system(None, Fact::TaskClosed(TaskClosed { task: oldest, reason }));
    }
    let fact = TaskOpened {
        agent: open.agent.clone(),
        owner: agent.owner.clone(),
        sort: open.sort.clone(),
        statement: open.statement,
        targets: open.targets.clone(),
    };
    draft.done(Fact::TaskOpened(fact))
}

pub(super) fn close(draft: &mut Draft<'_>, task: TaskId, reason: &Option<Text>) -> Answer {
    if !draft.state.tasks().contains_key(&task) {
        return refuse(RefusalCode::NotFound, format!("`{task}` is not open"));
    }
    draft.done(Fact::TaskClosed(TaskClosed { task, reason: reason.clone() }))
}
