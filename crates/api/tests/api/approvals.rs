//! Approvals over HTTP: a call is denied with a handle, a person looks and answers, the call is let.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, JSON, question};

/// A house in which whoever reads a case needs the owner's approval. Keys of `alice`, who is that
/// owner, and of `bob`.
async fn house() -> (House, String, String) {
    let house = House::open();
    house.furnish().await;
    house.post("/v1/owners", json!({"owner": "bob", "groups": ["staff"]})).await.done();
    needs(&house, "owner").await;
    let (alice, bob) = (held(&house, "alice").await, held(&house, "bob").await);
    (house, alice, bob)
}

async fn needs(house: &House, rule: &str) {
    let text = format!(
        r#"@approval("{rule}") permit (principal, action == Action::"crm/read_case",
            resource in Resource::"crm://case");"#
    );
    house.put("/v1/policies/read-cases", json!({"text": text})).await.done();
    house.post("/v1/policies/activate", json!({})).await.done();
}

async fn held(house: &House, owner: &str) -> String {
    let body = json!({"credential": format!("of-{owner}"), "role": "approver", "owner": owner});
    let made = house.post("/v1/credentials", body).await.done();
    made["key"].as_str().unwrap().to_owned()
}

/// Asks, and is told to wait: the denial's context.
async fn waits(house: &House, question: &Value) -> Value {
    let key = house.key("enforcer", None).await;
    let answer = house.ask(&key, question).await.done();
    assert_eq!(answer["decision"], false);
    assert_eq!(answer["context"]["code"], "approval_required", "{answer}");
    answer["context"]["approval"].clone()
}

fn path(approval: &Value, verb: &str) -> String {
    format!("/v1/approvals/{}{verb}", approval["id"].as_str().unwrap())
}

fn yes(approval: &Value) -> Value {
    json!({"shown": approval["shown"], "reason": "fine"})
}

#[tokio::test]
async fn a_call_waits_for_a_person_who_sees_what_is_recorded_and_approves_it_once() {
    let (house, alice, _) = house().await;
    let mut asked = question();
    asked["context"]["justification"] = json!("please\naction: harmless");
    asked["context"]["disclosed"] = json!({"case_id": "1234"});
    let approval = waits(&house, &asked).await;
    assert_eq!(waits(&house, &asked).await, approval);

    let listed = house.get_as(&alice, "/v1/approvals?status=pending").await.done();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let seen = house.get_as(&alice, &path(&approval, "")).await.done();
    assert_eq!(seen, listed["items"][0]);
    assert_eq!((&seen["status"], &seen["shown"]), (&json!("pending"), &approval["shown"]));
    assert_eq!(seen["expires_at"], approval["expires_at"]);
    assert_eq!(seen["needs"], json!(["owner"]));
    let line = |name: &str| {
        let lines = seen["view"]["lines"].as_array().unwrap();
        lines.iter().find(|line| line["name"] == name).map(|line| line["value"].clone())
    };
    assert_eq!(line("agent"), Some(json!("a1")));
    assert_eq!(line("action"), Some(json!("crm/read_case")));
    assert_eq!(line("argument case_id"), Some(json!("1234")));
    assert_eq!(seen["view"]["own_words"], "please\\naction: harmless");

    let said = house.post_as(&alice, &path(&approval, "/approve"), yes(&approval)).await.done();
    assert_eq!(said["status"], "granted");
    let key = house.key("enforcer", None).await;
    let allowed = house.ask(&key, &asked).await.done();
    assert_eq!(
        (&allowed["decision"], &allowed["context"]["grant_id"]),
        (&json!(true), &said["grant"])
    );
    assert_ne!(waits(&house, &asked).await["id"], approval["id"]);
    let over = house.get(&path(&approval, "")).await.done();
    assert_eq!((&over["status"], &over["grant"]), (&json!("granted"), &said["grant"]));
    assert_eq!(over["answers"][0]["by"], "alice");
    let again = house.post_as(&alice, &path(&approval, "/approve"), yes(&approval)).await;
    assert_eq!(again.problem(), (409, "wrong_state".into()));
}

#[tokio::test]
async fn who_may_not_approve_is_refused_and_sees_only_what_is_theirs() {
    let (house, alice, bob) = house().await;
    let approval = waits(&house, &question()).await;
    let approve = path(&approval, "/approve");
    for key in [
        bob.clone(),
        house.admin.clone(),
        house.key("operator", None).await,
        house.key("approver", None).await,
        house.key("enforcer", None).await,
        house.key("agent", Some("a1")).await,
        house.key("auditor", None).await,
        house.key("subscriber", None).await,
    ] {
        let refused = house.post_as(&key, &approve, yes(&approval)).await;
        assert_eq!(refused.problem(), (403, "not_permitted".into()));
    }
    let other = json!({"shown": "ab".repeat(32)});
    assert_eq!(house.post_as(&alice, &approve, other).await.problem().0, 409);
    let none = house.post_as(&alice, &approve, json!({})).await;
    assert_eq!(none.problem(), (400, "invalid_body".into()));

    let one = path(&approval, "");
    assert_eq!(house.get_as(&bob, &one).await.problem(), (404, "not_found".into()));
    let of_bob = house.get_as(&bob, "/v1/approvals").await.done();
    assert_eq!(of_bob["items"], json!([]));
    let agent = house.key("agent", Some("a1")).await;
    assert_eq!(house.get_as(&agent, &one).await.done()["status"], "pending");
    for role in ["enforcer", "auditor"] {
        let key = house.key(role, None).await;
        assert_eq!(house.get_as(&key, &one).await.done()["status"], "pending");
    }
    let stranger = house.key("subscriber", None).await;
    assert_eq!(house.get_as(&stranger, &one).await.problem(), (403, "not_permitted".into()));
    assert_eq!(house.get("/v1/approvals/approval_0").await.problem().0, 404);
    assert_eq!(house.get("/v1/approvals?status=open").await.problem().0, 400);
    let of_others = house.get("/v1/approvals?agent=a2").await.done();
    assert_eq!(of_others["items"], json!([]));
}

#[tokio::test]
async fn a_no_is_told_to_whoever_asks_the_same_again() {
    let (house, alice, _) = house().await;
    let approval = waits(&house, &question()).await;
    let deny = path(&approval, "/deny");
    house.post_as(&alice, &deny, json!({"reason": "not now"})).await.done();
    let key = house.key("enforcer", None).await;
    let context = house.ask(&key, &question()).await.done()["context"].clone();
    assert_eq!(
        (&context["code"], &context["approval"]["id"]),
        (&json!("approval_denied"), &approval["id"])
    );
    assert!(context["message"].as_str().unwrap().contains("not now"));
    assert_eq!(house.get(&path(&approval, "")).await.done()["status"], "denied");
}

#[tokio::test]
async fn what_was_revoked_meanwhile_is_recorded_as_over_when_somebody_says_yes() {
    let (house, alice, _) = house().await;
    let approval = waits(&house, &question()).await;
    let revoke = json!({"selector": {"agent": "a1"}, "grants_only": true});
    house.post("/v1/revocations", revoke).await.done();
    let seen = house.get(&path(&approval, "")).await.done();
    assert_eq!(seen["status"], "expired");
    assert!(seen["why"].as_str().unwrap().contains("revoked"));
    let refused = house.post_as(&alice, &path(&approval, "/approve"), yes(&approval)).await;
    assert_eq!(refused.problem(), (409, "wrong_state".into()));
    assert!(refused.text.contains("ask again"));
    let events = house.get("/v1/events?kind=approval.expired").await.done();
    assert_eq!(events["items"].as_array().unwrap().len(), 1);
    assert_ne!(waits(&house, &question()).await["id"], approval["id"]);
}

#[tokio::test]
async fn an_agent_withdraws_its_own_and_only_once() {
    let (house, _, bob) = house().await;
    let approval = waits(&house, &question()).await;
    let withdraw = path(&approval, "/withdraw");
    assert_eq!(house.post_as(&bob, &withdraw, json!({})).await.problem().0, 403);
    let agent = house.key("agent", Some("a1")).await;
    house.post_as(&agent, &withdraw, json!({})).await.done();
    assert_eq!(house.post_as(&agent, &withdraw, json!({})).await.problem().0, 409);
}

#[tokio::test]
async fn a_wait_ends_with_the_answer_or_with_its_time() {
    let (house, alice, _) = house().await;
    let approval = waits(&house, &question()).await;
    let enforcer = house.key("enforcer", None).await;
    let begun = Instant::now();
    let pending = house.get_as(&enforcer, &path(&approval, "?wait=200ms")).await.done();
    assert_eq!(pending["status"], "pending");
    assert!(begun.elapsed() >= Duration::from_millis(200));

    let (place, said) = (path(&approval, "?wait=30s"), path(&approval, "/approve"));
    let begun = Instant::now();
    let wait = house.get_as(&enforcer, &place);
    let answer = async {
        // Whichever comes first: the one that waits sees the answer.
        house.post_as(&alice, &said, yes(&approval)).await.done()
    };
    let (waited, answered) = tokio::join!(wait, answer);
    let waited = waited.done();
    assert_eq!((&waited["status"], &waited["grant"]), (&json!("granted"), &answered["grant"]));
    assert!(begun.elapsed() < Duration::from_secs(20));

    let late = house.get_as(&enforcer, &path(&approval, "?wait=61s")).await;
    assert_eq!(late.problem(), (400, "out_of_range".into()));
    let odd = house.get_as(&enforcer, &path(&approval, "?wait=soon")).await;
    assert_eq!(odd.problem(), (400, "invalid_span".into()));
}

#[tokio::test]
async fn two_of_a_group_approve_a_grant_that_was_asked_for() {
    let (house, alice, bob) = house().await;
    let carol = json!({"owner": "carol", "groups": ["staff"]});
    house.post("/v1/owners", carol).await.done();
    let carol = held(&house, "carol").await;
    needs(&house, "2 of group:staff").await;
    let agent = house.key("agent", Some("a1")).await;
    let wanted = json!({"agent": "a1", "action": "crm/read_case", "scope": "crm://case/**"});
    let asked = house.post_as(&agent, "/v1/grants/requests", wanted).await.done();
    assert_eq!(asked["status"], "pending");
    let place = format!("/v1/approvals/{}", asked["approval"].as_str().unwrap());
    let seen = house.get_as(&bob, &place).await.done();
    let body = json!({"shown": seen["shown"]});
    let approve = format!("{place}/approve");
    let own = house.post_as(&alice, &approve, body.clone()).await;
    assert_eq!(own.problem(), (403, "not_permitted".into()));
    let headers = [JSON, ("idempotency-key", "yes-of-bob")];
    for _ in 0..2 {
        let said = house.send(Method::POST, &approve, &bob, &headers, body.to_string()).await;
        let said = said.done();
        assert_eq!((&said["status"], &said["grant"]), (&json!("pending"), &Value::Null));
    }
    let said = house.post_as(&carol, &approve, body).await.done();
    assert_eq!(said["status"], "granted");
    let key = house.key("enforcer", None).await;
    assert_eq!(house.ask(&key, &question()).await.done()["context"]["grant_id"], said["grant"]);
}
