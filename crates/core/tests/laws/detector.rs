//! Probing: three distinct tools denied in one task tear it down in the entry of the third.

use bailiwick_core::command::Command;
use bailiwick_core::detect::probing::COUNTED;
use bailiwick_core::event::{DenialCode, Event, Fact, Selector, Verdict};
use bailiwick_core::id::TaskId;
use bailiwick_core::time::Time;

use super::harness::{
    JUST_IN_TIME, Ledger, actor, ask, code, lift, names, submission, with_task, write_agent,
};

/// A ledger whose `helper` may read cases and nothing else, and a task of it.
fn given() -> (Ledger, TaskId) {
    let mut ledger = Ledger::with_policies(JUST_IN_TIME);
    ledger.given(Command::UpdateAgent(write_agent("helper", "alice", &["crm/*"])));
    let task = ledger.open_task("helper");
    (ledger, task)
}

fn attempt(ledger: &mut Ledger, task: Option<TaskId>, action: &str) -> Vec<Event> {
    let mut ask = ask("helper", action, "crm://case/1");
    ask.task = task;
    let by = actor(bailiwick_core::event::Role::Enforcer);
    ledger.submit(&submission(by, Command::Authorize(Box::new(ask)))).events
}

#[test]
fn third_distinct_tool_raises_and_revokes_before_its_denial_in_the_same_batch() {
    let (mut ledger, task) = given();
    let first = ledger.state.next_index();
    assert_eq!(names(&attempt(&mut ledger, Some(task), "pay/send")), ["call.denied"]);
    assert_eq!(names(&attempt(&mut ledger, Some(task), "crm/write")), ["call.denied"]);
    let third = attempt(&mut ledger, Some(task), "mail/send");
    assert_eq!(names(&third), ["finding.raised", "revocation.issued", "call.denied"]);
    let Fact::FindingRaised(finding) = &third[0].fact else { unreachable!() };
    assert_eq!(finding.verdict, Verdict::Revoke);
    assert_eq!(finding.evidence, [first, first + 1, first + 4], "the denials themselves");
    let Fact::RevocationIssued(revocation) = &third[1].fact else { unreachable!() };
    assert_eq!((&revocation.selector, revocation.suspend), (&Selector::Task(task), true));
    assert_eq!(third[1].about.cause, Some(first + 2), "the finding led to the revocation");
    assert_eq!(third[2].about.cause, Some(first + 3), "the revocation led to the denial");
    // What worked before is torn down, in this task and in no other.
    let call = ask("helper", "crm/read", "crm://case/1");
    assert_eq!(ledger.denied(with_task(call.clone(), task)), DenialCode::Suspended);
    ledger.allowed(call);
}

#[test]
fn grants_of_the_task_end_with_the_finding() {
    let (mut ledger, task) = given();
    let call = with_task(ask("helper", "crm/read", "crm://case/1"), task);
    let before = ledger.allowed(call.clone());
    for action in ["pay/send", "crm/write", "mail/send"] {
        attempt(&mut ledger, Some(task), action);
    }
    ledger.given(lift(Selector::Task(task)));
    assert_ne!(ledger.allowed(call), before, "the old grant stays ended");
}

#[test]
fn without_a_task_the_agent_itself_is_torn_down() {
    let (mut ledger, _) = given();
    attempt(&mut ledger, None, "pay/send");
    attempt(&mut ledger, None, "crm/write");
    let third = attempt(&mut ledger, None, "mail/send");
    let Fact::RevocationIssued(revocation) = &third[1].fact else { unreachable!() };
    assert_eq!(revocation.selector, Selector::Agent("helper".parse().unwrap()));
    assert_eq!(ledger.denied(ask("helper", "crm/read", "crm://case/1")), DenialCode::Suspended);
}

#[test]
fn same_tool_again_other_tasks_and_other_reasons_do_not_count() {
    let (mut ledger, task) = given();
    let other = ledger.open_task("helper");
    for _ in 0..5 {
        assert_eq!(names(&attempt(&mut ledger, Some(task), "pay/send")), ["call.denied"]);
    }
    attempt(&mut ledger, Some(task), "crm/write");
    assert_eq!(names(&attempt(&mut ledger, Some(other), "mail/send")), ["call.denied"]);
    assert_eq!(names(&attempt(&mut ledger, None, "mail/send")), ["call.denied"]);
    ledger.given(super::harness::revoke(Selector::Tool("mail/send".parse().unwrap())));
    let mut call = with_task(ask("helper", "mail/send", "crm://case/1"), task);
    call.tool = Some("mail/send".parse().unwrap());
    assert_eq!(ledger.denied(call), DenialCode::Suspended);
    assert!(ledger.log.iter().all(|r| !matches!(r.event.fact, Fact::FindingRaised(_))));
}

#[test]
fn denial_counts_for_a_day_and_a_closed_task_counts_no_more() {
    let (mut ledger, task) = given();
    attempt(&mut ledger, Some(task), "pay/send");
    attempt(&mut ledger, Some(task), "crm/write");
    ledger.clock = Time(ledger.log.last().unwrap().place.time.after(COUNTED).0);
    assert_eq!(names(&attempt(&mut ledger, Some(task), "mail/send")), ["call.denied"]);
    assert_eq!(names(&attempt(&mut ledger, Some(task), "pay/send")), ["call.denied"]);
    let third = attempt(&mut ledger, Some(task), "crm/write");
    assert_eq!(third.len(), 3);
    ledger.given(Command::CloseTask { task, reason: None });
    assert_eq!(ledger.state.marks().suspensions().count(), 0, "closed for good");
    assert_eq!(ledger.replayed().to_bytes(), ledger.state.to_bytes());
}

#[test]
fn finding_starts_the_count_anew_after_its_suspension_was_lifted() {
    let (mut ledger, task) = given();
    for action in ["pay/send", "crm/write", "mail/send"] {
        attempt(&mut ledger, Some(task), action);
    }
    ledger.given(lift(Selector::Task(task)));
    let fourth = attempt(&mut ledger, Some(task), "pay/send");
    assert_eq!(
        names(&fourth),
        ["call.denied"],
        "the denial that tore down is the first of the new count"
    );
    let ask = with_task(ask("helper", "crm/write", "crm://case/1"), task);
    let by = actor(bailiwick_core::event::Role::Enforcer);
    let decided = ledger.submit(&submission(by, Command::Authorize(Box::new(ask))));
    assert_eq!((decided.events.len(), code(&decided)), (3, Some(DenialCode::Forbidden)));
}
