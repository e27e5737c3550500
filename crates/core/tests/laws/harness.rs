//! A ledger in memory: given events, when command, then events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use bailiwick_core::command::{
    Answer, Authorize, Command, CreateLedger, Decision, Denied, Done, Finish, IssueCredential,
    IssueGrant, OpenTask, PinTool, Refusal, RefusalCode, RequestGrant, Revoke, RotateCredential,
    Subject, Submission, WriteAgent, WriteOwner,
};
use bailiwick_core::decide::{Decided, decide};
use bailiwick_core::event::{
    About, Actor, AgentSettings, Allow, DenialCode, Effect, Event, Fact, Outcome, Place, Recorded,
    RequestKey, Role, Selector,
};
use bailiwick_core::id::{
    Action, ActionPattern, AgentId, CallId, CredentialId, GrantId, OwnerId, PolicyId, RequestId,
    Resource, TaskId, Text, ToolId,
};
use bailiwick_core::record::hash::{Digest, LedgerId, Link, PublicKey};
use bailiwick_core::state::State;
use bailiwick_core::time::{Span, Time};

/// When every test begins.
pub(super) const START: Time = Time(1_795_441_020_000_000_000);

/// A ledger without a chain: links are made up, times are those that the writer would give.
#[derive(Clone)]
pub(super) struct Ledger {
    pub(super) state: State,
    pub(super) log: Vec<Recorded>,
    /// What the wall clock says. It may stand still or run back; event times do not.
    pub(super) clock: Time,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { state: State::new(), log: Vec::new(), clock: START }
    }

    /// A ledger with owners `alice` and `bob`, agents `helper` and `second` of alice and `third` of
    /// bob, a key of each role, one named like the role, and one of each agent.
    pub(super) fn world() -> Self {
        let mut ledger = Self::new();
        ledger.given(Command::CreateLedger(CreateLedger {
            ledger: LedgerId([7; 16]),
            name: text("test"),
            origin: text("example.com/test"),
            genesis_key: PublicKey([8; 32]),
        }));
        ledger.given(Command::StartWriter { epoch: 1 });
        for owner in ["alice", "bob"] {
            ledger.given(Command::RegisterOwner(write_owner(owner)));
        }
        for (agent, owner) in [("helper", "alice"), ("second", "alice"), ("third", "bob")] {
            ledger.given(Command::RegisterAgent(write_agent(agent, owner, &["**"])));
            ledger.given(Command::IssueCredential(credential(agent, Role::Agent, Some(agent))));
        }
        for role in ROLES {
            if role != Role::Agent {
                let name = role.to_string();
                ledger.given(Command::IssueCredential(credential(&name, role, None)));
            }
        }
        ledger
    }

    /// [`Ledger::world`] with these policies in force, called `p0`, `p1` … Each set is compiled
    /// once in a run of the tests: in a debug build that takes longer than all the rest.
    pub(super) fn with_policies(texts: &[&str]) -> Self {
        static MADE: Mutex<BTreeMap<Vec<String>, Ledger>> = Mutex::new(BTreeMap::new());
        let key: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        if let Some(made) = MADE.lock().unwrap().get(&key) {
            return made.clone();
        }
        let mut ledger = Self::world();
        for (n, text) in texts.iter().enumerate() {
            ledger.given(put_policy(&format!("p{n}"), text));
        }
        ledger.given(Command::ActivatePolicies);
        MADE.lock().unwrap().insert(key, ledger.clone());
        ledger
    }

    /// Something that no command here brings about; its index.
    pub(super) fn happened(&mut self, fact: Fact) -> u64 {
        let about = About {
            actor: Actor::System,
            on_behalf_of: None,
            cause: None,
            request: None,
            trace: None,
        };
        let index = self.state.next_index();
        self.record(self.now(), &Event { about, fact });
        index
    }

    /// When the next event may be recorded at the earliest.
    pub(super) fn now(&self) -> Time {
        match self.state.last_time() {
            Some(last) => self.clock.max(Time(last.0 + 1)),
            None => self.clock,
        }
    }

    pub(super) fn wait(&mut self, span: Span) {
        self.clock = self.clock.max(self.now()).after(span);
    }

    /// What would be decided now. Nothing changes.
    pub(super) fn ask(&self, submission: &Submission) -> Decided {
        decide(&self.state, submission, self.now())
    }

    /// Decides, records and applies.
    pub(super) fn submit(&mut self, submission: &Submission) -> Decided {
        let now = self.now();
        let decided = decide(&self.state, submission, now);
        for (i, event) in decided.events.iter().enumerate() {
            self.record(Time(now.0 + i as u64), event);
        }
        decided
    }

    fn record(&mut self, time: Time, event: &Event) {
        let index = self.state.next_index();
        let place = Place { index, time, link: link(index) };
        assert!(self.state.last_time().is_none_or(|last| last < time), "time strictly increases");
        let mut body = Vec::new();
        event.encode_body([0; 16], &mut body).expect("what is decided fits a frame");
        self.state.apply(place, event);
        self.log.push(Recorded { place, event: event.clone() });
    }

    /// What the system does and what must work: the base of a test.
    pub(super) fn given(&mut self, command: Command) -> Done {
        match self.when(Actor::System, command) {
            Answer::Done(done) => done,
            other => panic!("expected it to be done, got {other:?}"),
        }
    }

    pub(super) fn when(&mut self, actor: Actor, command: Command) -> Answer {
        self.submit(&submission(actor, command)).answer
    }

    /// A call by an enforcement point.
    pub(super) fn call(&mut self, ask: Authorize) -> Decision {
        decision(self.when(actor(Role::Enforcer), Command::Authorize(Box::new(ask))))
    }

    pub(super) fn allowed(&mut self, ask: Authorize) -> GrantId {
        match self.call(ask).result {
            Ok(allowed) => allowed.grant,
            Err(denied) => panic!("expected it to be allowed: {denied:?}"),
        }
    }

    pub(super) fn denied(&mut self, ask: Authorize) -> DenialCode {
        match self.call(ask).result {
            Ok(allowed) => panic!("expected it to be denied: {allowed:?}"),
            Err(denied) => denied.code,
        }
    }

    pub(super) fn refused(&mut self, actor: Actor, command: Command) -> RefusalCode {
        match self.when(actor, command) {
            Answer::Refused(Refusal { code, .. }) => code,
            other => panic!("expected it to be refused, got {other:?}"),
        }
    }

    pub(super) fn open_task(&mut self, agent: &str) -> TaskId {
        TaskId(self.given(Command::OpenTask(open_task(agent))).index)
    }

    pub(super) fn grant(&mut self, agent: &str, action: &str, scope: &str) -> GrantId {
        self.given(issue(terms(agent, action, scope))).grant.unwrap()
    }

    /// The same events, applied anew.
    pub(super) fn replayed(&self) -> State {
        replay(State::new(), &self.log)
    }
}

pub(super) fn replay(mut state: State, log: &[Recorded]) -> State {
    log.iter().for_each(|recorded| state.apply(recorded.place, &recorded.event));
    state
}

pub(super) const ROLES: [Role; 7] = [
    Role::Admin,
    Role::Operator,
    Role::Approver,
    Role::Enforcer,
    Role::Agent,
    Role::Auditor,
    Role::Subscriber,
];

/// The holder of the key that is named like its role; for agents that of `helper`.
pub(super) fn actor(role: Role) -> Actor {
    match role {
        Role::Agent => agent_key("helper"),
        Role::Admin
        | Role::Operator
        | Role::Approver
        | Role::Enforcer
        | Role::Auditor
        | Role::Subscriber => Actor::Credential { id: id(&role.to_string()), role },
    }
}

pub(super) fn agent_key(agent: &str) -> Actor {
    Actor::Credential { id: id(agent), role: Role::Agent }
}

pub(super) fn submission(actor: Actor, command: Command) -> Submission {
    Submission { actor, request: None, trace: None, command }
}

/// With a caller's own id, and the digest that an edge would compute.
pub(super) fn keyed(actor: Actor, request: &str, command: Command) -> Submission {
    let digest = Digest(*blake3::hash(format!("{command:?}").as_bytes()).as_bytes());
    let request = Some(RequestKey { id: id::<RequestId>(request), digest });
    Submission { actor, request, trace: None, command }
}

pub(super) fn decision(answer: Answer) -> Decision {
    match answer {
        Answer::Decided(decision) => decision,
        other => panic!("expected a decision, got {other:?}"),
    }
}

pub(super) fn code(decided: &Decided) -> Option<DenialCode> {
    match &decided.answer {
        Answer::Decided(Decision { result: Err(Denied { code, .. }), .. }) => Some(*code),
        Answer::Decided(_) | Answer::Done(_) | Answer::Refused(_) => None,
    }
}

pub(super) fn is_allowed(decided: &Decided) -> bool {
    matches!(&decided.answer, Answer::Decided(decision) if decision.result.is_ok())
}

pub(super) fn names(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.fact.name()).collect()
}

pub(super) fn link(index: u64) -> Link {
    Link(*blake3::hash(&index.to_be_bytes()).as_bytes())
}

/// Any identity from its text.
pub(super) fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

pub(super) fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

pub(super) fn write_owner(owner: &str) -> WriteOwner {
    WriteOwner { owner: id::<OwnerId>(owner), groups: BTreeSet::new() }
}

pub(super) fn write_agent(agent: &str, owner: &str, allowlist: &[&str]) -> WriteAgent {
    let allow = |pattern: &&str| Allow { pattern: id::<ActionPattern>(pattern), expires_at: None };
    WriteAgent {
        agent: id::<AgentId>(agent),
        owner: id::<OwnerId>(owner),
        settings: AgentSettings {
            purpose: text("support"),
            groups: BTreeSet::new(),
            allowlist: allowlist.iter().map(allow).collect(),
            expires_at: None,
        },
    }
}

pub(super) fn credential(name: &str, role: Role, agent: Option<&str>) -> IssueCredential {
    IssueCredential {
        credential: id::<CredentialId>(name),
        role,
        agent: agent.map(id::<AgentId>),
        key_hash: Digest(*blake3::hash(name.as_bytes()).as_bytes()),
        expires_at: None,
        owner: None,
        rotates: None,
        scram: None,
    }
}

/// The key `new` in the place of `old`, which works for an hour yet.
pub(super) fn rotate(old: &str, new: &str) -> RotateCredential {
    RotateCredential {
        rotates: id::<CredentialId>(old),
        credential: id::<CredentialId>(new),
        key_hash: Digest(*blake3::hash(new.as_bytes()).as_bytes()),
        scram: None,
        overlap: Span::hours(1),
    }
}

pub(super) fn put_policy(name: &str, text: &str) -> Command {
    Command::PutPolicy { policy: id::<PolicyId>(name), text: text.to_owned(), reason: None }
}

pub(super) fn open_task(agent: &str) -> OpenTask {
    OpenTask { agent: id::<AgentId>(agent), sort: None, statement: None, targets: Vec::new() }
}

pub(super) fn terms(agent: &str, action: &str, scope: &str) -> RequestGrant {
    RequestGrant {
        agent: id::<AgentId>(agent),
        task: None,
        action: id::<Action>(action),
        scope: id(scope),
        ttl: None,
        max_uses: None,
        justification: None,
        constraints: Vec::new(),
    }
}

pub(super) fn issue(terms: RequestGrant) -> Command {
    Command::IssueGrant(IssueGrant { terms, not_before: None, request: None })
}

pub(super) fn revoke(selector: Selector) -> Command {
    Command::Revoke(Revoke { selector, grants_only: false, reason_code: None, reason: None })
}

pub(super) fn lift(selector: Selector) -> Command {
    Command::Lift { selector, reason: None }
}

pub(super) fn finish(call: CallId) -> Command {
    Command::Finish(Finish {
        call,
        outcome: Outcome::Ok,
        latency_us: 1_000,
        bytes_in: 10,
        bytes_out: 20,
        result: None,
    })
}

pub(super) fn ask(agent: &str, action: &str, resource: &str) -> Authorize {
    ask_as(Subject::Agent(id::<AgentId>(agent)), action, resource)
}

pub(super) fn ask_as(subject: Subject, action: &str, resource: &str) -> Authorize {
    Authorize {
        subject,
        on_behalf_of: None,
        task: None,
        session: None,
        tool: None,
        tool_hash: None,
        action: id::<Action>(action),
        resource: id::<Resource>(resource),
        effect: Effect::Read,
        arguments: None,
        disclosed: BTreeMap::new(),
        justification: None,
        args: None,
        environment: None,
        correlation: None,
        actors: Vec::new(),
        told: None,
        finishes: true,
        verdicts: None,
    }
}

pub(super) fn with_tool(mut ask: Authorize, tool: &str) -> Authorize {
    ask.tool = Some(id::<ToolId>(tool));
    ask
}

/// With a tool whose definition has the `n`-th hash.
pub(super) fn with_definition(ask: Authorize, tool: &str, n: u8) -> Authorize {
    Authorize { tool_hash: Some(Digest([n; 32])), ..with_tool(ask, tool) }
}

pub(super) fn pin_tool(tool: &str, n: u8) -> PinTool {
    PinTool {
        tool: id::<ToolId>(tool),
        hash: Digest([n; 32]),
        effect: None,
        targets: Vec::new(),
        labels: BTreeSet::new(),
    }
}

/// The bearer of an agent's token that carries a human's authority.
pub(super) fn token(agent: &str, human: &str) -> Actor {
    Actor::Token {
        issuer: text("https://issuer.example"),
        owner: id::<OwnerId>(human),
        agent: Some(id::<AgentId>(agent)),
        role: Role::Agent,
    }
}

pub(super) fn with_task(mut ask: Authorize, task: TaskId) -> Authorize {
    ask.task = Some(task);
    ask
}

/// Agents and owners may read cases; a grant is made at the call, for two uses.
pub(super) const JUST_IN_TIME: &[&str] = &[
    r#"@jit("true") @ttl("5m") @max_uses("2") permit (principal is Agent,
       action == Action::"crm/read", resource in Resource::"crm://case");"#,
    r#"permit (principal is Owner, action == Action::"crm/read", resource in Resource::"crm://");"#,
];

/// Everybody may do everything that somebody grants.
pub(super) const ALL: &[&str] = &["permit (principal, action, resource);"];
