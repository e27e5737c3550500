//! What people said yes to, and what agents give to each other.

use super::*;

/// Has a payment wait for alice; the approval as the denial names it.
async fn waits(stage: &Stage, resource: &str) -> Value {
    let asked = question("a1", "crm/pay", resource);
    let answer = stage.house.ask(&stage.gate, &asked).await.done();
    assert_eq!(answer["context"]["code"], "approval_required", "{answer}");
    answer["context"]["approval"].clone()
}

fn path(approval: &Value, verb: &str) -> String {
    format!("/v1/approvals/{}/{verb}", approval["id"].as_str().unwrap())
}

fn yes(approval: &Value) -> Value {
    json!({"shown": approval["shown"]})
}

pub(super) async fn approvals_bent(stage: &mut Stage) {
    let pay = |resource: &str| question("a1", "crm/pay", resource);
    let (agent, alice, bob) = (stage.agents["a1"].clone(), stage.alice.clone(), stage.bob.clone());
    let first = waits(stage, "crm://case/21").await;
    let approve = "/v1/approvals/{id}/approve";
    let at = path(&first, "approve");
    let good = yes(&first).to_string();
    for (name, key, status, code) in [
        ("an agent approves for itself", &agent, 403, "not_permitted"),
        ("another's human approves", &bob, 403, "not_permitted"),
    ] {
        stage.turned_away(name, key, (Method::POST, &at), &good, (status, code), approve).await;
    }
    let other = waits(stage, "crm://case/22").await;
    let swapped = yes(&other).to_string();
    let name = "a yes to what was shown of another call";
    let refused = (409, "wrong_state");
    stage.turned_away(name, &alice, (Method::POST, &at), &swapped, refused, approve).await;
    stage.house.post_as(&alice, &at, yes(&first)).await.done();
    let name = "a yes that comes again";
    stage.turned_away(name, &alice, (Method::POST, &at), &good, refused, approve).await;
    let name = "an approved call on another resource";
    stage.denied(name, "approval_required", pay("crm://case/23")).await;
    let changed = merged(pay("crm://case/21"), json!({"context": {"effect": "destructive"}}));
    stage.denied("an approved call that does more", "approval_required", changed).await;
    let used = stage.house.ask(&stage.gate, &pay("crm://case/21")).await.done();
    assert_eq!(used["decision"], true, "{used}");
    let again = pay("crm://case/21");
    stage.denied("an approved call once more", "approval_required", again).await;

    stage.house.post_as(&alice, &path(&other, "deny"), json!({})).await.done();
    stage.denied("asks again after a no", "approval_denied", pay("crm://case/22")).await;
    let stale = waits(stage, "crm://case/24").await;
    stage.house.post_as(&alice, &path(&stale, "approve"), yes(&stale)).await.done();
    stage.house.post("/v1/revocations", json!({"selector": {"agent": "a1"}})).await.done();
    stage.house.post("/v1/revocations/lift", json!({"selector": {"agent": "a1"}})).await.done();
    let name = "a yes from before a revocation";
    stage.denied(name, "approval_required", pay("crm://case/24")).await;
    approve_against_withdraw(stage).await;
}

/// However a yes and a withdrawal meet, one of them comes too late, and a call that was withdrawn is
/// not allowed.
async fn approve_against_withdraw(stage: &mut Stage) {
    stage.begin("a yes races a withdrawal");
    let (agent, alice) = (stage.agents["a1"].clone(), stage.alice.clone());
    for n in 0..16 {
        let resource = format!("crm://case/3{n}");
        let asked = waits(stage, &resource).await;
        let (approve, withdraw) = (path(&asked, "approve"), path(&asked, "withdraw"));
        let (approved, withdrawn) = tokio::join!(
            stage.house.post_as(&alice, &approve, yes(&asked)),
            stage.house.post_as(&agent, &withdraw, json!({})),
        );
        let was_approved = approved.status == 200;
        assert_ne!(was_approved, withdrawn.status == 200, "{} {}", approved.text, withdrawn.text);
        let late = if was_approved { (&withdrawn, "withdraw") } else { (&approved, "approve") };
        let door = format!("POST /v1/approvals/{{id}}/{}", late.1);
        stage.is_turned_away("a yes races a withdrawal", late.0, (409, "wrong_state"), &door);
        let answer = stage.house.ask(&stage.gate, &question("a1", "crm/pay", &resource)).await;
        assert_eq!(answer.done()["decision"], was_approved);
    }
}

pub(super) async fn parts_that_are_more_than_the_whole(stage: &mut Stage) {
    let key = stage.agents["a1"].clone();
    let more = json!({"max_uses": 3, "ttl": "10m"});
    let whole = stage.grant("a1", "crm://case/40/**", more).await;
    let at = format!("/v1/grants/{whole}/delegate");
    for (name, part) in [
        ("a part with a wider scope", json!({"to": "a2", "scope": "crm://case/**"})),
        ("a part that lives longer", json!({"to": "a2", "ttl": "1h"})),
        ("a part with more uses", json!({"to": "a2", "max_uses": 4})),
        ("a part for another owner's agent", json!({"to": "b1"})),
        ("a part for itself", json!({"to": "a1"})),
    ] {
        let (body, refused) = (part.to_string(), (400, "out_of_range"));
        let door = "/v1/grants/{id}/delegate";
        stage.turned_away(name, &key, (Method::POST, &at), &body, refused, door).await;
    }
    let part = json!({"to": "a2", "max_uses": 2, "scope": "crm://case/40/x"});
    stage.house.post_as(&key, &at, part).await.done();
    let beyond = question("a2", "crm/write", "crm://case/40/y");
    stage.denied("a part used beyond its scope", "no_grant", beyond).await;
    let within = question("a2", "crm/write", "crm://case/40/x");
    let used = stage.house.ask(&stage.gate, &within).await.done();
    assert_eq!(used["decision"], true, "{used}");
    let forbid = r#"forbid (principal == Agent::"a1", action == Action::"crm/write", resource);"#;
    stage.house.put("/v1/policies/no", json!({"text": forbid})).await.done();
    stage.house.post("/v1/policies/activate", json!({})).await.done();
    let name = "a part of what its giver may not do any more";
    stage.denied(name, "forbidden", within.clone()).await;
    let no = stage.house.send(Method::DELETE, "/v1/policies/no", &stage.house.admin, &[], "").await;
    no.done();
    stage.house.post("/v1/policies/activate", json!({})).await.done();
    stage.house.post(&format!("/v1/grants/{whole}/return"), json!({})).await.done();
    stage.denied("a part of what was handed back", "grant_revoked", within).await;
}
