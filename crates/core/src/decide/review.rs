//! Access review: somebody looks at a grant and says whether it is still needed.

use super::{Draft, refuse};
use crate::command::{Answer, Command, Done, RefusalCode};
use crate::event::{AccessReviewed, Actor, DenialCode, Fact, Review, RevocationIssued, Selector};
use crate::id::{GrantId, Text};
use crate::state::State;

/// What a revocation that came of a review says to programs.
const REASON_CODE: &str = "access_review";

/// Records what a review came to; where it is that the grant goes, the revocation stands in the same
/// entry.
pub(super) fn review(
    draft: &mut Draft<'_>,
    grant: GrantId,
    review: Review,
    reason: &Option<Text>,
) -> Answer {
    let Some(held) = draft.state.grants().get(grant) else {
        return refuse(RefusalCode::NotFound, format!("`{grant}` is not known"));
    };
    match draft.state.check_grant(grant, held, draft.now) {
        Ok(()) | Err(DenialCode::NotYetValid) => {}
        Err(code) => {
            let message = format!("`{grant}` has ended already: {code}");
            return refuse(RefusalCode::WrongState, message);
        }
    }
    let Ok(reason_code) = Text::new(REASON_CODE) else {
        return refuse(RefusalCode::OutOfRange, "reason_code is not acceptable");
    };
    let owner = held.owner.clone();
    let fact =
        Fact::AccessReviewed(AccessReviewed { owner, grant, review, reason: reason.clone() });
    let kind = fact.kind();
    let index = draft.record_because(grant.0, fact);
    match review {
        Review::Keep => {}
        Review::Revoke => {
            let fact = RevocationIssued {
                selector: Selector::Grant(grant),
                suspend: false,
                reason_code,
                reason: reason.clone(),
            };
            draft.record_because(index, Fact::RevocationIssued(fact));
        }
    }
    Answer::Done(Done { kind, index, grant: None, repeats: None })
}

/// A person reviews what was granted on the person's own authority.
pub(super) fn approver_may(state: &State, actor: &Actor, command: &Command) -> bool {
    let Command::ReviewGrant { grant, .. } = command else { return false };
    let held = state.grants().get(*grant);
    held.is_some_and(|held| state.person(actor) == Some(&held.owner))
}
