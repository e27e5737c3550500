//! Approvals: those that wait for people, and for a while those that ended.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::marks::Covered;
use super::{Holder, State};
use crate::approval::{denied_digest, is_met_by, question_digest};
use crate::event::{
    Actor, ApprovalRequested, ApprovalRule, Event, Fact, GrantIssued, Place, Scope,
};
use crate::id::{ApprovalId, GrantId, GrantRequestId, OwnerId, Text};
use crate::record::hash::Digest;
use crate::time::{Span, Time};

/// How long an approval is remembered after it ended; one that was denied at least until it would
/// have expired.
pub(super) const REMEMBERED: Span = Span::hours(1);
/// How many that were denied are remembered; those that would be forgotten first give way. They have
/// a shelf of their own, so that nobody asks them out of memory.
pub(super) const DENIED_MAX: usize = 4_096;
/// How many that ended otherwise are remembered.
pub(super) const ENDED_MAX: usize = 4_096;

/// Where an approval stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// It waits for people.
    Pending,
    /// Everybody who was needed said yes.
    Granted,
    /// Somebody said no.
    Denied,
    /// Nobody answered in time, or what it stood on is gone.
    Expired,
    /// Whoever asked does not want it any more.
    Withdrawn,
}

impl ApprovalStatus {
    /// The status as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// What one person said.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Said {
    /// Who.
    pub by: OwnerId,
    /// When.
    pub at: Time,
    /// Whether it was a yes.
    pub yes: bool,
    /// In their words.
    pub reason: Option<Text>,
}

/// An approval as it stands.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct Approval {
    /// What was asked.
    pub asked: ApprovalRequested,
    /// When.
    pub since: Time,
    /// Where it stands.
    pub status: ApprovalStatus,
    /// When it ended.
    pub ended: Option<Time>,
    /// Who said what, in order. INVARIANT: one yes a person.
    pub said: Vec<Said>,
    /// The grant that came of it.
    pub grant: Option<GrantId>,
    /// In whose name it was asked, beside the owner's: none of these answers it with a yes.
    pub asked_by: BTreeSet<OwnerId>,
}

impl Approval {
    /// Who would hold the grant.
    #[must_use]
    pub fn holder(&self) -> Holder {
        Self::holder_of(&self.asked)
    }

    /// Who would hold the grant that is asked for.
    pub(crate) fn holder_of(asked: &ApprovalRequested) -> Holder {
        match &asked.call.agent {
            Some(agent) => Holder::Agent(agent.clone()),
            None => Holder::Owner(asked.owner.clone()),
        }
    }

    /// What selectors can name about it.
    #[must_use]
    pub const fn covered(&self) -> Covered<'_> {
        Covered {
            grant: None,
            agent: self.asked.call.agent.as_ref(),
            owner: &self.asked.owner,
            task: self.asked.call.task,
            tool: self.asked.call.tool.as_ref(),
            resource: self.asked.scope.root(),
        }
    }

    /// Who said yes.
    pub fn yes(&self) -> impl Iterator<Item = &OwnerId> {
        self.said.iter().filter(|said| said.yes).map(|said| &said.by)
    }
}

/// All of them.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct Approvals {
    pending: BTreeMap<ApprovalId, Box<Approval>>,
    ended: BTreeMap<ApprovalId, Box<Approval>>,
    /// Those that wait, by what was asked. INVARIANT: here and in the next three exactly `pending`.
    by_question: BTreeMap<Digest, ApprovalId>,
    by_expiry: BTreeSet<(Time, ApprovalId)>,
    by_holder: BTreeSet<(Holder, ApprovalId)>,
    by_request: BTreeMap<GrantRequestId, ApprovalId>,
    /// The last denial of a call, or of a grant that was asked for, by that.
    denials: BTreeMap<Digest, ApprovalId>,
    /// Ended ones by when they are forgotten. INVARIANT: every one of `ended` in one of the two.
    denied: BTreeSet<(Time, ApprovalId)>,
    others: BTreeSet<(Time, ApprovalId)>,
}

impl Approvals {
    /// One that waits or ended a short while ago.
    #[must_use]
    pub fn get(&self, id: ApprovalId) -> Option<&Approval> {
        self.pending.get(&id).or_else(|| self.ended.get(&id)).map(AsRef::as_ref)
    }

    /// One that waits, though its time may be over and that not be recorded yet.
    #[must_use]
    pub fn pending(&self, id: ApprovalId) -> Option<&Approval> {
        self.pending.get(&id).map(AsRef::as_ref)
    }

    /// All with an id above `after`, in order.
    pub fn after(
        &self,
        after: Option<ApprovalId>,
    ) -> impl Iterator<Item = (ApprovalId, &Approval)> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let mut pending = self.pending.range(range).peekable();
        let mut ended = self.ended.range(range).peekable();
        std::iter::from_fn(move || {
            let from_pending = match (pending.peek(), ended.peek()) {
                (Some((one, _)), Some((other, _))) => one < other,
                (next, _) => next.is_some(),
            };
            let next = if from_pending { pending.next() } else { ended.next() };
            next.map(|(id, approval)| (*id, approval.as_ref()))
        })
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Those of one holder that wait, the oldest first.
    pub fn waiting_of(&self, holder: &Holder) -> impl Iterator<Item = ApprovalId> {
        let all = (holder.clone(), ApprovalId(0))..=(holder.clone(), ApprovalId(u64::MAX));
        self.by_holder.range(all).map(|(_, id)| *id)
    }

    /// The one that waits for an answer to this question.
    #[must_use]
    pub fn asking(&self, question: &Digest) -> Option<(ApprovalId, &Approval)> {
        let id = *self.by_question.get(question)?;
        Some((id, self.pending(id)?))
    }

    /// The one that a request for a grant waits for.
    #[must_use]
    pub fn of_request(&self, request: GrantRequestId) -> Option<ApprovalId> {
        self.by_request.get(&request).copied()
    }

    /// Whether anybody was denied a short while ago: while nobody was, no call need be hashed.
    #[must_use]
    pub fn has_denials(&self) -> bool {
        !self.denials.is_empty()
    }

    /// The denial of this very call, or of this very grant, as long as the request would have been
    /// open.
    #[must_use]
    pub fn denial_of(&self, denied: &Digest, now: Time) -> Option<(ApprovalId, &Approval)> {
        let id = *self.denials.get(denied)?;
        let denied = self.ended.get(&id)?;
        (now < denied.asked.expires_at).then_some((id, denied.as_ref()))
    }

    /// Those that wait and whose time is over at `now`, the one that expired first before others.
    pub fn overdue(&self, now: Time) -> impl Iterator<Item = ApprovalId> {
        self.by_expiry.iter().take_while(move |(end, _)| *end <= now).map(|(_, id)| *id)
    }

    /// Those that wait, in order.
    pub fn all_pending(&self) -> impl Iterator<Item = (ApprovalId, &Approval)> {
        self.pending.iter().map(|(id, approval)| (*id, approval.as_ref()))
    }

    fn request(&mut self, place: Place, asked: &ApprovalRequested) {
        let id = ApprovalId(place.index);
        let approval = Approval {
            asked: asked.clone(),
            since: place.time,
            status: ApprovalStatus::Pending,
            ended: None,
            said: Vec::new(),
            grant: None,
            asked_by: BTreeSet::new(),
        };
        self.by_question.insert(question_digest(asked), id);
        self.by_expiry.insert((asked.expires_at, id));
        self.by_holder.insert((approval.holder(), id));
        if let Some(request) = asked.request {
            self.by_request.insert(request, id);
        }
        self.pending.insert(id, Box::new(approval));
    }

    /// Remembers in whose name something was asked, also where it had been asked before.
    pub(super) fn asked(&mut self, place: Place, event: &Event) {
        let Some(human) = &event.about.on_behalf_of else { return };
        let id = if let Fact::ApprovalRequested(_) = &event.fact {
            ApprovalId(place.index)
        } else if let Fact::CallDenied(denied) = &event.fact
            && let Some(id) = denied.approval
        {
            id
        } else {
            return;
        };
        if let Some(approval) = self.pending.get_mut(&id).filter(|a| a.asked.owner != *human) {
            approval.asked_by.insert(human.clone());
        }
    }

    fn say(&mut self, id: ApprovalId, said: Said) {
        if let Some(approval) = self.pending.get_mut(&id) {
            approval.said.push(said);
        }
    }

    fn end(&mut self, id: ApprovalId, status: ApprovalStatus, now: Time) {
        let Some(mut approval) = self.pending.remove(&id) else { return };
        let question = question_digest(&approval.asked);
        if self.by_question.get(&question) == Some(&id) {
            self.by_question.remove(&question);
        }
        self.by_expiry.remove(&(approval.asked.expires_at, id));
        self.by_holder.remove(&(approval.holder(), id));
        if let Some(request) = approval.asked.request {
            self.by_request.remove(&request);
        }
        approval.status = status;
        approval.ended = Some(now);
        let until = now.after(REMEMBERED);
        if status == ApprovalStatus::Denied {
            self.deny(id, &approval.asked);
            self.denied.insert((until.max(approval.asked.expires_at), id));
        } else {
            self.others.insert((until, id));
        }
        self.ended.insert(id, approval);
    }

    /// Of several denials of the same the one counts that would have been open longest.
    fn deny(&mut self, id: ApprovalId, asked: &ApprovalRequested) {
        let denied = denied_digest(asked);
        let known = self.denials.get(&denied).and_then(|known| self.ended.get(known));
        if known.is_none_or(|known| known.asked.expires_at < asked.expires_at) {
            self.denials.insert(denied, id);
        }
    }

    fn granted(&mut self, fact: &GrantIssued, grant: GrantId) {
        if let Some(approval) = fact.approval.and_then(|id| self.ended.get_mut(&id)) {
            approval.grant = Some(grant);
        }
    }

    /// Lets go of what ended a while before `now`, and of what is too much.
    pub(super) fn forget(&mut self, now: Time) {
        for (shelf, most) in [(&mut self.denied, DENIED_MAX), (&mut self.others, ENDED_MAX)] {
            while let Some((until, id)) = shelf.first().copied() {
                if until > now && shelf.len() <= most {
                    break;
                }
                shelf.pop_first();
                let Some(gone) = self.ended.remove(&id) else { continue };
                let call = denied_digest(&gone.asked);
                if self.denials.get(&call) == Some(&id) {
                    self.denials.remove(&call);
                }
            }
        }
    }
}

impl State {
    /// Approvals that wait for people or ended a short while ago.
    #[must_use]
    pub const fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// The person in whose hand an actor is: who holds the key, or whom a token without an agent
    /// names.
    #[must_use]
    pub fn person<'a>(&'a self, actor: &'a Actor) -> Option<&'a OwnerId> {
        match actor {
            Actor::System => None,
            Actor::Credential { id, .. } => self.credentials.get(id)?.owner.as_ref(),
            Actor::Token { owner, agent, .. } => agent.is_none().then_some(owner),
        }
    }

    pub(super) fn apply_approval(&mut self, place: Place, fact: &Fact) {
        let approvals = &mut self.approvals;
        let end = if let Fact::ApprovalRequested(fact) = fact {
            return approvals.request(place, fact);
        } else if let Fact::ApprovalGranted(fact) = fact {
            let (by, at, reason) = (fact.by.clone(), place.time, fact.reason.clone());
            approvals.say(fact.approval, Said { by, at, yes: true, reason });
            fact.complete.then_some((fact.approval, ApprovalStatus::Granted))
        } else if let Fact::ApprovalDenied(fact) = fact {
            let (by, at, reason) = (fact.by.clone(), place.time, fact.reason.clone());
            approvals.say(fact.approval, Said { by, at, yes: false, reason });
            Some((fact.approval, ApprovalStatus::Denied))
        } else if let Fact::ApprovalExpired(fact) = fact {
            Some((fact.approval, ApprovalStatus::Expired))
        } else if let Fact::ApprovalWithdrawn(fact) = fact {
            if let Some(request) =
                approvals.pending(fact.approval).and_then(|withdrawn| withdrawn.asked.request)
            {
                self.requests.remove(&request);
            }
            Some((fact.approval, ApprovalStatus::Withdrawn))
        } else {
            None
        };
        if let Some((id, status)) = end {
            self.approvals.end(id, status, place.time);
        }
    }

    /// Notes the grant that came of an approval. The rules that people met for it.
    pub(super) fn apply_approved(&mut self, place: Place, fact: &GrantIssued) -> Vec<ApprovalRule> {
        self.approvals.granted(fact, GrantId(place.index));
        let approval = fact.approval.and_then(|id| self.approvals.get(id));
        approval.map_or_else(Vec::new, |approval| approval.asked.needs.clone())
    }

    /// Whether people may still answer: its time is not over, nothing took back since what it would
    /// grant, those whom it is about may act, and policy is the one that asked.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check_approval(
        &self,
        id: ApprovalId,
        approval: &Approval,
        now: Time,
    ) -> Result<(), &'static str> {
        let asked = &approval.asked;
        if approval.status != ApprovalStatus::Pending {
            return Err(match approval.status {
                ApprovalStatus::Granted => "it is granted already",
                ApprovalStatus::Denied => "somebody denied it",
                ApprovalStatus::Withdrawn => "it was withdrawn",
                ApprovalStatus::Expired | ApprovalStatus::Pending => "it has expired",
            });
        }
        if now >= asked.expires_at {
            return Err("it has expired");
        }
        let marks = &self.marks;
        if marks.ended_since(id.0, approval.covered()).is_some()
            || marks.suspension(approval.covered()).is_some()
            || self.has_holes(id, &asked.scope)
        {
            return Err("what it would grant was revoked meanwhile");
        }
        if !self.may_act(asked, now) {
            return Err("the agent, its owner or its task is not what it was");
        }
        if asked.request.is_some_and(|request| !self.requests.contains_key(&request)) {
            return Err("the request for a grant has its answer");
        }
        if self.policy_hash() != asked.policy_hash {
            return Err("policy has changed meanwhile");
        }
        Ok(())
    }

    /// Whether a part of a prefix was taken back since people were asked about the whole of it.
    fn has_holes(&self, id: ApprovalId, scope: &Scope) -> bool {
        match scope {
            Scope::Exact(_) => false,
            Scope::Within(prefix) => self.marks.ended_below(id.0, prefix),
        }
    }

    fn may_act(&self, asked: &ApprovalRequested, now: Time) -> bool {
        let agent = asked.call.agent.as_ref().is_none_or(|id| {
            self.agents.get(id).is_some_and(|agent| {
                agent.owner == asked.owner
                    && agent.status == super::AgentStatus::Active
                    && agent.settings.expires_at.is_none_or(|end| now < end)
            })
        });
        let task = asked.call.task.is_none_or(|task| self.tasks.contains_key(&task));
        agent && task && self.is_enabled(&asked.owner)
    }

    fn is_enabled(&self, owner: &OwnerId) -> bool {
        self.owners.get(owner).is_some_and(|owner| !owner.disabled)
    }

    /// Whether this person, as the registry knows them at `now`, is one of those that `rule` asks for.
    ///
    /// Nobody approves what is their own, unless policy asks for just that. The rule `owner` does: it
    /// counts the owner in person and never a delegate, who acts through the owner's agents and
    /// decides nothing for the owner. A group's rule asks for somebody else: of its members it counts
    /// neither the owner, nor who may act through the agent as the owner's delegate now, nor anybody in
    /// whose name the same was asked, a delegate who is none any more among them. Since it is read anew
    /// for every yes when the last one comes, who becomes a delegate or asks after saying yes does not
    /// count either.
    #[must_use]
    pub fn counts_for(
        &self,
        person: &OwnerId,
        rule: &ApprovalRule,
        approval: &Approval,
        now: Time,
    ) -> bool {
        let known = self.owners.get(person).filter(|owner| !owner.disabled);
        known.is_some_and(|owner| match rule {
            ApprovalRule::Owner => *person == approval.asked.owner,
            ApprovalRule::Group { group, .. } => {
                owner.written.groups.contains(group) && !self.is_own(person, approval, now)
            }
        })
    }

    /// Whether this person asked, or might have through the agent.
    pub(crate) fn is_own(&self, person: &OwnerId, approval: &Approval, now: Time) -> bool {
        let asked = &approval.asked;
        *person == asked.owner
            || approval.asked_by.contains(person)
            || (asked.call.agent.is_some() && self.is_delegate(person, &asked.owner, now))
    }

    /// Whether this person may say no: who may say yes, and whose own it is, since that only narrows.
    #[must_use]
    pub fn may_turn_down(&self, person: &OwnerId, approval: &Approval, now: Time) -> bool {
        let mut needs = approval.asked.needs.iter();
        self.is_own(person, approval, now)
            || needs.any(|rule| self.counts_for(person, rule, approval, now))
    }

    /// Whether every rule is met once these people have said yes. Who left a group meanwhile, or
    /// was disabled, does not count any more.
    #[must_use]
    pub fn is_complete(&self, approval: &Approval, yes: &BTreeSet<OwnerId>, now: Time) -> bool {
        let asked = &approval.asked;
        !asked.needs.is_empty()
            && asked.needs.iter().all(|rule| {
                let people = yes.iter().filter(|one| self.counts_for(one, rule, approval, now));
                let least = match rule {
                    ApprovalRule::Owner => 1,
                    ApprovalRule::Group { count, .. } => *count,
                };
                people.count() >= least as usize
            })
    }
}

/// Whether people have met every rule that policy asks for now.
pub(super) fn are_met(asked: &[ApprovalRule], met: &[ApprovalRule]) -> bool {
    asked.iter().all(|rule| is_met_by(rule, met))
}
