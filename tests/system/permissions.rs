//! The NATS configuration that is shipped: the ledger's identity appends and reads, and no more.

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
const STREAM: &str = "BAILIWICK_default";

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
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("an answer in time");
        line.trim_end().to_owned()
    }

    fn request(&mut self, subject: &str, body: &Value) -> Came {
        let body = body.to_string();
        let length = body.len();
        self.say(&format!(
            "SUB _INBOX.raw 1\r\nUNSUB 1 1\r\nPUB {subject} _INBOX.raw {length}\r\n{body}\r\nPING\r\n"
        ));
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

    fn message(&mut self, line: &str) -> Value {
        let length = line.rsplit(' ').next().and_then(|word| word.parse().ok());
        let mut bytes = vec![0; length.expect("a length")];
        self.stream.read_exact(&mut bytes).expect("the message");
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
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
    let info = format!("$JS.API.STREAM.INFO.{STREAM}");
    let before = ledger.is_answered(&info, &json!({}));
    let mut cut = before["config"].clone();
    cut["max_msgs"] = 1.into();
    for (call, body) in [
        (format!("STREAM.UPDATE.{STREAM}"), cut.clone()),
        (format!("STREAM.DELETE.{STREAM}"), json!({})),
        (format!("STREAM.PURGE.{STREAM}"), json!({})),
        (format!("STREAM.MSG.DELETE.{STREAM}"), json!({"seq": 1})),
        (format!("STREAM.RESTORE.{STREAM}"), json!({})),
        (format!("STREAM.SNAPSHOT.{STREAM}"), json!({"deliver_subject": "_INBOX.x"})),
        ("STREAM.CREATE.OTHER".to_owned(), json!({"name": "OTHER", "subjects": ["other"]})),
        ("ACCOUNT.PURGE.BAILIWICK".to_owned(), json!({})),
    ] {
        ledger.is_refused(&format!("$JS.API.{call}"), &body);
    }
    ledger.is_refused("bailiwick.other.entry", &json!("not this ledger"));
    let created = ledger.is_answered(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &cut);
    assert_eq!(
        created["error"]["err_code"], 10_058,
        "a stream is not changed by making it: {created}"
    );
    let after = ledger.is_answered(&info, &json!({}));
    assert_eq!(after["config"], before["config"]);
    assert_eq!(after["state"]["messages"], before["state"]["messages"]);
}

#[test]
fn the_shipped_nats_lets_nobody_in_without_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let Some(nats) = Shipped::start(dir.path()) else { return };
    for user in
        [None, Some(("ledger", "guess")), Some(("admin", PASSWORD)), Some(("sys", PASSWORD))]
    {
        let refused = Raw::connect(nats.port, user).err().expect("nobody gets in");
        assert!(refused.contains("Authorization Violation"), "{refused}");
    }
    assert!(Raw::connect(nats.port, Some(("admin", ADMIN_PASSWORD))).is_ok());
}
