//! Functions that are made of questions: a call is replaced by the question that it stands for,
//! before anything is checked, so that nothing can be reached through one that could not be asked.
//!
//! | function | what it is |
//! |---|---|
//! | `grants_at(moment)` | the grants that were good at that moment |
//! | `access_at(resource, moment)` | those of them that covered the resource |
//! | `agent_story(agent, from, to)` | what happened to an agent, and why |
//! | `delegation_tree(grant)` | all grants of the tree that a grant is in |
//! | `verify_chain(from, to)` | whether entries verify, and rows of `events` name theirs |
//! | `why(seq)` | why an event came about, in one text |
//! | `grant_active_at(grant, moment)` | whether a grant was good at that moment |
//!
//! The first five are tables, and their arguments are values: they name no column. A question of
//! one names its tables in full, so that the names that the caller's own question gives reach
//! nothing in it.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Expr, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Query, Select, SelectItem, SetExpr, Statement as Ast, TableAlias, TableFactor,
    Value, VisitMut, VisitorMut, visit_expressions, visit_expressions_mut, visit_relations_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::{Refusal, folded, function_refused, functions, too_deep};
use crate::error::{Code, Error};
use crate::session::{CATALOG, SCHEMA, VERIFY_CHAIN};
use crate::store::TABLES;

/// The most calls of such functions in one question: each is a question of its own.
pub(crate) const CALLS_MAX: usize = 8;

/// A function that is made of a question.
struct Function {
    name: &'static str,
    /// What it takes: the placeholders of its question, without the `$`.
    takes: &'static [&'static str],
    sql: &'static str,
}

/// Functions that stand where a table does.
const TABLE_FUNCTIONS: [Function; 5] = [
    Function {
        name: "grants_at",
        takes: &["at"],
        sql: "select * from grants \
            where valid_from <= cast($at as timestamp(6) with time zone) \
            and valid_to > cast($at as timestamp(6) with time zone)",
    },
    Function {
        name: "access_at",
        takes: &["resource", "at"],
        sql: "select * from grants \
            where valid_from <= cast($at as timestamp(6) with time zone) \
            and valid_to > cast($at as timestamp(6) with time zone) \
            and (resource = $resource or (ends_with(resource, '/**') \
                and ($resource = left(resource, -3) \
                    or starts_with($resource, left(resource, -3) || \
                        case when ends_with(left(resource, -3), '/') then '' else '/' end))))",
    },
    Function {
        name: "agent_story",
        takes: &["agent", "since", "until"],
        sql: include_str!("../../../../queries/agent-story.sql"),
    },
    Function {
        name: "delegation_tree",
        takes: &["grant"],
        sql: "select * from grants where root_grant_id in \
            (select root_grant_id from grants where grant_id = $grant)",
    },
    Function {
        name: VERIFY_CHAIN,
        takes: &["from", "to"],
        sql: "select * from verify_chain \
            where first_seq = coalesce(cast($from as bigint), -1) \
            and last_seq = coalesce(cast($to as bigint), -1)",
    },
];

/// Functions that stand where a value does. What they take may be a column, so no name that is seen
/// where that stands is one that a question may use.
const SCALAR_FUNCTIONS: [Function; 2] = [
    Function {
        name: "why",
        takes: &["seq"],
        sql: "select (select max(__why) from (select seq as __seq, nullif(concat_ws('; ', reason, \
            'policy ' || rule_ids, 'under ' || grant_id, 'asked as ' || approval_id, \
            'answered by ' || approver_id, coalesce(justification, purpose), \
            'because of event ' || cast(cause_seq as text)), '') as __why from events) as __told \
            where __seq = $seq)",
    },
    Function {
        name: "grant_active_at",
        takes: &["grant", "at"],
        sql: "select coalesce((select max(__from) from (select grant_id as __grant, \
            valid_from as __from from grants) as __begun where __grant = $grant) \
            <= cast($at as timestamp(6) with time zone) and (select max(__to) from \
            (select grant_id as __grant, valid_to as __to from grants) as __ended \
            where __grant = $grant) > cast($at as timestamp(6) with time zone), false)",
    },
];

/// The questions, in the order of the functions.
static TABLE_QUESTIONS: LazyLock<Vec<Query>> =
    LazyLock::new(|| TABLE_FUNCTIONS.iter().filter_map(Function::question).collect());
static SCALAR_QUESTIONS: LazyLock<Vec<Query>> =
    LazyLock::new(|| SCALAR_FUNCTIONS.iter().filter_map(Function::question).collect());

impl Function {
    /// Its question, with every table named in full. A test says that each has one.
    fn question(&self) -> Option<Query> {
        let mut parsed = Parser::parse_sql(&PostgreSqlDialect {}, self.sql).ok()?;
        let Some(Ast::Query(mut query)) = parsed.pop() else { return None };
        let _ = visit_relations_mut(&mut query, |name| {
            let named = name.to_string();
            if TABLES.contains(&named.as_str()) || named == VERIFY_CHAIN {
                let outer = [CATALOG, SCHEMA].map(|part| ObjectNamePart::Identifier(part.into()));
                name.0.splice(0..0, outer);
            }
            ControlFlow::<()>::Continue(())
        });
        Some(*query)
    }

    /// Its question with these arguments.
    fn asked(&self, question: Option<&Query>, given: Vec<Expr>) -> Result<Query, Error> {
        let (Some(question), true) = (question, given.len() == self.takes.len()) else {
            let takes = self.takes.join(", ");
            let message = format!("`{}` takes ({takes}), and here are {}", self.name, given.len());
            return Err(Error::refused(Code::Invalid, message));
        };
        let mut question = question.clone();
        let _ = visit_expressions_mut(&mut question, |expr| {
            let given = placeholder(expr).and_then(|name| {
                let at = self.takes.iter().position(|taken| *taken == name)?;
                given.get(at)
            });
            if let Some(given) = given {
                *expr = Expr::Nested(Box::new(given.clone()));
            }
            ControlFlow::<()>::Continue(())
        });
        Ok(question)
    }
}

fn placeholder(expr: &Expr) -> Option<&str> {
    let Expr::Value(value) = expr else { return None };
    let Value::Placeholder(name) = &value.value else { return None };
    name.strip_prefix('$')
}

/// Puts their questions in the place of calls.
///
/// # Errors
/// [`Error::Refused`] when one is called with something else than it takes, or there are more than
/// [`CALLS_MAX`].
pub(super) fn expand(ast: &mut Ast) -> Result<(), Error> {
    match VisitMut::visit(ast, &mut Expand { calls: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Expand {
    calls: usize,
}

impl Expand {
    fn count(&mut self) -> Result<(), Error> {
        self.calls += 1;
        if self.calls > CALLS_MAX {
            let message = format!("at most {CALLS_MAX} calls of functions that are questions");
            return Err(too_deep(message));
        }
        Ok(())
    }

    fn table(&mut self, factor: &mut TableFactor) -> Result<(), Error> {
        let TableFactor::Table { name, alias, args: Some(args), .. } = factor else {
            return Ok(());
        };
        let Some(at) = position(&TABLE_FUNCTIONS, name) else { return Ok(()) };
        self.count()?;
        let function = &TABLE_FUNCTIONS[at];
        let given = plain(&args.args).filter(|given| given.iter().all(is_fixed));
        let (Some(given), None) = (given, &args.settings) else {
            let message = format!("`{}` takes values and placeholders alone", function.name);
            return Err(Error::refused(Code::FunctionRefused, message));
        };
        let subquery = Box::new(function.asked(TABLE_QUESTIONS.get(at), given)?);
        let named = || TableAlias {
            explicit: true,
            name: Ident::new(function.name),
            columns: Vec::new(),
            at: None,
        };
        let alias = Some(alias.take().unwrap_or_else(named));
        *factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
        Ok(())
    }

    fn scalar(&mut self, expr: &mut Expr) -> Result<(), Error> {
        let Expr::Function(call) = expr else { return Ok(()) };
        let Some(at) = position(&SCALAR_FUNCTIONS, &call.name) else { return Ok(()) };
        self.count()?;
        let function = &SCALAR_FUNCTIONS[at];
        let given = arguments(call).filter(|given| !given.iter().any(holds_question));
        let Some(given) = given else { return Err(function_refused(function.name, "like this")) };
        let asked = function.asked(SCALAR_QUESTIONS.get(at), given)?;
        if let Some(value) = only_value(asked) {
            *expr = Expr::Nested(Box::new(value));
        }
        Ok(())
    }
}

fn told(result: Result<(), Error>) -> Refusal {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Expand {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> Refusal {
        let mut named = [0; SCALAR_FUNCTIONS.len()];
        for item in &mut select.projection {
            let SelectItem::UnnamedExpr(Expr::Function(call)) = item else { continue };
            if let Some(at) = position(&SCALAR_FUNCTIONS, &call.name) {
                named[at] += 1;
                let name = SCALAR_FUNCTIONS[at].name;
                let alias = match named[at] {
                    1 => Ident::new(name),
                    nth => Ident::new(format!("{name}_{nth}")),
                };
                *item = SelectItem::ExprWithAlias { expr: Expr::Function(call.clone()), alias };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> Refusal {
        told(self.table(factor))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Refusal {
        told(self.scalar(expr))
    }
}

/// Which of `functions` is named.
fn position(functions: &[Function], name: &ObjectName) -> Option<usize> {
    let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return None };
    let name = folded(name);
    functions.iter().position(|function| function.name == name)
}

/// A call's arguments, if it has nothing else.
fn arguments(call: &Call) -> Option<Vec<Expr>> {
    let plain_call = call.filter.is_none()
        && call.over.is_none()
        && call.null_treatment.is_none()
        && call.within_group.is_empty()
        && matches!(call.parameters, FunctionArguments::None);
    let FunctionArguments::List(list) = &call.args else { return None };
    let plain_list = list.clauses.is_empty() && list.duplicate_treatment.is_none();
    if plain_call && plain_list { plain(&list.args) } else { None }
}

fn plain(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    let each = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        FunctionArg::Unnamed(_) | FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => None,
    };
    args.iter().map(each).collect()
}

/// Whether an expression is the same for every row: it names no column and asks nothing.
fn is_fixed(expr: &Expr) -> bool {
    let walked = visit_expressions(expr, |part| {
        let fixed = if let Expr::Function(call) = part {
            matches!(call.name.0.as_slice(), [ObjectNamePart::Identifier(name)]
                if functions::is_offered(&folded(name)))
        } else {
            matches!(
                part,
                Expr::Value(_)
                    | Expr::TypedString(_)
                    | Expr::Interval(_)
                    | Expr::Cast { .. }
                    | Expr::Nested(_)
                    | Expr::UnaryOp { .. }
                    | Expr::BinaryOp { .. }
                    | Expr::AtTimeZone { .. }
            )
        };
        if fixed { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    walked.is_continue()
}

/// Whether an expression holds a question: an argument may come more than once in the question that
/// stands for a call, and so would that.
fn holds_question(expr: &Expr) -> bool {
    let walked = visit_expressions(expr, |part| {
        let asks =
            matches!(part, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. });
        if asks { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    walked.is_break()
}

/// The one value of a `select` without a table.
fn only_value(query: Query) -> Option<Expr> {
    let SetExpr::Select(select) = *query.body else { return None };
    match select.projection.into_iter().next() {
        Some(SelectItem::UnnamedExpr(value)) => Some(value),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_a_question_of_what_it_takes() {
        for (functions, questions) in
            [(&TABLE_FUNCTIONS[..], &TABLE_QUESTIONS), (&SCALAR_FUNCTIONS[..], &SCALAR_QUESTIONS)]
        {
            assert_eq!(functions.len(), questions.len());
            for (function, question) in functions.iter().zip(questions.iter()) {
                let mut taken: Vec<String> = Vec::new();
                let _ = visit_expressions(question, |expr| {
                    taken.extend(placeholder(expr).map(str::to_owned));
                    ControlFlow::<()>::Continue(())
                });
                taken.sort_unstable();
                taken.dedup();
                let mut takes = function.takes.to_vec();
                takes.sort_unstable();
                assert_eq!(taken, takes, "{}", function.name);
                let text = question.to_string();
                assert!(text.contains(&format!("{CATALOG}.{SCHEMA}.")), "{text}");
                assert!(!functions::is_offered(function.name));
            }
        }
    }
}
