//! A subscriber's end of the feed under a clock that is moved by hand.

use axum::http::header::AUTHORIZATION;
use bailiwick_audit::{Audit, Settings};
use bailiwick_core::command::{Command, Revoke, Submission};
use bailiwick_core::event::{Actor, Selector};
use bailiwick_ledger::{Config, Ledger, Store};

use super::*;
use crate::auth::used::Used;
use crate::enforce::Roster;
use crate::refused::Refusals;
use crate::token::Issuers;

struct House {
    desk: Arc<Desk>,
    closing: watch::Sender<bool>,
    caller: Caller,
    _dir: tempfile::TempDir,
}

fn house() -> House {
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
    let (closing, closes) = watch::channel(false);
    let settings = crate::desk::Settings {
        public_url: String::new(),
        resource_metadata: String::new(),
        person_types: Vec::new(),
        bench: false,
    };
    let desk = Arc::new(Desk {
        feed: Position::new(&ledger),
        points: Roster::new(&ledger),
        issuers: Arc::new(Issuers::new(&[], "").unwrap()),
        used: Used::new(1).of_thread(0),
        refused: Refusals::default(),
        questions: crate::asked::Questions::new().0,
        ledger,
        audit: Arc::new(Audit::new(Settings { threads: 1, at_once: 1 }).unwrap()),
        settings: Arc::new(settings),
        closing: closes,
    });
    let key = std::fs::read_to_string(dir.path().join("admin.key")).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, format!("Bearer {}", key.trim()).parse().unwrap());
    let caller = futures::executor::block_on(Caller::of(&desk, &headers)).unwrap();
    House { desk, closing, caller, _dir: dir }
}

impl House {
    fn tail(&self) -> Tail {
        let place = Arc::clone(&self.desk.feed.places).try_acquire_owned().unwrap();
        Tail::new(Arc::clone(&self.desk), self.caller.clone(), 0, place)
    }

    /// Follows the feed on a thread of its own, as a server does.
    fn follow(&self) -> std::thread::JoinHandle<()> {
        let (desk, closes) = (Arc::clone(&self.desk), self.desk.closing.clone());
        std::thread::spawn(move || desk.feed.follow(&desk.ledger, closes))
    }

    async fn revoke(&self) {
        let revoke =
            Revoke { selector: Selector::All, grants_only: true, reason_code: None, reason: None };
        let command = Command::Revoke(revoke);
        let (actor, request, trace) = (Actor::System, None, None);
        let reply = self.desk.ledger.submit(Submission { actor, request, trace, command }).await;
        assert!(reply.durable);
    }
}

async fn event(tail: &mut Tail) -> Option<String> {
    let piece = tail.next().await?;
    let text = String::from_utf8(piece.to_vec()).unwrap();
    let name = text.lines().find_map(|line| line.strip_prefix("event: "));
    Some(name.unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_comes_at_once_and_then_every_so_often() {
    let house = house();
    let mut tail = house.tail();
    let since = Instant::now();
    for beats in 0..4 {
        assert_eq!(event(&mut tail).await.as_deref(), Some("heartbeat"));
        assert_eq!(since.elapsed().as_millis(), (HEARTBEAT * beats).as_millis());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_nothing_for_long_is_told_and_cut_off() {
    let house = house();
    let mut tail = house.tail();
    assert_eq!(event(&mut tail).await.as_deref(), Some("heartbeat"));
    tokio::time::advance(SLOW_MAX).await;
    assert_eq!(event(&mut tail).await.as_deref(), Some("heartbeat"));
    tokio::time::advance(SLOW_MAX + HEARTBEAT).await;
    assert_eq!(event(&mut tail).await.as_deref(), Some("lagged"));
    assert_eq!(event(&mut tail).await, None);
}

#[tokio::test]
async fn an_item_comes_before_the_next_heartbeat_and_the_end_of_the_feed_ends_the_stream() {
    let house = house();
    let follower = house.follow();
    let mut tail = house.tail();
    assert_eq!(event(&mut tail).await.as_deref(), Some("heartbeat"));
    house.revoke().await;
    while event(&mut tail).await.as_deref() != Some("revocation") {}
    assert_eq!(tail.last, 1);
    house.closing.send_replace(true);
    follower.join().unwrap();
    assert_eq!(event(&mut tail).await, None);
}

#[tokio::test]
async fn items_that_are_not_ready_come_from_the_committed_state() {
    let house = house();
    for _ in 0..3 {
        house.revoke().await;
    }
    // The feed is followed from here on only: what came before is not among its frames.
    let desk = Desk {
        ledger: house.desk.ledger.clone(),
        audit: Arc::clone(&house.desk.audit),
        feed: Position::new(&house.desk.ledger),
        points: house.desk.points.clone(),
        issuers: Arc::clone(&house.desk.issuers),
        used: house.desk.used.clone(),
        refused: house.desk.refused.clone(),
        questions: crate::asked::Questions::new().0,
        settings: Arc::clone(&house.desk.settings),
        closing: house.desk.closing.clone(),
    };
    let place = Arc::clone(&desk.feed.places).try_acquire_owned().unwrap();
    let mut tail = Tail::new(Arc::new(desk), house.caller.clone(), 0, place);
    let piece = tail.next().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&piece).matches("event: revocation").count(), 3);
    assert_eq!(tail.last, 3);
}
