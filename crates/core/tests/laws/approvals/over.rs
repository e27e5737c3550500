//! What ends an approval, and what comes after its end.

use super::*;
use crate::laws::harness::{lift, put_policy};

#[test]
fn what_has_ended_is_not_approved() {
    let ledger = {
        let mut ledger = world(BY_OWNER);
        waits(&mut ledger, pay());
        ledger
    };
    let approval = ledger.state.approvals().all_pending().next().unwrap().0;
    let end = ledger.state.approvals().get(approval).unwrap().asked.expires_at;
    type Change = fn(&mut Ledger, ApprovalId, Time);
    let ends: [(ApprovalStatus, Change); 5] = [
        (ApprovalStatus::Granted, |ledger, approval, _| {
            approve(ledger, "alice", approval);
        }),
        (ApprovalStatus::Denied, |ledger, approval, _| {
            ledger.when(person("alice"), no(approval));
        }),
        (ApprovalStatus::Withdrawn, |ledger, approval, _| {
            ledger.when(agent_key("helper"), withdraw(approval));
        }),
        (ApprovalStatus::Expired, |ledger, _, end| {
            ledger.clock = end;
            ledger.given(Command::Expire);
        }),
        // The time is over, and nobody has recorded that yet.
        (ApprovalStatus::Pending, |ledger, _, end| ledger.clock = end),
    ];
    for (ended, change) in ends {
        let mut ledger = ledger.clone();
        change(&mut ledger, approval, end);
        assert_eq!(status(&ledger, approval), ended);
        not_approved(&mut ledger, person("alice"), approval, RefusalCode::WrongState);
        for (by, command) in
            [(person("alice"), no(approval)), (agent_key("helper"), withdraw(approval))]
        {
            assert_eq!(ledger.refused(by, command), RefusalCode::WrongState);
        }
        replays(&ledger);
    }
    let mut ledger = ledger;
    ledger.clock = Time(end.0 - 1);
    approve(&mut ledger, "alice", approval);
}

#[test]
fn what_it_stood_on_is_gone_and_so_is_the_approval() {
    type Change = fn(&mut Ledger, bailiwick_core::id::TaskId);
    let changes: [Change; 10] = [
        |ledger, _| {
            ledger.given(revoke(Selector::Agent(id("helper"))));
        },
        |ledger, _| {
            ledger.given(revoke(Selector::Resource(id("pay://bank"))));
            ledger.given(lift(Selector::Resource(id("pay://bank"))));
        },
        |ledger, _| {
            ledger.given(revoke(Selector::Tool(id("pay/send"))));
            ledger.given(lift(Selector::Tool(id("pay/send"))));
        },
        |ledger, task| {
            ledger.given(revoke(Selector::Task(task)));
        },
        |ledger, _| {
            ledger.given(revoke(Selector::All));
            ledger.given(lift(Selector::All));
        },
        |ledger, _| {
            ledger.given(Command::SuspendAgent { agent: id("helper"), reason: None });
            ledger.given(Command::ReinstateAgent { agent: id("helper"), reason: None });
        },
        |ledger, _| {
            ledger.given(Command::RetireAgent { agent: id("helper"), reason: None });
        },
        |ledger, _| {
            ledger.given(Command::DisableOwner { owner: id("alice"), reason: None });
            ledger.given(Command::EnableOwner { owner: id("alice") });
        },
        |ledger, task| {
            ledger.given(Command::CloseTask { task, reason: None });
        },
        |ledger, _| {
            ledger.given(put_policy(
                "more",
                "forbid (principal is Owner, action, resource) when { context.effect == \"open\" };",
            ));
            ledger.given(Command::ActivatePolicies);
        },
    ];
    for (n, change) in changes.iter().enumerate() {
        let mut ledger = world(BY_GROUP);
        let task = ledger.open_task("helper");
        let approval = waits(&mut ledger, with_task(pay(), task));
        change(&mut ledger, task);
        let done = approve(&mut ledger, "carol", approval);
        assert_eq!((done.kind, done.grant), (103, None), "change {n}");
        assert_eq!(status(&ledger, approval), ApprovalStatus::Expired);
        assert_eq!(ledger.log.last().unwrap().event.fact.name(), "approval.expired");
        not_approved(&mut ledger, person("carol"), approval, RefusalCode::WrongState);
        replays(&ledger);
    }
}

#[test]
fn a_new_question_takes_the_place_of_one_that_is_over() {
    let mut ledger = world(BY_OWNER);
    let first = waits(&mut ledger, pay());
    ledger.clock = ledger.state.approvals().get(first).unwrap().asked.expires_at;
    let second = waits(&mut ledger, pay());
    assert_ne!(first, second);
    assert_eq!(status(&ledger, first), ApprovalStatus::Expired);
    let third = {
        ledger.given(revoke(Selector::Agent(id("helper"))));
        ledger.given(lift(Selector::Agent(id("helper"))));
        waits(&mut ledger, pay())
    };
    assert_eq!(status(&ledger, second), ApprovalStatus::Expired);
    ledger.when(agent_key("helper"), withdraw(third));
    assert_ne!(waits(&mut ledger, pay()), third);
    replays(&ledger);
}

#[test]
fn a_humans_no_stands_for_the_same_call_as_long_as_the_request_would_have() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    let end = ledger.state.approvals().get(approval).unwrap().asked.expires_at;
    assert!(matches!(ledger.when(person("alice"), no(approval)), Answer::Done(_)));
    for words in [None, Some(text("really"))] {
        let denied = ledger.call(Authorize { justification: words, ..pay() }).result.unwrap_err();
        assert_eq!(denied.code, DenialCode::ApprovalDenied);
        assert_eq!(denied.approval.unwrap().id, approval);
        assert!(denied.message.contains("not today"), "{}", denied.message);
    }
    waits(&mut ledger, others().remove(0));
    ledger.clock = Time(end.0 - 1);
    assert_eq!(ledger.denied(pay()), DenialCode::ApprovalDenied);
    ledger.clock = end;
    assert_ne!(waits(&mut ledger, pay()), approval);
    replays(&ledger);
}

#[test]
fn an_agents_owner_may_say_no_where_only_others_may_say_yes() {
    let mut ledger = world(BY_GROUP);
    let approval = waits(&mut ledger, pay());
    assert_eq!(ledger.refused(person("bob"), no(approval)), RefusalCode::NotPermitted);
    assert_eq!(ledger.refused(actor(Role::Admin), no(approval)), RefusalCode::NotPermitted);
    assert!(matches!(ledger.when(person("alice"), no(approval)), Answer::Done(_)));
}

#[test]
fn an_agent_withdraws_only_what_it_asked() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    for by in [agent_key("second"), agent_key("third"), person("alice"), actor(Role::Auditor)] {
        assert_eq!(ledger.refused(by, withdraw(approval)), RefusalCode::NotPermitted);
    }
    assert!(matches!(ledger.when(agent_key("helper"), withdraw(approval)), Answer::Done(_)));
    let unknown = ApprovalId(0);
    assert_eq!(ledger.refused(actor(Role::Admin), withdraw(unknown)), RefusalCode::NotFound);
}

#[test]
fn of_a_yes_and_a_withdrawal_the_first_wins() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    let mut other = ledger.clone();
    let said = yes(&ledger, approval);
    assert!(matches!(ledger.when(agent_key("helper"), withdraw(approval)), Answer::Done(_)));
    assert_eq!(ledger.refused(person("alice"), said.clone()), RefusalCode::WrongState);
    assert_ne!(waits(&mut ledger, pay()), approval);

    assert!(matches!(other.when(person("alice"), said), Answer::Done(_)));
    assert_eq!(other.refused(agent_key("helper"), withdraw(approval)), RefusalCode::WrongState);
    other.allowed(pay());
}

#[test]
fn what_ended_is_forgotten_after_an_hour_and_what_waits_expires_in_pieces() {
    let mut ledger = world(BY_OWNER);
    let empty = ledger.state.approvals().after(None).count();
    for n in 0..APPROVALS_EACH_MAX {
        waits(&mut ledger, Authorize { resource: id(&format!("pay://bank/{n}")), ..pay() });
    }
    ledger.wait(Span::minutes(10));
    let decided = ledger.submit(&submission(Actor::System, Command::Expire));
    assert_eq!(decided.events.len(), APPROVALS_EACH_MAX);
    assert!(decided.events.iter().all(|event| event.fact.name() == "approval.expired"));
    assert_eq!(ledger.state.approvals().waiting(), 0);
    assert_eq!(ledger.state.approvals().after(None).count(), APPROVALS_EACH_MAX);
    ledger.wait(Span::hours(1));
    ledger.given(Command::ActivatePolicies);
    assert_eq!(ledger.state.approvals().after(None).count(), empty);
    replays(&ledger);
}
