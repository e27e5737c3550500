//! Drift, seen from the events as they come: pure, inline, folded into the state.
//!
//! Each detector keeps bounded counts, which [`crate::state::State`] folds from events, and has a
//! function that looks at what is about to be recorded. What it finds goes into the same entry as
//! the event that led to it, so there is no window between the drift and the tear-down.
//! [`probing`] looks at denials. Detectors that look at a call *before* it is allowed (provenance,
//! profiles, loops) will be asked from `decide`, at check 5 of a call.

pub mod probing;
