//! Gateways that are stopped while their agents lose everything, and wake up later with all that
//! was buffered in the meantime.

use std::time::Duration;

use anyhow::Result;
use bailiwick_core::enforce::BOUND;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::clock;
use super::super::stage::agent_name;
use super::revocation::{Revocation, lift, revoke};
use super::uses::Uses;
use super::{Scene, recovered};

/// How long they are stopped.
const STOPPED: Duration = Duration::from_secs(5);
/// How long they have with what was buffered before their agents are let go again.
const AWAKE: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Debug)]
pub(super) struct Paused {
    revocations: Vec<Revocation>,
    /// When the gateways went on, and when the first suspension was lifted.
    woken: u64,
    lifted: u64,
    recovered: Duration,
    violations: Vec<String>,
}

/// Stops so many gateways, revokes their agents, lets them go on.
pub(super) async fn pause(scene: &Scene, chosen: &[usize]) -> Result<Paused> {
    for number in chosen {
        scene.gateways.signal(*number, Signal::STOP)?;
    }
    let revoked = chosen.iter().map(|agent| revoke(&scene.stage.http, *agent, "paused"));
    let waking = async {
        tokio::time::sleep(STOPPED).await;
        let woken = clock::now();
        for number in chosen {
            scene.gateways.signal(*number, Signal::CONT)?;
        }
        Ok(woken)
    };
    let (revocations, woken) = tokio::try_join!(futures::future::try_join_all(revoked), waking)?;
    tokio::time::sleep(AWAKE).await;
    let lifted = clock::now();
    for agent in chosen {
        lift(&scene.stage.http, *agent).await?;
    }
    let recovered = recovered(scene, lifted, chosen).await?;
    scene.clock.check()?;
    let violations = revocations.iter().flat_map(|one| misnamed(one, chosen, woken)).collect();
    Ok(Paused { revocations, woken, lifted, recovered, violations })
}

/// What is not so of an answer: it must come while they are stopped, so none of them can have
/// acknowledged, and each worked until a moment before.
fn misnamed(revocation: &Revocation, stopped: &[usize], woken: u64) -> Vec<String> {
    let agent = agent_name(revocation.agent);
    if revocation.answered >= woken {
        return vec![format!("{agent}: the answer came only when its gateway went on")];
    }
    let mut wrong = Vec::new();
    if !revocation.enforced.done || !revocation.durable {
        wrong.push(format!("{agent}: not enforced in time"));
    }
    for gateway in stopped {
        match revocation.named(*gateway) {
            Some(false) => {}
            Some(true) => wrong.push(format!("{agent}: stopped gateway {gateway} acknowledged")),
            None => wrong.push(format!("{agent}: stopped gateway {gateway} is not named")),
        }
    }
    wrong
}

impl Paused {
    /// What the uses say about it, and everything that is not as it must be.
    pub(super) fn told(mut self, uses: &Uses) -> (Value, Vec<String>) {
        let bound = BOUND.0 * 1_000_000;
        let mut last_use = None;
        let (mut after_enforced, mut since_woken) = (0, 0);
        for Revocation { agent, asked, answered, .. } in &self.revocations {
            let last = uses.within(*agent, *asked, self.lifted).last();
            last_use = last_use.max(last.map(|last| last - asked));
            after_enforced += uses.within(*agent, *answered, self.lifted).len();
            since_woken += uses.within(*agent, self.woken, self.lifted).len();
            if let Some(late) = last.filter(|last| **last > asked + bound) {
                self.violations.push(format!(
                    "agent {agent} used its tool {:?} after it was revoked",
                    clock::between(*asked, *late)
                ));
            }
        }
        if after_enforced > 0 {
            let what = format!("{after_enforced} uses behind paused gateways after `enforced`");
            self.violations.push(what);
        }
        let answered = self.revocations.iter().map(|one| clock::between(one.asked, one.answered));
        let told = json!({
            "gateways": self.revocations.len(),
            "stopped_ms": STOPPED.as_millis() as u64,
            "bound_ms": BOUND.0,
            "last_use_ms": last_use.map(|after| after as f64 / 1e6),
            "enforced_ms": answered.max().map(|took| took.as_secs_f64() * 1e3),
            "named_expired": self.revocations.iter().map(Revocation::expired).min(),
            "uses_after_enforced": after_enforced,
            "uses_after_going_on": since_woken,
            "recovered_ms": self.recovered.as_secs_f64() * 1e3,
        });
        (told, self.violations)
    }
}
