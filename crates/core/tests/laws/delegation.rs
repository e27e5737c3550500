//! A grant given on: narrower in every dimension, used together, and dead with what it came from.

use bailiwick_core::command::{
    Answer, Authorize, Command, DelegateGrant, Done, IssueGrant, ReassignAgent, Refusal,
    RefusalCode,
};
use bailiwick_core::decide::{DELEGATIONS_MAX, DEPTH_MAX};
use bailiwick_core::event::{DenialCode, Fact, GrantIssued, Issuance, Role, Selector};
use bailiwick_core::id::{GrantId, TaskId};
use bailiwick_core::time::Span;
use serde_json::json;

use super::harness::{
    ALL, JUST_IN_TIME, Ledger, actor, agent_key, ask, credential, id, issue, keyed, names, revoke,
    submission, terms, with_task, with_tool, write_agent,
};
use super::properties::told;

mod elsewhere;

const CASE: &str = "crm://case/1";

/// [`Ledger::world`] where all is permitted, with `fourth` of bob and `fifth` of alice beside them.
fn world() -> Ledger {
    let mut ledger = Ledger::with_policies(ALL);
    for (agent, owner) in [("fourth", "bob"), ("fifth", "alice")] {
        ledger.given(Command::RegisterAgent(write_agent(agent, owner, &["**"])));
        ledger.given(Command::IssueCredential(credential(agent, Role::Agent, Some(agent))));
    }
    ledger
}

pub(super) fn part(parent: GrantId, to: &str) -> DelegateGrant {
    DelegateGrant {
        parent,
        to: id(to),
        task: None,
        scope: None,
        ttl: None,
        max_uses: None,
        constraints: Vec::new(),
        justification: None,
    }
}

/// A grant on all cases, for ten minutes and three uses.
fn root(ledger: &mut Ledger, agent: &str) -> GrantId {
    let mut terms = terms(agent, "crm/read", "crm://case/**");
    (terms.ttl, terms.max_uses) = (Some(Span::minutes(10)), Some(3));
    ledger.given(issue(terms)).grant.unwrap()
}

fn give(ledger: &mut Ledger, part: DelegateGrant) -> GrantId {
    ledger.given(Command::DelegateGrant(part)).grant.unwrap()
}

fn refused(ledger: &Ledger, part: DelegateGrant) -> Refusal {
    match ledger.ask(&submission(actor(Role::Operator), Command::DelegateGrant(part))).answer {
        Answer::Refused(refusal) => refusal,
        other => panic!("expected it to be refused, got {other:?}"),
    }
}

fn issued(ledger: &Ledger, grant: GrantId) -> &GrantIssued {
    match &ledger.log[grant.0 as usize].event.fact {
        Fact::GrantIssued(fact) => fact,
        other => panic!("{other:?}"),
    }
}

fn reassign(agent: &str, to: &str) -> Command {
    Command::ReassignAgent(ReassignAgent { agent: id(agent), to: id(to), reason: None })
}

fn read(agent: &str) -> Authorize {
    ask(agent, "crm/read", CASE)
}

#[test]
fn a_part_is_as_narrow_as_any_new_grant_and_names_its_parent() {
    let mut ledger = world();
    let root = root(&mut ledger, "helper");
    let by_holder = submission(agent_key("helper"), Command::DelegateGrant(part(root, "second")));
    let decided = ledger.submit(&by_holder);
    assert_eq!(names(&decided.events), ["grant.issued"]);
    let Answer::Done(done) = decided.answer else { panic!("{:?}", decided.answer) };
    let (of_root, fact) = (issued(&ledger, root), issued(&ledger, done.grant.unwrap()));
    assert_eq!(fact.agent, Some(id("second")));
    assert_eq!((fact.parent, fact.issuance), (Some(root), Issuance::Delegated));
    assert_eq!((&fact.action, &fact.scope), (&of_root.action, &of_root.scope));
    assert_eq!((fact.max_uses, fact.expires_at.since(fact.not_before)), (1, Span::minutes(5)));
    assert_eq!(decided.events[0].about.cause, Some(root.0));
    assert_eq!(ledger.allowed(read("second")), done.grant.unwrap());
    assert_eq!(ledger.denied(read("second")), DenialCode::GrantExhausted);
    // Near the parent's end what is not given ends with it.
    ledger.wait(Span::minutes(9));
    let late = give(&mut ledger, part(root, "second"));
    assert_eq!(issued(&ledger, late).expires_at, issued(&ledger, root).expires_at);
}

#[test]
fn what_would_be_wider_in_any_dimension_is_refused() {
    let mut ledger = world();
    let root = root(&mut ledger, "helper");
    let wider = |ledger: &Ledger, change: fn(&mut DelegateGrant)| {
        let mut part = part(root, "second");
        change(&mut part);
        refused(ledger, part).code
    };
    let changes: [fn(&mut DelegateGrant); 9] = [
        |part| part.scope = Some(id("crm://**")),
        |part| part.scope = Some(id("crm://casework/1")),
        |part| part.scope = Some(id("crm://casework/**")),
        |part| part.ttl = Some(Span::minutes(10)),
        |part| part.ttl = Some(Span::days(31)),
        |part| part.ttl = Some(Span(0)),
        |part| part.max_uses = Some(4),
        |part| part.max_uses = Some(0),
        |part| part.to = id("fourth"),
    ];
    for (n, change) in changes.into_iter().enumerate() {
        assert_eq!(wider(&ledger, change), RefusalCode::OutOfRange, "change {n}");
    }
    assert_eq!(wider(&ledger, |part| part.to = id("nobody")), RefusalCode::NotFound);
    assert_eq!(wider(&ledger, |part| part.to = id("helper")), RefusalCode::OutOfRange);
    // Uses that are gone are nobody's to give.
    ledger.allowed(read("helper"));
    assert_eq!(wider(&ledger, |part| part.max_uses = Some(3)), RefusalCode::OutOfRange);
    let mut exact = part(root, "second");
    (exact.max_uses, exact.scope) = (Some(2), Some(id(CASE)));
    let exact = give(&mut ledger, exact);
    let mut wide = part(exact, "fifth");
    wide.scope = Some(id("crm://case/1/**"));
    assert_eq!(refused(&ledger, wide).code, RefusalCode::OutOfRange);
    let mut within = part(root, "second");
    (within.scope, within.ttl) = (Some(id("crm://case/1/**")), Some(Span::minutes(9)));
    give(&mut ledger, within);
}

#[test]
fn a_part_of_what_begins_later_begins_no_earlier() {
    let mut ledger = world();
    let start = ledger.now().after(Span::minutes(1));
    let terms = terms("helper", "crm/read", CASE);
    let later = IssueGrant { terms, not_before: Some(start), request: None };
    let root = ledger.given(Command::IssueGrant(later)).grant.unwrap();
    let child = give(&mut ledger, part(root, "second"));
    assert_eq!(issued(&ledger, child).not_before, start);
    assert_eq!(ledger.denied(read("second")), DenialCode::NotYetValid);
    ledger.clock = start;
    assert_eq!(ledger.allowed(read("second")), child);
}

#[test]
fn a_part_of_a_tasks_grant_is_for_a_task_and_dies_with_the_first() {
    let mut ledger = world();
    let of_parent = ledger.open_task("helper");
    let of_child = ledger.open_task("second");
    let mut terms = terms("helper", "crm/read", CASE);
    (terms.task, terms.max_uses) = (Some(of_parent), Some(9));
    let root = ledger.given(issue(terms)).grant.unwrap();
    for (task, code) in [
        (None, RefusalCode::OutOfRange),
        (Some(of_parent), RefusalCode::NotFound),
        (Some(TaskId(0)), RefusalCode::NotFound),
    ] {
        assert_eq!(refused(&ledger, DelegateGrant { task, ..part(root, "second") }).code, code);
    }
    let task = Some(of_child);
    let max_uses = Some(5);
    let child = give(&mut ledger, DelegateGrant { task, max_uses, ..part(root, "second") });
    assert_eq!(ledger.denied(read("second")), DenialCode::NoGrant);
    assert_eq!(ledger.allowed(with_task(read("second"), of_child)), child);
    ledger.given(Command::CloseTask { task: of_parent, reason: None });
    let code = ledger.denied(with_task(read("second"), of_child));
    assert_eq!(code, DenialCode::GrantRevoked);
}

#[test]
fn a_family_together_has_no_more_uses_than_its_root() {
    let mut ledger = world();
    let root = root(&mut ledger, "helper");
    let child = DelegateGrant { max_uses: Some(3), ..part(root, "second") };
    let child = give(&mut ledger, child);
    let other = give(&mut ledger, DelegateGrant { max_uses: Some(3), ..part(root, "fifth") });
    let grandchild = DelegateGrant { max_uses: Some(2), ..part(child, "fifth") };
    let grandchild = give(&mut ledger, grandchild);
    let uses = |ledger: &Ledger| {
        [root, child, other, grandchild].map(|id| ledger.state.grants().get(id).unwrap().uses)
    };
    assert_eq!(ledger.allowed(read("fifth")), other);
    assert_eq!(uses(&ledger), [1, 0, 1, 0]);
    let left = ledger.call(read("second")).result.unwrap().uses_left;
    // Two of its own would be left, and one of the root's is.
    assert_eq!((uses(&ledger), left), ([2, 1, 1, 0], 1));
    let decided = ledger
        .submit(&submission(actor(Role::Enforcer), Command::Authorize(Box::new(read("second")))));
    assert_eq!(names(&decided.events), ["call.authorized", "grant.exhausted"]);
    assert!(matches!(&decided.events[1].fact, Fact::GrantExhausted(end) if end.grant == root));
    assert_eq!(uses(&ledger), [3, 2, 1, 0]);
    for agent in ["helper", "second", "fifth"] {
        assert_eq!(ledger.denied(read(agent)), DenialCode::GrantExhausted, "{agent}");
    }
    let code = refused(&ledger, part(child, "fifth")).code;
    assert_eq!(code, RefusalCode::WrongState);
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn all_of_a_line_that_is_used_up_is_recorded_so() {
    let mut ledger = world();
    let root = ledger.grant("helper", "crm/read", CASE);
    let child = give(&mut ledger, part(root, "second"));
    let call = Command::Authorize(Box::new(read("second")));
    let decided = ledger.submit(&submission(actor(Role::Enforcer), call));
    let ended: Vec<GrantId> = decided.events[1..]
        .iter()
        .map(|event| match &event.fact {
            Fact::GrantExhausted(end) => end.grant,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ended, [child, root]);
}

/// A root, what `second` got of it, and what `fifth` got of that, each with uses to spare.
fn three(ledger: &mut Ledger) -> [GrantId; 3] {
    let root = root(ledger, "helper");
    let child = give(ledger, DelegateGrant { max_uses: Some(3), ..part(root, "second") });
    let grandchild = give(ledger, DelegateGrant { max_uses: Some(3), ..part(child, "fifth") });
    assert_eq!(ledger.state.grants().lineage(grandchild).count(), 3);
    [root, child, grandchild]
}

/// The state in which every test of an end begins: all three work.
fn end(how: impl FnOnce(&mut Ledger, [GrantId; 3]) -> Done) -> Ledger {
    let mut ledger = world();
    let grants = three(&mut ledger);
    let call = Command::Authorize(Box::new(read("fifth")));
    assert!(super::harness::is_allowed(&ledger.ask(&submission(actor(Role::Enforcer), call))));
    how(&mut ledger, grants);
    ledger
}

#[test]
fn a_part_dies_with_any_that_it_came_from() {
    let suspend = |agent| Command::SuspendAgent { agent: id(agent), reason: None };
    let retire = |agent| Command::RetireAgent { agent: id(agent), reason: None };
    for at in 0..2 {
        let holder = ["helper", "second"][at];
        let mut ledgers = [
            end(|ledger, grants| ledger.given(revoke(Selector::Grant(grants[at])))),
            end(|ledger, grants| ledger.given(Command::ReturnGrant { grant: grants[at] })),
            end(|ledger, _| ledger.given(suspend(holder))),
            end(|ledger, _| {
                ledger.given(suspend(holder));
                ledger.given(Command::ReinstateAgent { agent: id(holder), reason: None })
            }),
            end(|ledger, _| ledger.given(retire(holder))),
            end(|ledger, _| ledger.given(reassign(holder, "bob"))),
            end(|ledger, _| {
                ledger.given(reassign(holder, "bob"));
                ledger.given(reassign(holder, "alice"))
            }),
            end(|ledger, _| {
                ledger.given(revoke(Selector::Agent(id(holder))));
                ledger.given(super::harness::lift(Selector::Agent(id(holder))))
            }),
        ];
        for (n, ledger) in ledgers.iter_mut().enumerate() {
            assert_eq!(ledger.denied(read("fifth")), DenialCode::GrantRevoked, "{holder} {n}");
        }
        // Those above in the line live on.
        let mut ledger =
            end(|ledger, grants| ledger.given(Command::ReturnGrant { grant: grants[at + 1] }));
        ledger.allowed(read(holder));
    }
}

#[test]
fn a_part_dies_when_its_parents_holder_ends_by_its_registration() {
    let mut ledger = world();
    three(&mut ledger);
    let mut write = write_agent("helper", "alice", &["**"]);
    write.settings.expires_at = Some(ledger.now().after(Span::seconds(1)));
    ledger.given(Command::UpdateAgent(write));
    ledger.allowed(read("fifth"));
    ledger.wait(Span::seconds(1));
    assert_eq!(ledger.denied(read("fifth")), DenialCode::GrantExpired);
    assert_eq!(ledger.denied(read("second")), DenialCode::GrantExpired);
}

#[test]
fn a_part_stays_dead_when_its_parent_is_forgotten() {
    let mut ledger = world();
    let [root, child, _] = three(&mut ledger);
    ledger.given(Command::ReturnGrant { grant: root });
    ledger.wait(Span::minutes(2));
    ledger.given(Command::ActivatePolicies);
    assert!(ledger.state.grants().get(root).is_none());
    assert!(ledger.state.grants().get(child).is_some());
    assert_eq!(ledger.denied(read("second")), DenialCode::GrantRevoked);
    assert_eq!(ledger.denied(read("fifth")), DenialCode::GrantRevoked);
    let code = refused(&ledger, part(child, "helper")).code;
    assert_eq!(code, RefusalCode::WrongState);
}

#[test]
fn a_used_up_parent_is_remembered_for_what_rests_on_it() {
    let mut ledger = world();
    let root = ledger.grant("helper", "crm/read", CASE);
    let child = give(&mut ledger, part(root, "second"));
    ledger.allowed(read("helper"));
    // Others on the same terms come and go.
    for _ in 0..3 {
        ledger.grant("helper", "crm/read", CASE);
        ledger.allowed(read("helper"));
    }
    assert!(ledger.state.grants().get(root).is_some());
    assert_eq!(ledger.denied(read("second")), DenialCode::GrantExhausted);
    ledger.wait(Span::minutes(7));
    ledger.given(Command::ActivatePolicies);
    assert!(ledger.state.grants().is_empty());
    assert_eq!(ledger.denied(read("second")), DenialCode::NoGrant, "{child}");
}

#[test]
fn what_was_taken_back_of_a_parent_does_not_come_back_by_giving_it_on() {
    // The revocation names a part of the parent's prefix, and leaves it suspended nowhere.
    for selector in [Selector::Resource(id(CASE)), Selector::Tool(id("crm/read"))] {
        let mut ledger = world();
        let root = root(&mut ledger, "helper");
        let Command::Revoke(mut narrow) = revoke(selector.clone()) else { unreachable!() };
        narrow.grants_only = true;
        ledger.given(Command::Revoke(narrow));
        give(&mut ledger, part(root, "second"));
        for agent in ["helper", "second"] {
            let call = with_tool(read(agent), "crm/read");
            assert_eq!(ledger.denied(call), DenialCode::GrantRevoked, "{agent} {selector}");
        }
        let elsewhere = ask("second", "crm/read", "crm://case/2");
        ledger.allowed(elsewhere);
    }
}

#[test]
fn nothing_is_given_to_those_who_are_suspended_nor_by_them() {
    let mut ledger = world();
    let grant = root(&mut ledger, "helper");
    ledger.given(revoke(Selector::Agent(id("second"))));
    assert_eq!(refused(&ledger, part(grant, "second")).code, RefusalCode::WrongState);
    ledger.given(super::harness::lift(Selector::Agent(id("second"))));
    give(&mut ledger, part(grant, "second"));
    ledger.allowed(read("second"));
    ledger.given(Command::SuspendAgent { agent: id("second"), reason: None });
    assert_eq!(refused(&ledger, part(grant, "second")).code, RefusalCode::WrongState);
    ledger.given(Command::SuspendAgent { agent: id("helper"), reason: None });
    let delegate = Command::DelegateGrant(part(grant, "fifth"));
    assert_eq!(ledger.refused(agent_key("helper"), delegate), RefusalCode::WrongState);
    let mut write = write_agent("helper", "alice", &["**"]);
    write.settings.expires_at = Some(ledger.now().after(Span::seconds(1)));
    ledger.given(Command::ReinstateAgent { agent: id("helper"), reason: None });
    ledger.given(Command::UpdateAgent(write));
    let another = root(&mut ledger, "helper");
    ledger.wait(Span::seconds(1));
    assert_eq!(refused(&ledger, part(another, "fifth")).code, RefusalCode::WrongState);
}

#[test]
fn a_line_has_eight_delegations_and_no_cycle() {
    let mut ledger = world();
    let mut terms = terms("helper", "crm/read", CASE);
    terms.max_uses = Some(100);
    let root = ledger.given(issue(terms)).grant.unwrap();
    let mut line = vec![root];
    for n in 0..DEPTH_MAX {
        // The same two agents in turn: what comes back is narrower, and rests on all before.
        let to = ["second", "helper"][n % 2];
        let next = DelegateGrant { max_uses: Some(50), ..part(line[n], to) };
        line.push(give(&mut ledger, next));
    }
    let last = *line.last().unwrap();
    assert_eq!(refused(&ledger, part(last, "second")).code, RefusalCode::LimitReached);
    assert_eq!(ledger.state.grants().lineage(last).count(), DEPTH_MAX + 1);
    ledger.given(Command::ReturnGrant { grant: line[1] });
    for grant in &line[1..] {
        let held = ledger.state.grants().get(*grant).unwrap();
        let standing = ledger.state.check_grant(*grant, held, ledger.now());
        assert_eq!(standing, Err(DenialCode::GrantRevoked), "{grant}");
    }
    assert_eq!(ledger.allowed(read("helper")), root);
}

#[test]
fn a_family_has_a_limit() {
    let mut ledger = world();
    let mut terms = terms("helper", "crm/read", CASE);
    terms.max_uses = Some(1_000);
    let root = ledger.given(issue(terms)).grant.unwrap();
    let child = give(&mut ledger, DelegateGrant { max_uses: Some(500), ..part(root, "second") });
    for _ in 1..DELEGATIONS_MAX {
        give(&mut ledger, part(child, "fifth"));
    }
    for parent in [root, child] {
        assert_eq!(refused(&ledger, part(parent, "fifth")).code, RefusalCode::LimitReached);
    }
}

#[test]
fn only_the_holder_and_those_who_run_the_ledger_give_on() {
    let mut ledger = world();
    let root = root(&mut ledger, "helper");
    let delegate = || Command::DelegateGrant(part(root, "second"));
    for by in [
        agent_key("second"),
        agent_key("fourth"),
        actor(Role::Approver),
        actor(Role::Auditor),
        actor(Role::Subscriber),
    ] {
        assert_eq!(ledger.refused(by, delegate()), RefusalCode::NotPermitted);
    }
    let unknown = Command::DelegateGrant(part(GrantId(1_000_000), "second"));
    assert_eq!(ledger.refused(agent_key("helper"), unknown.clone()), RefusalCode::NotPermitted);
    assert_eq!(ledger.refused(actor(Role::Operator), unknown), RefusalCode::NotFound);
    for by in [agent_key("helper"), actor(Role::Enforcer), actor(Role::Admin)] {
        assert!(matches!(ledger.when(by, delegate()), Answer::Done(_)));
    }
}

#[test]
fn what_was_given_to_one_holder_alone_is_not_given_on() {
    let mut ledger = world();
    let root = root(&mut ledger, "helper");
    let base = issued(&ledger, root).clone();
    for change in [
        (|fact| fact.issuance = Issuance::Approved) as fn(&mut GrantIssued),
        |fact| fact.issuance = Issuance::BreakGlass,
        |fact| fact.shown = Some(bailiwick_core::record::hash::Digest([1; 32])),
        |fact| fact.approval = Some(bailiwick_core::id::ApprovalId(1)),
        |fact| fact.agent = None,
    ] {
        let mut fact = base.clone();
        change(&mut fact);
        let grant = ledger.happened(Fact::GrantIssued(fact));
        assert_eq!(refused(&ledger, part(GrantId(grant), "second")).code, RefusalCode::WrongState);
    }
}

#[test]
fn what_policy_gave_goes_no_further_than_policy_goes_whoever_holds_a_part() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let call = ask("helper", "crm/read", CASE);
    ledger.allowed(call.clone());
    let root = ledger.allowed(ask("helper", "crm/read", "crm://case/2"));
    let child = give(&mut ledger, part(root, "second"));
    ledger.given(super::harness::put_policy(
        "p0",
        r#"@approval("owner") permit (principal is Agent, action, resource);"#,
    ));
    ledger.given(Command::ActivatePolicies);
    let code = ledger.denied(ask("second", "crm/read", "crm://case/2"));
    assert_eq!(code, DenialCode::ApprovalRequired, "{child}");
    // What an operator issued needs no approval; what its holder gives on was decided by no human.
    let root = ledger.grant("helper", "crm/read", CASE);
    let mut two = terms("helper", "crm/read", CASE);
    two.max_uses = Some(2);
    let two = ledger.given(issue(two)).grant.unwrap();
    give(&mut ledger, part(two, "second"));
    assert_eq!(ledger.denied(read("second")), DenialCode::ApprovalRequired);
    assert_eq!(ledger.allowed(read("helper")), root);
}

#[test]
fn an_agent_lets_no_other_do_what_it_may_not_do_itself() {
    let mut ledger = world();
    let root = root(&mut ledger, "helper");
    let mut two = part(root, "second");
    two.max_uses = Some(2);
    let child = give(&mut ledger, two);
    let call = keyed(actor(Role::Enforcer), "r1", Command::Authorize(Box::new(read("second"))));
    assert!(super::harness::is_allowed(&ledger.submit(&call)));
    // Policy narrows the giver, and nobody else.
    let no = r#"forbid (principal == Agent::"helper", action, resource);"#;
    ledger.given(super::harness::put_policy("no", no));
    ledger.given(Command::ActivatePolicies);
    assert_eq!(ledger.denied(read("second")), DenialCode::Forbidden);
    assert_eq!(super::harness::code(&ledger.submit(&call)), Some(DenialCode::Forbidden));
    ledger.given(Command::RemovePolicy { policy: id("no") });
    ledger.given(Command::ActivatePolicies);
    // So does its allowlist.
    ledger.given(Command::UpdateAgent(write_agent("helper", "alice", &["crm/write"])));
    assert_eq!(ledger.denied(read("second")), DenialCode::ToolNotAllowed);
    ledger.given(Command::UpdateAgent(write_agent("helper", "alice", &["**"])));
    assert_eq!(ledger.allowed(read("second")), child);
}

#[test]
fn what_is_told_of_the_caller_is_not_told_of_its_giver() {
    let of_dbas = r#"permit (principal is Agent, action, resource)
        when { principal.hasTag("role") && principal.getTag("role").contains("dba") };"#;
    let owners = "permit (principal is Owner, action, resource);";
    let mut ledger = Ledger::with_policies(&[of_dbas, owners]);
    let root = root(&mut ledger, "helper");
    give(&mut ledger, part(root, "second"));
    let role = |ask| told(ask, json!({"role": "dba"}), json!({}), json!({}));
    // The giver is no dba; whoever it gives a part to may be one, and that is not enough.
    assert_eq!(ledger.denied(role(read("second"))), DenialCode::Forbidden);
    ledger.allowed(role(read("helper")));
}

#[test]
fn a_call_is_not_told_again_when_what_its_grant_came_from_is_gone() {
    let enders: [fn(&mut Ledger, GrantId) -> Done; 3] = [
        |ledger, root| ledger.given(Command::ReturnGrant { grant: root }),
        |ledger, root| ledger.given(revoke(Selector::Grant(root))),
        |ledger, _| ledger.given(Command::RetireAgent { agent: id("helper"), reason: None }),
    ];
    for end in enders {
        let mut ledger = world();
        let root = root(&mut ledger, "helper");
        give(&mut ledger, part(root, "second"));
        let call = keyed(actor(Role::Enforcer), "r1", Command::Authorize(Box::new(read("second"))));
        assert!(super::harness::is_allowed(&ledger.submit(&call)));
        let again = super::harness::decision(ledger.submit(&call).answer);
        assert!(again.repeats.is_some() && again.result.is_ok());
        end(&mut ledger, root);
        let code = super::harness::code(&ledger.submit(&call));
        assert_eq!(code, Some(DenialCode::GrantRevoked));
    }
}

#[test]
fn lines_end_however_they_are_written() {
    // No such record is ever decided; a state made of one has to be read to its end all the same.
    let mut ledger = world();
    let root = root(&mut ledger, "helper");
    let mut fact = issued(&ledger, root).clone();
    let index = ledger.state.next_index();
    fact.parent = Some(GrantId(index));
    let grant = GrantId(ledger.happened(Fact::GrantIssued(fact)));
    assert_eq!(grant.0, index);
    let held = ledger.state.grants().get(grant).unwrap();
    let standing = ledger.state.check_grant(grant, held, ledger.now());
    assert_eq!(standing, Err(DenialCode::GrantRevoked));
    assert_eq!(ledger.state.grants().lineage(grant).count(), 2);
}
