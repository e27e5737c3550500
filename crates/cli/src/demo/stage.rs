//! The scene: a ledger with its server, one owner, two agents, five policies.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bailiwick_client::Http;
use bailiwick_client::discover::{Sources, discover};
use bailiwick_client::http::path;
use bailiwick_ledger::log::jetstream;
use bailiwick_ledger::{Config as LedgerConfig, Store, home};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exit::usage;
use crate::service::Service;
use crate::{args, config};

pub(super) const OWNER: &str = "alice@example.com";
pub(super) const AGENT: &str = "support-bot";
pub(super) const TRIAGE: &str = "triage-bot";

const POLICIES: [(&str, &str); 5] = [
    ("alice", include_str!("alice.cedar")),
    ("support-reads-cases", include_str!("support-reads-cases.cedar")),
    ("support-writes-one-record", include_str!("support-writes-one-record.cedar")),
    ("support-fetches-objects", include_str!("support-fetches-objects.cedar")),
    ("triage-reads-cases", include_str!("triage-reads-cases.cedar")),
];

/// Everything that runs while the story does.
pub(super) struct Stage {
    service: Service,
    home: PathBuf,
    kept: bool,
    stream: Option<jetstream::Config>,
    pub(super) http: Http,
    /// The key with which gateways ask.
    enforcer: String,
    work: TempDir,
    tools: PathBuf,
}

impl Stage {
    /// Starts the server and registers who and what there is.
    pub(super) fn set(args: &args::Demo) -> Result<Self> {
        let work = tempfile::tempdir().context("a temporary directory cannot be made")?;
        let home = match &args.data {
            Some(dir) => std::path::absolute(dir)?,
            None => work.path().join("ledger"),
        };
        if home::log_dir(&home).exists() || home::anchor_dir(&home).exists() {
            let home = home.display();
            return Err(usage(format!("`{home}` holds a ledger already; name another directory")));
        }
        let tools = work.path().join("tools.toml");
        fs::write(&tools, bailiwick_gateway::demo_server::TOOLS)?;
        let config = configured(args, home.clone())?;
        let stream = match &config.ledger.store {
            Store::Embedded => None,
            Store::JetStream(stream) => Some(stream.clone()),
        };
        let service = Service::start(&config)?;
        let http = discover(&Sources { url: None, key: None, data: home.clone() })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let enforcer = runtime.block_on(populate(&http))?;
        // Connections belong to the runtime that made them.
        let http = discover(&Sources { url: None, key: None, data: home.clone() })?;
        let kept = args.data.is_some();
        Ok(Self { service, home, kept, stream, http, enforcer, work, tools })
    }

    pub(super) fn url(&self) -> &str {
        self.service.url()
    }

    /// Where the ledger is, for people.
    pub(super) fn place(&self) -> String {
        match (&self.stream, self.kept) {
            (Some(stream), _) => format!("NATS JetStream, stream {}", stream.name.stream()),
            (None, true) => self.home.display().to_string(),
            (None, false) => "on disk, in a directory that goes away with the demo".to_owned(),
        }
    }

    pub(super) fn tools(&self) -> &Path {
        &self.tools
    }

    pub(super) fn work(&self) -> &Path {
        self.work.path()
    }

    /// What a gateway is told: where to ask, and with which key.
    pub(super) fn environment(&self) -> [(&'static str, &str); 2] {
        [("BAILIWICK_URL", self.url()), ("BAILIWICK_KEY", &self.enforcer)]
    }

    /// Opens a task.
    pub(super) async fn task(&self, agent: &str, statement: &str, target: &str) -> Result<String> {
        let body = json!({"agent": agent, "statement": statement, "targets": [target]});
        id(&self.http.post("/v1/tasks", &body).await?)
    }

    /// Asks the record.
    pub(super) async fn sql(&self, sql: &str) -> Result<bailiwick_audit::Table> {
        crate::command::answer(self.http.post("/v1/sql", &json!({"sql": sql})).await?)
    }

    /// Stops everything. Where the ledger is, and whether it stays; a temporary one outlives this
    /// only while it is looked at, in `Struck`.
    pub(super) fn strike(self, wait: bool) -> Result<Struck> {
        let Self { service, home, kept, stream, work, .. } = self;
        let stopped = service.stop();
        if wait {
            stopped?;
        }
        Ok(Struck { home, kept, stream, _work: work })
    }
}

/// What is left of a stage.
pub(super) struct Struck {
    pub(super) home: PathBuf,
    pub(super) kept: bool,
    pub(super) stream: Option<jetstream::Config>,
    _work: TempDir,
}

fn configured(args: &args::Demo, home: PathBuf) -> Result<config::Serve> {
    // On NATS each demo has a ledger of its own.
    let name: jetstream::Name = match &args.nats {
        None => "demo".parse()?,
        Some(_) => format!("demo-{:08x}", rand::random::<u32>()).parse()?,
    };
    let store = match &args.nats {
        None => Store::Embedded,
        Some(url) => Store::JetStream(jetstream::Config {
            url: url.clone(),
            name: name.clone(),
            replicas: 1,
            credentials: None,
            root_certificates: None,
        }),
    };
    let archive = config::Archive::within(&home);
    Ok(config::Serve {
        ledger: LedgerConfig {
            home,
            store,
            name,
            trust_head: false,
            trust_clock: false,
            linger: Duration::from_millis(1),
        },
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        pg_listen: None,
        tls: None,
        allow_plain: false,
        public_url: None,
        issuers: Vec::new(),
        archive: Some(archive),
        sql: config::Sql::default(),
        checkpoint_every: None,
        bench: false,
    })
}

/// Registers everybody, puts the policies in force, and makes the gateways' key.
async fn populate(http: &Http) -> Result<String> {
    http.post("/v1/owners", &json!({"owner": OWNER})).await?;
    let allow = |patterns: &[&str]| -> Vec<Value> {
        patterns.iter().map(|pattern| json!({"pattern": pattern})).collect()
    };
    let support = ["crm/read_case", "tickets/write_ticket", "objects/sign", "objects/download"];
    for (agent, purpose, patterns) in [
        (AGENT, "answers support cases", &support[..]),
        (TRIAGE, "sorts new support cases", &["crm/read_case"][..]),
    ] {
        let body = json!({
            "agent": agent, "owner": OWNER, "purpose": purpose, "allowlist": allow(patterns),
        });
        http.post("/v1/agents", &body).await?;
    }
    for (id, text) in POLICIES {
        http.put(&path(["v1", "policies", id]), &json!({"text": text})).await?;
    }
    http.post("/v1/policies/activate", &json!({})).await?;
    let body = json!({"credential": "gateways", "role": "enforcer"});
    let issued = http.post("/v1/credentials", &body).await?;
    let key = issued.get("key").and_then(Value::as_str).context("no key was issued")?;
    Ok(key.to_owned())
}

/// The id in the answer to a command.
pub(super) fn id(answer: &Value) -> Result<String> {
    let id = answer.get("id").and_then(Value::as_str).context("the answer names no id")?;
    Ok(id.to_owned())
}

#[cfg(test)]
mod tests {
    use bailiwick_core::id::PolicyId;
    use bailiwick_core::policy::check_one;

    #[test]
    fn every_policy_of_the_demo_is_valid() {
        for (id, text) in super::POLICIES {
            check_one(&PolicyId::new(id).unwrap(), text).unwrap();
        }
    }
}
