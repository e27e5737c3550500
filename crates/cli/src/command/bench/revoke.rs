//! Taking back: one agent's grants, then all, among a great many.

use std::time::Instant;

use anyhow::bail;
use bailiwick_core::command::{Answer, Command, Revoke, Submission};
use bailiwick_core::decide::decide;
use bailiwick_core::event::{
    About, Actor, Event, Fact, GrantIssued, Issuance, Place, Scope, Selector,
};
use bailiwick_core::id::{Action, AgentId, GrantId, OwnerId, Resource};
use bailiwick_core::record::{Digest, Link};
use bailiwick_core::state::State;
use bailiwick_core::time::{Span, Time};
use serde_json::{Value, json};

/// Arguments of `bench revoke`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Live grants.
    #[arg(long, default_value_t = 1_000_000)]
    grants: u64,
    /// Agents that hold them.
    #[arg(long, default_value_t = 1_000)]
    agents: u64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Value> {
    let mut state = State::new();
    let owner = OwnerId::new("alice@example.com")?;
    register(&mut state, &owner, args)?;
    let first = state.next_index();
    for n in 0..args.grants {
        let fact = issued(&owner, n % args.agents.max(1), n)?;
        apply(&mut state, Fact::GrantIssued(fact));
    }
    let (last, victim) = (GrantId(state.next_index() - 1), GrantId(first));
    let now = |state: &State| Time(state.last_time().map_or(0, |time| time.0) + 1);
    let is_live = |state: &State, id: GrantId| {
        let grant = state.grants().get(id);
        grant.is_some_and(|grant| state.check_grant(id, grant, now(state)).is_ok())
    };
    if !is_live(&state, victim) || !is_live(&state, last) {
        bail!("the grants to take back are not live");
    }
    let one_us = timed(&mut state, Selector::Agent(agent(0)?))?;
    if is_live(&state, victim) || !is_live(&state, last) {
        bail!("revoking one agent did not end that agent's grants and no others");
    }
    let all_us = timed(&mut state, Selector::All)?;
    if is_live(&state, last) {
        bail!("revoking all left a grant live");
    }
    Ok(json!({
        "name": "revoke",
        "grants": args.grants,
        "agents": args.agents,
        "one_agent_us": one_us,
        "all_us": all_us,
        "max_us": one_us.max(all_us),
        "events": 2,
        "load": "decide and apply of one revocation each, single thread, no log",
    }))
}

/// Decides and applies one revocation; microseconds.
fn timed(state: &mut State, selector: Selector) -> anyhow::Result<f64> {
    let revoke = Revoke { selector, grants_only: false, reason_code: None, reason: None };
    let command = Command::Revoke(revoke);
    let submission = Submission { actor: Actor::System, request: None, trace: None, command };
    let started = Instant::now();
    let now = Time(state.last_time().map_or(0, |time| time.0) + 1);
    let decided = decide(state, &submission, now);
    for event in &decided.events {
        state.apply(place(state), event);
    }
    let took = started.elapsed();
    if !matches!(decided.answer, Answer::Done(_)) || decided.events.len() != 1 {
        bail!("not one event: {:?}", decided.answer);
    }
    Ok(took.as_nanos() as f64 / 1_000.0)
}

fn place(state: &State) -> Place {
    let index = state.next_index();
    Place { index, time: Time(1_700_000_000_000_000_000 + index), link: Link([0; 32]) }
}

fn apply(state: &mut State, fact: Fact) {
    let about =
        About { actor: Actor::System, on_behalf_of: None, cause: None, request: None, trace: None };
    state.apply(place(state), &Event { about, fact });
}

fn agent(n: u64) -> anyhow::Result<AgentId> {
    Ok(AgentId::new(&format!("agent-{n}"))?)
}

fn register(state: &mut State, owner: &OwnerId, args: &Args) -> anyhow::Result<()> {
    use bailiwick_core::event::{AgentSettings, AgentWritten, OwnerWritten};
    use bailiwick_core::id::Text;
    let written = OwnerWritten { owner: owner.clone(), groups: [].into() };
    apply(state, Fact::OwnerRegistered(written));
    for n in 0..args.agents {
        let settings = AgentSettings {
            purpose: Text::new("support")?,
            groups: [].into(),
            allowlist: Vec::new(),
            expires_at: None,
        };
        let (agent, owner) = (agent(n)?, owner.clone());
        apply(state, Fact::AgentRegistered(AgentWritten { agent, owner, settings }));
    }
    Ok(())
}

fn issued(owner: &OwnerId, agent_number: u64, n: u64) -> anyhow::Result<GrantIssued> {
    let start = Time(1_700_000_000_000_000_000);
    Ok(GrantIssued {
        agent: Some(agent(agent_number)?),
        owner: owner.clone(),
        task: None,
        tool: None,
        action: Action::new("crm/read_case")?,
        scope: Scope::Exact(Resource::new(&format!("crm://case/{n}"))?),
        not_before: start,
        expires_at: start.after(Span::days(1)),
        max_uses: 1,
        issuance: Issuance::Operator,
        request: None,
        policies: Vec::new(),
        policy_hash: Digest([0; 32]),
        justification: None,
    })
}
