//! `bailiwick owner`.

use anyhow::Result;
use bailiwick_client::http::path;
use serde_json::json;

use super::online::{Desk, why};
use crate::args::{DelegateVerb, OwnerVerb};
use crate::{moment, show};

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
        OwnerVerb::Delegate(verb) => delegate(verb, desk).await,
    }
}

async fn delegate(verb: DelegateVerb, desk: Desk) -> Result<()> {
    match verb {
        DelegateVerb::Add { owner, delegate, ttl } => {
            let path = path(["v1", "owners", owner.as_str(), "delegates", delegate.as_str()]);
            let expires_at = ttl.map(|ttl| moment::rfc3339(moment::now().after(ttl)));
            let answer = desk.http.put(&path, &json!({"expires_at": expires_at})).await?;
            let what = format!("{delegate} may act through the agents of {owner}");
            show::json::recorded(desk.json, &what, &answer)
        }
        DelegateVerb::Remove { owner, delegate, reason } => {
            let path =
                path(["v1", "owners", owner.as_str(), "delegates", delegate.as_str(), "remove"]);
            let what = format!("{delegate} may no longer act through the agents of {owner}");
            desk.tell(&what, &path, &why(reason.as_ref())).await
        }
    }
}
