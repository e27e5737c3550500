//! Each refusal code: what leads to it, and that nothing is recorded.

use bailiwick_core::command::{
    Command, CreateLedger, IssueCredential, IssueGrant, OpenTask, RefusalCode, RotateCredential,
};
use bailiwick_core::decide::{REQUESTS_EACH_MAX, TARGETS_MAX, TASKS_EACH_MAX, TTL_MAX, USES_MAX};
use bailiwick_core::event::{Actor, Allow, Fact, Role, Selector};
use bailiwick_core::id::{GrantId, GrantRequestId, GroupId, TaskId};
use bailiwick_core::record::hash::{Digest, LedgerId, PublicKey};
use bailiwick_core::time::Span;

use super::harness::{
    ALL, JUST_IN_TIME, Ledger, agent_key, ask, credential, finish, id, issue, lift, names,
    open_task, put_policy, revoke, rotate, submission, terms, text, write_agent, write_owner,
};

/// Given the usual world and what `given` does, when the command that it makes is submitted by the
/// system, then it is refused with `code` and nothing is recorded.
#[track_caller]
fn check(code: RefusalCode, given: impl FnOnce(&mut Ledger) -> Command) {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let command = given(&mut ledger);
    let before = ledger.state.to_bytes();
    assert_eq!(ledger.refused(Actor::System, command.clone()), code, "{command:?}");
    assert_eq!(ledger.state.to_bytes(), before);
}

#[track_caller]
fn check_all(code: RefusalCode, commands: impl IntoIterator<Item = Command>) {
    for command in commands {
        check(code, |_| command);
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let nobody = || id("nobody");
    check_all(
        RefusalCode::NotFound,
        [
            Command::UpdateOwner(write_owner("nobody")),
            Command::DisableOwner { owner: id("nobody"), reason: None },
            Command::EnableOwner { owner: id("nobody") },
            Command::RegisterAgent(write_agent("fourth", "nobody", &[])),
            Command::UpdateAgent(write_agent("nobody", "alice", &[])),
            Command::SuspendAgent { agent: nobody(), reason: None },
            Command::ReinstateAgent { agent: nobody(), reason: None },
            Command::RetireAgent { agent: nobody(), reason: None },
            Command::IssueCredential(credential("x", Role::Agent, Some("nobody"))),
            Command::RevokeCredential { credential: id("nobody"), reason: None },
            Command::RotateCredential(rotate("nobody", "x")),
            Command::OpenTask(open_task("nobody")),
            Command::CloseTask { task: TaskId(3), reason: None },
            Command::RemovePolicy { policy: id("nobody") },
            Command::RequestGrant(terms("nobody", "crm/read", "crm://case/1")),
            issue(terms("nobody", "crm/read", "crm://case/1")),
            Command::DenyGrant { request: GrantRequestId(3), reason: None },
            Command::ReturnGrant { grant: GrantId(3) },
            finish(bailiwick_core::id::CallId(3)),
            revoke(Selector::Grant(GrantId(3))),
            revoke(Selector::Agent(nobody())),
            revoke(Selector::Owner(id("nobody"))),
            revoke(Selector::Task(TaskId(3))),
            lift(Selector::Agent(id("helper"))),
            lift(Selector::All),
        ],
    );
    check(RefusalCode::NotFound, |ledger| {
        let task = ledger.open_task("second");
        let mut terms = terms("helper", "crm/read", "crm://case/1");
        terms.task = Some(task);
        Command::RequestGrant(terms)
    });
}

#[test]
fn what_is_there_already_is_not_made_again() {
    let create = CreateLedger {
        ledger: LedgerId([1; 16]),
        name: text("x"),
        origin: text("x"),
        genesis_key: PublicKey([1; 32]),
    };
    let same_key = IssueCredential {
        key_hash: credential("admin", Role::Admin, None).key_hash,
        ..credential("another", Role::Auditor, None)
    };
    check_all(
        RefusalCode::AlreadyExists,
        [
            Command::CreateLedger(create),
            Command::RegisterOwner(write_owner("alice")),
            Command::RegisterAgent(write_agent("helper", "bob", &[])),
            Command::IssueCredential(credential("admin", Role::Auditor, None)),
            Command::IssueCredential(same_key.clone()),
            Command::RotateCredential(rotate("auditor", "admin")),
            Command::RotateCredential(RotateCredential {
                key_hash: same_key.key_hash,
                ..rotate("auditor", "x")
            }),
        ],
    );
    check(RefusalCode::AlreadyExists, |ledger| {
        ledger.given(Command::RetireAgent { agent: id("helper"), reason: None });
        Command::RegisterAgent(write_agent("helper", "alice", &[]))
    });
    check(RefusalCode::AlreadyExists, |ledger| {
        ledger.given(Command::RevokeCredential { credential: id("admin"), reason: None });
        Command::IssueCredential(same_key)
    });
}

#[test]
fn what_stands_otherwise_is_in_the_wrong_state() {
    check_all(
        RefusalCode::WrongState,
        [
            Command::StartWriter { epoch: 1 },
            Command::EnableOwner { owner: id("alice") },
            Command::UpdateAgent(write_agent("helper", "bob", &[])),
            Command::ReinstateAgent { agent: id("helper"), reason: None },
        ],
    );
    let retire = Command::RetireAgent { agent: id("helper"), reason: None };
    for command in [
        retire.clone(),
        Command::SuspendAgent { agent: id("helper"), reason: None },
        Command::ReinstateAgent { agent: id("helper"), reason: None },
        Command::UpdateAgent(write_agent("helper", "alice", &[])),
        Command::OpenTask(open_task("helper")),
        Command::RequestGrant(terms("helper", "crm/read", "crm://case/1")),
        issue(terms("helper", "crm/read", "crm://case/1")),
    ] {
        check(RefusalCode::WrongState, |ledger| {
            ledger.given(retire.clone());
            command
        });
    }
    check(RefusalCode::WrongState, |ledger| {
        ledger.given(Command::DisableOwner { owner: id("alice"), reason: None });
        Command::DisableOwner { owner: id("alice"), reason: None }
    });
    check(RefusalCode::WrongState, |ledger| {
        ledger.given(Command::DisableOwner { owner: id("alice"), reason: None });
        issue(terms("helper", "crm/read", "crm://case/1"))
    });
    check(RefusalCode::WrongState, |ledger| {
        let grant = ledger.grant("helper", "crm/read", "crm://case/1");
        ledger.given(Command::ReturnGrant { grant });
        Command::ReturnGrant { grant }
    });
    check(RefusalCode::WrongState, |ledger| {
        let grant = ledger.grant("helper", "crm/read", "crm://case/1");
        ledger.given(revoke(Selector::Grant(grant)));
        Command::ReturnGrant { grant }
    });
}

#[test]
fn nothing_is_granted_under_a_suspension() {
    for selector in [
        Selector::Agent(id("helper")),
        Selector::Owner(id("alice")),
        Selector::Resource(id("crm://case")),
        Selector::All,
    ] {
        check(RefusalCode::WrongState, |ledger| {
            ledger.given(revoke(selector.clone()));
            issue(terms("helper", "crm/read", "crm://case/1"))
        });
        let mut ledger = Ledger::with_policies(JUST_IN_TIME);
        ledger.given(revoke(selector));
        let request = Command::RequestGrant(terms("helper", "crm/read", "crm://case/1"));
        let decided = ledger.submit(&submission(agent_key("helper"), request));
        assert_eq!(names(&decided.events), ["grant.requested", "grant.denied"]);
        assert!(ledger.state.requests().is_empty());
    }
}

#[test]
fn values_out_of_their_range_are_refused() {
    let of = |change: fn(&mut bailiwick_core::command::RequestGrant)| {
        let mut terms = terms("helper", "crm/read", "crm://case/1");
        change(&mut terms);
        terms
    };
    let bad_terms = [
        of(|terms| terms.ttl = Some(Span(0))),
        of(|terms| terms.ttl = Some(Span(TTL_MAX.0 + 1))),
        of(|terms| terms.max_uses = Some(0)),
        of(|terms| terms.max_uses = Some(USES_MAX + 1)),
    ];
    for terms in bad_terms {
        check_all(RefusalCode::OutOfRange, [Command::RequestGrant(terms.clone()), issue(terms)]);
    }
    check(RefusalCode::OutOfRange, |ledger| {
        let terms = of(|_| {});
        let not_before = Some(ledger.now().after(Span(TTL_MAX.0 + 1_000)));
        Command::IssueGrant(IssueGrant { terms, not_before, request: None })
    });
    let mut many = write_agent("fourth", "alice", &[]);
    many.settings.allowlist = vec![Allow { pattern: id("a"), expires_at: None }; 257];
    let mut groups = write_owner("carol");
    groups.groups = (0..65).map(|n| id::<GroupId>(&format!("g{n}"))).collect();
    let mut past = write_agent("fourth", "alice", &[]);
    past.settings.expires_at = Some(super::harness::START);
    let targets = vec![text("crm://case/1"); TARGETS_MAX + 1];
    check_all(
        RefusalCode::OutOfRange,
        [
            Command::RegisterAgent(many),
            Command::RegisterAgent(past),
            Command::RegisterOwner(groups),
            Command::OpenTask(OpenTask { targets, ..open_task("helper") }),
            Command::IssueCredential(credential("x", Role::Agent, None)),
            Command::IssueCredential(credential("x", Role::Auditor, Some("helper"))),
            Command::IssueCredential(IssueCredential {
                expires_at: Some(super::harness::START),
                key_hash: Digest([5; 32]),
                ..credential("x", Role::Auditor, None)
            }),
        ],
    );
}

#[test]
fn what_would_not_fit_a_frame_is_refused() {
    let pattern = |n: usize| format!("{n:0>4}{}", "x".repeat(250));
    let mut agent = write_agent("fourth", "alice", &[]);
    agent.settings.allowlist =
        (0..256).map(|n| Allow { pattern: id(&pattern(n)), expires_at: None }).collect();
    check(RefusalCode::OutOfRange, |_| Command::RegisterAgent(agent.clone()));
    agent.settings.allowlist.truncate(200);
    Ledger::world().given(Command::RegisterAgent(agent));
}

#[test]
fn grant_that_answers_a_request_is_never_wider_than_it() {
    type Widen = fn(&mut bailiwick_core::command::RequestGrant);
    let wider: [Widen; 6] = [
        |terms| terms.scope = id("crm://**"),
        |terms| terms.scope = id("crm://casework/1"),
        |terms| terms.action = id("crm/write"),
        |terms| terms.agent = id("second"),
        |terms| terms.max_uses = Some(3),
        |terms| terms.ttl = Some(Span::minutes(6)),
    ];
    let given = |ledger: &mut Ledger| {
        let mut asked = terms("helper", "crm/read", "crm://case/**");
        asked.max_uses = Some(2);
        let request = ledger.given(Command::RequestGrant(asked.clone())).index;
        (asked, GrantRequestId(request))
    };
    for widen in wider {
        check(RefusalCode::OutOfRange, |ledger| {
            let (mut terms, request) = given(ledger);
            widen(&mut terms);
            let request = Some(request);
            Command::IssueGrant(IssueGrant { terms, not_before: None, request })
        });
    }
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let (mut terms, request) = given(&mut ledger);
    terms.scope = id("crm://case/1/**");
    terms.max_uses = Some(1);
    let issue = IssueGrant { terms, not_before: None, request: Some(request) };
    ledger.given(Command::IssueGrant(issue.clone()));
    assert_eq!(
        ledger.refused(Actor::System, Command::IssueGrant(issue)),
        RefusalCode::NotFound,
        "a request is answered once"
    );
}

#[test]
fn policy_that_does_not_validate_is_refused_with_its_place() {
    for text in ["", "permit", "permit (principal, action, resource) when { context.nothing };"] {
        check(RefusalCode::PolicyInvalid, |_| put_policy("p", text));
    }
}

#[test]
fn one_agent_cannot_fill_the_requests_of_all() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let ask = || Command::RequestGrant(terms("helper", "crm/read", "crm://case/**"));
    for _ in 0..REQUESTS_EACH_MAX {
        ledger.given(ask());
    }
    assert_eq!(ledger.refused(Actor::System, ask()), RefusalCode::LimitReached);
    ledger.given(Command::RequestGrant(terms("second", "crm/read", "crm://case/**")));
}

#[test]
fn one_task_too_many_closes_the_agents_oldest() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let other = ledger.open_task("second");
    let first = ledger.open_task("helper");
    for _ in 1..TASKS_EACH_MAX {
        ledger.open_task("helper");
    }
    assert!(ledger.state.tasks().contains_key(&first));
    let decided =
        ledger.submit(&submission(agent_key("helper"), Command::OpenTask(open_task("helper"))));
    assert_eq!(names(&decided.events), ["task.closed", "task.opened"]);
    assert!(matches!(&decided.events[0].fact, Fact::TaskClosed(closed) if closed.task == first));
    assert!(ledger.state.tasks().contains_key(&other));
    assert_eq!(ledger.state.tasks_of(&id("helper")).count(), TASKS_EACH_MAX);
}

#[test]
fn refused_call_is_a_decision_and_not_a_refusal() {
    let mut ledger = Ledger::with_policies(ALL);
    ledger.denied(ask("nobody", "crm/read", "crm://case/1"));
}
