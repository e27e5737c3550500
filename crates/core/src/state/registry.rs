//! Owners, agents, credentials, tasks and pending requests.

use std::collections::BTreeMap;

use super::State;
use crate::event::{
    AgentReassigned, AgentSettings, AgentWritten, Entity, Fact, GrantRequested, OwnerWritten,
    Place, Role, ScramVerifier, Selector, TaskOpened,
};
use crate::id::{AgentId, GrantRequestId, OwnerId, TaskId};
use crate::record::hash::Digest;
use crate::time::{Span, Time};

/// Requests that may wait for an answer at once; the oldest give way.
pub(super) const REQUESTS_MAX: usize = 10_000;
/// How long a request for a grant may wait.
pub(super) const REQUEST_AGE_MAX: Span = Span::days(1);

/// A human on whose behalf agents act.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct Owner {
    /// The record as last written.
    pub written: OwnerWritten,
    /// Whether everything under the owner is stopped.
    pub disabled: bool,
    /// Humans who may act through the owner's agents, with the end of that.
    pub delegates: BTreeMap<OwnerId, Option<Time>>,
    /// When registered.
    pub registered: Time,
}

/// Where an agent stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    /// It may act.
    Active,
    /// It may not until reinstated.
    Suspended,
    /// It never will again.
    Retired,
}

/// A registered non-human identity.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct Agent {
    /// The human it acts for.
    pub owner: OwnerId,
    /// Purpose, groups, allowlist, end of life.
    pub settings: AgentSettings,
    /// Where it stands.
    pub status: AgentStatus,
    /// When registered.
    pub registered: Time,
}

/// An API key, without the key.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct Credential {
    /// What its holder may do.
    pub role: Role,
    /// The agent it speaks for.
    pub agent: Option<AgentId>,
    /// The human who holds it.
    pub owner: Option<OwnerId>,
    /// Keyed hash of the key.
    pub key_hash: Digest,
    /// When issued.
    pub issued: Time,
    /// When it stops working.
    pub expires_at: Option<Time>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// By what its holder is known to a server that never sees the key.
    pub scram: Option<ScramVerifier>,
}

impl Credential {
    /// Whether it works at `now`.
    #[must_use]
    pub fn is_live(&self, now: Time) -> bool {
        !self.revoked && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A task that is open.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct Task {
    /// What it was opened as.
    pub opened: TaskOpened,
    /// When.
    pub since: Time,
}

/// A request for a grant that waits for an answer.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct PendingRequest {
    /// When it was asked.
    pub asked: Time,
    /// What for.
    pub terms: GrantRequested,
}

/// Adds a request, letting go of those that waited too long or are too many.
pub(super) fn remember_request(
    requests: &mut BTreeMap<GrantRequestId, PendingRequest>,
    id: GrantRequestId,
    pending: PendingRequest,
) {
    let now = pending.asked;
    requests.insert(id, pending);
    while let Some(first) = requests.first_entry() {
        let too_old = first.get().asked.after(REQUEST_AGE_MAX) <= now;
        if !too_old && requests.len() <= REQUESTS_MAX {
            break;
        }
        requests.pop_first();
    }
}

impl State {
    pub(super) fn apply_registry(&mut self, place: Place, fact: &Fact) {
        if let Fact::OwnerRegistered(fact) | Fact::OwnerUpdated(fact) = fact {
            self.write_owner(place, fact);
        } else if let Fact::AgentRegistered(fact) | Fact::AgentUpdated(fact) = fact {
            self.write_agent(place, fact);
        } else if let Fact::OwnerDisabled(fact) = fact {
            self.set_disabled(&fact.owner, true);
            self.marks.end_owner(place.index, &fact.owner);
        } else if let Fact::OwnerEnabled(fact) = fact {
            self.set_disabled(&fact.owner, false);
        } else if let Fact::AgentSuspended(fact) = fact {
            self.set_status(&fact.agent, AgentStatus::Suspended);
            self.marks.end_agent(place.index, &fact.agent);
        } else if let Fact::AgentReinstated(fact) = fact {
            self.set_status(&fact.agent, AgentStatus::Active);
        } else if let Fact::AgentRetired(fact) = fact {
            self.set_status(&fact.agent, AgentStatus::Retired);
            self.marks.end_agent(place.index, &fact.agent);
        } else if let Fact::TaskOpened(fact) = fact {
            let task = Task { opened: fact.clone(), since: place.time };
            self.tasks.insert(TaskId(place.index), task);
            self.tasks_of.insert((fact.agent.clone(), TaskId(place.index)));
        } else if let Fact::TaskClosed(fact) = fact {
            self.close_task(fact.task);
        } else if let Fact::EntityPut(fact) = fact {
            self.entities.insert(fact.entity.clone(), fact.properties.clone());
            self.show_entity(&fact.entity);
        } else if let Fact::EntityRemoved(fact) = fact {
            self.entities.remove(&fact.entity);
            self.show_entity(&fact.entity);
        } else if let Fact::DelegateAdded(fact) = fact {
            if let Some(owner) = self.owners.get_mut(&fact.owner) {
                owner.delegates.retain(|_, until| until.is_none_or(|end| place.time < end));
                owner.delegates.insert(fact.delegate.clone(), fact.expires_at);
            }
        } else if let Fact::DelegateRemoved(fact) = fact {
            if let Some(owner) = self.owners.get_mut(&fact.owner) {
                owner.delegates.remove(&fact.delegate);
            }
        } else if let Fact::AgentReassigned(fact) = fact {
            self.reassign(place, fact);
        } else {
            self.apply_credential(place, fact);
        }
    }

    fn close_task(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.remove(&id) {
            self.probing.task_closed(&task.opened.agent, id);
            self.history.task_closed(&task.opened.agent, id);
            self.marks.forget_task(id);
            self.tasks_of.remove(&(task.opened.agent, id));
        }
    }

    /// Nothing of what an agent had under one owner goes with it to the next: grants end by the
    /// agent's watermark, what it asked for is void, and its tasks are closed, also those that the
    /// entry has no event for.
    fn reassign(&mut self, place: Place, fact: &AgentReassigned) {
        let Some(agent) = self.agents.get_mut(&fact.agent) else { return };
        agent.owner = fact.to.clone();
        let known = self.entities.get(&Entity::Agent(fact.agent.clone()));
        self.view.set_agent(self.next_index, &fact.agent, agent, known);
        self.marks.end_agent(place.index, &fact.agent);
        self.requests.retain(|_, request| request.terms.agent != fact.agent);
        let tasks: Vec<TaskId> = self.tasks_of(&fact.agent).collect();
        tasks.into_iter().for_each(|task| self.close_task(task));
    }

    /// Whether a human may act through the agents of an owner at `now`: the owner, or a delegate of
    /// the owner's who may act at all.
    #[must_use]
    pub fn speaks_for(&self, human: &OwnerId, owner: &OwnerId, now: Time) -> bool {
        if human == owner {
            return true;
        }
        self.is_delegate(human, owner, now)
            && self.owners.get(human).is_some_and(|human| !human.disabled)
            && self.marks.is_suspended(&Selector::Owner(human.clone())).is_none()
    }

    /// Whether a human is named as a delegate of an owner at `now`, though stopped otherwise perhaps.
    #[must_use]
    pub fn is_delegate(&self, human: &OwnerId, owner: &OwnerId, now: Time) -> bool {
        let until = self.owners.get(owner).and_then(|owner| owner.delegates.get(human));
        until.is_some_and(|until| until.is_none_or(|end| now < end))
    }

    /// Lets policies see what is known of an entity now.
    fn show_entity(&mut self, entity: &Entity) {
        let known = self.entities.get(entity);
        match entity {
            Entity::Owner(id) => {
                if let Some(owner) = self.owners.get(id) {
                    self.view.set_owner(self.next_index, owner, known);
                }
            }
            Entity::Agent(id) => {
                if let Some(agent) = self.agents.get(id) {
                    self.view.set_agent(self.next_index, id, agent, known);
                }
            }
            Entity::Resource(id) => self.view.set_resource(self.next_index, id, known),
        }
    }

    fn apply_credential(&mut self, place: Place, fact: &Fact) {
        if let Fact::CredentialIssued(fact) = fact {
            let credential = Credential {
                role: fact.role,
                agent: fact.agent.clone(),
                owner: fact.owner.clone(),
                key_hash: fact.key_hash,
                issued: place.time,
                expires_at: fact.expires_at,
                revoked: false,
                scram: fact.scram.clone(),
            };
            self.view.set_credential(self.next_index, &fact.credential, &credential);
            self.credentials.insert(fact.credential.clone(), credential);
        } else if let Fact::CredentialRevoked(fact) = fact
            && let Some(credential) = self.credentials.get_mut(&fact.credential)
        {
            credential.revoked = true;
            self.view.set_credential(self.next_index, &fact.credential, credential);
        } else if let Fact::CredentialLimited(fact) = fact
            && let Some(credential) = self.credentials.get_mut(&fact.credential)
        {
            credential.expires_at = Some(fact.expires_at);
            self.view.set_credential(self.next_index, &fact.credential, credential);
        }
    }

    fn write_owner(&mut self, place: Place, written: &OwnerWritten) {
        let old = self.owners.get(&written.owner);
        let owner = Owner {
            written: written.clone(),
            disabled: old.is_some_and(|o| o.disabled),
            delegates: old.map(|o| o.delegates.clone()).unwrap_or_default(),
            registered: old.map_or(place.time, |o| o.registered),
        };
        let known = self.entities.get(&Entity::Owner(written.owner.clone()));
        self.view.set_owner(self.next_index, &owner, known);
        self.owners.insert(written.owner.clone(), owner);
    }

    fn write_agent(&mut self, place: Place, written: &AgentWritten) {
        let old = self.agents.get(&written.agent);
        let agent = Agent {
            owner: written.owner.clone(),
            settings: written.settings.clone(),
            status: old.map_or(AgentStatus::Active, |a| a.status),
            registered: old.map_or(place.time, |a| a.registered),
        };
        let known = self.entities.get(&Entity::Agent(written.agent.clone()));
        self.view.set_agent(self.next_index, &written.agent, &agent, known);
        self.agents.insert(written.agent.clone(), agent);
    }

    fn set_disabled(&mut self, id: &OwnerId, disabled: bool) {
        if let Some(owner) = self.owners.get_mut(id) {
            owner.disabled = disabled;
            let known = self.entities.get(&Entity::Owner(id.clone()));
            self.view.set_owner(self.next_index, owner, known);
        }
    }

    fn set_status(&mut self, agent: &AgentId, status: AgentStatus) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.status = status;
        }
    }
}
