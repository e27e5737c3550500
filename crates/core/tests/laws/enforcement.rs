//! Revoke against use against lease against a writer that is overtaken, in every order there is: all
//! worlds that two gateways, one engine and two grants can come to within some bounds are visited,
//! and in none of them is anything used after somebody was told that its revocation is enforced.
//!
//! The bounds differ, because every kind of step multiplies the worlds: each test lets some kinds
//! happen often and others not at all. That the model can fail is shown by leaving out one rule
//! after the other, each of which then turns out to be needed.
#![expect(clippy::print_stdout, reason = "its figures are for whoever asks for them")]

mod model;
mod shelf;
mod world;

use std::collections::BTreeSet;
use std::rc::Rc;

use model::{Model, Rule, Seen};
use world::{Limits, Step, World};

/// A call may be made and be revoked; nothing else happens and no time passes.
const CALM: Limits = Limits {
    ticks: 0,
    pings: 0,
    calls: 1,
    revocations: 1,
    writers: 0,
    misses: 0,
    lost_ticks: 0,
    in_force_first: false,
};

/// What came of a walk.
#[derive(Debug)]
struct Walk {
    states: usize,
    seen: Seen,
    /// The steps to a use of what was enforced, and what is known there.
    violation: Option<(Vec<Step>, String)>,
}

/// Visits every world that can be reached, breadth first, so that a violation comes with the fewest
/// steps that lead to it.
fn walk(limits: Limits, left_out: Rule) -> Walk {
    let mut model = Model::new(left_out);
    let first = Rc::new(model.first(limits));
    let mut known: BTreeSet<Rc<World>> = BTreeSet::from([Rc::clone(&first)]);
    // Each world with the place of the one before it and the step between them.
    let mut worlds: Vec<(Rc<World>, usize, Option<Step>)> = vec![(first, 0, None)];
    let mut at = 0;
    while at < worlds.len() {
        let from = Rc::clone(&worlds[at].0);
        if model.is_violated(&from) {
            let violation = Some((path(&worlds, at), model.shown(&from)));
            return Walk { states: known.len(), seen: model.seen, violation };
        }
        for (step, to) in model.next(&from) {
            let to = Rc::new(to);
            if known.insert(Rc::clone(&to)) {
                worlds.push((to, at, Some(step)));
            }
        }
        at += 1;
    }
    Walk { states: known.len(), seen: model.seen, violation: None }
}

fn path(worlds: &[(Rc<World>, usize, Option<Step>)], mut at: usize) -> Vec<Step> {
    let mut path = Vec::new();
    while let (_, before, Some(step)) = &worlds[at] {
        path.push(*step);
        at = *before;
    }
    path.reverse();
    path
}

/// Nothing is used after it is enforced, within these limits; gives what was seen on the way.
fn holds(limits: Limits) -> Seen {
    let walk = walk(limits, Rule::AllKept);
    if let Some((steps, shown)) = walk.violation {
        panic!("used after it was enforced:\n{steps:#?}\n{shown}");
    }
    println!("{} states: {limits:?}", walk.states);
    assert!(walk.states > 10_000, "{} states", walk.states);
    assert!(walk.seen.used && walk.seen.cut_by_an_item, "{:?}", walk.seen);
    walk.seen
}

#[test]
fn nothing_is_used_after_it_is_enforced() {
    let seen = holds(Limits { ticks: 4, pings: 1, lost_ticks: 1, ..CALM });
    assert!(seen.lease_ran_out && seen.lease_was_renewed, "{seen:?}");
    assert!(seen.enforced_by_acknowledgement && seen.enforced_by_the_end_of_a_lease, "{seen:?}");
    assert!(holds(Limits { ticks: 2, pings: 2, ..CALM }).enforced_by_acknowledgement);
}

#[test]
fn nothing_is_used_after_it_is_enforced_where_both_grants_are_used_and_revoked() {
    let both = Limits { calls: 2, revocations: 2, ..CALM };
    assert!(holds(Limits { pings: 1, ..both }).enforced_by_acknowledgement);
    assert!(holds(Limits { ticks: 3, ..both }).enforced_by_the_end_of_a_lease);
}

#[test]
fn nothing_is_used_after_it_is_enforced_where_items_are_missed() {
    let seen = holds(Limits { ticks: 3, pings: 1, misses: 1, ..CALM });
    assert!(seen.lease_ran_out && seen.lease_was_renewed, "{seen:?}");
    assert!(seen.enforced_by_acknowledgement && seen.enforced_by_the_end_of_a_lease, "{seen:?}");
}

#[test]
fn nothing_is_used_after_it_is_enforced_where_the_writer_is_overtaken() {
    let seen = holds(Limits { ticks: 5, pings: 1, writers: 1, ..CALM });
    assert!(seen.lease_ran_out && seen.lease_was_renewed, "{seen:?}");
    assert!(seen.enforced_by_a_new_writer && seen.answered_by_an_overtaken_writer, "{seen:?}");
}

#[test]
fn nothing_is_used_after_it_is_enforced_before_it_is_on_the_ledger() {
    let seen = holds(Limits { ticks: 4, pings: 1, lost_ticks: 1, in_force_first: true, ..CALM });
    assert!(seen.enforced_before_it_was_recorded, "{seen:?}");
}

/// Within the limits of the tests above, where nothing is used wrongly as long as all rules hold.
#[test]
fn every_rule_is_needed() {
    let timed = Limits { ticks: 3, pings: 1, ..CALM };
    for (rule, limits) in [
        (Rule::WriterWaitsForTheSkew, Limits { ticks: 2, lost_ticks: 1, ..CALM }),
        (Rule::WriterWaitsForTheLease, Limits { ticks: 2, lost_ticks: 1, ..CALM }),
        (Rule::NewWriterWaitsForTheOldOne, Limits { writers: 1, ..timed }),
        (Rule::OvertakenWriterFallsSilent, Limits { ticks: 5, writers: 1, ..timed }),
        (Rule::AnswersAreUpToDate, timed),
        (Rule::SilentUntilRecorded, Limits { in_force_first: true, ..timed }),
        (Rule::LeaseCountsFromSending, timed),
        (Rule::AnswerWaitsForItems, timed),
        (Rule::MissEndsReceipts, Limits { pings: 1, misses: 1, ..CALM }),
        (Rule::AcknowledgesWhatIsApplied, Limits { pings: 1, ..CALM }),
    ] {
        let walk = walk(limits, rule);
        let Some((steps, _)) = walk.violation else {
            panic!("{rule:?} makes no difference in {} states", walk.states);
        };
        println!("without {rule:?}, after {} states: {steps:?}", walk.states);
    }
}
