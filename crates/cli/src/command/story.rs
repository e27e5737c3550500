//! `bailiwick story`: what happened to one agent, in order, and why.

use std::fs;

use anyhow::{Context as _, Result};
use bailiwick_audit::named::{Kind, Named};
use bailiwick_audit::{Parameters, Question, Table};
use serde_json::{Value, json};

use super::sql;
use crate::args;
use crate::exit::usage;
use crate::show;
use crate::show::json::text;

mod page;

/// The named question that it is the answer to.
const QUESTION: &str = "agent-story";

pub(super) fn run(args: &args::Story) -> Result<()> {
    let named = Named::find(QUESTION).context("the question is not built in")?;
    let mut given = Parameters::from([("agent".to_owned(), args.agent.as_str().into())]);
    for (name, flag, moment) in [("since", "--from", &args.from), ("until", "--to", &args.to)] {
        if let Some(moment) = moment {
            let read = Kind::Timestamptz.read(moment);
            let value = read.map_err(|wanted| usage(format!("`{flag}` has to be {wanted}")))?;
            given.insert(name.to_owned(), value);
        }
    }
    let table = sql::ask(&args.access, &Question::Named(named, &given))?;
    let steps = steps(&table);
    if let Some(file) = &args.html {
        let page = page::page(args.agent.as_str(), &steps, table.as_of_seq);
        fs::write(file, page).with_context(|| format!("cannot write `{}`", file.display()))?;
        show::note(&format!("{} steps are in `{}`", steps.len(), file.display()));
        return Ok(());
    }
    if args.access.json {
        let told: Vec<Value> = steps.iter().map(Step::json).collect();
        let agent = args.agent.as_str();
        let told = json!({"agent": agent, "steps": told, "as_of_seq": table.as_of_seq});
        return Ok(show::line(&told.to_string())?);
    }
    if steps.is_empty() {
        show::note(&format!("nothing happened to `{}` then", args.agent));
    }
    let rows = steps.iter().map(|step| {
        vec![step.cell("ts"), step.cell("kind"), show::harmless(&step.what), step.because()]
    });
    let titles = ["when", "event", "what", "why"];
    if !steps.is_empty() {
        show::line(&show::table::table(&titles, rows.collect()))?;
    }
    Ok(())
}

/// One step of a story: a row of the answer, by its columns' names, and what it says in words.
pub(super) struct Step<'a> {
    cells: Vec<(&'a str, &'a Value)>,
    what: String,
}

fn steps(table: &Table) -> Vec<Step<'_>> {
    let names = || table.columns.iter().map(|column| column.name.as_str());
    let step = |row| {
        let mut step = Step { cells: names().zip(row).collect(), what: String::new() };
        step.what = step.words();
        step
    };
    table.rows.iter().map(step).collect()
}

impl Step<'_> {
    /// A cell as people read it; nothing where there is none.
    fn cell(&self, name: &str) -> String {
        let cell = self.cells.iter().find(|(column, _)| *column == name);
        cell.map(|(_, value)| text(value)).unwrap_or_default()
    }

    fn is(&self, kind: &str) -> bool {
        self.cell("kind") == kind
    }

    /// What happened, from the cells that are there.
    fn words(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        let mut say = |before: &str, cell: &str| {
            let value = self.cell(cell);
            if !value.is_empty() {
                words.push(format!("{before}{value}"));
            }
        };
        for (before, cell) in [
            ("", "decision"),
            ("", "outcome"),
            ("", "action"),
            ("on ", "resource"),
            ("under ", "grant_id"),
            ("for ", "approval_id"),
            ("by ", "approver_id"),
            ("of ", "cause_seq"),
            ("good until ", "valid_to"),
            ("ended by ", "ended_by"),
        ] {
            say(before, cell);
        }
        words.join(" ")
    }

    /// Why: the code, the policies that said so, and words that somebody gave.
    fn because(&self) -> String {
        let reasons = [("reason", ""), ("rule_ids", "policy "), ("why", "")];
        let reasons = reasons.into_iter().filter_map(|(cell, before)| {
            let value = self.cell(cell);
            (!value.is_empty()).then(|| format!("{before}{value}"))
        });
        reasons.collect::<Vec<_>>().join("; ")
    }

    fn json(&self) -> Value {
        let cells = self.cells.iter().filter(|(_, value)| !value.is_null());
        let mut told: serde_json::Map<String, Value> =
            cells.map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect();
        told.insert("what".to_owned(), self.what.clone().into());
        told.into()
    }
}
