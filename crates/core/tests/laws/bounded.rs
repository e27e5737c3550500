//! State does not grow with what is over.

use bailiwick_core::command::{Authorize, Command};
use bailiwick_core::decide::decide;
use bailiwick_core::event::{Place, Role, Selector};
use bailiwick_core::state::Grant;
use bailiwick_core::time::{Span, Time};

use super::harness::{
    ALL, JUST_IN_TIME, Ledger, actor, ask, finish, keyed, link, names, revoke, submission, terms,
    with_task,
};

/// The call with policy's answer at hand, as handlers submit it.
fn evaluated(ledger: &Ledger, mut ask: Authorize) -> Authorize {
    ask.verdicts = ledger.state.view().verdicts(&ask, ledger.now());
    ask
}

#[test]
fn hundred_thousand_calls_leave_no_more_than_the_last_minutes() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let asks: Vec<Authorize> = (0..50)
        .map(|n| evaluated(&ledger, ask("helper", "crm/read", &format!("crm://case/{n}"))))
        .collect();
    let calls: Vec<_> = asks
        .iter()
        .map(|ask| submission(actor(Role::Enforcer), Command::Authorize(Box::new(ask.clone()))))
        .collect();
    let mut largest = 0;
    for n in 0..100_000 {
        let now = ledger.now();
        let decided = decide(&ledger.state, &calls[n % calls.len()], now);
        assert!(super::harness::is_allowed(&decided));
        for (i, event) in (0..).zip(&decided.events) {
            let index = ledger.state.next_index();
            let place = Place { index, time: Time(now.0 + i), link: link(index) };
            ledger.state.apply(place, event);
        }
        ledger.clock = now.after(Span(20));
        largest = largest.max(ledger.state.grants().len());
    }
    // Of what covers the same, the open one and the last that ended.
    assert!(largest <= 2 * asks.len(), "{largest} grants");
    ledger.wait(Span::minutes(7));
    ledger.given(Command::ActivatePolicies);
    assert!(ledger.state.grants().is_empty());
}

#[test]
fn what_few_grants_have_costs_the_many_one_word() {
    // With its box and three short keys in half-filled nodes this stays within 300 bytes a live
    // grant: short ids lie in the grant itself.
    assert!(size_of::<Grant>() <= 192, "{} bytes", size_of::<Grant>());
    let mut ledger = Ledger::with_policies(ALL);
    let plain = ledger.grant("helper", "crm/read", "crm://case/1");
    assert_eq!(ledger.state.grants().get(plain).unwrap().bounds, None);
}

#[test]
fn snapshot_of_a_busy_ledger_stays_small() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let mut sizes = Vec::new();
    for round in 0..4 {
        for n in 0..500 {
            let resource = format!("crm://case/{}", round * 500 + n);
            let call = evaluated(&ledger, ask("helper", "crm/read", &resource));
            let call = Command::Authorize(Box::new(call));
            let key = format!("r-{round}-{n}");
            let decided = ledger.submit(&keyed(actor(Role::Enforcer), &key, call));
            let index = super::harness::decision(decided.answer).call;
            ledger.given(finish(index));
        }
        ledger.wait(Span::hours(1));
        ledger.given(Command::ActivatePolicies);
        sizes.push(ledger.state.to_bytes().len());
    }
    // A feed item an activation is all that is left.
    let grown = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
    assert!(grown < 1_000, "{sizes:?}");
}

#[test]
fn marks_of_grants_and_tasks_go_with_them() {
    let mut ledger = Ledger::with_policies(ALL);
    ledger.given(Command::ActivatePolicies);
    let before = ledger.state.marks().clone();
    for _ in 0..20 {
        let task = ledger.open_task("helper");
        let mut terms = terms("helper", "crm/read", "crm://case/1");
        terms.task = Some(task);
        let grant = ledger.given(super::harness::issue(terms)).grant.unwrap();
        ledger.allowed(with_task(ask("helper", "crm/read", "crm://case/1"), task));
        ledger.given(revoke(Selector::Grant(grant)));
        ledger.given(revoke(Selector::Task(task)));
        ledger.given(Command::CloseTask { task, reason: None });
    }
    ledger.wait(Span::minutes(10));
    ledger.given(Command::ActivatePolicies);
    let bytes = |marks| bincode::encode_to_vec(marks, bincode::config::standard()).unwrap();
    assert_eq!(bytes(ledger.state.marks()), bytes(&before));
}

#[test]
fn expiry_is_recorded_once_and_in_bounded_pieces() {
    let mut ledger = Ledger::with_policies(ALL);
    let count = 600;
    for n in 0..count {
        ledger.grant("helper", "crm/read", &format!("crm://case/{n}"));
    }
    let returned = ledger.grant("helper", "crm/read", "crm://case/returned");
    let revoked = ledger.grant("helper", "crm/read", "crm://case/revoked");
    ledger.given(Command::ReturnGrant { grant: returned });
    ledger.given(revoke(Selector::Grant(revoked)));
    ledger.wait(Span::minutes(5));
    let mut recorded = 0;
    for expected in [256, 256, 88, 0, 0] {
        let system = bailiwick_core::event::Actor::System;
        let events = ledger.submit(&submission(system, Command::Expire)).events;
        assert!(names(&events).iter().all(|name| *name == "grant.expired"));
        assert_eq!(events.len(), expected);
        recorded += events.len();
    }
    assert_eq!(recorded, count);
    assert_eq!(ledger.denied(ask("helper", "crm/read", "crm://case/5")).as_str(), "grant_expired");
    ledger.wait(Span::minutes(2));
    ledger.given(Command::ActivatePolicies);
    assert!(ledger.state.grants().is_empty());
    assert_eq!(ledger.denied(ask("helper", "crm/read", "crm://case/5")).as_str(), "no_grant");
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}
