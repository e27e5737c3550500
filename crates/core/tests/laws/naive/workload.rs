//! A small world in which everything happens often: what its people submit next, drawn by chance
//! from a seed.

use std::collections::BTreeSet;
use std::sync::Arc;

use bailiwick_core::command::{
    Command, IssueCredential, IssueGrant, RequestGrant, Revoke, RotateCredential, Submission,
    WriteAgent, WriteOwner,
};
use bailiwick_core::event::{Actor, Allow, Entity, Fact, Recorded, Role, Selector};
use bailiwick_core::id::{
    AgentId, ApprovalId, CallId, GrantId, GrantRequestId, PolicyId, TaskId, Text,
};
use bailiwick_core::properties::Properties;
use bailiwick_core::record::hash::Digest;
use bailiwick_core::state::View;
use bailiwick_core::time::{Span, Time};
use serde_json::json;

use super::evaluator::Naive;
use super::facts::Standing;
use super::policies::{FAMILY, FIRST, named};
use crate::laws::chance::Chance;
use crate::laws::harness::{
    Ledger, credential, finish, id, keyed, open_task, put_policy, rotate, submission, terms, text,
    write_agent, write_owner,
};

const OWNERS: [&str; 4] = ["ann", "ben", "cyd", "ghost"];
/// Registered from the beginning; the others one by one, as agents retire.
pub(super) const AGENTS: [&str; 5] = ["a1", "a2", "a3", "a4", "a5"];
const SPARE: [&str; 6] = ["b1", "b2", "b3", "b4", "b5", "nobody"];
const GROUPS: [&str; 3] = ["staff", "oncall", "ext"];
pub(super) const ACTIONS: [&str; 5] =
    ["crm/read", "crm/write", "crm/case/read", "pay/send", "file/get"];
pub(super) const RESOURCES: [&str; 10] = [
    "crm://case/1",
    "crm://case/2",
    "crm://case/1/notes",
    "crm://case/1/notes/a",
    "crm://case/12",
    "crm://casework/1",
    "pay://bank/a",
    "pay://bank",
    "file:///srv/a",
    "file:///srv/a/b",
];
pub(super) const SCOPES: [&str; 12] = [
    "crm://case/1",
    "crm://case/2",
    "crm://case/1/notes",
    "pay://bank/a",
    "file:///srv/a",
    "crm://case/**",
    "crm://case//**",
    "crm://case/1/**",
    "crm://**",
    "crm:/**",
    "pay://bank/**",
    "file:///srv/**",
];
pub(super) const OF_SUBJECTS: &[&str] = &[
    r#"{"role": ["admin", "user"]}"#,
    r#"{"role": "user"}"#,
    r#"{"role": "admin", "trusted": false}"#,
    r#"{"role": "user", "trusted": true}"#,
    r#"{"frozen": true}"#,
    r#"{"frozen": [], "role": []}"#,
];
pub(super) const OF_RESOURCES: &[&str] = &[
    r#"{"status": "archived"}"#,
    r#"{"status": "open", "tier": "gold"}"#,
    r#"{"status": ["archived", "open"], "tier": "silver"}"#,
    r#"{"tier": ["gold", "silver"]}"#,
    r#"{"status": "open"}"#,
];
pub(super) const OF_ACTIONS: &[&str] = &[r#"{"risk": "high"}"#, r#"{"risk": ["low", "none"]}"#];
/// What grants demand of arguments, and what arguments calls have.
pub(super) const CONSTRAINTS: [&str; 5] = [
    "/path=prefix:/srv/reports/",
    "/n=max:2",
    "/to/0=one-of:[\"x\", 7]",
    "/sure=equal:true",
    "/to=equal:x",
];
pub(super) const ARGUMENTS: [&str; 8] = [
    r#"{"path": "/srv/reports/a", "n": 1, "to": ["x"], "sure": true}"#,
    r#"{"path": "/srv/reports/a/b", "n": 2, "to": [7], "sure": true}"#,
    r#"{"path": "/srv/reports/../a", "n": 3, "to": ["y"], "sure": false}"#,
    r#"{"path": "/srv/reports/%2E%2e/a", "n": "1", "to": "x", "sure": "true"}"#,
    r#"{"path": ["/srv/reports/a"], "n": 1.5, "to": {"0": "x"}, "sure": 1}"#,
    r#"{"path": "/srv/reports", "n": -4, "to": "x", "sure": true}"#,
    "{}",
    r#"{"n": 0.00001}"#,
];
const PREFIXES: [&str; 10] = [
    "crm://case/1",
    "crm://case",
    "crm://case/",
    "crm://case/1/notes",
    "crm://",
    "crm:",
    "pay://bank",
    "file:///srv",
    "file:///srv/a/",
    "crm://casework",
];
const PATTERNS: [&str; 11] = [
    "**", "crm/*", "crm/**", "*/read", "**/read", "crm/re*", "pay/*", "f*/g*t", "*", "c*/w*e",
    "pay/send",
];

/// A ledger and what the naive evaluator was told of it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) naive: Naive,
    pub(super) chance: Chance,
    /// Calls that were made under ids, to be repeated.
    pub(super) keyed: Vec<Submission>,
    /// What policy is asked on early and when, up to date or not.
    pub(super) view: (Arc<View>, Time),
    /// What is submitted next, whatever chance says; the last comes first.
    soon: Vec<Submission>,
}

impl World {
    /// People, agents, keys and one of the first sets of policies.
    pub(super) fn begin(first: usize) -> Self {
        let mut ledger = Ledger::new();
        for (owner, group) in [("ann", "staff"), ("ben", "oncall"), ("cyd", "ext")] {
            let groups = BTreeSet::from([id(group)]);
            ledger.given(Command::RegisterOwner(WriteOwner { groups, ..write_owner(owner) }));
        }
        for (agent, owner) in AGENTS.iter().zip(["ann", "ann", "ben", "cyd", "ben"]) {
            ledger.given(Command::RegisterAgent(write_agent(agent, owner, &["**"])));
        }
        for agent in AGENTS {
            ledger.given(Command::IssueCredential(credential(agent, Role::Agent, Some(agent))));
        }
        for role in [Role::Admin, Role::Operator, Role::Enforcer, Role::Auditor] {
            ledger.given(Command::IssueCredential(credential(&role.to_string(), role, None)));
        }
        ledger.given(Command::PutSchema {
            action: id("pay/send"),
            schema: r#"{"type": "object", "properties": {"amount": {"type": "integer"}}}"#
                .to_owned(),
        });
        for owner in &OWNERS[..3] {
            let key = credential(owner, Role::Approver, None);
            let owner = Some(id(owner));
            ledger.given(Command::IssueCredential(IssueCredential { owner, ..key }));
        }
        for (n, name) in FIRST[first % FIRST.len()].iter().enumerate() {
            ledger.given(put_policy(&format!("k{n}"), named(name).text));
        }
        ledger.given(Command::ActivatePolicies);
        let mut naive = Naive::default();
        ledger.log.iter().for_each(|recorded| naive.take(recorded));
        let view = (ledger.state.view(), ledger.now());
        Self { ledger, naive, chance: Chance::new(0), keyed: Vec::new(), view, soon: Vec::new() }
    }

    pub(super) fn seeded(&self, seed: u64) -> Self {
        let mut world = Self { chance: Chance::new(seed), ..self.clone() };
        world.ledger.wait(Span(world.chance.below(7 * 86_400_000)));
        world
    }

    /// Moves the clock, and says what is submitted then.
    pub(super) fn next(&mut self) -> Submission {
        if let Some(submission) = self.soon.pop() {
            return submission;
        }
        self.tick();
        if self.chance.percent(30) {
            self.view = (self.ledger.state.view(), self.ledger.now());
        }
        let submission = self.submission();
        let is_call = matches!(submission.command, Command::Authorize(_));
        if is_call && submission.request.is_some() {
            self.keyed.push(submission.clone());
        }
        submission
    }

    fn tick(&mut self) {
        let milliseconds = match self.chance.below(1_000) {
            0..350 => return,
            350..750 => self.chance.below(1_000),
            750..930 => self.chance.below(20_000),
            930..980 => self.chance.below(180_000),
            980..992 => self.chance.below(10_800_000),
            992..994 => self.chance.below(108_000_000),
            _ => {
                let back = self.chance.below(3_600_000_000_000);
                self.ledger.clock = Time(self.ledger.clock.0.saturating_sub(back));
                return;
            }
        };
        self.ledger.wait(Span(milliseconds));
    }

    fn submission(&mut self) -> Submission {
        let just_asked = self.ledger.log.iter().rev().take(3);
        let just_asked = just_asked.map(|recorded| &recorded.event.fact);
        if just_asked.into_iter().any(|fact| matches!(fact, Fact::ApprovalRequested(_)))
            && self.chance.percent(30)
        {
            return self.answer_people();
        }
        if self.chance.percent(60) {
            return self.call();
        }
        if self.chance.percent(18) {
            return self.answer_people();
        }
        let command = match self.chance.below(644) {
            626..644 => Command::ChangeRisk {
                agent: id(&self.agent()),
                to: self.chance.one(&[0, 50, 51, 90, 101]),
                reason: None,
            },
            546..626 => {
                let (part, holder) = self.part();
                self.soon = self.afterwards(&part);
                self.soon.reverse();
                let by = holder.filter(|_| self.chance.percent(50));
                let by = by.map_or(Actor::System, |agent| key(agent.as_str(), Role::Agent));
                return self.keyed_or_not(by, Command::DelegateGrant(part));
            }
            0..120 => self.issue(),
            120..155 => {
                let terms = self.terms();
                let by = self.asker(&terms.agent);
                return self.keyed_or_not(by, Command::RequestGrant(terms));
            }
            155..170 => Command::ReturnGrant { grant: self.recent_grant() },
            170..174 => {
                Command::DenyGrant { request: GrantRequestId(self.recent(&[80])), reason: None }
            }
            174..199 => Command::OpenTask(open_task(&self.agent())),
            199..207 => Command::CloseTask { task: self.task(None), reason: None },
            207..232 => finish(CallId(self.recent(&[110]))),
            232..262 => self.revoke(),
            262..372 => self.lift(),
            372..432 => self.registry(),
            432..462 => self.entity(),
            462..476 => self.policy(),
            476..484 => self.key(),
            492..516 => self.tool(),
            516..540 => self.delegate(),
            540..546 => self.reassign(),
            _ => Command::Expire,
        };
        let by = self.administrator(&command);
        self.keyed_or_not(by, command)
    }

    /// What people say to what they are asked, most of the time to something that waits.
    fn answer_people(&mut self) -> Submission {
        let waiting: Vec<ApprovalId> =
            self.ledger.state.approvals().all_pending().map(|(id, _)| id).collect();
        let approval = if waiting.is_empty() || self.chance.percent(5) {
            ApprovalId(self.recent(&[100]))
        } else {
            let newest = waiting.len() - 1;
            let at = self.chance.below(waiting.len() as u64) as usize;
            waiting[if self.chance.percent(60) { newest } else { at }]
        };
        let asked = self.naive.approval(approval);
        let shown = asked.map_or(Digest([0; 32]), |asked| asked.shown);
        let holder = asked.and_then(|asked| asked.call.agent.clone());
        let of_call = asked.and_then(|asked| asked.call.owner.clone());
        let any = self.chance.one(&OWNERS[..3]).to_owned();
        let of_call = of_call.filter(|_| self.chance.percent(50));
        let person = key(&of_call.map_or(any, |owner| owner.to_string()), Role::Approver);
        let (by, command) = match self.chance.below(100) {
            0..75 => (person, Command::Approve { approval, shown, reason: None }),
            75..78 => (person, Command::Approve { approval, shown: Digest([1; 32]), reason: None }),
            78..80 => (
                key("operator", Role::Operator),
                Command::Approve { approval, shown, reason: None },
            ),
            80..90 => {
                let reason = self.chance.percent(50).then(|| text("not today"));
                (person, Command::DenyApproval { approval, reason })
            }
            _ => {
                let agent = holder.map_or_else(|| self.agent(), |agent| agent.to_string());
                (key(&agent, Role::Agent), Command::WithdrawApproval { approval, reason: None })
            }
        };
        self.keyed_or_not(by, command)
    }

    /// Somebody who may, most of the time.
    fn administrator(&mut self, command: &Command) -> Actor {
        let own = matches!(command, Command::Expire);
        match self.chance.below(100) {
            0..3 => key("auditor", Role::Auditor),
            3..6 => key(self.chance.one(&AGENTS), Role::Agent),
            6..10 => key("operator", Role::Operator),
            10..40 if !own => key("admin", Role::Admin),
            _ => Actor::System,
        }
    }

    fn asker(&mut self, agent: &AgentId) -> Actor {
        match self.chance.below(100) {
            0..60 => key(agent.as_str(), Role::Agent),
            60..90 => key("enforcer", Role::Enforcer),
            _ => key("operator", Role::Operator),
        }
    }

    fn keyed_or_not(&mut self, by: Actor, command: Command) -> Submission {
        if self.chance.percent(20) {
            let request = format!("r{}", self.chance.below(200));
            return keyed(by, &request, command);
        }
        submission(by, command)
    }

    pub(super) fn properties(&mut self, of: &[&str]) -> Properties {
        let json = match self.chance.below(20) {
            // The longest list that can be recorded, and one that is longer.
            0 => json!({"long": "y".repeat(2_044)}),
            1 => json!({"long": "y".repeat(2_045)}),
            2..6 => json!({}),
            _ => serde_json::from_str(self.chance.one(of)).unwrap(),
        };
        Properties::of_json(&json).unwrap()
    }

    pub(super) fn action_and_resource(&mut self) -> (String, String) {
        let action = self.chance.one(&ACTIONS);
        let (server, _) = action.split_once('/').unwrap();
        let mut resource = self.chance.one(&RESOURCES).to_owned();
        for _ in 0..4 {
            if resource.starts_with(server) {
                break;
            }
            resource = self.chance.one(&RESOURCES).to_owned();
        }
        if self.chance.below(500) == 0 {
            resource = format!("crm://case/{}", "a/".repeat(100));
        }
        (action.to_owned(), resource)
    }

    pub(super) fn owner(&mut self) -> &'static str {
        if self.chance.percent(3) { OWNERS[3] } else { self.chance.one(&OWNERS[..3]) }
    }

    pub(super) fn agent(&mut self) -> String {
        if self.chance.percent(12) {
            return self.chance.one(&SPARE).to_owned();
        }
        self.chance.one(&AGENTS).to_owned()
    }

    /// A recent open task of an agent.
    pub(super) fn task_of(&mut self, agent: &AgentId) -> Option<TaskId> {
        let open = self.naive.facts.open_tasks();
        let own: Vec<TaskId> =
            open.into_iter().filter(|(_, of)| of == agent).map(|(task, _)| task).collect();
        let few = &own[own.len().saturating_sub(3)..];
        if few.is_empty() { None } else { Some(self.chance.one(few)) }
    }

    /// Any recent task, open or not.
    pub(super) fn task(&mut self, of: Option<&AgentId>) -> TaskId {
        let own = of.and_then(|agent| self.task_of(agent));
        own.unwrap_or_else(|| TaskId(self.recent(&[70])))
    }

    /// Often one that others were delegated from, so that these die with it.
    pub(super) fn recent_grant(&mut self) -> GrantId {
        let n = self.chance.below(4) as usize;
        let delegated = self.ledger.log.iter().rev().filter_map(|r| match &r.event.fact {
            Fact::GrantIssued(grant) => grant.parent,
            _ => None,
        });
        match delegated.take(n + 1).last() {
            Some(parent) if self.chance.percent(35) => parent,
            _ => GrantId(self.recent(&[81])),
        }
    }

    /// Index of a recent event of one of these kinds; one that there is not if there is none.
    fn recent(&mut self, kinds: &[u16]) -> u64 {
        let n = self.chance.below(8) as usize;
        let fits = |r: &&Recorded| kinds.contains(&r.event.fact.kind());
        let found = self.ledger.log.iter().rev().filter(fits).nth(n);
        found.map_or(1_000_000, |recorded| recorded.place.index)
    }

    fn terms(&mut self) -> RequestGrant {
        let (action, resource) = self.action_and_resource();
        let agent = self.agent();
        let mut scope = resource;
        if self.chance.percent(60) {
            let (server, _) = action.split_once('/').unwrap();
            scope = self.chance.one(&SCOPES).to_owned();
            for _ in 0..4 {
                if scope.starts_with(server) {
                    break;
                }
                scope = self.chance.one(&SCOPES).to_owned();
            }
        }
        let mut terms = terms(&agent, &action, &scope);
        if self.chance.percent(25) {
            terms.task = self.task_of(&terms.agent.clone());
        }
        let spans = [300, 5_000, 60_000, 600_000, 7_200_000, 259_200_000];
        terms.ttl = Some(Span(self.chance.one(&spans)));
        terms.max_uses = Some(self.chance.one(&[1, 1, 2, 3, 10, 1_000]));
        terms.justification = self.chance.percent(60).then(|| text("to work"));
        if self.chance.percent(20) {
            terms.constraints = vec![id(self.chance.one(&CONSTRAINTS))];
        }
        terms
    }

    fn issue(&mut self) -> Command {
        let mut issue = IssueGrant { terms: self.terms(), not_before: None, request: None };
        if self.chance.percent(25) {
            let ahead = self.chance.one(&[500, 5_000, 120_000, 3_600_000]);
            issue.not_before = Some(self.ledger.now().after(Span(ahead)));
        }
        let pending = self.ledger.state.requests().last_key_value();
        if let Some((request, pending)) = pending.filter(|_| self.chance.percent(10)) {
            let asked = &pending.terms;
            issue.request = Some(*request);
            issue.terms.agent = asked.agent.clone();
            issue.terms.action = asked.action.clone();
            issue.terms.scope = asked.scope.clone();
            issue.terms.task = asked.task;
            issue.terms.ttl = Some(asked.ttl);
            issue.terms.max_uses = Some(asked.max_uses);
            issue.terms.constraints.extend(asked.constraints.iter().cloned());
        }
        Command::IssueGrant(issue)
    }

    fn selector(&mut self) -> Selector {
        match self.chance.below(100) {
            0..35 => Selector::Grant(self.recent_grant()),
            35..47 => Selector::Agent(id(&self.agent())),
            47..54 => Selector::Owner(id(self.owner())),
            54..67 => Selector::Task(self.task(None)),
            67..80 => Selector::Tool(id(self.chance.one(&ACTIONS))),
            80..96 => Selector::Resource(id(self.chance.one(&PREFIXES))),
            _ => Selector::All,
        }
    }

    fn revoke(&mut self) -> Command {
        let grants_only = self.chance.percent(45);
        let selector = self.selector();
        Command::Revoke(Revoke { selector, grants_only, reason_code: None, reason: None })
    }

    fn lift(&mut self) -> Command {
        let suspended: Vec<Selector> = self.naive.facts.suspended().into_iter().cloned().collect();
        let selector = if suspended.is_empty() || self.chance.percent(5) {
            self.selector()
        } else {
            self.chance.one(&suspended)
        };
        Command::Lift { selector, reason: None }
    }

    fn registry(&mut self) -> Command {
        let agent: AgentId = id(&self.agent());
        let reason = None;
        match self.chance.below(60) {
            0..4 => Command::SuspendAgent { agent, reason },
            4..21 => Command::ReinstateAgent { agent: self.stopped(Standing::Suspended), reason },
            21..23 => Command::RetireAgent { agent: id(self.chance.one(&SPARE)), reason },
            23..28 => {
                let agent = self.chance.one(&SPARE[..5]);
                Command::RegisterAgent(self.written(agent, self.ledger.clock.0))
            }
            28..42 => Command::UpdateAgent(self.written(agent.as_str(), 0)),
            42..43 => Command::DisableOwner { owner: id(self.owner()), reason },
            43..56 => {
                let is_disabled =
                    |owner: &&&str| self.naive.facts.owner(&id(owner)).is_some_and(|(_, no)| no);
                let disabled = OWNERS.iter().find(is_disabled).unwrap_or(&OWNERS[0]);
                Command::EnableOwner { owner: id(disabled) }
            }
            _ => {
                let groups = self.groups();
                Command::UpdateOwner(WriteOwner { groups, ..write_owner(self.owner()) })
            }
        }
    }

    /// An agent that stands so, if there is one.
    fn stopped(&mut self, standing: Standing) -> AgentId {
        let agents = AGENTS.into_iter().chain(SPARE).map(id);
        let stands = |agent: &AgentId| {
            self.naive.facts.agent(agent).is_some_and(|(_, known)| known == standing)
        };
        let so: Vec<AgentId> = agents.filter(stands).collect();
        if so.is_empty() { id(&self.agent()) } else { self.chance.one(&so) }
    }

    fn groups(&mut self) -> BTreeSet<bailiwick_core::id::GroupId> {
        GROUPS.iter().filter(|_| self.chance.percent(33)).map(|group| id(group)).collect()
    }

    /// An agent as it is to be; its owner as it is, if it has one.
    fn written(&mut self, agent: &str, owner: u64) -> WriteAgent {
        let known = self.naive.facts.owner_of(&id(agent)).map(ToString::to_string);
        let owner = known.unwrap_or_else(|| OWNERS[(owner % 3) as usize].to_owned());
        let mut written = write_agent(agent, &owner, &[]);
        written.settings.groups = self.groups();
        written.settings.purpose = text(self.chance.one(&["support", "notes"]));
        if self.chance.percent(5) {
            written.settings.expires_at = Some(self.soon());
        }
        for _ in 0..=self.chance.below(3) {
            let pattern = if self.chance.percent(80) { "**" } else { self.chance.one(&PATTERNS) };
            let expires_at = if self.chance.percent(35) { Some(self.soon()) } else { None };
            written.settings.allowlist.push(Allow { pattern: id(pattern), expires_at });
        }
        written
    }

    pub(super) fn soon(&mut self) -> Time {
        let ahead = self.chance.one(&[5_000, 60_000, 1_800_000, 36_000_000]);
        self.ledger.now().after(Span(ahead))
    }

    fn entity(&mut self) -> Command {
        let (entity, properties) = match self.chance.below(3) {
            0 => (Entity::Owner(id(self.owner())), OF_SUBJECTS),
            1 => (Entity::Agent(id(&self.agent())), OF_SUBJECTS),
            _ => (Entity::Resource(id(self.chance.one(&RESOURCES))), OF_RESOURCES),
        };
        if self.chance.percent(30) {
            return Command::RemoveEntity { entity };
        }
        Command::PutEntity { entity, properties: self.properties(properties) }
    }

    /// Compiling is what costs most here, so that policies change seldom and take effect often.
    fn policy(&mut self) -> Command {
        let policy: PolicyId = id(&format!("k{}", self.chance.below(10)));
        match self.chance.below(14) {
            0..5 => {
                let permits = ["agents", "anyone", "owners", "plenty"];
                let rule = if self.chance.percent(40) {
                    named(self.chance.one(&permits))
                } else {
                    &FAMILY[self.chance.below(FAMILY.len() as u64) as usize]
                };
                let reason: Option<Text> = None;
                Command::PutPolicy { policy, text: rule.text.to_owned(), reason }
            }
            5..7 => Command::RemovePolicy { policy },
            _ => Command::ActivatePolicies,
        }
    }

    fn key(&mut self) -> Command {
        let agent = self.chance.one(&SPARE[..5]);
        match self.chance.below(9) {
            8 => {
                let overlap = Span::seconds(self.chance.below(60));
                let next = format!("{agent}.{}", self.chance.below(4));
                Command::RotateCredential(RotateCredential { overlap, ..rotate(agent, &next) })
            }
            0..4 => Command::IssueCredential(credential(agent, Role::Agent, Some(agent))),
            4 => Command::RevokeCredential { credential: id(agent), reason: None },
            5 => Command::RevokeCredential { credential: id("spare"), reason: None },
            _ => {
                let expires_at = Some(self.soon());
                let spare = credential("spare", Role::Enforcer, None);
                Command::IssueCredential(IssueCredential { expires_at, ..spare })
            }
        }
    }
}

pub(super) fn key(name: &str, role: Role) -> Actor {
    Actor::Credential { id: id(name), role }
}
