//! Probing: several distinct tools denied in one task. An agent that was told what it may do has no
//! reason to try three other tools; one that was hijacked tries what it finds.

use std::collections::BTreeMap;

use crate::event::{CallDenied, DenialCode, FindingRaised, Place};
use crate::id::{AgentId, TaskId};
use crate::time::{Span, Time};

/// Distinct tools denied in one task that make a finding.
pub const TOOLS: usize = 3;
/// How long a denial counts.
pub const COUNTED: Span = Span::hours(24);
/// How many (agent, task) pairs are counted at once; those longest without a denial give way.
pub const PAIRS_MAX: usize = 65_536;

type Pair = (AgentId, Option<TaskId>);

#[derive(Debug, Clone, bincode::Encode, bincode::Decode)]
struct Denial {
    tool: String,
    index: u64,
    time: Time,
}

/// Denials that count, by agent and task.
///
/// INVARIANT: at most [`TOOLS`] distinct tools a pair, at most [`PAIRS_MAX`] pairs.
#[derive(Debug, Clone, Default, bincode::Encode, bincode::Decode)]
pub struct Counts {
    denials: BTreeMap<Pair, Vec<Denial>>,
    by_last: BTreeMap<u64, Pair>,
}

/// Whether a denial for this reason says that the agent reached beyond what it may do.
#[must_use]
pub const fn counts(code: DenialCode) -> bool {
    matches!(code, DenialCode::ToolNotAllowed | DenialCode::Forbidden | DenialCode::NoGrant)
}

/// The tool a call went to: the tool itself, or the action where no tool is named.
fn tool_of(call: &crate::event::Call) -> &str {
    call.tool.as_ref().map_or(call.action.as_str(), |tool| tool.as_str())
}

impl Counts {
    /// Looks at a denial that is about to be recorded. Indexes of the earlier denials that together
    /// with this one make a finding, or none.
    #[must_use]
    pub fn judge(&self, denied: &CallDenied, now: Time) -> Option<Vec<u64>> {
        let agent = denied.call.agent.as_ref()?;
        if !counts(denied.code) {
            return None;
        }
        let pair = (agent.clone(), denied.call.task);
        let earlier = self.denials.get(&pair)?;
        let tool = tool_of(&denied.call);
        let fresh = earlier.iter().filter(|d| d.time.after(COUNTED) > now && d.tool != tool);
        let evidence: Vec<u64> = fresh.map(|d| d.index).collect();
        (evidence.len() + 1 >= TOOLS).then_some(evidence)
    }

    pub(crate) fn denied(&mut self, place: Place, fact: &CallDenied) {
        let Some(agent) = &fact.call.agent else { return };
        if !counts(fact.code) {
            return;
        }
        let pair = (agent.clone(), fact.call.task);
        let denials = self.denials.entry(pair.clone()).or_default();
        if let Some(last) = denials.last() {
            self.by_last.remove(&last.index);
        }
        let tool = tool_of(&fact.call);
        denials.retain(|d| d.time.after(COUNTED) > place.time && d.tool != tool);
        if denials.len() == TOOLS {
            denials.remove(0);
        }
        denials.push(Denial { tool: tool.to_owned(), index: place.index, time: place.time });
        self.by_last.insert(place.index, pair);
        if self.by_last.len() > PAIRS_MAX
            && let Some((_, oldest)) = self.by_last.pop_first()
        {
            self.denials.remove(&oldest);
        }
    }

    /// A finding starts the count anew.
    pub(crate) fn raised(&mut self, fact: &FindingRaised) {
        self.clear(&(fact.agent.clone(), fact.task));
    }

    pub(crate) fn task_closed(&mut self, agent: &AgentId, task: TaskId) {
        self.clear(&(agent.clone(), Some(task)));
    }

    fn clear(&mut self, pair: &Pair) {
        if let Some(denials) = self.denials.remove(pair)
            && let Some(last) = denials.last()
        {
            self.by_last.remove(&last.index);
        }
    }
}
