//! Approvals: what makes people be asked, who may answer and how often, what a yes is good for, and
//! what ends it before.

use std::collections::BTreeSet;

use bailiwick_core::approval::{call_digest, shown_digest, what_is_shown};
use bailiwick_core::command::{
    Answer, Authorize, Command, Denied, Done, IssueCredential, RefusalCode, Subject, WriteOwner,
};
use bailiwick_core::decide::{APPROVALS_EACH_MAX, JIT_TTL};
use bailiwick_core::event::{Actor, DenialCode, Effect, Fact, Issuance, Role, Selector};
use bailiwick_core::id::{ApprovalId, OwnerId};
use bailiwick_core::record::hash::Digest;
use bailiwick_core::state::ApprovalStatus;
use bailiwick_core::time::{Span, Time};

use super::harness::{
    Ledger, actor, agent_key, ask, ask_as, credential, finish, id, keyed, names, revoke,
    submission, terms, text, with_task, with_tool, write_owner,
};

mod over;
mod own;

const OWNERS: &str = "permit (principal is Owner, action, resource);";
const BY_OWNER: &[&str] =
    &[r#"@approval("owner") @ttl("2m") permit (principal is Agent, action, resource);"#, OWNERS];
const BY_GROUP: &[&str] =
    &[r#"@approval("group:sec") permit (principal is Agent, action, resource);"#, OWNERS];
const BY_TWO: &[&str] =
    &[r#"@approval("2 of group:sec") permit (principal is Agent, action, resource);"#, OWNERS];

/// A ledger with these policies, owners `carol` and `dave` beside `alice` and `bob`, of whom all but
/// bob are of group `sec`, and a key `of-…` for each of them.
fn world(policies: &[&str]) -> Ledger {
    let mut ledger = Ledger::with_policies(policies);
    for owner in ["carol", "dave"] {
        ledger.given(Command::RegisterOwner(in_groups(owner, &["sec"])));
    }
    ledger.given(Command::UpdateOwner(in_groups("alice", &["sec"])));
    for owner in ["alice", "bob", "carol", "dave"] {
        let key = credential(&format!("of-{owner}"), Role::Approver, None);
        let owner = Some(id(owner));
        ledger.given(Command::IssueCredential(IssueCredential { owner, ..key }));
    }
    ledger
}

fn in_groups(owner: &str, groups: &[&str]) -> WriteOwner {
    WriteOwner { groups: groups.iter().map(|group| id(group)).collect(), ..write_owner(owner) }
}

fn person(owner: &str) -> Actor {
    Actor::Credential { id: id(&format!("of-{owner}")), role: Role::Approver }
}

fn pay() -> Authorize {
    let mut ask = with_tool(ask("helper", "pay/send", "pay://bank/1"), "pay/send");
    ask.arguments = Some(Digest([5; 32]));
    ask.disclosed = [(text("amount"), text("100"))].into();
    ask.effect = Effect::External;
    ask
}

/// The call is denied until people approve: which approval it waits for.
#[track_caller]
fn waits(ledger: &mut Ledger, ask: Authorize) -> ApprovalId {
    match ledger.call(ask).result {
        Err(Denied { code: DenialCode::ApprovalRequired, approval: Some(awaited), .. }) => {
            let asked = &ledger.state.approvals().pending(awaited.id).unwrap().asked;
            assert_eq!((asked.expires_at, asked.shown), (awaited.expires_at, awaited.shown));
            awaited.id
        }
        other => panic!("expected it to wait, got {other:?}"),
    }
}

fn yes(ledger: &Ledger, approval: ApprovalId) -> Command {
    let known = ledger.state.approvals().get(approval).unwrap();
    Command::Approve { approval, shown: known.asked.shown, reason: None }
}

fn no(approval: ApprovalId) -> Command {
    Command::DenyApproval { approval, reason: Some(text("not today")) }
}

fn withdraw(approval: ApprovalId) -> Command {
    Command::WithdrawApproval { approval, reason: None }
}

#[track_caller]
fn approve(ledger: &mut Ledger, owner: &str, approval: ApprovalId) -> Done {
    let command = yes(ledger, approval);
    match ledger.when(person(owner), command) {
        Answer::Done(done) => done,
        other => panic!("expected it to be approved, got {other:?}"),
    }
}

#[track_caller]
fn not_approved(ledger: &mut Ledger, by: Actor, approval: ApprovalId, code: RefusalCode) {
    let command = yes(ledger, approval);
    let before = ledger.log.len();
    assert_eq!(ledger.refused(by, command), code);
    assert_eq!(ledger.log.len(), before);
}

fn status(ledger: &Ledger, approval: ApprovalId) -> ApprovalStatus {
    ledger.state.approvals().get(approval).unwrap().status
}

#[track_caller]
fn replays(ledger: &Ledger) {
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn call_that_needs_approval_is_put_to_people_in_the_entry_that_denies_it() {
    let mut ledger = world(BY_OWNER);
    let decided =
        ledger.submit(&submission(actor(Role::Enforcer), Command::Authorize(Box::new(pay()))));
    assert_eq!(names(&decided.events), ["approval.requested", "call.denied"]);
    let [asked, denied] = [&decided.events[0].fact, &decided.events[1].fact];
    let (Fact::ApprovalRequested(asked), Fact::CallDenied(denied)) = (asked, denied) else {
        unreachable!()
    };
    assert_eq!(denied.code, DenialCode::ApprovalRequired);
    let index = ledger.log.len() as u64 - 2;
    assert_eq!(denied.approval, Some(ApprovalId(index)));
    assert_eq!(decided.events[1].about.cause, Some(index));
    assert_eq!(asked.shown, shown_digest(asked));
    assert_eq!((asked.ttl, asked.max_uses), (Span::minutes(2), 1));
    let asked_at = ledger.log[index as usize].place.time;
    assert_eq!(asked.expires_at, asked_at.after(ledger.state.config().approval_ttl));
    replays(&ledger);
}

#[test]
fn the_same_question_is_put_to_people_once_however_it_is_worded() {
    let mut ledger = world(BY_OWNER);
    let first = waits(&mut ledger, pay());
    let worded = Authorize { justification: Some(text("please, now")), ..pay() };
    assert_eq!(waits(&mut ledger, worded), first);
    for other in others() {
        assert_ne!(waits(&mut ledger, other), first);
    }
}

/// Calls that differ from [`pay`] in one thing each.
fn others() -> Vec<Authorize> {
    vec![
        Authorize { arguments: Some(Digest([6; 32])), ..pay() },
        Authorize { arguments: None, ..pay() },
        Authorize { disclosed: [(text("amount"), text("101"))].into(), ..pay() },
        Authorize { disclosed: [].into(), ..pay() },
        Authorize { effect: Effect::Destructive, ..pay() },
        Authorize { tool_hash: Some(Digest([1; 32])), ..pay() },
        Authorize { environment: Some(text("production")), ..pay() },
        Authorize { tool: Some(id("pay/other")), ..pay() },
        Authorize { tool: None, ..pay() },
        Authorize { actors: vec![text("planner")], ..pay() },
        Authorize { resource: id("pay://bank/2"), ..pay() },
        Authorize { action: id("pay/send_all"), ..pay() },
        Authorize { subject: Subject::Agent(id("second")), ..pay() },
    ]
}

#[test]
fn approved_call_is_allowed_once_and_its_time_begins_with_the_yes() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    ledger.wait(Span::minutes(9));
    let done = approve(&mut ledger, "alice", approval);
    assert_eq!(done.kind, 101);
    let grant = done.grant.unwrap();
    let Fact::GrantIssued(issued) = &ledger.log.last().unwrap().event.fact else { unreachable!() };
    assert_eq!(issued.issuance, Issuance::Approved);
    assert_eq!((issued.approval, issued.max_uses), (Some(approval), 1));
    assert_eq!(issued.expires_at, ledger.log.last().unwrap().place.time.after(Span::minutes(2)));
    let asked = &ledger.state.approvals().get(approval).unwrap().asked;
    assert_eq!(issued.shown, Some(call_digest(&asked.call)));
    assert_eq!(ledger.state.approvals().get(approval).unwrap().grant, Some(grant));
    assert_eq!(ledger.allowed(pay()), grant);
    // Used up: the next one is for people again.
    assert_ne!(waits(&mut ledger, pay()), approval);
    replays(&ledger);
}

#[test]
fn approved_grant_covers_the_call_that_was_shown_and_no_other() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    approve(&mut ledger, "alice", approval);
    for other in others() {
        assert_ne!(waits(&mut ledger.clone(), other), approval);
    }
    let session = Authorize { session: Some(id("s2")), finishes: false, ..pay() };
    ledger.allowed(session);
}

#[test]
fn mismatch_is_named_where_nobody_is_asked() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    approve(&mut ledger, "alice", approval);
    // Policy asks for no approval any more, and issues nothing on the spot either.
    ledger
        .given(super::harness::put_policy("p0", "permit (principal is Agent, action, resource);"));
    ledger.given(Command::ActivatePolicies);
    let other = Authorize { arguments: Some(Digest([6; 32])), ..pay() };
    assert_eq!(ledger.denied(other), DenialCode::ApprovalMismatch);
    ledger.allowed(pay());
}

#[test]
fn policy_is_asked_again_at_the_use_of_what_was_approved() {
    type Change = fn(&mut Ledger);
    let put = |ledger: &mut Ledger, text: &str| {
        ledger.given(super::harness::put_policy("p0", text));
        ledger.given(Command::ActivatePolicies);
    };
    let changes: [(DenialCode, Change); 4] = [
        (DenialCode::Forbidden, |ledger| {
            ledger.given(super::harness::put_policy("no", "forbid (principal, action, resource);"));
            ledger.given(Command::ActivatePolicies);
        }),
        (DenialCode::Suspended, |ledger| {
            ledger.given(revoke(Selector::Tool(id("pay/send"))));
        }),
        (DenialCode::OwnerDisabled, |ledger| {
            ledger.given(Command::DisableOwner { owner: id("alice"), reason: None });
        }),
        (DenialCode::ApprovalRequired, |ledger| {
            ledger.wait(Span::minutes(2));
        }),
    ];
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    approve(&mut ledger, "alice", approval);
    for (code, change) in changes {
        let mut changed = ledger.clone();
        change(&mut changed);
        assert_eq!(changed.denied(pay()), code);
    }
    // A rule that nobody met asks again, one that was met does not.
    let mut stricter = ledger.clone();
    put(&mut stricter, BY_GROUP[0]);
    assert_eq!(stricter.denied(pay()), DenialCode::ApprovalRequired);
    let mut same = ledger;
    put(&mut same, r#"@approval("owner") permit (principal is Agent, action, resource);"#);
    same.allowed(pay());
}

#[test]
fn only_those_whom_the_rule_asks_for_may_approve() {
    let check = |policies, may: &[&str]| {
        let mut ledger = world(policies);
        let approval = waits(&mut ledger, pay());
        for owner in ["alice", "bob", "carol", "dave"] {
            if may.contains(&owner) {
                approve(&mut ledger.clone(), owner, approval);
            } else {
                let by = person(owner);
                not_approved(&mut ledger, by, approval, RefusalCode::NotPermitted);
            }
        }
    };
    check(BY_OWNER, &["alice"]);
    // Alice is of the group, and the agent is hers.
    check(BY_GROUP, &["carol", "dave"]);
}

#[test]
fn key_of_nobody_approves_nothing_whatever_its_role() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    for role in [Role::Admin, Role::Operator, Role::Approver] {
        not_approved(&mut ledger, actor(role), approval, RefusalCode::NotPermitted);
    }
    not_approved(&mut ledger, Actor::System, approval, RefusalCode::NotPermitted);
    for role in [Role::Enforcer, Role::Auditor, Role::Subscriber, Role::Agent] {
        not_approved(&mut ledger, actor(role), approval, RefusalCode::NotPermitted);
    }
    // In the hand of a person, an operator's key is a person's word.
    let key = credential("alice-operates", Role::Operator, None);
    ledger.given(Command::IssueCredential(IssueCredential { owner: Some(id("alice")), ..key }));
    let by = Actor::Credential { id: id("alice-operates"), role: Role::Operator };
    let command = yes(&ledger, approval);
    assert!(matches!(ledger.when(by, command), Answer::Done(_)));
}

#[test]
fn agent_cannot_approve_by_any_key_that_names_its_owner() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    let key = credential("helper-of-alice", Role::Agent, Some("helper"));
    ledger.given(Command::IssueCredential(IssueCredential { owner: Some(id("alice")), ..key }));
    for by in [
        Actor::Credential { id: id("helper-of-alice"), role: Role::Agent },
        agent_key("helper"),
        agent_key("second"),
    ] {
        not_approved(&mut ledger, by, approval, RefusalCode::NotPermitted);
    }
    // The same key in another role is no key at all.
    let by = Actor::Credential { id: id("helper-of-alice"), role: Role::Approver };
    not_approved(&mut ledger, by, approval, RefusalCode::CredentialInvalid);
    let token = |agent: Option<&str>, role| Actor::Token {
        issuer: text("https://idp"),
        owner: id("alice"),
        agent: agent.map(id),
        role,
    };
    let by = token(Some("helper"), Role::Agent);
    not_approved(&mut ledger, by, approval, RefusalCode::NotPermitted);
    let by = token(Some("helper"), Role::Approver);
    not_approved(&mut ledger, by, approval, RefusalCode::CredentialInvalid);
    let command = yes(&ledger, approval);
    assert!(matches!(ledger.when(token(None, Role::Approver), command), Answer::Done(_)));
}

#[test]
fn two_different_people_are_needed_where_policy_says_two() {
    let mut ledger = world(BY_TWO);
    let approval = waits(&mut ledger, pay());
    let first = approve(&mut ledger, "carol", approval);
    assert_eq!(first.grant, None);
    not_approved(&mut ledger, person("carol"), approval, RefusalCode::WrongState);
    not_approved(&mut ledger, person("alice"), approval, RefusalCode::NotPermitted);
    let key = credential("of-carol-too", Role::Operator, None);
    ledger.given(Command::IssueCredential(IssueCredential { owner: Some(id("carol")), ..key }));
    let by = Actor::Credential { id: id("of-carol-too"), role: Role::Operator };
    not_approved(&mut ledger, by, approval, RefusalCode::WrongState);
    assert_eq!(waits(&mut ledger, pay()), approval);
    let last = approve(&mut ledger, "dave", approval);
    assert_eq!(ledger.allowed(pay()), last.grant.unwrap());
    replays(&ledger);
}

#[test]
fn every_rule_has_to_be_met() {
    let mut ledger = world(&[
        BY_OWNER[0],
        r#"@approval("group:sec") permit (principal is Owner, action, resource);"#,
    ]);
    let approval = waits(&mut ledger, pay());
    assert_eq!(approve(&mut ledger, "alice", approval).grant, None);
    assert!(approve(&mut ledger, "carol", approval).grant.is_some());
}

#[test]
fn who_left_the_group_or_was_disabled_does_not_count_any_more() {
    let mut ledger = world(BY_TWO);
    let approval = waits(&mut ledger, pay());
    approve(&mut ledger, "carol", approval);
    let mut left = ledger.clone();
    left.given(Command::UpdateOwner(in_groups("carol", &[])));
    left.given(Command::UpdateOwner(in_groups("bob", &["sec"])));
    assert_eq!(approve(&mut left, "dave", approval).grant, None);
    not_approved(&mut left, person("carol"), approval, RefusalCode::NotPermitted);
    assert!(approve(&mut left, "bob", approval).grant.is_some());

    ledger.given(Command::DisableOwner { owner: id("carol"), reason: None });
    not_approved(&mut ledger, person("carol"), approval, RefusalCode::NotPermitted);
    assert_eq!(approve(&mut ledger, "dave", approval).grant, None);
    ledger.given(Command::EnableOwner { owner: id("carol") });
    not_approved(&mut ledger, person("carol"), approval, RefusalCode::WrongState);
}

#[test]
fn digest_of_something_else_approves_nothing() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    let other = waits(&mut ledger, others().remove(0));
    let shown = ledger.state.approvals().get(other).unwrap().asked.shown;
    let command = Command::Approve { approval, shown, reason: None };
    assert_eq!(ledger.refused(person("alice"), command), RefusalCode::WrongState);
    assert_eq!(status(&ledger, approval), ApprovalStatus::Pending);
}

#[test]
fn retried_yes_gets_its_first_answer_and_issues_nothing_more() {
    let mut ledger = world(BY_OWNER);
    let approval = waits(&mut ledger, pay());
    let said = keyed(person("alice"), "yes-1", yes(&ledger, approval));
    let Answer::Done(first) = ledger.submit(&said).answer else { unreachable!() };
    let before = ledger.log.len();
    let Answer::Done(again) = ledger.submit(&said).answer else { unreachable!() };
    assert_eq!((again.kind, again.index, again.grant), (first.kind, first.index, first.grant));
    assert!(again.repeats.is_some());
    assert_eq!(ledger.log.len(), before);
    let other = keyed(person("alice"), "yes-1", no(approval));
    assert!(
        matches!(ledger.submit(&other).answer, Answer::Refused(r) if r.code == RefusalCode::IdReused)
    );
}

#[test]
fn call_that_waited_under_an_id_is_decided_anew_under_it() {
    let mut ledger = world(BY_OWNER);
    let call = keyed(actor(Role::Enforcer), "c-1", Command::Authorize(Box::new(pay())));
    ledger.submit(&call);
    let approval = ledger.state.approvals().all_pending().next().unwrap().0;
    approve(&mut ledger, "alice", approval);
    assert!(super::harness::is_allowed(&ledger.submit(&call)));
    let again = ledger.submit(&call);
    assert!(super::harness::is_allowed(&again) && again.events.is_empty());
    let decision = super::harness::decision(again.answer);
    ledger.given(finish(decision.call));
    replays(&ledger);
}

#[test]
fn no_more_than_so_many_of_one_agent_wait_for_people() {
    let mut ledger = world(BY_OWNER);
    let other = |n: usize| Authorize { resource: id(&format!("pay://bank/{n}")), ..pay() };
    for n in 0..APPROVALS_EACH_MAX {
        waits(&mut ledger, other(n));
    }
    let denied = ledger.call(other(1_000)).result.unwrap_err();
    assert_eq!((denied.code, denied.approval), (DenialCode::RateLimited, None));
    let request = Command::RequestGrant(terms("helper", "pay/send", "pay://**"));
    assert_eq!(ledger.refused(agent_key("helper"), request), RefusalCode::LimitReached);
    // What waits already is named still, and others are asked for still.
    waits(&mut ledger, other(3));
    waits(&mut ledger, Authorize { subject: Subject::Agent(id("second")), ..pay() });
    let first = ledger.state.approvals().all_pending().next().unwrap().0;
    ledger.when(agent_key("helper"), withdraw(first));
    waits(&mut ledger, other(1_000));
    replays(&ledger);
}

#[test]
fn a_grant_that_was_asked_for_waits_for_people_as_well() {
    let mut ledger = world(BY_OWNER);
    let mut wanted = terms("helper", "pay/send", "pay://bank/**");
    wanted.ttl = Some(Span::seconds(30));
    let decided =
        ledger.submit(&submission(agent_key("helper"), Command::RequestGrant(wanted.clone())));
    assert_eq!(names(&decided.events), ["grant.requested", "approval.requested"]);
    let approval = ledger.state.approvals().all_pending().next().unwrap().0;
    assert_eq!(
        ledger.refused(agent_key("helper"), Command::RequestGrant(wanted.clone())),
        RefusalCode::WrongState
    );
    let grant = approve(&mut ledger, "alice", approval).grant.unwrap();
    let issued = ledger.state.grants().get(grant).unwrap();
    assert_eq!(issued.scope.to_string(), "pay://bank/**");
    assert_eq!(issued.expires_at, issued.not_before.after(Span::seconds(30)));
    assert!(ledger.state.requests().is_empty());
    assert_eq!(ledger.allowed(pay()), grant);

    // A no turns the request down, and one for the same a moment later.
    ledger.when(agent_key("helper"), Command::RequestGrant(wanted.clone()));
    let approval = ledger.state.approvals().all_pending().next().unwrap().0;
    ledger.when(person("alice"), no(approval));
    assert_eq!(ledger.log.last().unwrap().event.fact.name(), "grant.denied");
    let Answer::Done(done) = ledger.when(agent_key("helper"), Command::RequestGrant(wanted)) else {
        unreachable!()
    };
    assert_eq!(done.kind, 82);
    assert!(ledger.state.requests().is_empty());
    replays(&ledger);
}

#[test]
fn prefix_of_which_a_part_was_taken_back_is_asked_for_anew() {
    for (place, is_part) in [("pay://bank/1", true), ("pay://bank", true), ("pay://banker", false)]
    {
        let mut ledger = world(BY_OWNER);
        let wanted = terms("helper", "pay/send", "pay://bank/**");
        ledger.when(agent_key("helper"), Command::RequestGrant(wanted));
        let approval = ledger.state.approvals().all_pending().next().unwrap().0;
        ledger.given(revoke(Selector::Resource(id(place))));
        ledger.given(super::harness::lift(Selector::Resource(id(place))));
        let done = approve(&mut ledger, "alice", approval);
        assert_eq!(done.kind, if is_part { 103 } else { 101 }, "{place}");
    }
}

#[test]
fn request_that_an_operator_answered_is_not_for_people_any_more() {
    let mut ledger = world(BY_OWNER);
    let wanted = terms("helper", "pay/send", "pay://bank/1");
    ledger.when(agent_key("helper"), Command::RequestGrant(wanted));
    let approval = ledger.state.approvals().all_pending().next().unwrap().0;
    let request = *ledger.state.requests().keys().next().unwrap();
    ledger.given(Command::DenyGrant { request, reason: None });
    assert_eq!(approve(&mut ledger, "alice", approval).kind, 103);
}

#[test]
fn a_person_in_person_waits_for_others_too() {
    let mut ledger =
        world(&[r#"@approval("group:sec") permit (principal is Owner, action, resource);"#]);
    let in_person = || ask_as(Subject::Person(id("alice")), "pay/send", "pay://bank/1");
    let approval = waits(&mut ledger, in_person());
    not_approved(&mut ledger, person("alice"), approval, RefusalCode::NotPermitted);
    let grant = approve(&mut ledger, "carol", approval).grant.unwrap();
    assert_eq!(ledger.allowed(in_person()), grant);
}

#[test]
fn waiting_for_people_is_no_probing() {
    let mut ledger = world(BY_OWNER);
    let task = ledger.open_task("helper");
    for n in 0..6 {
        let mut call = with_task(pay(), task);
        call.tool = Some(id(&format!("pay/tool{n}")));
        waits(&mut ledger, call);
    }
    assert!(ledger.log.iter().all(|r| !matches!(r.event.fact, Fact::FindingRaised(_))));
}

#[test]
fn people_are_shown_what_was_recorded_and_the_agents_words_last() {
    let mut ledger = world(BY_TWO);
    let words = "urgent!\namount: 1";
    let asks = Authorize { justification: Some(text(words)), ..pay() };
    let approval = waits(&mut ledger, asks);
    let asked = &ledger.state.approvals().get(approval).unwrap().asked;
    let shown = what_is_shown(asked);
    let line = |name: &str| {
        shown.lines.iter().find(|line| line.name == name).map(|line| line.value.as_str())
    };
    assert_eq!(line("agent"), Some("helper"));
    assert_eq!(line("on behalf of"), Some("alice"));
    assert_eq!(line("action"), Some("pay/send"));
    assert_eq!(line("on"), Some("pay://bank/1"));
    assert_eq!(line("effect"), Some("external"));
    assert_eq!(line("argument amount"), Some("100"));
    assert_eq!(line("grant lives"), Some(JIT_TTL.to_string().as_str()));
    assert_eq!(line("grant may be used"), Some("once"));
    assert_eq!(line("needs"), Some("2 of group:sec"));
    let text = shown.to_string();
    let (last, before) = {
        let mut lines: Vec<&str> = text.lines().collect();
        (lines.pop().unwrap(), lines)
    };
    assert_eq!(last, "in the caller's own words: urgent!\\namount: 1");
    assert!(before.iter().all(|line| !line.contains("urgent") && *line != "amount: 1"));
    // Whatever is shown is in the digest.
    let mut seen = BTreeSet::from([shown_digest(asked)]);
    let mut other = asked.clone();
    other.call.justification = None;
    assert!(seen.insert(shown_digest(&other)));
    other.expires_at = Time(other.expires_at.0 + 1);
    assert!(seen.insert(shown_digest(&other)));
    other.max_uses += 1;
    assert!(seen.insert(shown_digest(&other)));
    other.needs.clear();
    assert!(seen.insert(shown_digest(&other)));
    other.owner = id::<OwnerId>("bob");
    assert!(seen.insert(shown_digest(&other)));
    other.ttl = Span::hours(9);
    assert!(seen.insert(shown_digest(&other)));
}
