//! What calls are made: by whom, for whom, to what, under which id.

use bailiwick_core::arguments::Arguments;
use bailiwick_core::command::{Authorize, Command, Subject, Submission, Told};
use bailiwick_core::event::{Actor, Effect, Fact, GrantIssued, Issuance, Role, Scope};
use bailiwick_core::id::Resource;
use bailiwick_core::record::hash::Digest;

use super::policies::lies_within;
use super::workload::{
    ACTIONS, AGENTS, ARGUMENTS, OF_ACTIONS, OF_RESOURCES, OF_SUBJECTS, RESOURCES, World, key,
};
use crate::laws::harness::{ask_as, id, keyed, submission, text, token};

impl World {
    pub(super) fn call(&mut self) -> Submission {
        if self.chance.percent(12) && !self.keyed.is_empty() {
            let back = self.chance.one(&[1, 1, 1, 2, 4, 9, 30]).min(self.keyed.len());
            return self.keyed[self.keyed.len() - back].clone();
        }
        let mut ask = self.ask();
        let by = match self.chance.below(200) {
            0..140 => key("enforcer", Role::Enforcer),
            140..156 => key("admin", Role::Admin),
            156..166 => key("operator", Role::Operator),
            166..176 => self.token(&ask.subject.clone()),
            176..194 => match &ask.subject {
                Subject::Agent(agent) if !self.chance.percent(15) => {
                    key(agent.as_str(), Role::Agent)
                }
                Subject::Agent(_) | Subject::Person(_) => {
                    key(self.chance.one(&AGENTS), Role::Agent)
                }
            },
            194 => key("auditor", Role::Auditor),
            195 => key("enforcer", Role::Admin),
            196 => key("spare", Role::Enforcer),
            _ => Actor::System,
        };
        if self.chance.percent(25) {
            let (view, then) = &self.view;
            ask.verdicts = view.verdicts(&ask, *then);
        }
        if self.chance.percent(35) {
            // What policy said is no part of what was sent.
            let verdicts = ask.verdicts.take();
            let request = format!("r{}", self.chance.below(200));
            let mut made = keyed(by, &request, Command::Authorize(Box::new(ask)));
            if let Command::Authorize(ask) = &mut made.command {
                ask.verdicts = verdicts;
            }
            return made;
        }
        submission(by, Command::Authorize(Box::new(ask)))
    }

    fn ask(&mut self) -> Authorize {
        let mut ask = self.parties();
        let just_answered = self.ledger.log.iter().rev().take(4).any(|recorded| {
            matches!(recorded.event.fact, Fact::ApprovalGranted(_) | Fact::ApprovalDenied(_))
        });
        if self.chance.percent(if just_answered { 60 } else { 6 })
            && let Some(again) = self.as_put_to_people()
        {
            return again;
        }
        if self.chance.percent(55) {
            self.as_granted(&mut ask);
        }
        if self.chance.percent(8) {
            ask.on_behalf_of = Some(id(self.owner()));
        }
        ask.effect =
            self.chance.one(&[Effect::Read, Effect::Read, Effect::Write, Effect::External]);
        ask.justification = self.chance.percent(50).then(|| text("because"));
        ask.session = self.chance.percent(10).then(|| id("s1"));
        ask.finishes = self.chance.percent(60);
        if self.chance.percent(25) {
            ask.environment = Some(text(self.chance.one(&["production", "test"])));
        }
        self.argue(&mut ask);
        self.disclose(&mut ask);
        self.define(&mut ask);
        if self.chance.percent(50) {
            let likely = if self.chance.percent(80) { 2 } else { ARGUMENTS.len() };
            let json = serde_json::from_str(self.chance.one(&ARGUMENTS[..likely])).unwrap();
            ask.args = Some(Box::new(Arguments::heard(&json)));
        }
        ask.environment = self.chance.percent(3).then(|| text("production"));
        ask
    }

    fn argue(&mut self, ask: &mut Authorize) {
        let json = match self.chance.below(20) {
            0..4 => return,
            4..10 => r#"{"amount": 100}"#,
            10..13 => r#"{"amount": 101, "to": [1, "x"]}"#,
            13..15 => r#"{"amount": 100.0}"#,
            15 => r#"{"amount": 1.5}"#,
            16 => r#"{"amount": "101"}"#,
            17 => r#"{"amount": null}"#,
            _ => "{}",
        };
        let arguments = Arguments::of_json(&serde_json::from_str(json).unwrap()).unwrap();
        ask.args = Some(Box::new(arguments));
    }

    /// The token of the agent that is to act, and mostly of its owner.
    fn token(&mut self, subject: &Subject) -> Actor {
        let (agent, human) = match subject {
            Subject::Agent(agent) => {
                (agent.to_string(), self.naive.facts.owner_of(agent).map(ToString::to_string))
            }
            Subject::Person(human) => (self.agent(), Some(human.to_string())),
        };
        let human = human.filter(|_| self.chance.percent(70));
        let human = human.unwrap_or_else(|| self.owner().to_owned());
        match (token(&agent, &human), self.chance.below(10)) {
            (Actor::Token { issuer, owner, .. }, 0) => {
                Actor::Token { issuer, owner, agent: None, role: Role::Enforcer }
            }
            (Actor::Token { issuer, owner, .. }, 1) => {
                Actor::Token { issuer, owner, agent: None, role: Role::Agent }
            }
            (token, _) => token,
        }
    }

    /// Some tools nearly always come with a definition and others hardly ever.
    fn define(&mut self, ask: &mut Authorize) {
        let Some(tool) = &ask.tool else { return };
        let defined = tool.as_str().starts_with("crm/") && tool.as_str() != "crm/case/read";
        let n = match (defined, self.chance.below(100)) {
            (true, 0..4) => 2,
            (true, 7..) | (false, 0..1) => 1,
            (true, _) | (false, _) => return,
        };
        ask.tool_hash = Some(Digest([n; 32]));
    }

    /// What people were asked about a while ago, once more or nearly.
    fn as_put_to_people(&mut self) -> Option<Authorize> {
        let n = self.chance.one(&[0, 0, 0, 1, 2, 3, 4]);
        let was_told = |name: &str| {
            ["subject.", "action.", "resource."].iter().any(|part| name.starts_with(part))
        };
        let mut asked = self.ledger.log.iter().rev().filter_map(|recorded| {
            let Fact::ApprovalRequested(asked) = &recorded.event.fact else { return None };
            let told = asked.call.disclosed.keys().any(|name| was_told(name.as_str()));
            (!told).then_some(asked)
        });
        let call = asked.nth(n)?.call.clone();
        let subject = match call.agent {
            Some(agent) => Subject::Agent(agent),
            None => Subject::Person(call.owner?),
        };
        let mut ask = ask_as(subject, call.action.as_str(), call.resource.as_str());
        ask.task = call.task;
        ask.tool = call.tool;
        ask.tool_hash = call.tool_hash;
        ask.effect = call.effect;
        ask.disclosed = call.disclosed;
        ask.environment = call.environment;
        ask.session = call.session;
        ask.justification = call.justification;
        if self.chance.percent(10) {
            ask.effect = Effect::Destructive;
        }
        self.argue(&mut ask);
        Some(ask)
    }

    /// What a recent grant is for, so that grants are used, and asked for when they are no more.
    fn as_granted(&mut self, ask: &mut Authorize) {
        let any = self.chance.percent(30);
        let n = self.chance.below(12) as usize;
        let mut grants = self.ledger.log.iter().rev().filter_map(|recorded| {
            if let Fact::GrantIssued(grant) = &recorded.event.fact { Some(grant) } else { None }
        });
        let delegated = self.chance.percent(35);
        let n = if delegated { n / 3 } else { n };
        let asked_for = |grant: &&GrantIssued| match grant.issuance {
            Issuance::Delegated => true,
            _ if delegated => false,
            Issuance::JustInTime => any,
            _ => true,
        };
        let Some(grant) = grants.by_ref().filter(asked_for).nth(n) else { return };
        let within = |prefix: &Resource| {
            RESOURCES.into_iter().filter(|r| lies_within(r, prefix.as_str())).collect::<Vec<_>>()
        };
        let resources = match &grant.scope {
            Scope::Exact(resource) => vec![resource.as_str()],
            Scope::Within(prefix) => within(prefix),
        };
        ask.subject = match &grant.agent {
            Some(agent) => Subject::Agent(agent.clone()),
            None => Subject::Person(grant.owner.clone()),
        };
        ask.action = grant.action.clone();
        ask.task = grant.task;
        if grant.tool.is_some() {
            ask.tool = grant.tool.clone();
        }
        if !resources.is_empty() {
            ask.resource = id(self.chance.one(&resources));
        }
    }

    fn parties(&mut self) -> Authorize {
        let (action, resource) = self.action_and_resource();
        let subject = if self.chance.percent(12) {
            Subject::Person(id(self.owner()))
        } else {
            Subject::Agent(id(&self.agent()))
        };
        let task = match (&subject, self.chance.below(20)) {
            (Subject::Agent(agent), 0..9) => self.task_of(&agent.clone()),
            (Subject::Agent(_), 9..11) | (Subject::Person(_), 0) => Some(self.task(None)),
            (Subject::Agent(_) | Subject::Person(_), _) => None,
        };
        let mut ask = ask_as(subject, &action, &resource);
        ask.task = task;
        ask.tool = match self.chance.below(20) {
            0..6 => Some(id(&action)),
            6..10 => Some(id(self.chance.one(&ACTIONS))),
            _ => None,
        };
        ask
    }

    fn disclose(&mut self, ask: &mut Authorize) {
        if self.chance.percent(12) {
            ask.told = Some(Box::new(Told {
                subject: self.properties(OF_SUBJECTS),
                action: self.properties(OF_ACTIONS),
                resource: self.properties(OF_RESOURCES),
            }));
        }
        let (many, long) = match self.chance.below(100) {
            0 => (64, 1),
            1 => (65, 1),
            2 => (8, 2_044),
            3 => (8, 2_046),
            4..10 => (2, 10),
            _ => return,
        };
        let value = text(&"x".repeat(long));
        ask.disclosed = (0..many).map(|n| (text(&format!("n{n:02}")), value.clone())).collect();
        if self.chance.percent(20) {
            ask.disclosed.insert(text("subject.role"), text("claimed"));
        }
    }
}
