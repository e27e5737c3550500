//! The revocation feed as other people's programs hear it: Python on NATS, `curl` on the server's
//! stream. Each resumes where it stopped, and misses nothing.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::{fs, thread};

use serde_json::Value;

use crate::nats;
use crate::support::serve::{Launch, Serve};
use crate::support::{PATIENCE, root, skip, tool, world};

/// A program that prints lines until it is killed, which dropping it does.
struct Listener {
    process: Child,
    printed: Receiver<String>,
    said: Receiver<String>,
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Listener {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("start a listener");
        let printed = lines(process.stdout.take().expect("its output"));
        let said = lines(process.stderr.take().expect("its messages"));
        Self { process, printed, said }
    }

    fn line(&self) -> String {
        self.printed.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let said: Vec<String> = self.said.try_iter().collect();
            panic!("nothing was heard in {PATIENCE:?}; it said {said:#?}")
        })
    }

    /// The next item of a listener that prints one a line; its number has to be `number`.
    fn item(&self, number: u64) -> Value {
        let item: Value = serde_json::from_str(&self.line()).expect("an item is JSON");
        assert_eq!(item["number"], number, "{item}");
        item
    }

    /// The next item of a listener that prints server-sent events.
    fn event(&self, number: u64) -> Value {
        loop {
            if self.line() != "event: revocation" {
                continue;
            }
            let line = self.line();
            let data = line.strip_prefix("data: ").expect("data follow");
            let item: Value = serde_json::from_str(data).expect("an item is JSON");
            assert_eq!(item["number"], number, "{item}");
            return item;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // One that has ended by itself is gone; there is nothing more to do about it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn revoke(serve: &Serve, resource: &str) {
    serve.run(&["revoke", "--resource", resource, "--reason", "it is over"]);
}

/// The example that a user may copy.
fn watch_feed(python: &std::path::Path, url: &str, after: u64) -> Command {
    let mut command = Command::new(python);
    command.arg(root().join("tests/clients/watch_feed.py"));
    command.args([url, "--ledger", "default", "--after", &after.to_string()]);
    command
}

fn curl(serve: &Serve, last_event_id: Option<u64>) -> Command {
    let file = |name: &str| fs::read_to_string(serve.data().join(name)).expect("the server's file");
    let (url, key) = (file("endpoint"), file("admin.key"));
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--no-buffer"]);
    command.args(["--header", &format!("Authorization: Bearer {}", key.trim())]);
    if let Some(number) = last_event_id {
        command.args(["--header", &format!("Last-Event-ID: {number}")]);
    }
    command.arg(format!("{}/v1/revocations/stream", url.trim().trim_end_matches('/')));
    command
}

fn curl_is_there() -> bool {
    let found = Command::new("curl").arg("--version").stdout(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        skip("curl not found");
    }
    found
}

#[test]
fn a_python_subscriber_on_nats_resumes_where_it_stopped_and_misses_nothing() {
    let Some(python) = tool("py/bin/python") else { return };
    let dir = tempfile::tempdir().unwrap();
    let Some(mut nats) = nats::Server::start(dir.path()) else { return };
    let serve = Launch::on_nats(&dir.path().join("data"), &nats.url()).start();
    world::found(&serve.client(), &["support"]);
    revoke(&serve, "crm://case/1");

    let watch = Listener::start(&mut watch_feed(&python, &nats.url(), 0));
    assert_eq!(watch.item(1)["kind"], "recheck");
    let stored = watch.item(2);
    assert_eq!(stored["selector"]["resource"], "crm://case/1");
    serve.run(&["revoke", "--agent", "support", "--reason", "it left its task"]);
    let live = watch.item(3);
    assert_eq!(
        (&live["kind"], &live["selector"]["agent"], &live["reason"], &live["ledger"]),
        (
            &"revocation.issued".into(),
            &"support".into(),
            &"it left its task".into(),
            &"default".into()
        )
    );
    drop(watch);

    // What happens while nobody listens is there when somebody does again.
    revoke(&serve, "crm://case/2");
    revoke(&serve, "crm://case/3");
    let watch = Listener::start(&mut watch_feed(&python, &nats.url(), 3));
    watch.item(4);
    watch.item(5);
    nats.kill();
    nats.restart();
    revoke(&serve, "crm://case/4");
    assert_eq!(watch.item(6)["selector"]["resource"], "crm://case/4");
    let serve = serve.kill().start();
    revoke(&serve, "crm://case/5");
    watch.item(7);
    let missed: Vec<String> =
        watch.said.try_iter().filter(|said| said.contains("missed")).collect();
    assert!(missed.is_empty(), "{missed:?}");
    drop(watch);

    // A number that was never given is no place to go on from.
    let refused = watch_feed(&python, &nats.url(), 99).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("no number 99"), "{said}");
}

#[test]
fn curl_on_the_stream_resumes_where_it_stopped_and_hears_what_nats_hears() {
    let Some(python) = tool("py/bin/python") else { return };
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = nats::Server::start(dir.path()) else { return };
    if !curl_is_there() {
        return;
    }
    let serve = Launch::on_nats(&dir.path().join("data"), &nats.url()).start();
    world::found(&serve.client(), &["support"]);
    let watch = Listener::start(&mut watch_feed(&python, &nats.url(), 0));
    let listener = Listener::start(&mut curl(&serve, Some(0)));
    for number in 1..=3 {
        assert_eq!(listener.event(number), watch.item(number), "one form on every way");
        revoke(&serve, &format!("crm://case/{number}"));
    }
    drop(listener);
    let serve = serve.stop().start();
    revoke(&serve, "crm://case/5");
    let listener = Listener::start(&mut curl(&serve, Some(2)));
    for number in 3..=5 {
        listener.event(number);
    }
    // What cannot be resumed from is refused, not passed over.
    let refused = curl(&serve, Some(99)).output().unwrap();
    assert!(!refused.status.success(), "{}", String::from_utf8_lossy(&refused.stdout));
}
