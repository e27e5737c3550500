//! What the policies say of a call, the agent's and the owner's, and what that leaves to be granted.

use super::live::{self, Seen};
use super::{Denial, JIT_TTL, JIT_USES, POLICIES_NAMED_MAX, Party, allowlisted, standing};
use crate::command::{Authorize, Subject};
use crate::decide::USES_MAX;
use crate::decide::approval::Proposal;
use crate::event::DenialCode;
use crate::id::PolicyId;
use crate::policy::{self, PolicyIndex, Restrictions};
use crate::state::{State, Verdicts, View};
use crate::time::{Span, Time};

/// What the policies said, the agent's and the owner's together.
pub(in crate::decide) struct PolicySays {
    pub(in crate::decide) ids: Vec<PolicyId>,
    pub(in crate::decide) restrictions: Restrictions,
    pub(in crate::decide) just_in_time: bool,
    pub(super) seen: Seen,
}

impl PolicySays {
    /// The grant that people may approve: no longer and no more often than policy lets it be.
    pub(in crate::decide) fn wanted(&self, ttl: Option<Span>, max_uses: Option<u32>) -> Proposal {
        let most = self.restrictions.ttl.unwrap_or(JIT_TTL);
        let uses = self.restrictions.max_uses.unwrap_or(JIT_USES).min(USES_MAX);
        Proposal {
            needs: self.restrictions.approvals.clone(),
            ttl: ttl.unwrap_or(most).min(most),
            max_uses: max_uses.unwrap_or(uses).min(uses),
            policies: self.ids.clone(),
        }
    }
}

/// Check 6: Cedar, for the agent and for its owner. Both must permit. Arguments of other types than
/// the policies were validated with are denied before: a forbid could miss them.
pub(super) fn ask_policies(
    state: &State,
    party: &Party<'_>,
    ask: &Authorize,
    now: Time,
) -> Result<PolicySays, Denial> {
    let view = state.view();
    if ask.args.as_ref().is_some_and(|args| !view.policies().accept(&ask.action, args)) {
        return Err(DenialCode::InvalidArguments.into());
    }
    let early = ask.verdicts.as_ref();
    let is_agent = matches!(ask.subject, Subject::Agent(_));
    let early = early.filter(|v| {
        v.version == view.version() && !v.is_volatile() && v.agent.is_some() == is_agent
    });
    let asked_now: Option<Verdicts>;
    let verdicts = match early {
        Some(verdicts) => verdicts,
        None => {
            asked_now = live::verdicts(state, party, ask, now);
            asked_now.as_ref().ok_or(DenialCode::Forbidden)?
        }
    };
    let seen = Seen::of(verdicts, &view);
    let both = || verdicts.agent.iter().chain(std::iter::once(&verdicts.owner));
    if let Some(no) = both().find(|v| v.decision != policy::Decision::Permit) {
        return Err(Denial {
            policies: named(&view, &no.determining),
            reason: no.restrictions.reason.clone(),
            seen: Some(Box::new(seen)),
            ..DenialCode::Forbidden.into()
        });
    }
    let mut indexes: Vec<_> = both().flat_map(|v| v.determining.iter().copied()).collect();
    indexes.sort_unstable();
    indexes.dedup();
    let owners = &verdicts.owner.restrictions;
    let asker = verdicts.agent.as_ref().map_or(owners, |agent| &agent.restrictions);
    let just_in_time = asker.jit || asker.breakglass;
    let restrictions = match &verdicts.agent {
        Some(agent) => agent.restrictions.clone().combine(owners),
        None => owners.clone(),
    };
    Ok(PolicySays { ids: named(&view, &indexes), restrictions, just_in_time, seen })
}

pub(super) fn named(view: &View, determining: &[PolicyIndex]) -> Vec<PolicyId> {
    view.policy_ids(&determining[..determining.len().min(POLICIES_NAMED_MAX)])
}

/// What the policies say of a call that is not made now, to issue a grant for it. The glass is broken
/// at a call only.
pub(in crate::decide) fn policies_for(
    state: &State,
    ask: &Authorize,
    now: Time,
) -> Result<PolicySays, DenialCode> {
    let party = standing(state, ask, now).map_err(|denial| denial.code)?;
    party
        .agent
        .map_or(Ok(()), |(_, agent)| allowlisted(agent, ask, now))
        .and_then(|()| ask_policies(state, &party, ask, now))
        .map_err(|denial| denial.code)
        .and_then(|says| match says.restrictions.breakglass {
            false => Ok(says),
            true => Err(DenialCode::Forbidden),
        })
}
