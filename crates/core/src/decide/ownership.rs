//! On whose behalf agents act: an owner's delegates, and the transfer of an agent to another owner.

use super::{Draft, approval, refuse};
use crate::command::{Answer, ReassignAgent, RefusalCode};
use crate::event::{
    AgentReassigned, DelegateAdded, DelegateRemoved, DenialCode, Fact, GrantDenied, TaskClosed,
};
use crate::id::{GrantRequestId, OwnerId, TaskId, Text};
use crate::state::AgentStatus;
use crate::time::Time;

/// The most delegates of one owner.
pub const DELEGATES_MAX: usize = 64;
/// How many of an agent's tasks a transfer records as closed, the latest, so that it fits an entry.
/// The transfer itself closes them all.
pub const TASKS_CLOSED_EACH: usize = 256;

/// Lets a human act through an owner's agents, or says anew until when.
pub(super) fn add_delegate(
    draft: &mut Draft<'_>,
    owner: &OwnerId,
    delegate: &OwnerId,
    expires_at: Option<Time>,
) -> Answer {
    let owners = draft.state.owners();
    let Some(known) = owners.get(owner) else { return no_owner(owner) };
    if !owners.contains_key(delegate) {
        return no_owner(delegate);
    }
    if owner == delegate {
        return refuse(RefusalCode::OutOfRange, "an owner needs no leave to act");
    }
    if expires_at.is_some_and(|end| end <= draft.now) {
        return refuse(RefusalCode::OutOfRange, "expires_at has passed already");
    }
    let is_other = |(id, until): &(&OwnerId, &Option<Time>)| {
        *id != delegate && until.is_none_or(|end| draft.now < end)
    };
    if known.delegates.iter().filter(is_other).count() >= DELEGATES_MAX {
        let message = format!("owner `{owner}` has {DELEGATES_MAX} delegates already");
        return refuse(RefusalCode::LimitReached, message);
    }
    let (owner, delegate) = (owner.clone(), delegate.clone());
    draft.done(Fact::DelegateAdded(DelegateAdded { owner, delegate, expires_at }))
}

/// Takes that back, at once.
pub(super) fn remove_delegate(
    draft: &mut Draft<'_>,
    owner: &OwnerId,
    delegate: &OwnerId,
    reason: &Option<Text>,
) -> Answer {
    let Some(known) = draft.state.owners().get(owner) else { return no_owner(owner) };
    if !known.delegates.contains_key(delegate) {
        let message = format!("`{delegate}` is no delegate of owner `{owner}`");
        return refuse(RefusalCode::NotFound, message);
    }
    let (owner, delegate, reason) = (owner.clone(), delegate.clone(), reason.clone());
    draft.done(Fact::DelegateRemoved(DelegateRemoved { owner, delegate, reason }))
}

/// Gives an agent to another owner. Nothing goes with it: its grants have ended and all that was
/// delegated from them, its tasks are closed, what it waits for people to approve is void, and what
/// it asked for is turned down, in the same entry.
pub(super) fn reassign(draft: &mut Draft<'_>, reassign: &ReassignAgent) -> Answer {
    let state = draft.state;
    let ReassignAgent { agent, to, reason } = reassign;
    let Some(known) = state.agents().get(agent) else {
        return refuse(RefusalCode::NotFound, format!("agent `{agent}` is not registered"));
    };
    if known.status == AgentStatus::Retired {
        return refuse(RefusalCode::WrongState, format!("agent `{agent}` is retired"));
    }
    match state.owners().get(to) {
        None => return no_owner(to),
        Some(owner) if owner.disabled => {
            return refuse(RefusalCode::WrongState, format!("owner `{to}` is disabled"));
        }
        Some(_) if known.owner == *to => {
            let message = format!("agent `{agent}` acts for `{to}` already");
            return refuse(RefusalCode::WrongState, message);
        }
        Some(_) => {}
    }
    let tasks: Vec<TaskId> = state.tasks_of(agent).collect();
    let of_agent = state.requests().iter().filter(|(_, pending)| pending.terms.agent == *agent);
    let requests: Vec<GrantRequestId> = of_agent.map(|(id, _)| *id).collect();
    let index = draft.next_index();
    let answer = draft.done(Fact::AgentReassigned(AgentReassigned {
        agent: agent.clone(),
        from: known.owner.clone(),
        to: to.clone(),
        reason: reason.clone(),
    }));
    let why = || Text::new("the agent acts for another owner").ok();
    for task in tasks.into_iter().rev().take(TASKS_CLOSED_EACH) {
        let closed = Fact::TaskClosed(TaskClosed { task, reason: why() });
        draft.record_by_system(Some(index), closed);
    }
    approval::void(draft, agent, index);
    for request in requests {
        let denied = GrantDenied { request, code: DenialCode::NotOwner, reason: why() };
        draft.record_by_system(Some(index), Fact::GrantDenied(denied));
    }
    answer
}

fn no_owner(owner: &OwnerId) -> Answer {
    refuse(RefusalCode::NotFound, format!("owner `{owner}` is not registered"))
}
