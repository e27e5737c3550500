//! Taking back, and letting go of the suspension that it left.

use super::{Draft, refuse};
use crate::command::{Answer, Done, RecordEnforced, RefusalCode, Revoke};
use crate::event::{
    ENFORCERS_NAMED_MAX, Enforcer, Fact, RevocationEnforced, RevocationIssued, Selector,
    SuspensionLifted,
};
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
    Answer::Done(Done { kind, index, grant: None, repeats: None })
}

pub(super) fn record_enforced(draft: &mut Draft<'_>, record: &RecordEnforced) -> Answer {
    let before = record.number.saturating_sub(1);
    let item = draft.state.feed().after(before).ok().and_then(|mut items| items.next());
    let Some(cause) = item.filter(|item| item.number == record.number).map(|item| item.index)
    else {
        let message = format!("the feed keeps no item {}", record.number);
        return refuse(RefusalCode::NotFound, message);
    };
    let (acknowledged, expired): (Vec<_>, Vec<_>) =
        record.points.iter().cloned().partition(|point| point.acknowledged);
    let count = |points: &[Enforcer]| u32::try_from(points.len()).unwrap_or(u32::MAX);
    let fact = Fact::RevocationEnforced(RevocationEnforced {
        number: record.number,
        acknowledged: count(&acknowledged),
        expired: count(&expired),
        points: expired.into_iter().chain(acknowledged).take(ENFORCERS_NAMED_MAX).collect(),
        milliseconds: u32::try_from(record.took.0).unwrap_or(u32::MAX),
    });
    let kind = fact.kind();
    let index = draft.record_because(cause, fact);
    Answer::Done(Done { kind, index, grant: None, repeats: None })
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
