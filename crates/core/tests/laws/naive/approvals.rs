//! What people are asked for, what they said no to, and what their yes is good for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_core::command::{Authorize, Subject};
use bailiwick_core::event::{
    ApprovalRequested, ApprovalRule, Call, DenialCode, Fact, GrantIssued, Recorded, Scope,
};
use bailiwick_core::id::{ApprovalId, GrantId, GroupId, OwnerId};
use bailiwick_core::time::Time;

use super::evaluator::{Asked, Denial, Naive, Party, disclosed, later};

/// In milliseconds: how long people may take to answer.
const ANSWERED_WITHIN: u64 = 600_000;
/// How many requests of one holder may wait.
const EACH_MAX: usize = 32;
/// How long a grant lives and how often it is used when no policy says so.
const LIVES: u64 = 300_000;
const USES: u32 = 1;

/// Rules by whom they ask for, with how many: nobody for the owner.
pub(super) type Rules = BTreeMap<Option<GroupId>, u32>;

pub(super) fn rules<'a>(texts: impl Iterator<Item = &'a str>) -> Rules {
    let mut rules = Rules::new();
    for text in texts {
        let (count, who) = text.split_once(" of ").unwrap_or(("1", text));
        let group = who.strip_prefix("group:").map(|group| group.parse().unwrap());
        let count = count.parse().unwrap();
        let most = rules.entry(group).or_insert(count);
        *most = count.max(*most);
    }
    rules
}

pub(super) fn rules_of(needs: &[ApprovalRule]) -> Rules {
    let texts: Vec<String> = needs.iter().map(ToString::to_string).collect();
    rules(texts.iter().map(String::as_str))
}

/// Which approval a denial names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waits {
    /// One that is there: it waits, or somebody said no.
    On(ApprovalId),
    /// One that is made now, in the place of one that is over.
    Made { needs: Rules, ttl: u64, uses: u32, expires_at: u64, over: Option<ApprovalId> },
    /// None, since too many wait; one that is over was found.
    NoRoom { over: Option<ApprovalId> },
}

struct Waiting<'a> {
    id: ApprovalId,
    fact: &'a ApprovalRequested,
}

impl Naive {
    /// Why a call that people have to approve is denied: one of them said no, or they are asked.
    pub(super) fn unapproved(
        &self,
        party: &Party<'_>,
        asked: &Asked,
        ask: &Authorize,
        now: Time,
    ) -> Denial {
        let no = self.denied(party, ask).filter(|(_, no, _)| now < no.expires_at);
        let longest = no.max_by_key(|(id, no, _)| (no.expires_at, std::cmp::Reverse(*id)));
        if let Some((id, _, reason)) = longest {
            let denial = Denial::from(DenialCode::ApprovalDenied);
            return Denial { approval: Some(Box::new(Waits::On(id))), reason, ..denial };
        }
        let (ttl, uses) = (asked.ttl.unwrap_or(LIVES), asked.uses.unwrap_or(USES).min(1_000_000));
        let open = self.waiting();
        let same = open.iter().rev().find(|waiting| {
            let fact = waiting.fact;
            fact.request.is_none()
                && self.is_same(&fact.call, party, ask)
                && fact.scope == Scope::Exact(ask.resource.clone())
                && rules_of(&fact.needs) == asked.approval
                && (fact.ttl.0, fact.max_uses) == (ttl, uses)
                && self.is_policy_of(waiting.id)
        });
        let mut over = None;
        if let Some(Waiting { id, fact }) = same {
            let taken_back = self.is_call_taken_back(GrantId(id.0), ask, party.owner);
            if now < fact.expires_at && !taken_back {
                self.meet("waits", "on what was asked before");
                return Denial {
                    approval: Some(Box::new(Waits::On(*id))),
                    ..DenialCode::ApprovalRequired.into()
                };
            }
            self.meet("waits", if taken_back { "anew: taken back" } else { "anew: expired" });
            over = Some(*id);
        }
        let holder = (party.agent.map(|agent| &agent.agent), party.owner);
        let is_holders = |fact: &ApprovalRequested| match holder {
            (Some(agent), _) => fact.call.agent.as_ref() == Some(agent),
            (None, owner) => fact.call.agent.is_none() && fact.owner == *owner,
        };
        let of_holder = open.iter().filter(|w| Some(w.id) != over && is_holders(w.fact)).count();
        if of_holder >= EACH_MAX {
            let reason = Some(format!("{EACH_MAX} requests of it wait for people already"));
            let approval = Some(Box::new(Waits::NoRoom { over }));
            return Denial { approval, reason, ..DenialCode::RateLimited.into() };
        }
        let after = u64::from(over.is_some());
        let expires_at = later(now.0 + after, ANSWERED_WITHIN);
        let made = Waits::Made { needs: asked.approval.clone(), ttl, uses, expires_at, over };
        Denial { approval: Some(Box::new(made)), ..DenialCode::ApprovalRequired.into() }
    }

    /// Denials of this very call, with what was asked and why not.
    fn denied(
        &self,
        party: &Party<'_>,
        ask: &Authorize,
    ) -> impl Iterator<Item = (ApprovalId, &ApprovalRequested, Option<String>)> {
        let requests = self.facts.approvals.iter().filter_map(|recorded| {
            let Fact::ApprovalDenied(no) = &recorded.event.fact else { return None };
            let fact = self.approval(no.approval)?;
            let same = fact.request.is_none() && self.is_same(&fact.call, party, ask);
            same.then(|| (no.approval, fact, no.reason.as_ref().map(ToString::to_string)))
        });
        requests.collect::<Vec<_>>().into_iter()
    }

    pub(super) fn approval(&self, id: ApprovalId) -> Option<&ApprovalRequested> {
        self.facts.approvals.iter().find_map(|recorded| match &recorded.event.fact {
            Fact::ApprovalRequested(fact) if recorded.place.index == id.0 => Some(fact),
            _ => None,
        })
    }

    /// In whose name this was asked, at first and again.
    fn asked_by(&self, id: ApprovalId) -> BTreeSet<&OwnerId> {
        let asks = |recorded: &&Arc<Recorded>| match &recorded.event.fact {
            Fact::ApprovalRequested(_) => recorded.place.index == id.0,
            Fact::CallDenied(denied) => denied.approval == Some(id),
            _ => false,
        };
        let all = self.facts.approvals.iter().chain(&self.facts.denied).filter(asks);
        all.filter_map(|recorded| recorded.event.about.on_behalf_of.as_ref()).collect()
    }

    /// Requests that nothing has ended.
    fn waiting(&self) -> Vec<Waiting<'_>> {
        let mut open = Vec::new();
        for recorded in &self.facts.approvals {
            match &recorded.event.fact {
                Fact::ApprovalRequested(fact) => {
                    open.push(Waiting { id: ApprovalId(recorded.place.index), fact });
                }
                fact => {
                    let over = ended(fact);
                    open.retain(|waiting| Some(waiting.id) != over);
                }
            }
        }
        open
    }

    /// Whether the policies in force are those that were when this was asked.
    fn is_policy_of(&self, id: ApprovalId) -> bool {
        self.facts.in_force_at(id.0) == self.facts.in_force_at(u64::MAX)
    }

    /// Whether a grant that people approved is for this very call: for a request, the terms say it.
    pub(super) fn is_shown(&self, grant: &GrantIssued, party: &Party<'_>, ask: &Authorize) -> bool {
        let approval = grant.approval.and_then(|id| self.approval(id));
        approval.is_none_or(|fact| fact.request.is_some() || self.is_same(&fact.call, party, ask))
    }

    /// Whether people met, for this grant, every rule that policy asks for now.
    pub(super) fn is_approved(&self, grant: &GrantIssued, asked: &Rules) -> bool {
        let approval = grant.approval.and_then(|id| self.approval(id));
        let met = approval.map_or_else(Rules::new, |fact| rules_of(&fact.needs));
        asked.iter().all(|(who, count)| met.get(who).is_some_and(|had| had >= count))
    }

    /// What must be so for a grant that people approved to be issued, read from the start: enough
    /// different people said yes to what was asked, who count now, in time, and to nothing that was
    /// taken back, ended or belonged to another policy.
    pub(super) fn check_issued(&self, recorded: &Recorded) {
        let Fact::GrantIssued(grant) = &recorded.event.fact else { return };
        let Some(id) = grant.approval else { return };
        let asked = self.approval(id).expect("it was asked");
        let asked_by = self.asked_by(id);
        let now = recorded.place.time;
        let mut yes = BTreeSet::new();
        for other in self.facts.approvals.iter().filter(|r| r.place.index > id.0) {
            match &other.event.fact {
                Fact::ApprovalGranted(f) if f.approval == id => {
                    assert_eq!(f.shown, asked.shown, "{f:?}");
                    assert!(other.place.time < asked.expires_at, "{f:?}");
                    assert!(yes.insert(&f.by), "{f:?} twice");
                }
                fact => assert_ne!(ended(fact).filter(|_| !is_yes(fact)), Some(id), "{fact:?}"),
            }
        }
        for (who, count) in rules_of(&asked.needs) {
            let counts = |person: &&&OwnerId| {
                let Some((written, false)) = self.facts.owner(person) else { return false };
                match &who {
                    None => **person == &asked.owner,
                    Some(group) => {
                        let acts = self.facts.delegated(&asked.owner, person);
                        let acts = asked.call.agent.is_some() && acts.is_some_and(|e| now.0 < e);
                        let is_own = **person == &asked.owner || asked_by.contains(*person) || acts;
                        !is_own && written.groups.contains(group)
                    }
                }
            };
            let people = yes.iter().filter(counts).count();
            assert!(people >= count as usize, "{who:?} is not met for {id}");
        }
        assert!(self.is_policy_of(id), "policy is another: {id}");
        let taken_back = self.facts.taken_back.iter().filter(|r| r.place.index > id.0);
        for event in taken_back {
            let is_named = match &event.event.fact {
                Fact::AgentSuspended(f) => asked.call.agent.as_ref() == Some(&f.agent),
                Fact::AgentRetired(f) => asked.call.agent.as_ref() == Some(&f.agent),
                Fact::AgentReassigned(f) => asked.call.agent.as_ref() == Some(&f.agent),
                Fact::OwnerDisabled(f) => asked.owner == f.owner,
                Fact::TaskClosed(f) => asked.call.task == Some(f.task),
                Fact::RevocationIssued(f) => Self::names_approval(&f.selector, asked),
                _ => false,
            };
            assert!(!is_named, "taken back: {id} by {:?}", event.event.fact);
        }
    }

    /// Whether what was asked about is this very call, whenever, why and in whichever session it comes.
    fn is_same(&self, call: &Call, party: &Party<'_>, ask: &Authorize) -> bool {
        let agent = match &ask.subject {
            Subject::Agent(agent) => Some(agent),
            Subject::Person(_) => None,
        };
        let shown: BTreeMap<String, String> = call
            .disclosed
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        call.agent.as_ref() == agent
            && call.owner.as_ref() == Some(party.owner)
            && call.task == ask.task
            && call.tool == ask.tool
            && call.tool_hash == ask.tool_hash
            && call.action == ask.action
            && call.resource == ask.resource
            && call.effect == self.effect(ask)
            && call.arguments == ask.arguments
            && call.environment == ask.environment
            && call.actors == ask.actors
            && disclosed(ask)
                .is_some_and(|fields| fields.into_iter().collect::<BTreeMap<_, _>>() == shown)
    }
}

fn is_yes(fact: &Fact) -> bool {
    matches!(fact, Fact::ApprovalGranted(_))
}

/// The approval that an event ends.
fn ended(fact: &Fact) -> Option<ApprovalId> {
    match fact {
        Fact::ApprovalGranted(f) => f.complete.then_some(f.approval),
        Fact::ApprovalDenied(f) => Some(f.approval),
        Fact::ApprovalExpired(f) => Some(f.approval),
        Fact::ApprovalWithdrawn(f) => Some(f.approval),
        _ => None,
    }
}
