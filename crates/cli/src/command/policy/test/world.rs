//! A ledger in memory without a chain: commands go through the rules as everywhere, and time moves
//! when the file says so.

use std::collections::BTreeMap;

use bailiwick_core::arguments::Arguments;
use bailiwick_core::command::{
    Answer, Authorize, Command, Decision, IssueCredential, IssueGrant, OpenTask, RequestGrant,
    Revoke, Subject, Submission, Told, WriteAgent, WriteOwner,
};
use bailiwick_core::decide::{Decided, decide};
use bailiwick_core::event::{
    Actor, AgentSettings, Allow, Effect, Entity, Event, Fact, Place, Role, Selector,
};
use bailiwick_core::id::{ActionPattern, CredentialId, OwnerId, PolicyId, TaskId, Text};
use bailiwick_core::json;
use bailiwick_core::policy::InputSchemas;
use bailiwick_core::properties::Properties;
use bailiwick_core::record::{Digest, Link};
use bailiwick_core::state::State;
use bailiwick_core::time::{Span, Time};
use serde_json::Value;
use toml::Spanned;

use super::file::{self, Given, Ruling, Step, Then, Wrong};
use super::verdict::{Got, Played};

/// When a file begins that gives no clock: 2026-01-01T00:00:00Z.
pub(super) const START: Time = Time(1_767_225_600_000_000_000);

#[derive(Clone)]
pub(super) struct World {
    state: State,
    clock: Time,
    tasks: BTreeMap<String, TaskId>,
}

impl World {
    pub(super) fn new(clock: Time) -> Self {
        Self { state: State::new(), clock, tasks: BTreeMap::new() }
    }

    /// The same with these policies in force.
    pub(super) fn with_policies<'a>(
        mut self,
        schemas: &InputSchemas,
        policies: impl Iterator<Item = (&'a PolicyId, &'a str)>,
    ) -> Result<Self, Wrong> {
        for (action, schema) in schemas {
            let (action, schema) = (action.clone(), schema.clone());
            self.done(0, Command::PutSchema { action, schema })?;
        }
        for (policy, text) in policies {
            let (policy, text) = (policy.clone(), text.to_owned());
            self.done(0, Command::PutPolicy { policy, text, reason: None })?;
        }
        self.done(0, Command::ActivatePolicies)?;
        Ok(self)
    }

    /// The same with what is given, in this order: owners, agents, resources, tasks, grants.
    pub(super) fn with(mut self, given: &Given) -> Result<Self, Wrong> {
        if let Some(clock) = given.clock {
            self.clock = self.clock.max(clock);
        }
        for owner in &given.owners {
            let (at, owner) = (owner.span().start, owner.get_ref());
            let (id, groups) = (owner.owner.clone(), owner.groups.clone());
            self.done(at, Command::RegisterOwner(WriteOwner { owner: id.clone(), groups }))?;
            self.know(at, Entity::Owner(id), &owner.properties)?;
        }
        for agent in &given.agents {
            let (at, agent) = (agent.span().start, agent.get_ref());
            self.done(at, Command::RegisterAgent(write_agent(agent).map_err(|why| (at, why))?))?;
            self.know(at, Entity::Agent(agent.agent.clone()), &agent.properties)?;
            if agent.risk > 0 {
                let (agent, to) = (agent.agent.clone(), agent.risk);
                self.done(at, Command::ChangeRisk { agent, to, reason: None })?;
            }
        }
        for known in &given.resources {
            let (at, known) = (known.span().start, known.get_ref());
            self.know(at, Entity::Resource(known.resource.clone()), &known.properties)?;
        }
        for task in &given.tasks {
            self.open(task)?;
        }
        for grant in &given.grants {
            self.issue(grant)?;
        }
        Ok(self)
    }

    fn know(&mut self, at: usize, entity: Entity, known: &Properties) -> Result<(), Wrong> {
        if known.is_empty() {
            return Ok(());
        }
        let properties = known.clone();
        self.done(at, Command::PutEntity { entity, properties }).map(|_| ())
    }

    fn open(&mut self, task: &Spanned<file::Task>) -> Result<(), Wrong> {
        let (at, task) = (task.span().start, task.get_ref());
        let (agent, targets) = (task.agent.clone(), Vec::new());
        let open = OpenTask { agent, sort: None, statement: None, targets };
        let id = TaskId(self.done(at, Command::OpenTask(open))?);
        match self.tasks.insert(task.task.clone(), id) {
            None => Ok(()),
            Some(_) => Err((at, format!("task `{}` is given twice", task.task))),
        }
    }

    fn issue(&mut self, grant: &Spanned<file::Grant>) -> Result<(), Wrong> {
        let (at, grant) = (grant.span().start, grant.get_ref());
        let terms = RequestGrant {
            agent: grant.agent.clone(),
            task: self.task(at, grant.task.as_deref())?,
            action: grant.action.clone(),
            scope: grant.scope.clone(),
            ttl: grant.ttl,
            max_uses: grant.max_uses,
            justification: grant.justification.clone(),
            constraints: Vec::new(),
        };
        let issue = IssueGrant { terms, not_before: None, request: None };
        self.done(at, Command::IssueGrant(issue)).map(|_| ())
    }

    fn task(&self, at: usize, name: Option<&str>) -> Result<Option<TaskId>, Wrong> {
        let Some(name) = name else { return Ok(None) };
        match self.tasks.get(name) {
            Some(id) => Ok(Some(*id)),
            None => Err((at, format!("task `{name}` is not given"))),
        }
    }

    /// Makes a call and holds it against what is expected, or takes an operator's step.
    pub(super) fn play(&mut self, step: &Spanned<Step>) -> Result<Option<Played>, Wrong> {
        let (at, step) = (step.span().start, step.get_ref());
        if let Some(span) = step.advance {
            self.clock = self.clock.max(self.now()).after(span);
        }
        if let Some(selector) = &step.revoke {
            self.done(at, revoke(selector))?;
            return Ok(None);
        }
        if let Some(person) = step.approve.as_ref().or(step.deny.as_ref()) {
            self.answer(at, person, step.approve.is_some())?;
            return Ok(None);
        }
        let Some(then) = step.then.clone() else { return Ok(None) };
        let ask = self.call(at, step)?;
        self.authorize(at, ask, then).map(Some)
    }

    /// What a person says, under a key in their name, to what was asked last.
    fn answer(&mut self, at: usize, person: &OwnerId, yes: bool) -> Result<(), Wrong> {
        let waiting = self.state.approvals().all_pending().last();
        let waiting = waiting.map(|(id, asked)| (id, asked.asked.shown));
        let Some((approval, shown)) = waiting else {
            return Err((at, "nothing waits for people".to_owned()));
        };
        let next = self.state.next_index();
        let key = format!("of-{next}");
        let credential = CredentialId::new(&key).map_err(|e| (at, e.to_string()))?;
        // Nobody presents this key: it only has to be another one each time.
        let mut key_hash = Digest([0; 32]);
        key_hash.0[..8].copy_from_slice(&next.to_be_bytes());
        self.done(
            at,
            Command::IssueCredential(IssueCredential {
                credential: credential.clone(),
                role: Role::Approver,
                agent: None,
                key_hash,
                expires_at: None,
                owner: Some(person.clone()),
                rotates: None,
                scram: None,
            }),
        )?;
        let command = match yes {
            true => Command::Approve { approval, shown, reason: None },
            false => Command::DenyApproval { approval, reason: None },
        };
        let actor = Actor::Credential { id: credential, role: Role::Approver };
        match self.submit_as(actor, command).answer {
            Answer::Done(_) => Ok(()),
            Answer::Refused(refusal) => Err((at, format!("{}: {}", refusal.code, refusal.message))),
            Answer::Decided(_) => Err((at, "a call was decided where none was made".to_owned())),
        }
    }

    /// A call as an enforcement point would submit it.
    fn call(&self, at: usize, step: &Step) -> Result<Authorize, Wrong> {
        let subject = match (&step.agent, &step.person) {
            (Some(agent), _) => Subject::Agent(agent.clone()),
            (None, Some(owner)) => Subject::Person(owner.clone()),
            (None, None) => return Err((at, "a call has no `agent` and no `person`".to_owned())),
        };
        let (Some(action), Some(resource)) = (step.action.clone(), step.resource.clone()) else {
            return Err((at, "a call needs `action` and `resource`".to_owned()));
        };
        let told = step.told.as_ref().map(|told| {
            let (subject, action) = (told.subject.clone(), told.action.clone());
            Box::new(Told { subject, action, resource: told.resource.clone() })
        });
        Ok(Authorize {
            subject,
            on_behalf_of: step.on_behalf_of.clone(),
            task: self.task(at, step.task.as_deref())?,
            session: step.session.clone(),
            tool: step.tool.clone(),
            tool_hash: None,
            action,
            resource,
            effect: step.effect.unwrap_or(Effect::Write),
            arguments: step.args.as_ref().map(commitment).transpose().map_err(|why| (at, why))?,
            disclosed: BTreeMap::new(),
            justification: step.justification.clone(),
            args: step.args.as_ref().map(|args| Box::new(Arguments::heard(args))),
            environment: step.environment.clone(),
            correlation: None,
            actors: Vec::new(),
            told,
            finishes: false,
            verdicts: None,
        })
    }

    fn authorize(&mut self, at: usize, ask: Authorize, then: Then) -> Result<Played, Wrong> {
        let who = match &ask.subject {
            Subject::Agent(agent) => agent.as_str(),
            Subject::Person(owner) => owner.as_str(),
        };
        let what = format!("{who} {} {}", ask.action, ask.resource);
        let now = self.now();
        let Decided { events, answer } = self.submit(Command::Authorize(Box::new(ask)));
        let policies = events.iter().find_map(|event| determining(&event.fact));
        let policies = policies.unwrap_or_default().iter().cloned().collect();
        let got = match answer {
            Answer::Decided(Decision { result: Ok(allowed), .. }) => Got {
                ruling: Ruling::Allow,
                code: None,
                policies,
                ttl: Some(left(now, allowed.expires_at)),
                uses_left: Some(allowed.uses_left),
            },
            Answer::Decided(Decision { result: Err(denied), .. }) => Got {
                ruling: Ruling::Deny,
                code: Some(denied.code),
                policies,
                ttl: None,
                uses_left: None,
            },
            Answer::Refused(refusal) => {
                return Err((at, format!("{}: {}", refusal.code, refusal.message)));
            }
            Answer::Done(_) => return Err((at, "the call was not decided".to_owned())),
        };
        Ok(Played { what, expected: then, got })
    }

    /// When the next event may be recorded at the earliest.
    fn now(&self) -> Time {
        self.state.last_time().map_or(self.clock, |last| self.clock.max(Time(last.0 + 1)))
    }

    /// Submits what must work; the index of its event.
    fn done(&mut self, at: usize, command: Command) -> Result<u64, Wrong> {
        match self.submit(command).answer {
            Answer::Done(done) => Ok(done.index),
            Answer::Refused(refusal) => Err((at, format!("{}: {}", refusal.code, refusal.message))),
            Answer::Decided(_) => Err((at, "a call was decided where none was made".to_owned())),
        }
    }

    fn submit(&mut self, command: Command) -> Decided {
        self.submit_as(Actor::System, command)
    }

    fn submit_as(&mut self, actor: Actor, command: Command) -> Decided {
        let submission = Submission { actor, request: None, trace: None, command };
        let now = self.now();
        let decided = decide(&self.state, &submission, now);
        for (i, event) in decided.events.iter().enumerate() {
            self.apply(Time(now.0 + i as u64), event);
        }
        decided
    }

    fn apply(&mut self, time: Time, event: &Event) {
        let index = self.state.next_index();
        self.state.apply(Place { index, time, link: Link([0; 32]) }, event);
    }
}

fn determining(fact: &Fact) -> Option<&[PolicyId]> {
    if let Fact::CallAuthorized(call) = fact {
        Some(&call.policies)
    } else if let Fact::CallDenied(call) = fact {
        Some(&call.policies)
    } else {
        None
    }
}

/// How long a grant still lives. Events of one moment are nanoseconds apart, which is not shown.
fn left(now: Time, end: Time) -> Span {
    Span(end.0.saturating_sub(now.0).saturating_add(500_000) / 1_000_000)
}

fn revoke(selector: &Selector) -> Command {
    let (selector, reason_code, reason) = (selector.clone(), None, None);
    Command::Revoke(Revoke { selector, grants_only: false, reason_code, reason })
}

fn write_agent(agent: &file::Agent) -> Result<WriteAgent, String> {
    let purpose = match &agent.purpose {
        Some(purpose) => purpose.clone(),
        None => Text::new("to be tested").map_err(|e| e.to_string())?,
    };
    let patterns = match &agent.allowlist {
        Some(patterns) => patterns.clone(),
        None => vec![ActionPattern::new("**").map_err(|e| e.to_string())?],
    };
    let allow = |pattern| Allow { pattern, expires_at: None };
    let allowlist = patterns.into_iter().map(allow).collect();
    let (groups, expires_at) = (agent.groups.clone(), None);
    let settings = AgentSettings { purpose, groups, allowlist, expires_at };
    Ok(WriteAgent { agent: agent.agent.clone(), owner: agent.owner.clone(), settings })
}

/// Arguments are read as strictly as those that come over HTTP.
fn commitment(args: &Value) -> Result<Digest, String> {
    let text = args.to_string();
    let strict = json::parse_strict(text.as_bytes(), json::LIMITS).map_err(|e| e.to_string())?;
    json::commitment(&[0; 32], &strict).map_err(|e| e.to_string())
}
