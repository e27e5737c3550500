//! The store: takes events in the order of the chain, folds them into every table, and hands out
//! snapshots of all tables at one event.
//!
//! With an archive, a snapshot is the sealed rows of one version of its manifest, what is being
//! sealed, and what came since, split at exact events. [`Store::cut`] takes out what is to be
//! sealed; until [`Store::sealed`] says that it is, questions read it from memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bailiwick_core::event::{Fact, Place, Recorded, RevocationIssued, Selector};
use bailiwick_core::id::{AgentId, GrantId};
use bailiwick_core::record::Link;
use bailiwick_core::time::Time;
use datafusion::catalog::TableProvider;

use crate::archive::cut::Cut;
use crate::archive::manifest::Manifest;
use crate::archive::scan::{Rows, Sealed};
use crate::archive::state::{Plain, State};
use crate::archive::{Archive, Fault};
use crate::chain::Chain;
use crate::error::Error;
use crate::table::approvals::Approvals;
use crate::table::calls::Calls;
use crate::table::checkpoints::Signed;
use crate::table::events::{self, Around, Events, EventsSnapshot};
use crate::table::grants::Grants;
use crate::table::marks::{End, How, Key, Names};
use crate::table::registry::Registry;
use crate::table::revocations::{self, Finding, Revocation};
use crate::table::scan::Scan;
use crate::table::segments::Listed;
use crate::table::whole::Whole;

/// Every table's name, as SQL and the guard know it.
pub(crate) const TABLES: [&str; 12] = [
    "events",
    "grants",
    "calls",
    "approvals",
    "revocations",
    "agents",
    "owners",
    "tasks",
    "policies",
    "findings",
    "segments",
    "checkpoints",
];

/// All tables.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) ledger: Option<String>,
    pub(crate) last: Option<Place>,
    pub(crate) names: Names,
    pub(crate) events: Events,
    pub(crate) grants: Grants,
    pub(crate) calls: Calls,
    pub(crate) approvals: Approvals,
    pub(crate) revocations: Whole<Revocation>,
    pub(crate) findings: Whole<Finding>,
    pub(crate) checkpoints: Whole<Signed>,
    pub(crate) registry: Registry,
    /// The entry that was taken last.
    entry: u64,
    /// The first event that is neither sealed nor being sealed, and when it came here.
    first: Option<(Place, Instant)>,
    /// Link of the event before that.
    link_before: Option<Link>,
    sealing: Option<Arc<Cut>>,
    archived: Option<Archived>,
    /// Where the ledger itself is read, if it is at hand.
    pub(crate) chain: Option<Chain>,
    /// Ends of sealed segments that the tables are being folded up to anew.
    ends: VecDeque<(u64, Link)>,
}

/// What is sealed, as of one version of the manifest.
#[derive(Debug, Clone)]
pub(crate) struct Archived {
    pub(crate) archive: Arc<Archive>,
    pub(crate) manifest: Arc<Manifest>,
}

impl Archived {
    fn rows(&self, rows: Rows) -> Sealed {
        let (archive, manifest) = (Arc::clone(&self.archive), Arc::clone(&self.manifest));
        Sealed { archive, manifest, rows }
    }
}

/// All tables as they stood after one event.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The last event that the tables hold.
    pub(crate) as_of: Option<u64>,
    /// Each table under its name.
    pub(crate) tables: Vec<(&'static str, Arc<dyn TableProvider>)>,
    /// Where sealed rows are.
    pub(crate) sealed: Option<Sealed>,
    /// Where the ledger itself is read.
    pub(crate) chain: Option<Chain>,
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
            approvals: Approvals::new(),
            revocations: Whole::new(),
            findings: Whole::new(),
            checkpoints: Whole::new(),
            registry: Registry::new(),
            entry: 0,
            first: None,
            link_before: None,
            sealing: None,
            archived: None,
            chain: None,
            ends: VecDeque::new(),
        }
    }

    /// Tables whose sealed rows are in an archive. What is not in it is folded from the ledger: the
    /// state of the last segment goes on after it, without one everything is folded anew.
    pub(crate) fn over(archived: Archived, state: Option<State>) -> Self {
        let segments = &archived.manifest.segments;
        let ends = match &state {
            Some(_) => VecDeque::new(),
            None => segments.iter().map(|segment| (segment.last, segment.link_after)).collect(),
        };
        let link_before = segments.last().map(|segment| segment.link_after);
        let entry = state.as_ref().and(segments.last()).map_or(0, |segment| segment.entry);
        let mut store = state.map_or_else(Self::new, Self::from);
        store.link_before = link_before;
        store.ends = ends;
        store.entry = entry;
        store.archived = Some(archived);
        store
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
            if self.last.is_some_and(|last| last.index == found && last.link != recorded.place.link)
            {
                return Err(Fault::Differs { seq: found }.into());
            }
            if found == expected {
                self.take(entry, recorded)?;
            }
        }
        self.entry = self.entry.max(entry);
        Ok(())
    }

    fn take(&mut self, entry: u64, recorded: &Recorded) -> Result<(), Error> {
        let Place { index, link, .. } = recorded.place;
        let end = self.ends.front().copied();
        if end.is_none() {
            self.push_event(entry, recorded);
            self.first.get_or_insert_with(|| (recorded.place, Instant::now()));
        } else if let Fact::LedgerCreated(fact) = &recorded.event.fact {
            self.ledger = Some(fact.name.to_string());
        }
        self.fold(recorded);
        self.last = Some(recorded.place);
        if let Some((_, sealed)) = end.filter(|(last, _)| *last == index) {
            if sealed != link {
                return Err(Fault::Differs { seq: index }.into());
            }
            self.ends.pop_front();
            let now = recorded.place.time;
            self.calls.settle(now).map_err(Fault::from)?;
            self.grants.settle(now).map_err(Fault::from)?;
            self.registry.tasks.settle().map_err(Fault::from)?;
            self.approvals.settle(now).map_err(Fault::from)?;
        }
        Ok(())
    }

    /// How many events are neither sealed nor being sealed, and how long the first of them has been
    /// here. That is not its own age: a ledger that is read from its beginning is old throughout.
    pub(crate) fn recent(&self) -> (u64, Duration) {
        match (self.first, self.last) {
            (Some((first, since)), Some(last)) => (last.index + 1 - first.index, since.elapsed()),
            (Some(_) | None, _) => (0, Duration::ZERO),
        }
    }

    /// What is being sealed, or else everything that can be.
    pub(crate) fn cut(&mut self) -> Result<Option<Arc<Cut>>, Error> {
        if let Some(cut) = &self.sealing {
            return Ok(Some(Arc::clone(cut)));
        }
        let (Some((first, _)), Some(last)) = (self.first, self.last) else { return Ok(None) };
        let calls = self.calls.settle(last.time).map_err(Fault::from)?;
        let grants = self.grants.settle(last.time).map_err(Fault::from)?;
        let tasks = self.registry.tasks.settle().map_err(Fault::from)?;
        let approvals = self.approvals.settle(last.time).map_err(Fault::from)?;
        let (kept, marks) = self.grants.kept();
        let state = State {
            ledger: self.ledger.clone(),
            last,
            names: self.names.texts(),
            grants: kept,
            marks,
            calls: self.calls.kept(),
            tasks: self.registry.tasks.kept(),
            approvals: self.approvals.kept(),
            plain: Plain {
                revocations: self.revocations.clone(),
                findings: self.findings.clone(),
                checkpoints: self.checkpoints.clone(),
                agents: self.registry.agents.clone(),
                owners: self.registry.owners.clone(),
                policies: self.registry.policies.clone(),
            },
        };
        let cut = Arc::new(Cut {
            first,
            last,
            entry: self.entry,
            link_before: self.link_before.replace(last.link),
            events: self.events.take(),
            calls,
            grants,
            tasks,
            approvals,
            state,
        });
        self.first = None;
        self.sealing = Some(Arc::clone(&cut));
        Ok(Some(cut))
    }

    /// What was cut is sealed, as `manifest` says.
    pub(crate) fn sealed(&mut self, manifest: Manifest) {
        self.sealing = None;
        if let Some(archived) = &mut self.archived {
            archived.manifest = Arc::new(manifest);
        }
    }

    /// The entry that was taken last.
    pub(crate) const fn entry(&self) -> u64 {
        self.entry
    }

    pub(crate) const fn is_sealing(&self) -> bool {
        self.sealing.is_some()
    }

    pub(crate) const fn archived(&self) -> Option<&Archived> {
        self.archived.as_ref()
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
        let (agent, owner) = known.who(recorded.place.time, &recorded.event.fact);
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
            Fact::GrantIssued(fact) => {
                let approvers = fact.approval.and_then(|asked| self.approvals.grant(asked, place));
                self.grants.issue(recorded, fact, approvers, &mut self.names);
            }
            Fact::GrantReturned(fact) => self.grants.end(fact.grant, place, How::Returned),
            Fact::GrantExhausted(fact) => self.grants.end(fact.grant, place, How::Exhausted),
            Fact::CallAuthorized(fact) => {
                self.grants.used(place, fact);
                self.calls.authorized(recorded, fact, &mut self.names);
            }
            Fact::CallDenied(fact) => {
                if let Some(grant) = fact.grant {
                    self.grants.denied(grant, place.time);
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
            Fact::CheckpointSigned(fact) => {
                self.checkpoints.rows_mut().push(Signed { place, fact: fact.clone() });
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
            Fact::ApprovalRequested(fact) => self.approvals.ask(place, fact),
            Fact::ApprovalGranted(_)
            | Fact::ApprovalDenied(_)
            | Fact::ApprovalExpired(_)
            | Fact::ApprovalWithdrawn(_) => {
                self.approvals.answer(place.time, &recorded.event.fact);
            }
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
            | Fact::QueryRun(_)
            | Fact::SegmentSealed(_)
            | Fact::DelegateAdded(_)
            | Fact::DelegateRemoved(_)
            | Fact::ToolPinned(_)
            | Fact::ToolUnpinned(_)
            | Fact::ToolChanged(_)
            | Fact::SchemaPut(_)
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
            Fact::TaskOpened(fact) => registry.tasks.open(place, fact),
            Fact::TaskClosed(fact) => {
                registry.tasks.close(place, fact);
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
        let archived = |rows| self.archived.as_ref().map(|archived| archived.rows(rows));
        let (mut events, mut calls, mut grants, mut tasks, mut approvals) =
            (Vec::new(), [].as_slice(), [].as_slice(), [].as_slice(), [].as_slice());
        if let Some(cut) = &self.sealing {
            events.clone_from(&cut.events);
            (calls, grants) = (cut.calls.parts(), cut.grants.parts());
            (tasks, approvals) = (cut.tasks.parts(), cut.approvals.parts());
        }
        events.extend(self.events.snapshot());
        let (calls, grants) = (self.calls.snapshot(calls), self.grants.snapshot(grants, now));
        let approvals = self.approvals.snapshot(approvals, now);
        let providers: [Arc<dyn TableProvider>; 12] = [
            Arc::new(Scan::behind(archived(Rows::Events), EventsSnapshot(events))),
            Arc::new(Scan::behind(archived(Rows::Grants), grants)),
            Arc::new(Scan::behind(archived(Rows::Calls), calls)),
            Arc::new(Scan::behind(archived(Rows::Approvals), approvals)),
            Arc::new(Scan::of(self.revocations.snapshot(now))),
            Arc::new(Scan::of(registry.agents.snapshot(now))),
            Arc::new(Scan::of(registry.owners.snapshot(now))),
            Arc::new(Scan::behind(archived(Rows::Tasks), registry.tasks.snapshot(tasks))),
            Arc::new(Scan::of(registry.policies.snapshot(now))),
            Arc::new(Scan::of(self.findings.snapshot(now))),
            Arc::new(Scan::of(self.segments().snapshot(now))),
            Arc::new(Scan::of(self.checkpoints.snapshot(now))),
        ];
        Snapshot {
            as_of: self.last.map(|last| last.index),
            tables: TABLES.into_iter().zip(providers).collect(),
            sealed: archived(Rows::Events),
            chain: self.chain.clone(),
        }
    }
}

impl Store {
    /// What the manifest lists.
    fn segments(&self) -> Whole<Listed> {
        let Some(Archived { manifest, .. }) = &self.archived else { return Whole::new() };
        let listed = manifest
            .segments
            .iter()
            .enumerate()
            .map(|(at, segment)| Listed { segment: segment.clone(), kept: at >= manifest.dropped });
        Whole::of(listed.collect())
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
    fn who(self, now: Time, fact: &Fact) -> (Option<&'a str>, Option<&'a str>) {
        let of_grant = |id: GrantId| match self.grants.holder(id, now) {
            Some((agent, owner)) => {
                (agent.map(|a| self.names.text(a)), Some(self.names.text(owner)))
            }
            None => (None, None),
        };
        let of_agent = |agent: &AgentId| (None, self.registry.owner_of(agent));
        match fact {
            Fact::GrantReturned(fact) => of_grant(fact.grant),
            Fact::GrantExpired(fact) | Fact::GrantExhausted(fact) => of_grant(fact.grant),
            Fact::CallFinished(fact) => match self.calls.caller(fact.call, now) {
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
            | Fact::QueryRun(_)
            | Fact::SegmentSealed(_)
            | Fact::CheckpointSigned(_)
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
