//! The store: takes events in the order of the chain, folds them into every table, and hands out
//! snapshots of all tables at one event.

use std::sync::Arc;

use bailiwick_core::event::{Fact, Place, Recorded, RevocationIssued, Selector};
use bailiwick_core::id::{AgentId, GrantId};
use bailiwick_core::time::Time;
use datafusion::catalog::TableProvider;

use crate::error::Error;
use crate::table::calls::Calls;
use crate::table::events::{self, Around, Events, EventsSnapshot};
use crate::table::grants::Grants;
use crate::table::marks::{End, How, Key, Names};
use crate::table::registry::Registry;
use crate::table::revocations::{self, Finding, Revocation};
use crate::table::scan::Scan;
use crate::table::whole::Whole;

/// Every table's name, as SQL and the guard know it.
pub(crate) const TABLES: [&str; 9] = [
    "events",
    "grants",
    "calls",
    "revocations",
    "agents",
    "owners",
    "tasks",
    "policies",
    "findings",
];

/// All tables.
#[derive(Debug)]
pub(crate) struct Store {
    ledger: Option<String>,
    last: Option<Place>,
    names: Names,
    events: Events,
    grants: Grants,
    calls: Calls,
    revocations: Whole<Revocation>,
    findings: Whole<Finding>,
    registry: Registry,
}

/// All tables as they stood after one event.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The last event that the tables hold.
    pub(crate) as_of: Option<u64>,
    /// Each table under its name.
    pub(crate) tables: Vec<(&'static str, Arc<dyn TableProvider>)>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            ledger: None,
            last: None,
            names: Names::default(),
            events: Events::new(),
            grants: Grants::new(),
            calls: Calls::new(),
            revocations: Whole::new(),
            findings: Whole::new(),
            registry: Registry::new(),
        }
    }

    /// Takes the events of an entry. What is held already is passed over, so that a follower may
    /// begin an entry anew.
    pub(crate) fn ingest(&mut self, entry: u64, events: &[Recorded]) -> Result<(), Error> {
        for recorded in events {
            let expected = self.last.map_or(0, |last| last.index + 1);
            let found = recorded.place.index;
            if found > expected {
                return Err(Error::Gap { expected, found });
            }
            if found == expected {
                self.push_event(entry, recorded);
                self.fold(recorded);
                self.last = Some(recorded.place);
            }
        }
        Ok(())
    }

    pub(crate) fn last(&self) -> Option<Place> {
        self.last
    }

    fn push_event(&mut self, entry: u64, recorded: &Recorded) {
        if let Fact::LedgerCreated(fact) = &recorded.event.fact {
            self.ledger = Some(fact.name.to_string());
        }
        let known = Known {
            names: &self.names,
            grants: &self.grants,
            calls: &self.calls,
            registry: &self.registry,
        };
        let (agent, owner) = known.who(&recorded.event.fact);
        let family = if let Fact::GrantIssued(fact) = &recorded.event.fact {
            fact.parent.map(|parent| self.grants.below(parent))
        } else {
            None
        };
        let around = Around { ledger: self.ledger.as_deref(), entry, agent, owner, family };
        events::push(&mut self.events, recorded, around);
    }

    fn fold(&mut self, recorded: &Recorded) {
        let place = recorded.place;
        match &recorded.event.fact {
            Fact::GrantIssued(fact) => self.grants.issue(recorded, fact, &mut self.names),
            Fact::GrantReturned(fact) => self.grants.end(fact.grant, place, How::Returned),
            Fact::GrantExhausted(fact) => self.grants.end(fact.grant, place, How::Exhausted),
            Fact::CallAuthorized(fact) => {
                self.grants.used(place, fact);
                self.calls.authorized(recorded, fact, &mut self.names);
            }
            Fact::CallDenied(fact) => {
                if let Some(grant) = fact.grant {
                    self.grants.denied(grant);
                }
                self.calls.denied(recorded, fact, &mut self.names);
            }
            Fact::CallFinished(fact) => self.calls.finished(place, fact),
            Fact::RevocationIssued(fact) => {
                self.revoke(place, fact);
                self.revocations.rows_mut().push(Revocation::new(recorded, fact));
            }
            Fact::SuspensionLifted(fact) => {
                revocations::lift(&mut self.revocations, recorded, fact);
            }
            Fact::RevocationEnforced(fact) => {
                revocations::enforce(&mut self.revocations, recorded, fact);
            }
            Fact::FindingRaised(fact) => {
                let owner = self.registry.owner_of(&fact.agent).map(str::to_owned);
                self.findings.rows_mut().push(Finding { place, fact: fact.clone(), owner });
            }
            Fact::OwnerRegistered(_)
            | Fact::OwnerUpdated(_)
            | Fact::OwnerDisabled(_)
            | Fact::OwnerEnabled(_)
            | Fact::AgentRegistered(_)
            | Fact::AgentUpdated(_)
            | Fact::AgentSuspended(_)
            | Fact::AgentReinstated(_)
            | Fact::AgentRetired(_)
            | Fact::AgentReassigned(_)
            | Fact::PolicyPut(_)
            | Fact::PolicyRemoved(_)
            | Fact::PoliciesActivated(_)
            | Fact::TaskOpened(_)
            | Fact::TaskClosed(_) => self.fold_registry(place, &recorded.event.fact),
            // Derived from a grant's own expiry; the others change no row.
            Fact::GrantExpired(_)
            | Fact::GrantRequested(_)
            | Fact::GrantDenied(_)
            | Fact::LedgerCreated(_)
            | Fact::WriterStarted(_)
            | Fact::KeyRotated(_)
            | Fact::EntityPut(_)
            | Fact::EntityRemoved(_)
            | Fact::CredentialIssued(_)
            | Fact::ConfigChanged(_)
            | Fact::DenialsAggregated(_)
            | Fact::DelegateAdded(_)
            | Fact::DelegateRemoved(_)
            | Fact::ToolPinned(_)
            | Fact::ToolUnpinned(_)
            | Fact::ToolChanged(_)
            | Fact::SchemaPut(_)
            | Fact::ApprovalRequested(_)
            | Fact::ApprovalGranted(_)
            | Fact::ApprovalDenied(_)
            | Fact::ApprovalExpired(_)
            | Fact::ApprovalWithdrawn(_)
            | Fact::BreakglassUsed(_)
            | Fact::AccessReviewed(_)
            | Fact::RiskChanged(_)
            | Fact::CredentialRevoked(_)
            | Fact::CredentialLimited(_) => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "`fold` names every kind and sends only these here"
    )]
    fn fold_registry(&mut self, place: Place, fact: &Fact) {
        let registry = &mut self.registry;
        match fact {
            Fact::OwnerRegistered(fact) | Fact::OwnerUpdated(fact) => {
                registry.write_owner(place, fact);
            }
            Fact::OwnerDisabled(fact) => {
                registry.disable_owner(&fact.owner, Some(place.time), fact.reason.as_ref());
                let key = Key::Owner(self.names.take(fact.owner.as_str()));
                self.mark(place, key, How::OwnerDisabled);
            }
            Fact::OwnerEnabled(fact) => registry.disable_owner(&fact.owner, None, None),
            Fact::AgentRegistered(fact) | Fact::AgentUpdated(fact) => {
                registry.write_agent(place, fact);
            }
            Fact::AgentSuspended(fact) => {
                registry.suspend_agent(place, &fact.agent, fact.reason.as_ref());
                let key = Key::Agent(self.names.take(fact.agent.as_str()));
                self.mark(place, key, How::AgentSuspended);
            }
            Fact::AgentReinstated(fact) => registry.reinstate_agent(&fact.agent),
            Fact::AgentRetired(fact) => {
                registry.retire_agent(place, &fact.agent, fact.reason.as_ref());
                let key = Key::Agent(self.names.take(fact.agent.as_str()));
                self.mark(place, key, How::AgentRetired);
            }
            Fact::AgentReassigned(fact) => {
                registry.reassign_agent(place, &fact.agent, &fact.to);
                let key = Key::Agent(self.names.take(fact.agent.as_str()));
                self.mark(place, key, How::AgentReassigned);
            }
            Fact::PolicyPut(fact) => registry.put_policy(place, fact),
            Fact::PolicyRemoved(fact) => registry.remove_policy(place, &fact.policy),
            Fact::PoliciesActivated(_) => registry.activate_policies(place),
            Fact::TaskOpened(fact) => registry.open_task(place, fact),
            Fact::TaskClosed(fact) => {
                registry.close_task(place, fact);
                self.mark(place, Key::Task(fact.task.0), How::TaskClosed);
            }
            _ => {}
        }
    }

    fn mark(&mut self, place: Place, key: Key, how: How) {
        let end = End { seq: place.index, time: place.time, how };
        self.grants.marks_mut().raise(key, end);
    }

    fn revoke(&mut self, place: Place, fact: &RevocationIssued) {
        let how = How::Revoked;
        let key = match &fact.selector {
            Selector::Grant(id) => return self.grants.end(*id, place, how),
            Selector::Resource(prefix) => {
                let end = End { seq: place.index, time: place.time, how };
                return self.grants.marks_mut().raise_resource(prefix, end);
            }
            Selector::Agent(id) => Key::Agent(self.names.take(id.as_str())),
            Selector::Owner(id) => Key::Owner(self.names.take(id.as_str())),
            Selector::Task(id) => Key::Task(id.0),
            Selector::Tool(id) => Key::Tool(self.names.take(id.as_str())),
            Selector::All => Key::All,
        };
        self.mark(place, key, how);
    }

    /// All tables as they stand, at `now` or the last event's time if that is later.
    pub(crate) fn snapshot(&self, now: Time) -> Snapshot {
        let now = self.last.map_or(now, |last| now.max(last.time));
        let registry = &self.registry;
        let providers: [Arc<dyn TableProvider>; 9] = [
            Arc::new(Scan(EventsSnapshot(self.events.snapshot()))),
            Arc::new(Scan(self.grants.snapshot(now))),
            Arc::new(Scan(self.calls.snapshot())),
            Arc::new(Scan(self.revocations.snapshot(now))),
            Arc::new(Scan(registry.agents.snapshot(now))),
            Arc::new(Scan(registry.owners.snapshot(now))),
            Arc::new(Scan(registry.tasks.snapshot(now))),
            Arc::new(Scan(registry.policies.snapshot(now))),
            Arc::new(Scan(self.findings.snapshot(now))),
        ];
        Snapshot {
            as_of: self.last.map(|last| last.index),
            tables: TABLES.into_iter().zip(providers).collect(),
        }
    }
}

/// What the tables tell about an event beside what it says itself.
#[derive(Clone, Copy)]
struct Known<'a> {
    names: &'a Names,
    grants: &'a Grants,
    calls: &'a Calls,
    registry: &'a Registry,
}

impl<'a> Known<'a> {
    /// The agent and owner that an event is about without naming them.
    fn who(self, fact: &Fact) -> (Option<&'a str>, Option<&'a str>) {
        let of_grant = |id: GrantId| match self.grants.holder(id) {
            Some((agent, owner)) => {
                (agent.map(|a| self.names.text(a)), Some(self.names.text(owner)))
            }
            None => (None, None),
        };
        let of_agent = |agent: &AgentId| (None, self.registry.owner_of(agent));
        match fact {
            Fact::GrantReturned(fact) => of_grant(fact.grant),
            Fact::GrantExpired(fact) | Fact::GrantExhausted(fact) => of_grant(fact.grant),
            Fact::CallFinished(fact) => match self.calls.caller(fact.call) {
                Some((agent, owner)) => {
                    (agent.map(|a| self.names.text(a)), owner.map(|o| self.names.text(o)))
                }
                None => (None, None),
            },
            Fact::AgentSuspended(fact) => of_agent(&fact.agent),
            Fact::AgentReinstated(fact) => of_agent(&fact.agent),
            Fact::AgentRetired(fact) => of_agent(&fact.agent),
            Fact::FindingRaised(fact) => of_agent(&fact.agent),
            Fact::RiskChanged(fact) => of_agent(&fact.agent),
            Fact::AccessReviewed(fact) => of_grant(fact.grant),
            Fact::CredentialIssued(fact) => match &fact.agent {
                Some(agent) => of_agent(agent),
                None => (None, None),
            },
            Fact::RevocationIssued(fact) => self.who_selected(&fact.selector),
            Fact::SuspensionLifted(fact) => self.who_selected(&fact.selector),
            Fact::LedgerCreated(_)
            | Fact::WriterStarted(_)
            | Fact::KeyRotated(_)
            | Fact::OwnerRegistered(_)
            | Fact::OwnerUpdated(_)
            | Fact::OwnerDisabled(_)
            | Fact::OwnerEnabled(_)
            | Fact::AgentRegistered(_)
            | Fact::AgentUpdated(_)
            | Fact::EntityPut(_)
            | Fact::EntityRemoved(_)
            | Fact::RevocationEnforced(_)
            | Fact::PolicyPut(_)
            | Fact::PolicyRemoved(_)
            | Fact::PoliciesActivated(_)
            | Fact::CredentialRevoked(_)
            | Fact::CredentialLimited(_)
            | Fact::TaskOpened(_)
            | Fact::TaskClosed(_)
            | Fact::GrantRequested(_)
            | Fact::GrantIssued(_)
            | Fact::GrantDenied(_)
            | Fact::CallAuthorized(_)
            | Fact::ConfigChanged(_)
            | Fact::DenialsAggregated(_)
            | Fact::DelegateAdded(_)
            | Fact::DelegateRemoved(_)
            | Fact::ToolPinned(_)
            | Fact::ToolUnpinned(_)
            | Fact::ToolChanged(_)
            | Fact::SchemaPut(_)
            | Fact::ApprovalRequested(_)
            | Fact::ApprovalGranted(_)
            | Fact::ApprovalDenied(_)
            | Fact::ApprovalExpired(_)
            | Fact::ApprovalWithdrawn(_)
            | Fact::BreakglassUsed(_)
            | Fact::AgentReassigned(_)
            | Fact::CallDenied(_) => (None, None),
        }
    }

    fn who_selected(self, selector: &Selector) -> (Option<&'a str>, Option<&'a str>) {
        match selector {
            Selector::Agent(agent) => (None, self.registry.owner_of(agent)),
            Selector::Grant(_)
            | Selector::Owner(_)
            | Selector::Task(_)
            | Selector::Tool(_)
            | Selector::Resource(_)
            | Selector::All => (None, None),
        }
    }
}
