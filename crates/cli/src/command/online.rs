//! What every command has that talks to a server.

use anyhow::{Result, bail};
use bailiwick_client::Http;
use serde_json::Value;

use crate::show::json::{self, Column};

/// Items asked for at a time.
const PAGE: usize = 500;

/// A server, and how its answers are shown.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) http: Http,
    pub(crate) json: bool,
}

impl Desk {
    /// Sends a command and shows its answer.
    pub(crate) async fn tell(&self, what: &str, path: &str, body: &Value) -> Result<()> {
        let answer = self.http.post(path, body).await?;
        json::recorded(self.json, what, &answer)
    }

    /// Shows a whole list.
    pub(crate) async fn list(
        &self,
        path: &str,
        query: &[(&str, &str)],
        columns: &[Column],
    ) -> Result<()> {
        let mut items = Vec::new();
        self.pages(path, query, |page| {
            items.extend(page);
            Ok(true)
        })
        .await?;
        json::list(self.json, &items, columns)
    }

    /// Shows one thing.
    pub(crate) async fn show(&self, path: &str) -> Result<()> {
        let answer = self.http.get(path, &[]).await?;
        json::one(self.json, &answer)
    }

    /// Reads a list page by page until it ends or `take` has enough.
    pub(crate) async fn pages(
        &self,
        path: &str,
        query: &[(&str, &str)],
        mut take: impl FnMut(Vec<Value>) -> Result<bool>,
    ) -> Result<()> {
        let limit = PAGE.to_string();
        let mut cursor: Option<String> = None;
        loop {
            let mut asked = vec![("limit", limit.as_str())];
            match &cursor {
                // A cursor says where to begin; `after` would say so twice.
                Some(cursor) => {
                    asked.extend(query.iter().filter(|(name, _)| *name != "after"));
                    asked.push(("cursor", cursor));
                }
                None => asked.extend(query),
            }
            let mut page = self.http.get(path, &asked).await?;
            let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) else {
                bail!("the answer to `{path}` is no list");
            };
            let wants_more = take(items)?;
            cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
            if !wants_more || cursor.is_none() {
                return Ok(());
            }
        }
    }
}

/// A body with a reason, if there is one.
pub(crate) fn why(reason: Option<&bailiwick_core::id::Text>) -> Value {
    match reason {
        Some(reason) => serde_json::json!({"reason": reason.as_str()}),
        None => serde_json::json!({}),
    }
}
