//! Taking back: seen beforehand, waited for, and let go again.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bailiwick_client::Http;
use serde_json::{Value, json};

use crate::bailiwick::{command, text};
use crate::server::{Server, place, with_agent};

/// An enforcement point's way to talk to the server.
struct Point {
    http: Http,
    path: String,
    runtime: tokio::runtime::Runtime,
}

impl Point {
    fn new(server: &Server, name: &str) -> Self {
        let key = std::fs::read_to_string(server.told["admin_key"].as_str().unwrap()).unwrap();
        let http = Http::new(server.told["url"].as_str().unwrap(), Some(key.trim())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { http, path: format!("/v1/enforcement-points/{name}/ping"), runtime }
    }

    /// Pings, having applied so much; where the feed stands.
    fn ping(&self, applied: Option<u64>) -> u64 {
        let nonce = format!("{:032x}", rand::random::<u128>());
        let body = json!({"nonce": nonce, "applied": applied});
        let pong = self.runtime.block_on(self.http.post(&self.path, &body)).unwrap();
        assert_eq!(pong["nonce"], nonce);
        pong["number"].as_u64().unwrap()
    }
}

/// A point that enforces whatever it hears of, until it is dropped.
struct Obedient {
    stopping: Arc<AtomicBool>,
    pinging: Option<JoinHandle<()>>,
}

impl Obedient {
    fn start(point: Point) -> Self {
        let stopping = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stopping);
        let mut applied = point.ping(None);
        let pinging = std::thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                applied = point.ping(Some(applied));
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        Self { stopping, pinging: Some(pinging) }
    }
}

impl Drop for Obedient {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        let _ = self.pinging.take().map(JoinHandle::join);
    }
}

/// The first wait behind a start takes as long as points of a server before it could still act.
fn settled(data: std::path::PathBuf) -> Server {
    let server = Server::start(data);
    with_agent(&server);
    let told = server.run(&["revoke", "--resource", "x://y", "--wait"]).ends_with(0);
    assert!(told.out.contains("no enforcement point is connected"), "{told:?}");
    server
}

#[test]
fn a_wait_tells_who_acknowledged_and_whose_lease_ran_out() {
    let (_dir, data) = place();
    let server = settled(data);
    let _obedient = Obedient::start(Point::new(&server, "desk-1"));
    let told = server.run(&["revoke", "--agent", "bot", "--wait", "10s"]).ends_with(0);
    assert!(told.out.contains("every grant of agent bot has ended"), "{told:?}");
    assert!(told.out.contains("enforced everywhere after"), "{told:?}");
    assert!(told.out.contains("1 acknowledged"), "{told:?}");

    let silent = Point::new(&server, "desk-2");
    silent.ping(None);
    let began = Instant::now();
    let told = server.run(&["revoke", "--agent", "bot", "--wait"]).ends_with(0);
    assert!(told.out.contains("1 acknowledged, 1 had a lease that ran out"), "{told:?}");
    let row = told.out.lines().find(|line| line.starts_with("desk-2")).unwrap();
    assert!(row.contains("its lease ran out"), "{told:?}");
    assert!(began.elapsed() > Duration::from_millis(900), "{:?}", began.elapsed());

    silent.ping(None);
    let answer = server.json(&["revoke", "--agent", "bot", "--wait"]);
    let enforced = &answer["enforced"];
    assert_eq!((&answer["durable"], &enforced["done"]), (&true.into(), &true.into()));
    assert_eq!(enforced["points"].as_array().unwrap().len(), 2);
    assert!(enforced["receipt"]["index"].is_u64(), "{answer}");
    server.stop();
}

#[test]
fn a_wait_that_was_too_short_costs_one_and_says_who_is_awaited() {
    let (_dir, data) = place();
    let server = settled(data);
    let silent = Point::new(&server, "desk-1");
    silent.ping(None);
    let short = ["revoke", "--agent", "bot", "--wait", "1ms"];
    let told = server.run(&short).ends_with(1);
    assert!(told.out.contains("not enforced everywhere") && told.out.contains("is awaited"));
    assert!(told.err.contains("the revocation is in force, but after 1ms desk-1 may"), "{told:?}");
    assert!(told.err.contains("bailiwick points"), "{told:?}");
    // It holds all the same.
    assert!(server.json(&["agent", "show", "bot"])["suspended_by"].is_string());

    silent.ping(None);
    let told = server.run(&[&short[..], &["--json"]].concat()).ends_with(1);
    let answer: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(answer["enforced"]["waiting"], json!(["desk-1"]));
    server.stop();
}

#[test]
fn points_are_listed() {
    let (_dir, data) = place();
    let server = Server::start(data);
    assert_eq!(server.json(&["points"])["items"], json!([]));
    let number = Point::new(&server, "desk-1").ping(None);
    Point::new(&server, "desk-1").ping(Some(number));
    let points = server.json(&["points"]);
    assert_eq!(points["items"][0]["point"], "desk-1");
    assert_eq!(points["items"][0]["applied"], number);
    let told = server.run(&["points"]).ends_with(0);
    assert!(told.out.contains("may act") && told.out.contains("desk-1"), "{told:?}");
    server.stop();
}

#[test]
fn what_would_be_hit_is_shown_and_nothing_happens() {
    let (_dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let terms = ["--agent", "bot", "--action", "crm/read_case", "--scope", "crm://case/1"];
    let issued = server.json(&[&["grant", "issue", "--ttl", "5m"], &terms[..]].concat());
    let events = || server.run(&["events", "--json", "--limit", "0"]).ends_with(0).out;
    let before = events();
    let told = server.run(&["revoke", "--all", "--preview"]).ends_with(0);
    assert!(told.out.contains("end 1 live grant, suspend 1 agent, cut 0 calls"), "{told:?}");
    let hit = server.json(&["revoke", "--agent", "bot", "--preview"]);
    assert_eq!((&hit["grants"], &hit["selector"]), (&1.into(), &json!({"agent": "bot"})));
    let hit = server.json(&["revoke", "--resource", "crm://case/2", "--preview"]);
    assert_eq!((&hit["grants"], &hit["agents"]), (&0.into(), &0.into()));
    // Nobody is there to be asked.
    let refused = server.run(&["revoke", "--all"]).ends_with(2);
    assert!(refused.err.contains("--yes"), "{refused:?}");
    assert_eq!(events(), before);
    let grant = issued["id"].as_str().unwrap();
    assert_eq!(server.json(&["grant", "show", grant])["status"], "live");
    server.stop();
}

#[test]
fn agents_are_brought_back_and_grants_never() {
    let (_dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let terms = ["--agent", "bot", "--action", "crm/read_case", "--scope", "crm://case/1"];
    let issued = server.json(&[&["grant", "issue", "--ttl", "5m"], &terms[..]].concat());
    let grant = issued["id"].as_str().unwrap();
    server.run(&["revoke", "--all", "--yes", "--reason", "drill"]).ends_with(0);
    let told = server.run(&["reinstate", "--all"]).ends_with(0);
    assert!(told.out.contains("everyone is free again"), "{told:?}");
    assert!(told.out.contains("grants from before stay ended"), "{told:?}");
    assert_eq!(server.json(&["grant", "show", grant])["status"], "grant_revoked");

    server.run(&["revoke", "--agent", "bot"]).ends_with(0);
    let told = server.run(&["reinstate", "--agent", "bot"]).ends_with(0);
    assert!(told.out.contains("agent bot is free again; grants from before"), "{told:?}");
    server.run(&["agent", "suspend", "bot"]).ends_with(0);
    let told = server.run(&["reinstate", "--agent", "bot"]).ends_with(1);
    assert!(told.err.contains("bailiwick agent reinstate"), "{told:?}");
    server.run(&["agent", "reinstate", "bot"]).ends_with(0);
    let told = server.run(&["reinstate", "--agent", "bot"]).ends_with(1);
    assert!(told.err.contains("not suspended"), "{told:?}");
    server.stop();
}

#[test]
fn who_watches_from_a_number_that_was_never_given_is_told() {
    let (_dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let args = ["watch", "--after", "999", "--count", "1", "--json", "--data", text(&server.data)];
    let mut watch = command(&args);
    watch.env("BAILIWICK_LOG", "off").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watch = watch.spawn().unwrap();
    let mut notes = BufReader::new(watch.stderr.take().unwrap()).lines().map(Result::unwrap);
    let missing = notes.next().unwrap();
    assert!(missing.contains("behind number 999 are missing and will not come"), "{missing}");
    let listening = notes.next().unwrap();
    assert!(listening.contains("listening; the feed stands at 0"), "{listening}");
    server.run(&["revoke", "--agent", "bot"]).ends_with(0);
    let mut out = String::new();
    watch.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(watch.wait().unwrap().success());
    let item: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&item["number"], &item["selector"]), (&1.into(), &json!({"agent": "bot"})));
    server.stop();
}
