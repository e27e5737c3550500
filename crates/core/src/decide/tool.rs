//! Tools, and the definitions they are held to.

use super::{Draft, refuse};
use crate::command::{Answer, PinTool, RefusalCode};
use crate::event::{Fact, Selector, SuspensionLifted, ToolPinned, ToolUnpinned};
use crate::id::{Text, ToolId};
use crate::state::TOOLS_MAX;

/// The most arguments of a tool that name what it acts on.
pub const TARGET_POINTERS_MAX: usize = 16;
/// The most labels of a tool.
pub const LABELS_MAX: usize = 64;

/// Holds a tool to a definition. Where the tool stands suspended because it came with another one
/// than before, the pin is the answer to that, and the suspension is lifted. Never its grants.
pub(super) fn pin(draft: &mut Draft<'_>, pin: &PinTool) -> Answer {
    let state = draft.state;
    let known = state.tools().get(&pin.tool);
    if known.is_none() && state.tools().is_full() {
        let message = format!("{TOOLS_MAX} tools are pinned already");
        return refuse(RefusalCode::LimitReached, message);
    }
    if pin.targets.len() > TARGET_POINTERS_MAX || pin.labels.len() > LABELS_MAX {
        let message = format!("at most {TARGET_POINTERS_MAX} targets and {LABELS_MAX} labels");
        return refuse(RefusalCode::OutOfRange, message);
    }
    if let Some(target) = pin.targets.iter().find(|target| !target.as_str().starts_with('/')) {
        let message = format!("`{target}` is no JSON pointer to an argument, such as `/id`");
        return refuse(RefusalCode::OutOfRange, message);
    }
    let selector = Selector::Tool(pin.tool.clone());
    let changed = known.filter(|tool| tool.pinned.hash != pin.hash).and_then(|tool| tool.changed);
    let answered = state
        .marks()
        .is_suspended(&selector)
        .filter(|cause| changed.is_some_and(|changed| *cause == changed.index + 1));
    let answer = draft.done(Fact::ToolPinned(ToolPinned {
        tool: pin.tool.clone(),
        hash: pin.hash,
        effect: pin.effect,
        targets: pin.targets.clone(),
        labels: pin.labels.clone(),
        first_use: false,
    }));
    if let Some(cause) = answered {
        let reason = Text::new("its new definition is pinned").ok();
        draft.record_because(cause, Fact::SuspensionLifted(SuspensionLifted { selector, reason }));
    }
    answer
}

/// Lets go of the definition. A suspension stays until it is lifted.
pub(super) fn unpin(draft: &mut Draft<'_>, tool: &ToolId, reason: &Option<Text>) -> Answer {
    if draft.state.tools().get(tool).is_none() {
        return refuse(RefusalCode::NotFound, format!("tool `{tool}` is not pinned"));
    }
    let (tool, reason) = (tool.clone(), reason.clone());
    draft.done(Fact::ToolUnpinned(ToolUnpinned { tool, reason }))
}
