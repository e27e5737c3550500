//! Two processes and one ledger: who is overtaken follows, loses no revocation, and comes back.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bailiwick_core::command::{Answer, Command, WriteOwner};
use bailiwick_core::enforce::LEASE;
use bailiwick_core::event::{DenialCode, Fact};
use bailiwick_core::id::OwnerId;
use bailiwick_core::record::EntryRef;
use bailiwick_ledger::Ledger;
use bailiwick_ledger::home::Home;
use bailiwick_ledger::log::Log;
use bailiwick_ledger::log::jetstream::JetStream;
use bailiwick_ledger::replay::{self, Projection};

use super::nats::Server;
use super::outage::{comes_about, denial_or_allowed, open, stream};
use super::proxy::Proxy;
use super::{decision, denial, furnish, read_case, revoke_agent, submit};

/// A directory for a second process that may write the ledger of `dir`.
fn standby_for(dir: &Path) -> tempfile::TempDir {
    let standby = tempfile::tempdir().unwrap();
    for file in ["signing.key", "ledger.secret", "admin.key"] {
        std::fs::copy(dir.join(file), standby.path().join(file)).unwrap();
    }
    standby
}

/// Two processes on one ledger, the second of which has just taken it up.
struct Two {
    first: Ledger,
    second: Ledger,
    /// Right before the second took it up.
    began: Instant,
    dir: tempfile::TempDir,
    server: Server,
    _standby: tempfile::TempDir,
    _store: tempfile::TempDir,
}

impl Two {
    async fn start() -> Option<Self> {
        let store = tempfile::tempdir().unwrap();
        let server = Server::start(store.path())?;
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path(), &server.url());
        furnish(&first).await;
        let (standby, began) = (standby_for(dir.path()), Instant::now());
        let second = open(standby.path(), &server.url());
        Some(Self { first, second, began, dir, server, _standby: standby, _store: store })
    }
}

fn follows(ledger: &Ledger) -> bool {
    let why = ledger.health().why.unwrap_or_default();
    ledger.writer_since().is_none() && why.contains("another writer") && why.contains("follows")
}

fn revocations(ledger: &Ledger) -> usize {
    let events = ledger.events(0, 10_000).unwrap();
    events.iter().filter(|r| matches!(r.event.fact, Fact::RevocationIssued(_))).count()
}

/// Reads the whole stream and believes nothing.
fn verify(dir: &Path, url: &str) -> Projection {
    let reader = JetStream::connect(&stream(url)).unwrap().reader();
    let first = reader.read(1, 1, 1).unwrap();
    let ledger = EntryRef::parse(&first[0]).unwrap().ledger();
    let key = Home::open(dir).unwrap().public();
    let mut projection = Projection::genesis(ledger, &key).unwrap();
    replay::catch_up(&mut projection, reader.as_ref(), 0, |_| {}).unwrap();
    projection
}

async fn time_passes(span: Duration) {
    let started = Instant::now();
    comes_about("time to pass", async || started.elapsed() > span).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_in_force_survives_a_lost_race() {
    let store = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(store.path()) else { return };
    let proxy = Proxy::start(server.port());
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), &proxy.url());
    furnish(&first).await;
    assert!(decision(&submit(&first, read_case("1")).await).result.is_ok());

    proxy.close();
    let revoked = submit(&first, revoke_agent()).await;
    assert!(matches!(revoked.answer, Answer::Done(_)), "{revoked:?}");
    assert!(!revoked.durable, "in force, and said not to be on the ledger yet");
    let ends = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask_until(first.clone(), Arc::clone(&ends)));

    let standby = standby_for(dir.path());
    let second = open(standby.path(), &server.url());
    let epoch = second.info().epoch;
    assert_eq!(epoch, first.info().epoch + 1);
    assert!(decision(&submit(&second, read_case("2")).await).result.is_ok(), "it has not heard");

    proxy.open();
    comes_about("the revocation being durable", async || revocations(&second) > 0).await;
    comes_about("the first being the writer again", async || first.writer_since().is_some()).await;
    comes_about("the second following", async || follows(&second)).await;
    comes_about("the calls being decided again", async || {
        denial_or_allowed(&first).await == Some(DenialCode::Suspended)
    })
    .await;
    ends.store(true, Ordering::Relaxed);
    let codes = asking.await.unwrap();
    let expected = [DenialCode::Unavailable, DenialCode::Suspended];
    assert!(codes.iter().all(|code| code.is_some_and(|c| expected.contains(&c))), "{codes:?}");
    assert!(first.info().epoch > epoch);
    first.close();
    assert_eq!(revocations(&first), 1, "submitted again until durable, and then no more");
    let chain = verify(dir.path(), &server.url());
    assert_eq!(Some(chain.position.last_link), first.info().link);
    comes_about("the second having read everything", async || {
        second.info().entries == first.info().entries
    })
    .await;
    assert_eq!(second.info().root, first.info().root);
}

/// Asks again and again; gives what calls were denied with, none for one that was allowed.
async fn ask_until(ledger: Ledger, ends: Arc<AtomicBool>) -> BTreeSet<Option<DenialCode>> {
    let mut codes = BTreeSet::new();
    while !ends.load(Ordering::Relaxed) {
        codes.insert(denial_or_allowed(&ledger).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    codes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_was_overtaken_refuses_follows_and_comes_back() {
    let Some(two) = Two::start().await else { return };
    let Two { first, second, .. } = &two;
    let epoch = second.info().epoch;
    assert_eq!(epoch, first.info().epoch + 1);
    for _ in 0..5 {
        assert!(decision(&submit(second, read_case("1")).await).result.is_ok());
        assert_eq!(denial(&submit(first, read_case("1")).await), DenialCode::Unavailable);
    }
    assert!(follows(first), "{:?}", first.health());
    assert_eq!(first.last_round_trip(), None);
    assert!(second.health().ready && second.writer_since().is_some());

    let owner = OwnerId::new("bob@example.com").unwrap();
    let register = WriteOwner { owner: owner.clone(), groups: [].into() };
    assert!(submit(second, Command::RegisterOwner(register)).await.durable);
    comes_about("the first having read it", async || {
        first.read(|state| state.owners().contains_key(&owner))
    })
    .await;
    assert_eq!(first.info().epoch, epoch);

    second.close();
    let recorded = second.info().entries;
    comes_about("the first allowing calls", async || denial_or_allowed(first).await.is_none())
        .await;
    assert!(first.health().ready && first.last_round_trip().is_some());
    assert_eq!(first.info().epoch, epoch + 1);
    assert!(first.info().entries > recorded);
    first.close();
    let chain = verify(two.dir.path(), &two.server.url());
    assert_eq!(Some(chain.position.last_link), first.info().link);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_takes_a_revocation_in_force_and_records_it_when_the_other_is_silent() {
    let Some(two) = Two::start().await else { return };
    let Two { first, second, .. } = &two;
    let lease = Duration::from_millis(LEASE.0);
    let revoked = submit(first, revoke_agent()).await;
    assert!(matches!(revoked.answer, Answer::Done(_)), "{revoked:?}");
    assert!(!revoked.durable && revoked.receipt.is_none());
    comes_about("the second having read it", async || revocations(second) == 1).await;
    assert!(first.writer_since().is_some());
    assert!(two.began.elapsed() > lease, "it waited until the other was silent");
    comes_about("the second deciding by it", async || {
        denial_or_allowed(second).await == Some(DenialCode::Suspended)
    })
    .await;
    assert!(two.began.elapsed() > 2 * lease, "and so did the other");
    assert_eq!(revocations(second), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_closes_records_first_what_is_in_force() {
    let Some(two) = Two::start().await else { return };
    let Two { first, second, .. } = &two;
    assert!(!submit(first, revoke_agent()).await.durable);
    first.close();
    assert_eq!((first.writer_since(), first.last_round_trip()), (None, None));
    comes_about("the second having read it", async || revocations(second) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_idle_writers_do_not_fight_and_the_one_keeps_proving_itself() {
    let Some(two) = Two::start().await else { return };
    let Two { first, second, .. } = &two;
    comes_about("the first following", async || follows(first)).await;
    let (before, since) = (second.info(), second.writer_since());
    let until = Instant::now() + 3 * Duration::from_millis(LEASE.0);
    let mut seen = BTreeSet::new();
    comes_about("three leases to pass", async || {
        seen.insert(second.last_round_trip().unwrap());
        Instant::now() > until
    })
    .await;
    assert!(seen.len() >= 10, "{} round trips", seen.len());
    assert_eq!((second.info(), second.writer_since()), (before.clone(), since));
    assert_eq!((first.info(), first.writer_since()), (before, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_trips_stop_while_the_log_is_cut_off_and_go_on_after() {
    let store = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(store.path()) else { return };
    let proxy = Proxy::start(server.port());
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &proxy.url());
    let since = ledger.writer_since();
    assert!(since.is_some());
    let started = Instant::now();
    comes_about("an idle round trip", async || ledger.last_round_trip() > Some(started)).await;

    proxy.close();
    comes_about("the cut being noticed", async || !ledger.health().ready).await;
    let last = ledger.last_round_trip();
    assert!(last.is_some());
    time_passes(Duration::from_millis(LEASE.0)).await;
    assert_eq!(ledger.last_round_trip(), last);

    proxy.open();
    comes_about("a round trip after it", async || ledger.last_round_trip() > last).await;
    comes_about("the ledger being ready", async || ledger.health().ready).await;
    assert_eq!(ledger.writer_since(), since, "nobody else came in between");
}
