//! `bailiwick key`.

use anyhow::Result;
use bailiwick_client::http::path;
use serde_json::{Value, json};

use super::online::{Desk, why};
use crate::args::KeyVerb;
use crate::show;

pub(super) async fn run(verb: KeyVerb, desk: Desk) -> Result<()> {
    match verb {
        KeyVerb::Issue { name, role, agent, owner, ttl } => {
            let name = name.map_or_else(
                || format!("{role}-{:08x}", rand::random::<u32>()),
                |name| name.to_string(),
            );
            let body = json!({
                "credential": name, "role": role, "agent": agent, "owner": owner,
                "ttl": ttl.map(|ttl| ttl.to_string()),
            });
            let answer = desk.http.post("/v1/credentials", &body).await?;
            if desk.json {
                return Ok(show::line(&answer.to_string())?);
            }
            let text = |name: &str| answer.get(name).and_then(Value::as_str);
            let until = text("expires_at").map_or_else(String::new, |end| format!(", until {end}"));
            show::note(&format!("key {name} with role {role}{until}; it is shown this once:"));
            Ok(show::line(text("key").unwrap_or_default())?)
        }
        KeyVerb::List => {
            let columns = [
                ("key", "/credential"),
                ("role", "/role"),
                ("agent", "/agent"),
                ("held by", "/owner"),
                ("works", "/live"),
                ("revoked", "/revoked"),
                ("issued", "/issued_at"),
                ("until", "/expires_at"),
                ("used", "/last_used_at"),
            ];
            desk.list("/v1/credentials", &[], &columns).await
        }
        KeyVerb::Rotate { name, new_name, overlap } => {
            let path = path(["v1", "credentials", name.as_str(), "rotate"]);
            let body = json!({
                "credential": new_name, "overlap": overlap.map(|overlap| overlap.to_string()),
            });
            let answer = desk.http.post(&path, &body).await?;
            if desk.json {
                return Ok(show::line(&answer.to_string())?);
            }
            let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
            let (new, end) = (text("id"), text("old_expires_at"));
            show::note(&format!(
                "key {new} takes the place of {name}, which works until {end}; it is shown this once:"
            ));
            Ok(show::line(text("key"))?)
        }
        KeyVerb::Revoke { name, reason } => {
            let path = path(["v1", "credentials", name.as_str(), "revoke"]);
            desk.tell(&format!("key {name} works no more"), &path, &why(reason.as_ref())).await
        }
    }
}
