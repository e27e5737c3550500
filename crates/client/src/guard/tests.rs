//! The guard before a ledger that says exactly what a test wants, on a clock that is moved by hand.

use std::time::Duration;

use bailiwick_core::command::Finish;
use bailiwick_core::event::{Actor, Selector};
use bailiwick_core::feed::Item;
use bailiwick_core::id::{Action, AgentId, ApprovalId, GrantId, Resource, TaskId, ToolId};
use bailiwick_core::record::hash::Link;
use bailiwick_core::state::ApprovalStatus;
use bailiwick_core::time::Time;
use tokio::sync::mpsc;

use super::*;
use crate::Error;
use crate::authority::{Ask, LEASE, NewTask, PING_EVERY, Ping, Pong, Ruling, Signals};
use crate::revocations::Signal;

/// What a ping of a guard says, and how to answer it.
type Pinged = (Option<u64>, Box<dyn FnOnce(u64) + Send>);

/// A ledger whose pings are answered by the test.
struct Ledger {
    signals: Mutex<Option<mpsc::UnboundedReceiver<Signal>>>,
    pings: mpsc::UnboundedSender<Pinged>,
    left: mpsc::UnboundedSender<PointId>,
}

impl Authority for Ledger {
    async fn authorize(&self, _: Ask) -> Result<Ruling, Error> {
        Err(Error::unavailable("a guard asks for nothing"))
    }

    async fn finish(&self, _: Finish) -> Result<(), Error> {
        Err(Error::unavailable("a guard reports nothing"))
    }

    async fn open_task(&self, _: NewTask) -> Result<TaskId, Error> {
        Err(Error::unavailable("a guard opens nothing"))
    }

    async fn close_task(&self, _: TaskId) -> Result<(), Error> {
        Err(Error::unavailable("a guard closes nothing"))
    }

    async fn approval(&self, _: ApprovalId, _: Duration) -> Result<ApprovalStatus, Error> {
        Err(Error::unavailable("a guard waits for nobody"))
    }

    fn revocations(&self, _: Option<u64>) -> Signals {
        let signals = self.signals.lock().unwrap().take().unwrap();
        Box::pin(futures::stream::unfold(signals, |mut signals| async {
            signals.recv().await.map(|signal| (signal, signals))
        }))
    }

    async fn ping(&self, ping: Ping) -> Result<Pong, Error> {
        let (answer, number) = oneshot::channel();
        // Nobody waits for an answer that came too late.
        let answer = Box::new(|number| {
            let _ = answer.send(number);
        });
        self.pings.send((ping.applied, answer)).unwrap();
        match number.await {
            Ok(number) => Ok(Pong { nonce: ping.nonce, number }),
            Err(_) => Err(Error::unavailable("ping")),
        }
    }

    async fn leave(&self, point: PointId) -> Result<(), Error> {
        self.left.send(point).unwrap();
        Ok(())
    }
}

struct Bench {
    guard: Guard,
    signals: mpsc::UnboundedSender<Signal>,
    pings: mpsc::UnboundedReceiver<Pinged>,
    left: mpsc::UnboundedReceiver<PointId>,
}

impl Bench {
    /// A guard whose feed has said nothing yet.
    fn new() -> Self {
        let (signals, heard) = mpsc::unbounded_channel();
        let (pinged, pings) = mpsc::unbounded_channel();
        let (leaves, left) = mpsc::unbounded_channel();
        let signals_of = Mutex::new(Some(heard));
        let ledger = Ledger { signals: signals_of, pings: pinged, left: leaves };
        let guard = Guard::start(Arc::new(ledger), PointId::new("p").unwrap());
        Self { guard, signals, pings, left }
    }

    /// A guard that holds a lease, while the feed stands at 0.
    async fn alive() -> Self {
        let mut bench = Self::new();
        bench.says(Signal::Alive { number: 0 }).await;
        assert_eq!(bench.pinged(0).await, Some(0));
        bench
    }

    /// Answers the next ping with `number`, and gives what it said.
    async fn pinged(&mut self, number: u64) -> Option<u64> {
        let pinged = tokio::time::timeout(10 * LEASE, self.pings.recv()).await;
        let (applied, answer) = pinged.expect("a ping is due").unwrap();
        answer(number);
        settle().await;
        applied
    }

    /// Answers pings with `number` until one says that `number` is enforced.
    async fn acknowledged(&mut self, number: u64) {
        while self.pinged(number).await != Some(number) {}
    }

    async fn says(&self, signal: Signal) {
        self.signals.send(signal).unwrap();
        settle().await;
    }

    async fn revokes(&self, number: u64, agent: &str) {
        self.says(Signal::Item(Box::new(item(number, agent)))).await;
    }

    /// A receipt of the event at 100, for agent `a1`, asked for now.
    fn held(&self) -> Held {
        let agent = AgentId::new("a1").unwrap();
        let tool = ToolId::new("crm/read_case").unwrap();
        let action = Action::new("crm/read_case").unwrap();
        let resource = Resource::new("crm://case/1").unwrap();
        let subject = Subject {
            grant: GrantId(99),
            agent: Some(&agent),
            owner: None,
            task: None,
            tool: Some(&tool),
            action: &action,
            resource: &resource,
        };
        self.guard.hold(100, Instant::now().into_std(), &subject)
    }

    fn no_ping(&mut self) -> bool {
        self.pings.try_recv().is_err()
    }
}

/// Lets the guard's task do what it can do now.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// An item that ends what `agent` does, of an event behind 100.
fn item(number: u64, agent: &str) -> Item {
    Item {
        number,
        index: 100 + number,
        link: Link([0; 32]),
        time: Time(0),
        kind: "revocation.issued".to_owned(),
        selector: Selector::Agent(AgentId::new(agent).unwrap()),
        suspend: false,
        reason_code: None,
        reason: None,
        by: Actor::System,
        cause: None,
    }
}

const NARROWED: Result<(), Ended> = Err(Ended::Narrowed { suspend: false });

#[tokio::test(start_paused = true)]
async fn nothing_may_start_before_a_ping_was_answered() {
    let mut bench = Bench::new();
    bench.says(Signal::Alive { number: 7 }).await;
    assert_eq!(bench.guard.may_ask(), Err(Ended::Lease));
    assert_eq!(bench.guard.may_start(&bench.held()), Err(Ended::Lease));
    assert!(bench.guard.begin(bench.held()).is_err());
    let changed = bench.guard.changed();
    assert_eq!(bench.pinged(7).await, Some(7));
    changed.await;
    assert_eq!(bench.guard.may_ask(), Ok(()));
    assert_eq!(bench.guard.may_start(&bench.held()), Ok(()));
    assert_eq!(bench.guard.applied(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn no_ping_is_sent_before_the_feed_has_said_where_it_stands() {
    let mut bench = Bench::new();
    let early = bench.held();
    tokio::time::sleep(4 * LEASE).await;
    assert!(bench.no_ping());
    bench.says(Signal::Alive { number: 3 }).await;
    assert_eq!(bench.pinged(3).await, Some(3));
    assert_eq!(bench.guard.may_go_on(&early), Err(Ended::Unsure));
}

#[tokio::test(start_paused = true)]
async fn pings_come_every_quarter_of_a_lease_and_hold_it() {
    let mut bench = Bench::alive().await;
    let running = bench.guard.begin(bench.held()).unwrap();
    let begun = Instant::now();
    for beat in 1..=8 {
        assert_eq!(bench.pinged(0).await, Some(0));
        assert_eq!(begun.elapsed(), beat * PING_EVERY);
    }
    assert_eq!(running.may_go_on(), Ok(()));
    assert_eq!(bench.guard.may_ask(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn without_answers_the_lease_ends_and_what_runs_is_told() {
    let mut bench = Bench::alive().await;
    let begun = Instant::now();
    let running = bench.guard.begin(bench.held()).unwrap();
    let changed = bench.guard.changed();
    assert_eq!(running.ended().await, Ended::Lease);
    assert_eq!(begun.elapsed(), LEASE);
    changed.await;
    assert_eq!(bench.guard.may_start(&bench.held()), Err(Ended::Lease));
    // The pings that wait are answered now, and count from when they were sent.
    let mut waiting = Vec::new();
    while let Ok((_, answer)) = bench.pings.try_recv() {
        waiting.push(answer);
    }
    assert_eq!(waiting.len(), 4);
    waiting.remove(0)(0);
    settle().await;
    assert_eq!(bench.guard.may_ask(), Ok(()));
    tokio::time::sleep(PING_EVERY).await;
    assert_eq!(bench.guard.may_ask(), Err(Ended::Lease));
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_a_number_ahead_gives_no_lease_before_the_item_came() {
    let mut bench = Bench::alive().await;
    let running = bench.guard.begin(bench.held()).unwrap();
    let begun = Instant::now();
    let ended = async {
        let ended = running.ended().await;
        (ended, begun.elapsed())
    };
    let answers = async {
        loop {
            bench.pinged(1).await;
        }
    };
    tokio::select! {
        ended = ended => assert_eq!(ended, (Ended::Lease, LEASE)),
        () = answers => unreachable!(),
    }
    bench.revokes(1, "a2").await;
    assert_eq!(bench.guard.may_ask(), Ok(()), "the answers that waited count now");
}

#[tokio::test(start_paused = true)]
async fn an_item_is_acknowledged_at_once_where_it_ends_nothing() {
    let mut bench = Bench::alive().await;
    let running = bench.guard.begin(bench.held()).unwrap();
    let begun = Instant::now();
    let changed = bench.guard.changed();
    bench.revokes(1, "a2").await;
    changed.await;
    assert_eq!(bench.pinged(1).await, Some(1));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(running.may_go_on(), Ok(()));
    assert!(bench.no_ping(), "once is enough");
}

#[tokio::test(start_paused = true)]
async fn what_an_item_ends_has_stopped_before_the_ledger_hears_that_it_is_enforced() {
    let mut bench = Bench::alive().await;
    let running = bench.guard.begin(bench.held()).unwrap();
    let other = bench.guard.begin(bench.held()).unwrap();
    bench.revokes(1, "a1").await;
    assert_eq!(running.ended().await, Ended::Narrowed { suspend: false });
    assert_eq!(bench.guard.may_start(&bench.held()), NARROWED);
    // Pings go on meanwhile and hold the lease, but acknowledge nothing.
    let ended = Instant::now();
    for beat in 1..=6 {
        assert_eq!(bench.pinged(1).await, Some(0));
        assert!(ended.elapsed() <= beat * PING_EVERY);
        assert_eq!(bench.guard.may_ask(), Ok(()));
    }
    drop(running);
    settle().await;
    assert!(bench.no_ping(), "the other still runs");
    drop(other);
    let stopped = Instant::now();
    assert_eq!(bench.pinged(1).await, Some(1));
    assert_eq!(stopped.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn many_items_at_once_are_acknowledged_together() {
    let mut bench = Bench::alive().await;
    for number in 1..=1_000 {
        let item = Box::new(item(number, "a2"));
        bench.signals.send(Signal::Item(item)).unwrap();
    }
    let mut pings = 0;
    while bench.pinged(1_000).await != Some(1_000) {
        pings += 1;
    }
    assert!(pings < 20, "{pings}");
}

#[tokio::test(start_paused = true)]
async fn a_gap_starts_nothing_until_the_missing_items_came() {
    for early in [None, Some(Box::new(item(2, "a1")))] {
        let mut bench = Bench::alive().await;
        let running = bench.guard.begin(bench.held()).unwrap();
        let ends = early.is_some();
        let changed = bench.guard.changed();
        bench.says(Signal::Behind { after: 0, shown: 2, early }).await;
        changed.await;
        assert_eq!(bench.guard.may_ask(), Err(Ended::Behind));
        assert_eq!(bench.guard.may_start(&bench.held()), Err(Ended::Behind));
        assert_eq!(running.may_go_on().is_err(), ends, "what came too early ends what it ends");
        bench.revokes(1, "a2").await;
        assert_eq!(bench.guard.may_ask(), Err(Ended::Behind));
        bench.revokes(2, "a1").await;
        assert_eq!(bench.guard.may_ask(), Ok(()));
        assert_eq!(running.may_go_on(), NARROWED);
        drop(running);
        bench.acknowledged(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_miss_ends_everything_and_only_what_is_asked_afterwards_is_good() {
    let mut bench = Bench::alive().await;
    let running = bench.guard.begin(bench.held()).unwrap();
    tokio::time::advance(Duration::from_millis(1)).await;
    let before = bench.held();
    tokio::time::advance(Duration::from_millis(1)).await;
    bench.says(Signal::Missed { after: Some(0) }).await;
    assert_eq!(running.ended().await, Ended::Lease);
    assert_eq!(bench.guard.may_ask(), Err(Ended::Lease));
    tokio::time::sleep(2 * LEASE).await;
    assert!(bench.no_ping(), "there is no number that a ping could say");
    bench.says(Signal::Alive { number: 50 }).await;
    assert_eq!(bench.guard.may_ask(), Err(Ended::Lease));
    drop(running);
    bench.acknowledged(50).await;
    assert_eq!(bench.guard.may_ask(), Ok(()));
    assert_eq!(bench.guard.may_go_on(&before), Err(Ended::Unsure));
    assert_eq!(bench.guard.may_start(&bench.held()), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_is_lost_ends_nothing_while_pings_say_that_nothing_is_missed() {
    let mut bench = Bench::alive().await;
    let running = bench.guard.begin(bench.held()).unwrap();
    bench.says(Signal::Lost { since: Instant::now().into_std() }).await;
    for _ in 0..8 {
        bench.pinged(0).await;
    }
    assert_eq!(running.may_go_on(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_starts_nothing_a_lease_after_it_was_asked_for() {
    let mut bench = Bench::alive().await;
    let held = bench.held();
    for _ in 0..4 {
        assert_eq!(bench.guard.may_start(&held), Ok(()));
        bench.pinged(0).await;
    }
    assert_eq!(bench.guard.may_start(&held), Err(Ended::Late));
    assert_eq!(bench.guard.may_go_on(&held), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_point_leaves_when_its_guard_is_dropped_and_nothing_runs_any_more() {
    let bench = Bench::alive().await;
    let running = bench.guard.begin(bench.held()).unwrap();
    let Bench { guard, mut pings, mut left, signals } = bench;
    drop(guard);
    let (_, answer) = pings.recv().await.unwrap();
    answer(0);
    assert!(left.try_recv().is_err());
    assert_eq!(running.may_go_on(), Ok(()));
    drop(running);
    assert_eq!(left.recv().await, Some(PointId::new("p").unwrap()));
    drop(signals);
    tokio::time::sleep(LEASE).await;
    assert!(pings.recv().await.is_none(), "it pings no more");
}

#[tokio::test(start_paused = true)]
async fn what_runs_ends_with_its_lease_even_when_the_guards_task_has_died() {
    let bench = Bench::alive().await;
    let begun = Instant::now();
    let running = bench.guard.begin(bench.held()).unwrap();
    // The next ping panics.
    drop(bench.pings);
    assert_eq!(running.ended().await, Ended::Lease);
    assert!(begun.elapsed() <= LEASE + Duration::from_millis(2), "{:?}", begun.elapsed());
}
