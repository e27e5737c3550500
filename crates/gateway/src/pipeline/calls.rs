//! Requests in flight, and what a revocation may name about them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bailiwick_client::authority::{Ask, Permit};
use bailiwick_client::guard::Held;
use tokio::time::Instant;

use super::listing::Unlisted;
use super::writer::Leave;
use crate::frame::{Id, Key};

/// The most requests of a client that may wait for an answer.
pub const REQUESTS_MAX: usize = 1_024;
/// The most tool calls that may be decided about or run at once.
pub const CALLS_MAX: usize = 64;
/// Ids of requests that ended here and may still be answered by the server, as many as are remembered.
const ENDED_MAX: usize = 1_024;

/// A request that was not answered yet.
#[derive(Debug)]
pub(super) enum Pending {
    /// It was passed on, its answer will be too.
    Passed,
    /// It was passed on, and its answer begins the session.
    Greeting,
    /// It was passed on, and its answer lists tools, as they were in this generation of the catalog.
    Listing(u64),
    /// It waits until its tool is known.
    Unlisted(Box<Unlisted>),
    /// The authority has been asked.
    Deciding(Box<Deciding>),
    /// It was allowed and passed on.
    Running(Box<Running>),
    /// It ended here; what the server may still say about it is dropped.
    Ended,
}

/// A call that waits for its decision.
#[derive(Debug)]
pub(super) struct Deciding {
    pub(super) id: Id,
    /// The bytes that will be passed on.
    pub(super) line: Vec<u8>,
    pub(super) ask: Ask,
    /// The client no longer wants it.
    pub(super) cancelled: bool,
    /// Says so to what waits for people on its behalf.
    pub(super) gone: Arc<AtomicBool>,
}

/// A call that the server works on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: Id,
    pub(super) ask: Ask,
    pub(super) permit: Permit,
    /// The permit's receipt, as the guard judges it.
    pub(super) held: Held,
    /// Its line's leave to go out, which can be withdrawn while it waits behind others.
    pub(super) leave: Leave,
    pub(super) forwarded: Instant,
    pub(super) bytes_in: u64,
}

/// Requests by id.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// INVARIANT: no more than [`REQUESTS_MAX`] besides the ended ones.
    pending: BTreeMap<Key, Pending>,
    /// The ids of those that ended here, oldest first.
    ended: VecDeque<Key>,
}

impl Requests {
    /// How many wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len() - self.ended.len()
    }

    /// How many are calls.
    pub(super) fn calls(&self) -> usize {
        let is_call = |p: &&Pending| {
            matches!(p, Pending::Unlisted(_) | Pending::Deciding(_) | Pending::Running(_))
        };
        self.pending.values().filter(is_call).count()
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.pending.contains_key(key)
    }

    pub(super) fn insert(&mut self, key: Key, pending: Pending) {
        self.pending.insert(key, pending);
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Pending> {
        self.pending.get_mut(key)
    }

    /// Takes a request that has its answer now.
    pub(super) fn take(&mut self, key: &Key) -> Option<Pending> {
        let pending = self.pending.remove(key)?;
        if matches!(pending, Pending::Ended) {
            self.ended.retain(|other| other != key);
        }
        Some(pending)
    }

    /// Remembers that a request ended here, so that a late answer is not taken for another's.
    pub(super) fn end(&mut self, key: Key) {
        self.pending.insert(key.clone(), Pending::Ended);
        self.ended.push_back(key);
        if self.ended.len() > ENDED_MAX
            && let Some(oldest) = self.ended.pop_front()
        {
            self.pending.remove(&oldest);
        }
    }

    /// The running calls.
    pub(super) fn running(&self) -> impl Iterator<Item = (&Key, &Running)> {
        self.pending.iter().filter_map(|(key, pending)| match pending {
            Pending::Running(running) => Some((key, running.as_ref())),
            Pending::Passed
            | Pending::Greeting
            | Pending::Listing(_)
            | Pending::Unlisted(_)
            | Pending::Deciding(_)
            | Pending::Ended => None,
        })
    }

    /// Everything that waits, taken out.
    pub(super) fn drain(&mut self) -> BTreeMap<Key, Pending> {
        self.ended.clear();
        std::mem::take(&mut self.pending)
    }
}

#[cfg(test)]
mod tests {
    use bailiwick_client::authority::Receipt;
    use bailiwick_core::enforce::{Guard, LEASE, Monotonic, Nonce};
    use bailiwick_core::event::{Actor, Effect, Selector};
    use bailiwick_core::feed::Item;
    use bailiwick_core::id::{
        Action, AgentId, CallId, GrantId, OwnerId, RequestId, Resource, TaskId, ToolId,
    };
    use bailiwick_core::record::hash::Link;
    use bailiwick_core::time::Time;

    use super::*;

    fn ask() -> Ask {
        Ask {
            agent: AgentId::new("a1").unwrap(),
            on_behalf_of: None,
            task: Some(TaskId(7)),
            session: None,
            tool: ToolId::new("demo/write").unwrap(),
            tool_hash: None,
            action: Action::new("tickets/write").unwrap(),
            resource: Resource::new("crm://case/1234").unwrap(),
            effect: Effect::Write,
            arguments: None,
            disclosed: BTreeMap::new(),
            justification: None,
            call_id: RequestId::new("e").unwrap(),
            reports_outcome: true,
        }
    }

    fn permit(owner: Option<&str>) -> Permit {
        Permit {
            call: CallId(50),
            grant: GrantId(49),
            owner: owner.map(|owner| OwnerId::new(owner).unwrap()),
            expires_at: Time(0),
            uses_left: 0,
            rests_on: Vec::new(),
            receipt: Receipt { index: 50, link: Link([0; 32]) },
            asked: std::time::Instant::now(),
        }
    }

    /// Whether a revocation of `selector` ends a call of the subject.
    fn ends(selector: &str, owner: Option<&str>) -> bool {
        let mut guard = Guard::new(LEASE);
        let now = Monotonic(0);
        guard.stands_at(0, now);
        guard.pinged(Nonce(1), now);
        guard.ponged(Nonce(1), 0);
        let held = Held::new(50, now, &ask().subject(&permit(owner)));
        assert_eq!(guard.may_start(&held, now), Ok(()));
        let item = Item {
            number: 1,
            index: 60,
            link: Link([0; 32]),
            time: Time(0),
            kind: "revocation.issued".to_owned(),
            selector: serde_json::from_str::<Selector>(selector).unwrap(),
            suspend: true,
            reason_code: None,
            reason: None,
            by: Actor::System,
            cause: None,
        };
        guard.hear(&item, now);
        guard.may_go_on(&held, now).is_err()
    }

    #[test]
    fn every_selector_ends_what_it_names_and_nothing_else() {
        for (selector, expected) in [
            (r#""all""#, true),
            (r#"{"agent":"a1"}"#, true),
            (r#"{"agent":"a2"}"#, false),
            (r#"{"owner":"alice"}"#, true),
            (r#"{"owner":"bob"}"#, false),
            (r#"{"task":"task_7"}"#, true),
            (r#"{"task":"task_8"}"#, false),
            (r#"{"tool":"demo/write"}"#, true),
            (r#"{"tool":"tickets/write"}"#, true),
            (r#"{"tool":"tickets/read"}"#, false),
            (r#"{"resource":"crm://case"}"#, true),
            (r#"{"resource":"crm://cas"}"#, false),
            (r#"{"grant":"grant_49"}"#, true),
            (r#"{"grant":"grant_48"}"#, false),
        ] {
            assert_eq!(ends(selector, Some("alice")), expected, "{selector}");
        }
        assert!(ends(r#"{"owner":"bob"}"#, None), "an owner nobody told us may be the one");
    }

    #[test]
    fn ended_requests_are_remembered_but_not_for_ever() {
        let mut requests = Requests::default();
        for n in 0..2_000 {
            requests.end(Key::Number(n));
        }
        assert!(!requests.contains(&Key::Number(0)) && requests.contains(&Key::Number(1_999)));
        assert_eq!(requests.waiting(), 0);
        assert!(matches!(requests.take(&Key::Number(1_999)), Some(Pending::Ended)));
        assert_eq!(requests.waiting(), 0);
    }
}
