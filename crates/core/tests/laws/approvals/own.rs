//! Nobody approves what is their own: the owner, who acts through the owner's agents, who asked. And
//! what an agent of one owner waits for, or got, is nothing to the next.

use bailiwick_core::command::ReassignAgent;
use bailiwick_core::id::GrantRequestId;

use super::*;
use crate::laws::harness::token;

fn add(delegate: &str) -> Command {
    Command::AddDelegate { owner: id("alice"), delegate: id(delegate), expires_at: None }
}

fn remove(delegate: &str) -> Command {
    Command::RemoveDelegate { owner: id("alice"), delegate: id(delegate), reason: None }
}

fn reassign(to: &str) -> Command {
    Command::ReassignAgent(ReassignAgent { agent: id("helper"), to: id(to), reason: None })
}

fn by(human: &str) -> Authorize {
    Authorize { on_behalf_of: Some(id(human)), ..pay() }
}

#[test]
fn who_may_act_through_an_agent_is_nobody_else() {
    let mut ledger = world(BY_GROUP);
    ledger.given(add("carol"));
    // Whoever asked: carol herself, the owner, or the agent of its own accord.
    for ask in [by("carol"), by("alice"), pay()] {
        let mut ledger = ledger.clone();
        let approval = waits(&mut ledger, ask);
        for own in ["carol", "alice"] {
            not_approved(&mut ledger, person(own), approval, RefusalCode::NotPermitted);
        }
        approve(&mut ledger, "dave", approval);
        ledger.allowed(by("carol"));
        replays(&ledger);
    }
}

#[test]
fn delegate_never_counts_as_the_owner() {
    let mut ledger = world(BY_OWNER);
    ledger.given(add("bob"));
    let approval = waits(&mut ledger, by("bob"));
    not_approved(&mut ledger, person("bob"), approval, RefusalCode::NotPermitted);
    approve(&mut ledger, "alice", approval);
    ledger.allowed(by("bob"));
}

#[test]
fn who_asked_does_not_approve_when_the_delegation_is_over_and_others_may() {
    for again in [false, true] {
        let mut ledger = world(BY_GROUP);
        ledger.given(add("carol"));
        ledger.given(add("dave"));
        // The first to ask, or somebody who asks the same while it waits.
        let first = if again { pay() } else { by("carol") };
        let approval = waits(&mut ledger, first);
        let calls = ledger
            .submit(&submission(token("helper", "carol"), Command::Authorize(Box::new(pay()))));
        assert_eq!(names(&calls.events), ["call.denied"]);
        for delegate in ["carol", "dave"] {
            ledger.given(remove(delegate));
        }
        not_approved(&mut ledger, person("carol"), approval, RefusalCode::NotPermitted);
        replays(&ledger);
        approve(&mut ledger, "dave", approval);
        ledger.allowed(pay());
    }
}

#[test]
fn delegation_that_ran_out_keeps_only_who_asked_from_approving() {
    let mut ledger = world(BY_GROUP);
    let end = ledger.now().after(Span::minutes(1));
    let (owner, delegate) = (id("alice"), id("carol"));
    ledger.given(Command::AddDelegate { owner, delegate, expires_at: Some(end) });
    let approval = waits(&mut ledger, pay());
    ledger.clock = Time(end.0 - 1);
    not_approved(&mut ledger, person("carol"), approval, RefusalCode::NotPermitted);
    ledger.clock = end;
    approve(&mut ledger, "carol", approval);
}

#[test]
fn yes_of_who_becomes_a_delegate_before_the_last_one_does_not_count() {
    let mut ledger = world(BY_TWO);
    ledger.given(Command::RegisterOwner(in_groups("erin", &["sec"])));
    let key = credential("of-erin", Role::Approver, None);
    let owner = Some(id("erin"));
    ledger.given(Command::IssueCredential(IssueCredential { owner, ..key }));
    let approval = waits(&mut ledger, pay());
    approve(&mut ledger, "carol", approval);
    ledger.given(add("carol"));
    approve(&mut ledger, "dave", approval);
    assert_eq!(status(&ledger, approval), ApprovalStatus::Pending);
    assert_eq!(ledger.denied(by("carol")), DenialCode::ApprovalRequired);
    approve(&mut ledger, "erin", approval);
    assert_eq!(status(&ledger, approval), ApprovalStatus::Granted);
    ledger.allowed(by("carol"));
}

#[test]
fn a_no_of_those_whose_own_it_is_counts() {
    for own in ["alice", "bob", "carol"] {
        let mut ledger = world(BY_GROUP);
        ledger.given(add("bob"));
        ledger.given(add("carol"));
        let approval = waits(&mut ledger, by("carol"));
        assert!(matches!(ledger.when(person(own), no(approval)), Answer::Done(_)));
        assert_eq!(ledger.denied(by("carol")), DenialCode::ApprovalDenied);
    }
    let mut ledger = world(BY_GROUP);
    let approval = waits(&mut ledger, pay());
    assert_eq!(ledger.refused(person("bob"), no(approval)), RefusalCode::NotPermitted);
}

#[test]
fn who_asked_for_a_grant_with_a_key_of_another_role_does_not_approve_it() {
    let mut ledger = world(BY_GROUP);
    let key = credential("at-work", Role::Operator, None);
    let owner = Some(id("carol"));
    ledger.given(Command::IssueCredential(IssueCredential { owner, ..key }));
    let at_work = Actor::Credential { id: id("at-work"), role: Role::Operator };
    let asks = Command::RequestGrant(terms("helper", "pay/send", "pay://bank/1"));
    let Answer::Done(asked) = ledger.when(at_work, asks) else { panic!("it may ask") };
    let request = GrantRequestId(asked.index);
    let approval = ledger.state.approvals().of_request(request).unwrap();
    not_approved(&mut ledger, person("carol"), approval, RefusalCode::NotPermitted);
    assert!(approve(&mut ledger, "dave", approval).grant.is_some());
}

#[test]
fn owner_in_person_is_no_agent_and_delegates_are_somebody_else() {
    let policy = r#"@jit("true") @approval("group:sec") permit (principal, action, resource);"#;
    let mut ledger = world(&[policy]);
    ledger.given(add("carol"));
    let in_person = ask_as(Subject::Person(id("alice")), "pay/send", "pay://bank/1");
    let approval = waits(&mut ledger, in_person.clone());
    not_approved(&mut ledger, person("alice"), approval, RefusalCode::NotPermitted);
    approve(&mut ledger, "carol", approval);
    ledger.allowed(in_person);
}

#[test]
fn what_an_agent_waits_for_is_void_when_it_goes_to_another_owner() {
    let mut ledger = world(BY_TWO);
    let call = waits(&mut ledger, pay());
    let asks = Command::RequestGrant(terms("helper", "pay/send", "pay://bank/**"));
    let request = GrantRequestId(ledger.given(asks).index);
    let of_request = ledger.state.approvals().of_request(request).unwrap();
    let others = waits(&mut ledger, ask("second", "pay/send", "pay://bank/1"));
    approve(&mut ledger, "carol", call);
    let index = ledger.state.next_index();
    let decided = ledger.submit(&submission(actor(Role::Operator), reassign("bob")));
    let expected = ["agent.reassigned", "approval.expired", "approval.expired", "grant.denied"];
    assert_eq!(names(&decided.events), expected);
    for event in &decided.events[1..] {
        assert_eq!((&event.about.actor, event.about.cause), (&Actor::System, Some(index)));
    }
    for approval in [call, of_request] {
        assert_eq!(status(&ledger, approval), ApprovalStatus::Expired);
        not_approved(&mut ledger, person("dave"), approval, RefusalCode::WrongState);
    }
    assert_eq!(status(&ledger, others), ApprovalStatus::Pending, "it is another agent's");
    // Under the new owner people are asked anew, and the yes from before is none to that; nor when
    // it comes back.
    for (owner, human) in [("bob", "alice"), ("alice", "bob")] {
        let anew = waits(&mut ledger, pay());
        let known = ledger.state.approvals().get(anew).unwrap();
        assert_eq!((known.asked.owner.as_str(), known.said.len()), (owner, 0));
        approve(&mut ledger, "dave", anew);
        assert_eq!(status(&ledger, anew), ApprovalStatus::Pending);
        if owner == "bob" {
            // Who was its owner is somebody else now, and of the group.
            approve(&mut ledger, human, anew);
            ledger.allowed(pay());
            ledger.given(reassign("alice"));
        }
    }
    replays(&ledger);
}

#[test]
fn no_call_under_the_new_owner_rides_on_what_was_approved_under_the_old() {
    // Held to the call that was shown, or to the terms that were asked for.
    for asked_for in [false, true] {
        let mut ledger = world(BY_GROUP);
        let approval = if asked_for {
            let asks = Command::RequestGrant(terms("helper", "pay/send", "pay://bank/1"));
            let request = GrantRequestId(ledger.given(asks).index);
            ledger.state.approvals().of_request(request).unwrap()
        } else {
            waits(&mut ledger, pay())
        };
        let grant = approve(&mut ledger, "carol", approval).grant.unwrap();
        let call = keyed(actor(Role::Enforcer), "r1", Command::Authorize(Box::new(pay())));
        {
            let mut ledger = ledger.clone();
            assert_eq!(ledger.allowed(pay()), grant, "it is good until then");
        }
        ledger.given(reassign("bob"));
        let anew = waits(&mut ledger, pay());
        assert_eq!(ledger.state.approvals().get(anew).unwrap().asked.owner, id("bob"));
        ledger.given(reassign("alice"));
        assert_eq!(ledger.denied(pay()), DenialCode::ApprovalRequired, "not when it comes back");
        assert!(!crate::laws::harness::is_allowed(&ledger.submit(&call)));
        let held = ledger.state.grants().get(grant).unwrap();
        let standing = ledger.state.check_grant(grant, held, ledger.now());
        assert_eq!(standing, Err(DenialCode::GrantRevoked));
    }
}

#[test]
fn yes_after_the_tool_came_with_another_definition_is_none() {
    let mut ledger = world(BY_GROUP);
    let defined = |n: u8| Authorize { tool_hash: Some(Digest([n; 32])), ..pay() };
    let pin = crate::laws::harness::pin_tool("pay/send", 1);
    ledger.given(Command::PinTool(pin));
    let approval = waits(&mut ledger, defined(1));
    assert_eq!(ledger.denied(defined(2)), DenialCode::ToolChanged);
    let done = approve(&mut ledger, "carol", approval);
    assert_eq!((done.kind, done.grant), (103, None));
    ledger.given(crate::laws::harness::lift(Selector::Tool(id("pay/send"))));
    assert_ne!(waits(&mut ledger, defined(1)), approval);
}
