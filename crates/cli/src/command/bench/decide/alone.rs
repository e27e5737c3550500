//! The rules alone: one thread decides and applies, without a log, a server or anything else. What
//! is decided is covered by a live grant, and the policies are asked for the agent and for its owner
//! at every call.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bailiwick_core::command::{Answer, Authorize, Command, Decision, Subject, Submission};
use bailiwick_core::decide::decide;
use bailiwick_core::event::Effect;
use bailiwick_core::event::{
    About, Actor, AgentSettings, AgentWritten, Allow, Event, Fact, GrantIssued, Issuance,
    OwnerWritten, Place, PolicyPut, Scope,
};
use bailiwick_core::id::{
    Action, ActionPattern, AgentId, GroupId, OwnerId, PolicyId, Resource, SessionId, Text, ToolId,
};
use bailiwick_core::record::{Digest, Link};
use bailiwick_core::state::State;
use bailiwick_core::time::{Span, Time};
use serde_json::{Value, json};

use super::super::latency::Latencies;

/// How much there is, and how long it is measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) agents: u64,
    pub(super) policies: u64,
    pub(super) grants: u64,
    pub(super) length: Duration,
}

/// The policies that every call needs or meets.
pub(super) const FITTING: usize = 5;

const ACTION: &str = "crm/read_case";
/// 2026-11-23T13:37:00Z.
const START: Time = Time(1_795_441_020_000_000_000);
/// How far the clock moves from one decision to the next, in nanoseconds.
const PACE: u64 = 50_000;
/// Bodies that are made before they are decided, one after the other.
const BATCH: usize = 256;

/// Builds the state, decides for as long as was asked, with Cedar and without, and tells.
/// `memory_bytes` is the memory that the process takes at the moment.
pub(super) fn run(load: Load, memory_bytes: impl Fn() -> Result<u64>) -> Result<Value> {
    let empty = memory_bytes()?;
    let mut state = State::new();
    // Before everything else: what Cedar leaves behind when it has read a text would be taken up
    // again unseen. That the holders are registered later makes no difference to a grant.
    for n in 0..load.grants {
        apply(&mut state, Fact::GrantIssued(grant(n, load.agents)?));
    }
    let granted = memory_bytes()?;
    register(&mut state, load.agents)?;
    activate(&mut state, load.policies)?;
    let full = memory_bytes()?;
    let mut calls = Calls { next: 0, load };
    // What is measured is a process that has been running for a while.
    measure(&mut state, &mut calls, load.length / 10, Asked::AtTheCall)?;
    let mut decided = measure(&mut state, &mut calls, load.length, Asked::AtTheCall)?;
    let mut floor = measure(&mut state, &mut calls, load.length / 2, Asked::Before)?;
    let mut policies = evaluate(&state, &mut calls, load.length / 10)?;
    let per_second = decided.per_second();
    let grown = |from: u64, to: u64| to.saturating_sub(from);
    Ok(json!({
        "name": "decide --core",
        "per_second": per_second,
        "p50_us": decided.latencies.quantile_us(0.5),
        "p99_us": decided.latencies.quantile_us(0.99),
        "max_us": decided.latencies.max_us(),
        "floor": "the same calls with verdicts given, so that no policy is asked",
        "floor_per_second": floor.per_second(),
        "floor_p50_us": floor.latencies.quantile_us(0.5),
        "ratio": per_second / floor.per_second(),
        "both_evaluations_p50_us": policies.latencies.quantile_us(0.5),
        "seconds": load.length.as_secs_f64(),
        "events": decided.latencies.count(),
        "policies": load.policies,
        "grants": load.grants,
        "bytes_a_live_grant": grown(empty, granted) as f64 / load.grants.max(1) as f64,
        "memory": {
            "grants_bytes": grown(empty, granted),
            "agents_and_policies_bytes": grown(granted, full),
            "state_bytes": grown(empty, full),
        },
        "load": format!(
            "{} agents, each call another body on a grant picked at random, decide and apply, one \
             thread, no log; memory is what the process grew by",
            load.agents
        ),
    }))
}

/// When the policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    AtTheCall,
    Before,
}

#[derive(Debug, Default)]
struct Run {
    latencies: Latencies,
    busy: Duration,
}

impl Run {
    fn add(&mut self, took: Duration) {
        self.latencies.add(took);
        self.busy += took;
    }

    /// While it decided; making the bodies does not count.
    fn per_second(&self) -> f64 {
        self.latencies.count() as f64 / self.busy.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Calls that differ in everything that a body can differ in.
struct Calls {
    next: u64,
    load: Load,
}

impl Calls {
    fn next(&mut self) -> Result<Authorize> {
        let n = self.next;
        self.next += 1;
        // Spreads over all grants: neighbours in time are none in memory.
        let grant = scattered(n) % self.load.grants.max(1);
        let justification = format!("request {n} of a customer who asked for the state of a case");
        Ok(Authorize {
            subject: Subject::Agent(agent(grant % self.load.agents)?),
            on_behalf_of: None,
            task: None,
            session: Some(SessionId::new(&format!("session-{}", n % 10_000))?),
            tool: Some(ToolId::new(ACTION)?),
            tool_hash: None,
            action: Action::new(ACTION)?,
            resource: case(grant)?,
            effect: Effect::Read,
            arguments: Some(Digest([(n % 251) as u8; 32])),
            disclosed: BTreeMap::from([(Text::new("case_id")?, Text::new(&grant.to_string())?)]),
            justification: Some(Text::new(&justification)?),
            args: None,
            environment: None,
            correlation: None,
            actors: Vec::new(),
            told: None,
            finishes: false,
            verdicts: None,
        })
    }
}

/// A number that looks like chance and is the same in every run (SplitMix64's mixing).
const fn scattered(n: u64) -> u64 {
    let mixed = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Decides and applies for so long.
fn measure(state: &mut State, calls: &mut Calls, length: Duration, asked: Asked) -> Result<Run> {
    let mut run = Run::default();
    let until = Instant::now() + length;
    let mut bodies = Vec::with_capacity(BATCH);
    while Instant::now() < until {
        for _ in 0..BATCH {
            let mut ask = calls.next()?;
            if asked == Asked::Before {
                ask.verdicts = state.view().verdicts(&ask, now(state));
            }
            let command = Command::Authorize(Box::new(ask));
            bodies.push(Submission { actor: Actor::System, request: None, trace: None, command });
        }
        for submission in bodies.drain(..) {
            let (started, now) = (Instant::now(), now(state));
            let decided = decide(state, &submission, now);
            for event in &decided.events {
                state.apply(Place { time: now, ..place(state) }, event);
            }
            run.add(started.elapsed());
            if !matches!(decided.answer, Answer::Decided(Decision { result: Ok(_), .. }))
                || decided.events.len() != 1
            {
                bail!("not allowed by a grant that is there: {:?}", decided.answer);
            }
        }
    }
    Ok(run)
}

/// Asks the policies alone, for the agent and for its owner.
fn evaluate(state: &State, calls: &mut Calls, length: Duration) -> Result<Run> {
    let (view, mut run, until) = (state.view(), Run::default(), Instant::now() + length);
    while Instant::now() < until {
        let ask = calls.next()?;
        let started = Instant::now();
        let verdicts = view.verdicts(&ask, now(state));
        run.add(started.elapsed());
        if verdicts.is_none() {
            bail!("an agent or an owner is not registered");
        }
    }
    Ok(run)
}

fn now(state: &State) -> Time {
    state.last_time().map_or(START, |last| Time(last.0 + PACE))
}

fn place(state: &State) -> Place {
    Place { index: state.next_index(), time: now(state), link: Link([9; 32]) }
}

fn apply(state: &mut State, fact: Fact) {
    let about =
        About { actor: Actor::System, on_behalf_of: None, cause: None, request: None, trace: None };
    // One moment after the other, or a million grants would take the better part of their own life.
    let time = state.last_time().map_or(START, |last| Time(last.0 + 1));
    state.apply(Place { time, ..place(state) }, &Event { about, fact });
}

fn agent(n: u64) -> Result<AgentId> {
    Ok(AgentId::new(&format!("agent-{n:05}"))?)
}

/// Ten agents have one owner.
fn owner(agent: u64) -> Result<OwnerId> {
    Ok(OwnerId::new(&format!("owner-{:04}@example.com", agent / 10))?)
}

fn case(n: u64) -> Result<Resource> {
    Ok(Resource::new(&format!("crm://case/{n:07}"))?)
}

fn groups(names: &[&str]) -> Result<std::collections::BTreeSet<GroupId>> {
    names.iter().map(|name| Ok(GroupId::new(name)?)).collect()
}

fn register(state: &mut State, agents: u64) -> Result<()> {
    for n in 0..agents {
        let owner = owner(n)?;
        if n % 10 == 0 {
            let groups = groups(&["staff", "desk"])?;
            apply(state, Fact::OwnerRegistered(OwnerWritten { owner: owner.clone(), groups }));
        }
        let settings = AgentSettings {
            purpose: Text::new("support")?,
            groups: groups(&["support", "assistants"])?,
            allowlist: vec![
                Allow { pattern: ActionPattern::new("tickets/*")?, expires_at: None },
                Allow { pattern: ActionPattern::new("crm/*")?, expires_at: None },
            ],
            expires_at: None,
        };
        let agent = agent(n)?;
        apply(state, Fact::AgentRegistered(AgentWritten { agent, owner, settings }));
    }
    Ok(())
}

fn activate(state: &mut State, policies: u64) -> Result<()> {
    for n in 0..policies {
        let policy = PolicyId::new(&format!("policy-{n:05}"))?;
        apply(state, Fact::PolicyPut(PolicyPut { policy, text: policy_text(n), reason: None }));
    }
    let submission = Submission {
        actor: Actor::System,
        request: None,
        trace: None,
        command: Command::ActivatePolicies,
    };
    let decided = decide(state, &submission, now(state));
    let Answer::Done(_) = decided.answer else {
        bail!("the policies do not take effect: {:?}", decided.answer);
    };
    let event = decided.events.into_iter().next().context("nothing was recorded")?;
    apply(state, event.fact);
    Ok(())
}

/// The first five speak of every call that is measured: four of the agent's question, two of its
/// owner's. The others are what else a house has: other groups, robots with names, places, tools; most
/// of them with conditions. However many there are, none of them fits.
fn policy_text(n: u64) -> String {
    match n {
        0 => format!(
            r#"@ttl("8h") permit (principal is Agent in Group::"support",
            action == Action::"{ACTION}", resource in Resource::"crm://case")
            when {{ context.effect == "read" }};"#
        ),
        1 => format!(
            r#"permit (principal is Owner in Group::"desk",
            action in [Action::"{ACTION}", Action::"crm/list_cases"],
            resource in Resource::"crm://");"#
        ),
        2 => r#"@reason("secrets are for people only")
            forbid (principal, action, resource) when { resource.uri like "*/secrets/*" };"#
            .to_owned(),
        3 => r#"forbid (principal is Agent, action, resource in Resource::"crm://")
            unless { context has justification && context has session };"#
            .to_owned(),
        4 => r#"forbid (principal in Group::"assistants", action, resource)
            when { context has tool && context.tool.server == "shell" };"#
            .to_owned(),
        _ => other_text(n),
    }
}

fn other_text(n: u64) -> String {
    match n % 5 {
        0 => format!(
            r#"@ttl("1h") permit (principal is Agent in Group::"team-{n}",
            action == Action::"{ACTION}", resource in Resource::"crm://case")
            when {{ context.effect == "read" }};"#
        ),
        1 => format!(
            r#"@jit("true") @max_uses("1") permit (principal == Agent::"robot-{n}",
            action in [Action::"{ACTION}", Action::"tool-{n}/use"], resource);"#
        ),
        2 => format!(
            r#"forbid (principal, action == Action::"{ACTION}",
            resource in Resource::"crm://case/archive-{n}") unless {{ context.time.hour < 18 }};"#
        ),
        3 => format!(
            r#"permit (principal is Owner in Group::"staff", action == Action::"tool-{n}/use",
            resource) when {{ resource.hasTag("status") && resource.getTag("status").contains("open") }};"#
        ),
        _ => format!(
            r#"permit (principal is Agent in Group::"support", action == Action::"tool-{n}/use",
            resource in Resource::"tool-{n}://") when {{ context.effect == "read" }};"#
        ),
    }
}

fn grant(n: u64, agents: u64) -> Result<GrantIssued> {
    Ok(GrantIssued {
        agent: Some(agent(n % agents)?),
        owner: owner(n % agents)?,
        task: None,
        tool: None,
        action: Action::new(ACTION)?,
        scope: Scope::Exact(case(n)?),
        not_before: START,
        expires_at: START.after(Span::hours(8)),
        max_uses: 1_000_000,
        issuance: Issuance::Policy,
        request: None,
        policies: Vec::new(),
        policy_hash: Digest([0; 32]),
        justification: None,
        constraints: Vec::new(),
        parent: None,
        approval: None,
        shown: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_one_and_as_many_fit_a_call_whatever_else_there_is() {
        let determining = |policies| {
            let mut state = State::new();
            register(&mut state, 20).unwrap();
            activate(&mut state, policies).unwrap();
            let load = Load { agents: 20, policies, grants: 100, length: Duration::ZERO };
            let ask = Calls { next: 0, load }.next().unwrap();
            let verdicts = state.view().verdicts(&ask, now(&state)).unwrap();
            (verdicts.agent.unwrap().determining, verdicts.owner.determining)
        };
        let few = determining(20);
        assert_eq!((few.0.len(), few.1.len()), (1, 1));
        assert_eq!(few, determining(200));
    }

    #[test]
    fn calls_differ_and_are_spread_over_all_grants() {
        let load = Load { agents: 10, policies: 0, grants: 50, length: Duration::ZERO };
        let mut calls = Calls { next: 0, load };
        let asked: Vec<Authorize> = (0..1_000).map(|_| calls.next().unwrap()).collect();
        let count = |of: &dyn Fn(&Authorize) -> String| {
            asked.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!(count(&|ask| ask.resource.to_string()), 50);
        assert_eq!(count(&|ask| format!("{:?}", ask.justification)), 1_000);
    }
}
