//! Questions one by one, at a terminal.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use bailiwick_audit::named::Named;
use bailiwick_audit::{Form, Parameters, Question};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::complete::{FORMATS, Words};
use super::source::Source;
use super::{form, rows, table};
use crate::args::Format;
use crate::command::query;
use crate::config::variable;
use crate::show;

const PROMPT: &str = "bailiwick> ";
const HISTORY_MAX: usize = 1_000;
const TABLES: &str = "select table_name, count(*) as columns from information_schema.columns \
    where table_schema = 'public' group by table_name order by table_name";
const COLUMNS: &str = "select table_name, column_name, data_type, is_nullable \
    from information_schema.columns \
    where table_schema = 'public' order by table_name, ordinal_position";
const HELP: &str = r"A question in SQL ends with `;` and may have several lines. Ctrl-C breaks off.
  \dt              list tables
  \d TABLE         list a table's columns
  \dq              list named questions
  \run NAME [A=B]  ask a named question
  \format FORMAT   show answers as table, csv or json
  \timing          say how long answers take, or stop saying so
  \?               show this
  \q               end (also Ctrl-D)";

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Nothing,
    Question(&'a str),
    Tables,
    Columns(&'a str),
    NamedQuestions,
    Run(&'a str, Vec<(String, String)>),
    Format(&'a str),
    Timing,
    Help,
    End,
    Unknown(&'a str),
}

struct Shell {
    source: Source,
    format: Format,
    timing: bool,
    values: Parameters,
}

/// Asks what is typed, until the end.
pub(super) fn run(source: Source, format: Format, values: Parameters) -> Result<()> {
    source.outlive_interrupts();
    let mut shell = Shell { source, format, timing: false, values };
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_MAX)?
        .history_ignore_dups(true)?
        .auto_add_history(true)
        .build();
    let mut editor = Editor::<Words, FileHistory>::with_config(config)?;
    editor.set_helper(Some(shell.words()));
    let history = history();
    if let Some(path) = &history {
        // There is none the first time.
        let _ = editor.load_history(path);
    }
    shell.source.say_what_was_read();
    show::line(r"Ask in SQL; `\?` helps, `\q` ends.")?;
    loop {
        match editor.readline(PROMPT) {
            Ok(typed) => match shell.answer(read(&typed)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => show::note(&format!("error: {error:#}")),
            },
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(path) = &history
        && let Err(error) = editor.save_history(path)
    {
        show::note(&format!("what was asked is not remembered in `{}`: {error}", path.display()));
    }
    Ok(())
}

/// Where what was asked is remembered: the user's directory for such things.
fn history() -> Option<PathBuf> {
    let state = variable("XDG_STATE_HOME").map(PathBuf::from);
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let dir = state.or_else(home)?.join("bailiwick");
    std::fs::create_dir_all(&dir).ok()?;
    Some(dir.join("sql_history"))
}

fn read(typed: &str) -> Typed<'_> {
    let typed = typed.trim();
    let Some(command) = typed.strip_prefix('\\') else {
        return if typed.is_empty() { Typed::Nothing } else { Typed::Question(typed) };
    };
    let mut words = command.trim_end_matches(';').split_whitespace();
    let word = words.next().unwrap_or_default();
    match (word, words.next()) {
        ("q", None) => Typed::End,
        ("?" | "h" | "help", None) => Typed::Help,
        ("dt" | "d", None) => Typed::Tables,
        ("d", Some(table)) => Typed::Columns(table),
        ("dq", None) => Typed::NamedQuestions,
        ("timing", None) => Typed::Timing,
        ("format", Some(format)) => Typed::Format(format),
        ("run", Some(name)) => {
            let given = words.map(|word| word.split_once('=').unwrap_or((word, "")));
            Typed::Run(name, given.map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
        }
        _ => Typed::Unknown(typed),
    }
}

impl Shell {
    /// What there is to complete, as far as it can be found out.
    fn words(&mut self) -> Words {
        let none = Parameters::new();
        let asked = self.source.ask(&Question::Sql(COLUMNS, &none), Form::Json);
        match asked.and_then(|answer| table(&answer)) {
            Ok(found) => Words::new(found.rows.iter().filter_map(|row| {
                Some((row.first()?.as_str()?.to_owned(), row.get(1)?.as_str()?.to_owned()))
            })),
            Err(error) => {
                show::note(&format!("tables are not completed: {error:#}"));
                Words::default()
            }
        }
    }

    /// Answers what was typed. False ends it all.
    fn answer(&mut self, typed: Typed<'_>) -> Result<bool> {
        match typed {
            Typed::Nothing => {}
            Typed::End => return Ok(false),
            Typed::Help => show::line(HELP)?,
            Typed::Question(sql) => {
                let values = std::mem::take(&mut self.values);
                let told = self.tell(&Question::Sql(sql, &values));
                self.values = values;
                told?;
            }
            Typed::Tables => self.tell(&Question::Sql(TABLES, &Parameters::new()))?,
            Typed::Columns(table) => {
                let sql = "select column_name, data_type, is_nullable \
                    from information_schema.columns \
                    where table_schema = 'public' and table_name = $table order by ordinal_position";
                let values = Parameters::from([("table".to_owned(), table.into())]);
                self.tell(&Question::Sql(sql, &values))?;
            }
            Typed::NamedQuestions => {
                let rows = Named::all().iter().map(|n| vec![n.name.into(), n.question.clone()]);
                show::line(&show::table::table(&["name", "question"], rows.collect()))?;
            }
            Typed::Run(name, given) => {
                let named = query::find(name)?;
                let given = query::read(named, &given)?;
                self.tell(&Question::Named(named, &given))?;
            }
            Typed::Format(format) => self.set_format(format),
            Typed::Timing => {
                self.timing = !self.timing;
                show::note(if self.timing { "timing is on" } else { "timing is off" });
            }
            Typed::Unknown(typed) => {
                show::note(&format!(r"`{}` is no command; `\?` lists them", show::harmless(typed)));
            }
        }
        Ok(true)
    }

    fn set_format(&mut self, format: &str) {
        self.format = match format {
            "table" => Format::Table,
            "csv" => Format::Csv,
            "json" => Format::Json,
            _ => {
                show::note(&format!("answers are shown as one of {}", FORMATS.join(", ")));
                return;
            }
        };
    }

    fn tell(&mut self, question: &Question<'_>) -> Result<()> {
        let begun = Instant::now();
        let answer = self.source.ask_until_interrupted(question, form(self.format))?;
        let took = begun.elapsed();
        let Some(answer) = answer else {
            show::note("broken off");
            return Ok(());
        };
        match self.format {
            Format::Table => {
                let answer = table(&answer)?;
                let count = answer.rows.len();
                let plural = if count == 1 { "row" } else { "rows" };
                show::line(&format!("{}\n({count} {plural})", rows(&answer, 0)))?;
            }
            Format::Csv | Format::Json | Format::Parquet => {
                let text = String::from_utf8_lossy(&answer);
                show::line(text.trim_end())?;
            }
        }
        if self.timing {
            show::note(&format!("{} ms", took.as_millis()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_a_question_or_a_command() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (typed, expected) in [
            ("  ", Typed::Nothing),
            ("select 1;", Typed::Question("select 1;")),
            ("\\q", Typed::End),
            ("\\dt", Typed::Tables),
            ("\\d", Typed::Tables),
            ("\\d calls;", Typed::Columns("calls")),
            ("\\?", Typed::Help),
            ("\\timing", Typed::Timing),
            ("\\format csv", Typed::Format("csv")),
            ("\\dq", Typed::NamedQuestions),
            ("\\run who-touched", Typed::Run("who-touched", vec![])),
            ("\\run x a=b=c d", Typed::Run("x", vec![pair("a", "b=c"), pair("d", "")])),
            ("\\quit now", Typed::Unknown("\\quit now")),
            ("\\format", Typed::Unknown("\\format")),
        ] {
            assert_eq!(read(typed), expected, "{typed}");
        }
    }
}
