//! Waiting until people have answered: a request that stays open for a bounded time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bailiwick_core::id::ApprovalId;
use bailiwick_core::time::Span as Length;
use tokio::time::Instant;

use super::{Approval, Sight, read};
use crate::auth::Caller;
use crate::desk::Desk;
use crate::problem::{CREDENTIAL_INVALID, OUT_OF_RANGE, OVERLOADED, Problem};

/// The longest wait: it stays below what a connection waits for an answer.
const WAIT_MAX: Length = Length::seconds(60);
/// How many wait at once, on all threads.
const WAITS_MAX: usize = 1_024;
/// How often the ledger is looked at while it is busy, at most.
const LOOK_EVERY: Duration = Duration::from_millis(50);

static WAITS: AtomicUsize = AtomicUsize::new(0);

/// One of those that wait.
struct Seat;

impl Seat {
    fn take() -> Result<Self, Problem> {
        let taken = WAITS.fetch_add(1, Ordering::Relaxed);
        let seat = Self;
        if taken >= WAITS_MAX {
            drop(seat);
            return Err(OVERLOADED.with(format!("{WAITS_MAX} requests wait for people already")));
        }
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        WAITS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long to wait, if at all.
pub(super) fn limit(given: Option<&str>) -> Result<Option<Duration>, Problem> {
    let Some(wait) = given.map(str::parse::<Length>).transpose()? else { return Ok(None) };
    if wait > WAIT_MAX {
        let detail = format!("`wait` is {wait}, at most {WAIT_MAX} is allowed");
        return Err(OUT_OF_RANGE.with(detail));
    }
    Ok(Some(Duration::from_millis(wait.0)))
}

/// The approval once it is not pending any more, or as it is when the time is over.
pub(super) async fn until_answered(
    desk: &Desk,
    caller: &Caller,
    id: ApprovalId,
    sight: Sight,
    limit: Duration,
) -> Result<Approval, Problem> {
    let ends = Instant::now() + limit;
    let mut committed = desk.ledger.committed();
    let mut closing = desk.closing.clone();
    let mut seat = None;
    loop {
        committed.mark_unchanged();
        let approval = read(desk, id, sight.clone()).await?;
        if approval.status != "pending" || Instant::now() >= ends || *closing.borrow() {
            return Ok(approval);
        }
        if seat.is_none() {
            seat = Some(Seat::take()?);
        }
        let looked = Instant::now();
        tokio::select! {
            _ = committed.changed() => {}
            _ = closing.wait_for(|closing| *closing) => {}
            // Its own time may end without an event.
            () = tokio::time::sleep_until(ends.min(looked + Duration::from_secs(1))) => {}
        }
        tokio::time::sleep_until(ends.min(looked + LOOK_EVERY)).await;
        if !caller.is_live(desk) {
            return Err(CREDENTIAL_INVALID.with("the key was revoked or expired meanwhile"));
        }
    }
}
