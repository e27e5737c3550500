//! REST: one file for each kind of thing. Bodies hold texts, which become ids here: the wire's
//! shape is checked by serde (nothing unknown passes), ids by their own types.

use bailiwick_core::event::Selector;
use bailiwick_core::id::{IdError, Text};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::problem::{INVALID_BODY, Problem};

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod archive;
pub(crate) mod calls;
pub(crate) mod checkpoints;
pub(crate) mod config;
pub(crate) mod credentials;
pub(crate) mod delegates;
pub(crate) mod entities;
pub(crate) mod events;
pub(crate) mod grants;
pub(crate) mod owners;
pub(crate) mod points;
pub(crate) mod policies;
pub(crate) mod queries;
pub(crate) mod revocations;
pub(crate) mod schemas;
pub(crate) mod sql;
pub(crate) mod tasks;
pub(crate) mod tools;

/// Why something is done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// Words for people.
    #[serde(default)]
    reason: Option<String>,
}

impl Why {
    fn text(&self) -> Result<Option<Text>, IdError> {
        text(self.reason.as_deref())
    }
}

/// A text that may be absent.
fn text(given: Option<&str>) -> Result<Option<Text>, IdError> {
    given.map(Text::new).transpose()
}

/// What is taken back: `"all"`, or an object with one member such as `{"agent": "a1"}`.
fn selector(value: &Value) -> Result<Selector, Problem> {
    let refused = || {
        INVALID_BODY.with(
            "`selector` is `\"all\"` or has one of the members `grant`, `agent`, `owner`, `task`, \
             `tool`, `resource`",
        )
    };
    if value == "all" {
        return Ok(Selector::All);
    }
    let members = value.as_object().filter(|members| members.len() == 1).ok_or_else(refused)?;
    let (scope, id) = members.iter().next().ok_or_else(refused)?;
    let id = id.as_str().ok_or_else(refused)?;
    Ok(match scope.as_str() {
        "grant" => Selector::Grant(id.parse()?),
        "agent" => Selector::Agent(id.parse()?),
        "owner" => Selector::Owner(id.parse()?),
        "task" => Selector::Task(id.parse()?),
        "tool" => Selector::Tool(id.parse()?),
        "resource" => Selector::Resource(id.parse()?),
        _ => return Err(refused()),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_reads_as_it_is_written() {
        for (value, text) in [
            (json!("all"), "all"),
            (json!({"grant": "grant_9"}), "grant grant_9"),
            (json!({"agent": "a1"}), "agent a1"),
            (json!({"tool": "crm/read_case"}), "tool crm/read_case"),
            (json!({"resource": "crm://case"}), "resource crm://case"),
        ] {
            let read = selector(&value).unwrap();
            assert_eq!(read.to_string(), text);
            assert_eq!(serde_json::to_value(&read).unwrap(), value);
        }
    }

    #[test]
    fn a_selector_of_another_shape_is_refused_by_shape_and_id() {
        for bad in [
            json!(null),
            json!("everything"),
            json!({}),
            json!({"agent": 1}),
            json!({"agent": "a", "owner": "b"}),
            json!({"session": "s"}),
        ] {
            assert_eq!(selector(&bad).unwrap_err().kind, INVALID_BODY, "{bad}");
        }
        for bad in [json!({"agent": "a *"}), json!({"grant": "9"}), json!({"tool": "crm"})] {
            assert_eq!(selector(&bad).unwrap_err().kind.code, "invalid_id", "{bad}");
        }
    }
}
