//! Taking back: one agent's grants, then all, among a great many.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::bail;
use bailiwick_core::command::{Answer, Authorize, Command, Decision, Revoke, Subject, Submission};
use bailiwick_core::decide::decide;
use bailiwick_core::event::{
    About, Actor, Allow, DenialCode, Effect, Event, Fact, GrantIssued, Issuance, Place, Scope,
    Selector,
};
use bailiwick_core::id::{Action, ActionPattern, AgentId, GrantId, OwnerId, PolicyId, Resource};
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
    after_all(&mut state, args, last)?;
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

/// What has to hold once everything was revoked: no agent acts until the suspension is lifted, old
/// grants stay ended then, and where only grants are revoked the next call is decided anew.
fn after_all(state: &mut State, args: &Args, old: GrantId) -> anyhow::Result<()> {
    let agents = [0, args.agents / 2, args.agents.saturating_sub(1)];
    for n in agents {
        let code = ask(state, n)?.result.err().map(|denied| denied.code);
        if code != Some(DenialCode::Suspended) {
            bail!("agent-{n} was not denied `suspended`, but {code:?}");
        }
    }
    for selector in [Selector::All, Selector::Agent(agent(0)?)] {
        let lift = Command::Lift { selector, reason: None };
        if !matches!(submit(state, lift), Answer::Done(_)) {
            bail!("the suspension was not lifted");
        }
    }
    let mut newest = old;
    for grants_only in [false, true] {
        if grants_only {
            let (selector, reason_code, reason) = (Selector::All, None, None);
            let revoke = Command::Revoke(Revoke { selector, grants_only, reason_code, reason });
            submit(state, revoke);
        }
        for n in agents {
            match ask(state, n)?.result {
                Ok(allowed) if allowed.grant > newest => newest = allowed.grant,
                other => bail!("agent-{n} did not get a grant anew: {other:?}"),
            }
        }
    }
    Ok(())
}

/// One call of an agent, on a case of its own.
fn ask(state: &mut State, n: u64) -> anyhow::Result<Decision> {
    let call = Authorize {
        subject: Subject::Agent(agent(n)?),
        on_behalf_of: None,
        task: None,
        session: None,
        tool: None,
        tool_hash: None,
        action: Action::new("crm/read_case")?,
        resource: Resource::new(&format!("crm://case/{n}"))?,
        effect: Effect::Read,
        arguments: None,
        disclosed: BTreeMap::new(),
        justification: None,
        args: None,
        environment: None,
        correlation: None,
        actors: Vec::new(),
        told: None,
        finishes: false,
        verdicts: None,
    };
    match submit(state, Command::Authorize(Box::new(call))) {
        Answer::Decided(decision) => Ok(decision),
        other @ (Answer::Done(_) | Answer::Refused(_)) => bail!("no decision: {other:?}"),
    }
}

fn submit(state: &mut State, command: Command) -> Answer {
    let submission = Submission { actor: Actor::System, request: None, trace: None, command };
    let now = Time(state.last_time().map_or(0, |time| time.0) + 1);
    let decided = decide(state, &submission, now);
    for event in &decided.events {
        state.apply(place(state), event);
    }
    decided.answer
}

/// Decides and applies one revocation; microseconds.
fn timed(state: &mut State, selector: Selector) -> anyhow::Result<f64> {
    let revoke = Revoke { selector, grants_only: false, reason_code: None, reason: None };
    let (events, started) = (state.next_index(), Instant::now());
    let answer = submit(state, Command::Revoke(revoke));
    let took = started.elapsed();
    if !matches!(answer, Answer::Done(_)) || state.next_index() != events + 1 {
        bail!("not one event: {answer:?}");
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
            allowlist: vec![Allow { pattern: ActionPattern::new("crm/*")?, expires_at: None }],
            expires_at: None,
        };
        let (agent, owner) = (agent(n)?, owner.clone());
        apply(state, Fact::AgentRegistered(AgentWritten { agent, owner, settings }));
    }
    let text = "@jit(\"true\") permit (principal, action, resource);".to_owned();
    let policy = PolicyId::new("just-in-time")?;
    submit(state, Command::PutPolicy { policy, text, reason: None });
    match submit(state, Command::ActivatePolicies) {
        Answer::Done(_) => Ok(()),
        other @ (Answer::Decided(_) | Answer::Refused(_)) => bail!("no policies: {other:?}"),
    }
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
        constraints: Vec::new(),
        parent: None,
        approval: None,
        shown: None,
    })
}
