//! `bailiwick tool`.

use anyhow::Result;
use bailiwick_client::http::path;
use serde_json::json;

use super::online::{Desk, why};
use crate::args::ToolVerb;
use crate::show;

pub(super) async fn run(verb: ToolVerb, desk: Desk) -> Result<()> {
    match verb {
        ToolVerb::List => {
            let columns = [
                ("tool", "/tool"),
                ("definition", "/hash"),
                ("effect", "/effect"),
                ("labels", "/labels"),
                ("first use", "/first_use"),
                ("since", "/since"),
                ("seen otherwise", "/changed/at"),
                ("suspended by", "/suspended_by"),
            ];
            desk.list("/v1/tools", &[], &columns).await
        }
        ToolVerb::Show { tool } => desk.show(&path(["v1", "tools", tool.as_str()])).await,
        ToolVerb::Pin { tool, hash, effect, targets, labels } => {
            let body = json!({
                "hash": hash.to_string(), "effect": effect, "targets": targets, "labels": labels,
            });
            let answer = desk.http.put(&path(["v1", "tools", tool.as_str()]), &body).await?;
            show::json::recorded(desk.json, &format!("tool {tool} is held to {hash}"), &answer)
        }
        ToolVerb::Unpin { tool, reason } => {
            let path = path(["v1", "tools", tool.as_str(), "unpin"]);
            let what = format!("tool {tool} is held to no definition");
            desk.tell(&what, &path, &why(reason.as_ref())).await
        }
    }
}
