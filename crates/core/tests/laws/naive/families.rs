//! What becomes of a delegated grant: it is used, what it came from ends one way or the other, and it
//! is tried again.

use bailiwick_core::arguments::Arguments;
use bailiwick_core::command::{Authorize, Command, DelegateGrant, Subject, Submission};
use bailiwick_core::event::{Actor, Role, Scope, Selector};
use bailiwick_core::id::{AgentId, GrantId, OwnerId, Resource, TaskId};
use bailiwick_core::state::{Grant, Holder};
use bailiwick_core::time::Span;

use super::evaluator::Naive;
use super::policies::lies_within;
use super::workload::{ARGUMENTS, CONSTRAINTS, RESOURCES, SCOPES, World, key};
use crate::laws::harness::{ask_as, id, keyed, revoke, submission};

impl World {
    /// A part of a recent grant that has something to give, most of the time, and who holds it.
    pub(super) fn part(&mut self) -> (DelegateGrant, Option<AgentId>) {
        let grants = &self.ledger.state.grants();
        let live = grants.after(None).filter(|(_, g)| g.max_uses > g.uses && g.ended.is_none());
        let mut live: Vec<(GrantId, AgentId, OwnerId)> = live
            .filter_map(|(id, grant)| match &grant.holder {
                Holder::Agent(agent) => Some((id, agent.clone(), grant.owner.clone())),
                Holder::Owner(_) => None,
            })
            .collect();
        live.drain(..live.len().saturating_sub(12));
        let parent = if live.is_empty() || self.chance.percent(5) {
            (self.recent_grant(), id(&self.agent()), id(self.owner()))
        } else {
            self.chance.one(&live)
        };
        let (parent, holder, owner) = parent;
        let of_owner = |naive: &Naive, agent: &AgentId| {
            naive.facts.agent(agent).is_some_and(|(known, _)| known.owner == owner)
        };
        let mut to: AgentId = id(&self.agent());
        for _ in 0..6 {
            if to != holder && of_owner(&self.naive, &to) {
                break;
            }
            to = id(&self.agent());
        }
        let needs_task = self.naive.grant(parent).is_some_and(|grant| grant.fact.task.is_some());
        let percent = if needs_task { 95 } else { 20 };
        let task = if self.chance.percent(percent) { self.task_of(&to) } else { None };
        let scope = self.chance.percent(10).then(|| id(self.chance.one(&SCOPES)));
        let ttl = self.chance.percent(40).then(|| Span(self.chance.one(&[300, 5_000, 60_000])));
        let max_uses = self.chance.percent(50).then(|| self.chance.one(&[1, 2, 3]));
        let constraints = if self.chance.percent(10) {
            vec![id(self.chance.one(&CONSTRAINTS))]
        } else {
            Vec::new()
        };
        let justification = None;
        let part =
            DelegateGrant { parent, to, task, scope, ttl, max_uses, constraints, justification };
        (part, Some(holder))
    }

    /// What comes after a delegation, in this order.
    pub(super) fn afterwards(&mut self, part: &DelegateGrant) -> Vec<Submission> {
        let Some(parent) = self.ledger.state.grants().get(part.parent).cloned() else {
            return Vec::new();
        };
        let Holder::Agent(holder) = parent.holder.clone() else { return Vec::new() };
        let by_child = self.use_of(&parent, part.scope.as_ref(), &part.to, part.task);
        let by_parent = self.use_of(&parent, part.scope.as_ref(), &holder, parent.task);
        let by = |ask: &Authorize| {
            submission(key("enforcer", Role::Enforcer), Command::Authorize(Box::new(ask.clone())))
        };
        let again = {
            let (name, ask) = (format!("r{}", self.chance.below(200)), by_child.clone());
            keyed(key("enforcer", Role::Enforcer), &name, Command::Authorize(Box::new(ask)))
        };
        let system = |command| submission(Actor::System, command);
        let end = match self.chance.below(6) {
            0 => vec![system(Command::ReturnGrant { grant: part.parent })],
            1 => vec![system(revoke(Selector::Grant(part.parent)))],
            2 => vec![
                system(Command::SuspendAgent { agent: holder.clone(), reason: None }),
                system(Command::ReinstateAgent { agent: holder, reason: None }),
            ],
            3 => parent
                .task
                .map(|task| Command::CloseTask { task, reason: None })
                .map(system)
                .into_iter()
                .collect(),
            4 => vec![by(&by_parent); parent.max_uses.min(3) as usize],
            _ => vec![by(&by_child); 2],
        };
        match self.chance.below(3) {
            0 => [vec![again.clone()], end, vec![again]].concat(),
            1 => [vec![by(&by_child)], end, vec![by(&by_child)]].concat(),
            _ => [end, vec![by(&by_child)]].concat(),
        }
    }

    /// A call that the grant covers, by one of its family.
    fn use_of(
        &mut self,
        grant: &Grant,
        scope: Option<&Scope>,
        agent: &AgentId,
        task: Option<TaskId>,
    ) -> Authorize {
        let scope = scope.unwrap_or(&grant.scope);
        let below = |root: &Resource| {
            RESOURCES.into_iter().filter(|one| lies_within(one, root.as_str())).collect::<Vec<_>>()
        };
        let resource = match scope {
            Scope::Exact(resource) => resource.to_string(),
            Scope::Within(root) => match below(root)[..] {
                [] => root.to_string(),
                ref some => self.chance.one(some).to_owned(),
            },
        };
        let subject = Subject::Agent(agent.clone());
        let mut ask = ask_as(subject, grant.action.as_str(), &resource);
        (ask.task, ask.tool) = (task, grant.tool.clone());
        let json = serde_json::from_str(ARGUMENTS[0]).unwrap();
        ask.args = Some(Box::new(Arguments::heard(&json)));
        ask
    }
}
