//! `bailiwick properties`.

use std::collections::BTreeMap;

use anyhow::Result;
use bailiwick_client::http::path;
use serde_json::json;

use super::online::Desk;
use crate::args::{PropertiesVerb, Whose};
use crate::show;
use crate::show::json::Column;

const COLUMNS: [Column; 4] = [
    ("owner", "/entity/owner"),
    ("agent", "/entity/agent"),
    ("resource", "/entity/resource"),
    ("properties", "/properties"),
];

pub(super) async fn run(verb: PropertiesVerb, desk: Desk) -> Result<()> {
    match verb {
        PropertiesVerb::Put { of, properties } => {
            let (kind, id) = named(&of);
            let mut values = BTreeMap::<_, Vec<_>>::new();
            for (name, value) in properties {
                values.entry(name).or_default().push(value);
            }
            let path = path(["v1", "entities", kind, &id]);
            let answer = desk.http.put(&path, &json!({"properties": values})).await?;
            show::json::recorded(desk.json, &format!("what is known of {id} is written"), &answer)
        }
        PropertiesVerb::List => desk.list("/v1/entities", &[], &COLUMNS).await,
        PropertiesVerb::Remove { of } => {
            let (kind, id) = named(&of);
            let answer = desk.http.delete(&path(["v1", "entities", kind, &id])).await?;
            show::json::recorded(
                desk.json,
                &format!("what was known of {id} is forgotten"),
                &answer,
            )
        }
    }
}

/// The kind and the id; the arguments' group lets exactly one through.
fn named(of: &Whose) -> (&'static str, String) {
    match of {
        Whose { owner: Some(id), .. } => ("owner", id.to_string()),
        Whose { agent: Some(id), .. } => ("agent", id.to_string()),
        Whose { resource, .. } => {
            ("resource", resource.as_ref().map_or_else(String::new, ToString::to_string))
        }
    }
}
