//! What the gate makes of revocations, of their feed, and of the lease without which it does nothing.

use std::time::Duration;

use bailiwick_client::authority::{AUTHORIZE_TIMEOUT, LEASE, PING_EVERY, Permit, Ruling};
use bailiwick_client::revocations::Signal;
use bailiwick_core::event::{Outcome, Selector};
use bailiwick_core::id::GrantId;
use bailiwick_gateway::pipeline::Ending;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{call, decision};
use crate::desk::{Desk, POINT, allowed, item};

/// A gate that lets everything through, with one call that runs.
async fn running() -> Desk {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(allowed(50)));
    desk.send(&call(1, "1")).await;
    desk.at_server().await;
    desk
}

/// The call that runs is cut now, for this reason.
async fn is_cut(desk: &mut Desk, code: &str) {
    let answer = desk.answer().await;
    assert_eq!((&answer["id"], decision(&answer)["reason_code"].as_str()), (&json!(1), Some(code)));
    assert_eq!(decision(&answer)["outcome"], "cut");
    assert!(desk.at_server().await.contains("notifications/cancelled"));
}

/// A call is denied `unavailable` without anybody being asked.
async fn is_denied_unasked(desk: &mut Desk, id: u64) {
    let asked = desk.authority.asked().len();
    desk.send(&call(id, "1")).await;
    let answer = desk.answer().await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(-32603)));
    assert_eq!(decision(&answer)["reason_code"], "unavailable");
    assert_eq!(desk.authority.asked().len(), asked);
}

/// A call goes through.
async fn passes(desk: &mut Desk, id: u64) {
    let line = call(id, "1");
    desk.send(&line).await;
    assert_eq!(desk.at_server().await, line);
}

fn other() -> Selector {
    Selector::Agent("other".parse().unwrap())
}

#[tokio::test]
async fn a_revocation_cuts_the_calls_it_covers_and_no_others() {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(allowed(50)));
    for (id, case) in [(1, "1"), (2, "2")] {
        desk.send(&call(id, case)).await;
        desk.at_server().await;
    }
    let covered = Selector::Resource("crm://case/1".parse().unwrap());
    desk.authority.revokes(60, covered, true);
    let answer = desk.answer().await;
    assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!(1), &json!(true)));
    assert_eq!(decision(&answer)["reason_code"], "suspended");
    assert_eq!(decision(&answer)["outcome"], "cut");
    let told: Value = serde_json::from_str(&desk.at_server().await).unwrap();
    assert_eq!(
        (&told["method"], &told["params"]["requestId"]),
        (&json!("notifications/cancelled"), &json!(1))
    );

    desk.server_says(r#"{"jsonrpc":"2.0","id":1,"result":{"content":["late"]}}"#).await;
    let other = r#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#;
    desk.server_says(other).await;
    assert_eq!(desk.line().await, other, "the late answer to a cut call is dropped");
    desk.leave().await;
    let outcomes: Vec<_> = desk.authority.finished().iter().map(|f| f.outcome).collect();
    assert_eq!(outcomes, [Outcome::Cut, Outcome::Ok]);
}

#[tokio::test]
async fn what_a_grant_was_delegated_from_takes_the_running_call_with_it() {
    for selector in [Selector::Grant(GrantId(7)), Selector::Agent("giver".parse().unwrap())] {
        let mut desk = Desk::new();
        let rests_on = vec![selector.clone()];
        desk.authority.rules(move |_| {
            let Ruling::Allowed(permit) = allowed(50) else { unreachable!() };
            Ok(Ruling::Allowed(Permit { rests_on: rests_on.clone(), ..permit }))
        });
        passes(&mut desk, 1).await;
        desk.authority.revokes(60, Selector::Grant(GrantId(8)), false);
        desk.authority.revokes(61, selector, false);
        is_cut(&mut desk, "grant_revoked").await;
    }
}

#[tokio::test]
async fn a_revocation_between_decision_and_call_stops_it_there() {
    let mut desk = Desk::new();
    let revokes = desk.authority.revoker();
    desk.authority.rules(move |ask| {
        revokes(60, Selector::Agent(ask.agent.clone()), false);
        Ok(allowed(50))
    });
    desk.send(&call(1, "1234")).await;
    let answer = desk.answer().await;
    assert_eq!(decision(&answer)["reason_code"], "grant_revoked");
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.leave().await;
    assert_eq!(desk.authority.finished()[0].outcome, Outcome::Cut);
}

#[tokio::test(start_paused = true)]
async fn an_item_is_acknowledged_at_once_when_what_it_ends_was_cut() {
    let mut desk = running().await;
    desk.authority.acknowledged(0).await;
    let revoked = Instant::now();
    desk.authority.revokes(60, Selector::All, true);
    desk.authority.acknowledged(1).await;
    is_cut(&mut desk, "suspended").await;
    assert_eq!(revoked.elapsed(), Duration::ZERO);
    desk.authority.revokes(61, other(), true);
    desk.authority.acknowledged(2).await;
    assert_eq!(revoked.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_answers_to_pings_what_runs_is_cut_and_nothing_starts() {
    let mut desk = running().await;
    let running = Instant::now();
    desk.authority.answers_pings(None);
    // An acknowledgement in between: the lease ends between two pings.
    tokio::time::sleep(Duration::from_millis(100)).await;
    desk.authority.revokes(60, other(), true);
    is_cut(&mut desk, "unavailable").await;
    assert!(running.elapsed() <= LEASE + Duration::from_millis(2), "{:?}", running.elapsed());
    is_denied_unasked(&mut desk, 2).await;
    // All in between passes, and the first answer lets calls through again.
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.authority.answers_pings(Some(Duration::ZERO));
    tokio::time::sleep(PING_EVERY).await;
    passes(&mut desk, 3).await;
    desk.leave().await;
    let outcomes: Vec<_> = desk.authority.finished().iter().map(|f| f.outcome).collect();
    assert_eq!(outcomes, [Outcome::Cut, Outcome::Cut]);
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_stalls_behind_the_ledger_ends_the_lease_though_pings_are_answered() {
    let mut desk = running().await;
    desk.authority.moves_on_unheard(1);
    let stalled = Instant::now();
    is_cut(&mut desk, "unavailable").await;
    assert!(stalled.elapsed() <= LEASE + Duration::from_millis(2), "{:?}", stalled.elapsed());
    is_denied_unasked(&mut desk, 2).await;
    desk.authority.signals(Signal::Item(Box::new(item(1, 60, other(), true))));
    desk.authority.acknowledged(1).await;
    passes(&mut desk, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_feed_ends_nothing_while_pings_say_that_nothing_is_missed() {
    let mut desk = running().await;
    desk.authority.signals(Signal::Lost { since: Instant::now().into_std() });
    tokio::time::sleep(5 * LEASE).await;
    let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    desk.server_says(answer).await;
    assert_eq!(desk.line().await, answer);
    passes(&mut desk, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_missing_items_and_is_decided_when_they_came() {
    let mut desk = running().await;
    desk.authority.moves_on_unheard(2);
    desk.authority.signals(Signal::Behind { after: 0, shown: 2, early: None });
    let line = call(2, "2");
    desk.send(&line).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    assert_eq!(desk.authority.asked().len(), 1, "it is not even asked about");
    for number in [1, 2] {
        let item = item(number, 60 + number, other(), true);
        desk.authority.signals(Signal::Item(Box::new(item)));
    }
    assert_eq!(desk.at_server().await, line);
}

#[tokio::test(start_paused = true)]
async fn missing_items_that_do_not_come_deny_what_waits_and_cut_what_runs() {
    let mut desk = running().await;
    desk.authority.moves_on_unheard(2);
    // The one that came too early ends what it ends.
    let covered = Selector::Resource("crm://case/1".parse().unwrap());
    let early = Some(Box::new(item(2, 60, covered, true)));
    desk.authority.signals(Signal::Behind { after: 0, shown: 2, early });
    is_cut(&mut desk, "suspended").await;
    let waits = Instant::now();
    is_denied_unasked(&mut desk, 2).await;
    assert!(waits.elapsed() <= LEASE + Duration::from_millis(2), "{:?}", waits.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_meets_a_gap_is_not_used() {
    let mut desk = Desk::new();
    let authority = std::sync::Arc::downgrade(&desk.authority);
    desk.authority.rules(move |_| {
        let behind = Signal::Behind { after: 0, shown: 2, early: None };
        authority.upgrade().unwrap().signals(behind);
        Ok(allowed(50))
    });
    desk.send(&call(1, "1")).await;
    assert_eq!(decision(&desk.answer().await)["reason_code"], "unavailable");
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.leave().await;
    assert_eq!(desk.authority.finished()[0].outcome, Outcome::Cut);
}

#[tokio::test(start_paused = true)]
async fn items_that_will_not_come_cut_everything_and_the_gate_begins_anew() {
    let mut desk = running().await;
    desk.authority.signals(Signal::Missed { after: Some(0) });
    is_cut(&mut desk, "unavailable").await;
    is_denied_unasked(&mut desk, 2).await;
    desk.authority.moves_on_unheard(9);
    desk.authority.signals(Signal::Alive { number: 9 });
    desk.authority.acknowledged(9).await;
    passes(&mut desk, 3).await;
}

#[tokio::test(start_paused = true)]
async fn the_first_call_waits_for_the_lease_and_not_for_ever() {
    let mut desk = Desk::new();
    desk.authority.rules(|_| Ok(allowed(50)));
    desk.authority.answers_pings(None);
    let asked = Instant::now();
    is_denied_unasked(&mut desk, 1).await;
    assert_eq!(asked.elapsed().as_secs(), AUTHORIZE_TIMEOUT.as_secs());

    let line = call(2, "2");
    desk.send(&line).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.authority.answers_pings(Some(Duration::ZERO));
    assert_eq!(desk.at_server().await, line);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_lease_counts_to_the_time_that_a_decision_may_take() {
    let mut desk = Desk::new();
    desk.authority.answers_pings(Some(Duration::from_millis(900)));
    desk.authority.falls_silent();
    let asked = Instant::now();
    desk.send(&call(1, "1")).await;
    assert_eq!(decision(&desk.answer().await)["reason_code"], "unavailable");
    assert_eq!(asked.elapsed().as_secs(), AUTHORIZE_TIMEOUT.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_and_is_no_longer_wanted_is_not_asked_about() {
    let mut desk = Desk::new();
    desk.authority.answers_pings(None);
    desk.send(&call(1, "1")).await;
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    desk.send(cancel).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.authority.answers_pings(Some(Duration::ZERO));
    tokio::time::sleep(PING_EVERY).await;
    assert!(desk.authority.asked().is_empty());
    desk.nothing_but_a_ping_reaches_the_server().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_ping_counts_from_when_the_ping_was_sent() {
    let mut desk = running().await;
    let begun = Instant::now();
    let late = Duration::from_millis(900);
    desk.authority.answers_pings(Some(late));
    is_cut(&mut desk, "unavailable").await;
    assert!(begun.elapsed() <= LEASE + Duration::from_millis(2), "{:?}", begun.elapsed());
    // The ping that was sent after a quarter of a second is answered, and good for a moment.
    tokio::time::sleep_until(begun + PING_EVERY + late + Duration::from_millis(5)).await;
    passes(&mut desk, 2).await;
    tokio::time::sleep_until(begun + PING_EVERY + LEASE + Duration::from_millis(5)).await;
    is_denied_after_cut(&mut desk).await;
}

/// The second call was cut, and a third is denied.
async fn is_denied_after_cut(desk: &mut Desk) {
    assert_eq!(decision(&desk.answer().await)["outcome"], "cut");
    assert!(desk.at_server().await.contains("notifications/cancelled"));
    is_denied_unasked(desk, 3).await;
}

#[tokio::test(start_paused = true)]
async fn a_point_leaves_when_its_session_ends_and_pings_no_more() {
    let mut desk = running().await;
    assert!(desk.authority.left().is_empty());
    desk.stop();
    is_cut(&mut desk, "unavailable").await;
    assert_eq!(desk.ending().await, Ending::Stopped);
    assert_eq!(desk.authority.left(), [POINT.parse().unwrap()]);
    let pings = desk.authority.pings();
    assert!(pings > 0);
    tokio::time::sleep(5 * LEASE).await;
    assert_eq!(desk.authority.pings(), pings);
}
