//! A ledger's worth of events, made from a number: what agents of a middling company do in some
//! months. It is a good ledger: nothing is allowed that was taken back.
//!
//! 64 agents at a time are at work. Each opens a task, gets grants, calls with them, is refused now
//! and then, waits for people, passes a grant on, closes its task; operators revoke, review and
//! lift meanwhile. Links are numbers and not hashes: a chain of its own would cost more than the
//! archive of it and change nothing about what is measured.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::event::{
    About, AccessReviewed, Actor, AgentSettings, AgentWritten, ApprovalDenied, ApprovalGranted,
    ApprovalRequested, ApprovalRule, Call, CallAuthorized, CallDenied, CallFinished, DenialCode,
    Effect, Event, Fact, GrantEnded, GrantIssued, Issuance, LedgerCreated, Outcome, OwnerWritten,
    Place, Recorded, Review, RevocationEnforced, RevocationIssued, Role, Scope, Selector,
    TaskClosed, TaskOpened, TraceId,
};
use bailiwick_core::id::{
    Action, AgentId, ApprovalId, CallId, CredentialId, GrantId, OwnerId, PolicyId, Resource,
    SessionId, TaskId, Text, ToolId,
};
use bailiwick_core::record::hash::{Digest, LedgerId, Link, PublicKey};
use bailiwick_core::time::{Span, Time};

/// 2026-01-01T00:00:00Z.
pub(super) const START: Time = Time(1_767_225_600_000_000_000);
/// Days that all events are spread over.
pub(super) const DAYS: u64 = 90;
/// The ledger's id.
pub(super) const LEDGER: LedgerId = LedgerId([0xb5; 16]);

const OWNERS: usize = 500;
const AGENTS: usize = 5_000;
const RESOURCES: usize = 200_000;
const AT_WORK: usize = 64;
/// Actions, with what each does and which record it is of.
const ACTIONS: [(&str, Effect, &str); 12] = [
    ("crm/read_case", Effect::Read, "crm://case"),
    ("crm/list_cases", Effect::Read, "crm://queue"),
    ("crm/update_case", Effect::Write, "crm://case"),
    ("tickets/write_ticket", Effect::Write, "tickets://ticket"),
    ("tickets/read_ticket", Effect::Read, "tickets://ticket"),
    ("objects/download", Effect::Read, "s3://evidence"),
    ("objects/upload", Effect::Write, "s3://inbox"),
    ("mail/search", Effect::Read, "mail://inbox"),
    ("mail/send", Effect::External, "mail://outbox"),
    ("db/query", Effect::Read, "db://orders"),
    ("db/update", Effect::Write, "db://orders"),
    ("deploy/roll_out", Effect::External, "deploy://service"),
];
const DENIALS: [DenialCode; 4] =
    [DenialCode::Forbidden, DenialCode::ToolNotAllowed, DenialCode::NoGrant, DenialCode::Suspended];

/// Numbers that look like chance and come again from the same seed (splitmix64).
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    const fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// A few are drawn often and most hardly ever.
    const fn skewed(&mut self, bound: usize) -> usize {
        let (one, other) = (self.below(bound), self.below(bound));
        if self.below(4) == 0 { one } else { one * other / bound * self.below(8) / 8 }
    }

    const fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let mut at = 0;
        while at < 32 {
            let next = self.next().to_le_bytes();
            let mut byte = 0;
            while byte < 8 {
                bytes[at + byte] = next[byte];
                byte += 1;
            }
            at += 8;
        }
        bytes
    }
}

/// An agent at work on a task.
#[derive(Debug)]
struct Worker {
    agent: usize,
    task: TaskId,
    session: SessionId,
    trace: TraceId,
    /// Calls that are left of the task.
    calls: usize,
    held: Option<Held>,
    /// A call that has not come back.
    running: Option<CallId>,
    /// A request that waits for people.
    asked: Option<(ApprovalId, usize, Resource)>,
}

#[derive(Debug, Clone)]
struct Held {
    grant: GrantId,
    action: usize,
    resource: Resource,
    left: u32,
    expires_at: Time,
}

/// The events, one after the other.
#[derive(Debug)]
pub(super) struct Events {
    numbers: Numbers,
    step: u64,
    now: Time,
    index: u64,
    count: u64,
    ready: Vec<Recorded>,
    workers: Vec<Option<Worker>>,
    owners: Vec<OwnerId>,
    agents: Vec<AgentId>,
    actions: Vec<(Action, ToolId)>,
    /// Agents that a suspension names, with when it is lifted.
    revoked: u64,
}

impl Events {
    /// So many events, and a few more to come to an end.
    pub(super) fn new(seed: u64, count: u64) -> Self {
        let owner = |n| OwnerId::new(&format!("owner-{n:03}@example.com")).expect("an id");
        let agent = |n| AgentId::new(&format!("agent-{n:04}")).expect("an id");
        let action = |(name, ..): &(&str, Effect, &str)| {
            (name.parse().expect("an action"), ToolId::new(name).expect("a tool"))
        };
        let mut events = Self {
            numbers: Numbers(seed),
            step: DAYS * 86_400 * 1_000_000_000 / count.max(1),
            now: START,
            index: 0,
            count,
            ready: Vec::new(),
            workers: (0..AT_WORK).map(|_| None).collect(),
            owners: (0..OWNERS).map(owner).collect(),
            agents: (0..AGENTS).map(agent).collect(),
            actions: ACTIONS.iter().map(action).collect(),
            revoked: 0,
        };
        events.begin();
        events
    }

    /// The next events, about so many; none at the end.
    pub(super) fn next(&mut self, about: usize) -> Option<Vec<Recorded>> {
        while self.index < self.count && self.ready.len() < about {
            self.work();
            if self.index >= self.count {
                // Two days later, when nothing can change any more what was.
                self.now = self.now.after(Span::days(2));
                let owner = self.owner(0);
                let updated = OwnerWritten { owner, groups: BTreeSet::new() };
                self.tell(None, Fact::OwnerUpdated(updated));
            }
        }
        (!self.ready.is_empty()).then(|| std::mem::take(&mut self.ready))
    }

    fn begin(&mut self) {
        self.tell(
            None,
            Fact::LedgerCreated(LedgerCreated {
                ledger: LEDGER,
                name: text("bench"),
                origin: text("bailiwick.example/bench"),
                genesis_key: PublicKey([9; 32]),
                continues: None,
            }),
        );
        for owner in self.owners.clone() {
            self.tell(None, Fact::OwnerRegistered(OwnerWritten { owner, groups: BTreeSet::new() }));
        }
        for (at, agent) in self.agents.clone().into_iter().enumerate() {
            let settings = AgentSettings {
                purpose: text("works on what its owner was asked to do"),
                groups: BTreeSet::new(),
                allowlist: Vec::new(),
                expires_at: None,
            };
            let owner = self.owner(at);
            self.tell(None, Fact::AgentRegistered(AgentWritten { agent, owner, settings }));
        }
    }

    fn owner(&self, agent: usize) -> OwnerId {
        self.owners[agent % OWNERS].clone()
    }

    fn tell(&mut self, worker: Option<&Worker>, fact: Fact) -> u64 {
        self.tell_because(worker, None, fact)
    }

    fn tell_because(&mut self, worker: Option<&Worker>, cause: Option<u64>, fact: Fact) -> u64 {
        let (id, role) = match worker {
            Some(worker) => (format!("gateway-{}", worker.agent % 32), Role::Enforcer),
            None => ("ops".to_owned(), Role::Operator),
        };
        let about = About {
            actor: Actor::Credential { id: CredentialId::new(&id).expect("an id"), role },
            on_behalf_of: worker.map(|worker| self.owner(worker.agent)),
            cause,
            request: None,
            trace: worker.map(|worker| worker.trace),
        };
        let index = self.index;
        self.index += 1;
        let pause = self.step / 2 + self.numbers.next() % self.step.max(1);
        self.now = Time(self.now.0 + pause.max(1));
        let place = Place { index, time: self.now, link: Link(self.numbers.bytes()) };
        self.ready.push(Recorded { place, event: Event { about, fact } });
        index
    }

    fn work(&mut self) {
        if self.numbers.below(20_000) == 0 {
            return self.revoke();
        }
        let at = self.numbers.below(AT_WORK);
        let Some(mut worker) = self.workers[at].take() else {
            self.workers[at] = Some(self.open());
            return;
        };
        if let Some(call) = worker.running.take() {
            self.finish(&worker, call);
        } else if let Some((approval, action, resource)) = worker.asked.take() {
            self.answer(&mut worker, approval, action, resource);
        } else if worker.calls == 0 {
            self.tell(
                Some(&worker),
                Fact::TaskClosed(TaskClosed { task: worker.task, reason: None }),
            );
            return;
        } else {
            self.call(&mut worker);
        }
        self.workers[at] = Some(worker);
    }

    fn open(&mut self) -> Worker {
        let agent = self.numbers.skewed(AGENTS);
        let bytes = self.numbers.bytes();
        let session = SessionId::new(&hex::encode(&bytes[..12])).expect("an id");
        let mut trace = [0; 16];
        trace.copy_from_slice(&bytes[16..]);
        let mut worker = Worker {
            agent,
            task: TaskId(0),
            session,
            trace: TraceId(trace),
            calls: 5 + self.numbers.below(80),
            held: None,
            running: None,
            asked: None,
        };
        let opened = TaskOpened {
            agent: self.agents[agent].clone(),
            owner: self.owner(agent),
            sort: Some(text("case")),
            statement: Some(Digest(bytes)),
            targets: Vec::new(),
        };
        worker.task = TaskId(self.tell(Some(&worker), Fact::TaskOpened(opened)));
        worker
    }

    fn call(&mut self, worker: &mut Worker) {
        worker.calls -= 1;
        let usable = worker.held.take().filter(|held| held.left > 0 && self.now < held.expires_at);
        match (usable, self.numbers.below(100)) {
            (held, 0..6) => {
                worker.held = held;
                self.refuse(worker);
            }
            (_, 6..8) => self.ask(worker),
            (Some(held), _) => self.allow(worker, held),
            (None, _) => {
                let (action, resource) = self.wish();
                let held = self.issue(worker, action, resource, Issuance::JustInTime, None);
                if self.numbers.below(50) == 0 {
                    self.pass_on(worker, &held);
                }
                // Some are asked for and then not needed.
                if self.numbers.below(12) > 0 {
                    self.allow(worker, held);
                }
            }
        }
    }

    fn wish(&mut self) -> (usize, Resource) {
        let action = self.numbers.skewed(ACTIONS.len());
        let record = self.numbers.skewed(RESOURCES);
        let resource = Resource::new(&format!("{}/{record}", ACTIONS[action].2));
        (action, resource.expect("a resource"))
    }

    fn question(&self, worker: &Worker, action: usize, resource: Resource) -> Call {
        let (name, tool) = &self.actions[action];
        Call {
            agent: Some(self.agents[worker.agent].clone()),
            owner: Some(self.owner(worker.agent)),
            task: Some(worker.task),
            session: Some(worker.session.clone()),
            tool: Some(tool.clone()),
            tool_hash: None,
            action: name.clone(),
            resource,
            effect: ACTIONS[action].1,
            arguments: None,
            disclosed: BTreeMap::new(),
            justification: Some(text("the customer asked for it in the case's last message")),
            environment: None,
            correlation: None,
            actors: Vec::new(),
        }
    }

    fn issue(
        &mut self,
        worker: &Worker,
        action: usize,
        resource: Resource,
        issuance: Issuance,
        approval: Option<ApprovalId>,
    ) -> Held {
        let (not_before, expires_at) = (self.now, self.now.after(Span::minutes(5)));
        let max_uses = 1 + u32::try_from(self.numbers.below(4)).unwrap_or(0);
        let (name, tool) = self.actions[action].clone();
        let issued = GrantIssued {
            agent: Some(self.agents[worker.agent].clone()),
            owner: self.owner(worker.agent),
            task: Some(worker.task),
            tool: Some(tool),
            action: name,
            scope: Scope::Exact(resource.clone()),
            not_before,
            expires_at,
            max_uses,
            issuance,
            request: None,
            policies: policies(),
            policy_hash: Digest([7; 32]),
            justification: Some(text("needed for the task")),
            constraints: Vec::new(),
            parent: None,
            approval,
            shown: None,
        };
        let grant = GrantId(self.tell(Some(worker), Fact::GrantIssued(issued)));
        Held { grant, action, resource, left: max_uses, expires_at }
    }

    /// A part of a grant for another agent, which does not come to use it.
    fn pass_on(&mut self, worker: &Worker, held: &Held) {
        let Some(Recorded { event, .. }) = self.ready.last() else { return };
        let Fact::GrantIssued(mut part) = event.fact.clone() else { return };
        let to = (worker.agent + OWNERS) % AGENTS;
        (part.agent, part.parent) = (Some(self.agents[to].clone()), Some(held.grant));
        (part.issuance, part.not_before, part.task) = (Issuance::Delegated, self.now, None);
        self.tell(Some(worker), Fact::GrantIssued(part));
    }

    fn allow(&mut self, worker: &mut Worker, mut held: Held) {
        held.left -= 1;
        let allowed = CallAuthorized {
            call: self.question(worker, held.action, held.resource.clone()),
            grant: held.grant,
            expires_at: held.expires_at,
            uses_left: held.left,
            policies: policies(),
            policy_hash: Digest([7; 32]),
            read: BTreeMap::new(),
            shadow: Vec::new(),
            finishes: true,
        };
        let call = CallId(self.tell(Some(worker), Fact::CallAuthorized(allowed)));
        if held.left == 0 {
            let ended = GrantEnded { grant: held.grant };
            self.tell_because(None, Some(call.0), Fact::GrantExhausted(ended));
        }
        (worker.running, worker.held) = (Some(call), Some(held));
    }

    fn refuse(&mut self, worker: &Worker) {
        let times = if self.numbers.below(400) == 0 { 25 } else { 1 };
        let (action, resource) = self.wish();
        for _ in 0..times {
            let denied = CallDenied {
                call: self.question(worker, action, resource.clone()),
                code: DENIALS[self.numbers.below(DENIALS.len())],
                grant: None,
                policies: Vec::new(),
                policy_hash: Digest([7; 32]),
                read: BTreeMap::new(),
                shadow: Vec::new(),
                approval: None,
            };
            self.tell(Some(worker), Fact::CallDenied(denied));
        }
    }

    fn finish(&mut self, worker: &Worker, call: CallId) {
        let outcome = if self.numbers.below(40) == 0 { Outcome::Error } else { Outcome::Ok };
        let number = self.numbers.next();
        let finished = CallFinished {
            call,
            outcome,
            latency_us: 500 + number % 90_000,
            bytes_in: 100 + number % 1_000,
            bytes_out: 200 + number % 20_000,
            result: None,
        };
        self.tell(Some(worker), Fact::CallFinished(finished));
    }

    fn ask(&mut self, worker: &mut Worker) {
        let (action, resource) = self.wish();
        let requested = ApprovalRequested {
            call: self.question(worker, action, resource.clone()),
            owner: self.owner(worker.agent),
            scope: Scope::Exact(resource.clone()),
            constraints: Vec::new(),
            request: None,
            needs: vec![ApprovalRule::Owner],
            ttl: Span::minutes(5),
            max_uses: 1,
            expires_at: self.now.after(Span::minutes(10)),
            policies: policies(),
            policy_hash: Digest([7; 32]),
            shown: Digest([6; 32]),
        };
        let id = self.tell(Some(worker), Fact::ApprovalRequested(requested));
        worker.asked = Some((ApprovalId(id), action, resource));
    }

    fn answer(&mut self, worker: &mut Worker, approval: ApprovalId, action: usize, of: Resource) {
        let by = self.owner(worker.agent);
        if self.numbers.below(5) == 0 {
            let denied = ApprovalDenied { approval, by, reason: Some(text("not now")) };
            self.tell(None, Fact::ApprovalDenied(denied));
            return;
        }
        let (shown, reason) = (Digest([6; 32]), None);
        let granted = ApprovalGranted { approval, by, shown, complete: true, reason };
        self.tell(None, Fact::ApprovalGranted(granted));
        let held = self.issue(worker, action, of, Issuance::Approved, Some(approval));
        worker.held = Some(held);
    }

    /// Takes something back that is in use, and looks at something else.
    fn revoke(&mut self) {
        let at = self.numbers.below(AT_WORK);
        let Some(mut worker) = self.workers[at].take() else { return };
        let agent = self.agents[worker.agent].clone();
        let selector = match (&worker.held, self.numbers.below(3)) {
            (Some(held), 0) => Selector::Grant(held.grant),
            (_, 1) => Selector::Task(worker.task),
            _ => Selector::Agent(agent),
        };
        if let Some(held) = &worker.held {
            let (grant, owner) = (held.grant, self.owner(worker.agent));
            let looked = AccessReviewed { grant, owner, review: Review::Keep, reason: None };
            self.tell(None, Fact::AccessReviewed(looked));
        }
        let reason_code = text("operator");
        let issued = RevocationIssued { selector, suspend: false, reason_code, reason: None };
        let cause = self.tell(None, Fact::RevocationIssued(issued));
        self.revoked += 1;
        let enforced = RevocationEnforced {
            number: self.revoked,
            acknowledged: 32,
            expired: 0,
            points: Vec::new(),
            milliseconds: 2 + u32::try_from(self.numbers.below(60)).unwrap_or(0),
        };
        self.tell_because(None, Some(cause), Fact::RevocationEnforced(enforced));
        // All that the agent holds elsewhere is gone too.
        let id = worker.agent;
        (worker.held, worker.running) = (None, None);
        self.workers[at] = Some(worker);
        for other in self.workers.iter_mut().flatten().filter(|other| other.agent == id) {
            other.held = None;
        }
    }
}

fn policies() -> Vec<PolicyId> {
    ["support-works-on-cases", "owners-lend"].map(|id| PolicyId::new(id).expect("an id")).to_vec()
}

fn text(text: &str) -> Text {
    Text::new(text).expect("a short text")
}
