//! A running server and everything that talks to it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bailiwick::{Run, bailiwick, command, text};

pub(crate) struct Server {
    child: Child,
    pub(crate) told: Value,
    pub(crate) data: PathBuf,
}

impl Server {
    pub(crate) fn start(data: PathBuf) -> Self {
        Self::start_in(&std::env::temp_dir(), data)
    }

    /// A server that reads the `bailiwick.toml` of a directory.
    pub(crate) fn start_in(dir: &Path, data: PathBuf) -> Self {
        let args = ["serve", "--json", "--listen", "127.0.0.1:0", "--data", text(&data)];
        let mut serve = command(&args);
        let mut child = serve.current_dir(dir).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: `{line}`"));
        Self { child, told, data }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        bailiwick(&[args, &["--data", text(&self.data)]].concat())
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).ends_with(0).json()
    }

    /// The most memory that it ever had, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1_024
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> PathBuf {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(!self.data.join("endpoint").exists());
        self.data.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that was stopped is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    (dir, data)
}

pub(crate) fn with_agent(server: &Server) {
    server.run(&["owner", "add", "alice", "--group", "staff"]).ends_with(0);
    let purpose = "answers cases";
    let agent = ["agent", "add", "bot", "--owner", "alice", "--purpose", purpose];
    server.run(&[&agent[..], &["--allow", "crm/*", "--ttl", "1d"]].concat()).ends_with(0);
}

#[test]
fn an_operator_registers_grants_and_takes_back() {
    let (_dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let owners = server.json(&["owner", "list"]);
    assert_eq!(owners["items"][0]["owner"], "alice");
    assert!(server.run(&["owner", "list"]).ends_with(0).out.contains("alice  staff"));
    let agent = server.json(&["agent", "show", "bot"]);
    assert_eq!(agent["status"], "active");
    assert!(agent["expires_at"].is_string());

    let task = server.json(&["task", "open", "--agent", "bot", "--statement", "answer"]);
    let task = task["id"].as_str().unwrap();
    let terms = ["--agent", "bot", "--action", "crm/read_case", "--scope", "crm://case/1"];
    let issue = [&["grant", "issue", "--task", task, "--ttl", "5m"], &terms[..]].concat();
    let grant = server.json(&issue);
    let grant = grant["id"].as_str().unwrap();
    assert_eq!(server.json(&["grant", "show", grant])["status"], "live");

    let told = server.run(&["revoke", "--agent", "bot", "--reason", "enough"]).ends_with(0);
    assert!(told.out.contains("every grant of agent bot has ended"), "{told:?}");
    assert_eq!(server.json(&["grant", "show", grant])["status"], "grant_revoked");
    assert!(server.json(&["agent", "show", "bot"])["suspended_by"].is_string());
    server.run(&["lift", "--agent", "bot"]).ends_with(0);
    assert!(server.json(&["agent", "show", "bot"])["suspended_by"].is_null());
    assert_eq!(server.json(&["grant", "list", "--live"])["items"], json!([]));
    server.run(&["revoke", "--all", "--yes"]).ends_with(0);
    server.run(&["lift", "--all"]).ends_with(0);
    server.run(&["task", "close", task]).ends_with(0);
    for act in [["suspend", "bot"], ["reinstate", "bot"], ["retire", "bot"]] {
        server.run(&[&["agent"], &act[..]].concat()).ends_with(0);
    }
    server.run(&["owner", "disable", "alice"]).ends_with(0);
    server.run(&["owner", "enable", "alice"]).ends_with(0);
    server.stop();
}

#[test]
fn policies_are_put_activated_shown_and_removed() {
    let (dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let file = dir.path().join("read.cedar");
    let permit = "permit (principal, action == Action::\"crm/read_case\", resource);";
    std::fs::write(&file, format!("@jit(\"true\")\n{permit}")).unwrap();
    let put = server.run(&["policy", "put", text(&file)]).ends_with(0);
    assert!(put.out.contains("policy read is on the stage") && put.err.contains("activate"));
    assert_eq!(server.json(&["policy", "list"])["items"][0]["status"], "staged");
    server.run(&["policy", "activate"]).ends_with(0);
    assert_eq!(server.json(&["policy", "show", "read"])["status"], "active");

    let terms = ["--agent", "bot", "--action", "crm/read_case", "--scope", "crm://case/1"];
    let issued = server.json(&[&["grant", "request"], &terms[..]].concat());
    assert_eq!(issued["status"], "issued");
    let terms = ["--agent", "bot", "--action", "crm/delete_case", "--scope", "crm://case/1"];
    let denied = server.run(&[&["grant", "request"], &terms[..]].concat()).ends_with(3);
    assert!(denied.out.contains("denied: forbidden"), "{denied:?}");
    let terms = ["--agent", "bot", "--action", "crm/read_case", "--scope", "crm://case/**"];
    let waits = server.json(&[&["grant", "request"], &terms[..]].concat());
    assert_eq!(waits["status"], "pending");
    let waiting = server.json(&["grant", "list", "--requests"]);
    assert_eq!(waiting["items"][0]["request"], waits["id"]);
    server.run(&["grant", "deny", waits["id"].as_str().unwrap()]).ends_with(0);

    std::fs::write(&file, "permit (principal, action, resource) when { nonsense };").unwrap();
    let refused = server.run(&["policy", "put", text(&file)]).ends_with(1);
    assert!(refused.err.contains("policy check"), "{refused:?}");
    server.run(&["policy", "remove", "read"]).ends_with(0);
    assert_eq!(server.json(&["policy", "show", "read"])["status"], "removed");
    server.stop();
}

#[test]
fn the_record_is_listed_asked_and_followed() {
    let (_dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    server.run(&["revoke", "--agent", "bot"]).ends_with(0);
    let events = server.run(&["events", "--json", "--limit", "2"]).ends_with(0);
    let kinds: Vec<Value> =
        events.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((kinds.len(), &kinds[0]["kind"]), (2, &"ledger.created".into()));
    let events = server.run(&["events", "--kind", "agent.registered"]).ends_with(0);
    assert!(events.out.contains("agent=bot") && events.out.lines().count() == 1, "{events:?}");

    let sql = ["sql", "select selector_id from revocations", "--url"];
    let url = server.told["url"].as_str().unwrap();
    let answer = server.json(&[&sql[..], &[url]].concat());
    assert_eq!(answer["rows"], json!([["bot"]]));
    let refused = server.run(&["sql", "drop table calls", "--url", url]).ends_with(1);
    assert!(refused.err.contains("sql_not_a_read"), "{refused:?}");
    let query = ["query", "run", "who-touched", "--param", "resource=crm://case", "--url", url];
    assert_eq!(server.json(&query)["rows"], json!([]));
    let csv = ["query", "run", "agent-story", "--param", "agent=bot", "--format", "csv"];
    let csv = server.run(&[&csv[..], &["--url", url]].concat()).ends_with(0);
    assert!(
        csv.out.starts_with("seq,ts,kind,") && csv.out.contains("revocation.issued"),
        "{csv:?}"
    );
    let in_use = server.run(&["sql", "select 1"]).ends_with(1);
    assert!(in_use.err.contains(&format!("--url {url}")), "{in_use:?}");
    let in_use = bailiwick(&["verify", text(&server.data)]).ends_with(1);
    assert!(in_use.err.contains("being served"), "{in_use:?}");

    let followed = server.run(&["watch", "--after", "0", "--count", "1", "--json"]).ends_with(0);
    let item: Value = serde_json::from_str(followed.out.trim()).unwrap();
    assert_eq!((&item["number"], &item["selector"]), (&1.into(), &json!({"agent": "bot"})));
    let followed = server.run(&["watch", "--after", "0", "--count", "1"]).ends_with(0);
    assert!(followed.out.contains("revocation.issued  agent bot, suspended"), "{followed:?}");
    server.stop();
}

#[test]
fn keys_do_what_their_role_may_and_nothing_once_revoked() {
    let (_dir, data) = place();
    let server = Server::start(data);
    let issue = ["key", "issue", "auditor-1", "--role", "auditor", "--ttl", "1d"];
    let issued = server.run(&issue).ends_with(0);
    let key = issued.out.trim();
    assert!(key.starts_with("bwk_") && issued.err.contains("shown this once"), "{issued:?}");
    server.run(&["owner", "list", "--key", key]).ends_with(0);
    let denied = server.run(&["owner", "add", "bob", "--key", key]).ends_with(3);
    assert!(denied.err.contains("not_permitted"), "{denied:?}");
    let keys = server.run(&["key", "list"]).ends_with(0);
    assert!(keys.out.contains("auditor-1") && !keys.out.contains(key), "{keys:?}");
    server.run(&["key", "revoke", "auditor-1"]).ends_with(0);
    let denied = server.run(&["owner", "list", "--key", key]).ends_with(3);
    assert!(denied.err.contains("credential_invalid") && denied.err.contains("BAILIWICK_KEY"));
    server.run(&["watch", "--key", "bwk_unknown"]).ends_with(3);
    server.stop();
}

#[test]
fn a_key_is_rotated_and_the_old_one_ends_after_its_overlap() {
    let (_dir, data) = place();
    let server = Server::start(data);
    let issued = server.run(&["key", "issue", "ci", "--role", "auditor"]).ends_with(0);
    let old = issued.out.trim();
    let rotated = server.run(&["key", "rotate", "ci"]).ends_with(0);
    let new = rotated.out.trim();
    assert!(new.starts_with("bwk_") && new != old, "{rotated:?}");
    assert!(rotated.err.contains("key ci.2 takes the place of ci, which works until "));
    for key in [old, new] {
        server.run(&["owner", "list", "--key", key]).ends_with(0);
    }
    let at_once = ["key", "rotate", "ci.2", "--as", "nightly", "--overlap", "0s"];
    let third = server.json(&at_once);
    assert_eq!((&third["id"], third["key"].is_string()), (&json!("nightly"), true));
    let denied = server.run(&["owner", "list", "--key", new]).ends_with(3);
    assert!(denied.err.contains("credential_invalid"), "{denied:?}");
    let keys = server.json(&["key", "list"]);
    let items = keys["items"].as_array().unwrap();
    let known = |name: &str| items.iter().find(|key| key["credential"] == name).unwrap();
    assert!(known("ci.2")["last_used_at"].is_string() && known("ci.2")["live"] == false);
    assert!(known("nightly")["last_used_at"].is_null() && known("nightly")["live"] == true);

    let own = third["key"].as_str().unwrap();
    let refused = server.run(&["key", "rotate", "nightly", "--key", own]).ends_with(3);
    assert!(refused.err.contains("not_permitted"), "{refused:?}");
    server.run(&["key", "rotate", "ci.2"]).ends_with(1);
    server.run(&["key", "rotate", "nightly", "--overlap", "31d"]).ends_with(1);
    server.run(&["key", "rotate", "nightly", "--overlap", "soon"]).ends_with(2);
    server.stop();
}

#[test]
fn a_server_tells_which_issuers_its_file_names() {
    let (dir, data) = place();
    let file = dir.path().join("bailiwick.toml");
    let issuer = "[[issuers]]\nissuer = \"https://id.example.com\"\n";
    std::fs::write(&file, issuer).unwrap();
    let server = Server::start_in(dir.path(), data.clone());
    let address = server.told["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let path = "/.well-known/oauth-protected-resource";
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#""authorization_servers":["https://id.example.com"]"#), "{answer}");
    server.stop();
    for (bad, code) in [
        ("algorithms = [\"HS256\"]", 2),
        ("algorithms = [\"none\"]", 2),
        ("roles = { x = \"admin\" }", 1),
        ("roles = { x = \"agent\" }", 1),
        ("skew = \"2m\"", 1),
        ("jwks_uri = \"http://id.example.com/keys\"", 1),
    ] {
        std::fs::write(&file, format!("{issuer}{bad}")).unwrap();
        let args = ["serve", "--listen", "127.0.0.1:0", "--data", text(&data)];
        let ended = command(&args).current_dir(dir.path()).output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(code), "{bad}: {told}");
    }
}

#[test]
fn a_doctor_finds_nothing_wrong_and_then_what_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_dir, data) = place();
    let server = Server::start(data);
    let well = server.json(&["doctor"]);
    assert_eq!(well["well"], true, "{well}");
    let nats = server.run(&["doctor", "--nats-monitor", "http://127.0.0.1:9"]).ends_with(1);
    assert!(nats.out.contains("http://127.0.0.1:9 does not answer"), "{nats:?}");
    let key = server.data.join("ledger.secret");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ill = server.run(&["doctor"]).ends_with(1);
    assert!(ill.out.contains("chmod 600"), "{ill:?}");
    server.stop();
}

#[test]
fn a_stopped_server_leaves_a_ledger_that_verifies_and_goes_on() {
    let (_dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let second = bailiwick(&["serve", "--listen", "127.0.0.1:0", "--data", text(&server.data)]);
    assert!(second.ends_with(1).err.contains("is in use by"));
    let data = server.stop();
    bailiwick(&["verify", text(&data)]).ends_with(0);
    let server = Server::start(data);
    assert_eq!(server.json(&["agent", "list"])["items"][0]["agent"], "bot");
    server.run(&["revoke", "--owner", "alice"]).ends_with(0);
    bailiwick(&["verify", text(&server.stop())]).ends_with(0);
}

#[test]
fn a_server_does_not_listen_to_others_in_the_clear() {
    let (_dir, data) = place();
    let refused = bailiwick(&["serve", "--listen", "0.0.0.0:0", "--data", text(&data)]);
    assert!(refused.ends_with(1).err.contains("TLS"));
    assert!(!data.join("endpoint").exists());
}

#[test]
fn properties_are_written_read_by_policy_and_forgotten() {
    let (dir, data) = place();
    let server = Server::start(data);
    with_agent(&server);
    let file = dir.path().join("read.cedar");
    let open = "resource.hasTag(\"status\") && resource.getTag(\"status\").contains(\"open\")";
    let permit = "permit (principal, action == Action::\"crm/read_case\", resource)";
    std::fs::write(&file, format!("@jit(\"true\")\n{permit} when {{ {open} }};")).unwrap();
    server.run(&["policy", "put", text(&file), "--activate"]).ends_with(0);
    let terms = ["--agent", "bot", "--action", "crm/read_case", "--scope", "crm://case/1"];
    let request = [&["grant", "request"], &terms[..]].concat();
    server.run(&request).ends_with(3);

    let of_case = ["--resource", "crm://case/1"];
    let put = [&["properties", "put"], &of_case[..], &["status=open", "status=urgent"]].concat();
    server.run(&put).ends_with(0);
    server.run(&["properties", "put", "--owner", "alice", "role=admin"]).ends_with(0);
    let all = server.json(&["properties", "list"]);
    assert_eq!(all["items"][0]["entity"], json!({"owner": "alice"}));
    assert_eq!(all["items"][1]["properties"], json!({"status": ["open", "urgent"]}));
    assert_eq!(server.json(&request)["status"], "issued");

    server.run(&[&["properties", "remove"], &of_case[..]].concat()).ends_with(0);
    server.run(&request).ends_with(3);
    for wrong in [
        &["properties", "put", "role=admin"][..],
        &["properties", "put", "--owner", "alice"],
        &["properties", "put", "--owner", "alice", "role"],
        &["properties", "put", "--owner", "alice", "--agent", "bot", "role=x"],
    ] {
        server.run(wrong).ends_with(2);
    }
    let nobody = server.run(&["properties", "put", "--owner", "nobody", "role=x"]).ends_with(1);
    assert!(nobody.err.contains("not registered"), "{nobody:?}");
    server.stop();
}
