//! Watermarks: the events that ended grants by naming something about them.
//!
//! One such event ends any number of grants, so nothing is walked when it arrives. It is noted
//! under what it names, and a grant's end is found when the table is read: the first mark on any
//! of the grant's keys that came after the grant.

use std::collections::HashMap;
use std::sync::Arc;

use bailiwick_core::id::Resource;
use bailiwick_core::time::Time;
use bincode::{Decode, Encode};

/// Texts as small numbers, for keys that many rows share.
#[derive(Debug, Default)]
pub(crate) struct Names {
    ids: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

/// A text's number in [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) struct Name(u32);

impl Names {
    pub(crate) fn take(&mut self, text: &str) -> Name {
        if let Some(id) = self.ids.get(text) {
            return Name(*id);
        }
        let id = u32::try_from(self.texts.len()).expect("memory ends before four billion names");
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.ids.insert(text, id);
        Name(id)
    }

    /// The texts in the order of their numbers.
    pub(crate) fn texts(&self) -> Vec<Arc<str>> {
        self.texts.clone()
    }

    /// What [`Names::texts`] gave.
    pub(crate) fn restored(texts: Vec<Arc<str>>) -> Self {
        let numbered = (0..).zip(&texts).map(|(id, text)| (Arc::clone(text), id));
        Self { ids: numbered.collect(), texts }
    }

    pub(crate) fn text(&self, name: Name) -> &str {
        &self.texts[name.0 as usize]
    }
}

/// Why a grant ended, beside running out of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) enum How {
    Exhausted,
    Returned,
    Revoked,
    AgentSuspended,
    AgentRetired,
    AgentReassigned,
    OwnerDisabled,
    TaskClosed,
}

impl How {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Returned => "returned",
            Self::Revoked => "revoked",
            Self::AgentSuspended => "agent_suspended",
            Self::AgentRetired => "agent_retired",
            Self::AgentReassigned => "agent_reassigned",
            Self::OwnerDisabled => "owner_disabled",
            Self::TaskClosed => "task_closed",
        }
    }

    /// Whether someone else than the holder ended it before its time.
    pub(crate) const fn taken_back(self) -> bool {
        match self {
            Self::Exhausted | Self::Returned => false,
            Self::Revoked
            | Self::AgentSuspended
            | Self::AgentRetired
            | Self::AgentReassigned
            | Self::OwnerDisabled
            | Self::TaskClosed => true,
        }
    }
}

/// The event that ended something, with its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct End {
    pub(crate) seq: u64,
    pub(crate) time: Time,
    pub(crate) how: How,
}

/// What a mark names, but for resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub(crate) enum Key {
    All,
    Agent(Name),
    Owner(Name),
    Task(u64),
    Tool(Name),
}

/// All marks. INVARIANT: every list ascends, and so does `times`.
#[derive(Debug, Clone, Default, Encode, Decode)]
pub(crate) struct Marks {
    keys: HashMap<Key, Vec<End>>,
    resources: HashMap<Arc<str>, Vec<End>>,
    times: Vec<Time>,
}

impl Marks {
    pub(crate) fn raise(&mut self, key: Key, end: End) {
        self.keys.entry(key).or_default().push(end);
        self.times.push(end.time);
    }

    pub(crate) fn raise_resource(&mut self, prefix: &Resource, end: End) {
        self.resources.entry(prefix.as_str().into()).or_default().push(end);
        self.times.push(end.time);
    }

    /// How many marks there are; what was derived at a count holds until the next.
    pub(crate) const fn count(&self) -> usize {
        self.times.len()
    }

    /// When the first mark after the first `count` was made.
    pub(crate) fn next_after(&self, count: usize) -> Option<Time> {
        self.times.get(count).copied()
    }

    /// The first mark on `key` after the event `seq`.
    pub(crate) fn first_after(&self, key: Key, seq: u64) -> Option<End> {
        after(self.keys.get(&key)?, seq)
    }

    /// The marks on every prefix of `resource`, itself included.
    pub(crate) fn on_resource(&self, resource: &str) -> Vec<&[End]> {
        if self.resources.is_empty() {
            return Vec::new();
        }
        let Ok(resource) = Resource::new(resource) else { return Vec::new() };
        let prefixes = resource.prefixes();
        prefixes.filter_map(|p| self.resources.get(p.as_str()).map(Vec::as_slice)).collect()
    }
}

/// The first mark of a list after the event `seq`.
pub(crate) fn after(marks: &[End], seq: u64) -> Option<End> {
    marks.get(marks.partition_point(|mark| mark.seq <= seq)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(seq: u64) -> End {
        End { seq, time: Time(seq * 1_000), how: How::Revoked }
    }

    #[test]
    fn a_mark_ends_what_came_before_it_and_nothing_after() {
        let mut marks = Marks::default();
        marks.raise(Key::All, end(5));
        marks.raise(Key::All, end(9));
        assert_eq!(marks.first_after(Key::All, 4), Some(end(5)));
        assert_eq!(marks.first_after(Key::All, 5), Some(end(9)));
        assert_eq!(marks.first_after(Key::All, 9), None);
        assert_eq!(marks.first_after(Key::Task(1), 0), None);
    }

    #[test]
    fn a_resource_is_marked_by_whole_segments() {
        let mut marks = Marks::default();
        marks.raise_resource(&Resource::new("crm://case").unwrap(), end(5));
        assert_eq!(marks.on_resource("crm://case/1").len(), 1);
        assert_eq!(marks.on_resource("crm://case").len(), 1);
        assert!(marks.on_resource("crm://case2").is_empty());
        assert!(marks.on_resource("crm:").is_empty());
    }
}
