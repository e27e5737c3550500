//! What a grant demands of a call's arguments.

use bailiwick_core::approval::what_is_shown;
use bailiwick_core::arguments::Arguments;
use bailiwick_core::arguments::constraints::CONSTRAINTS_MAX;
use bailiwick_core::command::{
    Answer, Authorize, Command, DelegateGrant, IssueGrant, RefusalCode, RequestGrant,
};
use bailiwick_core::event::{Constraint, DenialCode, Fact, Role};
use bailiwick_core::id::GrantRequestId;
use bailiwick_core::json::{LIMITS, parse_strict};
use serde_json::{Value, json};

use super::delegation::part;
use super::harness::{
    ALL, JUST_IN_TIME, Ledger, actor, agent_key, ask, id, issue, names, submission, terms, text,
};

const FILE: &str = "file:///srv";

fn bound(constraints: &[&str]) -> RequestGrant {
    let mut terms = terms("helper", "file/get", FILE);
    terms.constraints = constraints.iter().map(|written| id::<Constraint>(written)).collect();
    terms.max_uses = Some(9);
    terms
}

fn with(arguments: Value) -> Authorize {
    let mut ask = ask("helper", "file/get", FILE);
    ask.args = Some(Box::new(Arguments::heard(&arguments)));
    ask
}

#[test]
fn a_call_that_does_not_meet_them_is_not_covered() {
    let mut ledger = Ledger::with_policies(ALL);
    let terms = bound(&["/path=prefix:/srv/reports/", "/limit=max:10"]);
    let grant = ledger.given(issue(terms)).grant.unwrap();
    let good = || with(json!({"path": "/srv/reports/a", "limit": 10, "more": [1]}));
    assert_eq!(ledger.allowed(good()), grant);
    for arguments in [
        json!({"path": "/srv/reports/a", "limit": 11}),
        json!({"path": "/srv/reports/a", "limit": "10"}),
        json!({"path": "/srv/reports/a"}),
        json!({"path": "/srv/reports/../../etc/passwd", "limit": 1}),
        json!({"path": ["/srv/reports/a"], "limit": 1}),
        json!({"arguments": {"path": "/srv/reports/a", "limit": 1}}),
        json!({}),
    ] {
        assert_eq!(ledger.denied(with(arguments.clone())), DenialCode::NoGrant, "{arguments}");
    }
    assert_eq!(ledger.denied(ask("helper", "file/get", FILE)), DenialCode::NoGrant);
    // One that demands nothing covers what the other does not.
    let any = ledger.given(issue(bound(&[]))).grant.unwrap();
    assert_eq!(ledger.allowed(with(json!({"path": "/etc/passwd"}))), any);
    assert_eq!(ledger.allowed(good()), grant);
}

#[test]
fn arguments_that_nobody_can_decide_about_are_denied_and_that_is_recorded() {
    let mut ledger = Ledger::with_policies(ALL);
    ledger.given(issue(bound(&[])));
    for arguments in [json!([1]), json!({"n": 0.000_001}), json!("x".repeat(10)), json!(null)] {
        let call = Command::Authorize(Box::new(with(arguments.clone())));
        let decided = ledger.submit(&submission(actor(Role::Enforcer), call));
        assert_eq!(names(&decided.events), ["call.denied"], "{arguments}");
        let code = super::harness::code(&decided);
        assert_eq!(code, Some(DenialCode::InvalidArguments), "{arguments}");
    }
    ledger.allowed(with(json!({"n": 0.5})));
    // No reader sees another value than the one that was decided about.
    for twice in [r#"{"path":"/srv/a","path":"/etc"}"#, r#"{"path":"/srv/a","p\u0061th":"/etc"}"#] {
        assert!(parse_strict(twice.as_bytes(), LIMITS).is_err(), "{twice}");
    }
}

#[test]
fn an_environment_is_not_an_agents_to_say() {
    let mut ledger = Ledger::with_policies(ALL);
    ledger.given(issue(bound(&[])));
    let mut call = with(json!({}));
    call.environment = Some(text("production"));
    let told = |by| submission(by, Command::Authorize(Box::new(call.clone())));
    let by_agent = super::harness::code(&ledger.submit(&told(agent_key("helper"))));
    assert_eq!(by_agent, Some(DenialCode::InvalidArguments));
    let by_enforcer = ledger.submit(&told(actor(Role::Enforcer)));
    assert!(super::harness::is_allowed(&by_enforcer));
    let Fact::CallAuthorized(fact) = &by_enforcer.events[0].fact else { panic!() };
    assert_eq!(fact.call.environment, Some(text("production")));
}

#[test]
fn constraints_are_checked_before_anything_is_recorded() {
    let mut ledger = Ledger::with_policies(ALL);
    let mut many = bound(&[]);
    many.constraints = vec![id("/a=max:1"); CONSTRAINTS_MAX + 1];
    let mut bad = bound(&["/a=max:1"]);
    bad.constraints[0].at = text("a");
    for terms in [many, bad] {
        let request = Command::RequestGrant(terms.clone());
        assert_eq!(ledger.refused(agent_key("helper"), request), RefusalCode::OutOfRange);
        assert_eq!(ledger.refused(actor(Role::Operator), issue(terms)), RefusalCode::OutOfRange);
    }
}

#[test]
fn an_answer_keeps_or_adds_constraints_and_drops_none() {
    let mut ledger = Ledger::with_policies(ALL);
    let asked = bound(&["/path=prefix:/srv/reports/"]);
    let request = Command::RequestGrant(asked.clone());
    let Answer::Done(done) = ledger.when(agent_key("helper"), request) else { panic!() };
    let request = Some(GrantRequestId(done.index));
    let answer = |terms| Command::IssueGrant(IssueGrant { terms, not_before: None, request });
    for dropped in [&[][..], &["/path=prefix:/srv/"], &["/other=prefix:/srv/reports/"]] {
        let code = ledger.refused(actor(Role::Operator), answer(bound(dropped)));
        assert_eq!(code, RefusalCode::OutOfRange, "{dropped:?}");
    }
    let more = answer(bound(&["/limit=max:1", "/path=prefix:/srv/reports/"]));
    assert!(matches!(ledger.when(actor(Role::Operator), more), Answer::Done(_)));
}

#[test]
fn what_policy_gives_at_a_request_keeps_what_was_asked_and_at_a_call_invents_nothing() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let mut asked = terms("helper", "crm/read", "crm://case/1");
    asked.constraints = vec![id("/fields/0=equal:name")];
    let request = Command::RequestGrant(asked.clone());
    let Answer::Done(done) = ledger.when(agent_key("helper"), request) else { panic!() };
    let grant = ledger.state.grants().get(done.grant.unwrap()).unwrap();
    assert_eq!(grant.constraints(), asked.constraints);
    // Policy says for how many uses of action and resource, and says nothing of arguments.
    let mut call = ask("helper", "crm/read", "crm://case/2");
    call.args = Some(Box::new(Arguments::heard(&json!({"fields": ["all"]}))));
    let made = ledger.allowed(call.clone());
    assert!(ledger.state.grants().get(made).unwrap().constraints().is_empty());
    call.args = None;
    assert_eq!(ledger.allowed(call), made);
}

#[test]
fn a_part_inherits_every_constraint_and_may_have_more() {
    let mut ledger = Ledger::with_policies(ALL);
    let mut most = bound(&["/a=max:1"]);
    most.constraints = vec![id("/a=max:1"); CONSTRAINTS_MAX];
    let full = ledger.given(issue(most)).grant.unwrap();
    let mut over = part(full, "second");
    over.constraints = vec![id("/b=max:1")];
    let code = ledger.refused(agent_key("helper"), Command::DelegateGrant(over));
    assert_eq!(code, RefusalCode::OutOfRange);
    let root = ledger.given(issue(bound(&["/path=prefix:/srv/"]))).grant.unwrap();
    let constraints = vec![id("/path=prefix:/srv/reports/"), id("/path=prefix:/")];
    let max_uses = Some(9);
    let given = DelegateGrant { constraints, max_uses, ..part(root, "second") };
    let child = ledger.given(Command::DelegateGrant(given)).grant.unwrap();
    let call = |path: &str| {
        let mut call = with(json!({ "path": path }));
        call.subject = bailiwick_core::command::Subject::Agent(id("second"));
        call
    };
    assert_eq!(ledger.allowed(call("/srv/reports/a")), child);
    for path in ["/srv/a", "/etc/passwd", "/srv/reports/../a"] {
        assert_eq!(ledger.denied(call(path)), DenialCode::NoGrant, "{path}");
    }
    let plain = ledger.given(Command::DelegateGrant(part(root, "second"))).grant.unwrap();
    assert_eq!(ledger.allowed(call("/srv/a")), plain);
}

#[test]
fn what_people_approve_keeps_the_constraints_that_they_were_shown() {
    let mut ledger = Ledger::with_policies(&[
        r#"@approval("owner") permit (principal is Agent, action, resource);"#,
        "permit (principal is Owner, action, resource);",
    ]);
    let request = Command::RequestGrant(bound(&["/path=prefix:/srv/reports/"]));
    assert!(matches!(ledger.when(agent_key("helper"), request), Answer::Done(_)));
    let (approval, asked) = ledger.state.approvals().after(None).next().unwrap();
    let (shown, lines) = (asked.asked.shown, what_is_shown(&asked.asked).to_string());
    assert!(lines.contains("argument /path must be") && lines.contains("/srv/reports/"), "{lines}");
    let alice = super::review::held_by(&mut ledger, "alice");
    let approve = Command::Approve { approval, shown, reason: None };
    let Answer::Done(done) = ledger.when(alice, approve) else { panic!() };
    let grant = done.grant.unwrap();
    assert_eq!(ledger.allowed(with(json!({"path": "/srv/reports/a"}))), grant);
    let outside = with(json!({"path": "/srv/a"}));
    assert_eq!(ledger.denied(outside), DenialCode::ApprovalRequired);
    // It was for this agent: nobody approved another.
    let given = Command::DelegateGrant(part(grant, "second"));
    assert_eq!(ledger.refused(agent_key("helper"), given), RefusalCode::WrongState);
}
