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

/// All watermarks and suspensions, one map a kind of selector, so that a look-up borrows its key.
///
/// INVARIANT: a watermark never goes down.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct Marks {
    grants: BTreeMap<GrantId, Mark>,
    agents: BTreeMap<AgentId, Mark>,
    owners: BTreeMap<OwnerId, Mark>,
    tasks: BTreeMap<TaskId, Mark>,
    tools: BTreeMap<ToolId, Mark>,
    resources: BTreeMap<Resource, Mark>,
    all: Option<Mark>,
    /// How many keys are suspended: while none is, nothing is looked up.
    suspended: usize,
}

impl Marks {
    pub(super) fn revoke(&mut self, index: u64, fact: &RevocationIssued) {
        let mark = self.mark_mut(&fact.selector);
        mark.watermark = index;
        let suspend = fact.suspend && !matches!(fact.selector, Selector::Grant(_));
        if suspend && mark.suspended.replace(index).is_none() {
            self.suspended += 1;
        }
    }

    pub(super) fn end_agent(&mut self, index: u64, agent: &AgentId) {
        self.agents.entry(agent.clone()).or_default().watermark = index;
    }

    pub(super) fn end_owner(&mut self, index: u64, owner: &OwnerId) {
        self.owners.entry(owner.clone()).or_default().watermark = index;
    }

    pub(super) fn lift(&mut self, selector: &Selector) {
        if self.is_suspended(selector).is_some() {
            self.mark_mut(selector).suspended = None;
            self.suspended -= 1;
        }
    }

    /// Lets go of a grant's mark; the grant itself is gone.
    pub(super) fn forget_grant(&mut self, id: GrantId) {
        self.grants.remove(&id);
    }

    /// Lets go of a task's mark; the task is closed for good, which denies all that the mark did.
    pub(super) fn forget_task(&mut self, id: TaskId) {
        if self.tasks.remove(&id).is_some_and(|mark| mark.suspended.is_some()) {
            self.suspended -= 1;
        }
    }

    /// Whether a revocation named this very grant.
    pub(super) fn names_grant(&self, id: GrantId) -> bool {
        self.grants.contains_key(&id)
    }

    fn mark_mut(&mut self, selector: &Selector) -> &mut Mark {
        match selector {
            Selector::Grant(id) => self.grants.entry(*id).or_default(),
            Selector::Agent(id) => self.agents.entry(id.clone()).or_default(),
            Selector::Owner(id) => self.owners.entry(id.clone()).or_default(),
            Selector::Task(id) => self.tasks.entry(*id).or_default(),
            Selector::Tool(id) => self.tools.entry(id.clone()).or_default(),
            Selector::Resource(id) => self.resources.entry(id.clone()).or_default(),
            Selector::All => self.all.get_or_insert_default(),
        }
    }

    /// The latest event that took back what `covered` names, if it came after `issued`.
    #[must_use]
    pub fn ended_since(&self, issued: u64, covered: Covered<'_>) -> Option<u64> {
        let latest = self.find(covered, |mark| Some(mark.watermark));
        latest.filter(|watermark| *watermark >= issued)
    }

    /// Whether something within `prefix` was taken back by its place after `issued`, or is
    /// suspended still.
    #[must_use]
    pub fn ended_below(&self, issued: u64, prefix: &Resource) -> bool {
        let from = self.resources.range(prefix.clone()..);
        let below = from.take_while(|(place, _)| place.as_str().starts_with(prefix.as_str()));
        below
            .filter(|(place, _)| place.is_within(prefix))
            .any(|(_, mark)| mark.watermark >= issued || mark.suspended.is_some())
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
        let mark = match selector {
            Selector::Grant(id) => self.grants.get(id),
            Selector::Agent(id) => self.agents.get(id),
            Selector::Owner(id) => self.owners.get(id),
            Selector::Task(id) => self.tasks.get(id),
            Selector::Tool(id) => self.tools.get(id),
            Selector::Resource(id) => self.resources.get(id),
            Selector::All => self.all.as_ref(),
        };
        mark.and_then(|mark| mark.suspended)
    }

    /// Suspended selectors with the revocation that did it, in the order of selectors.
    pub fn suspensions(&self) -> impl Iterator<Item = (Selector, u64)> {
        let agents = self.agents.iter().map(|(id, mark)| (Selector::Agent(id.clone()), mark));
        let owners = self.owners.iter().map(|(id, mark)| (Selector::Owner(id.clone()), mark));
        let tasks = self.tasks.iter().map(|(id, mark)| (Selector::Task(*id), mark));
        let tools = self.tools.iter().map(|(id, mark)| (Selector::Tool(id.clone()), mark));
        let resources =
            self.resources.iter().map(|(id, mark)| (Selector::Resource(id.clone()), mark));
        let all = self.all.iter().map(|mark| (Selector::All, mark));
        let marks = agents.chain(owners).chain(tasks).chain(tools).chain(resources).chain(all);
        marks.filter_map(|(selector, mark)| mark.suspended.map(|index| (selector, index)))
    }

    /// The largest of `read` over every key that names `covered`.
    fn find(&self, covered: Covered<'_>, read: impl Fn(&Mark) -> Option<u64>) -> Option<u64> {
        let marks = [
            self.all.as_ref(),
            covered.grant.and_then(|id| self.grants.get(&id)),
            covered.agent.and_then(|id| self.agents.get(id)),
            self.owners.get(covered.owner),
            covered.task.and_then(|id| self.tasks.get(&id)),
            covered.tool.and_then(|id| self.tools.get(id)),
        ];
        let latest = marks.into_iter().flatten().filter_map(&read).max();
        if self.resources.is_empty() {
            return latest;
        }
        let prefixes = covered.resource.prefixes();
        prefixes.filter_map(|p| self.resources.get(&p)).filter_map(read).chain(latest).max()
    }
}
