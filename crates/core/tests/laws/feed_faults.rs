//! Ten thousand seeded runs in which feed messages are dropped, duplicated, delayed and reordered,
//! streams are cut or fall silent, and the server forgets old items or loses new ones: a subscriber
//! that follows the rules never ends with a wrong state without knowing it.
#![expect(clippy::print_stdout, reason = "its figures are for whoever asks for them")]

mod run;
mod server;
mod stream;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::history::{Step, Story, steps};
use run::{Program, Run, Seen};
use server::{Happening, happenings};
use stream::Faults;

const RUNS: u64 = 10_000;

/// How many of the last steps only call, where a history ends calmly.
const CALM: usize = 40;

/// What real commands put on some ledgers. Every other history ends calmly, so that some of what was
/// allowed is good at its end.
fn histories() -> Vec<Vec<Happening>> {
    let mut runner = TestRunner::deterministic();
    let story = |n: usize| {
        let mut story = Story::new();
        let steps = steps(400).new_tree(&mut runner).unwrap().current();
        let calm = if n.is_multiple_of(2) { steps.len() - CALM } else { steps.len() };
        let calls = |step: &Step| matches!(step, Step::Call { .. } | Step::Issue { .. });
        let steps = steps.iter().enumerate().filter(|(n, step)| *n < calm || calls(step));
        for (_, step) in steps {
            for submission in story.submissions(step) {
                story.ledger.submit(&submission);
            }
        }
        happenings(&story)
    };
    (0..24).map(story).collect()
}

/// Plays the runs; gives the first seed that went wrong, or what was seen in all of them.
fn play(program: Program, runs: u64) -> Result<Seen, String> {
    let histories = histories();
    let mut seen = Seen::default();
    for (seed, history) in (0..runs).zip(histories.iter().cycle()) {
        let mut run = Run::new(seed, program, history);
        run.play().map_err(|wrong| format!("seed {seed}: {wrong}"))?;
        seen.add(&run.seen);
    }
    Ok(seen)
}

#[test]
fn no_subscriber_ends_with_a_wrong_state_without_knowing_it() {
    let seen = play(Program::Sound, RUNS).unwrap_or_else(|wrong| panic!("{wrong}"));
    println!("{seen:#?}");
    let Faults { dropped, duplicated, delayed, reordered, cut, stalled, .. } = seen.faults;
    let Faults { unreachable, pings_lost, truncated, set_back, .. } = seen.faults;
    let faults = [dropped, duplicated, delayed, reordered, cut, stalled, unreachable, pings_lost];
    assert!(faults.iter().chain([&truncated, &set_back]).all(|struck| *struck > 1_000));
    let Seen { gaps, heard_again, resumed, refused_as_too_old, refused_as_future, .. } = seen;
    let heard = [gaps, heard_again, resumed, refused_as_too_old, refused_as_future];
    assert!(heard.iter().all(|count| *count > 1_000));
    // Most come through, and the others know that they have not.
    assert_eq!(seen.whole + seen.without_a_lease + seen.behind, RUNS);
    assert!(seen.whole > RUNS / 2 && seen.without_a_lease > 100 && seen.behind > 10);
    assert!(seen.good > 100 && seen.narrowed > 1_000 && seen.unsure > 1_000);
}

#[test]
fn a_subscriber_that_breaks_the_rules_is_found_out() {
    for program in [Program::BelievesPings, Program::ForgetsMisses] {
        let wrong = play(program, 1_000).map(|_| program).unwrap_err();
        println!("{program:?}, {wrong}");
    }
}
