//! Each denial code: what leads to it, and that the answer and the record say so.

use bailiwick_core::command::{Command, IssueGrant, Subject};
use bailiwick_core::decide::{DISCLOSED_MAX, JIT_TTL};
use bailiwick_core::event::{Actor, DenialCode, Fact, Role, Selector};
use bailiwick_core::id::{AgentId, OwnerId, TaskId};
use bailiwick_core::time::{Span, Time};

use super::harness::{
    ALL, JUST_IN_TIME, Ledger, actor, ask, ask_as, id, issue, keyed, lift, revoke, terms, text,
    with_task, with_tool, write_agent,
};

/// Given `policies` and what `given` does, when the call that it makes is decided, then it is
/// denied with `code`, which is recorded, and no grant is used or made.
#[track_caller]
fn check(
    code: DenialCode,
    policies: &[&str],
    given: impl FnOnce(&mut Ledger) -> bailiwick_core::command::Authorize,
) {
    let mut ledger = Ledger::with_policies(policies);
    let ask = given(&mut ledger);
    let before = ledger.log.len();
    assert_eq!(ledger.denied(ask), code);
    let recorded = &ledger.log[before..];
    assert!(
        recorded
            .iter()
            .all(|r| !matches!(r.event.fact, Fact::CallAuthorized(_) | Fact::GrantIssued(_)))
    );
    match &recorded.last().unwrap().event.fact {
        Fact::CallDenied(denied) => assert_eq!(denied.code, code),
        other => panic!("expected the denial, got {other:?}"),
    }
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

fn read(agent: &str) -> bailiwick_core::command::Authorize {
    ask(agent, "crm/read", "crm://case/1")
}

#[test]
fn agent_that_nobody_registered_is_unknown() {
    check(DenialCode::AgentUnknown, JUST_IN_TIME, |_| read("nobody"));
}

#[test]
fn suspended_agent_is_denied_with_its_grants() {
    check(DenialCode::AgentSuspended, JUST_IN_TIME, |ledger| {
        ledger.allowed(read("helper"));
        ledger.given(Command::SuspendAgent { agent: id("helper"), reason: None });
        read("helper")
    });
}

#[test]
fn agent_is_denied_from_the_moment_its_registration_ends() {
    check(DenialCode::AgentExpired, JUST_IN_TIME, |ledger| {
        let end = ledger.now().after(Span::seconds(10));
        let mut agent = write_agent("helper", "alice", &["**"]);
        agent.settings.expires_at = Some(end);
        ledger.given(Command::UpdateAgent(agent));
        ledger.clock = Time(end.0 - 1);
        ledger.allowed(read("helper"));
        ledger.clock = end;
        read("helper")
    });
}

#[test]
fn retired_agent_is_denied_for_good() {
    check(DenialCode::AgentRetired, JUST_IN_TIME, |ledger| {
        ledger.given(Command::RetireAgent { agent: id("helper"), reason: None });
        read("helper")
    });
}

#[test]
fn disabled_owner_stops_the_owner_and_every_agent() {
    let disable = |ledger: &mut Ledger| {
        ledger.given(Command::DisableOwner { owner: id("alice"), reason: None });
    };
    check(DenialCode::OwnerDisabled, JUST_IN_TIME, |ledger| {
        disable(ledger);
        read("second")
    });
    check(DenialCode::OwnerDisabled, JUST_IN_TIME, |ledger| {
        disable(ledger);
        ask_as(Subject::Person(id("alice")), "crm/read", "crm://case/1")
    });
    check(DenialCode::OwnerDisabled, JUST_IN_TIME, |_| {
        ask_as(Subject::Person(id("nobody")), "crm/read", "crm://case/1")
    });
}

#[test]
fn human_who_is_not_the_owner_is_denied() {
    for human in ["bob", "nobody"] {
        check(DenialCode::NotOwner, JUST_IN_TIME, |_| {
            let mut ask = read("helper");
            ask.on_behalf_of = Some(id::<OwnerId>(human));
            ask
        });
    }
}

#[test]
fn task_must_be_open_and_the_agents_own() {
    check(DenialCode::TaskClosed, JUST_IN_TIME, |ledger| {
        let task = ledger.open_task("helper");
        ledger.allowed(with_task(read("helper"), task));
        ledger.given(Command::CloseTask { task, reason: None });
        with_task(read("helper"), task)
    });
    check(DenialCode::TaskClosed, JUST_IN_TIME, |ledger| {
        with_task(read("helper"), ledger.open_task("second"))
    });
    check(DenialCode::TaskClosed, JUST_IN_TIME, |_| with_task(read("helper"), TaskId(999)));
    check(DenialCode::TaskClosed, ALL, |ledger| {
        let task = ledger.open_task("helper");
        with_task(ask_as(Subject::Person(id("alice")), "crm/read", "crm://case/1"), task)
    });
}

#[test]
fn every_selector_suspends_what_it_names_until_lifted() {
    type Select = fn(TaskId) -> Selector;
    let selectors: [Select; 6] = [
        |_| Selector::Agent(id("helper")),
        |_| Selector::Owner(id("alice")),
        Selector::Task,
        |_| Selector::Tool(id("crm/read")),
        |_| Selector::Resource(id("crm://case")),
        |_| Selector::All,
    ];
    for select in selectors {
        let mut made = None;
        check(DenialCode::Suspended, JUST_IN_TIME, |ledger| {
            let task = ledger.open_task("helper");
            let call = with_tool(with_task(read("helper"), task), "crm/read");
            ledger.allowed(call.clone());
            ledger.given(revoke(select(task)));
            made = Some((ledger.clone(), task, call.clone()));
            call
        });
        let (mut ledger, task, call) = made.unwrap();
        ledger.given(lift(select(task)));
        ledger.allowed(call);
    }
}

#[test]
fn suspension_leaves_others_alone() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let task = ledger.open_task("helper");
    for selector in [
        Selector::Agent(id("second")),
        Selector::Owner(id("bob")),
        Selector::Task(task),
        Selector::Tool(id("crm/write")),
        Selector::Resource(id("crm://case/12")),
        Selector::Resource(id("crm://case/1/notes")),
    ] {
        ledger.given(revoke(selector));
    }
    ledger.allowed(with_tool(read("helper"), "crm/read"));
}

#[test]
fn action_that_the_allowlist_does_not_name_is_denied() {
    check(DenialCode::ToolNotAllowed, JUST_IN_TIME, |ledger| {
        ledger.given(Command::UpdateAgent(write_agent("helper", "alice", &["crm/w*", "*"])));
        read("helper")
    });
    check(DenialCode::ToolNotAllowed, JUST_IN_TIME, |ledger| {
        let mut agent = write_agent("helper", "alice", &["crm/*"]);
        let end = ledger.now().after(Span::seconds(1));
        agent.settings.allowlist[0].expires_at = Some(end);
        ledger.given(Command::UpdateAgent(agent));
        ledger.clock = end;
        read("helper")
    });
}

#[test]
fn policy_must_permit_both_agent_and_owner_and_forbid_neither() {
    let agent = r#"@jit("true") permit (principal is Agent, action, resource);"#;
    let owner = "permit (principal is Owner, action, resource);";
    let sets: [&[&str]; 6] = [
        &[],
        &[agent],
        &[owner],
        &[agent, owner, "forbid (principal is Agent, action, resource);"],
        &[agent, owner, "forbid (principal is Owner, action, resource);"],
        &[agent, owner, r#"forbid (principal, action, resource in Resource::"crm://case");"#],
    ];
    for set in sets {
        check(DenialCode::Forbidden, set, |ledger| {
            ledger.grant("helper", "crm/read", "crm://**");
            read("helper")
        });
    }
    Ledger::with_policies(&[agent, owner]).allowed(read("helper"));
}

#[test]
fn permission_without_a_grant_is_no_permission() {
    check(DenialCode::NoGrant, ALL, |_| read("helper"));
    check(DenialCode::NoGrant, ALL, |ledger| {
        ledger.grant("helper", "crm/write", "crm://case/1");
        ledger.grant("helper", "crm/read", "crm://case/2");
        ledger.grant("helper", "crm/read", "crm://case/1/notes/**");
        ledger.grant("second", "crm/read", "crm://case/1");
        read("helper")
    });
    check(DenialCode::NoGrant, ALL, |ledger| {
        let mut terms = terms("helper", "crm/read", "crm://case/1");
        terms.task = Some(ledger.open_task("helper"));
        ledger.given(issue(terms));
        read("helper")
    });
    // A person's just-in-time permit is the owner's own, never the agent's.
    let owner_only = r#"@jit("true") permit (principal is Owner, action, resource);"#;
    check(
        DenialCode::NoGrant,
        &[owner_only, "permit (principal is Agent, action, resource);"],
        |_| read("helper"),
    );
}

#[test]
fn revoked_grant_is_denied_for_every_selector() {
    for select in [
        (|grant, _| Selector::Grant(grant)) as fn(_, _) -> Selector,
        |_, _| Selector::Agent(id("helper")),
        |_, _| Selector::Owner(id("alice")),
        |_, task| Selector::Task(task),
        |_, _| Selector::Tool(id("crm/read")),
        |_, _| Selector::Resource(id("crm://case/1")),
        |_, _| Selector::All,
    ] {
        check(DenialCode::GrantRevoked, ALL, |ledger| {
            let task = ledger.open_task("helper");
            let mut terms = terms("helper", "crm/read", "crm://case/**");
            (terms.task, terms.max_uses) = (Some(task), Some(9));
            let grant = ledger.given(issue(terms)).grant.unwrap();
            let call = with_tool(with_task(read("helper"), task), "crm/read");
            assert_eq!(ledger.allowed(call.clone()), grant);
            let Command::Revoke(mut revoke) = revoke(select(grant, task)) else { unreachable!() };
            revoke.grants_only = true;
            ledger.given(Command::Revoke(revoke));
            call
        });
    }
}

#[test]
fn grant_of_before_stays_ended_when_agent_or_owner_come_back() {
    check(DenialCode::GrantRevoked, ALL, |ledger| {
        ledger.grant("helper", "crm/read", "crm://case/1");
        ledger.given(Command::SuspendAgent { agent: id("helper"), reason: None });
        ledger.given(Command::ReinstateAgent { agent: id("helper"), reason: None });
        read("helper")
    });
    check(DenialCode::GrantRevoked, ALL, |ledger| {
        ledger.grant("helper", "crm/read", "crm://case/1");
        ledger.given(Command::DisableOwner { owner: id("alice"), reason: None });
        ledger.given(Command::EnableOwner { owner: id("alice") });
        read("helper")
    });
    check(DenialCode::GrantRevoked, ALL, |ledger| {
        ledger.grant("helper", "crm/read", "crm://case/1");
        ledger.given(revoke(Selector::Agent(id("helper"))));
        ledger.given(Command::ReinstateAgent { agent: id("helper"), reason: None });
        read("helper")
    });
}

#[test]
fn returned_grant_is_denied() {
    check(DenialCode::GrantRevoked, ALL, |ledger| {
        let grant = ledger.grant("helper", "crm/read", "crm://case/1");
        ledger.given(Command::ReturnGrant { grant });
        read("helper")
    });
}

#[test]
fn grant_is_denied_from_the_nanosecond_it_expires_and_never_revives() {
    for recorded in [false, true] {
        check(DenialCode::GrantExpired, ALL, |ledger| {
            let mut terms = terms("helper", "crm/read", "crm://case/1");
            terms.max_uses = Some(9);
            let grant = ledger.given(issue(terms)).grant.unwrap();
            let end = ledger.state.grants().get(grant).unwrap().expires_at;
            assert_eq!(end, ledger.log.last().unwrap().place.time.after(JIT_TTL));
            ledger.clock = Time(end.0 - 1);
            ledger.allowed(read("helper"));
            ledger.clock = end;
            if recorded {
                ledger.given(Command::Expire);
            } else {
                ledger.denied(read("helper"));
            }
            // The wall clock runs back; the ledger's time does not.
            ledger.clock = Time(end.0 - 1_000_000_000);
            read("helper")
        });
    }
}

#[test]
fn used_up_grant_is_denied_after_its_last_use() {
    check(DenialCode::GrantExhausted, ALL, |ledger| {
        let mut terms = terms("helper", "crm/read", "crm://case/1");
        terms.max_uses = Some(3);
        ledger.given(issue(terms));
        for _ in 0..3 {
            ledger.allowed(read("helper"));
        }
        read("helper")
    });
}

#[test]
fn grant_is_denied_before_its_time() {
    let mut made = None;
    check(DenialCode::NotYetValid, ALL, |ledger| {
        let start = ledger.now().after(Span::minutes(1));
        let terms = terms("helper", "crm/read", "crm://case/1");
        let issue = IssueGrant { terms, not_before: Some(start), request: None };
        ledger.given(Command::IssueGrant(issue));
        ledger.clock = Time(start.0 - 1);
        made = Some((ledger.clone(), start));
        read("helper")
    });
    let (mut ledger, start) = made.unwrap();
    ledger.clock = start;
    ledger.allowed(read("helper"));
}

#[test]
fn approval_that_policy_demands_is_not_got_round_by_just_in_time() {
    let set = [
        r#"@jit("true") @approval("owner") permit (principal is Agent, action, resource);"#,
        "permit (principal is Owner, action, resource);",
    ];
    check(DenialCode::ApprovalRequired, &set, |_| read("helper"));
    // Nor by a grant that was got where policy does not demand it.
    let by_tool = [
        r#"@jit("true") permit (principal is Agent, action, resource) unless { context has tool };"#,
        r#"@jit("true") @approval("owner") permit (principal is Agent, action, resource)
           when { context has tool };"#,
        "permit (principal is Owner, action, resource);",
    ];
    check(DenialCode::ApprovalRequired, &by_tool, |ledger| {
        let request = Command::RequestGrant(terms("helper", "crm/read", "crm://case/1"));
        assert!(ledger.given(request).grant.is_some());
        with_tool(read("helper"), "crm/read")
    });
    // An operator's grant is a human's decision.
    let mut ledger = Ledger::with_policies(&by_tool);
    ledger.grant("helper", "crm/read", "crm://case/1");
    ledger.allowed(with_tool(read("helper"), "crm/read"));
}

#[test]
fn policy_that_was_tightened_holds_for_grants_that_policy_issued() {
    let set = |uses, ttl| {
        let agent = format!(
            r#"@jit("true") @max_uses("{uses}") @ttl("{ttl}")
               permit (principal is Agent, action, resource);"#
        );
        [agent, "permit (principal is Owner, action, resource);".to_owned()]
    };
    for (uses, ttl) in [(1, "1h"), (9, "1s")] {
        let mut ledger = Ledger::with_policies(&set(9, "1h").each_ref().map(String::as_str));
        let first = ledger.allowed(read("helper"));
        ledger.wait(Span::seconds(2));
        assert_eq!(ledger.allowed(read("helper")), first);
        ledger.given(super::harness::put_policy("p0", &set(uses, ttl)[0]));
        ledger.given(Command::ActivatePolicies);
        assert_ne!(ledger.allowed(read("helper")), first, "{uses} {ttl}");
    }
}

#[test]
fn id_of_another_call_is_denied_however_often_it_is_tried() {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    let first = keyed(actor(Role::Enforcer), "r", Command::Authorize(Box::new(read("helper"))));
    let other = ask("helper", "crm/read", "crm://case/2");
    let other = keyed(actor(Role::Enforcer), "r", Command::Authorize(Box::new(other)));
    assert!(super::harness::is_allowed(&ledger.submit(&first)));
    for _ in 0..3 {
        let decided = ledger.submit(&other);
        assert_eq!(super::harness::code(&decided), Some(DenialCode::IdReused));
    }
    assert!(super::harness::is_allowed(&ledger.submit(&first)));
    let by_another = Actor::System;
    let elsewhere = keyed(by_another, "r", other.command);
    assert!(super::harness::is_allowed(&ledger.submit(&elsewhere)), "ids are each caller's own");
}

#[test]
fn more_disclosed_arguments_than_fit_a_record_are_invalid() {
    check(DenialCode::InvalidArguments, JUST_IN_TIME, |_| {
        let mut call = read("helper");
        let names = (0..=DISCLOSED_MAX).map(|n| (text(&format!("name-{n}")), text("value")));
        call.disclosed = names.collect();
        call
    });
    check(DenialCode::InvalidArguments, JUST_IN_TIME, |_| {
        let mut call = read("helper");
        let value = text(&"x".repeat(2_000));
        call.disclosed = (0..9).map(|n| (text(&n.to_string()), value.clone())).collect();
        call
    });
}

#[test]
fn earlier_check_gives_the_code() {
    // Everything is wrong at once; each step puts the first of it right.
    let mut ledger = Ledger::with_policies(&[]);
    ledger.given(Command::UpdateAgent(write_agent("helper", "alice", &[])));
    ledger.given(revoke(Selector::All));
    ledger.given(Command::DisableOwner { owner: id("alice"), reason: None });
    ledger.given(Command::SuspendAgent { agent: id::<AgentId>("helper"), reason: None });
    let mut call = with_task(read("helper"), TaskId(999));
    call.on_behalf_of = Some(id::<OwnerId>("bob"));
    assert_eq!(ledger.denied(call.clone()), DenialCode::AgentSuspended);
    ledger.given(Command::ReinstateAgent { agent: id("helper"), reason: None });
    assert_eq!(ledger.denied(call.clone()), DenialCode::OwnerDisabled);
    ledger.given(Command::EnableOwner { owner: id("alice") });
    assert_eq!(ledger.denied(call.clone()), DenialCode::NotOwner);
    call.on_behalf_of = Some(id::<OwnerId>("alice"));
    assert_eq!(ledger.denied(call.clone()), DenialCode::TaskClosed);
    call.task = None;
    assert_eq!(ledger.denied(call.clone()), DenialCode::Suspended);
    ledger.given(lift(Selector::All));
    assert_eq!(ledger.denied(call.clone()), DenialCode::ToolNotAllowed);
    ledger.given(Command::UpdateAgent(write_agent("helper", "alice", &["**"])));
    assert_eq!(ledger.denied(call.clone()), DenialCode::Forbidden);
    ledger.given(super::harness::put_policy("p0", ALL[0]));
    ledger.given(Command::ActivatePolicies);
    assert_eq!(ledger.denied(call.clone()), DenialCode::NoGrant);
    ledger.grant("helper", "crm/read", "crm://case/1");
    ledger.allowed(call);
}

#[test]
fn lowest_of_several_live_grants_is_used() {
    let mut ledger = Ledger::with_policies(ALL);
    let wide = ledger.grant("helper", "crm/read", "crm://**");
    let exact = ledger.grant("helper", "crm/read", "crm://case/1");
    let last = ledger.grant("helper", "crm/read", "crm://case/**");
    for expected in [wide, exact, last] {
        assert_eq!(ledger.allowed(read("helper")), expected);
    }
    assert_eq!(ledger.denied(read("helper")), DenialCode::GrantExhausted);
}

#[test]
fn person_in_person_is_held_to_the_same_rules() {
    let person = || ask_as(Subject::Person(id("alice")), "crm/read", "crm://case/1");
    let mut ledger = Ledger::with_policies(ALL);
    assert_eq!(ledger.denied(person()), DenialCode::NoGrant);
    let set = [r#"@jit("true") @max_uses("1") permit (principal is Owner, action, resource);"#];
    let mut ledger = Ledger::with_policies(&set);
    let first = ledger.allowed(person());
    assert_ne!(ledger.allowed(person()), first);
    ledger.given(revoke(Selector::Owner(id("alice"))));
    assert_eq!(ledger.denied(person()), DenialCode::Suspended);
}
