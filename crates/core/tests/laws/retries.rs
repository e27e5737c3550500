//! Retries: the same id and command get the first answer, the same id with another command none.

use bailiwick_core::command::{Answer, Command, Done, Submission};
use bailiwick_core::decide::ALLOW_REPEATED;
use bailiwick_core::event::{Actor, DenialCode, Role, Selector};
use bailiwick_core::time::Span;

use super::harness::{
    ALL, JUST_IN_TIME, Ledger, actor, agent_key, ask, code, decision, finish, id, is_allowed,
    issue, keyed, open_task, put_policy, revoke, terms, write_agent, write_owner,
};

fn first_answer(done: &Answer, ledger: &Ledger) -> Answer {
    let Answer::Done(Done { kind, index, grant, .. }) = done else { panic!("{done:?}") };
    let link = ledger.log[*index as usize].place.link;
    Answer::Done(Done { kind: *kind, index: *index, grant: *grant, repeats: Some(link) })
}

#[test]
fn every_administrative_command_repeats_its_first_answer_for_a_quarter_of_an_hour() {
    let mut base = Ledger::with_policies(JUST_IN_TIME);
    let task = base.open_task("helper");
    let grant = base.grant("helper", "crm/read", "crm://case/2");
    let call = base.call(ask("helper", "crm/read", "crm://case/1")).call;
    let denied = Command::RequestGrant(terms("helper", "pay/send", "pay://bank"));
    let commands: Vec<(Actor, Command)> = vec![
        (actor(Role::Admin), Command::RegisterOwner(write_owner("carol"))),
        (actor(Role::Admin), Command::UpdateOwner(write_owner("bob"))),
        (actor(Role::Admin), Command::RegisterAgent(write_agent("fourth", "bob", &[]))),
        (actor(Role::Admin), Command::SuspendAgent { agent: id("third"), reason: None }),
        (actor(Role::Admin), put_policy("more", ALL[0])),
        (actor(Role::Admin), Command::ActivatePolicies),
        (actor(Role::Operator), issue(terms("helper", "crm/write", "crm://case/**"))),
        (actor(Role::Operator), revoke(Selector::Tool(id("crm/write")))),
        (agent_key("helper"), Command::RequestGrant(terms("helper", "crm/read", "crm://case/3"))),
        (agent_key("helper"), Command::RequestGrant(terms("helper", "crm/read", "crm://case/**"))),
        (agent_key("helper"), denied),
        (agent_key("helper"), Command::OpenTask(open_task("helper"))),
        // After these the agent would no longer be permitted to ask for the same.
        (agent_key("helper"), Command::CloseTask { task, reason: None }),
        (agent_key("helper"), Command::ReturnGrant { grant }),
        (agent_key("helper"), finish(call)),
    ];
    for (by, command) in commands {
        let mut ledger = base.clone();
        let submission = keyed(by, "r", command);
        let first = ledger.submit(&submission).answer;
        let expected = first_answer(&first, &ledger);
        for _ in 0..2 {
            let again = ledger.submit(&submission);
            assert_eq!(again.answer, expected, "{:?}", submission.command);
            assert!(again.events.is_empty());
            ledger.wait(Span::minutes(14));
            ledger.clock = ledger.log.last().unwrap().place.time.after(Span::minutes(14));
        }
        let other = keyed(submission.actor.clone(), "r", Command::OpenTask(open_task("nobody")));
        assert_eq!(
            ledger.refused(other.actor.clone(), Command::OpenTask(open_task("nobody"))),
            match &other.actor {
                Actor::Credential { role: Role::Agent, .. }
                | Actor::Token { role: Role::Agent, .. } => {
                    bailiwick_core::command::RefusalCode::NotPermitted
                }
                Actor::System | Actor::Credential { .. } | Actor::Token { .. } => {
                    bailiwick_core::command::RefusalCode::NotFound
                }
            }
        );
        match ledger.submit(&other).answer {
            Answer::Refused(refusal) => assert_eq!(refusal.code.as_str(), "id_reused"),
            answer => panic!("expected a refusal, got {answer:?}"),
        }
        ledger.wait(Span::minutes(1));
        assert_ne!(ledger.submit(&submission).answer, expected, "it is forgotten then");
    }
}

fn allow() -> (Ledger, Submission) {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let call = Command::Authorize(Box::new(ask("helper", "crm/read", "crm://case/1")));
    let submission = keyed(actor(Role::Enforcer), "r", call);
    assert!(is_allowed(&ledger.submit(&submission)));
    (ledger, submission)
}

#[test]
fn allow_is_repeated_without_another_use() {
    let (mut ledger, submission) = allow();
    let events = ledger.log.len();
    let first = ledger.log.last().unwrap().clone();
    for _ in 0..3 {
        let again = decision(ledger.submit(&submission).answer);
        assert_eq!(again.call.0, first.place.index);
        assert_eq!(again.repeats, Some(first.place.link));
        assert_eq!(again.result.unwrap().uses_left, 1);
    }
    assert_eq!(ledger.log.len(), events);
}

/// Given an allowed call and then what `given` does, the retry is denied with `code`, and denied
/// again however often it comes.
#[track_caller]
fn check_not_repeated(expected: DenialCode, given: impl FnOnce(&mut Ledger)) {
    let (mut ledger, submission) = allow();
    given(&mut ledger);
    for _ in 0..3 {
        assert_eq!(code(&ledger.submit(&submission)), Some(expected));
    }
}

#[test]
fn allow_is_not_repeated_once_its_call_or_its_grant_has_ended() {
    let call = |ledger: &Ledger| bailiwick_core::id::CallId(ledger.state.next_index() - 1);
    let grant = |ledger: &Ledger| bailiwick_core::id::GrantId(ledger.state.next_index() - 2);
    check_not_repeated(DenialCode::IdReused, |l| {
        l.given(finish(call(l)));
    });
    check_not_repeated(DenialCode::GrantRevoked, |l| {
        l.given(Command::ReturnGrant { grant: grant(l) });
    });
    check_not_repeated(DenialCode::GrantRevoked, |l| {
        // Handed back, and out of the way of a later one that covered the same.
        l.given(Command::ReturnGrant { grant: grant(l) });
        for _ in 0..3 {
            l.allowed(ask("helper", "crm/read", "crm://case/1"));
        }
    });
    check_not_repeated(DenialCode::GrantRevoked, |l| {
        l.given(revoke(Selector::Grant(grant(l))));
        for _ in 0..4 {
            l.allowed(ask("helper", "crm/read", "crm://case/1"));
        }
    });
    check_not_repeated(DenialCode::Suspended, |l| {
        l.given(revoke(Selector::Agent(id("helper"))));
    });
    check_not_repeated(DenialCode::OwnerDisabled, |l| {
        l.given(Command::DisableOwner { owner: id("alice"), reason: None });
    });
    check_not_repeated(DenialCode::Forbidden, |l| {
        l.given(put_policy("no", "forbid (principal, action, resource);"));
        l.given(Command::ActivatePolicies);
    });
    check_not_repeated(DenialCode::ToolNotAllowed, |l| {
        l.given(Command::UpdateAgent(write_agent("helper", "alice", &["pay/*"])));
    });
    check_not_repeated(DenialCode::IdReused, |l| {
        l.clock = l.log.last().unwrap().place.time.after(ALLOW_REPEATED);
    });
}

#[test]
fn denied_call_is_decided_anew() {
    let mut ledger = Ledger::with_policies(ALL);
    let call = Command::Authorize(Box::new(ask("helper", "crm/read", "crm://case/1")));
    let submission = keyed(actor(Role::Enforcer), "r", call);
    for _ in 0..2 {
        assert_eq!(code(&ledger.submit(&submission)), Some(DenialCode::NoGrant));
    }
    ledger.grant("helper", "crm/read", "crm://case/1");
    assert!(is_allowed(&ledger.submit(&submission)));
}
