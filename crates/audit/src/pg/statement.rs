//! What a client's text is: questions, and the commands around them that clients send without being
//! asked to. These change nothing here, so they are answered and forgotten, and everything else is
//! refused by the guard.

use datafusion::sql::parser::{ResetStatement, Statement};
use datafusion::sql::sqlparser::ast::{
    CloseCursor, Expr, Ident, ObjectName, Set, Statement as Ast, Value,
};

use super::catalog;
use super::fault::Fault;
use crate::error::{Code, Error};
use crate::guard;

/// Statements of one text. Drivers send a handful together, when they take or give back a connection.
const STATEMENTS_MAX: usize = 16;
/// The most operators and joins of a question about the schema: drivers write them longer than people
/// write theirs.
const CATALOG_LINKS_MAX: usize = 400;

/// One statement of a text.
#[derive(Debug, Clone)]
pub(super) enum What {
    Command(Command),
    /// Over the tables, admitted by the guard.
    Question(Statement),
    /// About the schema, admitted by the catalog's own list.
    Catalog(Statement),
}

/// A statement that is answered without a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Begin(&'static str),
    Commit,
    Rollback,
    /// Back to a savepoint, which leaves the transaction open.
    RollbackTo,
    /// Answered with its own name and nothing else.
    Quiet(&'static str),
    Set(Vec<(String, String)>),
    /// One setting, or all.
    Reset(Option<String>),
    Show(String),
    /// Everything that the session holds, and its settings.
    Discard,
    /// One prepared statement, or all.
    Deallocate(Option<String>),
}

/// Reads a text.
///
/// # Errors
/// [`Fault`] with the rule that it breaks.
pub(super) fn read(sql: &str) -> Result<Vec<What>, Fault> {
    let instead = catalog::recognised(sql);
    let sql = instead.as_deref().unwrap_or(sql);
    let (statements, too_deep) = match guard::parsed(sql, guard::LINKS_MAX) {
        Ok(statements) => (statements, None),
        Err(error) if error.code() == Code::TooDeep.as_str() => {
            (guard::parsed(sql, CATALOG_LINKS_MAX)?, Some(error))
        }
        Err(error) => return Err(error.into()),
    };
    if statements.len() > STATEMENTS_MAX {
        return Err(many(statements.len()));
    }
    let count = statements.len();
    let mut whats = Vec::with_capacity(count);
    for statement in statements {
        whats.push(match what(statement)? {
            What::Question(_) if too_deep.is_some() => {
                return Err(too_deep.map_or_else(|| many(count), Fault::from));
            }
            what @ (What::Command(_) | What::Catalog(_) | What::Question(_)) => what,
        });
    }
    if whats.iter().filter(|what| !matches!(what, What::Command(_))).count() > 1 {
        return Err(many(count));
    }
    Ok(whats)
}

fn many(count: usize) -> Fault {
    let message = format!("one question is answered at a time, and here are {count} statements");
    Error::refused(Code::ManyStatements, message).into()
}

/// What `show all` asks.
const SHOW_ALL: &str =
    "select name, setting, short_desc as description from pg_catalog.pg_settings order by name";

fn what(mut statement: Statement) -> Result<What, Fault> {
    match command(&statement)? {
        Some(Command::Show(name)) if name == "all" => {
            let Some(all) = guard::parsed(SHOW_ALL, guard::LINKS_MAX)?.pop_front() else {
                return Err(many(0));
            };
            return Ok(What::Catalog(catalog::admit(all)?));
        }
        Some(command) => return Ok(What::Command(command)),
        None => {}
    }
    if catalog::is_meant(&statement) {
        return Ok(What::Catalog(catalog::admit(statement)?));
    }
    guard::expand(&mut statement)?;
    guard::check_statement(&statement)?;
    Ok(What::Question(statement))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum: others are for the guard")]
fn command(statement: &Statement) -> Result<Option<Command>, Fault> {
    let ast = match statement {
        Statement::Statement(ast) => ast.as_ref(),
        Statement::Reset(ResetStatement::Variable(name)) => {
            let name = setting(name);
            return Ok(Some(Command::Reset((name != "all").then_some(name))));
        }
        _ => return Ok(None),
    };
    Ok(Some(match ast {
        Ast::StartTransaction { begin: true, .. } => Command::Begin("BEGIN"),
        Ast::StartTransaction { .. } => Command::Begin("START TRANSACTION"),
        Ast::Commit { .. } => Command::Commit,
        Ast::Rollback { savepoint: Some(_), .. } => Command::RollbackTo,
        Ast::Rollback { .. } => Command::Rollback,
        Ast::Savepoint { .. } => Command::Quiet("SAVEPOINT"),
        Ast::ReleaseSavepoint { .. } => Command::Quiet("RELEASE"),
        Ast::Close { cursor: CloseCursor::All } => Command::Quiet("CLOSE CURSOR ALL"),
        Ast::UNLISTEN { .. } => Command::Quiet("UNLISTEN"),
        Ast::Discard { .. } => Command::Discard,
        Ast::Deallocate { name, .. } => {
            let name = guard::folded(name);
            Command::Deallocate((name != "all").then_some(name))
        }
        Ast::Set(set) => Command::Set(assignments(set)?),
        Ast::ShowVariable { variable } => Command::Show(shown(variable)),
        _ => return Ok(None),
    }))
}

/// `show transaction isolation level` and `show time zone` name a setting in words.
fn shown(words: &[Ident]) -> String {
    let words: Vec<String> = words.iter().map(guard::folded).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["transaction", "isolation", "level"] => "transaction_isolation".to_owned(),
        ["time", "zone"] => "timezone".to_owned(),
        _ => words.join("."),
    }
}

fn setting(name: &ObjectName) -> String {
    name.to_string().replace('"', "").to_ascii_lowercase()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's enum: what is not listed is refused"
)]
fn assignments(set: &Set) -> Result<Vec<(String, String)>, Fault> {
    match set {
        Set::SingleAssignment { hivevar: false, variable, values, .. } => {
            let values: Vec<String> = values.iter().map(assigned).collect::<Result<_, _>>()?;
            Ok(vec![(setting(variable), values.join(", "))])
        }
        Set::SetTimeZone { value, .. } => Ok(vec![("timezone".to_owned(), assigned(value)?)]),
        Set::SetNames { charset_name, .. } => {
            Ok(vec![("client_encoding".to_owned(), charset_name.value.clone())])
        }
        // What a transaction may do is no more than what any question may: read.
        Set::SetTransaction { snapshot: None, .. } => Ok(Vec::new()),
        other => {
            let shown: String = other.to_string().chars().take(60).collect();
            Err(Fault::new("42501", "pg_setting_refused", format!("`{shown}` is not offered")))
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's enum: what is not listed is refused"
)]
fn assigned(value: &Expr) -> Result<String, Fault> {
    match value {
        Expr::Identifier(word) => Ok(word.value.clone()),
        Expr::Value(value) => Ok(match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        }),
        Expr::UnaryOp { .. } => Ok(value.to_string()),
        _ => {
            Err(Fault::new("22023", "pg_setting_refused", "a setting's value is a word or number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(sql: &str) -> Vec<Command> {
        let command = |what| match what {
            What::Command(command) => command,
            What::Question(_) | What::Catalog(_) => panic!("{sql} is a question"),
        };
        read(sql).unwrap().into_iter().map(command).collect()
    }

    #[test]
    fn what_drivers_send_around_questions_is_known() {
        for sql in [
            "BEGIN",
            "begin read only",
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
            "COMMIT",
            "END",
            "ROLLBACK",
            "ROLLBACK TO SAVEPOINT a",
            "SAVEPOINT a",
            "RELEASE SAVEPOINT a",
            "SET application_name = 'x'",
            "SET extra_float_digits = 3",
            "set client_encoding to 'UTF8'",
            "SET NAMES 'UTF8'",
            "SET search_path TO public, pg_catalog",
            "SET TIME ZONE 'UTC'",
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "SET TRANSACTION READ ONLY",
            "SET statement_timeout = 100",
            "SHOW TRANSACTION ISOLATION LEVEL",
            "SHOW server_version",
            "RESET ALL",
            "RESET statement_timeout",
            "DISCARD ALL",
            "DEALLOCATE ALL",
            "DEALLOCATE \"_pg3_0\"",
            "CLOSE ALL",
            "UNLISTEN *",
        ] {
            assert_eq!(commands(sql).len(), 1, "{sql}");
        }
        let show = commands("show transaction isolation level");
        assert_eq!(show, [Command::Show("transaction_isolation".to_owned())]);
        let path = commands("set search_path to public, pg_catalog");
        let value = "public, pg_catalog".to_owned();
        assert_eq!(path, [Command::Set(vec![("search_path".to_owned(), value)])]);
        assert!(matches!(read("show all").unwrap().as_slice(), [What::Catalog(_)]));
        assert_eq!(commands("begin; set application_name = 'x'; commit").len(), 3);
    }

    #[test]
    fn one_question_among_commands_is_answered_and_no_more() {
        let whats = read("begin; select count(*) from events; commit").unwrap();
        assert!(matches!(
            whats.as_slice(),
            [What::Command(_), What::Question(_), What::Command(_)]
        ));
        for sql in ["select 1; select 2", "select * from events; select version()"] {
            let fault = read(sql).unwrap_err();
            assert_eq!((fault.state, fault.code), ("42601", "sql_many_statements"), "{sql}");
        }
        assert_eq!(read(&"begin;".repeat(17)).unwrap_err().code, "sql_many_statements");
    }

    #[test]
    fn what_would_change_something_is_refused() {
        for (sql, state, code) in [
            ("set role admin", "42501", "pg_setting_refused"),
            ("set session authorization admin", "42501", "pg_setting_refused"),
            ("copy events to '/tmp/x'", "42501", "sql_not_a_read"),
            ("copy events to stdout", "42601", "sql_syntax"),
            ("create table x (a int)", "42501", "sql_not_a_read"),
            ("drop table events", "42501", "sql_not_a_read"),
            ("delete from events", "42501", "sql_not_a_read"),
            ("prepare x as select 1", "42501", "sql_not_a_read"),
            ("declare c cursor for select 1", "42501", "sql_not_a_read"),
            ("listen x", "42501", "sql_not_a_read"),
            ("begin; drop table events; commit", "42501", "sql_not_a_read"),
            ("select pg_read_file('/etc/passwd')", "42501", "sql_function_refused"),
            ("select * from nothing", "42P01", "sql_table_unknown"),
            ("selec 1", "42601", "sql_syntax"),
        ] {
            let fault = read(sql).unwrap_err();
            assert_eq!((fault.state, fault.code), (state, code), "{sql}: {}", fault.message);
        }
    }
}
