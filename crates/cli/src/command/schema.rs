//! `bailiwick schema`.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use bailiwick_client::http::path;
use bailiwick_core::id::Action;
use serde_json::{Value, json};

use super::online::Desk;
use crate::args::SchemaVerb;
use crate::exit::usage;
use crate::show;
use crate::show::json::{Column, recorded};

const COLUMNS: [Column; 4] = [
    ("action", "/action"),
    ("status", "/status"),
    ("schema", "/text"),
    ("policies cannot read", "/left_out"),
];

pub(super) async fn run(verb: SchemaVerb, desk: Desk) -> Result<()> {
    match verb {
        SchemaVerb::Put { action, file } => {
            let schema = read(&file)?;
            put(&desk, &action, &schema).await?;
        }
        SchemaVerb::Import { server, file } => {
            // All are read before the first is sent.
            let schemas = of_tools(&server, &read(&file)?).map_err(|why| {
                usage(format!("`{}` is no answer to `tools/list`: {why}", file.display()))
            })?;
            for (action, schema) in &schemas {
                put(&desk, action, schema).await?;
            }
        }
        SchemaVerb::List => return desk.list("/v1/schemas", &[], &COLUMNS).await,
        SchemaVerb::Show { action } => {
            return desk.show(&path(["v1", "schemas", action.as_str()])).await;
        }
    }
    show::note("policies read arguments by them from the next `bailiwick policy activate` on");
    Ok(())
}

async fn put(desk: &Desk, action: &Action, schema: &Value) -> Result<()> {
    let path = path(["v1", "schemas", action.as_str()]);
    let answer = desk.http.put(&path, &json!({"schema": schema})).await?;
    recorded(desk.json, &format!("the input schema of {action} is on the stage"), &answer)
}

fn read(file: &Path) -> Result<Value> {
    let cannot = || format!("cannot read `{}`", file.display());
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).with_context(cannot)?;
        text
    } else {
        fs::read_to_string(file).with_context(cannot)?
    };
    serde_json::from_str(&text).map_err(|e| usage(format!("`{}`: {e}", file.display())))
}

/// The tools of an answer to `tools/list`, whole or only its `result`, each with its `inputSchema`.
fn of_tools(server: &str, told: &Value) -> Result<Vec<(Action, Value)>, String> {
    let tools = told.pointer("/result/tools").or_else(|| told.get("tools"));
    let tools = tools.and_then(Value::as_array).ok_or("it has no list `tools`")?;
    let of_tool = |tool: &Value| {
        let name = tool.get("name").and_then(Value::as_str).ok_or("a tool has no `name`")?;
        let schema = tool.get("inputSchema").cloned();
        let schema = schema.ok_or_else(|| format!("`{name}` has no `inputSchema`"))?;
        let action = Action::new(&format!("{server}/{name}")).map_err(|e| e.to_string())?;
        Ok((action, schema))
    };
    tools.iter().map(of_tool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_of_a_server_are_its_actions() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
        let tools = json!({"tools": [{"name": "refund", "inputSchema": schema}]});
        let refund = vec![(Action::new("crm/refund").unwrap(), schema)];
        assert_eq!(of_tools("crm", &tools), Ok(refund.clone()));
        let whole = json!({"jsonrpc": "2.0", "id": 1, "result": tools});
        assert_eq!(of_tools("crm", &whole), Ok(refund));
        for wrong in [json!([]), json!({"tools": [{}]}), json!({"tools": [{"name": "refund"}]})] {
            assert!(of_tools("crm", &wrong).is_err(), "{wrong}");
        }
        assert!(of_tools("no server", &tools).is_err());
    }
}
