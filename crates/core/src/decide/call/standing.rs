//! Check 1: who acts, for whom, and whether they may at all.

use std::borrow::Cow;

use super::{Denial, Party};
use crate::command::{Authorize, Subject, Submission};
use crate::event::{Actor, DenialCode};
use crate::id::OwnerId;
use crate::state::{Agent, AgentStatus, Owner, State};
use crate::time::Time;

/// The human whose authority an agent's token carries: its bearer acts for nobody else.
pub(in crate::decide) const fn human_of(actor: &Actor) -> Option<&OwnerId> {
    match actor {
        Actor::Token { owner, agent: Some(_), .. } => Some(owner),
        Actor::Token { agent: None, .. } | Actor::Credential { .. } | Actor::System => None,
    }
}

/// The question with the human whom its token names, where it names none itself.
pub(super) fn on_behalf<'a>(submission: &Submission, ask: &'a Authorize) -> Cow<'a, Authorize> {
    match human_of(&submission.actor) {
        Some(human) if ask.on_behalf_of.is_none() => {
            Cow::Owned(Authorize { on_behalf_of: Some(human.clone()), ..ask.clone() })
        }
        Some(_) | None => Cow::Borrowed(ask),
    }
}

/// Whether the question and its token name the same human.
pub(super) fn agrees(submission: &Submission, ask: &Authorize) -> Result<(), Denial> {
    match human_of(&submission.actor) {
        Some(human) if ask.on_behalf_of.as_ref() != Some(human) => Err(DenialCode::NotOwner.into()),
        Some(_) | None => Ok(()),
    }
}

/// Agent, owner and task are registered, active and alive, and the human is the owner or, for an
/// agent, one of the owner's delegates. Policy is asked about the owner whoever the human is.
pub(super) fn standing<'a>(
    state: &'a State,
    ask: &'a Authorize,
    now: Time,
) -> Result<Party<'a>, Denial> {
    let party = match &ask.subject {
        Subject::Agent(id) => {
            let (id, agent) = state.agents().get_key_value(id).ok_or(DenialCode::AgentUnknown)?;
            alive(agent, now)?;
            Party { agent: Some((id, agent)), owner: &agent.owner }
        }
        Subject::Person(owner) => Party { agent: None, owner },
    };
    let owner: Option<&Owner> = state.owners().get(party.owner);
    if owner.is_none_or(|owner| owner.disabled) {
        return Err(DenialCode::OwnerDisabled.into());
    }
    let may_speak = |human: &OwnerId| match party.agent {
        Some(_) => state.speaks_for(human, party.owner, now),
        None => human == party.owner,
    };
    if ask.on_behalf_of.as_ref().is_some_and(|human| !may_speak(human)) {
        return Err(DenialCode::NotOwner.into());
    }
    let Some(id) = ask.task else { return Ok(party) };
    let agent = party.agent.map(|(id, _)| id);
    match state.tasks().get(&id) {
        Some(task) if Some(&task.opened.agent) == agent => Ok(party),
        _ => Err(DenialCode::TaskClosed.into()),
    }
}

/// Whether an agent may act at all.
pub(in crate::decide) fn alive(agent: &Agent, now: Time) -> Result<(), DenialCode> {
    match agent.status {
        AgentStatus::Suspended => Err(DenialCode::AgentSuspended),
        AgentStatus::Retired => Err(DenialCode::AgentRetired),
        AgentStatus::Active if agent.settings.expires_at.is_some_and(|end| now >= end) => {
            Err(DenialCode::AgentExpired)
        }
        AgentStatus::Active => Ok(()),
    }
}
