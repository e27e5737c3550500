//! Checks 2 and 3: nothing that the call touches is suspended, and its tool is what it is pinned as.

use std::collections::BTreeSet;

use super::{Draft, Party, covered};
use crate::command::Authorize;
use crate::decide::disclosed::may_tell;
use crate::event::{
    CallDenied, DenialCode, Fact, Pinning, RevocationIssued, Selector, ToolChanged, ToolPinned,
};
use crate::id::Text;
use crate::state::{Covered, State};

/// A tool that comes with another definition than it is pinned as is said to have changed, also
/// while it is suspended for that. So is a pinned tool that comes without any: nobody can say that
/// it is the same. What was never pinned and has no definition is not held to one, unless all tools
/// wait for an operator.
pub(super) fn check(state: &State, party: &Party<'_>, ask: &Authorize) -> Result<(), DenialCode> {
    let marks = state.marks();
    let covered = covered(party, ask, None);
    if marks.suspension(Covered { tool: None, ..covered }).is_some() {
        return Err(DenialCode::Suspended);
    }
    let Some(tool) = &ask.tool else { return Ok(()) };
    let pinned = state.tools().get(tool).map(|tool| tool.pinned.hash);
    if pinned.is_some() && pinned != ask.tool_hash {
        return Err(DenialCode::ToolChanged);
    }
    if marks.suspension(covered).is_some() {
        return Err(DenialCode::Suspended);
    }
    let waits = match state.config().pinning {
        Pinning::Operator => true,
        Pinning::FirstUse => ask.tool_hash.is_some() && state.tools().is_full(),
    };
    if pinned.is_none() && waits { Err(DenialCode::ToolUnpinned) } else { Ok(()) }
}

/// The pin that the first allowed call of a tool leaves. A call that is denied leaves none, and an
/// agent's own word neither: whoever is first would say what everybody is held to.
pub(super) fn first_use(draft: &Draft<'_>, ask: &Authorize) -> Option<Fact> {
    let (tool, hash) = (ask.tool.as_ref()?, ask.tool_hash?);
    let is_first = draft.state.tools().get(tool).is_none();
    (is_first && may_tell(&draft.submission.actor)).then(|| {
        Fact::ToolPinned(ToolPinned {
            tool: tool.clone(),
            hash,
            effect: None,
            targets: Vec::new(),
            labels: BTreeSet::new(),
            first_use: true,
        })
    })
}

/// What a changed definition sets off before its denial, in the same entry: that it was seen, and
/// the revocation that suspends the tool. Once, while that suspension holds; and never by an agent's
/// own word, or it could take a tool from everybody. Index of the revocation.
pub(super) fn changed(draft: &mut Draft<'_>, denied: &CallDenied) -> Option<u64> {
    let (tool, seen) = (denied.call.tool.as_ref()?, denied.call.tool_hash?);
    let pinned = draft.state.tools().get(tool)?.pinned.hash;
    let selector = Selector::Tool(tool.clone());
    let is_new = denied.code == DenialCode::ToolChanged
        && pinned != seen
        && draft.state.marks().is_suspended(&selector).is_none()
        && may_tell(&draft.submission.actor);
    if !is_new {
        return None;
    }
    let reason_code = Text::new("tool_changed").ok()?;
    let change = draft.record(Fact::ToolChanged(ToolChanged { tool: tool.clone(), pinned, seen }));
    let reason = Text::new(&format!("tool `{tool}` came with another definition")).ok();
    let revocation = RevocationIssued { selector, suspend: true, reason_code, reason };
    Some(draft.record_by_system(Some(change), Fact::RevocationIssued(revocation)))
}
