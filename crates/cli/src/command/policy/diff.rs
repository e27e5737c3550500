//! `bailiwick policy diff`: what would change if these files were all the policies there are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use bailiwick_core::id::{Action, PolicyId};
use bailiwick_core::policy::{InputSchemas, PolicySet};
use serde_json::{Value, json};

use super::check;
use super::files::Policies;
use super::{lines, plural};
use crate::command::online::Desk;
use crate::show;

/// A policy as the server has it.
#[derive(Debug, Default)]
struct Kept {
    staged: Option<String>,
    active: Option<String>,
}

/// One policy that would change.
struct Change<'a> {
    policy: &'a PolicyId,
    what: &'static str,
    file: Option<String>,
    /// Whether the stage has it as the files do.
    staged: bool,
    hunks: String,
}

pub(super) async fn run(
    desk: &Desk,
    files: &[PathBuf],
    staged: bool,
    exit_code: bool,
) -> Result<()> {
    let mut policies = Policies::read(files)?;
    let schemas = schemas(desk).await?;
    policies.schemas = schemas.staged.clone();
    let Some(set) = policies.compile().filter(|_| policies.faults.is_empty()) else {
        policies.faults.iter().for_each(|fault| show::note(&fault.line()));
        return check::found(&policies.faults);
    };
    let kept = fetch(desk).await?;
    let changes = changes(&policies, &kept, staged);
    let against = if staged { "staged" } else { "active" };
    let known = kept.iter().filter_map(|(id, kept)| Some((id, side(kept, staged)?)));
    // A set of another version may not compile here; then its hash is not known.
    let of_known = if staged { &schemas.staged } else { &schemas.active };
    let before = set.recompile_with(of_known, known).as_ref().map(PolicySet::hash).ok();
    if desk.json {
        let told = json!({
            "against": against,
            "policies": policies.texts.len(),
            "hash": hex::encode(set.hash()),
            "hash_before": before.map(hex::encode),
            "changes": changes.iter().map(Change::json).collect::<Vec<_>>(),
        });
        show::line(&told.to_string())?;
    } else {
        changes.iter().try_for_each(|change| show::raw(&change.text(against)))?;
        let count = plural(policies.texts.len(), "policy", "policies");
        let hash = hex::encode(set.hash());
        show::line(&match changes.len() {
            0 => format!("nothing would change: {count}, the hash of the set is {hash}"),
            _ => format!("with these files there would be {count}, the hash of the set {hash}"),
        })?;
    }
    if exit_code && !changes.is_empty() {
        let changed = plural(changes.len(), "policy", "policies");
        return Err(anyhow!("{changed} would change"));
    }
    Ok(())
}

/// The input schemas that the server has.
#[derive(Default)]
struct Schemas {
    staged: InputSchemas,
    active: InputSchemas,
}

/// What the files would be activated with, and what is in force is read by.
async fn schemas(desk: &Desk) -> Result<Schemas> {
    let mut schemas = Schemas::default();
    desk.pages("/v1/schemas", &[], |page| {
        for item in page {
            let text = |name: &str| item.get(name).and_then(Value::as_str);
            let action = Action::new(text("action").context("a schema has no action")?)?;
            let staged = text("text").context("a schema has no text")?.to_owned();
            match (text("active_text"), text("status")) {
                (Some(active), _) => {
                    schemas.active.insert(action.clone(), active.to_owned());
                }
                (None, Some("active")) => {
                    schemas.active.insert(action.clone(), staged.clone());
                }
                (None, _) => {}
            }
            schemas.staged.insert(action, staged);
        }
        Ok(true)
    })
    .await?;
    Ok(schemas)
}

/// The text on the stage, or the one in force.
fn side(kept: &Kept, staged: bool) -> Option<&str> {
    if staged { kept.staged.as_deref() } else { kept.active.as_deref() }
}

async fn fetch(desk: &Desk) -> Result<BTreeMap<PolicyId, Kept>> {
    let mut kept = BTreeMap::new();
    desk.pages("/v1/policies", &[], |page| {
        for item in page {
            let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
            let id = text("policy").context("a policy of the server has no id")?;
            let (staged, active) = (text("text"), text("active_text"));
            let same = text("status").as_deref() == Some("active");
            let active = if same { staged.clone() } else { active };
            kept.insert(PolicyId::new(&id)?, Kept { staged, active });
        }
        Ok(true)
    })
    .await?;
    Ok(kept)
}

fn changes<'a>(
    policies: &'a Policies,
    kept: &'a BTreeMap<PolicyId, Kept>,
    staged: bool,
) -> Vec<Change<'a>> {
    let mut changes = BTreeMap::new();
    let on_stage = |id: &PolicyId| kept.get(id).and_then(|kept| kept.staged.as_deref());
    for (policy, (file, text)) in &policies.texts {
        let before = kept.get(policy).and_then(|kept| side(kept, staged));
        if before == Some(text) {
            continue;
        }
        let change = Change {
            policy,
            what: if before.is_some() { "changed" } else { "added" },
            file: Some(file.display().to_string()),
            staged: on_stage(policy) == Some(text),
            hunks: lines::unified(before.unwrap_or_default(), text),
        };
        changes.insert(policy, change);
    }
    for (policy, kept) in kept {
        let Some(before) = side(kept, staged).filter(|_| !policies.texts.contains_key(policy))
        else {
            continue;
        };
        let (what, hunks) = ("removed", lines::unified(before, ""));
        let staged = kept.staged.is_none();
        changes.insert(policy, Change { policy, what, file: None, staged, hunks });
    }
    changes.into_values().collect()
}

impl Change<'_> {
    fn json(&self) -> Value {
        json!({
            "policy": self.policy, "change": self.what, "file": self.file, "staged": self.staged,
            "diff": self.hunks,
        })
    }

    fn text(&self, against: &str) -> String {
        let (id, what) = (self.policy, self.what);
        let staged = if self.staged && against == "active" { ", on the stage already" } else { "" };
        let before =
            if what == "added" { "/dev/null".to_owned() } else { format!("{id} ({against})") };
        let after = self.file.as_deref().map_or("/dev/null".to_owned(), show::harmless);
        let hunks: String =
            self.hunks.lines().map(|line| format!("{}\n", show::harmless(line))).collect();
        format!("policy {id}: {what}{staged}\n--- {before}\n+++ {after}\n{hunks}\n")
    }
}
