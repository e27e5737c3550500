//! A retry under the caller's own id is done once and answered alike.

use reqwest::Method;
use serde_json::json;

use super::house::{Answer, House, JSON, question};

async fn post_once(house: &House, id: &str, path: &str, body: serde_json::Value) -> Answer {
    let headers = [JSON, ("idempotency-key", id)];
    house.send(Method::POST, path, &house.admin, &headers, body.to_string()).await
}

#[tokio::test]
async fn a_retried_command_is_done_once() {
    let house = House::open();
    house.furnish().await;
    let first = post_once(&house, "i1", "/v1/tasks", json!({"agent": "a1"})).await.done();
    let events = house.events();
    let second = post_once(&house, "i1", "/v1/tasks", json!({"agent": "a1"})).await.done();
    assert_eq!(first, second);
    assert_eq!(house.events(), events);
    let other = post_once(&house, "i1", "/v1/tasks", json!({"agent": "a1", "sort": "x"})).await;
    assert_eq!(other.problem(), (409, "id_reused".into()));
    let elsewhere = post_once(&house, "i1", "/v1/owners", json!({"owner": "bob"})).await;
    assert_eq!(elsewhere.problem(), (409, "id_reused".into()));
    let bad = post_once(&house, "a b", "/v1/tasks", json!({"agent": "a1"})).await;
    assert_eq!(bad.problem(), (400, "invalid_id".into()));
}

#[tokio::test]
async fn ids_of_different_callers_do_not_meet() {
    let house = House::open();
    house.furnish().await;
    let first = post_once(&house, "i1", "/v1/tasks", json!({"agent": "a1"})).await.done();
    let enforcer = house.key("enforcer", None).await;
    let headers = [JSON, ("idempotency-key", "i1")];
    let body = json!({"agent": "a1"}).to_string();
    let other = house.send(Method::POST, "/v1/tasks", &enforcer, &headers, body).await.done();
    assert_ne!(first["id"], other["id"]);
}

#[tokio::test]
async fn a_retried_call_uses_its_grant_once() {
    let house = House::open();
    house.furnish().await;
    let mut body = question();
    body["context"] = json!({"call_id": "c1", "reports_outcome": true});
    let first = house.ask(&house.admin, &body).await.done();
    assert_eq!(first["decision"], true, "{first}");
    let events = house.events();
    assert_eq!(house.ask(&house.admin, &body).await.done(), first);
    assert_eq!(house.events(), events);
    let mut other = body.clone();
    other["resource"]["id"] = json!("crm://case/5");
    assert_eq!(house.ask(&house.admin, &other).await.done()["context"]["code"], "id_reused");
    let header = [JSON, ("idempotency-key", "c2")];
    let both =
        house.send(Method::POST, "/access/v1/evaluation", &house.admin, &header, body.to_string());
    assert_eq!(both.await.status, 400);
}

#[tokio::test]
async fn a_retried_key_is_not_shown_again() {
    let house = House::open();
    let body = json!({"credential": "ops", "role": "operator"});
    let first = post_once(&house, "i1", "/v1/credentials", body.clone()).await.done();
    let second = post_once(&house, "i1", "/v1/credentials", body).await.done();
    assert_eq!(first["receipt"], second["receipt"]);
    assert!(first["key"].is_string() && second["key"].is_null());
}
