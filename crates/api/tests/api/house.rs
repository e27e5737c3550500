//! A ledger, its audit tables and a server in front of them, all in a directory of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bailiwick_api::{Config, PERSON_TYPES, Server};
use bailiwick_audit::named::Named;
use bailiwick_audit::{Audit, Chain, Limits, Parameters, Settings};
use bailiwick_core::event::Fact;
use bailiwick_ledger::{Ledger, Store};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a test works with.
pub(crate) struct House {
    pub(crate) client: Client,
    pub(crate) ledger: Ledger,
    pub(crate) server: Server,
    pub(crate) admin: String,
    keys: Mutex<BTreeMap<String, String>>,
    follower: tokio::task::JoinHandle<()>,
    _dir: TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The status and code of a problem, which has everything that a problem has.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        let problem = self.json();
        let code = problem["code"].as_str().unwrap().to_owned();
        assert_eq!(problem["type"], format!("urn:bailiwick:error:{code}"));
        assert_eq!(problem["status"], self.status);
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        (self.status, code)
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn done(&self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.json()
    }
}

pub(crate) fn config() -> Config {
    Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        tls: None,
        allow_plain: false,
        threads: NonZeroUsize::new(2).unwrap(),
        public_url: None,
        person_types: PERSON_TYPES.map(str::to_owned).to_vec(),
        issuers: Vec::new(),
        // Tests count events: what was refused is not to come among them by itself.
        count_refused: Duration::from_secs(3_600),
        bench: false,
    }
}

pub(crate) fn open_ledger(home: &Path) -> Ledger {
    let config = bailiwick_ledger::Config {
        home: home.to_owned(),
        store: Store::Embedded,
        name: "default".parse().unwrap(),
        trust_head: false,
        trust_clock: false,
        linger: Duration::ZERO,
    };
    Ledger::open(&config, |_| {}).unwrap()
}

impl House {
    pub(crate) fn open() -> Self {
        Self::with(config())
    }

    pub(crate) fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open_ledger(dir.path());
        let keys = ledger.clone();
        let chain = Chain::new(ledger.info().ledger, ledger.reader(), move || keys.key_ring());
        let audit = Audit::new(Settings { threads: 1, at_once: 2 }).unwrap();
        let audit = Arc::new(audit.beside(chain).unwrap());
        let mut entries = ledger.follow(0);
        let tables = Arc::clone(&audit);
        let follower = tokio::spawn(async move {
            while let Ok(Some(entry)) = entries.next().await {
                tables.ingest(entry.number, &entry.events).unwrap();
            }
        });
        let server = bailiwick_api::serve(config, ledger.clone(), audit).unwrap();
        let admin = std::fs::read_to_string(dir.path().join("admin.key")).unwrap();
        let admin = admin.trim().to_owned();
        let client = Client::builder().no_proxy().build().unwrap();
        let keys = Mutex::default();
        Self { client, ledger, server, admin, keys, follower, _dir: dir }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.local_addr())
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let mut request = self.client.request(method, self.url(path)).body(body);
        if !key.is_empty() {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_str(value).unwrap());
        }
        read(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(&self.admin, path).await
    }

    pub(crate) async fn get_as(&self, key: &str, path: &str) -> Answer {
        self.send(Method::GET, path, key, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_as(&self.admin, path, body).await
    }

    pub(crate) async fn post_as(&self, key: &str, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, key, &[JSON], body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send(Method::PUT, path, &self.admin, &[JSON], body.to_string()).await
    }

    /// The key of a role, made the first time; with `agent` for the role of the same name.
    pub(crate) async fn key(&self, role: &str, agent: Option<&str>) -> String {
        let name = format!("{role}-{}", agent.unwrap_or("key"));
        if let Some(key) = self.keys.lock().unwrap().get(&name) {
            return key.clone();
        }
        let body = json!({"credential": name, "role": role, "agent": agent});
        let made = self.post("/v1/credentials", body).await.done();
        let key = made["key"].as_str().unwrap().to_owned();
        self.keys.lock().unwrap().insert(name, key.clone());
        key
    }

    pub(crate) async fn delete_as(&self, key: &str, path: &str) -> Answer {
        self.send(Method::DELETE, path, key, &[], "").await
    }

    /// Alice, her agent `a1` that may do everything in `crm/`, and a policy that permits it just
    /// in time.
    pub(crate) async fn furnish(&self) {
        self.post("/v1/owners", json!({"owner": "alice"})).await.done();
        let agent = json!({
            "agent": "a1", "owner": "alice", "purpose": "support",
            "allowlist": [{"pattern": "crm/*"}],
        });
        self.post("/v1/agents", agent).await.done();
        let text = r#"@jit("true") permit (principal, action == Action::"crm/read_case",
            resource in Resource::"crm://case");"#;
        self.put("/v1/policies/read-cases", json!({"text": text})).await.done();
        self.post("/v1/policies/activate", json!({})).await.done();
    }

    pub(crate) async fn ask(&self, key: &str, body: &Value) -> Answer {
        self.send(Method::POST, EVALUATION, key, &[JSON], body.to_string()).await
    }

    /// Index after the last event.
    pub(crate) fn events(&self) -> u64 {
        self.ledger.health().next_index
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.follower.abort();
        if !std::thread::panicking() {
            let ledger = self.ledger.clone();
            // The test's own thread waits, so the follower that it drives stands still.
            let rows = std::thread::spawn(move || calls_after_revocation(&ledger)).join().unwrap();
            assert_eq!(rows, Vec::<Vec<Value>>::new(), "calls were allowed after a revocation");
        }
    }
}

/// Calls that a ledger allowed although a revocation before them covers them, whatever a test did.
fn calls_after_revocation(ledger: &Ledger) -> Vec<Vec<Value>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut entries, end) = (ledger.follow(0), ledger.health().next_index);
    let read = async {
        let (mut read, mut next) = (Vec::new(), 0);
        while next < end {
            let Ok(Some(entry)) = entries.next().await else { break };
            next = entry.events.last().map_or(next, |event| event.place.index + 1);
            read.push(entry);
        }
        read
    };
    let read = runtime.block_on(read);
    let mut events = read.iter().flat_map(|entry| &entry.events);
    if !events.any(|recorded| matches!(recorded.event.fact, Fact::RevocationIssued(_))) {
        return Vec::new();
    }
    let audit = Audit::new(Settings { threads: 1, at_once: 1 }).unwrap();
    for entry in &read {
        audit.ingest(entry.number, &entry.events).unwrap();
    }
    let named = Named::find("calls-after-revocation").unwrap();
    let limits = Limits { time: Duration::from_secs(60), ..Limits::INTERACTIVE };
    runtime.block_on(audit.run_named(named, &Parameters::new(), &limits)).unwrap().rows
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const EVALUATION: &str = "/access/v1/evaluation";

/// A question that the furnished house answers with yes.
pub(crate) fn question() -> Value {
    json!({
        "subject": {"type": "agent", "id": "a1"},
        "action": {"name": "crm/read_case"},
        "resource": {"type": "crm", "id": "crm://case/1234"},
        "context": {"effect": "read"},
    })
}

pub(crate) async fn read(response: Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.unwrap() }
}
