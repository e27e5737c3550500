//! API keys: rotation, and when they were used last.

use serde_json::{Value, json};

use super::house::{House, question};

/// What the list says of a key.
async fn listed(house: &House, name: &str) -> Value {
    let list = house.get("/v1/credentials").await.done();
    let items = list["items"].as_array().unwrap();
    items.iter().find(|item| item["credential"] == name).unwrap().clone()
}

#[tokio::test]
async fn a_rotated_key_works_beside_its_successor_for_a_while() {
    let house = House::open();
    house.furnish().await;
    let old = house.key("agent", Some("a1")).await;
    let path = "/v1/credentials/agent-a1/rotate";
    let rotated = house.post(path, json!({})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    let rotated = rotated.json();
    assert_eq!((&rotated["id"], &rotated["expires_at"]), (&json!("agent-a1.2"), &Value::Null));
    assert!(rotated["old_expires_at"].is_string() && rotated["receipt"].is_object());
    let new = rotated["key"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    for key in [&old, &new] {
        assert_eq!(house.ask(key, &question()).await.done()["decision"], true);
    }
    let successor = listed(&house, "agent-a1.2").await;
    assert_eq!((&successor["role"], &successor["agent"]), (&json!("agent"), &json!("a1")));
    assert_eq!(listed(&house, "agent-a1").await["expires_at"], rotated["old_expires_at"]);
    // Without an overlap the old key ends at once.
    let body = json!({"overlap": "0s", "credential": "mine"});
    let again = house.post("/v1/credentials/agent-a1.2/rotate", body).await.done();
    assert_eq!(again["id"], "mine");
    assert_eq!(house.ask(&new, &question()).await.status, 401);
    assert_eq!(house.ask(again["key"].as_str().unwrap(), &question()).await.status, 200);
    assert_eq!(listed(&house, "agent-a1.2").await["live"], false);
}

/// Asks with a key until it has ended: it works until then, and not after.
async fn works_until_its_end(house: &House, key: &str) {
    let ends = || {
        let known = house.ledger.view();
        known.credential(&house.ledger.key_hash(key)).and_then(|known| known.expires_at)
    };
    let end = ends().unwrap();
    loop {
        let asked = house.ledger.now();
        let answer = house.get_as(key, "/v1/agents/a1").await;
        if house.ledger.now() < end {
            assert_eq!(answer.status, 200, "{}", answer.text);
        } else if asked >= end {
            assert_eq!(answer.problem(), (401, "credential_invalid".to_owned()));
            let challenge = answer.header("www-authenticate");
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
            return;
        }
    }
}

#[tokio::test]
async fn a_key_works_until_its_end_and_a_rotated_one_until_its_overlap_ends() {
    let house = House::open();
    house.furnish().await;
    let body = json!({"credential": "short", "role": "auditor", "ttl": "1s"});
    let short = house.post("/v1/credentials", body).await.done();
    works_until_its_end(&house, short["key"].as_str().unwrap()).await;
    let ended = house.post("/v1/credentials/short/rotate", json!({})).await;
    assert_eq!(ended.problem(), (409, "wrong_state".to_owned()));

    let old = house.key("agent", Some("a1")).await;
    let path = "/v1/credentials/agent-a1/rotate";
    let rotated = house.post(path, json!({"overlap": "1s"})).await.done();
    works_until_its_end(&house, &old).await;
    let new = rotated["key"].as_str().unwrap();
    assert_eq!(house.get_as(new, "/v1/agents/a1").await.status, 200);
    assert_eq!(house.ask(new, &question()).await.done()["decision"], true);
    assert_eq!(house.ask(&old, &question()).await.status, 401);
}

#[tokio::test]
async fn a_rotation_that_makes_no_sense_is_refused() {
    let house = House::open();
    house.furnish().await;
    house.key("auditor", None).await;
    let events = house.events();
    for (name, body, status, code) in [
        ("nobody", json!({}), 404, "not_found"),
        ("auditor-key", json!({"overlap": "31d"}), 400, "out_of_range"),
        ("auditor-key", json!({"overlap": "soon"}), 400, "invalid_span"),
        ("auditor-key", json!({"credential": "auditor-key"}), 409, "already_exists"),
        ("auditor-key", json!({"role": "admin"}), 400, "invalid_body"),
        ("a *", json!({}), 400, "invalid_id"),
    ] {
        let answer = house.post(&format!("/v1/credentials/{name}/rotate"), body.clone()).await;
        assert_eq!(answer.problem(), (status, code.to_owned()), "{name} {body}");
    }
    for role in ["operator", "auditor"] {
        let key = house.key(role, None).await;
        let answer = house.post_as(&key, "/v1/credentials/auditor-key/rotate", json!({})).await;
        assert_eq!(answer.problem(), (403, "not_permitted".to_owned()));
        let challenge = answer.header("www-authenticate");
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    }
    // Nor may an agent change its own key, or another's.
    let agent = house.key("agent", Some("a1")).await;
    for name in ["agent-a1", "auditor-key"] {
        let path = format!("/v1/credentials/{name}/rotate");
        let answer = house.post_as(&agent, &path, json!({})).await;
        assert_eq!(answer.problem(), (403, "not_permitted".to_owned()));
    }
    assert_eq!(house.events(), events + 2, "the operator's and the agent's keys alone");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_known_to_the_minute() {
    let house = House::open();
    house.furnish().await;
    let key = house.key("auditor", None).await;
    assert_eq!(listed(&house, "auditor-key").await["last_used_at"], Value::Null);
    let events = house.events();
    house.get_as(&key, "/v1/owners").await.done();
    let used = listed(&house, "auditor-key").await;
    let minute = used["last_used_at"].as_str().unwrap();
    assert!(minute.contains(":00"), "{minute}");
    assert_eq!(house.events(), events, "that is no event");
}
