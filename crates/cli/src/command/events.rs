//! `bailiwick events`.

use anyhow::Result;
use serde_json::{Map, Value};

use super::online::Desk;
use crate::{args, show};

pub(super) fn run(args: args::Events) -> Result<()> {
    let args::Events { access, after, limit, kind } = args;
    super::online(&access, |desk| list(desk, after, limit, kind))
}

async fn list(desk: Desk, after: Option<u64>, limit: usize, kind: Option<String>) -> Result<()> {
    let after = after.map(|after| after.to_string());
    let mut query = Vec::new();
    query.extend(after.as_deref().map(|after| ("after", after)));
    query.extend(kind.as_deref().map(|kind| ("kind", kind)));
    let mut left = if limit == 0 { usize::MAX } else { limit };
    desk.pages("/v1/events", &query, |page| {
        for event in page.into_iter().take(left) {
            left -= 1;
            let line = if desk.json { event.to_string() } else { told(&event) };
            show::line(&line)?;
        }
        Ok(left > 0)
    })
    .await
}

/// An event on one line: where, when, what, and its fields without those that are empty.
fn told(event: &Value) -> String {
    let text = |at: &str| event.pointer(at).map(show::json::text).unwrap_or_default();
    let none = Map::new();
    let data = event.get("data").and_then(Value::as_object).unwrap_or(&none);
    let fields: Vec<String> = data
        .iter()
        .flat_map(|(name, value)| match value.as_object().filter(|_| name == "call") {
            // A call stands as a whole within its event.
            Some(call) => call.iter().collect(),
            None => vec![(name, value)],
        })
        .filter(|(_, value)| !is_empty(value))
        .map(|(name, value)| format!("{name}={}", show::json::text(value)))
        .collect();
    let (index, time, kind) = (text("/index"), text("/time"), text("/kind"));
    format!("{index:>6}  {time}  {kind:20} {}", fields.join(" ")).trim_end().to_owned()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
