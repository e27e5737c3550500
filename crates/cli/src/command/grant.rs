//! `bailiwick grant`.

use anyhow::Result;
use bailiwick_client::http::path;
use serde_json::{Value, json};

use super::online::{Desk, why};
use crate::args::{GrantVerb, Part, Terms};
use crate::exit::denied;
use crate::show::json::{Column, recorded};

const GRANTS: [Column; 10] = [
    ("grant", "/grant"),
    ("agent", "/agent"),
    ("action", "/action"),
    ("on", "/scope"),
    ("task", "/task"),
    ("used", "/uses"),
    ("left", "/uses_left"),
    ("until", "/expires_at"),
    ("status", "/status"),
    ("owner", "/owner"),
];
const REQUESTS: [Column; 8] = [
    ("request", "/request"),
    ("agent", "/agent"),
    ("action", "/action"),
    ("on", "/scope"),
    ("for", "/ttl"),
    ("uses", "/max_uses"),
    ("why", "/justification"),
    ("asked", "/asked_at"),
];

pub(super) async fn run(verb: GrantVerb, desk: Desk) -> Result<()> {
    match verb {
        GrantVerb::Issue { terms, not_before, request } => {
            let mut body = body(&terms);
            body["not_before"] = json!(not_before);
            body["request"] = json!(request.map(|id| id.to_string()));
            let answer = desk.http.post("/v1/grants", &body).await?;
            let Terms { agent, action, scope, .. } = &terms;
            let id = answer.get("id").and_then(Value::as_str).unwrap_or("a grant");
            let what = format!("{id} is issued: {agent} may do {action} on {scope}");
            recorded(desk.json, &what, &answer)
        }
        GrantVerb::Request { terms } => request(&desk, &terms).await,
        GrantVerb::List { requests: true, .. } => {
            desk.list("/v1/grants/requests", &[], &REQUESTS).await
        }
        GrantVerb::List { agent, task, live, .. } => {
            let task = task.map(|task| task.to_string());
            let mut query = Vec::new();
            query.extend(agent.iter().map(|agent| ("agent", agent.as_str())));
            query.extend(task.iter().map(|task| ("task", task.as_str())));
            query.extend(live.then_some(("live", "true")));
            desk.list("/v1/grants", &query, &GRANTS).await
        }
        GrantVerb::Show { id } => desk.show(&path(["v1", "grants", &id.to_string()])).await,
        GrantVerb::Delegate { id, part } => delegate(&desk, &id.to_string(), &part).await,
        GrantVerb::Return { id } => {
            let path = path(["v1", "grants", &id.to_string(), "return"]);
            desk.tell(&format!("{id} is handed back"), &path, &json!({})).await
        }
        GrantVerb::Deny { id, reason } => {
            let path = path(["v1", "grants", "requests", &id.to_string(), "deny"]);
            desk.tell(&format!("{id} is turned down"), &path, &why(reason.as_ref())).await
        }
    }
}

fn body(terms: &Terms) -> Value {
    json!({
        "agent": terms.agent,
        "task": terms.task.map(|task| task.to_string()),
        "action": terms.action,
        "scope": terms.scope,
        "ttl": terms.ttl.map(|ttl| ttl.to_string()),
        "max_uses": terms.max_uses,
        "justification": terms.justification,
        "constraints": terms.constraints,
    })
}

async fn delegate(desk: &Desk, id: &str, part: &Part) -> Result<()> {
    let body = json!({
        "to": part.to,
        "task": part.task.map(|task| task.to_string()),
        "scope": part.scope,
        "ttl": part.ttl.map(|ttl| ttl.to_string()),
        "max_uses": part.max_uses,
        "constraints": part.constraints,
        "justification": part.justification,
    });
    let answer = desk.http.post(&path(["v1", "grants", id, "delegate"]), &body).await?;
    let given = answer.get("id").and_then(Value::as_str).unwrap_or("a grant");
    let what = format!("{given} is a part of {id}, held by {}; it dies with {id}", part.to);
    recorded(desk.json, &what, &answer)
}

async fn request(desk: &Desk, terms: &Terms) -> Result<()> {
    let mut body = body(terms);
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    let answer = desk.http.post("/v1/grants/requests", &body).await?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    let id = text("id");
    let what = match text("status") {
        "issued" => format!("{} is issued at once, as policy permits", text("grant")),
        "denied" => format!("{id} is denied: {}", text("denied_by")),
        _ => match answer.get("approval").and_then(Value::as_str) {
            Some(approval) => format!("{id} waits for people: `bailiwick approve {approval}`"),
            None => format!("{id} waits for an operator: `bailiwick grant issue --request {id} …`"),
        },
    };
    recorded(desk.json, &what, &answer)?;
    if text("status") == "denied" {
        return Err(denied(format!("{} ({})", what, terms.action)));
    }
    Ok(())
}
