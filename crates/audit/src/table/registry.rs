//! `agents`, `owners` and `policies`: one row a registered thing, as it stands.

use std::collections::HashMap;

use bailiwick_core::event::{AgentWritten, OwnerWritten, Place, PolicyPut};
use bailiwick_core::id::{AgentId, OwnerId, PolicyId, Text};
use bailiwick_core::time::Time;
use bincode::{Decode, Encode};

use super::sheet::{Sheet, columns};
use super::tasks::Tasks;
use super::whole::{Row, Whole};

columns! {
    /// The columns of `agents`.
    AgentColumn {
        Seq "seq" Int always; Ts "ts" Time always; AgentId "agent_id" Name always; OwnerId "owner_id" Name always;
        Purpose "purpose" Name always; Status "status" Name always; Groups "groups" Name;
        Allowlist "allowlist" Name; RegisteredAt "registered_at" Time always; UpdatedAt "updated_at" Time always;
        ExpiresAt "expires_at" Time; SuspendedAt "suspended_at" Time; RetiredAt "retired_at" Time;
        StatusReason "status_reason" Name;
    }
}

/// An agent as it stands.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Agent {
    registered: Place,
    updated: Time,
    fact: AgentWritten,
    suspended: Option<Time>,
    retired: Option<Time>,
    reason: Option<Text>,
}

impl Agent {
    const fn status(&self, now: Time) -> &'static str {
        if self.retired.is_some() {
            return "retired";
        }
        if self.suspended.is_some() {
            return "suspended";
        }
        match self.fact.settings.expires_at {
            Some(end) if end.0 <= now.0 => "expired",
            Some(_) | None => "active",
        }
    }
}

impl Row for Agent {
    type Columns = AgentColumn;

    fn write(&self, now: Time, row: &mut Sheet<AgentColumn>) {
        use AgentColumn as C;
        let settings = &self.fact.settings;
        row.set(C::Seq, self.registered.index);
        row.set(C::Ts, self.registered.time);
        row.set(C::AgentId, &self.fact.agent);
        row.set(C::OwnerId, &self.fact.owner);
        row.set(C::Purpose, &settings.purpose);
        row.set(C::Status, self.status(now));
        row.set_some(C::Groups, list(settings.groups.iter()));
        row.set_some(C::Allowlist, list(settings.allowlist.iter().map(|allow| &allow.pattern)));
        row.set(C::RegisteredAt, self.registered.time);
        row.set(C::UpdatedAt, self.updated);
        row.set_some(C::ExpiresAt, settings.expires_at);
        row.set_some(C::SuspendedAt, self.suspended);
        row.set_some(C::RetiredAt, self.retired);
        row.set_some(C::StatusReason, self.reason.as_ref());
    }
}

/// Ids in one cell. An id holds no space.
fn list(ids: impl Iterator<Item = impl ToString>) -> Option<String> {
    let ids: Vec<String> = ids.map(|id| id.to_string()).collect();
    (!ids.is_empty()).then(|| ids.join(" "))
}

columns! {
    /// The columns of `owners`.
    OwnerColumn {
        Seq "seq" Int always; Ts "ts" Time always; OwnerId "owner_id" Name always; Groups "groups" Name;
        Status "status" Name always; RegisteredAt "registered_at" Time always; UpdatedAt "updated_at" Time always;
        DisabledAt "disabled_at" Time; StatusReason "status_reason" Name;
    }
}

/// An owner as it stands.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Owner {
    registered: Place,
    updated: Time,
    fact: OwnerWritten,
    disabled: Option<Time>,
    reason: Option<Text>,
}

impl Row for Owner {
    type Columns = OwnerColumn;

    fn write(&self, _: Time, row: &mut Sheet<OwnerColumn>) {
        use OwnerColumn as C;
        row.set(C::Seq, self.registered.index);
        row.set(C::Ts, self.registered.time);
        row.set(C::OwnerId, &self.fact.owner);
        row.set_some(C::Groups, list(self.fact.groups.iter()));
        row.set(C::Status, if self.disabled.is_some() { "disabled" } else { "active" });
        row.set(C::RegisteredAt, self.registered.time);
        row.set(C::UpdatedAt, self.updated);
        row.set_some(C::DisabledAt, self.disabled);
        row.set_some(C::StatusReason, self.reason.as_ref());
    }
}

columns! {
    /// The columns of `policies`. `text` is in force, `staged_text` waits for activation.
    PolicyColumn {
        Seq "seq" Int always; Ts "ts" Time always; PolicyId "policy_id" Name always; Status "status" Name always;
        Text "text" Long; StagedText "staged_text" Long; PutAt "put_at" Time always;
        Reason "reason" Name; ActivatedAt "activated_at" Time; RemovedAt "removed_at" Time;
    }
}

/// A policy as it stands.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Policy {
    first: Place,
    id: PolicyId,
    put: Time,
    reason: Option<Text>,
    active: Option<String>,
    staged: Option<String>,
    activated: Option<Time>,
    removed: Option<Time>,
}

impl Policy {
    fn status(&self) -> &'static str {
        match (&self.active, &self.staged) {
            (Some(active), Some(staged)) if active == staged => "active",
            (Some(_), Some(_)) => "active_changed",
            (Some(_), None) => "active_removed",
            (None, Some(_)) => "staged",
            (None, None) => "removed",
        }
    }
}

impl Row for Policy {
    type Columns = PolicyColumn;

    fn write(&self, _: Time, row: &mut Sheet<PolicyColumn>) {
        use PolicyColumn as C;
        row.set(C::Seq, self.first.index);
        row.set(C::Ts, self.first.time);
        row.set(C::PolicyId, &self.id);
        row.set(C::Status, self.status());
        row.set_some(C::Text, self.active.as_deref());
        row.set_some(C::StagedText, self.staged.as_deref());
        row.set(C::PutAt, self.put);
        row.set_some(C::Reason, self.reason.as_ref());
        row.set_some(C::ActivatedAt, self.activated);
        row.set_some(C::RemovedAt, self.removed);
    }
}

/// What is registered, with where each row is.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) agents: Whole<Agent>,
    pub(crate) owners: Whole<Owner>,
    pub(crate) policies: Whole<Policy>,
    pub(crate) tasks: Tasks,
    agent_rows: HashMap<AgentId, usize>,
    owner_rows: HashMap<OwnerId, usize>,
    policy_rows: HashMap<PolicyId, usize>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            agents: Whole::new(),
            owners: Whole::new(),
            policies: Whole::new(),
            tasks: Tasks::new(),
            agent_rows: HashMap::new(),
            owner_rows: HashMap::new(),
            policy_rows: HashMap::new(),
        }
    }

    /// What is registered, from its tables.
    pub(crate) fn restored(
        agents: Whole<Agent>,
        owners: Whole<Owner>,
        policies: Whole<Policy>,
        tasks: Tasks,
    ) -> Self {
        let agent_rows =
            agents.rows().iter().zip(0..).map(|(row, at)| (row.fact.agent.clone(), at));
        let owner_rows =
            owners.rows().iter().zip(0..).map(|(row, at)| (row.fact.owner.clone(), at));
        let policy_rows = policies.rows().iter().zip(0..).map(|(row, at)| (row.id.clone(), at));
        Self {
            agent_rows: agent_rows.collect(),
            owner_rows: owner_rows.collect(),
            policy_rows: policy_rows.collect(),
            agents,
            owners,
            policies,
            tasks,
        }
    }

    /// The owner of an agent, as of now.
    pub(crate) fn owner_of(&self, agent: &AgentId) -> Option<&str> {
        let row = self.agent_rows.get(agent)?;
        self.agents.rows().get(*row).map(|agent| agent.fact.owner.as_str())
    }

    pub(crate) fn write_agent(&mut self, place: Place, fact: &AgentWritten) {
        if let Some(row) = self.agent_rows.get(&fact.agent) {
            let agent = &mut self.agents.rows_mut()[*row];
            agent.fact = fact.clone();
            agent.updated = place.time;
            return;
        }
        self.agent_rows.insert(fact.agent.clone(), self.agents.rows().len());
        self.agents.rows_mut().push(Agent {
            registered: place,
            updated: place.time,
            fact: fact.clone(),
            suspended: None,
            retired: None,
            reason: None,
        });
    }

    fn change_agent(&mut self, agent: &AgentId, change: impl FnOnce(&mut Agent)) {
        if let Some(row) = self.agent_rows.get(agent) {
            change(&mut self.agents.rows_mut()[*row]);
        }
    }

    pub(crate) fn suspend_agent(&mut self, place: Place, agent: &AgentId, reason: Option<&Text>) {
        self.change_agent(agent, |row| {
            row.suspended = Some(place.time);
            row.reason = reason.cloned();
        });
    }

    pub(crate) fn reinstate_agent(&mut self, agent: &AgentId) {
        self.change_agent(agent, |row| {
            row.suspended = None;
            row.reason = None;
        });
    }

    pub(crate) fn reassign_agent(&mut self, place: Place, agent: &AgentId, to: &OwnerId) {
        self.change_agent(agent, |row| row.fact.owner = to.clone());
        self.tasks.close_all_of(place, agent);
    }

    pub(crate) fn retire_agent(&mut self, place: Place, agent: &AgentId, reason: Option<&Text>) {
        self.change_agent(agent, |row| {
            row.retired = Some(place.time);
            row.reason = reason.cloned();
        });
    }

    pub(crate) fn write_owner(&mut self, place: Place, fact: &OwnerWritten) {
        if let Some(row) = self.owner_rows.get(&fact.owner) {
            let owner = &mut self.owners.rows_mut()[*row];
            owner.fact = fact.clone();
            owner.updated = place.time;
            return;
        }
        self.owner_rows.insert(fact.owner.clone(), self.owners.rows().len());
        self.owners.rows_mut().push(Owner {
            registered: place,
            updated: place.time,
            fact: fact.clone(),
            disabled: None,
            reason: None,
        });
    }

    /// Disables an owner from `since` on, or enables with none.
    pub(crate) fn disable_owner(
        &mut self,
        owner: &OwnerId,
        since: Option<Time>,
        reason: Option<&Text>,
    ) {
        if let Some(row) = self.owner_rows.get(owner) {
            let owner = &mut self.owners.rows_mut()[*row];
            owner.disabled = since;
            owner.reason = reason.cloned();
        }
    }

    pub(crate) fn put_policy(&mut self, place: Place, fact: &PolicyPut) {
        let row = *self.policy_rows.entry(fact.policy.clone()).or_insert_with(|| {
            self.policies.rows_mut().push(Policy {
                first: place,
                id: fact.policy.clone(),
                put: place.time,
                reason: None,
                active: None,
                staged: None,
                activated: None,
                removed: None,
            });
            self.policies.rows().len() - 1
        });
        let policy = &mut self.policies.rows_mut()[row];
        policy.put = place.time;
        policy.reason = fact.reason.clone();
        policy.staged = Some(fact.text.clone());
        policy.removed = None;
    }

    pub(crate) fn remove_policy(&mut self, place: Place, policy: &PolicyId) {
        if let Some(row) = self.policy_rows.get(policy) {
            let policy = &mut self.policies.rows_mut()[*row];
            policy.staged = None;
            policy.removed = Some(place.time);
        }
    }

    pub(crate) fn activate_policies(&mut self, place: Place) {
        for policy in self.policies.rows_mut() {
            if policy.active != policy.staged {
                policy.active.clone_from(&policy.staged);
                policy.activated = policy.active.as_ref().map(|_| place.time);
            }
        }
    }
}
