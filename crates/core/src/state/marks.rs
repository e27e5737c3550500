//! Watermarks and suspensions: how one event of constant size ends any number of grants.
//!
//! Each selector key has a watermark, the index of the last event that took back what it names. A
//! grant is live only if it was issued after every watermark on its own keys and on the concrete
//! call's. Nothing walks over grants.

use std::collections::BTreeMap;

use crate::event::{RevocationIssued, Selector};
use crate::id::{AgentId, GrantId, OwnerId, Resource, TaskId, ToolId};

/// What stands against one selector key.
#[derive(Debug, Clone, Copy, Default, bincode::Encode, bincode::Decode)]
struct Mark {
    /// Grants issued up to this index have ended.
    watermark: u64,
    /// Index of the revocation whose suspension holds until lifted.
    suspended: Option<u64>,
}

/// Everything that a selector could name about a grant or a call.
#[derive(Debug, Clone, Copy)]
pub struct Covered<'a> {
    /// The grant itself.
    pub grant: Option<GrantId>,
    /// Its holder, or who calls.
    pub agent: Option<&'a AgentId>,
    /// On whose authority.
    pub owner: &'a OwnerId,
    /// Under which task.
    pub task: Option<TaskId>,
    /// Through which tool.
    pub tool: Option<&'a ToolId>,
    /// To what.
    pub resource: &'a Resource,
}

impl Covered<'_> {
    /// Whether `selector` names this.
    #[must_use]
    pub fn is_named_by(&self, selector: &Selector) -> bool {
        match selector {
            Selector::Grant(id) => self.grant == Some(*id),
            Selector::Agent(id) => self.agent == Some(id),
            Selector::Owner(id) => self.owner == id,
            Selector::Task(id) => self.task == Some(*id),
            Selector::Tool(id) => self.tool == Some(id),
            Selector::Resource(prefix) => self.resource.is_within(prefix),
            Selector::All => true,
        }
    }
}

/// All watermarks and suspensions.
///
/// INVARIANT: a watermark never goes down.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct Marks {
    marks: BTreeMap<Selector, Mark>,
    /// How many keys name a resource: while none does, no prefix is looked up.
    resources: usize,
    /// How many keys are suspended: while none is, nothing is looked up.
    suspended: usize,
}

impl Marks {
    pub(super) fn revoke(&mut self, index: u64, fact: &RevocationIssued) {
        let suspend = fact.suspend && !matches!(fact.selector, Selector::Grant(_));
        self.raise(index, fact.selector.clone());
        if suspend && let Some(mark) = self.marks.get_mut(&fact.selector) {
            if mark.suspended.is_none() {
                self.suspended += 1;
            }
            mark.suspended = Some(index);
        }
    }

    pub(super) fn end_agent(&mut self, index: u64, agent: &AgentId) {
        self.raise(index, Selector::Agent(agent.clone()));
    }

    pub(super) fn end_owner(&mut self, index: u64, owner: &OwnerId) {
        self.raise(index, Selector::Owner(owner.clone()));
    }

    pub(super) fn lift(&mut self, selector: &Selector) {
        if let Some(mark) = self.marks.get_mut(selector)
            && mark.suspended.take().is_some()
        {
            self.suspended -= 1;
        }
    }

    fn raise(&mut self, index: u64, selector: Selector) {
        let is_resource = matches!(selector, Selector::Resource(_));
        let before = self.marks.len();
        let mark = self.marks.entry(selector).or_default();
        mark.watermark = index;
        if is_resource && self.marks.len() > before {
            self.resources += 1;
        }
    }

    /// The latest event that took back what `covered` names, if it came after `issued`.
    #[must_use]
    pub fn ended_since(&self, issued: u64, covered: Covered<'_>) -> Option<u64> {
        let latest = self.find(covered, |mark| Some(mark.watermark));
        latest.filter(|watermark| *watermark >= issued)
    }

    /// The revocation that suspends what `covered` names.
    #[must_use]
    pub fn suspension(&self, covered: Covered<'_>) -> Option<u64> {
        if self.suspended == 0 {
            return None;
        }
        self.find(covered, |mark| mark.suspended)
    }

    /// The revocation that suspends exactly what `selector` names.
    #[must_use]
    pub fn is_suspended(&self, selector: &Selector) -> Option<u64> {
        self.marks.get(selector).and_then(|mark| mark.suspended)
    }

    /// Suspended selectors with the revocation that did it, in order.
    pub fn suspensions(&self) -> impl Iterator<Item = (&Selector, u64)> {
        self.marks.iter().filter_map(|(key, mark)| mark.suspended.map(|index| (key, index)))
    }

    /// The largest of `read` over every key that names `covered`.
    fn find(&self, covered: Covered<'_>, read: impl Fn(&Mark) -> Option<u64>) -> Option<u64> {
        if self.marks.is_empty() {
            return None;
        }
        let at = |key: Selector| self.marks.get(&key).and_then(&read);
        let keys = [
            at(Selector::All),
            covered.grant.and_then(|id| at(Selector::Grant(id))),
            covered.agent.and_then(|id| at(Selector::Agent(id.clone()))),
            at(Selector::Owner(covered.owner.clone())),
            covered.task.and_then(|id| at(Selector::Task(id))),
            covered.tool.and_then(|id| at(Selector::Tool(id.clone()))),
        ];
        let latest = keys.into_iter().flatten().max();
        if self.resources == 0 {
            return latest;
        }
        let prefixes = covered.resource.prefixes().filter_map(|p| at(Selector::Resource(p)));
        prefixes.chain(latest).max()
    }
}
