//! What the ledger knows of a call as policies read it at its decision, and what the record then
//! says of that: counts, risk, the grant, arguments, shadows, and the glass that was broken.

use bailiwick_core::arguments::Arguments;
use bailiwick_core::command::{Answer, Authorize, Command, RefusalCode};
use bailiwick_core::decide::{RISK_MAX, would_allow};
use bailiwick_core::event::{
    CallAuthorized, CallDenied, DenialCode, Detector, Fact, Issuance, Role,
};
use bailiwick_core::policy::History;
use bailiwick_core::state::{KEPT_EACH, State};
use bailiwick_core::time::Span;

use super::harness::{
    Ledger, actor, ask, id, is_allowed, issue, names, put_policy, submission, terms, text,
    with_task, with_tool,
};

const AGENTS: &str =
    r#"@jit("true") @max_uses("1000") permit (principal is Agent, action, resource);"#;
const OWNERS: &str = "permit (principal is Owner, action, resource);";

fn with(policies: &[&str]) -> Ledger {
    let all: Vec<&str> = [AGENTS, OWNERS].iter().chain(policies).copied().collect();
    Ledger::with_policies(&all)
}

fn read() -> Authorize {
    ask("helper", "crm/read", "crm://case/1")
}

fn last_denied(ledger: &Ledger) -> &CallDenied {
    match &ledger.log.last().unwrap().event.fact {
        Fact::CallDenied(fact) => fact,
        other => panic!("expected a denial, got {other:?}"),
    }
}

fn last_allowed(ledger: &Ledger) -> &CallAuthorized {
    let mut facts = ledger.log.iter().rev().map(|recorded| &recorded.event.fact);
    facts.find_map(|fact| if let Fact::CallAuthorized(f) = fact { Some(f) } else { None }).unwrap()
}

#[test]
fn calls_are_counted_and_a_policy_sets_the_pace() {
    let pace = r#"forbid (principal is Agent, action, resource)
        when { context.history.agent.calls.minute >= 3 };"#;
    let mut ledger = with(&[pace]);
    for count in 0..3 {
        ledger.allowed(read());
        let read = &last_allowed(&ledger).read;
        assert_eq!(read.get(&text("history.agent.calls.minute")), Some(&count));
    }
    assert_eq!(ledger.denied(read()), DenialCode::Forbidden);
    assert_eq!(last_denied(&ledger).read.get(&text("history.agent.calls.minute")), Some(&3));
    ledger.allowed(ask("second", "crm/read", "crm://case/1"));
    ledger.wait(Span::seconds(62));
    ledger.allowed(read());
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
    let restored = State::from_bytes(&ledger.state.to_bytes()).unwrap();
    let now = ledger.now();
    assert_eq!(restored.history(&read(), now), ledger.state.history(&read(), now));
}

#[test]
fn counts_are_of_the_task_and_of_the_tool() {
    let mut ledger = with(&[]);
    let task = ledger.open_task("helper");
    for ask in [with_task(read(), task), with_tool(read(), "crm/read"), with_tool(read(), "crm/x")]
    {
        ledger.allowed(ask);
    }
    ledger.given(Command::SuspendAgent { agent: id("helper"), reason: None });
    assert_eq!(ledger.denied(read()), DenialCode::AgentSuspended);
    let now = ledger.now();
    let history = ledger.state.history(&with_tool(with_task(read(), task), "crm/x"), now);
    assert_eq!((history.agent.calls.day, history.agent.denials.day), (Some(3), Some(1)));
    assert_eq!((history.task.calls.hour, history.task.denials.hour), (Some(1), Some(0)));
    assert_eq!((history.tool.calls.minute, history.tool.denials.minute), (Some(1), Some(0)));
    let without = ledger.state.history(&read(), now);
    assert_eq!(
        (without.task.calls.day, without.task.denials.day),
        (Some(2), Some(1)),
        "outside of any task"
    );
    assert_eq!(
        (without.tool.calls.day, without.tool.denials.day),
        (Some(2), Some(1)),
        "of the action"
    );
}

/// Rules that read a count: one that forbids above a number, and one that permits from a number on.
#[test]
fn an_agent_that_makes_its_counts_forgotten_is_permitted_nothing_by_them() {
    for rule in [
        r#"@jit("true") permit (principal is Agent, action, resource)
           unless { context.history.tool.calls.hour > 100 };"#,
        r#"@jit("true") permit (principal is Agent, action, resource)
           when { context.history.tool.calls.hour >= 5 };"#,
    ] {
        let mut ledger = with(&[]);
        for n in 0..=KEPT_EACH {
            ledger.allowed(with_tool(read(), &format!("crm/tool-{n}")));
        }
        ledger.given(put_policy("rule", rule));
        ledger.given(put_policy("p0", "permit (principal is Owner, action, resource);"));
        ledger.given(Command::RemovePolicy { policy: id("p1") });
        ledger.given(Command::ActivatePolicies);
        for tool in ["crm/tool-0", "crm/never"] {
            assert_eq!(ledger.denied(with_tool(read(), tool)), DenialCode::Forbidden, "{rule}");
        }
        // It is known again when all that gave way lies an hour back.
        ledger.wait(Span::minutes(62));
        let again = ledger.ask(&submission(
            actor(Role::Enforcer),
            Command::Authorize(Box::new(with_tool(read(), "crm/never"))),
        ));
        assert_eq!(is_allowed(&again), rule.contains("unless"), "{rule}");
    }
}

#[test]
fn nobody_is_counted_who_is_not_registered() {
    let mut ledger = with(&[]);
    let stranger = ask("stranger", "crm/read", "crm://case/1");
    assert_eq!(ledger.denied(stranger.clone()), DenialCode::AgentUnknown);
    assert_eq!(ledger.state.history(&stranger, ledger.now()), History::NONE);
}

#[test]
fn risk_is_changed_by_operators_and_read_at_once() {
    let mut ledger =
        with(&["forbid (principal is Agent, action, resource) when { context.risk > 50 };"]);
    let mut ask_early = read();
    ask_early.verdicts = ledger.state.view().verdicts(&ask_early, ledger.now());
    assert!(ask_early.verdicts.as_ref().unwrap().is_volatile());
    ledger.allowed(ask_early.clone());
    assert_eq!(last_allowed(&ledger).read.get(&text("risk")), Some(&0));

    let change = |to| Command::ChangeRisk { agent: id("helper"), to, reason: Some(text("odd")) };
    for role in [Role::Agent, Role::Enforcer, Role::Auditor] {
        assert_eq!(ledger.refused(actor(role), change(0)), RefusalCode::NotPermitted, "{role}");
    }
    let out_of_range = ledger.refused(actor(Role::Operator), change(RISK_MAX + 1));
    assert_eq!(out_of_range, RefusalCode::OutOfRange);
    assert!(matches!(ledger.when(actor(Role::Operator), change(51)), Answer::Done(_)));
    assert_eq!(ledger.state.risk(&id("helper")), 51);
    assert_eq!(ledger.denied(ask_early), DenialCode::Forbidden);
    assert_eq!(last_denied(&ledger).read.get(&text("risk")), Some(&51));
    assert_eq!(ledger.refused(actor(Role::Operator), change(51)), RefusalCode::WrongState);
    ledger.given(change(50));
    ledger.allowed(read());
}

#[test]
fn a_policy_reads_the_grant_that_would_be_used() {
    let once = r#"forbid (principal is Agent, action, resource)
        when { context has grant && context.grant.uses >= 2 && context.grant.age_seconds < 60 };"#;
    let mut ledger = Ledger::with_policies(&["permit (principal, action, resource);", once]);
    let mut terms = terms("helper", "crm/read", "crm://case/**");
    terms.max_uses = Some(10);
    ledger.given(issue(terms));
    ledger.allowed(read());
    ledger.allowed(read());
    assert_eq!(ledger.denied(read()), DenialCode::Forbidden);
    ledger.wait(Span::seconds(61));
    ledger.allowed(read());
    assert_eq!(ledger.denied(ask("second", "crm/read", "crm://case/1")), DenialCode::NoGrant);
}

fn paying(json: &str) -> Authorize {
    let mut ask = ask("helper", "pay/send", "pay://bank/a");
    let arguments = Arguments::of_json(&serde_json::from_str(json).unwrap()).unwrap();
    ask.args = Some(Box::new(arguments));
    ask
}

const LARGE: &str = r#"forbid (principal is Agent, action == Action::"pay/send", resource)
    when { context.args.amount.greaterThan(decimal("100.0")) };"#;

fn schema(text: &str) -> Command {
    Command::PutSchema { action: id("pay/send"), schema: text.to_owned() }
}

const AMOUNT: &str =
    r#"{"required": ["amount"], "properties": {"amount": {"type": "number"}, "any": {}}}"#;

#[test]
fn arguments_are_typed_by_the_schema_of_the_action() {
    let mut ledger = with(&[]);
    let refused = ledger.refused(actor(Role::Admin), put_policy("large", LARGE));
    assert_eq!(refused, RefusalCode::PolicyInvalid, "there is no schema yet");
    for role in [Role::Agent, Role::Enforcer, Role::Operator] {
        assert_eq!(
            ledger.refused(actor(role), schema(AMOUNT)),
            RefusalCode::NotPermitted,
            "{role}"
        );
    }
    assert_eq!(ledger.refused(actor(Role::Admin), schema("[]")), RefusalCode::PolicyInvalid);
    ledger.given(schema(AMOUNT));
    ledger.given(put_policy("large", LARGE));
    ledger.allowed(paying(r#"{"amount": "not in force yet"}"#));
    ledger.given(Command::ActivatePolicies);
    ledger.allowed(paying(r#"{"amount": 100, "any": [null]}"#));
    assert_eq!(ledger.denied(paying(r#"{"amount": 100.01}"#)), DenialCode::Forbidden);
    for smuggled in [r#"{"amount": "1000"}"#, r#"{"amount": null}"#, "{}", r#"{"Amount": 1}"#] {
        assert_eq!(ledger.denied(paying(smuggled)), DenialCode::InvalidArguments, "{smuggled}");
    }
    let none = ask("helper", "pay/send", "pay://bank/a");
    assert_eq!(ledger.denied(none), DenialCode::Forbidden, "nothing to judge by");
    assert_eq!(would_allow(&ledger.state, &paying(r#"{"amount": 1}"#), ledger.now()), Ok(()));
}

#[test]
fn a_schema_that_breaks_a_policy_does_not_take_effect() {
    let mut ledger = with(&[]);
    ledger.given(schema(AMOUNT));
    ledger.given(put_policy("large", LARGE));
    ledger.given(Command::ActivatePolicies);
    let before = ledger.state.policy_hash();
    ledger.given(schema(r#"{"properties": {"amount": {"type": "string"}}}"#));
    let refused = ledger.refused(actor(Role::Admin), Command::ActivatePolicies);
    assert_eq!(refused, RefusalCode::PolicyInvalid);
    assert_eq!(ledger.denied(paying(r#"{"amount": 101}"#)), DenialCode::Forbidden);
    ledger.given(Command::RemovePolicy { policy: id("large") });
    ledger.given(Command::ActivatePolicies);
    assert_ne!(ledger.state.policy_hash(), before);
    ledger.allowed(paying(r#"{"amount": "101"}"#));
    let restored = State::from_bytes(&ledger.state.to_bytes()).unwrap();
    assert_eq!(restored.policy_hash(), ledger.state.policy_hash());
}

#[test]
fn a_shadow_policy_is_recorded_where_it_would_have_changed_the_answer() {
    let forbid =
        r#"@shadow("true") forbid (principal is Agent, action == Action::"crm/read", resource);"#;
    let permit =
        r#"@shadow("true") permit (principal is Agent, action == Action::"crm/write", resource);"#;
    let reads =
        r#"@jit("true") permit (principal is Agent, action == Action::"crm/read", resource);"#;
    let mut ledger = Ledger::with_policies(&[reads, OWNERS, forbid, permit]);
    ledger.allowed(read());
    assert_eq!(last_allowed(&ledger).shadow, [id("p2")]);
    let write = ask("helper", "crm/write", "crm://case/1");
    assert_eq!(ledger.denied(write), DenialCode::Forbidden);
    assert_eq!(last_denied(&ledger).shadow, [id("p3")]);
    assert_eq!(ledger.denied(ask("helper", "crm/x", "crm://case/1")), DenialCode::Forbidden);
    assert!(last_denied(&ledger).shadow.is_empty());

    // Both would apply: the forbid would still win, so nothing would change.
    let both =
        r#"@shadow("true") forbid (principal is Owner, action == Action::"crm/write", resource);"#;
    ledger.given(put_policy("both", both));
    ledger.given(Command::ActivatePolicies);
    assert_eq!(ledger.denied(ask("helper", "crm/write", "crm://case/2")), DenialCode::Forbidden);
    assert!(last_denied(&ledger).shadow.is_empty());
}

const GLASS: &str = r#"@breakglass("true") @ttl("10m") @max_uses("2") @reason("on call")
    permit (principal is Agent, action == Action::"crm/restore", resource);"#;

fn restoring(why: Option<&str>) -> Authorize {
    let mut ask = ask("helper", "crm/restore", "crm://case/1");
    ask.justification = why.map(text);
    ask
}

#[test]
fn breaking_the_glass_is_short_and_loud() {
    let mut ledger = Ledger::with_policies(&[GLASS, OWNERS]);
    assert_eq!(ledger.denied(restoring(None)), DenialCode::Forbidden);
    let before = ledger.log.len();
    let grant = ledger.allowed(restoring(Some("the site is down")));
    let events: Vec<_> = ledger.log[before..].iter().map(|r| r.event.clone()).collect();
    assert_eq!(
        names(&events),
        ["grant.issued", "breakglass.used", "finding.raised", "call.authorized"]
    );
    for event in &events {
        match &event.fact {
            Fact::GrantIssued(issued) => {
                assert_eq!((issued.issuance, issued.max_uses), (Issuance::BreakGlass, 2));
                assert_eq!(issued.expires_at, issued.not_before.after(Span::minutes(10)));
            }
            Fact::BreakglassUsed(used) => {
                assert_eq!((used.grant, used.justification.as_str()), (grant, "the site is down"));
                assert_eq!(used.policies, [id("p0"), id("p1")]);
            }
            Fact::FindingRaised(finding) => assert_eq!(finding.detector, Detector::BreakGlass),
            _ => {}
        }
    }
    assert_eq!(ledger.allowed(restoring(Some("still down"))), grant);
    assert_ne!(ledger.allowed(restoring(Some("once more"))), grant);
    assert_eq!(ledger.denied(restoring(None)), DenialCode::Forbidden);
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn the_glass_stays_whole_where_something_forbids_or_the_owner_may_not() {
    let forbid = "forbid (principal is Agent, action, resource);";
    let mut ledger = Ledger::with_policies(&[GLASS, OWNERS, forbid]);
    assert_eq!(ledger.denied(restoring(Some("x"))), DenialCode::Forbidden);
    let mut ledger = Ledger::with_policies(&[GLASS]);
    assert_eq!(ledger.denied(restoring(Some("x"))), DenialCode::Forbidden);
}

#[test]
fn what_the_glass_was_broken_for_serves_nothing_else() {
    let mut ledger = Ledger::with_policies(&[GLASS, OWNERS]);
    let broken = ledger.allowed(restoring(Some("x")));
    let operators = ledger.grant("helper", "crm/restore", "crm://case/1");
    assert_eq!(ledger.allowed(restoring(Some("x"))), broken, "the operator's is not loud");
    let plain = "permit (principal is Agent, action, resource);";
    ledger.given(put_policy("plain", plain));
    ledger.given(Command::ActivatePolicies);
    assert_eq!(ledger.allowed(restoring(Some("x"))), operators);
    assert_eq!(ledger.denied(restoring(Some("x"))), DenialCode::GrantExhausted);
}

#[test]
fn asking_for_a_grant_does_not_break_the_glass() {
    let mut ledger = Ledger::with_policies(&[GLASS, OWNERS]);
    let mut terms = terms("helper", "crm/restore", "crm://case/1");
    terms.justification = Some(text("the site is down"));
    let before = ledger.log.len();
    ledger.submit(&submission(actor(Role::Enforcer), Command::RequestGrant(terms)));
    let events: Vec<_> = ledger.log[before..].iter().map(|r| r.event.clone()).collect();
    assert_eq!(names(&events), ["grant.requested", "grant.denied"]);
}

#[test]
fn to_list_is_never_to_call() {
    let tool = "tool://crm/read";
    let list = r#"@jit("true") permit (principal is Agent, action == Action::"list", resource in Resource::"tool://crm");"#;
    let call =
        r#"@jit("true") permit (principal is Agent, action == Action::"crm/read", resource);"#;
    for (policy, listed, called) in [(list, true, false), (call, false, true)] {
        let mut ledger = Ledger::with_policies(&[policy, OWNERS]);
        let now = ledger.now();
        let may = |action| would_allow(&ledger.state, &ask("helper", action, tool), now).is_ok();
        assert_eq!((may("list"), may("crm/read")), (listed, called), "{policy}");
        // Not even through the grant that the other left behind.
        let (yes, no) = if listed { ("list", "crm/read") } else { ("crm/read", "list") };
        ledger.allowed(ask("helper", yes, tool));
        assert_eq!(ledger.denied(ask("helper", no, tool)), DenialCode::Forbidden);
    }
}
