//! The order of the checks of a call: who asks, the caller's id, standing, suspensions, allowlist,
//! policy for agent and owner, grant. The first that fails gives the code.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::arguments::Argument;
use bailiwick_core::command::{Authorize, Command, RefusalCode, Subject, Submission};
use bailiwick_core::event::{
    Actor, AgentWritten, DenialCode, Detector, Entity, Fact, Recorded, Role, Selector,
};
use bailiwick_core::id::{AgentId, GrantId, GroupId, OwnerId, PolicyId, TaskId};
use bailiwick_core::time::Time;

use super::approvals::{Rules, Waits, rules};
use super::facts::{Facts, Standing};
use super::grants::Known;
use super::policies::{Before, Rule, Situation, Tags, lies_within, tags};
use super::tools::{contradicts, with_human};

/// What is to come of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not even decided.
    Refused(RefusalCode),
    /// The first allow again; nothing is recorded.
    Repeated { call: u64, grant: GrantId, expires_at: u64, uses_left: u32 },
    Allowed {
        source: Source,
        expires_at: u64,
        uses_left: u32,
        /// The grant, and what it was delegated from, where this was the last use.
        used_up: Vec<GrantId>,
        policies: Vec<PolicyId>,
        /// Whether its tool is held to its definition from here on.
        pins: bool,
    },
    Denied {
        denial: Denial,
        /// What the detector takes back, and the denials that it rests on.
        torn_down: Option<(Selector, Vec<u64>)>,
        /// Whether its tool is taken from everybody.
        changes: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Held(GrantId),
    /// Made for this call, and for nothing that it does not name: holder and action, resource and
    /// tool as they are written, and task.
    Made {
        agent: Option<AgentId>,
        owner: OwnerId,
        names: [String; 3],
        task: Option<TaskId>,
        /// Whether that was recorded as loud as it is.
        breakglass: bool,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) code: Option<DenialCode>,
    /// The grant that is to blame.
    pub(super) grant: Option<GrantId>,
    pub(super) policies: Vec<PolicyId>,
    pub(super) reason: Option<String>,
    pub(super) approval: Option<Box<Waits>>,
}

impl From<DenialCode> for Denial {
    fn from(code: DenialCode) -> Self {
        Self { code: Some(code), ..Self::default() }
    }
}

/// Who acts, and on whose authority.
pub(super) struct Party<'a> {
    pub(super) agent: Option<&'a AgentWritten>,
    pub(super) owner: &'a OwnerId,
}

/// What the determining permits of agent and owner ask for together.
pub(super) struct Asked {
    policies: BTreeSet<PolicyId>,
    pub(super) ttl: Option<u64>,
    pub(super) uses: Option<u32>,
    pub(super) approval: Rules,
    just_in_time: bool,
    /// Whether nothing else permits, the agent or its owner.
    pub(super) breakglass: bool,
}

/// What came about how often, to see that a run was worth its time.
pub(super) type Met = BTreeMap<(&'static str, &'static str), u64>;

/// Reads everything that was recorded for every question. Knows nothing of the ledger's state.
#[derive(Clone, Default)]
pub(super) struct Naive {
    pub(super) facts: Facts,
    pub(super) met: RefCell<Met>,
}

/// What a grant issued at a call gets when no policy says how much, and the most uses there are.
const MADE_FOR: u64 = 300_000;
const MADE_USES: u32 = 1;
const USES_MAX: u32 = 1_000_000;

/// Milliseconds later.
pub(super) fn later(time: u64, milliseconds: u64) -> u64 {
    time + milliseconds * 1_000_000
}

impl Naive {
    pub(super) fn take(&mut self, recorded: &Recorded) {
        self.facts.take(recorded);
    }

    pub(super) fn meet(&self, what: &'static str, which: &'static str) {
        *self.met.borrow_mut().entry((what, which)).or_default() += 1;
    }

    pub(super) fn answer(&self, submission: &Submission, ask: &Authorize, now: Time) -> Answer {
        let is_system = submission.actor == Actor::System;
        let caller = self.facts.caller(&submission.actor, now);
        if !is_system && caller.is_none() {
            return Answer::Refused(RefusalCode::CredentialInvalid);
        }
        let ask = &*with_human(submission, ask);
        if let Some(answer) = self.repeats(submission, ask, now) {
            return answer;
        }
        let may = caller.is_none_or(|(role, agent)| match role {
            Role::Admin | Role::Operator | Role::Enforcer => true,
            Role::Agent => agent.map(Subject::Agent) == Some(ask.subject.clone()),
            Role::Approver | Role::Auditor | Role::Subscriber => false,
        });
        if !may {
            return Answer::Refused(RefusalCode::NotPermitted);
        }
        match self.decide(submission, ask, now) {
            Ok(answer) => answer,
            Err(denial) => {
                let torn_down = self.tears_down(denial.code, ask, now);
                let changes = self.changes(denial.code, submission, ask);
                Answer::Denied { denial, torn_down, changes }
            }
        }
    }

    fn decide(&self, by: &Submission, ask: &Authorize, now: Time) -> Result<Answer, Denial> {
        if !may_disclose(by, ask) {
            return Err(DenialCode::InvalidArguments.into());
        }
        self.id_is_free(by, ask, now)?;
        if contradicts(by, ask) {
            return Err(DenialCode::NotOwner.into());
        }
        let pins = self.pins(by, ask);
        let (party, asked) = self.permitted(ask, now)?;
        let policies: Vec<PolicyId> = asked.policies.iter().cloned().collect();
        let missing = match self.held(&party, &asked, ask, now) {
            Ok(held) => {
                let (source, expires_at) = (Source::Held(held.id), held.expires_at);
                let ancestors = self.ancestors(held.id).into_iter();
                let line: Vec<Known<'_>> = std::iter::once(held)
                    .chain(ancestors.filter_map(|id| self.grant(id)))
                    .collect();
                let left = |grant: &Known<'_>| grant.max_uses - grant.uses - 1;
                let uses_left = line.iter().map(left).min().unwrap_or(0);
                let used_up = line.iter().filter(|g| left(g) == 0).map(|g| g.id).collect();
                return Ok(Answer::Allowed {
                    source,
                    expires_at,
                    uses_left,
                    used_up,
                    policies,
                    pins,
                });
            }
            Err(missing) => missing,
        };
        if !asked.approval.is_empty() {
            return Err(self.unapproved(&party, &asked, ask, now));
        }
        if !asked.just_in_time {
            return Err(missing);
        }
        let uses_left = asked.uses.unwrap_or(MADE_USES).min(USES_MAX) - 1;
        Ok(Answer::Allowed {
            source: Source::Made {
                agent: party.agent.map(|agent| agent.agent.clone()),
                owner: party.owner.clone(),
                names: names_of(ask),
                task: ask.task,
                breakglass: asked.breakglass,
            },
            expires_at: later(now.0, asked.ttl.unwrap_or(MADE_FOR)),
            uses_left,
            used_up: (uses_left == 0)
                .then_some(GrantId(self.facts.next_index))
                .into_iter()
                .collect(),
            policies,
            pins,
        })
    }

    /// Everything but the grant.
    pub(super) fn permitted(
        &self,
        ask: &Authorize,
        now: Time,
    ) -> Result<(Party<'_>, Asked), Denial> {
        let party = self.standing(ask, now)?;
        self.free_and_as_pinned(ask, party.owner)?;
        self.may(ask, now)
    }

    /// Standing, allowlist and policy.
    pub(super) fn may(&self, ask: &Authorize, now: Time) -> Result<(Party<'_>, Asked), Denial> {
        let party = self.standing(ask, now)?;
        if let Some(agent) = party.agent {
            let listed = agent.settings.allowlist.iter().any(|allow| {
                allow.expires_at.is_none_or(|end| now.0 < end.0)
                    && is_named(allow.pattern.as_str(), ask.action.as_str())
            });
            if !listed {
                return Err(DenialCode::ToolNotAllowed.into());
            }
        }
        let asked = self.ask_policies(&party, ask, now)?;
        Ok((party, asked))
    }

    fn standing(&self, ask: &Authorize, now: Time) -> Result<Party<'_>, Denial> {
        let (agent, owner) = match &ask.subject {
            Subject::Agent(id) => {
                let (agent, standing) = self.facts.agent(id).ok_or(DenialCode::AgentUnknown)?;
                match standing {
                    Standing::Suspended => return Err(DenialCode::AgentSuspended.into()),
                    Standing::Retired => return Err(DenialCode::AgentRetired.into()),
                    Standing::Active => {}
                }
                if agent.settings.expires_at.is_some_and(|end| end.0 <= now.0) {
                    return Err(DenialCode::AgentExpired.into());
                }
                (Some(agent), self.facts.owner_of(id).unwrap_or(&agent.owner))
            }
            Subject::Person(owner) => (None, owner),
        };
        let owner = match self.facts.owner(owner) {
            Some((written, false)) => &written.owner,
            Some((_, true)) | None => return Err(DenialCode::OwnerDisabled.into()),
        };
        if let Some(human) = ask.on_behalf_of.as_ref().filter(|human| *human != owner)
            && (agent.is_none() || !self.is_delegate(human, owner, now))
        {
            return Err(DenialCode::NotOwner.into());
        }
        if let Some(task) = ask.task {
            let of = self.facts.open_task(task);
            if of.is_none() || of != agent.map(|agent| &agent.agent) {
                return Err(DenialCode::TaskClosed.into());
            }
        }
        Ok(Party { agent, owner })
    }

    fn ask_policies(&self, party: &Party<'_>, ask: &Authorize, now: Time) -> Result<Asked, Denial> {
        // The one action that has an input schema: an amount is a whole number, or there is none.
        let amount = ask.args.as_ref().and_then(|arguments| arguments.at("/amount"));
        let is_payment = ask.action.as_str() == "pay/send";
        if is_payment && !matches!(amount, None | Some(Argument::Null | Argument::Integer(_))) {
            return Err(DenialCode::InvalidArguments.into());
        }
        let ask = &Authorize { effect: self.effect(ask), ..ask.clone() };
        let told = ask.told.as_deref();
        let mut owner_tags = self.facts.tags(&Entity::Owner(party.owner.clone()));
        let mut agent_tags =
            party.agent.map(|agent| self.facts.tags(&Entity::Agent(agent.agent.clone())));
        let mut resource_tags = self.facts.tags(&Entity::Resource(ask.resource.clone()));
        let mut action_tags = Tags::new();
        if let Some(told) = told {
            // What is told of the subject is about whoever acts.
            agent_tags.as_mut().unwrap_or(&mut owner_tags).extend(tags(&told.subject));
            resource_tags.extend(tags(&told.resource));
            action_tags.extend(tags(&told.action));
        }
        let no_groups: BTreeSet<GroupId> = BTreeSet::new();
        let of_owner = self.facts.owner(party.owner).map(|(written, _)| &written.groups);
        let for_owner = Situation {
            is_agent: false,
            id: party.owner.as_str(),
            groups: of_owner.unwrap_or(&no_groups),
            purpose: None,
            tags: owner_tags,
            agent_tags: agent_tags.as_ref(),
            owner: party.owner.as_str(),
            resource_tags: &resource_tags,
            action_tags: &action_tags,
            before: party.agent.map_or_else(Before::default, |agent| {
                let tool = ask.tool.as_ref().map_or(ask.action.as_str(), |tool| tool.as_str());
                self.facts.before(&agent.agent, tool, now)
            }),
            ask,
            now,
        };
        let for_agent = party.agent.map(|agent| Situation {
            is_agent: true,
            id: agent.agent.as_str(),
            groups: &agent.settings.groups,
            purpose: Some(agent.settings.purpose.as_str()),
            tags: agent_tags.clone().unwrap_or_default(),
            ..for_owner_again(&for_owner)
        });
        let of_agent = for_agent.map(|situation| self.permits(&situation)).transpose()?;
        let of_owner = self.permits(&for_owner)?;
        let decides_on_grants = of_agent.as_ref().unwrap_or(&of_owner);
        let just_in_time =
            decides_on_grants.iter().any(|(_, rule)| rule.just_in_time || rule.breakglass);
        let all: Vec<_> = of_agent.into_iter().flatten().chain(of_owner).collect();
        Ok(Asked {
            policies: all.iter().map(|(id, _)| id.clone()).collect(),
            ttl: all.iter().filter_map(|(_, rule)| rule.ttl).min(),
            uses: all.iter().filter_map(|(_, rule)| rule.uses).min(),
            approval: rules(all.iter().filter_map(|(_, rule)| rule.approval)),
            just_in_time,
            breakglass: all.iter().any(|(_, rule)| rule.breakglass),
        })
    }

    /// The permits that hold for one principal, unless a policy forbids or fails or none permits.
    fn permits(&self, of: &Situation<'_>) -> Result<Vec<(PolicyId, &'static Rule)>, Denial> {
        let forbidden = |by: Vec<(PolicyId, &'static Rule)>| Denial {
            code: Some(DenialCode::Forbidden),
            grant: None,
            reason: by.iter().find_map(|(_, rule)| rule.reason).map(ToOwned::to_owned),
            policies: by.into_iter().map(|(id, _)| id).collect(),
            approval: None,
        };
        // A resource of a hundred segments and more is none that policies can judge.
        if of.ask.resource.as_str().matches('/').count() >= 100 {
            return Err(forbidden(Vec::new()));
        }
        let (mut permits, mut denies, mut glass) = (Vec::new(), Vec::new(), Vec::new());
        for (id, rule) in self.facts.in_force() {
            let outcome = (rule.holds)(of);
            let says = match outcome {
                None => "fails",
                Some(true) => "holds",
                Some(false) => "holds_not",
            };
            self.meet(says, rule.name);
            if rule.shadow {
                continue;
            }
            match outcome {
                None => denies.push((id.clone(), rule)),
                Some(true) if rule.forbids => denies.push((id.clone(), rule)),
                Some(true) if rule.breakglass => glass.push((id.clone(), rule)),
                Some(true) => permits.push((id.clone(), rule)),
                Some(false) => {}
            }
        }
        if permits.is_empty() && of.ask.justification.is_some() {
            permits = glass;
        }
        if denies.is_empty() && !permits.is_empty() { Ok(permits) } else { Err(forbidden(denies)) }
    }

    /// Three distinct tools denied in one task, or outside of any, within a day: the third tears
    /// the task down, or the agent.
    fn tears_down(
        &self,
        code: Option<DenialCode>,
        ask: &Authorize,
        now: Time,
    ) -> Option<(Selector, Vec<u64>)> {
        let Subject::Agent(agent) = &ask.subject else { return None };
        let tool = ask.tool.as_ref().map_or(ask.action.as_str(), |tool| tool.as_str());
        if !is_reaching(code?) {
            return None;
        }
        let mut tried: Vec<(&str, u64)> = Vec::new();
        for recorded in &self.facts.denied {
            match &recorded.event.fact {
                Fact::FindingRaised(f)
                    if f.detector == Detector::Probing
                        && f.agent == *agent
                        && f.task == ask.task =>
                {
                    tried.clear();
                }
                Fact::CallDenied(f)
                    if is_reaching(f.code)
                        && f.call.agent.as_ref() == Some(agent)
                        && f.call.task == ask.task =>
                {
                    let name = f.call.tool.as_ref().map_or(f.call.action.as_str(), |t| t.as_str());
                    tried.retain(|(other, _)| *other != name);
                    if now.0 < later(recorded.place.time.0, 86_400_000) {
                        tried.push((name, recorded.place.index));
                    }
                }
                _ => {}
            }
        }
        let others = tried.iter().filter(|(other, _)| *other != tool).map(|(_, index)| *index);
        // The finding and the revocation come before the denial itself.
        let evidence: Vec<u64> = others.chain([self.facts.next_index + 2]).collect();
        let selector = match ask.task {
            Some(task) => Selector::Task(task),
            None => Selector::Agent(agent.clone()),
        };
        (evidence.len() >= 3).then_some((selector, evidence))
    }
}

/// The same situation, to be made another principal's.
fn for_owner_again<'a>(of: &Situation<'a>) -> Situation<'a> {
    Situation { tags: of.tags.clone(), ..*of }
}

fn is_reaching(code: DenialCode) -> bool {
    [DenialCode::ToolNotAllowed, DenialCode::Forbidden, DenialCode::NoGrant].contains(&code)
}

pub(super) fn names_of(ask: &Authorize) -> [String; 3] {
    let tool = ask.tool.as_ref().map_or_else(String::new, ToString::to_string);
    [ask.action.to_string(), ask.resource.to_string(), tool]
}

/// Whether a selector names this very call.
pub(super) fn names_call(selector: &Selector, ask: &Authorize, owner: &OwnerId) -> bool {
    match selector {
        Selector::Grant(_) => false,
        Selector::Agent(id) => ask.subject == Subject::Agent(id.clone()),
        Selector::Owner(id) => id == owner,
        Selector::Task(id) => ask.task == Some(*id),
        Selector::Tool(id) => ask.tool.as_ref() == Some(id),
        Selector::Resource(prefix) => lies_within(ask.resource.as_str(), prefix.as_str()),
        Selector::All => true,
    }
}

/// `*` is any run of characters without a slash, `**` any run at all.
pub(super) fn is_named(pattern: &str, action: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("**") {
        return (0..=action.len()).any(|at| is_named(rest, &action[at..]));
    }
    if let Some(rest) = pattern.strip_prefix('*') {
        let runs = (0..=action.len()).take_while(|at| !action[..*at].contains('/'));
        return runs.into_iter().any(|at| is_named(rest, &action[at..]));
    }
    match pattern.chars().next() {
        None => action.is_empty(),
        Some(first) => action.strip_prefix(first).is_some_and(|rest| is_named(&pattern[1..], rest)),
    }
}

/// What is told of the parties is recorded beside what is disclosed, by those who may tell, under
/// names of its own, and all of it within limits.
fn may_disclose(by: &Submission, ask: &Authorize) -> bool {
    debug_assert!(matches!(by.command, Command::Authorize(_)), "only calls are decided here");
    let may_tell = match &by.actor {
        Actor::System => true,
        Actor::Credential { role, .. } | Actor::Token { role, .. } => {
            [Role::Admin, Role::Enforcer].contains(role)
        }
    };
    let tells = ask.told.is_some() || ask.environment.is_some();
    let is_unreadable = ask.args.as_ref().is_some_and(|arguments| arguments.fault().is_some());
    if is_unreadable || (tells && !may_tell) {
        return false;
    }
    let Some(fields) = disclosed(ask) else { return false };
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    fields.len() <= 64 && bytes <= 16_384
}

/// All that is disclosed of a call, each under a name of its own.
pub(super) fn disclosed(ask: &Authorize) -> Option<Vec<(String, String)>> {
    let mut fields: Vec<(String, String)> =
        ask.disclosed.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    if let Some(told) = &ask.told {
        let parts =
            [("subject", &told.subject), ("action", &told.action), ("resource", &told.resource)];
        for (part, properties) in parts {
            for (name, values) in tags(properties) {
                // The values of these tests need no escapes in JSON.
                let list = values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>();
                let list = format!("[{}]", list.join(","));
                let name = format!("{part}.{name}");
                if list.len() > 2_048 || fields.iter().any(|(known, _)| *known == name) {
                    return None;
                }
                fields.push((name, list));
            }
        }
    }
    Some(fields)
}
