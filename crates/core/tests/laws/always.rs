//! Laws that hold after every step of any history.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_core::command::{Answer, Command, Submission};
use bailiwick_core::decide::Decided;
use bailiwick_core::event::{DenialCode, Fact, Issuance, Role};
use bailiwick_core::id::GrantId;
use bailiwick_core::state::State;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::harness::{Ledger, actor, ask, code, replay, submission, with_task};
use super::history::{ACTIONS, AGENTS, RESOURCES, Story, steps};
use super::oracle::{Expected, Oracle, allowed, narrows};

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..Default::default() })]

    /// One run for all of them: the histories cost more than what is checked about them.
    #[test]
    fn laws_hold_of_any_history(steps in steps(120), cut in 0.0..1.0_f64) {
        let mut story = Story::new();
        for step in &steps {
            for submission in story.submissions(step) {
                let before = story.ledger.clone();
                let decided = story.ledger.submit(&submission);
                every_call_is_decided_as_the_plain_rules_say(&before, &submission, &decided)?;
            }
        }
        let ledger = story.ledger;
        no_grant_is_overused(&ledger)?;
        what_was_delegated_is_never_better_than_what_it_came_from(&ledger)?;
        no_id_is_allowed_twice_within_a_quarter_of_an_hour(&ledger)?;
        grant_ends_once_and_as_expired_only_when_it_ran_out(&ledger)?;
        feed_has_every_narrowing_event_once_and_no_gap(&ledger)?;
        replay_and_snapshot_give_the_live_state_to_the_byte(&ledger, cut)?;
    }
}

fn replay_and_snapshot_give_the_live_state_to_the_byte(
    ledger: &Ledger,
    cut: f64,
) -> Result<(), TestCaseError> {
    let live = ledger.state.to_bytes();
    let at = (ledger.log.len() as f64 * cut) as usize;
    let state = replay(State::new(), &ledger.log[..at]);
    let snapshot = state.to_bytes();
    prop_assert!(replay(state, &ledger.log[at..]).to_bytes() == live);
    let restored = State::from_bytes(&snapshot).unwrap();
    prop_assert!(restored.to_bytes() == snapshot);
    let restored = replay(restored, &ledger.log[at..]);
    prop_assert!(restored.to_bytes() == live);
    let restored = Ledger { state: restored, ..ledger.clone() };
    for probe in probes(ledger) {
        prop_assert_eq!(ledger.ask(&probe), restored.ask(&probe));
    }
    prop_assert!(State::from_bytes(&live[..live.len() - 1]).is_err());
    prop_assert!(State::from_bytes(&[live, vec![0]].concat()).is_err());
    Ok(())
}

fn feed_has_every_narrowing_event_once_and_no_gap(ledger: &Ledger) -> Result<(), TestCaseError> {
    let narrowing = ledger.log.iter().filter(|r| narrows(&r.event.fact));
    let expected: Vec<u64> = narrowing.map(|r| r.place.index).collect();
    let feed = ledger.state.feed();
    let items: Vec<_> = feed.after(0).unwrap().collect();
    prop_assert_eq!(items.iter().map(|i| i.index).collect::<Vec<_>>(), expected);
    prop_assert!(items.iter().zip(1..).all(|(item, number)| item.number == number));
    prop_assert_eq!(feed.last(), items.len() as u64);
    for after in 0..=feed.last() {
        let rest: Vec<_> = feed.after(after).unwrap().collect();
        prop_assert_eq!(&rest[..], &items[after as usize..]);
    }
    prop_assert!(feed.after(feed.last() + 1).is_err());
    Ok(())
}

fn grant_ends_once_and_as_expired_only_when_it_ran_out(
    ledger: &Ledger,
) -> Result<(), TestCaseError> {
    let mut ended = BTreeSet::new();
    let mut expiry = BTreeMap::new();
    for recorded in &ledger.log {
        match &recorded.event.fact {
            Fact::GrantIssued(fact) => {
                expiry.insert(GrantId(recorded.place.index), fact.expires_at);
            }
            Fact::GrantExpired(fact) => {
                prop_assert!(expiry[&fact.grant] <= recorded.place.time);
                prop_assert!(ended.insert(fact.grant));
            }
            Fact::GrantExhausted(fact) => prop_assert!(ended.insert(fact.grant)),
            Fact::GrantReturned(fact) => prop_assert!(ended.insert(fact.grant)),
            _ => {}
        }
    }
    Ok(())
}

fn no_id_is_allowed_twice_within_a_quarter_of_an_hour(
    ledger: &Ledger,
) -> Result<(), TestCaseError> {
    let calls = ledger.log.iter().filter(|r| allowed(&r.event.fact).is_some());
    let keyed: Vec<_> = calls
        .filter_map(|r| Some((&r.event.about.actor, &r.event.about.request.as_ref()?.id, r.place)))
        .collect();
    for (i, (by, request, place)) in keyed.iter().enumerate() {
        for (other, same, later) in &keyed[i + 1..] {
            let apart = later.time.0 - place.time.0;
            prop_assert!(by != other || request != same || apart >= QUARTER, "{}", request);
        }
    }
    Ok(())
}

/// How long an answer is remembered, in nanoseconds.
const QUARTER: u64 = 15 * 60_000_000_000;

fn every_call_is_decided_as_the_plain_rules_say(
    before: &Ledger,
    submission: &Submission,
    decided: &Decided,
) -> Result<(), TestCaseError> {
    let Command::Authorize(ask) = &submission.command else { return Ok(()) };
    let Answer::Decided(decision) = &decided.answer else {
        prop_assert!(false, "a call is decided, not {:?}", decided.answer);
        return Ok(());
    };
    let view = before.state.view();
    let oracle = Oracle { log: &before.log, view: &view, now: before.now() };
    if decision.repeats.is_some() {
        let first = &before.log[decision.call.0 as usize];
        prop_assert!(decided.events.is_empty());
        prop_assert!(oracle.is_repeatable(first, ask), "repeated {first:?}");
        return Ok(());
    }
    let used = submission.request.as_ref().is_some_and(|request| {
        let recent = |time: u64| before.now().0 < time + QUARTER;
        before.log.iter().any(|r| {
            let about = &r.event.about;
            let same_id = about.request.as_ref().is_some_and(|known| {
                let allowed = matches!(r.event.fact, Fact::CallAuthorized(_));
                known.id == request.id && (known.digest != request.digest || allowed)
            });
            let reuse = matches!(&r.event.fact, Fact::CallDenied(f)
                if f.code == DenialCode::IdReused);
            same_id && !reuse && about.actor == submission.actor && recent(r.place.time.0)
        })
    });
    if used {
        prop_assert!(decision.result.is_err(), "an id is used once: {:?}", submission.request);
        return Ok(());
    }
    let issued = decided.events.iter().any(|e| matches!(e.fact, Fact::GrantIssued(_)));
    let got = match &decision.result {
        Ok(_) if issued => Expected::JustInTime,
        Ok(allowed) => Expected::Held(allowed.grant),
        Err(_) => Expected::Denied,
    };
    prop_assert_eq!(got, oracle.expect(ask), "{:?} {:?}", ask, decision);
    Ok(())
}

/// Not by itself, and not together with all that was delegated from it.
fn no_grant_is_overused(ledger: &Ledger) -> Result<(), TestCaseError> {
    let mut left = BTreeMap::new();
    let mut parents = BTreeMap::new();
    for recorded in &ledger.log {
        if let Fact::GrantIssued(fact) = &recorded.event.fact {
            left.insert(GrantId(recorded.place.index), fact.max_uses);
            parents.extend(fact.parent.map(|parent| (GrantId(recorded.place.index), parent)));
        }
        let mut next = allowed(&recorded.event.fact).map(|(_, grant)| grant);
        while let Some(grant) = next {
            let left = left.get_mut(&grant).unwrap();
            prop_assert!(*left > 0, "{} is used more than it allows", grant);
            *left -= 1;
            next = parents.get(&grant).copied();
        }
    }
    Ok(())
}

fn what_was_delegated_is_never_better_than_what_it_came_from(
    ledger: &Ledger,
) -> Result<(), TestCaseError> {
    let issued = |id: GrantId| match &ledger.log[id.0 as usize].event.fact {
        Fact::GrantIssued(fact) => fact,
        other => panic!("{other:?}"),
    };
    for recorded in &ledger.log {
        let Fact::GrantIssued(child) = &recorded.event.fact else { continue };
        let Some(id) = child.parent else { continue };
        let parent = issued(id);
        prop_assert!(id.0 < recorded.place.index);
        prop_assert_eq!((&child.owner, &child.action), (&parent.owner, &parent.action));
        prop_assert_eq!(&child.tool, &parent.tool);
        prop_assert!(child.not_before >= parent.not_before);
        prop_assert!(child.expires_at <= parent.expires_at);
        prop_assert!(child.max_uses <= parent.max_uses);
        prop_assert!(child.task.is_some() || parent.task.is_none());
        prop_assert!(parent.scope.covers(child.scope.root()));
        let kept = |constraint| child.constraints.contains(constraint);
        prop_assert!(parent.constraints.iter().all(kept));
    }
    let state = &ledger.state;
    for (id, child) in state.grants().after(None) {
        let Some(parent) = child.parent() else { continue };
        if state.check_grant(id, child, ledger.now()).is_ok() {
            let known = state.grants().get(parent);
            let standing = known.map(|known| state.check_grant(parent, known, ledger.now()));
            prop_assert_eq!(standing, Some(Ok(())), "{} is good and {} is not", id, parent);
        }
    }
    Ok(())
}

/// Calls of every agent, by an enforcement point and without an id.
pub(super) fn probes(ledger: &Ledger) -> Vec<Submission> {
    let tasks: Vec<_> = ledger.state.tasks().keys().copied().rev().take(4).collect();
    let mut probes = Vec::new();
    for agent in AGENTS {
        for action in ACTIONS {
            for resource in RESOURCES {
                let plain = ask(agent, action, resource);
                let of_tasks = tasks.iter().map(|task| with_task(plain.clone(), *task));
                let asks = of_tasks.chain([plain.clone()]);
                probes.extend(asks.map(|ask| {
                    submission(actor(Role::Enforcer), Command::Authorize(Box::new(ask)))
                }));
            }
        }
    }
    probes
}

#[test]
fn times_strictly_increase_when_the_clock_stands_still_or_runs_back() {
    let mut ledger = Ledger::with_policies(super::harness::JUST_IN_TIME);
    for back in [0, 1, 1_000, u64::MAX] {
        ledger.clock = bailiwick_core::time::Time(ledger.clock.0.saturating_sub(back));
        ledger.allowed(ask("helper", "crm/read", "crm://case/1"));
    }
    let times: Vec<_> = ledger.log.iter().map(|r| r.place.time).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn rebuilt_view_is_told_from_the_one_that_comes_after_it() {
    let mut ledger = Ledger::with_policies(super::harness::JUST_IN_TIME);
    ledger.state = State::from_bytes(&ledger.state.to_bytes()).unwrap();
    let before = ledger.state.view();
    ledger.given(super::harness::put_policy("no", "forbid (principal, action, resource);"));
    let mut call = ask("helper", "crm/read", "crm://case/1");
    call.verdicts = before.verdicts(&call, ledger.now());
    // The very next event changes what policy says: what was evaluated before must not count.
    ledger.state = State::from_bytes(&ledger.state.to_bytes()).unwrap();
    let early = ledger.state.view();
    call.verdicts = early.verdicts(&call, ledger.now());
    ledger.given(Command::ActivatePolicies);
    assert_ne!(ledger.state.view().version(), early.version());
    assert_eq!(ledger.denied(call), DenialCode::Forbidden);
}

#[test]
fn histories_meet_nearly_everything_that_there_is() {
    let mut runner = TestRunner::deterministic();
    let mut met = BTreeSet::new();
    for _ in 0..96 {
        let mut story = Story::new();
        let steps = steps(120).new_tree(&mut runner).unwrap().current();
        for step in &steps {
            for submission in story.submissions(step) {
                let decided = story.ledger.submit(&submission);
                met.extend(decided.events.iter().map(|event| event.fact.name()));
                met.extend(code(&decided).map(DenialCode::as_str));
                let used = decided.events.iter().filter_map(|event| allowed(&event.fact));
                let held = used.filter_map(|(_, grant)| story.ledger.state.grants().get(grant));
                let delegated = |issuance| (issuance == Issuance::Delegated).then_some("delegated");
                met.extend(held.filter_map(|grant| delegated(grant.issuance)));
                if let Answer::Decided(decision) = &decided.answer
                    && decision.repeats.is_some()
                {
                    met.insert("repeated");
                }
            }
        }
    }
    let expected = "agent.reassigned agent_suspended agent_unknown approval_required config.changed \
        delegate.added delegate.removed delegated forbidden tool.changed tool.pinned tool.unpinned \
        tool_changed tool_unpinned \
        grant_expired grant_revoked id_reused no_grant not_owner owner_disabled repeated suspended \
        task_closed tool_not_allowed agent.reinstated call.authorized call.denied call.finished \
        finding.raised grant.denied grant.exhausted grant.expired grant.issued grant.requested \
        grant.returned owner.disabled policies.activated revocation.issued suspension.lifted \
        task.closed approval.requested approval.granted approval.denied approval.expired";
    for what in expected.split_whitespace() {
        assert!(met.contains(what), "{what} is not among {met:?}");
    }
}
