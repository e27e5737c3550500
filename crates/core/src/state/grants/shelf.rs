//! Grants by id, densely: ids only ascend, so they stand in runs one after the other, where a tree of
//! single entries would be left half empty.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Grant;
use crate::id::GrantId;

/// Grants in one run at most.
const RUN: usize = 64;

/// INVARIANT: runs and the grants in them ascend by id; none is empty; each is found by an id that is
/// not above its first.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub(super) struct Shelf {
    runs: BTreeMap<GrantId, Vec<(GrantId, Box<Grant>)>>,
    len: usize,
}

impl Shelf {
    /// Puts a grant behind all others. One that is not newer than the last is not taken: its event
    /// cannot have come after theirs.
    pub(super) fn push(&mut self, id: GrantId, grant: Box<Grant>) {
        let last = self.runs.last_entry();
        let newest = last.as_ref().and_then(|run| run.get().last()).map(|(newest, _)| *newest);
        if newest.is_some_and(|newest| newest >= id) {
            debug_assert!(false, "grants come in the order of their events");
            return;
        }
        match last {
            Some(mut run) if run.get().len() < RUN => run.get_mut().push((id, grant)),
            Some(_) | None => {
                let mut run = Vec::with_capacity(RUN);
                run.push((id, grant));
                self.runs.insert(id, run);
            }
        }
        self.len += 1;
    }

    pub(super) fn get(&self, id: GrantId) -> Option<&Grant> {
        let (_, run) = self.runs.range(..=id).next_back()?;
        let at = run.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        run.get(at).map(|(_, grant)| grant.as_ref())
    }

    pub(super) fn get_mut(&mut self, id: GrantId) -> Option<&mut Grant> {
        let (_, run) = self.runs.range_mut(..=id).next_back()?;
        let at = run.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        run.get_mut(at).map(|(_, grant)| grant.as_mut())
    }

    pub(super) fn remove(&mut self, id: GrantId) -> Option<Box<Grant>> {
        let (first, run) = self.runs.range_mut(..=id).next_back()?;
        let at = run.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let (_, grant) = run.remove(at);
        if run.is_empty() {
            let first = *first;
            self.runs.remove(&first);
        } else if run.len() <= run.capacity() / 4 {
            // The few that outlive their neighbours do not hold the room of all.
            run.shrink_to_fit();
        }
        self.len -= 1;
        Some(grant)
    }

    /// All with an id above `after`, ascending.
    pub(super) fn after(&self, after: Option<GrantId>) -> impl Iterator<Item = (GrantId, &Grant)> {
        let is_after = move |id: GrantId| after.is_none_or(|after| id > after);
        let first = after.and_then(|after| self.runs.range(..=after).next_back());
        let from = first.map_or(Bound::Unbounded, |(first, _)| Bound::Included(*first));
        let runs = self.runs.range((from, Bound::Unbounded)).map(|(_, run)| run);
        let all = runs.flatten().map(|(id, grant)| (*id, grant.as_ref()));
        all.skip_while(move |(id, _)| !is_after(*id))
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Issuance, Scope};
    use crate::id::{Action, OwnerId, Resource};
    use crate::time::Time;

    fn grant(n: u64) -> Box<Grant> {
        Box::new(Grant {
            agent: None,
            owner: OwnerId::new("alice").unwrap(),
            task: None,
            tool: None,
            action: Action::new("crm/read").unwrap(),
            scope: Scope::Exact(Resource::new("crm://case/1").unwrap()),
            not_before: Time(n),
            expires_at: Time(n + 1),
            max_uses: 1,
            issuance: Issuance::Operator,
            uses: 0,
            ended: None,
            bounds: None,
        })
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds(
            steps in prop::collection::vec((any::<bool>(), 1..4_u64, 0..400_u64), 1..400),
            after in 0..900_u64,
        ) {
            let (mut shelf, mut plain) = (Shelf::default(), BTreeMap::new());
            let mut next = 0;
            for (adds, gap, which) in steps {
                if adds {
                    next += gap;
                    shelf.push(GrantId(next), grant(next));
                    plain.insert(next, next);
                } else {
                    let gone = shelf.remove(GrantId(which)).map(|grant| grant.not_before.0);
                    prop_assert_eq!(gone, plain.remove(&which));
                }
                prop_assert_eq!(shelf.len(), plain.len());
                prop_assert!(shelf.runs.values().all(|run| !run.is_empty() && run.len() <= RUN));
            }
            for id in 0..=next + 1 {
                let held = shelf.get(GrantId(id)).map(|grant| grant.not_before.0);
                prop_assert_eq!(held, plain.get(&id).copied());
                prop_assert_eq!(shelf.get_mut(GrantId(id)).is_some(), held.is_some());
            }
            let ids = |after: Option<u64>| -> Vec<u64> {
                shelf.after(after.map(GrantId)).map(|(id, _)| id.0).collect()
            };
            prop_assert_eq!(ids(None), plain.keys().copied().collect::<Vec<_>>());
            let above: Vec<u64> = plain.range(after + 1..).map(|(id, _)| *id).collect();
            prop_assert_eq!(ids(Some(after)), above);
        }
    }
}
