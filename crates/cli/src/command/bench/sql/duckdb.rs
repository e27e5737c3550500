//! The same questions to DuckDB, over the same files, through its Python package.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use bailiwick_audit::named::Named;
use bailiwick_audit::{Audit, Parameters, Settings};
use serde_json::{Value, json};

use super::Args;

const SCRIPT: &str = include_str!("duckdb.py");

/// Seconds and rows of each question; none when no DuckDB is there.
pub(super) fn ask(
    dir: &Path,
    asked: &[(&'static str, Parameters)],
    threads: usize,
    args: &Args,
) -> Result<Option<BTreeMap<String, (f64, u64)>>> {
    let found = Command::new(&args.python)
        .args(["-c", "import duckdb"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !found.is_ok_and(|status| status.success()) {
        return Ok(None);
    }
    let questions: Vec<Value> = asked
        .iter()
        .map(|(name, given)| {
            let named = Named::find(name).context("every question is in the book")?;
            let parameters: BTreeMap<&str, Value> = named
                .parameters
                .iter()
                .map(|taken| {
                    let value = given.get(&taken.name).cloned();
                    let preset = || taken.default.as_ref().map_or(Value::Null, |d| d.text().into());
                    let kind = taken.kind.as_str();
                    (
                        taken.name.as_str(),
                        json!({"type": kind, "value": value.unwrap_or_else(preset)}),
                    )
                })
                .collect();
            Ok(json!({"name": name, "sql": named.sql, "parameters": parameters}))
        })
        .collect::<Result<_>>()?;
    let told = json!({
        "dir": dir,
        "threads": threads,
        "runs": args.runs,
        "revocations": revocations(dir)?,
        "questions": questions,
    });
    let mut python = Command::new(&args.python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start Python")?;
    python.stdin.take().context("Python has an input")?.write_all(told.to_string().as_bytes())?;
    let answered = python.wait_with_output()?;
    if !answered.status.success() {
        bail!("DuckDB did not answer");
    }
    Ok(Some(serde_json::from_slice(&answered.stdout)?))
}

/// The rows of the one table that is in memory only, as objects.
fn revocations(dir: &Path) -> Result<Vec<Value>> {
    let audit = Audit::with_archive(Settings { threads: 1, at_once: 1 }, super::archiving(dir))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let table = runtime.block_on(audit.run("select * from revocations", &super::LIMITS))?;
    let row = |row: Vec<Value>| {
        let named = table.columns.iter().map(|column| column.name.clone()).zip(row);
        Value::Object(named.collect())
    };
    Ok(table.rows.into_iter().map(row).collect())
}
