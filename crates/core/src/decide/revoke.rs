//! Taking back, and letting go of the suspension that it left.

use super::{Draft, refuse};
use crate::command::{Answer, RefusalCode, Revoke};
use crate::event::{Fact, RevocationIssued, Selector, SuspensionLifted};
use crate::id::Text;
use crate::state::State;

/// One event, however many grants it ends. A name that nothing has is refused, since a revocation
/// that hits nothing is most likely a slip of the pen; tools and resources are open sets.
pub(super) fn revoke(draft: &mut Draft<'_>, revoke: &Revoke) -> Answer {
    if !exists(draft.state, &revoke.selector) {
        return refuse(RefusalCode::NotFound, format!("{} is not known", revoke.selector));
    }
    let Some(reason_code) = revoke.reason_code.clone().or_else(|| Text::new("operator").ok())
    else {
        return refuse(RefusalCode::OutOfRange, "reason_code is not acceptable");
    };
    let fact = RevocationIssued {
        suspend: !revoke.grants_only && !matches!(revoke.selector, Selector::Grant(_)),
        selector: revoke.selector.clone(),
        reason_code,
        reason: revoke.reason.clone(),
    };
    draft.done(Fact::RevocationIssued(fact))
}

pub(super) fn lift(draft: &mut Draft<'_>, selector: &Selector, reason: &Option<Text>) -> Answer {
    let Some(cause) = draft.state.marks().is_suspended(selector) else {
        return refuse(RefusalCode::NotFound, format!("{selector} is not suspended"));
    };
    let fact = SuspensionLifted { selector: selector.clone(), reason: reason.clone() };
    let fact = Fact::SuspensionLifted(fact);
    let kind = fact.kind();
    let index = draft.record_because(cause, fact);
    Answer::Done(crate::command::Done { kind, index, grant: None, repeats: None })
}

fn exists(state: &State, selector: &Selector) -> bool {
    match selector {
        Selector::Grant(id) => state.grants().get(*id).is_some(),
        Selector::Agent(id) => state.agents().contains_key(id),
        Selector::Owner(id) => state.owners().contains_key(id),
        Selector::Task(id) => state.tasks().contains_key(id),
        Selector::Tool(_) | Selector::Resource(_) | Selector::All => true,
    }
}
