//! The guard: what of SQL is answered at all, decided before anything is planned.
//!
//! Three layers, each enough against most of what it stops and none against all of it:
//!
//! 1. [`admit`]: bounded text, exactly one statement, and a syntax tree in which everything is on
//!    a list: kinds of statement, clauses, tables, functions.
//! 2. [`verify`]: the plan that comes of it writes nothing and sets nothing.
//!    [`verify_sorts`]: and its sorts keep no more than an answer may have.
//! 3. The session (`session.rs`) has nothing else in it: no other tables, functions, files or
//!    object stores.

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select, SetExpr,
    Statement as Ast, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use self::readings::Readings;
use crate::error::{Code, Error};
use crate::session::VERIFY_CHAIN;
use crate::store::TABLES;

pub(crate) mod functions;
mod made;
mod readings;
mod reads;

/// The most bytes that a question may have.
pub const TEXT_BYTES_MAX: usize = 64 * 1_024;
/// The most operators, joins, casts and the like: each may add a level to the syntax tree, which
/// is walked by recursion, and planned in time that grows with more than the square of its depth.
pub const LINKS_MAX: usize = 250;
/// The deepest that brackets may nest.
pub const BRACKETS_MAX: usize = 40;
/// The most tokens that parser and planner may read, as [`Readings`] counts them.
const READINGS_MAX: u64 = 1 << 18;
/// The deepest that the parser recurses.
pub const RECURSION_MAX: usize = 60;
/// The deepest that queries with a `with` clause may nest: the planner visits each of their parts
/// twice as often as the level above.
pub const WITH_DEPTH_MAX: usize = 3;

/// The most arguments of a function, as `PostgreSQL` has it.
pub(crate) const ARGUMENTS_MAX: usize = 100;
/// The most columns that one `select` may name, as `PostgreSQL` has it.
pub(crate) const COLUMNS_MAX: usize = 1_664;
/// The most tables that a question may read, a query that is named in a `with` clause counted as
/// often as it is read: the planner plans it so often.
pub(crate) const TABLES_MAX: usize = LINKS_MAX;

/// Functions whose values grow from row to row, so that a window of them has no bound.
const GROWING: [&str; 2] = ["array_agg", "string_agg"];

/// What `information_schema` may be asked for.
const SCHEMA_TABLES: [&str; 3] = ["tables", "columns", "schemata"];

type Refusal = ControlFlow<Error>;

/// Parses a question and lets it pass if it only reads what there is to read.
///
/// # Errors
/// [`Error::Refused`] with the rule that it breaks.
pub(crate) fn admit(sql: &str) -> Result<Statement, Error> {
    let mut statements = parsed(sql, LINKS_MAX)?;
    if statements.len() > 1 {
        let message =
            format!("one statement is answered at a time, and here are {}", statements.len());
        return Err(Error::refused(Code::ManyStatements, message));
    }
    let Some(mut statement) = statements.pop_front() else {
        return Err(Error::refused(Code::ManyStatements, "there is no statement"));
    };
    expand(&mut statement)?;
    check_statement(&statement)?;
    Ok(statement)
}

/// The statements of a bounded text, whatever they do.
///
/// # Errors
/// [`Error::Refused`] when it is too long, too deep, or not SQL.
pub(crate) fn parsed(sql: &str, links_max: usize) -> Result<VecDeque<Statement>, Error> {
    let tokens = measured(sql, links_max)?;
    let parser = DFParserBuilder::new(tokens)
        .with_dialect(&PostgreSqlDialect {})
        .with_recursion_limit(RECURSION_MAX)
        .build();
    parser
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|e| unparsed(&e.strip_backtrace()))
}

/// Lets a plan pass that writes nothing and sets nothing.
///
/// # Errors
/// [`Error::Refused`] as not a read.
pub(crate) fn verify(plan: &LogicalPlan) -> Result<(), Error> {
    let options =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| not_a_read("this statement"))
}

/// Lets a plan pass whose sorts keep no more rows than an answer may have: what a sort keeps for a
/// `limit` cannot go to disk.
///
/// # Errors
/// [`Error::Refused`] with how many rows it would keep.
pub(crate) fn verify_sorts(plan: &Arc<dyn ExecutionPlan>, rows_max: usize) -> Result<(), Error> {
    let kept = plan.downcast_ref::<SortExec>().and_then(SortExec::fetch);
    if let Some(kept) = kept.filter(|kept| *kept > rows_max) {
        let message = format!(
            "`order by` with a `limit` of {kept} rows: at most {rows_max} are kept in order; \
             name a range instead, or leave the order to whoever reads the answer"
        );
        return Err(Error::refused(Code::LimitTooLarge, message));
    }
    plan.children().into_iter().try_for_each(|child| verify_sorts(child, rows_max))
}

pub(crate) fn not_a_read(what: &str) -> Error {
    let message = format!(
        "{what} is not a read: only `select`, `explain`, `show tables`, `show columns` and \
         `describe` are answered"
    );
    Error::refused(Code::NotARead, message)
}

fn unparsed(why: &str) -> Error {
    let why: String = why.chars().take(500).collect();
    if why.contains("RecursionLimitExceeded") {
        return too_deep("the statement nests deeper than it may");
    }
    Error::refused(Code::Syntax, why)
}

fn too_deep(message: impl Into<String>) -> Error {
    Error::refused(Code::TooDeep, message)
}

/// The text as tokens, if it is short and flat enough to be parsed without recursing far.
fn measured(
    sql: &str,
    links_max: usize,
) -> Result<Vec<datafusion::sql::sqlparser::tokenizer::TokenWithSpan>, Error> {
    if sql.len() > TEXT_BYTES_MAX {
        let message =
            format!("the question has {} bytes, at most {TEXT_BYTES_MAX} are read", sql.len());
        return Err(Error::refused(Code::TooLong, message));
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|e| unparsed(&e.to_string()))?;
    let (mut depth, mut links, mut readings) = (0usize, 0usize, Readings::default());
    for token in &tokens {
        match bracket(&token.token) {
            1 => depth += 1,
            -1 => depth = depth.saturating_sub(1),
            _ => {}
        }
        if readings.with(&token.token) > READINGS_MAX {
            return Err(too_deep(
                "calls and subqueries nest too deep; name what they make in a `with` clause",
            ));
        }
        if depth > BRACKETS_MAX {
            return Err(too_deep(format!("brackets may nest {BRACKETS_MAX} deep")));
        }
        links += usize::from(is_link(&token.token));
    }
    if links > links_max {
        return Err(too_deep(format!(
            "the statement chains {links} operators, at most {links_max} are read; `in (…)` takes \
             any number of values"
        )));
    }
    Ok(tokens)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the tokenizer's enum, not ours")]
const fn bracket(token: &Token) -> i8 {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => 1,
        Token::RParen | Token::RBracket | Token::RBrace => -1,
        _ => 0,
    }
}

/// Whether a token may add a level to the syntax tree. Everything counts that is not known to be
/// flat: names, values, commas and white space.
#[expect(clippy::wildcard_enum_match_arm, reason = "the tokenizer's enum, not ours")]
const fn is_link(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::JOIN
                | Keyword::CASE
                | Keyword::EXISTS
                | Keyword::SELECT
                | Keyword::WITH
                | Keyword::DIV
                | Keyword::XOR
                | Keyword::OPERATOR
                | Keyword::NOTNULL
        ),
        Token::EOF
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::RBrace => false,
        _ => true,
    }
}

/// Puts their questions in the place of calls of functions that are made of them, see [`made`]. Has
/// to be done before a statement is checked.
///
/// # Errors
/// [`Error::Refused`] when one is called with something else than it takes.
pub(crate) fn expand(statement: &mut Statement) -> Result<(), Error> {
    ast_of(statement).map_or(Ok(()), made::expand)
}

/// The syntax tree of a statement that may be a query.
pub(crate) fn ast_of(statement: &mut Statement) -> Option<&mut Ast> {
    match statement {
        Statement::Statement(ast) => Some(ast),
        Statement::Explain(explain) => match explain.statement.as_mut() {
            Statement::Statement(ast) => Some(ast),
            Statement::Explain(_)
            | Statement::CopyTo(_)
            | Statement::CreateExternalTable(_)
            | Statement::Reset(_) => None,
        },
        Statement::CopyTo(_) | Statement::CreateExternalTable(_) | Statement::Reset(_) => None,
    }
}

pub(crate) fn check_statement(statement: &Statement) -> Result<(), Error> {
    match statement {
        Statement::Statement(ast) => check_ast(ast),
        Statement::Explain(explain) => match explain.statement.as_ref() {
            Statement::Statement(ast) if matches!(ast.as_ref(), Ast::Query(_)) => check_ast(ast),
            Statement::Statement(_)
            | Statement::Explain(_)
            | Statement::CopyTo(_)
            | Statement::CreateExternalTable(_)
            | Statement::Reset(_) => Err(not_a_read("`explain` of anything but a query")),
        },
        Statement::CopyTo(_) => Err(not_a_read("`copy`")),
        Statement::CreateExternalTable(_) => Err(not_a_read("`create external table`")),
        Statement::Reset(_) => Err(not_a_read("`reset`")),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the parser's enum: what is not listed is refused"
)]
fn check_ast(ast: &Ast) -> Result<(), Error> {
    match ast {
        Ast::Query(_)
        | Ast::ShowTables { .. }
        | Ast::ShowColumns { .. }
        | Ast::ExplainTable { .. } => {}
        other => {
            let verb: String =
                other.to_string().split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            let verb: String = verb.to_lowercase().chars().take(40).collect();
            return Err(not_a_read(&format!("`{verb}`")));
        }
    }
    check_query(ast, &Lists { table: is_table, function: functions::is_offered })
}

/// What a question may name.
pub(crate) struct Lists {
    /// Whether there is a table of this name, whose parts stand one by one.
    pub(crate) table: fn(&[&str]) -> bool,
    /// Whether a function of this name, in lower case, may be called.
    pub(crate) function: fn(&str) -> bool,
}

/// Lets a query pass in which everything is on a list.
///
/// # Errors
/// [`Error::Refused`] with the first thing that is not.
pub(crate) fn check_query(ast: &Ast, lists: &Lists) -> Result<(), Error> {
    let mut names = CteNames::default();
    let ControlFlow::Continue(()) = ast.visit(&mut names);
    let mut walk = Walk { ctes: names.0, with_depth: 0, lists };
    match ast.visit(&mut walk) {
        ControlFlow::Continue(()) => reads::check(ast),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Whether a name is that of a table, or of a view of what there is.
fn is_table(parts: &[&str]) -> bool {
    match parts {
        [name]
        | [crate::session::SCHEMA, name]
        | [crate::session::CATALOG, crate::session::SCHEMA, name] => {
            TABLES.contains(name) || *name == VERIFY_CHAIN
        }
        ["information_schema", name] | [crate::session::CATALOG, "information_schema", name] => {
            SCHEMA_TABLES.contains(name)
        }
        _ => false,
    }
}

/// Names that a statement gives to its own queries. They hide a table and reach nothing else.
#[derive(Default)]
struct CteNames(BTreeSet<String>);

impl Visitor for CteNames {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if let Some(with) = &query.with {
            self.0.extend(with.cte_tables.iter().map(|cte| folded(&cte.alias.name)));
        }
        ControlFlow::Continue(())
    }
}

/// A name as SQL reads it: as written when quoted, else in lower case.
pub(crate) fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_ascii_lowercase(),
    }
}

/// Walks over everything in a statement and stops at the first thing that is not on a list.
struct Walk<'a> {
    ctes: BTreeSet<String>,
    with_depth: usize,
    lists: &'a Lists,
}

fn clause(what: &str) -> Refusal {
    ControlFlow::Break(Error::refused(Code::ClauseRefused, format!("{what} is not offered here")))
}

impl Visitor for Walk<'_> {
    type Break = Error;

    fn pre_visit_statement(&mut self, statement: &Ast) -> Refusal {
        // A statement inside a query can only be one that writes.
        #[expect(clippy::wildcard_enum_match_arm, reason = "what is not listed is refused")]
        match statement {
            Ast::Query(_)
            | Ast::ShowTables { .. }
            | Ast::ShowColumns { .. }
            | Ast::ExplainTable { .. } => ControlFlow::Continue(()),
            _ => ControlFlow::Break(not_a_read("a statement that changes something")),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> Refusal {
        if let Some(with) = &query.with {
            if with.recursive {
                return clause("`with recursive`");
            }
            // A table's full name is one that nothing else goes by.
            if with.cte_tables.iter().any(|cte| cte.alias.name.value.contains('.')) {
                return clause("a query with a dot in its name");
            }
            self.with_depth += 1;
            if self.with_depth > WITH_DEPTH_MAX {
                let message = format!("queries with `with` may nest {WITH_DEPTH_MAX} deep");
                return ControlFlow::Break(too_deep(message));
            }
        }
        let extras = [
            (!query.locks.is_empty(), "`for update` and `for share`"),
            (query.for_clause.is_some(), "`for xml` and `for json`"),
            (query.settings.is_some(), "`settings`"),
            (query.format_clause.is_some(), "`format`"),
            (!query.pipe_operators.is_empty(), "`|>`"),
        ];
        match extras.into_iter().find(|(used, _)| *used) {
            Some((_, what)) => clause(what),
            None => body(&query.body),
        }
    }

    fn post_visit_query(&mut self, query: &Query) -> Refusal {
        self.with_depth -= usize::from(query.with.is_some());
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> Refusal {
        if select.into.is_some() {
            return ControlFlow::Break(not_a_read("`select into`"));
        }
        if select.projection.len() > COLUMNS_MAX {
            let message = format!(
                "a `select` names {} columns, at most {COLUMNS_MAX} are answered",
                select.projection.len()
            );
            return ControlFlow::Break(too_deep(message));
        }
        match (select.lateral_views.is_empty(), select.connect_by.is_empty()) {
            (false, _) => clause("`lateral view`"),
            (_, false) => clause("`connect by`"),
            (true, true) => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> Refusal {
        let mut parts = Vec::new();
        for part in &relation.0 {
            match part {
                ObjectNamePart::Identifier(name) => parts.push(folded(name)),
                ObjectNamePart::Function(_) => return clause("a function in a table's name"),
            }
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let is_cte = matches!(parts.as_slice(), [name] if self.ctes.contains(*name));
        if is_cte || (self.lists.table)(&parts) {
            return ControlFlow::Continue(());
        }
        let shown: String = relation.to_string().chars().take(100).collect();
        let message = format!("there is no table `{shown}`; there are {}", TABLES.join(", "));
        ControlFlow::Break(Error::refused(Code::TableUnknown, message))
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not listed is refused")]
    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> Refusal {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                ControlFlow::Break(function_refused(&name.to_string(), "as a table"))
            }
            TableFactor::TableFunction { expr, .. } => {
                ControlFlow::Break(function_refused(&expr.to_string(), "as a table"))
            }
            TableFactor::UNNEST { .. } => {
                ControlFlow::Break(function_refused("unnest", "as a table"))
            }
            TableFactor::Table { version, sample, json_path, partitions, .. } => {
                let plain = version.is_none()
                    && sample.is_none()
                    && json_path.is_none()
                    && partitions.is_empty();
                if plain { ControlFlow::Continue(()) } else { clause("a table with a modifier") }
            }
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => {
                ControlFlow::Continue(())
            }
            _ => clause("this kind of table"),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> Refusal {
        if matches!(expr, Expr::Tuple(_) | Expr::Struct { .. } | Expr::Dictionary(_) | Expr::Map(_))
        {
            return clause("a record, as in `(a, b)`,");
        }
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        if let FunctionArguments::List(list) = &function.args
            && list.args.len() > ARGUMENTS_MAX
        {
            let message = format!("a function takes at most {ARGUMENTS_MAX} arguments");
            return ControlFlow::Break(too_deep(message));
        }
        let grows = function.over.is_some()
            && matches!(function.name.0.as_slice(), [ObjectNamePart::Identifier(name)]
                if GROWING.contains(&folded(name).as_str()));
        if grows {
            return ControlFlow::Break(function_refused(
                &function.name.to_string(),
                "over a window",
            ));
        }
        let known = match function.name.0.as_slice() {
            [ObjectNamePart::Identifier(name)] => (self.lists.function)(&folded(name)),
            _ => false,
        };
        if known {
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(function_refused(&function.name.to_string(), "here"))
    }
}

fn function_refused(name: &str, how: &str) -> Error {
    let name: String = name.chars().take(80).collect();
    Error::refused(Code::FunctionRefused, format!("the function `{name}` cannot be called {how}"))
}

fn body(body: &SetExpr) -> Refusal {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) => ControlFlow::Continue(()),
        SetExpr::SetOperation { left, right, .. } => match self::body(left) {
            ControlFlow::Continue(()) => self::body(right),
            refused @ ControlFlow::Break(_) => refused,
        },
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            ControlFlow::Break(not_a_read("a query that writes"))
        }
        SetExpr::Table(_) => clause("`table …`"),
    }
}

#[cfg(test)]
mod tests;
