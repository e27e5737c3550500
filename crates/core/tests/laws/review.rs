//! Access review, and who a recorded command is said to come from.

use bailiwick_core::command::{Answer, Command, IssueCredential, RefusalCode};
use bailiwick_core::event::{Actor, DenialCode, Fact, Review, Role, Selector};
use bailiwick_core::id::GrantId;
use bailiwick_core::time::Span;

use super::delegation::part;
use super::harness::{
    ALL, Ledger, actor, agent_key, ask, credential, id, issue, names, revoke, submission, terms,
    text,
};

fn review(grant: GrantId, review: Review) -> Command {
    Command::ReviewGrant { grant, review, reason: Some(text("quarterly review")) }
}

/// A key of role approver that a human holds.
pub(super) fn held_by(ledger: &mut Ledger, owner: &str) -> Actor {
    let key = credential(&format!("key-{owner}"), Role::Approver, None);
    ledger.given(Command::IssueCredential(IssueCredential { owner: Some(id(owner)), ..key }));
    Actor::Credential { id: id(&format!("key-{owner}")), role: Role::Approver }
}

#[test]
fn what_is_kept_stays_and_what_is_not_is_revoked_in_the_same_step() {
    let mut ledger = Ledger::with_policies(ALL);
    let mut two = terms("helper", "crm/read", "crm://case/1");
    two.max_uses = Some(2);
    let grant = ledger.given(issue(two)).grant.unwrap();
    let child = ledger.given(Command::DelegateGrant(part(grant, "second"))).grant.unwrap();
    let alice = held_by(&mut ledger, "alice");
    let kept = ledger.submit(&submission(alice.clone(), review(grant, Review::Keep)));
    assert_eq!(names(&kept.events), ["access.reviewed"]);
    assert_eq!(kept.events[0].about.on_behalf_of, Some(id("alice")));
    ledger.allowed(ask("helper", "crm/read", "crm://case/1"));
    let revoked = ledger.submit(&submission(alice, review(grant, Review::Revoke)));
    assert_eq!(names(&revoked.events), ["access.reviewed", "revocation.issued"]);
    let [reviewed, issued] = &revoked.events[..] else { panic!() };
    let (Fact::AccessReviewed(fact), Fact::RevocationIssued(revocation)) =
        (&reviewed.fact, &issued.fact)
    else {
        panic!()
    };
    assert_eq!((&fact.owner, fact.grant), (&id("alice"), grant));
    assert_eq!(revocation.selector, Selector::Grant(grant));
    assert_eq!(revocation.reason_code.as_str(), "access_review");
    assert_eq!(issued.about.cause, Some(ledger.state.next_index() - 2));
    for agent in ["helper", "second"] {
        let code = ledger.denied(ask(agent, "crm/read", "crm://case/1"));
        assert_eq!(code, DenialCode::GrantRevoked, "{agent}, {child}");
    }
    let item = ledger.state.feed().after(0).unwrap().last().unwrap().clone();
    assert_eq!((item.selector, item.suspend), (Selector::Grant(grant), false));
}

#[test]
fn what_has_ended_is_not_reviewed() {
    let mut ledger = Ledger::with_policies(ALL);
    let operator = || actor(Role::Operator);
    let unknown = review(GrantId(1_000_000), Review::Keep);
    assert_eq!(ledger.refused(operator(), unknown), RefusalCode::NotFound);
    let grant = ledger.grant("helper", "crm/read", "crm://case/1");
    ledger.given(revoke(Selector::Grant(grant)));
    for answer in [Review::Keep, Review::Revoke] {
        assert_eq!(ledger.refused(operator(), review(grant, answer)), RefusalCode::WrongState);
    }
    let grant = ledger.grant("helper", "crm/read", "crm://case/1");
    ledger.wait(Span::minutes(5));
    let code = ledger.refused(operator(), review(grant, Review::Revoke));
    assert_eq!(code, RefusalCode::WrongState);
}

#[test]
fn operators_review_everything_a_person_what_is_granted_on_that_persons_authority() {
    let mut ledger = Ledger::with_policies(ALL);
    let grant = ledger.grant("helper", "crm/read", "crm://case/1");
    let (alice, bob) = (held_by(&mut ledger, "alice"), held_by(&mut ledger, "bob"));
    let token = |owner: &str, role| {
        let agent = (role == Role::Agent).then(|| id("helper"));
        Actor::Token { issuer: text("https://issuer"), owner: id(owner), agent, role }
    };
    for by in [
        bob,
        actor(Role::Approver),
        agent_key("helper"),
        actor(Role::Enforcer),
        actor(Role::Auditor),
        actor(Role::Subscriber),
        token("bob", Role::Approver),
        token("alice", Role::Agent),
        token("alice", Role::Auditor),
    ] {
        let code = ledger.refused(by.clone(), review(grant, Review::Revoke));
        assert_eq!(code, RefusalCode::NotPermitted, "{by}");
    }
    for by in [alice, actor(Role::Operator), actor(Role::Admin), token("alice", Role::Approver)] {
        assert!(matches!(ledger.when(by, review(grant, Review::Keep)), Answer::Done(_)));
    }
    assert_eq!(
        ledger.refused(token("alice", Role::Approver), issue(terms("helper", "a", "b"))),
        RefusalCode::NotPermitted,
    );
}

#[test]
fn commands_name_the_human_whose_key_or_token_they_came_with() {
    let mut ledger = Ledger::with_policies(ALL);
    let key = credential("ops", Role::Operator, None);
    ledger.given(Command::IssueCredential(IssueCredential { owner: Some(id("bob")), ..key }));
    let of_bob = Actor::Credential { id: id("ops"), role: Role::Operator };
    let issuer = text("https://issuer");
    let token = Actor::Token { issuer, owner: id("alice"), agent: None, role: Role::Operator };
    for (by, human) in [
        (of_bob, Some(id("bob"))),
        (token, Some(id("alice"))),
        (actor(Role::Operator), None),
        (Actor::System, None),
    ] {
        let grant = issue(terms("helper", "crm/read", "crm://case/1"));
        let decided = ledger.submit(&submission(by.clone(), grant));
        assert_eq!(decided.events[0].about.on_behalf_of, human, "{by}");
    }
}
