//! What goes wrong around a server: a full disk, a NATS that is gone, a log that was set back.
//!
//! Calls are denied within two seconds, `readyz` says why, and nobody has to start anything anew
//! except where the anchor refuses.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::nats;
use crate::support::http::Client;
use crate::support::serve::{Launch, Serve, plain};
use crate::support::{PATIENCE, said, skip, text, until, world};

const AGENT: &str = "support-1";
const CASE: &str = "crm://case/1234";
/// Two seconds by promise, and a little for a machine that does other things too.
const DENIED_MAX: Duration = Duration::from_millis(2_500);

fn ask(client: &Client, call: &str) -> Value {
    let mut connection = client.connect().expect("connect");
    world::ask(&mut connection, &world::question(AGENT, CASE, call)).expect("an answer")
}

/// Asks, each time with another id, until it is allowed or denied for a lack of anything but luck.
fn until_denied(client: &Client, name: &str) -> Value {
    let mut call = 0;
    until("a call was denied", PATIENCE, || {
        call += 1;
        let answer = ask(client, &format!("{name}-{call}"));
        world::code(&answer).is_some().then_some(answer)
    })
}

fn until_allowed(client: &Client, name: &str) {
    let mut call = 0;
    until("a call was allowed again", PATIENCE, || {
        call += 1;
        let answer = ask(client, &format!("{name}-{call}"));
        world::code(&answer).is_none().then_some(())
    });
}

/// Calls are denied in time and `readyz` says why; gives its words.
fn is_denied_and_says_why(serve: &Serve, name: &str) -> String {
    let client = serve.client();
    let denied = until_denied(&client, name);
    assert_eq!(world::code(&denied), Some("unavailable"), "{denied}");
    assert!(denied["context"].get("receipt").is_none(), "{denied}");
    let asked = Instant::now();
    let denied = ask(&client, &format!("{name}-timed"));
    let took = asked.elapsed();
    assert_eq!(world::code(&denied), Some("unavailable"), "{denied}");
    assert!(took < DENIED_MAX, "denied after {took:?}");
    let ready = client.get("/readyz");
    assert_eq!(ready.status, 503, "{}", ready.body);
    ready.body["why"].as_str().expect("readyz says why").to_owned()
}

#[test]
fn without_nats_calls_are_denied_and_come_back_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut nats) = nats::Server::start(dir.path()) else { return };
    let serve = Launch::on_nats(&dir.path().join("data"), &nats.url()).start();
    let client = serve.client();
    world::found(&client, &[AGENT]);
    world::grant(&client, AGENT, CASE, 1_000);
    assert_eq!(world::code(&ask(&client, "before")), None);

    nats.kill();
    let why = is_denied_and_says_why(&serve, "gone");
    assert!(why.contains("no connection") || why.contains("no answer"), "{why}");
    assert_eq!(client.get("/healthz").status, 200);

    nats.restart();
    until_allowed(&client, "back");
    assert_eq!(client.get("/readyz").status, 200);
}

#[test]
fn a_full_disk_denies_and_room_is_noticed_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    fs::create_dir(&data).unwrap();
    let mount = format!("mount -t tmpfs -o size=40m tmpfs {}", data.display());
    let may = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
        .output();
    if !may.is_ok_and(|output| output.status.success()) {
        skip("a small file system cannot be mounted here (unshare, tmpfs)");
        return;
    }
    let serve = Launch { mount: Some(mount), ..Launch::embedded(&data) }.start();
    let client = serve.client();
    world::found(&client, &[AGENT]);
    world::grant(&client, AGENT, CASE, 1_000_000);
    let filler = serve.seen().join("filler");
    fill(&filler);

    // What was prepared before the disk was full is still used up.
    let (mut connection, mut call) = (client.connect().unwrap(), 0);
    let started = Instant::now();
    while started.elapsed() < PATIENCE * 3 {
        call += 1;
        let mut question = world::question(AGENT, CASE, &format!("full-{call}"));
        for note in 0..7 {
            question["context"]["disclosed"][format!("note-{note}")] = "x".repeat(2_000).into();
        }
        if world::code(&world::ask(&mut connection, &question).unwrap()).is_some() {
            break;
        }
    }
    let why = is_denied_and_says_why(&serve, "no-room");
    assert!(why.contains("no room") || why.contains("space"), "{why}");

    fs::remove_file(&filler).unwrap();
    until_allowed(&client, "room");
    assert_eq!(client.get("/readyz").status, 200);
}

/// Writes a file until there is no room for more.
fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = fs::File::create(path).unwrap();
    for piece in [1 << 20, 1 << 12, 1] {
        let piece = vec![1; piece];
        while file.write_all(&piece).is_ok() {}
    }
}

#[test]
fn an_embedded_log_that_was_set_back_is_refused_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (log, old) = (data.join("log"), dir.path().join("old"));
    let launch = Launch::embedded(&data);
    set_back(
        launch,
        || copy(&log, &old),
        || {
            fs::remove_dir_all(&log).unwrap();
            copy(&old, &log);
        },
    );
}

#[test]
fn a_stream_that_was_set_back_is_refused_and_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = nats::Server::start(dir.path()) else { return };
    let launch = Launch::on_nats(&dir.path().join("data"), &nats.url());
    let (store, old) = (dir.path().join("store"), dir.path().join("old"));
    let nats = std::cell::RefCell::new(nats);
    let stopped = |change: &dyn Fn()| {
        nats.borrow_mut().kill();
        change();
        nats.borrow_mut().restart();
    };
    set_back(
        launch,
        || stopped(&|| copy(&store, &old)),
        || {
            stopped(&|| {
                fs::remove_dir_all(&store).unwrap();
                copy(&old, &store);
            });
        },
    );
}

/// Keeps what is stored, goes on, puts the old back, and expects a refusal that `repair` mends.
fn set_back(launch: Launch, keep: impl Fn(), put_back: impl Fn()) {
    let serve = launch.start();
    world::found(&serve.client(), &[AGENT]);
    let launch = serve.stop();
    keep();
    let serve = launch.start();
    world::grant(&serve.client(), AGENT, CASE, 5);
    assert_eq!(world::code(&ask(&serve.client(), "later")), None);
    let links = links(&serve);
    let launch = serve.stop();
    put_back();

    let refused = launch.clone().refused();
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    let words = text(&refused.stderr);
    assert!(words.contains("rolled back"), "{words}");
    assert!(words.contains("bailiwick ledger repair"), "{words}");

    let data = launch.data.display().to_string();
    let mut arguments = vec!["ledger", "repair", "--data", &data];
    if let Some(url) = &launch.nats {
        arguments.extend(["--nats", url]);
    }
    let repaired = plain(&arguments).output().unwrap();
    assert!(repaired.status.success(), "{}", said(&repaired));
    let serve = launch.clone().start();
    assert_eq!(self::links(&serve)[..links.len()], links, "repair puts back what was there");
    until_allowed(&serve.client(), "repaired");
}

fn links(serve: &Serve) -> Vec<String> {
    let events = serve.client().events(0);
    events.iter().map(|event| event["link"].as_str().unwrap().to_owned()).collect()
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output().unwrap();
    assert!(copied.status.success(), "{}", said(&copied));
}
