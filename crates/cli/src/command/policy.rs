//! `bailiwick policy`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use bailiwick_client::http::path;
use bailiwick_core::id::{PolicyId, Text};
use bailiwick_core::policy::{POLICY_BYTES_MAX, check_one};
use serde_json::{Value, json};

use super::online::Desk;
use crate::args::{self, PolicyVerb};
use crate::exit::usage;
use crate::show;
use crate::show::json::recorded;

const ACTIVATE: &str = "/v1/policies/activate";

pub(super) fn run(args: args::Policy) -> Result<()> {
    let access = args.access;
    // The rules are here as well as on the server: no server is needed.
    if let PolicyVerb::Check { files } = &args.verb {
        return check(files, access.json);
    }
    super::online(&access, |desk| online(args.verb, desk))
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
        PolicyVerb::Check { files } => check(&files, desk.json),
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
            None => id_of(file)?,
        };
        policies.push((id, read(file)?));
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

fn check(files: &[PathBuf], json: bool) -> Result<()> {
    let mut found = Vec::new();
    for file in files {
        if let Err(errors) = check_one(&id_of(file)?, &read(file)?) {
            let name = file.display().to_string();
            found.extend(errors.iter().map(|fault| {
                json!({
                    "file": name, "policy": fault.policy, "line": fault.line,
                    "column": fault.column, "message": fault.message,
                })
            }));
        }
    }
    if json {
        show::line(&json!({"valid": found.is_empty(), "faults": found}).to_string())?;
    } else {
        for fault in &found {
            let text = |at: &str| show::json::text(fault.pointer(at).unwrap_or(&Value::Null));
            let place = format!("{}:{}:{}", text("/file"), text("/line"), text("/column"));
            show::line(&format!("{place}: {}", text("/message")))?;
        }
    }
    match found.len() {
        0 if json => Ok(()),
        0 => {
            Ok(show::line(&format!("{} valid", plural(files.len(), "policy is", "policies are")))?)
        }
        faults => Err(anyhow!("{} found", plural(faults, "fault was", "faults were"))),
    }
}

fn plural(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("one {one}") } else { format!("{count} {many}") }
}

fn id_of(file: &Path) -> Result<PolicyId> {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    PolicyId::new(stem).map_err(|e| {
        usage(format!("`{}` gives no policy id, name one with `--id`: {e}", file.display()))
    })
}

fn read(file: &Path) -> Result<String> {
    let bytes = fs::metadata(file).map(|found| found.len());
    let bytes = bytes.with_context(|| format!("cannot read `{}`", file.display()))?;
    if bytes > POLICY_BYTES_MAX as u64 {
        let file = file.display();
        return Err(usage(format!(
            "`{file}` has {bytes} bytes, a policy at most {POLICY_BYTES_MAX}"
        )));
    }
    fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))
}
