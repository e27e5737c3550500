//! What the ledger knows, as policies read it.

use super::{Case, Known, ask, history, refusal};
use crate::policy::{Decision, History, UsableGrant};

const PERMIT_ALL: &str = "permit (principal, action, resource);";

fn with(live: Known) -> Case {
    Case { live: Some(live), ..Case::default() }
}

#[test]
fn each_number_of_the_history_is_read_under_its_own_name() {
    for (name, number) in history(1_000).numbers() {
        let number = number.unwrap();
        let policy =
            format!("permit (principal, action, resource) when {{ context.{name} == {number} }};");
        let known = Known { history: history(1_000), ..Known::default() };
        let verdict = ask(&[&policy], &with(known));
        assert_eq!((verdict.decision, verdict.volatile), (Decision::Permit, true), "{name}");
        assert_eq!(verdict.read, [(name, i64::from(number))]);
        let other = Known { history: history(1_001), ..known };
        assert_eq!(ask(&[&policy], &with(other)).decision, Decision::Silent, "{name}");
    }
}

#[test]
fn a_rate_is_a_policy() {
    let rate = r#"@reason("too fast") forbid (principal is Agent, action, resource)
        when { context.history.tool.calls.minute >= 10 || context.history.agent.denials.hour > 3 };"#;
    let decided = |calls: u32, denials: u32| {
        let mut history = History::NONE;
        history.tool.calls.minute = Some(calls);
        history.agent.denials.hour = Some(denials);
        let verdict = ask(&[PERMIT_ALL, rate], &with(Known { history, ..Known::default() }));
        assert_eq!(verdict.read.len(), 2);
        verdict.decision
    };
    assert_eq!(decided(9, 3), Decision::Permit);
    assert_eq!(decided(10, 0), Decision::Forbid);
    assert_eq!(decided(0, 4), Decision::Forbid);
}

#[test]
fn a_policy_that_reads_what_is_not_known_permits_nothing() {
    let mut history = history(0);
    history.tool.calls.minute = None;
    for policy in [
        "permit (principal, action, resource) when { context.history.tool.calls.minute >= 0 };",
        "forbid (principal, action, resource) when { context.history.tool.calls.minute > 9 };",
    ] {
        let verdict = ask(&[PERMIT_ALL, policy], &with(Known { history, ..Known::default() }));
        assert_eq!((verdict.decision, verdict.read.len()), (Decision::Forbid, 0), "{policy}");
    }
}

#[test]
fn nobody_asks_whether_what_is_always_read_is_there() {
    for condition in [
        "context has history",
        "context has history.tool",
        "context.history has tool",
        "context.history.tool.calls has minute && context.history.tool.calls.minute > 9",
        "(if true then context else context) has history",
    ] {
        let refused =
            refusal(&format!("forbid (principal, action, resource) when {{ {condition} }};"));
        assert!(refused.contains("do not ask whether it is there"), "{condition}: {refused}");
    }
}

#[test]
fn risk_and_environment_and_the_grant_are_read() {
    let risk = "forbid (principal, action, resource) when { context.risk > 50 };";
    for (risk_now, expected) in [(50, Decision::Permit), (51, Decision::Forbid)] {
        let verdict = ask(&[PERMIT_ALL, risk], &with(Known { risk: risk_now, ..Known::default() }));
        assert_eq!(verdict.decision, expected);
        assert_eq!(verdict.read, [("risk", i64::from(risk_now))]);
    }
    let production = r#"forbid (principal, action, resource)
        when { context has environment && context.environment == "production" };"#;
    for (environment, expected) in [
        (None, Decision::Permit),
        (Some("test"), Decision::Permit),
        (Some("production"), Decision::Forbid),
    ] {
        let verdict = ask(&[PERMIT_ALL, production], &Case { environment, ..Case::default() });
        assert_eq!((verdict.decision, verdict.volatile), (expected, false));
    }
    let grant = r#"permit (principal, action, resource) when { context has grant
        && context.grant.uses == 1 && context.grant.uses_left == 2
        && context.grant.age_seconds == 3 && context.grant.expires_in_seconds == 4 };"#;
    let usable = UsableGrant { uses: 1, uses_left: 2, age_seconds: 3, expires_in_seconds: 4 };
    for (grant_now, expected) in [(None, Decision::Silent), (Some(usable), Decision::Permit)] {
        let verdict = ask(&[grant], &with(Known { grant: grant_now, ..Known::default() }));
        assert_eq!((verdict.decision, verdict.volatile), (expected, true));
    }
}

#[test]
fn a_policy_that_reads_what_is_not_at_hand_permits_nothing() {
    for condition in [
        "context.risk < 100",
        "context.history.agent.calls.day < 100",
        "!(context has grant)",
        "context == context",
    ] {
        let policy = format!("permit (principal, action, resource) when {{ {condition} }};");
        let verdict = ask(&[PERMIT_ALL, &policy], &Case::default());
        assert_eq!((verdict.decision, verdict.volatile), (Decision::Forbid, true), "{condition}");
        let verdict = ask(&[&policy], &with(Known::default()));
        assert_eq!((verdict.decision, verdict.errors), (Decision::Permit, false), "{condition}");
        let shadow = format!("@shadow(\"true\") {policy}");
        let verdict = ask(&[PERMIT_ALL, &shadow], &Case::default());
        assert_eq!((verdict.decision, verdict.volatile), (Decision::Permit, true), "{condition}");
        assert!(verdict.shadow.permits.is_empty());
    }
}

#[test]
fn what_the_ledger_does_not_count_is_refused() {
    for (condition, name) in [
        ("context.history.agent.calls.week > 1", "week"),
        ("context.history.owner.calls.day > 1", "owner"),
        ("context.risk == \"high\"", "Long"),
        ("context.grant.uses > 1", "grant"),
        ("context.environment == \"production\"", "environment"),
    ] {
        let policy = format!("forbid (principal, action, resource)\nwhen {{ {condition} }};");
        let refused = refusal(&policy);
        assert!(refused.starts_with("2:") && refused.contains(name), "{refused}");
    }
}
