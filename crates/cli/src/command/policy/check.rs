//! `bailiwick policy check`: what an activation of these files would say, without a server.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use bailiwick_core::id::Action;
use serde_json::json;

use super::files::{Fault, Policies};
use super::plural;
use crate::show;

pub(super) fn run(files: &[PathBuf], schemas: &[(Action, PathBuf)], json: bool) -> Result<()> {
    let mut policies = Policies::read(files)?;
    policies.read_schemas(schemas.iter().map(|(action, file)| (action, file.as_path())))?;
    let set = policies.compile();
    let hash =
        set.as_ref().filter(|_| policies.faults.is_empty()).map(|set| hex::encode(set.hash()));
    let faults = &policies.faults;
    if json {
        let told = json!({
            "valid": faults.is_empty(), "policies": policies.texts.len(), "hash": hash,
            "faults": faults.iter().map(Fault::json).collect::<Vec<_>>(),
        });
        show::line(&told.to_string())?;
    } else {
        faults.iter().try_for_each(|fault| show::line(&fault.line()))?;
        if let Some(hash) = hash {
            let valid = plural(policies.texts.len(), "policy is", "policies are");
            show::line(&format!("{valid} valid, the hash of the set is {hash}"))?;
        }
    }
    found(faults)
}

/// Ends with an error when there are faults; they were told.
pub(super) fn found(faults: &[Fault]) -> Result<()> {
    match faults.len() {
        0 => Ok(()),
        faults => Err(anyhow!("{} found", plural(faults, "fault was", "faults were"))),
    }
}
