//! Grants: by id, by who may use them for what, and by when they run out.

use std::collections::{BTreeMap, BTreeSet};

use super::marks::{Covered, Marks};
use crate::event::{DenialCode, GrantIssued, Scope};
use crate::id::{Action, AgentId, GrantId, OwnerId, Resource, TaskId, ToolId};
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
    /// Until when.
    pub expires_at: Time,
    /// How often.
    pub max_uses: u32,
    /// How often it was used. INVARIANT: at most `max_uses`.
    pub uses: u32,
    /// How it ended, if by itself.
    pub ended: Option<End>,
}

impl Grant {
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

    /// Whether the grant is good at `now`, watermarks included, and if not, why.
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

/// The grants of one holder for one action and scope.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
struct Slot {
    /// Not known to have ended, by index.
    open: Vec<GrantId>,
    /// The last one that ended, remembered to say why nothing covers the call.
    ended: Option<GrantId>,
}

type Key = (Action, Scope);

/// All grants that are live or ended a short while ago.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct Grants {
    by_id: BTreeMap<GrantId, Grant>,
    by_holder: BTreeMap<Holder, BTreeMap<Key, Slot>>,
    by_expiry: BTreeSet<(Time, GrantId)>,
}

impl Grants {
    pub(super) fn issue(&mut self, index: u64, fact: &GrantIssued, marks: &Marks, now: Time) {
        let id = GrantId(index);
        let holder = match &fact.agent {
            Some(agent) => Holder::Agent(agent.clone()),
            None => Holder::Owner(fact.owner.clone()),
        };
        let grant = Grant {
            holder: holder.clone(),
            owner: fact.owner.clone(),
            task: fact.task,
            tool: fact.tool.clone(),
            action: fact.action.clone(),
            scope: fact.scope.clone(),
            not_before: fact.not_before,
            expires_at: fact.expires_at,
            max_uses: fact.max_uses,
            uses: 0,
            ended: None,
        };
        let key = (fact.action.clone(), fact.scope.clone());
        let slot = self.by_holder.entry(holder).or_default().entry(key).or_default();
        let by_id = &self.by_id;
        slot.open.retain(|old| {
            by_id.get(old).is_some_and(|g| match g.check(*old, marks, now) {
                Ok(()) => true,
                Err(code) => code == DenialCode::NotYetValid,
            })
        });
        slot.open.push(id);
        self.by_expiry.insert((fact.expires_at, id));
        self.by_id.insert(id, grant);
    }

    pub(super) fn used(&mut self, id: GrantId) {
        if let Some(grant) = self.by_id.get_mut(&id) {
            grant.uses = grant.uses.saturating_add(1);
            debug_assert!(
                grant.uses <= grant.max_uses,
                "a grant is never used more than it allows"
            );
        }
    }

    /// Ends a grant. Of a slot only the last one that ended is remembered.
    pub(super) fn end(&mut self, id: GrantId, end: End) {
        let Some(grant) = self.by_id.get_mut(&id) else { return };
        grant.ended = Some(end);
        let key = (grant.action.clone(), grant.scope.clone());
        let slots = self.by_holder.get_mut(&grant.holder);
        let Some(slot) = slots.and_then(|slots| slots.get_mut(&key)) else { return };
        slot.open.retain(|open| *open != id);
        if let Some(before) = slot.ended.replace(id)
            && before != id
            && let Some(old) = self.by_id.remove(&before)
        {
            self.by_expiry.remove(&(old.expires_at, before));
        }
    }

    /// Lets go of what expired a while before `now`.
    pub(super) fn forget(&mut self, now: Time) {
        while let Some((expires_at, id)) = self.by_expiry.first().copied() {
            if expires_at.after(REMEMBERED) > now {
                return;
            }
            self.by_expiry.pop_first();
            self.remove(id);
        }
    }

    fn remove(&mut self, id: GrantId) {
        let Some(grant) = self.by_id.remove(&id) else { return };
        let Some(slots) = self.by_holder.get_mut(&grant.holder) else { return };
        let key = (grant.action, grant.scope);
        if let Some(slot) = slots.get_mut(&key) {
            slot.open.retain(|open| *open != id);
            slot.ended = slot.ended.filter(|ended| *ended != id);
            if slot.open.is_empty() && slot.ended.is_none() {
                slots.remove(&key);
            }
        }
        if slots.is_empty() {
            self.by_holder.remove(&grant.holder);
        }
    }

    /// A grant by its id.
    #[must_use]
    pub fn get(&self, id: GrantId) -> Option<&Grant> {
        self.by_id.get(&id)
    }

    /// All remembered grants with an id above `after`, in order.
    pub fn after(&self, after: Option<GrantId>) -> impl Iterator<Item = (GrantId, &Grant)> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        self.by_id.range((from, std::ops::Bound::Unbounded)).map(|(id, grant)| (*id, grant))
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

    /// Grants that could cover `action` on `resource` for `holder`: exact ones and every prefix.
    pub fn candidates<'a>(
        &'a self,
        holder: &Holder,
        action: &'a Action,
        resource: &'a Resource,
    ) -> impl Iterator<Item = (GrantId, &'a Grant)> {
        let slots = self.by_holder.get(holder);
        let exact = std::iter::once_with(|| Scope::Exact(resource.clone()));
        let scopes = exact.chain(resource.prefixes().map(Scope::Within));
        scopes
            .filter_map(move |scope| slots?.get(&(action.clone(), scope)))
            .flat_map(|slot| slot.open.iter().chain(slot.ended.iter()))
            .filter_map(|id| Some((*id, self.by_id.get(id)?)))
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
