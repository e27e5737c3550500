//! For a program that enforces: it denies early, and says whether what was allowed is still good.
//!
//! A [`Guard`] follows the feed and holds a lease with the ledger, in a task of its own. It starts
//! nothing and allows nothing: that is [`Authority::authorize`]'s, whose receipt it judges before it
//! is used and as long as it is in use. Its checks ask nobody and take well under a microsecond.
//!
//! ```no_run
//! # use std::{sync::Arc, time::Duration};
//! # use bailiwick_client::{Http, Authority, Guard, authority::{Ask, Ruling}};
//! # async fn work() {}
//! # async fn act(ledger: Arc<Http>, ask: Ask) -> Result<(), Box<dyn std::error::Error>> {
//! // A name that no other process has or had.
//! let guard = Guard::start(Arc::clone(&ledger), "billing-5f0c99d1".parse()?);
//! let permit = match ledger.authorize(ask.clone()).await? {
//!     Ruling::Allowed(permit) => permit,
//!     Ruling::Denied(denial) => return Err(denial.message.into()),
//! };
//! let held = guard.hold(permit.receipt.index, permit.asked, &ask.subject(&permit));
//! let running = guard.begin(held).map_err(|ended| ended.code().to_string())?;
//! tokio::select! {
//!     () = work() => {}
//!     ended = running.ended() => eprintln!("stopped: {}", ended.code()),
//! }
//! // The work has stopped: from here on the ledger may be told so.
//! drop(running);
//! # Ok(())
//! # }
//! ```
//!
//! **Acknowledgement.** The ledger hears that an item is enforced as soon as everything that it ends
//! has stopped: with [`Guard::begin`], when each [`Running`] that it ends has been dropped. A program
//! that only asks [`Guard::may_start`] and [`Guard::may_go_on`] is taken to look again at each
//! [`Guard::changed`]: the acknowledgement goes out right after it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bailiwick_core::enforce::{self, Monotonic};
use bailiwick_core::id::PointId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::Authority;

mod pulse;

pub use bailiwick_core::enforce::{Ended, Held, Subject};
pub use pulse::{Answer, Beat, Clock, Pulse};

/// What one process knows about its permissions. When it is dropped, and everything that it began
/// has stopped, the ledger is told that the process is gone; it must not act any more then.
pub struct Guard {
    shared: Arc<Shared>,
    /// Ends the guard's task when it is dropped.
    _lives: oneshot::Sender<Infallible>,
}

struct Shared {
    clock: Clock,
    known: Mutex<Known>,
    /// What is known has changed.
    changed: Arc<Notify>,
    /// Something that was ended has stopped.
    stopped: Notify,
}

struct Known {
    guard: enforce::Guard,
    /// What runs, by a number of its own.
    running: BTreeMap<u64, Held>,
    /// Those of them that were ended and have not stopped.
    ended: BTreeSet<u64>,
    next: u64,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Looks again at everything that runs.
    fn look(&mut self, now: Monotonic) {
        let over = self.running.iter().filter(|(_, held)| self.guard.may_go_on(held, now).is_err());
        self.ended = over.map(|(number, _)| *number).collect();
    }
}

impl Guard {
    /// Begins to follow the feed and to ping as `point`, which must be a name that no other process
    /// has or had: a restarted one takes another. Until the first ping is answered everything is
    /// denied.
    ///
    /// # Panics
    /// Outside a tokio runtime with time.
    #[must_use]
    pub fn start<A: Authority>(authority: Arc<A>, point: PointId) -> Self {
        let pulse = Pulse::new(authority, point);
        let known = Known {
            guard: enforce::Guard::new(enforce::LEASE),
            running: BTreeMap::new(),
            ended: BTreeSet::new(),
            next: 0,
        };
        let shared = Arc::new(Shared {
            clock: pulse.clock(),
            known: Mutex::new(known),
            changed: Arc::default(),
            stopped: Notify::new(),
        });
        let (lives, gone) = oneshot::channel();
        tokio::spawn(follow(pulse, Arc::clone(&shared), gone));
        Self { shared, _lives: lives }
    }

    /// Whether it is any use to ask for a permission: without a lease, or while items are missing,
    /// none could be used.
    ///
    /// # Errors
    /// [`Ended::Lease`] or [`Ended::Behind`].
    pub fn may_ask(&self) -> Result<(), Ended> {
        self.shared.known().guard.may_ask(self.shared.clock.now())
    }

    /// The receipt of the event at `index`, for a question that was sent at `asked`, ready to be
    /// judged. It judges and starts nothing.
    #[must_use]
    pub fn hold(&self, index: u64, asked: std::time::Instant, subject: &Subject<'_>) -> Held {
        Held::new(index, self.shared.clock.at(asked.into()), subject)
    }

    /// Whether what `held` allows may be started now.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_start(&self, held: &Held) -> Result<(), Ended> {
        self.shared.known().guard.may_start(held, self.shared.clock.now())
    }

    /// Whether what was started under `held` may go on.
    ///
    /// # Errors
    /// Why it is to be stopped.
    pub fn may_go_on(&self, held: &Held) -> Result<(), Ended> {
        self.shared.known().guard.may_go_on(held, self.shared.clock.now())
    }

    /// [`Guard::may_start`], and from then on the ledger is told of no item that ends it before it
    /// has stopped, which is when the answer is dropped.
    ///
    /// # Errors
    /// Why it may not be started.
    pub fn begin(&self, held: Held) -> Result<Running, Ended> {
        let mut known = self.shared.known();
        known.guard.may_start(&held, self.shared.clock.now())?;
        let number = known.next;
        known.next += 1;
        known.running.insert(number, held.clone());
        drop(known);
        Ok(Running { shared: Arc::clone(&self.shared), number, held })
    }

    /// Returns when the answers of this guard may have changed: after an item, a gap, a miss, and
    /// the beginning or end of the lease. Changes count from the call, not from the first poll: call
    /// it, look, then wait, and none is missed.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        Arc::clone(&self.shared.changed).notified_owned()
    }

    /// Every item up to this number has been taken in; none before the feed's position is known.
    #[must_use]
    pub fn applied(&self) -> Option<u64> {
        self.shared.known().guard.applied()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("applied", &self.applied()).finish_non_exhaustive()
    }
}

/// Something that was started and is to be stopped when its permission ends. Drop it when it has
/// stopped, for whatever reason.
pub struct Running {
    shared: Arc<Shared>,
    number: u64,
    held: Held,
}

impl Running {
    /// Whether it may go on.
    ///
    /// # Errors
    /// Why it is to be stopped.
    pub fn may_go_on(&self) -> Result<(), Ended> {
        self.shared.known().guard.may_go_on(&self.held, self.shared.clock.now())
    }

    /// Returns when it is to be stopped, and says why.
    pub async fn ended(&self) -> Ended {
        loop {
            let changed = self.shared.changed.notified();
            if let Err(ended) = self.may_go_on() {
                return ended;
            }
            let ends = self.shared.known().guard.lease_ends();
            let Some(ends) = ends else { return Ended::Lease };
            // Whether or not the guard's own task gets to run in time.
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep_until(self.shared.clock.moment(ends)) => {}
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut known = self.shared.known();
        known.running.remove(&self.number);
        known.ended.remove(&self.number);
        drop(known);
        self.shared.stopped.notify_one();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The guard's task.
async fn follow<A: Authority>(
    mut pulse: Pulse<A>,
    shared: Arc<Shared>,
    mut gone: oneshot::Receiver<Infallible>,
) {
    // When the lease ends that was there the last time.
    let mut ends: Option<Instant> = None;
    let mut is_gone = false;
    while !is_gone || !shared.known().running.is_empty() {
        let beat = tokio::select! {
            biased;
            _ = &mut gone, if !is_gone => {
                is_gone = true;
                None
            }
            beat = pulse.next() => Some(beat),
            () = lease_end(ends) => None,
            () = shared.stopped.notified() => None,
        };
        let mut known = shared.known();
        let heard = matches!(beat, Some(Beat::Heard(_)));
        if let Some(beat) = beat {
            pulse.take(beat, &mut known.guard);
        }
        let now = shared.clock.now();
        let lease = known.guard.lease_ends().filter(|ends| now < *ends);
        let changed = heard || lease.is_some() != ends.is_some();
        if changed {
            known.look(now);
        }
        if known.ended.is_empty() {
            pulse.acknowledge(&known.guard);
        }
        drop(known);
        ends = lease.map(|ends| shared.clock.moment(ends));
        if changed {
            shared.changed.notify_waiters();
        }
    }
    pulse.leave().await;
}

async fn lease_end(ends: Option<Instant>) {
    match ends {
        Some(ends) => tokio::time::sleep_until(ends).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
