//! Tools and the definitions that they are held to: pinned at first use or by an operator, and
//! suspended for everybody when they come with another one.

use bailiwick_core::command::{Answer, Authorize, Command, PinTool, RefusalCode};
use bailiwick_core::decide::{LABELS_MAX, TARGET_POINTERS_MAX};
use bailiwick_core::event::{
    Actor, ConfigChanged, DenialCode, Effect, Fact, Pinning, Role, Selector,
};
use bailiwick_core::id::ToolId;
use bailiwick_core::record::hash::Digest;
use bailiwick_core::time::Span;

use super::harness::{
    ALL, JUST_IN_TIME, Ledger, actor, agent_key, ask, code, decision, id, is_allowed, keyed, lift,
    names, pin_tool, revoke, submission, text, token, with_definition, with_tool, write_agent,
};

const TOOL: &str = "crm/read";

/// A call through the tool, whose definition has the `n`-th hash.
fn call(n: u8) -> Authorize {
    with_definition(ask("helper", "crm/read", "crm://case/1"), TOOL, n)
}

fn unverified() -> Authorize {
    with_tool(ask("helper", "crm/read", "crm://case/1"), TOOL)
}

fn pinned(ledger: &Ledger) -> Option<u8> {
    ledger.state.tools().get(&id(TOOL)).map(|tool| tool.pinned.hash.0[0])
}

fn pin(n: u8) -> Command {
    Command::PinTool(pin_tool(TOOL, n))
}

fn wait_for_operators(ledger: &mut Ledger) {
    let pinning = Pinning::Operator;
    let config = ConfigChanged { pinning, ..ledger.state.config().clone() };
    ledger.given(Command::Configure(config));
}

fn submit(ledger: &mut Ledger, by: Actor, ask: Authorize) -> Vec<&'static str> {
    names(&ledger.submit(&submission(by, Command::Authorize(Box::new(ask)))).events)
}

#[test]
fn first_allowed_call_pins_the_tool_before_it_uses_it() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let recorded = submit(&mut ledger, actor(Role::Enforcer), call(1));
    assert_eq!(recorded, ["grant.issued", "tool.pinned", "call.authorized"]);
    let tool = ledger.state.tools().get(&id(TOOL)).unwrap();
    assert!(tool.pinned.first_use && tool.changed.is_none());
    assert_eq!(tool.pinned.hash, Digest([1; 32]));
    let about = &ledger.log[ledger.log.len() - 2].event.about;
    assert_eq!(about.actor, actor(Role::Enforcer), "who saw it says so");
    assert_eq!(
        submit(&mut ledger, actor(Role::Enforcer), call(1)),
        ["call.authorized", "grant.exhausted"]
    );
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn denied_probe_pins_nothing() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.given(Command::UpdateAgent(write_agent("helper", "alice", &["pay/*"])));
    assert_eq!(ledger.denied(call(1)), DenialCode::ToolNotAllowed);
    ledger.given(Command::UpdateAgent(write_agent("helper", "alice", &["**"])));
    let elsewhere = Authorize { resource: id("pay://bank"), ..call(1) };
    assert_eq!(ledger.denied(elsewhere), DenialCode::Forbidden);
    assert_eq!(pinned(&ledger), None);
    ledger.allowed(call(2));
    assert_eq!(pinned(&ledger), Some(2));
}

#[test]
fn changed_definition_suspends_the_tool_in_the_entry_that_denies_it() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let grant = ledger.allowed(call(1));
    let before = ledger.log.len();
    let recorded = submit(&mut ledger, actor(Role::Enforcer), call(2));
    assert_eq!(recorded, ["tool.changed", "revocation.issued", "call.denied"]);
    let entry = ledger.log[before..].to_vec();
    let [changed, revoked, denied] = entry.as_slice() else { panic!("three events") };
    let (Fact::ToolChanged(change), Fact::RevocationIssued(revocation), Fact::CallDenied(denial)) =
        (&changed.event.fact, &revoked.event.fact, &denied.event.fact)
    else {
        panic!("{recorded:?}")
    };
    assert_eq!((change.pinned, change.seen), (Digest([1; 32]), Digest([2; 32])));
    assert_eq!(revocation.selector, Selector::Tool(id(TOOL)));
    assert!(revocation.suspend);
    assert_eq!(revocation.reason_code, text("tool_changed"));
    assert_eq!(denial.code, DenialCode::ToolChanged);
    assert_eq!(revoked.event.about.cause, Some(changed.place.index));
    assert_eq!(denied.event.about.cause, Some(revoked.place.index));
    assert_eq!(revoked.event.about.actor, Actor::System);
    // It is suspended for the definition that is pinned too, and for everybody.
    assert_eq!(ledger.denied(call(1)), DenialCode::Suspended);
    let second = with_definition(ask("second", "crm/read", "crm://case/2"), TOOL, 1);
    assert_eq!(ledger.denied(second), DenialCode::Suspended);
    let seen = ledger.state.tools().get(&id(TOOL)).unwrap().changed.unwrap();
    assert_eq!((seen.index, seen.seen), (changed.place.index, Digest([2; 32])));
    // What was granted before has ended for good.
    ledger.given(lift(Selector::Tool(id(TOOL))));
    assert_ne!(ledger.allowed(call(1)), grant);
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn another_definition_says_so_again_and_again_and_is_recorded_once() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.allowed(call(1));
    ledger.denied(call(2));
    for n in [2, 3, 2] {
        assert_eq!(submit(&mut ledger, actor(Role::Enforcer), call(n)), ["call.denied"]);
        assert_eq!(ledger.denied(call(n)), DenialCode::ToolChanged);
    }
    // Something else that is suspended comes first, as ever.
    ledger.given(revoke(Selector::Agent(id("helper"))));
    assert_eq!(ledger.denied(call(2)), DenialCode::Suspended);
    ledger.given(lift(Selector::Agent(id("helper"))));
    // Lifted without an answer to what changed: the next sight of it suspends it anew.
    ledger.given(lift(Selector::Tool(id(TOOL))));
    ledger.allowed(call(1));
    assert_eq!(
        submit(&mut ledger, actor(Role::Enforcer), call(2)),
        ["tool.changed", "revocation.issued", "call.denied"]
    );
}

#[test]
fn while_an_operator_has_suspended_the_tool_a_change_is_no_second_revocation() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.allowed(call(1));
    ledger.given(revoke(Selector::Tool(id(TOOL))));
    assert_eq!(submit(&mut ledger, actor(Role::Enforcer), call(2)), ["call.denied"]);
    // And a pin lifts only what a change has suspended.
    ledger.given(pin(2));
    assert_eq!(ledger.denied(call(2)), DenialCode::Suspended);
    ledger.given(lift(Selector::Tool(id(TOOL))));
    ledger.allowed(call(2));
}

#[test]
fn new_pin_is_the_answer_to_a_change_and_revives_no_grant() {
    let mut ledger = Ledger::with_policies(ALL);
    let grant = ledger.grant("helper", "crm/read", "crm://**");
    ledger.allowed(call(1));
    let held = ledger.grant("helper", "crm/read", "crm://**");
    ledger.denied(call(2));
    let decided = ledger.submit(&submission(actor(Role::Operator), pin(2)));
    assert_eq!(names(&decided.events), ["tool.pinned", "suspension.lifted"]);
    let revocation = ledger.log[ledger.log.len() - 4].place.index;
    assert_eq!(decided.events[1].about.cause, Some(revocation));
    assert!(ledger.state.marks().is_suspended(&Selector::Tool(id(TOOL))).is_none());
    let denied = ledger.call(call(2)).result.unwrap_err();
    assert_eq!(denied.code, DenialCode::GrantRevoked, "{grant} and {held} stay ended");
    ledger.grant("helper", "crm/read", "crm://**");
    ledger.allowed(call(2));
    // The definition from before is another one now.
    assert_eq!(ledger.denied(call(1)), DenialCode::ToolChanged);
}

#[test]
fn pin_that_answers_nothing_lifts_nothing() {
    // The same definition again, which was not the one that was seen.
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.allowed(call(1));
    ledger.denied(call(2));
    let labelled = PinTool { labels: [text("reads:private")].into(), ..pin_tool(TOOL, 1) };
    ledger.given(Command::PinTool(labelled));
    assert_eq!(ledger.denied(call(1)), DenialCode::Suspended);
    assert!(ledger.state.tools().get(&id(TOOL)).unwrap().changed.is_some());
    // A suspension that an operator made after the change.
    ledger.given(revoke(Selector::Tool(id(TOOL))));
    ledger.given(pin(2));
    assert_eq!(ledger.denied(call(2)), DenialCode::Suspended);
}

#[test]
fn pinned_tool_without_a_definition_is_denied_and_nothing_else_happens() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.allowed(call(1));
    let recorded = submit(&mut ledger, actor(Role::Enforcer), unverified());
    assert_eq!(recorded, ["call.denied"]);
    assert_eq!(ledger.denied(unverified()), DenialCode::ToolChanged);
    ledger.allowed(call(1));
}

#[test]
fn tool_that_never_had_a_definition_goes_on_as_ever() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    for _ in 0..3 {
        ledger.allowed(unverified());
    }
    assert_eq!(pinned(&ledger), None);
}

#[test]
fn where_operators_pin_nothing_goes_through_a_tool_before() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    wait_for_operators(&mut ledger);
    for ask in [call(1), unverified()] {
        assert_eq!(submit(&mut ledger, actor(Role::Enforcer), ask.clone()), ["call.denied"]);
        assert_eq!(ledger.denied(ask), DenialCode::ToolUnpinned);
    }
    // What names no tool is held to none.
    ledger.allowed(ask("helper", "crm/read", "crm://case/2"));
    ledger.given(pin(1));
    ledger.allowed(call(1));
    ledger.given(Command::UnpinTool { tool: id(TOOL), reason: None });
    assert_eq!(ledger.denied(call(1)), DenialCode::ToolUnpinned);
}

#[test]
fn pins_from_first_use_stay_when_operators_pin_from_now_on() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.allowed(call(1));
    wait_for_operators(&mut ledger);
    ledger.allowed(call(1));
    assert_eq!(ledger.denied(call(2)), DenialCode::ToolChanged);
}

#[test]
fn unpinned_tool_is_pinned_anew_by_what_comes_next() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.allowed(call(1));
    ledger.given(Command::UnpinTool { tool: id(TOOL), reason: Some(text("moved")) });
    ledger.allowed(call(2));
    assert_eq!(pinned(&ledger), Some(2));
    // Letting go of the definition does not lift what its change has suspended.
    ledger.denied(call(3));
    ledger.given(Command::UnpinTool { tool: id(TOOL), reason: None });
    assert_eq!(ledger.denied(call(3)), DenialCode::Suspended);
    let again = Command::UnpinTool { tool: id(TOOL), reason: None };
    assert_eq!(ledger.refused(actor(Role::Operator), again), RefusalCode::NotFound);
}

#[test]
fn agents_own_word_pins_nothing_and_takes_no_tool_from_anybody() {
    for by in [agent_key("helper"), token("helper", "alice")] {
        let mut ledger = Ledger::with_policies(JUST_IN_TIME);
        let recorded = submit(&mut ledger, by.clone(), call(9));
        assert_eq!(recorded, ["grant.issued", "call.authorized"]);
        assert_eq!(pinned(&ledger), None);
        ledger.allowed(call(1));
        assert_eq!(submit(&mut ledger, by.clone(), call(9)), ["call.denied"]);
        assert_eq!(submit(&mut ledger, by, unverified()), ["call.denied"]);
        assert!(ledger.state.marks().is_suspended(&Selector::Tool(id(TOOL))).is_none());
        assert!(ledger.state.tools().get(&id(TOOL)).unwrap().changed.is_none());
        let second = with_definition(ask("second", "crm/read", "crm://case/2"), TOOL, 1);
        ledger.allowed(second);
    }
}

#[test]
fn call_counts_as_what_its_tool_is_pinned_as_where_it_claims_less() {
    let policies: &[&str] = &[r#"@jit("true") @max_uses("9") permit (principal, action, resource)
           when { context.effect == "read" };"#];
    let effects =
        [Effect::Read, Effect::Open, Effect::Write, Effect::External, Effect::Destructive];
    for of_tool in effects {
        for claimed in effects {
            let mut ledger = Ledger::with_policies(policies);
            let strict = PinTool { effect: Some(of_tool), ..pin_tool(TOOL, 1) };
            // What was asked before the pin counts no more.
            let mut early = Authorize { effect: claimed, ..call(1) };
            early.verdicts = ledger.state.view().verdicts(&early, ledger.now());
            ledger.given(Command::PinTool(strict));
            let decided = ledger
                .submit(&submission(actor(Role::Enforcer), Command::Authorize(Box::new(early))));
            let stricter = claimed.max(of_tool);
            assert_eq!(is_allowed(&decided), stricter == Effect::Read, "{of_tool:?} {claimed:?}");
            let recorded = decided.events.iter().find_map(|event| match &event.fact {
                Fact::CallAuthorized(fact) => Some(fact.call.effect),
                Fact::CallDenied(fact) => Some(fact.call.effect),
                _ => None,
            });
            assert_eq!(recorded, Some(stricter));
            assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
        }
    }
}

#[test]
fn effect_of_a_pin_outlives_a_snapshot_and_ends_with_the_pin() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let strict = PinTool { effect: Some(Effect::Destructive), ..pin_tool(TOOL, 1) };
    ledger.given(Command::PinTool(strict));
    let from_snapshot = bailiwick_core::state::State::from_bytes(&ledger.state.to_bytes()).unwrap();
    assert_eq!(from_snapshot.view().effect_of(&call(1)), Effect::Destructive);
    ledger.given(Command::UnpinTool { tool: id(TOOL), reason: None });
    assert_eq!(ledger.state.view().effect_of(&call(1)), Effect::Read);
}

#[test]
fn retry_is_repeated_only_while_the_tool_is_what_it_was() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let by = || actor(Role::Enforcer);
    let first = keyed(by(), "r1", Command::Authorize(Box::new(call(1))));
    let allowed = decision(ledger.submit(&first).answer);
    let again = decision(ledger.submit(&first).answer);
    assert_eq!((again.call, again.repeats.is_some()), (allowed.call, true));
    ledger.given(pin(2));
    let decided = ledger.submit(&first);
    assert_eq!(code(&decided), Some(DenialCode::ToolChanged));
    // The id of a call that a change denied stays that call's.
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.allowed(call(1));
    let changed = keyed(by(), "r2", Command::Authorize(Box::new(call(2))));
    assert_eq!(code(&ledger.submit(&changed)), Some(DenialCode::ToolChanged));
    let other = keyed(by(), "r2", Command::Authorize(Box::new(call(1))));
    assert_eq!(code(&ledger.submit(&other)), Some(DenialCode::IdReused));
}

#[test]
fn pin_out_of_its_limits_is_refused() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let base = || pin_tool(TOOL, 1);
    let many = |n: usize| (0..n).map(|n| text(&format!("/{n}")));
    for bad in [
        PinTool { targets: many(TARGET_POINTERS_MAX + 1).collect(), ..base() },
        PinTool { labels: many(LABELS_MAX + 1).collect(), ..base() },
        PinTool { targets: vec![text("id")], ..base() },
    ] {
        let refused = ledger.refused(actor(Role::Operator), Command::PinTool(bad));
        assert_eq!(refused, RefusalCode::OutOfRange);
    }
    assert_eq!(pinned(&ledger), None);
    let most = PinTool {
        targets: many(TARGET_POINTERS_MAX).collect(),
        labels: many(LABELS_MAX).collect(),
        ..base()
    };
    ledger.given(Command::PinTool(most));
}

#[test]
fn settings_are_written_whole_within_their_range() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    assert_eq!(ledger.state.config(), &ConfigChanged::default());
    let with = |approval_ttl| ConfigChanged { pinning: Pinning::Operator, approval_ttl };
    for ttl in [Span(0), Span(Span::days(30).0 + 1)] {
        let refused = ledger.refused(actor(Role::Admin), Command::Configure(with(ttl)));
        assert_eq!(refused, RefusalCode::OutOfRange);
    }
    let Answer::Done(_) =
        ledger.when(actor(Role::Admin), Command::Configure(with(Span::minutes(1))))
    else {
        panic!("an admin may")
    };
    assert_eq!(ledger.state.config(), &with(Span::minutes(1)));
    let operators = Command::Configure(with(Span::minutes(2)));
    assert_eq!(ledger.refused(actor(Role::Operator), operators), RefusalCode::NotPermitted);
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn every_change_of_a_pin_tells_who_enforces_to_ask_again() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let items = |ledger: &Ledger| ledger.state.feed().last();
    let before = items(&ledger);
    ledger.allowed(call(1));
    assert_eq!(items(&ledger), before + 1);
    ledger.denied(call(2));
    assert_eq!(items(&ledger), before + 2, "the revocation; the change itself ends nothing");
    ledger.given(Command::UnpinTool { tool: id::<ToolId>(TOOL), reason: None });
    assert_eq!(items(&ledger), before + 3);
}
