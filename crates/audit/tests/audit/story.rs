//! A ledger's events, written by hand: what tests seed the tables with.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use bailiwick_audit::{Audit, Error, Limits, Parameters, Settings, Table};
use bailiwick_core::event::{
    About, Actor, AgentSettings, AgentWritten, Call, CallAuthorized, CallDenied, CallFinished,
    DenialCode, Effect, Event, Fact, GrantIssued, Issuance, LedgerCreated, Outcome, OwnerWritten,
    Place, Recorded, RevocationIssued, Role, Scope, Selector, SuspensionLifted,
};
use bailiwick_core::id::{
    AgentId, CallId, CredentialId, GrantId, OwnerId, PolicyId, Resource, TaskId, Text, ToolId,
};
use bailiwick_core::record::hash::{Digest, LedgerId, Link, PublicKey};
use bailiwick_core::time::{Span, Time};

/// 2026-01-01T00:00:00Z.
pub(crate) const START: Time = Time(1_767_225_600_000_000_000);

/// Events in chain order. Each comes one second after the one before, unless time is moved.
pub(crate) struct Story {
    pub(crate) events: Vec<Recorded>,
    pub(crate) now: Time,
}

impl Story {
    /// A ledger on which nothing stands yet.
    pub(crate) fn empty() -> Self {
        Self { events: Vec::new(), now: START }
    }

    /// A ledger with one owner and one agent.
    pub(crate) fn begin() -> Self {
        let mut story = Self::empty();
        story.tell(Fact::LedgerCreated(LedgerCreated {
            ledger: LedgerId([1; 16]),
            name: text("default"),
            origin: text("bailiwick.example/default"),
            genesis_key: PublicKey([9; 32]),
            continues: None,
        }));
        story.register("alice@example.com", "triage-bot");
        story
    }

    pub(crate) fn register(&mut self, owner: &str, agent: &str) {
        let owner = OwnerId::new(owner).unwrap();
        self.tell(Fact::OwnerRegistered(OwnerWritten {
            owner: owner.clone(),
            groups: BTreeSet::new(),
        }));
        let settings = AgentSettings {
            purpose: text("answers support cases"),
            groups: BTreeSet::new(),
            allowlist: Vec::new(),
            expires_at: None,
        };
        let agent = AgentId::new(agent).unwrap();
        self.tell(Fact::AgentRegistered(AgentWritten { agent, owner, settings }));
    }

    /// Adds an event and gives its index.
    pub(crate) fn tell(&mut self, fact: Fact) -> u64 {
        self.add(fact, None)
    }

    /// Adds an event that another one is the cause of.
    pub(crate) fn tell_because(&mut self, fact: Fact, cause: u64) -> u64 {
        self.add(fact, Some(cause))
    }

    fn add(&mut self, fact: Fact, cause: Option<u64>) -> u64 {
        let index = self.events.len() as u64;
        let mut link = [0; 32];
        link[..8].copy_from_slice(&index.to_be_bytes());
        let id = CredentialId::new("ops").unwrap();
        let actor = Actor::Credential { id, role: Role::Operator };
        let about = About { actor, on_behalf_of: None, cause, request: None, trace: None };
        let place = Place { index, time: self.now, link: Link(link) };
        self.events.push(Recorded { place, event: Event { about, fact } });
        self.now = self.now.after(Span::seconds(1));
        index
    }

    pub(crate) fn grant(&mut self, terms: &Terms<'_>) -> GrantId {
        let scope: Scope = terms.scope.parse().unwrap();
        GrantId(self.tell(Fact::GrantIssued(GrantIssued {
            agent: Some(AgentId::new(terms.agent).unwrap()),
            owner: OwnerId::new(terms.owner).unwrap(),
            task: terms.task,
            tool: terms.tool.map(|tool| ToolId::new(tool).unwrap()),
            action: terms.action.parse().unwrap(),
            scope,
            not_before: self.now,
            expires_at: self.now.after(terms.ttl),
            max_uses: terms.max_uses,
            issuance: Issuance::JustInTime,
            request: None,
            policies: vec![PolicyId::new("read-cases").unwrap()],
            policy_hash: digest(7),
            justification: Some(text("case 1234 was escalated")),
            constraints: Vec::new(),
            parent: None,
            approval: None,
            shown: None,
        })))
    }

    /// A part of a grant: all of it, to another agent, for that agent's task.
    pub(crate) fn delegate(
        &mut self,
        parent: GrantId,
        to: AgentId,
        task: Option<TaskId>,
    ) -> GrantId {
        let Fact::GrantIssued(part) = &self.events[parent.0 as usize].event.fact else {
            panic!("{parent} is no grant")
        };
        let mut part = part.clone();
        (part.agent, part.task, part.parent) = (Some(to), task, Some(parent));
        (part.issuance, part.not_before) = (Issuance::Delegated, self.now);
        GrantId(self.tell(Fact::GrantIssued(part)))
    }

    pub(crate) fn allow(&mut self, grant: GrantId, call: Call, uses_left: u32) -> CallId {
        let expires_at = self.now.after(Span::minutes(5));
        CallId(self.tell(Fact::CallAuthorized(CallAuthorized {
            call,
            grant,
            expires_at,
            uses_left,
            policies: vec![PolicyId::new("read-cases").unwrap(), PolicyId::new("owners").unwrap()],
            policy_hash: digest(7),
            read: BTreeMap::new(),
            shadow: Vec::new(),
            finishes: true,
        })))
    }

    pub(crate) fn deny(&mut self, call: Call, code: DenialCode, grant: Option<GrantId>) -> CallId {
        CallId(self.tell(Fact::CallDenied(CallDenied {
            call,
            code,
            grant,
            policies: Vec::new(),
            policy_hash: digest(7),
            read: BTreeMap::new(),
            shadow: Vec::new(),
            approval: None,
        })))
    }

    pub(crate) fn finish(&mut self, call: CallId, outcome: Outcome) -> u64 {
        self.tell(Fact::CallFinished(CallFinished {
            call,
            outcome,
            latency_us: 1_500,
            bytes_in: 120,
            bytes_out: 4_096,
            result: Some(digest(3)),
        }))
    }

    pub(crate) fn revoke(&mut self, selector: Selector, suspend: bool) -> u64 {
        self.tell(Fact::RevocationIssued(RevocationIssued {
            selector,
            suspend,
            reason_code: text("operator"),
            reason: Some(text("incident 7")),
        }))
    }

    pub(crate) fn lift(&mut self, selector: Selector) -> u64 {
        self.tell(Fact::SuspensionLifted(SuspensionLifted { selector, reason: None }))
    }

    /// Tables that hold the story.
    pub(crate) fn audit(&self) -> Audit {
        let audit = audit();
        audit.ingest(0, &self.events).unwrap();
        audit
    }
}

/// What a grant in a story is about.
pub(crate) struct Terms<'a> {
    pub(crate) agent: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) task: Option<TaskId>,
    pub(crate) tool: Option<&'a str>,
    pub(crate) action: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) ttl: Span,
    pub(crate) max_uses: u32,
}

/// The usual grant: read one case for five minutes.
pub(crate) const READ_CASE: Terms<'static> = Terms {
    agent: "triage-bot",
    owner: "alice@example.com",
    task: None,
    tool: Some("crm/read_case"),
    action: "crm/read_case",
    scope: "crm://case/1234",
    ttl: Span::minutes(5),
    max_uses: 10,
};

/// A call by the usual agent.
pub(crate) fn call(tool: &str, resource: &str) -> Call {
    Call {
        agent: Some(AgentId::new("triage-bot").unwrap()),
        owner: Some(OwnerId::new("alice@example.com").unwrap()),
        task: None,
        session: None,
        tool: Some(ToolId::new(tool).unwrap()),
        tool_hash: None,
        action: tool.parse().unwrap(),
        resource: Resource::new(resource).unwrap(),
        effect: Effect::Read,
        arguments: Some(digest(5)),
        disclosed: BTreeMap::from([(text("case_id"), text("1234"))]),
        justification: Some(text("customer asked for =status")),
        environment: None,
        correlation: None,
        actors: Vec::new(),
    }
}

pub(crate) fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

pub(crate) fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

pub(crate) fn audit() -> Audit {
    Audit::new(Settings { threads: 2, at_once: 4 }).unwrap()
}

/// Runs a future to its end.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}

pub(crate) fn ask(audit: &Audit, sql: &str) -> Result<Table, Error> {
    wait(audit.run(sql, &Limits::INTERACTIVE))
}

pub(crate) fn ask_with(audit: &Audit, sql: &str, parameters: &Parameters) -> Result<Table, Error> {
    wait(audit.run_with(sql, parameters, &Limits::INTERACTIVE))
}

/// The rows of an answer as compact JSON, one a line.
#[track_caller]
pub(crate) fn lines(audit: &Audit, sql: &str) -> Vec<String> {
    let table = ask(audit, sql).unwrap_or_else(|e| panic!("{sql}: {} {e}", e.code()));
    table.rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect()
}
