//! How the ledger decides, where that is a matter of choice.

use super::{Draft, TTL_MAX, refuse};
use crate::command::{Answer, RefusalCode};
use crate::event::{ConfigChanged, Fact};
use crate::time::Span;

/// Writes all of the settings.
pub(super) fn configure(draft: &mut Draft<'_>, config: &ConfigChanged) -> Answer {
    if config.approval_ttl == Span(0) || config.approval_ttl > TTL_MAX {
        let message = format!("approval_ttl must be more than 0 and at most {TTL_MAX}");
        return refuse(RefusalCode::OutOfRange, message);
    }
    draft.done(Fact::ConfigChanged(config.clone()))
}
