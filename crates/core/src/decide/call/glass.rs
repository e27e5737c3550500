//! Breaking the glass: a permit that counts only because the caller says why and nothing else
//! permits. Its grant is short, and it is loud.

use super::Draft;
use crate::event::{BreakglassUsed, Call, Detector, Fact, FindingRaised, Verdict};
use crate::id::{GrantId, PolicyId, Text};

/// Records, beside the grant, that the glass was broken, and a finding for people to look at. Without
/// a justification there is nothing to record, and nothing is to be granted.
pub(super) fn broken(
    draft: &mut Draft<'_>,
    call: &Call,
    grant: GrantId,
    policies: &[PolicyId],
) -> Option<()> {
    let used = BreakglassUsed {
        agent: call.agent.clone(),
        owner: call.owner.clone()?,
        grant,
        action: call.action.clone(),
        resource: call.resource.clone(),
        policies: policies.to_vec(),
        justification: call.justification.clone()?,
    };
    let used = draft.record_because(grant.0, Fact::BreakglassUsed(used));
    if let Some(agent) = call.agent.clone() {
        let summary = format!("`{agent}` broke the glass for `{}`", call.action);
        let finding = FindingRaised {
            detector: Detector::BreakGlass,
            verdict: Verdict::Note,
            agent,
            task: call.task,
            score: 1_000_000,
            evidence: vec![grant.0, used],
            summary: Text::new(&summary).ok()?,
        };
        draft.record_by_system(Some(used), Fact::FindingRaised(finding));
    }
    Some(())
}
