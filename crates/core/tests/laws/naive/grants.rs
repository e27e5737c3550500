//! Which grant a call uses, and why it may use none.

use bailiwick_core::command::{Authorize, Subject};
use bailiwick_core::event::{
    ApprovalRequested, DenialCode, Fact, GrantIssued, Issuance, Recorded, Scope, Selector,
};
use bailiwick_core::id::{GrantId, OwnerId};
use bailiwick_core::time::Time;

use super::arguments::meet;
use super::evaluator::{Asked, Denial, Naive, Party, later, names_call};
use super::facts::Standing;
use super::policies::lies_within;

/// A grant and what has become of it.
pub(super) struct Known<'a> {
    pub(super) id: GrantId,
    pub(super) fact: &'a GrantIssued,
    pub(super) max_uses: u32,
    /// Its own and those of all that was delegated from it.
    pub(super) uses: u32,
    pub(super) expires_at: u64,
    /// When it was handed back.
    pub(super) returned: Option<u64>,
    /// Index of the event that says that it has ended.
    ended: Option<u64>,
}

impl Naive {
    /// The live grant with the lowest index; or the reason that comes from the latest that is not
    /// live any more and still remembered.
    pub(super) fn held(
        &self,
        party: &Party<'_>,
        asked: &Asked,
        ask: &Authorize,
        now: Time,
    ) -> Result<Known<'_>, Denial> {
        let mut live = Vec::new();
        let mut dead: Vec<(Known<'_>, DenialCode)> = Vec::new();
        for (id, fact) in self.issued().filter(|(_, fact)| covers(fact, ask)) {
            let grant = self.known(id, fact);
            match self.fault(&grant, party, asked, ask, now) {
                None => live.push(grant),
                Some(code) if self.is_remembered(&grant) => dead.push((grant, code)),
                Some(_) => {}
            }
        }
        if live.len() > 1 {
            self.meet("choice", "several are live");
        }
        if !live.is_empty() && !dead.is_empty() {
            self.meet("choice", "one is live, another is not");
        }
        if !live.is_empty() {
            return Ok(live.remove(0));
        }
        let mut codes: Vec<DenialCode> = dead.iter().map(|(_, code)| *code).collect();
        codes.dedup();
        if codes.len() > 1 {
            self.meet("choice", "none is live, for several reasons");
        }
        Err(match dead.pop() {
            Some((grant, code)) => Denial { grant: Some(grant.id), ..code.into() },
            None => DenialCode::NoGrant.into(),
        })
    }

    /// All grants in the order in which they were issued.
    fn issued(&self) -> impl Iterator<Item = (GrantId, &GrantIssued)> {
        self.facts.grants.iter().filter_map(|recorded| match &recorded.event.fact {
            Fact::GrantIssued(fact) => Some((GrantId(recorded.place.index), fact)),
            _ => None,
        })
    }

    pub(super) fn grant(&self, id: GrantId) -> Option<Known<'_>> {
        self.issued().find(|issued| issued.0 == id).map(|(id, fact)| self.known(id, fact))
    }

    fn known<'a>(&'a self, id: GrantId, fact: &'a GrantIssued) -> Known<'a> {
        let mut known = Known {
            id,
            fact,
            max_uses: fact.max_uses,
            uses: 0,
            expires_at: fact.expires_at.0,
            returned: None,
            ended: None,
        };
        for recorded in &self.facts.allowed {
            let used = uses(recorded);
            let rests_on_it = || used.is_some_and(|used| self.ancestors(used).contains(&id));
            known.uses += u32::from(used == Some(id) || rests_on_it());
        }
        for recorded in &self.facts.grants {
            let (ends, is_return) = match &recorded.event.fact {
                Fact::GrantReturned(f) => (f.grant, true),
                Fact::GrantExpired(f) | Fact::GrantExhausted(f) => (f.grant, false),
                _ => continue,
            };
            // An end in time that is recorded when the grant is forgotten already changes nothing.
            let before = recorded
                .place
                .index
                .checked_sub(1)
                .and_then(|n| self.facts.times.get(usize::try_from(n).unwrap()).copied());
            let forgotten = before.is_some_and(|last| later(known.expires_at, 60_000) <= last);
            if ends == id && !forgotten {
                known.ended = Some(recorded.place.index);
                known.returned = is_return.then_some(recorded.place.time.0);
            }
        }
        known
    }

    /// What a grant was delegated from, and that, and so on up to the one that nobody delegated.
    pub(super) fn ancestors(&self, id: GrantId) -> Vec<GrantId> {
        let mut ancestors = Vec::new();
        let mut next = self.issue(id).and_then(|fact| fact.parent);
        while let Some(id) = next {
            ancestors.push(id);
            next = self.issue(id).and_then(|fact| fact.parent);
        }
        ancestors
    }

    fn issue(&self, id: GrantId) -> Option<&GrantIssued> {
        let grants = &self.facts.grants;
        let at = grants.binary_search_by_key(&id.0, |recorded| recorded.place.index).ok()?;
        match &grants[at].event.fact {
            Fact::GrantIssued(fact) => Some(fact),
            _ => None,
        }
    }

    pub(super) fn known_ancestors(&self, id: GrantId) -> Vec<Known<'_>> {
        self.ancestors(id).into_iter().filter_map(|id| self.grant(id)).collect()
    }

    /// Why a grant that covers the call is not good for it: by itself, by what it was delegated
    /// from, by what was taken back of this very call, or by policy.
    fn fault(
        &self,
        grant: &Known<'_>,
        party: &Party<'_>,
        asked: &Asked,
        ask: &Authorize,
        now: Time,
    ) -> Option<DenialCode> {
        if let Some(code) = self.fault_alone(grant, now) {
            return Some(code);
        }
        let ancestors = self.known_ancestors(grant.id);
        for ancestor in &ancestors {
            if let Some(code) = self.fault_of_ancestor(ancestor, now) {
                self.meet("ancestor", code.as_str());
                return Some(code);
            }
        }
        if self.is_call_taken_back(grant.id, ask, party.owner) {
            self.meet("grant", "taken back for this call only");
            return Some(DenialCode::GrantRevoked);
        }
        if ancestors.iter().any(|ancestor| self.is_taken_back_of(ancestor, ask)) {
            self.meet("ancestor", "taken back for this call only");
            return Some(DenialCode::GrantRevoked);
        }
        if !self.is_shown(grant.fact, party, ask) {
            self.meet("grant", "approved for something else");
            return Some(DenialCode::ApprovalMismatch);
        }
        let narrowed = |grant| self.narrowed(grant, asked, now);
        if let Some(code) = std::iter::once(grant).chain(&ancestors).find_map(narrowed) {
            return Some(code);
        }
        ancestors.iter().find_map(|ancestor| match self.asked_of_giver(ancestor, ask, now) {
            Err(denial) => {
                self.meet("giver", "may_not");
                denial.code
            }
            Ok(asked) => self.narrowed(ancestor, &asked, now),
        })
    }

    /// What policy asks of the holder of an ancestor for this call, who gave on what he may do.
    pub(super) fn asked_of_giver(
        &self,
        ancestor: &Known<'_>,
        ask: &Authorize,
        now: Time,
    ) -> Result<Asked, Denial> {
        self.may(&by_holder(ancestor.fact, ask), now).map(|(_, asked)| asked)
    }

    /// Whether the holder of an ancestor could not make this call with it any more.
    pub(super) fn is_taken_back_of(&self, ancestor: &Known<'_>, ask: &Authorize) -> bool {
        let fact = ancestor.fact;
        self.is_call_taken_back(ancestor.id, &by_holder(fact, ask), &fact.owner)
    }

    fn fault_of_ancestor(&self, ancestor: &Known<'_>, now: Time) -> Option<DenialCode> {
        if self.is_task_closed(ancestor.fact) {
            return Some(DenialCode::GrantRevoked);
        }
        self.fault_alone(ancestor, now)
            .or_else(|| (!self.lives(ancestor.fact, now)).then_some(DenialCode::GrantExpired))
    }

    pub(super) fn is_task_closed(&self, fact: &GrantIssued) -> bool {
        fact.task.is_some_and(|task| self.facts.open_task(task).is_none())
    }

    /// Whether the holder's registration has not run out.
    fn lives(&self, fact: &GrantIssued, now: Time) -> bool {
        fact.agent.as_ref().is_none_or(|agent| {
            let settings = self.facts.agent(agent).map(|(written, _)| &written.settings);
            settings.is_some_and(|s| s.expires_at.is_none_or(|end| now.0 < end.0))
        })
    }

    /// Whether the holder may act.
    pub(super) fn may_act(&self, fact: &GrantIssued, now: Time) -> bool {
        let is_active = fact.agent.as_ref().is_none_or(|agent| {
            self.facts.agent(agent).is_some_and(|(_, standing)| standing == Standing::Active)
        });
        is_active && self.lives(fact, now)
    }

    /// Why a grant is not good, by itself.
    fn fault_alone(&self, grant: &Known<'_>, now: Time) -> Option<DenialCode> {
        if self.is_taken_back(grant, u64::MAX) || grant.returned.is_some() {
            return Some(DenialCode::GrantRevoked);
        }
        if grant.uses >= grant.max_uses {
            return Some(DenialCode::GrantExhausted);
        }
        if now.0 >= grant.expires_at {
            return Some(DenialCode::GrantExpired);
        }
        (now < grant.fact.not_before).then_some(DenialCode::NotYetValid)
    }

    /// What no operator issued goes no further than policy goes now.
    fn narrowed(&self, grant: &Known<'_>, asked: &Asked, now: Time) -> Option<DenialCode> {
        // What the glass was broken for is for that alone, and beside it only what people approved.
        let fits = match grant.fact.issuance {
            Issuance::BreakGlass => asked.breakglass,
            Issuance::Approved => true,
            _ => !asked.breakglass,
        };
        if !fits {
            return Some(DenialCode::NoGrant);
        }
        if grant.fact.issuance == Issuance::Operator {
            return None;
        }
        let fault = if !self.is_approved(grant.fact, &asked.approval) {
            DenialCode::ApprovalRequired
        } else if asked.ttl.is_some_and(|ttl| now.0 >= later(grant.fact.not_before.0, ttl)) {
            DenialCode::GrantExpired
        } else if asked.uses.is_some_and(|uses| grant.uses >= uses) {
            DenialCode::GrantExhausted
        } else {
            return None;
        };
        self.meet("narrowed", fault.as_str());
        Some(fault)
    }

    /// Whether something took back what the grant itself names, after it was issued and before the
    /// event `until`.
    fn is_taken_back(&self, grant: &Known<'_>, until: u64) -> bool {
        let fact = grant.fact;
        self.since(grant.id, until).any(|event| match event {
            Fact::AgentSuspended(f) => fact.agent.as_ref() == Some(&f.agent),
            Fact::AgentReassigned(f) => fact.agent.as_ref() == Some(&f.agent),
            Fact::AgentRetired(f) => fact.agent.as_ref() == Some(&f.agent),
            Fact::OwnerDisabled(f) => fact.owner == f.owner,
            Fact::RevocationIssued(f) => match &f.selector {
                Selector::Grant(id) => grant.id == *id,
                Selector::Agent(id) => fact.agent.as_ref() == Some(id),
                Selector::Owner(id) => fact.owner == *id,
                Selector::Task(id) => fact.task == Some(*id),
                Selector::Tool(id) => fact.tool.as_ref() == Some(id),
                Selector::Resource(prefix) => lies_within(root(&fact.scope), prefix.as_str()),
                Selector::All => true,
            },
            _ => false,
        })
    }

    /// Whether a selector names what people are asked for.
    pub(super) fn names_approval(selector: &Selector, asked: &ApprovalRequested) -> bool {
        match selector {
            Selector::Grant(_) => false,
            Selector::Agent(id) => asked.call.agent.as_ref() == Some(id),
            Selector::Owner(id) => asked.owner == *id,
            Selector::Task(id) => asked.call.task == Some(*id),
            Selector::Tool(id) => asked.call.tool.as_ref() == Some(id),
            Selector::Resource(prefix) => {
                let a_part = matches!(asked.scope, Scope::Within(_))
                    && lies_within(prefix.as_str(), root(&asked.scope));
                a_part || lies_within(root(&asked.scope), prefix.as_str())
            }
            Selector::All => true,
        }
    }

    /// Whether something took back what this very call names, after the grant was issued. What took
    /// back the grant by its number is forgotten together with the grant.
    pub(super) fn is_call_taken_back(&self, id: GrantId, ask: &Authorize, owner: &OwnerId) -> bool {
        self.since(id, u64::MAX).any(|event| match event {
            Fact::AgentSuspended(f) => ask.subject == Subject::Agent(f.agent.clone()),
            Fact::AgentReassigned(f) => ask.subject == Subject::Agent(f.agent.clone()),
            Fact::AgentRetired(f) => ask.subject == Subject::Agent(f.agent.clone()),
            Fact::OwnerDisabled(f) => *owner == f.owner,
            Fact::RevocationIssued(f) => match &f.selector {
                Selector::Grant(taken) => {
                    *taken == id && self.grant(id).is_some_and(|grant| !self.is_forgotten(&grant))
                }
                selector => names_call(selector, ask, owner),
            },
            _ => false,
        })
    }

    fn since(&self, grant: GrantId, until: u64) -> impl Iterator<Item = &Fact> {
        let between = move |index: u64| grant.0 < index && index < until;
        let events = self.facts.taken_back.iter().filter(move |r| between(r.place.index));
        events.map(|recorded| &recorded.event.fact)
    }

    /// Why nothing covers a call is told by as many grants as the ledger can afford to remember:
    /// none for more than a minute after its end in time; of those on the same terms whose end is
    /// recorded only the one that ended last; and none that was over when another was issued on
    /// the same terms.
    pub(super) fn is_remembered(&self, grant: &Known<'_>) -> bool {
        if self.is_forgotten(grant) {
            return false;
        }
        let mut others = self.issued().filter(|(_, other)| has_same_terms(other, grant.fact));
        match grant.ended {
            Some(ended) => others.all(|(id, fact)| self.known(id, fact).ended <= Some(ended)),
            None => !others.any(|(id, _)| {
                let over = self.time_of(id) >= grant.expires_at;
                id > grant.id && (over || self.is_taken_back(grant, id.0))
            }),
        }
    }

    /// Whether a grant's time was over a minute ago, by the last event.
    pub(super) fn is_forgotten(&self, grant: &Known<'_>) -> bool {
        let over = grant.returned.unwrap_or(grant.expires_at);
        later(over, 60_000) <= self.facts.last_time
    }

    fn time_of(&self, grant: GrantId) -> u64 {
        let issued = self.facts.grants.iter().find(|r| r.place.index == grant.0);
        issued.map_or(0, |recorded| recorded.place.time.0)
    }
}

fn uses(recorded: &Recorded) -> Option<GrantId> {
    match &recorded.event.fact {
        Fact::CallAuthorized(fact) => Some(fact.grant),
        _ => None,
    }
}

fn covers(grant: &GrantIssued, ask: &Authorize) -> bool {
    let is_holder = match (&ask.subject, &grant.agent) {
        (Subject::Agent(id), Some(agent)) => id == agent,
        (Subject::Person(id), None) => *id == grant.owner,
        (Subject::Agent(_), None) | (Subject::Person(_), Some(_)) => false,
    };
    let holds_resource = match &grant.scope {
        Scope::Exact(exact) => exact == &ask.resource,
        Scope::Within(prefix) => lies_within(ask.resource.as_str(), prefix.as_str()),
    };
    is_holder
        && holds_resource
        && grant.action == ask.action
        && (grant.task.is_none() || grant.task == ask.task)
        && (grant.tool.is_none() || grant.tool == ask.tool)
        && meet(&grant.constraints, ask.args.as_deref())
}

/// The call as the holder of a grant would make it.
fn by_holder(grant: &GrantIssued, ask: &Authorize) -> Authorize {
    let mut by_holder = ask.clone();
    by_holder.task = grant.task;
    if let Some(told) = &mut by_holder.told {
        told.subject = Default::default();
    }
    by_holder.subject = match &grant.agent {
        Some(agent) => Subject::Agent(agent.clone()),
        None => Subject::Person(grant.owner.clone()),
    };
    by_holder
}

/// The same holder, action, scope and task; whatever the tool.
fn has_same_terms(one: &GrantIssued, other: &GrantIssued) -> bool {
    let holder = |grant: &GrantIssued| match &grant.agent {
        Some(agent) => (true, agent.to_string()),
        None => (false, grant.owner.to_string()),
    };
    holder(one) == holder(other)
        && one.action == other.action
        && one.scope == other.scope
        && one.task == other.task
}

fn root(scope: &Scope) -> &str {
    match scope {
        Scope::Exact(resource) | Scope::Within(resource) => resource.as_str(),
    }
}
