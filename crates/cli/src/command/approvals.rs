//! `bailiwick approvals`, `bailiwick approve` and `bailiwick deny`.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, Result};
use bailiwick_client::http::path;
use bailiwick_core::approval::OWN_WORDS;
use bailiwick_core::id::{ApprovalId, Text};
use serde_json::{Value, json};

use super::online::{Desk, why};
use crate::args::{ApprovalsVerb, No, Yes};
use crate::exit::usage;
use crate::show;
use crate::show::json::{Column, recorded};

const APPROVALS: [Column; 8] = [
    ("approval", "/approval"),
    ("agent", "/agent"),
    ("owner", "/owner"),
    ("action", "/action"),
    ("on", "/scope"),
    ("status", "/status"),
    ("asked", "/asked_at"),
    ("until", "/expires_at"),
];

/// Whether somebody can be asked, where that is to be done: known before anything is sent.
pub(super) fn look(verb: &ApprovalsVerb) -> Result<()> {
    match verb {
        ApprovalsVerb::Approve(yes) => look_at(yes),
        ApprovalsVerb::List { .. } | ApprovalsVerb::Show { .. } | ApprovalsVerb::Deny(_) => Ok(()),
    }
}

/// As [`look`], of a yes.
pub(super) fn look_at(yes: &Yes) -> Result<()> {
    if yes.yes || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(usage("nobody can be asked here: look with `bailiwick approvals show`, then add `--yes`"))
}

pub(super) async fn run(verb: ApprovalsVerb, desk: Desk) -> Result<()> {
    match verb {
        ApprovalsVerb::List { status, agent } => {
            let mut query = Vec::new();
            query.extend(status.iter().map(|status| ("status", status.as_str())));
            query.extend(agent.iter().map(|agent| ("agent", agent.as_str())));
            desk.list("/v1/approvals", &query, &APPROVALS).await
        }
        ApprovalsVerb::Show { id } => {
            let approval = read(&desk, id).await?;
            if desk.json {
                return Ok(show::line(&approval.to_string())?);
            }
            Ok(show::raw(&whole(&approval)?)?)
        }
        ApprovalsVerb::Approve(yes) => approve(yes, desk).await,
        ApprovalsVerb::Deny(no) => deny(no, desk).await,
    }
}

/// Shows what is approved, asks, and approves exactly what was shown.
pub(super) async fn approve(yes: Yes, desk: Desk) -> Result<()> {
    let approval = read(&desk, yes.id).await?;
    if !desk.json || !yes.yes {
        show::note(whole(&approval)?.trim_end());
    }
    if !yes.yes {
        confirm()?;
    }
    let reason = yes.reason.as_ref().map(Text::as_str);
    let body = json!({"shown": approval["shown"], "reason": reason});
    let path = path(["v1", "approvals", &yes.id.to_string(), "approve"]);
    let answer = desk.http.post(&path, &body).await?;
    let what = match answer.get("grant").and_then(Value::as_str) {
        Some(grant) => format!("{} is approved: {grant} is issued", yes.id),
        None => format!("{} has your approval and waits for others", yes.id),
    };
    recorded(desk.json, &what, &answer)
}

pub(super) async fn deny(no: No, desk: Desk) -> Result<()> {
    let path = path(["v1", "approvals", &no.id.to_string(), "deny"]);
    desk.tell(&format!("{} is denied", no.id), &path, &why(no.reason.as_ref())).await
}

async fn read(desk: &Desk, id: ApprovalId) -> Result<Value> {
    Ok(desk.http.get(&path(["v1", "approvals", &id.to_string()]), &[]).await?)
}

/// The approval as a person is to see it: how it stands, then line by line what the ledger shows, and
/// what the caller says of itself last.
fn whole(approval: &Value) -> Result<String> {
    let text = |value: &Value| show::harmless(value.as_str().unwrap_or_default());
    let mut whole = format!("{} ({})\n", text(&approval["approval"]), text(&approval["status"]));
    if let Some(why) = approval["why"].as_str() {
        whole += &format!("{}\n", show::harmless(why));
    }
    let lines = approval["view"]["lines"].as_array().context("the answer shows nothing")?;
    for line in lines {
        whole += &format!("  {}: {}\n", text(&line["name"]), text(&line["value"]));
    }
    if approval["view"]["own_words"].is_string() {
        whole += &format!("  {OWN_WORDS}: {}\n", text(&approval["view"]["own_words"]));
    }
    for said in approval["answers"].as_array().into_iter().flatten() {
        let what = if said["approved"] == true { "approved" } else { "denied" };
        whole += &format!("  {what} by {}\n", text(&said["by"]));
    }
    Ok(whole)
}

fn confirm() -> Result<()> {
    show::note("Approve exactly this? [y/N]");
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed)?;
    if matches!(typed.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(usage("nothing was approved"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_the_ledgers_lines_and_the_callers_words_last() {
        let approval = json!({
            "approval": "approval_7", "status": "pending",
            "view": {
                "lines": [{"name": "agent", "value": "a1"}, {"name": "action", "value": "pay\u{1b}[2J"}],
                "own_words": "approved already",
            },
            "answers": [{"by": "carol", "approved": true}],
        });
        assert_eq!(
            whole(&approval).unwrap(),
            "approval_7 (pending)\n  agent: a1\n  action: pay\\u{1b}[2J\n  \
             in the caller's own words: approved already\n  approved by carol\n"
        );
        assert!(whole(&json!({"approval": "approval_7"})).is_err());
    }
}
