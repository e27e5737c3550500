//! An agent that calls its tool again and again through its gateway, and counts what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

const PROTOCOL: &str = "2025-11-25";
/// Calls of one agent that may wait for an answer at once.
const IN_FLIGHT_MAX: u64 = 16;
/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(30);
/// Under this key a gateway says what was decided.
const DECISION: &str = bailiwick_gateway::denial::META;

/// What the agents are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Wait.
    Wait,
    /// Call.
    Go,
    /// Leave.
    Stop,
}

/// What came of the calls of one agent, or of several.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: AtomicU64,
    pub(super) allowed: AtomicU64,
    pub(super) denied: AtomicU64,
    /// Stopped while they ran.
    pub(super) cut: AtomicU64,
    /// Nobody could decide, or nobody in time.
    pub(super) undecided: AtomicU64,
    /// Not made, because too many were waiting for an answer.
    pub(super) held_back: AtomicU64,
    in_flight: AtomicU64,
}

pub(super) fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

/// An agent's host: its two ends of the gateway.
#[derive(Debug)]
pub(super) struct Host {
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Host {
    /// Shakes hands and looks at the tools.
    pub(super) async fn open(to: ChildStdin, from: ChildStdout) -> Result<Self> {
        let mut host = Self { to, from: BufReader::new(from).lines() };
        let hands = async {
            let hello = json!({
                "protocolVersion": PROTOCOL, "capabilities": {},
                "clientInfo": {"name": "bailiwick-bench", "version": env!("CARGO_PKG_VERSION")},
            });
            host.ask(1, "initialize", &hello).await?;
            host.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
            host.ask(2, "tools/list", &json!({})).await
        };
        let shaken = tokio::time::timeout(HANDSHAKE_MAX, hands).await;
        shaken.context("a gateway does not answer")??;
        Ok(host)
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        let line = format!("{message}\n");
        self.to.write_all(line.as_bytes()).await.context("a gateway takes nothing")
    }

    async fn ask(&mut self, id: u64, method: &str, params: &Value) -> Result<()> {
        let asked = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(&asked).await?;
        while let Some(line) = self.from.next_line().await? {
            let message: Value = serde_json::from_str(&line)?;
            if message.get("id").and_then(Value::as_u64) == Some(id) {
                anyhow::ensure!(message.get("result").is_some(), "`{method}`: {message}");
                return Ok(());
            }
        }
        bail!("a gateway has ended")
    }

    /// Calls once `every` so long, whatever the answers do, until the pace says to stop.
    pub(super) async fn call(
        self,
        case: usize,
        every: Duration,
        tally: Arc<Tally>,
        pace: watch::Receiver<Pace>,
    ) -> Result<()> {
        let Self { to, from } = self;
        let heard = Arc::clone(&tally);
        let calls = calls(to, case, every, tally, pace);
        tokio::try_join!(calls, listen(from, heard)).map(|_| ())
    }
}

async fn calls(
    mut to: ChildStdin,
    case: usize,
    every: Duration,
    tally: Arc<Tally>,
    mut pace: watch::Receiver<Pace>,
) -> Result<()> {
    let mut stops = pace.clone();
    let calling = async {
        pace.wait_for(|pace| *pace == Pace::Go).await?;
        // So that agents do not call all at once.
        tokio::time::sleep(every.mul_f64(rand::random())).await;
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for id in 3_u64.. {
            tick.tick().await;
            if read(&tally.in_flight) >= IN_FLIGHT_MAX {
                more(&tally.held_back);
                continue;
            }
            let line = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\
                 \"params\":{{\"name\":\"use\",\"arguments\":{{\"case\":\"{case}\"}}}}}}\n"
            );
            more(&tally.in_flight);
            more(&tally.sent);
            to.write_all(line.as_bytes()).await.context("a gateway takes nothing")?;
        }
        Ok(())
    };
    tokio::select! {
        called = calling => called,
        // Closing the agent's side ends the gateway.
        _ = stops.wait_for(|pace| *pace == Pace::Stop) => Ok(()),
    }
}

async fn listen(mut from: Lines<BufReader<ChildStdout>>, tally: Arc<Tally>) -> Result<()> {
    while let Some(line) = from.next_line().await? {
        let Some(came) = came_of(&line) else { continue };
        more(match came {
            Came::Allowed => &tally.allowed,
            Came::Denied => &tally.denied,
            Came::Cut => &tally.cut,
            Came::Undecided => &tally.undecided,
        });
        tally.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    Allowed,
    Denied,
    Cut,
    Undecided,
}

/// What an answer says became of its call; none when it is no answer.
fn came_of(line: &str) -> Option<Came> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(default)]
        id: Option<u64>,
        #[serde(borrow, default)]
        result: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = serde_json::from_str(line).ok()?;
    answer.id?;
    let Some(result) = answer.result.map(RawValue::get) else { return Some(Came::Undecided) };
    if !result.contains(DECISION) {
        return Some(Came::Allowed);
    }
    let cut = result.contains(r#""outcome":"cut""#);
    Some(if cut { Came::Cut } else { Came::Denied })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let decided = |outcome: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":4,"result":{{"isError":true,"_meta":{{"{DECISION}":{{"reason_code":"suspended"{outcome}}}}}}}}}"#
            )
        };
        for (line, expected) in [
            (r#"{"jsonrpc":"2.0","id":4,"result":{"content":[]}}"#.to_owned(), Some(Came::Allowed)),
            (decided(""), Some(Came::Denied)),
            (decided(r#","outcome":"cut""#), Some(Came::Cut)),
            (
                r#"{"jsonrpc":"2.0","id":4,"error":{"code":-32603}}"#.to_owned(),
                Some(Came::Undecided),
            ),
            (r#"{"jsonrpc":"2.0","method":"notifications/x"}"#.to_owned(), None),
        ] {
            assert_eq!(came_of(&line), expected, "{line}");
        }
    }
}
