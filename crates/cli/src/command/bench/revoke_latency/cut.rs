//! The server's link to its log passes nothing for a while, and agents lose everything meanwhile.

use std::time::Duration;

use anyhow::Result;
use bailiwick_core::enforce::BOUND;
use serde_json::{Value, json};

use super::super::clock;
use super::super::stage::agent_name;
use super::relay::{Passing, Relay};
use super::revocation::{Revocation, lift, revoke};
use super::uses::Uses;
use super::{Scene, recovered, wait_until};
use crate::command::online::Desk;

/// How long the link passes nothing.
const CUT_OFF: Duration = Duration::from_secs(5);
/// How long the ledger may take to have everything when the link is back.
const DURABLE_MAX: Duration = Duration::from_secs(30);

/// Whoever worked so short a time before the cut, in nanoseconds, had a lease that had to run out.
const WORKED: u64 = 250_000_000;

/// What happened.
#[derive(Debug)]
pub(super) struct CutOff {
    passing: Passing,
    revocations: Vec<Revocation>,
    /// When the link was cut, when it was opened again, and when the first suspension was lifted.
    cut: u64,
    opened: u64,
    lifted: u64,
    agents: usize,
    /// From the opening until the last of the revocations was on the ledger.
    durable: Duration,
    recovered: Duration,
    violations: Vec<String>,
}

/// Cuts the link, revokes the chosen agents, and opens it again.
pub(super) async fn cut(
    scene: &Scene,
    relay: &Relay,
    passing: Passing,
    chosen: &[usize],
) -> Result<CutOff> {
    let reason = format!("while the log was away: {passing:?}");
    relay.pass(passing);
    let cut = clock::now();
    let revoked = chosen.iter().map(|agent| revoke(&scene.stage.http, *agent, &reason));
    let opening = async {
        tokio::time::sleep(CUT_OFF).await;
        let opened = clock::now();
        relay.pass(Passing::All);
        Ok(opened)
    };
    let (revocations, opened) = tokio::try_join!(futures::future::try_join_all(revoked), opening)?;
    wait_until("the revocations are on the ledger", DURABLE_MAX, async || {
        Ok(recorded(scene, &reason).await? >= chosen.len())
    })
    .await?;
    let durable = clock::between(opened, clock::now());
    let lifted = clock::now();
    for agent in chosen {
        lift(&scene.stage.http, *agent).await?;
    }
    let everyone: Vec<usize> = (0..scene.gateways.count()).collect();
    let recovered = recovered(scene, lifted, &everyone).await?;
    scene.clock.check()?;
    let violations = revocations.iter().flat_map(|one| misstated(one, opened)).collect();
    let agents = everyone.len();
    Ok(CutOff { passing, revocations, cut, opened, lifted, agents, durable, recovered, violations })
}

/// How many different agents have a revocation for this reason on the ledger.
async fn recorded(scene: &Scene, reason: &str) -> Result<usize> {
    let desk = Desk { http: scene.stage.http.clone(), json: false };
    let mut agents = std::collections::BTreeSet::new();
    desk.pages("/v1/revocations", &[], |page| {
        let ours = page.iter().filter(|item| item["reason"].as_str() == Some(reason));
        agents
            .extend(ours.filter_map(|item| item["selector"]["agent"].as_str().map(str::to_owned)));
        Ok(true)
    })
    .await?;
    Ok(agents.len())
}

/// What is not so of an answer: it must come while the log is away, when nothing can be written.
fn misstated(revocation: &Revocation, opened: u64) -> Vec<String> {
    let agent = agent_name(revocation.agent);
    if revocation.answered >= opened {
        return vec![format!("{agent}: the answer came only when the log was back")];
    }
    let mut wrong = Vec::new();
    if revocation.durable || revocation.enforced.number.is_some() {
        wrong.push(format!("{agent}: on the ledger, although the log was away"));
    }
    if !revocation.enforced.waiting.is_empty() {
        wrong.push(format!("{agent}: not every lease ran out in time"));
    }
    if revocation.enforced.done {
        wrong.push(format!("{agent}: done, although another writer could have the ledger"));
    }
    wrong
}

impl CutOff {
    /// The variant's name.
    pub(super) const fn name(&self) -> &'static str {
        match self.passing {
            Passing::All => "open",
            Passing::Nothing => "silent",
            Passing::Closed => "closed",
        }
    }

    /// What the uses say about it, and everything that is not as it must be.
    pub(super) fn told(mut self, uses: &Uses) -> (Value, Vec<String>) {
        let bound = BOUND.0 * 1_000_000;
        let mut last_use = None;
        for agent in 0..self.agents {
            let last = uses.within(agent, self.cut, self.opened).last();
            last_use = last_use.max(last.map(|last| last - self.cut));
            let late = uses.within(agent, self.cut + bound, self.opened).len();
            if late > 0 {
                let what = format!("agent {agent} used its tool {late} times behind the bound");
                self.violations.push(what);
            }
        }
        let mut after_enforced = 0;
        for revocation in &self.revocations {
            let Revocation { agent, answered, .. } = revocation;
            after_enforced += uses.within(*agent, *answered, self.lifted).len();
            self.violations.extend((0..self.agents).filter_map(|gateway| {
                let name = agent_name(*agent);
                let worked = !uses.within(gateway, self.cut - WORKED, self.cut).is_empty();
                match revocation.named(gateway) {
                    Some(true) => Some(format!("{name}: gateway {gateway} heard of it")),
                    None if worked => Some(format!("{name}: gateway {gateway} is not named")),
                    Some(false) | None => None,
                }
            }));
        }
        if after_enforced > 0 {
            let what = format!("{after_enforced} uses by revoked agents after `enforced`");
            self.violations.push(what);
        }
        let answered = self.revocations.iter().map(|one| clock::between(one.asked, one.answered));
        let told = json!({
            "cut_off_ms": CUT_OFF.as_millis() as u64,
            "bound_ms": BOUND.0,
            "revocations": self.revocations.len(),
            "last_use_ms": last_use.map(|after| after as f64 / 1e6),
            "enforced_ms": answered.max().map(|took| took.as_secs_f64() * 1e3),
            "named_expired": self.revocations.iter().map(Revocation::expired).min(),
            "uses_after_enforced": after_enforced,
            "durable_ms_after_return": self.durable.as_secs_f64() * 1e3,
            "recovered_ms_after_lift": self.recovered.as_secs_f64() * 1e3,
        });
        (told, self.violations)
    }
}
