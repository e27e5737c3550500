//! What was answered to callers' own ids, so that a retry gets its first answer.

use std::collections::BTreeMap;

use crate::event::{Actor, Event, Fact, Place};
use crate::id::{GrantId, RequestId};
use crate::record::hash::{Digest, Link};
use crate::time::{Span, Time};

/// How long an answer is remembered.
pub(super) const REMEMBERED: Span = Span::minutes(15);
/// How many answers are remembered; the oldest give way.
pub(super) const MEMOS_MAX: usize = 262_144;

/// What was answered to one id.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct Memo {
    /// Digest of the command that came with the id.
    pub digest: Digest,
    /// Kind of the event that answered it.
    pub kind: u16,
    /// Its index.
    pub index: u64,
    /// Its link.
    pub link: Link,
    /// Its time.
    pub time: Time,
    /// The grant issued in the same step as its request.
    pub grant: Option<GrantId>,
}

/// Kind of the event that allows a call.
pub(crate) const CALL_AUTHORIZED: u16 = 110;

type Key = (Actor, RequestId);

/// All of them, by caller and id, and by age.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub(super) struct Memos {
    by_key: BTreeMap<Key, Memo>,
    by_index: BTreeMap<u64, Key>,
}

impl Memos {
    /// Remembers the event that answers a command: the call's own event if it was a call, the
    /// denial if it was a request that was turned down, the first event otherwise.
    pub(super) fn remember(&mut self, place: Place, event: &Event) {
        self.forget(place.time);
        let Some(request) = &event.about.request else { return };
        let key = (event.about.actor.clone(), request.id.clone());
        let fact = &event.fact;
        let grant = matches!(fact, Fact::GrantIssued(_)).then_some(GrantId(place.index));
        if let Some(memo) = self.by_key.get_mut(&key) {
            let same = memo.digest == request.digest;
            // An id that was used stays used: a denial takes the place of a denial of the same
            // call and of nothing else, or the second try of a reused id would be decided anew.
            let is_denial = matches!(fact, Fact::CallDenied(_));
            if is_denial && (!same || memo.kind == CALL_AUTHORIZED) {
                return;
            }
            let answers =
                is_denial || matches!(fact, Fact::CallAuthorized(_) | Fact::GrantDenied(_));
            if same && !answers {
                memo.grant = memo.grant.or(grant);
                return;
            }
        }
        let memo = Memo {
            digest: request.digest,
            kind: event.fact.kind(),
            index: place.index,
            link: place.link,
            time: place.time,
            grant,
        };
        if let Some(before) = self.by_key.insert(key.clone(), memo) {
            self.by_index.remove(&before.index);
        }
        self.by_index.insert(place.index, key);
    }

    fn forget(&mut self, now: Time) {
        while let Some(first) = self.by_index.first_entry() {
            let memo = self.by_key.get(first.get());
            let fresh = memo.is_some_and(|memo| memo.time.after(REMEMBERED) > now);
            if fresh && self.by_index.len() < MEMOS_MAX {
                return;
            }
            if let Some((_, key)) = self.by_index.pop_first() {
                self.by_key.remove(&key);
            }
        }
    }

    pub(super) fn get(&self, actor: &Actor, request: &RequestId, now: Time) -> Option<&Memo> {
        let memo = self.by_key.get(&(actor.clone(), request.clone()))?;
        (memo.time.after(REMEMBERED) > now).then_some(memo)
    }
}
