//! The rules once more, as slowly and plainly as they can be said: a walk over the whole log for
//! every question. It shares policy evaluation with the ledger and nothing else.

use std::collections::BTreeSet;

use bailiwick_core::arguments::Argument;
use bailiwick_core::command::{Authorize, Subject};
use bailiwick_core::event::{
    ApprovalRequested, Call, Fact, GrantIssued, Issuance, Must, Pinning, Recorded, Selector,
};
use bailiwick_core::id::{GrantId, OwnerId, Resource, TaskId};
use bailiwick_core::policy::{Decision, Restrictions};
use bailiwick_core::state::{Verdicts, View};
use bailiwick_core::time::Time;

/// What should come of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Allowed by this grant.
    Held(GrantId),
    /// Allowed by a grant made for it.
    JustInTime,
    Denied,
}

/// The log, read anew for every question.
pub(super) struct Oracle<'a> {
    pub(super) log: &'a [Recorded],
    pub(super) view: &'a View,
    pub(super) now: Time,
}

impl Oracle<'_> {
    pub(super) fn expect(&self, ask: &Authorize) -> Expected {
        let Some(owner) = self.standing(ask) else { return Expected::Denied };
        if self.is_suspended(ask, &owner) || !self.is_as_pinned(ask) {
            return Expected::Denied;
        }
        let Some(verdicts) = self.permitted(ask) else { return Expected::Denied };
        let agent = verdicts.agent.as_ref().unwrap_or(&verdicts.owner);
        let asked = agent.restrictions.clone().combine(&verdicts.owner.restrictions);
        let live = self.log.iter().find_map(|recorded| match &recorded.event.fact {
            Fact::GrantIssued(grant) => {
                let id = GrantId(recorded.place.index);
                self.is_live(id, grant, ask, &owner, &asked).then_some(id)
            }
            _ => None,
        });
        match live {
            Some(id) => Expected::Held(id),
            None if agent.restrictions.jit && asked.approvals.is_empty() => Expected::JustInTime,
            None => Expected::Denied,
        }
    }

    /// Checks 1 and 4; the owner under whom the call is made.
    fn standing(&self, ask: &Authorize) -> Option<OwnerId> {
        let (mut owner, mut active, mut listed) = (None, false, false);
        match &ask.subject {
            Subject::Person(id) => (owner, active, listed) = (Some(id.clone()), true, true),
            Subject::Agent(id) => {
                for recorded in self.log {
                    match &recorded.event.fact {
                        Fact::AgentRegistered(f) | Fact::AgentUpdated(f) if f.agent == *id => {
                            let list = &f.settings.allowlist;
                            listed = list.iter().any(|allow| allow.pattern.matches(&ask.action));
                            active |= owner.is_none();
                            owner = Some(f.owner.clone());
                        }
                        Fact::AgentReassigned(f) if f.agent == *id => owner = Some(f.to.clone()),
                        Fact::AgentSuspended(f) if f.agent == *id => active = false,
                        Fact::AgentRetired(f) if f.agent == *id => return None,
                        Fact::AgentReinstated(f) if f.agent == *id => active = true,
                        _ => {}
                    }
                }
            }
        }
        let owner = owner?;
        let enabled = self.is_enabled(&owner);
        let for_owner = ask.on_behalf_of.as_ref().is_none_or(|human| {
            let in_person = matches!(ask.subject, Subject::Person(_));
            *human == owner || !in_person && self.is_delegate(human, &owner)
        });
        let task_open = ask.task.is_none_or(|task| self.is_open(task, &ask.subject));
        (active && listed && enabled && for_owner && task_open).then_some(owner)
    }

    fn is_enabled(&self, owner: &OwnerId) -> bool {
        let mut enabled = false;
        for recorded in self.log {
            match &recorded.event.fact {
                Fact::OwnerRegistered(f) if f.owner == *owner => enabled = true,
                Fact::OwnerDisabled(f) if f.owner == *owner => enabled = false,
                Fact::OwnerEnabled(f) if f.owner == *owner => enabled = true,
                _ => {}
            }
        }
        enabled
    }

    fn is_delegate(&self, human: &OwnerId, owner: &OwnerId) -> bool {
        let (mut until, mut suspended) = (None, false);
        for recorded in self.log {
            match &recorded.event.fact {
                Fact::DelegateAdded(f) if f.owner == *owner && f.delegate == *human => {
                    until = Some(f.expires_at.unwrap_or(Time(u64::MAX)));
                }
                Fact::DelegateRemoved(f) if f.owner == *owner && f.delegate == *human => {
                    until = None;
                }
                Fact::RevocationIssued(f) if f.selector == Selector::Owner(human.clone()) => {
                    suspended |= f.suspend;
                }
                Fact::SuspensionLifted(f) if f.selector == Selector::Owner(human.clone()) => {
                    suspended = false;
                }
                _ => {}
            }
        }
        until.is_some_and(|end| self.now < end) && self.is_enabled(human) && !suspended
    }

    /// Check 3.
    fn is_as_pinned(&self, ask: &Authorize) -> bool {
        let Some(tool) = &ask.tool else { return true };
        let (mut pinned, mut pinning) = (None, Pinning::FirstUse);
        for recorded in self.log {
            match &recorded.event.fact {
                Fact::ConfigChanged(f) => pinning = f.pinning,
                Fact::ToolPinned(f) if f.tool == *tool => pinned = Some(f.hash),
                Fact::ToolUnpinned(f) if f.tool == *tool => pinned = None,
                _ => {}
            }
        }
        pinned.map_or(pinning == Pinning::FirstUse, |hash| ask.tool_hash == Some(hash))
    }

    fn is_open(&self, task: TaskId, subject: &Subject) -> bool {
        let mut open = false;
        for recorded in self.log {
            match &recorded.event.fact {
                Fact::TaskOpened(f) if recorded.place.index == task.0 => {
                    open = *subject == Subject::Agent(f.agent.clone());
                }
                Fact::TaskClosed(f) if f.task == task => open = false,
                Fact::AgentReassigned(f) if *subject == Subject::Agent(f.agent.clone()) => {
                    open = false;
                }
                _ => {}
            }
        }
        open
    }

    fn is_suspended(&self, ask: &Authorize, owner: &OwnerId) -> bool {
        let mut suspended = BTreeSet::new();
        for recorded in self.log {
            match &recorded.event.fact {
                Fact::RevocationIssued(f) if f.suspend => {
                    suspended.insert(f.selector.clone());
                }
                Fact::SuspensionLifted(f) => {
                    suspended.remove(&f.selector);
                }
                _ => {}
            }
        }
        suspended.iter().any(|selector| names_call(selector, ask, owner))
    }

    /// What policy says, if both the agent and the owner are permitted.
    fn permitted(&self, ask: &Authorize) -> Option<Verdicts> {
        let verdicts = self.view.verdicts(ask, self.now)?;
        let agent = verdicts.agent.as_ref().is_none_or(|v| v.decision == Decision::Permit);
        (agent && verdicts.owner.decision == Decision::Permit).then_some(verdicts)
    }

    fn is_live(
        &self,
        id: GrantId,
        grant: &GrantIssued,
        ask: &Authorize,
        owner: &OwnerId,
        asked: &Restrictions,
    ) -> bool {
        let holder = match (&grant.agent, &ask.subject) {
            (Some(agent), Subject::Agent(id)) => agent == id,
            (None, Subject::Person(id)) => grant.owner == *id,
            (Some(_), Subject::Person(_)) | (None, Subject::Agent(_)) => false,
        };
        holder
            && grant.action == ask.action
            && grant.scope.covers(&ask.resource)
            && grant.task.is_none_or(|task| ask.task == Some(task))
            && grant.tool.as_ref().is_none_or(|tool| ask.tool.as_ref() == Some(tool))
            && meets(grant, ask)
            && self.is_shown(grant, ask)
            && self.is_good(id, grant, asked)
            && !self.is_taken_back(id, grant, ask, owner)
            && self.ancestors(id).into_iter().all(|(id, ancestor)| {
                self.is_good(id, ancestor, asked)
                    && !self.is_ancestor_gone(id, ancestor, ask)
                    && self
                        .asked_of_giver(ancestor, ask)
                        .is_some_and(|asked| self.is_good(id, ancestor, &asked))
            })
    }

    /// What policy asks of the holder of an ancestor for this call, if he may make it.
    fn asked_of_giver(&self, ancestor: &GrantIssued, ask: &Authorize) -> Option<Restrictions> {
        let by_holder = by_holder(ancestor, ask);
        self.standing(&by_holder)?;
        let verdicts = self.permitted(&by_holder)?;
        let owner = verdicts.owner.restrictions;
        Some(match verdicts.agent {
            Some(agent) => agent.restrictions.combine(&owner),
            None => owner,
        })
    }

    /// What a grant was delegated from, the nearest first.
    pub(super) fn ancestors(&self, id: GrantId) -> Vec<(GrantId, &GrantIssued)> {
        let issued = |id: GrantId| match &self.log[id.0 as usize].event.fact {
            Fact::GrantIssued(grant) => grant,
            other => panic!("{other:?}"),
        };
        let mut ancestors = Vec::new();
        let mut next = issued(id).parent;
        while let Some(id) = next {
            ancestors.push((id, issued(id)));
            next = issued(id).parent;
        }
        ancestors
    }

    /// Whether an ancestor's holder could not make the call with it any more.
    fn is_ancestor_gone(&self, id: GrantId, ancestor: &GrantIssued, ask: &Authorize) -> bool {
        let by_holder = by_holder(ancestor, ask);
        let closed = ancestor.task.is_some_and(|task| !self.is_open(task, &by_holder.subject));
        closed || self.is_taken_back(id, ancestor, &by_holder, &ancestor.owner)
    }

    /// Whether a grant's time, its uses and policy let it be used.
    fn is_good(&self, id: GrantId, grant: &GrantIssued, asked: &Restrictions) -> bool {
        let uses = self.uses(id);
        let as_policy_says = grant.issuance == Issuance::Operator
            || (self.is_approved(grant, asked)
                && asked.ttl.is_none_or(|ttl| self.now < grant.not_before.after(ttl))
                && asked.max_uses.is_none_or(|max| uses < max));
        as_policy_says
            && grant.not_before <= self.now
            && self.now < grant.expires_at
            && uses < grant.max_uses
    }

    fn approval(&self, grant: &GrantIssued) -> Option<&ApprovalRequested> {
        match &self.log[usize::try_from(grant.approval?.0).unwrap()].event.fact {
            Fact::ApprovalRequested(asked) => Some(asked),
            _ => None,
        }
    }

    fn is_approved(&self, grant: &GrantIssued, asked: &Restrictions) -> bool {
        let met = self.approval(grant).map_or(&[][..], |approval| &approval.needs);
        asked.approvals.iter().all(|rule| met.contains(rule))
    }

    /// Histories have no arguments and no disclosed fields: what is left of a call is compared.
    fn is_shown(&self, grant: &GrantIssued, ask: &Authorize) -> bool {
        self.approval(grant).filter(|asked| asked.request.is_none()).is_none_or(|asked| {
            let call = &asked.call;
            call.task == ask.task && call.tool == ask.tool && call.resource == ask.resource
        })
    }

    fn uses(&self, id: GrantId) -> u32 {
        let used = |r: &&Recorded| {
            matches!(&r.event.fact, Fact::CallAuthorized(f)
                if f.grant == id || self.ancestors(f.grant).iter().any(|(other, _)| *other == id))
        };
        u32::try_from(self.log.iter().filter(used).count()).unwrap()
    }

    fn is_taken_back(
        &self,
        id: GrantId,
        grant: &GrantIssued,
        ask: &Authorize,
        owner: &OwnerId,
    ) -> bool {
        let later = self.log.iter().filter(|r| r.place.index > id.0);
        later.into_iter().any(|recorded| match &recorded.event.fact {
            Fact::GrantReturned(f) => f.grant == id,
            Fact::GrantExpired(f) | Fact::GrantExhausted(f) => f.grant == id,
            Fact::AgentSuspended(f) => grant.agent.as_ref() == Some(&f.agent),
            Fact::AgentReassigned(f) => grant.agent.as_ref() == Some(&f.agent),
            Fact::AgentRetired(f) => grant.agent.as_ref() == Some(&f.agent),
            Fact::OwnerDisabled(f) => grant.owner == f.owner,
            Fact::RevocationIssued(f) => {
                let of_grant = match &f.selector {
                    Selector::Grant(revoked) => *revoked == id,
                    Selector::Task(task) => grant.task == Some(*task),
                    Selector::Tool(tool) => grant.tool.as_ref() == Some(tool),
                    Selector::Resource(root) => lies_under(grant.scope.root(), root),
                    Selector::Agent(agent) => grant.agent.as_ref() == Some(agent),
                    Selector::Owner(of) => grant.owner == *of,
                    Selector::All => true,
                };
                of_grant || names_call(&f.selector, ask, owner)
            }
            _ => false,
        })
    }

    /// Whether an allowed call may be told again to the one who made it.
    pub(super) fn is_repeatable(&self, call: &Recorded, ask: &Authorize) -> bool {
        let Fact::CallAuthorized(fact) = &call.event.fact else { return false };
        let after = |r: &&Recorded| r.place.index > call.place.index;
        let finished = self.log.iter().filter(after).any(
            |r| matches!(&r.event.fact, Fact::CallFinished(f) if f.call.0 == call.place.index),
        );
        let Some(owner) = self.standing(ask) else { return false };
        let issued = self.log.iter().find_map(|r| match &r.event.fact {
            Fact::GrantIssued(grant) if r.place.index == fact.grant.0 => Some(grant),
            _ => None,
        });
        let taken_back = self.is_taken_back_now(fact.grant, issued.unwrap(), ask, &owner);
        !finished
            && !taken_back
            && !self.is_suspended(ask, &owner)
            && self.is_as_pinned(ask)
            && self.permitted(ask).is_some()
            && self.now < fact.expires_at
            && self.now.0 < call.place.time.0 + 60_000_000_000
    }

    /// As [`Self::is_taken_back`], but that its uses ran out or that it is not the call's last is
    /// no reason: the call has its use already.
    fn is_taken_back_now(
        &self,
        id: GrantId,
        grant: &GrantIssued,
        ask: &Authorize,
        owner: &OwnerId,
    ) -> bool {
        let log: Vec<Recorded> =
            self.log.iter().filter(|r| r.event.fact.kind() != 85).cloned().collect();
        let lines = self.ancestors(id);
        let plain = Oracle { log: &log, view: self.view, now: self.now };
        plain.is_taken_back(id, grant, ask, owner)
            || lines.iter().any(|(_, ancestor)| self.asked_of_giver(ancestor, ask).is_none())
            || lines.iter().any(|(id, ancestor)| plain.is_ancestor_gone(*id, ancestor, ask))
    }
}

/// The call as the holder of a grant would make it.
pub(super) fn by_holder(grant: &GrantIssued, ask: &Authorize) -> Authorize {
    let subject = match &grant.agent {
        Some(agent) => Subject::Agent(agent.clone()),
        None => Subject::Person(grant.owner.clone()),
    };
    let mut by_holder = Authorize { subject, task: grant.task, ..ask.clone() };
    if let Some(told) = &mut by_holder.told {
        told.subject = Default::default();
    }
    by_holder
}

/// Whether the call's number is as small as the grant demands: histories have no other constraint.
fn meets(grant: &GrantIssued, ask: &Authorize) -> bool {
    grant.constraints.iter().all(|constraint| {
        assert_eq!(constraint.at.as_str(), "/n");
        let n = ask.args.as_ref().and_then(|arguments| arguments.at("/n"));
        match (&constraint.must, n) {
            (Must::Max(most), Some(Argument::Integer(n))) => n <= most,
            (Must::Max(_), _) => false,
            other => panic!("{other:?}"),
        }
    })
}

fn names_call(selector: &Selector, ask: &Authorize, owner: &OwnerId) -> bool {
    match selector {
        Selector::Grant(_) => false,
        Selector::Agent(id) => ask.subject == Subject::Agent(id.clone()),
        Selector::Owner(id) => id == owner,
        Selector::Task(id) => ask.task == Some(*id),
        Selector::Tool(id) => ask.tool.as_ref() == Some(id),
        Selector::Resource(root) => lies_under(&ask.resource, root),
        Selector::All => true,
    }
}

/// By whole segments, said differently than [`Resource::is_within`].
pub(super) fn lies_under(resource: &Resource, root: &Resource) -> bool {
    let (resource, root) = (resource.as_str(), root.as_str());
    resource == root
        || resource.starts_with(&format!("{root}/"))
        || (root.ends_with('/') && resource.starts_with(root))
}

/// Whether an event narrows what may be done, and so belongs into the feed.
pub(super) fn narrows(fact: &Fact) -> bool {
    [5, 21, 22, 25, 31, 32, 34, 35, 42, 43, 53, 71, 83, 120].contains(&fact.kind())
}

/// The call of an event, if it is about one that was allowed.
pub(super) fn allowed(fact: &Fact) -> Option<(&Call, GrantId)> {
    match fact {
        Fact::CallAuthorized(fact) => Some((&fact.call, fact.grant)),
        _ => None,
    }
}
