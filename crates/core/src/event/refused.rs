//! Kind 113: what was turned away before it could be decided, counted and not told one by one, so that
//! nobody fills a ledger with refusals.

use super::Actor;
use crate::id::Text;

/// The most different refusals that one event counts.
pub const REFUSED_MAX: usize = 256;

/// Requests were turned away at a door: their key or token was not good, or its role too small.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    schemars::JsonSchema,
)]
pub struct DenialsAggregated {
    /// Over how long they are counted, in milliseconds, up to this event.
    pub milliseconds: u32,
    /// Each that differs from the others.
    pub denials: Vec<Refused>,
}

/// Requests that were turned away alike.
#[derive(
    Debug,
    Clone,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    bincode::Encode,
    bincode::Decode,
    serde::Serialize,
    schemars::JsonSchema,
)]
pub struct Refused {
    /// Who asked, if the key or token was good.
    pub actor: Option<Actor>,
    /// Why: a stable code, such as `credential_invalid` or `not_permitted`.
    pub code: Text,
    /// What was asked for: the door's own name of it, such as `PUT /v1/policies/{id}`.
    pub what: Text,
    /// How often.
    pub count: u32,
}
