//! The rules: events, chain, Merkle tree, grants, policy, decisions, detection. No IO, no clock, no chance.

pub mod id;
pub mod time;
