//! Agents at random lose everything while they work, one after the other, and get it back.

use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::super::clock;
use super::super::latency::Latencies;
use super::Scene;
use super::revocation::{Revocation, lift, revoke};
use super::uses::Uses;
use crate::show::progress;

/// Revocations under way at once, each of its own share of the agents.
const LANES: usize = 2;
/// How long an agent stays suspended behind the answer, so that late uses can be seen.
const SETTLE: Duration = Duration::from_millis(100);
/// An agent works if it used its tool so short a time ago.
const WORKS: Duration = Duration::from_millis(500);

/// A revocation of an agent that worked, until it was lifted.
#[derive(Debug)]
pub(super) struct Sample {
    revocation: Revocation,
    lifted: u64,
    /// What a durable command cost right behind it.
    durable: Duration,
}

/// Samples until it is time.
pub(super) async fn sample(scene: &Scene, seed: u64, length: Duration) -> Result<Vec<Sample>> {
    let until = Instant::now() + length;
    let bar = progress::bar("revoking", length.as_secs());
    let shown = async {
        while Instant::now() < until {
            bar.set_position((length - (until - Instant::now())).as_secs());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        bar.finish_and_clear();
    };
    let lanes = (0..LANES.min(scene.gateways.count())).map(|lane| {
        let random = StdRng::seed_from_u64(seed.wrapping_add(lane as u64));
        run_lane(scene, lane, random, until)
    });
    let (samples, ()) = tokio::join!(futures::future::try_join_all(lanes), shown);
    Ok(samples?.into_iter().flatten().collect())
}

async fn run_lane(
    scene: &Scene,
    lane: usize,
    mut random: StdRng,
    until: Instant,
) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    while Instant::now() < until {
        let working = working(scene, lane)?;
        if working.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        let agent = working[random.random_range(..working.len())];
        let revocation = revoke(&scene.stage.http, agent, "measured").await?;
        tokio::time::sleep(SETTLE).await;
        let lifted = lift(&scene.stage.http, agent).await?;
        scene.clock.check()?;
        samples.push(Sample { revocation, lifted: lifted.asked, durable: lifted.took });
    }
    Ok(samples)
}

/// The lane's agents that have just used their tool.
fn working(scene: &Scene, lane: usize) -> Result<Vec<usize>> {
    let mut uses = scene.uses.borrow_mut();
    uses.read_on()?;
    let now = clock::now();
    let works =
        |agent: &usize| uses.last(*agent).is_some_and(|last| clock::between(last, now) < WORKS);
    Ok((lane..scene.gateways.count()).step_by(LANES).filter(works).collect())
}

/// What the samples come to.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Nothing where the last use was before the call.
    pub(super) last_use: Latencies,
    /// The same without those.
    pub(super) used: Latencies,
    pub(super) acknowledged: Latencies,
    pub(super) answered: Latencies,
    pub(super) durable: Latencies,
    /// Points whose lease ran out although nobody stopped them.
    pub(super) expired: usize,
    /// Uses between an answer that said `enforced` and the lift.
    pub(super) uses_after_enforced: usize,
    pub(super) violations: Vec<String>,
}

impl Found {
    /// Adds what the uses say about these.
    pub(super) fn add(&mut self, samples: &[Sample], uses: &Uses) {
        for Sample { revocation, lifted, durable } in samples {
            let Revocation { agent, asked, answered, .. } = *revocation;
            let last = uses.within(agent, asked, *lifted).last().copied();
            self.last_use.add(clock::between(asked, last.unwrap_or(asked)));
            if let Some(last) = last {
                self.used.add(clock::between(asked, last));
            }
            self.answered.add(clock::between(asked, answered));
            self.durable.add(*durable);
            self.expired += revocation.expired();
            if let Some(took) = revocation.last_acknowledgement() {
                self.acknowledged.add(took);
            }
            if !revocation.enforced.done || !revocation.durable {
                let what = format!("agent {agent} was not enforced in time: {revocation:?}");
                self.violations.push(what);
            }
            let after = uses.within(agent, answered, *lifted);
            self.uses_after_enforced += after.len();
            if let Some(last) = after.last() {
                self.violations.push(format!(
                    "agent {agent} used its tool {} times after `enforced`, the last time {:?} after",
                    after.len(),
                    clock::between(answered, *last),
                ));
            }
        }
    }
}

/// Latencies as a benchmark reports them.
pub(super) fn figures(latencies: &mut Latencies) -> Value {
    json!({
        "p50_us": latencies.quantile_us(0.5),
        "p99_us": latencies.quantile_us(0.99),
        "max_us": latencies.max_us(),
        "count": latencies.count(),
    })
}
