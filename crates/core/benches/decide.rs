//! What one decision costs, with the state as full as it may get: 20 policies, 1,000 agents and
//! their grants. "Evaluated before" is a call whose policies were asked outside the loop, as
//! handlers do it; `revoke` is one event over all grants there are.
#![expect(clippy::unwrap_used, reason = "a benchmark may stop at what cannot happen")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::str::FromStr;

use bailiwick_core::command::{
    Answer, Authorize, Command, Revoke, Subject, Submission, WriteAgent, WriteOwner,
};
use bailiwick_core::decide::{Decided, decide};
use bailiwick_core::event::{
    About, Actor, AgentSettings, Allow, Effect, Event, Fact, GrantIssued, Issuance, Place, Selector,
};
use bailiwick_core::id::{AgentId, OwnerId, Text};
use bailiwick_core::record::hash::{Digest, Link};
use bailiwick_core::state::State;
use bailiwick_core::time::{Span, Time};
use criterion::{Criterion, criterion_group, criterion_main};

const AGENTS: u64 = 1_000;
const START: Time = Time(1_795_441_020_000_000_000);

criterion_group!(benches, call, revoke);
criterion_main!(benches);

fn call(c: &mut Criterion) {
    let state = state(100_000);
    let warm = evaluated(&state, "crm://case/000500");
    let decided = decide(&state, &warm, now(&state));
    assert!(is_allowed(&decided));
    let mut group = c.benchmark_group("call, 20 policies, 1,000 agents, 100,000 grants");
    group.bench_function("decide, evaluated before", |b| {
        b.iter(|| decide(black_box(&state), black_box(&warm), now(&state)));
    });
    let cold =
        Submission { command: Command::Authorize(Box::new(ask("crm://case/000500"))), ..warm };
    group.bench_function("decide, both evaluations", |b| {
        b.iter(|| decide(black_box(&state), black_box(&cold), now(&state)));
    });
    let mut live = state.clone();
    group.bench_function("decide and apply, evaluated before", |b| {
        let warm = evaluated(&live, "crm://case/001500");
        b.iter(|| {
            let decided = decide(&live, &warm, now(&live));
            assert!(is_allowed(&decided));
            record(&mut live, &decided.events);
        });
    });
    let mut body = Vec::with_capacity(1_000);
    group.bench_function("encode the call's body", |b| {
        b.iter(|| {
            body.clear();
            black_box(&decided.events[0]).encode_body([7; 16], &mut body)
        });
    });
    group.finish();
}

fn revoke(c: &mut Criterion) {
    let state = state(1_000_000);
    let mut group = c.benchmark_group("revoke, 1,000,000 grants");
    group.sample_size(10);
    let agent = Selector::Agent(id("agent-000500"));
    for (name, selector) in [("one agent", agent), ("everything", Selector::All)] {
        let command = Command::Revoke(Revoke {
            selector,
            grants_only: false,
            reason_code: None,
            reason: None,
        });
        let mut live = state.clone();
        let revoke = submission(command);
        group.bench_function(name, |b| {
            b.iter(|| {
                let decided = decide(&live, &revoke, now(&live));
                record(&mut live, &decided.events);
            });
        });
        let denied = decide(&live, &evaluated(&live, "crm://case/000500"), now(&live));
        assert!(!is_allowed(&denied), "what was revoked is denied");
    }
    group.finish();
}

/// 20 policies, of which three fit a call: as many as slicing leaves of a real set.
fn policies() -> Vec<String> {
    let mut texts = vec![
        r#"@jit("true") @ttl("5m") permit (principal is Agent, action == Action::"crm/read_case",
           resource in Resource::"crm://case") when { context.effect == "read" };"#
            .to_owned(),
        r#"permit (principal is Owner, action == Action::"crm/read_case",
           resource in Resource::"crm://case");"#
            .to_owned(),
        r#"forbid (principal, action == Action::"crm/read_case",
           resource in Resource::"crm://case/secret");"#
            .to_owned(),
    ];
    texts.extend((3..20).map(|n| {
        format!(
            r#"permit (principal is Agent, action == Action::"tool{n}/act", resource)
               when {{ context has task }};"#
        )
    }));
    texts
}

/// Every agent holds as many grants as every other, each good for one case and for very long.
fn state(grants: u64) -> State {
    let mut state = State::new();
    let owner = WriteOwner { owner: id("alice"), groups: BTreeSet::new() };
    given(&mut state, Command::RegisterOwner(owner));
    for n in 0..AGENTS {
        let settings = AgentSettings {
            purpose: Text::new("support").unwrap(),
            groups: BTreeSet::new(),
            allowlist: vec![Allow { pattern: id("crm/*"), expires_at: None }],
            expires_at: None,
        };
        let agent = WriteAgent { agent: agent(n), owner: id("alice"), settings };
        given(&mut state, Command::RegisterAgent(agent));
    }
    for (n, text) in policies().into_iter().enumerate() {
        let policy = id(&format!("policy-{n}"));
        given(&mut state, Command::PutPolicy { policy, text, reason: None });
    }
    given(&mut state, Command::ActivatePolicies);
    for n in 0..grants {
        let fact = Fact::GrantIssued(grant(n));
        let about = About {
            actor: Actor::System,
            on_behalf_of: None,
            cause: None,
            request: None,
            trace: None,
        };
        record(&mut state, &[Event { about, fact }]);
    }
    state
}

fn grant(n: u64) -> GrantIssued {
    GrantIssued {
        agent: Some(agent(n % AGENTS)),
        owner: id::<OwnerId>("alice"),
        task: None,
        tool: None,
        action: id("crm/read_case"),
        scope: id(&format!("crm://case/{n:0>6}")),
        not_before: START,
        expires_at: START.after(Span::days(30)),
        max_uses: u32::MAX,
        issuance: Issuance::Operator,
        request: None,
        policies: Vec::new(),
        policy_hash: Digest([0; 32]),
        justification: None,
        constraints: Vec::new(),
        parent: None,
        approval: None,
        shown: None,
    }
}

fn ask(resource: &str) -> Authorize {
    Authorize {
        subject: Subject::Agent(agent(500)),
        on_behalf_of: None,
        task: None,
        session: None,
        tool: Some(id("crm/read_case")),
        tool_hash: None,
        action: id("crm/read_case"),
        resource: id(resource),
        effect: Effect::Read,
        arguments: Some(Digest([3; 32])),
        disclosed: BTreeMap::new(),
        justification: Some(Text::new("the customer asked").unwrap()),
        args: None,
        environment: None,
        correlation: None,
        actors: Vec::new(),
        told: None,
        finishes: true,
        verdicts: None,
    }
}

fn evaluated(state: &State, resource: &str) -> Submission {
    let mut ask = ask(resource);
    ask.verdicts = state.view().verdicts(&ask, now(state));
    submission(Command::Authorize(Box::new(ask)))
}

fn submission(command: Command) -> Submission {
    Submission { actor: Actor::System, request: None, trace: None, command }
}

fn given(state: &mut State, command: Command) {
    let decided = decide(state, &submission(command), now(state));
    assert!(matches!(decided.answer, Answer::Done(_)), "{:?}", decided.answer);
    record(state, &decided.events);
}

fn record(state: &mut State, events: &[Event]) {
    for event in events {
        let place = Place { index: state.next_index(), time: now(state), link: Link([9; 32]) };
        state.apply(place, event);
    }
}

fn now(state: &State) -> Time {
    state.last_time().map_or(START, |last| Time(last.0 + 1))
}

fn is_allowed(decided: &Decided) -> bool {
    matches!(&decided.answer, Answer::Decided(decision) if decision.result.is_ok())
}

fn agent(n: u64) -> AgentId {
    id(&format!("agent-{n:0>6}"))
}

fn id<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}
