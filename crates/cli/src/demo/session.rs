//! An MCP client over standard streams, as an agent's host is one: it starts the gateway where it
//! would have started the server, and speaks JSON-RPC lines with it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::stage::Stage;

const PROTOCOL: &str = "2025-11-25";
/// Where a client says why it calls, and where the gateway says what was decided.
const JUSTIFICATION: &str = bailiwick_gateway::pipeline::JUSTIFICATION;
const DECISION: &str = bailiwick_gateway::denial::META;
/// How long any answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// One agent's session.
pub(super) struct Session {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    last_id: u64,
}

/// A call and what came of it.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) tool: String,
    pub(super) arguments: Value,
    /// The refusal's code, if it was refused.
    pub(super) code: Option<String>,
    /// Index of the event that records a denial.
    pub(super) index: Option<u64>,
    /// Whether the tool itself failed.
    pub(super) failed: bool,
    /// What the agent's model reads.
    pub(super) text: String,
    pub(super) ms: f64,
}

impl Called {
    pub(super) fn is_allowed(&self) -> bool {
        self.code.is_none()
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_allowed() && !self.failed
    }

    pub(super) fn is_denied(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl Session {
    /// Starts the gateway for `agent` in front of a demo server and shakes hands.
    pub(super) async fn open(stage: &Stage, agent: &str, task: &str) -> Result<Self> {
        let own = std::env::current_exe().context("this executable cannot be found")?;
        let mut command = Command::new(&own);
        command
            .args(["gateway", "--stdio", "--agent", agent, "--task", task, "--tools"])
            .arg(stage.tools())
            .arg("--")
            .arg(&own)
            .arg("demo-server")
            // Nothing of who runs the demo reaches the gateway but where the server is.
            .envs(stage.environment())
            .env_remove("BAILIWICK_DATA")
            .env_remove("BAILIWICK_CONFIG")
            .env("BAILIWICK_LOG", "error")
            .current_dir(stage.work())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().context("the gateway cannot be started")?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the gateway has no streams");
        };
        let mut session = Self { child, to, from: BufReader::new(from).lines(), last_id: 0 };
        let hello = json!({
            "protocolVersion": PROTOCOL, "capabilities": {},
            "clientInfo": {"name": "bailiwick-demo", "version": env!("CARGO_PKG_VERSION")},
        });
        session.request("initialize", hello).await?;
        session.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(session)
    }

    /// The names of the tools that the session offers.
    pub(super) async fn tools(&mut self) -> Result<Vec<String>> {
        let answer = self.request("tools/list", json!({})).await?;
        let tools = answer.pointer("/result/tools").and_then(Value::as_array);
        let name = |tool: &Value| tool.get("name")?.as_str().map(str::to_owned);
        Ok(tools.into_iter().flatten().filter_map(name).collect())
    }

    /// Calls a tool and says why.
    pub(super) async fn call(&mut self, tool: &str, arguments: Value, why: &str) -> Result<Called> {
        let began = Instant::now();
        let params = json!({"name": tool, "arguments": arguments, "_meta": {JUSTIFICATION: why}});
        let answer = self.request("tools/call", params).await?;
        let ms = began.elapsed().as_secs_f64() * 1_000.0;
        let none = Value::Null;
        let result = answer.get("result").unwrap_or(&none);
        let meta = result.get("_meta").or_else(|| answer.pointer("/error/data"));
        let decision = meta.and_then(|meta| meta.get(DECISION)).unwrap_or(&none);
        let text = result.pointer("/content/0/text").or_else(|| answer.pointer("/error/message"));
        let code = decision.get("reason_code").and_then(Value::as_str).map(str::to_owned);
        let is_error = result.get("isError").and_then(Value::as_bool);
        Ok(Called {
            tool: tool.to_owned(),
            arguments,
            code,
            index: decision.pointer("/receipt/index").and_then(Value::as_u64),
            failed: is_error == Some(true) || answer.get("error").is_some(),
            text: text.and_then(Value::as_str).unwrap_or_default().to_owned(),
            ms,
        })
    }

    /// Closes the agent's side, upon which the gateway ends its server, its task and itself.
    pub(super) async fn close(self) -> Result<()> {
        let Self { mut child, to, .. } = self;
        drop(to);
        let ended = tokio::time::timeout(ANSWER_MAX, child.wait()).await;
        let status = ended.context("the gateway does not end")??;
        anyhow::ensure!(status.success(), "the gateway ended badly: {status}");
        Ok(())
    }

    async fn request(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await?;
        let answer = tokio::time::timeout(ANSWER_MAX, self.answer(id)).await;
        answer.with_context(|| format!("`{method}` was not answered in time"))?
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let line = format!("{message}\n");
        self.to.write_all(line.as_bytes()).await.context("the gateway takes nothing")?;
        self.to.flush().await.context("the gateway takes nothing")
    }

    async fn answer(&mut self, id: u64) -> Result<Value> {
        while let Some(line) = self.from.next_line().await? {
            let message: Value =
                serde_json::from_str(&line).context("the gateway speaks no JSON")?;
            if message.get("id").and_then(Value::as_u64) == Some(id) {
                return Ok(message);
            }
        }
        bail!("the gateway has ended")
    }
}
