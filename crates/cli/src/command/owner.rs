//! `bailiwick owner`.

use anyhow::Result;
use bailiwick_client::http::path;
use serde_json::json;

use super::online::{Desk, why};
use crate::args::OwnerVerb;

pub(super) async fn run(verb: OwnerVerb, desk: Desk) -> Result<()> {
    match verb {
        OwnerVerb::Add { owner, groups } => {
            let body = json!({"owner": owner, "groups": groups});
            desk.tell(&format!("owner {owner} is registered"), "/v1/owners", &body).await
        }
        OwnerVerb::List => {
            let columns = [
                ("owner", "/owner"),
                ("groups", "/groups"),
                ("disabled", "/disabled"),
                ("suspended by", "/suspended_by"),
                ("registered", "/registered_at"),
            ];
            desk.list("/v1/owners", &[], &columns).await
        }
        OwnerVerb::Show { owner } => desk.show(&path(["v1", "owners", owner.as_str()])).await,
        OwnerVerb::Disable { owner, reason } => {
            let path = path(["v1", "owners", owner.as_str(), "disable"]);
            let what = format!("owner {owner} is disabled, and so is every agent of theirs");
            desk.tell(&what, &path, &why(reason.as_ref())).await
        }
        OwnerVerb::Enable { owner, reason } => {
            let path = path(["v1", "owners", owner.as_str(), "enable"]);
            desk.tell(&format!("owner {owner} is enabled"), &path, &why(reason.as_ref())).await
        }
    }
}
