//! Decisions over AuthZEN.

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{EVALUATION, House, JSON, question};

#[tokio::test]
async fn an_allow_is_on_the_ledger_and_names_its_grant() {
    let house = House::open();
    house.furnish().await;
    let enforcer = house.key("enforcer", None).await;
    let answer = house.ask(&enforcer, &question()).await.done();
    assert_eq!(answer["decision"], true, "{answer}");
    let context = &answer["context"];
    let index = context["receipt"]["index"].as_u64().unwrap();
    assert_eq!(context["call_id"], format!("call_{index}"));
    assert_eq!(context["uses_left"], 0);
    assert!(context["expires_at"].as_str().unwrap().ends_with('Z'));
    let event = house.get(&format!("/v1/events/{index}")).await.done();
    assert_eq!(event["kind"], "call.authorized");
    assert_eq!(event["link"], context["receipt"]["link"]);
    let grant = house.get(&format!("/v1/grants/{}", context["grant_id"].as_str().unwrap())).await;
    assert_eq!(grant.done()["agent"], "a1");
}

#[tokio::test]
async fn a_denial_is_an_answer_with_a_receipt() {
    let house = House::open();
    house.furnish().await;
    let mut body = question();
    body["action"]["name"] = json!("crm/delete_case");
    let answer = house.ask(&house.admin, &body).await.done();
    assert_eq!(answer["decision"], false);
    assert_eq!(answer["context"]["code"], "forbidden");
    let index = answer["context"]["receipt"]["index"].as_u64().unwrap();
    assert_eq!(house.get(&format!("/v1/events/{index}")).await.done()["kind"], "call.denied");
}

#[tokio::test]
async fn unknown_members_are_ignored_order_means_nothing_and_context_is_optional() {
    let house = House::open();
    house.furnish().await;
    let plain = r#"{"resource":{"id":"crm://case/1","type":"crm"},"action":{"name":"crm/read_case"},
        "subject":{"id":"a1","type":"agent"}}"#;
    let busy = r#"{"foo":"bar","futureField":{"nested":true},
        "context":{"time":"2025-06-27T18:03-07:00","ip":"192.168.1.1","deep":[{"x":null}]},
        "subject":{"type":"agent","id":"a1","properties":{"role":"x"},"extra":1},
        "action":{"name":"crm/read_case","properties":{}},"resource":{"type":"crm","id":"crm://case/1"}}"#;
    for body in [plain, busy] {
        let answer = house.send(Method::POST, EVALUATION, &house.admin, &[JSON], body).await;
        assert_eq!(answer.done()["decision"], true, "{body}");
    }
}

#[tokio::test]
async fn the_request_id_comes_back_with_every_answer() {
    let house = House::open();
    house.furnish().await;
    let id = ("x-request-id", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716");
    for (key, body, status) in [
        (house.admin.as_str(), question().to_string(), 200),
        (house.admin.as_str(), "{".to_owned(), 400),
        ("", question().to_string(), 401),
    ] {
        let answer = house.send(Method::POST, EVALUATION, key, &[JSON, id], body).await;
        assert_eq!((answer.status, answer.header(id.0)), (status, id.1));
    }
}

#[tokio::test]
async fn the_request_id_is_no_key_for_retries() {
    let house = House::open();
    house.furnish().await;
    let id = ("x-request-id", "same");
    let body = question().to_string();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let answer =
            house.send(Method::POST, EVALUATION, &house.admin, &[JSON, id], body.clone()).await;
        calls.push(answer.done()["context"]["call_id"].clone());
    }
    assert!(calls[0] != calls[1] && calls[1] != calls[2]);
}

#[tokio::test]
async fn errors_are_messages_that_begin_with_their_code() {
    let house = House::open();
    let answer = house.send(Method::POST, EVALUATION, &house.admin, &[JSON], "").await;
    assert_eq!(answer.status, 400);
    assert!(answer.header("content-type").starts_with("text/plain"));
    assert!(answer.text.starts_with("invalid_json: "), "{}", answer.text);
    let answer = house.ask("bwk_wrong", &question()).await;
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.starts_with("Bearer realm=\"bailiwick\", error=\"invalid_token\""));
}

#[tokio::test]
async fn people_act_in_person_or_through_their_own_agent() {
    let house = House::open();
    house.furnish().await;
    house.post("/v1/owners", json!({"owner": "bob"})).await.done();
    let ask = |subject: Value, context: Value| {
        let mut body = question();
        body["subject"] = subject;
        body["context"] = context;
        body
    };
    let code =
        async |body: Value| house.ask(&house.admin, &body).await.done()["context"]["code"].clone();
    let alice = json!({"type": "user", "id": "alice"});
    let in_person = house.ask(&house.admin, &ask(alice.clone(), json!({}))).await.done();
    assert_eq!(in_person["decision"], true, "{in_person}");
    let through = house.ask(&house.admin, &ask(alice, json!({"agent": "a1"}))).await.done();
    assert_eq!(through["decision"], true, "{through}");
    let bob = json!({"type": "person", "id": "bob"});
    assert_eq!(code(ask(bob, json!({"agent": "a1"}))).await, "not_owner");
    let events = house.events();
    let nobody = json!({"type": "spaceship", "id": "x"});
    assert_eq!(code(ask(nobody, json!({}))).await, "agent_unknown");
    assert_eq!(house.events(), events);
}

#[tokio::test]
async fn arguments_are_committed_to_and_never_recorded() {
    let house = House::open();
    house.furnish().await;
    let mut body = question();
    body["context"] = json!({
        "arguments": {"ssn": "078-05-1120"}, "justification": "ticket 7", "session": "s1",
        "tool": {"server": "crm", "name": "read_case"}, "disclosed": {"case": "1234"},
    });
    let answer = house.ask(&house.admin, &body).await.done();
    let index = answer["context"]["receipt"]["index"].as_u64().unwrap();
    let event = house.get(&format!("/v1/events/{index}")).await;
    assert!(!event.text.contains("078-05-1120"));
    let call = &event.done()["data"]["call"];
    assert_eq!(call["arguments"].as_str().unwrap().len(), 64);
    assert_eq!(call["disclosed"], json!({"case": "1234"}));
    assert_eq!((&call["tool"], &call["effect"]), (&json!("crm/read_case"), &json!("write")));
}

#[tokio::test]
async fn a_trace_id_is_recorded() {
    let house = House::open();
    house.furnish().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [JSON, ("traceparent", parent.as_str())];
    let body = question().to_string();
    let answer = house.send(Method::POST, EVALUATION, &house.admin, &headers, body).await.done();
    let index = answer["context"]["receipt"]["index"].as_u64().unwrap();
    let event = house.get(&format!("/v1/events/{index}")).await.done();
    assert_eq!(event["about"]["trace"], trace);
}

#[tokio::test]
async fn a_call_is_finished_once() {
    let house = House::open();
    house.furnish().await;
    let mut body = question();
    body["context"]["reports_outcome"] = json!(true);
    let call = house.ask(&house.admin, &body).await.done()["context"]["call_id"].clone();
    let path = format!("/v1/calls/{}/finish", call.as_str().unwrap());
    let report = json!({"outcome": "ok", "latency_us": 5, "bytes_in": 1, "bytes_out": 2,
        "result": "ab".repeat(32)});
    assert_eq!(house.post(&path, report.clone()).await.done()["id"], call);
    assert_eq!(house.post(&path, report).await.problem(), (404, "not_found".into()));
    let lie = json!({"outcome": "not_delivered"});
    assert_eq!(house.post(&path, lie).await.problem(), (400, "invalid_body".into()));
}

#[tokio::test]
async fn metadata_names_what_is_offered() {
    let house = House::open();
    let answer = house.get_as("", "/.well-known/authzen-configuration").await;
    let metadata = answer.done();
    for (member, path) in [
        ("access_evaluation_endpoint", EVALUATION),
        ("access_evaluations_endpoint", "/access/v1/evaluations"),
        ("search_subject_endpoint", "/access/v1/search/subject"),
        ("search_resource_endpoint", "/access/v1/search/resource"),
        ("search_action_endpoint", "/access/v1/search/action"),
    ] {
        assert_eq!(metadata[member], house.url(path));
    }
    assert_eq!(answer.header("cache-control"), "max-age=300");
}
