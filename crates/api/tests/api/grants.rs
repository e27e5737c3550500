//! Grants with constraints, parts of grants, and reviews, over HTTP.

use serde_json::{Value, json};

use super::house::{House, JSON, question};

/// Beside the furniture: alice's `a2`, bob's `b1`, and nothing just in time.
async fn house() -> House {
    let house = House::open();
    house.furnish().await;
    house.post("/v1/owners", json!({"owner": "bob"})).await.done();
    for (agent, owner) in [("a2", "alice"), ("b1", "bob")] {
        let allowlist = json!([{"pattern": "crm/*"}]);
        let agent = json!({"agent": agent, "owner": owner, "purpose": "x", "allowlist": allowlist});
        house.post("/v1/agents", agent).await.done();
    }
    let text = "permit (principal, action, resource);";
    house.put("/v1/policies/read-cases", json!({"text": text})).await.done();
    house.post("/v1/policies/activate", json!({})).await.done();
    house
}

async fn id(house: &House, path: &str, body: Value) -> String {
    house.post(path, body).await.done()["id"].as_str().unwrap().to_owned()
}

fn terms(more: Value) -> Value {
    let mut terms = json!({
        "agent": "a1", "action": "crm/read_case", "scope": "crm://case/**", "ttl": "10m",
        "max_uses": 9, "justification": "case 1234",
    });
    terms.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    terms
}

/// The decision about a call with these arguments: `allowed`, or why not.
async fn asked(house: &House, agent: &str, arguments: Value) -> String {
    let mut body = question();
    body["subject"]["id"] = json!(agent);
    body["context"]["arguments"] = arguments;
    let answer = house.ask(&house.admin, &body).await.done();
    let code = answer["context"]["code"].as_str().unwrap_or("allowed");
    assert_eq!(answer["decision"], code == "allowed");
    code.to_owned()
}

#[tokio::test]
async fn a_call_meets_the_constraints_of_its_grant_or_is_denied_and_recorded() {
    let house = house().await;
    let constraints = json!([
        {"at": "/path", "must": {"prefix": "/srv/reports/"}},
        {"at": "/limit", "must": {"max": 10}},
        {"at": "/kind", "must": {"one_of": ["a", 1, true]}},
        {"at": "/who/0", "must": {"equal": "alice"}},
    ]);
    let path = "/v1/grants";
    let grant = id(&house, path, terms(json!({ "constraints": constraints }))).await;
    let shown = house.get(&format!("{path}/{grant}")).await.done();
    assert_eq!((&shown["constraints"], &shown["issuance"]), (&constraints, &json!("operator")));
    let good = json!({"path": "/srv/reports/a", "limit": 10, "kind": 1, "who": ["alice"]});
    assert_eq!(asked(&house, "a1", good.clone()).await, "allowed");
    for (name, value) in [
        ("path", json!("/srv/reports/../../etc/passwd")),
        ("path", json!("/srv/reports/%2e%2e/etc")),
        ("limit", json!(11)),
        ("limit", json!("10")),
        ("kind", json!("1")),
        ("who", json!("alice")),
        ("who", json!(["аlice"])),
    ] {
        let mut bad = good.clone();
        bad[name] = value;
        assert_eq!(asked(&house, "a1", bad.clone()).await, "no_grant", "{bad}");
    }
    for bad in [json!([1]), json!("x"), json!({"path": 0.000_001})] {
        let events = house.events();
        assert_eq!(asked(&house, "a1", bad.clone()).await, "invalid_arguments", "{bad}");
        assert_eq!(house.events(), events + 1, "{bad}");
    }
    // What two readers could read differently never becomes a question.
    let smuggled = question().to_string().replacen(
        r#""context":{"#,
        r#""context":{"arguments":{"path":"/srv/reports/a","path":"/etc"},"#,
        1,
    );
    let answer = house.send(
        reqwest::Method::POST,
        super::house::EVALUATION,
        &house.admin,
        &[JSON],
        smuggled,
    );
    assert_eq!(answer.await.status, 400);
}

#[tokio::test]
async fn constraints_of_another_form_are_refused() {
    let house = house().await;
    for (constraint, problem) in [
        (json!({"at": "path", "must": {"max": 1}}), "out_of_range"),
        (json!({"at": "/a", "must": {"one_of": []}}), "out_of_range"),
        (json!({"at": "/a", "must": {"prefix": "/srv/../"}}), "out_of_range"),
        (json!({"at": "/a", "must": {"most": 1}}), "invalid_body"),
        (json!({"at": "/a", "must": {"max": 1.5}}), "invalid_body"),
        (json!({"at": "/a", "must": {"equal": null}}), "invalid_body"),
        (json!({"at": "/a"}), "invalid_body"),
    ] {
        let answer = house.post("/v1/grants", terms(json!({"constraints": [constraint]}))).await;
        assert_eq!(answer.problem(), (400, problem.into()), "{constraint}");
    }
}

#[tokio::test]
async fn request_ids_and_environments_are_recorded_with_the_call() {
    let house = house().await;
    let call = async |key: &str| {
        let mut body = question();
        body["context"]["environment"] = json!("production");
        let headers = [JSON, ("x-request-id", "trace-7")];
        let sent = house.send(
            reqwest::Method::POST,
            super::house::EVALUATION,
            key,
            &headers,
            body.to_string(),
        );
        let answer = sent.await;
        assert_eq!(answer.header("x-request-id"), "trace-7");
        let index = answer.done()["context"]["receipt"]["index"].as_u64().unwrap();
        house.get(&format!("/v1/events/{index}")).await.text
    };
    let told = call(&house.admin).await;
    assert!(told.contains("trace-7") && told.contains("production"), "{told}");
    // Where it stands is not an agent's to say.
    let told = call(&house.key("agent", Some("a1")).await).await;
    assert!(told.contains("trace-7") && !told.contains("production"), "{told}");
}

#[tokio::test]
async fn a_part_of_a_grant_is_used_and_dies_with_it() {
    let house = house().await;
    let grant = id(&house, "/v1/grants", terms(json!({}))).await;
    let path = format!("/v1/grants/{grant}/delegate");
    let key = house.key("agent", Some("a1")).await;
    let part = json!({"to": "a2", "scope": "crm://case/1234", "max_uses": 2, "ttl": "1m"});
    let made = house.post_as(&key, &path, part).await;
    assert_eq!(made.status, 201);
    let child = made.done()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/grants/{child}"));
    let shown = house.get(&format!("/v1/grants/{child}")).await.done();
    assert_eq!((&shown["parent"], &shown["agent"]), (&json!(grant), &json!("a2")));
    assert_eq!(shown["issuance"], "delegated");
    let mut body = question();
    body["subject"]["id"] = json!("a2");
    let answer = house.ask(&house.admin, &body).await.done();
    assert_eq!(answer["context"]["grant_id"], json!(child));
    assert_eq!(answer["context"]["rests_on"], json!([{"grant": grant}, {"agent": "a1"}]));
    assert_eq!(house.get(&format!("/v1/grants/{grant}")).await.done()["uses"], 1);
    let preview =
        house.post("/v1/revocations/preview", json!({"selector": {"grant": grant}})).await;
    assert_eq!(preview.done()["grants"], 2);
    for (part, problem) in [
        (json!({"to": "a2", "scope": "crm://**"}), (400, "out_of_range")),
        (json!({"to": "a2", "ttl": "11m"}), (400, "out_of_range")),
        (json!({"to": "a2", "max_uses": 9}), (400, "out_of_range")),
        (json!({"to": "b1"}), (400, "out_of_range")),
        (json!({"to": "a1"}), (400, "out_of_range")),
        (json!({"to": "a9"}), (404, "not_found")),
        (json!({"to": "a2", "action": "crm/write"}), (400, "invalid_body")),
        (json!({"scope": "crm://case/1234"}), (400, "invalid_body")),
    ] {
        let answer = house.post_as(&key, &path, part.clone()).await;
        assert_eq!(answer.problem(), (problem.0, problem.1.to_owned()), "{part}");
    }
    let stranger = house.key("agent", Some("a2")).await;
    let answer = house.post_as(&stranger, &path, json!({"to": "a2"})).await;
    assert_eq!(answer.problem(), (403, "not_permitted".into()));
    house.post_as(&key, &format!("/v1/grants/{grant}/return"), json!({})).await.done();
    assert_eq!(asked(&house, "a2", json!({})).await, "grant_revoked");
    let told = house.get(&format!("/v1/grants/{child}")).await.done();
    assert_eq!((&told["live"], &told["status"]), (&json!(false), &json!("grant_revoked")));
}

#[tokio::test]
async fn an_owners_grants_are_reviewed() {
    let house = house().await;
    let grant = id(&house, "/v1/grants", terms(json!({}))).await;
    let other = id(&house, "/v1/grants", terms(json!({"justification": null}))).await;
    let of_bob = json!({"agent": "b1", "action": "crm/read_case", "scope": "crm://case/1"});
    id(&house, "/v1/grants", of_bob).await;
    assert_eq!(asked(&house, "a1", json!({})).await, "allowed");
    let list = house.get("/v1/owners/alice/review").await.done();
    let items = list["items"].as_array().unwrap();
    let names: Vec<_> = items.iter().map(|item| item["grant"].as_str().unwrap()).collect();
    assert_eq!(names, [&grant, &other]);
    assert_eq!((&items[0]["justification"], &items[0]["uses"]), (&json!("case 1234"), &json!(1)));
    assert!(items[0]["last_used"].is_string() && items[1]["last_used"].is_null());
    assert_eq!(
        (&items[1]["justification"], &items[0]["break_glass"]),
        (&Value::Null, &json!(false))
    );
    let page = house.get("/v1/owners/alice/review?limit=1").await.done();
    let next = format!("/v1/owners/alice/review?cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(house.get(&next).await.done()["items"][0]["grant"], json!(other));
    let unknown = house.get("/v1/owners/nobody/review").await;
    assert_eq!(unknown.problem(), (404, "not_found".into()));

    let review = |id: &str| format!("/v1/grants/{id}/review");
    house.post(&review(&grant), json!({"review": "keep"})).await.done();
    let revoke = json!({"review": "revoke", "reason": "nobody uses it"});
    let done = house.post(&review(&other), revoke.clone()).await.done();
    let index = done["receipt"]["index"].as_u64().unwrap();
    let told = house.get(&format!("/v1/events/{index}")).await.text;
    assert!(told.contains("access.reviewed") && told.contains("nobody uses it"), "{told}");
    let told = house.get(&format!("/v1/events/{}", index + 1)).await.text;
    assert!(told.contains("revocation.issued") && told.contains("access_review"), "{told}");
    let left = house.get("/v1/owners/alice/review").await.done();
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(house.post(&review(&other), revoke).await.problem(), (409, "wrong_state".into()));
    let word = house.post(&review(&grant), json!({"review": "maybe"})).await;
    assert_eq!(word.problem(), (400, "invalid_body".into()));
    for role in ["auditor", "approver", "enforcer", "subscriber"] {
        let key = house.key(role, None).await;
        let answer = house.post_as(&key, &review(&grant), json!({"review": "keep"})).await;
        assert_eq!(answer.problem(), (403, "not_permitted".into()), "{role}");
        let seen = house.get_as(&key, "/v1/owners/alice/review").await.status;
        assert_eq!(seen, if role == "auditor" { 200 } else { 403 }, "{role}");
    }
}
