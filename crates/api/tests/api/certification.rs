//! AuthZEN 1.0 as its certification asks for it: the decisions, batches, searches and errors of the
//! scenario, told again here; and the public cases and interop data sets where they lie beside the
//! repository.

mod fixture;
mod shared;

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, JSON};
use fixture::{action, certified, record, user};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";

/// A question in the order in which one says it.
fn question(subject: Value, action: Value, resource: Value) -> Value {
    json!({"subject": subject, "action": action, "resource": resource})
}

fn with_properties(mut entity: Value, properties: Value) -> Value {
    entity["properties"] = properties;
    entity
}

#[tokio::test]
async fn the_eight_rules_decide_as_required() {
    let house = certified().await;
    let archived = || json!({"status": "archived"});
    let admin = || json!({"role": "admin"});
    let delete = |soft: bool| with_properties(action("delete"), json!({"soft": soft}));
    let cases = [
        (user("alice"), action("read"), record("record-1"), true),
        (user("alice"), action("write"), record("record-1"), true),
        (user("bob"), action("read"), record("record-1"), true),
        // His stored role lifts the bar of what is archived, and nothing else.
        (user("bob"), action("write"), record("record-1"), false),
        (user("alice"), action("write"), with_properties(record("record-1"), archived()), false),
        (
            with_properties(user("bob"), admin()),
            action("write"),
            with_properties(record("record-2"), archived()),
            true,
        ),
        (user("bob"), action("write"), record("record-2"), true),
        (user("alice"), delete(true), record("record-1"), true),
        (user("alice"), delete(false), record("record-1"), false),
        (user("alice"), action("delete"), record("record-1"), false),
    ];
    for (subject, action, resource, expected) in cases {
        let plain = question(subject, action, resource);
        let mut circumstantial = plain.clone();
        circumstantial["context"] = json!({"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"});
        circumstantial["futureField"] = json!({"nested": true});
        for body in [&plain, &plain, &circumstantial] {
            let answer = house.post(EVALUATION, body.clone()).await.done();
            assert_eq!(answer["decision"], expected, "{body} {answer}");
        }
    }
}

#[tokio::test]
async fn what_is_no_question_is_400_and_no_decision() {
    let house = certified().await;
    let whole = question(user("alice"), action("read"), record("record-1"));
    let mut bad = Vec::new();
    for (parent, member) in [
        ("", "subject"),
        ("", "action"),
        ("", "resource"),
        ("subject", "type"),
        ("subject", "id"),
        ("action", "name"),
        ("resource", "type"),
        ("resource", "id"),
    ] {
        let mut body = whole.clone();
        let of = if parent.is_empty() { &mut body } else { &mut body[parent] };
        of.as_object_mut().unwrap().remove(member);
        bad.push(body.to_string());
        let mut body = whole.clone();
        let of = if parent.is_empty() { &mut body } else { &mut body[parent] };
        of[member] = json!(123);
        bad.push(body.to_string());
    }
    let nested = with_properties(record("record-1"), json!({"tags": [["a"]]}));
    bad.push(question(user("alice"), action("read"), nested).to_string());
    bad.extend(["{\"subject\":", "", "[]", "null"].map(str::to_owned));
    for body in bad {
        for path in [EVALUATION, EVALUATIONS] {
            let sent = house.send(Method::POST, path, &house.admin, &[JSON], body.clone()).await;
            assert_eq!(sent.status, 400, "{body}");
            assert!(!sent.text.contains("decision"), "{body}");
        }
    }
    let plain = [("content-type", "text/plain")];
    let sent = house.send(Method::POST, EVALUATION, &house.admin, &plain, whole.to_string()).await;
    assert_eq!(sent.status, 400);
}

/// Sends a batch and gives its decisions.
async fn decisions(house: &House, body: Value) -> Vec<bool> {
    let answer = house.post(EVALUATIONS, body).await.done();
    assert!(answer.get("decision").is_none(), "{answer}");
    let list = answer["evaluations"].as_array().unwrap();
    list.iter().map(|one| one["decision"].as_bool().unwrap()).collect()
}

#[tokio::test]
async fn a_batch_takes_defaults_whole_and_answers_in_order() {
    let house = certified().await;
    let write = |resources: Value| json!({"subject": user("alice"), "action": action("write"), "evaluations": resources});
    let (active, archived) = (
        with_properties(record("record-1"), json!({"status": "active"})),
        with_properties(record("record-2"), json!({"status": "archived"})),
    );
    let both = json!([{"resource": active}, {"resource": archived}]);
    assert_eq!(decisions(&house, write(both)).await, [true, false]);
    let people = json!({"action": action("write"), "resource": archived, "evaluations": [
        {"subject": user("alice")},
        {"subject": with_properties(user("bob"), json!({"role": "admin"}))},
    ]});
    assert_eq!(decisions(&house, people).await, [false, true]);
    let mut defaults = write(json!([{}, {"resource": archived}, {}]));
    defaults["resource"] = active.clone();
    assert_eq!(decisions(&house, defaults).await, [true, false, true]);
    // A default is replaced and not merged: the passed status is gone with the resource.
    let mut replaced = write(json!([{"resource": record("record-1")}]));
    replaced["resource"] = archived.clone();
    assert_eq!(decisions(&house, replaced).await, [true]);
    let mut alone = question(user("alice"), action("read"), record("record-1"));
    assert_eq!(house.post(EVALUATIONS, alone.clone()).await.done()["decision"], true);
    alone["evaluations"] = json!([]);
    assert_eq!(house.post(EVALUATIONS, alone).await.done()["decision"], true);
}

#[tokio::test]
async fn a_question_of_a_batch_that_is_none_is_denied_by_itself() {
    let house = certified().await;
    let body = json!({"subject": user("alice"), "action": action("read"), "evaluations": [
        {"resource": record("record-1")}, {}, 7, {"resource": record("record-2")},
    ]});
    let answer = house.post(EVALUATIONS, body).await.done();
    let decided: Vec<_> =
        answer["evaluations"].as_array().unwrap().iter().map(|one| &one["decision"]).collect();
    assert_eq!(decided, [true, false, false, true]);
    for place in [1, 2] {
        let error = &answer["evaluations"][place]["context"]["error"];
        assert_eq!(error["status"], 400);
        assert!(error["message"].as_str().unwrap().starts_with("invalid_body: "), "{error}");
    }
}

#[tokio::test]
async fn a_batch_stops_where_it_is_told_to() {
    let house = certified().await;
    let asked = |semantic: &str, subjects: [&str; 3]| {
        let questions = subjects.map(|subject| json!({"subject": user(subject)}));
        json!({"action": action("write"), "resource": record("record-1"),
            "evaluations": questions, "options": {"evaluations_semantic": semantic}})
    };
    let events = house.events();
    let first_deny = asked("deny_on_first_deny", ["alice", "bob", "alice"]);
    assert_eq!(decisions(&house, first_deny).await, [true, false]);
    let first_permit = asked("permit_on_first_permit", ["bob", "alice", "bob"]);
    assert_eq!(decisions(&house, first_permit).await, [false, true]);
    let calls = house.get(&format!("/v1/events?after={}&limit=100", events - 1)).await.done();
    let calls = calls["items"].as_array().unwrap();
    let decided = calls.iter().filter(|event| event["kind"].as_str().unwrap().starts_with("call."));
    assert_eq!(decided.count(), 4, "what was not decided is not recorded");
    let all = asked("execute_all", ["bob", "alice", "bob"]);
    assert_eq!(decisions(&house, all).await, [false, true, false]);
    let unknown = house.post(EVALUATIONS, asked("majority", ["bob", "alice", "bob"])).await;
    assert_eq!(unknown.status, 400);
    let many: Vec<_> = (0..257).map(|_| json!({"subject": user("alice")})).collect();
    let too_many = json!({"action": action("read"), "resource": record("record-1"),
        "evaluations": many});
    assert_eq!(house.post(EVALUATIONS, too_many).await.status, 400);
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_decided_once() {
    let house = certified().await;
    let body = json!({"subject": user("alice"), "action": action("read"), "evaluations": [
        {"resource": record("record-1"), "context": {"reports_outcome": true}},
        {"resource": record("record-2"), "context": {"reports_outcome": true}},
    ]});
    let id = ("idempotency-key", "batch-1");
    let send = async || {
        let body = body.to_string();
        let sent = house.send(Method::POST, EVALUATIONS, &house.admin, &[JSON, id], body).await;
        let answer = sent.done();
        [0, 1].map(|n| answer["evaluations"][n]["context"]["call_id"].clone())
    };
    let first = send().await;
    assert_ne!(first[0], first[1]);
    assert_eq!(send().await, first);
}

#[tokio::test]
async fn two_questions_of_a_batch_under_one_id_are_decided_each_by_itself() {
    let house = certified().await;
    let body = json!({
        "subject": user("alice"), "action": action("write"),
        "context": {"call_id": "x", "reports_outcome": true},
        "evaluations": [
            {"resource": record("record-1")},
            {"resource": record("record-2")},
            {"resource": record("record-1"), "context": {"call_id": "x"}},
        ],
    });
    let answer = house.post(EVALUATIONS, body).await.done();
    let decided = [0, 1, 2].map(|n| answer["evaluations"][n].clone());
    assert_eq!(decided.each_ref().map(|one| &one["decision"]), [true, false, true], "{answer}");
    let calls = decided.each_ref().map(|one| one["context"]["receipt"]["index"].as_u64().unwrap());
    assert!(calls[0] != calls[1] && calls[1] != calls[2] && calls[0] != calls[2], "{answer}");
}

/// What a search finds, as texts.
async fn found(house: &House, what: &str, body: Value) -> Vec<String> {
    let answer = house.post(&format!("/access/v1/search/{what}"), body).await.done();
    let results = answer["results"].as_array().unwrap();
    let name = |one: &Value| one["id"].as_str().or(one["name"].as_str()).unwrap().to_owned();
    results.iter().map(name).collect()
}

#[tokio::test]
async fn searches_find_what_would_be_permitted_and_record_nothing() {
    let house = certified().await;
    let events = house.events();
    let anyone = || json!({"type": "user"});
    let anything = || json!({"type": "record"});
    let readers = question(anyone(), action("read"), record("record-1"));
    assert_eq!(found(&house, "subject", readers).await, ["alice", "bob"]);
    // An id of what is sought is passed over.
    let readers = question(user("alice"), action("read"), record("record-1"));
    assert_eq!(found(&house, "subject", readers).await, ["alice", "bob"]);
    let writers = question(anyone(), action("write"), record("record-2"));
    assert_eq!(found(&house, "subject", writers).await, ["bob"]);
    let readable = question(user("alice"), action("read"), anything());
    assert_eq!(found(&house, "resource", readable).await, ["record-1", "record-2"]);
    let admin = with_properties(user("bob"), json!({"role": "admin"}));
    let writable = question(admin, action("write"), anything());
    assert_eq!(found(&house, "resource", writable).await, ["record-2"]);
    let of_alice = json!({"subject": user("alice"), "resource": record("record-1")});
    assert_eq!(found(&house, "action", of_alice).await, ["read", "write"]);
    let of_bob = json!({"subject": user("bob"), "resource": record("record-2")});
    assert_eq!(found(&house, "action", of_bob).await, ["read", "write"]);
    let nobody = json!({"subject": user("nonexistent-user"), "resource": record("record-1")});
    assert!(found(&house, "action", nobody).await.is_empty());
    let ship = question(json!({"type": "spaceship"}), action("read"), record("record-1"));
    assert!(found(&house, "subject", ship).await.is_empty());
    let orders = question(user("alice"), action("read"), json!({"type": "order"}));
    assert!(found(&house, "resource", orders).await.is_empty());
    assert_eq!(house.events(), events);
}

#[tokio::test]
async fn a_search_that_lacks_something_is_400() {
    let house = certified().await;
    let (anyone, anything) = (json!({"type": "user"}), json!({"type": "record"}));
    for (what, body) in [
        ("subject", json!({"subject": anyone, "resource": record("record-1")})),
        ("resource", json!({"action": action("read"), "resource": anything})),
        ("action", json!({"subject": user("alice")})),
        ("subject", question(anyone.clone(), action("read"), anything.clone())),
        ("resource", question(anyone.clone(), action("read"), anything)),
        ("action", json!({"subject": anyone, "resource": record("record-1")})),
        (
            "subject",
            json!({"page": {"limit": 0}, "subject": anyone, "action": action("read"),
            "resource": record("record-1")}),
        ),
    ] {
        let sent = house.post(&format!("/access/v1/search/{what}"), body.clone()).await;
        assert_eq!(sent.status, 400, "{what} {body}");
    }
}

#[tokio::test]
async fn pages_add_up_and_a_token_is_good_for_its_own_search_only() {
    let house = certified().await;
    let path = "/access/v1/search/subject";
    let mut body = question(json!({"type": "user"}), action("read"), record("record-1"));
    body["page"] = json!({"limit": 1});
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        body["page"]["token"] = json!(token);
        let page = house.post(path, body.clone()).await.done();
        all.extend(page["results"].as_array().unwrap().clone());
        token = page["page"]["next_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
        let mut other = body.clone();
        other["page"]["token"] = json!(token);
        other["resource"]["id"] = json!("record-2");
        assert_eq!(house.post(path, other).await.status, 400);
        let mut forged = body.clone();
        forged["page"]["token"] = json!(format!("{}ff", token));
        assert_eq!(house.post(path, forged).await.status, 400);
    }
    assert_eq!(all, [user("alice"), user("bob")]);
}

#[tokio::test]
async fn an_agent_neither_searches_nor_speaks_for_its_own_properties() {
    let house = certified().await;
    let agent = json!({
        "agent": "a1", "owner": "alice", "purpose": "support",
        "allowlist": [{"pattern": "crm/*"}],
    });
    house.post("/v1/agents", agent).await.done();
    let text = r#"@jit("true") permit (principal, action == Action::"crm/read_case", resource);"#;
    house.put("/v1/policies/read-cases", json!({"text": text})).await.done();
    house.post("/v1/policies/activate", json!({})).await.done();
    let key = house.key("agent", Some("a1")).await;
    let body = question(json!({"type": "user"}), action("read"), record("record-1"));
    let sent = house.post_as(&key, "/access/v1/search/subject", body).await;
    assert_eq!(sent.status, 403);
    let auditor = house.key("auditor", None).await;
    let batch = json!({"evaluations": [super::house::question()]});
    let refused = house.post_as(&auditor, EVALUATIONS, batch).await;
    assert_eq!(refused.status, 403, "no decision for who may not ask, not a list of denials");
    let mut body = super::house::question();
    body["subject"]["properties"] = json!({"role": "admin"});
    let answer = house.ask(&key, &body).await.done();
    assert_eq!(answer["decision"], true, "{answer}");
    let mut through = super::house::question();
    through["subject"] = json!({"type": "user"});
    through["context"] = json!({"agent": "a1"});
    assert_eq!(found(&house, "subject", through.clone()).await, ["alice"]);
    through["subject"] = json!({"type": "agent"});
    assert_eq!(found(&house, "subject", through).await, ["a1"]);
    let index = answer["context"]["receipt"]["index"].as_u64().unwrap();
    let event = house.get(&format!("/v1/events/{index}")).await;
    assert!(!event.text.contains("subject.role"), "what it said of itself was passed over");
    let put = house
        .send(
            Method::PUT,
            "/v1/entities/agent/a1",
            &key,
            &[JSON],
            r#"{"properties":{"role":"admin"}}"#,
        )
        .await;
    assert_eq!(put.problem(), (403, "not_permitted".to_owned()));
}

#[tokio::test]
async fn entities_are_written_listed_and_forgotten() {
    let house = certified().await;
    let path = "/v1/entities/resource/record%3A%2F%2Fx%2F1";
    house.put(path, json!({"properties": {"status": ["a", "b"], "n": 5}})).await.done();
    let list = house.get("/v1/entities?limit=2").await.done();
    assert_eq!(list["items"][0]["entity"], json!({"owner": "bob"}));
    let next = list["next_cursor"].as_str().unwrap();
    let rest = house.get(&format!("/v1/entities?cursor={next}")).await.done();
    let last = rest["items"].as_array().unwrap().last().unwrap();
    assert_eq!(last["entity"], json!({"resource": "record://x/1"}));
    assert_eq!(last["properties"], json!({"status": ["a", "b"], "n": ["5"]}));
    house.send(Method::DELETE, path, &house.admin, &[], "").await.done();
    let gone = house.send(Method::DELETE, path, &house.admin, &[], "").await;
    assert_eq!(gone.problem(), (404, "not_found".to_owned()));
    let bad = house.put(path, json!({"properties": {"a": [[]]}})).await;
    assert_eq!(bad.problem(), (400, "invalid_body".to_owned()));
    let unknown = house.put("/v1/entities/spaceship/x", json!({"properties": {}})).await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
}
