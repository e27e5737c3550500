//! At a call: who it is for, what it carries, which grant it rides on, which tool it goes through.

use super::*;

/// The call with these members of its context.
fn with(question: Value, context: Value) -> Value {
    let all = merged(question["context"].clone(), context);
    merged(question, json!({"context": all}))
}

pub(super) async fn confused_deputies(stage: &mut Stage) {
    let read = |agent: &str| question(agent, "crm/read_case", "crm://case/9");
    let key = stage.agents["a1"].clone();
    let other = read("a2").to_string();
    let refused = (403, "not_permitted");
    let ask = (Method::POST, EVALUATION);
    stage.turned_away("asks as another agent", &key, ask, &other, refused, EVALUATION).await;
    let person =
        merged(read("a1"), json!({"subject": {"type": "user", "id": "alice"}})).to_string();
    let ask = (Method::POST, EVALUATION);
    stage.turned_away("asks as its owner", &key, ask, &person, refused, EVALUATION).await;
    let name = "acts for another's human";
    stage.denied(name, "not_owner", with(read("a1"), json!({"on_behalf_of": "bob"}))).await;
    let bob = stage.issuer.token(json!({"sub": "bob", "act": {"sub": "a1"}}));
    stage.denied_as(&bob, "a token in which another human sends it", "not_owner", read("a1")).await;
    let task = stage.house.post("/v1/tasks", json!({"agent": "a2"})).await.done();
    let task = task["id"].clone();
    let in_task = with(read("a1"), json!({"task": task}));
    stage.denied("works in another's task", "task_closed", in_task).await;
    stage.denied("an agent that nobody registered", "agent_unknown", read("ghost")).await;
    let first = merged(read("a1"), json!({}));
    let first = with(first, json!({"call_id": "once"}));
    stage.house.ask(&stage.gate, &first).await.done();
    let again = merged(first, json!({"resource": {"type": "crm", "id": "crm://case/10"}}));
    stage.denied("another call under an id that was used", "id_reused", again).await;
    let owners = question("a1", "pay/send", "crm://case/9");
    stage.denied("an action that is not on its list", "tool_not_allowed", owners).await;
}

pub(super) async fn smuggled_arguments(stage: &mut Stage) {
    let refund = |arguments: Value| {
        with(question("a1", "crm/refund", "crm://case/9"), json!({"arguments": arguments}))
    };
    stage.denied("more than the policy's limit", "forbidden", refund(json!({"amount": 101}))).await;
    for (name, arguments) in [
        ("a number as a text", json!({"amount": "1"})),
        ("a number with a fraction", json!({"amount": 1.5})),
        ("a number in a list", json!({"amount": [1]})),
    ] {
        stage.denied(name, "invalid_arguments", refund(arguments)).await;
    }
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    for (name, arguments, code) in [
        ("an argument with another name that looks alike", json!({"\u{430}mount": 1}), "forbidden"),
        ("an argument that is null", json!({"amount": null}), "forbidden"),
    ] {
        stage.denied(name, code, refund(arguments)).await;
    }
    let gate = stage.gate.clone();
    let twice = refund(json!({"amount": 1})).to_string();
    let twice = twice.replace("{\"amount\":1}", "{\"amount\":1,\"amount\":1000}");
    let escaped = twice.replace("\"amount\":1000", "\"\\u0061mount\":1000");
    let large = twice.replace("{\"amount\":1,\"amount\":1000}", "{\"amount\":9007199254740993}");
    let deep = twice.replace("{\"amount\":1,\"amount\":1000}", &deep.to_string());
    for (name, body) in [
        ("an argument twice", &twice),
        ("an argument twice, once escaped", &escaped),
        ("a number that readers read differently", &large),
        ("arguments nested without end", &deep),
    ] {
        let refused = (400, "invalid_json");
        stage.turned_away(name, &gate, (Method::POST, EVALUATION), body, refused, EVALUATION).await;
    }
    let wipe = question("a1", "crm/wipe", "crm://case/9");
    let key = stage.agents["a1"].clone();
    let told = with(wipe.clone(), json!({"environment": "test"}));
    stage.denied_as(&key, "says itself that this is a test", "forbidden", told).await;
    let known = json!({"subject": {"type": "agent", "id": "a1", "properties": {"vetted": "yes"}}});
    let vetted = merged(wipe, known);
    stage.denied_as(&key, "says itself that it is vetted", "forbidden", vetted).await;
    let alike = question("a1", "crm/read_case", "crm://c\u{430}se/9");
    stage.denied("a resource that looks alike", "forbidden", alike).await;
    for (name, resource) in [
        ("climbs out of its prefix", "crm://case/../vault/1"),
        ("climbs out of its prefix, encoded", "crm://case/%2e%2e/vault/1"),
    ] {
        let body = question("a1", "crm/read_case", resource).to_string();
        let refused = (400, "invalid_id");
        stage
            .turned_away(name, &gate, (Method::POST, EVALUATION), &body, refused, EVALUATION)
            .await;
    }
}

pub(super) async fn grants_stretched(stage: &mut Stage) {
    let write = |resource: &str| question("a1", "crm/write", resource);
    stage.grant("a1", "crm://case/1", json!({"max_uses": 9})).await;
    stage.denied("a grant for one record on another", "no_grant", write("crm://case/2")).await;
    let longer = write("crm://case/11");
    stage.denied("a grant for a record on one that begins alike", "no_grant", longer).await;
    stage
        .denied("a grant for a record on what lies below", "no_grant", write("crm://case/1/x"))
        .await;
    let of_other = question("a2", "crm/write", "crm://case/1");
    stage.denied("a grant of another agent", "no_grant", of_other).await;
    stage.grant("a1", "crm://case/3", json!({})).await;
    let once = write("crm://case/3");
    let (house, gate) = (&stage.house, &stage.gate);
    let answers = tokio::join!(house.ask(gate, &once), house.ask(gate, &once));
    let both = [answers.0.done()["decision"].clone(), answers.1.done()["decision"].clone()];
    assert_eq!(both.iter().filter(|decision| **decision == true).count(), 1, "one use is one use");
    stage.denied("a use more than the grant has", "grant_exhausted", write("crm://case/3")).await;
    let back = stage.grant("a1", "crm://case/4", json!({})).await;
    stage.house.post(&format!("/v1/grants/{back}/return"), json!({})).await.done();
    stage.denied("a grant that was handed back", "grant_revoked", write("crm://case/4")).await;
    let gone = stage.grant("a1", "crm://case/5", json!({})).await;
    let selector = json!({"selector": {"grant": gone}});
    stage.house.post("/v1/revocations", selector).await.done();
    stage.denied("a grant that was revoked", "grant_revoked", write("crm://case/5")).await;
    let bounds = json!({"constraints": [{"at": "/to", "must": {"equal": "alice"}}]});
    stage.grant("a1", "crm://case/6", bounds).await;
    let to_bob = with(write("crm://case/6"), json!({"arguments": {"to": "bob"}}));
    stage.denied("arguments that the grant does not allow", "no_grant", to_bob).await;
    stage
        .denied("no arguments where the grant demands some", "no_grant", write("crm://case/6"))
        .await;
}

pub(super) async fn tools_exchanged(stage: &mut Stage) {
    let through = |hash: Value| {
        let tool = json!({"server": "crm", "name": "read_case"});
        let tool = merged(tool, json!({"definition_hash": hash}));
        with(question("a1", "crm/read_case", "crm://case/9"), json!({"tool": tool}))
    };
    let pinned = json!({"hash": "1".repeat(64)});
    stage.house.put("/v1/tools/crm%2Fread_case", pinned).await.done();
    let none = through(Value::Null);
    stage.denied("a pinned tool without its definition", "tool_changed", none).await;
    let other = through(json!("2".repeat(64)));
    stage.denied("a tool that comes with another definition", "tool_changed", other).await;
    let lift = json!({"selector": {"tool": "crm/read_case"}});
    stage.house.post("/v1/tools/crm%2Fread_case/unpin", json!({})).await.done();
    stage.house.post("/v1/revocations/lift", lift).await.done();
}
