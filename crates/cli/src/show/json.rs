//! Answers for programs, and how JSON values read for people.

use anyhow::Result;
use serde_json::{Value, json};

use super::table::table;
use super::{harmless, line};

/// A column of a list: its title and where its value stands in an item, as a JSON pointer.
pub(crate) type Column = (&'static str, &'static str);

/// A value as people read it: texts bare, lists with commas, nothing as nothing.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => harmless(text),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Object(members) => match members.get("pattern") {
            Some(pattern) => text(pattern),
            None => harmless(&value.to_string()),
        },
    }
}

/// Shows a list: one JSON object, or a table.
pub(crate) fn list(json: bool, items: &[Value], columns: &[Column]) -> Result<()> {
    if json {
        return Ok(line(&json!({"items": items}).to_string())?);
    }
    if items.is_empty() {
        super::note("there are none");
        return Ok(());
    }
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let row = |item: &Value| {
        columns.iter().map(|(_, at)| item.pointer(at).map(text).unwrap_or_default()).collect()
    };
    Ok(line(&table(&titles, items.iter().map(row).collect()))?)
}

/// Shows one thing: JSON as it came, or one line a member.
pub(crate) fn one(json: bool, value: &Value) -> Result<()> {
    let Some(members) = value.as_object().filter(|_| !json) else {
        return Ok(line(&value.to_string())?);
    };
    let width = members.keys().map(String::len).max().unwrap_or_default();
    for (name, value) in members {
        let name = name.replace('_', " ");
        line(format!("{name:width$}  {}", text(value)).trim_end())?;
    }
    Ok(())
}

/// Shows the answer to a command: JSON as it came, or `what` with its place on the chain.
pub(crate) fn recorded(json: bool, what: &str, answer: &Value) -> Result<()> {
    if json {
        return Ok(line(&answer.to_string())?);
    }
    let index = answer.pointer("/receipt/index").and_then(Value::as_u64);
    let link = answer.pointer("/receipt/link").and_then(Value::as_str);
    let place = match (index, link) {
        (Some(index), Some(link)) => {
            format!("event {index}, link {}", link.get(..16).unwrap_or(link))
        }
        _ => "in force; it will be on the ledger as soon as that can be written".to_owned(),
    };
    Ok(line(&format!("{} ({place})", harmless(what)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_plainly() {
        for (value, expected) in [
            (json!(null), ""),
            (json!("a\u{7}"), "a\\u{7}"),
            (json!(["a", "b"]), "a, b"),
            (json!(3), "3"),
            (json!([{"pattern": "crm/*", "expires_at": null}]), "crm/*"),
            (json!({"agent": "a"}), r#"{"agent":"a"}"#),
        ] {
            assert_eq!(text(&value), expected);
        }
    }
}
