//! What a revocation would end is counted, and nothing is recorded.

use serde_json::{Value, json};

use super::house::{House, question};

/// Grants, agents and calls in flight that a revocation of `selector` would end.
async fn counts(house: &House, selector: Value) -> [u64; 3] {
    let body = json!({"selector": selector});
    let preview = house.post("/v1/revocations/preview", body).await.done();
    assert_eq!(preview["selector"], selector);
    ["grants", "agents", "calls_in_flight"].map(|name| preview[name].as_u64().unwrap())
}

async fn id(house: &House, path: &str, body: Value) -> String {
    house.post(path, body).await.done()["id"].as_str().unwrap().to_owned()
}

/// Beside the furniture: alice's `a2` and retired `a3`, bob's `b1`, five grants of which one was
/// handed back, and a task.
async fn people(house: &House) -> (String, String) {
    house.furnish().await;
    house.post("/v1/owners", json!({"owner": "bob"})).await.done();
    for (agent, owner) in [("a2", "alice"), ("a3", "alice"), ("b1", "bob")] {
        let agent = json!({
            "agent": agent, "owner": owner, "purpose": "support",
            "allowlist": [{"pattern": "crm/*"}],
        });
        house.post("/v1/agents", agent).await.done();
    }
    house.post("/v1/agents/a3/retire", json!({})).await.done();
    let task = id(house, "/v1/tasks", json!({"agent": "a1"})).await;
    let grant = async |agent: &str, scope: &str, task: Option<&str>| {
        let body = json!({
            "agent": agent, "action": "crm/read_case", "scope": scope, "task": task, "ttl": "1h",
        });
        id(house, "/v1/grants", body).await
    };
    let first = grant("a1", "crm://case/1", None).await;
    grant("a1", "crm://case/**", Some(&task)).await;
    grant("a2", "crm://other/1", None).await;
    grant("b1", "crm://case/1/notes", None).await;
    let returned = grant("a2", "crm://case/1", None).await;
    house.post(&format!("/v1/grants/{returned}/return"), json!({})).await.done();
    (first, task)
}

#[tokio::test]
async fn a_preview_counts_what_each_selector_names() {
    let house = House::open();
    let (grant, task) = people(&house).await;
    let mut body = question();
    // Nobody will report on this one, so it is not known to be in flight.
    house.ask(&house.admin, &body).await.done();
    body["context"]["reports_outcome"] = json!(true);
    body["context"]["tool"] = json!({"server": "crm", "name": "read_case"});
    let call = house.ask(&house.admin, &body).await.done();
    assert_eq!(call["decision"], true);
    let call = call["context"]["call_id"].as_str().unwrap().to_owned();
    let events = house.events();
    for (selector, expected) in [
        (json!("all"), [4, 3, 1]),
        (json!({"agent": "a1"}), [2, 1, 1]),
        (json!({"agent": "a2"}), [1, 1, 0]),
        (json!({"owner": "alice"}), [3, 2, 1]),
        (json!({"owner": "bob"}), [1, 1, 0]),
        (json!({"task": task}), [1, 0, 0]),
        (json!({"tool": "crm/read_case"}), [0, 0, 1]),
        (json!({"resource": "crm://case"}), [3, 0, 1]),
        (json!({"resource": "crm://case/1"}), [2, 0, 0]),
        (json!({"grant": grant}), [1, 0, 0]),
        // What is unknown, retired or ended is nothing that would end.
        (json!({"agent": "a3"}), [0, 0, 0]),
        (json!({"agent": "a9"}), [0, 0, 0]),
        (json!({"owner": "nobody"}), [0, 0, 0]),
        (json!({"grant": "grant_0"}), [0, 0, 0]),
        (json!({"resource": "crm://case/12"}), [0, 0, 0]),
    ] {
        assert_eq!(counts(&house, selector.clone()).await, expected, "{selector}");
    }
    assert_eq!(house.events(), events);

    let finish = json!({"outcome": "ok", "latency_us": 1, "bytes_in": 1, "bytes_out": 1});
    house.post(&format!("/v1/calls/{call}/finish"), finish).await.done();
    assert_eq!(counts(&house, json!("all")).await, [4, 3, 0]);
    let ended = house.post("/v1/revocations", json!({"selector": {"resource": "crm://case/1"}}));
    ended.await.done();
    assert_eq!(counts(&house, json!("all")).await, [2, 3, 0]);
    assert_eq!(counts(&house, json!({"resource": "crm://case/1"})).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_preview_counts_the_points_that_would_hear() {
    let house = House::open();
    let points = async || {
        let preview = house.post("/v1/revocations/preview", json!({"selector": "all"})).await;
        preview.done()["enforcement_points"].clone()
    };
    assert_eq!(points().await, 0);
    let ping = json!({"nonce": "ab".repeat(16), "applied": 0});
    house.post("/v1/enforcement-points/g1/ping", ping).await.done();
    assert_eq!(points().await, 1);
    house.delete_as(&house.admin, "/v1/enforcement-points/g1").await;
    assert_eq!(points().await, 0);
}

#[tokio::test]
async fn a_preview_of_nothing_is_refused() {
    let house = House::open();
    for (body, code) in [
        (json!({}), "invalid_body"),
        (json!({"selector": "everything"}), "invalid_body"),
        (json!({"selector": {"grant": "9"}}), "invalid_id"),
        (json!({"selector": "all", "grants_only": true}), "invalid_body"),
    ] {
        let answer = house.post("/v1/revocations/preview", body).await;
        assert_eq!(answer.problem(), (400, code.to_owned()));
    }
}
