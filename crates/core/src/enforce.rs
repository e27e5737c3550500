//! How an enforcement point knows that it may still act, and how the decision point knows that it
//! no longer does: leases by nonce ping, acknowledged feed numbers, and what a receipt is still
//! good for (the record, section 6).
//!
//! Both sides are plain state machines, so that a test can walk through everything that a network,
//! a stopped process and two clocks may do to them. Their one argument besides is [`Monotonic`],
//! each process's own: the sides never compare clocks, they only rely on them running about equally
//! fast, which [`SKEW`] allows for.
//!
//! The rule that carries the rest: an answered ping renews the lease from the moment at which the
//! ping was *sent*, and only once the point has applied every item up to the number in the answer.
//! So a point that hears pings but no feed runs out one lease after the revocation it did not hear.

use crate::time::Span;

mod guard;
mod narrowed;
mod points;

pub use guard::{Ended, Guard, Heard, Held, NARROWED_MAX, Nonce, PINGS_MAX, Subject};
pub use points::{Enforced, POINTS_MAX, PointStanding, Points, TooManyPoints};

/// How long an enforcement point may act without having heard from the writer, and how long a
/// receipt is good for: counted from when the point sent its question.
pub const LEASE: Span = Span::seconds(1);
/// How often an enforcement point pings.
pub const PING_EVERY: Span = Span(250);
/// How far two clocks may drift apart over two leases, with what a process needs to notice an end.
pub const SKEW: Span = Span(50);
/// From a revocation to the last use at any enforcement point, cut off or not, whichever writer it
/// was told by: a writer that was overtaken answers for up to one lease more.
pub const BOUND: Span = Span(2 * LEASE.0 + SKEW.0);

/// A reading of one process's monotonic clock: nanoseconds since a moment of that process's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The moment `span` later.
    #[must_use]
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0.saturating_mul(1_000_000)))
    }
}
