//! A real server in a process of its own, with agents on it, for benchmarks that measure between
//! processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bailiwick_client::Http;
use bailiwick_client::http::path;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::ChildStdin;

use super::child::{self, Group};

/// What the agents' gateways are told about the one tool that there is.
const TOOLS: &str = r#"[server]
name = "bench"

[tools.use]
action = "bench/use"
resource = "bench://case/{case}"
effect = "read"
disclosed = ["case"]
"#;
const POLICY: &str = r#"@jit("true") @ttl("1h") @max_uses("1000000")
permit (principal, action == Action::"bench/use", resource in Resource::"bench://case")
when { context.effect == "read" };"#;
/// How long a server may take until it listens.
const START_MAX: Duration = Duration::from_secs(60);

pub(super) fn agent_name(number: usize) -> String {
    format!("agent-{number}")
}

/// A server, what its clients need, and a directory that goes away with it.
#[derive(Debug)]
pub(super) struct Stage {
    server: Group,
    /// Held open: a server whose input ends is left alone, but a pipe's end costs nothing to keep.
    _to: ChildStdin,
    /// With the admin key.
    pub(super) http: Http,
    /// The key with which gateways ask.
    pub(super) enforcer: String,
    work: TempDir,
}

impl Stage {
    /// Starts a server, on JetStream at `nats` if given, and registers so many agents.
    pub(super) async fn set(nats: Option<&str>, agents: usize) -> Result<Self> {
        let work = tempfile::tempdir().context("a temporary directory cannot be made")?;
        let mut command = child::own(work.path())?;
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--data", "ledger"]);
        if let Some(url) = nats {
            let name = format!("bench-{:08x}", rand::random::<u32>());
            command.args(["--nats", url, "--name", &name]);
        }
        let (server, to, from) = Group::spawn(command)?;
        let mut lines = BufReader::new(from).lines();
        let told = tokio::time::timeout(START_MAX, lines.next_line()).await;
        let told = told.context("the server does not start")??;
        let told: Value = serde_json::from_str(&told.context("the server did not start")?)?;
        let url = told["url"].as_str().context("the server names no address")?;
        let key = told["admin_key"].as_str().context("the server names no key")?;
        let key =
            std::fs::read_to_string(work.path().join(key)).context("there is no admin key")?;
        let http = Http::new(url, Some(key.trim()))?;
        let enforcer = furnish(&http, agents).await?;
        std::fs::write(work.path().join("tools.toml"), TOOLS)?;
        Ok(Self { server, _to: to, http, enforcer, work })
    }

    /// The mapping of the agents' tool.
    pub(super) fn tools(&self) -> PathBuf {
        self.work.path().join("tools.toml")
    }

    /// Where files may be put that go away with the stage.
    pub(super) fn directory(&self) -> &Path {
        self.work.path()
    }

    /// The server's process.
    pub(super) const fn pid(&self) -> Pid {
        self.server.pid()
    }

    /// # Errors
    /// When the server has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        self.server.check().context("the server is gone")
    }

    /// Ends the server in order.
    pub(super) async fn strike(self) -> Result<()> {
        self.server.signal(Signal::TERM)?;
        self.server.end().await.context("the server")
    }
}

/// Registers everybody and makes the gateways' key.
async fn furnish(http: &Http, agents: usize) -> Result<String> {
    const OWNER: &str = "alice@example.com";
    http.post("/v1/owners", &json!({"owner": OWNER})).await?;
    http.put(&path(["v1", "policies", "cases"]), &json!({"text": POLICY})).await?;
    http.post("/v1/policies/activate", &json!({})).await?;
    let register = async |number: usize| {
        let body = json!({
            "agent": agent_name(number), "owner": OWNER, "purpose": "works on cases",
            "allowlist": [{"pattern": "bench/*"}],
        });
        http.post("/v1/agents", &body).await
    };
    futures::future::try_join_all((0..agents).map(register)).await?;
    let body = json!({"credential": "gateways", "role": "enforcer"});
    let issued = http.post("/v1/credentials", &body).await?;
    let key = issued.get("key").and_then(Value::as_str).context("no key was issued")?;
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use bailiwick_core::id::PolicyId;
    use bailiwick_core::policy::check_one;
    use bailiwick_gateway::catalog::Hints;
    use bailiwick_gateway::mapping::Mapping;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn the_stage_is_what_it_names() {
        check_one(&PolicyId::new("cases").unwrap(), POLICY).unwrap();
        let mapping = Mapping::parse(TOOLS, None, Path::new("/")).unwrap();
        let arguments = RawValue::from_string(r#"{"case":"7"}"#.to_owned()).unwrap();
        let mapped = mapping.resolve("use", Some(&arguments), Hints::default()).unwrap();
        assert_eq!(
            (mapped.action.as_str(), mapped.resource.as_str()),
            ("bench/use", "bench://case/7")
        );
        assert!(POLICY.contains(mapped.action.as_str()));
    }
}
