//! Policies: staged one by one, validated each, activated as a set.

use super::{Draft, refuse};
use crate::command::{Answer, RefusalCode};
use crate::event::{Fact, PoliciesActivated, PolicyPut, PolicyRemoved, SchemaPut};
use crate::id::{Action, PolicyId, Text};
use crate::policy::{Inputs, POLICIES_MAX, check_one_with};
use crate::record::hash::Digest;

/// The most actions that may have an input schema.
pub const SCHEMAS_MAX: usize = 4_096;

pub(super) fn put(
    draft: &mut Draft<'_>,
    policy: &PolicyId,
    text: &str,
    reason: &Option<Text>,
) -> Answer {
    let staged = draft.state.staged();
    if staged.len() >= POLICIES_MAX && !staged.contains_key(policy) {
        return refuse(RefusalCode::LimitReached, format!("there are {POLICIES_MAX} policies"));
    }
    if let Err(errors) = check_one_with(draft.state.staged_schemas(), policy, text) {
        return refuse(RefusalCode::PolicyInvalid, errors.to_string());
    }
    let (policy, text, reason) = (policy.clone(), text.to_owned(), reason.clone());
    draft.done(Fact::PolicyPut(PolicyPut { policy, text, reason }))
}

pub(super) fn remove(draft: &mut Draft<'_>, policy: &PolicyId) -> Answer {
    if !draft.state.staged().contains_key(policy) {
        return refuse(RefusalCode::NotFound, format!("policy `{policy}` is not on the stage"));
    }
    draft.done(Fact::PolicyRemoved(PolicyRemoved { policy: policy.clone() }))
}

/// The arguments of an action, for policies that read them. It takes effect with the next set.
pub(super) fn put_schema(draft: &mut Draft<'_>, action: &Action, schema: &str) -> Answer {
    let staged = draft.state.staged_schemas();
    if staged.len() >= SCHEMAS_MAX && !staged.contains_key(action) {
        return refuse(RefusalCode::LimitReached, format!("there are {SCHEMAS_MAX} schemas"));
    }
    if let Err(error) = Inputs::of_json_schema(schema) {
        return refuse(RefusalCode::PolicyInvalid, format!("schema of `{action}`: {error}"));
    }
    let (action, schema) = (action.clone(), schema.to_owned());
    draft.done(Fact::SchemaPut(SchemaPut { action, schema }))
}

/// Each policy was validated when it was put; what changed is compiled once more as a whole.
pub(super) fn activate(draft: &mut Draft<'_>) -> Answer {
    let staged = draft.state.staged();
    let texts = staged.iter().map(|(id, text)| (id, text.as_str()));
    let set =
        match draft.state.view().policies().recompile_with(draft.state.staged_schemas(), texts) {
            Ok(set) => set,
            Err(errors) => return refuse(RefusalCode::PolicyInvalid, errors.to_string()),
        };
    let count = u32::try_from(staged.len()).unwrap_or(u32::MAX);
    let hash = Digest(set.hash());
    draft.done(Fact::PoliciesActivated(PoliciesActivated { count, hash }))
}
