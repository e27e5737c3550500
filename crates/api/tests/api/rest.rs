//! Every REST route does what it says.

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, JSON, question};

#[tokio::test]
async fn an_owner_is_registered_changed_disabled_and_enabled() {
    let house = House::open();
    let made =
        house.post("/v1/owners", json!({"owner": "alice@example.com", "groups": ["staff"]})).await;
    assert_eq!((made.status, made.header("location")), (201, "/v1/owners/alice@example.com"));
    let body = made.done();
    assert_eq!((&body["id"], &body["durable"]), (&json!("alice@example.com"), &json!(true)));
    assert_eq!(body["receipt"]["link"].as_str().unwrap().len(), 64);
    let path = "/v1/owners/alice@example.com";
    assert_eq!(house.get(path).await.done()["groups"], json!(["staff"]));
    house.put(path, json!({"groups": ["admins", "staff"]})).await.done();
    assert_eq!(house.get(path).await.done()["groups"], json!(["admins", "staff"]));
    house.post(&format!("{path}/disable"), json!({"reason": "left"})).await.done();
    assert_eq!(house.get(path).await.done()["disabled"], true);
    let again = house.post(&format!("{path}/disable"), json!({})).await;
    assert_eq!(again.problem(), (409, "wrong_state".into()));
    house.post(&format!("{path}/enable"), json!({})).await.done();
    let twice = house.post("/v1/owners", json!({"owner": "alice@example.com"})).await;
    assert_eq!(twice.problem(), (409, "already_exists".into()));
    assert_eq!(house.get("/v1/owners/bob").await.problem(), (404, "not_found".into()));
    let other = house.put(path, json!({"owner": "bob"})).await;
    assert_eq!(other.problem(), (400, "invalid_body".into()));
}

#[tokio::test]
async fn an_agent_is_registered_changed_suspended_reinstated_and_retired() {
    let house = House::open();
    house.furnish().await;
    let path = "/v1/agents/spiffe:%2F%2Facme%2Fa2";
    let mut body = json!({
        "agent": "spiffe://acme/a2", "owner": "alice", "purpose": "support", "groups": ["bots"],
        "allowlist": [{"pattern": "crm/*", "expires_at": "2099-01-01T00:00:00Z"}],
        "expires_at": null,
    });
    let made = house.post("/v1/agents", body.clone()).await;
    assert_eq!((made.status, made.header("location")), (201, path));
    let agent = house.get(path).await.done();
    assert_eq!((&agent["status"], &agent["owner"]), (&json!("active"), &json!("alice")));
    assert_eq!(agent["allowlist"][0]["expires_at"], "2099-01-01T00:00:00Z");
    body["purpose"] = json!("sales");
    house.put(path, body.clone()).await.done();
    assert_eq!(house.get(path).await.done()["purpose"], "sales");
    for (act, status) in [("suspend", "suspended"), ("reinstate", "active"), ("retire", "retired")]
    {
        // An act needs no body.
        let answer =
            house.send(Method::POST, &format!("{path}/{act}"), &house.admin, &[], "").await;
        answer.done();
        assert_eq!(house.get(path).await.done()["status"], status);
    }
    assert_eq!(house.put(path, body).await.problem(), (409, "wrong_state".into()));
    let orphan = json!({"agent": "a3", "owner": "nobody", "purpose": "x"});
    assert_eq!(house.post("/v1/agents", orphan).await.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn a_task_is_opened_and_closed_and_still_known() {
    let house = House::open();
    house.furnish().await;
    let body = json!({"agent": "a1", "sort": "support", "statement": "secret words", "targets": ["crm://case/1"]});
    let made = house.post("/v1/tasks", body).await.done();
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(id, format!("task_{}", made["receipt"]["index"]));
    let path = format!("/v1/tasks/{id}");
    let task = house.get(&path).await;
    assert!(!task.text.contains("secret words"));
    assert_eq!((&task.done()["status"], &task.done()["owner"]), (&json!("open"), &json!("alice")));
    assert_eq!(house.get("/v1/tasks?agent=a1").await.done()["items"][0]["task"], id);
    assert_eq!(house.get("/v1/tasks?agent=a2").await.done()["items"], json!([]));
    house.post(&format!("{path}/close"), json!({})).await.done();
    assert_eq!(house.get(&path).await.done()["status"], "closed");
    assert_eq!(house.get("/v1/tasks").await.done()["items"], json!([]));
    for unknown in ["/v1/tasks/task_0", "/v1/tasks/task_999999"] {
        assert_eq!(house.get(unknown).await.problem(), (404, "not_found".into()));
    }
}

#[tokio::test]
async fn a_policy_takes_effect_when_the_stage_is_activated() {
    let house = House::open();
    let status = async || house.get("/v1/policies/p1").await.done()["status"].clone();
    let text = |n: u8| json!({"text": format!("permit (principal, action == Action::\"x{n}\", resource);"), "reason": "r"});
    house.put("/v1/policies/p1", text(1)).await.done();
    assert_eq!(status().await, "staged");
    house.post("/v1/policies/activate", json!({})).await.done();
    assert_eq!(status().await, "active");
    house.put("/v1/policies/p1", text(2)).await.done();
    let changed = house.get("/v1/policies/p1").await.done();
    assert_eq!(changed["status"], "changed");
    assert!(changed["text"] != changed["active_text"]);
    let removed = house.send(Method::DELETE, "/v1/policies/p1", &house.admin, &[], "").await;
    removed.done();
    assert_eq!(status().await, "removed");
    assert_eq!(house.get("/v1/policies").await.done()["items"].as_array().unwrap().len(), 1);
    house.post("/v1/policies/activate", json!({})).await.done();
    assert_eq!(house.get("/v1/policies/p1").await.problem(), (404, "not_found".into()));
    let again = house.send(Method::DELETE, "/v1/policies/p1", &house.admin, &[], "").await;
    assert_eq!(again.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn an_input_schema_lets_policies_read_arguments() {
    let house = House::open();
    house.furnish().await;
    let text = "@jit(\"true\") permit (principal, action == Action::\"crm/refund\", resource)
        when { context.args has amount && context.args.amount <= 100 };";
    let refused = house.put("/v1/policies/refunds", json!({"text": text})).await;
    assert_eq!(refused.problem(), (400, "policy_invalid".into()));
    let schema = json!({"type": "object", "properties": {
        "amount": {"type": "integer"}, "note": {"type": ["string", "integer"]},
    }});
    house.put("/v1/schemas/crm%2Frefund", json!({"schema": schema})).await.done();
    house.put("/v1/policies/refunds", json!({"text": text})).await.done();
    let shown = house.get("/v1/schemas/crm%2Frefund").await.done();
    assert_eq!(
        (&shown["status"], &shown["left_out"][0]["path"]),
        (&json!("staged"), &json!("note"))
    );
    house.post("/v1/policies/activate", json!({})).await.done();
    let listed = house.get("/v1/schemas").await.done();
    assert_eq!(listed["items"][0]["status"], "active");

    let decided = async |arguments: Value| {
        let mut question = question();
        question["action"] = json!({"name": "crm/refund"});
        question["context"]["arguments"] = arguments;
        let answer = house.ask(&house.admin, &question).await.done();
        (answer["decision"].clone(), answer["context"]["code"].clone())
    };
    assert_eq!(decided(json!({"amount": 100})).await.0, json!(true));
    assert_eq!(decided(json!({"amount": 101})).await, (json!(false), json!("forbidden")));
    // Another type than policy was validated with is no way round it.
    for smuggled in [json!({"amount": "1"}), json!({"amount": 1.5}), json!({"amount": [1]})] {
        assert_eq!(decided(smuggled).await, (json!(false), json!("invalid_arguments")));
    }
    let bad = house.put("/v1/schemas/crm%2Frefund", json!({"schema": {"type": "string"}})).await;
    assert_eq!(bad.problem(), (400, "policy_invalid".into()));
    assert_eq!(house.get("/v1/schemas/none").await.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn risk_is_set_by_operators_and_shown() {
    let house = House::open();
    house.furnish().await;
    let path = "/v1/agents/a1/risk";
    house.post(path, json!({"risk": 70, "reason": "odd hours"})).await.done();
    assert_eq!(house.get("/v1/agents/a1").await.done()["risk"], 70);
    for bad in [json!({"risk": 101}), json!({"risk": 256}), json!({"risk": -1}), json!({})] {
        assert_eq!(house.post(path, bad).await.status, 400);
    }
    let again = house.post(path, json!({"risk": 70})).await;
    assert_eq!(again.problem(), (409, "wrong_state".into()));
}

#[tokio::test]
async fn a_grant_is_issued_listed_and_handed_back() {
    let house = House::open();
    house.furnish().await;
    let body = json!({
        "agent": "a1", "action": "crm/read_case", "scope": "crm://case/**", "ttl": "1h",
        "max_uses": 3, "justification": "case 1234", "not_before": null,
    });
    let made = house.post("/v1/grants", body).await;
    assert_eq!(made.status, 201);
    let id = made.done()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/grants/{id}");
    assert_eq!(made.header("location"), path);
    let grant = house.get(&path).await.done();
    assert_eq!((&grant["live"], &grant["status"]), (&json!(true), &json!("live")));
    assert_eq!((&grant["scope"], &grant["uses_left"]), (&json!("crm://case/**"), &json!(3)));
    let used = house.ask(&house.admin, &question()).await.done();
    assert_eq!(
        (&used["context"]["grant_id"], &used["context"]["uses_left"]),
        (&json!(id), &json!(2))
    );
    let count = async |query: &str| {
        let list = house.get(&format!("/v1/grants{query}")).await.done();
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(count("?agent=a1&live=true").await, 1);
    assert_eq!(count("?agent=a2").await, 0);
    assert_eq!(count("?live=false").await, 0);
    house.post(&format!("{path}/return"), json!({})).await.done();
    assert_eq!(house.get(&path).await.done()["status"], "grant_revoked");
    assert_eq!(count("?live=true").await, 0);
    let again = house.post(&format!("{path}/return"), json!({})).await;
    assert_eq!(again.problem(), (409, "wrong_state".into()));
}

#[tokio::test]
async fn a_request_is_issued_denied_or_waits_for_an_operator() {
    let house = House::open();
    house.furnish().await;
    let agent = house.key("agent", Some("a1")).await;
    let ask = async |action: &str, scope: &str| {
        let body = json!({"agent": "a1", "action": action, "scope": scope, "ttl": "5m"});
        house.post_as(&agent, "/v1/grants/requests", body).await.done()
    };
    let issued = ask("crm/read_case", "crm://case/1").await;
    assert_eq!(issued["status"], "issued");
    assert!(issued["grant"].as_str().unwrap().starts_with("grant_"));
    let denied = ask("crm/write_case", "crm://case/1").await;
    assert_eq!((&denied["status"], &denied["denied_by"]), (&json!("denied"), &json!("forbidden")));
    let number = |value: &Value| {
        value["id"].as_str().unwrap().strip_prefix("request_").unwrap().parse::<u64>().unwrap()
    };
    let event = house.get(&format!("/v1/events/{}", number(&denied))).await.done();
    assert_eq!(event["kind"], "grant.requested");
    let waits = ask("crm/read_case", "crm://case/**").await;
    assert_eq!((&waits["status"], &waits["grant"]), (&json!("pending"), &Value::Null));
    let id = waits["id"].as_str().unwrap();
    let list = house.get("/v1/grants/requests").await.done();
    assert_eq!(list["items"][0]["request"], id);
    let other = ask("crm/read_case", "crm://case/2/**").await;
    let deny = format!("/v1/grants/requests/{}/deny", other["id"].as_str().unwrap());
    house.post(&deny, json!({"reason": "too wide"})).await.done();
    let answer = json!({"agent": "a1", "action": "crm/read_case", "scope": "crm://case/7/**",
        "ttl": "1m", "request": id});
    house.post("/v1/grants", answer).await.done();
    assert_eq!(house.get("/v1/grants/requests").await.done()["items"], json!([]));
}

#[tokio::test]
async fn a_revocation_ends_suspends_and_is_lifted() {
    let house = House::open();
    house.furnish().await;
    let body = json!({"selector": {"agent": "a1"}, "reason_code": "drill", "reason": "a test"});
    let made = house.post("/v1/revocations", body).await;
    assert_eq!(made.status, 201);
    let done = made.done();
    assert_eq!((&done["durable"], &done["in_force"]), (&json!(true), &json!(true)));
    assert_eq!(done["id"], format!("revocation_{}", done["receipt"]["index"]));
    let code =
        async || house.ask(&house.admin, &question()).await.done()["context"]["code"].clone();
    assert_eq!(code().await, "suspended");
    assert_eq!(house.get("/v1/agents/a1").await.done()["suspended_by"], done["id"]);
    let item = house.get("/v1/revocations").await.done()["items"][0].clone();
    assert_eq!((&item["revocation"], &item["suspended"]), (&done["id"], &json!(true)));
    assert_eq!(
        (&item["selector"], &item["reason_code"]),
        (&json!({"agent": "a1"}), &json!("drill"))
    );
    let lift = json!({"selector": {"agent": "a1"}, "reason": "over"});
    house.post("/v1/revocations/lift", lift.clone()).await.done();
    assert_eq!(code().await, Value::Null);
    assert_eq!(house.get("/v1/revocations").await.done()["items"][0]["suspended"], false);
    assert_eq!(house.post("/v1/revocations/lift", lift).await.problem(), (404, "not_found".into()));
    let unknown = json!({"selector": {"agent": "a9"}});
    assert_eq!(house.post("/v1/revocations", unknown).await.problem(), (404, "not_found".into()));
    for selector in
        [json!("all"), json!({"tool": "crm/read_case"}), json!({"resource": "crm://case"})]
    {
        let body = json!({"selector": selector, "grants_only": true});
        house.post("/v1/revocations", body).await.done();
    }
    assert_eq!(code().await, Value::Null);
}

#[tokio::test]
async fn lists_come_in_pages_that_add_up() {
    let house = House::open();
    let names: Vec<String> = (0..7).map(|n| format!("owner-{n}")).collect();
    for name in &names {
        house.post("/v1/owners", json!({"owner": name})).await.done();
    }
    let (mut all, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = house.get(&format!("/v1/owners{query}")).await.done();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        all.extend(items.iter().map(|item| item["owner"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=3&cursor={cursor}");
    }
    assert_eq!(all, names);
}

#[tokio::test]
async fn events_are_read_from_anywhere_and_by_kind() {
    let house = House::open();
    house.furnish().await;
    let first = house.get("/v1/events?limit=2").await.done();
    assert_eq!(first["items"][0]["kind"], "ledger.created");
    assert_eq!(first["items"][0]["index"], 0);
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = house.get(&format!("/v1/events?limit=2&cursor={cursor}")).await.done();
    assert_eq!(next["items"][0]["index"], 2);
    let after = house.get("/v1/events?after=2&limit=1").await.done();
    assert_eq!(after["items"][0]["index"], 3);
    let owners = house.get("/v1/events?kind=owner.registered").await.done();
    assert_eq!(owners["items"].as_array().unwrap().len(), 1);
    assert_eq!(owners["items"][0]["data"]["owner"], "alice");
    let end = house.get(&format!("/v1/events?after={}", house.events())).await.done();
    assert_eq!(end, json!({"items": [], "next_cursor": null}));
    let unknown = house.get(&format!("/v1/events/{}", house.events())).await;
    assert_eq!(unknown.problem(), (404, "not_found".into()));
}

#[tokio::test]
async fn a_key_is_shown_once_and_works_until_revoked() {
    let house = House::open();
    let body = json!({"credential": "ops", "role": "operator", "ttl": "90d"});
    let made = house.post("/v1/credentials", body).await;
    let key = made.done()["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("bwk_") && key.len() == 68);
    assert_eq!(house.get_as(&key, "/v1/owners").await.status, 200);
    let list = house.get("/v1/credentials").await;
    assert!(!list.text.contains(&key));
    let items = list.done()["items"].clone();
    let ops = items.as_array().unwrap().iter().find(|item| item["credential"] == "ops").unwrap();
    assert_eq!((&ops["role"], &ops["live"]), (&json!("operator"), &json!(true)));
    let every = house.get("/v1/events?limit=1000").await;
    assert!(!every.text.contains(&key));
    house.post("/v1/credentials/ops/revoke", json!({})).await.done();
    let answer = house.get_as(&key, "/v1/owners").await;
    assert_eq!(answer.problem(), (401, "credential_invalid".into()));
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer realm=\"bailiwick\", error=\"invalid_token\""));
    let lost = json!({"credential": "x", "role": "agent"});
    assert_eq!(house.post("/v1/credentials", lost).await.problem(), (400, "out_of_range".into()));
}

#[tokio::test]
async fn sql_answers_as_of_the_last_event_in_json_or_csv() {
    let house = House::open();
    house.furnish().await;
    house.ask(&house.admin, &question()).await.done();
    let sql = "select agent_id, action, decision from calls order by seq";
    let events = house.events();
    let answer = house.post("/v1/sql", json!({"sql": sql})).await.done();
    assert_eq!(answer["rows"], json!([["a1", "crm/read_case", "allow"]]));
    assert_eq!(answer["columns"][0]["name"], "agent_id");
    assert_eq!(answer["as_of_seq"], events - 1);
    let question = json!({"sql": "select count(*) as n from owners where owner_id = $who", "params": {"who": "alice"}});
    assert_eq!(house.post("/v1/sql", question).await.done()["rows"], json!([[1]]));
    let headers = [JSON, ("accept", "text/csv")];
    let body = json!({"sql": sql}).to_string();
    let csv = house.send(Method::POST, "/v1/sql", &house.admin, &headers, body).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.text, "agent_id,action,decision\r\na1,crm/read_case,allow\r\n");
}

#[tokio::test]
async fn named_questions_are_listed_shown_and_answered() {
    let house = House::open();
    house.furnish().await;
    house.ask(&house.admin, &question()).await.done();
    let listed = house.get("/v1/queries?limit=3").await.done();
    let cursor = listed["next_cursor"].as_str().unwrap();
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    let more = house.get(&format!("/v1/queries?cursor={cursor}")).await.done();
    let last = more["items"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["name"], &more["next_cursor"]), (&json!("who-touched"), &json!(null)));
    let shown = house.get("/v1/queries/who-touched").await.done();
    assert_eq!(&shown, last);
    assert_eq!(shown["parameters"][0]["type"], "text");
    assert_eq!(shown["parameters"][0]["required"], true);
    assert_eq!(shown["parameters"][2]["default"], "now");
    let (path, events) = ("/v1/queries/who-touched", house.events());
    let answer = house.post(path, json!({"params": {"resource": "crm://case"}})).await.done();
    assert_eq!(answer["rows"].as_array().unwrap().len(), 1);
    assert_eq!(answer["as_of_seq"], events - 1);
    let headers = [JSON, ("accept", "text/csv")];
    let path = "/v1/queries/calls-after-revocation";
    let csv = house.send(Method::POST, path, &house.admin, &headers, "{}".to_owned()).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.text.lines().count(), 1, "{}", csv.text);
}

#[tokio::test]
async fn a_named_question_takes_its_parameters_and_no_others() {
    let house = House::open();
    let path = "/v1/queries/denial-bursts";
    for (path, params, code) in [
        (path, json!({"count": "20"}), "sql_parameter_type"),
        (path, json!({"count": 1.5}), "sql_parameter_type"),
        (path, json!({"count": null}), "sql_parameter_type"),
        (path, json!({"count": {"a": 1}}), "sql_parameter_type"),
        (path, json!({"since": "yesterday"}), "sql_parameter_type"),
        (path, json!({"many": 20}), "sql_parameter_unknown"),
        ("/v1/queries/who-touched", json!({}), "sql_parameter"),
        ("/v1/queries/who-touched", json!({"resource": ["crm://x"]}), "sql_parameter_type"),
    ] {
        let answer = house.post(path, json!({"params": params})).await;
        assert_eq!(answer.problem(), (400, code.into()), "{path} {params}");
    }
    let nothing = house.post("/v1/queries/who", json!({})).await;
    assert_eq!(nothing.problem(), (404, "not_found".into()));
    let other = house.post(path, json!({"parameters": {}})).await;
    assert_eq!(other.problem(), (400, "invalid_body".into()));
    house.post(path, json!({"params": {"count": 2, "since": "2026-01-01"}})).await.done();
}
