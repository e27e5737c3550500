//! Who may do what.

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, question};

const ROLES: [&str; 7] =
    ["admin", "operator", "approver", "enforcer", "agent", "auditor", "subscriber"];

async fn keys(house: &House) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    for role in ROLES {
        let agent = (role == "agent").then_some("a1");
        keys.push((role, house.key(role, agent).await));
    }
    keys
}

/// The roles that a request is not refused to for want of permission.
async fn allowed(house: &House, method: Method, path: &str, body: Value) -> Vec<&'static str> {
    let mut allowed = Vec::new();
    for (role, key) in keys(house).await {
        let content = [("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = house.send(method.clone(), path, &key, &content, body).await;
        assert_ne!(answer.status, 401, "{role} {path}");
        if answer.status != 403 {
            allowed.push(role);
        }
    }
    allowed
}

#[tokio::test]
async fn every_route_takes_its_own_roles_and_no_other() {
    let house = House::open();
    house.furnish().await;
    let readers = ["admin", "operator", "auditor"].as_slice();
    let runners = ["admin", "operator"].as_slice();
    for (path, roles) in [
        ("/v1/owners", readers),
        ("/v1/owners/alice", readers),
        ("/v1/owners/alice/review", readers),
        ("/v1/agents", readers),
        ("/v1/agents/a1", &["admin", "operator", "agent", "auditor"]),
        ("/v1/tasks", &["admin", "operator", "agent", "auditor"]),
        ("/v1/policies", readers),
        ("/v1/policies/read-cases", readers),
        ("/v1/grants", &["admin", "operator", "agent", "auditor"]),
        ("/v1/grants/requests", &["admin", "operator", "agent", "auditor"]),
        ("/v1/approvals", &["admin", "operator", "approver", "agent", "auditor"]),
        ("/v1/revocations", readers),
        ("/v1/enforcement-points", readers),
        ("/v1/events", readers),
        ("/v1/events/0", readers),
        ("/v1/credentials", readers),
        ("/v1/tools", readers),
        ("/v1/tools/crm%2Fx", readers),
        ("/v1/config", readers),
        ("/v1/queries", readers),
        ("/v1/queries/who-touched", readers),
    ] {
        assert_eq!(allowed(&house, Method::GET, path, Value::Null).await, roles, "GET {path}");
    }
    let grant = json!({"agent": "a1", "action": "crm/x", "scope": "crm://x"});
    for (path, body, roles) in [
        ("/v1/owners", json!({"owner": "bob"}), runners),
        ("/v1/agents/a9/suspend", json!({}), runners),
        ("/v1/agents/a9/reassign", json!({"to": "bob"}), runners),
        ("/v1/tools/crm%2Fx/unpin", json!({}), runners),
        ("/v1/owners/alice/delegates/bob/remove", json!({}), runners),
        ("/v1/tasks", json!({"agent": "a1"}), &["admin", "operator", "enforcer", "agent"]),
        ("/v1/tasks", json!({"agent": "a2"}), &["admin", "operator", "enforcer"]),
        ("/v1/checkpoints", json!({}), runners),
        ("/v1/policies/activate", json!({}), &["admin"]),
        ("/v1/grants", grant.clone(), runners),
        ("/v1/grants/grant_0/review", json!({"review": "keep"}), runners),
        ("/v1/grants/grant_0/delegate", json!({"to": "a2"}), &["admin", "operator", "enforcer"]),
        ("/v1/grants/requests", grant, &["admin", "operator", "enforcer", "agent"]),
        ("/v1/approvals/approval_0/withdraw", json!({}), &["admin", "operator", "enforcer"]),
        ("/v1/approvals/approval_0/deny", json!({}), &[]),
        ("/v1/revocations", json!({"selector": {"agent": "a9"}}), runners),
        ("/v1/revocations/lift", json!({"selector": "all"}), runners),
        ("/v1/revocations/preview", json!({"selector": "all"}), readers),
        (
            "/v1/enforcement-points/g1/ping",
            json!({"nonce": "0".repeat(32)}),
            &["admin", "enforcer", "agent"],
        ),
        ("/v1/credentials/none/revoke", json!({}), &["admin"]),
        ("/v1/sql", json!({"sql": "select 1"}), readers),
        ("/v1/queries/who-did-what-and-why", json!({}), readers),
        ("/access/v1/evaluation", question(), &["admin", "enforcer", "agent"]),
    ] {
        assert_eq!(allowed(&house, Method::POST, path, body).await, roles, "POST {path}");
    }
    let config = json!({"pinning": "first_use", "approval_ttl": "10m"});
    for (path, body, roles) in [
        ("/v1/tools/crm%2Fx", json!({"hash": "ab".repeat(32)}), runners),
        ("/v1/owners/alice/delegates/bob", json!({}), runners),
        ("/v1/config", config, &["admin"]),
    ] {
        assert_eq!(allowed(&house, Method::PUT, path, body).await, roles, "PUT {path}");
    }
    let path = "/v1/enforcement-points/g1";
    let leave = allowed(&house, Method::DELETE, path, Value::Null).await;
    assert_eq!(leave, ["admin", "enforcer", "agent"]);
}

#[tokio::test]
async fn an_agent_asks_for_and_sees_itself_only() {
    let house = House::open();
    house.furnish().await;
    let other = json!({"agent": "a2", "owner": "alice", "purpose": "x", "allowlist": [{"pattern": "crm/*"}]});
    house.post("/v1/agents", other).await.done();
    let key = house.key("agent", Some("a1")).await;
    assert_eq!(house.ask(&key, &question()).await.done()["decision"], true);
    let events = house.events();
    let mut body = question();
    body["subject"]["id"] = json!("a2");
    assert_eq!(house.ask(&key, &body).await.status, 403);
    body["subject"] = json!({"type": "user", "id": "alice"});
    assert_eq!(house.ask(&key, &body).await.status, 403);
    assert_eq!(house.events(), events);
    assert_eq!(house.get_as(&key, "/v1/agents/a2").await.status, 403);
    assert_eq!(house.get_as(&key, "/v1/grants?agent=a2").await.status, 403);
    let grant = json!({"agent": "a2", "action": "crm/read_case", "scope": "crm://case/**"});
    let id = house.post("/v1/grants", grant).await.done()["id"].as_str().unwrap().to_owned();
    let hidden = house.get_as(&key, &format!("/v1/grants/{id}")).await;
    assert_eq!(hidden.problem(), (404, "not_found".into()));
    let own = house.get_as(&key, "/v1/grants").await.done();
    assert!(own["items"].as_array().unwrap().iter().all(|grant| grant["agent"] == "a1"));
    let task = house.post("/v1/tasks", json!({"agent": "a2"})).await.done();
    let hidden = house.get_as(&key, &format!("/v1/tasks/{}", task["id"].as_str().unwrap())).await;
    assert_eq!(hidden.status, 404);
}

#[tokio::test]
async fn without_a_key_nothing_but_signs_of_life() {
    let house = House::open();
    for path in ["/v1/owners", "/v1/events", "/v1/revocations/stream", "/v1/grants/grant_1"] {
        assert_eq!(house.get_as("", path).await.problem(), (401, "credential_invalid".into()));
        assert_eq!(house.get_as("bwk_00", path).await.problem().0, 401);
    }
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(house.get_as("", path).await.status, 200, "{path}");
    }
}
