//! The NATS configuration that is shipped: the ledger's identity appends and reads, subscribers hear
//! the revocation feed, and neither can do more.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::nats;
use crate::support::serve::Launch;
use crate::support::{PATIENCE, root, until, world};

const PASSWORD: &str = "Append0nly";
const ADMIN_PASSWORD: &str = "L00ksAfterIt";
const SUBSCRIBER_PASSWORD: &str = "L1stensOnly";
const STREAM: &str = "BAILIWICK_default";
const FEED: &str = "BAILIWICK_default_REVOCATIONS";
const EVERY_ITEM: &str = "bailiwick.default.revocation.>";

/// A nats-server with the shipped configuration, below `dir` and on a port of its own.
struct Shipped {
    process: Child,
    port: u16,
}

impl Shipped {
    fn start(dir: &Path) -> Option<Self> {
        let binary = nats::binary()?;
        let config = dir.join("nats.conf");
        fs::write(&config, relocated(dir)).expect("write the configuration");
        let process = Command::new(binary)
            .arg("--config")
            .arg(&config)
            .env("BAILIWICK_NATS_PASSWORD", PASSWORD)
            .env("BAILIWICK_NATS_ADMIN_PASSWORD", ADMIN_PASSWORD)
            .env("BAILIWICK_NATS_SUBSCRIBER_PASSWORD", SUBSCRIBER_PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start nats-server");
        let ports = dir.join(format!("nats-server_{}.ports", process.id()));
        let mut shipped = Self { process, port: 0 };
        shipped.port = until("nats-server said its port", PATIENCE, || {
            let ended = shipped.process.try_wait().expect("look after nats-server");
            let log = || fs::read_to_string(dir.join("nats.log")).unwrap_or_default();
            assert!(ended.is_none(), "nats-server ended: {}", log());
            let ports: Value = serde_json::from_slice(&fs::read(&ports).ok()?).ok()?;
            ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
        });
        Some(shipped)
    }
}

impl Drop for Shipped {
    fn drop(&mut self) {
        // There is nothing more to do about a server that cannot be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The shipped file with other places and ports, and nothing else.
fn relocated(dir: &Path) -> String {
    let text = fs::read_to_string(root().join(".docker/nats.conf")).expect("the shipped file");
    let places = [
        ("listen: \"0.0.0.0:4222\"", "listen: \"127.0.0.1:-1\"".to_owned()),
        ("http: \"127.0.0.1:8222\"", format!("ports_file_dir: {dir:?}")),
        ("store_dir: \"/data\"", format!("store_dir: {:?}", dir.join("store"))),
        (
            "server_name: bailiwick\n",
            format!("server_name: bailiwick\nlog_file: {:?}\n", dir.join("nats.log")),
        ),
    ];
    places.into_iter().fold(text, |text, (there, here)| {
        assert_eq!(text.matches(there).count(), 1, "`{there}` in .docker/nats.conf");
        text.replace(there, &here)
    })
}

/// A NATS client of a few lines, to ask what no client of ours asks.
struct Raw {
    stream: BufReader<TcpStream>,
}

/// What came of a request.
#[derive(Debug)]
enum Came {
    Answer(Value),
    Refused(String),
}

impl Raw {
    /// Connects; the server's refusal where it lets nobody in.
    fn connect(port: u16, user: Option<(&str, &str)>) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set a limit");
        let mut raw = Self { stream: BufReader::new(stream) };
        assert!(raw.line().starts_with("INFO "), "a server greets");
        let mut options = json!({"verbose": false, "pedantic": false, "headers": true,
            "no_responders": true, "lang": "raw", "version": "0"});
        if let Some((user, password)) = user {
            options["user"] = user.into();
            options["pass"] = password.into();
        }
        raw.say(&format!("CONNECT {options}\r\nPING\r\n"));
        let line = raw.line();
        if line == "PONG" { Ok(raw) } else { Err(line) }
    }

    fn say(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).expect("write");
    }

    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("an answer in time");
            // The server asks whether we live, whenever it likes.
            if line.trim_end() == "PING" {
                self.say("PONG\r\n");
                continue;
            }
            return line.trim_end().to_owned();
        }
    }

    /// Asks, and has the answer sent to `inbox`, where nobody here waits for it.
    fn publish(&mut self, subject: &str, inbox: &str, body: &Value) {
        let body = body.to_string();
        self.say(&format!("PUB {subject} {inbox} {}\r\n{body}\r\n", body.len()));
    }

    fn request(&mut self, subject: &str, body: &Value) -> Came {
        self.say("SUB _INBOX.raw 1\r\nUNSUB 1 1\r\n");
        self.publish(subject, "_INBOX.raw", body);
        self.say("PING\r\n");
        let mut came = None;
        loop {
            let line = self.line();
            if let Some(refusal) = line.strip_prefix("-ERR ") {
                came = Some(Came::Refused(refusal.to_owned()));
            } else if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                return Came::Answer(self.message(&line));
            } else if line == "PONG"
                && let Some(came) = came.take()
            {
                return came;
            }
        }
    }

    /// The JSON in a message whose first line was read; nothing where it holds none.
    fn message(&mut self, line: &str) -> Value {
        let mut lengths = line.rsplit(' ').map_while(|word| word.parse::<usize>().ok());
        let length = lengths.next().expect("a length");
        let headers = if line.starts_with("HMSG ") { lengths.next().expect("another") } else { 0 };
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).expect("the message");
        serde_json::from_slice(&bytes[headers..length]).unwrap_or(Value::Null)
    }

    /// Subscribes, which is allowed.
    fn subscribe(&mut self, subject: &str, id: u32) {
        self.say(&format!("SUB {subject} {id}\r\nPING\r\n"));
        assert_eq!(self.line(), "PONG", "{subject}");
    }

    fn may_not_subscribe(&mut self, subject: &str) {
        self.say(&format!("SUB {subject} 99\r\nPING\r\n"));
        let refused = self.line();
        let expected = format!("Permissions Violation for Subscription to \"{subject}\"");
        assert!(refused.contains(&expected), "{subject}: {refused}");
        assert_eq!(self.line(), "PONG");
    }

    /// The next message for a subscription: its subject, the subscription's id, and the JSON in it.
    fn next(&mut self) -> (String, String, Value) {
        let line = self.line();
        let mut words = line.split(' ').skip(1).map(str::to_owned);
        let (subject, id) = (words.next().expect("a subject"), words.next().expect("an id"));
        (subject, id, self.message(&line))
    }

    fn is_refused(&mut self, subject: &str, body: &Value) {
        match self.request(subject, body) {
            Came::Refused(why) => {
                let expected = format!("Permissions Violation for Publish to \"{subject}\"");
                assert!(why.contains(&expected), "{subject}: {why}");
            }
            Came::Answer(answer) => panic!("`{subject}` was answered {answer}"),
        }
    }

    fn is_answered(&mut self, subject: &str, body: &Value) -> Value {
        match self.request(subject, body) {
            Came::Answer(answer) => answer,
            Came::Refused(why) => panic!("`{subject}` was refused: {why}"),
        }
    }
}

#[test]
fn the_shipped_nats_lets_the_ledger_append_and_read_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = Shipped::start(dir.path()) else { return };
    let url = format!("nats://ledger:{PASSWORD}@127.0.0.1:{}", nats.port);
    let serve = Launch::on_nats(&dir.path().join("data"), &url).start();
    let client = serve.client();
    world::found(&client, &["support"]);
    world::grant(&client, "support", "crm://case/1", 1);
    let question = world::question("support", "crm://case/1", "call-1");
    let answer = world::ask(&mut client.connect().unwrap(), &question).unwrap();
    assert_eq!(world::code(&answer), None, "{answer}");
    // A restart reads back what is stored.
    let serve = serve.stop().start();
    let events = serve.client().events(0).len();
    assert!(events > 6, "{events} events");

    let mut ledger = Raw::connect(nats.port, Some(("ledger", PASSWORD))).unwrap();
    // What policy permits has changed once, and the feed says so.
    holds_all(&mut ledger, FEED, 1);
    for stream in [STREAM, FEED] {
        cannot_be_cut(&mut ledger, stream);
    }
    for (call, body) in [
        ("STREAM.CREATE.OTHER".to_owned(), json!({"name": "OTHER", "subjects": ["other"]})),
        ("ACCOUNT.PURGE.BAILIWICK".to_owned(), json!({})),
    ] {
        ledger.is_refused(&format!("$JS.API.{call}"), &body);
    }
    ledger.is_refused("bailiwick.other.entry", &json!("not this ledger"));
    ledger.is_refused("bailiwick.other.revocation.all._", &json!("not this ledger"));
}

/// Waits until a stream has `messages` at least.
fn holds_all(ledger: &mut Raw, stream: &str, messages: u64) {
    until(&format!("`{stream}` had {messages} messages"), PATIENCE, || {
        let info = ledger.is_answered(&format!("$JS.API.STREAM.INFO.{stream}"), &json!({}));
        (info["state"]["messages"].as_u64()? >= messages).then_some(())
    });
}

/// Whatever the ledger's identity asks, the stream stays as it is.
fn cannot_be_cut(ledger: &mut Raw, stream: &str) {
    let info = format!("$JS.API.STREAM.INFO.{stream}");
    let before = ledger.is_answered(&info, &json!({}));
    let mut cut = before["config"].clone();
    cut["max_msgs"] = 1.into();
    for (call, body) in [
        (format!("STREAM.UPDATE.{stream}"), cut.clone()),
        (format!("STREAM.DELETE.{stream}"), json!({})),
        (format!("STREAM.PURGE.{stream}"), json!({})),
        (format!("STREAM.MSG.DELETE.{stream}"), json!({"seq": 1})),
        (format!("STREAM.RESTORE.{stream}"), json!({})),
        (format!("STREAM.SNAPSHOT.{stream}"), json!({"deliver_subject": "_INBOX.x"})),
        (format!("CONSUMER.CREATE.{stream}.one"), json!({"stream_name": stream})),
    ] {
        ledger.is_refused(&format!("$JS.API.{call}"), &body);
    }
    let created = ledger.is_answered(&format!("$JS.API.STREAM.CREATE.{stream}"), &cut);
    assert_eq!(
        created["error"]["err_code"], 10_058,
        "a stream is not changed by making it: {created}"
    );
    let after = ledger.is_answered(&info, &json!({}));
    assert_eq!(after["config"], before["config"]);
    assert_eq!(after["state"]["messages"], before["state"]["messages"]);
}

#[test]
fn the_shipped_nats_lets_a_subscriber_hear_the_feed_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = Shipped::start(dir.path()) else { return };
    let url = format!("nats://ledger:{PASSWORD}@127.0.0.1:{}", nats.port);
    let serve = Launch::on_nats(&dir.path().join("data"), &url).start();
    let client = serve.client();
    world::found(&client, &["support"]);
    let revoke = |case: u32| {
        let selector = json!({"resource": format!("crm://case/{case}")});
        client.post("/v1/revocations", &json!({"selector": selector})).ok();
    };
    revoke(1);
    let mut ledger = Raw::connect(nats.port, Some(("ledger", PASSWORD))).unwrap();
    holds_all(&mut ledger, FEED, 2);

    let mut subscriber =
        Raw::connect(nats.port, Some(("subscriber", SUBSCRIBER_PASSWORD))).unwrap();
    let read = format!("$JS.API.DIRECT.GET.{FEED}");
    let stored = subscriber.is_answered(&read, &json!({"seq": 2}));
    assert_eq!((&stored["number"], &stored["ledger"]), (&2.into(), &"default".into()));
    for (call, body) in [
        (format!("DIRECT.GET.{STREAM}"), json!({"seq": 1})),
        (format!("STREAM.MSG.GET.{STREAM}"), json!({"seq": 1})),
        (format!("STREAM.INFO.{STREAM}"), json!({})),
        (format!("CONSUMER.CREATE.{STREAM}.one"), json!({"stream_name": STREAM})),
        (format!("CONSUMER.CREATE.{FEED}.one"), json!({"stream_name": FEED})),
        (format!("STREAM.DELETE.{FEED}"), json!({})),
        (format!("STREAM.PURGE.{FEED}"), json!({})),
        (format!("STREAM.MSG.DELETE.{FEED}"), json!({"seq": 1})),
        (format!("STREAM.UPDATE.{FEED}"), json!({"name": FEED})),
        ("STREAM.CREATE.OTHER".to_owned(), json!({"name": "OTHER", "subjects": ["other"]})),
    ] {
        subscriber.is_refused(&format!("$JS.API.{call}"), &body);
    }
    for subject in ["bailiwick.default.entry", "bailiwick.default.revocation.all._"] {
        subscriber.is_refused(subject, &json!("from who only listens"));
    }
    for subject in [">", "bailiwick.>", "bailiwick.default.entry", "$JS.>", "_R_.>"] {
        subscriber.may_not_subscribe(subject);
    }

    // An answer that is asked for on the subject of entries does not get there.
    let entries = format!("$JS.API.STREAM.INFO.{STREAM}");
    let before = ledger.is_answered(&entries, &json!({}))["state"]["messages"].clone();
    subscriber.publish(&read, "bailiwick.default.entry", &json!({"seq": 1}));
    subscriber.is_answered(&read, &json!({"seq": 1}));
    assert_eq!(ledger.is_answered(&entries, &json!({}))["state"]["messages"], before);

    // It hears what is revoked, and nothing of what the ledger is answered.
    subscriber.subscribe("_INBOX.>", 7);
    subscriber.subscribe(EVERY_ITEM, 8);
    for (case, number) in [(2, 3), (3, 4)] {
        revoke(case);
        let (subject, id, item) = subscriber.next();
        assert!(subject.starts_with("bailiwick.default.revocation.resource.h-"), "{subject}");
        assert_eq!((id.as_str(), &item["number"]), ("8", &number.into()));
    }
}

#[test]
fn the_shipped_nats_lets_nobody_in_without_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = Shipped::start(dir.path()) else { return };
    for user in [
        None,
        Some(("ledger", "guess")),
        Some(("subscriber", PASSWORD)),
        Some(("admin", PASSWORD)),
        Some(("sys", PASSWORD)),
    ] {
        let refused = Raw::connect(nats.port, user).err().expect("nobody gets in");
        assert!(refused.contains("Authorization Violation"), "{refused}");
    }
    assert!(Raw::connect(nats.port, Some(("admin", ADMIN_PASSWORD))).is_ok());
}
