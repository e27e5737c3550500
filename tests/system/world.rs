//! A small registry to test with: an owner, her agents, what policy permits, and grants.

use serde_json::{Value, json};

use super::http::{Client, Connection};

pub(crate) const OWNER: &str = "alice@example.com";
pub(crate) const ACTION: &str = "crm/read_case";

/// Registers the owner and `agents`, and permits them everything that a grant covers.
pub(crate) fn found(client: &Client, agents: &[&str]) {
    client.post("/v1/owners", &json!({"owner": OWNER})).ok();
    for agent in agents {
        let allowlist = json!([{"pattern": "**"}]);
        let purpose = "answers questions about support cases";
        let agent =
            json!({"agent": agent, "owner": OWNER, "purpose": purpose, "allowlist": allowlist});
        client.post("/v1/agents", &agent).ok();
    }
    let text = "permit (principal, action, resource);";
    client.put("/v1/policies/everything-granted", &json!({"text": text})).ok();
    client.post("/v1/policies/activate", &json!({})).ok();
}

/// Issues a grant on one resource and gives its id.
pub(crate) fn grant(client: &Client, agent: &str, resource: &str, max_uses: usize) -> String {
    let grant = json!({"agent": agent, "action": ACTION, "scope": resource, "ttl": "1d",
        "max_uses": max_uses, "justification": "a test asks for it"});
    let answer = client.post("/v1/grants", &grant).ok();
    answer["id"].as_str().expect("the grant's id").to_owned()
}

/// What is asked when `agent` wants to read `resource`.
pub(crate) fn question(agent: &str, resource: &str, call: &str) -> Value {
    let kind = resource.split_once(':').map_or("", |(kind, _)| kind);
    json!({
        "subject": {"type": "agent", "id": agent},
        "action": {"name": ACTION},
        "resource": {"type": kind, "id": resource},
        "context": {"call_id": call, "effect": "read"},
    })
}

/// Asks for a decision.
pub(crate) fn ask(to: &mut Connection, question: &Value) -> std::io::Result<Value> {
    let answer = to.send("POST", "/access/v1/evaluation", Some(question))?;
    Ok(answer.ok())
}

/// The code of a denial; none of an allow.
pub(crate) fn code(answer: &Value) -> Option<&str> {
    if answer["decision"] == true {
        return None;
    }
    Some(answer["context"]["code"].as_str().expect("a denial has a code"))
}
