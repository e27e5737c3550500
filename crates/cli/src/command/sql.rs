//! `bailiwick sql`.

use std::fs;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use anyhow::{Context as _, Result};
use bailiwick_audit::{Column, Form, Parameters, Question, Table, write_parquet};
use serde::Deserialize;
use serde_json::Value;

use crate::args::{self, Access, Format, Shown};
use crate::exit::usage;
use crate::show::{self, json::text, table::indented};
use source::Source;

mod complete;
mod shell;
mod source;

/// The most bytes of a question that are read; the server takes less.
const TEXT_BYTES_MAX: u64 = 1_024 * 1_024;

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

pub(super) fn run(args: args::Sql) -> Result<()> {
    let shown = checked(&args.access, args.shown)?;
    let values = values(&args.params)?;
    let sql = match (args.sql.as_deref(), &args.file) {
        (Some("-"), _) => read_text("standard input", io::stdin())?,
        (Some(sql), _) => sql.to_owned(),
        (None, Some(file)) if file.as_os_str() == "-" => read_text("standard input", io::stdin())?,
        (None, Some(file)) => read_file(file)?,
        (None, None) if io::stdin().is_terminal() => {
            if shown.output.is_some() {
                return Err(usage("questions at a terminal are answered there: give one to write"));
            }
            return shell::run(Source::open(&args.access)?, shown.format, values);
        }
        (None, None) => read_text("standard input", io::stdin())?,
    };
    if sql.trim().is_empty() {
        return Err(usage("there is no question"));
    }
    answer_one(&args.access, &Question::Sql(&sql, &values), &shown)
}

/// How an answer is to be shown, if that can be.
pub(super) fn checked(access: &Access, shown: Shown) -> Result<Shown> {
    let format = if access.json { Format::Json } else { shown.format };
    if format == Format::Parquet && shown.output.is_none() {
        return Err(usage("Parquet is no text: name a file with `--output FILE`"));
    }
    Ok(Shown { format, ..shown })
}

fn read_file(path: &Path) -> Result<String> {
    let what = format!("`{}`", path.display());
    let file = fs::File::open(path).with_context(|| format!("cannot read {what}"))?;
    read_text(&what, file)
}

fn read_text(what: &str, from: impl Read) -> Result<String> {
    let mut text = String::new();
    let read = from.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.with_context(|| format!("cannot read {what}"))?;
    if bytes as u64 > TEXT_BYTES_MAX {
        return Err(usage(format!("{what} has more than {TEXT_BYTES_MAX} bytes: no question")));
    }
    Ok(text)
}

/// Values for placeholders, each of the type that it reads as.
fn values(params: &[(String, String)]) -> Result<Parameters> {
    let mut values = Parameters::new();
    for (name, text) in params {
        if values.insert(name.clone(), value(text)).is_some() {
            return Err(usage(format!("the parameter `{name}` is given twice")));
        }
    }
    Ok(values)
}

fn value(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Array(_) | Value::Object(_)) | Err(_) => text.into(),
        Ok(value) => value,
    }
}

/// Asks one question and shows its answer.
pub(super) fn answer_one(access: &Access, question: &Question<'_>, shown: &Shown) -> Result<()> {
    let mut source = Source::open(access)?;
    let bytes = source.ask(question, form(shown.format))?;
    let answer = told(&bytes, shown.format)?;
    source.say_what_was_read();
    match &shown.output {
        None => show::raw(&String::from_utf8_lossy(&answer))?,
        Some(file) => {
            fs::write(file, answer)
                .with_context(|| format!("cannot write `{}`", file.display()))?;
            show::note(&format!("the answer is in `{}`", file.display()));
        }
    }
    Ok(())
}

/// The form in which an answer is asked for, to be shown in this format.
const fn form(format: Format) -> Form {
    match format {
        Format::Table | Format::Json => Form::Json,
        Format::Csv => Form::Csv,
        Format::Parquet => Form::Arrow,
    }
}

/// An answer of the right form in this format.
fn told(answer: &[u8], format: Format) -> Result<Vec<u8>> {
    match format {
        Format::Csv => Ok(answer.to_vec()),
        Format::Json => Ok([answer, b"\n"].concat()),
        Format::Table => Ok(format!("{}\n", rows(&table(answer)?, 0)).into_bytes()),
        Format::Parquet => {
            let mut file = Vec::new();
            write_parquet(answer, &mut file).context("the answer does not become a file")?;
            Ok(file)
        }
    }
}

/// Asks one question for a table of plain values.
pub(super) fn ask(access: &Access, question: &Question<'_>) -> Result<Table> {
    let mut source = Source::open(access)?;
    let table = table(&source.ask(question, Form::Json)?)?;
    source.say_what_was_read();
    Ok(table)
}

fn table(answer: &[u8]) -> Result<Table> {
    read(serde_json::from_slice(answer).context("the answer is no JSON")?)
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

/// An answer as a table for people, with so many columns of the terminal left free.
pub(crate) fn rows(answer: &Table, indent: u16) -> String {
    let titles: Vec<&str> = answer.columns.iter().map(|column| column.name.as_str()).collect();
    let rows = answer.rows.iter().map(|row| row.iter().map(text).collect());
    indented(&titles, rows.collect(), indent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_what_it_reads_as() {
        for (text, expected) in [
            ("5", json!(5)),
            ("-1.5", json!(-1.5)),
            ("true", json!(true)),
            ("null", json!(null)),
            ("\"5\"", json!("5")),
            ("support-bot", json!("support-bot")),
            ("2026-01-01", json!("2026-01-01")),
            ("[1]", json!("[1]")),
            ("", json!("")),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        let twice = [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert!(values(&twice).is_err());
    }
}
