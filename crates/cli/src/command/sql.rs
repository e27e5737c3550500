//! `bailiwick sql`.

use anyhow::{Context as _, Result};
use bailiwick_audit::named;
use bailiwick_audit::{Audit, Column, Limits, Parameters, Settings, Table};
use bailiwick_ledger::Committed;
use serde::Deserialize;
use serde_json::{Value, json};

use super::offline::{self, Stopped};
use crate::args::{self, Access, Format};
use crate::config::{Surroundings, variable};
use crate::service::cores;
use crate::show::progress::{Progress, Unit};
use crate::show::{self, json::text, table::indented};
use crate::verify::{self, Bodies, KeyRing, Walk};

/// An answer as it stands on the wire.
#[derive(Deserialize)]
struct Answer {
    columns: Vec<Named>,
    rows: Vec<Vec<Value>>,
    as_of_seq: Option<u64>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    r#type: String,
}

/// What is asked.
pub(super) enum Question<'a> {
    Sql(&'a str),
    Named(&'static named::Named, &'a Parameters),
}

pub(super) fn run(args: &args::Sql) -> Result<()> {
    let format = if args.access.json { Format::Json } else { args.format };
    let asked = ask(&args.access, &Question::Sql(&args.sql), || {
        ("/v1/sql".to_owned(), json!({"sql": args.sql}))
    });
    tell(&asked?, format)
}

/// Asks a stopped ledger, or a server with `request`: a path and a body.
pub(super) fn ask(
    access: &Access,
    question: &Question<'_>,
    request: impl FnOnce() -> (String, Value),
) -> Result<Table> {
    // A directory that was named, and no server: the ledger is read where it lies.
    if let (Some(dir), None) = (&access.data, &access.url) {
        let stopped = offline::open(dir, None)?;
        let answer = ask_stopped(&stopped, question)?;
        show::note("read from the stopped ledger, chain verified; the question is not recorded");
        return Ok(answer);
    }
    let around = Surroundings::read(access.config.as_deref(), &variable)?;
    let http = bailiwick_client::discover::discover(&around.sources(access))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (path, body) = request();
    read(runtime.block_on(http.post(&path, &body))?)
}

/// An answer from the wire as the tables gave it.
pub(crate) fn read(answer: Value) -> Result<Table> {
    let answer: Answer = serde_json::from_value(answer).context("the answer is no table")?;
    let column = |Named { name, r#type }| Column { name, kind: r#type };
    Ok(Table {
        columns: answer.columns.into_iter().map(column).collect(),
        rows: answer.rows,
        as_of_seq: answer.as_of_seq,
    })
}

/// Verifies a stopped ledger into tables and asks them.
fn ask_stopped(stopped: &Stopped, question: &Question<'_>) -> Result<Table> {
    let threads = cores().get();
    let audit = Audit::new(Settings { threads, at_once: 1 })?;
    let key = stopped.key(None)?;
    let mut progress = Progress::new("reading", Unit::Entries, Some(stopped.head));
    let walk = Walk::new(KeyRing::new(&key.key)?, Bodies::Present, threads);
    verify::log(stopped.reader.as_ref(), walk, |entries| {
        for bytes in entries {
            let entry = Committed::decode(bytes.clone())?;
            audit.ingest(entry.number, &entry.events)?;
            progress.at(entry.number);
        }
        Ok(())
    })
    .map_err(super::verify::told_of)?;
    drop(progress);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limits = Limits::INTERACTIVE;
    let answer = match question {
        Question::Sql(sql) => runtime.block_on(audit.run(sql, &limits)),
        Question::Named(named, given) => runtime.block_on(audit.run_named(named, given, &limits)),
    };
    answer.map_err(|error| {
        let code = error.code();
        anyhow::Error::from(error).context(code)
    })
}

pub(super) fn tell(answer: &Table, format: Format) -> Result<()> {
    match format {
        Format::Json => show::line(&serde_json::to_string(answer)?)?,
        Format::Csv => show::raw(&answer.csv())?,
        Format::Table => show::line(&rows(answer, 0))?,
    }
    Ok(())
}

/// An answer as a table for people, with so many columns of the terminal left free.
pub(crate) fn rows(answer: &Table, indent: u16) -> String {
    let titles: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    let rows = answer.rows.iter().map(|row| row.iter().map(text).collect());
    indented(&titles, rows.collect(), indent)
}
