//! `bailiwick agent`.

use anyhow::Result;
use bailiwick_client::http::path;
use bailiwick_core::id::{AgentId, Text};
use serde_json::{Value, json};

use super::online::{Desk, why};
use crate::args::AgentVerb;
use crate::{moment, show};

pub(super) async fn run(verb: AgentVerb, desk: Desk) -> Result<()> {
    match verb {
        AgentVerb::Add { agent, owner, purpose, allow, groups, ttl } => {
            let allowlist: Vec<Value> =
                allow.iter().map(|pattern| json!({"pattern": pattern.to_string()})).collect();
            let expires_at = ttl.map(|ttl| moment::rfc3339(moment::now().after(ttl)));
            let body = json!({
                "agent": agent, "owner": owner, "purpose": purpose, "groups": groups,
                "allowlist": allowlist, "expires_at": expires_at,
            });
            if allowlist.is_empty() {
                show::note("note: without `--allow` the agent may ask for nothing at all");
            }
            let what = format!("agent {agent} is registered under {owner}");
            desk.tell(&what, "/v1/agents", &body).await
        }
        AgentVerb::List => {
            let columns = [
                ("agent", "/agent"),
                ("owner", "/owner"),
                ("status", "/status"),
                ("risk", "/risk"),
                ("suspended by", "/suspended_by"),
                ("purpose", "/purpose"),
                ("may ask for", "/allowlist"),
                ("until", "/expires_at"),
            ];
            desk.list("/v1/agents", &[], &columns).await
        }
        AgentVerb::Show { agent } => desk.show(&path(["v1", "agents", agent.as_str()])).await,
        AgentVerb::Risk { agent, risk, reason } => {
            let body = json!({"risk": risk, "reason": reason});
            let path = path(["v1", "agents", agent.as_str(), "risk"]);
            desk.tell(&format!("the risk of agent {agent} is {risk}"), &path, &body).await
        }
        AgentVerb::Suspend { agent, reason } => {
            act(&desk, &agent, "suspend", "is suspended", reason).await
        }
        AgentVerb::Reinstate { agent, reason } => {
            act(&desk, &agent, "reinstate", "may act again; earlier grants stay ended", reason)
                .await
        }
        AgentVerb::Reassign { agent, to, reason } => {
            let path = path(["v1", "agents", agent.as_str(), "reassign"]);
            let body = json!({"to": to, "reason": reason});
            let what = format!("agent {agent} acts for {to}; what it had before has ended");
            desk.tell(&what, &path, &body).await
        }
        AgentVerb::Retire { agent, reason } => {
            act(&desk, &agent, "retire", "is retired for good", reason).await
        }
    }
}

async fn act(
    desk: &Desk,
    agent: &AgentId,
    act: &str,
    done: &str,
    reason: Option<Text>,
) -> Result<()> {
    let path = path(["v1", "agents", agent.as_str(), act]);
    desk.tell(&format!("agent {agent} {done}"), &path, &why(reason.as_ref())).await
}
