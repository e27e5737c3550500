//! `bailiwick task`.

use anyhow::Result;
use bailiwick_client::http::path;
use serde_json::{Value, json};

use super::online::{Desk, why};
use crate::args::TaskVerb;
use crate::show::json::recorded;

pub(super) async fn run(verb: TaskVerb, desk: Desk) -> Result<()> {
    match verb {
        TaskVerb::Open { agent, statement, sort, targets } => {
            let targets: Vec<&str> = targets.iter().map(|target| target.as_str()).collect();
            let body = json!({
                "agent": agent, "statement": statement, "sort": sort, "targets": targets,
            });
            let answer = desk.http.post("/v1/tasks", &body).await?;
            let id = answer.get("id").and_then(Value::as_str).unwrap_or("the task");
            recorded(desk.json, &format!("{id} is open for {agent}"), &answer)
        }
        TaskVerb::List { agent } => {
            let query: Vec<_> = agent.iter().map(|agent| ("agent", agent.as_str())).collect();
            let columns = [
                ("task", "/task"),
                ("agent", "/agent"),
                ("owner", "/owner"),
                ("sort", "/sort"),
                ("targets", "/targets"),
                ("opened", "/opened_at"),
            ];
            desk.list("/v1/tasks", &query, &columns).await
        }
        TaskVerb::Close { task, reason } => {
            let path = path(["v1", "tasks", &task.to_string(), "close"]);
            desk.tell(&format!("{task} is closed"), &path, &why(reason.as_ref())).await
        }
    }
}
