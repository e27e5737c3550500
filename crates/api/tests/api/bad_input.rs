//! Bad input: a clear error with a stable code, nothing recorded, and the server lives.

use reqwest::{Body, Method};
use serde_json::json;

use super::house::{Answer, EVALUATION, House, JSON, question};

fn code(answer: &Answer) -> (u16, String) {
    if answer.header("content-type").starts_with("text/plain") {
        let code = answer.text.split(": ").next().unwrap_or_default();
        return (answer.status, code.to_owned());
    }
    answer.problem()
}

/// Sends bodies that no route takes, to a route with a problem and to the one with messages.
async fn check(house: &House, content_type: &str, body: impl Into<Body>, expected: (u16, &str)) {
    let body: Body = body.into();
    let bytes = body.as_bytes().unwrap().to_vec();
    for path in ["/v1/agents", EVALUATION, "/v1/revocations", "/v1/sql"] {
        let headers = [("content-type", content_type)];
        let answer = house.send(Method::POST, path, &house.admin, &headers, bytes.clone()).await;
        let (status, code) = code(&answer);
        assert_eq!((status, code.as_str()), expected, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn what_is_not_acceptable_json_is_refused_before_anything_else() {
    let house = House::open();
    let events = house.events();
    let invalid = (400, "invalid_json");
    let json = "application/json";
    for text in ["{", "nul", "{} {}", "{'a':1}", "\u{feff}{}", "[1,]"] {
        check(&house, json, text, invalid).await;
    }
    check(&house, json, r#"{"agent":"a","agent":"b"}"#, invalid).await;
    check(&house, json, r#"{"x":{"y":[{"a":1,"\u0061":2}]}}"#, invalid).await;
    check(&house, json, format!("{}{}", "[".repeat(100), "]".repeat(100)), invalid).await;
    check(&house, json, "[".repeat(500_000), invalid).await;
    check(&house, json, b"{\"agent\":\"\xff\xfe\"}".to_vec(), invalid).await;
    check(&house, json, r#"{"n":9007199254740993}"#, invalid).await;
    check(&house, "text/plain", "{}", (400, "invalid_content_type")).await;
    check(&house, "application/x-www-form-urlencoded", "a=b", (400, "invalid_content_type")).await;
    check(&house, json, "[]", (400, "invalid_body")).await;
    check(&house, json, "\"text\"", (400, "invalid_body")).await;
    check(&house, json, vec![b' '; 2 << 20], (413, "payload_too_large")).await;
    assert_eq!(house.events(), events);
    assert_eq!(house.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_all_the_same() {
    let house = House::open();
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 << 10]));
    let body = Body::wrap_stream(futures::stream::iter(chunks));
    let answer = house.send(Method::POST, "/v1/owners", &house.admin, &[JSON], body).await;
    assert_eq!(answer.problem(), (413, "payload_too_large".into()));
}

#[tokio::test]
async fn requests_of_another_shape_are_refused_with_400_on_authzen() {
    let house = House::open();
    house.furnish().await;
    let events = house.events();
    let cases = [
        ("/subject", json!(null)),
        ("/subject", json!({})),
        ("/subject", json!("a1")),
        ("/subject/type", json!(1)),
        ("/subject/id", json!("")),
        ("/subject/id", json!("a *")),
        ("/subject/id", json!("a>")),
        ("/action", json!([])),
        ("/action/name", json!(123)),
        ("/action/name", json!("crm/*")),
        ("/resource", json!(null)),
        ("/resource/id", json!("crm://case/../x")),
        ("/resource/id", json!("crm://case/**")),
        ("/context", json!([])),
        ("/context/effect", json!("harmless")),
    ];
    for (path, value) in cases {
        let mut body = question();
        *body.pointer_mut(path).unwrap() = value.clone();
        let answer = house.ask(&house.admin, &body).await;
        assert_eq!(answer.status, 400, "{path} {value}: {}", answer.text);
    }
    assert_eq!(house.events(), events);
}

#[tokio::test]
async fn our_own_bodies_hold_nothing_unknown_missing_or_of_another_type() {
    let house = House::open();
    house.furnish().await;
    let events = house.events();
    let invalid = (400, "invalid_body".to_owned());
    for (path, body) in [
        ("/v1/owners", json!({"owner": "bob", "colour": "red"})),
        ("/v1/owners", json!({})),
        ("/v1/owners", json!({"owner": 7})),
        ("/v1/owners", json!({"owner": "bob", "groups": "staff"})),
        ("/v1/agents", json!({"agent": "a2", "owner": "alice"})),
        (
            "/v1/agents",
            json!({"agent": "a2", "owner": "alice", "purpose": "x", "allowlist": ["crm/*"]}),
        ),
        ("/v1/tasks", json!({"agent": "a1", "kind": "x"})),
        (
            "/v1/grants",
            json!({"agent": "a1", "action": "crm/x", "scope": "crm://x", "max_uses": -1}),
        ),
        (
            "/v1/grants/requests",
            json!({"agent": "a1", "action": "crm/x", "scope": "crm://x", "request": "request_1"}),
        ),
        ("/v1/revocations", json!({"selector": "everyone"})),
        ("/v1/revocations", json!({"selector": {"agent": "a1", "owner": "alice"}})),
        ("/v1/revocations", json!({"agent": "a1"})),
        ("/v1/credentials", json!({"credential": "k", "role": "king"})),
        ("/v1/calls/call_1/finish", json!({"outcome": "fine"})),
        ("/v1/agents/a1/suspend", json!({"why": "because"})),
        ("/v1/sql", json!({"sql": 1})),
    ] {
        assert_eq!(house.post(path, body.clone()).await.problem(), invalid, "{path} {body}");
    }
    assert_eq!(house.events(), events);
}

#[tokio::test]
async fn ids_spans_times_and_hashes_are_refused_as_what_they_are() {
    let house = House::open();
    house.furnish().await;
    let events = house.events();
    let agent = |name: &str| json!({"agent": name, "owner": "alice", "purpose": "x"});
    let grant = |more: (&str, &str)| {
        let mut body = json!({"agent": "a1", "action": "crm/x", "scope": "crm://x"});
        body[more.0] = json!(more.1);
        body
    };
    for (path, body, code) in [
        ("/v1/owners", json!({"owner": "a b"}), "invalid_id"),
        ("/v1/owners", json!({"owner": "a*"}), "invalid_id"),
        ("/v1/owners", json!({"owner": ">"}), "invalid_id"),
        ("/v1/owners", json!({"owner": ""}), "invalid_id"),
        ("/v1/owners", json!({"owner": "x".repeat(257)}), "invalid_id"),
        ("/v1/owners", json!({"owner": "a\u{202e}b"}), "invalid_id"),
        ("/v1/owners", json!({"owner": "bob", "groups": ["a b"]}), "invalid_id"),
        ("/v1/agents", agent("a 2"), "invalid_id"),
        ("/v1/agents/a%20b/suspend", json!({}), "invalid_id"),
        ("/v1/agents/%FF/suspend", json!({}), "invalid_id"),
        ("/v1/tasks/7/close", json!({}), "invalid_id"),
        ("/v1/grants", grant(("scope", "crm://x/*")), "invalid_id"),
        ("/v1/grants", grant(("scope", "crm://x/../y")), "invalid_id"),
        ("/v1/grants", grant(("task", "task_07")), "invalid_id"),
        ("/v1/grants", grant(("ttl", "5")), "invalid_span"),
        ("/v1/grants", grant(("ttl", "forever")), "invalid_span"),
        ("/v1/grants", grant(("ttl", "999d")), "out_of_range"),
        ("/v1/grants", grant(("not_before", "tomorrow")), "invalid_time"),
        ("/v1/revocations", json!({"selector": {"resource": "crm://*"}}), "invalid_id"),
        ("/v1/revocations", json!({"selector": {"grant": "9"}}), "invalid_id"),
        ("/v1/calls/42/finish", json!({"outcome": "ok"}), "invalid_id"),
        ("/v1/calls/call_1/finish", json!({"outcome": "ok", "result": "xyz"}), "invalid_hash"),
    ] {
        let answer = house.post(path, body.clone()).await;
        assert_eq!(answer.problem(), (400, code.to_owned()), "{path} {body}");
    }
    assert_eq!(house.events(), events);
}

#[tokio::test]
async fn an_agent_too_large_for_an_event_is_refused() {
    let house = House::open();
    house.furnish().await;
    let pattern = |n: usize| json!({"pattern": format!("{n:04}/{}", "x".repeat(240))});
    let allowlist: Vec<_> = (0..256).map(pattern).collect();
    let body = json!({"agent": "a2", "owner": "alice", "purpose": "x", "allowlist": allowlist});
    assert_eq!(house.post("/v1/agents", body).await.problem(), (400, "out_of_range".into()));
    assert_eq!(house.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_policy_that_does_not_validate_is_refused_with_its_place() {
    let house = House::open();
    let text = "permit (principal, action, resource)\nwhen { principal.nonsense == 1 };";
    let answer = house.put("/v1/policies/p1", json!({"text": text})).await;
    assert_eq!(answer.problem(), (400, "policy_invalid".into()));
    assert!(answer.text.contains("line 2"), "{}", answer.text);
}

#[tokio::test]
async fn paths_methods_and_queries_that_are_none_are_refused() {
    let house = House::open();
    assert_eq!(house.get("/v1/nothing").await.problem(), (404, "no_route".into()));
    assert_eq!(house.get("/").await.problem(), (404, "no_route".into()));
    let answer = house.send(Method::DELETE, "/v1/owners", &house.admin, &[], "").await;
    assert_eq!(answer.problem(), (405, "method_not_allowed".into()));
    assert!(answer.header("allow").contains("POST"));
    assert_eq!(house.get(EVALUATION).await.status, 405);
    for (path, code) in [
        ("/v1/owners?limit=0", "invalid_query"),
        ("/v1/owners?limit=1001", "invalid_query"),
        ("/v1/owners?limit=many", "invalid_query"),
        ("/v1/owners?colour=red", "invalid_query"),
        ("/v1/owners?cursor=zz", "invalid_cursor"),
        ("/v1/grants?live=maybe", "invalid_query"),
        ("/v1/grants?agent=a%20b", "invalid_id"),
        ("/v1/events?kind=party", "invalid_query"),
        ("/v1/events?after=-1", "invalid_query"),
        ("/v1/events?after=1&cursor=00", "invalid_query"),
        ("/v1/events/first", "invalid_id"),
        ("/v1/grants/9", "invalid_id"),
        ("/v1/revocations/stream?after=x", "invalid_query"),
    ] {
        assert_eq!(house.get(path).await.problem(), (400, code.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn questions_that_are_no_reads_are_refused() {
    let house = House::open();
    for sql in [
        "copy events to '/tmp/x.csv'",
        "create external table t stored as csv location '/etc/hostname'",
        "insert into events values (1)",
        "drop table events",
    ] {
        let answer = house.post("/v1/sql", json!({"sql": sql})).await;
        let (status, code) = answer.problem();
        assert!(status == 400 && code.starts_with("sql_"), "{sql}: {}", answer.text);
    }
}
