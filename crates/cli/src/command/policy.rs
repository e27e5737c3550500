//! `bailiwick policy`.

use std::path::PathBuf;

use anyhow::Result;
use bailiwick_client::http::path;
use bailiwick_core::id::{PolicyId, Text};
use serde_json::{Value, json};

mod check;
mod diff;
mod files;
mod lines;
mod test;

use super::online::Desk;
use crate::args::{self, PolicyVerb};
use crate::exit::usage;
use crate::show;
use crate::show::json::recorded;

const ACTIVATE: &str = "/v1/policies/activate";

pub(super) fn run(args: args::Policy) -> Result<()> {
    let access = args.access;
    match args.verb {
        // The rules are here as well as on the server: no server is needed.
        PolicyVerb::Check { files, schemas } => check::run(&files, &schemas, access.json),
        PolicyVerb::Test { files } => test::run(&files, access.json),
        verb @ (PolicyVerb::Put { .. }
        | PolicyVerb::List
        | PolicyVerb::Show { .. }
        | PolicyVerb::Remove { .. }
        | PolicyVerb::Activate
        | PolicyVerb::Diff { .. }) => super::online(&access, |desk| online(verb, desk)),
    }
}

async fn online(verb: PolicyVerb, desk: Desk) -> Result<()> {
    match verb {
        PolicyVerb::Put { files, id, reason, activate } => {
            put(&desk, &files, id, reason.as_ref()).await?;
            if activate {
                return self::activate(&desk).await;
            }
            show::note("they decide nothing until `bailiwick policy activate`");
            Ok(())
        }
        PolicyVerb::List => {
            let columns = [("policy", "/policy"), ("status", "/status"), ("text", "/text")];
            desk.list("/v1/policies", &[], &columns).await
        }
        PolicyVerb::Show { id } => show_one(&desk, &id).await,
        PolicyVerb::Remove { id } => {
            let answer = desk.http.delete(&path(["v1", "policies", id.as_str()])).await?;
            recorded(desk.json, &format!("policy {id} is off the stage"), &answer)
        }
        PolicyVerb::Activate => activate(&desk).await,
        PolicyVerb::Diff { files, staged, exit_code } => {
            diff::run(&desk, &files, staged, exit_code).await
        }
        PolicyVerb::Check { files, schemas } => check::run(&files, &schemas, desk.json),
        PolicyVerb::Test { files } => test::run(&files, desk.json),
    }
}

async fn activate(desk: &Desk) -> Result<()> {
    desk.tell("the policies on the stage are in force", ACTIVATE, &json!({})).await
}

async fn put(
    desk: &Desk,
    files: &[PathBuf],
    id: Option<PolicyId>,
    reason: Option<&Text>,
) -> Result<()> {
    if id.is_some() && files.len() > 1 {
        return Err(usage("`--id` names one policy, but there are several files"));
    }
    // All are read before the first is sent.
    let mut policies = Vec::new();
    for file in files {
        let id = match &id {
            Some(id) => id.clone(),
            None => files::id_of(file).map_err(|e| {
                usage(format!("`{}` gives no policy id, name one with `--id`: {e}", file.display()))
            })?,
        };
        policies.push((id, files::read(file)?.map_err(usage)?));
    }
    for (id, text) in policies {
        let body = json!({"text": text, "reason": reason.map(Text::as_str)});
        let answer = desk.http.put(&path(["v1", "policies", id.as_str()]), &body).await?;
        recorded(desk.json, &format!("policy {id} is on the stage"), &answer)?;
    }
    Ok(())
}

async fn show_one(desk: &Desk, id: &PolicyId) -> Result<()> {
    let policy = desk.http.get(&path(["v1", "policies", id.as_str()]), &[]).await?;
    if desk.json {
        return Ok(show::line(&policy.to_string())?);
    }
    let text = |at: &str| policy.pointer(at).and_then(Value::as_str).map(str::to_owned);
    show::line(&format!("// {id}: {}", text("/status").unwrap_or_default()))?;
    for (title, at) in [("", "/text"), ("// in force, until the next activation:", "/active_text")]
    {
        if let Some(text) = text(at) {
            let lines = text.lines().map(show::harmless).collect::<Vec<_>>().join("\n");
            show::line(format!("{title}\n{lines}").trim_start())?;
        }
    }
    Ok(())
}

fn plural(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("one {one}") } else { format!("{count} {many}") }
}
