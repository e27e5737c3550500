//! Tools and their definitions, delegates, transfers and settings, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, question};

const TOOL: &str = "/v1/tools/crm%2Fread_case";

fn hash(n: u8) -> String {
    format!("{n:02x}").repeat(32)
}

/// The question as an enforcement point asks it that has seen the tool's `n`-th definition.
fn through_tool(n: u8) -> Value {
    let mut body = question();
    let tool = json!({"server": "crm", "name": "read_case", "definition_hash": hash(n)});
    body["context"]["tool"] = tool;
    body
}

async fn code(house: &House, key: &str, body: &Value) -> Value {
    house.ask(key, body).await.done()["context"]["code"].clone()
}

#[tokio::test]
async fn a_tool_is_pinned_at_first_use_suspended_when_it_changes_and_pinned_anew() {
    let house = House::open();
    house.furnish().await;
    let key = house.key("enforcer", None).await;
    assert_eq!(house.get("/v1/tools").await.done()["items"], json!([]));
    assert_eq!(house.get(TOOL).await.problem(), (404, "not_found".into()));
    assert_eq!(house.ask(&key, &through_tool(1)).await.done()["decision"], true);
    let tool = house.get(TOOL).await.done();
    assert_eq!((&tool["tool"], &tool["hash"]), (&json!("crm/read_case"), &json!(hash(1))));
    assert_eq!((&tool["first_use"], &tool["changed"]), (&json!(true), &Value::Null));

    assert_eq!(code(&house, &key, &through_tool(2)).await, "tool_changed");
    assert_eq!(code(&house, &key, &through_tool(1)).await, "suspended");
    let tool = house.get(TOOL).await.done();
    assert_eq!(tool["changed"]["seen"], hash(2));
    let changed = tool["changed"]["index"].as_u64().unwrap();
    assert_eq!(tool["suspended_by"], format!("revocation_{}", changed + 1));
    assert_eq!(house.get("/v1/tools").await.done()["items"][0], tool);
    let sql = "select reason_code, selector_id from revocations";
    let revoked = house.post("/v1/sql", json!({"sql": sql})).await;
    assert!(revoked.text.contains("tool_changed"), "{}", revoked.text);

    let pin = json!({
        "hash": hash(2), "effect": "read", "targets": ["/id"], "labels": ["reads:private"],
    });
    house.put(TOOL, pin).await.done();
    let tool = house.get(TOOL).await.done();
    assert_eq!((&tool["hash"], &tool["effect"]), (&json!(hash(2)), &json!("read")));
    assert_eq!((&tool["targets"], &tool["labels"]), (&json!(["/id"]), &json!(["reads:private"])));
    assert_eq!([&tool["suspended_by"], &tool["changed"]], [&Value::Null, &Value::Null]);
    assert_eq!(house.ask(&key, &through_tool(2)).await.done()["decision"], true);

    house.post(&format!("{TOOL}/unpin"), json!({"reason": "gone"})).await.done();
    let again = house.post(&format!("{TOOL}/unpin"), json!({})).await;
    assert_eq!(again.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn an_agents_own_key_pins_no_tool_and_takes_none_away() {
    let house = House::open();
    house.furnish().await;
    let enforcer = house.key("enforcer", None).await;
    let agent = house.key("agent", Some("a1")).await;
    assert_eq!(house.ask(&agent, &through_tool(9)).await.done()["decision"], true);
    assert_eq!(house.get(TOOL).await.status, 404);
    assert_eq!(house.ask(&enforcer, &through_tool(1)).await.done()["decision"], true);
    assert_eq!(code(&house, &agent, &through_tool(9)).await, "tool_changed");
    assert_eq!(house.get(TOOL).await.done()["suspended_by"], Value::Null);
    assert_eq!(house.ask(&enforcer, &through_tool(1)).await.done()["decision"], true);
}

#[tokio::test]
async fn settings_are_read_and_written_whole() {
    let house = House::open();
    house.furnish().await;
    let key = house.key("enforcer", None).await;
    let first = json!({"pinning": "first_use", "approval_ttl": "10m"});
    assert_eq!(house.get("/v1/config").await.done(), first);
    let written = json!({"pinning": "operator", "approval_ttl": "1h30m"});
    house.put("/v1/config", written.clone()).await.done();
    assert_eq!(house.get("/v1/config").await.done(), written);
    assert_eq!(code(&house, &key, &through_tool(1)).await, "tool_unpinned");
    for (bad, problem) in [
        (json!({"pinning": "operator"}), (400, "invalid_body")),
        (json!({"pinning": "nobody", "approval_ttl": "1m"}), (400, "invalid_body")),
        (json!({"pinning": "operator", "approval_ttl": "1m", "more": 1}), (400, "invalid_body")),
        (json!({"pinning": "operator", "approval_ttl": "0s"}), (400, "out_of_range")),
        (json!({"pinning": "operator", "approval_ttl": "31d"}), (400, "out_of_range")),
    ] {
        let (status, code) = house.put("/v1/config", bad.clone()).await.problem();
        assert_eq!((status, code.as_str()), problem, "{bad}");
    }
    assert_eq!(house.get("/v1/config").await.done(), written);
}

#[tokio::test]
async fn what_is_no_pin_is_refused() {
    let house = House::open();
    for (path, body) in [
        (TOOL, json!({})),
        (TOOL, json!({"hash": "ab"})),
        (TOOL, json!({"hash": hash(1).to_uppercase() + "0"})),
        (TOOL, json!({"hash": hash(1), "effect": "harmless"})),
        (TOOL, json!({"hash": hash(1), "targets": ["id"]})),
        (TOOL, json!({"hash": hash(1), "first_use": true})),
        ("/v1/tools/a%20b", json!({"hash": hash(1)})),
    ] {
        let answer = house.put(path, body.clone()).await;
        assert!((400..500).contains(&answer.problem().0), "{path} {body}");
    }
    assert_eq!(house.get("/v1/tools").await.done()["items"], json!([]));
}

#[tokio::test]
async fn a_delegate_acts_for_the_owner_until_that_is_taken_back() {
    let house = House::open();
    house.furnish().await;
    house.post("/v1/owners", json!({"owner": "bob"})).await.done();
    let key = house.key("enforcer", None).await;
    let mut asked = question();
    asked["context"]["on_behalf_of"] = json!("bob");
    assert_eq!(code(&house, &key, &asked).await, "not_owner");
    let path = "/v1/owners/alice/delegates/bob";
    let until = json!({"expires_at": "2099-01-01T00:00:00Z"});
    house.put(path, until).await.done();
    let owner = house.get("/v1/owners/alice").await.done();
    let bob = json!([{"delegate": "bob", "expires_at": "2099-01-01T00:00:00Z"}]);
    assert_eq!(owner["delegates"], bob);
    assert_eq!(house.ask(&key, &asked).await.done()["decision"], true);
    let mut in_person = question();
    in_person["subject"] = json!({"type": "user", "id": "bob"});
    in_person["context"]["agent"] = json!("a1");
    assert_eq!(house.ask(&key, &in_person).await.done()["decision"], true);
    house.post(&format!("{path}/remove"), json!({"reason": "back"})).await.done();
    assert_eq!(code(&house, &key, &asked).await, "not_owner");
    assert_eq!(code(&house, &key, &in_person).await, "not_owner");
    assert_eq!(house.get("/v1/owners/alice").await.done()["delegates"], json!([]));
    let again = house.post(&format!("{path}/remove"), json!({})).await;
    assert_eq!(again.problem(), (404, "not_found".into()));
    let nobody = house.put("/v1/owners/alice/delegates/nobody", json!({})).await;
    assert_eq!(nobody.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn an_agent_goes_to_another_owner_and_leaves_everything_behind() {
    let house = House::open();
    house.furnish().await;
    house.post("/v1/owners", json!({"owner": "bob"})).await.done();
    let task = house.post("/v1/tasks", json!({"agent": "a1"})).await.done();
    let terms = json!({"agent": "a1", "action": "crm/read_case", "scope": "crm://case/**"});
    let grant = house.post("/v1/grants", terms).await.done();
    let asked = json!({"agent": "a1", "action": "crm/write_case", "scope": "crm://case/**"});
    house.post("/v1/grants/requests", asked).await.done();
    let path = "/v1/agents/a1/reassign";
    house.post(path, json!({"to": "bob", "reason": "moved"})).await.done();
    assert_eq!(house.get("/v1/agents/a1").await.done()["owner"], "bob");
    let grant = house.get(&format!("/v1/grants/{}", grant["id"].as_str().unwrap())).await;
    assert_eq!(grant.done()["status"], "grant_revoked");
    let task = house.get(&format!("/v1/tasks/{}", task["id"].as_str().unwrap())).await;
    assert_eq!(task.done()["status"], "closed");
    assert_eq!(house.get("/v1/grants/requests").await.done()["items"], json!([]));
    let again = house.post(path, json!({"to": "bob"})).await;
    assert_eq!(again.problem(), (409, "wrong_state".into()));
    assert_eq!(house.post(path, json!({"to": "zoe"})).await.problem(), (404, "not_found".into()));
    assert_eq!(house.post(path, json!({})).await.problem(), (400, "invalid_body".into()));
    let sql = "select task_id from tasks where closed_at is null";
    assert_eq!(house.post("/v1/sql", json!({"sql": sql})).await.done()["rows"], json!([]));
    let sql = "select owner_id from agents where agent_id = 'a1'";
    assert!(house.post("/v1/sql", json!({"sql": sql})).await.text.contains("bob"));
}

#[tokio::test]
async fn a_policy_reads_how_sensitive_a_resource_is() {
    let house = House::open();
    house.furnish().await;
    let text = r#"forbid (principal, action, resource)
        when { resource.hasTag("sensitivity") && resource.getTag("sensitivity").contains("high") };"#;
    house.put("/v1/policies/sensitive", json!({"text": text})).await.done();
    house.post("/v1/policies/activate", json!({})).await.done();
    let key = house.key("enforcer", None).await;
    let entity = "/v1/entities/resource/crm:%2F%2Fcase%2F1234";
    for (sensitivity, allowed) in [("low", true), ("high", false), ("low", true)] {
        house.put(entity, json!({"properties": {"sensitivity": [sensitivity, "x"]}})).await.done();
        let answer = house.ask(&key, &question()).await.done();
        assert_eq!(answer["decision"], allowed, "{sensitivity}: {answer}");
    }
    house.send(Method::DELETE, entity, &house.admin, &[], "").await.done();
    assert_eq!(house.ask(&key, &question()).await.done()["decision"], true);
}
