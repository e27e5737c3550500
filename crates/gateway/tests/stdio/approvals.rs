//! A call that people have to approve, held until they have.

use std::sync::atomic::{AtomicU64, Ordering};

use bailiwick_client::authority::{Ask, Ruling};
use bailiwick_core::event::DenialCode;
use bailiwick_core::state::ApprovalStatus;

use super::desk::{Desk, allowed, denied, waits};
use super::{call, decision};

/// The first question has to wait for people, the next ones are answered with this.
fn then(desk: &Desk, ruling: fn() -> Ruling) {
    let asked = AtomicU64::new(0);
    desk.authority.rules(move |_: &Ask| {
        Ok(if asked.fetch_add(1, Ordering::SeqCst) == 0 { waits() } else { ruling() })
    });
}

#[tokio::test]
async fn call_is_asked_about_again_and_goes_through_once_people_approved_it() {
    let mut desk = Desk::new();
    then(&desk, || allowed(90));
    desk.send(&call(1, "1234")).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.authority.said.send_replace(ApprovalStatus::Granted);
    assert_eq!(desk.at_server().await, call(1, "1234"));
    let asked = desk.authority.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].call_id, asked[1].call_id);
    assert_eq!((&asked[0].resource, asked[0].task), (&asked[1].resource, asked[1].task));
}

#[tokio::test]
async fn a_no_is_said_in_the_ledgers_words() {
    let mut desk = Desk::new();
    then(&desk, || denied(DenialCode::ApprovalDenied, Some(91)));
    desk.authority.said.send_replace(ApprovalStatus::Denied);
    desk.send(&call(1, "1234")).await;
    let answer = desk.answer().await;
    assert_eq!(decision(&answer)["reason_code"], "approval_denied");
    desk.nothing_but_a_ping_reaches_the_server().await;
}

#[tokio::test]
async fn nobody_answered_is_no_reason_to_ask_again() {
    for said in [ApprovalStatus::Expired, ApprovalStatus::Withdrawn] {
        let mut desk = Desk::new();
        then(&desk, || allowed(90));
        desk.authority.said.send_replace(said);
        desk.send(&call(1, "1234")).await;
        let answer = desk.answer().await;
        assert_eq!(decision(&answer)["reason_code"], "approval_expired");
        assert_eq!(decision(&answer)["approval"]["id"], "approval_70");
        desk.nothing_but_a_ping_reaches_the_server().await;
        assert_eq!(desk.authority.asked().len(), 1);
    }
}

#[tokio::test]
async fn call_that_the_client_gave_up_is_not_asked_about_again() {
    let mut desk = Desk::new();
    then(&desk, || allowed(90));
    desk.send(&call(1, "1234")).await;
    while desk.authority.said.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    desk.send(cancel).await;
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.authority.said.send_replace(ApprovalStatus::Granted);
    desk.nothing_but_a_ping_reaches_the_server().await;
    desk.leave().await;
    assert_eq!(desk.authority.asked().len(), 1);
    assert!(desk.authority.finished().is_empty());
}
