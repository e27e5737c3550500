//! Grants: by id, by who may use them for what, and by when they run out.

use std::collections::{BTreeMap, BTreeSet};

use super::marks::{Covered, Marks};
use crate::event::{ApprovalRule, Constraint, DenialCode, GrantIssued, Issuance, Scope, Selector};
use crate::id::{Action, AgentId, ApprovalId, GrantId, OwnerId, Resource, TaskId, ToolId};
use crate::record::hash::Digest;
use crate::time::{Span, Time};

/// How long after its expiry a grant is remembered, to say why it is no longer good.
pub(super) const REMEMBERED: Span = Span::minutes(1);

/// Who holds a grant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub enum Holder {
    /// An agent.
    Agent(AgentId),
    /// An owner in person.
    Owner(OwnerId),
}

/// How a grant ended before its watermark or its time did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bincode::Encode, bincode::Decode, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Handed back.
    Returned,
    /// Out of time, and recorded so.
    Expired,
    /// Out of uses.
    Exhausted,
}

/// What few grants are held to beside their terms.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Bounds {
    /// What the arguments have to be.
    pub constraints: Vec<Constraint>,
    /// The grant that it was delegated from, and dies with.
    pub parent: Option<GrantId>,
    /// The approval it came of.
    pub approval: Option<ApprovalId>,
    /// Digest of the one call that people approved.
    pub shown: Option<Digest>,
    /// The rules that they met: where policy asks for more, it is not approved.
    pub met: Vec<ApprovalRule>,
    /// How many grants were delegated from it, by its holder or by those who hold such a one.
    pub delegated: u32,
}

impl Bounds {
    fn of(fact: &GrantIssued, met: Vec<ApprovalRule>) -> Option<Box<Self>> {
        let bounds = Self {
            constraints: fact.constraints.clone(),
            parent: fact.parent,
            approval: fact.approval,
            shown: fact.shown,
            met,
            delegated: 0,
        };
        (bounds != Self::default()).then(|| Box::new(bounds))
    }
}

/// A grant as it stands.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct Grant {
    /// Who holds it.
    pub holder: Holder,
    /// Whose authority.
    pub owner: OwnerId,
    /// For which task only.
    pub task: Option<TaskId>,
    /// Through which tool only.
    pub tool: Option<ToolId>,
    /// To do what.
    pub action: Action,
    /// To what.
    pub scope: Scope,
    /// From when.
    pub not_before: Time,
    /// Until when; for one that was handed back, until then.
    pub expires_at: Time,
    /// How often.
    pub max_uses: u32,
    /// How it came to be.
    pub issuance: Issuance,
    /// How often it was used. INVARIANT: at most `max_uses`.
    pub uses: u32,
    /// How it ended, if by itself.
    pub ended: Option<End>,
    /// What it is held to beside its terms, if anything.
    pub bounds: Option<Box<Bounds>>,
}

impl Grant {
    /// What a call's arguments have to be.
    #[must_use]
    pub fn constraints(&self) -> &[Constraint] {
        self.bounds.as_ref().map_or(&[], |bounds| &bounds.constraints)
    }

    /// The grant that it was delegated from.
    #[must_use]
    pub fn parent(&self) -> Option<GrantId> {
        self.bounds.as_ref().and_then(|bounds| bounds.parent)
    }

    /// How many grants were delegated from it, directly or not.
    #[must_use]
    pub fn delegated(&self) -> u32 {
        self.bounds.as_ref().map_or(0, |bounds| bounds.delegated)
    }

    /// Whether it was delegated, or something was delegated from it.
    fn has_family(&self) -> bool {
        self.parent().is_some() || self.delegated() > 0
    }

    /// The digest of the one call that people approved, if it came of that.
    #[must_use]
    pub fn shown(&self) -> Option<Digest> {
        self.bounds.as_ref().and_then(|bounds| bounds.shown)
    }

    /// Whether people have met every one of these rules for it.
    #[must_use]
    pub fn is_approved(&self, rules: &[ApprovalRule]) -> bool {
        super::approvals::are_met(rules, self.bounds.as_ref().map_or(&[], |bounds| &bounds.met))
    }

    /// What selectors can name about the grant itself.
    #[must_use]
    pub const fn covered(&self, id: GrantId) -> Covered<'_> {
        Covered {
            grant: Some(id),
            agent: match &self.holder {
                Holder::Agent(agent) => Some(agent),
                Holder::Owner(_) => None,
            },
            owner: &self.owner,
            task: self.task,
            tool: self.tool.as_ref(),
            resource: self.scope.root(),
        }
    }

    /// Whether the grant by itself is good at `now`, watermarks included, and if not, why. What it was
    /// delegated from is another question: see [`super::State::check_grant`].
    ///
    /// # Errors
    /// The denial code that says why it is not.
    pub fn check(&self, id: GrantId, marks: &Marks, now: Time) -> Result<(), DenialCode> {
        if marks.ended_since(id.0, self.covered(id)).is_some() {
            return Err(DenialCode::GrantRevoked);
        }
        match self.ended {
            Some(End::Returned) => return Err(DenialCode::GrantRevoked),
            Some(End::Expired) => return Err(DenialCode::GrantExpired),
            Some(End::Exhausted) => return Err(DenialCode::GrantExhausted),
            None => {}
        }
        if now >= self.expires_at {
            Err(DenialCode::GrantExpired)
        } else if self.uses >= self.max_uses {
            Err(DenialCode::GrantExhausted)
        } else if now < self.not_before {
            Err(DenialCode::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// What a grant covers, as a number: a hash of its holder, task, action and scope. It only finds
/// grants; what it finds is compared, so two things with one number do no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
struct Fingerprint(u64);

impl Fingerprint {
    fn of(grant: &Grant) -> Self {
        let within = matches!(grant.scope, Scope::Within(_));
        let root = grant.scope.root().as_str();
        Self::new(&grant.holder, grant.task, &grant.action, within, root)
    }

    fn new(
        holder: &Holder,
        task: Option<TaskId>,
        action: &Action,
        within: bool,
        root: &str,
    ) -> Self {
        let (kind, id) = match holder {
            Holder::Agent(id) => (0, id.as_str()),
            Holder::Owner(id) => (1, id.as_str()),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind, u8::from(within), u8::from(task.is_some())]);
        hasher.update(&task.map_or(0, |task| task.0).to_le_bytes());
        for text in [id, action.as_str(), root] {
            hasher.update(text.as_bytes());
            // Ends each text: no identity holds a control character.
            hasher.update(&[0]);
        }
        let mut number = [0; 8];
        number.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(number))
    }
}

/// All grants that are live or ended a short while ago.
///
/// Made for very many: a live grant costs one boxed [`Grant`] and three short keys.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct Grants {
    by_id: BTreeMap<GrantId, Box<Grant>>,
    /// Not known to have ended, by what they cover.
    open: BTreeSet<(Fingerprint, GrantId)>,
    /// The last one that ended, by what it covered: to say why nothing covers a call.
    ended: BTreeMap<Fingerprint, GrantId>,
    /// How many remembered grants of a holder are for a prefix: while none is, no prefix is
    /// looked up.
    prefixed: BTreeMap<Holder, u64>,
    /// INVARIANT: every grant of `by_id` once, under its own `expires_at`.
    by_expiry: BTreeSet<(Time, GrantId)>,
}

impl Grants {
    pub(super) fn issue(
        &mut self,
        index: u64,
        fact: &GrantIssued,
        met: Vec<ApprovalRule>,
        marks: &Marks,
        now: Time,
    ) {
        let id = GrantId(index);
        let holder = match &fact.agent {
            Some(agent) => Holder::Agent(agent.clone()),
            None => Holder::Owner(fact.owner.clone()),
        };
        let grant = Grant {
            holder,
            owner: fact.owner.clone(),
            task: fact.task,
            tool: fact.tool.clone(),
            action: fact.action.clone(),
            scope: fact.scope.clone(),
            not_before: fact.not_before,
            expires_at: fact.expires_at,
            max_uses: fact.max_uses,
            issuance: fact.issuance,
            uses: 0,
            ended: None,
            bounds: Bounds::of(fact, met),
        };
        self.count_delegation(fact.parent);
        let fingerprint = Fingerprint::of(&grant);
        self.prune(fingerprint, marks, now);
        self.open.insert((fingerprint, id));
        if matches!(grant.scope, Scope::Within(_)) {
            *self.prefixed.entry(grant.holder.clone()).or_default() += 1;
        }
        self.by_expiry.insert((grant.expires_at, id));
        self.by_id.insert(id, Box::new(grant));
    }

    /// Takes what has ended by watermark or time out of the way of those who look for a grant.
    fn prune(&mut self, fingerprint: Fingerprint, marks: &Marks, now: Time) {
        let is_over = |id: &GrantId| match self.by_id.get(id).map(|g| g.check(*id, marks, now)) {
            Some(Ok(()) | Err(DenialCode::NotYetValid)) => false,
            Some(Err(_)) | None => true,
        };
        let over: Vec<GrantId> = self.open_at(fingerprint).filter(is_over).collect();
        for id in over {
            self.open.remove(&(fingerprint, id));
        }
    }

    fn open_at(&self, fingerprint: Fingerprint) -> impl Iterator<Item = GrantId> {
        let all = (fingerprint, GrantId(0))..=(fingerprint, GrantId(u64::MAX));
        self.open.range(all).map(|(_, id)| *id)
    }

    /// A use of a grant is one of everything that it was delegated from, so that a family together
    /// never goes beyond its root.
    pub(super) fn used(&mut self, id: GrantId) {
        let mut next = Some(id);
        while let Some(grant) = next.and_then(|id| self.by_id.get_mut(&id)) {
            grant.uses = grant.uses.saturating_add(1);
            debug_assert!(
                grant.uses <= grant.max_uses,
                "a grant is never used more than it allows"
            );
            next = grant.parent().filter(|parent| Some(*parent) < next);
        }
    }

    /// Counts one more grant that was delegated from `parent`, and so from all that that one was.
    fn count_delegation(&mut self, parent: Option<GrantId>) {
        let mut next = parent;
        while let Some(grant) = next.and_then(|id| self.by_id.get_mut(&id)) {
            let bounds = grant.bounds.get_or_insert_default();
            bounds.delegated = bounds.delegated.saturating_add(1);
            next = bounds.parent.filter(|parent| Some(*parent) < next);
        }
    }

    /// Ends a grant. Of those that covered the same only the last one that ended is remembered,
    /// and those that somebody took back or handed back: while the call that used them may still
    /// be asked about again, the answer is no. Those of a family are, too: what was delegated from
    /// them rests on them.
    pub(super) fn end(&mut self, id: GrantId, end: End, marks: &Marks, now: Time) {
        let Some(grant) = self.by_id.get_mut(&id).filter(|grant| grant.ended.is_none()) else {
            return;
        };
        grant.ended = Some(end);
        if end == End::Returned && now < grant.expires_at {
            self.by_expiry.remove(&(grant.expires_at, id));
            grant.expires_at = now;
            self.by_expiry.insert((now, id));
        }
        let fingerprint = Fingerprint::of(grant);
        self.open.remove(&(fingerprint, id));
        let Some(before) = self.ended.insert(fingerprint, id) else { return };
        let is_needed = self.by_id.get(&before).is_some_and(|grant| {
            grant.ended == Some(End::Returned) || marks.names_grant(before) || grant.has_family()
        });
        if !is_needed {
            self.remove(before);
        }
    }

    /// Lets go of what expired a while before `now`, and says of each that it did.
    pub(super) fn forget(&mut self, now: Time, mut gone: impl FnMut(GrantId)) {
        while let Some((expires_at, id)) = self.by_expiry.first().copied() {
            if expires_at.after(REMEMBERED) > now {
                return;
            }
            self.remove(id);
            gone(id);
        }
    }

    fn remove(&mut self, id: GrantId) {
        let Some(grant) = self.by_id.remove(&id) else { return };
        self.by_expiry.remove(&(grant.expires_at, id));
        let fingerprint = Fingerprint::of(&grant);
        self.open.remove(&(fingerprint, id));
        if self.ended.get(&fingerprint) == Some(&id) {
            self.ended.remove(&fingerprint);
        }
        if matches!(grant.scope, Scope::Within(_))
            && let Some(count) = self.prefixed.get_mut(&grant.holder)
        {
            *count -= 1;
            if *count == 0 {
                self.prefixed.remove(&grant.holder);
            }
        }
    }

    /// A grant by its id.
    #[must_use]
    pub fn get(&self, id: GrantId) -> Option<&Grant> {
        self.by_id.get(&id).map(AsRef::as_ref)
    }

    /// A grant and all that it was delegated from, itself first and the root last. One that is not
    /// remembered any more comes without its record and ends the line: whatever rests on it is not
    /// to be trusted.
    pub fn lineage(&self, id: GrantId) -> impl Iterator<Item = (GrantId, Option<&Grant>)> {
        let mut next = Some(id);
        let mut below = u64::MAX;
        std::iter::from_fn(move || {
            let id = next?;
            // A parent is always the older one, whatever a record says: a line has an end.
            let grant = self.get(id).filter(|_| id.0 < below);
            below = id.0;
            next = grant.and_then(Grant::parent);
            Some((id, grant))
        })
    }

    /// Whether a selector names a grant, or one that it was delegated from.
    #[must_use]
    pub fn is_named_by(&self, id: GrantId, selector: &Selector) -> bool {
        let mut line = self.lineage(id).filter_map(|(id, grant)| Some((id, grant?)));
        line.any(|(id, grant)| grant.covered(id).is_named_by(selector))
    }

    /// All remembered grants with an id above `after`, in order.
    pub fn after(&self, after: Option<GrantId>) -> impl Iterator<Item = (GrantId, &Grant)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let rest = self.by_id.range((from, std::ops::Bound::Unbounded));
        rest.map(|(id, grant)| (*id, grant.as_ref()))
    }

    /// How many grants are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Grants that could cover `action` on `resource` for `holder` under `task`: those of the task
    /// and those of no task, exact ones and every prefix, the last that ended included.
    pub fn candidates<'a>(
        &'a self,
        holder: &'a Holder,
        task: Option<TaskId>,
        action: &'a Action,
        resource: &'a Resource,
    ) -> impl Iterator<Item = (GrantId, &'a Grant)> {
        let tasks = std::iter::once(None).chain(task.map(Some));
        let exact = tasks.clone().map(move |task| (task, false, resource.clone()));
        let any_prefix = self.prefixed.contains_key(holder);
        let prefixes = any_prefix.then(|| resource.prefixes()).into_iter().flatten();
        let within = prefixes
            .flat_map(move |root| tasks.clone().map(move |task| (task, true, root.clone())));
        let found = exact.chain(within).flat_map(move |(task, within, root)| {
            let at = Fingerprint::new(holder, task, action, within, root.as_str());
            self.open_at(at).chain(self.ended.get(&at).copied())
        });
        found.filter_map(|id| Some((id, self.get(id)?))).filter(move |(_, grant)| {
            grant.holder == *holder
                && grant.action == *action
                && grant.task.is_none_or(|of| task == Some(of))
                && grant.scope.covers(resource)
        })
    }

    /// Grants whose time is over at `now` and that have not ended otherwise, oldest first.
    pub fn run_out<'a>(
        &'a self,
        marks: &'a Marks,
        now: Time,
    ) -> impl Iterator<Item = GrantId> + 'a {
        self.by_expiry
            .iter()
            .take_while(move |(expires_at, _)| *expires_at <= now)
            .map(|(_, id)| *id)
            .filter(|id| {
                self.by_id.get(id).is_some_and(|grant| {
                    grant.ended.is_none() && marks.ended_since(id.0, grant.covered(*id)).is_none()
                })
            })
    }
}
