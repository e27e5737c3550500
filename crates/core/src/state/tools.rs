//! Tools that are held to a definition.

use std::collections::BTreeMap;

use super::State;
use crate::event::{Effect, Fact, Place, ToolChanged, ToolPinned};
use crate::id::ToolId;
use crate::record::hash::Digest;
use crate::time::Time;

/// The most tools that are held to a definition.
pub const TOOLS_MAX: usize = 65_536;

/// A tool that is held to a definition.
#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
pub struct Tool {
    /// The definition, and what was said of the tool with it.
    pub pinned: ToolPinned,
    /// When that was recorded.
    pub since: Time,
    /// The last time that it came with another definition than this one.
    pub changed: Option<Change>,
}

/// That a tool came with another definition.
#[derive(Debug, Clone, Copy, bincode::Encode, bincode::Decode)]
pub struct Change {
    /// Index of the event that says so; the revocation that it led to is the next.
    pub index: u64,
    /// When.
    pub time: Time,
    /// Hash of the other definition.
    pub seen: Digest,
}

/// All of them by id.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct Tools(BTreeMap<ToolId, Tool>);

impl Tools {
    /// The tool, if it is held to a definition.
    #[must_use]
    pub fn get(&self, id: &ToolId) -> Option<&Tool> {
        self.0.get(id)
    }

    /// All of them, in the order of their ids.
    #[must_use]
    pub const fn all(&self) -> &BTreeMap<ToolId, Tool> {
        &self.0
    }

    /// Whether there is no room for another.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.len() >= TOOLS_MAX
    }

    /// What a tool does to the world, if a pin says so.
    #[must_use]
    pub fn effect(&self, id: &ToolId) -> Option<Effect> {
        self.get(id).and_then(|tool| tool.pinned.effect)
    }

    fn pin(&mut self, place: Place, fact: &ToolPinned) {
        let before = self.0.get(&fact.tool);
        // What was seen beside the definition that it is still held to is still another one.
        let changed = before.filter(|tool| tool.pinned.hash == fact.hash).and_then(|t| t.changed);
        let tool = Tool { pinned: fact.clone(), since: place.time, changed };
        self.0.insert(fact.tool.clone(), tool);
    }

    fn changed(&mut self, place: Place, fact: &ToolChanged) {
        if let Some(tool) = self.0.get_mut(&fact.tool) {
            let (index, time) = (place.index, place.time);
            tool.changed = Some(Change { index, time, seen: fact.seen });
        }
    }
}

impl State {
    pub(super) fn apply_tool(&mut self, place: Place, fact: &Fact) {
        if let Fact::ToolPinned(fact) = fact {
            self.tools.pin(place, fact);
            self.show_tool(&fact.tool);
        } else if let Fact::ToolUnpinned(fact) = fact {
            self.tools.0.remove(&fact.tool);
            self.show_tool(&fact.tool);
        } else if let Fact::ToolChanged(fact) = fact {
            self.tools.changed(place, fact);
        }
    }

    /// Lets policies see what a pin says of the tool.
    fn show_tool(&mut self, id: &ToolId) {
        self.view.set_tool(self.next_index, id, self.tools.effect(id));
    }
}
