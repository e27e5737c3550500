//! On whose behalf agents act: the owner, the owner's delegates, the human whose token it is; and an
//! agent that goes to another owner, with nothing of what it had.

use bailiwick_core::command::{
    Authorize, Command, ReassignAgent, RefusalCode, Subject, WriteOwner,
};
use bailiwick_core::decide::{DELEGATES_MAX, TASKS_CLOSED_EACH};
use bailiwick_core::event::{Actor, DenialCode, Fact, Role, Selector};
use bailiwick_core::id::{GrantRequestId, OwnerId};
use bailiwick_core::time::{Span, Time};

use super::harness::{
    ALL, JUST_IN_TIME, Ledger, actor, agent_key, ask, ask_as, code, finish, id, is_allowed, issue,
    keyed, lift, names, open_task, revoke, submission, terms, text, token, with_task, write_agent,
    write_owner,
};

fn read(agent: &str) -> Authorize {
    ask(agent, "crm/read", "crm://case/1")
}

/// The call with the human who is logged in where it is enforced.
fn by(human: &str, ask: Authorize) -> Authorize {
    Authorize { on_behalf_of: Some(id(human)), ..ask }
}

fn add(owner: &str, delegate: &str, expires_at: Option<Time>) -> Command {
    Command::AddDelegate { owner: id(owner), delegate: id(delegate), expires_at }
}

fn remove(owner: &str, delegate: &str) -> Command {
    Command::RemoveDelegate { owner: id(owner), delegate: id(delegate), reason: None }
}

fn reassign(agent: &str, to: &str) -> Command {
    Command::ReassignAgent(ReassignAgent { agent: id(agent), to: id(to), reason: None })
}

#[test]
fn delegate_acts_through_the_owners_agents_until_that_is_taken_back() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    assert_eq!(ledger.denied(by("bob", read("helper"))), DenialCode::NotOwner);
    ledger.given(add("alice", "bob", None));
    ledger.allowed(by("bob", read("helper")));
    ledger.allowed(by("alice", read("second")));
    let authorized = ledger.log.iter().rev().find(|r| r.event.fact.kind() == 110).unwrap();
    assert_eq!(authorized.event.about.on_behalf_of, Some(id("alice")));
    // Not the other way round, and nobody else.
    assert_eq!(ledger.denied(by("alice", read("third"))), DenialCode::NotOwner);
    assert_eq!(ledger.denied(by("nobody", read("helper"))), DenialCode::NotOwner);
    ledger.given(remove("alice", "bob"));
    assert_eq!(ledger.denied(by("bob", read("helper"))), DenialCode::NotOwner);
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn delegate_is_none_from_the_moment_that_the_time_is_over() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let end = ledger.now().after(Span::seconds(10));
    ledger.given(add("alice", "bob", Some(end)));
    ledger.clock = Time(end.0 - 1);
    ledger.allowed(by("bob", read("helper")));
    ledger.clock = end;
    assert_eq!(ledger.denied(by("bob", read("helper"))), DenialCode::NotOwner);
    // A clock that runs back revives nothing, since event time does not.
    ledger.clock = Time(end.0 - 1_000);
    assert_eq!(ledger.denied(by("bob", read("helper"))), DenialCode::NotOwner);
    let later = ledger.now().after(Span::seconds(10));
    ledger.given(add("alice", "bob", Some(later)));
    ledger.allowed(by("bob", read("helper")));
}

#[test]
fn delegate_who_may_not_act_at_all_is_none() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.given(add("alice", "bob", None));
    ledger.given(Command::DisableOwner { owner: id("bob"), reason: None });
    assert_eq!(ledger.denied(by("bob", read("helper"))), DenialCode::NotOwner);
    ledger.allowed(by("alice", read("helper")));
    ledger.given(Command::EnableOwner { owner: id("bob") });
    ledger.allowed(by("bob", read("helper")));
    ledger.given(revoke(Selector::Owner(id("bob"))));
    assert_eq!(ledger.denied(by("bob", read("second"))), DenialCode::NotOwner);
    ledger.allowed(by("alice", read("second")));
}

#[test]
fn delegate_stays_within_the_owners_perimeter_and_brings_none() {
    // Alice may read, bob may write; alice's agent may do both by its own policy.
    let policies: &[&str] = &[
        r#"@jit("true") permit (principal is Agent, action, resource);"#,
        r#"permit (principal == Owner::"alice", action == Action::"crm/read", resource);"#,
        r#"permit (principal == Owner::"bob", action == Action::"crm/write", resource);"#,
    ];
    let mut ledger = Ledger::with_policies(policies);
    ledger.given(add("alice", "bob", None));
    ledger.allowed(by("bob", read("helper")));
    let write = ask("helper", "crm/write", "crm://case/1");
    assert_eq!(ledger.denied(by("bob", write)), DenialCode::Forbidden);
}

#[test]
fn delegate_is_not_the_owner_in_person() {
    let mut ledger = Ledger::with_policies(ALL);
    ledger.given(add("alice", "bob", None));
    let alice = ask_as(Subject::Person(id("alice")), "crm/read", "crm://case/1");
    assert_eq!(ledger.denied(by("bob", alice)), DenialCode::NotOwner);
}

#[test]
fn delegates_survive_an_update_of_their_owner() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.given(add("alice", "bob", None));
    let groups = [id("staff")].into();
    ledger.given(Command::UpdateOwner(WriteOwner { groups, ..write_owner("alice") }));
    ledger.allowed(by("bob", read("helper")));
}

#[test]
fn delegation_that_makes_no_sense_is_refused() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let operator = || actor(Role::Operator);
    let passed = Some(ledger.now());
    ledger.wait(Span(1));
    for (command, refused) in [
        (add("nobody", "bob", None), RefusalCode::NotFound),
        (add("alice", "nobody", None), RefusalCode::NotFound),
        (add("alice", "alice", None), RefusalCode::OutOfRange),
        (add("alice", "bob", passed), RefusalCode::OutOfRange),
        (remove("alice", "bob"), RefusalCode::NotFound),
        (remove("nobody", "bob"), RefusalCode::NotFound),
    ] {
        assert_eq!(ledger.refused(operator(), command), refused);
    }
}

#[test]
fn owner_has_so_many_delegates_and_those_whose_time_is_over_do_not_count() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let end = ledger.now().after(Span::minutes(1));
    for n in 0..=DELEGATES_MAX {
        let owner = format!("d{n}");
        ledger.given(Command::RegisterOwner(write_owner(&owner)));
        if n < DELEGATES_MAX {
            ledger.given(add("alice", &owner, (n == 0).then_some(end)));
        }
    }
    let last = format!("d{DELEGATES_MAX}");
    let operator = || actor(Role::Operator);
    let one_more = add("alice", &last, None);
    assert_eq!(ledger.refused(operator(), one_more.clone()), RefusalCode::LimitReached);
    ledger.given(add("alice", "d1", Some(end.after(Span::minutes(9)))));
    ledger.clock = end;
    ledger.given(one_more);
    let alice = &ledger.state.owners()[&id::<OwnerId>("alice")];
    assert_eq!(alice.delegates.len(), DELEGATES_MAX);
    assert!(!alice.delegates.contains_key(&id::<OwnerId>("d0")), "room was made");
}

fn call_by(ledger: &mut Ledger, actor: Actor, ask: Authorize) -> Option<DenialCode> {
    let decided = ledger.submit(&submission(actor, Command::Authorize(Box::new(ask))));
    assert_eq!(code(&decided).is_none(), is_allowed(&decided));
    code(&decided)
}

#[test]
fn human_of_an_agents_token_is_the_human_of_its_calls() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    assert_eq!(call_by(&mut ledger, token("helper", "alice"), read("helper")), None);
    let authorized = ledger.log.iter().rev().find(|r| r.event.fact.kind() == 110).unwrap();
    assert_eq!(authorized.event.about.on_behalf_of, Some(id("alice")));
    let not_owner = Some(DenialCode::NotOwner);
    // A token of somebody who is not the owner, whatever the question says.
    for said in [None, Some("bob"), Some("alice")] {
        let ask = Authorize { on_behalf_of: said.map(id), ..read("helper") };
        assert_eq!(call_by(&mut ledger, token("helper", "bob"), ask), not_owner);
        let about = &ledger.log.last().unwrap().event.about;
        assert_eq!(about.on_behalf_of, Some(id("bob")), "it is recorded whose token it was");
    }
    // The owner's own token, and a question that names another, were that one a delegate.
    ledger.given(add("alice", "bob", None));
    let other = by("bob", read("helper"));
    assert_eq!(call_by(&mut ledger, token("helper", "alice"), other), not_owner);
    assert_eq!(call_by(&mut ledger, token("helper", "bob"), read("helper")), None);
    ledger.given(remove("alice", "bob"));
    assert_eq!(call_by(&mut ledger, token("helper", "bob"), read("helper")), not_owner);
}

#[test]
fn allow_is_not_repeated_to_a_delegate_who_is_none_any_more() {
    for asked in [read("helper"), by("bob", read("helper"))] {
        let mut ledger = Ledger::with_policies(JUST_IN_TIME);
        ledger.given(add("alice", "bob", None));
        let call = keyed(token("helper", "bob"), "r1", Command::Authorize(Box::new(asked)));
        assert!(is_allowed(&ledger.submit(&call)));
        assert!(is_allowed(&ledger.submit(&call)));
        ledger.given(remove("alice", "bob"));
        assert_eq!(code(&ledger.submit(&call)), Some(DenialCode::NotOwner));
    }
}

#[test]
fn agents_token_asks_for_nothing_by_a_human_who_may_not_act_through_it() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let asks = || {
        [
            Command::OpenTask(open_task("helper")),
            Command::RequestGrant(terms("helper", "crm/read", "crm://case/1")),
        ]
    };
    for command in asks() {
        let refused = ledger.refused(token("helper", "bob"), command);
        assert_eq!(refused, RefusalCode::NotPermitted);
    }
    ledger.given(add("alice", "bob", None));
    for human in ["alice", "bob"] {
        for command in asks() {
            assert!(!ledger.submit(&submission(token("helper", human), command)).events.is_empty());
        }
    }
    // What it has, anybody's token may end and report.
    let grant = ledger.grant("helper", "crm/read", "crm://case/7");
    let call = ledger.call(read("helper")).call;
    ledger.given(remove("alice", "bob"));
    for command in [finish(call), Command::ReturnGrant { grant }] {
        assert!(!ledger.submit(&submission(token("helper", "bob"), command)).events.is_empty());
    }
}

#[test]
fn agent_goes_to_another_owner_without_what_it_had() {
    let mut ledger = Ledger::with_policies(ALL);
    let task = ledger.open_task("helper");
    let other = ledger.open_task("second");
    ledger.grant("helper", "crm/read", "crm://**");
    ledger.allowed(read("helper"));
    ledger.given(Command::RequestGrant(terms("helper", "crm/write", "crm://case/**")));
    ledger.given(Command::RequestGrant(terms("second", "crm/write", "crm://case/**")));
    let decided = ledger.submit(&submission(actor(Role::Operator), reassign("helper", "bob")));
    assert_eq!(names(&decided.events), ["agent.reassigned", "task.closed", "grant.denied"]);
    let index = ledger.log[ledger.log.len() - 3].place.index;
    for event in &decided.events[1..] {
        assert_eq!((&event.about.actor, event.about.cause), (&Actor::System, Some(index)));
    }
    let Fact::AgentReassigned(fact) = &decided.events[0].fact else { panic!() };
    assert_eq!((fact.from.as_str(), fact.to.as_str()), ("alice", "bob"));
    assert_eq!(ledger.denied(read("helper")), DenialCode::GrantRevoked);
    assert_eq!(ledger.denied(with_task(read("helper"), task)), DenialCode::TaskClosed);
    assert_eq!(ledger.denied(by("alice", read("helper"))), DenialCode::NotOwner);
    let waiting: Vec<_> =
        ledger.state.requests().values().map(|request| request.terms.agent.as_str()).collect();
    assert_eq!(waiting, ["second"]);
    assert_eq!(ledger.state.tasks().keys().copied().collect::<Vec<_>>(), [other]);
    // Its key is its own, and what it is granted from now on is good.
    let open = Command::OpenTask(open_task("helper"));
    assert!(matches!(
        ledger.when(agent_key("helper"), open),
        bailiwick_core::command::Answer::Done(_)
    ));
    ledger.grant("helper", "crm/read", "crm://**");
    ledger.allowed(by("bob", read("helper")));
    let recorded = ledger.log.iter().rev().find(|r| r.event.fact.kind() == 110).unwrap();
    let Fact::CallAuthorized(call) = &recorded.event.fact else { panic!() };
    assert_eq!(call.call.owner, Some(id("bob")));
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn agent_is_held_by_what_holds_its_new_owner_and_not_by_what_holds_the_old() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    // Suspended before it goes: that holds the old owner's agents, and this is none any more.
    ledger.given(revoke(Selector::Owner(id("alice"))));
    assert_eq!(ledger.denied(read("helper")), DenialCode::Suspended);
    ledger.given(reassign("helper", "bob"));
    ledger.allowed(read("helper"));
    assert_eq!(ledger.denied(read("second")), DenialCode::Suspended);
    // The new owner's holds it at once, and its lifting revives no grant.
    let grant = ledger.grant("helper", "crm/read", "crm://case/2");
    ledger.given(revoke(Selector::Owner(id("bob"))));
    assert_eq!(ledger.denied(read("helper")), DenialCode::Suspended);
    ledger.given(lift(Selector::Owner(id("bob"))));
    assert_eq!(
        ledger.state.check_grant(grant, ledger.state.grants().get(grant).unwrap(), ledger.now()),
        Err(DenialCode::GrantRevoked)
    );
    ledger.given(Command::DisableOwner { owner: id("bob"), reason: None });
    assert_eq!(ledger.denied(read("helper")), DenialCode::OwnerDisabled);
}

#[test]
fn agent_that_comes_back_has_nothing_of_what_it_had_here_before() {
    let mut ledger = Ledger::with_policies(ALL);
    let grant = ledger.grant("helper", "crm/read", "crm://**");
    let call = keyed(actor(Role::Enforcer), "r1", Command::Authorize(Box::new(read("helper"))));
    let mut long = terms("helper", "crm/read", "crm://case/**");
    long.max_uses = Some(9);
    ledger.given(issue(long));
    assert!(is_allowed(&ledger.submit(&call)));
    ledger.given(reassign("helper", "bob"));
    ledger.given(reassign("helper", "alice"));
    assert_eq!(ledger.denied(read("helper")), DenialCode::GrantRevoked, "{grant}");
    assert_eq!(code(&ledger.submit(&call)), Some(DenialCode::GrantRevoked), "nor is it repeated");
}

#[test]
fn transfer_ends_what_enforcement_points_hold_of_the_agent() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let before = ledger.state.feed().last();
    ledger.given(reassign("helper", "bob"));
    let items: Vec<_> = ledger.state.feed().after(before).unwrap().collect();
    assert_eq!(items[0].selector, Selector::Agent(id("helper")));
    assert!(!items[0].suspend);
}

#[test]
fn transfer_of_a_busy_agent_closes_all_of_its_tasks() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let first = ledger.open_task("helper");
    for _ in 0..TASKS_CLOSED_EACH {
        ledger.open_task("helper");
    }
    ledger.given(revoke(Selector::Task(first)));
    let decided = ledger.submit(&submission(Actor::System, reassign("helper", "bob")));
    assert_eq!(decided.events.len(), 1 + TASKS_CLOSED_EACH);
    assert_eq!(ledger.state.tasks().len(), 0);
    assert_eq!(ledger.state.tasks_of(&id("helper")).count(), 0);
    assert!(ledger.state.marks().is_suspended(&Selector::Task(first)).is_none());
    assert_eq!(ledger.denied(with_task(read("helper"), first)), DenialCode::TaskClosed);
}

#[test]
fn transfer_that_makes_no_sense_is_refused() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.given(Command::RegisterOwner(write_owner("carol")));
    ledger.given(Command::DisableOwner { owner: id("carol"), reason: None });
    ledger.given(Command::RetireAgent { agent: id("second"), reason: None });
    for (agent, to, refused) in [
        ("nobody", "bob", RefusalCode::NotFound),
        ("helper", "nobody", RefusalCode::NotFound),
        ("helper", "alice", RefusalCode::WrongState),
        ("helper", "carol", RefusalCode::WrongState),
        ("second", "bob", RefusalCode::WrongState),
    ] {
        assert_eq!(ledger.refused(actor(Role::Operator), reassign(agent, to)), refused);
    }
    // An update still does not change the owner.
    let update = Command::UpdateAgent(write_agent("helper", "bob", &["**"]));
    assert_eq!(ledger.refused(actor(Role::Admin), update), RefusalCode::WrongState);
}

#[test]
fn suspended_agent_stays_suspended_where_it_goes() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.given(Command::SuspendAgent { agent: id("helper"), reason: None });
    ledger.given(reassign("helper", "bob"));
    assert_eq!(ledger.denied(read("helper")), DenialCode::AgentSuspended);
    ledger.given(Command::ReinstateAgent { agent: id("helper"), reason: None });
    ledger.given(revoke(Selector::Agent(id("helper"))));
    ledger.given(reassign("helper", "alice"));
    assert_eq!(ledger.denied(read("helper")), DenialCode::Suspended);
}

#[test]
fn request_of_an_agent_that_went_is_answered_by_nobody() {
    let mut ledger = Ledger::with_policies(ALL);
    let asked = terms("helper", "crm/write", "crm://case/**");
    let request = GrantRequestId(ledger.given(Command::RequestGrant(asked.clone())).index);
    ledger.given(reassign("helper", "bob"));
    let answer = Command::IssueGrant(bailiwick_core::command::IssueGrant {
        terms: asked,
        not_before: None,
        request: Some(request),
    });
    assert_eq!(ledger.refused(actor(Role::Operator), answer), RefusalCode::NotFound);
}

#[test]
fn disabled_owner_ends_everything_under_it_at_once() {
    let mut ledger = Ledger::with_policies(ALL);
    let person = || ask_as(Subject::Person(id("alice")), "crm/read", "crm://case/1");
    for agent in ["helper", "second", "third"] {
        ledger.grant(agent, "crm/read", "crm://**");
    }
    ledger.given(add("alice", "bob", None));
    ledger.given(Command::DisableOwner { owner: id("alice"), reason: Some(text("left")) });
    for ask in [read("helper"), read("second"), by("bob", read("helper")), person()] {
        assert_eq!(ledger.denied(ask), DenialCode::OwnerDisabled);
    }
    let of_alice = call_by(&mut ledger, token("helper", "alice"), read("helper"));
    assert_eq!(of_alice, Some(DenialCode::OwnerDisabled));
    ledger.allowed(read("third"));
    // Enabled again, everything has to be granted anew.
    ledger.given(Command::EnableOwner { owner: id("alice") });
    for ask in [read("helper"), read("second"), by("bob", read("helper"))] {
        assert_eq!(ledger.denied(ask), DenialCode::GrantRevoked);
    }
}
