//! Random histories: steps as small plain data, made into submissions by what the ledger holds when
//! their turn comes, so that they often meet something that is there.

use bailiwick_core::arguments::Arguments;
use bailiwick_core::command::{
    Authorize, Command, DelegateGrant, IssueCredential, IssueGrant, ReassignAgent, Subject,
    Submission,
};
use bailiwick_core::event::{Actor, ConfigChanged, Fact, Pinning, Recorded, Role, Selector};
use bailiwick_core::id::{AgentId, ApprovalId, CallId, GrantId, GrantRequestId, TaskId};
use bailiwick_core::record::hash::Digest;
use bailiwick_core::state::{Grant, Holder};
use bailiwick_core::time::{Span, Time};
use proptest::prelude::*;
use serde_json::json;

use super::delegation::part;
use super::harness::{
    Ledger, actor, agent_key, ask_as, credential, finish, id, issue, keyed, lift, open_task,
    pin_tool, put_policy, revoke, submission, terms, with_tool, write_agent, write_owner,
};

pub(super) const AGENTS: [&str; 4] = ["helper", "second", "third", "nobody"];
const OWNERS: [&str; 3] = ["alice", "bob", "nobody"];
pub(super) const ACTIONS: [&str; 3] = ["crm/read", "crm/write", "pay/send"];
pub(super) const RESOURCES: [&str; 4] =
    ["crm://case/1", "crm://case/2", "crm://case/secret/x", "pay://bank"];
const SCOPES: [&str; 6] = [
    "crm://case/1",
    "crm://case/2",
    "crm://case/**",
    "crm://case/secret/**",
    "crm://**",
    "pay://bank",
];
const ALLOWLISTS: [&[&str]; 4] = [&["**"], &["crm/*"], &["crm/read"], &[]];

/// What may be put, each under its own name and under a name that another has in force.
pub(super) const POLICIES: [&str; 10] = [
    r#"@jit("true") @ttl("5m") @max_uses("2") permit (principal is Agent,
       action == Action::"crm/read", resource in Resource::"crm://case");"#,
    r#"permit (principal is Owner, action in [Action::"crm/read", Action::"crm/write"],
       resource in Resource::"crm://case");"#,
    "permit (principal, action, resource);",
    r#"permit (principal is Agent, action == Action::"crm/write",
       resource in Resource::"crm://case");"#,
    r#"forbid (principal, action, resource in Resource::"crm://case/secret");"#,
    r#"@jit("true") @ttl("1s") @max_uses("1") permit (principal == Agent::"second",
       action == Action::"crm/write", resource);"#,
    r#"@jit("true") @approval("owner") permit (principal is Agent, action == Action::"pay/send",
       resource);"#,
    r#"forbid (principal == Owner::"bob", action == Action::"crm/write", resource);"#,
    r#"@jit("true") permit (principal is Owner, action, resource)
       when { context.time.unix > 0 };"#,
    r#"permit (principal is Owner, action == Action::"pay/send", resource);"#,
];

/// Policies in force when a history begins.
pub(super) const FIRST: [&str; 6] =
    [POLICIES[0], POLICIES[1], POLICIES[3], POLICIES[4], POLICIES[6], POLICIES[9]];

/// What happens next. Numbers choose among what there is.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Wait(u64),
    ClockBack,
    Call {
        agent: usize,
        way: usize,
        action: usize,
        resource: usize,
        task: usize,
        id: Option<u8>,
    },
    Person {
        owner: usize,
        action: usize,
        resource: usize,
    },
    Retry(usize),
    Finish(usize),
    OpenTask(usize),
    CloseTask(usize),
    Request {
        agent: usize,
        action: usize,
        scope: usize,
        uses: u32,
        id: Option<u8>,
    },
    Issue {
        agent: usize,
        action: usize,
        scope: usize,
        uses: u32,
        task: usize,
        ttl: u64,
        later: u64,
    },
    Delegate {
        grant: usize,
        way: usize,
        to: usize,
        uses: u32,
        task: usize,
    },
    Deny(usize),
    /// Of people: which approval, what they say, and who says it.
    Answer(usize, usize, usize),
    Return(usize, usize),
    Revoke {
        kind: usize,
        which: usize,
        grants_only: bool,
        id: Option<u8>,
    },
    Lift {
        kind: usize,
        which: usize,
    },
    Suspend(usize),
    Reinstate(usize),
    Retire(usize),
    Disable(usize),
    Enable(usize),
    Allowlist(usize, usize),
    UpdateOwner(usize),
    AddDelegate {
        owner: usize,
        delegate: usize,
        ttl: usize,
    },
    RemoveDelegate(usize, usize),
    Reassign(usize, usize),
    Pin(usize, u8),
    Unpin(usize),
    Configure(usize),
    Policy(usize, usize),
    Unpolicy(usize),
    Expire,
}

/// Histories in which calls prevail and the rest interrupts them.
pub(super) fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), length / 2..length)
}

fn key() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![3 => Just(None), 2 => (0..6_u8).prop_map(Some)]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let n = || 0..16_usize;
    let call =
        (n(), n(), n(), n(), n(), key()).prop_map(|(agent, way, action, resource, task, id)| {
            Step::Call { agent, way, action, resource, task, id }
        });
    let issue = (n(), n(), n(), 1..4_u32, n(), 0..4_u64, 0..8_u64).prop_map(
        |(agent, action, scope, uses, task, ttl, later)| Step::Issue {
            agent,
            action,
            scope,
            uses,
            task,
            ttl,
            later,
        },
    );
    let delegate = (n(), n(), n(), 0..4_u32, n())
        .prop_map(|(grant, way, to, uses, task)| Step::Delegate { grant, way, to, uses, task });
    let request = (n(), n(), n(), 1..4_u32, key()).prop_map(|(agent, action, scope, uses, id)| {
        Step::Request { agent, action, scope, uses, id }
    });
    let revoke = (n(), n(), any::<bool>(), key())
        .prop_map(|(kind, which, grants_only, id)| Step::Revoke { kind, which, grants_only, id });
    prop_oneof![
        8 => (0..8_u64).prop_map(Step::Wait),
        2 => Just(Step::ClockBack),
        40 => call,
        3 => (n(), n(), n()).prop_map(|(owner, action, resource)| Step::Person { owner, action, resource }),
        10 => n().prop_map(Step::Retry),
        6 => n().prop_map(Step::Finish),
        5 => n().prop_map(Step::OpenTask),
        2 => n().prop_map(Step::CloseTask),
        5 => request,
        12 => issue,
        4 => delegate,
        1 => n().prop_map(Step::Deny),
        2 => (n(), n(), n()).prop_map(|(which, what, who)| Step::Answer(which, what, who)),
        4 => (n(), n()).prop_map(|(grant, way)| Step::Return(grant, way)),
        6 => revoke,
        6 => (n(), n()).prop_map(|(kind, which)| Step::Lift { kind, which }),
        1 => n().prop_map(Step::Suspend),
        3 => n().prop_map(Step::Reinstate),
        1 => prop::num::u8::ANY.prop_map(|n| if n < 24 { Step::Retire(usize::from(n)) } else { Step::Expire }),
        1 => n().prop_map(Step::Disable),
        2 => n().prop_map(Step::Enable),
        2 => (n(), n()).prop_map(|(agent, list)| Step::Allowlist(agent, list)),
        1 => n().prop_map(Step::UpdateOwner),
        4 => settings(),
        1 => (n(), n()).prop_map(|(name, text)| Step::Policy(name, text)),
        1 => n().prop_map(Step::Unpolicy),
        2 => Just(Step::Expire),
    ]
}

/// What is settled of people and tools. Seldom, since it makes enforcement points ask again.
fn settings() -> impl Strategy<Value = Step> {
    let n = || 0..16_usize;
    prop_oneof![
        4 => (n(), n(), n())
            .prop_map(|(owner, delegate, ttl)| Step::AddDelegate { owner, delegate, ttl }),
        2 => (n(), n()).prop_map(|(owner, delegate)| Step::RemoveDelegate(owner, delegate)),
        2 => (n(), n()).prop_map(|(agent, owner)| Step::Reassign(agent, owner)),
        2 => (n(), 1..3_u8).prop_map(|(tool, hash)| Step::Pin(tool, hash)),
        4 => n().prop_map(Step::Unpin),
        2 => (0..3_usize).prop_map(Step::Configure),
    ]
}

/// A ledger together with what was submitted to it under ids, to be retried.
#[derive(Clone)]
pub(super) struct Story {
    pub(super) ledger: Ledger,
    pub(super) keyed: Vec<Submission>,
}

impl Story {
    pub(super) fn new() -> Self {
        let mut ledger = Ledger::with_policies(&FIRST);
        for owner in ["alice", "bob"] {
            let key = credential(&format!("of-{owner}"), Role::Approver, None);
            let owner = Some(id(owner));
            ledger.given(Command::IssueCredential(IssueCredential { owner, ..key }));
        }
        Self { ledger, keyed: Vec::new() }
    }

    /// What the step submits now, in order; nothing when it only moves the clock.
    pub(super) fn submissions(&mut self, step: &Step) -> Vec<Submission> {
        let made = match step {
            Step::Wait(n) => {
                let spans = [0, 1, 400, 1_000, 30_000, 61_000, 301_000, 901_000];
                self.ledger.wait(Span(spans[*n as usize % spans.len()]));
                return Vec::new();
            }
            Step::ClockBack => {
                self.ledger.clock = Time(self.ledger.clock.0.saturating_sub(3_600_000_000_000));
                return Vec::new();
            }
            Step::Retry(n) if self.keyed.is_empty() => self.submissions_of(&Step::OpenTask(*n)),
            Step::Retry(n) => return vec![self.keyed[n % self.keyed.len()].clone()],
            other => self.submissions_of(other),
        };
        self.keyed.extend(made.iter().filter(|s| s.request.is_some()).cloned());
        made
    }

    fn submissions_of(&self, step: &Step) -> Vec<Submission> {
        let system = |command| vec![submission(Actor::System, command)];
        let admin = |command| vec![submission(actor(Role::Admin), command)];
        match step {
            Step::Wait(_) | Step::ClockBack | Step::Retry(_) => Vec::new(),
            Step::Call { .. } | Step::Person { .. } => self.call(step),
            Step::Finish(n) => system(finish(CallId(self.pick(*n, is_call)))),
            Step::OpenTask(n) => admin(Command::OpenTask(open_task(AGENTS[n % 3]))),
            Step::Answer(which, what, who) => vec![self.answer_people(*which, *what, *who)],
            Step::CloseTask(n) => {
                admin(Command::CloseTask { task: self.task(*n).unwrap_or(TaskId(0)), reason: None })
            }
            Step::Request { .. }
            | Step::Issue { .. }
            | Step::Delegate { .. }
            | Step::Deny(_)
            | Step::Return(..) => self.of_grants(step),
            Step::Revoke { kind, which, grants_only, id } => {
                let Command::Revoke(mut revoke) = revoke(self.selector(*kind, *which)) else {
                    return Vec::new();
                };
                revoke.grants_only = *grants_only;
                vec![with_key(actor(Role::Admin), *id, Command::Revoke(revoke))]
            }
            Step::Lift { kind, which } => admin(lift(self.selector(*kind, *which))),
            Step::Suspend(n) => {
                admin(Command::SuspendAgent { agent: id(AGENTS[n % 4]), reason: None })
            }
            Step::Reinstate(n) => {
                admin(Command::ReinstateAgent { agent: id(AGENTS[n % 4]), reason: None })
            }
            Step::Retire(n) => {
                admin(Command::RetireAgent { agent: id(AGENTS[n % 3]), reason: None })
            }
            Step::Disable(n) => {
                admin(Command::DisableOwner { owner: id(OWNERS[n % 3]), reason: None })
            }
            Step::Enable(n) => admin(Command::EnableOwner { owner: id(OWNERS[n % 3]) }),
            Step::Allowlist(agent, list) => {
                let agent = AGENTS[agent % 3];
                let owner = &self.ledger.state.agents()[&id::<AgentId>(agent)].owner;
                admin(Command::UpdateAgent(write_agent(
                    agent,
                    owner.as_str(),
                    ALLOWLISTS[list % 4],
                )))
            }
            Step::AddDelegate { .. }
            | Step::RemoveDelegate(..)
            | Step::Reassign(..)
            | Step::Pin(..)
            | Step::Unpin(_)
            | Step::Configure(_) => admin(self.of_registry(step)),
            Step::UpdateOwner(n) => admin(Command::UpdateOwner(write_owner(OWNERS[n % 3]))),
            Step::Policy(name, text) => {
                let put = put_policy(&format!("p{}", name % 6), POLICIES[text % POLICIES.len()]);
                [put, Command::ActivatePolicies].into_iter().flat_map(admin).collect()
            }
            Step::Unpolicy(n) => {
                let remove = Command::RemovePolicy { policy: id(&format!("p{}", n % 6)) };
                [remove, Command::ActivatePolicies].into_iter().flat_map(admin).collect()
            }
            Step::Expire => system(Command::Expire),
        }
    }

    fn of_registry(&self, step: &Step) -> Command {
        let reason = None;
        match step {
            Step::AddDelegate { owner, delegate, ttl: n } => {
                let ttl = Span([30_000, 900_000][n % 2]);
                let expires_at = (*n != 0).then(|| self.ledger.now().after(ttl));
                let (owner, delegate) = (id(OWNERS[owner % 2]), id(OWNERS[delegate % 3]));
                Command::AddDelegate { owner, delegate, expires_at }
            }
            Step::RemoveDelegate(owner, delegate) => {
                let (owner, delegate) = (id(OWNERS[owner % 2]), id(OWNERS[delegate % 3]));
                let owners = self.ledger.state.owners().iter();
                let mut known =
                    owners.flat_map(|(id, of)| of.delegates.keys().map(move |d| (id, d)));
                let (owner, delegate) =
                    known.next().map_or((owner, delegate), |(o, d)| (o.clone(), d.clone()));
                Command::RemoveDelegate { owner, delegate, reason }
            }
            Step::Reassign(agent, to) => {
                let (agent, to) = (id(AGENTS[agent % 4]), id(OWNERS[to % 3]));
                Command::ReassignAgent(ReassignAgent { agent, to, reason })
            }
            Step::Pin(tool, n) => Command::PinTool(pin_tool(ACTIONS[tool % 3], *n)),
            Step::Unpin(tool) => Command::UnpinTool { tool: id(ACTIONS[tool % 2]), reason },
            Step::Configure(n) => {
                let pinning = if *n == 0 { Pinning::Operator } else { Pinning::FirstUse };
                Command::Configure(ConfigChanged { pinning, approval_ttl: Span::minutes(10) })
            }
            _ => Command::Expire,
        }
    }

    fn call(&self, step: &Step) -> Vec<Submission> {
        if let Step::Person { owner, action, resource } = step {
            let subject = Subject::Person(id(OWNERS[owner % 3]));
            let ask = ask_as(subject, ACTIONS[action % 3], RESOURCES[resource % 4]);
            return vec![submission(actor(Role::Enforcer), Command::Authorize(Box::new(ask)))];
        }
        let Step::Call { agent, way, action, resource, task, id: key } = step else {
            return Vec::new();
        };
        // Some agents, actions and resources come more often than others.
        let agent = if *agent < 9 { AGENTS[agent % 2] } else { AGENTS[agent % 4] };
        let action = if *action < 10 { ACTIONS[action % 2] } else { ACTIONS[action % 3] };
        let subject = Subject::Agent(id(agent));
        let mut ask: Authorize = ask_as(subject, action, RESOURCES[resource % 4]);
        ask.finishes = way % 4 != 0;
        if way % 3 == 0 {
            ask = with_tool(ask, action);
            ask.tool_hash = match way {
                0 => None,
                12 => Some(Digest([2; 32])),
                _ => Some(Digest([1; 32])),
            };
        }
        if *way == 5 {
            ask.on_behalf_of = Some(id(OWNERS[resource % 2]));
        }
        if *task < 6 {
            ask.task = self.task(*task);
        }
        if *way > 6 {
            ask.args = Some(Box::new(Arguments::heard(&json!({"n": way % 3}))));
        }
        let by = if *way % 2 == 0 || agent == "nobody" {
            actor(Role::Enforcer)
        } else {
            agent_key(agent)
        };
        vec![with_key(by, *key, Command::Authorize(Box::new(ask)))]
    }

    fn of_grants(&self, step: &Step) -> Vec<Submission> {
        match step {
            Step::Request { agent, action, scope, uses, id: key } => {
                let agent = AGENTS[agent % 3];
                let mut terms = terms(agent, ACTIONS[action % 3], SCOPES[scope % 6]);
                terms.max_uses = Some(*uses);
                vec![with_key(agent_key(agent), *key, Command::RequestGrant(terms))]
            }
            Step::Issue { agent, action, scope, uses, task, ttl, later } => {
                let mut terms = terms(AGENTS[agent % 3], ACTIONS[action % 2], SCOPES[scope % 6]);
                terms.max_uses = Some(*uses);
                terms.ttl = Some(Span([500, 30_000, 300_000, 86_400_000][*ttl as usize % 4]));
                if *task < 4 {
                    terms.task = self.task(*task);
                }
                if *task > 12 {
                    terms.constraints = vec![id("/n=max:1")];
                }
                let Command::IssueGrant(mut issue) = issue(terms) else { return Vec::new() };
                if *later == 7 {
                    issue.not_before = Some(self.ledger.now().after(Span(1_000)));
                }
                if *later == 6 {
                    issue = self.answer(issue);
                }
                vec![submission(actor(Role::Operator), Command::IssueGrant(issue))]
            }
            Step::Delegate { grant, way, to, uses, task } => {
                let has_uses = |grant: &Grant| grant.ended.is_none() && grant.uses < grant.max_uses;
                let grants = self.ledger.state.grants().after(None);
                let live: Vec<GrantId> =
                    grants.filter(|(_, grant)| has_uses(grant)).map(|(id, _)| id).collect();
                let parent = live.iter().rev().nth(grant % 6).or(live.first()).copied();
                let parent = parent.unwrap_or(GrantId(1_000_000));
                let holder = self.ledger.state.grants().get(parent).map(|grant| &grant.holder);
                let is_first = holder == Some(&Holder::Agent(id(AGENTS[0])));
                // Most often the owner's other agent.
                let to = if *to < 12 { AGENTS[usize::from(is_first)] } else { AGENTS[to % 3] };
                let narrower = DelegateGrant {
                    task: if *task < 6 { self.task(*task) } else { None },
                    scope: (way % 4 == 1).then(|| id(SCOPES[*way % 6])),
                    max_uses: (*uses > 0).then_some(*uses),
                    constraints: if *way == 2 { vec![id("/n=max:0")] } else { Vec::new() },
                    ..part(parent, to)
                };
                let by = if *way < 12 { actor(Role::Enforcer) } else { agent_key(AGENTS[way % 3]) };
                let by_child = self.use_of(parent, to, narrower.task);
                let delegate = submission(by, Command::DelegateGrant(narrower));
                std::iter::once(delegate).chain(by_child).collect()
            }
            Step::Deny(n) => {
                let request = GrantRequestId(self.pick(*n, |r| r.event.fact.kind() == 80));
                vec![submission(
                    actor(Role::Operator),
                    Command::DenyGrant { request, reason: None },
                )]
            }
            Step::Return(n, way) => {
                let grant =
                    GrantId(self.pick(*n, |r| matches!(r.event.fact, Fact::GrantIssued(_))));
                let by =
                    if way % 2 == 0 { actor(Role::Enforcer) } else { agent_key(AGENTS[way % 3]) };
                vec![submission(by, Command::ReturnGrant { grant })]
            }
            _ => Vec::new(),
        }
    }

    /// A call that a grant on one resource covers, by another agent.
    fn use_of(&self, grant: GrantId, agent: &str, task: Option<TaskId>) -> Option<Submission> {
        let grant = self.ledger.state.grants().get(grant)?;
        let root = grant.scope.root().as_str();
        let resource = RESOURCES.into_iter().find(|resource| resource.starts_with(root))?;
        let mut ask = ask_as(Subject::Agent(id(agent)), grant.action.as_str(), resource);
        (ask.task, ask.tool) = (task, grant.tool.clone());
        ask.args = Some(Box::new(Arguments::heard(&json!({"n": 0}))));
        Some(submission(actor(Role::Enforcer), Command::Authorize(Box::new(ask))))
    }

    /// What a person says to what waits, or an agent to what it asked; now and then somebody else.
    fn answer_people(&self, which: usize, what: usize, who: usize) -> Submission {
        let approval = ApprovalId(self.pick(which, |r| r.event.fact.kind() == 100));
        let known = self.ledger.state.approvals().get(approval);
        let shown = known.map_or(Digest([0; 32]), |known| known.asked.shown);
        let shown = if what == 9 { Digest([1; 32]) } else { shown };
        let owner = ["alice", "alice", "bob"][who % 3];
        let person = Actor::Credential { id: id(&format!("of-{owner}")), role: Role::Approver };
        match what {
            0..10 => submission(person, Command::Approve { approval, shown, reason: None }),
            10..12 => submission(person, Command::DenyApproval { approval, reason: None }),
            12 => submission(
                agent_key(AGENTS[who % 3]),
                Command::Approve { approval, shown, reason: None },
            ),
            _ => submission(
                agent_key(AGENTS[who % 3]),
                Command::WithdrawApproval { approval, reason: None },
            ),
        }
    }

    /// The same grant as an answer to the latest request that fits.
    fn answer(&self, mut issue: IssueGrant) -> IssueGrant {
        if let Some((request, pending)) = self.ledger.state.requests().last_key_value() {
            issue.request = Some(*request);
            let (asked, task) = (&pending.terms, pending.terms.task);
            issue.terms.agent = asked.agent.clone();
            issue.terms.action = asked.action.clone();
            issue.terms.scope = asked.scope.clone();
            issue.terms.task = task;
        }
        issue
    }

    fn task(&self, n: usize) -> Option<TaskId> {
        let tasks: Vec<TaskId> = self.indexes(|r| r.event.fact.kind() == 70).map(TaskId).collect();
        let recent = tasks.iter().rev().nth(n % 4).or(tasks.first());
        recent.copied()
    }

    /// Index of a recent event of some kind; one that there is not if there is none.
    fn pick(&self, n: usize, is: impl Fn(&Recorded) -> bool) -> u64 {
        let all: Vec<u64> = self.indexes(is).collect();
        all.iter().rev().nth(n % 6).or(all.first()).copied().unwrap_or(1_000_000)
    }

    fn indexes(&self, is: impl Fn(&Recorded) -> bool) -> impl Iterator<Item = u64> {
        self.ledger.log.iter().filter(move |r| is(r)).map(|r| r.place.index)
    }

    fn selector(&self, kind: usize, which: usize) -> Selector {
        match kind % 7 {
            0 => Selector::Grant(GrantId(
                self.pick(which, |r| matches!(r.event.fact, Fact::GrantIssued(_))),
            )),
            1 => Selector::Agent(id(AGENTS[which % 3])),
            2 => Selector::Owner(id(OWNERS[which % 2])),
            3 => Selector::Task(self.task(which).unwrap_or(TaskId(0))),
            4 => Selector::Tool(id(ACTIONS[which % 3])),
            5 => Selector::Resource(id([
                "crm://case/1",
                "crm://case",
                "crm://",
                "crm://case/secret/x",
            ][which % 4])),
            _ => Selector::All,
        }
    }
}

fn is_call(recorded: &Recorded) -> bool {
    matches!(recorded.event.fact, Fact::CallAuthorized(_))
}

fn with_key(by: Actor, key: Option<u8>, command: Command) -> Submission {
    match key {
        Some(n) => keyed(by, &format!("r{n}"), command),
        None => submission(by, command),
    }
}
