//! `bailiwick watch`.

use anyhow::Result;
use bailiwick_client::Revocations;
use bailiwick_client::revocations::Signal;
use bailiwick_core::event::Actor;
use bailiwick_core::feed::Item;
use futures::StreamExt as _;

use super::online::Desk;
use crate::{args, moment, show};

pub(super) fn run(args: args::Watch) -> Result<()> {
    let (after, count) = (args.after, args.count);
    super::online(&args.access, |desk| watch(desk, after, count))
}

async fn watch(desk: Desk, after: Option<u64>, count: Option<u64>) -> Result<()> {
    // The stream itself never fails, it tries on: a wrong key or address is to be told at once.
    match desk.http.get("/v1/revocations", &[("limit", "1")]).await {
        Err(bailiwick_client::Error::Refused { status: 403, .. }) | Ok(_) => {}
        Err(error) => return Err(error.into()),
    }
    let mut signals = Revocations::follow(&desk.http, after);
    let mut left = count;
    while left != Some(0) {
        let Some(signal) = signals.next().await else { return Ok(()) };
        match signal {
            Signal::Item(item) => {
                tell(desk.json, &item)?;
                left = left.map(|left| left - 1);
            }
            Signal::Alive { number } => {
                show::note(&format!("listening; the feed stands at {number}"));
            }
            Signal::Behind { after, shown, early: _ } => show::note(&format!(
                "items behind {after} up to {shown} have not come; asking for them again"
            )),
            Signal::Lost { since } => show::note(&format!(
                "no sign of life from the server for {} ms; trying on",
                since.elapsed().as_millis()
            )),
            Signal::Missed { after } => {
                let behind = after.map_or_else(String::new, |n| format!(" behind number {n}"));
                show::note(&format!(
                    "items{behind} are missing and will not come: see `bailiwick events`"
                ));
            }
        }
    }
    Ok(())
}

fn tell(json: bool, item: &Item) -> Result<()> {
    if json {
        return Ok(show::line(&serde_json::to_string(item)?)?);
    }
    let by = match &item.by {
        Actor::System => "the ledger itself".to_owned(),
        Actor::Credential { id, role } => format!("{id} ({role})"),
        Actor::Token { owner, role, .. } => format!("{owner} ({role})"),
    };
    let words = [item.reason_code.as_ref(), item.reason.as_ref()];
    let why: Vec<&str> = words.into_iter().flatten().map(|text| text.as_str()).collect();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
    let suspended = if item.suspend { ", suspended" } else { "" };
    let line = format!(
        "{}  #{}  {}  {}{suspended}, by {by}{why}",
        moment::rfc3339(item.time),
        item.number,
        item.kind,
        item.selector,
    );
    Ok(show::line(&show::harmless(&line))?)
}
