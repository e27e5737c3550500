//! The tables: what the ledger's events add up to, in the form that questions are asked of.

pub(crate) mod approvals;
pub(crate) mod calls;
pub(crate) mod checkpoints;
pub(crate) mod events;
pub(crate) mod grants;
pub(crate) mod grown;
pub(crate) mod marks;
pub(crate) mod registry;
pub(crate) mod revocations;
pub(crate) mod scan;
pub(crate) mod segments;
pub(crate) mod sheet;
pub(crate) mod standing;
pub(crate) mod tasks;
pub(crate) mod verified;
pub(crate) mod whole;
