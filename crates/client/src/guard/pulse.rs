//! What keeps an enforcement point's lease: the feed it hears and the pings it sends, for whatever
//! loop it is part of. The rules are [`enforce::Guard`]'s, the loop is the caller's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bailiwick_core::enforce::{self, Monotonic, Nonce};
use bailiwick_core::id::PointId;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use crate::Error;
use crate::authority::{Authority, LEASE, PING_EVERY, Ping, Pong, Signals};
use crate::revocations::Signal;

/// How many pings may be without an answer before an acknowledgement waits for the next one that is
/// due anyway.
const UNANSWERED_MAX: usize = 8;

/// The process's monotonic clock as the rules count it: from a moment of its own.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Instant,
}

impl Clock {
    /// Begins to count.
    #[must_use]
    pub fn start() -> Self {
        Self { base: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(self) -> Monotonic {
        self.at(Instant::now())
    }

    /// A moment on this clock; what came before its beginning is taken for the beginning.
    #[must_use]
    pub fn at(self, moment: Instant) -> Monotonic {
        let since = moment.saturating_duration_since(self.base);
        Monotonic(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// The moment of a reading of this clock.
    #[must_use]
    pub fn moment(self, reading: Monotonic) -> Instant {
        self.base + Duration::from_nanos(reading.0)
    }
}

/// What a pulse brings, to be given to [`Pulse::take`].
#[derive(Debug)]
pub enum Beat {
    /// A ping is due.
    Due,
    /// A ping has come to its end.
    Answered(Answer),
    /// The feed has said something.
    Heard(Signal),
    /// The feed has ended, which it should not: the lease ends with the next item.
    Deaf,
}

/// How a ping ended.
#[derive(Debug)]
pub struct Answer {
    nonce: Nonce,
    result: Result<Pong, Error>,
}

/// One enforcement point's feed and pings. Drive it with [`Pulse::next`], give what comes to
/// [`Pulse::take`], stop what may no longer go on, then call [`Pulse::acknowledge`]:
///
/// ```
/// # use bailiwick_client::{Authority, guard::Pulse};
/// # use bailiwick_core::enforce::{Guard, LEASE};
/// # async fn enforce<A: Authority>(mut pulse: Pulse<A>) {
/// let mut guard = Guard::new(LEASE);
/// loop {
///     let beat = pulse.next().await;
///     pulse.take(beat, &mut guard);
///     // Here: stop everything for which `guard.may_go_on` says no.
///     pulse.acknowledge(&guard);
/// }
/// # }
/// ```
pub struct Pulse<A> {
    authority: Arc<A>,
    point: PointId,
    clock: Clock,
    /// None when the stream has ended, which it should not.
    signals: Option<Signals>,
    pings: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// What pings say: everything up to this number has been stopped. None before the feed's
    /// position is known; then there is nothing that a lease could be for, and no ping is sent.
    enforced: Option<u64>,
    /// Whether `enforced` has moved since the last ping.
    owes: bool,
    next_ping: Option<Instant>,
    has_pinged: bool,
    is_answered: bool,
}

impl<A> fmt::Debug for Pulse<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse")
            .field("point", &self.point)
            .field("enforced", &self.enforced)
            .finish_non_exhaustive()
    }
}

impl<A: Authority> Pulse<A> {
    /// The pulse of `point`, which must be a name that no other process has or had.
    pub fn new(authority: Arc<A>, point: PointId) -> Self {
        let signals = Some(authority.revocations(None));
        Self {
            authority,
            point,
            clock: Clock::start(),
            signals,
            pings: FuturesUnordered::new(),
            enforced: None,
            owes: false,
            next_ping: None,
            has_pinged: false,
            is_answered: true,
        }
    }

    /// The clock that its guard's moments are read from.
    #[must_use]
    pub const fn clock(&self) -> Clock {
        self.clock
    }

    /// The next thing that happens. Dropped before it is ready, it loses nothing.
    pub async fn next(&mut self) -> Beat {
        // Before all else, so that a flood of items does not cost the lease.
        if self.next_ping.is_some_and(|due| due <= Instant::now()) {
            return Beat::Due;
        }
        let acknowledges = self.owes && self.pings.len() < UNANSWERED_MAX;
        tokio::select! {
            biased;
            Some(answer) = self.pings.next(), if !self.pings.is_empty() => Beat::Answered(answer),
            beat = next_signal(&mut self.signals) => beat,
            // Behind the feed: all that has been heard is acknowledged at once.
            () = std::future::ready(()), if acknowledges => Beat::Due,
            () = sleep_until(self.next_ping) => Beat::Due,
        }
    }

    /// What the feed has said already, without waiting for more.
    pub fn heard_already(&mut self) -> Option<Beat> {
        next_signal(&mut self.signals).now_or_never()
    }

    /// Tells the guard what has happened, or sends the ping that is due. Whatever holds receipts
    /// looks at them again when this returns.
    pub fn take(&mut self, beat: Beat, guard: &mut enforce::Guard) {
        let now = self.clock.now();
        match beat {
            Beat::Due => self.ping(guard, now),
            Beat::Answered(answer) => self.answered(answer, guard),
            Beat::Heard(signal) => hear(signal, guard, now),
            Beat::Deaf => tracing::error!("the revocation stream has ended"),
        }
        if guard.applied().is_none() {
            (self.enforced, self.owes, self.next_ping) = (None, false, None);
        }
    }

    /// Everything that the guard's items ended has been stopped: says so to the ledger, at once.
    /// Until then pings go on with the number that was acknowledged before.
    pub fn acknowledge(&mut self, guard: &enforce::Guard) {
        if self.enforced != guard.applied() {
            self.enforced = guard.applied();
            self.owes = self.enforced.is_some();
        }
    }

    /// Tells the ledger that everything has been stopped and nothing will be started.
    pub async fn leave(self) {
        let Self { authority, point, pings, has_pinged, .. } = self;
        // A ping that comes later would make the point known again.
        drop(pings);
        if !has_pinged {
            return;
        }
        match tokio::time::timeout(LEASE, authority.leave(point)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "nobody heard that the point left"),
            Err(_) => tracing::debug!("nobody heard that the point left"),
        }
    }

    fn ping(&mut self, guard: &mut enforce::Guard, now: Monotonic) {
        let nonce = Nonce(rand::random());
        guard.pinged(nonce, now);
        let ping = Ping { point: self.point.clone(), nonce, applied: self.enforced };
        let authority = Arc::clone(&self.authority);
        let answered = async move {
            let answer = tokio::time::timeout(LEASE, authority.ping(ping)).await;
            let result = answer.unwrap_or_else(|_| Err(Error::unavailable("ping")));
            Answer { nonce, result }
        };
        self.pings.push(answered.boxed());
        self.owes = false;
        self.has_pinged = true;
        self.next_ping = Some(Instant::now() + PING_EVERY);
    }

    fn answered(&mut self, answer: Answer, guard: &mut enforce::Guard) {
        let was_answered = self.is_answered;
        match answer.result {
            Ok(pong) => {
                self.is_answered = true;
                if !was_answered {
                    tracing::info!("pings are answered again");
                }
                if pong.nonce != answer.nonce || !guard.ponged(pong.nonce, pong.number) {
                    tracing::debug!("an answer to a ping came when it was no longer good");
                }
            }
            Err(error) => {
                self.is_answered = false;
                if was_answered {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "a ping was not answered; without a lease nothing goes on"
                    );
                }
            }
        }
    }
}

fn hear(signal: Signal, guard: &mut enforce::Guard, now: Monotonic) {
    match signal {
        Signal::Alive { number } | Signal::Behind { shown: number, early: None, .. } => {
            guard.stands_at(number, now);
        }
        Signal::Item(item) | Signal::Behind { early: Some(item), .. } => {
            guard.hear(&item, now);
        }
        // Pings say what the silence hides: they are not answered, or with a number ahead of it.
        Signal::Lost { .. } => {}
        Signal::Missed { .. } => guard.missed(None, now),
    }
}

async fn next_signal(signals: &mut Option<Signals>) -> Beat {
    let Some(stream) = signals else { return std::future::pending().await };
    match stream.next().await {
        Some(signal) => Beat::Heard(signal),
        None => {
            *signals = None;
            Beat::Deaf
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
