//! What is settled of people and tools in a world: delegates, transfers, pins.

use bailiwick_core::command::{Command, PinTool, ReassignAgent};
use bailiwick_core::event::{ConfigChanged, Effect, Pinning};
use bailiwick_core::id::ToolId;

use super::workload::{ACTIONS, World};
use crate::laws::harness::{id, pin_tool};

impl World {
    pub(super) fn tool(&mut self) -> Command {
        let pinned: Vec<ToolId> = self.naive.facts.pinned().into_iter().cloned().collect();
        let tool = if pinned.is_empty() || self.chance.percent(20) {
            id(self.chance.one(&ACTIONS))
        } else {
            self.chance.one(&pinned)
        };
        match self.chance.below(24) {
            0..12 => Command::UnpinTool { tool, reason: None },
            12..17 => {
                let effects = [None, Some(Effect::Read), Some(Effect::External)];
                let effect = self.chance.one(&effects);
                let n = self.chance.one(&[1, 1, 1, 2]);
                Command::PinTool(PinTool { effect, ..pin_tool(tool.as_str(), n) })
            }
            n => {
                let pinning = if n < 18 { Pinning::Operator } else { Pinning::FirstUse };
                Command::Configure(ConfigChanged { pinning, ..ConfigChanged::default() })
            }
        }
    }

    pub(super) fn delegate(&mut self) -> Command {
        let (owner, delegate) = (id(self.owner()), id(self.owner()));
        if self.chance.percent(30) {
            return Command::RemoveDelegate { owner, delegate, reason: None };
        }
        let expires_at = if self.chance.percent(50) { Some(self.soon()) } else { None };
        Command::AddDelegate { owner, delegate, expires_at }
    }

    pub(super) fn reassign(&mut self) -> Command {
        let (agent, to) = (id(&self.agent()), id(self.owner()));
        Command::ReassignAgent(ReassignAgent { agent, to, reason: None })
    }
}
