//! What a call discloses to the record: fields of its arguments, and what the enforcement point said
//! of its parties, since that decided too.

use std::collections::BTreeMap;

use super::Draft;
use crate::command::Authorize;
use crate::event::{Actor, DenialCode, Role};
use crate::id::Text;

/// The most disclosed fields of one call.
pub const DISCLOSED_MAX: usize = 64;
/// The most bytes of their names and values together.
pub const DISCLOSED_BYTES_MAX: usize = 16_384;

/// What the call's event discloses, or the denial where it could not all be recorded, or where its
/// arguments cannot be decided about.
pub(super) fn of(draft: &Draft<'_>, ask: &Authorize) -> Result<BTreeMap<Text, Text>, DenialCode> {
    let readable = ask.args.as_ref().is_none_or(|arguments| arguments.fault().is_none());
    let fields = fields(ask).filter(|_| readable && told_by_who_may(draft, ask));
    fields.ok_or(DenialCode::InvalidArguments)
}

/// Whether all that a call discloses, its properties among it, can be recorded: at most
/// [`DISCLOSED_MAX`] fields of [`DISCLOSED_BYTES_MAX`] bytes together, each a [`Text`] once its values
/// are a JSON list.
#[must_use]
pub fn is_recordable(ask: &Authorize) -> bool {
    fields(ask).is_some()
}

/// The fields, if they can be recorded, whoever says so.
pub(super) fn fields(ask: &Authorize) -> Option<BTreeMap<Text, Text>> {
    let mut fields = ask.disclosed.clone();
    for (name, values) in ask.told.iter().flat_map(|told| told.named()) {
        let list = serde_json::to_string(values).unwrap_or_default();
        if fields.insert(Text::new(&name).ok()?, Text::new(&list).ok()?).is_some() {
            return None;
        }
    }
    let bytes = fields.iter().map(|(name, value)| name.as_str().len() + value.as_str().len());
    let fits = fields.len() <= DISCLOSED_MAX && bytes.sum::<usize>() <= DISCLOSED_BYTES_MAX;
    fits.then_some(fields)
}

/// Properties and the environment decide: an agent cannot say its own, whoever forgot to strip them.
fn told_by_who_may(draft: &Draft<'_>, ask: &Authorize) -> bool {
    may_tell(&draft.submission.actor) || (ask.told.is_none() && ask.environment.is_none())
}

/// Whether somebody is believed in what they say of a call's parties and of its tool.
pub(super) const fn may_tell(actor: &Actor) -> bool {
    match actor {
        Actor::System => true,
        Actor::Credential { role, .. } | Actor::Token { role, .. } => {
            matches!(role, Role::Admin | Role::Enforcer)
        }
    }
}
