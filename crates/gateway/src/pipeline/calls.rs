//! Requests in flight, and which of them a revocation covers.

use std::collections::{BTreeMap, VecDeque};

use bailiwick_client::authority::{Ask, Permit};
use bailiwick_core::event::Selector;
use bailiwick_core::feed::{Item, RECHECK};
use bailiwick_core::id::{Action, AgentId, OwnerId, RequestId, Resource, TaskId, ToolId};
use tokio::time::Instant;

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
    /// It was passed on, and its answer lists tools.
    Listing,
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
    pub(super) subject: Subject,
    pub(super) asked: Instant,
    /// The client no longer wants it.
    pub(super) cancelled: bool,
}

/// A call that the server works on.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: Id,
    pub(super) subject: Subject,
    pub(super) permit: Permit,
    pub(super) forwarded: Instant,
    pub(super) bytes_in: u64,
}

/// Whatever a selector may name about a call.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) evaluation: RequestId,
    pub(super) agent: AgentId,
    /// None until a task has been opened for the session.
    pub(super) task: Option<TaskId>,
    pub(super) tool: ToolId,
    pub(super) action: Action,
    pub(super) resource: Resource,
    pub(super) on_behalf_of: Option<OwnerId>,
}

impl Subject {
    pub(super) fn of(ask: &Ask) -> Self {
        Self {
            evaluation: ask.call_id.clone(),
            agent: ask.agent.clone(),
            task: ask.task,
            tool: ask.tool.clone(),
            action: ask.action.clone(),
            resource: ask.resource.clone(),
            on_behalf_of: ask.on_behalf_of.clone(),
        }
    }
}

/// Whether `item` ends a call of this subject under this permit. When in doubt, it does.
pub(super) fn covers(item: &Item, subject: &Subject, permit: &Permit) -> bool {
    // A recheck asks for a new decision at the next call; it ends none that runs.
    if item.kind == RECHECK || item.index < permit.receipt.index {
        return false;
    }
    match &item.selector {
        Selector::All => true,
        Selector::Grant(grant) => *grant == permit.grant,
        Selector::Agent(agent) => *agent == subject.agent,
        Selector::Owner(owner) => match permit.owner.as_ref().or(subject.on_behalf_of.as_ref()) {
            Some(own) => own == owner,
            None => true,
        },
        Selector::Task(task) => subject.task.is_none_or(|own| own == *task),
        Selector::Tool(tool) => *tool == subject.tool || tool.as_str() == subject.action.as_str(),
        Selector::Resource(prefix) => subject.resource.is_within(prefix),
    }
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
        let is_call = |p: &&Pending| matches!(p, Pending::Deciding(_) | Pending::Running(_));
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
            Pending::Passed | Pending::Listing | Pending::Deciding(_) | Pending::Ended => None,
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
    use bailiwick_core::event::Actor;
    use bailiwick_core::id::{CallId, GrantId};
    use bailiwick_core::record::hash::Link;
    use bailiwick_core::time::Time;

    use super::*;

    fn subject() -> Subject {
        Subject {
            evaluation: RequestId::new("e").unwrap(),
            agent: AgentId::new("a1").unwrap(),
            task: Some(TaskId(7)),
            tool: ToolId::new("demo/write").unwrap(),
            action: Action::new("tickets/write").unwrap(),
            resource: Resource::new("crm://case/1234").unwrap(),
            on_behalf_of: None,
        }
    }

    fn permit(owner: Option<&str>) -> Permit {
        Permit {
            call: CallId(50),
            grant: GrantId(49),
            owner: owner.map(|owner| OwnerId::new(owner).unwrap()),
            expires_at: Time(0),
            uses_left: 0,
            receipt: Receipt { index: 50, link: Link([0; 32]) },
            valid_until: Instant::now().into_std(),
        }
    }

    fn item(selector: Selector) -> Item {
        Item {
            number: 1,
            index: 60,
            link: Link([0; 32]),
            time: Time(0),
            kind: "revocation.issued".to_owned(),
            selector,
            suspend: true,
            reason_code: None,
            reason: None,
            by: Actor::System,
            cause: None,
        }
    }

    fn check(selector: &str, expected: bool) {
        let selector: Selector = serde_json::from_str(selector).unwrap();
        let covered = covers(&item(selector.clone()), &subject(), &permit(Some("alice")));
        assert_eq!(covered, expected, "{selector}");
    }

    #[test]
    fn every_selector_covers_what_it_names_and_nothing_else() {
        check(r#""all""#, true);
        check(r#"{"agent":"a1"}"#, true);
        check(r#"{"agent":"a2"}"#, false);
        check(r#"{"owner":"alice"}"#, true);
        check(r#"{"owner":"bob"}"#, false);
        check(r#"{"task":"task_7"}"#, true);
        check(r#"{"task":"task_8"}"#, false);
        check(r#"{"tool":"demo/write"}"#, true);
        check(r#"{"tool":"tickets/write"}"#, true);
        check(r#"{"tool":"tickets/read"}"#, false);
        check(r#"{"resource":"crm://case"}"#, true);
        check(r#"{"resource":"crm://cas"}"#, false);
        check(r#"{"grant":"grant_49"}"#, true);
        check(r#"{"grant":"grant_48"}"#, false);
    }

    #[test]
    fn an_owner_nobody_told_us_is_taken_for_the_one_that_is_named() {
        let bob = Selector::Owner(OwnerId::new("bob").unwrap());
        assert!(covers(&item(bob), &subject(), &permit(None)));
    }

    #[test]
    fn what_happened_before_the_decision_or_only_asks_for_another_ends_nothing() {
        let mut before = item(Selector::All);
        before.index = 49;
        assert!(!covers(&before, &subject(), &permit(None)));
        let mut recheck = item(Selector::All);
        recheck.kind = RECHECK.to_owned();
        assert!(!covers(&recheck, &subject(), &permit(None)));
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
