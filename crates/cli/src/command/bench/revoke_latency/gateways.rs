//! Real gateways, a process each, every one with an agent that calls and a server that remembers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::child::{self, Group};
use super::super::stage::{self, Stage};
use super::traffic::{Host, Pace, Tally};
use super::wait_until;

/// How long all of them may take until they are known to the server.
const KNOWN_MAX: Duration = Duration::from_secs(60);

/// One gateway with its agent.
#[derive(Debug)]
struct Gateway {
    group: Group,
    traffic: JoinHandle<Result<()>>,
    tally: Arc<Tally>,
}

/// All of them. Dropped, they are killed.
#[derive(Debug)]
pub(super) struct Gateways {
    all: Vec<Gateway>,
    pace: watch::Sender<Pace>,
}

/// How a gateway is called; the id of each of its lives begins with it.
fn point_name(number: usize) -> String {
    format!("gateway-{number}")
}

/// Whether an enforcement point is a life of that gateway.
pub(super) fn is_of(point: &str, number: usize) -> bool {
    point.strip_prefix(&point_name(number)).is_some_and(|life| life.starts_with('-'))
}

impl Gateways {
    /// Starts so many and waits until the server knows them all. Agents call `every` so long once
    /// they may. Must be called within the runtime that is to drive them.
    pub(super) async fn open(enforcer: Arc<Asked>, count: usize, every: Duration) -> Result<Self> {
        let (pace, paces) = watch::channel(Pace::Wait);
        let open = (0..count).map(|number| {
            let (asked, paces) = (Arc::clone(&enforcer), paces.clone());
            async move {
                let gateway = open(&asked, number, every, paces).await;
                gateway.with_context(|| point_name(number))
            }
        });
        let all = futures::future::try_join_all(open).await?;
        Ok(Self { all, pace })
    }

    /// Waits until the server counts all of them among those who may act.
    pub(super) async fn are_known(&self, stage: &Stage) -> Result<()> {
        let count = self.all.len();
        wait_until("every gateway is known to the server", KNOWN_MAX, async || {
            let page = stage.http.get("/v1/enforcement-points", &[("limit", "1000")]).await?;
            let known = page["items"].as_array().into_iter().flatten();
            let live = known
                .filter(|point| point["live"] == Value::Bool(true) && point["applied"].is_u64());
            Ok(live.count() >= count)
        })
        .await
    }

    pub(super) const fn count(&self) -> usize {
        self.all.len()
    }

    /// Lets the agents call.
    pub(super) fn go(&self) {
        self.pace.send_replace(Pace::Go);
    }

    /// Sends one gateway's process a signal; its server and its agent do not get it.
    pub(super) fn signal(&self, number: usize, signal: Signal) -> Result<()> {
        self.all[number].group.signal(signal)
    }

    /// What came of the calls, by agent.
    pub(super) fn tallies(&self) -> impl Iterator<Item = &Tally> {
        self.all.iter().map(|gateway| &*gateway.tally)
    }

    /// # Errors
    /// When one of them has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        for (number, gateway) in self.all.iter_mut().enumerate() {
            gateway.group.check().with_context(|| point_name(number))?;
        }
        Ok(())
    }

    /// Ends them in order: the agents leave, upon which gateways and servers end.
    pub(super) async fn close(self) -> Result<()> {
        self.pace.send_replace(Pace::Stop);
        for (number, gateway) in self.all.into_iter().enumerate() {
            let Gateway { group, traffic, .. } = gateway;
            group.end().await.with_context(|| point_name(number))?;
            traffic.await?.with_context(|| point_name(number))?;
        }
        Ok(())
    }
}

/// What a gateway is told.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) url: String,
    pub(super) key: String,
    pub(super) directory: std::path::PathBuf,
    pub(super) tools: std::path::PathBuf,
    pub(super) uses: std::path::PathBuf,
}

impl Asked {
    pub(super) fn of(stage: &Stage, uses: &Path) -> Self {
        Self {
            url: stage.http.url().to_owned(),
            key: stage.enforcer.clone(),
            directory: stage.directory().to_owned(),
            tools: stage.tools(),
            uses: uses.to_owned(),
        }
    }
}

async fn open(
    asked: &Asked,
    number: usize,
    every: Duration,
    pace: watch::Receiver<Pace>,
) -> Result<Gateway> {
    let own = std::env::current_exe().context("this executable cannot be found")?;
    let mut command = child::own(&asked.directory)?;
    command
        .env("BAILIWICK_URL", &asked.url)
        .env("BAILIWICK_KEY", &asked.key)
        .args(["gateway", "--stdio", "--point", &point_name(number), "--agent"])
        .arg(stage::agent_name(number))
        .arg("--tools")
        .arg(&asked.tools)
        .arg("--")
        .arg(own)
        .args(["bench", "upstream", "--agent", &number.to_string(), "--uses"])
        .arg(&asked.uses);
    let (group, to, from) = Group::spawn(command)?;
    let host = Host::open(to, from).await?;
    let tally = Arc::<Tally>::default();
    let traffic = tokio::spawn(host.call(number, every, Arc::clone(&tally), pace));
    Ok(Gateway { group, traffic, tally })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_belongs_to_its_gateway_alone() {
        assert!(is_of("gateway-1-0011aabb", 1));
        assert!(!is_of("gateway-11-0011aabb", 1) && !is_of("gateway-1", 1));
    }
}
