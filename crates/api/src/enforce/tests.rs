//! The roster in front of a real ledger.

use bailiwick_core::event::Role;
use bailiwick_core::id::CredentialId;
use bailiwick_ledger::{Config, Store};

use super::*;

fn house() -> (Ledger, Roster, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        home: dir.path().to_owned(),
        store: Store::Embedded,
        name: "default".parse().unwrap(),
        trust_head: false,
        trust_clock: false,
        linger: Duration::ZERO,
    };
    let ledger = Ledger::open(&config, |_| {}).unwrap();
    let roster = Roster::new(&ledger);
    (ledger, roster, dir)
}

fn by(key: &str) -> Actor {
    Actor::Credential { id: CredentialId::new(key).unwrap(), role: Role::Enforcer }
}

fn ping(
    roster: &Roster,
    point: &str,
    applied: Option<u64>,
    number: u64,
) -> Result<u64, &'static str> {
    let (point, credential) = (PointId::new(point).unwrap(), by("key"));
    let ping = Ping { point: &point, by: &credential, is_agent: false, applied, number };
    roster.answer(&ping).map_err(|problem| problem.kind.code)
}

#[test]
fn no_answer_tells_of_less_than_somebody_waits_for() {
    let (_ledger, roster, _dir) = house();
    // Both read the feed at 3 before item 4 was there. One is answered before anybody asks.
    assert_eq!(ping(&roster, "early", None, 3), Ok(3));
    let asked = Instant::now();
    let enforced = roster.enforced(Some(4), asked);
    assert_eq!(enforced.waiting, [PointId::new("early").unwrap()]);
    // The other would not be waited for, and gets no lease without item 4.
    assert_eq!(ping(&roster, "late", None, 3), Ok(4));
    assert_eq!(roster.enforced(Some(4), asked).waiting, enforced.waiting);
    assert_eq!(ping(&roster, "early", Some(4), 4), Ok(4));
    let enforced = roster.enforced(Some(4), asked);
    assert_eq!(enforced.acknowledged, [PointId::new("early").unwrap()]);
    assert!(enforced.waiting.is_empty() && enforced.unknown);
}

#[test]
fn whoever_waits_hears_of_what_may_end_the_wait() {
    let (_ledger, roster, _dir) = house();
    let mut moved = roster.inner.moved.subscribe();
    let mut has_moved = || {
        let has_moved = moved.has_changed().unwrap();
        moved.mark_unchanged();
        has_moved
    };
    assert_eq!(ping(&roster, "p", None, 3), Ok(3));
    assert!(!has_moved());
    assert_eq!(ping(&roster, "p", Some(3), 3), Ok(3));
    assert!(has_moved());
    for applied in [Some(3), Some(2), None] {
        assert_eq!(ping(&roster, "p", applied, 3), Ok(3));
        assert!(!has_moved());
    }
    let (point, key) = (PointId::new("p").unwrap(), by("key"));
    roster.leave(&point, &key).unwrap();
    assert!(has_moved());
}

#[test]
fn there_is_a_limit_and_those_who_are_there_stay() {
    let (_ledger, roster, _dir) = house();
    for number in 0..POINTS_MAX {
        assert_eq!(ping(&roster, &format!("p{number}"), None, 1), Ok(1));
    }
    assert_eq!(ping(&roster, "one-more", None, 1), Err("points_exhausted"));
    assert_eq!(ping(&roster, "p7", None, 1), Ok(1));
    assert_eq!(roster.after(None, POINTS_MAX).len(), POINTS_MAX);
    let (gone, key) = (PointId::new("p7").unwrap(), by("key"));
    roster.leave(&gone, &key).unwrap();
    assert_eq!(ping(&roster, "one-more", None, 1), Ok(1));
    assert_eq!(roster.kept().known.len(), POINTS_MAX);
}

#[test]
fn what_is_not_on_the_ledger_is_not_enforced_by_who_does_not_write_it() {
    let (ledger, roster, _dir) = house();
    ledger.close();
    assert_eq!(ledger.writer_since(), None);
    assert_eq!(ping(&roster, "p", None, 1), Err("unavailable"));
    // Long after every lease: what is on the ledger, whoever writes now has told of as well.
    let asked = Instant::now();
    let inner = Inner {
        base: asked.checked_sub(Duration::from_secs(60)).unwrap(),
        ledger: ledger.clone(),
        kept: Mutex::new(Kept {
            points: Points::new(LEASE, SKEW, Monotonic::default()),
            since: None,
            known: BTreeMap::new(),
            asked_about: 0,
        }),
        moved: watch::Sender::new(()),
        took: Histogram::new(ENFORCED_BUCKETS_SECONDS),
    };
    let roster = Roster { inner: Arc::new(inner) };
    assert!(roster.enforced(Some(1), asked).is_done());
    assert!(!roster.enforced(None, asked).is_done());
}

#[test]
fn an_agents_key_does_not_take_the_places_of_others() {
    let (_ledger, roster, _dir) = house();
    let credential = by("agent-key");
    let ping = |n: usize| {
        let point = PointId::new(&format!("p{n}")).unwrap();
        let ping =
            Ping { point: &point, by: &credential, is_agent: true, applied: None, number: 0 };
        roster.answer(&ping).map_err(|problem| problem.kind.code)
    };
    for n in 0..POINTS_OF_AGENT_MAX {
        assert_eq!(ping(n), Ok(0));
    }
    assert_eq!(ping(POINTS_OF_AGENT_MAX), Err("points_exhausted"));
    assert_eq!(ping(0), Ok(0), "those that it has stay");
    let others = by("key");
    let point = PointId::new("gateway").unwrap();
    let other = Ping { point: &point, by: &others, is_agent: false, applied: None, number: 0 };
    assert_eq!(roster.answer(&other).map_err(|problem| problem.kind.code), Ok(0));
}
