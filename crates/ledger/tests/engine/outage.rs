//! The engine while its log is away: a real nats-server, killed and brought back.

use std::path::Path;
use std::time::{Duration, Instant};

use bailiwick_core::command::Answer;
use bailiwick_core::event::{DenialCode, Fact};
use bailiwick_ledger::log::jetstream;
use bailiwick_ledger::{Config, Ledger, Store};

use super::nats::Server;
use super::proxy::Proxy;
use super::{decision, denial, furnish, read_case, revoke_agent, submit};

pub(crate) fn stream(url: &str) -> jetstream::Config {
    jetstream::Config {
        url: url.to_owned(),
        name: "outage".parse().unwrap(),
        replicas: 1,
        credentials: None,
        root_certificates: None,
    }
}

pub(crate) fn open(dir: &Path, url: &str) -> Ledger {
    let stream = stream(url);
    let name = stream.name.clone();
    let store = Store::JetStream(stream);
    let linger = Duration::ZERO;
    let home = dir.to_owned();
    let config = Config { home, store, name, trust_head: true, trust_clock: false, linger };
    Ledger::open(&config, |_| {}).unwrap()
}

/// Waits for something that has to come about by itself.
pub(crate) async fn comes_about(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < until, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_log_is_away_calls_are_denied_and_revocations_are_in_force() {
    let store = tempfile::tempdir().unwrap();
    let Some(mut server) = Server::start(store.path()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &server.url());
    furnish(&ledger).await;
    assert!(decision(&submit(&ledger, read_case("1")).await).result.is_ok());

    server.kill();
    let asked = Instant::now();
    let denied = submit(&ledger, read_case("1")).await;
    assert_eq!(denial(&denied), DenialCode::Unavailable);
    assert!(denied.receipt.is_none());
    assert!(asked.elapsed() < Duration::from_millis(2_300), "{:?}", asked.elapsed());
    assert!(ledger.health().why.is_some_and(|why| why.contains("log")));

    let asked = Instant::now();
    let revoked = submit(&ledger, revoke_agent()).await;
    assert!(matches!(revoked.answer, Answer::Done(_)), "{revoked:?}");
    assert!(!revoked.durable, "in force, and said not to be on the ledger yet");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let asked = Instant::now();
    assert_eq!(denial(&submit(&ledger, read_case("1")).await), DenialCode::Unavailable);
    assert!(asked.elapsed() < Duration::from_millis(2_300), "{:?}", asked.elapsed());

    server.restart();
    comes_about("the ledger being ready", async || ledger.health().ready).await;
    comes_about("the revocation being durable", async || {
        denial_or_allowed(&ledger).await == Some(DenialCode::Suspended)
    })
    .await;
    let events = ledger.events(0, 10_000).unwrap();
    let durable = events.iter().filter(|r| matches!(r.event.fact, Fact::RevocationIssued(_)));
    assert_eq!(durable.count(), 1, "submitted again until durable, and then no more");
    let undelivered = events.iter().filter(|r| match &r.event.fact {
        Fact::CallFinished(fact) => fact.outcome == bailiwick_core::event::Outcome::NotDelivered,
        _ => false,
    });
    let allowed = events.iter().filter(|r| matches!(r.event.fact, Fact::CallAuthorized(_))).count();
    assert_eq!(undelivered.count(), allowed - 1, "what landed late is recorded as not delivered");
}

pub(crate) async fn denial_or_allowed(ledger: &Ledger) -> Option<DenialCode> {
    decision(&submit(ledger, read_case("1")).await).result.as_ref().err().map(|d| d.code)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_stalls_delays_neither_a_denial_nor_a_revocation() {
    let store = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(store.path()) else { return };
    let proxy = Proxy::start(server.port());
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path(), &proxy.url());
    furnish(&ledger).await;

    proxy.stall();
    let asked = Instant::now();
    let (denied, revoked) =
        tokio::join!(submit(&ledger, read_case("1")), submit(&ledger, revoke_agent()));
    assert!(asked.elapsed() < Duration::from_millis(2_300), "{:?}", asked.elapsed());
    assert!(decision(&denied).result.is_err(), "{denied:?}");
    assert!(matches!(revoked.answer, Answer::Done(_)), "{revoked:?}");
    assert!(!revoked.durable && revoked.receipt.is_none());

    proxy.open();
    comes_about("the revocation being durable", async || {
        denial_or_allowed(&ledger).await == Some(DenialCode::Suspended)
    })
    .await;
    let events = ledger.events(0, 10_000).unwrap();
    let durable = events.iter().filter(|r| matches!(r.event.fact, Fact::RevocationIssued(_)));
    assert_eq!(durable.count(), 1);
}
