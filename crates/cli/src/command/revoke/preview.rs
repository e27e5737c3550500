//! What a revocation would hit, without one.

use anyhow::Result;
use serde_json::{Value, json};

use super::Desk;
use crate::show;

/// Counts what a revocation of `selector` would hit now. Nothing is recorded.
pub(super) async fn ask(desk: &Desk, selector: &Value) -> Result<Value> {
    let body = json!({"selector": selector});
    Ok(desk.http.post("/v1/revocations/preview", &body).await?)
}

pub(super) async fn show(desk: &Desk, selector: &Value, name: &str) -> Result<()> {
    let hit = ask(desk, selector).await?;
    if desk.json {
        return Ok(show::line(&hit.to_string())?);
    }
    Ok(show::line(&words(&hit, name))?)
}

/// The same for people.
pub(super) fn words(hit: &Value, name: &str) -> String {
    let count = |member: &str, one: &str, many: &str| {
        let count = hit.get(member).and_then(Value::as_u64).unwrap_or_default();
        format!("{count} {}", if count == 1 { one } else { many })
    };
    show::harmless(&format!(
        "revoking {name} now would end {}, suspend {}, cut {} and be heard by {}",
        count("grants", "live grant", "live grants"),
        count("agents", "agent", "agents"),
        count("calls_in_flight", "call in flight", "calls in flight"),
        count("enforcement_points", "enforcement point", "enforcement points"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_hit_is_said_in_numbers() {
        let hit = json!({
            "selector": "all", "grants": 3, "agents": 1, "calls_in_flight": 0,
            "enforcement_points": 32,
        });
        assert_eq!(
            words(&hit, "everyone"),
            "revoking everyone now would end 3 live grants, suspend 1 agent, cut 0 calls in flight \
             and be heard by 32 enforcement points"
        );
    }
}
