//! One revocation of one agent: asked, answered, lifted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bailiwick_client::Http;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::clock;
use super::super::stage::agent_name;
use super::gateways::is_of;

/// How long the server is to wait for everybody.
const TIMEOUT: &str = "10s";

/// A revocation and its answer, by the clock that all processes share.
#[derive(Debug)]
pub(super) struct Revocation {
    pub(super) agent: usize,
    /// Right before it was sent.
    pub(super) asked: u64,
    /// Right after the answer came.
    pub(super) answered: u64,
    /// Whether it was on the ledger by then.
    pub(super) durable: bool,
    pub(super) enforced: Enforced,
}

/// How the server tells who enforces it.
#[derive(Debug, Deserialize)]
pub(super) struct Enforced {
    pub(super) done: bool,
    pub(super) number: Option<u64>,
    /// Who may still act.
    pub(super) waiting: Vec<String>,
    points: Vec<Point>,
}

/// An enforcement point that cannot act against it any more.
#[derive(Debug, Deserialize)]
pub(super) struct Point {
    point: String,
    acknowledged: bool,
    milliseconds: u64,
}

impl Revocation {
    /// When the last point that acknowledged it did so, counted by the server.
    pub(super) fn last_acknowledgement(&self) -> Option<Duration> {
        let acknowledged = self.enforced.points.iter().filter(|point| point.acknowledged);
        acknowledged.map(|point| Duration::from_millis(point.milliseconds)).max()
    }

    /// What the answer said of a gateway: whether it acknowledged; none when it was not named.
    pub(super) fn named(&self, gateway: usize) -> Option<bool> {
        let named = self.enforced.points.iter().find(|named| is_of(&named.point, gateway));
        named.map(|named| named.acknowledged)
    }

    /// How many cannot act because their lease ran out.
    pub(super) fn expired(&self) -> usize {
        self.enforced.points.iter().filter(|point| !point.acknowledged).count()
    }
}

fn selector(agent: usize) -> Value {
    json!({"agent": agent_name(agent)})
}

/// Revokes everything of an agent and waits until nobody can act against it any more.
pub(super) async fn revoke(http: &Http, agent: usize, reason: &str) -> Result<Revocation> {
    let path = format!("/v1/revocations?wait=enforced&timeout={TIMEOUT}");
    let body = json!({"selector": selector(agent), "reason": reason});
    let asked = clock::now();
    let answer = http.post(&path, &body).await;
    let answered = clock::now();
    let answer = answer.with_context(|| format!("revoking {}", agent_name(agent)))?;
    let durable = answer.get("durable").and_then(Value::as_bool);
    let durable = durable.context("the server does not say whether it is durable")?;
    let enforced = answer.get("enforced").context("the server does not say who enforces it")?;
    let enforced = Enforced::deserialize(enforced).context("who enforces it is not understood")?;
    Ok(Revocation { agent, asked, answered, durable, enforced })
}

/// An agent that may act again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifted {
    /// Right before it was asked.
    pub(super) asked: u64,
    /// How long the server took to make it durable.
    pub(super) took: Duration,
}

/// Lifts the suspension that a revocation left.
pub(super) async fn lift(http: &Http, agent: usize) -> Result<Lifted> {
    let began = Instant::now();
    let asked = clock::now();
    let lifted = http.post("/v1/revocations/lift", &json!({"selector": selector(agent)})).await;
    lifted.with_context(|| format!("lifting the suspension of {}", agent_name(agent)))?;
    Ok(Lifted { asked, took: began.elapsed() })
}
