//! `bailiwick revoke` and `bailiwick lift`.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Result;
use bailiwick_core::id::Text;
use serde_json::{Value, json};

use crate::args::{self, Selector};
use crate::exit::usage;
use crate::show;

/// What has to be typed before everything is revoked.
const CONFIRMATION: &str = "revoke all";

pub(super) fn revoke(args: args::Revoke) -> Result<()> {
    if args.selector.all && !args.yes {
        confirm()?;
    }
    let (selector, name) = selector(&args.selector);
    let body = json!({
        "selector": selector,
        "grants_only": args.grants_only,
        "reason_code": args.reason_code,
        "reason": args.reason,
    });
    let what = if args.grants_only {
        format!("every grant of {name} has ended")
    } else {
        format!("every grant of {name} has ended, and it stays suspended until `bailiwick lift`")
    };
    super::online(
        &args.access,
        |desk| async move { desk.tell(&what, "/v1/revocations", &body).await },
    )
}

pub(super) fn lift(args: args::Lift) -> Result<()> {
    let (selector, name) = selector(&args.selector);
    let body = json!({"selector": selector, "reason": args.reason.as_ref().map(Text::as_str)});
    let what = format!("{name} is free again; grants from before stay ended");
    super::online(&args.access, |desk| async move {
        desk.tell(&what, "/v1/revocations/lift", &body).await
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
    if !std::io::stdin().is_terminal() {
        return Err(usage("`--all` revokes everything: add `--yes` where nobody can be asked"));
    }
    show::note(&format!("This ends every grant of this ledger. Type `{CONFIRMATION}` to go on:"));
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if typed.trim() == CONFIRMATION {
        return Ok(());
    }
    Err(usage("nothing was revoked"))
}
