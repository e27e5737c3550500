//! `bailiwick revoke` and `bailiwick lift`.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Result;
use bailiwick_core::id::Text;
use serde_json::{Value, json};

use super::online::Desk;
use crate::args::{self, Selector};
use crate::exit::{unfinished, usage};
use crate::show;

mod enforced;
mod preview;

/// What has to be typed before everything is revoked.
const CONFIRMATION: &str = "revoke all";

pub(super) fn revoke(args: args::Revoke) -> Result<()> {
    let asks = args.selector.all && !args.yes && !args.preview;
    if asks && !std::io::stdin().is_terminal() {
        return Err(usage("`--all` revokes everything: add `--yes` where nobody can be asked"));
    }
    let access = args.access.clone();
    super::online(&access, |desk| take_back(args, desk, asks))
}

async fn take_back(args: args::Revoke, desk: Desk, asks: bool) -> Result<()> {
    let (selector, name) = selector(&args.selector);
    if args.preview {
        return preview::show(&desk, &selector, &name).await;
    }
    if asks {
        // Who wants to stop everything is not to be held up because nobody can count it.
        match preview::ask(&desk, &selector).await {
            Ok(hit) => show::note(&preview::words(&hit, &name)),
            Err(error) => show::note(&format!("what it hits cannot be told: {error:#}")),
        }
        confirm()?;
    }
    let body = json!({
        "selector": selector,
        "grants_only": args.grants_only,
        "reason_code": args.reason_code,
        "reason": args.reason,
    });
    let path = match args.wait {
        Some(timeout) => format!("/v1/revocations?wait=enforced&timeout={timeout}"),
        None => "/v1/revocations".to_owned(),
    };
    let answer = desk.http.post(&path, &body).await?;
    let what = if args.grants_only {
        format!("every grant of {name} has ended")
    } else {
        format!("every grant of {name} has ended, and it stays suspended until `bailiwick lift`")
    };
    show::json::recorded(desk.json, &what, &answer)?;
    if answer.get("durable").and_then(Value::as_bool) == Some(false) && !desk.json {
        show::note(
            "in force, not durable: the log cannot be written now. The server denies already, and \
             writes the revocation as soon as it can; `bailiwick watch` shows it then. A server that \
             is stopped before has forgotten it: revoke again",
        );
    }
    match args.wait {
        Some(timeout) => enforced::tell(desk.json, &answer, timeout),
        None => Ok(()),
    }
}

pub(super) fn lift(args: args::Lift) -> Result<()> {
    let (selector, name) = selector(&args.selector);
    let body = json!({"selector": selector, "reason": args.reason.as_ref().map(Text::as_str)});
    let what = if args.selector.all {
        "everyone is free again but whoever was suspended by name; grants from before stay ended"
            .to_owned()
    } else {
        format!("{name} is free again; grants from before stay ended")
    };
    let agent = args.selector.agent.clone();
    super::online(&args.access, |desk| async move {
        let Err(error) = desk.tell(&what, "/v1/revocations/lift", &body).await else {
            return Ok(());
        };
        let Some(agent) = agent else { return Err(error) };
        let path = bailiwick_client::http::path(["v1", "agents", agent.as_str()]);
        let status = desk.http.get(&path, &[]).await.ok();
        if status.as_ref().and_then(|agent| agent["status"].as_str()) == Some("suspended") {
            return Err(unfinished(
                format!("agent {agent} was stopped by name, not by a revocation"),
                "`bailiwick agent reinstate`, which lets it act again",
            ));
        }
        Err(error)
    })
}

/// The selector as the wire has it, and as people say it.
fn selector(selector: &Selector) -> (Value, String) {
    let Selector { agent, owner, task, tool, resource, grant, all: _ } = selector;
    let named: [(&str, Option<String>); 6] = [
        ("agent", agent.as_ref().map(ToString::to_string)),
        ("owner", owner.as_ref().map(ToString::to_string)),
        ("task", task.map(|id| id.to_string())),
        ("tool", tool.as_ref().map(ToString::to_string)),
        ("resource", resource.as_ref().map(ToString::to_string)),
        ("grant", grant.map(|id| id.to_string())),
    ];
    match named.into_iter().find_map(|(scope, id)| Some((scope, id?))) {
        Some((scope, id)) => {
            let name = if id.starts_with(scope) { id.clone() } else { format!("{scope} {id}") };
            (json!({scope: id}), name)
        }
        None => (json!("all"), "everyone".to_owned()),
    }
}

fn confirm() -> Result<()> {
    show::note(&format!("This ends every grant of this ledger. Type `{CONFIRMATION}` to go on:"));
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == CONFIRMATION {
        return Ok(());
    }
    Err(usage("nothing was revoked"))
}
