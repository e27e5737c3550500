use super::*;
use crate::enforce::{BOUND, LEASE, SKEW};

const fn at(milliseconds: u64) -> Monotonic {
    Monotonic(0).after(Span(milliseconds))
}

/// When the tests begin: the writer has waited for points it does not know.
const START: u64 = BOUND.0;
/// For how long a point may act on an answer.
const REACH: u64 = LEASE.0 + SKEW.0;

fn id(name: &str) -> PointId {
    PointId::new(name).unwrap()
}

fn points() -> Points {
    Points::new(LEASE, SKEW, at(0))
}

fn names(points: &[PointId]) -> Vec<&str> {
    points.iter().map(PointId::as_str).collect()
}

/// `acknowledged / expired / waiting`, each in order.
fn summary(enforced: &Enforced) -> String {
    let all = [&enforced.acknowledged, &enforced.expired, &enforced.waiting];
    all.map(|points| names(points).join(" ")).join(" / ")
}

#[test]
fn new_writer_waits_for_points_it_does_not_know() {
    let points = points();
    let last = Monotonic(at(BOUND.0).0 - 1);
    let enforced = points.enforced(Some(1), at(10), last);
    assert!(enforced.unknown && !enforced.is_done());
    assert_eq!(enforced.next, Some(at(BOUND.0)));
    let enforced = points.enforced(Some(1), at(10), at(BOUND.0));
    assert!(!enforced.unknown && enforced.is_done());
    assert_eq!(enforced.next, None);
}

#[test]
fn point_that_has_applied_the_number_acknowledges_it() {
    let mut points = points();
    for (name, applied) in [("a", Some(5)), ("b", Some(4)), ("c", Some(6)), ("d", None)] {
        assert_eq!(points.answer(&id(name), applied, 6, at(START)), Ok(6));
    }
    let enforced = points.enforced(Some(5), at(START), at(START));
    assert_eq!(names(&enforced.acknowledged), ["a", "c"]);
}

#[test]
fn point_that_was_answered_before_is_waited_for_until_its_lease_ends() {
    let mut points = points();
    points.answer(&id("a"), Some(4), 4, at(START)).unwrap();
    points.answer(&id("b"), Some(4), 4, at(START + 100)).unwrap();
    let enforced = |now| points.enforced(Some(5), at(START + 200), now);
    let now = enforced(at(START + 200));
    assert_eq!(summary(&now), " /  / a b");
    assert_eq!((now.next, now.is_done()), (Some(at(START + REACH)), false));
    let now = enforced(Monotonic(at(START + REACH).0 - 1));
    assert_eq!(summary(&now), " /  / a b");
    let now = enforced(at(START + REACH));
    assert_eq!(summary(&now), " / a / b");
    assert_eq!(now.next, Some(at(START + 100 + REACH)));
    let now = enforced(at(START + 100 + REACH));
    assert_eq!((summary(&now).as_str(), now.next, now.is_done()), (" / a b / ", None, true));
}

#[test]
fn answers_that_tell_of_the_number_are_not_waited_for() {
    let mut points = points();
    points.answer(&id("a"), Some(4), 4, at(START)).unwrap();
    for later in [300, 600, 900] {
        assert_eq!(points.answer(&id("a"), Some(4), 5, at(START + later)), Ok(5));
    }
    let now = points.enforced(Some(5), at(START + 200), at(START + REACH));
    assert_eq!(summary(&now), " / a / ");
    assert!(now.is_done());
    // The next number is not in those answers.
    let now = points.enforced(Some(6), at(START + 200), at(START + REACH));
    assert_eq!((summary(&now).as_str(), now.next), (" /  / a", Some(at(START + 900 + REACH))));
}

#[test]
fn point_whose_lease_ended_before_the_question_is_not_named() {
    let mut points = points();
    points.answer(&id("a"), Some(4), 4, at(START)).unwrap();
    let asked = at(START + REACH);
    let now = points.enforced(Some(5), asked, asked);
    assert_eq!((summary(&now).as_str(), now.is_done()), (" /  / ", true));
    let now = points.enforced(Some(5), Monotonic(asked.0 - 1), asked);
    assert_eq!((summary(&now).as_str(), now.is_done()), (" / a / ", true));
}

#[test]
fn point_that_joins_after_the_question_is_waited_for_only_without_the_number() {
    let mut points = points();
    points.answer(&id("late"), Some(4), 4, at(START + 20)).unwrap();
    points.answer(&id("told"), Some(4), 5, at(START + 30)).unwrap();
    let now = points.enforced(Some(5), at(START + 10), at(START + 40));
    assert_eq!(summary(&now), " /  / late");
    assert_eq!(now.next, Some(at(START + 20 + REACH)));
}

#[test]
fn point_that_has_only_been_told_for_longer_than_a_lease_has_run_out() {
    let mut points = points();
    points.answer(&id("a"), None, 4, at(START)).unwrap();
    points.answer(&id("a"), None, 5, at(START + REACH)).unwrap();
    let now = points.enforced(Some(5), at(START + 500), at(START + REACH));
    assert_eq!((summary(&now).as_str(), now.is_done()), (" / a / ", true));
}

#[test]
fn without_a_number_only_the_end_of_a_lease_counts() {
    let mut points = points();
    points.answer(&id("a"), Some(9), 9, at(START)).unwrap();
    let now = points.enforced(None, at(START), at(START + 500));
    assert_eq!((summary(&now).as_str(), now.is_done()), (" /  / a", false));
    points.answer(&id("a"), Some(9), 9, at(START + 600)).unwrap();
    let now = points.enforced(None, at(START), at(START + REACH));
    assert_eq!(now.next, Some(at(START + 600 + REACH)));
    let now = points.enforced(None, at(START), at(START + 600 + REACH));
    assert_eq!((summary(&now).as_str(), now.is_done()), (" / a / ", true));
}

#[test]
fn neither_answers_nor_acknowledgements_go_down() {
    let mut points = points();
    assert_eq!(points.answer(&id("a"), Some(5), 6, at(START)), Ok(6));
    assert_eq!(points.answer(&id("a"), Some(3), 4, at(START + 10)), Ok(6));
    assert_eq!(points.answer(&id("a"), None, 6, at(START + 20)), Ok(6));
    assert_eq!(points.answer(&id("b"), None, 4, at(START + 20)), Ok(4), "each on its own");
    let now = points.enforced(Some(5), at(START), at(START + 20));
    assert_eq!(summary(&now), "a /  / b");
}

#[test]
fn a_number_from_the_future_acknowledges_nothing() {
    let mut points = points();
    assert_eq!(points.answer(&id("a"), Some(100), 50, at(START)), Ok(50));
    let now = points.enforced(Some(51), at(START), at(START + 10));
    assert_eq!(summary(&now), " /  / a");
    assert_eq!(points.answer(&id("a"), Some(50), 50, at(START + 20)), Ok(50));
    let now = points.enforced(Some(50), at(START + 20), at(START + 20));
    assert_eq!(summary(&now), "a /  / ");
}

#[test]
fn point_that_left_is_neither_waited_for_nor_named() {
    let mut points = points();
    points.answer(&id("a"), Some(4), 4, at(START)).unwrap();
    points.answer(&id("b"), Some(5), 5, at(START)).unwrap();
    points.leave(&id("a"));
    points.leave(&id("nobody"));
    let now = points.enforced(Some(5), at(START), at(START));
    assert_eq!((summary(&now).as_str(), now.is_done()), ("b /  / ", true));
    assert_eq!(points.all(at(START)).count(), 1);
}

#[test]
fn points_are_shown_by_name_with_what_they_said() {
    let mut points = points();
    points.answer(&id("b"), Some(4), 4, at(START)).unwrap();
    points.answer(&id("a"), None, 4, at(START + 10)).unwrap();
    points.answer(&id("b"), None, 5, at(START + 20)).unwrap();
    let shown = |now: Monotonic| {
        let all = points.all(now);
        all.map(|one| (one.point.as_str(), one.applied, one.answered, one.is_live))
            .collect::<Vec<_>>()
    };
    let (a, b) = (at(START + 10), at(START + 20));
    assert_eq!(shown(at(START + 20)), [("a", None, a, true), ("b", Some(4), b, true)]);
    let later = at(START + 10 + REACH);
    assert_eq!(shown(later), [("a", None, a, false), ("b", Some(4), b, true)]);
}

#[test]
fn no_more_points_than_the_limit_until_silent_ones_are_forgotten() {
    let mut points = points();
    for n in 0..POINTS_MAX {
        points.answer(&id(&format!("p-{n:0>4}")), Some(1), 1, at(START + n as u64)).unwrap();
    }
    let forgotten = START + REMEMBERED_LEASES * LEASE.0;
    let late = id("late");
    let refused = points.answer(&late, None, 1, Monotonic(at(forgotten).0 - 1));
    assert_eq!(refused, Err(TooManyPoints));
    assert!(points.all(at(START)).all(|one| one.point != &late), "no answer, no point");
    // Who is known is answered, and whoever was silent for too long makes room.
    assert_eq!(points.answer(&id("p-0000"), Some(1), 1, Monotonic(at(forgotten).0 - 1)), Ok(1));
    assert_eq!(points.answer(&late, None, 1, at(forgotten)), Err(TooManyPoints));
    assert_eq!(points.answer(&late, None, 1, at(forgotten + 1)), Ok(1));
    let known = |name: &str| points.all(at(forgotten)).any(|one| one.point.as_str() == name);
    assert!(known("p-0000") && !known("p-0001") && known("p-0002") && known("late"));
}

#[test]
fn answers_are_kept_no_longer_than_they_reach() {
    let mut points = points();
    for n in 0..100 {
        points.answer(&id("a"), None, n, at(START + 250 * n)).unwrap();
    }
    let kept = points.points[&id("a")].answers.len() as u64;
    assert_eq!(kept, REACH / 250 + 1);
}
