//! What a question to the policies costs, by how many there are; and what compiling them costs.
//!
//! Each measured step is what one call needs: the agent's verdict and the owner's, with every value
//! given anew, while only the number of policies about *other* agents, actions and places grows.

use std::collections::BTreeSet;
use std::hint::black_box;

use bailiwick_core::id::{
    Action, AgentId, GroupId, OwnerId, PolicyId, Resource, SessionId, TaskId, Text, ToolId,
};
use bailiwick_core::policy::{Context, Decision, PolicySet, Principal, Question, Verdict};
use bailiwick_core::time::Time;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The policies that the measured call meets: three for the agent, two for its owner.
const MET: [&str; 4] = [
    r#"@ttl("5m") @jit("true") permit (principal == Agent::"helper", action in [Action::"crm/read_case",
        Action::"crm/list_cases"], resource in Resource::"crm://case")
        when { context has task && context.effect == "read" };"#,
    r#"@ttl("1h") permit (principal is Owner in Group::"support", action, resource in Resource::"crm://");"#,
    r#"forbid (principal, action, resource)
        when { context.effect == "destructive" && !(context has justification) };"#,
    r#"forbid (principal is Agent, action, resource)
        when { resource.path like "*secret*" || principal.purpose == "none" };"#,
];

/// One more, whose verdict changes with the clock.
const TIMED: &str =
    r#"forbid (principal is Agent, action, resource) when { context.time.weekday > 6 };"#;

fn texts(count: usize) -> Vec<(PolicyId, String)> {
    let other = |n: usize| match n % 3 {
        0 => format!(
            r#"permit (principal == Agent::"agent-{n}", action == Action::"crm/read_case", resource in Resource::"crm://case")
                when {{ context has task }};"#
        ),
        1 => format!(
            r#"permit (principal in Group::"group-{n}", action == Action::"tool-{}/call", resource);"#,
            n % 97
        ),
        _ => format!(
            r#"permit (principal, action == Action::"crm/read_case", resource in Resource::"s3://bucket-{n}")
                when {{ context.effect == "read" }};"#
        ),
    };
    let met = MET.iter().map(ToString::to_string);
    let texts = met.chain((0..count.saturating_sub(MET.len())).map(other));
    texts.enumerate().map(|(n, text)| (id(&format!("p{n:05}")), text)).collect()
}

fn id(name: &str) -> PolicyId {
    PolicyId::new(name).expect("a policy id")
}

fn compile(texts: &[(PolicyId, String)]) -> PolicySet {
    PolicySet::compile(texts.iter().map(|(id, text)| (id, text.as_str()))).expect("valid policies")
}

/// The agent's verdict and the owner's.
fn both(set: &PolicySet) -> impl FnMut() -> (Verdict, Verdict) {
    let support = BTreeSet::from([GroupId::new("support").expect("a group id")]);
    let alice = OwnerId::new("alice@example.com").expect("an owner id");
    let owner = Principal::owner(&alice, &support);
    let helper = AgentId::new("helper").expect("an agent id");
    let agent = Principal::agent(&helper, &alice, "answer support cases", &BTreeSet::new());
    let session = SessionId::new("session-1").expect("a session id");
    let justification = Text::new("the customer asked for a refund").expect("a text");
    let tool = ToolId::new("crm/read_case").expect("a tool id");
    let action = Action::new("crm/read_case").expect("an action");
    let resource = Resource::new("crm://case/1234567890").expect("a resource");
    move || {
        let context = Context {
            task: Some(TaskId(42)),
            session: Some(&session),
            justification: Some(&justification),
            agent: Some(&agent),
            owner: &owner,
            tool: Some(&tool),
            of_resource: None,
            of_action: None,
            effect: "read",
            time: Time(1_795_441_020_000_000_000),
            args: None,
            environment: None,
            live: None,
        };
        let ask = |principal| {
            let question =
                Question { principal, action: &action, resource: &resource, context: &context };
            set.evaluate(black_box(&question))
        };
        (ask(&agent), ask(&owner))
    }
}

fn decide(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/agent_and_owner");
    for count in [4, 10, 20, 200, 10_000] {
        let set = compile(&texts(count));
        let mut ask = both(&set);
        let (of_agent, of_owner) = ask();
        assert_eq!((of_agent.decision, of_owner.decision), (Decision::Permit, Decision::Permit));
        assert_eq!((of_agent.errors, of_agent.volatile), (false, false));
        group.bench_function(format!("{count}_policies"), |bencher| bencher.iter(&mut ask));
    }
    let mut timed = texts(20);
    timed.push((id("timed"), TIMED.to_owned()));
    let set = compile(&timed);
    let mut ask = both(&set);
    assert!(ask().0.volatile);
    group.bench_function("20_policies_and_the_time", |bencher| bencher.iter(&mut ask));
    group.finish();
}

fn activate(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy/compile");
    let texts = texts(1_000);
    group.throughput(Throughput::Elements(1_000)).sample_size(10);
    group.bench_function("1000_policies", |bencher| bencher.iter(|| compile(black_box(&texts))));
    group.finish();
}

criterion_group!(benches, decide, activate);
criterion_main!(benches);
